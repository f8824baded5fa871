"""What people said of the alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_staligner.core.result.verdicts import (
    add_verdict,
    read_verdicts,
    rename_judged_domains,
    write_verdicts,
)

if TYPE_CHECKING:
    from napari_staligner.core.result.verdicts import Level, Verdict
    from napari_staligner.session.domains import Domains
    from napari_staligner.session.result import Result


class Verdicts:
    """Verdicts on the slices and domains of a result.

    Parameters
    ----------
    result
        Which holds them.
    domains
        Whose new names they follow.
    """

    changed = Signal()
    """A verdict was given, taken back, or renamed with its domain."""

    def __init__(self, result: Result, domains: Domains) -> None:
        self._result = result
        domains.renamed.connect(self._on_domains_renamed)

    @property
    def given(self) -> tuple[Verdict, ...]:
        """All verdicts, the oldest first."""
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
        self.restore(given[:-1])
        return given[-1]

    def restore(self, given: tuple[Verdict, ...]) -> None:
        """Put back the verdicts of before."""
        if self._result.adata is not None:
            write_verdicts(self._result.adata, given)
            self.changed.emit()

    def _on_domains_renamed(self, names: Mapping[str, str]) -> None:
        if self._result.adata is not None and self.given:
            rename_judged_domains(self._result.adata, names)
            self.changed.emit()
