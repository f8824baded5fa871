from __future__ import annotations

import numpy as np
import pytest

from napari_staligner.core.registration.transforms import shifted, turned
from napari_staligner.core.registration.trust import PairTrust, apart, as_columns


def test_only_what_speaks_against_a_pair_is_said():
    assert PairTrust(0.049, 2.9).doubt == ""
    assert PairTrust(0.2, 0.0).doubt == "fits another way about as well, p = 0.20"
    assert PairTrust(0.0, 12.4).doubt == "12 spacings from where the other pairs lay it"
    assert PairTrust(0.2, 12.4).doubt.count(";") == 1


def test_a_pair_that_the_series_contradicts_lies_apart():
    points = np.random.default_rng(0).normal(size=(50, 2))
    first, second = turned(30.0) @ shifted(np.array([4.0, 1.0])), turned(80.0)
    agreed = np.linalg.inv(second) @ first
    assert apart(points, agreed, first, second, 2.0) == pytest.approx(0.0, abs=1e-9)
    moved = shifted(np.array([3.0, 4.0])) @ agreed
    assert apart(points, moved, first, second, 2.0) == pytest.approx(2.5)


def test_figures_are_kept_in_the_order_of_the_pairs():
    trust = (PairTrust(0.2, 1.0), PairTrust(0.0, 5.0))
    assert PairTrust.read(as_columns(trust)) == trust
    assert PairTrust.read({"pairs": [("A", "B")]}) == ()
