"""Recognises the folders of instruments and archives by the names of their files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from napari_staligner._errors import InputError
from napari_staligner.io.formats.contents import kind_of_file
from napari_staligner.io.formats.found import (
    BIN,
    Found,
    bare_name,
    choices_of,
    of_file,
    sample_name,
)

_POSITIONS = re.compile(r"tissue_positions(_list)?\.(csv|csv\.gz|parquet)")
MATRIX = re.compile(r"(filtered|raw)_feature_bc_matrix(\.h5)?")
_SPATIAL: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "positions": _POSITIONS,
        "scalefactors": re.compile(r"scalefactors_json\.json(\.gz)?"),
        "hires": re.compile(r"tissue_hires_image\.(png|jpe?g)(\.gz)?"),
        "lowres": re.compile(r"tissue_lowres_image\.(png|jpe?g)(\.gz)?"),
    }
)
MTX: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "matrix": re.compile(r"matrix\.mtx(\.gz)?"),
        "barcodes": re.compile(r"barcodes\.tsv(\.gz)?"),
        "features": re.compile(r"(features|genes)\.tsv(\.gz)?"),
    }
)
_PLACES = re.compile(
    r".*(position|coordinate|coords|location|spatial).*\.(csv|tsv|txt)(\.gz)?", re.IGNORECASE
)


class SeveralSamples(InputError):
    """A folder has a known format, but it is not clear which sample is meant.

    Parameters
    ----------
    text
        The sentence.
    samples
        The samples found.
    """

    def __init__(self, text: str, samples: tuple[Found, ...] = ()) -> None:
        super().__init__(text)
        self.samples = samples


def listed(folder: Path) -> list[Path]:
    """What is in a folder, without the files that macOS leaves there.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("._"))
    except OSError as error:
        raise InputError(
            f"The folder {str(folder)!r} cannot be read ({error.strerror}): check its permissions."
        ) from error


def folder_kind(path: Path) -> Found | None:
    """What a folder itself is; ``None`` if it is nothing known."""
    there = listed(path)
    for layout in _LAYOUTS:
        found = layout(path, there)
        if found is not None:
            return found
    return None


def _first(there: list[Path], pattern: str) -> Path | None:
    """The first file whose name, or its end after a prefix, matches a pattern."""
    wanted = re.compile(rf"(.*[_.-])?{pattern}", re.IGNORECASE)
    return next((p for p in there if wanted.fullmatch(p.name)), None)


def _roles(**files: Path | None) -> dict[str, Path]:
    return {role: path for role, path in files.items() if path is not None}


def _zarr(path: Path, there: list[Path]) -> Found | None:
    names = {p.name for p in there}
    if not names & {".zgroup", ".zattrs", "zarr.json", ".zmetadata", "zmetadata"}:
        return None
    if {"obs", "var"} <= names or not names & _ELEMENTS:
        return of_file("anndata", path)
    place = path / ("tables" if (path / "tables").is_dir() else "table")
    tables = tuple(p.name for p in listed(place) if p.is_dir()) if place.is_dir() else ()
    choices = choices_of("spatialdata") | {"table": tables}
    return Found("spatialdata", path, bare_name(path), {"file": path}, choices)


_ELEMENTS = {"tables", "table", "images", "labels", "points", "shapes"}


def _visium_hd(path: Path, there: list[Path]) -> Found | None:
    binned = path / "binned_outputs"
    bins = [p for p in (listed(binned) if binned.is_dir() else there) if BIN.fullmatch(p.name)]
    if not bins and not binned.is_dir():
        return None
    files = {}
    for folder in bins:
        for role, file in _space_ranger(folder, listed(folder)).items():
            files[f"{_bin_name(folder)} {role}"] = file
    files |= _roles(scan=_scan(path, there))
    return Found("visium_hd", path, sample_name(path), files, {"bin": tuple(map(_bin_name, bins))})


def _bin_name(folder: Path) -> str:
    return folder.name.removeprefix("square_")


def _one_bin(path: Path, there: list[Path]) -> Found | None:
    if not BIN.fullmatch(path.resolve().name):
        return None
    bin_name = _bin_name(path.resolve())
    files = {f"{bin_name} {role}": f for role, f in _space_ranger(path, there).items()}
    return Found("visium_hd", path, sample_name(path), files, {"bin": (bin_name,)})


