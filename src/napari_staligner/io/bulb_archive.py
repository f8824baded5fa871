"""The Stereo-seq olfactory bulb as it was published: an archive of tables, brought to ``.h5ad``."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.io.atomic import written_beside
from napari_staligner.io.writing import write_anndata

if TYPE_CHECKING:
    from anndata import AnnData

_PARTS = {
    "counts": ("RNA_counts.tsv.gz", "RNA_counts.tsv"),
    "places": ("position.tsv",),
    "used": ("used_barcodes.txt",),
}
"""Names of the files in the archive: counts of genes × spots, places of the spots by their number,
and the spots on the tissue (which may be missing)."""


def unpacked(archive: Path, target: Path) -> Path:
    """Bring the tables of an archive to a slice, and write it.

    Parameters
    ----------
    archive
        The ``.tar.gz``.
    target
        The ``.h5ad``: counts in ``X``, ``obsm["spatial"]``, spots called ``Spot_1`` and so on.

    Raises
    ------
    InputError
        A table is missing, or they do not belong together.
    """
    with tempfile.TemporaryDirectory(prefix="staligner-") as name:
        parts = _extracted(archive, Path(name))
        adata = _slice_of(archive, parts)
        with written_beside(target) as draft:
            write_anndata(adata, draft)
    return target


def _extracted(archive: Path, folder: Path) -> dict[str, Path]:
    try:
        with tarfile.open(archive) as tar:
            members = {Path(each.name).name: each for each in tar.getmembers() if each.isfile()}
            wanted = {
                role: members[name]
                for role, names in _PARTS.items()
                for name in names
                if name in members
            }
            for member in wanted.values():
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(
            f"{str(archive)!r} is cut off or no archive ({error}): delete it, and fetch it again."
        ) from error
    for role in ("counts", "places"):
        if role not in wanted:
            raise InputError(
                f"{str(archive)!r} holds no {_PARTS[role][0]}: delete it, and fetch it again."
            )
    return {role: folder / member.name for role, member in wanted.items()}


def _slice_of(archive: Path, parts: dict[str, Path]) -> AnnData:
    from anndata import AnnData
    from scipy import sparse

    from napari_staligner.io.formats.tables import need_columns, numbers, read_table, read_wide

    by_gene, genes, spots = read_wide(parts["counts"])
    places = read_table(parts["places"], ids=("label",))
    need_columns(places, ("label", "x", "y"), parts["places"], "the table of positions")
    rows = pd.Index(places["label"]).get_indexer(pd.Index(spots))
    if (rows < 0).any():
        raise InputError(
            f"{str(archive)!r}: spot {spots[int(np.argmax(rows < 0))]!r} has counts and no place: "
            "delete it, and fetch it again."
        )
    adata = AnnData(sparse.csr_matrix(by_gene.T))
    adata.obs_names = [f"Spot_{name}" for name in spots]
    adata.var_names = genes.iloc[:, 0].to_numpy()
    adata.obsm[K.SPATIAL] = numbers(places, ("x", "y"), parts["places"])[rows]
    if "used" in parts:
        used = parts["used"].read_text(encoding="utf-8").split()
        adata = adata[adata.obs_names.isin(used)].copy()
    return adata
