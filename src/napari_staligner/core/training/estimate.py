"""Estimates time and memory of a run on this machine before it starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.core.free_memory import free_memory
from napari_staligner.core.prepare.expression import HOLD_BYTES
from napari_staligner.core.prepare.graph import WANTED_NEIGHBORS
from napari_staligner.core.prepare.on_disk import named_layers, on_disk
from napari_staligner.core.prepare.slices import FEWEST_GENES
from napari_staligner.core.settings import Settings
from napari_staligner.core.training.devices import find_device
from napari_staligner.core.training.matching import FEWEST_NEAREST, pairs_compared, pairs_of
from napari_staligner.core.training.pieces import FEWEST
from napari_staligner.core.training.trainer import (
    KEEP_BYTES,
    OFFSET_ROUNDS,
    TILE_SPOTS,
)
from napari_staligner.core.training.triplets import BLOCK_ELEMENTS

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.training.ranks import Ranks

GIB = 1 << 30
RUNTIME_BYTES = 300 << 20
"""Memory for libraries that are loaded during the run."""
EDGE_BYTES, TILE_EDGE_BYTES = 120, 48
"""Bytes per edge of the graph, in all its forms for training and in the result; and of these in the
tiles."""
MATCHED, MATCH_BYTES = 0.3, 40
"""Share of nearest neighbours that are mutual, and bytes for each at the end."""
DISK_BYTES = 100e6
"""Bytes of a compressed file that are read or written per second."""
# An epoch reaches about half the speed of one large product: the rest is passes over memory.
EFFICIENCY = 0.5
# Operations for each pair of spots that is compared to find the k nearest.
OPERATIONS_A_PAIR = 400


@dataclass(frozen=True)
class InputSize:
    """The size of the input.

    Parameters
    ----------
    names, sizes
        Names of the slices and their spots.
    n_genes, stored
        Shared variable genes, and stored values of their expression.
    joined
        Bytes of the matrices in memory that are joined in the result.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    n_genes: int = FEWEST_GENES
    stored: int = 0
    joined: int = 0

    @classmethod
    def of(cls, slices: Sequence[tuple[str, AnnData]]) -> InputSize:
        """Take what is known before slices are read, with the smallest number of genes."""
        matrices = (m for _, adata in slices for m in (adata.X, *named_layers(adata).values()))
        names, sizes = zip(*((name, adata.n_obs) for name, adata in slices), strict=True)
        return cls(names, sizes, joined=sum(map(_bytes, matrices)))


def _bytes(matrix: Any) -> int:
    if matrix is None or on_disk(matrix):
        return 0
    if sparse.issparse(matrix):
        return int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)
    return int(np.asarray(matrix).nbytes)


@dataclass(frozen=True)
class OnGpu:
    """Bytes of a GPU's memory: the most that a run will take, the least it needs, what is free."""

    need: float
    least: float
    free: float


@dataclass(frozen=True)
class Estimate:
    """The most that a run will take: ``seconds``, and ``memory`` in bytes beyond what is in use.

    ``streams`` says whether it processes the spots piece by piece, because all at once would need
    more memory. ``gpu`` is ``None`` where there is none in use. Of several ranks, each holds only
    its part of ``dealt``, which is part of ``memory``.
    """

    seconds: float
    memory: float
    streams: bool = False
    gpu: OnGpu | None = None
    dealt: float = 0.0

    def __str__(self) -> str:
        minutes = self.seconds / 60
        spoken = f"{minutes:.0f} min" if minutes >= 1.5 else f"{max(self.seconds, 1):.0f} s"
        takes = f"This takes up to about {spoken} and {self.memory / GIB:.1f} GB of memory"
        if self.gpu is not None:
            takes += f", and {self.gpu.need / GIB:.1f} GB of the GPU's"
        return f"{takes}, a piece of the slices at a time." if self.streams else f"{takes}."


def estimate(extent: InputSize, settings: Settings) -> Estimate:
    """Estimate time and memory of a run from counted operations and this machine's speed.

    Parameters
    ----------
    extent
        Of the slices.
    settings
        Of the run; training that stops early takes less.
    """
    n, width = sum(extent.sizes), extent.n_genes
    if settings.components:
        width = min(width, settings.components) * (2 if settings.wide else 1)
    device = find_device(settings.device)
    operations = _training(extent, settings, width) / EFFICIENCY + _searches(extent, settings)
    # The covariance of the genes, once, and ten passes over the stored values to read and write.
    once = 2.0 * n * extent.n_genes**2 if settings.components else 0.0
    seconds = (operations + once) / _speed(device) + 10 * 8 * extent.stored / DISK_BYTES
    keeps = 4 * n * (width + 4 * settings.hidden) <= KEEP_BYTES
    spools = not settings.components and 8 * extent.stored > HOLD_BYTES
    parts = _memory(extent, settings, width, keeps, spools)
    if device.type != "cuda":
        memory = max(parts.step, parts.reading) + parts.trained + parts.rest
        dealt = parts.dealt + (parts.step if keeps else 0.0)
        return Estimate(seconds, memory, not keeps or spools, dealt=dealt)
    free, _ = torch.cuda.mem_get_info(device)
    held = parts.trained + parts.matches
    smallest = 8 * 2 * FEWEST * (width + 6 * settings.hidden)
    gpu = OnGpu(held + parts.step, held + smallest, free)
    streams = not keeps or spools or gpu.need > free
    return Estimate(seconds, parts.reading + parts.rest, streams, gpu)


