"""What a run will take, told before it starts: time on this machine, and memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import torch

from napari_staligner._errors import InputError
from napari_staligner.core.matching import pairs_compared, pairs_of
from napari_staligner.core.settings import Settings
from napari_staligner.core.trainer import KEEP_BYTES, OFFSET_ROUNDS, TILE_SPOTS, find_device
from napari_staligner.core.triplets import BLOCK_ELEMENTS

if TYPE_CHECKING:
    from napari_staligner.core.training import Prepared

GIB = 1 << 30
# Of the speed of one large product, an epoch reaches about half: the rest is passes over memory.
EFFICIENCY = 0.5
# Finding the k nearest costs about so many operations for each pair of spots compared.
OPERATIONS_A_PAIR = 400


@dataclass(frozen=True)
class Estimate:
    """What a run will take at most: ``seconds``, and ``memory`` in bytes beyond what is in use."""

    seconds: float
    memory: float

    def __str__(self) -> str:
        minutes = self.seconds / 60
        spoken = f"{minutes:.0f} min" if minutes >= 1.5 else f"{max(self.seconds, 1):.0f} s"
        return f"This takes up to about {spoken} and {self.memory / GIB:.1f} GB of memory."


def estimate(data: Prepared, settings: Settings) -> Estimate:
    """Estimate time and memory of training from counted operations and this machine's speed.

    Parameters
    ----------
    data
        The slices.
    settings
        Of the run; training that settles early takes less.
    """
    n, width, h, d = sum(data.sizes), data.expression.shape[1], settings.hidden, settings.latent
    if settings.components:
        width = min(width, settings.components)
    # Forward and both gradients of every product; a wide input needs no gradient of its own.
    narrow = width <= h
    epoch = n * h * (12 * (width + d) if narrow else 4 * width + 6 * h + 12 * d)
    epochs = settings.pretrain_epochs + settings.epochs
    drawn = [min(size, settings.search_spots or size) for size in data.sizes]
    pairs = pairs_of(data.names, settings)
    compared = sum(2 * drawn[i] * drawn[j] for i, j in pairs)
    compared = compared * pairs_compared(data.names, settings) // max(len(pairs), 1)
    moves = settings.offsets and settings.components > 0
    searches = 1 + -(-settings.epochs // settings.refresh) + (2 * OFFSET_ROUNDS if moves else 0)
    operations = epoch * epochs / EFFICIENCY + compared * searches * OPERATIONS_A_PAIR
    seconds = operations / _speed(find_device(settings.device))

    activations = 4 * n * (width + 4 * h)
    if activations > KEEP_BYTES:
        activations = 4 * min(n, TILE_SPOTS) * (width + 6 * h)
    stored = 8 * data.expression.nnz + 4 * n * (width if settings.components else 0)
    result = 12 * data.connectivities.nnz * 4 + 8 * data.expression.nnz
    matching = 12 * BLOCK_ELEMENTS + 40 * n * settings.mnn_k
    return Estimate(seconds, float(2 * activations + stored + result + matching))


def check_memory(need: Estimate) -> None:
    """Refuse a run that cannot fit.

    Raises
    ------
    InputError
        Less memory is free than the run needs.
    """
    free = psutil.virtual_memory().available
    if need.memory > free:
        raise InputError(
            f"This needs about {need.memory / GIB:.1f} GB of memory and {free / GIB:.1f} GB are "
            "free: take fewer variable genes (n_top_genes), fewer slices, or another machine."
        )


def _speed(device: torch.device) -> float:
    """Operations a second of one large product, measured in some hundredths of a second."""
    left, right = torch.ones(2048, 512, device=device), torch.ones(512, 512, device=device)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        float((left @ right)[0, 0])
        best = min(best, time.perf_counter() - start)
    return 2 * 2048 * 512 * 512 / best
