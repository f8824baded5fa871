"""Slices and results as ``.h5ad`` files."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.outside import pass_on_memory
from napari_staligner.core.prepare.libraries import (
    as_it_came,
    as_name,
    libraries_of_result,
    without_library,
)
from napari_staligner.core.prepare.notes import add_notes
from napari_staligner.core.prepare.on_disk import named_layers
from napari_staligner.core.prepare.sections import clean_name, split_by, split_where_certain
from napari_staligner.core.result.access import record_of
from napari_staligner.core.result.ownership import moved, names_of_input, written
from napari_staligner.core.result.provenance import SAMPLE, mark_source, source_of, sources_of
from napari_staligner.core.result.source import Source
from napari_staligner.io.anndata import is_result
from napari_staligner.io.atomic import check_target, written_beside
from napari_staligner.io.finished import read_finished
from napari_staligner.io.formats.read import read_path
from napari_staligner.io.images import image_problem
from napari_staligner.io.sources import parse_source
from napari_staligner.io.writing import write_anndata
from napari_staligner.samples import sample_slices

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.result.finished import Finished
    from napari_staligner.io.formats.found import Named


def read_slices(
    paths: Iterable[str | os.PathLike[str]], *, slice_key: str | None = None, backed: bool = False
) -> Named:
    """Read slices from files and folders of the field's formats.

    Parameters
    ----------
    paths
        Files and folders, each holding one slice, or several told apart by ``slice_key``. A file
        of results gives its slices. ``FILE[SLICE]`` and ``FILE[COLUMN=VALUE]`` take one slice out
        of several, ``outs[bin=016um]`` makes a choice that the format offers, and ``sample:SLICE``
        is a slice of the simulated olfactory bulb.
    slice_key
        Column of ``obs`` that names the slices within a file.
    backed
        Leave ``X`` and ``layers`` on disk, as dask arrays. :func:`~napari_staligner.integrate`
        then reads one slice at a time, and :func:`write_result` copies them piece by piece.

    Returns
    -------
    Name (of the file, or from the column) and AnnData of each slice; a name that occurs twice
    gets a number.

    Raises
    ------
    InputError
        A file cannot be read, or lacks the column.
    """
    slices: Named = []
    for source in (parse_source(os.fspath(path)) for path in paths):
        if source.path.startswith(SAMPLE):
            slices += sample_slices(source.path.removeprefix(SAMPLE))
            continue
        read, left = read_path(source, backed=backed)
        for name, adata in read:
            slices += _slices_of(name, adata, left, slice_key)
    return numbered(slices)


def _slices_of(name: str, adata: AnnData, source: Source, slice_key: str | None) -> Named:
    if source.slice or source.choices:
        return [_part_of(name, adata, source)]
    if slice_key is not None:
        return split_by(name, adata, slice_key)
    return slices_of_result(adata) if is_result(adata) else slices_in(name, adata)


def read_source(source: Source) -> AnnData:
    """Read the slice of a source.

    Raises
    ------
    InputError
        The file cannot be read, or has no such slice.
    """
    ((_, adata),) = read_slices([source.spec()])
    return adata


def _part_of(name: str, adata: AnnData, source: Source) -> tuple[str, AnnData]:
    """The slice of a file that a source names: by one column after another, then by name."""
    found, named = name, source.slice
    for key, value in source.choices.items():
        if is_result(adata) and key == K.SLICE:
            named = named or value
            continue
        found, adata = _chosen(name, split_by(name, adata, key), value, f" in obs[{key!r}]")
    if not named:
        return found, adata
    parts = slices_of_result(adata) if is_result(adata) else slices_in(found, adata)
    return _chosen(name, parts, named, "")


def _chosen(name: str, parts: Named, wanted: str, where: str) -> tuple[str, AnnData]:
    for part, adata in parts if where else ():
        # Names lose their slashes, so what is written in the file comes first.
        source = source_of(adata)
        if source is not None and [*source.choices.values()][-1] == wanted:
            return part, adata
    names = {clean_name(wanted)}
    with suppress(ValueError):  # whole numbers are names without a decimal point
        names.add(str(as_name(float(wanted))))
    for part, adata in parts:
        if part in names:
            return part, adata
    there = ", ".join(repr(part) for part, _ in parts)
    raise InputError(f"{name!r} has no slice {wanted!r}{where}: choose one of {there}.")


def read_any(
    path: str | os.PathLike[str],
) -> (
    tuple[Literal["result"], AnnData]
    | tuple[Literal["finished"], tuple[AnnData, Finished]]
    | tuple[Literal["slices"], Named]
):
    """Read a file of results, or of slices.

    Returns
    -------
    A result; one of another program, which :func:`~napari_staligner.core.adopt.adopt_steps`
    turns into ours; or slices.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    read, left, finished = read_finished(parse_source(os.fspath(path)))
    if finished is not None:
        return "finished", finished
    if len(read) == 1 and is_result(read[0][1]) and not left.slice and not left.choices:
        return "result", read[0][1]
    return "slices", numbered([each for item in read for each in _slices_of(*item, left, None)])


