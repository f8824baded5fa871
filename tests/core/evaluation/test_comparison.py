from __future__ import annotations

import numpy as np

from napari_staligner.core.evaluation.comparison import Method, best, key_figures


def method(**overall):
    return Method("", "key", np.zeros(3, int), ("#000000",), None, "", overall)


def test_the_best_is_the_least_where_less_is_better_and_all_that_are_equal():
    found = (
        Method("labels", "", np.zeros(3, int), (), None),
        method(ari=0.5, clisi_raw=1.4),
        method(ari=0.70001, clisi_raw=1.2),
        method(ari=0.70003, clisi_raw=float("nan")),
    )
    assert key_figures(found) == ("clisi_raw", "ari")
    assert best(found, "ari") == (2, 3)
    assert best(found, "clisi_raw") == (2,)
    assert best(found, "nmi") == ()
