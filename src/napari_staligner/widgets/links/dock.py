"""The Links dock: which spots of two slices match according to the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QFormLayout, QHBoxLayout, QLabel, QSpinBox
from superqt.utils import signals_blocked

from napari_staligner import _keys as K
from napari_staligner.core.result.matches import matches
from napari_staligner.layers.overlays.links import COLORMAP, drawn_links
from napari_staligner.widgets.links.match_table import MatchTable
from napari_staligner.widgets.parts.choice import ChoiceRow
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.histogram import ColoredHistogram

if TYPE_CHECKING:
    from typing import Any

    import napari.viewer
    from anndata import AnnData
    from pandas import DataFrame

    from napari_staligner.layers.overlays.links import Drawn

COLORS = {
    "domain": ("Domain", "The domain of both ends; links between two domains are pink"),
    "distance": ("Distance", "Distance in the embedding: near matches yellow, far ones red"),
}
_ABOUT = (
    "Mutual nearest neighbours: spots of two slices that are among each other’s nearest in the "
    "embedding."
)
_NONE = "There are no links yet: integrate the slices first."
_UNKNOWN = "This result has no links: integrate the slices to get them."
_GRID = "The grid cannot show lines between slices: choose Mosaic or Stack."
_NO_SPOT = "Click a spot on the tissue to see its matches in the other slices."
_FOREIGN = "Slice {!r} is not part of the result: integrate again to get its matches."


class LinksWidget(Dock):
    """Links between slices: how many, what they join, and those of one spot."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._stale = True
        self._make_controls()
        self._lay_out()
        self._connect_all()
        self._refresh()

    # -- building ---------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self.about = QLabel(_ABOUT)
        self.about.setWordWrap(True)
        self.shown = QCheckBox("Draw links between slices")
        self.shown.setToolTip("Lines in the layouts Mosaic and Stack, rings in all layouts")
        self.of_spot = QCheckBox("Only the chosen spot’s")
        self.of_spot.setToolTip("Draw the links of the spot that was clicked, and no others")
        self.most = QSpinBox()
        self.most.setRange(10, 100_000)
        self.most.setSingleStep(100)
        self.most.setGroupSeparatorShown(True)
        self.most.setKeyboardTracking(False)
        self.most.setToolTip("The shortest ones, evenly over the tissue")
        self.coloring = ChoiceRow(COLORS)
        self.drawn = QLabel()
        self.drawn.setWordWrap(True)
        self.plot = ColoredHistogram("Distance in the embedding", self)
        self.spot_label = QLabel()
        self.spot_label.setTextFormat(Qt.TextFormat.PlainText)
        self.spot_label.setWordWrap(True)
        self.table = MatchTable(self)
        self.table.setMinimumHeight(130)

    def _lay_out(self) -> None:
        self.body.addWidget(self.about)
        self.body.addWidget(self.shown)
        row = QHBoxLayout()
        row.addWidget(self.most)
        row.addStretch(1)
        row.addWidget(self.of_spot)
        form = QFormLayout()
        form.addRow("At most", row)
        form.addRow("Colour by", self.coloring)
        self.body.addLayout(form)
        self.body.addWidget(self.drawn)
        self.body.addWidget(self.plot)
        self.body.addWidget(self.spot_label)
        self.body.addWidget(self.table, 1)

    def _connect_all(self) -> None:
        self.shown.toggled.connect(self._on_shown_toggled)
        self.of_spot.toggled.connect(self._on_of_spot_toggled)
        self.most.valueChanged.connect(self._on_most_changed)
        self.coloring.chosen.connect(self._on_color_chosen)
        self.table.chosen.connect(self._on_match_chosen)
        session = self.session
        for signal in (
            session.result.changed,
            session.view.events.links,
            session.domains.relabelled,
            session.domains.renamed,
            session.domains.recolored,
            session.view.events.isolated,
            session.result.selection_changed,
            session.view.events.region,
            session.view.events.spot,
        ):
            self._connect(signal, self._refresh)
        for signal in (session.view.events.layout, session.view.events.stack):
            self._connect(signal, self._show_drawn)

    def _come_to_sight(self) -> None:
        if self._stale:
            self._refresh()

    # -- what is shown ----------------------------------------------------------------------

    @property
    def _result(self) -> AnnData | None:
        """The result, if it has links to show."""
        result = self.session.result.adata
        return result if result is not None and K.MUTUAL in result.obsp else None

    def _refresh(self) -> None:
        """Show everything now, or once the dock is visible."""
        self._stale = not self.seen
        result = self._result
        if self._stale and result is not None:
            return
        for control in (self.shown, self.of_spot, self.most, self.coloring):
            control.setEnabled(result is not None)
        view = self.session.view.links
        for control, value in ((self.shown, view.shown), (self.of_spot, view.of_spot)):
            with signals_blocked(control):
                control.setChecked(value)
        with signals_blocked(self.most):
            self.most.setValue(view.most)
        self.coloring.show_chosen(view.color)
        self._show_drawn()
        self._show_spot()

    def _show_drawn(self) -> None:
        """Show how many links are drawn, and their distances."""
        if not self.seen and self._result is not None:
            self._stale = True
            return
        drawn = drawn_links(self.session)
        self.drawn.setText("" if drawn is None else self._counted(drawn))
        by_distance = drawn is not None and self.session.view.links.color == "distance"
        self.plot.setVisible(by_distance)
        if drawn is not None and by_distance:
            self.plot.show_values(drawn.links.distance, COLORMAP, drawn.limits)
        self.say(self._state())

    def _state(self) -> str:
        if self.session.result.adata is None:
            return _NONE
        if self._result is None:
            return _UNKNOWN
        if self.session.view.links.shown and self.session.view.layout == "grid":
            return _GRID
        return ""

    def _counted(self, drawn: Drawn) -> str:
        """Say how many links are drawn, exist, and join different domains."""
        of_what = "there are" if self.session.focus.mask() is None else "of the spots shown"
        n = len(drawn.links) if self.session.view.links.shown else 0
        text = f"{n:,} drawn of {drawn.exist:,} {of_what}."
        if np.isfinite(drawn.parted):
            pink = ", drawn pink" if self.session.view.links.color == "domain" else ""
            text += f" {drawn.parted:.1%} of these join different domains{pink}."
        return text

    def _show_spot(self) -> None:
        """List the matches of the chosen spot."""
        result, spot = self._result, self.session.view.spot
        rows = None if spot is None else self.session.result.rows(spot.slice)
        self.spot_label.setVisible(result is not None)
        self.table.setVisible(result is not None)
        if result is None or spot is None or rows is None:
            self.spot_label.setText(_NO_SPOT if spot is None else _FOREIGN.format(spot.slice))
            self.table.show_matches(None, {})
            return
        found = self._named(matches(result, int(rows[spot.row])))
        self.table.show_matches(found, self.session.domains.colors)
        name = self.session.slices[spot.slice].obs_names[spot.row]
        count = f"{len(found)} match" + ("" if len(found) == 1 else "es")
        self.spot_label.setText(f"Spot {name} of {spot.slice}: {count}")

    def _named(self, found: DataFrame) -> DataFrame:
        """Name the spots as in their slices: the result adds the slice to every name."""
        names = []
        for row in found.index:
            spot = self.session.result.spot_of_row(int(row))
            names.append(str(self.session.slices[spot.slice].obs_names[spot.row]))
        return found.assign(name=names)

    # -- what the user does -----------------------------------------------------------------

    def _set(self, **changes: Any) -> None:
        self.session.view.links = replace(self.session.view.links, **changes)

    def _on_shown_toggled(self, shown: bool) -> None:
        self._set(shown=shown)

    def _on_of_spot_toggled(self, of_spot: bool) -> None:
        self._set(of_spot=of_spot)

    def _on_most_changed(self, most: int) -> None:
        self._set(most=most)

    def _on_color_chosen(self, color: str) -> None:
        self._set(color=color)

    def _on_match_chosen(self, row: int) -> None:
        self.session.view.spot = self.session.result.spot_of_row(row)
