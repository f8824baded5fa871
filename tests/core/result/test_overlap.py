"""Where aligned slices overlap, and figures, presence and residuals there."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import fake_result
from typer.testing import CliRunner

from napari_staligner import InputError, evaluate, overlap, register
from napari_staligner import _keys as K
from napari_staligner.cli.app import app
from napari_staligner.core.domains.presence import domain_presence
from napari_staligner.core.result.overlap import common_spots, tissue_outline
from napari_staligner.io.h5ad import write_result


def shifted_result(columns: int = 3):
    """Return two slices of 8 × 8 spots, the second shifted by some columns in the frame."""
    slices, result = fake_result((64, 64))
    result.obsm[K.SPATIAL_ALIGNED] = np.array(result.obsm[K.SPATIAL], dtype=float)
    result.obsm[K.SPATIAL_ALIGNED][64:, 0] += 10 * columns
    result.uns[K.STALIGNER]["transforms"] = {
        "slice1": np.eye(3),
        "slice2": np.array([[1.0, 0, 10 * columns], [0, 1, 0], [0, 0, 1]]),
    }
    result.obs[K.RESIDUAL] = np.ones(128, dtype=np.float32)
    return slices, result


COLUMN = np.tile(np.arange(8), 16)
COMMON = np.where(np.arange(128) < 64, COLUMN >= 3, COLUMN < 5)


def test_spots_on_the_tissue_of_the_other_slice_are_counted():
    _, result = shifted_result()
    overlap(result)
    np.testing.assert_array_equal(result.obs[K.OVERLAPPING], COMMON.astype(int))
    assert result.obs[K.OVERLAPPING].dtype == np.int16
    np.testing.assert_array_equal(common_spots(result), COMMON)
    # A column of the input with that name is not one of ours.
    _, other = shifted_result()
    other.obs[K.OVERLAPPING] = 5
    assert common_spots(other) is None


def test_a_hole_stays_a_hole_and_a_lost_spot_is_none():
    x, y = (each.ravel() for each in np.meshgrid(np.arange(20.0), np.arange(20.0)))
    hole = np.hypot(x - 10, y - 10) < 4
    tissue = tissue_outline(np.stack([x, y], axis=1)[~hole])
    import shapely

    assert not shapely.contains_xy(tissue, 10, 10)
    (only,) = shapely.get_parts(tissue)
    assert len(only.interiors) == 1


def test_slices_that_move_lose_the_column():
    _, result = shifted_result()
    overlap(result)
    register(result)
    assert K.OVERLAPPING not in result.obs


def test_figures_and_presence_where_slices_overlap():
    _, result = shifted_result()
    # In slice 1 alone, the first three columns are another domain.
    names = np.where(COMMON, "both", "alone").astype(object)
    names[64:] = "both"
    result.obs[K.DOMAIN] = names
    result.obs[K.DOMAIN] = result.obs[K.DOMAIN].astype("category")
    everywhere = {(r.label, r.slice): r.spots for r in domain_presence(result).rows}
    overlap(result)
    within = {(r.label, r.slice): r.spots for r in domain_presence(result, COMMON).rows}
    assert everywhere["alone", "slice1"] == 24
    assert within["alone", "slice1"] == 0
    assert within["both", "slice1"] == within["both", "slice2"] == 40
    found = evaluate(result, "region", [K.EMBEDDING], only_overlap=True)
    part = evaluate(result[COMMON].copy(), "region", [K.EMBEDDING])
    assert "80 of 128 spots where all slices have tissue" in found.notes[0]
    got, wanted = (each.figures[K.EMBEDDING].overall for each in (found, part))
    for key in ("ari", "nmi", "ilisi", "batch_asw"):
        assert key not in wanted or got[key] == pytest.approx(wanted[key], nan_ok=True)
    assert len(found.figures[K.EMBEDDING].domains) == 128


def test_slices_side_by_side_are_refused_with_the_remedy():
    _, result = shifted_result(columns=20)
    with pytest.raises(InputError, match="has no tissue where all other slices have some: regis"):
        evaluate(result, None, [K.EMBEDDING], only_overlap=True)
    del result.obsm[K.SPATIAL_ALIGNED]
    with pytest.raises(InputError, match="so no overlap: register the slices first"):
        overlap(result)


def test_the_shell_writes_the_column_and_compares_only_there(tmp_path):
    _, result = shifted_result()
    path = write_result(result, tmp_path / "r.h5ad")
    done = CliRunner().invoke(app, ["overlap", str(path)])
    assert done.exit_code == 0, done.output
    assert "62%" in done.output
    assert "Residuals in spot spacings, where slices overlap" in " ".join(done.output.split())
    from napari_staligner.io.h5ad import read_any

    assert read_any(path)[1].obs[K.OVERLAPPING].sum() == 80
    told = ["evaluate", str(path), "--embedding", K.EMBEDDING, "--only-overlap"]
    done = CliRunner().invoke(app, told)
    assert done.exit_code == 0, done.output
    assert "80 of 128 spots" in done.output
