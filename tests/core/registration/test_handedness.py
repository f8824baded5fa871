from __future__ import annotations

from napari_staligner.core.registration.handedness import Lean, series_hands


def mirrored(leans: dict[tuple[int, int], Lean]) -> list[bool]:
    return [found for found, _ in series_hands(leans).values()]


def test_pairs_that_are_not_sure_alone_are_sure_together():
    # Each pair alone: p of 0.07 to 0.12; that slice 1 is mirrored is what all say.
    leans = {(0, 1): Lean(False, -1.2), (0, 2): Lean(False, 1.3), (1, 2): Lean(False, -1.5)}
    assert mirrored(leans) == [True, False, True]
    assert all(p < 0.05 for _, p in series_hands(leans).values())


def test_one_pair_alone_that_is_not_sure_is_not_mirrored_and_its_p_is_said():
    ((found, p),) = series_hands({(0, 1): Lean(False, -1.2)}).values()
    assert not found
    assert 0.11 < p < 0.12


def test_a_wrong_pair_is_outvoted_by_surer_ones():
    leans = {(0, 1): Lean(True, 1.7), (0, 2): Lean(False, 6.0), (1, 2): Lean(False, 6.0)}
    assert mirrored(leans) == [False, False, False]


def test_a_series_that_is_sure_stays_as_it_is():
    leans = {(3, 5): Lean(True, 9e9), (5, 8): Lean(False, 7.0)}
    assert mirrored(leans) == [True, False]
    assert not series_hands({(0, k): Lean(False, 1.0) for k in range(1, 30)})
