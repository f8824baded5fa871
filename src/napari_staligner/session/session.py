"""All that one viewer holds and shows, put together from its parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.record import is_annotation
from napari_staligner.core.prepare.on_disk import with_slots
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.result.renaming import rename_slices
from napari_staligner.core.settings import Settings
from napari_staligner.io.h5ad import write_result
from napari_staligner.io.session_file import SessionRecord, entries, session_anndata
from napari_staligner.io.user_folder import remember_file
from napari_staligner.session.alignment import Alignment
from napari_staligner.session.annotations import ResultAnnotations
from napari_staligner.session.autosave import Autosave
from napari_staligner.session.domains import Domains
from napari_staligner.session.figures import EmbeddingFigures
from napari_staligner.session.focus import Focus
from napari_staligner.session.history import History, Kind
from napari_staligner.session.result import Result
from napari_staligner.session.slices import Slices
from napari_staligner.session.verdicts import Verdicts
from napari_staligner.session.view import CanvasView, ColorBy, View

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.stages import Staged, StagesJob
    from napari_staligner.io.session_file import Content


@dataclass(frozen=True)
class IntegrationJob:
    """All that a run needs: tables of its own, whose arrays are still the user's.

    Copying the counts of 200,000 spots takes a second, for which the window would be frozen: the
    worker does that first, by :meth:`own_slices`, and reads the arrays only for that.

    Parameters
    ----------
    slices
        Name and table of each slice.
    settings
        Of the run.
    kept
        Where the result is written at once, so that a crash does not lose it.
    """

    slices: tuple[tuple[str, AnnData], ...]
    settings: Settings
    kept: Path | None = None

    def own_slices(self) -> list[tuple[str, AnnData]]:
        """Copy the arrays too."""
        return [(name, adata.copy()) for name, adata in self.slices]

    def steps(self) -> Steps[AnnData]:
        """Integrate the slices; see :func:`napari_staligner.core.integrate.integrate_steps`."""
        from napari_staligner.core.integrate import integrate_steps
        from napari_staligner.io.recovery import keep_result

        result = yield from integrate_steps(self.own_slices(), self.settings)
        if self.kept is not None:
            yield Progress("keeping a copy", 1, 1, note=keep_result(result, self.kept))
        return result


class Session:
    """What one viewer holds and shows. Each part has its own signals.

    Parameters that belong together are parts: :attr:`view` is what is looked at, :attr:`slices`
    what is loaded, :attr:`result` what a run gave; the others belong to the result and follow it.
    """

    saved_changed = Signal()
    """``saved`` or ``path`` was set."""
    canvas_asked = Signal()
    """Whoever draws is to call :meth:`see_canvas` with how the canvas looks now."""
    canvas_wanted = Signal()
    """The canvas is to look like ``view.canvas``."""

    def __init__(self) -> None:
        self.view = View()
        self.slices = Slices(self.view)
        self.result = Result()
        # Before the parts follow it, and before whoever shows it.
        self.result.changed.connect(self._on_result_changed)
        self.focus = Focus(self.view, self.result)
        self.domains = Domains(self.result, self.view)
        self.alignment = Alignment(self.result)
        self.verdicts = Verdicts(self.result, self.domains)
        self.figures = EmbeddingFigures(self.result, self.domains)
        self.annotations = ResultAnnotations(self.result, self.view)
        self.history = History(
            {
                Kind.DOMAINS: self.domains.track,
                Kind.ALIGNMENT: self.alignment.track,
                Kind.ANNOTATIONS: self.annotations,
                Kind.VERDICTS: self.verdicts.track,
            }
        )
        self.result.changed.connect(self.history.start_over)
        # The parts have followed; whoever shows slices does before it shows the result.
        self.result.changed.connect(self.slices.tell_cut)
        self.autosave = Autosave(self)
        self._path: Path | None = None
        self._saved = True
        self.slices.changed.connect(self._on_slices_changed)
        self.slices.changed.connect(self.autosave.keep)
        self.view.events.settings.connect(self.autosave.keep)
        for edited in (
            self.domains.relabelled,
            self.domains.renamed,
            self.domains.recolored,
            self.verdicts.changed,
            self.alignment.changed,
            self.annotations.changed,
            self.figures.written,
        ):
            edited.connect(self._on_edited)

    # -- shorthands ---------------------------------------------------------------------------

    def add(self, slices: Iterable[tuple[str, AnnData]]) -> list[str]:
        """Add slices, as :meth:`Slices.add` does."""
        return self.slices.add(slices)

    @property
    def color_by(self) -> ColorBy:
        """What the spots are coloured by: ``view.color_by``."""
        return self.view.color_by

    @color_by.setter
    def color_by(self, value: ColorBy) -> None:
        self.view.color_by = value

    # -- a run --------------------------------------------------------------------------------

    def integration_job(self) -> IntegrationJob:
        """Copy what a run needs.

        Raises
        ------
        InputError
            There is no slice.
        """
        if not self.slices:
            raise InputError("There is no slice to integrate: open one or several .h5ad files.")
        tables = tuple(
            (name, with_slots(adata, obsp={}, varp={})) for name, adata in self.slices.items()
        )
        return IntegrationJob(tables, self.view.settings, self.autosave.new_result())

    def completion_job(self) -> StagesJob:
        """Copy what the stages need that the result lacks.

        Raises
        ------
        InputError
            There is no result, or it lacks what they are computed from.
        """
        from napari_staligner.core.stages import stages_job

        if self.result.adata is None:
            raise InputError("There is no result to complete: integrate first.")
        return stages_job(self.result.adata)

    def set_completed(self, staged: Staged, settings: Settings, lost: list[str]) -> None:
        """Take what the stages gave; see :func:`core.stages.record_completed`.

        Parameters
        ----------
        staged, settings
            What they gave, and what it was computed with.
        lost
            Sentences on stages that failed once more; those that cannot be written are appended.
        """
        from napari_staligner.core.stages import record_completed

        adata, seen = self.result.adata, self.view.color_by
        if adata is None:
            return
        record_completed(adata, staged, settings, lost)
        with self.autosave.at_once():
            self.result.set(adata)
            if seen != ColorBy():
                self.view.color_by = seen
            self.saved = False

    def set_result(
        self,
        adata: AnnData,
        *,
        saved: bool = False,
        path: Path | None = None,
        kept: Path | None = None,
    ) -> None:
        """Take a result; its slices must be loaded.

        Spots that a run left out leave their slice, too: what is shown is what was integrated.

        Annotations that it brings replace those of before; without any, those of the same spots
        are kept. Edits of its file that were not saved are offered.

        Parameters
        ----------
        adata
            Integrated slices.
        saved
            Whether a file holds it.
        path
            That file.
        kept
            Where the result was written that has no file of the user's yet.

        Raises
        ------
        InputError
            A slice of the result is not loaded, or lacks spots of it.
        """
        fewer = self.result.cut_slices(adata, self.slices)
        with self.autosave.at_once():
            self._path = path
            if fewer:
                self.view.spot = None
                self.slices.cut(fewer)
            self.result.set(adata)
            self.saved = saved
            self.saved_changed.emit()
            self.autosave.recovery.take_result(kept)
        self.autosave.take_path(path)

    def _on_result_changed(self) -> None:
        """Look at what the result has; whoever shows colours shows them anew by that signal."""
        adata, view = self.result.adata, self.view
        with view.events.blocked():
            view.isolated, view.region = frozenset(), None
            view.arrows, view.hand = False, ""
            if adata is not None:
                view.color_by = ColorBy("obs", K.DOMAIN if K.DOMAIN in adata.obs else K.SLICE)
            elif _computed(view.color_by):
                view.color_by = ColorBy()
        if adata is None:
            view.tool = ""
            self.path, self.saved = None, True

    def _on_slices_changed(self) -> None:
        """Let go of the result of a slice that is gone, and of a spot of it."""
        spot = self.view.spot
        if any(name not in self.slices for name in self.result.by_slice):
            self.result.set(None)
        if spot is not None and spot.slice not in self.slices:
            self.view.spot = None

    def _on_edited(self) -> None:
        self.saved = False
        self.autosave.keep()

    # -- the file -----------------------------------------------------------------------------

    @property
    def path(self) -> Path | None:
        """File of the session; ``None`` if it was never saved."""
        return self._path

    @path.setter
    def path(self, value: Path | None) -> None:
        if value != self._path:
            self._path = value
            self.saved_changed.emit()

    @property
    def saved(self) -> bool:
        """Whether that file has all of it."""
        return self._saved

    @saved.setter
    def saved(self, value: bool) -> None:
        if value != self._saved:
            self._saved = value
            self.saved_changed.emit()

    def record(self) -> SessionRecord:
        """Return the slices of the session, and what is looked at now."""
        self.canvas_asked.emit()
        return SessionRecord(entries(self.slices), self.view.to_json())

    def to_write(self) -> AnnData:
        """Return what a file of this session holds; it shares arrays, and is not to be changed."""
        return session_anndata(self.record(), self.result.adata, self.slices)

    def saved_to(self, path: Path) -> None:
        """Follow the file that now holds all of the session."""
        self.path, self.saved = path, True
        remember_file(path)
        self.autosave.keep()

    def save(self, path: Path) -> None:
        """Write the session to an ``.h5ad`` file, beside it first and then moved into place.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        write_result(self.to_write(), path)
        self.saved_to(path)

    def open(
        self,
        content: Content,
        *,
        beside: bool = False,
        saved: bool = True,
        kept: Path | None = None,
    ) -> None:
        """Take what was read from a file.

        Parameters
        ----------
        content
            Slices, result and view.
        beside
            Keep the slices that are there; a name that is taken gets a number, in the result, too.
            Else it takes the place of all that is there.
        saved
            Whether the file holds all of it.
        kept
            Where the result lies if it has no file of the user's yet.

        Raises
        ------
        InputError
            The result and the slices do not belong together.
        """
        with self.autosave.at_once():
            if not beside:
                self.slices.clear()
            names = self.slices.add(content.slices)
            if content.result is not None:
                rename_slices(content.result, dict(zip(dict(content.slices), names, strict=True)))
                self.set_result(content.result, saved=saved, path=content.path, kept=kept)
            elif not beside:
                self.path = content.path
            # A view tells of slices by their names.
            if content.view and names == [name for name, _ in content.slices]:
                self.restore_view(content.view)

    # -- the view -----------------------------------------------------------------------------

    def see_canvas(self, seen: CanvasView) -> None:
        """Take how the canvas looks now."""
        with self.view.events.canvas.blocked():
            self.view.canvas = seen

    def restore_view(self, text: str) -> None:
        """Look again at what was looked at; what is not there any more is left out.

        Parameters
        ----------
        text
            JSON, as a file of a session holds it.
        """
        wanted = View.from_json(text)
        if wanted is None:
            return
        gone = set() if self._knows(wanted.color_by) else {"color_by"}
        gone |= set() if self.result.adata is not None else {"attention", "arrows"}
        if wanted.region is None or not self.result.has_region(wanted.region):
            gone.add("region")
        if wanted.spot is None or wanted.spot.slice not in self.slices:
            gone.add("spot")
        wanted.isolated &= frozenset(self.domains.names)
        with self.autosave.at_once():
            for name in wanted.saved_fields:
                if name not in gone | {"canvas"}:
                    setattr(self.view, name, getattr(wanted, name))
            if wanted.canvas is not None:
                self.see_canvas(wanted.canvas)
                self.canvas_wanted.emit()

    def _knows(self, color_by: ColorBy) -> bool:
        """Whether spots can be coloured by that now."""
        adata = self.result.adata
        held = [*self.slices.values(), *([] if adata is None else [adata])]
        if color_by.kind == "obs":
            own = color_by.key == K.SLICE
            return own or any(color_by.key in each.obs for each in held)
        if color_by.kind == "gene":
            return any(color_by.key in each.var_names for each in held)
        if adata is None:
            return False
        return color_by.kind == "attention" or color_by.key in adata.obsm


def _computed(color_by: ColorBy) -> bool:
    """Whether only a result has that."""
    return (
        color_by.kind in ("attention", "obsm")
        or color_by.key == K.DOMAIN
        or is_annotation(color_by.key)
    )
