"""What integrated slices are read by."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner.core.domains.presence import record_presence, recorded_presence
from napari_staligner.core.registration.anndata import Choice
from napari_staligner.core.result.renaming import rename_slices
from napari_staligner.core.result.verdicts import Verdict, read_verdicts, write_verdicts


def told(value) -> str:
    """All that a slot says, as text."""
    if isinstance(value, pd.DataFrame):
        return value.to_csv()
    return json.dumps(value, default=lambda x: x.tolist() if hasattr(x, "tolist") else told(x))


@pytest.fixture
def result():
    """Return a result in which every slot that tells of slices is filled."""
    result = fake_result()[1]
    kept = result.uns[K.STALIGNER]
    kept["radius"] = {"slice1": 15.0}
    kept["params"]["pairs"] = np.array([["slice1", "slice2"]], dtype=object)
    kept[K.RECONSTRUCTION_BY_SLICE] = {"slice1": 0.4, "slice2": 0.5}
    kept[K.PROVENANCE] = {"sources": {"slice1": {"path": "a.h5ad"}}}
    kept["registration"] = {
        "reference": "slice2",
        "pairs": np.array([["slice1", "slice2"]], dtype=object),
        "bending": {"slice1": 1.0},
    }
    kept["annotations"] = {"shapes": {"slice": np.array(["slice2"], dtype=object)}}
    record_presence(result)
    verdict = Verdict("slice1", "slice2", "1", "aligned", "", "me", "2026-01-01T00:00:00", 9)
    write_verdicts(result, [verdict])
    return result


def test_renamed_slices_are_known_by_their_new_names_only(result):
    names = {"slice1": "left", "slice2": "right"}
    rename_slices(result, names)
    assert list(result.obs[K.SLICE].cat.categories) == ["left", "right"]
    for slot in (result.uns[K.STALIGNER], {"images": list(result.uns[K.SPATIAL])}):
        assert "slice1" not in told(slot)
        assert "slice2" not in told(slot)
        assert "left" in told(slot)
    # What is read by these names is found by them.
    assert {row.slice for row in recorded_presence(result).rows} == {"left", "right"}
    (verdict,) = read_verdicts(result)
    assert verdict.pair == ("left", "right")
    assert Choice.read(result.uns[K.STALIGNER]["registration"]).reference == "right"


def test_names_may_be_exchanged(result):
    rename_slices(result, {"slice1": "slice2", "slice2": "slice1"})
    assert list(result.obs[K.SLICE].cat.categories) == ["slice2", "slice1"]
    kept = result.uns[K.STALIGNER]
    assert kept[K.RECONSTRUCTION_BY_SLICE] == {"slice2": 0.4, "slice1": 0.5}
    assert kept["registration"]["reference"] == "slice1"


def test_the_same_names_change_nothing(result):
    before = told(result.uns[K.STALIGNER])
    rename_slices(result, {"slice1": "slice1", "slice2": "slice2"})
    assert told(result.uns[K.STALIGNER]) == before
