"""JSON that others wrote; what is nested without end is refused at once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

DEEPEST = 200
"""Lists and objects within each other; GeoJSON has some ten."""


def json_of(text: str | bytes) -> Any:
    """Read JSON.

    Raises
    ------
    ValueError
        It is none, or nested too deep. (Python would raise ``RecursionError``, here or wherever
        the content is walked through, and what then ends in the middle may hold a lock.)
    """
    check_nesting(text)
    return json.loads(text)


def check_nesting(text: str | bytes) -> None:
    """Check how deep lists, objects and brackets lie within each other, in texts too.

    Raises
    ------
    ValueError
        More than :data:`DEEPEST`.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    characters = np.frombuffer(raw, dtype=np.uint8)
    opens = np.isin(characters, np.frombuffer(b"[{(", dtype=np.uint8))
    closes = np.isin(characters, np.frombuffer(b"]})", dtype=np.uint8))
    deep = np.cumsum(opens, dtype=np.int64) - np.cumsum(closes, dtype=np.int64)
    if deep.max(initial=0) > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep")
