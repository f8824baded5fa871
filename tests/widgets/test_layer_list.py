"""What is in napari's list of layers while a person works through all docks with many slices."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from docks import press
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner.core.annotations.transfer import Proposal
from napari_staligner.layers import open_session
from napari_staligner.session import Spot
from napari_staligner.widgets.tabs import raise_dock
from napari_staligner.widgets.workbench import open_workbench

SLICES = 12
ALONE = {"image": SLICES, "spots": SLICES}


class Walk:
    """Goes from dock to dock, and uses what draws on the tissue."""

    def __init__(self, viewer, qtbot) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.docks = open_workbench(viewer)
        self.session = open_session(viewer)
        self.most = 0

    def roles(self) -> dict[str, int]:
        found = Counter(str(layer.metadata[K.LAYER_ROLE]) for layer in self.viewer.layers)
        self.most = max(self.most, len(self.viewer.layers))
        return dict(found)

    def open(self, name: str):
        raise_dock(self.docks[name])
        self.qtbot.waitUntil(lambda: self.docks[name].seen)
        return self.docks[name]

    def choose(self, choice, value: str) -> None:
        choice.buttons[value].click()

    def toggled(self, box) -> dict[str, int]:
        """Switch a box on and off again; returns what is in the list meanwhile besides slices."""
        before = self.roles()
        press(self.qtbot, box)
        assert box.isChecked()
        shown = self.roles()
        press(self.qtbot, box)
        assert self.roles() == before
        return {role: n for role, n in shown.items() if before.get(role) != n}


@pytest.fixture
def walk(make_napari_viewer_proxy, qtbot) -> Walk:
    """Open all docks with twelve integrated slices."""
    walk = Walk(make_napari_viewer_proxy(show=True), qtbot)
    slices, result = fake_result((25,) * SLICES)
    result.obsm[K.SHIFT] = np.ones((result.n_obs, 2))
    result.obs[K.RESIDUAL] = np.ones(result.n_obs, dtype=np.float32)
    walk.session.add(slices)
    walk.session.set_result(result, saved=True)
    qtbot.waitUntil(lambda: len(walk.session.slices.graphs) == SLICES)
    return walk


def test_after_a_walk_through_all_docks_the_list_holds_images_and_spots_alone(walk):
    session = walk.session
    assert walk.roles() == ALONE
    assert walk.toggled(walk.open("Slices").graph_shown) == {"graph": SLICES}
    walk.open("Integrate")
    domains = walk.open("Domains")
    session.view.isolated = {"2"}
    domains.session.domains.recolor("2", "#123456")
    assert walk.roles() == ALONE
    assert walk.toggled(walk.open("Alignment").arrows) == {"shift": SLICES}
    session.view.spot = Spot("slice3", 4)
    attention = walk.open("Attention")
    assert walk.toggled(attention.shown) == {"attention": SLICES}
    walk.open("Explore")
    session.result.selection = np.arange(40)
    compare = walk.open("Compare")
    walk.choose(compare.layouts, "mosaic")
    assert walk.roles() == ALONE | {"title": 1}
    walk.choose(compare.layouts, "stack")
    for mode in ("flicker", "checkerboard", "swipe"):
        walk.choose(compare.modes, mode)
        assert walk.roles() == ALONE
    walk.choose(compare.modes, "3d")
    assert walk.roles() == ALONE | {"solid": SLICES}
    walk.choose(compare.modes, "blend")
    assert walk.roles() == ALONE
    links = walk.open("Links")
    assert walk.toggled(links.shown) == {"links": 1}
    walk.open("Judge")
    annotate = walk.open("Annotate")
    session.annotations.use_template("Cortex")
    for tool in ("lasso", "spot"):
        annotate.tools.buttons[tool].click()
        annotate.tools.buttons[tool].click()
    assert walk.roles() == ALONE
    session.annotations.proposal = Proposal("WM", np.arange(9), np.ones(9, np.float32))
    assert walk.roles() == ALONE | {"proposal": SLICES}
    session.annotations.proposal = None
    walk.choose(compare.layouts, "grid")
    assert walk.roles() == ALONE
    assert walk.most == 3 * SLICES
