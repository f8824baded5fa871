"""Training: reconstruction alone, then reconstruction and triplets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from torch import Tensor

from napari_staligner.core.progress import Loss, Progress, Steps
from napari_staligner.core.settings import Settings
from napari_staligner.core.training.data import Prepared, Trained
from napari_staligner.core.training.stopping import MatchSettling, Settling
from napari_staligner.core.training.trainer import Embedded, Trainer
from napari_staligner.core.training.triplets import Matches

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    mutual = mutual_matrix(matches, n)
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


def mutual_matrix(matches: Sequence[Matches], n: int) -> sparse.csr_matrix:
    """Return matches as a symmetric matrix, shape (n, n): distances in z.

    Of many slices they are the largest part of a result.
    """
    if not matches:
        return sparse.csr_matrix((n, n), dtype=np.float32)
    first, second = (
        np.concatenate([getattr(match, end).cpu().numpy().astype(np.int32) for match in matches])
        for end in ("first", "second")
    )
    distance = np.concatenate([match.distance.cpu().numpy() for match in matches])
    half = sparse.csr_matrix((distance, (first, second)), shape=(n, n))
    return (half + half.T).tocsr()
