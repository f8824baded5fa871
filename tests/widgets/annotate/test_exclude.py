"""Folds and tears in the window: drawn with the mouse, left out, taken back; suspects judged."""

from __future__ import annotations

import numpy as np
import pytest
from docks import LEFT, delete
from fakes import fake_result
from mouse import Mouse
from tiny import QUICK, tiny_pair

from napari_staligner import _keys as K
from napari_staligner import integrate
from napari_staligner.compat import node_of
from napari_staligner.core.annotations.classes import EXCLUDE
from napari_staligner.core.prepare.excluded import excluded_of
from napari_staligner.core.progress import finish
from napari_staligner.core.result.suspects import find_suspects
from napari_staligner.io.h5ad import write_result
from napari_staligner.io.session_file import open_file
from napari_staligner.layers import open_session
from napari_staligner.session import Session
from napari_staligner.widgets.annotate.dock import AnnotateWidget
from napari_staligner.widgets.parts.legend import NAME

WIDTH = 8
"""Spots of a row of a tiny slice; they are 10 apart, the first at (0, 0)."""
FOLD = [row * WIDTH + column for row in (1, 2, 3) for column in (2, 3)]


@pytest.fixture(scope="module")
def integrated():
    """Return two tiny slices, integrated."""
    return integrate(tiny_pair(), settings=QUICK)


@pytest.fixture
def window(make_napari_viewer_proxy, qtbot, integrated):
    """Return a visible viewer with these slices, the Annotate dock, and the mouse."""
    viewer = make_napari_viewer_proxy(show=True)
    session = open_session(viewer)
    session.add(tiny_pair())
    session.set_result(integrated.copy())
    session.view.settings = QUICK
    dock = AnnotateWidget(viewer)
    dock.viewer = viewer
    dock.resize(420, 900)
    with qtbot.waitExposed(dock):
        dock.show()
    yield dock, Mouse(viewer, qtbot)
    delete(dock)


def layers(viewer, role):
    return {
        layer.metadata[K.LAYER_SLICE]: layer
        for layer in viewer.layers
        if layer.metadata.get(K.LAYER_ROLE) == role
    }


def marks(viewer, name):
    """Find what vispy draws at the spots of a slice, and is no layer."""
    node = node_of(viewer.__wrapped__, layers(viewer, K.Role.SPOTS)[name])
    beside = node.parent.children
    return [x for x in beside if x is not node and x.transform is node.transform]


def choose_exclude(qtbot, dock):
    """Take the template, and click the row of its class."""
    (action,) = [a for a in dock.template.menu().actions() if a.text() == "Folds and tears"]
    action.trigger()
    place = dock.table.visualRect(dock.table.cell(EXCLUDE, NAME)).center()
    qtbot.mouseClick(dock.table.viewport(), LEFT, pos=place)


def draw_fold(qtbot, dock, mouse):
    """Draw a lasso around the fold, on the first slice."""
    qtbot.mouseClick(dock.tools.buttons["lasso"], LEFT)
    layer = layers(dock.viewer, K.Role.SPOTS)["A"]
    mouse.settle(layer)
    corners = [(15, 5), (35, 5), (35, 35), (15, 35), (15, 5)]
    mouse.follow([mouse.pixel(layer.data_to_world((y, x)), 0) for x, y in corners])


