"""The Profile dock, with the events of a person."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from docks import LEFT
from qtpy.QtWidgets import QFileDialog

from napari_staligner import _keys as K
from napari_staligner.core.evaluation.evaluation import evaluation_job
from napari_staligner.core.progress import finish
from napari_staligner.core.result.axis import Axis
from napari_staligner.report.profile_picture import drawn_profiles
from napari_staligner.report.report import report_job
from napari_staligner.session import ColorBy
from napari_staligner.widgets.profile.dock import ProfileWidget
from napari_staligner.widgets.profile.peak_table import NAME


@pytest.fixture
def empty_dock(open_dock):
    """Return a dock without slices, on the screen."""
    return open_dock(ProfileWidget)


def found(dock, qtbot, of=None):
    """Wait for the profile, and return it."""

    def there():
        seen = dock.session.profile.found
        return seen is not None and (of is None or seen.of.key == of)

    qtbot.waitUntil(there)
    return dock.session.profile.found


def choose(box, data):
    box.setCurrentIndex(next(i for i in range(box.count()) if box.itemData(i) == data))
    box.activated.emit(box.currentIndex())


def test_without_a_result_the_dock_says_so(empty_dock, qtbot):
    qtbot.waitUntil(lambda: "integrate the slices first" in empty_dock.status.text())
    assert not empty_dock.table.isEnabled()


def test_domains_have_curves_and_a_click_shows_one_alone_with_bands(dock, qtbot):
    shown = found(dock, qtbot, K.DOMAIN)
    assert set(dock.plot.curves) == {(d, s) for d in "1234" for s in ("slice1", "slice2")}
    assert not dock.plot.bands
    row = dock.peaks.visualItemRect(dock.peaks.topLevelItem(1)).center()
    row.setX(60)
    qtbot.mouseClick(dock.peaks.viewport(), LEFT, pos=row)
    assert set(dock.plot.curves) == {("2", "slice1"), ("2", "slice2")}
    assert len(dock.plot.bands) == 2
    x, y = dock.plot.curves["2", "slice1"].getData()
    np.testing.assert_array_equal(y, shown.curves["2"]["slice1"].mean)
    np.testing.assert_allclose(x, shown.places * shown.scale[0])
    row = dock.peaks.visualItemRect(dock.peaks.topLevelItem(1)).center()
    row.setX(60)
    qtbot.mouseClick(dock.peaks.viewport(), LEFT, pos=row)
    assert len(dock.plot.curves) == 8


def test_the_curves_follow_colour_axis_and_alignment(dock, qtbot):
    session = dock.session
    found(dock, qtbot)
    session.view.color_by = ColorBy("gene", "gene3")
    first = found(dock, qtbot, "gene3")
    assert dock.peaks.topLevelItem(0).childCount() == 2
    choose(dock.axis.kind, "rim")
    assert session.view.axis.region == "1"
    qtbot.waitUntil(lambda: getattr(session.profile.found, "axis", None) == session.view.axis)
    assert session.view.axis_shown, "what is measured from is drawn"
    choose(dock.axis.kind, "along")
    assert session.view.tool == "line"
    qtbot.waitUntil(lambda: "Drag a line" in dock.status.text())
    session.view.axis = Axis("along", ((0.0, 20.0), (100.0, 20.0)))
    qtbot.waitUntil(lambda: getattr(session.profile.found, "axis", None) == session.view.axis)
    before = session.profile.found
    session.alignment.nudge("slice2", (1.0, 0.0))
    qtbot.waitUntil(lambda: session.profile.found is not before)
    assert first is not session.profile.found


def test_a_component_of_an_array_is_refused_in_a_sentence(dock, qtbot):
    found(dock, qtbot)
    dock.session.view.color_by = ColorBy("obsm", K.EMBEDDING)
    qtbot.waitUntil(lambda: "has no profile" in dock.status.text())
    assert not dock.plot.curves


def test_tables_picture_and_report(dock, qtbot, tmp_path, monkeypatch):
    shown = found(dock, qtbot, K.DOMAIN)
    for button, name in ((dock.table, "out.csv"), (dock.picture, "out.svg")):
        path = str(tmp_path / name)
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, path=path: (path, ""))
        qtbot.mouseClick(button, LEFT)
        assert "written to" in dock.status.text()
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "out.csv", dtype={"value": str}), shown.to_frame(), check_dtype=False
    )
    peaks = pd.read_csv(tmp_path / "out_peaks.csv")
    assert len(peaks) == 8
    assert "Depth below" in (tmp_path / "out.svg").read_text()
    assert dock.session.saved
    qtbot.mouseClick(dock.keep, LEFT)
    assert not dock.session.saved
    assert dock.keep.text() == "Into the report (1)"
    result = dock.session.result.adata
    job = report_job(result, "x", evaluation_job(result, None))
    (drawn,) = finish(drawn_profiles(job.profiles, job.colors))
    assert drawn.title == "domain: depth below the tissue's border"
    assert list(drawn.peaks) == ["1", "2", "3", "4"]
    assert drawn.picture.startswith("data:image/png")
    qtbot.mouseClick(dock.keep_none, LEFT)
    assert dock.session.profile.kept == ()


def test_the_table_names_slices_below_their_value(dock, qtbot):
    found(dock, qtbot, K.DOMAIN)
    names = [dock.peaks.topLevelItem(i).text(NAME) for i in range(4)]
    assert names == ["1", "2", "3", "4"]
    item = dock.peaks.topLevelItem(0)
    assert [item.child(i).text(NAME) for i in range(2)] == ["slice1", "slice2"]
