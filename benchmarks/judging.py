"""How well a structure that one slice alone has is told: by confidence, and by the test of domains.

judging.py OUT.h5ad layer WM        WM was removed from all slices but one before integration
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import anndata as ad
import numpy as np
import typer
from sklearn.metrics import f1_score, roc_auc_score

from napari_staligner import _keys as K
from napari_staligner.core.domains.presence import domain_presence
from napari_staligner.core.progress import finish
from napari_staligner.core.result.confidence import confidence_steps


def main(
    file: Annotated[Path, typer.Argument(help="Integrated slices.")],
    column: Annotated[str, typer.Argument(help="Column of obs with the truth.")],
    structure: Annotated[str, typer.Argument(help="What one slice alone has.")],
    embedding: str = K.EMBEDDING,
) -> None:
    adata = ad.read_h5ad(file)
    slices = adata.obs[K.SLICE]
    lone = (adata.obs[column].astype(str) == structure).to_numpy()
    own = (slices == slices[lone].iloc[0]).to_numpy()
    if lone[~own].any():
        raise typer.BadParameter(f"{structure} lies in several slices")
    start = time.perf_counter()
    sizes = slices.value_counts(sort=False).tolist()
    low = 1 - finish(confidence_steps(np.asarray(adata.obsm[embedding]), sizes))
    seconds = time.perf_counter() - start
    print(f"confidence: AUC {roc_auc_score(lone, low):.3f} against all other spots,")
    print(f"  {roc_auc_score(lone[own], low[own]):.3f} against those of its slice; {seconds:.1f} s")
    domains = adata.obs[K.DOMAIN]
    best = {d: f1_score(lone, (domains == d).to_numpy()) for d in domains.cat.categories}
    name = max(best, key=best.__getitem__)
    start = time.perf_counter()
    specific = domain_presence(adata).specific()
    seconds = time.perf_counter() - start
    print(f"domain nearest to {structure}: {name}, F1 {best[name]:.3f}")
    print(f"called slice-specific: {', '.join(specific) or 'none'}; {seconds:.2f} s")


if __name__ == "__main__":
    typer.run(main)
