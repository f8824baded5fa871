"""The slices that are measured on, with the column that holds the truth."""

from __future__ import annotations

import os
from pathlib import Path

from anndata import AnnData

from napari_staligner import read_slices
from napari_staligner.samples import SLICE_NAMES, simulated_olfactory_bulb

DATA = Path(os.environ.get("STALIGNER_DATA", Path(__file__).parents[2] / "shared" / "data"))
TRUTH = {"sample": "region", "dlpfc": "layer"}


def load(name: str) -> list[tuple[str, AnnData]]:
    if name == "sample":
        return list(zip(SLICE_NAMES, simulated_olfactory_bulb(), strict=True))
    return read_slices([DATA / f"DLPFC_{number}.h5ad" for number in range(151673, 151677)])
