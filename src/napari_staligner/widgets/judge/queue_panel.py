"""The queue of slice pairs: a matrix, the worst pair next, and verdicts by keys."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_staligner._errors import InputError
from napari_staligner.compat import after_building, in_turn, unwrapped
from napari_staligner.core.result.verdicts import LEVELS
from napari_staligner.layers.overlays.links import Ahead, drawn_links
from napari_staligner.layers.tools.keys import CanvasKeys
from napari_staligner.widgets.judge.pair_matrix import PairMatrix
from napari_staligner.widgets.judge.verdicts_panel import TITLES
from napari_staligner.widgets.parts.form import narrow, row
from napari_staligner.widgets.parts.run_row import RunRow

if TYPE_CHECKING:
    from collections.abc import Generator

    import napari
    from numpy.typing import NDArray

    from napari_staligner.core.result.pairs import Measure, PairFigures
    from napari_staligner.core.result.verdicts import Level
    from napari_staligner.session import Session
    from napari_staligner.session.view import Layout, LinkView

    Pair = tuple[str, str]

MEASURES: dict[Measure, tuple[str, str]] = {
    "confidence": ("Confidence", "How often walks to the other slice and back return home"),
    "residual": ("Residual", "Distance of matching spots in the common frame, in spots"),
    "matched": ("Share of matches", "Share of spots that have a match in the other slice"),
}
_KEYS: dict[str, Level] = dict(zip(("1", "2", "3"), LEVELS, strict=True))
_NEXT = "n"
AHEAD_MS = 200
"""After this time the links of the next pair are found."""
_HELP = "Keys: 1 aligned, 2 partly, 3 not, N next."


class QueuePanel(QWidget):
    """Goes through all pairs of slices, the worst first.

    Parameters
    ----------
    session, viewer
        The session, and its viewer, whose canvas has the same keys while the panel is seen.
    parent
        Owner.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""
    pair_chosen = Signal(tuple)
    """A pair is looked at, or, without one, all slices again."""

    def __init__(self, session: Session, viewer: napari.Viewer, parent: QWidget) -> None:
        super().__init__(parent)
        self._session, self._viewer = session, weakref.ref(unwrapped(viewer))
        self._pair: Pair | None = None
        self._before: tuple[Layout, LinkView] | None = None
        """How the slices lay, and which links were drawn, before the first pair."""
        self._steps: Generator[None, None, None] | None = None
        self._make_controls()
        keys = {key: lambda level=level: self.judge(level) for key, level in _KEYS.items()}
        actions = keys | {_NEXT: self.go_on}
        self._keys = CanvasKeys(viewer, actions)
        for key, action in actions.items():
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(action)
        self._lay_out()
        self.run.clicked.connect(self._on_run_clicked)
        self.run.returned.connect(self._on_run_returned)
        self.run.said.connect(self.said)
        self.measure.activated.connect(self.refresh)
        self.matrix.pair_clicked.connect(self.go_to)
        self.next.clicked.connect(self.go_on)
        self.seen.toggled.connect(self._on_seen_toggled)
        self.leave.clicked.connect(self._on_leave_clicked)

    def _make_controls(self) -> None:
        self.measure = narrow(QComboBox())
        for measure, (title, tip) in MEASURES.items():
            self.measure.addItem(title, measure)
            self.measure.setItemData(self.measure.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.measure.setToolTip("What colours the pairs, and in which order they come")
        self.run = RunRow(
            "Measure all pairs", "Compare each slice with each", "no pair was measured", self
        )
        self.matrix = PairMatrix(self)
        self.next = QPushButton("Next")
        self.next.setToolTip("Go to the worst pair that was not seen (N)")
        self.seen = QCheckBox("Seen")
        self.seen.setToolTip("Tick the pair; a verdict ticks it, too")
        self.leave = QPushButton("All slices")
        self.leave.setToolTip("Show all slices and all spots again")
        self.scale = QLabel()
        self.scale.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.about.setTextFormat(Qt.TextFormat.PlainText)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        layout.addWidget(row(QLabel("Colour by"), self.measure, self.run))
        layout.addWidget(self.matrix, 1)
        layout.addWidget(self.scale)
        layout.addWidget(self.about)
        layout.addWidget(row(self.next, self.seen, self.leave, None))

    # -- what is shown ----------------------------------------------------------------------

    @property
    def going(self) -> bool:
        """Whether a pair, or all slices, are on their way onto the canvas."""
        return self._steps is not None

    @property
    def _measure(self) -> Measure:
        chosen: Measure = self.measure.currentData()
        return chosen

    def refresh(self) -> None:
        """Show the pairs, which were seen, and the present one."""
        queue = self._session.pairs
        measure, found = self._measure, queue.found
        if not found:
            self._pair = self._before = None
        values = {each.pair: float(getattr(each, measure)) for each in found}
        known = [v for v in values.values() if np.isfinite(v)]
        limits = (max(known), min(known)) if known and measure == "residual" else (0.0, 1.0)
        if known and measure != "residual":
            limits = (min(known), max(known))
        self.scale.setText(
            f"dark {limits[0]:.2f} (worst) – bright {limits[1]:.2f}" if known else ""
        )
        tips = {each.pair: _described(each) for each in found}
        self.matrix.show_pairs(list(self._session.result.by_slice), values, limits, tips)
        self.run.allow(len(self._session.result.by_slice) > 1)
        self.show_seen()

    def show_seen(self) -> None:
        """Show which pairs were seen or judged."""
        queue, seen = self._session.pairs, self._session.pairs.seen
        marks = dict.fromkeys(seen, "·")
        for verdict in self._session.verdicts.given:
            if verdict.pair is not None:
                marks[verdict.pair] = TITLES[verdict.level][0]
        self.matrix.show_marks(marks, self._pair)
        left = sum(each.pair not in seen for each in queue.found)
        self.next.setText(f"Next ({left} left)" if queue.found else "Next")
        self.next.setEnabled(left > 0)
        self.leave.setEnabled(self._pair is not None)
        self.seen.setEnabled(self._pair is not None)
        judged = {v.pair for v in self._session.verdicts.given}
        with signals_blocked(self.seen):
            self.seen.setChecked(self._pair in seen)
            self.seen.setEnabled(self._pair is not None and self._pair not in judged)
        figures = None if self._pair is None else queue.of(self._pair)
        self.about.setText(f"{_described(figures)} {_HELP}" if figures is not None else "")

    def take_keys(self, seen: bool) -> None:
        """Take the keys of the canvas while the panel is seen, and give them back."""
        if seen and self._session.pairs.found:
            self._keys.bind()
        else:
            self._keys.release()

    # -- what the user does -----------------------------------------------------------------

    def go_on(self) -> None:
        """Tick the present pair, and go to the worst one that is left."""
        if self._pair is not None:
            self._session.pairs.see(self._pair)
        figures = self._session.pairs.next(self._measure, self._pair)
        if figures is None:
            self.said.emit("All pairs were seen.", False)
            return
        self.go_to(figures.pair)

    def go_to(self, pair: Pair) -> None:
        """Show a pair, its worst patch, and the links of that."""
        figures = self._session.pairs.of(pair)
        if figures is None:
            return
        if self._before is None:
            self._before = self._session.view.layout, self._session.view.links
        self._pair = pair
        self._go(self._steps_to(figures))
        self.show_seen()
        self.pair_chosen.emit(pair)

    def _steps_to(self, figures: PairFigures) -> Generator[None, None, None]:
        """Show a pair; each step takes so long that the window lives in between."""
        session, links = self._session, self._session.view.links
        with session.focus.held_still():
            # Told after the new layout has found it: between the new slices there are no links of
            # the old patch, so that the layer of links would be removed, and made anew.
            with session.result.selection_changed.paused():
                with session.view.laid_out_once():
                    session.paging.show_only(figures.pair)
                    if session.view.layout == "grid":
                        # The grid cannot show lines between slices. Their layer is made later.
                        session.view.links = replace(links, shown=False)
                        session.view.layout = "mosaic"
                    session.result.selection = figures.patch
                yield
            yield
            if session.pairs.of(figures.pair) is not None and not session.view.links.shown:
                drawn_links(session)
                yield
                session.view.links = replace(session.view.links, shown=True)
                yield
            if session.pairs.of(figures.pair) is None:
                session.view.links = links
                return
            session.focus.look_wanted.emit(self._places(figures))
        QTimer.singleShot(AHEAD_MS, self._look_ahead)

    def _steps_back(self) -> Generator[None, None, None]:
        """Show all slices as they lay."""
        session, before = self._session, self._before
        with session.focus.held_still():
            if before is not None:
                # Links first: those of all slices are many.
                session.view.links = before[1]
            yield
            with session.view.laid_out_once():
                if before is not None:
                    session.view.layout = before[0]
                session.paging.show_only(())
            self._before = None
            yield
            session.focus.show_all()

    def _go(self, steps: Generator[None, None, None]) -> None:
        """Go somewhere in steps, and no further to where the last ones led."""
        if self._steps is not None:
            self._steps.close()
        self._steps = steps
        self._go_further(steps)

    def _go_further(self, steps: Generator[None, None, None]) -> None:
        if steps is not self._steps:
            return  # somewhere else meanwhile
        for _ in steps:  # one step only
            viewer = self._viewer()
            if viewer is not None:
                after_building(viewer, lambda: in_turn(partial(self._go_further, steps)))
            break
        else:
            self._steps = None

    def _look_ahead(self) -> None:
        """Find the links of the next pair while people look at the present one."""
        if self._pair is None or not self._session.view.links.shown:
            return
        figures = self._session.pairs.next(self._measure, self._pair)
        if figures is not None:
            drawn_links(self._session, Ahead(frozenset(figures.pair), figures.patch))

    def _places(self, figures: PairFigures) -> NDArray[np.intp]:
        """Rows of the patch and of what lies there on the other slice; else of both slices."""
        if len(figures.patch) == 0:
            return np.concatenate([self._session.result.by_slice[name] for name in figures.pair])
        drawn = drawn_links(self._session)
        ends = [] if drawn is None else [drawn.links.first, drawn.links.second]
        return np.unique(np.concatenate([figures.patch, *ends]))

    def judge(self, level: Level) -> None:
        """Give a verdict on the present pair."""
        if self._pair is None:
            self.said.emit("Choose a pair first, or press N.", True)
            return
        try:
            given = self._session.verdicts.give(level, self._pair)
        except InputError as error:
            self.said.emit(str(error), True)
            return
        self.said.emit(f"{given.about}: {TITLES[level]}. N goes on.", False)

    def _on_seen_toggled(self, seen: bool) -> None:
        if self._pair is not None:
            self._session.pairs.see(self._pair, seen=seen)

    def _on_leave_clicked(self) -> None:
        self._pair = None
        self._go(self._steps_back())
        self.show_seen()
        self.pair_chosen.emit(())

    def _on_run_clicked(self) -> None:
        try:
            self.run.start(self._session.pairs.job().steps, "Measuring pairs")
        except InputError as error:
            self.said.emit(str(error), True)

    def _on_run_returned(self, found: tuple[PairFigures, ...]) -> None:
        self._session.pairs.found = found
        self.said.emit(f"{len(found):,} pair{'s' * (len(found) != 1)} measured. {_HELP}", False)
        self.take_keys(self.isVisible())


def _described(figures: PairFigures) -> str:
    """What is known of a pair, in a sentence."""
    parts = [f"confidence {figures.confidence:.2f}", f"{figures.matched:.0%} of spots matched"]
    if np.isfinite(figures.residual):
        parts.append(f"matches {figures.residual:.1f} spots apart")
    if np.isfinite(figures.parted):
        parts.append(f"{figures.parted:.0%} in another domain")
    said = f"{figures.first} – {figures.second}: {', '.join(parts)}."
    return f"{said} Worst patch: {len(figures.patch):,} spots." if len(figures.patch) else said
