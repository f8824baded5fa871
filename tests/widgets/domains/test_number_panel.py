"""The choice of k in the Domains dock: start, cancel, read and click with real events."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from docks import LEFT
from qtpy.QtCore import QPointF, Qt

from napari_staligner.core.domains.domains import FoundDomains
from napari_staligner.core.domains.number import NumberStability
from napari_staligner.core.progress import Progress
from napari_staligner.widgets.domains import dock as module
from napari_staligner.widgets.domains.dock import DomainsWidget

FOUND = [
    NumberStability(k, mean, 0.02, mean + 0.1)
    for k, mean in zip(range(2, 8), (0.6, 0.4, 0.5, 0.8, 0.5, 0.4), strict=True)
]


@pytest.fixture
def empty_dock(open_dock):
    return open_dock(DomainsWidget, 380, 700)


@pytest.fixture
def held(monkeypatch):
    """Comparing that waits until it may go on."""
    go = threading.Event()

    def steps(z, blocks, numbers, seed):
        assert set(range(2, 16)) <= set(numbers)
        yield Progress("mixture", 1, 2)
        while not go.wait(0.01):
            yield Progress("mixture", 1, 2)
        return FOUND

    monkeypatch.setattr("napari_staligner.core.domains.number.number_steps", steps)
    return go


def compare(qtbot, dock):
    run = dock.numbers.run
    qtbot.mouseClick(run.button, LEFT)
    assert run.cancel.isVisible()
    return run


def at(plot, k):
    """The pixel over a number, low in the plot, where nothing is drawn."""
    return plot.mapFromScene(plot.view.mapViewToScene(QPointF(k, 0.2)))


def test_a_click_on_a_stable_number_finds_that_many_domains(dock, qtbot, held, monkeypatch):
    asked = []

    def find(embedding, connectivities, settings, tissue):
        asked.append(settings.domains)
        yield Progress("domains", 1, 1)
        return FoundDomains(np.arange(len(embedding)) % settings.domains)

    monkeypatch.setattr("napari_staligner.core.domains.domains.domain_steps", find)
    monkeypatch.setattr(module, "DEBOUNCE_MS", 50)
    panel = dock.numbers
    assert not panel.found.isVisible()
    run = compare(qtbot, dock)
    with qtbot.waitSignal(run.ended):
        held.set()
    assert panel.found.isVisible()
    agreed, kept = (curve.getData() for curve in panel.plot.curves.values())
    np.testing.assert_allclose(agreed, [range(2, 8), [one.mean for one in FOUND]])
    np.testing.assert_allclose(kept, [range(2, 8), [one.kept for one in FOUND]])
    assert panel.plot.present.value() == 4
    qtbot.mouseMove(panel.plot.viewport(), at(panel.plot, 5.3))
    qtbot.waitUntil(lambda: "k = 5: two halves of the tissue agree by 0.80" in panel.plot.toolTip())
    qtbot.mouseClick(panel.plot.viewport(), Qt.MouseButton.RightButton, pos=at(panel.plot, 5.3))
    assert dock.k.value() != 5, "the right button takes nothing"
    with qtbot.waitSignal(dock._runner.ended):
        qtbot.mouseClick(panel.plot.viewport(), LEFT, pos=at(panel.plot, 5.3))
    assert asked == [5]
    assert len(dock.session.domains.names) == 5
    assert panel.plot.present.value() == 5
    assert panel.found.isVisible(), "another k of the same embedding: the plot still holds"
    dock.session.set_result(dock.session.result.adata.copy())
    assert not panel.found.isVisible(), "another result: what was found does not hold"


def test_a_cancelled_comparison_says_so_and_can_start_again(dock, qtbot, held):
    run = compare(qtbot, dock)
    with qtbot.waitSignal(run.ended):
        qtbot.mouseClick(run.cancel, LEFT)
    assert dock.status.text() == "Cancelled: the numbers are not compared."
    assert not dock.numbers.found.isVisible()
    assert run.button.isEnabled()
    with qtbot.waitSignal(run.ended):
        held.set()
        compare(qtbot, dock)
    assert dock.numbers.found.isVisible()
    qtbot.mouseClick(dock.numbers.hide_plot, LEFT)
    assert not dock.numbers.found.isVisible()


def test_without_a_result_there_is_nothing_to_compare(empty_dock):
    assert not empty_dock.numbers.run.button.isEnabled()
