"""Sound samples of every format that is read, made once and damaged as copies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import made_formats as F
from fuzz.job_samples import make_job_sample
from tiny import QUICK, tiny_pair, tiny_slice

RESULT = "result"
"""The sample that is a result of ours."""


def _h5ad(folder: Path, *, version: str = "h5ad") -> None:
    adata = tiny_slice(side=5, n_genes=30)
    adata.obs["sample"] = ["a", "b"] * 12 + ["a"]
    adata.raw = adata
    adata.layers["counts"] = adata.X.copy()
    if version == "zarr":
        adata.write_zarr(folder / "a.zarr")
    else:
        adata.write_h5ad(folder / "a.h5ad")


def _result(folder: Path) -> None:
    """A session file with a result, a view, verdicts and annotations."""
    import warnings
    from dataclasses import replace

    from napari_staligner import integrate
    from napari_staligner.session.session import Session

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        slices = [(name, adata[:, :30].copy()) for name, adata in tiny_pair()]
        result = integrate(slices, settings=replace(QUICK, pretrain_epochs=1, epochs=2))
        session = Session()
        session.add(slices)
        session.set_result(result)
        session.save(folder / "r.h5ad")


def _unsaved(folder: Path) -> None:
    """Edits of a result that were not saved, as a crash leaves them."""
    from napari_staligner.io.anndata import read_file
    from napari_staligner.io.recovery import SUFFIX, Recovery
    from napari_staligner.session.session import Session

    _result(folder)
    session = Session()
    result = read_file(folder / "r.h5ad")
    recovery = Recovery()
    recovery.keep(result, session.record(), folder / "r.h5ad")
    assert recovery.path is not None
    import h5py

    with h5py.File(recovery.path, "r+") as file:
        file.attrs["pid"] = 2**30  # of no process
    assert recovery.path.name.endswith(SUFFIX)


def _session(folder: Path) -> None:
    """A session of slices without a result: two in files of their own, one kept in its file."""
    from napari_staligner import read_slices
    from napari_staligner.session.session import Session

    for name, adata in tiny_pair():
        adata[:, :30].write_h5ad(folder / f"{name}.h5ad")
    session = Session()
    session.add(read_slices([folder / "A.h5ad", folder / "B.h5ad"]))
    session.add([("loose", tiny_slice(side=4, n_genes=30))])
    session.save(folder / "s.h5ad")


def _image(folder: Path) -> None:
    """A slice with a scan beside it, to be opened as its image at full size."""
    import numpy as np
    import tifffile

    pixels = np.random.default_rng(0).integers(0, 255, (96, 80, 3), dtype=np.uint8)
    tifffile.imwrite(folder / "scan.tif", pixels, tile=(32, 32), photometric="rgb")
    tiny_slice(side=5, n_genes=30).write_h5ad(folder / "a.h5ad")


def _regions(folder: Path) -> None:
    """A slice with regions to leave out."""
    (folder / "exclude.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": '
        '"Polygon", "coordinates": [[[0, 0], [20, 0], [20, 20], [0, 20], [0, 0]]]}, "properties": '
        '{"classification": {"name": "exclude", "color": [1, 2, 3]}, "slice": "a"}}]}'
    )
    tiny_slice(side=5, n_genes=30).write_h5ad(folder / "a.h5ad")


SAMPLES: dict[str, Callable[[Path], object]] = {
    "visium": F.make_visium,
    "visium 2": partial(F.make_visium, version=2),
    "visium mtx": partial(F.make_visium, mtx=True),
    "visium hd": F.make_visium_hd,
    "xenium": F.make_xenium,
    "xenium csv": partial(F.make_xenium, parquet=False),
    "merscope": F.make_merscope,
    "cosmx": F.make_cosmx,
    "slideseq": F.make_slideseq,
    "st": F.make_st,
    "geo": F.make_geo,
    "gem": lambda folder: F.make_gem(folder / "SS2.gem.gz"),
    "gef": lambda folder: F.make_gef(folder / "SS2.gef"),
    "cell gef": lambda folder: F.make_cell_gef(folder / "SS2.cellbin.gef"),
    "spatialdata": lambda folder: F.make_store(folder / "s.zarr"),
    "h5ad": _h5ad,
    "zarr": partial(_h5ad, version="zarr"),
    RESULT: _result,
    "unsaved": _unsaved,
    "session": _session,
    "image": _image,
    "regions": _regions,
    "job done": partial(make_job_sample, stopped=False),
    "job stopped": partial(make_job_sample, stopped=True),
}
JOBS = ("job done", "job stopped")
SINGLE = {"gem": "SS2.gem.gz", "gef": "SS2.gef", "cell gef": "SS2.cellbin.gef"}
SINGLE |= {"spatialdata": "s.zarr", "h5ad": "a.h5ad", "zarr": "a.zarr", RESULT: "r.h5ad"}
SINGLE |= {"unsaved": "r.h5ad", "session": "s.h5ad", "image": "a.h5ad", "regions": "a.h5ad"}
"""Samples that are one path in their folder; the others are the folder."""


def make_samples(folder: Path) -> None:
    """Make all samples that are not there."""
    for name, make in SAMPLES.items():
        if not (folder / name).is_dir():
            (folder / name).mkdir(parents=True)
            make(folder / name)


def files_of(folder: Path) -> list[Path]:
    """Return the files of a sample that may be damaged, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png")
