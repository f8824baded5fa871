"""The domains of several embeddings side by side, in colours that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_staligner.core.domains.domains import colors_like
from napari_staligner.core.evaluation.baselines import TITLES
from napari_staligner.core.evaluation.metrics import METRICS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_staligner.core.evaluation.evaluation import Evaluation

KEY_FIGURES = ("ilisi_raw", "clisi_raw", "ari", "nmi", "f1")
"""The figures next to a picture: mixing, and agreement with labels."""


@dataclass(frozen=True)
class Method:
    """The data for the pictures of one embedding, or of the labels.

    Parameters
    ----------
    title
        Name for people.
    key
        Of the embedding in ``obsm``; empty for labels.
    codes
        Shape (spots,): number of the domain, -1 without one.
    colors
        Hex colour of each domain: that of the result's domain that it shares most spots with.
    umap
        Shape (spots, 2); ``None`` if there is none.
    figures
        Some overall figures, as text.
    overall
        All overall figures, by key; empty for labels.
    """

    title: str
    key: str
    codes: NDArray[np.integer[Any]] = field(repr=False)
    colors: tuple[str, ...]
    umap: NDArray[np.floating[Any]] | None = field(repr=False)
    figures: str = ""
    overall: Mapping[str, float] = field(default_factory=dict, repr=False)


def methods(
    evaluation: Evaluation,
    reference: NDArray[np.integer[Any]],
    colors: list[str],
    labels: NDArray[np.integer[Any]] | None,
    umaps: Mapping[str, NDArray[np.floating[Any]]],
) -> tuple[Method, ...]:
    """List the labels, if there are any, and the embeddings, in the order of the figures.

    Parameters
    ----------
    evaluation
        Figures of the embeddings, with the domains of each.
    reference, colors
        Domains of the result, shape (spots,), and the hex colour of each.
    labels
        Codes of the column with the labels, shape (spots,).
    umaps
        UMAPs of the embeddings by the embedding's key, if there are any.
    """
    found = []
    if labels is not None and evaluation.labels is not None:
        palette = tuple(colors_like(labels, reference, colors))
        found.append(Method(f"obs: {evaluation.labels}", "", labels, palette, None))
    for key, figures in evaluation.figures.items():
        palette = tuple(colors_like(figures.domains, reference, colors))
        said = ", ".join(
            f"{METRICS[name].title} {figures.overall[name]:.2f}"
            for name in KEY_FIGURES
            if figures.overall.get(name, float("nan")) == figures.overall.get(name)
        )
        title = TITLES.get(key, key)
        umap = umaps.get(key)
        found.append(Method(title, key, figures.domains, palette, umap, said, figures.overall))
    return tuple(found)


def key_figures(found: Sequence[Method]) -> tuple[str, ...]:
    """Which of :data:`KEY_FIGURES` any of the methods has."""
    return tuple(key for key in KEY_FIGURES if any(key in method.overall for method in found))


def best(found: Sequence[Method], metric: str) -> tuple[int, ...]:
    """Which of the methods have the best value of a figure, to three decimals."""
    nan = float("nan")
    values = [method.overall.get(metric, nan) for method in found]
    known = [value for value in values if value == value]
    if not known:
        return ()
    top = max(known) if METRICS[metric].higher_is_better else min(known)
    return tuple(i for i, v in enumerate(values) if v == v and not METRICS[metric].compare(v, top))
