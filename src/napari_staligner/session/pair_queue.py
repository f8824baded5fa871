"""The queue of slice pairs to look at: the worst first, and which were seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_staligner.core.result.pairs import pairs_job, seen_pairs, write_seen_pairs

if TYPE_CHECKING:
    from napari_staligner.core.result.pairs import Measure, PairFigures, PairsJob
    from napari_staligner.session.result import Result
    from napari_staligner.session.verdicts import Verdicts

    Pair = tuple[str, str]


class PairQueue:
    """Figures of all pairs of slices, in an order to judge them.

    Parameters
    ----------
    result
        The integrated slices.
    verdicts
        A pair with a verdict was seen.
    """

    changed = Signal()
    """``found`` was set."""
    seen_changed = Signal()
    """``seen`` changed."""

    def __init__(self, result: Result, verdicts: Verdicts) -> None:
        self._result, self._verdicts = result, verdicts
        self._found: tuple[PairFigures, ...] = ()
        result.changed.connect(self._on_result_changed)

    @property
    def found(self) -> tuple[PairFigures, ...]:
        """Figures of all pairs; empty until they are measured."""
        return self._found

    @found.setter
    def found(self, value: tuple[PairFigures, ...]) -> None:
        self._found = value
        self.changed.emit()

    def job(self) -> PairsJob:
        """Copy what the figures need.

        Raises
        ------
        InputError
            There is no result, or it lacks something.
        """
        return pairs_job(self._result.needed("compare in pairs"))

    @property
    def seen(self) -> frozenset[Pair]:
        """Pairs that were looked at, or have a verdict."""
        adata = self._result.adata
        if adata is None:
            return frozenset()
        judged = {v.pair for v in self._verdicts.given if v.pair is not None}
        return seen_pairs(adata) | judged

    def see(self, pair: Pair, *, seen: bool = True) -> None:
        """Tick a pair, or take its tick back."""
        adata = self._result.adata
        if adata is None:
            return
        before = seen_pairs(adata)
        after = before | {pair} if seen else before - {pair}
        if after != before:
            write_seen_pairs(adata, after)
            self.seen_changed.emit()

    def ordered(self, measure: Measure) -> list[PairFigures]:
        """All pairs, the worst first."""
        return sorted(self._found, key=lambda each: each.badness(measure), reverse=True)

    def next(self, measure: Measure, after: Pair | None = None) -> PairFigures | None:
        """Return the worst pair that was not seen, other than the present one if possible."""
        seen = self.seen
        left = [each for each in self.ordered(measure) if each.pair not in seen]
        others = [each for each in left if each.pair != after]
        return next(iter(others or left), None)

    def of(self, pair: Pair) -> PairFigures | None:
        """Figures of a pair."""
        return next((each for each in self._found if each.pair == pair), None)

    def _on_result_changed(self) -> None:
        self.found = ()
