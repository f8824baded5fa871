from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, sparse
from scipy.spatial import KDTree

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.graph import spacing
from napari_staligner.core.progress import finish
from napari_staligner.core.registration import (
    Model,
    Registered,
    RegistrationJob,
    apply,
    measure,
    register_steps,
)
from napari_staligner.core.registration.anndata import register
from napari_staligner.core.registration.optimize import _Stage
from napari_staligner.core.registration.sections import Section
from napari_staligner.core.registration.transforms import fit_points, shifted, turned
from napari_staligner.core.registration.tree import spread
from napari_staligner.core.registration.warp import warp

SPACING = 19.0
"""Of the tissue below, whose 700 spots are scattered over 1000 × 700."""


def bent_tissue(n: int = 700, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scattered spots, and features that vary smoothly over the tissue without any symmetry."""
    rng = np.random.default_rng(seed)
    points = rng.random((n, 2)) * [1000, 700]
    x, y = points[:, 0] / 300, points[:, 1] / 300
    z = np.stack([x, y, np.sin(x + y), x * y / 3], axis=1)
    return points, (z + rng.normal(scale=0.05, size=z.shape)).astype(np.float32)


def matrix(degrees: float, *, mirror: bool = False, scale: float = 1.0) -> np.ndarray:
    moved = shifted(np.array([4321.0, -77.0])) @ turned(degrees, mirrored=mirror)
    return moved @ np.diag([scale, scale, 1.0])


def matches(z_a: np.ndarray, z_b: np.ndarray, wrong: float = 0.2) -> sparse.csr_matrix:
    """Mutual nearest neighbours in z, a share of them wrong, as one matrix over both slices."""
    n, m = len(z_a), len(z_b)
    there, back = (KDTree(y).query(x, k=5)[1] for x, y in ((z_a, z_b), (z_b, z_a)))
    first = np.arange(n)[(back[there[:, 0]] == np.arange(n)[:, None]).any(axis=1)]
    second = there[first, 0]
    rng = np.random.default_rng(1)
    spoiled = rng.random(len(first)) < wrong
    second[spoiled] = rng.integers(0, m, spoiled.sum())
    block = sparse.csr_matrix((np.ones(len(first)), (first, second)), shape=(n, m))
    return sparse.bmat([[None, block], [block.T, None]], format="csr")


def pair_job(a, z_a, b, z_b, **changes) -> RegistrationJob:
    return RegistrationJob({"A": a, "B": b}, np.vstack([z_a, z_b]), matches(z_a, z_b), **changes)


def off(found: np.ndarray, true: np.ndarray) -> float:
    """Median distance, in spacings."""
    return float(np.median(np.linalg.norm(found - true, axis=1))) / SPACING


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (137, 1.0), (-60, 20.0)])
def test_a_moved_slice_is_brought_back(degrees, scale, mirror):
    (a, z_a), (b, z_b) = bent_tissue(seed=0), bent_tissue(600, seed=1)
    moved = apply(matrix(degrees, mirror=mirror, scale=scale), b)
    found = finish(register_steps(pair_job(a, z_a, moved, z_b)))
    np.testing.assert_array_equal(found.transforms["A"], np.eye(3))
    np.testing.assert_array_equal(found.aligned[: len(a)], a)
    back = apply(found.transforms["B"], moved)
    np.testing.assert_allclose(back, found.aligned[len(a) :])
    assert off(back, b) < 0.5
    if scale == 1:
        linear = found.transforms["B"][:2, :2]
        np.testing.assert_allclose(linear @ linear.T, np.eye(2), atol=1e-9)


def told(job: RegistrationJob) -> tuple[Registered, list[str]]:
    """How the slices are registered, and the notes on the way."""
    steps, notes = register_steps(job), []
    try:
        while True:
            notes += filter(None, [next(steps).note])
    except StopIteration as end:
        return end.value, notes


@pytest.mark.parametrize("mirror", [False, True])
def test_two_halves_alike_are_not_mirrored_and_the_doubt_is_said(mirror):
    def halves_alike(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        points, _ = bent_tissue(n, seed)
        x, y = np.abs(points[:, 0] - 500) / 300, points[:, 1] / 300
        z = np.stack([x, y, np.sin(x + y), x * y / 3], axis=1)
        noise = np.random.default_rng(seed).normal(scale=0.05, size=z.shape)
        return points, (z + noise).astype(np.float32)

    (a, z_a), (b, z_b) = halves_alike(700, 0), halves_alike(600, 1)
    found, notes = told(pair_job(a, z_a, apply(matrix(40, mirror=mirror), b), z_b))
    aligned = found.aligned
    assert "fits another way" in found.trust[0].doubt
    assert [note for note in notes if "'A' and 'B'" in note and "mirrored" in note] == notes != []
    other = np.column_stack([1000 - b[:, 0], b[:, 1]])
    assert off(aligned[len(a) :], other if mirror else b) < 0.5


@pytest.mark.parametrize("mirror", [False, True])
def test_there_is_no_doubt_about_tissue_without_symmetry(mirror):
    (a, z_a), (b, z_b) = bent_tissue(seed=0), bent_tissue(600, seed=1)
    found, notes = told(pair_job(a, z_a, apply(matrix(40, mirror=mirror), b), z_b))
    assert notes == []
    assert [one.doubt for one in found.trust] == [""]


def test_a_spot_far_astray_costs_neither_memory_nor_the_alignment():
    (a, z_a), (b, z_b) = bent_tissue(seed=0), bent_tissue(600, seed=1)
    moved = apply(matrix(137), b)
    moved[5] = 1e9
    found = finish(register_steps(pair_job(a, z_a, moved, z_b)))
    assert off(found.aligned[len(a) :], b) < 0.5
    assert np.isnan(found.residual[len(a) + 5])


def test_a_part_of_a_slice_finds_its_place_and_the_rest_has_no_residual():
    (a, z_a), (b, z_b) = bent_tissue(1400, seed=0), bent_tissue(1400, seed=1)
    left = b[:, 0] < 600
    moved = apply(matrix(137, mirror=True), b[left])
    found = finish(register_steps(pair_job(a, z_a, moved, z_b[left])))
    assert off(found.aligned[len(a) :], b[left]) < 0.5
    assert np.isnan(found.residual[: len(a)][a[:, 0] > 700]).all()
    assert np.isfinite(found.residual[: len(a)][a[:, 0] < 550]).mean() > 0.95
    assert np.nanmedian(found.residual) < 1


def test_parts_that_overlap_in_part_are_not_pulled_over_each_other():
    (a, z_a), (b, z_b) = bent_tissue(1200, seed=0), bent_tissue(1200, seed=1)
    left, right = a[:, 0] < 650, b[:, 0] > 350
    moved = apply(matrix(60), b[right])
    job = pair_job(a[left], z_a[left], moved, z_b[right])
    found = finish(register_steps(job))
    assert off(found.aligned[left.sum() :], b[right]) < 0.5


def test_sections_that_cover_each_other_lie_by_their_outlines_where_one_end_is_not_alike():
    (a, z_a), (b, z_b) = bent_tissue(900, seed=0), bent_tissue(900, seed=1)
    rng = np.random.default_rng(2)
    z_a, z_b = (z + rng.normal(scale=0.6, size=z.shape) for z in (z_a, z_b))
    # The right end of one looks as what lies before it in the other.
    like, end = ((b[:, 0] > low) & (b[:, 0] < low + 200) for low in (600, 800))
    z_b[end] = z_b[rng.choice(np.flatnonzero(like), end.sum())]
    found = finish(register_steps(pair_job(a, z_a, apply(matrix(60), b), z_b)))
    assert off(found.aligned[len(a) :], b) < 3


def test_slices_that_lie_right_stay_and_others_move():
    (a, z_a), (b, z_b) = bent_tissue(seed=0), bent_tissue(seed=1)
    found = finish(register_steps(pair_job(a, z_a, b, z_b)))
    np.testing.assert_allclose(found.transforms["B"], np.eye(3), atol=1e-9)
    moved = b + np.array([3 * SPACING, 0])
    found = finish(register_steps(pair_job(a, z_a, moved, z_b)))
    assert off(found.aligned[len(a) :], b) < 0.5


def test_a_pair_in_doubt_is_settled_by_pairs_that_are_sure():
    costs = {(0, 1): (True, 0.1), (0, 2): (False, 0.5), (1, 2): (False, 0.6)}
    assert spread(costs, 0, 3) == ([(2, 0), (1, 2)], [])


def test_a_structure_of_one_slice_does_not_pull():
    (a, z_a), (b, z_b) = bent_tissue(seed=0), bent_tissue(seed=1)
    strange = np.linalg.norm(b - [700, 500], axis=1) < 130
    mutual = matches(z_a, z_b).tolil()
    mutual[:, len(a) + np.flatnonzero(strange)] = 0
    mutual[len(a) + np.flatnonzero(strange)] = 0
    z_b[strange] += 4
    places = {"A": a, "B": apply(matrix(70), b)}
    job = RegistrationJob(places, np.vstack([z_a, z_b]), mutual.tocsr())
    assert off(finish(register_steps(job)).aligned[len(a) :], b) < 0.5


def test_a_shift_of_the_whole_embedding_does_not_matter():
    (a, z_a), (b, z_b) = bent_tissue(seed=0), bent_tissue(seed=1)
    # The matches are those of before: which spots match is not what is tested here.
    job = RegistrationJob(
        {"A": a, "B": apply(matrix(70), b)}, np.vstack([z_a, z_b + 2]), matches(z_a, z_b)
    )
    assert off(finish(register_steps(job)).aligned[len(a) :], b) < 0.5


@pytest.mark.parametrize("offset", [0, 3])
def test_residuals_lead_back_where_a_slice_was_moved_from(offset):
    (a, z_a), (b, z_b) = bent_tissue(2500, seed=0), bent_tissue(2500, seed=1)
    job = RegistrationJob({"A": a, "B": b}, np.vstack([z_a, z_b + offset]), matches(z_a, z_b))
    unit = spacing(a)
    for by in ((0.0, 0.0), (2.0, 0.0), (0.0, -4.0)):
        transforms = {"A": np.eye(3), "B": shifted(unit * np.array(by))}
        found = measure(job, transforms, [("A", "B")])
        shift = np.nanmedian(found.shift[len(a) :], axis=0) / unit
        np.testing.assert_allclose(shift, -np.array(by), atol=1)
        length = np.linalg.norm(found.shift, axis=1) / unit
        np.testing.assert_allclose(length, found.residual)


def test_there_and_back_again_is_where_it_was():
    (a, z_a), (b, z_b) = bent_tissue(seed=0), bent_tissue(600, seed=1)
    moved = apply(matrix(25, mirror=True), b)
    there = finish(register_steps(pair_job(a, z_a, moved, z_b))).transforms["B"]
    n = len(a)
    mutual = matches(z_a, z_b)
    swapped = sparse.bmat([[None, mutual[n:, :n]], [mutual[:n, n:], None]], format="csr")
    job = RegistrationJob({"B": moved, "A": a}, np.vstack([z_b, z_a]), swapped)
    back = finish(register_steps(job)).transforms["A"]
    assert np.linalg.norm(apply(back @ there, moved) - moved, axis=1).max() < 0.05 * SPACING
    turned_round = finish(register_steps(pair_job(a, z_a, moved, z_b, reference="B")))
    home = turned_round.transforms["A"]
    assert np.linalg.norm(apply(home @ there, moved) - moved, axis=1).max() < 0.05 * SPACING


def test_the_same_seed_gives_the_same():
    (a, z_a), (b, z_b) = bent_tissue(seed=0), bent_tissue(600, seed=1)
    job = pair_job(a, z_a, apply(matrix(25), b), z_b, seed=3)
    one, two = finish(register_steps(job)), finish(register_steps(job))
    np.testing.assert_array_equal(one.aligned, two.aligned)
    np.testing.assert_array_equal(one.residual, two.residual)


@pytest.mark.parametrize("model", [Model.SIMILARITY, Model.AFFINE])
def test_models_find_scale_and_shear(model):
    (a, z_a), (b, z_b) = bent_tissue(2500, seed=0), bent_tissue(2500, seed=1)
    stretch = np.eye(3)
    stretch[:2, :2] = [[1.12, 0], [0, 1.12]] if model is Model.SIMILARITY else [[1.1, 0.08], [0, 1]]
    moved = apply(matrix(40) @ stretch, b)
    rigid = off(finish(register_steps(pair_job(a, z_a, moved, z_b))).aligned[len(a) :], b)
    found = finish(register_steps(pair_job(a, z_a, moved, z_b, model=model)))
    assert off(found.aligned[len(a) :], b) < min(0.5, rigid / 2)


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
    steps = register_steps(RegistrationJob(places, np.vstack([z] * 4), mutual))
    found = finish(steps, lambda step: notes.append(step.note))
    for number in (1, 2):
        assert off(found.aligned[number * n : (number + 1) * n], points) < 0.3
    np.testing.assert_allclose(found.aligned[3 * n :].mean(axis=0), points.mean(axis=0))
    assert any(note and "'D'" in note for note in notes)
    assert set(found.pairs) == {("A", "B"), ("B", "C")}
    assert np.isnan(found.residual[3 * n :]).all()


def test_only_spots_of_landmarks_are_compared():
    (a, z_a), (b, z_b) = bent_tissue(1500, seed=0), bent_tissue(1500, seed=1)
    # To the right of 500 the second slice is another tissue: the same one, turned over.
    right = b[:, 0] > 500
    z_b[right] = z_b[right][::-1]
    counted = np.concatenate([a[:, 0] < 500, ~right])
    job = pair_job(a, z_a, apply(matrix(70), b), z_b)
    without = finish(register_steps(job)).aligned[len(a) :]
    found = finish(register_steps(replace(job, counted=counted))).aligned[len(a) :]
    assert off(found, b) < 3.0
    # Where landmarks end tells nothing, so the outlines that help without them are left out.
    assert off(found, without) > 0.5
    with pytest.raises(InputError, match="landmark domains hold too few matches"):
        finish(register_steps(pair_job(a, z_a, b, z_b, counted=np.zeros(len(counted), bool))))


# --- parts


@pytest.mark.parametrize("cut", [(), [(0, 1), (0, 2)]])
@pytest.mark.parametrize("model", list(Model))
def test_the_slope_of_the_cost_is_right(model, cut):
    rng = np.random.default_rng(0)

    def section(n: int) -> Section:
        points = rng.uniform(-20, 20, (n, 2))
        features = np.stack([np.sin(points[:, 0] / 8), np.cos(points[:, 1] / 9)], axis=1)
        return Section(points, features, np.arange(n), 1.0)

    start = {0: np.eye(3), 1: turned(4) @ shifted(np.array([1, 0.5])), 2: turned(-3)}
    stage = _Stage(
        {k: section(500) for k in range(3)},
        [(0, 1), (1, 2), (0, 2)],
        start,
        0,
        dict.fromkeys(range(3), model),
        3.0,
        cut,
    )
    values = rng.normal(scale=0.3, size=stage.size)
    _, slope = stage.cost(values)
    numeric = optimize.approx_fprime(values, lambda v: stage.cost(v)[0], 1e-6)
    np.testing.assert_allclose(slope, numeric, atol=1e-6)
    assert np.abs(slope).max() > 1e-3


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("model", list(Model))
def test_points_are_fitted(model, mirror):
    points = np.random.default_rng(0).normal(size=(5, 2))
    true = matrix(33, mirror=mirror, scale=1.0 if model is Model.RIGID else 3.0)
    if model is Model.AFFINE:
        true[0, 1] += 0.4
    np.testing.assert_allclose(fit_points(points, apply(true, points), model), true, atol=1e-9)


def grid(n: int = 30) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2) * 1.0


def test_a_bent_slice_is_straightened_and_bending_is_measured():
    points = grid()
    wanted = np.stack([np.sin(points[:, 1] / 8), np.zeros(len(points))], axis=1)
    wanted[::7] = np.nan
    bent, straight = warp(points, wanted, 1.0), warp(points, np.ones_like(points), 1.0)
    known = np.isfinite(wanted[:, 0])
    assert np.abs(bent.shift - wanted)[known].max() < 0.35
    assert not bent.folds
    assert bent.bending > 100 * straight.bending
    np.testing.assert_allclose(straight.shift, 1, atol=1e-6)


def test_a_fold_is_told():
    points = grid()
    swirl = np.stack([9 * np.sin(points[:, 0] / 3), np.zeros(len(points))], axis=1)
    assert warp(points, swirl, 1.0).folds
    assert warp(points, np.full_like(points, np.nan), 1.0) is None


def test_the_smooth_last_step_brings_bent_slices_closer():
    (a, z_a), (b, z_b) = bent_tissue(2500, seed=0), bent_tissue(2500, seed=1)
    bend = b + np.stack([25 * np.sin(b[:, 1] / 110), np.zeros(len(b))], axis=1)
    rigid, smooth = (
        finish(register_steps(pair_job(a, z_a, bend, z_b, nonrigid=nonrigid)))
        for nonrigid in (False, True)
    )
    assert rigid.bending == {}
    assert smooth.bending["B"] > 0
    assert off(smooth.aligned[len(a) :], b) < 0.8 * off(rigid.aligned[len(a) :], b)
    np.testing.assert_array_equal(smooth.transforms["B"], rigid.transforms["B"])


# --- on integrated slices


@pytest.fixture
def integrated():
    from fakes import fake_result

    _, result = fake_result((400, 400))
    points = np.asarray(result.obsm[K.SPATIAL])
    x, y = (points / points.max(axis=0)).T
    z = np.stack([3 * x, 3 * y, np.sin(5 * x + 3 * y)], axis=1)
    result.obsm[K.EMBEDDING] = z.astype(np.float32)
    return result


def test_register_writes_its_slots_and_a_copy_leaves_the_original(integrated):
    before = integrated.obsm[K.SPATIAL_ALIGNED].copy()
    copied = register(integrated, model="similarity", landmarks=["1", "2"], copy=True)
    np.testing.assert_array_equal(integrated.obsm[K.SPATIAL_ALIGNED], before)
    assert register(integrated, reference="slice2") is None
    np.testing.assert_array_equal(integrated.uns[K.STALIGNER]["transforms"]["slice2"], np.eye(3))
    assert integrated.obs[K.RESIDUAL].median() < 0.5
    assert integrated.obsm[K.SHIFT].shape == (800, 2)
    kept = copied.uns[K.STALIGNER]["registration"]
    assert (kept["model"], list(kept["landmarks"])) == ("similarity", ["1", "2"])
    assert kept["pairs"].tolist() == [["slice1", "slice2"]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "curved"}, "no model 'curved': choose one of rigid, similarity, affine"),
        ({"reference": "X"}, "no slice 'X' to register to: choose one of 'slice1', 'slice2'"),
        ({"landmarks": ["9"]}, "no domain '9' to be a landmark: choose from '1'"),
    ],
)
def test_what_does_not_exist_is_named(integrated, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        register(integrated, **changes)


def test_what_is_missing_is_named(integrated):
    del integrated.obsp[K.MUTUAL]
    with pytest.raises(InputError, match=K.MUTUAL):
        register(integrated)
    alone = integrated[integrated.obs[K.SLICE] == "slice1"].copy()
    alone.obsp[K.MUTUAL] = sparse.csr_matrix((400, 400))
    with pytest.raises(InputError, match="'slice1' is the only one"):
        register(alone)
