"""Recognises what is at a path by names and first bytes, before reading it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from napari_staligner._errors import InputError
from napari_staligner.io.formats.contents import kind_of_file
from napari_staligner.io.formats.found import Found, bare_name, of_file
from napari_staligner.io.formats.layouts import (
    MATRIX,
    MTX,
    SeveralSamples,
    folder_kind,
    listed,
    st_table,
)


def sniff(path: Path) -> Found:
    """Tell what is at a path.

    Parameters
    ----------
    path
        A file, or a folder such as Space Ranger's ``outs``; a file from such a folder stands for
        the folder.

    Raises
    ------
    InputError
        Nothing is there, the format is not known, or it holds several samples.
    """
    if path.is_dir():
        found = _part_of_folder(path) or folder_kind(path)
        return found if found is not None else _below(path)
    if not path.is_file():
        if path.exists():
            raise InputError(f"{str(path)!r} is a pipe or a device: copy it to a file first.")
        raise InputError(f"There is no file {str(path)!r}: check the path.")
    kind = kind_of_file(path)
    if kind in _ALONE:
        return of_file(kind, path)
    found = _around(path)
    if found is not None:
        return found
    if kind == "10x":
        return Found("mtx", path, bare_name(path), {"matrix": path})
    if kind:
        return of_file(kind, path)
    raise InputError(
        f"{str(path)!r} is of no format that is known here ({_KNOWN}): export it as .h5ad, or give "
        "the folder that the instrument's software wrote."
    )


def is_known(path: Path) -> bool:
    """Whether a path has a known format: one sample, or several to choose from."""
    if path.suffix == ".h5ad":
        return True
    try:
        sniff(path)
    except SeveralSamples:
        return True
    except InputError:
        return False
    return True


_ALONE = {"gem", "gef", "anndata", "rds"}
_KNOWN = (
    ".h5ad, SpatialData and AnnData .zarr, folders of Visium, Visium HD, Xenium, MERSCOPE, CosMx "
    "and Slide-seq, .gem, .gef, tables of ST, matrix.mtx with positions"
)


def _part_of_folder(path: Path) -> Found | None:
    """The sample that a folder is part of."""
    if _is_part(path):
        found = folder_kind(path.resolve().parent)
        if found is not None and any(role.endswith("matrix") for role in found.files):
            return found
    return None


def _is_part(folder: Path) -> bool:
    name = folder.resolve().name
    return name in {"spatial", "cell_feature_matrix"} or bool(MATRIX.fullmatch(name))


def _below(path: Path) -> Found:
    """What the folders inside a folder hold, if that is one sample."""
    found = list(_found_below(path))
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(repr(str(each.path)) for each in found[:8])
        raise SeveralSamples(
            f"The folder {str(path)!r} holds several samples: give one of {places}.",
            tuple(found),
        )
    files = [p for p in listed(path) if p.is_file() and p.suffix in {".h5ad", ".h5", ".rds"}]
    if files:
        places = ", ".join(repr(str(file)) for file in files[:8])
        raise InputError(f"The folder {str(path)!r} holds files: give them themselves ({places}).")
    raise InputError(
        f"The folder {str(path)!r} is of no format that is known here ({_KNOWN}): give the folder "
        "that the instrument's software wrote."
    )


def _found_below(path: Path) -> Iterator[Found]:
    for place in listed(path):
        if place.is_dir() and not place.is_symlink():
            found = folder_kind(place) or (
                folder_kind(place / "outs") if (place / "outs").is_dir() else None
            )
            if found is not None:
                yield found


def _around(path: Path) -> Found | None:
    """The sample that a file is part of."""
    kind = kind_of_file(path)
    if kind == "st":
        return st_table(path)
    folder = path.resolve().parent
    for place in ([folder.parent] if _is_part(folder) else []) + [folder]:
        found = _folder_quietly(place)
        if found is None:
            continue
        own = {role: f for role, f in found.files.items() if f.resolve() == path.resolve()}
        if own:
            return found
        if found.kind == "visium" and kind == "10x":
            # Read the matrix that the user gave, not the preferred one.
            files = {role: f for role, f in found.files.items() if role not in MTX}
            return replace(found, files={**files, "matrix": path})
    return None


def _folder_quietly(folder: Path) -> Found | None:
    try:
        return folder_kind(folder)
    except InputError:
        return None
