from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from napari_staligner.core.evaluation.yardsticks.neighbor_means import neighbor_means


def test_a_spot_counts_as_much_as_each_neighbour():
    # 0 – 1 – 2, and 3 alone. The graph's values are weights of another program.
    graph = csr_matrix(([5.0, 5.0, 0.5, 0.5], ([0, 1, 1, 2], [1, 0, 2, 1])), shape=(4, 4))
    values = np.array([[0.0, 1], [6, 1], [3, 1], [9, 1]])
    found = neighbor_means(values, graph)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[3, 1], [3, 1], [4.5, 1], [9, 1]])
