"""Stereo-seq: ``.gem`` tables of molecules and ``.gef`` files, in square bins or cells.

No reader of ``.gef`` installs on Python 3.11 and later, so its HDF5 is read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.io.formats.found import DEFAULT_SPOTS, PITCH_UM
from napari_staligner.io.formats.guard import check_size, opened, opened_h5, values
from napari_staligner.io.formats.matrices import Counts
from napari_staligner.io.formats.parts import Library, Places, make_slice
from napari_staligner.io.formats.tables import need_columns, numbers, separator

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

    from napari_staligner.io.formats.found import Found, Named

"""Distance between two DNA spots on a chip, which is the unit of the coordinates."""
CELL = "cell"
ROWS = 1_000_000
"""Rows of a table of molecules that are read at once."""
_GENE, _COUNT = ("geneName", "geneID", "gene"), ("MIDCount", "MIDCounts", "UMICount", "UMICounts")
_CELL = ("CellID", "cellID", "cell", "label")


def bin_of(found: Found, chosen: Mapping[str, str]) -> int | str:
    """Return the size of bins that was chosen, in spots of the chip, or ``"cell"``.

    Raises
    ------
    InputError
        It is not a size.
    """
    asked = found.chosen(chosen)["bin"].strip().lower().removeprefix("bin")
    if asked in (CELL, "cells"):
        return CELL
    if not asked.isdecimal() or not 1 <= int(asked) <= 10_000:
        raise InputError(
            f"{str(found.path)!r} cannot be read in bins of {asked!r}: choose a number of spots of "
            f"the chip from 1 to 10000, such as [bin={DEFAULT_SPOTS}], or [bin={CELL}]."
        )
    return int(asked)


@dataclass
class _Molecules:
    """Molecules of a piece of a file: their position, gene and number."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    gene: NDArray[np.int64]
    count: NDArray[np.int64]
    cell: NDArray[np.int64] | None = None


