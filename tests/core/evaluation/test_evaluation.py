from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.evaluation import evaluation as E
from napari_staligner.core.evaluation.evaluation import evaluate, evaluation_job, evaluation_steps
from napari_staligner.core.progress import finish


@pytest.fixture
def result():
    _, adata = fake_result((60, 50, 40))
    adata.X = adata.X.astype(np.float32)
    return adata


def test_before_and_after(result):
    before = result.obsm.keys()
    found = evaluate(result, "region")
    assert list(found.figures) == ["X_pca", "STAligner"]
    assert list(found.computed) == ["X_pca"]
    assert result.obsm.keys() == before
    after = found.figures["STAligner"]
    assert list(after.pairs) == [
        ("slice1", "slice2"),
        ("slice1", "slice3"),
        ("slice2", "slice3"),
    ]
    assert list(after.slices) == ["slice1", "slice2", "slice3"]
    # The counts know nothing of the regions, the embedding follows them.
    assert after.overall["clisi"] > 0.9
    assert after.overall["clisi"] > found.figures["X_pca"].overall["clisi"] + 0.3
    assert after.overall["ari"] > found.figures["X_pca"].overall["ari"] + 0.3
    assert after.overall["pas"] < found.figures["X_pca"].overall["pas"]
    assert E.NOT_RECORDED in found.notes


@pytest.mark.parametrize(
    "words", [["nan"], ["NA", "None"], [""], ["n/a", " NaN "], ["<NA>"], [np.nan], [None]]
)
@pytest.mark.parametrize("kind", ["category", object, "string"])
def test_texts_that_say_that_there_is_no_label_are_none(result, words, kind):
    values = result.obs["region"].astype(object)
    away = np.arange(result.n_obs) % 10 == 0
    plain = values.where(~away, np.nan)
    values[away] = np.array(words, dtype=object)[np.arange(away.sum()) % len(words)]
    result.obs["lab"] = values.astype(kind)
    result.obs["plain"] = plain
    job, wanted = evaluation_job(result, "lab"), evaluation_job(result, "plain")
    np.testing.assert_array_equal(job.labels, wanted.labels)
    assert (job.labels == -1).sum() == away.sum()
    notes = " ".join(E._notes(job))
    assert f"{away.sum()} spots have no label in obs['lab']" in notes
    texts = {word for word in words if isinstance(word, str)}
    assert all(repr(word) in notes for word in texts)
    assert ("is taken as no label" in notes) == bool(texts)


def test_labels_that_are_no_texts_stay_as_they_are(result):
    for values in (np.arange(result.n_obs) % 3, np.arange(result.n_obs) % 2 == 0):
        result.obs["lab"] = values
        job = evaluation_job(result, "lab")
        assert (job.labels >= 0).all()
        assert job.notes == ()


def test_a_pair_is_judged_as_if_there_were_no_other_slice(result):
    """Neighbours, silhouettes and agreement of a pair come from its own spots only."""
    found = evaluate(result, "region", ["STAligner"]).figures["STAligner"]
    two = result[result.obs[K.SLICE].isin(["slice1", "slice3"])].copy()
    alone = evaluate(two, "region", ["STAligner"]).figures["STAligner"]
    pair = found.pairs["slice1", "slice3"]
    assert pair == pytest.approx(alone.pairs["slice1", "slice3"])
    assert pair == pytest.approx({key: alone.overall[key] for key in pair})


def test_spots_may_come_in_any_order(result):
    order = np.random.default_rng(0).permutation(result.n_obs)
    sorted_, shuffled = (
        evaluate(adata, "region", ["STAligner"]).to_frame() for adata in (result, result[order])
    )
    # On a grid, which of several spots as near are the 10 nearest is for the order to say.
    sorted_, shuffled = (f[f["metric"] != "pas"] for f in (sorted_, shuffled))
    pd.testing.assert_frame_equal(sorted_, shuffled)


