"""Opening a large sample: 100,000 bins of Visium HD over an image of 20,000 × 20,000 pixels.

The sample is made in Space Ranger's layout: counts as ``.h5``, positions as parquet, a small image
of 6,000 pixels and the scan as a tiled BigTIFF in JPEG. Each way to open it runs in a process of
its own, by turns, up to layers in a viewer that shows all of the tissue:

* "ours": the function behind *Add…*, and the layers that the session makes;
* "ours, again": the same once the sample is in the cache;
* "plain": scanpy's reader, pandas and tifffile, all of it in memory, as squidpy's layout wants it.

    python benchmarks/opening.py
    python benchmarks/opening.py --bins 10000 --side 5000
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import h5py
import numpy as np
import pandas as pd
import typer

N_GENES, PER_BIN = 18_000, 200
TILE, HIRES = 512, 6000
WANTED_S, WANTED_GB = 10.0, 1.5


def main(
    bins: Annotated[int, typer.Option(help="Bins of 8 µm.")] = 100_000,
    side: Annotated[int, typer.Option(help="Pixels of the scan on a side.")] = 20_000,
    rounds: Annotated[int, typer.Option(help="Of which the median is taken.")] = 1,
    way: Annotated[str, typer.Option(hidden=True)] = "",
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    if way and folder is not None:
        print(json.dumps(WAYS[way](folder)))
        return
    with tempfile.TemporaryDirectory() as place:
        outs = make_sample(Path(place) / "large" / "outs", bins, side)
        taken: dict[str, list[dict[str, float]]] = {}
        for number in range(rounds):
            for name in ("ours", "ours, again", "plain"):
                cache = Path(place) / f"cache{number}"
                taken.setdefault(name, []).append(opened(name, outs, cache))
        mb = sum(file.stat().st_size for file in outs.rglob("*.h5")) / 1e6
    print(f"{bins:,} bins, {bins * PER_BIN:,} counts ({mb:,.0f} MB), scan of {side:,} × {side:,}")
    print(f"{'':12}{'opened':>10}{'of cores':>10}{'with imports':>14}{'memory at most':>16}")
    for name, rows in taken.items():
        keys = ("s", "cpu", "whole", "gb")
        s, cpu, whole, gb = (median(row[key] for row in rows) for key in keys)
        print(f"{name:12}{s:>8.1f} s{cpu:>8.1f} s{whole:>12.1f} s{gb:>13.2f} GB")
    ours = taken["ours"]
    good = max(row["s"] for row in ours) < WANTED_S and max(row["gb"] for row in ours) < WANTED_GB
    print(f"wanted: less than {WANTED_S:g} s and {WANTED_GB:g} GB: {'yes' if good else 'no'}")


def opened(way: str, outs: Path, cache: Path) -> dict[str, float]:
    """Open a sample in a process of its own."""
    words = [sys.executable, "-W", "ignore", __file__, "--way", way, "--folder", str(outs)]
    env = os.environ | {"XDG_CACHE_HOME": str(cache)}
    start = time.perf_counter()
    told = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    whole = time.perf_counter() - start
    return json.loads(told.stdout.splitlines()[-1]) | {"whole": whole}


def ours(outs: Path) -> dict[str, float]:
    """As the Slices dock opens it."""
    from napari.components import ViewerModel

    from napari_staligner.core.progress import finish
    from napari_staligner.layers import open_session
    from napari_staligner.widgets.slices.opening import file_steps

    qt_application()
    viewer = ViewerModel()
    session = open_session(viewer)
    start, started = time.perf_counter(), time.process_time()
    content = finish(file_steps([str(outs)]))
    session.add(content.slices)
    return told(start, started, viewer)


def plain(outs: Path) -> dict[str, float]:
    """All in memory, as one does without a reader: scanpy, pandas, tifffile."""
    import scanpy as sc
    import tifffile
    from imageio.v3 import imread
    from napari.components import ViewerModel

    qt_application()
    viewer = ViewerModel()
    start, started = time.perf_counter(), time.process_time()
    place = outs / "binned_outputs" / "square_008um"
    adata = sc.read_10x_h5(place / "filtered_feature_bc_matrix.h5")
    adata.var_names_make_unique()
    table = pd.read_parquet(place / "spatial" / "tissue_positions.parquet").set_index("barcode")
    adata.obs = adata.obs.join(table)
    columns = ["pxl_col_in_fullres", "pxl_row_in_fullres"]
    adata.obsm["spatial"] = adata.obs[columns].to_numpy(float)
    hires = imread(place / "spatial" / "tissue_hires_image.png")
    adata.uns["spatial"] = {"large": {"images": {"hires": hires}}}
    viewer.add_image(tifffile.imread(outs / "scan.btf"), rgb=True)
    viewer.add_points(adata.obsm["spatial"][:, ::-1], size=10)
    return told(start, started, viewer)


WAYS = {"ours": ours, "ours, again": ours, "plain": plain}


def qt_application() -> Any:
    """Return an application; layers need its event loop, not a window."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from qtpy.QtWidgets import QApplication

    return QApplication.instance() or QApplication([])


