"""Coordinates are read rightly however a file has them, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from tiny import tiny_slice

from napari_staligner import InputError
from napari_staligner.core.prepare.coordinates import with_places
from napari_staligner.core.prepare.notes import notes_of


def xy() -> np.ndarray:
    return tiny_slice().obsm["spatial"]


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns, index=tiny_slice().obs_names)


def in_obs(x: str, y: str) -> Callable[[AnnData], None]:
    def move(adata: AnnData) -> None:
        adata.obs[x], adata.obs[y] = adata.obsm["spatial"].T
        del adata.obsm["spatial"]

    return move


def in_spatial(value: object) -> Callable[[AnnData], None]:
    return lambda adata: adata.obsm.update(spatial=value)


def positions(*, barcodes: bool = False, in_tissue: bool = True) -> np.ndarray:
    """The columns of tissue_positions."""
    grid = xy() / 10
    columns = [grid[:, 1], grid[:, 0], xy()[:, 1], xy()[:, 0]]
    columns = [np.ones(64), *columns] if in_tissue else columns
    values = np.column_stack(columns)
    if not barcodes:
        return values
    return np.column_stack([tiny_slice().obs_names.to_numpy(object), values.astype(object)])


def another_slot(adata: AnnData) -> None:
    adata.obsm["X_spatial"] = adata.obsm.pop("spatial")


READ = {
    "DataFrame": in_spatial(table(x=xy()[:, 0], y=xy()[:, 1])),
    "DataFrame y, x": in_spatial(table(y=xy()[:, 1], x=xy()[:, 0])),
    "DataFrame of pixels": in_spatial(
        table(pxl_row_in_fullres=xy()[:, 1], pxl_col_in_fullres=xy()[:, 0])
    ),
    "DataFrame of two nameless": in_spatial(table(a=xy()[:, 0], b=xy()[:, 1])),
    "text": in_spatial(xy().astype(str)),
    "objects": in_spatial(xy().astype(object)),
    "half floats": in_spatial(xy().astype(np.float16)),
    "whole numbers": in_spatial(xy().astype(np.uint16)),
    "sparse": in_spatial(sparse.csr_matrix(xy())),
    "constant z": in_spatial(np.c_[xy(), np.full(64, 7.0)]),
    "z without values": in_spatial(np.c_[xy(), np.full(64, np.nan)]),
    "tissue_positions": in_spatial(positions()),
    "tissue_positions with barcodes": in_spatial(positions(barcodes=True)),
    "tissue_positions without in_tissue": in_spatial(positions(in_tissue=False)),
    "X_spatial": another_slot,
    "obs x, y": in_obs("x", "y"),
    "obs X, Y": in_obs("X", "Y"),
    "obs pixels": in_obs("pxl_col_in_fullres", "pxl_row_in_fullres"),
    "obs of Seurat": in_obs("imagecol", "imagerow"),
    "obs of Xenium": in_obs("x_centroid", "y_centroid"),
    "obs of CosMx": in_obs("CenterX_global_px", "CenterY_global_px"),
    "obs array": in_obs("array_col", "array_row"),
}
SILENT = {"DataFrame", "objects", "half floats", "whole numbers", "sparse", "z without values"}


@pytest.mark.parametrize("change", READ.values(), ids=READ)
def test_read_rightly_and_said(change: Callable[[AnnData], None], request) -> None:
    adata = tiny_slice()
    change(adata)
    before = list(adata.obsm)
    found = with_places("A", adata)
    np.testing.assert_array_equal(np.asarray(found.obsm["spatial"], float), xy())
    assert list(adata.obsm) == before, "the user's slice was changed"
    (kind,) = (kind for kind in READ if f"[{kind}]" in request.node.name)
    assert bool(notes_of("A", found)) is (kind not in SILENT)
    again = with_places("A", found)
    assert notes_of("A", again) == notes_of("A", found)


def test_the_rows_of_a_hexagonal_array_are_a_root_of_three_apart() -> None:
    adata = tiny_slice()
    row, column = np.divmod(np.arange(64), 8)
    adata.obs["array_row"], adata.obs["array_col"] = row, 2 * column + row % 2
    del adata.obsm["spatial"]
    found = with_places("A", adata).obsm["spatial"]
    # All six neighbours are equally far.
    near = np.sort(np.linalg.norm(found - found[27], axis=1))[1:7]
    np.testing.assert_allclose(near, 2)


NOWHERE = {
    "(-1, -1)": (slice(0, 6), (-1, -1), 6),
    "one at (-1, -1)": (slice(0, 1), (-1, -1), 1),
    "(0, 0)": (slice(0, 6), (0, 0), 6),
    "a place of many": (slice(0, 9), (35, 35), 9),
    "NaN": (slice(3, 4), (np.nan, 5), 1),
    "infinite": (slice(3, 5), (np.inf, np.inf), 2),
}


@pytest.mark.parametrize(("rows", "place", "n"), NOWHERE.values(), ids=NOWHERE)
def test_spots_without_a_place_are_left_out_and_counted(rows, place, n) -> None:
    adata = tiny_slice()
    adata.obsm["spatial"] += 10
    adata.obsm["spatial"][rows] = place
    found = with_places("A", adata)
    assert found.n_obs == 64 - n
    assert found.obs_names.tolist() == np.delete(adata.obs_names, rows).tolist()
    (note,) = notes_of("A", found)
    assert note.startswith(f"Slice 'A': {n} spot")
    assert adata.n_obs == 64


def test_places_that_some_spots_share_are_kept() -> None:
    adata = tiny_slice()
    adata.obsm["spatial"][1::2] = adata.obsm["spatial"][::2]
    adata.obsm["spatial"] -= 30  # one of them is the origin, another (-10, -10)
    assert with_places("A", adata) is adata


REFUSED = {
    "one place": (np.zeros((64, 2)), "all spots lie at one place"),
    "no numbers": (np.full((64, 2), "far"), "numeric x and y"),
    "truths": (np.ones((64, 2), bool), "numeric x and y"),
    "one column": (np.ones((64, 1)), "numeric x and y"),
    "depths": (np.c_[xy(), np.arange(64)], "one slice of each depth"),
    "many columns": (np.random.default_rng(0).normal(size=(64, 7)), "7 dimensions"),
    "mostly NaN": (np.where(np.arange(64)[:, None] < 40, np.nan, xy()), "24 of 64 spots"),
}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_with_the_reason(value: np.ndarray, reason: str) -> None:
    adata = tiny_slice()
    adata.obsm["spatial"] = value
    with pytest.raises(InputError, match=rf"Slice 'A': .*{reason}"):
        with_places("A", adata)


def test_spots_on_one_line_are_said() -> None:
    adata = tiny_slice()
    adata.obsm["spatial"][:, 1] = 3
    adata.obsm["spatial"][:, 0] = np.arange(64)
    assert "one line" in notes_of("A", with_places("A", adata))[0]
