"""Files become layers, by napari's own way of opening them."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import fake_result, fake_slice

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.palette import to_rgba
from napari_staligner.io.h5ad import write_result
from napari_staligner.layers import open_session
from napari_staligner.layers.reader import get_reader


@pytest.fixture
def files(tmp_path):
    slices, result = fake_result()
    for name, adata in slices:
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    write_result(result, tmp_path / "result.h5ad")
    return tmp_path


def test_other_files_are_left_to_others():
    assert get_reader("slice.tif") is None
    assert get_reader(["slice.h5ad", "slice.tif"]) is None


def test_one_file_is_image_and_spots(files):
    path = str(files / "slice1.h5ad")
    image, spots = get_reader(path)(path)
    assert [image[2], spots[2]] == ["image", "points"]
    assert spots[1]["name"] == "slice1"
    assert spots[1]["metadata"][K.LAYER_ADATA].n_obs == 60


def test_several_files_have_colours_of_their_own(files):
    paths = [str(files / f"slice{i}.h5ad") for i in (1, 2)]
    spots = [one for one in get_reader(paths)(paths) if one[2] == "points"]
    first, second = (one[1]["face_color"][0].tolist() for one in spots)
    assert first != second


def test_a_file_with_several_images_is_split(tmp_path):
    import anndata

    parts = {"left": fake_slice(40), "right": fake_slice(30)}
    both = anndata.concat(parts, label="section", index_unique="-")
    both.uns[K.SPATIAL] = {
        name: fake_slice(40).uns[K.SPATIAL]["library"] for name in ("left", "right")
    }
    both.write_h5ad(tmp_path / "both.h5ad")
    with pytest.warns(UserWarning, match="so it was split by --slice-key section"):
        layers = get_reader(tmp_path / "both.h5ad")(tmp_path / "both.h5ad")
    assert [one[1]["name"] for one in layers] == ["left image", "left", "right image", "right"]


def test_a_result_is_coloured_by_domain_without_any_dock(files):
    path = str(files / "result.h5ad")
    layers = [one for one in get_reader(path)(path) if one[2] == "points"]
    # One layer, the last, has all of the file with it.
    assert [K.LAYER_CONTENT in options["metadata"] for _, options, _ in layers] == [False, True]
    content = layers[-1][1]["metadata"][K.LAYER_CONTENT]
    assert content.path == files / "result.h5ad"
    result = content.result
    for _, options, _ in layers:
        rows = (result.obs[K.SLICE] == options["name"]).to_numpy()
        codes = result.obs[K.DOMAIN].cat.codes.to_numpy()[rows]
        expected = to_rgba(list(result.uns[K.DOMAIN_COLORS]))[codes]
        np.testing.assert_allclose(options["face_color"], expected)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b"not HDF5"), "cannot be read"),
        (lambda path: path.unlink(), "There is no file"),
        (lambda path: _without_coordinates(path), "obsm['spatial']"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(files, spoil, says):
    path = files / "slice1.h5ad"
    spoil(path)
    with pytest.raises(InputError) as caught:
        get_reader(path)(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def _without_coordinates(path):
    adata = fake_slice(20)
    del adata.obsm[K.SPATIAL]
    adata.write_h5ad(path)


# -- through napari ----------------------------------------------------------------------------


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    """Return a viewer with a window, in a napari that knows this plugin."""
    return make_napari_viewer_proxy()


def test_a_result_opened_in_napari_is_the_picture_that_was_saved(viewer, files):
    session = open_session(viewer)
    viewer.open(str(files / "result.h5ad"), plugin="napari-staligner")
    _, result = fake_result()
    assert list(session.slices) == ["slice1", "slice2"]
    assert session.domains.counts() == {
        str(d): {
            n: int(((result.obs[K.DOMAIN] == str(d)) & (result.obs[K.SLICE] == n)).sum())
            for n in ("slice1", "slice2")
        }
        for d in range(1, 5)
    }
    rows = session.result.rows("slice2")
    colors = to_rgba(
        [session.domains.colors[d] for d in session.result.adata.obs[K.DOMAIN].iloc[rows]]
    )
    np.testing.assert_allclose(viewer.layers["slice2"].face_color, colors)


def test_a_bad_file_opened_in_napari_says_so(viewer, files):
    (files / "slice1.h5ad").write_bytes(b"not HDF5")
    with pytest.raises(InputError, match="cannot be read"):
        viewer.open(str(files / "slice1.h5ad"), plugin="napari-staligner")
    assert len(viewer.layers) == 0
