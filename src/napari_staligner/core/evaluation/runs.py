"""How alike several runs on the same slices are: over seeds, or over values of a setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.evaluation.evaluation import evaluate

if TYPE_CHECKING:
    from anndata import AnnData

AGREEMENT = "ari_of_runs"
"""Column with the mean agreement of a run with the others."""


@dataclass(frozen=True)
class Runs:
    """Figures of several runs.

    Parameters
    ----------
    figures
        A row for each run, by its name: ``"domains"``, their number; ``"ari_of_runs"``, the mean
        adjusted Rand index between its domains and those of every other run; and the figures of
        :data:`~napari_staligner.core.evaluation.metrics.METRICS` of its embedding.
    agreement
        Shape (runs, runs), float64: adjusted Rand index between the domains of two runs; NaN where
        one has none.
    """

    figures: pd.DataFrame
    agreement: pd.DataFrame

    @property
    def spread(self) -> pd.DataFrame:
        """Mean and standard deviation (n - 1) of every figure over the runs.

        That of ``"ari_of_runs"`` is over the pairs of runs, each counted once.
        """
        found = self.figures.agg(["mean", "std"])
        pairs = self.agreement.to_numpy()[np.triu_indices(len(self.agreement), 1)]
        found[AGREEMENT] = [pd.Series(pairs).mean(), pd.Series(pairs).std()]
        return found.set_axis(["mean", "sd"])


def compare_runs(
    runs: Mapping[str, AnnData] | Iterable[tuple[str, AnnData]], labels: str | None = None
) -> Runs:
    """Compare results of the same slices, which differ in their seed or in other settings.

    Parameters
    ----------
    runs
        Names and integrated slices, as :func:`napari_staligner.integrate` returns them; one at a
        time is taken from an iterator. They stay as they are.
    labels
        Column of ``obs`` to compare each with, see :func:`napari_staligner.evaluate`.

    Returns
    -------
    The figures of each, and how well their domains agree.

    Raises
    ------
    InputError
        There is none, or they hold different spots.
    """
    figures: dict[str, dict[str, float]] = {}
    domains: dict[str, np.ndarray] = {}
    spots: tuple[str, pd.Index] | None = None
    for name, adata in runs.items() if isinstance(runs, Mapping) else runs:
        spots = spots or (name, adata.obs_names)
        if not adata.obs_names.equals(spots[1]):
            raise InputError(
                f"Run {name!r} holds other spots than {spots[0]!r}: compare runs on the same "
                "slices."
            )
        codes = pd.factorize(adata.obs[K.DOMAIN])[0] if K.DOMAIN in adata.obs else None
        if codes is not None:
            domains[name] = codes
        own = evaluate(adata, labels, (K.EMBEDDING,)).figures[K.EMBEDDING].overall
        number = np.nan if codes is None else float(len(np.unique(codes)))
        figures[name] = {"domains": number, AGREEMENT: np.nan, **own}
    if not figures:
        raise InputError("There is no finished run to compare.")
    agreement = _agreement(list(figures), domains)
    found = pd.DataFrame.from_dict(figures, orient="index")
    apart = agreement.where(~np.eye(len(agreement), dtype=bool))
    found[AGREEMENT] = apart.mean(axis=1)
    return Runs(found, agreement)


def _agreement(names: list[str], domains: Mapping[str, np.ndarray]) -> pd.DataFrame:
    from sklearn.metrics import adjusted_rand_score

    found = pd.DataFrame(np.nan, index=names, columns=names)
    for a in domains:
        for b in domains:
            found.loc[a, b] = adjusted_rand_score(domains[a], domains[b])
    return found
