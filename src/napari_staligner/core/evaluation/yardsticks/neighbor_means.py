"""Means over a spot and its neighbours on the tissue: the simplest use of positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def neighbor_means(values: NDArray[np.floating[Any]], connectivities: Any) -> NDArray[np.float32]:
    """Average over each spot and its neighbours.

    Parameters
    ----------
    values
        Shape (spots, d).
    connectivities
        Shape (spots, spots), sparse: nonzero for neighbours; no self loops.

    Returns
    -------
    Shape (spots, d), float32; a spot without neighbours keeps its values.
    """
    from scipy.sparse import csr_matrix, eye

    near = csr_matrix(csr_matrix(connectivities) != 0, dtype=np.float64)
    near = (near + eye(near.shape[0], format="csr")).tocsr()
    sums = near @ np.asarray(values, dtype=np.float64)
    return np.asarray(sums / np.diff(near.indptr)[:, None], dtype=np.float32)
