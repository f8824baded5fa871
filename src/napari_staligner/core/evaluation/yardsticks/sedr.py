"""SEDR on slices: from counts and coordinates to its embedding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.core.prepare.counts import ValueKind, kind_of
from napari_staligner.core.progress import Progress, Steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPOCHS = 200
LEARNING_RATE, WEIGHT_DECAY = 0.01, 0.01


@dataclass(frozen=True)
class SedrJob:
    """All that SEDR needs.

    Parameters
    ----------
    counts
        Shape (spots, genes), sparse or dense. Shared with the result, which never changes it in
        place, because copying all genes would block a window.
    genes
        Shape (genes,), bool: those that all slices have.
    coordinates
        Shape (spots, 2), in the units of each slice.
    slice_of
        Shape (spots,): number of the slice.
    seed
        Of the initial weights and of all random draws.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    epochs
        Steps of the optimiser.
    """

    counts: Any = field(repr=False)
    genes: NDArray[np.bool_]
    coordinates: NDArray[np.float64]
    slice_of: NDArray[np.integer[Any]]
    seed: int = 0
    device: str = "auto"
    epochs: int = EPOCHS

    def steps(self) -> Steps[Sedr]:
        """Train; see :func:`sedr_steps`."""
        return sedr_steps(self)


@dataclass(frozen=True)
class Sedr:
    """What SEDR gives.

    Parameters
    ----------
    embedding
        Shape (spots, 32), float32.
    params
        What it was made with, and ``loss``, shape (epochs,), float32.
    """

    embedding: NDArray[np.float32]
    params: dict[str, Any]


def sedr_steps(job: SedrJob) -> Steps[Sedr]:
    """Train SEDR in one stage, as its authors do for several slices, and return its embedding.

    Raises
    ------
    InputError
        The values are not counts, or too few genes or neighbours are left.
    """
    import torch

    from napari_staligner.core.evaluation.yardsticks.sedr_input import neighbors, sedr_components
    from napari_staligner.core.evaluation.yardsticks.sedr_model import (
        Draws,
        SedrGraph,
        SedrModel,
    )
    from napari_staligner.core.training.devices import find_device

    total = job.epochs + 2
    yield Progress("SEDR: genes", 0, total)
    if kind_of(job.counts) is not ValueKind.COUNTS:
        raise InputError(
            "SEDR needs counts, and the result holds none: put them in X or in a layer of the "
            "slices, or leave SEDR out."
        )
    values = sedr_components(job.counts[:, np.flatnonzero(job.genes)])
    yield Progress("SEDR: neighbours", 1, total)
    rows = [np.flatnonzero(job.slice_of == s) for s in np.unique(job.slice_of)]
    near, k = neighbors(job.coordinates, rows)
    device = find_device(job.device)
    draws = Draws(job.seed, device)
    model = SedrModel(values.shape[1], torch.Generator().manual_seed(job.seed)).to(device)
    graph = SedrGraph.of(near, job.slice_of, job.seed, device)
    x = torch.from_numpy(values).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    losses = []
    for epoch in range(job.epochs):
        yield Progress("SEDR", 2 + epoch, total)
        optimizer.zero_grad()
        loss = model.losses(x, graph, draws)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    embedding = model.embed(x, graph).cpu().numpy()
    yield Progress("SEDR", total, total)
    params = {
        "seed": job.seed,
        "epochs": job.epochs,
        "learning_rate": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "n_neighbors": k,
        "n_components": values.shape[1],
        "loss": np.array(losses, dtype=np.float32),
    }
    return Sedr(np.ascontiguousarray(embedding, dtype=np.float32), params)
