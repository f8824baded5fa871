from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scib_reference import PAIRS, all_figures, reference_data

from napari_staligner.core.evaluation import metrics as M
from napari_staligner.core.evaluation.evaluation import EvaluationJob, evaluation_steps
from napari_staligner.core.evaluation.neighborhoods import neighborhood_steps
from napari_staligner.core.progress import finish
from napari_staligner.core.settings import Settings

# scib-metrics 0.5.10 (jax 0.10.2, numpy 2.4.6), printed by `python tests/scib_reference.py`.
SCIB = {
    "overall": {
        "ilisi": 0.6939033269882202,
        "clisi": 0.6742153763771057,
        "kbet": 0.6696969696969697,
        "graph_connectivity": 0.9499676559485172,
        "label_asw": 0.5309797525405884,
        "batch_asw": 0.9040563106536865,
    },
    "0-1": {
        "ilisi": 0.8026169538497925,
        "clisi": 0.6844325661659241,
        "kbet": 0.816,
        "graph_connectivity": 0.9642255892255892,
        "label_asw": 0.5341206192970276,
        "batch_asw": 0.901405930519104,
    },
    "0-2": {
        "ilisi": 0.5755728483200073,
        "clisi": 0.661980152130127,
        "kbet": 0.6,
        "graph_connectivity": 0.9638480392156863,
        "label_asw": 0.5363606810569763,
        "batch_asw": 0.8672197461128235,
    },
    "1-2": {
        "ilisi": 0.8830151557922363,
        "clisi": 0.6513863205909729,
        "kbet": 0.9555555555555556,
        "graph_connectivity": 0.9078260869565218,
        "label_asw": 0.5193413496017456,
        "batch_asw": 0.9176420569419861,
    },
}


@pytest.fixture(scope="module")
def ours() -> dict[str, dict[str, float]]:
    z, labels, slices = reference_data()
    job = EvaluationJob(
        keys=("z",),
        embeddings={"z": z},
        missing=None,
        domains={"z": labels},
        slices=("0", "1", "2"),
        slice_of=slices,
        coordinates=z[:, :2].astype(float),
        connectivities=None,
        label_key="label",
        labels=labels,
        reconstruction={},
        settings=Settings(),
    )
    found = finish(evaluation_steps(job)).figures["z"]
    return {"overall": dict(found.overall)} | {
        "-".join(pair): dict(figures) for pair, figures in found.pairs.items()
    }


@pytest.mark.parametrize("scope", SCIB)
def test_as_scib_metrics_says(ours, scope):
    assert {key: ours[scope][key] for key in SCIB[scope]} == pytest.approx(SCIB[scope], abs=1e-3)


def test_scib_metrics_still_says_so():
    pytest.importorskip("scib_metrics", reason="scib-metrics is not installed (extra 'scib')")
    assert set(SCIB) == {"overall", *("{}-{}".format(*pair) for pair in PAIRS)}
    for scope, figures in all_figures().items():
        assert SCIB[scope] == pytest.approx(figures, abs=1e-3)


def test_weights_have_the_perplexity_and_leave_out_what_is_unusable():
    rng = np.random.default_rng(0)
    distance = np.sort(rng.uniform(0, 500, (5, 60)), axis=1)
    usable = np.ones(distance.shape, bool)
    usable[:, 0] = False
    usable[4] = False
    weights = M.neighbor_weights(distance, usable, 20)
    assert (weights[:, 0] == 0).all()
    assert weights[:4].sum(axis=1) == pytest.approx(1)
    w = weights[:4, 1:]
    assert np.exp(-(w * np.log(np.maximum(w, 1e-300))).sum(axis=1)) == pytest.approx(20, rel=1e-4)
    assert not weights[4].any()
    codes = np.zeros(distance.shape, int)
    assert np.isnan(M.inverse_simpson(weights, codes, 2)[4])


def test_inverse_simpson_counts_kinds():
    weights = np.full((1, 4), 0.25)
    assert M.inverse_simpson(weights, np.array([[0, 1, 2, 3]]), 4) == pytest.approx(4)
    assert M.inverse_simpson(weights, np.array([[0, 0, 1, 1]]), 4) == pytest.approx(2)
    assert M.inverse_simpson(weights, np.array([[3, 3, 3, 3]]), 4) == pytest.approx(1)


def harmony_lisi(z, column):
    """Return the inverse Simpson index of a column, the median over the spots, as harmonypy's."""
    harmonypy = pytest.importorskip("harmonypy", reason="harmonypy is not installed (extra)")
    if int(harmonypy.__version__.partition(".")[0]) < 2:
        pytest.skip("harmonypy before 2 counted the spot itself among the 90")
    frame = pd.DataFrame({"kind": column.astype(str)})
    return float(np.median(harmonypy.compute_lisi(z, frame, ["kind"])))


