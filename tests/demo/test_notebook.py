"""From a notebook to a window and back."""

from __future__ import annotations

import pytest
from fakes import fake_result
from tiny import tiny_pair

from napari_staligner import InputError, edited, view
from napari_staligner.layers import open_session


def test_a_result_goes_to_a_window_and_its_edits_come_back(make_napari_viewer):
    _, result = fake_result()
    names = list(result.obs["domain"].cat.categories)
    viewer = view(result, viewer=make_napari_viewer())
    session = open_session(viewer)
    session.domains.rename(names[0], "white matter")
    back = edited(viewer)
    assert "white matter" in back.obs["domain"].cat.categories
    assert back.obs["slice"].equals(result.obs["slice"])
    # The notebook's own stays as it was.
    assert list(result.obs["domain"].cat.categories) == names


def test_slices_go_to_a_window_without_being_changed(make_napari_viewer):
    slices = tiny_pair()
    slices[0][1].raw = slices[0][1].copy()
    viewer = view(dict(slices), viewer=make_napari_viewer())
    session = open_session(viewer)
    assert list(session.slices) == ["A", "B"]
    assert session.slices["A"].raw is not None
    assert session.slices["A"] is not slices[0][1]
    with pytest.raises(InputError, match="no result yet"):
        edited(viewer)
