"""Everything that one viewer holds and shows, composed of its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.record import is_annotation
from napari_staligner.core.prepare.excluded import whole_slices
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.result.renaming import rename_slices
from napari_staligner.core.settings import Settings
from napari_staligner.io.h5ad import write_result
from napari_staligner.io.session_file import SessionRecord, entries, session_anndata
from napari_staligner.io.user_folder import remember_file
from napari_staligner.session.alignment import Alignment
from napari_staligner.session.annotations import ResultAnnotations
from napari_staligner.session.autosave import Autosave
from napari_staligner.session.bending import AlignmentBending
from napari_staligner.session.cell_outlines import CellOutlines
from napari_staligner.session.domains import Domains
from napari_staligner.session.exclusions import Exclusions
from napari_staligner.session.figures import EmbeddingFigures
from napari_staligner.session.focus import Focus
from napari_staligner.session.history import History, Kind
from napari_staligner.session.images import Images
from napari_staligner.session.overlap import Overlapping
from napari_staligner.session.paging import Paging
from napari_staligner.session.pair_queue import PairQueue
from napari_staligner.session.profile import Profile
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
    """Everything that a run needs: its own tables, which still share arrays with the user's.

    Copying the counts of 200,000 spots takes a second, which would freeze the window. So the worker
    first copies the arrays with :meth:`own_slices`, and otherwise does not read the user's.

    Parameters
    ----------
    slices
        Name and table of each slice.
    settings
        Settings of the run.
    kept
        Where the result is written at once, so that a crash does not lose it.
    aside
        Spots that the last run left out, by slice; ``obs["excluded"]`` says which are again.
    """

    slices: tuple[tuple[str, AnnData], ...]
    settings: Settings
    kept: Path | None = None
    aside: Mapping[str, AnnData] = field(default_factory=dict)

    def own_slices(self) -> list[tuple[str, AnnData]]:
        """Copy the arrays too."""
        copied = {name: adata.copy() for name, adata in self.slices}
        return whole_slices(copied, self.aside)

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

    State that belongs together is one part: :attr:`view` is what is shown and how, :attr:`slices`
    what is loaded, :attr:`result` the output of a run. The others belong to the result and follow
    it.
    """

    saved_changed = Signal()
    """``saved`` or ``path`` was set."""
    canvas_asked = Signal()
    """The canvas should report its present look through :meth:`see_canvas`."""
    canvas_wanted = Signal()
    """The canvas should take the look of ``view.canvas``."""

    def __init__(self) -> None:
        self.view = View()
        self.slices = Slices(self.view)
        self.outlines = CellOutlines(self.slices)
        self.result = Result()
        # Connected first: before the other parts follow the result and docks show it.
        self.result.changed.connect(self._on_result_changed)
        self.focus = Focus(self.view, self.result)
        self.domains = Domains(self.result, self.view)
        self.alignment = Alignment(self.result)
        self.bending = AlignmentBending(self.result, self.alignment)
        self.verdicts = Verdicts(self.result, self.domains)
        self.figures = EmbeddingFigures(self.result, self.domains, self.view)
        self.annotations = ResultAnnotations(self.result, self.view)
        self.overlap = Overlapping(self.result, self.view, self.alignment)
        self.exclusions = Exclusions(self.result, self.annotations)
        self.profile = Profile(self.result, self.view)
        self.images = Images(self.slices, self.result, self.view)
        self.pairs = PairQueue(self.result, self.verdicts)
        self.paging = Paging(self.slices, self.view)
        self.history = History(
            {
                Kind.DOMAINS: self.domains.track,
                Kind.ALIGNMENT: self.alignment.track,
                Kind.ANNOTATIONS: self.annotations,
                Kind.VERDICTS: self.verdicts.track,
                Kind.IMAGES: self.images.track,
            }
        )
        self.result.changed.connect(self.history.start_over)
        # The parts have followed by now; docks must show the slices before the result.
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
            self.images.changed,
            self.annotations.changed,
            self.exclusions.changed,
            self.exclusions.declined_changed,
            self.overlap.written,
            self.figures.written,
            self.profile.kept_changed,
            self.pairs.seen_changed,
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
            There is no slice, or some are still being opened.
        """
        if not self.slices:
            raise InputError("There is no slice to integrate: open one or several .h5ad files.")
        if self.slices.more_follow:
            raise InputError("Slices are still being opened: run again once all are in the table.")
        tables = tuple(self.exclusions.job_slices(self.slices).items())
        aside = {name: part.copy() for name, part in self.exclusions.left_out.items()}
        return IntegrationJob(tables, self.view.settings, self.autosave.new_result(), aside)

    def completion_job(self) -> StagesJob:
        """Copy what is needed for the stages that the result lacks.

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
        """Store the output of the stages; see :func:`core.stages.record_completed`.

        Parameters
        ----------
        staged, settings
            The output, and the settings it was computed with.
        lost
            Sentences about stages that failed again; those for output that cannot be written are
            appended.
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
        """Set the result; its slices must be loaded.

        Spots that a run left out are removed from their slice too: the viewer shows what was
        integrated.

        Annotations in the result replace the present ones; if it has none, annotations of the same
        spots are kept. Unsaved edits of its file are offered.

        Parameters
        ----------
        adata
            Integrated slices.
        saved
            Whether a file holds it.
        path
            That file.
        kept
            Where the result was written, if it has no file of the user's yet.

        Raises
        ------
        InputError
            A slice of the result is not loaded, or lacks spots of it.
        """
        # Spots that were left out before may be used again.
        whole = dict(self.slices) | self.exclusions.whole(self.slices)
        fewer = {
            name: part
            for name, part in (whole | self.result.cut_slices(adata, whole)).items()
            if part is not self.slices[name]
        }
        with self.autosave.at_once():
            self._path = path
            if fewer:
                self.view.spot = None
                self.slices.cut(fewer)
            self.exclusions.follow(adata, whole)
            self.result.set(adata)
            self.saved = saved
            self.saved_changed.emit()
            self.autosave.recovery.take_result(kept)
        self.autosave.take_path(path)

    def _on_result_changed(self) -> None:
        """Reset the view for the new result, silently: docks refresh on the same signal anyway."""
        adata, view = self.result.adata, self.view
        with view.events.blocked():
            view.isolated, view.region = frozenset(), None
            view.arrows, view.hand, view.bending_shown = False, "", False
            if adata is not None:
                view.color_by = ColorBy("obs", K.DOMAIN if K.DOMAIN in adata.obs else K.SLICE)
            elif _computed(view.color_by):
                view.color_by = ColorBy()
        if adata is None:
            view.tool = ""
            self.path, self.saved = None, True

    def _on_slices_changed(self) -> None:
        """Drop the result and the chosen spot if a slice of theirs is gone."""
        spot = self.view.spot
        if any(name not in self.slices for name in self.result.by_slice):
            self.result.set(None)
        if spot is not None and spot.slice not in self.slices:
            self.view.spot = None
        self.view.only &= frozenset(self.slices)
        if self.view.pinned not in self.slices:
            self.view.pinned = ""

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
        """Whether that file has all of the session."""
        return self._saved

    @saved.setter
    def saved(self, value: bool) -> None:
        if value != self._saved:
            self._saved = value
            self.saved_changed.emit()

    def record(self) -> SessionRecord:
        """Return the slices of the session and the present view."""
        self.canvas_asked.emit()
        return SessionRecord(entries(self.slices), self.view.to_json())

    def to_write(self) -> AnnData:
        """Return the content of a file of this session; it shares arrays, so do not change it."""
        return session_anndata(self.record(), self.result.adata, self.slices)

    def saved_to(self, path: Path) -> None:
        """Note that this file now holds all of the session."""
        self.path, self.saved = path, True
        remember_file(path)
        self.autosave.keep()

    def save(self, path: Path) -> None:
        """Write the session to an ``.h5ad`` file: to a temporary file first, then moved into place.

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
        """Open what was read from a file.

        Parameters
        ----------
        content
            Slices, result and view.
        beside
            Keep the loaded slices; a name that is taken gets a number, also in the result.
            Otherwise the content replaces everything in the session.
        saved
            Whether the file holds all of it.
        kept
            Where the result was written, if it has no file of the user's yet.

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
            # A view refers to slices by their names.
            if content.view and names == [name for name, _ in content.slices]:
                self.restore_view(content.view)

    # -- the view -----------------------------------------------------------------------------

    def see_canvas(self, seen: CanvasView) -> None:
        """Store how the canvas looks now."""
        with self.view.events.canvas.blocked():
            self.view.canvas = seen

    def restore_view(self, text: str) -> None:
        """Restore a saved view; what no longer exists is left out.

        Parameters
        ----------
        text
            JSON, as stored in a session file.
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
        wanted.only &= frozenset(self.slices)
        wanted.only_overlap &= self.overlap.known
        wanted.pinned = wanted.pinned if wanted.pinned in self.slices else ""
        with self.autosave.at_once():
            for name in wanted.saved_fields:
                if name not in gone | {"canvas"}:
                    setattr(self.view, name, getattr(wanted, name))
            if wanted.canvas is not None:
                self.see_canvas(wanted.canvas)
                self.canvas_wanted.emit()

    def _knows(self, color_by: ColorBy) -> bool:
        """Whether spots can be coloured by this at present."""
        adata = self.result.adata
        tables = [*self.slices.values(), *([] if adata is None else [adata])]
        if color_by.kind == "obs":
            own = color_by.key == K.SLICE
            return own or any(color_by.key in each.obs for each in tables)
        if color_by.kind == "gene":
            return any(color_by.key in each.var_names for each in tables)
        if adata is None:
            return False
        return color_by.kind == "attention" or color_by.key in adata.obsm


def _computed(color_by: ColorBy) -> bool:
    """Whether only a result has these values."""
    return (
        color_by.kind in ("attention", "obsm")
        or color_by.key == K.DOMAIN
        or is_annotation(color_by.key)
    )