@dataclass
class _Binned:
    """Counts by bin or cell and gene, summed piece by piece."""

    size: int | str
    keys: list[NDArray[np.int64]] = field(default_factory=list)
    genes: list[NDArray[np.int64]] = field(default_factory=list)
    counts: list[NDArray[np.int64]] = field(default_factory=list)
    middles: list[pd.DataFrame] = field(default_factory=list)
    outside: int = 0

    def add(self, piece: _Molecules) -> None:
        """Add a piece."""
        if isinstance(self.size, int):
            key = (piece.y // self.size << 32) + (piece.x // self.size)
        else:
            assert piece.cell is not None
            inside = piece.cell != 0
            self.outside += int(piece.count[~inside].sum())
            piece = _Molecules(*(part[inside] for part in vars(piece).values()))
            assert piece.cell is not None
            key = piece.cell
            places = pd.DataFrame({"x": piece.x, "y": piece.y, "n": 1})
            self.middles.append(places.groupby(key).sum())
        table = pd.DataFrame({"key": key, "gene": piece.gene, "count": piece.count})
        summed = table.groupby(["key", "gene"], sort=False, as_index=False)["count"].sum()
        self.keys.append(summed["key"].to_numpy())
        self.genes.append(summed["gene"].to_numpy())
        self.counts.append(summed["count"].to_numpy())

    def matrix(self, n_genes: int) -> tuple[sparse.csr_matrix, NDArray[np.int64]]:
        """Return counts, CSR float32, and the key of each row."""
        keys, rows = np.unique(_joined(self.keys), return_inverse=True)
        entries = (_joined(self.counts).astype(np.float32), (rows, _joined(self.genes)))
        return sparse.csr_matrix(entries, shape=(len(keys), n_genes)), keys

    def places(self, keys: NDArray[np.int64], names: pd.Index, path: Path) -> Places:
        """Return the middle of each bin, or of the molecules of each cell."""
        if isinstance(self.size, int):
            x, y = keys & 0xFFFFFFFF, keys >> 32
            table = pd.DataFrame({"x": (x + 0.5) * self.size, "y": (y + 0.5) * self.size})
        else:
            total = pd.concat(self.middles).groupby(level=0).sum().loc[keys]
            table = total[["x", "y"]].div(total["n"], axis=0)
        table.index = names
        return Places(table, ("x", "y"), path)


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _slice(
    found: Found,
    binned: _Binned,
    genes: pd.Index,
    var: dict[str, Any],
    microns: float,
    default: str,
) -> Named:
    matrix, keys = binned.matrix(len(genes))
    if isinstance(binned.size, int):
        x, y = (keys & 0xFFFFFFFF) * binned.size, (keys >> 32) * binned.size
        names = pd.Index([f"{a}_{b}" for a, b in zip(x, y, strict=True)], dtype=object)
        what = f"{found.title}, bins of {binned.size} × {binned.size} spots of the chip"
        what += f" ({binned.size * microns:g} µm){default}"
    else:
        names = pd.Index(keys.astype(str), dtype=object)
        what = f"{found.title}, cells"
    counts = Counts(matrix, names, genes, found.path, var)
    if binned.outside:
        counts.notes.append(f"{binned.outside:,} molecules outside cells are left out")
    places = binned.places(keys, names, found.path)
    library = Library(scalefactors={"microns_per_pixel": microns})
    return [make_slice(found.name, what, counts, places, library)]


def _said(chosen: Mapping[str, str]) -> str:
    return "" if "bin" in chosen else " by default ([bin=…] chooses)"


def read_gem(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read a table of molecules in square bins or in cells."""
    size = bin_of(found, chosen)
    binned = _Binned(size)
    known: dict[str, int] = {}
    ids: dict[str, str] = {}
    for frame in _frames(found.path):
        _check_gem(frame, found.path, size)
        gene = next(c for c in _GENE if c in frame)
        codes, names = pd.factorize(frame[gene].astype(str))
        if gene != "geneID" and "geneID" in frame:
            ids.update(zip(frame[gene].astype(str), frame["geneID"].astype(str), strict=True))
        numbered = np.array([known.setdefault(str(name), len(known)) for name in names], np.int64)
        binned.add(_molecules(frame, numbered[codes], size, found.path))
    if not known:
        raise InputError(f"{str(found.path)!r} holds no molecules: copy or export it again.")
    var: dict[str, Any] = {}
    if ids:
        var["gene_ids"] = np.array([ids[gene] for gene in known], dtype=object)
    return _slice(found, binned, pd.Index(known), var, PITCH_UM, _said(chosen))


def _frames(path: Path) -> Iterator[pd.DataFrame]:
    sep = separator(path)
    with opened(path) as stream:
        try:
            yield from pd.read_csv(stream, sep=sep, comment="#", chunksize=ROWS, low_memory=False)
        except InputError:
            raise
        except (ValueError, UnicodeDecodeError) as error:
            line = (str(error).strip().splitlines() or ["?"])[0].rstrip(".")
            raise InputError(
                f"{str(path)!r} cannot be read as a table of molecules ({line}): copy or export it "
                "again."
            ) from error


def _check_gem(frame: pd.DataFrame, path: Path, size: int | str) -> None:
    what = "a .gem as SAW writes it"
    need_columns(frame, ("x", "y"), path, what)
    for names in (_GENE, _COUNT, *((_CELL,) if size == CELL else ())):
        if not set(names) & set(frame):
            need_columns(frame, names[:1], path, what)


def _molecules(
    frame: pd.DataFrame, gene: NDArray[np.int64], size: int | str, path: Path
) -> _Molecules:
    count = next(c for c in _COUNT if c in frame)
    columns = ["x", "y", count]
    if size == CELL:
        columns.append(next(c for c in _CELL if c in frame))
    found = numbers(frame, columns, path)
    if (found != np.floor(found)).any() or (found < 0).any() or (found >= 1 << 31).any():
        raise InputError(
            f"{str(path)!r} has places or counts that are no whole numbers from 0 on: give the "
            ".gem as SAW wrote it."
        )
    x, y, n, *cell = found.T.astype(np.int64)
    return _Molecules(x, y, gene, n, cell[0] if cell else None)


def read_gef(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read a ``.gef`` in square bins, summed from finer ones if needed, or its cells."""
    with opened_h5(found.path) as file:
        if "geneExp" not in file and "cellBin" not in file:
            raise InputError(
                f"{str(found.path)!r} has neither /geneExp nor /cellBin: give a .gef of SAW."
            )
        cells = "geneExp" not in file
        size = bin_of(found, chosen)
        if size == CELL:
            return _cell_bins(found, file)
        if cells:
            raise InputError(
                f"{str(found.path)!r} holds cells only: choose [bin={CELL}], or give the "
                ".tissue.gef."
            )
        return _square_bins(found, file, int(size), _said(chosen))


def _square_bins(found: Found, file: h5py.File, size: int, default: str) -> Named:
    path = found.path
    finest = _finest(file["geneExp"], size, path)
    group = file[f"geneExp/bin{finest}"]
    for name in ("expression", "gene"):
        if name not in group:
            raise InputError(f"{str(path)!r} has no {group.name}/{name}: copy or export it again.")
    expression, genes = group["expression"], values(group["gene"], path)
    _need_fields(expression, ("x", "y", "count"), path)
    _need_fields(group["gene"], ("offset", "count"), path)
    check_size(expression, path)
    ends = np.cumsum(genes["count"].astype(np.int64))
    if not len(ends) or ends[-1] != len(expression):
        raise InputError(
            f"{str(path)!r}: genes and expression in {group.name} do not fit together: it is "
            "damaged; copy or export it again."
        )
    binned = _Binned(size)
    for start in range(0, len(expression), ROWS):
        piece = expression[start : start + ROWS]
        at = np.searchsorted(ends, np.arange(start, start + len(piece)), side="right")
        x, y, count = (piece[name].astype(np.int64) for name in ("x", "y", "count"))
        binned.add(_Molecules(x, y, at, count))
    names, var = _gene_names(genes)
    microns = float(np.ravel(expression.attrs.get("resolution", PITCH_UM * 1000))[0]) / 1000
    return _slice(found, binned, names, var, microns or PITCH_UM, default)


def _finest(group: h5py.Group, size: int, path: Path) -> int:
    """The finest bins in the file that can be summed to bins of the given size."""
    there = sorted(int(n[3:]) for n in group if n.startswith("bin") and n[3:].isdecimal())
    fitting = [each for each in there if each and size % each == 0]
    if not fitting:
        raise InputError(
            f"{str(path)!r} cannot be read in bins of {size}: it holds bins of "
            f"{', '.join(map(str, there)) or 'no size'}; choose a multiple."
        )
    return fitting[0]


def _gene_names(genes: NDArray[Any]) -> tuple[pd.Index, dict[str, Any]]:
    fields = genes.dtype.names or ()
    name = next((f for f in ("geneName", "gene", "geneID") if f in fields), fields[0])
    more = "geneID" in fields and name != "geneID"
    var = {"gene_ids": _decoded(genes["geneID"])} if more else {}
    return pd.Index(_decoded(genes[name])), var


def _decoded(column: NDArray[Any]) -> NDArray[Any]:
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in column], dtype=object)


