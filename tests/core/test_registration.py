from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from napari_staligner.core.progress import finish
from napari_staligner.core.registration import apply, register_steps


def bent_tissue(n: int = 700, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scattered spots, and features that vary smoothly over the tissue without any symmetry."""
    rng = np.random.default_rng(seed)
    points = rng.random((n, 2)) * [1000, 700]
    x, y = points[:, 0] / 300, points[:, 1] / 300
    z = np.stack([x, y, np.sin(x + y), x * y / 3], axis=1)
    return points, (z + rng.normal(scale=0.05, size=z.shape)).astype(np.float32)


def matrix(degrees: float, *, mirror: bool = False, scale: float = 1.0) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    full = np.eye(3)
    full[:2, :2] = scale * turn @ np.diag([-1.0 if mirror else 1.0, 1.0])
    full[:2, 2] = [4321.0, -77.0]
    return full


def matches(z_a: np.ndarray, z_b: np.ndarray, wrong: float = 0.2) -> sparse.csr_matrix:
    """Nearest in z, a share of them wrong, as one symmetric matrix over both slices."""
    n, m = len(z_a), len(z_b)
    nearest = np.linalg.norm(z_a[:, None] - z_b[None], axis=2).argmin(axis=1)
    rng = np.random.default_rng(1)
    spoiled = rng.random(n) < wrong
    nearest[spoiled] = rng.integers(0, m, spoiled.sum())
    block = sparse.csr_matrix((np.ones(n), (np.arange(n), nearest)), shape=(n, m))
    return sparse.bmat([[None, block], [block.T, None]], format="csr")


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (137, 1.0), (-60, 20.0)])
def test_a_moved_slice_is_brought_back(degrees, scale, mirror):
    (a, z_a), (b, z_b) = bent_tissue(seed=0), bent_tissue(600, seed=1)
    moved = apply(matrix(degrees, mirror=mirror, scale=scale), b)
    steps = register_steps({"A": a, "B": moved}, np.vstack([z_a, z_b]), matches(z_a, z_b), seed=0)
    found = finish(steps)
    np.testing.assert_array_equal(found.transforms["A"], np.eye(3))
    np.testing.assert_array_equal(found.aligned[: len(a)], a)
    back = apply(found.transforms["B"], moved)
    np.testing.assert_allclose(back, found.aligned[len(a) :])
    spacing = 19.0
    assert np.median(np.linalg.norm(back - b, axis=1)) < 0.5 * spacing * (1 if scale == 1 else 3)


def test_slices_are_chained_and_the_lost_one_is_centred_and_named():
    points, z = bent_tissue(300)
    n = len(points)
    one = matches(z, z, wrong=0.0)[:n, n:]
    empty = sparse.csr_matrix((n, n))
    mutual = sparse.bmat(
        [
            [empty, one, empty, empty],
            [one.T, empty, one, empty],
            [empty, one.T, empty, empty],
            [empty, empty, empty, empty],
        ],
        format="csr",
    )
    places = {
        "A": points,
        "B": apply(matrix(30), points),
        "C": apply(matrix(80, mirror=True), points),
        "D": points + 5000,
    }
    notes = []
    steps = register_steps(places, np.vstack([z] * 4), mutual, seed=0)
    found = finish(steps, lambda step: notes.append(step.note))
    for number in (1, 2):
        np.testing.assert_allclose(found.aligned[number * n : (number + 1) * n], points, atol=5)
    np.testing.assert_allclose(found.aligned[3 * n :].mean(axis=0), points.mean(axis=0))
    assert any(note and "'D'" in note for note in notes)
