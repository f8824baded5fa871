"""The domains of the result, and what people do to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.settings import Settings
from napari_staligner.session.holdings import Holdings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.domains.presence import PresenceTable


@dataclass(frozen=True)
class DomainState:
    """Labels, names and colours of the domains, how they were found and how stable they are.

    It is what an undo restores.
    """

    codes: NDArray[np.integer[Any]]
    names: tuple[str, ...]
    colors: tuple[str, ...]
    params: Mapping[str, Any]
    stability: float | None = None

    def same_labels(self, other: DomainState) -> bool:
        """Whether both put the same spots together; names and colours may differ."""
        return len(self.names) == len(other.names) and np.array_equal(self.codes, other.codes)


class Domains(Holdings):
    """Labels, names and colours of the domains."""

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in their order."""
        if self._result is None or K.DOMAIN not in self._result.obs:
            return ()
        return tuple(map(str, self._result.obs[K.DOMAIN].cat.categories))

    @property
    def domain_colors(self) -> dict[str, str]:
        """Hex colour of each domain."""
        if self._result is None or not self.domains:
            return {}
        return dict(zip(self.domains, map(str, self._result.uns[K.DOMAIN_COLORS]), strict=True))

    def domain_counts(self) -> dict[str, dict[str, int]]:
        """Spots of each domain by slice: ``{domain: {slice: spots}}``."""
        if self._result is None or not self.domains:
            return {}
        codes = self._result.obs[K.DOMAIN].cat.codes.to_numpy()
        found = codes >= 0
        counts = {
            name: np.bincount(codes[rows][found[rows]], minlength=len(self.domains))
            for name, rows in self._rows.items()
        }
        return {
            domain: {name: int(count[i]) for name, count in counts.items()}
            for i, domain in enumerate(self.domains)
        }

    def presence(self) -> PresenceTable | None:
        """In which slices the domains are; tested anew where the record is of other domains.

        Writes ``uns["staligner"]["presence"]``; ``None`` without domains.
        """
        from napari_staligner.core.domains.presence import record_presence, recorded_presence

        if self._result is None or not self.domains:
            return None
        return recorded_presence(self._result) or record_presence(self._result)

    @property
    def domain_stability(self) -> float | None:
        """Mean adjusted Rand index of the mixture with others that are as likely, if it is known.

        See :class:`napari_staligner.core.domains.domains.Found`.
        """
        kept = {} if self._result is None else self._result.uns.get(K.STALIGNER, {})
        return float(kept[K.STABILITY]) if K.STABILITY in kept else None

    def set_domains(
        self,
        labels: NDArray[np.integer[Any]],
        settings: Settings,
        stability: float = float("nan"),
        tested: PresenceTable | None = None,
    ) -> None:
        """Take new labels (0, 1, … per row of the result); matching domains keep name and colour.

        Writes what :func:`napari_staligner.core.domains.domains.record_domains` writes.
        """
        from napari_staligner.core.domains.domains import record_domains

        if self._result is None:
            return
        record_domains(self._result, labels, settings, stability, tested)
        self.settings = replace(
            self._settings,
            domains=settings.domains,
            resolution=settings.resolution,
            smooth=settings.smooth,
        )
        self._domains_edited()

    def rename_domain(self, old: str, new: str) -> None:
        """Rename a domain.

        Raises
        ------
        InputError
            The new name is empty or taken.
        """
        new = new.strip()
        if self._result is None or new == old:
            return
        if not new or new in self.domains:
            why = "empty" if not new else f"already taken ({new!r})"
            raise InputError(f"The name for domain {old!r} is {why}: choose another.")
        column = self._result.obs[K.DOMAIN]
        self._result.obs[K.DOMAIN] = column.cat.rename_categories({old: new})
        self._isolated = frozenset(new if d == old else d for d in self._isolated)
        self._on_domains_renamed({old: new})
        self._domains_edited()

    def set_domain_color(self, domain: str, color: str) -> None:
        """Give a domain another colour (hex)."""
        if self._result is None or domain not in self.domains:
            return
        colors = self.domain_colors | {domain: color}
        self._result.uns[K.DOMAIN_COLORS] = list(colors.values())
        self._domains_edited()

    @property
    def domain_settings(self) -> Settings:
        """Settings with the choice that the present domains were found with."""
        params = self._params()
        if "resolution" not in params:
            return self._settings
        domains = params.get("domains")
        return replace(
            self._settings,
            domains=None if domains is None else int(domains),
            resolution=float(params["resolution"]),
            smooth=bool(params.get("smooth", False)),
        )

    def domain_state(self) -> DomainState | None:
        """Copy labels, names and colours of the domains; ``None`` if there are none."""
        if self._result is None or not self.domains:
            return None
        codes = np.array(self._result.obs[K.DOMAIN].cat.codes)
        colors = tuple(self.domain_colors.values())
        return DomainState(codes, self.domains, colors, self._params(), self.domain_stability)

    def restore_domain_state(self, state: DomainState) -> None:
        """Put back what :meth:`domain_state` copied from this result."""
        import pandas as pd

        if self._result is None:
            return
        present = self.domain_state()
        if present is not None and state.same_labels(present):
            self._on_domains_renamed(dict(zip(present.names, state.names, strict=True)))
        self._result.obs[K.DOMAIN] = pd.Categorical.from_codes(state.codes, list(state.names))
        self._result.uns[K.DOMAIN_COLORS] = list(state.colors)
        kept = self._result.uns.setdefault(K.STALIGNER, {})
        kept["params"] = dict(state.params)
        kept.pop(K.STABILITY, None)
        if state.stability is not None:
            kept[K.STABILITY] = state.stability
        self.settings = self.domain_settings
        self._domains_edited()

    def _domains_edited(self) -> None:
        self.saved = False
        self._isolated = self._isolated & frozenset(self.domains)
        self.domains_changed.emit()

    def _on_domains_renamed(self, names: Mapping[str, str]) -> None:
        """Follow new names (by the old ones) where domains are known by name."""
