"""SpatialData stores, and AnnData with a choice of counts."""

from __future__ import annotations

import made_formats as made
import numpy as np
import pytest
from anndata import AnnData
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.record import annotations_of
from napari_staligner.core.prepare.counts import with_counts_layer
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.core.result.provenance import source_of
from napari_staligner.io.anndata import is_result
from napari_staligner.io.export.spatialdata import to_spatialdata
from napari_staligner.io.formats.read import read_found
from napari_staligner.io.formats.sniff import sniff
from napari_staligner.io.images import shown_picture, tissue_image

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer")
XY = np.column_stack([np.arange(12) * 3.0 + 1, np.arange(12) % 4 * 5.0 + 1])


def test_a_region_of_a_table_is_a_slice(tmp_path):
    found = sniff(made.make_store(tmp_path / "A.zarr"))
    assert (found.kind, found.name, found.choices["table"]) == ("spatialdata", "A", ("table",))
    ((name, adata),) = read_found(found)
    assert (name, adata.shape) == ("A", (12, 5))
    # The table names its instances from the last to the first.
    np.testing.assert_allclose(adata.obsm[K.SPATIAL], XY[::-1])
    np.testing.assert_array_equal(adata.X.toarray(), made.counts())
    pixels, factor = tissue_image(adata)
    assert (pixels.shape, factor) == ((60, 80, 3), 2)
    assert (
        "coordinate system 'global' by default ([system=…] chooses: aligned)"
        in (notes_of("A", adata)[0])
    )


def test_another_coordinate_system(tmp_path):
    found = sniff(made.make_store(tmp_path / "A.zarr"))
    ((_, adata),) = read_found(found, {"system": "aligned", "table": "table"})
    np.testing.assert_allclose(adata.obsm[K.SPATIAL], XY[::-1] * 10)
    assert tissue_image(adata) is None
    assert "'he' is not in 'aligned'" in notes_of("A", adata)[0]


def test_an_image_that_is_turned_lies_where_the_store_says(tmp_path):
    ((_, adata),) = read_found(sniff(made.make_store(tmp_path / "A.zarr", turned=True)))
    picture = shown_picture(adata)
    np.testing.assert_allclose(picture.matrix, made.TURNED)
    assert picture.scan.size == (60, 80)
    # The small one, for exports, is drawn straight: a spot lies on the same colour.
    pixels, factor = tissue_image(adata)
    column, row = 30, 20
    x, y = (picture.matrix @ (column, row, 1))[:2]
    there = pixels[round(y * factor), round(x * factor)].astype(int)
    assert abs(there - picture.scan.levels[0][row, column].compute().astype(int)).max() < 60


def test_an_image_that_no_spot_lies_on_is_not_shown(tmp_path):
    place = np.array([[0, 0.5, 0], [-0.5, 0, 0], [0, 0, 1]])
    ((_, adata),) = read_found(sniff(made.make_store(tmp_path / "A.zarr", turned=place)))
    assert shown_picture(adata) is None
    assert "'he' is not shown: 12 of 12 spots lie outside of it" in notes_of("A", adata)[-1]


def test_several_regions_are_several_slices(tmp_path):
    store = made.make_store(tmp_path / "A.zarr", regions=("liver", "lung"))
    slices = dict(read_found(sniff(store)))
    assert list(slices) == ["liver", "lung"]
    np.testing.assert_allclose(slices["lung"].obsm[K.SPATIAL], XY[::-1] + 1)


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"system": "x"}, "no coordinate system 'x': choose one of global, aligned"),
        ({"table": "x"}, "no table 'x': choose one of table"),
        ({"image": "x"}, "no image 'x': choose one of he"),
        ({"bin": "8"}, "'bin' cannot be chosen: choose table, system, image"),
    ],
)
def test_choices_that_are_not_there(tmp_path, chosen, says):
    with pytest.raises(InputError, match=says):
        read_found(sniff(made.make_store(tmp_path / "A.zarr")), chosen)


def test_what_we_write_we_read(tmp_path):
    """As a result without a choice; a slice where its table is chosen."""
    slices, result = fake_result()
    store = to_spatialdata(result, annotations_of(result))
    store.write(tmp_path / "out.zarr")
    found = sniff(tmp_path / "out.zarr")
    ((_, whole),) = read_found(found)
    assert is_result(whole)
    for name, _ in slices:
        ((_, adata),) = read_found(found, {"table": f"{name}_table"})
        rows = (result.obs[K.SLICE] == name).to_numpy()
        np.testing.assert_allclose(adata.obsm[K.SPATIAL], result.obsm[K.SPATIAL][rows], rtol=1e-6)
        assert (adata.obs[K.SLICE] == name).all()
        assert f"in the coordinate system {name!r}" in notes_of("A", adata)[-2]
        assert tissue_image(adata) is not None


@pytest.fixture
def layered(tmp_path):
    adata = AnnData(np.log1p(made.counts().astype("f4")))
    adata.raw = AnnData(made.counts().astype("f4") + 2)
    adata.layers["raw_counts"] = made.counts().astype("f4")
    adata.obsm[K.SPATIAL] = XY
    adata.write_h5ad(tmp_path / "A.h5ad")
    adata.write_zarr(tmp_path / "A.zarr")
    return tmp_path


@pytest.mark.parametrize("name", ["A.h5ad", "A.zarr"])
@pytest.mark.parametrize(("asked", "more"), [("raw_counts", 0), ("raw", 2)])
def test_counts_of_a_layer_or_of_raw(layered, name, asked, more):
    ((_, adata),) = read_found(sniff(layered / name), {"counts": asked})
    assert source_of(adata).choices == {"counts": asked}
    held, layer, _ = with_counts_layer("A", adata, None)
    np.testing.assert_array_equal(np.asarray(held.layers[layer]), made.counts() + more)
    np.testing.assert_allclose(adata.obsm[K.SPATIAL], XY)
    assert adata.uns[K.SOURCE]["path"].endswith(name)
    with pytest.raises(InputError, match=r"choose one of 'raw_counts', 'raw'"):
        read_found(sniff(layered / name), {"counts": "x"})


def test_row_ends_outside_of_a_table_are_refused_before_rows_are_taken(tmp_path):
    import zarr

    path = made.make_store(tmp_path / "A.zarr")
    (ends,) = path.glob("tables/*/X/indptr")
    zarr.open(str(ends), mode="r+")[1:] = 10**9
    with pytest.raises(InputError, match=r"A\.zarr/tables/table'.*: X is a damaged sparse matrix"):
        read_found(sniff(path))
