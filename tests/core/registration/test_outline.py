from __future__ import annotations

import numpy as np

from napari_staligner.core.registration.choice import Model
from napari_staligner.core.registration.optimize import refine
from napari_staligner.core.registration.outline import outline_of
from napari_staligner.core.registration.sections import Section
from napari_staligner.core.registration.transforms import apply, shifted


def grid(width: int, height: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2) * 1.0


def section(points: np.ndarray, drift: float, seed: int) -> Section:
    """A gradient along x, which one slice shows further on: a bias that only outlines see."""
    rng = np.random.default_rng(seed)
    features = np.stack([(points[:, 0] + drift) / 10, rng.normal(size=len(points))], axis=1)
    return Section(points, features, np.arange(len(points)), 1.5)


def test_distances_are_measured_from_where_the_tissue_ends():
    points = grid(30, 20)
    hole = np.linalg.norm(points - (15, 10), axis=1) > 3
    outline = outline_of(points[hole], 1.5)
    places = np.array([[15.0, 10.0], [33.5, 10.0], [15.0, -6.5], [27.5, 10.0]])
    away, slopes = outline.look(places)
    # The last spots stand for half a spacing of tissue beyond them; a hole is no end.
    np.testing.assert_allclose(away, [-10, 4, 6, -2], atol=0.8)
    np.testing.assert_allclose(slopes[1], (1, 0), atol=0.05)
    np.testing.assert_allclose(slopes[2], (0, -1), atol=0.05)
    far, flat = outline.look(np.array([[500.0, 10.0]]))
    assert far[0] > 5
    assert not flat.any()


def test_outlines_correct_a_bias_of_the_embedding_unless_they_are_cut():
    points = grid(40, 24)
    sections = {0: section(points, 0.0, 0), 1: section(points, 3.0, 1)}

    def moved(cut: list[tuple[int, int]]) -> float:
        start = {0: shifted(np.array([1.0, 0.5])), 1: np.eye(3)}
        found, _ = refine(sections, [(0, 1)], start, 1, {0: Model.RIGID}, (4.0, 2.0), cut)
        return float(np.abs(apply(found[0], points) - points).mean(axis=0).max())

    assert moved([]) < 0.4
    assert moved([(0, 1)]) > 2 * moved([])
