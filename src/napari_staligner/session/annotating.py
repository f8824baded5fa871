"""Regions that people name on the tissue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_staligner._errors import InputError
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.record import (
    is_annotation,
    read_annotations,
    write_annotations,
)
from napari_staligner.session.holdings import no_rows
from napari_staligner.session.judging import Judging

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.annotations.card import CardJob
    from napari_staligner.core.annotations.classes import Shape
    from napari_staligner.core.annotations.transfer import TransferJob


class Annotating(Judging):
    """Annotations of the result's spots."""

    annotations_changed = Signal()
    """``annotations`` changed, or what of them is chosen; the result has them already."""

    def __init__(self) -> None:
        super().__init__()
        # The selection that a tool made, the tool, and what was drawn.
        self._taken: tuple[NDArray[np.intp], str, tuple[Shape, ...]] = no_rows(), "", ()
        self.annotations = Annotations()
        self.annotations.changed.connect(self._on_annotations_changed)
        self.annotations.view_changed.connect(self.annotations_changed.emit)

    def _follow_result(self) -> None:
        super()._follow_result()
        if self._result is not None:
            read_annotations(self._result, self.annotations)

    def take(self, rows: NDArray[np.intp], how: str, shapes: Iterable[Shape] = ()) -> None:
        """Select what a tool took, and give it the chosen class, if one is chosen.

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
        self.selection = rows
        self._taken = self.selection, how, tuple(shapes)
        if self.annotations.chosen:
            self.annotate(self.annotations.chosen)

    def annotate(self, name: str) -> int:
        """Give the selected spots a class and end the selection; an empty name takes theirs away.

        Returns
        -------
        How many changed.

        Raises
        ------
        InputError
            No spot is selected.
        """
        if not len(self.selection):
            raise InputError("No spot is selected: draw on the tissue first.")
        self.check_annotations()
        rows, how, shapes = self._taken
        if rows is not self.selection:
            how, shapes = "selection", ()
        n = self.annotations.assign(self.selection, name, how, shapes)
        # It is done: what is selected still would hide what was given to the other spots.
        self.selection = no_rows()
        return n

    def check_annotations(self) -> None:
        """Check that annotations may be changed.

        Raises
        ------
        InputError
            There is no result.
        """
        if self._result is None:
            raise InputError("There are no spots to annotate: integrate the slices first.")

    def annotation_counts(self) -> dict[str, dict[str, int]]:
        """Spots of each class by slice: ``{class: {slice: spots}}``."""
        if self._result is None:
            return {}
        codes, classes = self.annotations.codes(), self.annotations.classes
        counts = {
            name: np.bincount(codes[rows][codes[rows] >= 0], minlength=len(classes))
            for name, rows in self._rows.items()
        }
        return {
            region.name: {name: int(count[i]) for name, count in counts.items()}
            for i, region in enumerate(classes)
        }

    def map_disagreement(self, first: str, second: str) -> bool:
        """Write where two annotators agree to ``obs``; says whether there is a result."""
        from napari_staligner.core.annotations.agreement import write_disagreement

        if self._result is None:
            return False
        write_disagreement(self._result, self.annotations, first, second)
        self.color_changed.emit()
        return True

    def card_job(self, name: str) -> CardJob:
        """Copy what describing a class needs.

        Raises
        ------
        InputError
            There is no result, no such class, or no spot of it.
        """
        from napari_staligner.core.annotations.card import card_job

        if self._result is None:
            raise InputError("There is no region to describe: integrate the slices first.")
        region = np.zeros(self._result.n_obs, dtype=bool)
        region[self.annotations.rows_of(name)] = True
        return card_job(self._result, region, name, self.annotations.codes() >= 0)

    def accept_proposal(self) -> int:
        """Give the proposed spots their class; returns how many changed."""
        proposal = self.proposal
        if proposal is None:
            return 0
        self.check_annotations()
        n = self.annotations.assign(proposal.kept, proposal.name, "transfer")
        self.proposal = None
        return n

    def transfer_job(self, name: str, source: str) -> TransferJob:
        """Copy what carrying a class from one slice to the others needs.

        Raises
        ------
        InputError
            There is no result, no such class, or no spot of it in the source.
        """
        from napari_staligner.core.annotations.transfer import transfer_job

        self.check_annotations()
        place = self.annotations.classes.index(self.annotations.named(name))
        codes = self.annotations.codes()
        return transfer_job(self._result, codes, name, code=place, source=source)

    def _on_annotations_changed(self) -> None:
        if self._result is not None and self.annotations.n_spots == self._result.n_obs:
            write_annotations(self._result, self.annotations)
            self.saved = False
        self._follow_region()
        self.annotations_changed.emit()

    def _follow_region(self) -> None:
        """Spots of an annotated region that is shown alone may be others now, or it is gone."""
        region = self.region
        if region is None or not is_annotation(region.column):
            return
        if region.name in self.named_columns.get(region.column, ()):
            self.region_changed.emit()
        else:
            self.region = None
