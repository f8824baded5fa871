"""A slice of every format goes back as a file with what was made of it, counts and image kept."""

from __future__ import annotations

from functools import partial

import made_formats as made
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_staligner import _keys as K
from napari_staligner import read_slices
from napari_staligner.core.progress import finish
from napari_staligner.core.result.ownership import claim
from napari_staligner.core.result.provenance import record_sources, source_of
from napari_staligner.io.export.targets import export_steps
from napari_staligner.io.images import tissue_image

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer")

MAKERS = {
    "visium": (partial(made.make_visium, version=2), "", True),
    "visium_hd": (made.make_visium_hd, "[bin=016um]", True),
    "xenium": (made.make_xenium, "", False),
    "merscope": (made.make_merscope, "", False),
    "cosmx": (made.make_cosmx, "", False),
    "slideseq": (made.make_slideseq, "", False),
    "st": (made.make_st, "", False),
    "geo": (made.make_geo, "", False),
    "a.gem.gz": (made.make_gem, "[bin=10]", False),
    "a.gef": (made.make_gef, "[bin=50]", False),
    "a.cellbin.gef": (made.make_cell_gef, "", False),
    "A.zarr": (made.make_store, "", True),
}
"""Of each format, what makes it, what is chosen, and whether it brings an image that is shown."""


def as_result(name: str, adata: AnnData) -> AnnData:
    """A result of one slice, without its first spot."""
    result = adata[1:].copy()
    result.obs_names = [f"{spot}_{name}" for spot in result.obs_names]
    claim(result, "obs", K.SLICE, K.DOMAIN)
    claim(result, "obsm", K.EMBEDDING)
    result.obs[K.SLICE] = pd.Categorical([name] * result.n_obs)
    result.obs[K.DOMAIN] = pd.Categorical(np.arange(result.n_obs) % 2 + 1).rename_categories(str)
    result.obsm[K.EMBEDDING] = np.ones((result.n_obs, 4), np.float32)
    record_sources(result, {name: source_of(adata)})
    return result


@pytest.mark.parametrize("kind", MAKERS)
def test_a_slice_goes_back_with_what_was_made_of_it(kind, tmp_path):
    make, chosen, shown = MAKERS[kind]
    path = make(tmp_path / "in" / kind) if "." not in kind else make(_inside(tmp_path) / kind)
    name, before = read_slices([f"{path}{chosen}"])[0]
    assert (tissue_image(before) is not None) == shown
    notes = []
    steps = export_steps(as_result(name, before), "slices", tmp_path / "out")
    finish(steps, lambda step: notes.append(step.note) if step.note else None)
    assert notes == [
        f"Slice {name!r}: 1 of {before.n_obs} spots were left out of the integration and have no "
        "values in what was added."
    ]
    ((_, after),) = read_slices([tmp_path / "out" / f"{name}.h5ad"])
    assert after.obs_names.tolist() == before.obs_names.tolist()
    assert after.var_names.tolist() == before.var_names.tolist()
    assert (before.X != after.X).nnz == 0
    np.testing.assert_array_equal(after.obsm[K.SPATIAL], before.obsm[K.SPATIAL])
    assert after.obs[K.DOMAIN].isna().tolist() == [True] + [False] * (after.n_obs - 1)
    if shown:
        (pixels, factor), (again, same) = tissue_image(before), tissue_image(after)
        np.testing.assert_array_equal(pixels, again)
        assert factor == same


def _inside(folder):
    (folder / "in").mkdir()
    return folder / "in"
