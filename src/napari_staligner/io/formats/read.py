"""Read what was found at a path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from napari_staligner._errors import ComputeError, InputError

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.io.formats.found import Found

Named = list[tuple[str, "AnnData"]]

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
"""Of each kind, its module and function."""


def read_found(found: Found, chosen: Mapping[str, str] | None = None) -> Named:
    """Read the slices of what was found.

    Parameters
    ----------
    found
        What :func:`~napari_staligner.io.formats.sniff.sniff` told.
    chosen
        What was chosen behind the path; what is not takes its default, which is said.

    Returns
    -------
    Name and AnnData of each slice, as :func:`~napari_staligner.read_slices` gives them: counts in
    ``X``, ``obsm["spatial"]``, ``uns["spatial"]`` in squidpy's layout; what was taken for what is
    in ``uns["staligner_notes"]``.

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
    except MemoryError as error:
        raise ComputeError(
            f"{str(found.path)!r} does not fit into memory: choose larger bins, or cut out a part."
        ) from error
    except Exception as error:  # whatever h5py, pandas, zarr or a picture's library meets
        line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"{str(found.path)!r} cannot be read as {found.title} ({type(error).__name__}: "
            f"{line}): it may be cut off or of another version; copy or export it again."
        ) from error
