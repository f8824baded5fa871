"""The image of a slice is moved from its card: as proposed, by hand, by pairs, and back."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from tiny import tiny_slice

from napari_staligner.core.registration.transforms import shifted
from napari_staligner.widgets.slices.dock import SlicesWidget


def turned_slice():
    """A slice whose spots lie on an L of tissue, with an image that lies on its side."""
    pixels = np.full((200, 260, 3), 235, dtype=np.uint8)
    pixels[20:180, 30:110] = pixels[120:180, 30:230] = (170, 90, 160)
    x, y = np.meshgrid(np.linspace(32, 228, 20), np.linspace(22, 178, 20))
    on = pixels[y.astype(int), x.astype(int), 0] == 170
    adata = tiny_slice(side=20)[on.ravel()].copy()
    adata.obsm["spatial"] = np.column_stack([x[on], y[on]])
    image = np.ascontiguousarray(np.rot90(pixels, 2))
    adata.uns["spatial"] = {
        "lib": {"images": {"hires": image}, "scalefactors": {"tissue_hires_scalef": 1.0}}
    }
    return adata


@pytest.fixture
def dock(open_dock, qtbot):
    dock = open_dock(SlicesWidget)
    dock.session.add([("A", turned_slice()), ("B", tiny_slice())])
    dock.table.selectRow(0)
    qtbot.waitUntil(lambda: dock.image.mend.isVisible())
    yield dock
    runners = (dock._reader, dock._grapher, dock.card.runner)
    for runner in runners:
        runner.cancel()
    qtbot.waitUntil(lambda: not any(runner.running for runner in runners))


def press(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_one_press_does_what_the_card_proposes_and_undo_takes_it_back(dock, qtbot):
    images = dock.session.images
    assert "turned by 180°" in dock.card.text()
    assert "turned by 180°" in dock.image.mend.toolTip()
    press(qtbot, dock.image.mend)
    assert np.linalg.det(images.moves["A"][:2, :2]) == pytest.approx(1)
    np.testing.assert_allclose(images.moves["A"][:2, :2], -np.eye(2), atol=1e-9)
    assert dock.session.view.image_hand == "A"
    # The card is made again, and nothing is left to propose.
    qtbot.waitUntil(lambda: bool(dock.card.text()) and "turned by" not in dock.card.text())
    assert not dock.image.mend.isVisible()
    assert "moved" in dock.status.text()
    press(qtbot, dock.image.undo)
    np.testing.assert_array_equal(images.moves["A"], np.eye(3))
    qtbot.waitUntil(lambda: dock.image.mend.isVisible())


def test_tools_are_there_while_the_image_is_in_hand_and_go_with_the_slice(dock, qtbot):
    images, row = dock.session.images, dock.image
    assert not row.tools.isVisible()
    press(qtbot, row.move_image)
    assert dock.session.view.image_hand == "A"
    assert row.tools.isVisible()
    press(qtbot, row.mirror)
    assert images.track.undo_text == "Mirror the image of A"
    press(qtbot, row.back)
    np.testing.assert_array_equal(images.moves["A"], np.eye(3))
    assert not row.back.isEnabled()
    dock.table.clearSelection()
    dock.table.selectRow(1)  # a slice without an image
    qtbot.waitUntil(lambda: not row.isVisible())
    assert dock.session.view.image_hand == ""


def test_pairs_are_counted_and_fitted_once_there_are_enough(dock, qtbot):
    images, row = dock.session.images, dock.image
    press(qtbot, row.move_image)
    press(qtbot, row.collect)
    assert "Click a place on the image" in row.hint.text()
    for place in np.array([(40.0, 40.0), (200.0, 60.0), (90.0, 150.0)]):
        assert not row.fit.isEnabled()
        images.take(place)
        assert "Now click where" in row.hint.text()
        images.take(place + np.array([3.0, 4.0]))
    assert row.hint.text().startswith("3 pairs.")
    press(qtbot, row.fit)
    np.testing.assert_allclose(images.moves["A"], shifted(np.array([3.0, 4.0])), atol=1e-9)
    press(qtbot, row.drop)
    assert len(images.pairs) == 2
    assert not row.fit.isEnabled()
