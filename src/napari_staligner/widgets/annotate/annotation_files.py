"""Buttons to import and export annotations as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QInputDialog, QMenu, QPushButton, QWidget

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.progress import Steps
    from napari_staligner.session import Session

_EXPORTS = {
    "GeoJSON, coordinates of the spots…": ("spots", "GeoJSON (*.geojson)", ".geojson"),
    "GeoJSON, pixels of the tissue image…": ("image", "GeoJSON (*.geojson)", ".geojson"),
    "CSV by barcode…": ("csv", "CSV (*.csv)", ".csv"),
    "SpatialData…": ("zarr", "SpatialData (*.zarr)", ".zarr"),
}
ALL = "all slices"


class FileButtons(QWidget):
    """Import and Export.

    Parameters
    ----------
    session
        The session with the annotations.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._runner = Runner(self)
        self._runner.returned.connect(lambda said: self.said.emit(said, False))
        self._runner.failed.connect(lambda reason: self.said.emit(reason, True))
        self.read = QPushButton("Import…")
        self.read.setToolTip("Regions from QuPath or TissUUmaps (.geojson), or classes by barcode")
        self.write = QPushButton("Export")
        self.write.setToolTip("Write regions for QuPath, TissUUmaps, Loupe or SpatialData")
        menu = QMenu(self.write)
        for title in _EXPORTS:
            menu.addAction(title, lambda title=title: self._on_export_chosen(title))
        self.write.setMenu(menu)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.read)
        layout.addWidget(self.write)
        self.read.clicked.connect(self._on_import_clicked)

    def export(self, kind: str, path: Path, slice_name: str | None) -> None:
        """Write a file in the background.

        Parameters
        ----------
        kind
            ``"spots"`` or ``"image"`` (GeoJSON), ``"csv"`` or ``"zarr"``.
        path
            The file.
        slice_name
            The slice; ``None`` for all.
        """
        session = self._session
        if session.result.adata is None:
            return
        content, annotator = session.to_write(), session.annotations.annotator
        pixels = kind == "image"
        try:
            self._runner.start(
                lambda: _export(content, annotator, path, slice_name, pixels), "Export annotations"
            )
        except InputError as error:
            self.said.emit(str(error), True)
        else:
            self.said.emit(f"Writing {path.name} …", False)

    def bring(self, path: Path, slice_name: str | None, column: str | None = None) -> None:
        """Read a file.

        Parameters
        ----------
        path
            The file.
        slice_name
            Slice for content that names none.
        column
            In a table by barcode: the column with the classes, if known.
        """
        from napari_staligner.io.annotations.formats import import_annotations

        result = self._session.result.adata
        try:
            self._session.annotations.check()
            assert result is not None
            made = self._session.annotations
            brought = import_annotations(result, made, path, slice_name=slice_name, column=column)
        except InputError as error:
            self.said.emit(str(error), True)
        else:
            said = f"{brought.n_changed:,} spots changed by {path.name}."
            self.said.emit(" ".join([said, *brought.notes]), False)

    def _on_export_chosen(self, title: str) -> None:
        kind, filters, suffix = _EXPORTS[title]
        slice_name = None if kind == "zarr" else self._ask_slice("Export")
        if slice_name == "":
            return
        name, _ = QFileDialog.getSaveFileName(self, "Export annotations", "", filters)
        if name:
            path = Path(name)
            self.export(kind, path if path.suffix else path.with_suffix(suffix), slice_name)

    def _on_import_clicked(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Import annotations", "", "Annotations (*.geojson *.json *.csv *.tsv *.txt)"
        )
        if name:
            slice_name = self._ask_slice("Import")
            column = None if slice_name == "" else self._ask_column(Path(name))
            if slice_name != "" and column != "":
                self.bring(Path(name), slice_name, column)

    def _ask_column(self, path: Path) -> str | None:
        """Ask which column holds the classes; ``None`` if it is obvious, empty if cancelled."""
        from napari_staligner.io.annotations.formats import columns_to_choose

        result = self._session.result.adata
        try:
            columns = [] if result is None else columns_to_choose(result, path)
        except InputError:
            # The import itself reports the problem.
            return None
        if not columns:
            return None
        chosen, sure = QInputDialog.getItem(self, "Import", "Classes in", columns, 0, False)
        return chosen if sure else ""

    def _ask_slice(self, title: str) -> str | None:
        """Ask for a slice; ``None`` if only one or for all, empty if cancelled."""
        names = list(self._session.slices)
        if len(names) < 2:
            return None
        chosen, sure = QInputDialog.getItem(self, title, "Slice", [ALL, *names], 0, False)
        return "" if not sure else None if chosen == ALL else chosen


def _export(
    content: AnnData, annotator: str, path: Path, slice_name: str | None, pixels: bool
) -> Steps[str]:
    from napari_staligner.core.annotations.record import annotations_of
    from napari_staligner.io.annotations.formats import export_annotations

    yield Progress(f"writing {path.name}", 0, 1)
    made = annotations_of(content, annotator)
    said = export_annotations(
        content, made, path, slice_name=slice_name, coordinates="image" if pixels else "spots"
    )
    return f"{said} written to {path.name}."
