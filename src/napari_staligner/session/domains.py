"""The domains of the result, and edits of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.progress import Steps
from napari_staligner.core.result.access import record_of, writable_record
from napari_staligner.core.settings import Settings
from napari_staligner.session.history import StateTrack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.domains.domains import FoundDomains
    from napari_staligner.core.domains.number import NumberJob
    from napari_staligner.core.domains.presence import PresenceTable
    from napari_staligner.core.domains.slice_specific import SpotContext
    from napari_staligner.session.result import Result
    from napari_staligner.session.view import View

BEYOND = 3
"""How many more domains than there are now are compared."""


@dataclass(frozen=True)
class DomainState:
    """Everything about the domains that an undo restores.

    Parameters
    ----------
    codes
        Shape (spots of the result,): number of the domain, -1 for none.
    names, colors
        Name and hex colour of each domain.
    params
        Parameters that they were found with.
    stability
        See :class:`napari_staligner.core.domains.domains.FoundDomains`.
    presence
        In which slices they are present, if that is recorded.
    """

    codes: NDArray[np.integer[Any]]
    names: tuple[str, ...]
    colors: tuple[str, ...]
    params: Mapping[str, Any]
    stability: float | None = None
    presence: PresenceTable | None = None

    def same_labels(self, other: DomainState) -> bool:
        """Whether both group the spots in the same way; names and colours may differ."""
        return len(self.names) == len(other.names) and np.array_equal(self.codes, other.codes)


@dataclass(frozen=True)
class DomainJob:
    """Everything that finding domains needs, copied.

    Parameters
    ----------
    embedding
        Shape (spots, components), float32.
    connectivities
        Shape (spots, spots), CSR: the spatial graph.
    settings
        How they are found.
    tissue
        Where structures of a single slice are searched; ``None`` for no search.
    """

    embedding: NDArray[np.float32]
    connectivities: Any
    settings: Settings
    tissue: SpotContext | None = None

    def steps(self) -> Steps[FoundDomains]:
        """Find them."""
        from napari_staligner.core.domains.domains import domain_steps

        return domain_steps(self.embedding, self.connectivities, self.settings, self.tissue)


class Domains:
    """Labels, names and colours of the domains.

    Parameters
    ----------
    result
        The result with these domains.
    view
        Holds the isolated domains, and the settings that follow a new choice.
    """

    relabelled = Signal()
    """Spots were assigned to other domains."""
    renamed = Signal(dict)
    """Domains were renamed, ``{old: new}``; their spots and colours are the same."""
    recolored = Signal()
    """Only the colours of domains changed."""

    def __init__(self, result: Result, view: View) -> None:
        self._result, self._view = result, view
        self.track = StateTrack(self.state, self.restore, _difference)
        result.changed.connect(self.track.start_over)
        for changed in (self.relabelled, self.renamed, self.recolored):
            changed.connect(self.track.record)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the domains, in their order."""
        adata = self._result.adata
        if adata is None or K.DOMAIN not in adata.obs:
            return ()
        return tuple(map(str, adata.obs[K.DOMAIN].cat.categories))

    @property
    def colors(self) -> dict[str, str]:
        """Hex colour of each domain."""
        adata = self._result.adata
        if adata is None or not self.names:
            return {}
        return dict(zip(self.names, map(str, adata.uns[K.DOMAIN_COLORS]), strict=True))

    def counts(self) -> dict[str, dict[str, int]]:
        """Spots of each domain by slice: ``{domain: {slice: spots}}``."""
        adata = self._result.adata
        if adata is None or not self.names:
            return {}
        codes = adata.obs[K.DOMAIN].cat.codes.to_numpy()
        found = codes >= 0
        counts = {
            name: np.bincount(codes[rows][found[rows]], minlength=len(self.names))
            for name, rows in self._result.by_slice.items()
        }
        return {
            domain: {name: int(count[i]) for name, count in counts.items()}
            for i, domain in enumerate(self.names)
        }

    def presence(self) -> PresenceTable | None:
        """In which slices the domains are; tested again if the record is for other domains.

        Writes ``uns["staligner"]["presence"]``; ``None`` without domains, or if the test fails.
        """
        from napari_staligner.core.domains.presence import (
            presence_of,
            record_presence,
            recorded_presence,
        )

        adata = self._result.adata
        if adata is None or not self.names:
            return None
        recorded = recorded_presence(adata)
        if recorded is not None:
            return recorded
        tested = presence_of(adata)
        return None if tested is None else record_presence(adata, tested)

    @property
    def stability(self) -> float | None:
        """Mean adjusted Rand index of the mixture with others equally likely, if known.

        See :class:`napari_staligner.core.domains.domains.FoundDomains`.
        """
        adata = self._result.adata
        record = {} if adata is None else record_of(adata)
        return float(record[K.STABILITY]) if K.STABILITY in record else None

    @property
    def settings(self) -> Settings:
        """Settings with the options that the present domains were found with."""
        params = self._result.params
        if "resolution" not in params:
            return self._view.settings
        domains = params.get("domains")
        return replace(
            self._view.settings,
            domains=None if domains is None else int(domains),
            resolution=float(params["resolution"]),
            smooth=bool(params.get("smooth", False)),
            averaged=bool(params.get("averaged", False)),
        )

    def job(self, settings: Settings) -> DomainJob:
        """Copy what finding domains needs.

        Raises
        ------
        InputError
            There is no result yet.
        """
        from napari_staligner.core.domains.slice_specific import tissue_of

        adata = self._result.adata
        if adata is None:
            raise InputError("There is no embedding to find domains in: integrate first.")
        return DomainJob(
            np.array(adata.obsm[K.EMBEDDING]),
            adata.obsp[K.CONNECTIVITIES].copy(),
            settings,
            tissue_of(adata),
        )

    def number_job(self) -> NumberJob:
        """Copy what comparing numbers of domains needs: some more than there are now.

        Raises
        ------
        InputError
            There is no result yet.
        """
        from napari_staligner.core.domains.number import NUMBERS, number_job

        adata = self._result.needed("compare numbers of domains in")
        most = max(NUMBERS[-1], len(self.names) + BEYOND)
        return number_job(adata, range(NUMBERS[0], most + 1), seed=self.settings.seed)

    # -- changes ----------------------------------------------------------------------------

    def relabel(
        self,
        labels: NDArray[np.integer[Any]],
        settings: Settings,
        stability: float = float("nan"),
        tested: PresenceTable | None = None,
    ) -> None:
        """Set new labels (0, 1, … per row of the result); matching domains keep name and colour.

        Writes what :func:`napari_staligner.core.domains.domains.record_domains` writes.
        """
        from napari_staligner.core.domains.domains import record_domains

        if self._result.adata is None:
            return
        record_domains(self._result.adata, labels, settings, stability, tested)
        self._follow_choice(settings)
        self._isolate(self._view.isolated & frozenset(self.names))
        self.relabelled.emit()

    def rename(self, old: str, new: str) -> None:
        """Rename a domain.

        Raises
        ------
        InputError
            The new name is empty or taken.
        """
        new = new.strip()
        if self._result.adata is None or new == old:
            return
        if not new or new in self.names:
            why = "empty" if not new else f"already taken ({new!r})"
            raise InputError(f"The name for domain {old!r} is {why}: choose another.")
        self._rename({old: new})

    def recolor(self, domain: str, color: str) -> None:
        """Change the colour of a domain (hex)."""
        if self._result.adata is None or domain not in self.names:
            return
        self._recolor(list((self.colors | {domain: color}).values()))

    def state(self) -> DomainState | None:
        """Copy everything about the domains; ``None`` if there are none."""
        from napari_staligner.core.domains.presence import recorded_presence

        adata = self._result.adata
        if adata is None or not self.names:
            return None
        return DomainState(
            np.array(adata.obs[K.DOMAIN].cat.codes),
            self.names,
            tuple(self.colors.values()),
            self._result.params,
            self.stability,
            recorded_presence(adata),
        )

    def restore(self, state: DomainState) -> None:
        """Restore what :meth:`state` copied from this result."""
        present = self.state()
        if self._result.adata is None:
            return
        if present is None or not state.same_labels(present):
            self._restore_labels(state)
            return
        self._restore_choice(state)
        if state.names != present.names:
            self._rename(dict(zip(present.names, state.names, strict=True)))
        if state.colors != present.colors:
            self._recolor(list(state.colors))

    def _restore_labels(self, state: DomainState) -> None:
        import pandas as pd

        from napari_staligner.core.domains.presence import record_presence

        adata = self._result.needed("divide")
        adata.obs[K.DOMAIN] = pd.Categorical.from_codes(state.codes, list(state.names))
        adata.uns[K.DOMAIN_COLORS] = list(state.colors)
        if state.presence is not None:
            record_presence(adata, state.presence)
        self._restore_choice(state)
        self._isolate(self._view.isolated & frozenset(self.names))
        self.relabelled.emit()

    def _restore_choice(self, state: DomainState) -> None:
        adata = self._result.needed("divide")
        record = writable_record(adata)
        record["params"] = dict(state.params)
        record.pop(K.STABILITY, None)
        if state.stability is not None:
            record[K.STABILITY] = state.stability
        self._follow_choice(self.settings)

    def _follow_choice(self, settings: Settings) -> None:
        """Use the options of these domains for the next run."""
        self._view.settings = replace(
            self._view.settings,
            domains=settings.domains,
            resolution=settings.resolution,
            smooth=settings.smooth,
            averaged=settings.averaged,
        )

    def _rename(self, names: Mapping[str, str]) -> None:
        """Rename domains, ``{old: new}``, wherever the result stores their names."""
        from napari_staligner.core.domains.presence import record_presence, recorded_presence

        adata = self._result.needed("divide")
        table = recorded_presence(adata)
        after = {name: names.get(name, name) for name in self.names}
        adata.obs[K.DOMAIN] = adata.obs[K.DOMAIN].cat.rename_categories(after)
        if table is not None:
            record_presence(adata, table.named(after, {s: s for s in self._result.by_slice}))
        self._isolate(frozenset(after.get(d, d) for d in self._view.isolated))
        self.renamed.emit(dict(names))

    def _isolate(self, names: frozenset[str]) -> None:
        """Update the isolated domains silently; a signal about the domains follows."""
        with self._view.events.isolated.blocked():
            self._view.isolated = names

    def _recolor(self, colors: list[str]) -> None:
        self._result.needed("colour").uns[K.DOMAIN_COLORS] = colors
        self.recolored.emit()


def _difference(before: DomainState, after: DomainState) -> str:
    """Name what was done between two states, for the undo button; empty for nothing."""
    if not before.same_labels(after):
        return f"finding {len(after.names)} domains"
    for old, new in zip(before.names, after.names, strict=True):
        if old != new:
            return f"renaming {old} to {new}"
    for name, old, new in zip(after.names, before.colors, after.colors, strict=True):
        if old != new:
            return f"colouring {name}"
    return "" if before.params == after.params else "finding the same domains"
