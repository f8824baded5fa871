"""Spots off the tissue, or without counts, are counted, said and left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from tiny import QUICK, tiny_pair, tiny_slice

from napari_staligner import integrate
from napari_staligner.core.prepare.spots import mark_of, off_tissue, same_slices, used_spots
from napari_staligner.core.result.provenance import options_of
from napari_staligner.core.settings import Settings

OFF = np.arange(64) < 6

SAID = {
    "numbers": np.where(OFF, 0, 1),
    "floats": np.where(OFF, 0.0, 1.0),
    "truths": ~OFF,
    "text": np.where(OFF, "0", "1"),
    "text of truths": np.where(OFF, "False", "True"),
    "R's truths": np.where(OFF, "FALSE", "TRUE"),
    "categories": pd.Categorical(np.where(OFF, 0, 1)),
    "with missing": pd.array([0] * 6 + [None] * 4 + [1] * 54, dtype="Int64"),
}


@pytest.mark.parametrize("values", SAID.values(), ids=SAID)
@pytest.mark.parametrize("column", ["in_tissue", "In_Tissue", "tissue"])
def test_off_tissue_however_it_is_said(values: object, column: str) -> None:
    obs = tiny_slice().obs.assign(**{column: values})
    off, said_by = off_tissue(obs)
    np.testing.assert_array_equal(off, OFF)
    assert said_by == column


@pytest.mark.parametrize("values", ["brain", 2, np.arange(64)], ids=str)
def test_another_column_of_that_name_says_nothing(values: object) -> None:
    off, _ = off_tissue(tiny_slice().obs.assign(tissue=values))
    assert not off.any()


def pair() -> list[tuple[str, AnnData]]:
    """Six spots of A off the tissue, and three of B without counts."""
    (_, a), (_, b) = slices = tiny_pair()
    a.obs["in_tissue"] = np.where(OFF, 0, 1)
    b.X = b.X.toarray()
    b.X[10:13] = 0
    return slices


def test_they_are_left_out_and_counted() -> None:
    slices = pair()
    result = integrate(slices, settings=QUICK)
    notes = " ".join(result.uns["staligner"]["notes"])
    assert "Slice 'A': spots off the tissue (obs['in_tissue']): 6, which were left out" in notes
    assert "Slice 'B': spots without counts: 3, which were left out" in notes
    assert result.obs["slice"].value_counts().to_dict() == {"A": 58, "B": 53}
    assert "spot10_B" not in result.obs_names
    assert slices[0][1].n_obs == 64
    kept = integrate(slices, settings=QUICK, all_spots=True)
    assert kept.n_obs == 120
    assert "3, which are kept" in " ".join(kept.uns["staligner"]["notes"])


def test_a_slice_is_never_left_without_spots() -> None:
    adata = tiny_slice()
    adata.obs["in_tissue"] = 0
    assert used_spots("A", adata, None, all_spots=False)[0] is adata


def test_the_shell_is_told() -> None:
    assert "--all-spots" in options_of(Settings(all_spots=True), ["A"])
    assert "--all-spots" not in options_of(Settings(), ["A"])


def test_a_slice_that_is_given_twice_is_said() -> None:
    (_, a), (_, b) = tiny_pair()
    again = a.copy()
    again.obs_names = [f"other{i}" for i in range(64)]
    marks = [mark_of(adata, None) for adata in (a, b, again)]
    (note,) = same_slices(["A", "B", "C"], marks)
    assert note.startswith("Slices 'A' and 'C' are the same")


def test_the_window_shows_what_was_integrated() -> None:
    from napari_staligner.session import Session

    session = Session()
    slices = pair()
    session.add(slices)
    session.set_result(integrate(slices, settings=QUICK))
    shown = session.slices
    assert {name: adata.n_obs for name, adata in shown.items()} == {"A": 58, "B": 53}
    assert shown["B"].obs_names.tolist() == np.delete(slices[1][1].obs_names, [10, 11, 12]).tolist()
    assert slices[0][1].n_obs == 64
