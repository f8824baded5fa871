"""Which tissue image is of which spots, and that squidpy finds it by its defaults."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from fakes import fake_result
from tiny import QUICK, tiny_pair

from napari_staligner import _keys as K
from napari_staligner import integrate
from napari_staligner.core.prepare.libraries import as_it_came, drawable, own_library
from napari_staligner.core.result.ownership import written
from napari_staligner.core.result.renaming import rename_slices
from napari_staligner.io.h5ad import slices_of_result


def library(brightness: int, **factors: float) -> dict:
    pixels = np.full((90, 90, 3), brightness, np.uint8)
    return {"images": {"hires": pixels}, "scalefactors": {"tissue_hires_scalef": 1.0, **factors}}


@pytest.fixture(scope="module")
def slices():
    """Slices of one capture each, whose own ``library_id`` says which of two images is theirs."""
    made = tiny_pair()
    for (_, adata), own in zip(made, ("V1", "V2"), strict=True):
        adata.obs["library_id"] = pd.Categorical([own] * adata.n_obs)
        adata.uns[K.SPATIAL] = {"V1": library(200), "V2": library(80, spot_diameter_fullres=7)}
    return made


@pytest.fixture(scope="module")
def result(slices):
    return integrate(slices, settings=QUICK)


def test_the_image_of_a_spot_is_found_by_library_id(result):
    assert list(result.obs["library_id"].cat.categories) == list(result.uns[K.SPATIAL])
    assert (result.obs["library_id"] == result.obs["slice"]).all()
    first, second = (result.uns[K.SPATIAL][name] for name in "AB")
    assert (first["images"]["hires"] == 200).all()
    assert (second["images"]["hires"] == 80).all()
    # Squidpy needs a size; one that is there stays. Spots are 10 apart.
    assert first["scalefactors"]["spot_diameter_fullres"] == pytest.approx(9.5)
    assert second["scalefactors"]["spot_diameter_fullres"] == 7


def test_a_column_of_that_name_is_kept(slices, result):
    own = [value for _, adata in slices for value in adata.obs["library_id"]]
    assert result.obs["library_id_of_input"].tolist() == own
    assert any("library_id_of_input" in note for note in result.uns["staligner"]["notes"])
    for (_, back), (_, before) in zip(slices_of_result(result), slices, strict=True):
        assert back.obs["library_id"].tolist() == before.obs["library_id"].tolist()
        assert "spot_diameter_fullres" not in before.uns[K.SPATIAL]["V1"]["scalefactors"]


@pytest.mark.filterwarnings("ignore:The set_bad function:PendingDeprecationWarning")
def test_squidpy_draws_a_result_by_its_defaults(result):
    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import squidpy as sq

    axes = sq.pl.spatial_scatter(result, library_key="library_id", color="domain", return_ax=True)
    try:
        assert len(axes) == 2
        for axis, name, light in zip(axes, "AB", (200, 80), strict=True):
            (image,) = axis.get_images()
            assert (np.asarray(image.get_array()) == light).all()
            # Beside those of the legend, which are empty.
            drawn = max(len(spots.get_paths()) for spots in axis.collections)
            assert drawn == (result.obs["slice"] == name).sum()
    finally:
        plt.close("all")
    one = integrate(tiny_pair()[:1], settings=QUICK)
    one.uns[K.SPATIAL] = {"A": drawable(library(200), one.obsm[K.SPATIAL])}
    axis = sq.pl.spatial_scatter(one, color="domain", return_ax=True)
    plt.close("all")
    assert len(axis.get_images()) == 1


def test_an_image_of_low_resolution_is_drawn_and_comes_back_as_it_came(result):
    own = {
        "images": {"lowres": np.full((9, 9, 3), 50, np.uint8)},
        "scalefactors": {"tissue_hires_scalef": 0.3, "tissue_lowres_scalef": 0.1},
    }
    xy = np.random.default_rng(0).random((50, 2)) * 90
    made = drawable(own, xy)
    assert made["images"]["hires"] is own["images"]["lowres"]
    assert made["scalefactors"]["tissue_hires_scalef"] == 0.1
    assert list(own["images"]) == ["lowres"]
    for given in (made, drawable(made, xy)):
        back = as_it_came(given)
        assert back["scalefactors"] == own["scalefactors"]
        assert list(back["images"]) == ["lowres"]
        assert set(back) == set(own)
    # As a file keeps it.
    adata = result.copy()
    adata.uns[K.SPATIAL] = {"A": drawable(own, xy), "B": drawable(library(80), xy)}
    first, second = (part.uns[K.SPATIAL] for _, part in slices_of_result(adata))
    assert first["A"]["scalefactors"] == own["scalefactors"]
    assert second["B"]["scalefactors"] == {"tissue_hires_scalef": 1.0}


def test_it_follows_when_a_slice_is_renamed(result):
    renamed = result.copy()
    rename_slices(renamed, {"A": "C"})
    assert (
        list(renamed.obs["library_id"].cat.categories) == ["C", "B"] == list(renamed.uns[K.SPATIAL])
    )
    # One of the input's in an old result is none of ours.
    old = fake_result()[1]
    old.obs["library_id"] = pd.Categorical(["slice1"] * old.n_obs)
    rename_slices(old, {"slice1": "C"})
    assert set(old.obs["library_id"]) == {"slice1"}
    assert "library_id" not in written(old)["obs"]


def test_a_column_that_was_moved_aside_still_names_the_library(slices):
    adata = slices[1][1].copy()
    adata.obs = adata.obs.rename(columns={"library_id": "library_id_of_input_2"})
    assert own_library(adata)[0] == "V2"
