"""The session as a whole: files of before, and which part tells of what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.io.session_file import open_file
from napari_staligner.session import ColorBy, Session

FILES = Path(__file__).parents[1] / "files"


@pytest.fixture
def session():
    session = Session()
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    return session


def listen(session):
    """Return a list to which the name of each signal that is emitted is added."""
    told = []
    for name in ("relabelled", "renamed", "recolored"):
        getattr(session.domains, name).connect(lambda *_, name=name: told.append(name))
    session.result.changed.connect(lambda: told.append("result"))
    session.slices.changed.connect(lambda: told.append("slices"))
    session.verdicts.changed.connect(lambda: told.append("verdicts"))
    session.view.events.connect(lambda change: told.append(change.signal.name))
    return told


# --- files of version 0.1.0


def test_no_run_starts_while_slices_are_still_being_opened():
    session, slices = Session(), fake_result()[0]
    session.slices.add(slices[:1], more=True)
    with pytest.raises(InputError, match="still being opened"):
        session.integration_job()
    session.slices.add(slices[1:])
    assert [name for name, _ in session.integration_job().slices] == ["slice1", "slice2"]


def test_a_result_of_before_opens():
    session = Session()
    session.open(open_file(FILES / "result_0.1.h5ad"))
    assert list(session.slices) == ["A", "B"]
    assert session.result.adata.n_obs == 66
    assert len(session.domains.names) == 2
    assert session.alignment.state is not None
    assert session.view.color_by == ColorBy("obs", K.DOMAIN)


def test_a_session_of_before_opens_with_all_that_was_looked_at():
    session = Session()
    session.open(open_file(FILES / "session_0.1.h5ad"))
    view = session.view
    assert session.saved
    assert session.domains.colors["granular"] == "#123456"
    assert (view.color_by, view.layout) == (ColorBy("gene", "gene3"), "mosaic")
    assert (view.scale.percentiles, view.scale.log, view.scale.colormap) == ((2, 98), True, "magma")
    assert (view.stack.mode, view.stack.pair, view.stack.opacities) == (
        "swipe",
        ("A", "B"),
        {"A": 0.5},
    )
    assert (view.trust.least, view.trust.hide) == (0.2, True)
    assert (view.links.color, view.links.most) == ("distance", 100)
    assert (view.attention.shown, view.attention.strongest) == (True, 3)
    assert (view.spot.slice, view.spot.row) == ("A", 4)
    assert view.legend_shown
    assert view.graph_shown
    assert view.arrows
    assert view.spot_scale == 1.5
    assert view.canvas.zoom == 2
    assert view.canvas.spots["A"].opacity == 0.5
    assert [v.note for v in session.verdicts.given] == ["layers meet"]
    assert len(session.annotations.rows_of("AOBgr")) == 5


# --- who tells of what


def test_a_colour_is_told_as_a_colour_and_nothing_else(session):
    told = listen(session)
    session.domains.recolor("1", "#00ff00")
    assert told == ["recolored"]


def test_a_name_is_told_as_a_name_and_the_record_of_presence_follows_it(session, monkeypatch):
    before = session.domains.presence()
    session.view.isolated = {"1"}
    told = listen(session)
    monkeypatch.setattr("napari_staligner.core.domains.presence.presence", None)
    session.domains.rename("1", "granular")
    assert told == ["renamed"]
    assert session.view.isolated == {"granular"}
    after = session.domains.presence()
    assert [row.p for row in after.rows] == [row.p for row in before.rows]
    assert {row.label for row in after.rows} == set(session.domains.names)


def test_verdicts_follow_a_name(session):
    session.verdicts.give("aligned", domain="1")
    told = listen(session)
    session.domains.rename("1", "granular")
    assert told == ["verdicts", "renamed"]
    assert session.verdicts.given[0].domain == "granular"


def test_going_back_puts_names_colours_and_presence_back(session, monkeypatch):
    state, settings = session.domains.state(), session.view.settings
    session.domains.presence()
    with_presence = session.domains.state()
    labels = np.arange(session.result.adata.n_obs) % 3
    session.domains.relabel(labels, settings)
    monkeypatch.setattr("napari_staligner.core.domains.presence.presence", None)
    told = listen(session)
    session.domains.restore(with_presence)
    assert "relabelled" in told
    assert session.domains.names == state.names
    assert session.domains.presence() is not None


def test_a_result_is_told_once_and_the_view_follows_before(session):
    _, result = fake_result()
    session.view.isolated = {"1"}
    seen = []
    session.result.changed.connect(
        lambda: seen.append((session.view.isolated, session.view.color_by.key, session.saved))
    )
    told = listen(session)
    session.set_result(result, saved=True)
    assert told == ["result"]
    assert seen == [(frozenset(), K.DOMAIN, seen[0][2])]
    assert session.saved


def test_spots_that_a_run_left_out_leave_their_slice(session):
    slices, result = fake_result()
    result.obs_names = [f"{spot}_{name}" for name, adata in slices for spot in adata.obs_names]
    name, whole = slices[0]
    used = np.delete(np.arange(result.n_obs), np.flatnonzero(result.obs[K.SLICE] == name)[:3])
    told = listen(session)
    session.slices.changed.connect(lambda: told.append(session.result.adata.n_obs))
    session.set_result(result[used].copy())
    # Slices are told once, when the result that has their spots is there and followed.
    assert told.count("slices") == 1
    assert told[told.index("slices") + 1] == len(used)
    assert session.slices[name].obs_names.tolist() == whole.obs_names[3:].tolist()
    assert len(session.result.rows(name)) == session.slices[name].n_obs
    told.clear()
    session.set_result(result[used].copy())
    assert "slices" not in told
    with pytest.raises(InputError, match=f"Slice '{name}' of the result is not the one"):
        session.set_result(result)


def test_a_slice_that_goes_takes_the_result_with_it_first(session):
    told = listen(session)
    session.slices.remove("slice1")
    assert [name for name in told if name in ("result", "slices")] == ["result", "slices"]
    assert session.result.adata is None
    assert session.view.color_by == ColorBy()


def test_edits_are_unsaved_and_looking_is_not(session):
    session.saved = True
    session.view.layout = "stack"
    session.view.isolated = {"1"}
    assert session.saved
    session.domains.recolor("1", "#00ff00")
    assert not session.saved
