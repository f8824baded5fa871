"""The slices that are measured on, with the column that holds the truth."""

from __future__ import annotations

import os
from pathlib import Path

from anndata import AnnData

from napari_staligner import read_slices
from napari_staligner.samples import SLICE_NAMES, simulated_olfactory_bulb

DATA = Path(os.environ.get("STALIGNER_DATA", Path(__file__).parents[2] / "shared" / "data"))
TRUTH = {
    "sample": "region",
    "dlpfc": "layer",
    "barista": "layer",
    "mob": "layer",
    "her2": "paper_cluster",
}
"""Columns of obs; the others have none."""
FILES = {
    "dlpfc": "DLPFC_15167[3-6].h5ad",
    "barista": "BaristaSeq_VISp_slice[1-3].h5ad",
    "mob": "ST_MOB_Rep1[12].h5ad",
    "her2": "HER2ST_A[1-6].h5ad",
    "mob2k": "ST2k_MOB[1-4].h5ad",
    "breast": "ST_breast_PASTE_slice[1-4].h5ad",
}


def load(name: str) -> list[tuple[str, AnnData]]:
    """Slices of ``"sample"`` or of one of :data:`FILES`; none where the files are not there."""
    if name == "sample":
        return list(zip(SLICE_NAMES, simulated_olfactory_bulb(), strict=True))
    files = sorted(DATA.glob(FILES[name]))
    return read_slices(files) if files else []


def without_structure(
    slices: list[tuple[str, AnnData]], truth: str, label: str
) -> list[tuple[str, AnnData]]:
    """The same slices, with the spots of a label in the first one only."""
    first, *others = slices
    return [first, *((n, a[(a.obs[truth] != label).to_numpy()].copy()) for n, a in others)]
