"""Reading ``.h5ad`` files and ``.zarr`` folders: whole, or with the matrices left on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.on_disk import left_on_disk
from napari_staligner.core.result.provenance import mark_source
from napari_staligner.io.formats.guard import check_own
from napari_staligner.io.sources import file_source

if TYPE_CHECKING:
    from anndata import AnnData


def is_result(adata: AnnData) -> bool:
    """Whether these are integrated slices as :func:`napari_staligner.integrate` gives them."""
    return K.STALIGNER in adata.uns and K.EMBEDDING in adata.obsm and K.SLICE in adata.obs


def read_file(path: Path) -> AnnData:
    """Read an ``.h5ad`` file or a ``.zarr`` folder as it is; slices get where they came from.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    import anndata as ad

    return _read(path, ad.read_zarr if path.is_dir() else ad.read_h5ad)


def read_backed(path: Path) -> AnnData:
    """Read what an integration needs of a file, and leave ``X`` and ``layers`` on disk.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    return _read(path, left_on_disk_of)


def _read(path: Path, read: Callable[[Path], AnnData]) -> AnnData:
    if not path.exists():
        raise InputError(f"There is no file {str(path)!r}: check the path.")
    try:
        check_own(path)
        adata = read(path)
    except InputError:
        raise
    except Exception as error:  # anndata raises whatever h5py, zlib or its own readers meet
        raise InputError(
            f"{str(path)!r} cannot be read as .h5ad ({_first_line(error)}): "
            "it may be cut off or of another format; copy or export it again."
        ) from error
    if not is_result(adata):
        mark_source(adata, file_source(path))
    return adata


def left_on_disk_of(path: Path) -> AnnData:
    """Return an AnnData as :func:`read_backed` does, without a check and without its source."""
    import anndata as ad

    with _opened(path) as file:
        if file.attrs.get("encoding-type") != "anndata":
            # As anndata wrote before 0.7: its own reader knows how.
            return ad.read_h5ad(path)
        parts = {key: ad.io.read_elem(file[key]) for key in ("obs", "var", "uns") if key in file}
        layers = file.get("layers", {})
        present = file.get("varm", {})
        places = file.get("obsm", {})
        return ad.AnnData(
            left_on_disk(file["X"]) if "X" in file else None,
            **parts,
            obsm={k: ad.io.read_elem(places[k]) for k in (K.SPATIAL, K.EMBEDDING) if k in places},
            varm={k: ad.io.read_elem(present[k]) for k in (K.IN_SLICE,) if k in present},
            layers={key: left_on_disk(layers[key]) for key in layers},
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.is_dir():
        import zarr

        yield zarr.open_group(path.resolve(), mode="r")
        return
    with h5py.File(path.resolve(), "r") as file:
        yield file


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
