"""The way of a pair of slices as arrays of numbers and a text, to be sent to other processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.registration.ambiguity import Way

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sent(way: Way) -> dict[str, NDArray[Any]]:
    """Return a way as arrays by name."""
    arrays = {
        "matrix": np.asarray(way.matrix),
        "other": np.array(way.other),
        "odds": np.array([way.p, way.evidence, way.seen]),
    }
    return arrays if way.instead is None else arrays | {"instead": np.asarray(way.instead)}


def received(arrays: Mapping[str, NDArray[Any]]) -> Way:
    """Return the way that was made into arrays."""
    p, evidence, seen = map(float, arrays["odds"])
    instead = arrays.get("instead")
    return Way(arrays["matrix"], str(arrays["other"]), p, instead, evidence, bool(seen))