def slices_in(name: str, adata: AnnData) -> Named:
    """Return the slices of a file that was just read; it may hold several sections.

    Parameters
    ----------
    name
        Of the file.
    adata
        What it holds; gets notes on what was noticed.
    """
    slices = split_where_certain(name, adata)
    for each, part in slices:
        note = without_library(each, part)
        problem = image_problem(part)
        if note is None and problem not in (None, "none"):
            note = f"its tissue image is not shown: {problem}."
        add_notes(part, [] if note is None else [note])
    return slices


def slices_of_result(result: AnnData) -> Named:
    """Split integrated slices into the original slices, without what was computed on them.

    Parameters
    ----------
    result
        Integrated slices.
    """
    from anndata import AnnData

    slices: Named = []
    sources = sources_of(result)
    own = {slot: names_of_input(result, slot) for slot in ("obs", "var", "obsm")}
    for name in result.obs[K.SLICE].cat.remove_unused_categories().cat.categories:
        rows = (result.obs[K.SLICE] == name).to_numpy()
        part = result[rows, genes_of_slice(result, str(name))]
        obs = part.obs[list(own["obs"])].rename(columns=own["obs"])
        obs.index = obs.index.str.removesuffix(f"_{name}")
        obsm = {name: part.obsm[key].copy() for key, name in own["obsm"].items()}
        for value in obsm.values():
            if isinstance(value, pd.DataFrame):
                value.index = obs.index
        slices.append(
            (
                str(name),
                AnnData(
                    None if part.X is None else part.X.copy(),
                    obs=obs,
                    var=part.var[list(own["var"])].rename(columns=own["var"]),
                    obsm=obsm,
                    layers={key: layer.copy() for key, layer in named_layers(part).items()},
                    uns=_uns_of(result, str(name)),
                ),
            )
        )
        if str(name) in sources:
            mark_source(slices[-1][1], sources[str(name)])
    return slices


def genes_of_slice(result: AnnData, name: str) -> Any:
    """Return which genes a slice of a result had, for indexing; all if that is not recorded."""
    # A subset of a result still has a column for every slice that it was made from.
    kept = record_of(result)
    recorded = [*map(str, kept.get("slices", result.obs[K.SLICE].cat.categories))]
    if K.IN_SLICE not in result.varm or name not in recorded:
        return slice(None)
    return np.asarray(result.varm[K.IN_SLICE])[:, recorded.index(name)].astype(bool)


def write_result(adata: AnnData, path: str | os.PathLike[str]) -> Path:
    """Write integrated slices next to the target, then move them into place.

    Parameters
    ----------
    adata
        Integrated slices.
    path
        Target; an existing file is replaced only when all is written.

    Returns
    -------
    The path.

    Raises
    ------
    InputError
        The target cannot be written, or does not end in ``.h5ad``.
    """
    path = check_result_target(path)
    try:
        with written_beside(path) as draft:
            write_anndata(adata, draft)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        pass_on_memory(error)
        # The user has put something into the result that HDF5 has no type for.
        raise InputError(
            f"{str(path)!r} cannot be written, because {_slot_of(error)} holds what a file cannot "
            f"({_first_line(error)}): change it to text or numbers, or drop it."
        ) from error
    return path


def _slot_of(error: Exception) -> str:
    """The slot that anndata failed to write, from its note."""
    for note in getattr(error, "__notes__", ()):
        found = re.search(r"writing key '(.*)' of .* to /(.*)", note)
        if found:
            keys = [key for key in (*found[2].split("/"), found[1]) if key]
            return keys[0] + "".join(f"[{key!r}]" for key in keys[1:])
    return "something in it"


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0] or type(error).__name__


def check_result_target(path: str | os.PathLike[str]) -> Path:
    """Check before long work that integrated slices can be written there and read again.

    Raises
    ------
    InputError
        As in :func:`check_target`, or the name does not end in ``.h5ad``.
    """
    path = Path(path)
    if path.suffix != ".h5ad":
        raise InputError(
            f"{str(path)!r} does not end in .h5ad, so it would not be recognised later: "
            f"call it {path.stem + '.h5ad'!r}."
        )
    return check_target(path)


def numbered(slices: Sequence[tuple[str, AnnData]]) -> Named:
    """Number the names that occur again."""
    taken: dict[str, AnnData] = {}
    for name, adata in slices:
        taken[free_name(name, taken)] = adata
    return list(taken.items())


def free_name(name: str, taken: Container[str]) -> str:
    """Return a name; if it is taken, with the first free number from 2 on."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def _uns_of(result: AnnData, name: str) -> dict[str, object]:
    ours, aside = written(result)["obs"], moved(result)["obs"]
    columns = [key.removesuffix("_colors") for key in result.uns if key.endswith("_colors")]
    colors = {
        f"{aside.get(column, column)}_colors": result.uns[f"{column}_colors"]
        for column in columns
        if column not in ours
    }
    own = {key: as_it_came(each) for key, each in libraries_of_result(result, name).items()}
    return colors | ({K.SPATIAL: own} if own else {})