def test_what_is_drawn_is_left_out_and_can_be_taken_back(window, qtbot, tmp_path):
    dock, mouse = window
    session = dock.session
    choose_exclude(qtbot, dock)
    draw_fold(qtbot, dock, mouse)
    assert session.annotations.rows_of(EXCLUDE).tolist() == FOLD
    assert dock.exclude.open.text() == "Folds and tears: 6 to leave out"
    qtbot.mouseClick(dock.undo, LEFT)
    assert not len(session.annotations.rows_of(EXCLUDE))
    qtbot.mouseClick(dock.redo, LEFT)
    assert session.annotations.rows_of(EXCLUDE).tolist() == FOLD
    # The next run.
    job = session.integration_job()
    result = finish(job.steps())
    order = [layer.name for layer in layers(dock.viewer, K.Role.SPOTS).values()]
    session.set_result(result)
    assert [layer.name for layer in layers(dock.viewer, K.Role.SPOTS).values()] == order
    gone = [f"spot{i}" for i in FOLD]
    assert excluded_of(result).obs_names.tolist() == [f"{spot}_A" for spot in gone]
    assert session.slices["A"].n_obs == 64 - 6
    (crosses,) = marks(dock.viewer, "A")
    assert sorted(map(tuple, crosses._data["a_position"][:, :2].astype(int))) == sorted(
        (10 * (i % WIDTH), 10 * (i // WIDTH)) for i in FOLD
    )
    assert not marks(dock.viewer, "B")
    assert dock.exclude.open.text() == "Folds and tears: 6 left out"
    # Kept in the session's file.
    session.save(tmp_path / "s.h5ad")
    opened = Session()
    opened.open(open_file(tmp_path / "s.h5ad"))
    assert opened.exclusions.left_out["A"].n_obs == 6
    # Left out again if nothing is said, in the same order as before.
    again = dict(opened.integration_job().own_slices())["A"]
    assert again.obs_names.tolist() == tiny_pair()[0][1].obs_names.tolist()
    assert again.obs_names[again.obs[K.EXCLUDED]].tolist() == gone
    # Taken back.
    qtbot.mouseClick(dock.exclude.open, LEFT)
    dock.exclude.back.menu().aboutToShow.emit()
    (action,) = dock.exclude.back.menu().actions()
    assert action.text() == "A: 6 spots"
    action.trigger()
    assert "The next run uses again: 6 in A" in dock.exclude.about.text()
    whole = dict(session.integration_job().own_slices())["A"]
    assert not whole.obs[K.EXCLUDED].any()
    np.testing.assert_array_equal(whole.X.toarray(), tiny_pair()[0][1].X.toarray())
    session.set_result(integrate(list(session.integration_job().own_slices()), settings=QUICK))
    assert session.slices["A"].n_obs == 64
    assert not marks(dock.viewer, "A")


def folded(*, plain: bool = False):
    """Return a result with a fold of many counts in slice 1, and a tear in slice 2."""
    slices, result = fake_result((196, 196), n_domains=2)
    counts = result.X.toarray()
    fold = [row * 14 + column for row in range(2, 5) for column in range(3, 6)]
    tear = [196 + row * 14 + column for row in range(10, 13) for column in range(6, 9)]
    if not plain:
        counts[fold] *= 8
        counts[tear] //= 8
    result.X = type(result.X)(counts)
    result.obs[K.CONFIDENCE] = np.float32(0.8)
    return slices, result, fold, tear


def test_a_fold_and_a_tear_are_suspected_and_good_tissue_is_not():
    _, result, fold, tear = folded()
    found = find_suspects(result)
    assert {each.slice: each.signs[0][0] for each in found} == {"slice1": "many", "slice2": "few"}
    for each, rows in zip(sorted(found, key=lambda s: s.slice), (fold, tear), strict=True):
        # Neighbours of the patch are told with it.
        assert set(rows) <= set(each.rows)
        assert len(each.rows) <= 25
    assert not find_suspects(folded(plain=True)[1])


def test_suspects_are_shown_and_accepted_or_declined_one_by_one(open_dock, qtbot):
    dock = open_dock(AnnotateWidget, 420, 900)
    slices, result, _, _ = folded()
    dock.session.add(slices)
    dock.session.set_result(result)
    panel, annotations = dock.exclude, dock.session.annotations
    qtbot.mouseClick(panel.open, LEFT)
    qtbot.mouseClick(panel.find.button, LEFT)
    qtbot.waitUntil(lambda: panel.suspects.topLevelItemCount() == 2)
    looked = []
    dock.session.focus.look_wanted.connect(lambda rows: looked.append(rows.tolist()))
    first, second = dock.session.exclusions.found
    item = panel.suspects.visualItemRect(panel.suspects.topLevelItem(0)).center()
    qtbot.mouseClick(panel.suspects.viewport(), LEFT, pos=item)
    # A picture, and nothing else.
    assert dock.session.exclusions.shown_suspect is first
    assert looked[0] == first.rows.tolist()
    assert not annotations.edits
    qtbot.mouseClick(panel.accept, LEFT)
    assert annotations.rows_of(EXCLUDE).tolist() == first.rows.tolist()
    assert dock.session.exclusions.shown_suspect is second
    qtbot.mouseClick(panel.decline, LEFT)
    assert dock.session.exclusions.shown is None
    states = [panel.suspects.topLevelItem(i).text(3) for i in range(2)]
    assert states == ["excluded", "declined"]
    qtbot.mouseClick(dock.undo, LEFT)
    assert not annotations.classes
    assert panel.suspects.topLevelItem(0).text(3) == ""
    # What was declined is kept with the result, and known when it is found again.
    dock.session.set_result(result.copy())
    assert not dock.session.exclusions.found
    qtbot.mouseClick(panel.find.button, LEFT)
    qtbot.waitUntil(lambda: panel.suspects.topLevelItemCount() == 2)
    assert [panel.suspects.topLevelItem(i).text(3) for i in range(2)] == ["", "declined"]


def test_a_job_elsewhere_gets_what_was_drawn(integrated, tmp_path, monkeypatch):
    from napari_staligner.jobs import launch
    from napari_staligner.jobs.folder import Where
    from napari_staligner.jobs.request import JobRequest
    from napari_staligner.jobs.run import slices_of_job

    files = []
    for name, adata in tiny_pair():
        files.append(tmp_path / f"{name}.h5ad")
        write_result(adata, files[-1])
    session = Session()
    session.add([each for file in files for each in open_file(file).slices])
    session.set_result(integrated.copy())
    session.annotations.use_template("Folds and tears")
    session.annotations.assign(np.array(FOLD), EXCLUDE, "lasso")
    monkeypatch.setattr(launch, "start_job", lambda folder: None)
    job = session.integration_job()
    folder = finish(JobRequest(job.slices, job.settings, Where(), job.aside).steps())
    read = dict(slices_of_job(folder, folder.spec()))
    assert np.flatnonzero(read["A"].obs[K.EXCLUDED]).tolist() == FOLD
