"""The view: an event for each field, and JSON that comes back."""

from __future__ import annotations

import json

import pytest

from napari_staligner.session import ColorBy, Overlay, Spot, StackView, Trust, View

OTHER = {
    "color_by": ColorBy("gene", "Doc2g"),
    "layout": "mosaic",
    "stack": StackView("swipe", ("a", "b"), opacities={"a": 0.5}),
    "trust": Trust(0.3, hide=True),
    "attention": Overlay(shown=True, threshold=0.1),
    "isolated": frozenset({"GCL", "MCL"}),
    "spot": Spot("a", 3),
    "spot_scale": 1.5,
    "arrows": True,
}


@pytest.mark.parametrize("field", OTHER)
def test_a_field_tells_of_its_own_change_only_and_once(field):
    view, told = View(), []
    view.events.connect(lambda change: told.append(change.signal.name))
    setattr(view, field, OTHER[field])
    setattr(view, field, OTHER[field])
    assert told == [field]


def test_every_saved_field_survives_json():
    view = View(**OTHER)
    again = View.from_json(view.to_json())
    for name in view.saved_fields:
        assert getattr(again, name) == getattr(view, name), name
    assert set(OTHER) <= set(view.saved_fields)


def test_what_is_of_the_moment_is_not_saved():
    view = View(tool="lasso", hand="a", brush=5.0)
    assert not {"tool", "hand", "brush"} & json.loads(view.to_json()).keys()


@pytest.mark.parametrize("names", [{"b", "a"}, ["a", "b"], ("a", "b"), {"a": 1, "b": 2}])
def test_isolated_takes_any_collection_of_names(names):
    view = View()
    view.isolated = names
    assert view.isolated == frozenset({"a", "b"})


@pytest.mark.parametrize("text", ["{", "[]", '{"layout": "spiral"}', '{"settings": {"alpha": 7}}'])
def test_a_view_of_another_version_is_none(text):
    assert View.from_json(text) is None