def test_the_frame_and_the_dictionary_hold_the_same(result):
    result.uns[K.STALIGNER][K.RECONSTRUCTION_BY_SLICE] = {"slice1": 0.5, "slice2": 1, "slice3": 2}
    found = evaluate(result, "region", ["STAligner"])
    assert E.NOT_RECORDED not in found.notes
    frame = found.to_frame()
    at = frame.set_index(["scope", "first", "metric"])["value"].sort_index()
    assert at["slice", "slice2", "reconstruction"].item() == 1
    assert at["overall", "", "reconstruction"].item() == pytest.approx(
        np.average([0.5, 1, 2], weights=[60, 50, 40])
    )
    plain = json.loads(json.dumps(found.to_dict()))["embeddings"]["STAligner"]
    assert plain["overall"]["ari"] == at["overall", "", "ari"].item()
    assert plain["pairs"][0]["slices"] == ["slice1", "slice2"]
    assert plain["slices"]["slice3"]["reconstruction"] == 2
    assert set(plain["labels"]) == {"lower", "upper"}
    assert plain["labels"]["upper"]["f1"] == at["label", "upper", "f1"].item()
    assert plain["overall"]["f1"] == pytest.approx(
        np.mean([label["f1"] for label in plain["labels"].values()])
    )


def test_without_labels(result):
    found = evaluate(result, embeddings=["STAligner"])
    assert set(found.figures["STAligner"].overall) == {
        "ilisi_raw",
        "ilisi",
        "ilisi_unweighted",
        "kbet",
        "batch_asw",
        "chaos",
        "pas",
    }
    assert E.NO_LABELS in found.notes


def test_spots_without_a_label_are_left_out(result):
    labels = result.obs["region"].astype(object)
    labels[result.obs[K.DOMAIN] == "2"] = np.nan
    result.obs["partly"] = labels
    found = evaluate(result, "partly", ["STAligner"])
    known = result[result.obs["partly"].notna()].copy()
    alone = evaluate(known, "partly", ["STAligner"]).figures["STAligner"].overall
    overall = found.figures["STAligner"].overall
    for metric in ("ari", "nmi", "f1", "label_asw", "batch_asw", "clisi", "clisi_raw"):
        assert overall[metric] == pytest.approx(alone[metric])
    assert any("have no label in obs['partly']" in note for note in found.notes)
    assert found.figures["STAligner"].labels == pytest.approx(
        evaluate(known, "partly", ["STAligner"]).figures["STAligner"].labels
    )


def test_silhouettes_of_many_spots_rest_on_a_sample(result, monkeypatch):
    monkeypatch.setattr(E, "SILHOUETTE_SPOTS", 100)
    one, two = (evaluate(result, "region", ["STAligner"]) for _ in range(2))
    assert any("100 of the 150 spots" in note for note in one.notes)
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame())


def test_domains_of_other_embeddings_are_found_in_the_same_way(result):
    result.obsm["other"] = result.obsm[K.EMBEDDING].copy()
    result.uns[K.STALIGNER]["params"]["domains"] = 4
    found = evaluate(result, "region", ["other", "STAligner"])
    assert len(np.unique(found.figures["other"].domains)) == 4
    assert found.figures["other"].overall == pytest.approx(found.figures["STAligner"].overall)


def test_one_slice_has_no_figures_of_mixing(result):
    one = result[result.obs[K.SLICE] == "slice1"].copy()
    overall = evaluate(one, "region", ["STAligner"]).figures["STAligner"].overall
    assert np.isnan(overall["ilisi"])
    assert np.isnan(overall["kbet"])
    assert overall["clisi"] > 0.9


def test_progress_grows_to_its_total(result):
    steps = []
    finish(evaluation_steps(evaluation_job(result, "region")), steps.append)
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert done[-1] == steps[-1].total
    assert {step.total for step in steps} == {steps[-1].total}


