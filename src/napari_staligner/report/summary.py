"""A result at a glance, as a notebook shows it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.domains.presence import recorded_presence
from napari_staligner.core.palette import categorical_colors
from napari_staligner.core.result.access import record_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData

_SWATCH = (
    '<span style="display:inline-block;width:0.8em;height:0.8em;border-radius:0.2em;'
    'background:{}"></span> {}'
)


@dataclass(frozen=True)
class Summary:
    """What integrated slices hold; a notebook shows it as tables.

    Parameters
    ----------
    head
        Slices, spots and genes, in one sentence.
    slices
        One row a slice: spots, median confidence, median residual in spacings (NaN if not known).
    domains
        Spots of each domain (rows) in each slice (columns), and ``verdict``: what the test of its
        presence says.
    colors
        Hex colour of each domain.
    notes
        What was guessed, left out or failed.
    """

    head: str
    slices: pd.DataFrame
    domains: pd.DataFrame
    colors: dict[str, str]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        parts = [self.head, self.slices.to_string()]
        if len(self.domains):
            parts.append(self.domains.to_string())
        return "\n\n".join([*parts, *(f"Note: {note}" for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Tables for a notebook. Names come from files, so they are shown as text only."""
        parts = [f"<p><b>{escape(self.head)}</b></p>", _html(self.slices, escape)]
        if len(self.domains):
            parts.append(_html(self.domains, self._named))
        if self.notes:
            notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
            parts.append(
                f"<details><summary>{len(self.notes)} notes</summary><ul>{notes}</ul></details>"
            )
        return "\n".join(parts)

    def _named(self, name: str) -> str:
        return _SWATCH.format(escape(self.colors[name]), escape(name))


def _html(frame: pd.DataFrame, named: object) -> str:
    rows = [["", *map(escape, map(str, frame.columns))]]
    for name, values in frame.iterrows():
        rows.append([named(str(name)), *map(_cell, values)])  # type: ignore[operator]
    tag = iter(["th", *["td"] * len(rows)])
    lines = (_row(cells, next(tag)) for cells in rows)
    return f"<table>{''.join(lines)}</table>"


def _row(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        if np.isnan(value):
            return "–"
        return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.2f}"
    return escape(f"{value:,}" if isinstance(value, int | np.integer) else str(value))


def summary(adata: AnnData) -> Summary:
    """Summarise integrated slices: slices, domains with their presence, notes.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["slice"]``, ``obs["domain"]``,
        ``obs["alignment_confidence"]``, ``obs["registration_residual"]``,
        ``uns["domain_colors"]`` and ``uns["staligner"]``. It is not changed.

    Raises
    ------
    InputError
        These are no integrated slices.
    """
    if K.SLICE not in adata.obs:
        raise InputError('There is no obs["slice"]: integrate the slices first.')
    slices = pd.Categorical(adata.obs[K.SLICE])
    domains, colors = _domains(adata, slices)
    used = int(adata.var[K.USED_GENE].sum()) if K.USED_GENE in adata.var else adata.n_vars
    head = (
        f"{len(slices.categories)} slices, {adata.n_obs:,} spots, {used:,} of {adata.n_vars:,} "
        f"genes used, {len(domains)} domains"
    )
    notes = tuple(map(str, record_of(adata).get("notes", ())))
    return Summary(head, _by_slice(adata, slices), domains, colors, notes)


def _by_slice(adata: AnnData, slices: pd.Categorical) -> pd.DataFrame:
    counts = pd.Series(slices).value_counts(sort=False)
    found = pd.DataFrame({"spots": counts.reindex(slices.categories).to_numpy()})
    found.index = pd.Index(map(str, slices.categories))
    for title, key in (("median confidence", K.CONFIDENCE), ("median residual", K.RESIDUAL)):
        if key in adata.obs:
            by_slice = adata.obs[key].astype(float).groupby(slices, observed=False).median()
            found[title] = by_slice.reindex(slices.categories).to_numpy()
    return found


def _domains(adata: AnnData, slices: pd.Categorical) -> tuple[pd.DataFrame, dict[str, str]]:
    if K.DOMAIN not in adata.obs:
        return pd.DataFrame(), {}
    domains = pd.Categorical(adata.obs[K.DOMAIN])
    names = list(map(str, domains.categories))
    counts = pd.crosstab(domains, slices, dropna=False)
    counts = counts.reindex(index=domains.categories, columns=slices.categories, fill_value=0)
    table = pd.DataFrame(counts.to_numpy(), names, list(map(str, slices.categories)))
    recorded = list(map(str, adata.uns.get(K.DOMAIN_COLORS, ())))
    colors = recorded if len(recorded) == len(names) else categorical_colors(len(names))
    presence = recorded_presence(adata)
    if presence is not None:
        specific, unclear = presence.specific(), presence.unclear()
        said = dict.fromkeys(unclear, "unclear")
        said |= {name: f"only in {row.slice}" for name, row in specific.items()}
        # A slice may have the same name.
        verdicts = [said.get(name, "") for name in names]
        table.insert(len(table.columns), "verdict", verdicts, allow_duplicates=True)
    return table, dict(zip(names, colors, strict=True))
