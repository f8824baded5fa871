"""How neighbours are found: from the spacing, within a radius, or a number of nearest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox, QSpinBox, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_staligner.core.result.access import spots_xy
from napari_staligner.widgets.parts.form import DecimalBox, narrow

if TYPE_CHECKING:
    from napari_staligner.session import Session

SPACING, RADIUS, NEAREST = range(3)
_TITLES = ("Find from spacing (about 6)", "Radius", "Nearest neighbours")
_TYPICAL = 6


class GraphChoice(QWidget):
    """Shows and sets ``radius`` and ``n_neighbors`` of the session's settings.

    Parameters
    ----------
    session
        The session with the settings.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.how = narrow(QComboBox())
        self.how.addItems(_TITLES)
        self.how.setToolTip(
            "Which spots of a slice are neighbours. From the spacing, each slice gets the radius "
            "that gives a spot about 6. The method works with 5 to 10 neighbours per spot; a "
            "radius in the wrong unit gives none, or hundreds."
        )
        self.radius = DecimalBox()
        self.radius.setRange(1e-4, 1e7)
        self.radius.setDecimals(4)
        self.radius.setStepType(DecimalBox.StepType.AdaptiveDecimalStepType)
        self.radius.setToolTip(
            'Spots closer than this are neighbours, in the units of obsm["spatial"], in all slices'
        )
        self.nearest = QSpinBox()
        self.nearest.setRange(1, 100)
        self.nearest.setToolTip("Each spot and this many of its nearest spots are neighbours")
        for box in (self.radius, self.nearest):
            # Build no graph while a number is being typed.
            box.setKeyboardTracking(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.how, self.radius, self.nearest):
            layout.addWidget(widget)
        self.how.activated.connect(self._on_how_activated)
        self.radius.valueChanged.connect(self._on_radius_changed)
        self.nearest.valueChanged.connect(self._on_nearest_changed)
        self.show_set()

    def show_set(self) -> None:
        """Show what the session's settings say."""
        settings = self._session.view.settings
        how = SPACING if settings.radius is None else RADIUS
        how = how if settings.n_neighbors is None else NEAREST
        self.how.setCurrentIndex(how)
        self.radius.setVisible(how == RADIUS)
        self.nearest.setVisible(how == NEAREST)
        for box, value in ((self.radius, settings.radius), (self.nearest, settings.n_neighbors)):
            if value is not None:
                with signals_blocked(box):
                    box.setValue(value)

    def _set(self, **changes: Any) -> None:
        self._session.view.settings = replace(self._session.view.settings, **changes)

    def _on_how_activated(self, how: int) -> None:
        radius = self._start_radius() if how == RADIUS else None
        self._set(radius=radius, n_neighbors=_TYPICAL if how == NEAREST else None)

    def _on_radius_changed(self, radius: float) -> None:
        self._set(radius=radius, n_neighbors=None)

    def _on_nearest_changed(self, n: int) -> None:
        self._set(radius=None, n_neighbors=n)

    def _start_radius(self) -> float:
        """Return a radius that suits the first slice: if possible, the one found for it."""
        from napari_staligner.core.prepare.graph import find_radius

        for name, adata in self._session.slices.items():
            graph = self._session.slices.graphs.get(name)
            found = graph.radius if graph is not None else None
            return round(found or find_radius(spots_xy(adata)), 4)
        return 50.0
