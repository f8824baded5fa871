"""Counts in the format of 10x Genomics: one ``.h5``, or three files with a ``matrix.mtx``.

scanpy's readers accept neither files written by R (indices that are floats) nor files that are
not compressed, so both are read here, by h5py and by scipy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.io.formats.guard import opened, opened_h5, values
from napari_staligner.io.formats.tables import read_table

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

GENES = "Gene Expression"
"""The type of a feature that is a gene; the others are controls, antibodies and guides."""


@dataclass
class Counts:
    """Counts without positions.

    Parameters
    ----------
    matrix
        Spots × genes, CSR, float32.
    spots
        Name of each row.
    genes
        Name of each column.
    path
        The file, for messages.
    var
        What else is known about the genes.
    notes
        What was left out, a sentence each.
    """

    matrix: sparse.csr_matrix
    spots: pd.Index
    genes: pd.Index
    path: Path
    var: dict[str, NDArray[Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_h5(path: Path) -> Counts:
    """Read ``filtered_feature_bc_matrix.h5`` or its like.

    Raises
    ------
    InputError
        It cannot be read, or its parts do not fit together.
    """
    with opened_h5(path) as file:
        if "matrix" not in file:
            raise InputError(
                f"{str(path)!r} has no group 'matrix': give the feature-barcode matrix of Space "
                "Ranger 1 or later, Cell Ranger 3 or later, or Xenium."
            )
        group = file["matrix"]
        _need(group, ("data", "indices", "indptr", "shape", "barcodes", "features"), path)
        shape = tuple(int(n) for n in values(group["shape"], path))
        data = values(group["data"], path).astype(np.float32, copy=False)
        indices, indptr = (
            values(group[key], path).astype(np.int64, copy=False) for key in ("indices", "indptr")
        )
        spots = _texts(group["barcodes"], path)
        features = group["features"]
        _need(features, ("id",), path)
        columns = {
            key: _texts(features[key], path)
            for key in ("id", "name", "feature_type", "genome")
            if key in features
        }
    n_genes, n_spots = shape[0], shape[1] if len(shape) == 2 else -1
    sizes = (len(spots), len(columns["id"]), len(indptr), len(indices))
    fits = sizes == (n_spots, n_genes, n_spots + 1, len(data))
    fits = fits and not (indptr[0] or indptr[-1] != len(data) or (np.diff(indptr) < 0).any())
    if not fits or (len(indices) and not 0 <= indices.min() <= indices.max() < n_genes):
        raise InputError(
            f"{str(path)!r}: barcodes, features and counts do not fit together: it is damaged or "
            "was edited; copy or export it again."
        )
    if len(data) < np.iinfo(np.int32).max:
        # Now that they are known to fit; the larger ones are not needed any more.
        indices, indptr = indices.astype(np.int32), indptr.astype(np.int32)
    matrix = sparse.csr_matrix((data, indices, indptr), shape=(n_spots, n_genes))
    return _genes_only(matrix, spots, columns, path)


def read_mtx(matrix: Path, barcodes: Path | None, features: Path | None) -> Counts:
    """Read ``matrix.mtx``, ``barcodes.tsv`` and ``features.tsv`` or ``genes.tsv``, gzip or not.

    Raises
    ------
    InputError
        One is missing or cannot be read, or they do not fit together.
    """
    for name, path in (("barcodes.tsv", barcodes), ("features.tsv", features)):
        if path is None:
            raise InputError(
                f"{str(matrix)!r} has no {name} (or {name}.gz) next to it: put it there."
            )
    assert barcodes is not None
    assert features is not None
    spots = read_table(barcodes, ids=("barcode",), names=("barcode",))["barcode"].to_numpy()
    table = _features(features)
    counts = _read_market(matrix)
    if counts.shape != (len(table), len(spots)):
        raise InputError(
            f"{str(matrix)!r} is {counts.shape[0]:,} × {counts.shape[1]:,}, but there are "
            f"{len(table):,} features and {len(spots):,} barcodes next to it: put the three files "
            "of one sample together."
        )
    columns = {key: table[key].to_numpy() for key in table}
    return _genes_only(counts.T.tocsr(), spots, columns, matrix)


def _features(path: Path) -> pd.DataFrame:
    with opened(path) as stream:
        width = stream.readline().count(b"\t") + 1
    names = ["id", "name", "feature_type", *(f"column{k}" for k in range(3, width))][:width]
    table = read_table(path, ids=names, names=names)
    return table[names[:3]]


def _read_market(path: Path) -> sparse.coo_matrix:
    from scipy.io import mmread

    with opened(path) as stream:
        head = stream.read(1 << 16).decode("latin-1")
    lines = [line for line in head.splitlines() if not line.startswith("%")]
    try:
        entries = [int(number) for number in lines[0].split()]
    except (ValueError, IndexError):
        entries = []
    if not head.startswith("%%MatrixMarket") or len(entries) != 3 or "coordinate" not in head[:80]:
        raise InputError(
            f"{str(path)!r} is no sparse matrix in the format of Matrix Market: give the "
            "matrix.mtx as it was written."
        )
    # An entry has at least six characters, and gzip shrinks them to a thousandth at most.
    if entries[2] * 6 > 1000 * path.stat().st_size + 4096:
        raise InputError(
            f"{str(path)!r} claims {entries[2]:,} entries, more than it can hold: it is cut off or "
            "damaged; copy or download it again."
        )
    with opened(path) as stream:
        try:
            return mmread(stream)
        except InputError:
            raise
        except (ValueError, OSError, OverflowError, IndexError) as error:
            line = (str(error).strip().splitlines() or ["?"])[0].rstrip(".")
            raise InputError(
                f"{str(path)!r} cannot be read as Matrix Market ({line}): it may be cut off; copy "
                "or download it again."
            ) from error


def _genes_only(
    matrix: sparse.csr_matrix, spots: Any, columns: dict[str, Any], path: Path
) -> Counts:
    ids = columns["id"]
    names, kinds = columns.get("name", ids), columns.get("feature_type")
    notes: list[str] = []
    keep = np.ones(len(ids), dtype=bool)
    if kinds is not None and (kinds == GENES).any():
        keep = kinds == GENES
        if not keep.all():
            others = ", ".join(sorted({str(kind) for kind in kinds[~keep]}))
            notes.append(
                f"{int((~keep).sum()):,} features that are no genes are left out ({others})"
            )
            matrix = matrix[:, np.flatnonzero(keep)]
    var = {"gene_ids": ids[keep]}
    if "genome" in columns:
        var["genome"] = columns["genome"][keep]
    matrix = matrix.astype(np.float32)
    matrix.sort_indices()
    return Counts(matrix, pd.Index(spots), pd.Index(names[keep]), path, var, notes)


def _texts(dataset: h5py.Dataset, path: Path) -> NDArray[Any]:
    found = values(dataset, path)
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in found], dtype=object)


def _need(group: h5py.Group, names: tuple[str, ...], path: Path) -> None:
    for name in names:
        if name not in group:
            raise InputError(
                f"{str(path)!r} has no {group.name}/{name}: it is cut off or was edited; copy or "
                "export it again."
            )
