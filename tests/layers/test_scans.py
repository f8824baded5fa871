"""Pyramids and channels in the viewer: placed, masked, given back, and in µm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from fakes import FACTOR, fake_result, fake_slice

from napari_staligner import _keys as K
from napari_staligner.compat import camera_of, scale_bar_of
from napari_staligner.io import scans
from napari_staligner.io.images import SCAN, SCAN_MATRIX
from napari_staligner.layers import open_session
from napari_staligner.layers.layer_data import slice_layers
from napari_staligner.session import StackView

TURNED = np.array([[0.0, -0.5, 100.0], [0.5, 0.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Name a scan, colours or channels, in the library of a slice."""
    monkeypatch.setattr(scans, "OVERVIEW", 64)

    def name(adata, pixels, matrix, **options):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tif"
        tifffile.imwrite(path, pixels, **options)
        library = next(iter(adata.uns[K.SPATIAL].values()))
        library["metadata"] = {SCAN: str(path), SCAN_MATRIX: matrix}
        return adata

    return name


def colours(adata, named):
    """Give the slice its own image, four times as fine."""
    library = adata.uns[K.SPATIAL]["library"]
    fine = np.kron(library["images"]["lowres"], np.ones((4, 4, 1), np.uint8))
    side = 1 / FACTOR / 4
    return named(adata, fine, np.diag([side, side, 1.0]), photometric="rgb")


def stains(adata, named):
    planes = np.random.default_rng(0).integers(1, 900, (2, 200, 300), dtype=np.uint16)
    tell = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFAP"]}}
    return named(adata, planes, TURNED, ome=True, photometric="minisblack", metadata=tell)


@pytest.fixture
def both(viewer, named):
    """Two slices in the stack: a pyramid of colours, and two channels that are turned."""
    slices, result = fake_result()
    colours(slices[0][1], named)
    stains(slices[1][1], named)
    over = np.array([[0.98, -0.2, 12.0], [0.2, 0.98, -5.0], [0.0, 0.0, 1.0]])
    result.uns[K.STALIGNER]["transforms"]["slice2"] = over
    session = open_session(viewer)
    session.add(slices)
    session.set_result(result)
    return viewer, session


def test_colours_are_one_pyramid_and_channels_a_layer_each(both):
    viewer, session = both
    assert [layer.name for layer in viewer.layers if "blank" not in layer.name] == [
        *("slice1 image", "slice1", "slice2 DAPI", "slice2 GFAP", "slice2")
    ]
    image, (dapi, gfap) = viewer.layers["slice1 image"], viewer.layers[3:5]
    assert (image.multiscale, image.rgb) == (True, True)
    assert (dapi.colormap.name, gfap.colormap.name) == ("blue", "green")
    assert dapi.blending == gfap.blending == "additive"
    assert dapi.multiscale
    session.slices.remove("slice2")
    assert [layer.name for layer in viewer.layers] == ["slice1 image", "slice1"]


@pytest.mark.parametrize("layout", ["grid", "mosaic", "stack"])
def test_they_follow_their_spots(both, layout):
    viewer, session = both
    session.view.layout = layout
    for name, image, to_spots in (
        ("slice1", viewer.layers["slice1 image"], np.diag([1 / FACTOR / 4] * 2 + [1.0])),
        ("slice2", viewer.layers["slice2 GFAP"], TURNED),
    ):
        spots = viewer.layers[name]
        column, row = 70.0, 30.0
        x, y = (to_spots @ (column, row, 1))[:2]
        world = spots.data_to_world((y, x))
        assert image.data_to_world((row, column)) == pytest.approx(world)


@pytest.mark.parametrize("mode", ["checkerboard", "swipe", "flicker", "blend", "3d"])
def test_a_stack_shows_parts_of_them_and_gives_them_back(both, mode):
    viewer, session = both
    layers = [viewer.layers[name] for name in ("slice1 image", "slice2 DAPI", "slice2 GFAP")]
    before = [list(layer.data) for layer in layers]
    session.view.stack = StackView(mode=mode, part="image")
    session.view.layout = "stack"
    session.view.stack = replace(session.view.stack, swipe=0.4, cells=3)
    if mode in ("checkerboard", "swipe"):
        image, dapi, _ = layers
        alpha = np.asarray(image.data[0])[..., 3]
        assert set(np.unique(alpha)) == {0, 255}
        coarse = np.asarray(image.data[-1])[..., 3]
        step = alpha.shape[0] // coarse.shape[0]
        assert (coarse == alpha[step // 2 :: step, step // 2 :: step]).mean() > 0.9
        hidden = np.asarray(dapi.data[0]) == 0
        assert 0 < hidden.mean() < 1
        assert (np.asarray(dapi.data[0])[~hidden] == np.asarray(before[1][0])[~hidden]).all()
    session.view.layout = "grid"
    for layer, levels in zip(layers, before, strict=True):
        assert all(now is was for now, was in zip(layer.data, levels, strict=True))


def test_a_session_takes_the_layers_of_channels_and_keeps_their_look(viewer, named):
    slices = [("A", stains(fake_slice(30), named))]
    from napari.layers import Layer

    for one in slice_layers(slices):
        viewer.add_layer(Layer.create(*one))
    session = open_session(viewer)
    assert [layer.name for layer in viewer.layers] == ["A DAPI", "A GFAP", "A"]
    viewer.layers["A GFAP"].visible = False
    session.canvas_asked.emit()
    seen = {name: look.visible for name, look in session.view.canvas.images.items()}
    assert list(seen.values()) == [True, False]


# -- the unit ------------------------------------------------------------------------------------


def in_microns(adata, microns):
    adata.uns[K.SPATIAL]["library"]["scalefactors"]["microns_per_pixel"] = microns
    return adata


def test_the_world_is_in_micrometres_where_all_slices_tell_their_unit(viewer):
    session = open_session(viewer)
    session.view.layout = "mosaic"
    session.add([("A", in_microns(fake_slice(30), 0.5))])
    bar, spots = scale_bar_of(viewer), viewer.layers["A"]
    steps = np.subtract(spots.data_to_world((0, 10)), spots.data_to_world((0, 0)))
    assert steps == pytest.approx((0, 5))
    assert {str(layer.units[0]) for layer in viewer.layers} == {"micrometer"}
    assert bar.visible
    # Half as large a unit, so the slice is drawn half as large, beside the first.
    session.add([("B", in_microns(fake_slice(30), 0.25))])
    spots = viewer.layers["B"]
    steps = np.subtract(spots.data_to_world((0, 10)), spots.data_to_world((0, 0)))
    assert steps == pytest.approx((0, 2.5))
    session.add([("C", fake_slice(30))])
    assert {str(layer.units[0]) for layer in viewer.layers} == {"pixel"}
    assert not bar.visible


def test_the_camera_is_kept_in_units_of_the_slices(viewer):
    session = open_session(viewer)
    session.add([("A", in_microns(fake_slice(30), 0.5))])
    camera_of(viewer).zoom = 3.0
    session.canvas_asked.emit()
    assert session.view.canvas.zoom == pytest.approx(1.5)
