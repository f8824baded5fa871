from __future__ import annotations

import numpy as np
import pytest

from napari_staligner.core.progress import finish
from napari_staligner.core.result.confidence import confidence_steps


def groups(counts: list[tuple[int, int]], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two groups that touch, ``counts`` spots of each in each slice; z and group."""
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.repeat([0, 1], n) for n in counts])
    z = rng.normal(size=(len(group), 8))
    z[:, 0] += 5 * group
    return z.astype(np.float32), group


def confidence_of(z: np.ndarray, sizes: list[int]) -> np.ndarray:
    return finish(confidence_steps(z, sizes))


def test_confidence_is_low_where_only_one_slice_lies():
    rng = np.random.default_rng(0)
    shared, lone = rng.normal(size=(600, 5)), rng.normal(size=(100, 5)) + 12
    z = np.vstack([shared[:300], lone, shared[300:]]).astype(np.float32)
    confidence = confidence_of(z, [400, 300])
    assert confidence.dtype == np.float32
    assert confidence[300:400].max() < 0.05
    assert np.median(np.delete(confidence, np.s_[300:400])) > 0.8
    assert confidence.min() >= 0
    assert confidence.max() <= 1


def test_a_group_that_is_missing_scores_low_and_one_that_is_rare_does_not():
    missing, group = groups([(600, 400), (1000, 0)])
    rare, _ = groups([(600, 400), (960, 40)])
    low, high = (confidence_of(z, [1000, 1000])[:1000] for z in (missing, rare))
    lone = group[:1000] == 1
    assert np.median(low[lone]) < 0.1
    assert np.median(high[lone]) > 0.6
    assert np.median(low[~lone]) > 0.9


def test_walks_over_drawn_spots_tell_the_same_of_every_spot(monkeypatch):
    z, group = groups([(600, 400), (1000, 0)])
    whole = confidence_of(z, [1000, 1000])
    monkeypatch.setattr("napari_staligner.core.result.confidence.MOST", 500)
    drawn = confidence_of(z, [1000, 1000])
    lone = group[:1000] == 1
    assert np.median(drawn[:1000][lone]) < 0.15
    assert np.median(drawn[:1000][~lone]) > 0.9
    assert not np.array_equal(drawn, whole)
    assert np.array_equal(drawn, confidence_of(z, [1000, 1000]))


@pytest.mark.parametrize("sizes", [(200, 4000), (4000, 200), (150, 900, 4000)])
def test_a_slice_of_few_spots_is_no_reason_to_doubt_one_of_many(sizes):
    z, _ = groups([(n // 2, n // 2) for n in sizes])
    confidence = np.split(confidence_of(z, list(sizes)), np.cumsum(sizes)[:-1])
    for of_slice in confidence:
        assert (of_slice < 0.5).mean() < 0.01
        assert np.median(of_slice) > 0.9


def test_what_a_slice_of_few_spots_lacks_still_scores_low():
    z, group = groups([(300, 0), (2000, 2000)])
    many, of_many = confidence_of(z, [300, 4000])[300:], group[300:]
    assert np.median(many[of_many == 1]) < 0.1
    assert np.median(many[of_many == 0]) > 0.9


def test_of_many_slices_each_is_compared_with_some():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20, 60, 5)).astype(np.float32)
    z[-1, :30] += 20
    found = finish(confidence_steps(z.reshape(-1, 5), [60] * 20, 20)).reshape(20, 60)
    assert (found[:-1].mean(axis=1) > 0.7).all()
    assert found[-1, :30].max() < 0.05


def test_missing_in_one_of_two_others_is_about_a_half():
    z, group = groups([(300, 300), (300, 300), (600, 0)])
    confidence = confidence_of(z, [600] * 3)
    assert np.median(confidence[:600][group[:600] == 1]) == pytest.approx(0.5, abs=0.1)


def test_a_shift_of_one_slice_costs_confidence():
    z, _ = groups([(300, 300), (300, 300)])
    z[600:, 1] += 6
    assert np.median(confidence_of(z, [600, 600])) < 0.6


def test_confidence_of_a_single_slice_is_zero():
    assert not confidence_of(np.ones((5, 2), dtype=np.float32), [5]).any()


def test_few_spots_and_doubled_ones():
    z = np.repeat(np.eye(3, dtype=np.float32), 60, axis=0)
    confidence = confidence_of(np.vstack([z, z[:4]]), [180, 4])
    assert np.isfinite(confidence).all()
    assert confidence.max() <= 1


@pytest.mark.parametrize(("layer", "reached"), [("WM", 0.9), ("Layer1", 0.75)])
def test_a_layer_removed_from_three_slices_scores_low(shared_data, layer, reached):
    """Without training: genes averaged over neighbours, each slice centred on what all have."""
    from scipy import sparse
    from sklearn.metrics import roc_auc_score

    from napari_staligner import Settings, read_slices
    from napari_staligner.core.evaluation.baselines import leading_components
    from napari_staligner.core.integrate import prepare_steps
    from napari_staligner.core.prepare.graph import graph_steps

    names = [f"DLPFC_{number}" for number in range(151673, 151677)]
    slices = read_slices([shared_data / f"{name}.h5ad" for name in names])
    first, *others = slices
    slices = [
        first,
        *((name, a[(a.obs["layer"] != layer).to_numpy()].copy()) for name, a in others),
    ]
    settings = Settings(n_top_genes=2000)
    prepared = finish(prepare_steps(slices, settings))
    ready, expression = prepared.slices, prepared.expression
    graphs = finish(graph_steps([(name, a.obsm["spatial"]) for name, a in ready], settings))
    graph = sparse.block_diag([g.connectivities for g in graphs.values()]).tocsr()
    near = graph + sparse.identity(graph.shape[0])
    z = sparse.diags(1 / np.asarray(near.sum(axis=1)).ravel()) @ near @ expression.stacked()
    z = leading_components(sparse.csr_matrix(z))[:, :20]
    sizes = [a.n_obs for _, a in ready]
    known = np.concatenate([a.obs["layer"].astype(str).to_numpy() for _, a in ready])
    lone = known == layer
    for rows in np.split(np.arange(len(z)), np.cumsum(sizes)[:-1]):
        z[rows] -= z[rows][~lone[rows]].mean(axis=0)
    confidence = confidence_of(z, sizes)
    assert roc_auc_score(lone, -confidence) >= reached