def told(start: float, started: float, viewer: Any) -> dict[str, float]:
    """Seconds since the start, by the clock and of cores, and the memory that was used at most."""
    viewer.reset_view()
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"s": seconds, "cpu": time.process_time() - started, "gb": used.ru_maxrss / 1e6}


# -- the sample ----------------------------------------------------------------------------------


def make_sample(outs: Path, bins: int, side: int) -> Path:
    """Write a sample of Visium HD at 8 µm."""
    place = outs / "binned_outputs" / "square_008um"
    spatial = place / "spatial"
    spatial.mkdir(parents=True)
    width = int(np.ceil(np.sqrt(bins)))
    rows, columns = np.divmod(np.arange(bins), width)
    names = [f"s_008um_{r:05d}_{c:05d}-1" for r, c in zip(rows, columns, strict=True)]
    step = 0.9 * side / width
    pd.DataFrame(
        {
            "barcode": names,
            "in_tissue": 1,
            "array_row": rows,
            "array_col": columns,
            "pxl_row_in_fullres": 0.05 * side + rows * step,
            "pxl_col_in_fullres": 0.05 * side + columns * step,
        }
    ).to_parquet(spatial / "tissue_positions.parquet")
    write_counts(place / "filtered_feature_bc_matrix.h5", names)
    hires = min(HIRES, side)
    factors = {
        "tissue_hires_scalef": hires / side,
        "tissue_lowres_scalef": 600 / side,
        "spot_diameter_fullres": step,
        "bin_size_um": 8.0,
        "microns_per_pixel": 8 / step,
    }
    (spatial / "scalefactors_json.json").write_text(json.dumps(factors))
    write_images(outs, spatial, side, hires)
    return outs


def write_counts(path: Path, names: list[str]) -> None:
    """Write counts of genes of which few are frequent, as in tissue."""
    rng = np.random.default_rng(0)
    n = len(names)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        options: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        genes = (N_GENES * rng.random((n, PER_BIN), dtype=np.float32) ** 2).astype(np.int64)
        genes.sort(axis=1)
        data = rng.integers(1, 4, n * PER_BIN, dtype=np.int32)
        group.create_dataset("data", data=data, **options)
        group.create_dataset("indices", data=genes.ravel(), **options)
        group["indptr"] = np.arange(n + 1, dtype=np.int64) * PER_BIN
        group["shape"] = np.array([N_GENES, n], np.int32)
        group["barcodes"] = np.array(names, "S")
        features = group.create_group("features")
        features["id"] = np.array([f"ENSG{k:011d}" for k in range(N_GENES)], "S")
        features["name"] = np.array([f"GENE{k}" for k in range(N_GENES)], "S")
        features["feature_type"] = np.array(["Gene Expression"] * N_GENES, "S")
        features["genome"] = np.array(["GRCh38"] * N_GENES, "S")


def write_images(outs: Path, spatial: Path, side: int, hires: int) -> None:
    """Write the scan, one tile again and again, and the small images."""
    import tifffile
    from imagecodecs import jpeg_encode
    from imageio.v3 import imwrite

    y, x = np.mgrid[:TILE, :TILE] / TILE
    waves = [128 + 100 * np.sin(2 * np.pi * (k * x + (3 - k) * y)) for k in range(3)]
    tile = np.stack(waves, axis=2).astype(np.uint8)
    stored, n = (
        jpeg_encode(tile, level=85, colorspace="RGB", outcolorspace="YCBCR"),
        -(-side // TILE),
    )
    tifffile.imwrite(
        outs / "scan.btf",
        (stored for _ in range(n * n)),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        bigtiff=True,
    )
    again = -(-hires // TILE)
    small = np.tile(tile, (again, again, 1))[:hires, :hires]
    imwrite(spatial / "tissue_hires_image.png", small)
    imwrite(spatial / "tissue_lowres_image.png", small[:600, :600])


if __name__ == "__main__":
    typer.run(main)
