"""How far two annotators agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.result.ownership import claim

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.annotations.annotations import Annotations

SAME, OTHER, ONLY = "same class", "another class", "only {}"
_COLORS = ("#009e73", "#d55e00", "#0072b2", "#e69f00")


@dataclass(frozen=True)
class Agreement:
    """How far two annotators agree.

    Parameters
    ----------
    kappa
        Cohen's kappa over the spots that both annotated; nan if it is not defined, with fewer than
        two such spots or only one class.
    n_both, n_same
        Spots that both annotated, and those of them with the same class.
    n_only
        Spots that only the first annotated, and that only the second annotated.
    """

    kappa: float
    n_both: int
    n_same: int
    n_only: tuple[int, int]


def agreement(annotations: Annotations, first: str, second: str) -> Agreement:
    """Compare the labels of two annotators.

    Parameters
    ----------
    annotations
        Their labels.
    first, second
        The annotators.
    """
    from sklearn.metrics import cohen_kappa_score

    a, b = annotations.codes(first), annotations.codes(second)
    both = (a >= 0) & (b >= 0)
    n = int(both.sum())
    # With a single class, all agreement is by chance: 0 / 0.
    defined = n > 1 and len(np.unique([a[both], b[both]])) > 1
    return Agreement(
        float(cohen_kappa_score(a[both], b[both])) if defined else float("nan"),
        n,
        int((a[both] == b[both]).sum()),
        (int(((a >= 0) & (b < 0)).sum()), int(((a < 0) & (b >= 0)).sum())),
    )


def write_disagreement(
    adata: AnnData, annotations: Annotations, first: str, second: str
) -> NDArray[np.int8]:
    """Map where two annotators agree.

    Parameters
    ----------
    adata
        Integrated slices; sets ``obs["annotation_disagreement"]`` (categorical: same class,
        another class, only one of them; missing if neither annotated) and its colours.
    annotations
        Their labels.
    first, second
        The annotators.

    Returns
    -------
    Codes of the categories, -1 for none.
    """
    import pandas as pd

    a, b = annotations.codes(first), annotations.codes(second)
    codes = np.select(
        [(a < 0) & (b < 0), (a >= 0) & (b < 0), (a < 0) & (b >= 0), a == b],
        [-1, 2, 3, 0],
        default=1,
    ).astype(np.int8)
    claim(adata, "obs", K.DISAGREEMENT)
    names = [SAME, OTHER, ONLY.format(first), ONLY.format(second)]
    adata.obs[K.DISAGREEMENT] = pd.Categorical.from_codes(codes, names)
    adata.uns[f"{K.DISAGREEMENT}_colors"] = list(_COLORS)
    return codes
