"""Folds and tears of the slices of a session: what the last run left out, and the next one will."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner.core.annotations.classes import EXCLUDE
from napari_staligner.core.prepare.excluded import excluded_of, mark_excluded, rejoined
from napari_staligner.core.prepare.on_disk import with_slots
from napari_staligner.core.prepare.slices import with_unique_names
from napari_staligner.core.result.suspects import (
    declined_suspects,
    suspect_mark,
    write_declined_suspects,
)
from napari_staligner.io.excluded import slices_of_excluded

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.result.suspects import Suspect, SuspectsJob
    from napari_staligner.session.annotations import ResultAnnotations
    from napari_staligner.session.result import Result


class Exclusions:
    """Excluded spots: those of the class ``exclude``, and those that the last run left out.

    Parameters
    ----------
    result
        Holds what the last run left out, in ``uns["staligner"]["excluded"]``.
    annotations
        Their class ``exclude`` is left out by the next run.
    """

    changed = Signal()
    """What the next run leaves out changed, by a click on what the last one left out."""
    found_changed = Signal()
    """``found`` or ``declined`` changed."""
    shown_changed = Signal()
    """``shown`` changed."""
    declined_changed = Signal()
    """A suspect was declined, or no longer is."""

    def __init__(self, result: Result, annotations: ResultAnnotations) -> None:
        self._result, self._annotations = result, annotations
        self._tables: dict[str, AnnData] = {}
        self._found: tuple[Suspect, ...] = ()
        self._declined: frozenset[int] = frozenset()
        self._shown: int | None = None
        result.changed.connect(self._on_result_changed)

    # -- what the last run left out -----------------------------------------------------------

    @property
    def left_out(self) -> Mapping[str, AnnData]:
        """Spots that the last run left out, by slice; ``obs["excluded"]`` is false if taken back.

        They have the genes and the coordinates of the slice in the session.
        """
        return self._tables

    def take_back(self, name: str, *, back: bool = True) -> None:
        """Let the next run use the spots of a slice that the last one left out, or not.

        Parameters
        ----------
        name
            The slice.
        back
            Whether to use them.
        """
        adata = self._result.adata
        aside = None if adata is None else excluded_of(adata)
        if aside is None or name not in self._tables:
            return
        here = (aside.obs[K.SLICE] == name).to_numpy()
        marks = aside.obs[K.EXCLUDED].to_numpy(dtype=bool).copy()
        marks[here] = not back
        aside.obs[K.EXCLUDED] = marks
        self._tables[name].obs[K.EXCLUDED] = not back
        self.changed.emit()

    def whole(self, slices: Mapping[str, AnnData]) -> dict[str, AnnData]:
        """Return the slices of which spots are taken back, with these among the others."""
        return {
            name: rejoined(slices[name], aside)
            for name, aside in self._tables.items()
            if name in slices and not aside.obs[K.EXCLUDED].all()
        }

    def follow(self, adata: AnnData, slices: Mapping[str, AnnData]) -> None:
        """Take over what a result left out.

        Parameters
        ----------
        adata
            The result, which is about to be the session's.
        slices
            The session's slices, before spots were cut off; what is left out is taken from them
            where they have it, as they may name genes in another way than the result.
        """
        before, self._tables = self._tables, {}
        for name, aside in slices_of_excluded(adata):
            own = [slices[name]] if name in slices else []
            own += [before[name]] if name in before and name in slices else []
            self._tables[name] = _cut_from(name, own, aside)

    # -- what the next run leaves out ---------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """How many spots of each slice have the class ``exclude``."""
        return self._annotations.counts().get(EXCLUDE, {})

    def job_slices(self, slices: Mapping[str, AnnData]) -> dict[str, AnnData]:
        """Return tables for a run, in which the spots of the class ``exclude`` are marked."""
        tables = {n: with_slots(adata, obsp={}, varp={}) for n, adata in slices.items()}
        if not self._tables and not any(self.counts().values()):
            return tables
        return {n: mark_excluded(n, table, self._drawn(n, table)) for n, table in tables.items()}

    def _drawn(self, name: str, adata: AnnData) -> NDArray[np.bool_]:
        """Which spots of a slice have the class ``exclude``."""
        rows = self._result.rows(name)
        if rows is None or all(c.name != EXCLUDE for c in self._annotations.classes):
            return np.zeros(adata.n_obs, dtype=bool)
        return self._annotations.mask_of(EXCLUDE)[rows]

    # -- suspects -----------------------------------------------------------------------------

    @property
    def found(self) -> tuple[Suspect, ...]:
        """Patches that may be folds or tears, for people to judge; empty until searched for."""
        return self._found

    @found.setter
    def found(self, value: tuple[Suspect, ...]) -> None:
        adata = self._result.adata
        known = frozenset() if adata is None else declined_suspects(adata)
        marks = [] if adata is None or not known else [suspect_mark(adata, s) for s in value]
        self._found = value
        self._declined = frozenset(n for n, mark in enumerate(marks) if mark in known)
        self.shown = None
        self.found_changed.emit()

    @property
    def shown(self) -> int | None:
        """Number of the suspect that is looked at on the tissue."""
        return self._shown

    @shown.setter
    def shown(self, value: int | None) -> None:
        if value != self._shown:
            self._shown = value
            self.shown_changed.emit()

    @property
    def shown_suspect(self) -> Suspect | None:
        """The suspect that is looked at."""
        return None if self._shown is None else self._found[self._shown]

    @property
    def declined(self) -> frozenset[int]:
        """Numbers of the suspects that somebody declined."""
        return self._declined

    def decline(self, number: int, *, declined: bool = True) -> None:
        """Note that a suspect is good tissue, or take that back."""
        before = self._declined
        self._declined = before | {number} if declined else before - {number}
        adata = self._result.adata
        if self._declined == before or adata is None:
            return
        # Those of an earlier search that was not repeated stay.
        mark = {suspect_mark(adata, self._found[number])}
        known = declined_suspects(adata)
        write_declined_suspects(adata, known | mark if declined else known - mark)
        self.found_changed.emit()
        self.declined_changed.emit()

    def accept(self, number: int) -> int:
        """Give the spots of a suspect the class ``exclude``, as one edit.

        Returns
        -------
        How many spots changed.
        """
        annotations, rows = self._annotations, self._found[number].rows
        annotations.check()
        self.decline(number, declined=False)
        classes = list(annotations.classes)
        if all(c.name != EXCLUDE for c in classes):
            classes.append(annotations.new_class(EXCLUDE, classes))
        code = next(c.id for c in classes if c.name == EXCLUDE)
        codes = np.full(len(rows), code, dtype=np.int16)
        return annotations.put(rows, codes, EXCLUDE, "suspect", classes=classes)

    @property
    def accepted(self) -> frozenset[int]:
        """Numbers of the suspects of which spots have the class ``exclude``."""
        if all(c.name != EXCLUDE for c in self._annotations.classes):
            return frozenset()
        marked = self._annotations.mask_of(EXCLUDE)
        return frozenset(n for n, suspect in enumerate(self._found) if marked[suspect.rows].any())

    def suspects_job(self) -> SuspectsJob:
        """Copy what searching for folds and tears needs.

        Raises
        ------
        InputError
            There is no result.
        """
        from napari_staligner.core.result.suspects import suspects_job

        return suspects_job(self._result.needed("search for folds and tears"))

    def _on_result_changed(self) -> None:
        if self._result.adata is None:
            self._tables = {}
        self.found = ()


def _cut_from(name: str, own: list[AnnData], aside: AnnData) -> AnnData:
    """Return excluded spots as tables of the session have them; as they are if those have not."""
    import anndata as ad

    parts = []
    for table in own:
        spots = with_unique_names(name, table)[0].obs_names
        here = np.flatnonzero(spots.isin(aside.obs_names))
        part = with_slots(table[here].copy(), obsp={}, varp={}, raw=None)
        part.obs_names = spots[here]
        parts += [part] if len(here) else []
    found = ad.concat(parts, join="outer", fill_value=0, merge="first") if parts else aside
    if not found.obs_names.is_unique or not aside.obs_names.isin(found.obs_names).all():
        return aside
    found = found[aside.obs_names].copy()
    for key in (K.EXCLUDED, K.EXCLUDED_AFTER):
        found.obs[key] = aside.obs[key].to_numpy()
    return found
