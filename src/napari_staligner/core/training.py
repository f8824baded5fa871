"""Training: reconstruction alone, then reconstruction and triplets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from torch import Tensor

from napari_staligner.core.expression import Expression
from napari_staligner.core.progress import Loss, Progress, Steps
from napari_staligner.core.settings import Settings
from napari_staligner.core.settling import MatchSettling, Settling
from napari_staligner.core.trainer import Embedded, Trainer
from napari_staligner.core.triplets import Matches

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prepared:
    """What is trained on; N spots, G genes.

    Parameters
    ----------
    names
        Names of the slices.
    sizes
        Spots of each slice; rows of a slice are contiguous.
    expression
        Shape (N, G): log-normalised expression of the shared variable genes.
    connectivities
        Shape (N, N), CSR: the spatial graph of all slices, without self loops.
    coordinates
        Shape (N, 2), float64, in the units of each slice; large slices are cut into tiles by them.
    log_depth
        Shape (N,), float64: logarithm of each spot's total counts; ``None`` without counts.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    expression: Expression
    connectivities: sparse.csr_matrix
    coordinates: NDArray[np.float64] | None = None
    log_depth: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Trained:
    """What training gives; N spots, E edges.

    Parameters
    ----------
    embedding
        Shape (N, d), float32: z after the last step.
    attention
        Shape (N, N), CSR float32: α, row = receiving spot, rows sum to 1.
    mutual
        Shape (N, N), CSR float32, symmetric: distance in z of mutual nearest neighbours.
    pairs
        Numbers of the slices between which they were looked for.
    reconstruction, triplet
        Shape (epochs,), float64: losses by epoch; the triplets' is NaN where there were none.
    reconstruction_by_slice
        Shape (slices,), float64: mean squared error of each slice after the last step.
    """

    embedding: NDArray[np.float32]
    attention: sparse.csr_matrix
    mutual: sparse.csr_matrix
    pairs: tuple[tuple[int, int], ...]
    reconstruction: NDArray[np.float64]
    triplet: NDArray[np.float64]
    reconstruction_by_slice: NDArray[np.float64]


def train(data: Prepared, settings: Settings) -> Steps[Trained]:
    """Train a :class:`STAligner` on slices, an epoch a step.

    Parameters
    ----------
    data
        The slices.
    settings
        See :class:`Settings`.

    Returns
    -------
    Embedding, attention and matches from a forward pass after the last step.
    """
    trainer = Trainer(data, settings)
    history: list[Loss] = []
    total = settings.pretrain_epochs + settings.epochs
    pretraining = Settling(settings.tolerance)
    for epoch in range(settings.pretrain_epochs):
        history.append(trainer.step(epoch, None))
        yield Progress("pretrain", epoch + 1, total, loss=history[-1])
        if pretraining.settled(1 - history[-1].reconstruction / trainer.variance):
            break

    done, end = settings.pretrain_epochs, total
    aligning = MatchSettling(settings.tolerance)
    while done < end:
        matches, before = yield from trainer.match(done, total)
        if aligning.settled(matches, before):
            break
        triplets = trainer.matcher.draw(matches)
        if triplets is None and len(data.names) > 1:
            yield Progress("align", done, total, note=NO_MATCH)
        for _ in range(min(settings.refresh, end - done)):
            history.append(trainer.step(len(history), triplets))
            done += 1
            yield Progress("align", done, total, loss=history[-1])

    output = trainer.embed()
    matches = yield from trainer.matcher.find_all(output.embedding, total, total)
    pairs = tuple(trainer.matcher.pairs)
    return _trained(output, matches, pairs, history, trainer.residuals())


NO_MATCH = (
    "No mutual nearest neighbours were found between the slices, so nothing pulls them together; "
    "raise the number of nearest neighbours (mnn_k)."
)


def _trained(
    embedded: Embedded,
    matches: Sequence[Matches],
    pairs: tuple[tuple[int, int], ...],
    history: Sequence[Loss],
    residuals: Sequence[float],
) -> Trained:
    def array(values: Tensor) -> NDArray[Any]:
        return values.detach().cpu().numpy()

    z, receivers, senders, weights = map(array, embedded)
    n = len(z)
    attention = sparse.csr_matrix((weights, (receivers, senders)), shape=(n, n))
    mutual = _mutual(matches, n)
    nan = float("nan")
    return Trained(
        z,
        attention,
        mutual,
        pairs,
        np.array([said.reconstruction for said in history]),
        np.array([nan if said.triplet is None else said.triplet for said in history]),
        np.array(residuals),
    )


def _mutual(matches: Sequence[Matches], n: int) -> sparse.csr_matrix:
    """Matches as a symmetric matrix; of many slices they are the largest part of a result."""
    if not matches:
        return sparse.csr_matrix((n, n), dtype=np.float32)
    first, second = (
        np.concatenate([getattr(match, end).cpu().numpy().astype(np.int32) for match in matches])
        for end in ("first", "second")
    )
    distance = np.concatenate([match.distance.cpu().numpy() for match in matches])
    half = sparse.csr_matrix((distance, (first, second)), shape=(n, n))
    return (half + half.T).tocsr()
