"""Regions that people annotate on the tissue, as stored in the result of the session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.record import (
    is_annotation,
    read_annotations,
    write_annotations,
)
from napari_staligner.session.result import no_rows

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.annotations.card import CardJob
    from napari_staligner.core.annotations.classes import Shape
    from napari_staligner.core.annotations.transfer import Proposal, TransferJob
    from napari_staligner.session.result import Result
    from napari_staligner.session.view import View


class ResultAnnotations(Annotations):
    """Annotations of the spots of a result; each change is written to it.

    Parameters
    ----------
    result
        The result with the annotated spots.
    view
        Its region follows the annotations.
    """

    proposal_changed = Signal()
    """``proposal`` was set."""
    input_moved = Signal(str)
    """A column of the input was renamed to make room; carries a sentence for the user."""
    track_changed = Signal()
    """An edit was added, undone or redone."""

    def __init__(self, result: Result, view: View) -> None:
        super().__init__()
        self._result, self._view = result, view
        self._proposal: Proposal | None = None
        # The selection made by a tool, the tool, and what was drawn.
        self._taken: tuple[NDArray[np.intp], str, tuple[Shape, ...]] = no_rows(), "", ()
        self._moved: list[str] = []
        self.changed.connect(self._on_changed)
        # After those who show the annotations, whose messages would overwrite this one.
        self.changed.connect(self._tell_moved, priority=-1)
        result.changed.connect(self._on_result_changed)

    def _on_result_changed(self) -> None:
        self.proposal = None
        if self._result.adata is not None:
            read_annotations(self._result.adata, self)

    def _on_changed(self) -> None:
        adata = self._result.adata
        if adata is not None and self.n_spots == adata.n_obs:
            self._moved += write_annotations(adata, self)
        self._follow_region()
        self.track_changed.emit()

    def _tell_moved(self) -> None:
        moved, self._moved = self._moved, []
        for sentence in moved:
            self.input_moved.emit(sentence)

    @property
    def texts(self) -> tuple[str, ...]:
        """What each edit did, oldest first; those after :attr:`position` are undone."""
        return tuple(edit.what for edit in self.edits)

    def _follow_region(self) -> None:
        """Update an annotated region shown alone: its spots may differ, or it may be gone."""
        region = self._view.region
        if region is None or not is_annotation(region.column):
            return
        if self._result.has_region(region):
            self._view.events.region.emit(region, region)
        else:
            self._view.region = None

    @property
    def proposal(self) -> Proposal | None:
        """Spots that may belong to a class, for the user to accept, trim or reject."""
        return self._proposal

    @proposal.setter
    def proposal(self, value: Proposal | None) -> None:
        if value is not self._proposal:
            self._proposal = value
            self.proposal_changed.emit()

    # -- from the tissue ------------------------------------------------------------------------

    def take(self, rows: NDArray[np.intp], how: str, shapes: Iterable[Shape] = ()) -> None:
        """Select the spots that a tool picked, and give them the chosen class, if any.

        Parameters
        ----------
        rows
            Rows of the result.
        how
            The tool.
        shapes
            What was drawn.

        Raises
        ------
        InputError
            There is no result.
        """
        self._result.selection = rows
        self._taken = self._result.selection, how, tuple(shapes)
        if self.chosen:
            self.annotate(self.chosen)

    def annotate(self, name: str) -> int:
        """Give the selected spots a class and clear the selection; an empty name removes theirs.

        Returns
        -------
        How many spots changed.

        Raises
        ------
        InputError
            No spot is selected.
        """
        selection = self._result.selection
        if not len(selection):
            raise InputError("No spot is selected: draw on the tissue first.")
        self.check()
        rows, how, shapes = self._taken
        if rows is not selection:
            how, shapes = "selection", ()
        n = self.assign(selection, name, how, shapes)
        # A remaining selection would dim all other spots and their classes.
        self._result.selection = no_rows()
        return n

    def check(self) -> AnnData:
        """Check that annotations may be changed, and return the result.

        Raises
        ------
        InputError
            There is no result.
        """
        if self._result.adata is None:
            raise InputError("There are no spots to annotate: integrate the slices first.")
        return self._result.adata

    def accept_proposal(self) -> int:
        """Give the proposed spots their class; returns how many spots changed."""
        proposal = self._proposal
        if proposal is None:
            return 0
        self.check()
        # Not imported: a class with which nothing is carried must not load what carries.
        how = "transfer" if proposal.way == "z" else "transfer by place"
        n = self.assign(proposal.kept, proposal.name, how)
        self.proposal = None
        return n

    # -- what is made of them ---------------------------------------------------------------------

    def counts(self) -> dict[str, dict[str, int]]:
        """Spots of each class by slice: ``{class: {slice: spots}}``."""
        if self._result.adata is None:
            return {}
        codes, classes = self.codes(), self.classes
        counts = {
            name: np.bincount(codes[rows][codes[rows] >= 0], minlength=len(classes))
            for name, rows in self._result.by_slice.items()
        }
        return {
            region.name: {name: int(count[i]) for name, count in counts.items()}
            for i, region in enumerate(classes)
        }

    def map_disagreement(self, first: str, second: str) -> bool:
        """Write to ``obs`` where two annotators agree; says whether there is a result."""
        from napari_staligner.core.annotations.agreement import write_disagreement

        if self._result.adata is None:
            return False
        write_disagreement(self._result.adata, self, first, second)
        self._result.values_changed.emit(K.DISAGREEMENT)
        return True

    def card_job(self, name: str) -> CardJob:
        """Copy what describing a class needs.

        Raises
        ------
        InputError
            There is no result, no such class, or no spot of it.
        """
        from napari_staligner.core.annotations.card import card_job

        adata = self._result.adata
        if adata is None:
            raise InputError("There is no region to describe: integrate the slices first.")
        return card_job(adata, self.mask_of(name), name, self.codes() >= 0)

    def transfer_job(self, name: str, source: str) -> TransferJob:
        """Copy what transferring a class from one slice to the others needs.

        Raises
        ------
        InputError
            There is no result, no such class, or no spot of it in the source.
        """
        from napari_staligner.core.annotations.transfer import transfer_job

        adata = self.check()
        place = self.classes.index(self.named(name))
        return transfer_job(adata, self.codes(), name, code=place, source=source)
