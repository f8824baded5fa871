"""The options of a registration; quick to import, because the command line's help shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Model(StrEnum):
    """What a transform may do besides moving: turn and mirror; also scale; also shear."""

    RIGID = "rigid"
    SIMILARITY = "similarity"
    AFFINE = "affine"


@dataclass(frozen=True)
class Choice:
    """The options that a user chooses for a registration.

    Parameters
    ----------
    model
        What the transforms may do: ``"rigid"``, ``"similarity"`` or ``"affine"``.
    landmarks
        Domains whose spots are compared; all spots if empty.
    reference
        The slice that stays; the first if ``None``.
    nonrigid
        Whether a smooth displacement follows.
    seed
        Seed for drawing spots if there are many.
    """

    model: Model = Model.RIGID
    landmarks: tuple[str, ...] = ()
    reference: str | None = None
    nonrigid: bool = False
    seed: int = 0

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Choice:
        """Read what ``record_registration`` wrote; defaults for what is missing."""
        return cls(
            Model(str(kept.get("model", Model.RIGID))),
            tuple(str(name) for name in kept.get("landmarks", ())),
            str(kept["reference"]) if "reference" in kept else None,
            bool(kept.get("nonrigid", False)),
            int(kept.get("seed", 0)),
        )
