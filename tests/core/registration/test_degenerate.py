"""Slices and embeddings that leave something undetermined: no step fails, warns or goes astray."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from napari_staligner import InputError
from napari_staligner.core.domains.domains import domain_steps
from napari_staligner.core.domains.slice_specific import SpotContext
from napari_staligner.core.evaluation.baselines import leading_components
from napari_staligner.core.progress import finish
from napari_staligner.core.registration import Model, RegistrationJob, apply, register_steps
from napari_staligner.core.registration.residuals import counterparts
from napari_staligner.core.registration.transforms import fit_points, turned
from napari_staligner.core.registration.warp import warp
from napari_staligner.core.result.confidence import confidence_steps
from napari_staligner.core.settings import Settings
from napari_staligner.core.training.components import principal_components, scores


def grid(n_x: int, n_y: int) -> np.ndarray:
    axes = np.meshgrid(np.arange(n_x), np.arange(n_y), indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, 2).astype(np.float64)


PLACES = {
    "one row": grid(40, 1),
    "two rows": grid(30, 2),
    "a slanted line": np.outer(np.arange(40.0), [0.1, 0.3]),
    "one place": np.zeros((40, 2)),
    "one place and a few": np.vstack([np.zeros((40, 2)), grid(3, 3) + 5]),
    "three spots": np.array([[0.0, 0], [1, 0], [0, 1]]),
    "far away": grid(7, 6) * 1e-3 + 1e6,
    "huge": grid(7, 6) * 1e12,
}


def smooth(points: np.ndarray) -> np.ndarray:
    x, y = ((points - points.mean(axis=0)) / (np.ptp(points, axis=0).max() or 1.0) * 3).T
    return np.stack([x, y, np.sin(x + y)], axis=1)


EMBEDDINGS = {
    "smooth": smooth,
    "constant": lambda points: np.ones((len(points), 3)),
    "one spot differs": lambda points: np.eye(len(points))[:, :1],
    "a slope": lambda points: np.outer(smooth(points)[:, :2].sum(axis=1), [1.0, 2.0]),
}


def all_matched(n: int, m: int) -> sparse.csr_matrix:
    block = sparse.csr_matrix(np.ones((n, m)))
    return sparse.bmat([[None, block], [block.T, None]], format="csr")


@pytest.mark.parametrize("kind", EMBEDDINGS)
@pytest.mark.parametrize("name", PLACES)
def test_a_registration_stays_finite(name, kind):
    """With a slice like itself, moved, or with one that has an extent."""
    number = list(PLACES).index(name) + list(EMBEDDINGS).index(kind)
    a = PLACES[name]
    b = grid(7, 6) if number % 2 else apply(turned(30), a)
    z = np.vstack([EMBEDDINGS[kind](points) for points in (a, b)])
    job = RegistrationJob(
        {"A": a, "B": b},
        z,
        all_matched(len(a), len(b)),
        model=list(Model)[number % 3],
        nonrigid=True,
    )
    found = finish(register_steps(job))
    assert np.isfinite(found.aligned).all()
    assert not np.isinf(found.residual).any()
    for transform in found.transforms.values():
        assert np.isfinite(transform).all()
        # Not flat, whatever the unit.
        sizes = np.linalg.svd(transform[:2, :2], compute_uv=False)
        assert sizes[1] > 0.1 * sizes[0]


def test_matches_at_one_place_tell_no_unit():
    """Most spots of one slice lie at one place: the other is not taken for a thousand times it."""
    a, b = PLACES["one place and a few"], grid(7, 7) * 1000
    job = RegistrationJob({"A": b, "B": a}, np.vstack([smooth(b), smooth(a)]), all_matched(49, 49))
    linear = finish(register_steps(job)).transforms["B"][:2, :2]
    np.testing.assert_allclose(linear @ linear.T, np.eye(2), atol=1e-9)


def test_residuals_where_the_embedding_is_a_slope_without_noise():
    """Along the slope all is told, across it nothing: there, spots stay."""
    points = grid(20, 20)
    z = np.outer(points @ [1.0, 1.0], [1.0, 2.0])
    moved = points + 1.0
    shifts = counterparts(
        [points, moved], np.vstack([z, z]), {(0, 1): (np.arange(400), np.arange(400))}, 1.0
    )
    middle = (np.abs(points - 10) < 5).all(axis=1)
    np.testing.assert_allclose(shifts[1][middle], -1, atol=0.1)


@pytest.mark.parametrize("points", [grid(60, 1), grid(60, 2), grid(1, 60) @ [[1, 1], [-1, 1]]])
def test_no_spline_is_laid_through_a_line(points):
    assert warp(points.astype(float), np.ones_like(points, dtype=float), 1.0) is None


@pytest.mark.parametrize("model", [Model.SIMILARITY, Model.AFFINE])
def test_pairs_of_points_at_one_place_tell_no_scale(model):
    here, there = np.full((3, 2), 0.1), grid(3, 1)
    for moving, fixed in ((here, there), (there, here)):
        with pytest.raises(InputError, match="at one place, which gives no scale"):
            fit_points(moving, fixed, model)
        rigid = fit_points(moving, fixed, Model.RIGID)
        middle = apply(rigid, moving).mean(axis=0)
        np.testing.assert_allclose(middle, fixed.mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(rigid[:2, :2] @ rigid[:2, :2].T, np.eye(2), atol=1e-9)


def test_pairs_of_points_on_a_line_tell_no_affine_map():
    line, corner = grid(4, 1) @ [[5.0, 3.0], [0, 0]], np.array([[0, 0], [9, 0], [0, 9], [9, 9.0]])
    # A pixel beside it is no width.
    line[1, 1] += 0.01
    for moving, fixed in ((line, corner), (corner, line), (line, line)):
        with pytest.raises(InputError, match="on one line"):
            fit_points(moving, fixed, Model.AFFINE)
    fit_points(line, corner, Model.SIMILARITY)


# --- embeddings and domains


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("kind", ["constant", "one spot differs", "a slope"])
def test_domains_and_confidence_of_an_embedding_without_variance(kind):
    points = grid(10, 8)
    z = EMBEDDINGS[kind](points)
    tissue = SpotContext(np.repeat([0, 1], 40), points)
    found = finish(domain_steps(z.astype(np.float32), None, Settings(domains=2), tissue))
    assert found.labels.min() == 0
    confidence = finish(confidence_steps(z, [40, 40]))
    assert ((confidence >= 0) & (confidence <= 1)).all()


@pytest.mark.parametrize("n_genes", [30, 400])
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_genes_that_are_the_same_in_all_spots_have_no_components(value, n_genes):
    same = sparse.csr_matrix(np.full((50, n_genes), value), dtype=np.float32)
    with pytest.raises(InputError, match="same in all spots"):
        principal_components([same], 20)
    with pytest.raises(InputError, match="same in all spots"):
        leading_components(same)


def test_components_where_the_sum_of_the_genes_is_the_same_in_all_spots():
    """The iteration starts from that sum."""
    split = (np.arange(50)[:, None] % 2) * np.ones(128)
    expression = sparse.csr_matrix(np.hstack([split, 1 - split]), dtype=np.float32)
    mean, axes = principal_components([expression], 20)
    found = scores([expression], 50, mean, axes)
    np.testing.assert_allclose(np.abs(found[:, 0]), 8.0, rtol=1e-3)
    np.testing.assert_allclose(found[:, 1:], 0, atol=1e-2)
    assert np.isfinite(leading_components(expression)).all()
