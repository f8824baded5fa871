"""Saving, coming back to what was saved, and keeping edits from a crash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner.io import recovery
from napari_staligner.io.h5ad import write_result
from napari_staligner.io.recovery import Kept, Recovery
from napari_staligner.io.session_file import SessionRecord, entries, session_anndata
from napari_staligner.io.user_folder import remember_file
from napari_staligner.session.annotating import Annotating
from napari_staligner.session.record import ViewRecord, read_view
from napari_staligner.session.shown import Shown

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.io.session_file import Content
    from napari_staligner.session.values import ColorBy


class Keeping(Annotating):
    """The session as one file, and its edits on the disk as they are made."""

    offer_changed = Signal()
    """``offer`` was set."""

    offer: Shown[Kept | None] = Shown(None, "offer_changed")
    """A session that was not saved, to be restored or discarded."""

    def __init__(self) -> None:
        super().__init__()
        self.recovery = Recovery()
        self._keeping = False
        self._amid = 0
        self.edits = 0
        """How many edits there were; who saves in the background sees by it what came later."""
        for edited in (
            self.slices_changed,
            self.settings_changed,
            self.domains_changed,
            self.verdicts_changed,
            self.evaluation_changed,
            self.alignment.changed,
            self.annotations.changed,
            self.umap_changed,
        ):
            edited.connect(self.keep)

    # -- a crash ----------------------------------------------------------------------------

    def start_keeping(self) -> None:
        """Keep edits on the disk from now on; a session that was not saved is offered."""
        if self._keeping:
            return
        self._keeping = True
        if not self._slices:
            self.offer = recovery.find()
        self.keep()

    def keep(self) -> None:
        """Write what is not saved where a crash leaves it; a no-op amid several changes."""
        self.edits += 1
        if not self._keeping or self._amid:
            return
        if not self._slices or (self._result is not None and self.saved):
            self.recovery.forget()
            return
        self.recovery.keep(self._result, self.record(), self.path)

    def take_offer(self, content: Content) -> None:
        """Come back to the session that was offered, whose files were read.

        Parameters
        ----------
        content
            What :func:`io.recovery.read_kept` gave.
        """
        kept = self.offer
        self.open(content, saved=False, kept=None if kept is None else kept.result)
        if kept is not None:
            kept.path.unlink(missing_ok=True)
        self.offer = None

    def discard_offer(self) -> None:
        """Remove the session that was offered from the disk."""
        if self.offer is not None:
            recovery.discard(self.offer)
        self.offer = None

    def leave(self) -> None:
        """Remove what is kept from a crash: the session ends, and nothing is to be kept."""
        self._keeping = False
        self.recovery.forget()

    # -- the file ---------------------------------------------------------------------------

    def record(self) -> SessionRecord:
        """Return the slices of the session, and what is looked at now."""
        self.canvas_asked.emit()
        view = ViewRecord(
            settings=self.settings,
            color_by=self.color_by,
            scale=self.scale,
            legend_shown=self.legend_shown,
            layout=self.layout,
            stack=self.stack,
            trust=self.trust,
            links=self.links,
            graph_shown=self.graph_shown,
            attention=self.attention,
            isolated=tuple(sorted(self.isolated)),
            spot=self.spot,
            arrows=self.alignment.arrows,
            canvas=self.canvas,
            region=self.region,
            spot_scale=self.spot_scale,
        )
        return SessionRecord(entries(self.slices), view.to_json())

    def to_write(self) -> AnnData:
        """Return what a file of this session holds; it shares arrays, and is not to be changed."""
        return session_anndata(self.record(), self._result, self.slices)

    def saved_to(self, path: Path) -> None:
        """Follow the file that now holds all of the session."""
        self.path, self.saved = path, True
        remember_file(path)
        self.keep()

    def save(self, path: Path) -> None:
        """Write the session to an ``.h5ad`` file, beside it first and then moved into place.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        write_result(self.to_write(), path)
        self.saved_to(path)

    def open(self, content: Content, *, saved: bool = True, kept: Path | None = None) -> None:
        """Take what was read from a file in the place of what is there.

        Parameters
        ----------
        content
            Slices, result and view.
        saved
            Whether the file holds all of it.
        kept
            Where the result lies if it has no file of the user's yet.

        Raises
        ------
        InputError
            The result and the slices do not belong together.
        """
        with self._at_once():
            self.clear()
            self.add(content.slices)
            if content.result is not None:
                self.set_result(content.result, saved=saved, path=content.path, kept=kept)
            else:
                self.path = content.path
            if content.view:
                self.restore_view(content.view)

    def restore_view(self, text: str) -> None:
        """Look again at what was looked at; what is not there any more is left out.

        Parameters
        ----------
        text
            JSON, as a file of a session holds it.
        """
        view = read_view(text)
        if view is None:
            return
        with self._at_once():
            self.settings = view.settings
            self.scale, self.legend_shown = view.scale, view.legend_shown
            self.spot_scale = view.spot_scale
            if self._knows(view.color_by):
                self.color_by = view.color_by
            self.trust, self.links, self.stack = view.trust, view.links, view.stack
            self.layout, self.graph_shown = view.layout, view.graph_shown
            self.isolated = set(view.isolated) & set(self.domains)
            region = view.region
            if region is not None and region.name in self.named_columns.get(region.column, ()):
                self.region = region
            if self._result is not None:
                self.attention = view.attention
                self.alignment.arrows = view.arrows
            if view.spot is not None and view.spot.slice in self.slices:
                self.spot = view.spot
            if view.canvas is not None:
                self.show_canvas(view.canvas)

    def set_result(
        self,
        result: AnnData,
        *,
        saved: bool = False,
        path: Path | None = None,
        kept: Path | None = None,
    ) -> None:
        """Take a result, as :meth:`Holdings.set_result` does; edits of its file are offered.

        Parameters
        ----------
        result, saved, path
            As there.
        kept
            Where the result was written that has no file of the user's yet.
        """
        with self._at_once():
            super().set_result(result, saved=saved, path=path)
            self.recovery.take_result(kept)
        if self._keeping and path is not None:
            remember_file(path)
            self.offer = recovery.find(path) or self.offer

    def _knows(self, color_by: ColorBy) -> bool:
        """Whether spots can be coloured by that now."""
        held = [*self.slices.values(), *([] if self._result is None else [self._result])]
        if color_by.kind == "obs":
            own = color_by.key == K.SLICE
            return own or any(color_by.key in adata.obs for adata in held)
        if color_by.kind == "gene":
            return any(color_by.key in adata.var_names for adata in held)
        if self._result is None:
            return False
        return color_by.kind == "attention" or color_by.key in self._result.obsm

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Keep several changes as one."""
        self._amid += 1
        try:
            yield
        finally:
            self._amid -= 1
            self.keep()
