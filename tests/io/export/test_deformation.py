"""The deformation as tables and as OME-NGFF: read again, it leads to the aligned spots and back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import zarr
from fakes import fake_result
from scipy.interpolate import RegularGridInterpolator

from napari_staligner import _keys as K
from napari_staligner.core.progress import finish
from napari_staligner.core.result.access import spots_xy
from napari_staligner.io.export.targets import export_steps


def run(root: zarr.Group, steps: list, yx: np.ndarray) -> np.ndarray:
    """Apply a sequence of NGFF to places (y, x), by what the store alone says."""
    for step in steps:
        if step["type"] == "affine":
            matrix = np.array(step["affine"])
            yx = yx @ matrix[:, :2].T + matrix[:, 2]
            continue
        group = root[step["path"]]
        values = group["s0"][:]
        (dataset,) = group.attrs["ome"]["multiscales"][0]["datasets"]
        scale, shift = dataset["coordinateTransformations"][0]["transformations"]
        axes = [
            np.arange(n) * scale["scale"][k + 1] + shift["translation"][k + 1]
            for k, n in enumerate(values.shape[1:])
        ]
        yx = yx + RegularGridInterpolator(axes, np.moveaxis(values, 0, 2))(yx)
    return yx


def test_tables_and_fields_lead_to_the_aligned_spots_and_back(tmp_path):
    result = fake_result()[1]
    rows = np.flatnonzero((result.obs[K.SLICE] == "slice2").to_numpy())
    aligned = result.obsm[K.SPATIAL_ALIGNED]
    y = aligned[rows, 1]
    aligned[rows] += np.column_stack([6 * np.sin(y / 25), 8 * np.sin(y / 30)])
    finish(export_steps(result, "deformation", tmp_path / "out"))
    own, there = spots_xy(result)[rows], aligned[rows]

    table = pd.read_csv(tmp_path / "out" / "slice2_spots.csv")
    np.testing.assert_allclose(table[["x", "y"]], own, atol=1e-4)
    np.testing.assert_allclose(table[["x_aligned", "y_aligned"]], there, atol=0.05)
    np.testing.assert_allclose(table.dx, 6 * np.sin(y / 25), atol=0.05)
    assert np.ptp(table.log2_area) > 0.3

    root = zarr.open_group(tmp_path / "out" / "slice2.ome.zarr", mode="r")
    told = root.attrs["ome"]
    assert told["version"] == "0.6"
    (both,) = told["scene"]["coordinateTransformations"]
    assert (both["type"], both["input"]["name"]) == ("bijection", "slice")
    ahead = run(root, both["forward"]["transformations"], own[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(ahead, there, atol=0.25)
    back = run(root, both["inverse"]["transformations"], there[:, ::-1])[:, ::-1]
    middle = (np.abs(own - own.mean(axis=0)) < 22).all(axis=1)
    assert middle.sum() > 8
    np.testing.assert_allclose(back[middle], own[middle], atol=0.5)

    still = pd.read_csv(tmp_path / "out" / "slice1_grid.csv")
    assert not still[["dx", "dy", "dx_back", "dy_back"]].to_numpy().any()
