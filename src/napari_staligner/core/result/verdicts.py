"""What people say about an alignment: verdicts on slice pairs and domains, stored in the result."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.result.access import record_of, writable_record

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

Level = Literal["aligned", "partly", "not"]
LEVELS: tuple[Level, ...] = get_args(Level)
COLUMNS = ("first", "second", "domain", "level", "note", "who", "when", "spots")


@dataclass(frozen=True)
class Verdict:
    """One person's verdict on an alignment.

    Parameters
    ----------
    first, second
        Names of the two slices; both empty for all slices.
    domain
        Its name; empty for all domains.
    level
        How well they are aligned.
    note
        Why, in the person's words.
    who
        Name of the person.
    when
        Time in UTC, ISO 8601, to the second.
    spots
        How many spots it was about; a different number now means that the domains have changed.
    """

    first: str
    second: str
    domain: str
    level: Level
    note: str
    who: str
    when: str
    spots: int

    @property
    def pair(self) -> tuple[str, str] | None:
        """The two slices; ``None`` for all."""
        return (self.first, self.second) if self.first else None

    @property
    def about(self) -> str:
        """What it is about, for people."""
        slices = f"{self.first} – {self.second}" if self.first else "all slices"
        return f"domain {self.domain}, {slices}" if self.domain else slices


def login_name() -> str:
    """The person's login name; empty if the system does not say."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def read_verdicts(adata: AnnData) -> tuple[Verdict, ...]:
    """Verdicts in ``uns["staligner"]["verdicts"]``, the oldest first; none if there are none.

    Parameters
    ----------
    adata
        Integrated slices.
    """
    frame = record_of(adata).get(K.VERDICTS)
    if not isinstance(frame, pd.DataFrame) or not set(COLUMNS) <= set(frame.columns):
        return ()
    texts = {column: str for column in COLUMNS if column != "spots"}
    rows = frame[list(COLUMNS)].astype(texts | {"spots": int}).to_dict("records")
    return tuple(Verdict(**{str(k): v for k, v in row.items()}) for row in rows)


def write_verdicts(adata: AnnData, verdicts: Sequence[Verdict]) -> None:
    """Set ``uns["staligner"]["verdicts"]``; without any, the key is removed.

    Parameters
    ----------
    adata
        Integrated slices.
    verdicts
        All of them, the oldest first.
    """
    kept = writable_record(adata)
    if verdicts:
        kept[K.VERDICTS] = verdict_frame(verdicts)
    else:
        kept.pop(K.VERDICTS, None)


def verdict_frame(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per verdict, with its fields as columns."""
    frame = pd.DataFrame([vars(verdict) for verdict in verdicts], columns=list(COLUMNS))
    # Names of rows are strings in AnnData's files.
    frame.index = frame.index.astype(str)
    return frame


def add_verdict(
    adata: AnnData,
    level: Level,
    *,
    pair: tuple[str, str] | None = None,
    domain: str | None = None,
    note: str = "",
    who: str | None = None,
) -> Verdict:
    """Add a verdict to ``uns["staligner"]["verdicts"]``.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["slice"]`` and ``obs["domain"]``.
    level
        ``"aligned"``, ``"partly"`` or ``"not"``.
    pair
        Two slices; ``None`` for all.
    domain
        A domain; ``None`` for all.
    note
        Why.
    who
        Name of the person; ``None`` takes the login name.

    Returns
    -------
    The verdict, with the present time.

    Raises
    ------
    InputError
        There is no such level, slice or domain.
    """
    if level not in LEVELS:
        raise InputError(f"A verdict is one of {', '.join(map(repr, LEVELS))}, not {level!r}.")
    first, second = pair or ("", "")
    verdict = Verdict(
        first,
        second,
        domain or "",
        level,
        note.strip(),
        (login_name() if who is None else who).strip(),
        datetime.now(UTC).isoformat(timespec="seconds"),
        int(judged_spots(adata, pair, domain).sum()),
    )
    write_verdicts(adata, (*read_verdicts(adata), verdict))
    return verdict


def judged_spots(
    adata: AnnData, pair: tuple[str, str] | None, domain: str | None
) -> NDArray[np.bool_]:
    """Which spots a verdict is about, shape (spots,).

    Raises
    ------
    InputError
        There is no such slice or domain, or the two slices are the same.
    """
    mask = np.ones(adata.n_obs, dtype=bool)
    if pair is not None:
        if pair[0] == pair[1]:
            raise InputError(f"Slice {pair[0]!r} cannot be judged against itself: name two slices.")
        mask &= _rows_named(adata, K.SLICE, pair)
    if domain is not None:
        mask &= _rows_named(adata, K.DOMAIN, (domain,))
    return mask


def _rows_named(adata: AnnData, key: str, names: Sequence[str]) -> NDArray[np.bool_]:
    column = adata.obs[key].astype(str) if key in adata.obs else pd.Series(dtype=str)
    there = set(column.unique())
    for name in names:
        if name not in there:
            raise InputError(
                f"There is no {name!r} in obs[{key!r}] to judge: choose one of "
                f"{', '.join(map(repr, sorted(there))) or 'none'}."
            )
    return np.asarray(column.isin(names))


def is_current(adata: AnnData, verdict: Verdict) -> bool:
    """Whether the spots of a verdict still belong together as they did then."""
    try:
        mask = judged_spots(adata, verdict.pair, verdict.domain or None)
    except InputError:
        return False
    return int(mask.sum()) == verdict.spots


def renamed_verdicts(verdicts: Sequence[Verdict], names: Mapping[str, str]) -> tuple[Verdict, ...]:
    """The verdicts after domains were renamed, ``{old: new}``."""
    return tuple(replace(v, domain=names.get(v.domain, v.domain)) for v in verdicts)
