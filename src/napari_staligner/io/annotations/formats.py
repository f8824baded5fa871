"""Annotations to and from a file; its name says the format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError
from napari_staligner.io.annotations.geojson import Coordinates, read_geojson, write_geojson
from napari_staligner.io.annotations.imported import Imported
from napari_staligner.io.annotations.loupe_csv import (
    columns_of_classes,
    read_barcodes,
    write_barcodes,
)

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.annotations.annotations import Annotations

TABLES = (".csv", ".tsv", ".txt")
"""Endings of tables by barcode."""


def export_annotations(
    adata: AnnData,
    annotations: Annotations,
    path: Path,
    *,
    slice_name: str | None = None,
    coordinates: Coordinates = "spots",
) -> str:
    """Write annotations as GeoJSON, CSV by barcode, or SpatialData.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Of these spots.
    path
        Target, ``.geojson``, ``.csv`` or ``.zarr``.
    slice_name
        The slice; ``None`` takes all. SpatialData always holds all.
    coordinates
        Of GeoJSON.

    Returns
    -------
    What was written, in a few words.

    Raises
    ------
    InputError
        The format is not known, nothing is annotated, or the file cannot be written.
    """
    if path.suffix in (".geojson", ".json"):
        names = None if slice_name is None else [slice_name]
        n = write_geojson(adata, annotations, path, slices=names, coordinates=coordinates)
        return f"{n:,} outline{'' if n == 1 else 's'}"
    if path.suffix == ".csv":
        n = write_barcodes(adata, annotations, path, slice_name=slice_name)
        return f"Classes of {n:,} spot{'' if n == 1 else 's'}"
    if path.suffix == ".zarr":
        from napari_staligner.io.export.spatialdata import write_spatialdata

        write_spatialdata(adata, annotations, path)
        return "All slices"
    raise InputError(f"{path.name!r}: annotations go to .geojson, .csv or .zarr; choose one.")


def columns_to_choose(adata: AnnData, path: Path) -> list[str]:
    """Columns of a table by barcode if one has to be chosen; none for other files.

    Raises
    ------
    InputError
        The file cannot be read, or has no column of barcodes.
    """
    return columns_of_classes(adata, path) if path.suffix.lower() in TABLES else []


def import_annotations(
    adata: AnnData,
    annotations: Annotations,
    path: Path,
    *,
    slice_name: str | None = None,
    coordinates: Coordinates | None = None,
    column: str | None = None,
) -> Imported:
    """Read annotations from GeoJSON or CSV by barcode, as one edit.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Of these spots; get the classes.
    path
        ``.geojson`` or ``.json``; ``.csv``, ``.tsv`` or ``.txt``.
    slice_name
        The slice that the file belongs to.
    coordinates
        Of GeoJSON.
    column
        Of a table: the one that holds the classes.

    Returns
    -------
    How many spots changed, and what was left out or guessed.

    Raises
    ------
    InputError
        The format is not known, or the file cannot be used.
    """
    suffix = path.suffix.lower()
    if suffix in (".geojson", ".json"):
        return read_geojson(
            adata, annotations, path, slice_name=slice_name, coordinates=coordinates
        )
    if suffix in TABLES:
        return read_barcodes(adata, annotations, path, slice_name=slice_name, column=column)
    raise InputError(f"{path.name!r}: annotations come from .geojson or .csv; choose one.")
