"""What is told of a path before it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "visium": "Visium",
        "visium_hd": "Visium HD",
        "xenium": "Xenium",
        "merscope": "MERSCOPE",
        "cosmx": "CosMx",
        "slideseq": "Slide-seq",
        "st": "Spatial Transcriptomics",
        "mtx": "a feature-barcode matrix",
        "gem": "Stereo-seq (.gem)",
        "gef": "Stereo-seq (.gef)",
        "spatialdata": "SpatialData",
        "anndata": "AnnData",
        "rds": "an R object",
    }
)
"""Of each kind, what people call it."""

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "visium": ("sample",),
        "visium_hd": ("bin",),
        "mtx": ("sample",),
        "gem": ("bin",),
        "gef": ("bin",),
        "spatialdata": ("table", "system", "image"),
        "anndata": ("counts",),
    }
)
"""Of each kind, what may be chosen behind the path, as in ``outs[bin=008um]``."""


@dataclass(frozen=True)
class Found:
    """What lies at a path.

    Parameters
    ----------
    kind
        One of :data:`TITLES`.
    path
        The folder or file that was recognised; around the given one where that is a part.
    name
        What its slice is called.
    files
        Those that are read, by their role, as far as they are there.
    choices
        What may be chosen, and the values that are known to be there.
    """

    kind: str
    path: Path
    name: str
    files: Mapping[str, Path] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What people call the format."""
        return TITLES[self.kind]


def choices_of(kind: str) -> dict[str, tuple[str, ...]]:
    """What may be chosen of a kind, whose values are not known yet."""
    return dict.fromkeys(CHOICES.get(kind, ()), ())


def of_file(kind: str, path: Path) -> Found:
    """Return what a file is by itself."""
    return Found(kind, path, bare_name(path), {"file": path}, choices_of(kind))


def bare_name(path: Path) -> str:
    """Name of a file without its suffixes, or of a folder."""
    name = path.resolve().name
    for suffix in (".gz", ".gem", ".gef", ".tissue", ".cellbin", ".h5ad", ".h5", ".tsv", ".csv"):
        name = name.removesuffix(suffix) or name
    return name.removesuffix(".zarr").removesuffix(".txt") or path.name


_GENERIC = {"outs", "binned_outputs", "spatial", "output", "data"}


def sample_name(folder: Path) -> str:
    """Name of the sample in a folder: that of the first folder upwards which says something."""
    for place in (folder.resolve(), *folder.resolve().parents):
        if place.name and place.name not in _GENERIC and not BIN.fullmatch(place.name):
            return place.name
    return "slice"


BIN = re.compile(r"square_(\d{3})um")
"""Name of the folder of a size of bins of Visium HD."""