def test_bad_input(result):
    for arguments, words in (
        (("nothing",), "no obs\\['nothing'\\] to compare with: choose one of 'region'"),
        (("depth",), "150 labels for 150 spots|choose a column of regions"),
        ((None, ["missing"]), "obsm\\['missing'\\] is not in the file"),
        ((None, []), "no embedding to evaluate"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate(result, *arguments)
    result.obsm["broken"] = np.full((result.n_obs, 2), np.nan)
    with pytest.raises(InputError, match="not finite for 150 spots"):
        evaluate(result, embeddings=["broken"])
    result.obs["same"] = "a"
    with pytest.raises(InputError, match="holds 1 label:"):
        evaluate(result, "same")
    del result.obs[K.SLICE]
    with pytest.raises(InputError, match="no obs\\['slice'\\]"):
        evaluate(result)


def test_unweighted_lisi_is_the_plain_index_of_the_89_others(result):
    from sklearn.neighbors import NearestNeighbors

    overall = evaluate(result, "region", ["STAligner"]).figures["STAligner"].overall
    near = NearestNeighbors(n_neighbors=90).fit(result.obsm[K.EMBEDDING]).kneighbors()[1][:, :89]
    for metric, column, scale in (
        ("ilisi_unweighted", K.SLICE, lambda index: (index - 1) / 2),
        ("clisi_unweighted", "region", lambda index: 2 - index),
    ):
        codes = pd.factorize(result.obs[column])[0]
        shares = np.stack([(codes[near] == code).mean(axis=1) for code in np.unique(codes)])
        index = np.median(1 / np.square(shares).sum(axis=0))
        assert overall[metric] == pytest.approx(scale(index))


def test_pairs_with_a_slice_of_a_few_spots_have_no_figures(result):
    """A spot's neighbourhood needs some; and a spot a slice would make thousands of pairs."""
    few = np.array(result.obs[K.SLICE].astype(str), dtype=object)
    rows = np.flatnonzero(few == "slice3")
    few[rows[:-5]] = [f"single{i}" for i in range(len(rows) - 5)]
    all_figures = evaluate(result, "region", ["STAligner"]).figures["STAligner"]
    result.obs[K.SLICE] = pd.Categorical(few)
    found = evaluate(result, "region", ["STAligner"])
    n = len(rows) - 5 + 3
    assert E.FEW_SPOTS.format(n=n - 2, all=n, least=15) in found.notes
    figures = found.figures["STAligner"]
    assert len(figures.pairs) == n * (n - 1) // 2
    known = {pair for pair, of in figures.pairs.items() if np.isfinite(of["ilisi"])}
    assert known == {("slice1", "slice2")}
    assert all(set(of) == set(figures.overall) - {"chaos", "pas"} for of in figures.pairs.values())
    expected = all_figures.pairs["slice1", "slice2"]
    assert figures.pairs["slice1", "slice2"] == pytest.approx(expected)
    # All spots together are judged as ever.
    assert figures.overall["clisi"] == pytest.approx(all_figures.overall["clisi"])
    assert figures.overall["ari"] == pytest.approx(all_figures.overall["ari"])
    assert np.isfinite(figures.overall["ilisi"])


def test_slices_that_no_set_tells_apart_are_searched_together(result):
    from napari_staligner.core.evaluation.neighborhoods import _groups

    number = result.obs[K.SLICE].cat.codes.to_numpy()
    labels = np.where(np.arange(result.n_obs) % 7 == 0, -1, 0)
    groups, parts = _groups(number, labels, [(0, 1, 2)])
    assert parts == [(0, True), (0, False)]
    np.testing.assert_array_equal(np.sort(np.concatenate(groups)), np.arange(result.n_obs))
    groups, parts = _groups(number, None, [(0, 1, 2), (0, 2)])
    assert parts == [(0, True), (1, True)]
    assert set(number[groups[0]]) == {0, 2}
