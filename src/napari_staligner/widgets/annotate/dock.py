"""The Annotate dock: name regions, by hand and with help from the integration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QColorDialog,
    QInputDialog,
    QMenu,
    QPushButton,
    QScrollArea,
)

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.classes import KEYS, TEMPLATES
from napari_staligner.layers.tools.keys import CanvasKeys
from napari_staligner.session import ColorBy, Region
from napari_staligner.widgets.annotate.annotation_files import FileButtons
from napari_staligner.widgets.annotate.annotation_tools import ToolBar
from napari_staligner.widgets.annotate.annotators import Annotators
from napari_staligner.widgets.annotate.exclude_panel import ExcludePanel
from napari_staligner.widgets.annotate.proposal_bar import ProposalBar
from napari_staligner.widgets.annotate.region_card import CardPanel
from napari_staligner.widgets.parts.color_dialog import ask_color
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.form import row
from napari_staligner.widgets.parts.legend import LegendRow, LegendTable
from napari_staligner.widgets.parts.saving import RecoveryBar

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer

    from napari_staligner.core.annotations.classes import RegionClass


class AnnotateWidget(Dock):
    """Classes of regions, the tools that assign them, and what is known about each."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.color_dialog: QColorDialog | None = None
        self._make_controls()
        self._lay_out()
        self._keys = CanvasKeys(viewer, self._actions())
        for key, action in self._actions().items():
            shortcut = QShortcut(QKeySequence(key.replace("Control", "Ctrl")), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(action)
        self._connect_all()
        self._refresh()

    # -- building ---------------------------------------------------------------------------

    def _make_controls(self) -> None:
        session = self.session
        self.recovery = RecoveryBar(session)
        self.annotators = Annotators(session)
        self.tools = ToolBar(session)
        self.table = LegendTable(self, "Class")
        self.template = QPushButton("Template")
        self.template.setToolTip("Classes of a tissue with colours and keys, to begin with")
        self.template.setMenu(QMenu(self.template))
        for name in TEMPLATES:
            self.template.menu().addAction(name, lambda name=name: self._use_template(name))
        self.add = QPushButton("Add…")
        self.add.setToolTip("Add a class")
        self.change = QPushButton("Class")
        self.change.setToolTip("Key and parent of the chosen class, or remove it")
        self.change.setMenu(QMenu(self.change))
        self.alone = QPushButton("Alone")
        self.alone.setCheckable(True)
        self.alone.setToolTip("Show the chosen class alone, here and in all docks (Esc shows all)")
        self.clear = QPushButton("Clear")
        self.clear.setToolTip("Remove the class of the selected spots (0)")
        self.undo, self.redo = QPushButton("Undo"), QPushButton("Redo")
        self.files = FileButtons(session)
        self.exclude = ExcludePanel(session, self)
        self.proposal = ProposalBar(session, self)
        self.card = CardPanel(session, self)
        self.listen(self.recovery, self.annotators, self.files)
        self.listen(self.exclude, self.proposal, self.card)

    def _lay_out(self) -> None:
        scroll = QScrollArea()
        scroll.setWidget(self.card)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        for part in (
            self.recovery,
            self.annotators,
            self.tools,
            row(self.template, self.add, self.change, self.alone, None, self.clear),
        ):
            self.body.addWidget(part)
        self.body.addWidget(self.table, 3)
        buttons = row(self.undo, self.redo, None, self.files)
        for part in (buttons, self.exclude, self.proposal):
            self.body.addWidget(part)
        self.body.addWidget(scroll, 2)

    def _connect_all(self) -> None:
        annotations = self.session.annotations
        self.add.clicked.connect(self._on_add_clicked)
        self.change.menu().aboutToShow.connect(self._fill_class_menu)
        self.alone.clicked.connect(self._on_alone_clicked)
        self.clear.clicked.connect(lambda: self._assign(""))
        self.undo.clicked.connect(annotations.undo)
        self.redo.clicked.connect(annotations.redo)
        self.table.chosen.connect(self._on_row_chosen)
        self.table.color_wanted.connect(self._on_color_wanted)
        self.table.legend.renamed.connect(self._on_name_edited)
        self._connect(self.session.result.changed, self._refresh)
        self._connect(self.session.annotations.changed, self._refresh)
        self._connect(self.session.annotations.view_changed, self._refresh)
        self._connect(self.session.view.events.region, self._refresh)
        self._connect(self.session.annotations.input_moved, self.say)
        self._connect(self.session.result.selection_changed, self._on_session_selection_changed)
        self._connect(self.session.view.events.tool, self._on_session_tool_changed)
        self._connect(self.session.annotations.proposal_changed, self.proposal.refresh)
        self._connect(self.session.exclusions.changed, self.exclude.refresh)
        self._connect(self.session.exclusions.found_changed, self.exclude.refresh)
        self._connect(self.session.exclusions.shown_changed, self.exclude.show_chosen)
        self._connect(self.session.autosave.offer_changed, self.recovery.show_offer)

    def _actions(self) -> dict[str, Callable[[], object]]:
        """What keys do in the dock and on the canvas."""
        annotations = self.session.annotations

        def digit(key: int) -> Callable[[], object]:
            return lambda: self._on_digit_pressed(key)

        return {
            **{str(key): digit(key) for key in KEYS},
            "0": lambda: self._assign(""),
            "Control+Z": annotations.undo,
            "Control+Shift+Z": annotations.redo,
            "Escape": self._on_escape_pressed,
        }

    def _come_to_sight(self) -> None:
        """Bind the keys of the canvas."""
        self._keys.bind()

    def _go_out_of_sight(self) -> None:
        """Release the keys and the tool, which would otherwise go on annotating out of sight."""
        self._keys.release()
        self.session.view.tool = ""
        self.session.annotations.choose("")

    def teardown(self) -> None:
        """End all connections; safe to call twice."""
        super().teardown()
        self._keys.release()
        self.proposal.stop()
        self.exclude.stop()
        self.recovery.teardown()

    # -- what is shown ----------------------------------------------------------------------

    def _refresh(self) -> None:
        annotations, session = self.session.annotations, self.session
        counts = session.annotations.counts()
        seen = annotations.chosen or self._shown_alone
        slices = list(next(iter(counts.values()), {}))
        rows = [
            LegendRow(
                name=c.name,
                color=c.color,
                counts=tuple(counts[c.name].values()),
                specific=None,
                dimmed=bool(seen) and c.name != seen,
                note=_note(c),
            )
            for c in annotations.classes
            if c.name in counts
        ]
        self.table.legend.show(slices, [session.slices[n].n_obs for n in slices], rows)
        self.annotators.refresh()
        self.exclude.refresh()
        self.proposal.refresh()
        self.card.refresh()
        self.tools.show_set()
        self._enable()
        self._show_status()

    def _enable(self) -> None:
        annotations, ready = self.session.annotations, self.session.result.adata is not None
        for part in (self.annotators, self.tools, self.template, self.add, self.table, self.files):
            part.setEnabled(ready)
        self.change.setEnabled(ready and bool(annotations.chosen))
        alone = self._shown_alone
        self.alone.setEnabled(bool(alone) or self.change.isEnabled())
        self.alone.setChecked(bool(alone) and alone == (annotations.chosen or alone))
        self.clear.setEnabled(ready and len(self.session.result.selection) > 0)
        self.undo.setEnabled(ready and bool(annotations.undo_text))
        self.redo.setEnabled(ready and bool(annotations.redo_text))
        self.undo.setToolTip(f"Undo: {annotations.undo_text} (Ctrl+Z)")
        self.redo.setToolTip(f"Redo: {annotations.redo_text} (Ctrl+Shift+Z)")

    @property
    def _shown_alone(self) -> str:
        """Class that is shown alone; empty if none is."""
        region = self.session.view.region
        return region.name if region is not None and region.column == K.ANNOTATION else ""

    def _show_status(self) -> None:
        session, annotations = self.session, self.session.annotations
        chosen, n = annotations.chosen, len(session.result.selection)
        if session.result.adata is None:
            self.say("There are no spots to annotate yet: integrate the slices first.")
        elif session.autosave.problem:
            self.say(session.autosave.problem, problem=True)
        elif not annotations.classes:
            self.say("There are no classes yet: choose a template or add a class.")
        elif session.view.tool and chosen:
            self.say(f"What you draw becomes {chosen}; click its row again to select only.")
        elif n:
            self.say(f"{n:,} spots selected: press the key of a class.")
        elif session.view.tool:
            self.say("What you draw is selected; then press the key of a class.")
        else:
            self.say("Choose a class and a tool, and draw on the tissue.")

    # -- classes ----------------------------------------------------------------------------

    def _try(self, action: Callable[[], object]) -> bool:
        """Do something that may be refused; if it is, say why."""
        try:
            self.session.annotations.check()
            action()
        except InputError as error:
            self.say(str(error), problem=True)
            return False
        return True

    def _use_template(self, name: str) -> None:
        self._try(lambda: self.session.annotations.use_template(name))

    def _on_add_clicked(self) -> None:
        name, sure = QInputDialog.getText(self, "Add a class", "Name")
        if sure:
            self._try(lambda: self.session.annotations.add_class(name))

    def _on_row_chosen(self, name: str, _: bool) -> None:
        annotations = self.session.annotations
        annotations.choose("" if annotations.chosen == name else name)

    def _on_alone_clicked(self, alone: bool) -> None:
        name = self.session.annotations.chosen
        self.session.view.region = Region(K.ANNOTATION, name) if alone and name else None
        self._enable()

    def _on_name_edited(self, old: str, new: str) -> None:
        self._try(lambda: self.session.annotations.rename_class(old, new))

    def _on_color_wanted(self, name: str) -> None:
        self.color_dialog = ask_color(
            self,
            f"Colour of {name}",
            self.session.annotations.named(name).color,
            lambda color: self._set(name, color=color),
        )
        self.color_dialog.finished.connect(self._on_color_dialog_finished)

    def _on_color_dialog_finished(self) -> None:
        self.color_dialog = None

    def _set(self, name: str, **changes: object) -> None:
        self._try(lambda: self.session.annotations.change_class(name, **changes))

    def _fill_class_menu(self) -> None:
        """Offer keys and parents for the chosen class."""
        menu, annotations = self.change.menu(), self.session.annotations
        menu.clear()
        name = annotations.chosen
        if not name:
            return
        chosen = annotations.named(name)
        keys, parents = menu.addMenu("Key"), menu.addMenu("Part of")
        for key in (0, *KEYS):
            action = keys.addAction(str(key) if key else "none")
            action.setCheckable(True)
            action.setChecked(key == chosen.key)
            action.triggered.connect(lambda _, key=key: self._set(name, key=key))
        for parent in ("", *(c.name for c in annotations.classes if c.name != name)):
            action = parents.addAction(parent or "none")
            action.setCheckable(True)
            action.setChecked(parent == chosen.parent)
            action.triggered.connect(lambda _, parent=parent: self._set(name, parent=parent))
        menu.addAction(f"Remove {name}", lambda: self._try(lambda: annotations.remove_class(name)))

    # -- spots ------------------------------------------------------------------------------

    def _on_digit_pressed(self, key: int) -> None:
        region = self.session.annotations.with_key(key)
        if region is None:
            self.say(f"No class has the key {key}.", problem=True)
        else:
            self._assign(region.name)

    def _assign(self, name: str) -> None:
        if self._try(lambda: self.session.annotations.annotate(name)):
            self._color_tissue()

    def _color_tissue(self) -> None:
        """Colour by the annotation if the colours are slices or domains; keep other choices."""
        if self.session.view.color_by in (ColorBy("obs", K.SLICE), ColorBy("obs", K.DOMAIN)):
            self.session.view.color_by = ColorBy("obs", K.ANNOTATION)

    def _on_escape_pressed(self) -> None:
        if self.session.view.tool:
            self.session.view.tool = ""
        else:
            self.session.focus.show_all()

    # -- the session ------------------------------------------------------------------------

    def _on_session_selection_changed(self) -> None:
        self._enable()
        self._show_status()

    def _on_session_tool_changed(self) -> None:
        self.tools.show_set()
        if self.session.view.tool:
            self._color_tissue_for_tool()
        self._show_status()

    def _color_tissue_for_tool(self) -> None:
        # To pick pieces and domains one must see the domains; other tools show the annotation.
        if self.session.view.tool not in ("piece", "domain") and K.ANNOTATION in self._columns:
            self._color_tissue()

    @property
    def _columns(self) -> set[str]:
        result = self.session.result.adata
        return set() if result is None else set(result.obs)


def _note(region: RegionClass) -> str:
    key = f"key {region.key}" if region.key else ""
    parent = f"part of {region.parent}" if region.parent else ""
    return " · ".join(part for part in (key, parent) if part) or "no key"
