from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from napari_staligner.core.prepare.graph import find_radius, spacing, spatial_graph
from napari_staligner.core.settings import Settings


def hexagonal(n: int = 20, step: float = 100.0) -> np.ndarray:
    row, column = np.mgrid[:n, :n]
    return np.stack([(column + 0.5 * (row % 2)).ravel(), row.ravel() * 3**0.5 / 2], axis=1) * step


def square(n: int = 20) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=2).reshape(-1, 2).astype(float)


def scattered(n: int = 900) -> np.ndarray:
    return np.random.default_rng(0).random((n, 2)) * 1e-3


@pytest.mark.parametrize(
    ("points", "low", "high"), [(hexagonal(), 5, 6), (square(), 7, 8), (scattered(), 5.5, 7.5)]
)
def test_found_radius_gives_five_to_ten_neighbours(points, low, high):
    graph = spatial_graph(points, Settings())
    assert low <= graph.mean_neighbors <= high
    assert graph.describe("A") is None


def test_published_figures_of_dlpfc(shared_data):
    for number, edges in ((151673, 21124), (151674, 21258), (151675, 20762), (151676, 20052)):
        with_spots = ad.read_h5ad(shared_data / f"DLPFC_{number}.h5ad", backed="r")
        points = with_spots.obsm["spatial"]
        with_spots.file.close()
        found = spatial_graph(points, Settings())
        assert spatial_graph(points, Settings(radius=150)).connectivities.nnz == edges
        assert found.connectivities.nnz == edges


def test_radius_is_strict():
    points = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert spatial_graph(points, Settings(radius=1.0)).connectivities.nnz == 0
    assert spatial_graph(points, Settings(radius=1.001)).connectivities.nnz == 2


def test_nearest_neighbours_are_symmetric():
    graph = spatial_graph(scattered(200), Settings(n_neighbors=4)).connectivities
    assert (graph != graph.T).nnz == 0
    assert np.diff(graph.indptr).min() >= 4
    assert graph.diagonal().sum() == 0


@pytest.mark.parametrize("settings", [Settings(), Settings(n_neighbors=3), Settings(radius=1.5)])
def test_spots_at_one_place_are_neighbours_and_none_is_lost(settings):
    points = np.vstack([square(6), square(6)[:5]])
    graph = spatial_graph(points, settings)
    assert graph.connectivities.shape == (41, 41)
    assert all(graph.connectivities[i, 36 + i] == 1 for i in range(5))
    assert graph.connectivities.diagonal().sum() == 0
    assert graph.alone == 0


def test_distances_are_those_of_the_coordinates():
    points = scattered(100)
    graph = spatial_graph(points, Settings())
    row, column = graph.connectivities.nonzero()
    expected = np.linalg.norm(points[row] - points[column], axis=1)
    np.testing.assert_allclose(graph.distances.data, expected)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(radius=1.1), "give a larger radius"),
        (Settings(radius=6.0), "give a smaller radius"),
        (Settings(n_neighbors=10**6), "give fewer neighbours"),
    ],
)
def test_unusual_graphs_are_described(settings, words):
    sparse_points = square()[::7] * 1.0 if "larger" in words else square()
    assert words in spatial_graph(sparse_points, settings).describe("A")


def test_spacing():
    assert spacing(hexagonal(step=137.0)) == pytest.approx(137.0)
    assert spacing(np.vstack([square(), square()])) == pytest.approx(1.0)
    assert spacing(np.zeros((3, 2))) == 1.0
    assert find_radius(np.zeros((10, 2))) > 0
