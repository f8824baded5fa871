"""The deformation of each slice: as tables, and as displacement fields of OME-NGFF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner.core.annotations.regions import microns_per_unit
from napari_staligner.core.prepare.libraries import libraries_of_result
from napari_staligner.core.progress import Progress
from napari_staligner.core.registration.deformation import deformation_of
from napari_staligner.core.registration.transforms import apply, inverse
from napari_staligner.core.result.access import spots_xy
from napari_staligner.io.export.parts import counted, file_names, own_names, rows_by_slice

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Steps
    from napari_staligner.core.registration.deformation import Deformation, DisplacementField

NGFF = "0.6"
"""The version of OME-NGFF that has displacements."""
AHEAD, BACK = "displacements", "displacements_back"


def deformation_steps(adata: AnnData, draft: Path) -> Steps[str]:
    """Write how each slice lies in the common frame, and how to come back.

    Of each slice ``<slice>_spots.csv`` has a row for each spot (where it is in the slice, where in
    the frame, its displacement by the bending, and log2 of the change of area),
    ``<slice>_grid.csv`` the displacements on a regular grid, and ``<slice>.ome.zarr`` the same as a
    transformation of OME-NGFF: affine, then displacements, and the inverse.

    Parameters
    ----------
    adata
        Integrated and registered slices.
    draft
        The folder.

    Raises
    ------
    InputError
        The slices are not registered.
    """
    slices = rows_by_slice(adata)
    files = file_names(slices)
    for done, (name, rows) in enumerate(slices.items()):
        yield Progress(f"deformation of {name}", done, len(slices))
        found, points = deformation_of(adata, name), spots_xy(adata)[rows]
        stem = draft / files[name]
        _spots(found, points, own_names(adata, name, rows)).to_csv(
            f"{stem}_spots.csv", index=False, float_format="%.7g"
        )
        ahead = found.field()
        yield Progress(f"inverse of {name}", done, len(slices))
        back = found.field(backward=True)
        _grid(ahead, back).to_csv(f"{stem}_grid.csv", index=False, float_format="%.7g")
        write_field(Path(f"{stem}.ome.zarr"), found, ahead, back, _unit(adata, name, rows))
    return f"Deformation of {counted(slices)}"


def _spots(found: Deformation, points: NDArray[np.float64], names: pd.Index) -> pd.DataFrame:
    there, factor = found.forward(points), found.area(points)
    laid = apply(found.matrix, points)
    known = np.where(factor > 0, np.log2(np.maximum(factor, 1e-12)), np.nan)
    return pd.DataFrame(
        {
            "barcode": names,
            "x": points[:, 0],
            "y": points[:, 1],
            "x_aligned": there[:, 0],
            "y_aligned": there[:, 1],
            "dx": (there - laid)[:, 0],
            "dy": (there - laid)[:, 1],
            "log2_area": known,
        }
    )


def _grid(ahead: DisplacementField, back: DisplacementField) -> pd.DataFrame:
    columns = [each.reshape(-1, 2) for each in (ahead.nodes, ahead.values, back.values)]
    names = ["x", "y", "dx", "dy", "dx_back", "dy_back"]
    return pd.DataFrame(np.concatenate(columns, axis=1), columns=names)


def _unit(adata: AnnData, name: str, rows: NDArray[np.intp]) -> str:
    """Unit of the axes; coordinates are in µm only where a unit is one."""
    told = microns_per_unit(adata[rows], libraries_of_result(adata, name))
    return "micrometer" if told is not None and abs(told[0] - 1) < 1e-9 else ""


def write_field(
    path: Path,
    found: Deformation,
    ahead: DisplacementField,
    back: DisplacementField,
    unit: str = "",
) -> None:
    """Write a deformation as a transformation of OME-NGFF 0.6 (zarr 3).

    Parameters
    ----------
    path
        Folder to write.
    found
        The deformation, from the system ``"slice"`` to ``"aligned"``.
    ahead, back
        Its displacements, and those that lead back from the frame.
    unit
        Unit of the axes, as OME-NGFF calls it; empty if it is not known.
    """
    import zarr

    root = zarr.open_group(path, mode="w", zarr_format=3)
    for key, field in ((AHEAD, ahead), (BACK, back)):
        _write_array(root, key, field, unit)
    both = {
        "type": "bijection",
        "input": {"name": "slice"},
        "output": {"name": "aligned"},
        "forward": _sequence(_affine(found.matrix), _displaced(AHEAD)),
        "inverse": _sequence(_displaced(BACK), _affine(inverse(found.matrix))),
    }
    systems = [{"name": name, "axes": _axes(unit)} for name in ("slice", "aligned")]
    scene: Any = {"coordinateSystems": systems, "coordinateTransformations": [both]}
    root.attrs.update({"ome": {"version": NGFF, "scene": scene}})


def _write_array(root: Any, key: str, field: DisplacementField, unit: str) -> None:
    """A field as an image of NGFF, its axes (c, y, x): c is the displacement along y, then x."""
    group = root.create_group(key)
    # NGFF orders the parts of a vector as the axes of space.
    values = np.ascontiguousarray(np.moveaxis(field.values[..., ::-1], 2, 0), dtype=np.float64)
    group.create_array("s0", data=values, dimension_names=("c", "y", "x"))
    x, y = map(float, field.origin)
    place = _sequence(
        {"type": "scale", "scale": [1.0, field.step, field.step]},
        {"type": "translation", "translation": [0.0, y, x]},
    ) | {"input": {"path": "s0"}, "output": {"name": "frame"}}
    axes = [{"name": "c", "type": "displacement", "discrete": True}, *_axes(unit)]
    group.attrs["ome"] = {
        "version": NGFF,
        "multiscales": [
            {
                "name": key,
                "coordinateSystems": [{"name": "frame", "axes": axes}],
                "datasets": [{"path": "s0", "coordinateTransformations": [place]}],
            }
        ],
    }


def _axes(unit: str) -> list[dict[str, str]]:
    told = {"unit": unit} if unit else {}
    return [{"name": name, "type": "space"} | told for name in ("y", "x")]


def _sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "sequence", "transformations": list(parts)}


def _displaced(path: str) -> dict[str, Any]:
    return {"type": "displacements", "path": path, "interpolation": "linear"}


def _affine(matrix: NDArray[np.float64]) -> dict[str, Any]:
    """A matrix of (x, y, 1) as NGFF writes it, of (y, x, 1)."""
    turned = matrix[np.ix_([1, 0], [1, 0, 2])]
    return {"type": "affine", "affine": turned.tolist()}