def _training(extent: InputSize, settings: Settings, width: int) -> float:
    """Operations of all epochs."""
    n, h, d = sum(extent.sizes), settings.hidden, settings.latent
    # Forward and both gradients of every product; a wide input itself needs no gradient.
    epoch = n * h * (12 * (width + d) if width <= h else 4 * width + 6 * h + 12 * d)
    return float(epoch * (settings.pretrain_epochs + settings.epochs))


def _searches(extent: InputSize, settings: Settings) -> float:
    """Operations of all searches for matches."""
    pairs = pairs_of(extent.names, settings)
    drawn = [min(size, settings.search_spots or size) for size in extent.sizes]
    compared = sum(2 * drawn[i] * drawn[j] for i, j in pairs)
    compared = compared * pairs_compared(extent.names, settings) // max(len(pairs), 1)
    moves = settings.offsets and settings.components > 0
    searches = 1 + -(-settings.epochs // settings.refresh) + (2 * OFFSET_ROUNDS if moves else 0)
    return float(compared * searches * OPERATIONS_A_PAIR)


class _Bytes(NamedTuple):
    """What a run holds.

    Activations of a step; input, graph and z, where the training is; one slice while it is read;
    the matches; and, in main memory at all times, these and all else. Several ranks deal ``dealt``
    of what is where the training is.
    """

    step: float
    trained: float
    dealt: float
    reading: float
    matches: float
    rest: float


def _memory(extent: InputSize, settings: Settings, width: int, keeps: bool, spools: bool) -> _Bytes:
    n, largest = sum(extent.sizes), max(extent.sizes)
    rows = n if keeps else min(largest, TILE_SPOTS)
    activations = 4 * rows * (width + (4 if keeps else 6) * settings.hidden)
    scores = 4 * n * width if settings.components else 0
    stored = 0 if settings.components or spools else 8 * extent.stored
    # One slice while it is read, normalised and reduced to the genes.
    reading = 40 * extent.stored * largest // max(n, 1)
    edges = sum(m * min((settings.n_neighbors or WANTED_NEIGHBORS) + 1, m) for m in extent.sizes)
    partners = 2 * pairs_compared(extent.names, settings) / len(extent.names)
    share = min(1.0, (settings.search_spots or largest) / max(largest, 1))
    matches = n * partners * max(FEWEST_NEAREST, settings.mnn_k * share) * MATCHED
    tiles = TILE_EDGE_BYTES * edges
    matched = MATCH_BYTES * matches
    rest = EDGE_BYTES * edges - tiles + matched + stored + extent.joined
    return _Bytes(
        step=2 * activations,
        trained=scores + tiles + 40 * n * settings.latent,
        dealt=scores + tiles,
        reading=reading,
        matches=matched,
        rest=rest + 12 * BLOCK_ELEMENTS + RUNTIME_BYTES,
    )


def check_memory(need: Estimate, ranks: Ranks | None = None) -> None:
    """Refuse a run that does not fit into memory.

    Parameters
    ----------
    need
        Of one process.
    ranks
        The processes that compute together; the first decides.

    Raises
    ------
    InputError
        Less memory is free than the run needs, on the machine or by the limits of this process,
        or less of the GPU's than its smallest pieces need.
    """
    if ranks and ranks.rank:
        return
    left = free_memory()
    here, size = (1, 1) if ranks is None else (ranks.here, ranks.size)
    all_here = here * (need.memory - need.dealt * (1 - 1 / size))
    if all_here > left.bytes:
        raise InputError(
            f"This needs about {all_here / GIB:.1f} GB of memory, but only {left.bytes / GIB:.1f} "
            f"GB {left.said}: take fewer or smaller slices, or {left.remedy}."
        )
    if need.gpu is None:
        return
    least = need.gpu.least * -(-here // torch.cuda.device_count())
    if least > need.gpu.free:
        raise InputError(
            f"This needs at least {least / GIB:.1f} GB of the GPU's memory, but only "
            f"{need.gpu.free / GIB:.1f} GB are free: set the device to 'cpu', or take fewer or "
            "smaller slices."
        )


def _speed(device: torch.device) -> float:
    """Operations per second of one large product, measured in a few hundredths of a second."""
    left, right = torch.ones(2048, 512, device=device), torch.ones(512, 512, device=device)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        float((left @ right)[0, 0])
        best = min(best, time.perf_counter() - start)
    return 2 * 2048 * 512 * 512 / best
