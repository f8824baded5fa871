"""Folds and tears: spots that people exclude are marked, left out, and kept to be taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.concatenate import concatenate
from napari_staligner.core.prepare.on_disk import in_memory, named_layers, with_slots
from napari_staligner.core.prepare.spots import excluded_spots
from napari_staligner.core.result.access import record_of, writable_record

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray


def mark_excluded(name: str, adata: AnnData, spots: NDArray[np.bool_], by: str = "") -> AnnData:
    """Return a slice in which more spots are excluded.

    Parameters
    ----------
    name
        Of the slice.
    adata
        The slice; it is not changed, the returned one shares its arrays.
    spots
        Which, bool, shape (spots,).
    by
        File of the regions; empty if they were drawn in a window.

    Returns
    -------
    The slice with ``obs["excluded"]``, bool, and ``uns["staligner_excluded_by"]``.

    Raises
    ------
    InputError
        Its ``obs["excluded"]`` says something else than yes and no.
    """
    before, column = excluded_spots(adata.obs)
    if K.EXCLUDED in adata.obs and column != K.EXCLUDED and adata.n_obs:
        raise InputError(
            f"Slice {name!r}: obs[{K.EXCLUDED!r}] says something else than yes and no: give the "
            "column another name, so that spots can be excluded."
        )
    marked = with_slots(adata)
    marked.obs[K.EXCLUDED] = before | spots
    marked.uns[K.EXCLUDED_BY_FILE] = by
    return marked


def set_aside(whole: AnnData, used: AnnData) -> AnnData:
    """Return the excluded spots of a slice.

    Parameters
    ----------
    whole
        The slice, with unique names of its spots.
    used
        The same with only the spots that are integrated.

    Returns
    -------
    Perhaps no spot; ``obs["excluded_after"]`` is the place of each among those that are used.
    """
    out, _ = excluded_spots(whole.obs)
    before = np.cumsum(whole.obs_names.isin(used.obs_names))[out]
    aside = whole[out].copy()
    aside.obs[K.EXCLUDED_AFTER] = before.astype(np.int64)
    return aside


def record_excluded(
    adata: AnnData,
    aside: Sequence[tuple[str, AnnData]],
    genes: Sequence[str],
    layers: Sequence[str | None],
) -> None:
    """Keep the excluded spots in the result.

    Parameters
    ----------
    adata
        Integrated slices; sets ``uns["staligner"]["excluded"]`` and ``["excluded_by"]``.
    aside
        Name and excluded spots of each slice.
    genes, layers
        As for :func:`~napari_staligner.core.prepare.concatenate.concatenate`.
    """
    if not any(part.n_obs for _, part in aside):
        return
    kept, _ = concatenate(aside, genes, layers)
    kept.X = in_memory(kept.X)
    for key, layer in named_layers(kept).items():
        kept.layers[key] = in_memory(layer)
    kept.uns.clear()
    kept.varm.clear()
    kept.var = pd.DataFrame(index=kept.var_names)
    kept.obs[K.EXCLUDED] = True
    record = writable_record(adata)
    record[K.EXCLUDED] = kept
    by = [part.uns[K.EXCLUDED_BY_FILE] for _, part in aside if K.EXCLUDED_BY_FILE in part.uns]
    if by:
        record[K.EXCLUDED_BY] = next(filter(None, map(str, by)), "")


def excluded_of(adata: AnnData) -> AnnData | None:
    """Return the spots that a run left out because people excluded them.

    Parameters
    ----------
    adata
        Integrated slices.

    Returns
    -------
    The spots, with the genes of the result and ``obs["slice"]``; ``None`` if there are none.
    ``obs["excluded"]`` is false where somebody took a spot back, for the next run.
    """
    return record_of(adata).get(K.EXCLUDED)


def rejoined(used: AnnData, aside: AnnData) -> AnnData:
    """Put excluded spots back among the others, in the order that they had.

    Parameters
    ----------
    used
        A slice as it was integrated; more of its spots may be excluded since.
    aside
        Its excluded spots, with ``obs["excluded_after"]`` and ``obs["excluded"]``.

    Returns
    -------
    The slice with all of them, and with ``obs["excluded"]``, bool.
    """
    import anndata as ad

    place = aside.obs[K.EXCLUDED_AFTER].to_numpy(dtype=np.int64)
    order = np.argsort(np.concatenate([np.arange(used.n_obs), place - 0.5]), kind="stable")
    other = with_slots(aside, obsp={}, varp={})
    del other.obs[K.EXCLUDED_AFTER]
    parts = [with_slots(used, obsp={}, varp={}), other]
    whole = ad.concat(parts, join="outer", fill_value=0, merge="first")
    whole = whole[order, used.var_names].copy()
    whole.uns = dict(used.uns)
    out = np.concatenate([excluded_spots(used.obs)[0], aside.obs[K.EXCLUDED].to_numpy(bool)])
    whole.obs[K.EXCLUDED] = out[order]
    return whole


def whole_slices(
    slices: Mapping[str, AnnData], aside: Mapping[str, AnnData]
) -> list[tuple[str, AnnData]]:
    """Put what was left out before among the other spots of the slices of a run.

    Parameters
    ----------
    slices
        Tables of a run, in which ``obs["excluded"]`` may mark more spots.
    aside
        Spots that the last run left out, by slice.

    Returns
    -------
    Name and table of each; ``obs["excluded"]`` says what is left out now.
    """
    return [
        (name, rejoined(adata, aside[name]) if name in aside else adata)
        for name, adata in slices.items()
    ]
