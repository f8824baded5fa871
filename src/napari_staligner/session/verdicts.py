"""People's verdicts on the alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_staligner.core.result.verdicts import (
    add_verdict,
    read_verdicts,
    renamed_verdicts,
    write_verdicts,
)
from napari_staligner.session.history import StateTrack

if TYPE_CHECKING:
    from napari_staligner.core.result.verdicts import Level, Verdict
    from napari_staligner.session.domains import Domains
    from napari_staligner.session.result import Result


class Verdicts:
    """Verdicts on the slices and domains of a result.

    Parameters
    ----------
    result
        The result that holds them.
    domains
        When domains are renamed, the verdicts follow.
    """

    changed = Signal()
    """A verdict was given, taken back, or changed with the name of its domain."""

    def __init__(self, result: Result, domains: Domains) -> None:
        self._result = result
        self.track = StateTrack(self._state, self.restore, _difference)
        result.changed.connect(self.track.start_over)
        self.changed.connect(self.track.record)
        domains.renamed.connect(self._on_domains_renamed)

    @property
    def given(self) -> tuple[Verdict, ...]:
        """All verdicts, oldest first."""
        adata = self._result.adata
        return () if adata is None else read_verdicts(adata)

    def give(
        self,
        level: Level,
        pair: tuple[str, str] | None = None,
        domain: str | None = None,
        note: str = "",
        who: str | None = None,
    ) -> Verdict:
        """Give a verdict; see :func:`core.result.verdicts.add_verdict`.

        Raises
        ------
        InputError
            There is no result, or no such slice or domain.
        """
        adata = self._result.needed("judge")
        verdict = add_verdict(adata, level, pair=pair, domain=domain, note=note, who=who)
        self.changed.emit()
        return verdict

    def take_back(self) -> Verdict | None:
        """Take the last verdict back and return it; ``None`` if there is none."""
        given = self.given
        if not given:
            return None
        if self.track.position:
            self.track.undo()
        else:
            # It came with the result, so it is not a step of this session.
            self.restore(given[:-1])
        return given[-1]

    def restore(self, given: tuple[Verdict, ...]) -> None:
        """Restore earlier verdicts."""
        if self._result.adata is not None:
            write_verdicts(self._result.adata, given)
            self.changed.emit()

    def _state(self) -> tuple[Verdict, ...] | None:
        return None if self._result.adata is None else self.given

    def _on_domains_renamed(self, names: Mapping[str, str]) -> None:
        if self._result.adata is None:
            return
        self.track.change(lambda given: renamed_verdicts(given, names))
        if any(verdict.domain in names for verdict in self.given):
            self.restore(renamed_verdicts(self.given, names))


def _difference(before: tuple[Verdict, ...], after: tuple[Verdict, ...]) -> str:
    """Name what was done between two states; empty for nothing."""
    if before == after:
        return ""
    if len(after) > len(before):
        return f"verdict on {after[-1].about}"
    return "taking a verdict back"
