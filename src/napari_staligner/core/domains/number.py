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
from napari_staligner.core.domains.slice_specific import SpotContext, tissue_of
from napari_staligner.core.prepare.surroundings import averaged
from napari_staligner.core.progress import Progress, Steps, finish, part_of
from napari_staligner.core.result.access import record_of

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
    kept
        Share of spots, 0..1, that keep their domain from one half to the other, once the domains
        of both are matched one to one; mean of the halvings.
    """

    domains: int
    mean: float
    sd: float
    kept: float


@dataclass(frozen=True)
class NumberJob:
    """What comparing numbers of domains needs, copied.

    Parameters
    ----------
    embedding
        Shape (spots, d).
    tissue
        Where the spots lie.
    numbers
        Numbers of domains.
    seed
        Of the halvings and of the starts.
    """

    embedding: NDArray[np.float64]
    tissue: SpotContext
    numbers: tuple[int, ...] = NUMBERS
    seed: int = 666

    def steps(self) -> Steps[list[NumberStability]]:
        """Compare them; see :func:`stability_by_number`."""
        yield Progress("blocks of tissue", 0, 1)
        blocks = self.tissue.blocks
        return (yield from number_steps(self.embedding, blocks, self.numbers, self.seed))


def stability_by_number(
    adata: AnnData, numbers: Sequence[int] = NUMBERS, *, seed: int = 666
) -> pd.DataFrame:
    """Tell how stable divisions into each number of domains are.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obsm["STAligner"]``, ``obs["slice"]`` and ``obsm["spatial"]``;
        and ``obsp["spatial_connectivities"]`` where domains are those of the averaged embedding.
        Nothing is written.
    numbers
        Numbers of domains.
    seed
        Of the halvings and of the starts.

    Returns
    -------
    Columns ``domains``, ``mean``, ``sd`` and ``kept``, see :class:`NumberStability`. A high value
    says that the division does not hang on which spots there are; of numbers that are as stable,
    larger ones say more.

    Raises
    ------
    InputError
        There is no embedding, no slice or place of the spots, or no such number of domains.
    """
    found = finish(number_job(adata, numbers, seed=seed).steps())
    return pd.DataFrame([vars(one) for one in found])


def number_job(adata: AnnData, numbers: Sequence[int] = NUMBERS, *, seed: int = 666) -> NumberJob:
    """Copy what comparing needs; see :func:`stability_by_number` for slots and errors."""
    tissue = tissue_of(adata)
    if K.EMBEDDING not in adata.obsm or tissue is None:
        raise InputError(
            f"There is no obsm[{K.EMBEDDING!r}], or no slice or place of the spots: integrate the "
            "slices first."
        )
    z = np.array(adata.obsm[K.EMBEDDING], dtype=np.float64)
    if record_of(adata).get("params", {}).get("averaged") and K.CONNECTIVITIES in adata.obsp:
        z = averaged(z, adata.obsp[K.CONNECTIVITIES], tissue.slice_of)
    return NumberJob(z, tissue, tuple(numbers), seed)


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
        agreed, kept = [], []
        for half in halvings:
            said = []
            for rows in (half, ~half):
                said.append((yield from part_of(_told(z, rows, k, seed), done, 1, total)))
                done += 1
            agreed.append(adjusted_rand_score(*said))
            kept.append(_kept(*said))
        mean, sd = float(np.mean(agreed)), float(np.std(agreed))
        found.append(NumberStability(k, mean, sd, float(np.mean(kept))))
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


def _kept(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Share of spots in domains that belong together, matched one to one."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    shared = contingency_matrix(first, second)
    return float(shared[linear_sum_assignment(shared, maximize=True)].sum() / len(first))
