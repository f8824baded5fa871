"""The slices that are measured on, with the column that holds the truth."""

from __future__ import annotations

import os
from pathlib import Path

from anndata import AnnData

from napari_staligner import read_slices
from napari_staligner.samples import SLICE_NAMES, simulated_olfactory_bulb

DATA = Path(os.environ.get("STALIGNER_DATA", Path(__file__).parents[2] / "shared" / "data"))
TRUTH = {"sample": "region", "dlpfc": "layer", "mob": "layer"}
FILES = {"dlpfc": "DLPFC_15167[3-6].h5ad", "mob": "ST_MOB_Rep1[12].h5ad"}


def load(name: str) -> list[tuple[str, AnnData]]:
    """Slices of ``"sample"``, ``"dlpfc"`` (human cortex) or ``"mob"`` (two of 280 spots)."""
    if name == "sample":
        return list(zip(SLICE_NAMES, simulated_olfactory_bulb(), strict=True))
    return read_slices(sorted(DATA.glob(FILES[name])))


def without_structure(
    slices: list[tuple[str, AnnData]], truth: str, label: str
) -> list[tuple[str, AnnData]]:
    """The same slices, with the spots of a label in the first one only."""
    first, *others = slices
    return [first, *((n, a[(a.obs[truth] != label).to_numpy()].copy()) for n, a in others)]