def _space_ranger(path: Path, there: list[Path], prefix: str = "") -> dict[str, Path]:
    """Space Ranger's files of one sample, here or in ``spatial``."""
    matrices = {p.name.removeprefix(prefix): p for p in there if p.name.startswith(prefix)}
    found = {}
    for name in _MATRIX_ORDER:
        if name in matrices:
            found = _matrix_files(matrices[name])
            break
    spatial = path / "spatial"
    for place in (*(listed(spatial) if spatial.is_dir() else ()), *there):
        for role, pattern in _SPATIAL.items():
            if pattern.fullmatch(place.name.removeprefix(prefix)):
                found.setdefault(role, place)
    return found | _roles(scan=_scan(path, [*matrices.values()]))


_MATRIX_ORDER = (
    "filtered_feature_bc_matrix.h5",
    "filtered_feature_bc_matrix",
    "raw_feature_bc_matrix.h5",
    "raw_feature_bc_matrix",
)


def _matrix_files(path: Path) -> dict[str, Path]:
    """The file of counts, or the three files in a folder."""
    if not path.is_dir():
        return {"matrix": path}
    return {
        role: file
        for file in listed(path)
        for role, pattern in MTX.items()
        if pattern.fullmatch(file.name)
    }


def _scan(path: Path, there: list[Path]) -> Path | None:
    """The image at full size."""
    spatial = path / "spatial"
    for place in (*there, *(listed(spatial) if spatial.is_dir() else ())):
        if _SCAN.fullmatch(place.name) and "cytassist" not in place.name.lower():
            return place
    return None


_SCAN = re.compile(
    r".*\.(tiff?|btf|svs|ndpi|qptiff)|tissue_fullres_image\.(png|jpe?g)", re.IGNORECASE
)


def _xenium(path: Path, there: list[Path]) -> Found | None:
    names = {p.name: p for p in there}
    cells = _roles(**{"cells": _any(names, "cells.parquet", "cells.csv.gz", "cells.csv")})
    matrix = _any(names, "cell_feature_matrix.h5", "cell_feature_matrix")
    experiment = names.get("experiment.xenium")
    if experiment is None and (matrix is None or not cells):
        return None
    rims = _any(names, *(f"cell_boundaries.{end}" for end in ("parquet", "csv.gz", "csv")))
    files = cells | _roles(experiment=experiment, outlines=rims)
    files |= _matrix_files(matrix) if matrix is not None else {}
    return Found("xenium", path, sample_name(path), files)


def _any(names: Mapping[str, Path], *wanted: str) -> Path | None:
    return next((names[name] for name in wanted if name in names), None)


def _visium(path: Path, there: list[Path]) -> Found | None:
    samples = _samples(there, lambda name: bool(_POSITIONS.fullmatch(name) or MATRIX.search(name)))
    whole = any(MATRIX.fullmatch(p.name) for p in there) or (path / "spatial").is_dir()
    places = (path / "spatial").is_dir() or any(_first([p], _POSITIONS.pattern) for p in there)
    if not places or not (whole or samples):
        return None
    if whole or len(samples) == 1:
        prefix = "" if whole else samples[0]
        name = sample_name(path) if whole else prefix.rstrip("_.-")
        return Found("visium", path, name, _space_ranger(path, there, prefix))
    return _several("visium", path, samples, lambda s: _space_ranger(path, there, s))


def _samples(there: list[Path], wanted: Callable[[str], bool]) -> list[str]:
    """The prefixes that GEO adds to the names of Space Ranger's files."""
    found = []
    for place in there:
        match = re.match(
            r"(.*?[_.-])?(?=(filtered|raw)_feature|tissue_positions|matrix\.mtx)", place.name
        )
        if match is not None and wanted(place.name[match.end() :]):
            found.append(match.group())
    return sorted(set(found))


def _several(
    kind: str, path: Path, samples: list[str], files_of: Callable[[str], dict[str, Path]]
) -> Found:
    names = tuple(sample.rstrip("_.-") or "sample" for sample in samples)
    files = {
        f"{name} {role}": file
        for name, sample in zip(names, samples, strict=True)
        for role, file in files_of(sample).items()
    }
    return Found(kind, path, sample_name(path), files, {"sample": names})


