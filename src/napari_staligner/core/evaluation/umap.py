"""UMAP of the spots, from the embedding and, for comparison, from genes before integration.

The compiled parts of UMAP hold Python's lock for seconds at a time. So scanpy runs in its own
process, ``python -m`` this module: see :mod:`napari_staligner.core.aside`.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import ComputeError
from napari_staligner.core.aside import run_aside
from napari_staligner.core.progress import Progress
from napari_staligner.threads import share_cores

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from napari_staligner.core.progress import Steps

N_NEIGHBORS, N_COMPONENTS = 15, 30
FEWEST_SPOTS = 5
SPOTS = "spots.npz"
_EMBEDDED = "obsm "
_STAGES = {K.UMAP: "after integration", K.UMAP_BEFORE: "before integration"}
_SAID = re.compile(r"<(?P<key>[^<>\n]+)>|(?P<done>\d+)/(?P<total>\d+) \[")


@dataclass(frozen=True)
class UmapJob:
    """Everything that computing a UMAP needs, copied.

    Parameters
    ----------
    embeddings
        By the key of its UMAP: an embedding, float32, shape (spots, components).
    expression
        Expression of the genes that were integrated and, in the last column, the sum of all
        others, CSR, shape (spots, genes + 1); ``None`` leaves out the UMAP before integration.
    slices
        Rows of each slice; slices are normalised separately.
    seed
        Of the start and of the optimisation.
    """

    embeddings: Mapping[str, NDArray[np.float32]]
    expression: csr_matrix | None
    slices: tuple[NDArray[np.intp], ...]
    seed: int = 0

    def steps(self) -> Steps[Umap]:
        """Compute the UMAPs; see :func:`umap_steps`."""
        return umap_steps(self)


@dataclass(frozen=True)
class Umap:
    """UMAPs by their key in ``obsm``, each float32, shape (spots, 2), and how they were made."""

    arrays: dict[str, NDArray[np.float32]]
    params: dict[str, Any]


def umap_key(key: str) -> str:
    """Key in ``obsm`` of the UMAP of an embedding, by the embedding's own key."""
    return K.UMAP if key == K.EMBEDDING else K.UMAP_OF + key.removeprefix("X_")


def umap_steps(job: UmapJob) -> Steps[Umap]:
    """Compute the UMAP of each embedding and, if there is expression, before integration.

    For an embedding, it uses 15 nearest neighbours there; before integration, the same in 30
    principal components of the log-normalised genes. Computed with scanpy's ``pp.neighbors`` and
    ``tl.umap``.

    Raises
    ------
    ComputeError
        There are too few spots, or scanpy failed.
    """
    n_spots = sum(map(len, job.slices))
    if n_spots < FEWEST_SPOTS:
        raise ComputeError(f"{n_spots} spots are too few for a UMAP.")
    n_parts = len(job.embeddings) + (job.expression is not None)
    with tempfile.TemporaryDirectory(prefix="staligner-umap-") as folder:
        yield Progress("UMAP: preparing", 0, 1)
        np.savez(Path(folder) / SPOTS, **_arrays(job))
        yield from _supervise(Path(folder), n_parts)
        with np.load(Path(folder) / "umap.npz") as found:
            arrays = {key: found[key].astype(np.float32) for key in found.files}
    return Umap(arrays, {"n_neighbors": N_NEIGHBORS, "random_state": job.seed})


def _arrays(job: UmapJob) -> dict[str, Any]:
    """What the process needs. Not as ``.h5ad``: HDF5 cannot close a file on a full disk."""
    arrays: dict[str, Any] = {f"{_EMBEDDED}{key}": z for key, z in job.embeddings.items()}
    arrays |= {"seed": job.seed, "shape": (sum(map(len, job.slices)), 0)}
    if job.expression is not None:
        genes = _log_normalised(job.expression, job.slices)
        arrays |= {"shape": genes.shape}
        arrays |= {name: getattr(genes, name) for name in ("data", "indices", "indptr")}
    return arrays


def _log_normalised(expression: csr_matrix, slices: tuple[NDArray[np.intp], ...]) -> csr_matrix:
    """Log-normalise the genes, slice by slice; without the sum of all others."""
    from anndata import AnnData
    from scipy import sparse

    from napari_staligner.core.prepare.slices import normalize

    parts = [normalize("", AnnData(expression[rows]), None) for rows in slices]
    order = np.argsort(np.concatenate(slices))
    return sparse.csr_matrix(sparse.vstack(parts)[order, :-1])


def _read_arrays(path: Path) -> tuple[AnnData, int]:
    """The spots as AnnData, and the seed."""
    from anndata import AnnData
    from scipy import sparse

    with np.load(path) as found:
        shape = tuple(map(int, found["shape"]))
        embedded = {
            key.removeprefix(_EMBEDDED): found[key]
            for key in found.files
            if key.startswith(_EMBEDDED)
        }
        seed = int(found["seed"])
        if "data" not in found.files:
            return AnnData(obsm=embedded, shape=shape), seed
        parts = tuple(found[name] for name in ("data", "indices", "indptr"))
        return AnnData(sparse.csr_matrix(parts, shape=shape), obsm=embedded), seed


def _supervise(folder: Path, n_parts: int) -> Generator[Progress, None, None]:
    """Run the process, and report its progress."""
    for text in run_aside(__name__, folder, "The UMAP"):
        yield _how_far(text, n_parts)


def _how_far(text: str, n_parts: int) -> Progress:
    """Read the stage and the epoch from the text of the process."""
    part, key, share = -1, "", 0.0
    for match in _SAID.finditer(text):
        if match["key"]:
            part, key, share = part + 1, match["key"], 0.0
        else:
            share = int(match["done"]) / max(1, int(match["total"]))
    what = "optimising" if share else "neighbours"
    of = _STAGES.get(key, f"of {key.removeprefix(K.UMAP_OF)}" if key else "")
    stage = f"UMAP {of}: {what}".replace(" :", ":")
    return Progress(stage, round(100 * (max(part, 0) + share)), 100 * n_parts)


def _work(folder: Path) -> None:
    """Compute, in the other process."""
    import scanpy as sc

    sc.settings.verbosity = 4  # makes UMAP print its epochs
    adata, seed = _read_arrays(folder / SPOTS)
    # A UMAP replaces its embedding.
    used = {key: key for key in adata.obsm}
    if adata.n_vars:
        used[K.UMAP_BEFORE] = "X_pca"
    for key, rep in used.items():
        sys.stderr.write(f"\n<{key}>\n")
        if rep == "X_pca":
            n_comps = min(N_COMPONENTS, adata.n_obs - 1, adata.n_vars - 1)
            sc.pp.pca(adata, n_comps=n_comps, random_state=seed)
        n_neighbors = min(N_NEIGHBORS, adata.n_obs - 1)
        sc.pp.neighbors(adata, n_neighbors=n_neighbors, use_rep=rep, random_state=seed)
        sc.tl.umap(adata, random_state=seed, key_added=key)
    np.savez(folder / "umap.npz", **{key: adata.obsm[key] for key in used})


if __name__ == "__main__":
    share_cores()
    _work(Path(sys.argv[1]))
