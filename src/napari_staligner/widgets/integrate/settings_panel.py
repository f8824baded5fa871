"""The settings of a run: method, preset, domains, seed, and all others under Advanced."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_staligner.core.prepare.counts import RAW, raw_fits
from napari_staligner.core.prepare.on_disk import named_layers
from napari_staligner.core.settings import PRESETS, Settings
from napari_staligner.widgets.integrate.pair_choice import PairChoice
from napari_staligner.widgets.parts.form import SettingsForm, form, narrow

if TYPE_CHECKING:
    from napari_staligner.session import Session

# These are at the top of the form; all others are under Advanced.
_AT_THE_TOP = ("domains", "resolution", "seed")
_DEFAULTS: dict[str, Any] = {each.name: each.default for each in fields(Settings)}
# Settings changed by any preset; choosing another resets these to their defaults first.
_OF_PRESETS = sorted({key for preset in PRESETS.values() for key in preset.values})
_TYPICAL_DOMAINS = 7
_TIP = Qt.ItemDataRole.ToolTipRole
_NO_PRESET = "No technology chosen: the general settings"
_CUSTOM = "The settings below match no preset"
_NAMED = {
    "default": (
        "Default",
        "Principal components, offsets between matched spots removed, and training until it "
        "converges: faster, and slices mix better",
    ),
    "published": ("Published", "The paper's method and schedule: all genes, 1,000 epochs"),
}


class SettingsPanel(QWidget):
    """Shows and sets ``session.view.settings``.

    Parameters
    ----------
    session
        Whose settings they are.
    """

    said = Signal(str, bool)
    """A sentence, and whether it tells of a problem."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._preset = ""  # which the user chose
        self.form = SettingsForm(session, self)
        self.form.said.connect(self.said)
        self._make_controls()
        self._lay_out()
        self.named.activated.connect(self._on_named_activated)
        self.preset.activated.connect(self._on_preset_activated)
        self.method.activated.connect(self._on_method_activated)
        self.advanced.toggled.connect(self._on_advanced_toggled)
        self.follow_slices()

    def _make_controls(self) -> None:
        make = self.form
        self.named = narrow(QComboBox())
        for name, (title, reason) in _NAMED.items():
            self.named.addItem(title, name)
            self.named.setItemData(self.named.count() - 1, reason, _TIP)
        self.named.addItem("Custom", "")
        self.preset = narrow(QComboBox())
        self.preset.addItem("None", "")
        for name, preset in PRESETS.items():
            self.preset.addItem(preset.title, name)
            self.preset.setItemData(self.preset.count() - 1, preset.reason, _TIP)
        self.method = QComboBox()
        self.method.addItems(["Number", "Leiden"])
        self.method.setToolTip(
            "How domains are found in the embedding: a number you choose (Gaussian mixture), or "
            "as many as a resolution gives (Leiden). The Domains dock can repeat this in seconds."
        )
        self.domains = make.control("domains")
        self.resolution = make.control("resolution")
        self.amount = QStackedWidget()
        self.amount.addWidget(self.domains)
        self.amount.addWidget(self.resolution)
        self.amount.setFixedHeight(self.domains.sizeHint().height())
        self.seed = make.control("seed")
        self.pairs = PairChoice(self._session, lambda pairs: make.set(pairs=pairs))
        self.controls = {
            name: make.control(name) for name in make.fields if name not in _AT_THE_TOP
        }

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 6, 0)
        top = form()
        top.addRow("Settings", self.named)
        top.addRow("Preset", self.preset)
        found = QHBoxLayout()
        found.addWidget(self.method)
        found.addWidget(self.amount, 1)
        top.addRow("Domains", found)
        top.addRow("Seed", self.seed)
        column.addLayout(top)
        inside = QWidget()
        rows = form(inside)
        for name, control in self.controls.items():
            rows.addRow(self.form.fields[name].setting.label, control)
            rows.labelForField(control).setToolTip(control.toolTip())
        rows.addRow("Pairs", self.pairs)
        # superqt's arrow icons do not follow a change of theme, so the text contains the arrow.
        self.advanced = QCollapsible("▸ Advanced", expandedIcon=QIcon(), collapsedIcon=QIcon())
        self.advanced.toggleButton().setToolTip("All other settings; the defaults suit most slices")
        self.advanced.toggleButton().setStyleSheet(
            "text-align: left; border: none; background: transparent; padding: 4px 0px;"
        )
        self.advanced.layout().setContentsMargins(0, 0, 0, 0)
        self.advanced.setDuration(0)
        self.advanced.addWidget(inside)
        column.addWidget(self.advanced)
        column.addStretch(1)

    def show_set(self) -> None:
        """Show what the session's settings say."""
        settings = self._session.view.settings
        self.form.show_set()
        self.pairs.show_set()
        mixture = settings.domains is not None
        self.method.setCurrentIndex(0 if mixture else 1)
        self.amount.setCurrentWidget(self.domains if mixture else self.resolution)
        named = settings.name()
        self.named.setCurrentIndex(self.named.findData(named))
        self.named.setToolTip(_NAMED[named][1] if named else "A setting below was changed by hand")
        self._show_preset()

    def _show_preset(self) -> None:
        fitting = self._fitting_presets()
        # If several presets have the same values, only the user's choice decides between them.
        known = self._preset if self._preset in fitting else ""
        if len(fitting) == 1:
            known = fitting[0]
        none = self.preset.findData("")
        self.preset.setItemText(none, "None" if fitting else "Custom")
        self.preset.setItemData(none, _NO_PRESET if fitting else _CUSTOM, _TIP)
        self.preset.setCurrentIndex(self.preset.findData(known))
        self.preset.setToolTip(self.preset.currentData(_TIP))

    def follow_slices(self) -> None:
        """Offer the layers and pairs of the slices that are loaded."""
        slices = list(self._session.slices.values())
        layers = list(named_layers(slices[0])) if slices else []
        common = [key for key in layers if all(key in adata.layers for adata in slices)]
        if slices and RAW not in common and all(map(raw_fits, slices)):
            common.append(RAW)
        titles = {key: "layer X" if key == "X" else key for key in common}
        self.form.set_titles("counts_layer", {None: "X"} | titles)
        if slices and self._session.view.settings.counts_layer not in (None, *common):
            self.form.set(counts_layer=None)
        self.pairs.follow_slices()
        self.show_set()

    def _fitting_presets(self) -> list[str]:
        """Return the presets that the settings match."""
        return [
            name
            for name, preset in PRESETS.items()
            if all(
                getattr(self._session.view.settings, key) == preset.values.get(key, _DEFAULTS[key])
                for key in _OF_PRESETS
            )
        ]

    def _on_named_activated(self, index: int) -> None:
        name = self.named.itemData(index)
        if name:
            self._session.view.settings = self._session.view.settings.as_named(name)
        self.show_set()

    def _on_preset_activated(self, index: int) -> None:
        self._preset = self.preset.itemData(index)
        if self._preset or self._fitting_presets():
            settings = replace(
                self._session.view.settings, **{key: _DEFAULTS[key] for key in _OF_PRESETS}
            )
            if self._preset:
                settings = settings.with_preset(self._preset)
            self._session.view.settings = settings
        self.show_set()

    def _on_method_activated(self, index: int) -> None:
        self.form.set(domains=_TYPICAL_DOMAINS if index == 0 else None)

    def _on_advanced_toggled(self, opened: bool) -> None:
        self.advanced.setText("▾ Advanced" if opened else "▸ Advanced")