def _merscope(path: Path, there: list[Path]) -> Found | None:
    counts = _first(there, r"cell_by_gene(.*)\.csv(\.gz)?")
    if counts is None:
        return None
    cells = _first(there, r"cell_metadata(.*)\.csv(\.gz)?")
    images = sorted((path / "images").glob("mosaic_*.tif"))
    # The middle of the planes: a stain has an image in each.
    nuclei = [p for p in images if "DAPI" in p.name] or images
    scan = nuclei[len(nuclei) // 2] if nuclei else None
    place = path / "images" / "micron_to_mosaic_pixel_transform.csv"
    # Of two versions of the software; the later one writes a single file.
    rims = _first(there, r"cell_boundaries\.parquet") or _first(there, "cell_boundaries")
    files = _roles(matrix=counts, cells=cells, scan=scan, outlines=rims)
    files |= _roles(place=place if place.is_file() else None)
    return Found("merscope", path, sample_name(path), files)


def _cosmx(path: Path, there: list[Path]) -> Found | None:
    counts = _first(there, r"exprMat_file\.csv(\.gz)?")
    if counts is None:
        return None
    cells = _first(there, r"metadata_file\.csv(\.gz)?")
    views = _first(there, r"fov_positions_file\.csv(\.gz)?")
    rims = _first(there, r"polygons\.csv(\.gz)?")
    files = _roles(matrix=counts, cells=cells, views=views, outlines=rims)
    return Found("cosmx", path, sample_name(path), files)


def _slideseq(path: Path, there: list[Path]) -> Found | None:
    counts = _first(there, r"(MappedDGE.*|digital_expression.*)\.(csv|txt|tsv)(\.gz)?")
    beads = _first(there, r"Bead_?Locations.*\.(csv|txt|tsv)(\.gz)?")
    if counts is None and beads is None:
        return None
    return Found("slideseq", path, sample_name(path), _roles(matrix=counts, cells=beads))


def _mtx(path: Path, there: list[Path]) -> Found | None:
    samples = _samples(there, lambda name: bool(MTX["matrix"].fullmatch(name)))
    if not samples:
        return None
    if len(samples) > 1:
        return _several("mtx", path, samples, lambda s: _mtx_files(there, s))
    name = samples[0].rstrip("_.-") or sample_name(path)
    return Found("mtx", path, name, _mtx_files(there, samples[0]))


def _mtx_files(there: list[Path], prefix: str) -> dict[str, Path]:
    own = [p for p in there if p.name.startswith(prefix)]
    found = {
        role: p
        for p in own
        for role, pattern in MTX.items()
        if pattern.fullmatch(p.name[len(prefix) :])
    }
    return found | _roles(positions=next((p for p in own if _PLACES.fullmatch(p.name)), None))


def _stereo(path: Path, there: list[Path]) -> Found | None:
    names = re.compile(r".*\.(gem|gem\.gz|gef)")
    files = [p for p in there if p.is_file() and names.fullmatch(p.name)]
    # SAW writes several files for a chip; the one of the tissue alone is meant.
    tissue = [p for p in files if ".tissue." in p.name]
    if not files:
        return None
    file = _only(path, tissue or files)
    return of_file(kind_of_file(file) or "gem", file)


def _spot_tables(path: Path, there: list[Path]) -> Found | None:
    names = re.compile(r".*\.(tsv|txt|csv)(\.gz)?")
    files = [p for p in there if p.is_file() and names.fullmatch(p.name)]
    tables = [p for p in files if kind_of_file(p) == "st"]
    return st_table(_only(path, tables)) if tables else None


def st_table(path: Path) -> Found:
    """A table of Spatial Transcriptomics, and the table of pixels next to it."""
    name = bare_name(path)
    beside = listed(path.parent)
    table = next(
        (
            p
            for p in beside
            if re.fullmatch(rf"(alignment_table|spot_data).*{re.escape(name)}\..*", p.name)
        ),
        None,
    )
    return Found("st", path, name, _roles(matrix=path, positions=table))


def _only(path: Path, files: list[Path]) -> Path:
    if len(files) > 1:
        raise SeveralSamples(
            f"The folder {str(path)!r} holds several samples: give one of "
            f"{', '.join(repr(str(file)) for file in files[:8])}."
        )
    return files[0]


_LAYOUTS: tuple[Callable[[Path, list[Path]], Found | None], ...] = (
    _zarr,
    _visium_hd,
    _one_bin,
    _xenium,
    _visium,
    _merscope,
    _cosmx,
    _slideseq,
    _mtx,
    _stereo,
    _spot_tables,
)
