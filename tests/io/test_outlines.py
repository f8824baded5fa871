"""Outlines of cells: read from each format in its true layout, and given to their spots."""

from __future__ import annotations

import h5py
import made_formats as made
import numpy as np
import pandas as pd
import pytest

from napari_staligner import InputError, read_outlines, read_slices
from napari_staligner import _keys as K
from napari_staligner.core.progress import finish
from napari_staligner.io.outlines import Masks, outlines_job
from napari_staligner.io.slice_card import slice_card_job

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer")


def xenium(folder, **options):
    made.make_xenium(folder)
    return made.put_xenium_rims(folder, **options)


def merscope(folder, **options):
    made.make_merscope(folder)
    return made.put_merscope_rims(folder, **options)


def cosmx(folder):
    made.make_cosmx(folder)
    return made.put_cosmx_rims(folder)


def read(path):
    ((name, adata),) = read_slices([path])
    return name, adata


def middles(outlines):
    """Middle of each outline, from its corners without the last, which is the first."""
    parts = np.split(outlines.corners, outlines.starts[1:-1])
    assert all((part[0] == part[-1]).all() for part in parts)
    return np.array([part[:-1].mean(axis=0) for part in parts]), parts


MAKERS = {
    "Xenium": (xenium, {}, 13, 2.0),
    "Xenium csv": (xenium, {"parquet": False}, 13, 2.0),
    "MERSCOPE": (merscope, {}, 12, 3.0),
    "MERSCOPE hdf5": (merscope, {"parquet": False}, 12, 3.0),
    "CosMx": (cosmx, {}, 10, 2.0),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_each_cell_has_its_own_outline(tmp_path, kind):
    make, options, n, half = MAKERS[kind]
    path = make(tmp_path / "A", **options)
    name, adata = read(tmp_path / "A")
    card = finish(slice_card_job(name, adata).steps())
    assert card.facts["Outlines"] == f"of {n} cells ({path.name})"
    outlines = read_outlines(name, adata)
    assert sorted(outlines.rows) == list(range(adata.n_obs))
    middle, parts = middles(outlines)
    np.testing.assert_allclose(middle, adata.obsm[K.SPATIAL][outlines.rows], atol=1e-3)
    # Of MERSCOPE the middle plane, which is larger.
    assert {float(np.ptp(part, axis=0).max().round(2)) for part in parts} == {2 * half}


def test_cells_without_a_spot_are_left_out_and_said(tmp_path):
    xenium(tmp_path / "A")
    name, adata = read(tmp_path / "A")
    assert read_outlines(name, adata).notes == (
        "Slice 'A': 1 outlines without a spot are left out.",
    )
    few = adata[3:5].copy()
    assert sorted(read_outlines(name, few).rows) == [0, 1]


def test_outlines_of_other_coordinates_are_said(tmp_path):
    path = xenium(tmp_path / "A")
    table = pd.read_parquet(path)
    table[["vertex_x", "vertex_y"]] /= 0.2125
    table.to_parquet(path)
    name, adata = read(tmp_path / "A")
    assert (
        "only 0% of its cells lie within their own outline" in read_outlines(name, adata).notes[1]
    )


def test_polygons_of_a_store_go_before_its_masks_and_nuclei(tmp_path):
    made.make_cell_store(tmp_path / "A.zarr", polygons=True)
    name, adata = read(tmp_path / "A.zarr")
    outlines = read_outlines(name, adata)
    middle, parts = middles(outlines)
    np.testing.assert_allclose(middle, adata.obsm[K.SPATIAL][outlines.rows], atol=1e-3)
    assert np.ptp(parts[0], axis=0).tolist() == [10, 10]
    assert outlines.rows.tolist() == list(range(11, -1, -1))


def test_masks_of_a_store_are_not_read_but_opened(tmp_path):
    made.make_cell_store(tmp_path / "A.zarr", polygons=False)
    name, adata = read(tmp_path / "A.zarr")
    card = finish(slice_card_job(name, adata).steps())
    assert card.facts["Outlines"] == "of 12 cells, as masks (cells)"
    masks = read_outlines(name, adata)
    assert isinstance(masks, Masks)
    assert hasattr(masks.levels[0], "dask")
    np.testing.assert_array_equal(masks.levels[0].compute(), made.MASKED)
    assert masks.numbers.tolist() == list(range(12, 0, -1))
    # A spot lies on the pixels that have its number.
    for (x, y), number in zip(adata.obsm[K.SPATIAL], masks.numbers, strict=True):
        assert made.MASKED[int(y), int(x)] == number


def test_what_is_gone_or_damaged_is_one_sentence_and_the_others_are_read(tmp_path):
    for name in ("A", "B", "C"):
        xenium(tmp_path / name)
    slices = dict(read_slices([tmp_path / name for name in ("A", "B", "C")]))
    (tmp_path / "A" / "cell_boundaries.parquet").unlink()
    (tmp_path / "B" / "cell_boundaries.parquet").write_bytes(b"PAR1 cut")
    found = finish(outlines_job(slices).steps())
    assert list(found.held) == ["C"]
    gone, damaged, left_out = found.problems
    assert "outlines of slice 'A' are not at" in gone
    assert "cannot be read" in damaged
    assert "left out" in left_out
    card = finish(slice_card_job("A", slices["A"]).steps())
    assert card.facts["Outlines"].startswith("not there any more")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="vertex_x"), "has no column 'vertex_x'"),
        (lambda t: t.drop(columns="cell_id"), "has no column 'cell_id'"),
        (lambda t: t.assign(cell_id="x" + t["cell_id"]), "is of a spot of slice 'A'"),
        (lambda t: t.iloc[:0], "is of a spot of slice 'A'"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path, change, said):
    path = xenium(tmp_path / "A")
    name, adata = read(tmp_path / "A")
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(InputError, match=said.replace("[", r"\[")):
        read_outlines(name, adata)


def test_a_folder_whose_files_lead_elsewhere_is_refused(tmp_path):
    path = merscope(tmp_path / "A", parquet=False)
    name, adata = read(tmp_path / "A")
    with h5py.File(path / "feature_data_2.hdf5", "w") as file:
        file["featuredata"] = h5py.ExternalLink("elsewhere.h5", "/x")
    with pytest.raises(InputError, match="refers to another file"):
        read_outlines(name, adata)


def test_a_slice_without_outlines_says_who_has_them(tmp_path):
    made.make_xenium(tmp_path / "A")
    name, adata = read(tmp_path / "A")
    with pytest.raises(InputError, match="'A' came without outlines"):
        read_outlines(name, adata)
