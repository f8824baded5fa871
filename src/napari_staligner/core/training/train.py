"""Training: reconstruction alone, then reconstruction and triplets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from torch import Tensor

from napari_staligner.core.attempt import ATTENTION, MATCHES, RECONSTRUCTION, attempt
from napari_staligner.core.progress import Loss, Progress, Steps
from napari_staligner.core.settings import Settings
from napari_staligner.core.training.checkpoint import Keeper, begin_course, keep_course
from napari_staligner.core.training.data import Prepared, Trained
from napari_staligner.core.training.matching import Matcher, match_matrix
from napari_staligner.core.training.ranks import Ranks
from napari_staligner.core.training.sharing import in_step
from napari_staligner.core.training.trainer import Trainer

if TYPE_CHECKING:
    from numpy.typing import NDArray


def train(
    data: Prepared,
    settings: Settings,
    keeper: Keeper | None = None,
    ranks: Ranks | None = None,
) -> Steps[Trained]:
    """Train a :class:`STAligner` on slices, an epoch a step.

    Of several ranks, the first decides when to stop; if its steps are closed, all end.

    Parameters
    ----------
    data
        The slices.
    settings
        See :class:`Settings`.
    keeper
        Holds checkpoints, from the last of which the training goes on; ``None`` keeps none.
    ranks
        The processes that train together, each with the same data; ``None`` for this one alone.

    Returns
    -------
    Embedding, attention and matches from a forward pass after the last step. Of each but the
    embedding that failed, a step's ``lost`` says so.
    """
    ranks = ranks or Ranks()
    return (yield from in_step(_train(data, settings, keeper, ranks), ranks))


def _train(
    data: Prepared, settings: Settings, keeper: Keeper | None, ranks: Ranks
) -> Steps[Trained]:
    trainer = Trainer(data, settings, ranks=ranks)
    course = begin_course(trainer, keeper)
    total = course.total
    while course.pretraining:
        loss = course.pretrain()
        keep_course(course, keeper)
        note = trainer.news()
        yield Progress("pretrain", course.pretrained, total, loss=loss, note=note)

    while course.done < total:
        if not course.left:
            matches, before = yield from trainer.match(course.done, total)
            if course.settled(matches, before):
                keep_course(course, keeper)
                break
            if course.triplets is None and len(data.names) > 1:
                yield Progress("align", course.done, total, note=NO_MATCH)
        loss = course.align()
        keep_course(course, keeper)
        yield Progress("align", course.done, total, loss=loss, note=trainer.news())

    course.triplets = None
    return (yield from _trained(trainer, course.history, total))


NO_MATCH = (
    "No mutual nearest neighbours were found between the slices, so nothing pulls them together; "
    "raise the number of nearest neighbours (mnn_k)."
)


def _trained(trainer: Trainer, history: Sequence[Loss], total: int) -> Steps[Trained]:
    """Compute what training gives; all but the embedding may fail and be missing."""
    both = yield from attempt(lambda: _with_attention(trainer, total), ATTENTION)
    z, attention = both or (trainer.embed().embedding, None)
    residuals = yield from attempt(lambda: _residuals(trainer, total), RECONSTRUCTION)
    # The matches of all spots take as much memory as what is let go here.
    trainer.release()
    mutual = yield from attempt(lambda: _mutual(trainer.matcher, z, total), MATCHES)
    nan = float("nan")
    return Trained(
        _array(z),
        attention,
        mutual,
        tuple(trainer.matcher.pairs),
        np.array([said.reconstruction for said in history]),
        np.array([nan if said.triplet is None else said.triplet for said in history]),
        residuals,
    )


def _array(values: Tensor) -> NDArray[Any]:
    return values.detach().cpu().numpy()


def _with_attention(trainer: Trainer, total: int) -> Steps[tuple[Tensor, sparse.csr_matrix]]:
    yield Progress("attention", total, total)
    output = trainer.embed(attention=True)
    z, receivers, senders, weights = map(_array, output)
    n = len(z)
    return output.embedding, sparse.csr_matrix((weights, (receivers, senders)), shape=(n, n))


def _mutual(matcher: Matcher, z: Tensor, total: int) -> Steps[sparse.csr_matrix]:
    return match_matrix((yield from matcher.find_all(z, total, total)), len(z))


def _residuals(trainer: Trainer, total: int) -> Steps[NDArray[np.float64]]:
    # Before this, all spots were embedded in full precision.
    yield Progress("reconstruction", total, total, note=trainer.news())
    return np.array(trainer.residuals())