def _cell_bins(found: Found, file: h5py.File) -> Named:
    path = found.path
    if "cellBin" not in file:
        raise InputError(
            f"{str(path)!r} holds no cells: choose square bins, such as [bin={DEFAULT_SPOTS}], or "
            "give the .cellbin.gef."
        )
    group = file["cellBin"]
    for name, fields in (
        ("cell", ("x", "y", "offset", "geneCount")),
        ("cellExp", ("geneID", "count")),
        ("gene", ()),
    ):
        if name not in group:
            raise InputError(f"{str(path)!r} has no /cellBin/{name}: copy or export it again.")
        _need_fields(group[name], fields, path)
    cells, exp, genes = (values(group[name], path) for name in ("cell", "cellExp", "gene"))
    n = cells["geneCount"].astype(np.int64)
    at = exp["geneID"].astype(np.int64)
    if n.sum() != len(exp) or (len(at) and at.max() >= len(genes)):
        raise InputError(
            f"{str(path)!r}: cells and expression do not fit together: it is damaged; copy or "
            "export it again."
        )
    entries = (exp["count"].astype(np.float32), at, np.concatenate([[0], np.cumsum(n)]))
    matrix = sparse.csr_matrix(entries, shape=(len(cells), len(genes)))
    ids = cells["id"] if "id" in (cells.dtype.names or ()) else np.arange(len(cells))
    names = pd.Index(np.asarray(ids).astype(str), dtype=object)
    genes_named, var = _gene_names(genes)
    table = pd.DataFrame({"x": cells["x"], "y": cells["y"]}, index=names)
    counts = Counts(matrix, names, genes_named, path, var)
    microns = float(np.ravel(file.attrs.get("resolution", PITCH_UM * 1000))[0]) / 1000
    library = Library(scalefactors={"microns_per_pixel": microns or PITCH_UM})
    places = Places(table, ("x", "y"), path)
    return [make_slice(found.name, f"{found.title}, cells", counts, places, library)]


def _need_fields(dataset: Any, fields: tuple[str, ...], path: Path) -> None:
    there = dataset.dtype.names or ()
    missing = [name for name in fields if name not in there]
    if missing or not there:
        raise InputError(
            f"{str(path)!r}: {dataset.name} has no field {(missing or ['x'])[0]!r} (it has "
            f"{', '.join(map(repr, there)) or 'none'}): give a .gef of SAW."
        )