def test_lisi_is_that_of_harmonypy(ours):
    z, labels, slices = reference_data()
    assert ours["overall"]["ilisi_raw"] == pytest.approx(harmony_lisi(z, slices), rel=1e-6)
    assert ours["overall"]["clisi_raw"] == pytest.approx(harmony_lisi(z, labels), rel=1e-6)
    two = slices != 1
    assert ours["0-2"]["ilisi_raw"] == pytest.approx(harmony_lisi(z[two], slices[two]), rel=1e-6)
    assert 1 < ours["0-2"]["ilisi_raw"] < 2 < ours["overall"]["ilisi_raw"] < 3


def test_lisi_of_labels_is_that_of_the_spots_that_have_one():
    z, labels, slices = reference_data()
    some = np.where(np.random.default_rng(0).random(len(z)) < 0.3, -1, labels)
    found = finish(neighborhood_steps(z, slices, some, [(0, 1, 2)]))[0, 1, 2]
    known = some >= 0
    assert found["clisi_raw"] == pytest.approx(harmony_lisi(z[known], some[known]), rel=1e-6)
    assert found["ilisi_raw"] == pytest.approx(harmony_lisi(z, slices), rel=1e-6)


def test_f1_matches_each_label_with_a_domain_of_its_own():
    labels = np.array([0] * 6 + [1] * 4 + [2] * 2)
    # Domain 0 is nearest to labels 0 and 1, and only one of them may have it.
    domains = np.array([0] * 6 + [0] * 3 + [1] + [2] * 2)
    assert M.matched_f1(labels, domains) == pytest.approx([12 / 15, 2 / 5, 1])
    assert M.matched_f1(labels, np.zeros(12, int)) == pytest.approx([12 / 18, 0, 0])
    assert M.matched_f1(labels, labels[::-1].max() - labels) == pytest.approx([1, 1, 1])
    # A label that no spot bears has none; the match follows F1, not the number of spots.
    assert np.isnan(M.matched_f1(np.array([0, 0, 2]), np.array([1, 1, 0]))[1])
    wide, thin = np.repeat([0, 1], [90, 10]), np.repeat([0, 1, 2], [40, 50, 10])
    assert M.matched_f1(wide, thin) == pytest.approx([100 / 140, 1])


def test_a_label_in_two_pieces_is_half_connected():
    chain = np.arange(8)
    near = np.stack([chain, np.where(chain % 4 == 3, chain - 3, chain + 1)], axis=1)
    assert M.graph_connectivity(near, np.zeros(8, int)) == 0.5
    assert M.graph_connectivity(near, np.repeat([0, 1], 4)) == 1.0
    # A label of two spots that do not point at each other is in two pieces.
    assert M.graph_connectivity(near, np.array([0, -1, 0, -1, -1, -1, -1, -1])) == 0.5
    assert np.isnan(M.graph_connectivity(near, np.full(8, -1)))


def test_silhouettes_are_those_of_scikit_learn():
    from sklearn.metrics import silhouette_samples

    z, labels, slices = reference_data()
    sums = M.silhouette_sums(z, labels, slices, 3, block=100)
    assert sums.label_asw([0, 1, 2]) == pytest.approx(
        (silhouette_samples(z, labels).mean() + 1) / 2, abs=1e-6
    )
    rows = slices < 2
    assert sums.label_asw([0, 1]) == pytest.approx(
        (silhouette_samples(z[rows], labels[rows]).mean() + 1) / 2, abs=1e-6
    )
    assert np.isnan(sums.batch_asw([1]))


def grid(side: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=2).reshape(-1, 2) * 1.0


def test_chaos_and_pas_of_smooth_and_of_scattered_domains():
    points = grid(20)
    halves = (points[:, 0] < 10).astype(int)
    scattered = np.random.default_rng(0).permutation(halves)
    step = 1 / points[:, 0].std()
    # In a half, the nearest spot of the same domain is the next one on the grid.
    assert M.chaos(points, halves) == pytest.approx(step)
    assert M.chaos(points * [3, 7] + 11, halves) == pytest.approx(step)
    assert M.chaos(points, scattered) > 1.02 * step
    assert M.pas(points, halves) == 0
    assert 0.3 < M.pas(points, scattered) < 0.5


def test_chaos_leaves_out_domains_of_two_spots():
    points = grid(4)
    domains = np.zeros(16, int)
    domains[[0, 15]] = 1
    alone = M.chaos(points, domains)
    assert alone == pytest.approx(14 / 16 / points[:, 0].std())


def test_pas_counts_spots_inside_another_domain():
    points, domains = grid(9), np.zeros(81, int)
    domains[40] = 1
    assert M.pas(points, domains) == pytest.approx(1 / 81)
    assert M.pas(points[:1], domains[:1]) == 0


def test_every_metric_is_described():
    for key, metric in M.METRICS.items():
        assert metric.title, key
        assert metric.meaning.endswith("."), key
