"""How many domains: which numbers give the same domains on either half of the tissue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.domains.mixture import Rule, mixture
from napari_staligner.core.domains.slice_specific import tissue_of
from napari_staligner.core.progress import Progress, Steps, finish, part_of

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

HALVINGS = 3
NUMBERS = tuple(range(2, 16))


@dataclass(frozen=True)
class NumberStability:
    """How alike the domains are that two halves of the tissue give.

    Parameters
    ----------
    domains
        Their number.
    mean, sd
        Of the adjusted Rand index over the halvings; 1 where halves always agree.
    """

    domains: int
    mean: float
    sd: float


def stability_by_number(
    adata: AnnData, numbers: Sequence[int] = NUMBERS, *, seed: int = 666
) -> pd.DataFrame:
    """Tell how stable divisions into each number of domains are.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obsm["STAligner"]``, ``obs["slice"]`` and ``obsm["spatial"]``.
        Nothing is written.
    numbers
        Numbers of domains.
    seed
        Of the halvings and of the starts.

    Returns
    -------
    Columns ``domains``, ``mean`` and ``sd``, see :class:`NumberStability`. A high value says that
    the division does not hang on which spots there are; of numbers that are as stable, larger ones
    say more.

    Raises
    ------
    InputError
        There is no embedding, no slice or place of the spots, or no such number of domains.
    """
    return pd.DataFrame([vars(one) for one in finish(number_job(adata, numbers, seed=seed))])


def number_job(
    adata: AnnData, numbers: Sequence[int] = NUMBERS, *, seed: int = 666
) -> Steps[list[NumberStability]]:
    """The same, a step at a time; see :func:`stability_by_number`."""
    tissue = tissue_of(adata)
    if K.EMBEDDING not in adata.obsm or tissue is None:
        raise InputError(
            f"There is no obsm[{K.EMBEDDING!r}], or no slice or place of the spots: integrate the "
            "slices first."
        )
    z = np.array(adata.obsm[K.EMBEDDING], dtype=np.float64)
    return number_steps(z, tissue.blocks, numbers, seed)


def number_steps(
    z: NDArray[np.float64], blocks: NDArray[np.int64], numbers: Sequence[int], seed: int
) -> Steps[list[NumberStability]]:
    """Fit the mixture to either half of the tissue and compare what both say of all spots.

    Neighbours are alike, so blocks of tissue are dealt to the halves and not spots.

    Parameters
    ----------
    z
        Shape (spots, d): the embedding.
    blocks
        Shape (spots,): number of the block of tissue that a spot lies in.
    numbers
        Numbers of domains; those that half of the spots cannot have are left out.
    seed
        Of the halvings and of the starts.
    """
    from sklearn.metrics import adjusted_rand_score

    # z around its mean and of unit scale, as the mixture takes it.
    z = (z - z.mean(axis=0)) / (z.std() or 1.0)
    halvings = [_halved(blocks, seed + turn) for turn in range(HALVINGS)]
    least = min(int(min(half.sum(), (~half).sum())) for half in halvings)
    wanted = [k for k in sorted(set(numbers)) if 2 <= k <= least]
    if not wanted:
        raise InputError(
            f"No number of domains is left to try: give numbers from 2 to {least}, which is half "
            "of the spots."
        )
    found, done, total = [], 0, 2 * HALVINGS * len(wanted)
    for k in wanted:
        agreed = []
        for half in halvings:
            said = []
            for rows in (half, ~half):
                said.append((yield from part_of(_told(z, rows, k, seed), done, 1, total)))
                done += 1
            agreed.append(adjusted_rand_score(*said))
        found.append(NumberStability(k, float(np.mean(agreed)), float(np.std(agreed))))
    yield Progress("numbers of domains", total, max(total, 1))
    return found


def _halved(blocks: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Half of the blocks, drawn; shape (spots,)."""
    names, block = np.unique(blocks, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(len(names)) < len(names) // 2
    return np.asarray(drawn[block])


def _told(
    z: NDArray[np.float64], rows: NDArray[np.bool_], k: int, seed: int
) -> Steps[NDArray[np.int64]]:
    """Domains of all spots by the mixture that some of them give."""
    some = z[rows]
    fit = yield from mixture(some, k, seed)
    rule = Rule.of(some, some.T @ some, fit.shares.T)
    return np.asarray(rule.score(z).argmax(axis=0), dtype=np.int64)
