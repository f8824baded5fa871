"""No step of a registration leaves what is geometrically possible, however numbers are rounded."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial import KDTree
from sklearn.decomposition import PCA

from napari_staligner.core.prepare.graph import spacing
from napari_staligner.core.progress import finish
from napari_staligner.core.registration import Model, RegistrationJob, apply, register_steps
from napari_staligner.core.registration.bounded import descend
from napari_staligner.core.registration.optimize import _Stage
from napari_staligner.core.registration.transforms import (
    FARTHEST,
    RESIZED,
    about,
    inverse,
    limits,
    scale_of,
    shifted,
    small,
    turned,
)
from napari_staligner.samples import simulated_olfactory_bulb

ROUNDING = 1e-7


# --- registration


@pytest.fixture(scope="module")
def sample() -> RegistrationJob:
    """The simulated bulb with few spots and a rough embedding: the cost has many hollows."""
    slices = simulated_olfactory_bulb(seed=0, n_slide_seq=300, n_stereo_seq=250, n_genes=300)
    genes = slices[0].var_names.intersection(slices[1].var_names)
    places = [np.asarray(s.obsm["spatial"], dtype=np.float64)[:, :2] for s in slices]
    blocks = []
    for adata, points in zip(slices, places, strict=True):
        logs = np.log1p(np.asarray(adata[:, genes].X.todense()))
        around = logs[KDTree(points).query(points, k=7)[1]].mean(axis=1)
        blocks.append(around - around.mean(axis=0))
    z = PCA(10, svd_solver="full").fit_transform(np.vstack(blocks))
    first, second = np.split(z, [300])
    near = [
        sparse.csr_matrix(
            (np.ones(20 * len(a)), KDTree(b).query(a, k=20)[1].ravel(), np.arange(len(a) + 1) * 20),
            shape=(len(a), len(b)),
        )
        for a, b in ((first, second), (second, first))
    ]
    mutual = near[0].multiply(near[1].T)
    mutual = sparse.bmat([[None, mutual], [mutual.T, None]], format="csr")
    return RegistrationJob(dict(zip("AB", places, strict=True)), z, mutual)


def disturbed(job: RegistrationJob, seed: int) -> RegistrationJob:
    """Turned, mirrored, scaled and moved at random; all numbers rounded a little otherwise."""
    rng = np.random.default_rng(seed)
    points, scale = job.coordinates["B"], 2 ** rng.uniform(-1, 1)
    turn = turned(rng.uniform(0, 360), mirrored=bool(rng.integers(2)))
    moved = apply(about(points.mean(axis=0), turn @ np.diag([scale, scale, 1.0])), points)

    def rounded(values: np.ndarray) -> np.ndarray:
        return values * (1 + ROUNDING * rng.normal(size=values.shape))

    places = {"A": rounded(job.coordinates["A"]), "B": rounded(moved)}
    model = list(Model)[seed % len(Model)]
    return RegistrationJob(places, rounded(job.embedding), job.mutual, model=model)


@pytest.mark.parametrize("seed", range(6))
def test_all_that_is_tried_is_possible(sample, seed, monkeypatch):
    tried = []
    transforms = _Stage.transforms

    def spy(stage, values):
        matrices, slopes = transforms(stage, values)
        for k in stage._at:
            step = matrices[k] @ inverse(stage._start[k])
            radius, middle = stage._radii[k], stage._centers[k]
            moved = np.abs(apply(step, middle[None])[0] - middle).max() / radius
            tried.append((moved, scale_of(matrices[k]), scale_of(step)))
        return matrices, slopes

    monkeypatch.setattr(_Stage, "transforms", spy)
    found = finish(register_steps(disturbed(sample, seed)))
    assert np.isfinite(found.aligned).all()
    moves, scales, steps = np.transpose(tried)
    assert len(moves) > 50
    assert moves.max() <= FARTHEST + 1e-9
    assert steps.min() > 0.25
    assert 1 / RESIZED**2 <= scales.min() <= scales.max() <= RESIZED**2


def test_however_numbers_are_rounded_slices_without_a_doubt_come_to_lie_alike():
    rng = np.random.default_rng(0)
    places = [rng.random((300, 2)) * [1000, 700] for _ in range(2)]
    x, y = np.split(np.concatenate(places) / 300, 2, axis=1)
    z = np.hstack([x, y, np.sin(x + y), x * y / 3]) + rng.normal(scale=0.1, size=(600, 4))
    near = np.arange(300), KDTree(z[300:]).query(z[:300])[1]
    mutual = sparse.csr_matrix((np.ones(300), near), shape=(300, 300))
    mutual = sparse.bmat([[None, mutual], [mutual.T, None]], format="csr")
    job = RegistrationJob(dict(zip("AB", places, strict=True)), z, mutual)
    for seed in range(3):
        one = disturbed(job, seed)
        noise = np.random.default_rng(seed).normal(size=z.shape)
        other = replace(one, embedding=one.embedding * (1 + ROUNDING * noise))
        first, second = (finish(register_steps(each)).aligned for each in (one, other))
        assert np.median(np.linalg.norm(first - second, axis=1)) < 0.5 * spacing(places[0])


# --- parts


def test_a_cost_without_a_bottom_is_left_at_the_bounds():
    tried = []

    def cost(values):
        tried.append(values.copy())
        return float(-1e9 * values[0] + 1e-9 * values[1]), np.array([-1e9, 1e-9])

    low, high = np.array([-3.0, -2.0]), np.array([3.0, 2.0])
    found = descend(cost, low, high, 0.5)
    assert found[0] == 3
    assert (np.array(tried) >= low).all()
    assert (np.array(tried) <= high).all()
    steps = np.linalg.norm(tried, axis=1)
    np.testing.assert_allclose(steps[steps > 0][0], 0.5)


@pytest.mark.parametrize("slope", [1e-4, 1.0, 1e6])
def test_the_bottom_is_found_however_steep(slope):
    aim = np.array([1.5, -0.7])

    def cost(values):
        return slope * float(np.square(values - aim).sum()), 2 * slope * (values - aim)

    found = descend(cost, np.full(2, -2.0), np.full(2, 2.0), 1.0)
    np.testing.assert_allclose(found, aim, atol=0.1 if slope < 1e-3 else 1e-4)


def test_where_the_cost_is_not_finite_is_not_gone():
    def cost(values):
        beyond = values[0] > 1
        return (np.nan if beyond else -float(values[0])), np.array([np.inf if beyond else -1.0])

    found = descend(cost, np.array([-4.0]), np.array([4.0]), 1.5)
    assert 0 <= found[0] <= 1
    nowhere = descend(lambda v: (np.nan, v), np.array([-1.0]), np.array([1.0]), 1.0)
    flat = descend(lambda v: (0.0, np.zeros(1)), np.array([-1.0]), np.array([1.0]), 1.0)
    assert nowhere == flat == 0


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("model", list(Model))
def test_what_is_possible_can_be_inverted_and_does_not_mirror(model, scale):
    low, high = limits(model, scale)
    assert ((low <= 0) & (high >= 0)).all()
    for corner in product(*zip(low, high, strict=True)):
        matrix, _ = small(np.array(corner), model)
        assert np.linalg.det(matrix) > 0.2 * min(1, 1 / RESIZED / scale) ** 2
        np.testing.assert_allclose(inverse(matrix), np.linalg.inv(matrix), atol=1e-9)
        if model is Model.SIMILARITY and 1 / RESIZED <= scale <= RESIZED:
            assert 1 / RESIZED - 1e-9 <= scale * scale_of(matrix) <= RESIZED + 1e-9


def test_an_inverse_of_a_mirrored_and_distant_transform():
    matrix = shifted(np.array([1e5, -3e4])) @ turned(33, mirrored=True) @ np.diag([3.0, 3.0, 1.0])
    np.testing.assert_allclose(inverse(matrix) @ matrix, np.eye(3), atol=1e-9)
