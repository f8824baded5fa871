"""Read what was found at a path."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from napari_staligner._errors import ComputeError, InputError
from napari_staligner.core.outside import REMEDIES, lacks_memory, system_error
from napari_staligner.core.result.provenance import mark_source, source_of
from napari_staligner.core.result.soundness import make_sound
from napari_staligner.core.result.source import Source
from napari_staligner.io.anndata import is_result
from napari_staligner.io.formats.cache import keep, kept, place_of
from napari_staligner.io.formats.parts import IN_TISSUE
from napari_staligner.io.formats.sniff import sniff
from napari_staligner.io.sources import checksum

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.io.formats.found import Found, Named

_READERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "visium": ("tenx", "read_visium"),
        "visium_hd": ("tenx", "read_visium_hd"),
        "xenium": ("tenx", "read_xenium"),
        "merscope": ("flat", "read_merscope"),
        "cosmx": ("flat", "read_cosmx"),
        "slideseq": ("flat", "read_slideseq"),
        "st": ("flat", "read_st"),
        "mtx": ("flat", "read_mtx_sample"),
        "gem": ("stereo", "read_gem"),
        "gef": ("stereo", "read_gef"),
        "spatialdata": ("store", "read_spatialdata"),
        "anndata": ("store", "read_anndata"),
    }
)
"""Module and function for each kind."""


def read_path(source: Source, *, backed: bool = False) -> tuple[Named, Source]:
    """Read what is at a path, with the choices that its format offers.

    Parameters
    ----------
    source
        The path, and the choices in brackets after it.
    backed
        Leave the matrices on disk, for an AnnData and for large samples that are cached.

    Returns
    -------
    Name and AnnData of each slice, with its source recorded, and the choices that remain: a column
    of ``obs``, or a slice by name.

    Raises
    ------
    InputError
        Nothing is there, or it cannot be read.
    """
    try:
        return _read(source, backed)
    except OSError as error:
        number = system_error(error)
        why = str(error) if number is None else os.strerror(number)
        remedy = REMEDIES.get(number or 0, "check the path")
        raise InputError(f"{source.path!r} cannot be read ({why}): {remedy}.") from error


def _read(source: Source, backed: bool) -> tuple[Named, Source]:
    found = sniff(Path(source.path))
    asked = {name: value for name, value in source.choices.items() if name in found.choices}
    others = {name: value for name, value in source.choices.items() if name not in asked}
    if found.kind == "anndata":
        from napari_staligner.io.formats.store import read_anndata

        # The errors of the AnnData reader already say what is wrong.
        return read_anndata(found, asked, backed=backed), replace(source, choices=others)
    place = place_of(found, asked)
    known = None if place is None else kept(place, backed=backed)
    slices = [(found.name, known)] if known is not None else _marked(found, asked, source.path)
    if known is None and place is not None and keep(place, slices[0][1]) and backed:
        known = kept(place, backed=True)
        slices = slices if known is None else [(slices[0][0], known)]
    for column in [name for name in others if name in IN_TISSUE]:
        # This is a part of a slice, not one of several, so it keeps its name.
        slices = [(n, _where(n, a, column, others[column])) for n, a in slices]
        del others[column]
    wanted = [item for item in slices if item[0] == source.slice]
    if len(slices) > 1 and wanted:
        return wanted, replace(source, slice="", choices=others)
    if len(slices) == 1 and source.slice == slices[0][0]:
        source = replace(source, slice="")
    return slices, replace(source, choices=others)


def _marked(found: Found, asked: Mapping[str, str], path: str) -> Named:
    """Read slices and record the source of each."""
    slices = read_found(found, asked)
    if len(slices) == 1 and is_result(slices[0][1]):
        # A result records the sources of its slices itself.
        make_sound(found.path.name, slices[0][1])
        return slices
    chosen = found.chosen(asked)
    kept_as = Source(str(Path(path).resolve()), checksum(Path(path), chosen), choices=chosen)
    for name, adata in slices:
        mark_source(adata, replace(kept_as, slice=name if len(slices) > 1 else ""))
    return slices


def _where(name: str, adata: AnnData, column: str, value: str) -> AnnData:
    if column not in adata.obs:
        raise InputError(
            f"Slice {name!r} has no obs[{column!r}] to choose spots by: leave [{column}={value}] "
            "out."
        )
    rows = (adata.obs[column].astype(str) == value).to_numpy()
    if not rows.any():
        there = ", ".join(sorted(set(adata.obs[column].astype(str))))
        raise InputError(
            f"Slice {name!r} has no spots whose obs[{column!r}] is {value!r}: choose one of "
            f"{there}."
        )
    part = adata[rows].copy()
    source = source_of(part)
    if source is not None:
        mark_source(part, replace(source, choices={**source.choices, column: value}))
    return part


def read_found(found: Found, chosen: Mapping[str, str] | None = None) -> Named:
    """Read the slices of what was found.

    Parameters
    ----------
    found
        What :func:`~napari_staligner.io.formats.sniff.sniff` told.
    chosen
        The choices after the path; the others take their defaults, and a note says so.

    Returns
    -------
    Name and AnnData of each slice, as :func:`~napari_staligner.read_slices` gives them: counts in
    ``X``, ``obsm["spatial"]``, ``uns["spatial"]`` in squidpy's layout; how the files were
    understood is in ``uns["staligner_notes"]``.

    Raises
    ------
    InputError
        It cannot be read, or a choice is not there.
    ComputeError
        It does not fit into memory.
    """
    if found.kind == "rds":
        raise InputError(
            f"{str(found.path)!r} is an R object: write it from R as .h5ad with the package "
            "anndataR (a Seurat object) or zellkonverter (a SpatialExperiment), and give that."
        )
    chosen = dict(chosen or {})
    for name in chosen:
        if name not in found.choices:
            there = ", ".join(found.choices) or "nothing"
            raise InputError(
                f"{str(found.path)!r} is {found.title}, where {name!r} cannot be chosen: choose "
                f"{there}."
            )
    module, name = _READERS[found.kind]
    reader: Callable[[Found, dict[str, str]], Named] = getattr(
        import_module(f"napari_staligner.io.formats.{module}"), name
    )
    try:
        return reader(found, chosen)
    except (InputError, ComputeError):
        raise
    except Exception as error:  # any error of h5py, pandas, zarr or an image library
        if isinstance(error, MemoryError) or lacks_memory(error):
            raise ComputeError(
                f"{str(found.path)!r} does not fit into memory: choose larger bins, or cut out a "
                "part."
            ) from error
        line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"{str(found.path)!r} cannot be read as {found.title} ({type(error).__name__}: "
            f"{line}): it may be cut off or of another version; copy or export it again."
        ) from error
