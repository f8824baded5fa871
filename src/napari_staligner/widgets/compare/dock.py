"""The Compare dock: layout of the slices, ways to compare two, and which spots are trusted."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_staligner import _keys as K
from napari_staligner.session import PAIRWISE, ColorBy
from napari_staligner.widgets.parts.choice import LAYOUTS, ChoiceRow
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.form import FittingScroll, form, narrow
from napari_staligner.widgets.parts.histogram import ColoredHistogram
from napari_staligner.widgets.parts.slider import Slider

if TYPE_CHECKING:
    import napari.viewer

    from napari_staligner.session import Layout, Part, StackMode

MODES = {
    "blend": ("Blend", "All slices, transparent over each other"),
    "flicker": ("Flicker", "Two slices in turn: misplaced parts jump"),
    "checkerboard": ("Checker", "Two slices in alternating cells: lines break where they differ"),
    "swipe": ("Swipe", "Two slices left and right of an edge"),
    "3d": ("3-D", "Each slice above the one before"),
}
PARTS = {
    "both": ("Both", "Tissue images and spots"),
    "image": ("Image", "Tissue images; spots for a slice without one"),
    "spots": ("Spots", "Spots only"),
}
_FEW = "Load two slices to compare them."
_UNALIGNED = "The slices are only centred on each other: integrate them to see the stack aligned."
_UNREGISTERED = (
    "The slices are only centred on each other: register them in the Alignment dock to see the "
    "stack aligned."
)
_NO_CONFIDENCE = "This result has none: press Complete in the Integrate dock."
# Dragging a slider sets the session at most this often: masks of large images take a moment.
_THROTTLE_MS = 40


class CompareWidget(Dock):
    """Layout of the slices, ways to see two of them in one place, and confidence."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._slid: dict[str, float] = {}
        self._opacities_slid: dict[str, float] = {}
        self._throttle = QTimer(self)
        self._throttle.setSingleShot(True)
        self._throttle.setInterval(_THROTTLE_MS)
        self._flicker = QTimer(self)
        self._make_choices()
        self._make_pages()
        self._make_trust()
        self._lay_out()
        self._connect_all()
        self._refresh()

    # -- building ---------------------------------------------------------------------------

    def _make_choices(self) -> None:
        self.layouts, self.modes, self.parts = map(ChoiceRow, (LAYOUTS, MODES, PARTS))
        self.pair = tuple(narrow(QComboBox()) for _ in range(2))
        for box, which in zip(self.pair, ("First", "Second"), strict=True):
            box.setToolTip(f"{which} of the two slices that are compared")
        self.swap = QPushButton("⇄")
        self.swap.setToolTip("Swap the two: left and right, or which one is shown")
        self.swap.setFixedWidth(34)

    def _make_pages(self) -> None:
        """One page of controls for each mode."""
        self.rate = Slider("rate", (0, 8), 1, "At 0 it stops, and ⇄ switches by hand")
        self.cells = Slider("cells", (2, 40), 0, "Cells along the longer side")
        self.swipe = Slider("swipe", (0, 1), 2, "Position of the edge, as a share of the width")
        self.spacing = Slider("spacing", (0, 2), 2, "As a share of the extent of the first slice")
        self._sliders = (self.rate, self.cells, self.swipe, self.spacing)
        self.opacities: dict[str, Slider] = {}
        self._opacity_form = QWidget()
        form(self._opacity_form)
        self.pages: dict[str, QWidget] = {
            "blend": FittingScroll(self._opacity_form),
            "flicker": _page("Switches per second", self.rate),
            "checkerboard": _page("Cells", self.cells),
            "swipe": _page("Edge", self.swipe),
            "3d": _page("Spacing", self.spacing),
        }
        self._opacity_form.installEventFilter(self.pages["blend"])

    def _make_trust(self) -> None:
        self.least = Slider("least", (0, 1), 2, "Spots with a lower confidence are greyed out")
        self.hide_doubtful = QCheckBox("Hide them")
        self.hide_doubtful.setToolTip("Hide spots below the threshold instead of greying them out")
        self.color_trust = QPushButton("Colour by confidence")
        self.color_trust.setToolTip("Colour the spots by how well the other slices share them")
        self.trusted = QLabel()
        self.confidence_plot = ColoredHistogram("Confidence of the spots", self)

    def _lay_out(self) -> None:
        self.body.addWidget(self.layouts)
        self.stack_box = QGroupBox("Stack")
        box = form(self.stack_box)
        box.setContentsMargins(8, 8, 8, 8)
        box.addRow(self.modes)
        self.pair_row = QWidget()
        row = QHBoxLayout(self.pair_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.pair[0], 1)
        row.addWidget(self.swap)
        row.addWidget(self.pair[1], 1)
        box.addRow(self.pair_row)
        box.addRow("Show", self.parts)
        for page in self.pages.values():
            box.addRow(page)
        self.body.addWidget(self.stack_box)
        self.trust_box = QGroupBox("Confidence of the alignment")
        box = form(self.trust_box)
        box.setContentsMargins(8, 8, 8, 8)
        box.addRow(self.confidence_plot)
        box.addRow("At least", self.least)
        row = QHBoxLayout()
        row.addWidget(self.hide_doubtful)
        row.addStretch(1)
        row.addWidget(self.color_trust)
        box.addRow(row)
        box.addRow(self.trusted)
        self.body.addWidget(self.trust_box)
        self.body.addStretch(1)

    def _connect_all(self) -> None:
        self.layouts.chosen.connect(self._on_layout_chosen)
        self.modes.chosen.connect(self._on_mode_chosen)
        self.parts.chosen.connect(self._on_part_chosen)
        for box in self.pair:
            box.activated.connect(self._on_pair_chosen)
        self.swap.clicked.connect(self._on_swap_clicked)
        self._throttle.timeout.connect(self._set_slid)
        self._flicker.timeout.connect(self._on_flicker_turned)
        for slider in (*self._sliders, self.least):
            slider.slid.connect(self._on_slid)
        self.hide_doubtful.toggled.connect(self._on_hide_toggled)
        self.color_trust.clicked.connect(self._on_color_clicked)
        session = self.session
        self._connect(session.slices.changed, self._refresh)
        self._connect(session.result.changed, self._refresh)
        self._connect(session.view.events.layout, self._show_stack)
        self._connect(session.view.events.stack, self._show_stack)
        self._connect(session.view.events.trust, self._show_trust)
        self._connect(session.view.events.color_by, self._show_trust)

    def teardown(self) -> None:
        """End connections and the flicker."""
        self._flicker.stop()
        self._throttle.stop()
        super().teardown()

    # -- what is shown ----------------------------------------------------------------------

    def _refresh(self) -> None:
        names = list(self.session.slices)
        for box in self.pair:
            box.clear()
            box.addItems(names)
        self._make_opacities(names)
        several = len(names) > 1
        for choice in (self.layouts, self.modes, self.parts):
            choice.setEnabled(several)
        self._show_stack()
        self._show_confidence()

    def _make_opacities(self, names: list[str]) -> None:
        rows, before = self._opacity_form.layout(), list(self.opacities)
        pairs = zip(before, names, strict=False)
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        for name in before[same:]:
            rows.removeRow(same)
            del self.opacities[name]
        for name in names[same:]:
            slider = Slider(name, (0, 1), 2, f"Opacity of {name} in the stack")
            slider.slid.connect(self._on_opacity_slid)
            rows.addRow(name, slider)
            self.opacities[name] = slider

    def _show_stack(self) -> None:
        """Show the layout of the slices, and run the flicker if it is shown."""
        session, stack = self.session, self.session.view.stack
        self.layouts.show_chosen(session.view.layout)
        self.modes.show_chosen(stack.mode if session.view.layout == "stack" else None)
        self.parts.show_chosen(stack.part)
        pair = session.slices.pair
        for name, page in self.pages.items():
            page.setVisible(stack.mode == name)
        self.pair_row.setVisible(stack.mode in PAIRWISE)
        for box, name in zip(self.pair, pair or ("", ""), strict=True):
            box.setCurrentText(name)
        if not self._throttle.isActive():
            for slider in self._sliders:
                slider.show_value(getattr(stack, slider.name))
            for name, slider in self.opacities.items():
                slider.show_value(stack.opacity(name))
        self._run_flicker()
        self._say_state()

    def _run_flicker(self) -> None:
        stack = self.session.view.stack
        turning = self.session.view.layout == "stack" and stack.mode == "flicker" and stack.rate > 0
        if not turning or self.session.slices.pair is None:
            self._flicker.stop()
            return
        interval = round(1000 / stack.rate)
        if not self._flicker.isActive() or self._flicker.interval() != interval:
            self._flicker.start(interval)

    def _say_state(self) -> None:
        session, stack = self.session, self.session.view.stack
        if len(session.slices) < 2:
            self.say(_FEW)
        elif session.view.layout == "stack" and session.result.adata is None:
            self.say(_UNALIGNED)
        elif session.view.layout == "stack" and session.alignment.state is None:
            self.say(_UNREGISTERED)
        elif session.view.layout == "stack" and stack.mode == "flicker" and session.slices.pair:
            self.say(f"Now: {session.slices.pair[stack.front]}")
        else:
            self.say("")

    def _show_confidence(self) -> None:
        """Show the confidence of the result, if it has any."""
        result = self.session.result.adata
        known = result is not None and K.CONFIDENCE in result.obs
        for control in (self.least, self.hide_doubtful, self.color_trust):
            control.setEnabled(known)
        self.confidence_plot.setVisible(known)
        if result is not None and known:
            values = result.obs[K.CONFIDENCE].to_numpy()
            self.confidence_plot.show_values(values, self.session.view.scale.colormap, (0, 1))
        self._show_trust()

    def _show_trust(self) -> None:
        trust, result = self.session.view.trust, self.session.result.adata
        with signals_blocked(self.hide_doubtful):
            self.hide_doubtful.setChecked(trust.hide)
        if not self._throttle.isActive():
            self.least.show_value(trust.least)
        self.confidence_plot.show_cut(trust.least or None)
        self.trusted.setVisible(True)
        if result is None or K.CONFIDENCE not in result.obs:
            unknown = "Known once the slices are integrated."
            self.trusted.setText(unknown if result is None else _NO_CONFIDENCE)
            return
        n = int((result.obs[K.CONFIDENCE].to_numpy() < trust.least).sum())
        self.trusted.setText(f"{n:,} of {result.n_obs:,} spots below")

    # -- what the user does -----------------------------------------------------------------

    def _set_stack(self, **changes: Any) -> None:
        self.session.view.stack = replace(self.session.view.stack, **changes)

    def _on_layout_chosen(self, layout: Layout) -> None:
        self.session.view.layout = layout

    def _on_mode_chosen(self, mode: StackMode) -> None:
        # Set the mode first, so that the stack is arranged only once.
        self._set_stack(mode=mode, front=0)
        self.session.view.layout = "stack"

    def _on_part_chosen(self, part: Part) -> None:
        self._set_stack(part=part)

    def _on_pair_chosen(self) -> None:
        first, second = (box.currentText() for box in self.pair)
        old = self.session.slices.pair
        if first == second and old is not None:
            # A slice chosen on one side is removed from the other.
            first, second = (first, old[0]) if first != old[0] else (old[1], second)
        self._set_stack(pair=(first, second))

    def _on_swap_clicked(self) -> None:
        stack, pair = self.session.view.stack, self.session.slices.pair
        if stack.mode == "flicker":
            self._on_flicker_turned()
        elif pair is not None:
            self._set_stack(pair=(pair[1], pair[0]))

    def _on_flicker_turned(self) -> None:
        self._set_stack(front=1 - self.session.view.stack.front)

    def _on_slid(self, name: str, value: float) -> None:
        self._slid[name] = value
        self._start_throttle()

    def _on_opacity_slid(self, name: str, value: float) -> None:
        self._opacities_slid[name] = value
        self._start_throttle()

    def _start_throttle(self) -> None:
        if not self._throttle.isActive():
            self._throttle.start()

    def _set_slid(self) -> None:
        """Set what was dragged since the last call."""
        slid, self._slid = self._slid, {}
        opacities, self._opacities_slid = self._opacities_slid, {}
        if "least" in slid:
            self._set_trust(least=round(slid.pop("least"), 2))
        if "cells" in slid:
            slid["cells"] = round(slid["cells"])
        if opacities:
            self._set_stack(opacities={**self.session.view.stack.opacities, **opacities}, **slid)
        elif slid:
            self._set_stack(**slid)

    def _on_hide_toggled(self, hide: bool) -> None:
        self._set_trust(hide=hide)

    def _set_trust(self, **changes: Any) -> None:
        self.session.view.trust = replace(self.session.view.trust, **changes)

    def _on_color_clicked(self) -> None:
        self.session.view.color_by = ColorBy("obs", K.CONFIDENCE)


def _page(title: str, slider: Slider) -> QWidget:
    page = QWidget()
    form(page).addRow(title, slider)
    return page
