"""The Attention dock: the edges that are drawn, colours of the spots, one spot's neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QCheckBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QRadioButton,
    QSpinBox,
)
from superqt import QLabeledDoubleSlider
from superqt.utils import signals_blocked

from napari_staligner import _keys as K
from napari_staligner.core.result.attention import (
    attention_edges,
    border_attention,
    neighbor_table,
    spot_edges,
    top_weight,
)
from napari_staligner.layers import painting
from napari_staligner.layers.overlays.attention import ATTENTION_COLORMAP
from napari_staligner.session import ColorBy
from napari_staligner.widgets.attention.border_plot import BorderPlot
from napari_staligner.widgets.attention.neighbors import NeighborTable
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.histogram import ColoredHistogram

if TYPE_CHECKING:
    import napari.viewer
    from anndata import AnnData
    from numpy.typing import NDArray
    from pandas import DataFrame

_ABOUT = "How much of a spot’s representation comes from each neighbour; a spot’s weights sum to 1."
_COLORINGS = {
    "domain": ("Domain", ColorBy("obs", K.DOMAIN)),
    "self": ("Self-attention", ColorBy("attention", "self")),
    "entropy": ("Entropy", ColorBy("attention", "entropy")),
    "foreign": ("Other domains", ColorBy("attention", "foreign")),
}
_TIPS = {
    "domain": "Colour the spots by their domain",
    "self": "Colour the spots by the weight that each gives to itself",
    "entropy": "Colour the spots by how evenly their weights are spread: 1 if all are equal",
    "foreign": "Colour the spots by how much each takes from neighbours in other domains",
}
_NO_SPOT = "Click a spot on the tissue to see its neighbours."
_FOREIGN = "Slice {!r} is not part of the result: integrate again to get its attention."
# Dragging the slider sets the threshold at most this often: each redraws all edges.
_THROTTLE_MS = 60


class AttentionWidget(Dock):
    """Attention of the integrated slices: edges, figures of the spots, and one spot's weights."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._weights: _Weights | None = None
        self._stale = True
        self._throttle = QTimer(self)
        self._throttle.setSingleShot(True)
        self._throttle.setInterval(_THROTTLE_MS)
        self._make_controls()
        self.weights_plot = ColoredHistogram("Weights of neighbours", self)
        self.figure_plot = ColoredHistogram("", self)
        self.border_plot = BorderPlot(self)
        self.borders = QLabel()
        self.borders.setWordWrap(True)
        self.spot_label = QLabel()
        self.spot_label.setTextFormat(Qt.TextFormat.PlainText)
        self.spot_label.setWordWrap(True)
        self.table = NeighborTable(self)
        self.table.setMinimumHeight(130)
        self.sums = QLabel()
        self.sums.setWordWrap(True)
        self._lay_out()
        self._connect_all()
        self._refresh()

    # -- building ---------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self.about = QLabel(_ABOUT)
        self.about.setWordWrap(True)
        self.shown = QCheckBox("Draw attention on the tissue")
        self.shown.setToolTip("An edge from each spot half-way to each neighbour it takes from")
        self.threshold = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.threshold.setDecimals(3)
        self.threshold.setToolTip("Edges with a lower weight are not drawn")
        self.strongest = QSpinBox()
        self.strongest.setRange(0, 99)
        self.strongest.setSpecialValueText("all")
        self.strongest.setToolTip("Draw only this many of each spot’s strongest neighbours")
        self.of_spot = QCheckBox("Only the chosen spot’s")
        self.of_spot.setToolTip(
            "On each edge of the chosen spot, the near half is what it takes and the far half "
            "what it gives"
        )
        self.drawn = QLabel()
        self.coloring = {key: QRadioButton(title) for key, (title, _) in _COLORINGS.items()}
        self._group = QButtonGroup(self)
        for key, button in self.coloring.items():
            button.setToolTip(_TIPS[key])
            self._group.addButton(button)

    def _lay_out(self) -> None:
        self.body.addWidget(self.about)
        row = QHBoxLayout()
        row.addWidget(self.shown)
        row.addStretch(1)
        row.addWidget(self.drawn)
        self.body.addLayout(row)
        form = QFormLayout()
        form.addRow("Weights from", self.threshold)
        row = QHBoxLayout()
        row.addWidget(self.strongest)
        row.addStretch(1)
        form.addRow("Strongest per spot", row)
        self.body.addLayout(form)
        self.body.addWidget(self.of_spot)
        self.body.addWidget(self.weights_plot)
        grid = QGridLayout()
        grid.addWidget(QLabel("Colour by"), 0, 0)
        for i, button in enumerate(self.coloring.values()):
            grid.addWidget(button, i // 2, 1 + i % 2)
        grid.setColumnStretch(2, 1)
        self.body.addLayout(grid)
        self.body.addWidget(self.figure_plot)
        self.body.addWidget(self.borders)
        self.body.addWidget(self.border_plot)
        self.body.addWidget(self.spot_label)
        self.body.addWidget(self.table, 1)
        self.body.addWidget(self.sums)

    def _connect_all(self) -> None:
        self.shown.toggled.connect(self._on_shown_toggled)
        self.threshold.valueChanged.connect(self._on_threshold_moved)
        self.strongest.valueChanged.connect(self._on_strongest_changed)
        self.of_spot.toggled.connect(self._on_of_spot_toggled)
        self._throttle.timeout.connect(self._set_threshold)
        self._group.buttonClicked.connect(self._on_coloring_clicked)
        self.table.chosen.connect(self._on_neighbor_chosen)
        session = self.session
        self._connect(session.result.changed, self._on_session_result_changed)
        self._connect(session.view.events.attention, self._show_overlay)
        self._connect(session.view.events.color_by, self._show_coloring)
        for changed in (
            session.domains.relabelled,
            session.domains.renamed,
            session.domains.recolored,
        ):
            self._connect(changed, self._show_spot)
            self._connect(changed, self._show_borders)
        self._connect(session.view.events.spot, self._show_spot)
        self._connect(session.view.events.spot, self._show_overlay)

    def _come_to_sight(self) -> None:
        if self._stale:
            self._refresh()

    # -- what is shown ----------------------------------------------------------------------

    @property
    def _result(self) -> AnnData | None:
        """The result, if it has attention to show."""
        result = self.session.result.adata
        return result if result is not None and K.ATTENTION in result.obsp else None

    def _refresh(self) -> None:
        """Show everything now, or once the dock is visible."""
        self._stale, self._weights = not self.seen, None
        result = self._result
        if self._stale and result is not None:
            return
        if result is not None:
            self._weights = _Weights(result)
        controls = (self.shown, self.threshold, self.strongest, self.of_spot)
        for control in (*controls, *self.coloring.values()):
            control.setEnabled(result is not None)
        self.weights_plot.setVisible(self._weights is not None)
        if self._weights is not None:
            with signals_blocked(self.threshold):
                # Only as far as the colours: the few weights above would take most of the slider.
                self.threshold.setRange(0, self._weights.top)
                # superqt's type says int; its double slider takes a float.
                self.threshold.setSingleStep(self._weights.top / 50)  # type: ignore[arg-type]
            self.weights_plot.show_values(
                self._weights.all, ATTENTION_COLORMAP, (0, self._weights.top)
            )
        self._show_overlay()
        self._show_coloring()
        self._show_spot()
        self._show_borders()
        self.say(self._missing())

    def _missing(self) -> str:
        if self.session.result.adata is None:
            return "There is no attention yet: integrate the slices first."
        if self._result is None:
            return "This result has no attention: integrate the slices to get it."
        return ""

    def _show_overlay(self) -> None:
        """Show which edges are drawn, and how many."""
        overlay = self.session.view.attention
        with signals_blocked(self.shown):
            self.shown.setChecked(overlay.shown)
        if not self._throttle.isActive():
            with signals_blocked(self.threshold):
                self.threshold.setValue(overlay.threshold)
        with signals_blocked(self.strongest):
            self.strongest.setValue(overlay.strongest)
        with signals_blocked(self.of_spot):
            self.of_spot.setChecked(overlay.of_spot)
        self.weights_plot.show_cut(overlay.threshold or None)
        self.drawn.setText("")
        if self._weights is not None:
            n = self._count()
            self.drawn.setText(f"{n:,} edges")
            self.drawn.setToolTip(f"Of {len(self._weights.all):,} in all slices")

    def _count(self) -> int:
        """Count the edges that are drawn."""
        overlay, spot, result = self.session.view.attention, self.session.view.spot, self._result
        if self._weights is None or result is None:
            return 0
        if not overlay.of_spot:
            return self._weights.count(overlay.threshold, overlay.strongest)
        rows = None if spot is None else self.session.result.rows(spot.slice)
        if spot is None or rows is None:
            return 0
        row = int(rows[spot.row])
        weights = spot_edges(result, row, threshold=overlay.threshold, strongest=overlay.strongest)[
            2
        ]
        return len(weights)

    def _show_coloring(self) -> None:
        """Show what the spots are coloured by, if it is one of these choices."""
        color_by = self.session.view.color_by
        self._group.setExclusive(False)
        for key, button in self.coloring.items():
            button.setChecked(color_by == _COLORINGS[key][1])
        self._group.setExclusive(True)
        for key in ("domain", "foreign"):
            self.coloring[key].setEnabled(
                self._result is not None and bool(self.session.domains.names)
            )
        shown = painting(self.session)
        scale = shown.legend
        is_figure = color_by.kind == "attention" and self._result is not None
        self.figure_plot.setVisible(is_figure)
        if is_figure and scale.colormap and scale.limits:
            # The scale of the spots, so that equal values have equal colours on both.
            self.figure_plot.set_title(_COLORINGS[color_by.key][0] + " of the spots")
            values = np.concatenate(list(shown.values.values()))
            self.figure_plot.show_values(values, scale.colormap, scale.limits)

    def _show_borders(self) -> None:
        """Compare the attention across and within the borders of domains."""
        if not self.seen:
            self._stale = True
            return
        known = self._result is not None and bool(self.session.domains.names)
        self.borders.setVisible(known)
        self.border_plot.setVisible(known)
        if self._result is not None and known:
            table = border_attention(self._result)
            self.border_plot.show_table(table, self.session.domains.colors)
            self.borders.setText(_compared(table))

    def _show_spot(self) -> None:
        """List the neighbours of the chosen spot."""
        if not self.seen:
            self._stale = True
            return
        result, spot = self._result, self.session.view.spot
        rows = None if spot is None else self.session.result.rows(spot.slice)
        self.spot_label.setVisible(result is not None)
        self.table.setVisible(result is not None)
        self.sums.setVisible(result is not None and rows is not None)
        if result is None or spot is None or rows is None:
            self.spot_label.setText(_NO_SPOT if spot is None else _FOREIGN.format(spot.slice))
            self.table.show_neighbors(None, {})
            return
        row = int(rows[spot.row])
        neighbors = neighbor_table(result, row)
        # Names as in the slice: the result adds the slice to every name.
        names = self.session.slices[spot.slice].obs_names
        neighbors["name"] = names[np.searchsorted(rows, neighbors.index)]
        self.table.show_neighbors(neighbors, self.session.domains.colors)
        name, domain = neighbors.loc[row, ["name", "domain"]]
        self.spot_label.setText(
            f"Spot {name} of {spot.slice}" + (f", domain {domain}" if domain else "")
        )
        self.sums.setText(_sums(neighbors))

    # -- what the user does -----------------------------------------------------------------

    def _on_shown_toggled(self, shown: bool) -> None:
        self.session.view.attention = replace(self.session.view.attention, shown=shown)

    def _on_threshold_moved(self) -> None:
        if not self._throttle.isActive():
            self._throttle.start()

    def _set_threshold(self) -> None:
        value = round(self.threshold.value(), 3)
        self.session.view.attention = replace(self.session.view.attention, threshold=value)

    def _on_strongest_changed(self, strongest: int) -> None:
        self.session.view.attention = replace(self.session.view.attention, strongest=strongest)

    def _on_of_spot_toggled(self, of_spot: bool) -> None:
        self.session.view.attention = replace(self.session.view.attention, of_spot=of_spot)

    def _on_coloring_clicked(self, clicked: QAbstractButton) -> None:
        (key,) = (key for key, button in self.coloring.items() if button is clicked)
        self.session.view.color_by = _COLORINGS[key][1]

    def _on_neighbor_chosen(self, row: int) -> None:
        self.session.view.spot = self.session.result.spot_of_row(row)

    # -- the session ------------------------------------------------------------------------

    def _on_session_result_changed(self) -> None:
        self._throttle.stop()
        self._refresh()


class _Weights:
    """Weights of all edges of a result, sorted, so that counting is quick."""

    def __init__(self, result: AnnData) -> None:
        self._result = result
        self._strongest: tuple[int, NDArray[np.float32]] | None = None
        self.all = self._sorted(0)
        self.top = top_weight(result)

    def _sorted(self, strongest: int) -> NDArray[np.float32]:
        rows = np.arange(self._result.n_obs)
        return np.sort(attention_edges(self._result, rows, strongest=strongest)[2])

    def count(self, threshold: float, strongest: int) -> int:
        """Count the edges that are drawn with these settings of the overlay."""
        if self._strongest is None or self._strongest[0] != strongest:
            self._strongest = strongest, self._sorted(strongest)
        weights = self._strongest[1]
        return int(len(weights) - np.searchsorted(weights, np.float32(threshold)))


def _sums(neighbors: DataFrame) -> str:
    incoming, outgoing = neighbors["incoming"].sum(), neighbors["outgoing"].sum()
    return f"Sums: {incoming:.3f} taken, {outgoing:.3f} given, itself included."


def _compared(table: DataFrame) -> str:
    """Say what the plot shows in one number."""
    spots = int(table["spots"].sum())
    if not spots:
        return "No spot has neighbours in two domains."
    within, across = ((table[x] * table["spots"]).sum() / spots for x in ("within", "across"))
    return (
        f"At borders ({spots:,} spots) a neighbour in another domain has {across / within:.2f} × "
        f"the weight of one in the same domain ({across:.3f} : {within:.3f})."
    )
