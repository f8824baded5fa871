"""Time of an epoch, forward and backward, against the plain PyG model, by turns in one run."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.sparse import block_diag
from slices import load

from napari_staligner import Settings
from napari_staligner.core.graph import graph_steps
from napari_staligner.core.integrate import prepare_steps
from napari_staligner.core.model import MessageGraph, STAligner
from napari_staligner.core.progress import finish

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from plain import PlainSTAligner


def main(
    name: Annotated[str, typer.Argument(help="sample or dlpfc")] = "sample", rounds: int = 5
) -> None:
    ready = finish(prepare_steps(load(name), Settings()))
    places = [(key, adata.obsm["spatial"]) for key, adata in ready.slices]
    graphs = finish(graph_steps(places, Settings()))
    graph = MessageGraph.from_connectivities(
        block_diag([g.connectivities for g in graphs.values()], format="csr")
    )
    x = torch.from_numpy(ready.expression.stacked().toarray())
    norm = x.square().sum()
    model = STAligner(x.shape[1], seed=0)
    plain = PlainSTAligner(model.w1, model.w2, model.a_src, model.a_dst)
    edges = torch.stack([graph.senders, graph.receivers])

    def ours() -> None:
        model.zero_grad()
        model.reconstruction(x, norm, model(x, graph)).backward()

    def theirs() -> None:
        plain.zero_grad()
        (x - plain(x, edges)[2]).square().mean().backward()

    seconds = {ours: [], theirs: []}
    for turn in range(rounds + 1):
        for step, taken in seconds.items():
            start = time.perf_counter()
            step()
            if turn:
                taken.append(time.perf_counter() - start)
    ratios = np.array(seconds[theirs]) / seconds[ours]
    print(f"{len(x)} spots, {x.shape[1]} genes, {len(graph.senders)} edges with self loops")
    print(f"ours  {np.median(seconds[ours]):.3f} s, plain {np.median(seconds[theirs]):.3f} s")
    print(f"plain / ours: {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")


if __name__ == "__main__":
    typer.run(main)
