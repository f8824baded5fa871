"""Samples of four instruments, dropped at once, chosen from, and integrated by clicks."""

from __future__ import annotations

import numpy as np
import pytest
from four_instruments import NAMES, four_instruments
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QDialogButtonBox
from tiny import QUICK

from napari_staligner import _keys as K
from napari_staligner.core.result.provenance import sources_of
from napari_staligner.widgets.tabs import raise_dock
from napari_staligner.widgets.workbench import open_workbench

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer")

LEFT = Qt.MouseButton.LeftButton


def test_four_formats_in_one_run(make_napari_viewer_proxy, qtbot, tmp_path, monkeypatch):
    before, paths = four_instruments(tmp_path, monkeypatch)
    viewer = make_napari_viewer_proxy(show=True)
    docks = open_workbench(viewer)
    slices, integrate = docks["Slices"], docks["Integrate"]
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, none = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    slices.dropEvent(QDropEvent(QPointF(5, 5), copy, mime, LEFT, none))

    qtbot.waitUntil(lambda: getattr(slices, "choices", None) is not None)
    dialog = slices.choices
    assert [box.isChecked() for box in dialog.wanted] == [True] * 4
    ((_, bins),) = dialog.boxes.items()
    assert bins.currentText().startswith("50")
    qtbot.mouseClick(dialog.buttons.button(QDialogButtonBox.StandardButton.Open), LEFT)
    qtbot.waitUntil(lambda: len(slices.session.slices.graphs) == 4)
    assert list(slices.session.slices) == list(NAMES)

    slices.session.view.settings = QUICK
    raise_dock(integrate)
    qtbot.waitUntil(integrate.run.isEnabled)
    qtbot.mouseClick(integrate.run, LEFT)
    qtbot.waitUntil(lambda: slices.session.result.adata is not None, timeout=60_000)
    result = slices.session.result.adata
    assert result.obs[K.SLICE].value_counts().to_dict() == dict.fromkeys(NAMES, 64)
    assert sources_of(result)["chip"].choices == {"bin": "50"}
    for name, adata in zip(NAMES, before, strict=True):
        rows = (result.obs[K.SLICE] == name).to_numpy()
        total = np.asarray(result[rows, adata.var_names].X.sum(axis=0)).ravel()
        np.testing.assert_array_equal(total, np.asarray(adata.X.sum(axis=0)).ravel())
    assert set(NAMES) <= {layer.name for layer in viewer.layers}
