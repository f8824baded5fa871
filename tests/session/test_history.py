"""One history for domains, alignment, annotations and verdicts."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import fake_result

from napari_staligner.session import Session
from napari_staligner.session.history import Kind


@pytest.fixture
def session():
    session = Session()
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    return session


def what_there_is(session):
    """All that an undo may change."""
    return (
        session.domains.names,
        session.domains.colors,
        session.alignment.state.registered.aligned.tobytes(),
        session.annotations.codes().tobytes(),
        session.annotations.classes,
        session.verdicts.given,
    )


def do_one_of_each(session):
    """Yield what there is before the first step and after each."""
    yield what_there_is(session)
    session.domains.rename("1", "granular")
    yield what_there_is(session)
    session.alignment.move("slice2", np.eye(3), "Move slice2")
    yield what_there_is(session)
    session.annotations.add_class("AOB")
    yield what_there_is(session)
    session.annotations.assign(np.array([1, 2]), "AOB", "spot")
    yield what_there_is(session)
    session.verdicts.give("aligned", domain="granular")
    yield what_there_is(session)
    session.domains.recolor("2", "#00ff00")
    yield what_there_is(session)


def test_undo_goes_back_through_all_kinds_in_their_order_and_redo_forward(session):
    states = list(do_one_of_each(session))
    for state in states[-2::-1]:
        assert session.history.undo_text
        session.history.undo()
        assert what_there_is(session) == state
    assert session.history.undo_text == ""
    for state in states[1:]:
        assert session.history.redo_text
        session.history.redo()
        assert what_there_is(session) == state
    assert session.history.redo_text == ""


def test_one_kind_goes_back_while_the_others_stay(session):
    states = list(do_one_of_each(session))
    session.history[Kind.ALIGNMENT].undo()
    now = what_there_is(session)
    assert now[2] == states[0][2]
    assert now[:2] + now[3:] == states[-1][:2] + states[-1][3:]
    session.history.redo()
    assert what_there_is(session) == states[-1]


def test_a_new_step_forgets_those_of_its_kind_that_were_undone(session):
    list(do_one_of_each(session))
    session.history.undo()  # the colour
    session.domains.recolor("2", "#0000ff")
    assert session.history.redo_text == ""
    session.history.undo()
    assert session.domains.colors["2"] != "#0000ff"


def test_another_result_starts_over(session):
    list(do_one_of_each(session))
    _, result = fake_result(seed=1)
    session.set_result(result)
    assert session.history.undo_text == ""
    session.history.undo()
    assert session.domains.names == ("1", "2", "3", "4")


def test_nudges_of_one_slice_are_one_step_and_of_two_are_two(session):
    for name in ("slice2", "slice2", "slice2", "slice1"):
        session.alignment.nudge(name, (1.0, 0.0))
    assert session.alignment.track.texts == ("Nudge slice2", "Nudge slice1")


def test_a_rejected_registration_can_be_had_by_redo(session):
    state = session.alignment.state
    moved = session.alignment
    moved.turn("slice2", 30.0)
    turned = moved.state.registered
    session.history.undo()
    assert moved.propose("Register by all spots (rigid)", turned, state.choice)
    assert moved.proposed
    moved.reject()
    assert not moved.proposed
    assert moved.state.same_places(state)
    session.history.redo()
    assert np.array_equal(moved.state.registered.aligned, turned.aligned)


def test_what_is_corrected_by_hand_is_accepted(session):
    moved, choice = session.alignment, session.alignment.state.choice
    moved.turn("slice2", 30.0)
    turned = moved.state.registered
    session.history.undo()
    moved.propose("Register by all spots (rigid)", turned, choice)
    moved.nudge("slice2", (1.0, 0.0))
    assert not moved.proposed


def test_a_verdict_that_came_with_the_file_can_be_taken_back_and_given_again(session):
    session.verdicts.give("not", note="folded")
    result = session.result.adata
    session.set_result(result)
    assert session.verdicts.take_back().note == "folded"
    assert session.verdicts.given == ()
    session.history.undo()
    assert session.verdicts.given[0].note == "folded"
