"""What is known about a path before it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from napari_staligner.io.formats.contents import holds_cells_alone

if TYPE_CHECKING:
    from anndata import AnnData

Named = list[tuple[str, "AnnData"]]
"""Slices with their names."""

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
"""The usual name of each kind."""

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
"""What may be chosen after the path for each kind, as in ``outs[bin=008um]``."""


@dataclass(frozen=True)
class Found:
    """What is at a path.

    Parameters
    ----------
    kind
        One of :data:`TITLES`.
    path
        The folder or file that was recognised; it contains the given path if that is only a part.
    name
        Name of its slice.
    files
        The files to read, by their role, as far as they are there.
    choices
        What may be chosen, and the values that are known to be there.
    """

    kind: str
    path: Path
    name: str
    files: Mapping[str, Path] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def chosen(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Return the choices: those that were made, and defaults for the rest.

        Bins have a default: 8 µm for Visium HD, 50 spots of the chip for Stereo-seq.
        """
        chosen = {name: value for name, value in asked.items() if name in self.choices}
        bins = self.choices.get("bin")
        if bins:
            chosen["bin"] = bin_name(
                chosen.get("bin", DEFAULT_BIN if DEFAULT_BIN in bins else bins[-1])
            )
        elif self.kind in ("gem", "gef") and ".cellbin." not in self.path.name:
            chosen.setdefault("bin", str(DEFAULT_SPOTS))
        return chosen

    def read_files(self, chosen: Mapping[str, str]) -> dict[str, Path]:
        """Return the files that are read with the given choices, by their role.

        The scan is not among them, nor what tells its place, nor outlines of cells: they are looked
        at when they are shown.
        """
        start = f"{chosen.get('bin', chosen.get('sample', ''))} "
        beside = ("scan", "place", "outlines")
        files = {role: file for role, file in self.files.items() if role.split()[-1] not in beside}
        part = {r.removeprefix(start): f for r, f in files.items() if r.startswith(start)}
        return part or files

    @property
    def open_choices(self) -> dict[str, tuple[str, ...]]:
        """What a person has to choose because there is more than one value: the values by key.

        For bins of Stereo-seq, the usual ones; any other number can be given as well.
        """
        several = {name: values for name, values in self.choices.items() if len(values) > 1}
        if self.kind in ("gem", "gef") and self.choices.get("bin") == ():
            several.setdefault("bin", USUAL_SPOTS)
        return several

    @property
    def title(self) -> str:
        """The usual name of the format."""
        return TITLES[self.kind]


DEFAULT_BIN = "008um"
"""For Visium HD: the size with which 10x Genomics starts its own analyses."""
DEFAULT_SPOTS = 50
"""For Stereo-seq, in spots of the chip: 25 µm, as in the published analyses."""

PITCH_UM = 0.5
"""Of Stereo-seq: from one spot of the chip to the next."""
USUAL_SPOTS = ("20", "50", "100", "200")


def bin_name(asked: str) -> str:
    """Return the folder name for a bin size of Visium HD given as ``8``, ``8um`` or ``008um``."""
    digits = re.fullmatch(r"(square_)?0*(\d+)\s*(um|µm)?", asked.strip())
    return f"{int(digits[2]):03d}um" if digits else asked


def choices_of(kind: str) -> dict[str, tuple[str, ...]]:
    """What may be chosen for a kind; the values are not known yet."""
    return dict.fromkeys(CHOICES.get(kind, ()), ())


def of_file(kind: str, path: Path) -> Found:
    """Return what a file is on its own."""
    choices = choices_of(kind)
    if kind == "gef" and holds_cells_alone(path):
        choices["bin"] = ("cell",)
    return Found(kind, path, bare_name(path), {"file": path}, choices)


def bare_name(path: Path) -> str:
    """Name of a file without its suffixes, or of a folder."""
    name = path.resolve().name
    for suffix in (".gz", ".gem", ".gef", ".tissue", ".cellbin", ".h5ad", ".h5", ".tsv", ".csv"):
        name = name.removesuffix(suffix) or name
    return name.removesuffix(".zarr").removesuffix(".txt") or path.name


_GENERIC = {"outs", "binned_outputs", "spatial", "output", "data"}


def sample_name(folder: Path) -> str:
    """Name of the sample in a folder: the first meaningful folder name, going upwards."""
    for place in (folder.resolve(), *folder.resolve().parents):
        if place.name and place.name not in _GENERIC and not BIN.fullmatch(place.name):
            return place.name
    return "slice"


BIN = re.compile(r"square_(\d{3})um")
"""Name of the folder of a bin size of Visium HD."""
