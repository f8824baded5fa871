"""A training on tiny slices in many tiles, for processes that torchrun starts: see test_ranks."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from scipy import sparse
from tiny import QUICK, tiny_slice

from napari_staligner.core.integrate import prepare_steps
from napari_staligner.core.prepare.expression import Expression
from napari_staligner.core.prepare.graph import graph_steps
from napari_staligner.core.progress import Progress, finish
from napari_staligner.core.training import pieces
from napari_staligner.core.training import train as module
from napari_staligner.core.training.data import Prepared
from napari_staligner.core.training.model import MessageGraph, STAligner
from napari_staligner.core.training.ranks import MEETING, Arrays, Ranks
from napari_staligner.core.training.sharing import each, in_step
from napari_staligner.core.training.trainer import Trainer

SETTINGS = {
    # Activations kept between the passes, or made again, in many tiles; and whole slices, of which
    # there are fewer than ranks.
    (1 << 30, 30): replace(QUICK, components=12, epochs=6, search_spots=40),
    (0, 30): replace(QUICK, components=0, epochs=5),
    (0, 200): replace(QUICK, components=12, epochs=4),
}


def tiny_prepared() -> Prepared:
    """Return what a training needs of two slices of 144 and 100 spots."""
    slices = [("A", tiny_slice(side=12, seed=1)), ("B", tiny_slice(side=10, seed=2))]
    ready = finish(prepare_steps(slices, QUICK))
    places = [(name, adata.obsm["spatial"]) for name, adata in ready.slices]
    graphs = finish(graph_steps(places, QUICK))
    connectivities = sparse.block_diag([g.connectivities for g in graphs.values()], format="csr")
    coordinates = np.concatenate([points for _, points in places])
    held = Expression.held(list(ready.expression))
    return Prepared(("A", "B"), (144, 100), held, connectivities, coordinates, ready.log_depth)


def trained(ranks: Ranks | None = None) -> dict[str, np.ndarray]:
    """Return all that the trainings give, by name."""
    found, data = {}, tiny_prepared()
    for (keep_bytes, tile_spots), settings in SETTINGS.items():
        streaming = partial(Trainer, tile_spots=tile_spots, keep_bytes=keep_bytes)
        with patch.object(module, "Trainer", streaming):
            given = finish(module.train(data, settings, ranks=ranks))
        for field in fields(given):
            value = getattr(given, field.name)
            value = value.toarray() if sparse.issparse(value) else np.asarray(value)
            found[f"{keep_bytes}.{tile_spots}.{field.name}"] = value
    return found


def scarce(ranks: Ranks) -> dict[str, np.ndarray]:
    """Return z and the notes of a training where memory runs out on the last rank alone."""
    encode = STAligner.encode

    def encode_few(self: STAligner, x: torch.Tensor, graph: MessageGraph) -> object:
        if ranks.rank == ranks.size - 1 and len(x) > 70:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return encode(self, x, graph)

    said: list[Progress] = []
    with patch.object(STAligner, "encode", encode_few), patch.object(pieces, "FEWEST", 10):
        found = finish(module.train(tiny_prepared(), QUICK, ranks=ranks), said.append)
    return {"z": found.embedding, "notes": np.array([step.note for step in said if step.note])}


def at_the_same_time(ranks: Ranks, place: Path) -> bool:
    """Whether each rank computes one item while the others compute one, also in step."""

    def met(item: int) -> Arrays:
        (place / f"{ranks.size}-{item}").touch()
        wanted, until = ranks.size * (1 + item // ranks.size), time.monotonic() + 20
        while len(list(place.glob(f"{ranks.size}-*"))) < wanted and time.monotonic() < until:
            time.sleep(0.01)
        return {"late": np.array(time.monotonic() >= until)}

    def said(done: int) -> Progress:
        return Progress("meet", done, 2 * ranks.size)

    found = finish(in_step(each(range(2 * ranks.size), met, said, ranks), ranks))
    return not any(arrays["late"] for arrays in found)


def join_again(size: int, meeting: str) -> Ranks | None:
    """Let the first of these processes begin anew; ``None`` on the others."""
    torch.distributed.destroy_process_group()
    if int(os.environ["RANK"]) >= size:
        return None
    os.environ |= {"WORLD_SIZE": str(size), MEETING: meeting}
    return Ranks.joined()


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = sys.argv[1]
    ranks: Ranks | None = Ranks.joined()
    # torchrun makes four; fewer are made of the first of these.
    for size in (4, 3, 2):
        if size < 4:
            ranks = join_again(size, f"{place}/meeting-{size}")
        if ranks is None:
            break
        found = trained(ranks)
        found["apart.met"] = np.array(at_the_same_time(ranks, Path(place)))
        if size == 2:
            found |= {f"apart.{name}": value for name, value in scarce(ranks).items()}
        if ranks.rank == 0:
            np.savez(f"{place}/{ranks.size}.npz", **found)
    if ranks is not None:
        # Its threads abort a process that ends before them.
        torch.distributed.destroy_process_group()
