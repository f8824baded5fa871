"""Whether a result that was read is still what this package wrote; other programs change files.

What everything else rests on is required. Any other part that is not of its kind is left out, and a
note says so: what computes and draws can rely on the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.record import annotations_of
from napari_staligner.core.domains.presence import recorded_presence
from napari_staligner.core.palette import categorical_colors
from napari_staligner.core.prepare.storable import storable_name, unfit_name
from napari_staligner.core.registration.choice import Choice
from napari_staligner.core.registration.trust import PairTrust
from napari_staligner.core.result.access import record_of, spots_xy, writable_record
from napari_staligner.core.result.ownership import moved, written
from napari_staligner.core.result.provenance import settings_of, sources_of
from napari_staligner.core.result.verdicts import read_verdicts

if TYPE_CHECKING:
    from anndata import AnnData

LARGEST = 1e15
"""Sums of squares of larger values are not finite in float32."""
_NUMBERS = "fiub"


def make_sound(path: str, adata: AnnData) -> None:
    """Check a result, and leave out its parts that are not of their kind.

    Parameters
    ----------
    path
        Where it was read, for the messages.
    adata
        The result; changed in place. Sentences on what was left out are added to
        ``uns["staligner"]["notes"]``.

    Raises
    ------
    InputError
        It has no spots, or its slices, its embedding or its coordinates cannot be used.
    """
    _check_needed(path, adata)
    lost = _settle_record(adata)
    _order_slices(adata)
    for slot, kinds in _KINDS.items():
        part = getattr(adata, slot)
        for key in [key for key in part if key in kinds]:
            made = kinds[key](part[key])
            if made is None:
                del part[key]
                lost.append(f"{slot}[{key!r}]")
            elif made is not part[key]:
                part[key] = made
    lost += _settle_colors(adata)
    if lost:
        kept = writable_record(adata)
        said = f"Not of the kind that it was written as, and left out: {', '.join(lost)}."
        kept["notes"] = np.array([*map(str, kept.get("notes", ())), said], dtype=object)


def _check_needed(path: str, adata: AnnData) -> None:
    if not adata.n_obs:
        raise InputError(f"{path!r} is a result without spots: integrate the slices again.")
    if adata.obs[K.SLICE].isna().any():
        raise InputError(
            f"{path!r}: {int(adata.obs[K.SLICE].isna().sum())} spots have no slice in "
            f"obs[{K.SLICE!r}]: leave them out, or integrate again."
        )
    unfit = unfit_name(map(str, adata.obs[K.SLICE].unique()))
    if unfit is not None:
        raise InputError(
            f"{path!r}: slice {unfit!r} of obs[{K.SLICE!r}] has a name that a file cannot hold: "
            f"call it {storable_name(unfit)!r}, for one."
        )
    for key, columns in ((K.EMBEDDING, 1), (K.SPATIAL, 2)):
        values = _numbers(adata.obsm[key]) if key in adata.obsm else None
        if values is None or values.shape[1] < columns or not _usable(values):
            raise InputError(
                f"{path!r}: obsm[{key!r}] is not there, or does not hold finite numbers for every "
                "spot: integrate the slices again."
            )
        if values is not adata.obsm[key]:
            adata.obsm[key] = values


def _usable(values: Any) -> bool:
    with np.errstate(invalid="ignore"):
        return bool((np.abs(values.astype(np.float64)) <= LARGEST).all())


def _order_slices(adata: AnnData) -> None:
    """Make the slices categories of text, in the order that is recorded or else that of spots."""
    column = adata.obs[K.SLICE]
    names = column.astype(str)
    if isinstance(column.dtype, pd.CategoricalDtype):
        order = [*map(str, column.cat.remove_unused_categories().cat.categories)]
        if [*map(str, column.cat.categories)] == order and all(
            isinstance(name, str) for name in column.cat.categories
        ):
            return
    else:
        there = set(names)
        told = [*map(str, record_of(adata).get("slices", ()))]
        order = [name for name in dict.fromkeys(told) if name in there]
        order += [name for name in dict.fromkeys(names) if name not in order]
    adata.obs[K.SLICE] = pd.Categorical(names, order)


# --- the slots: each takes a value, and returns it as it must be, or None


def _numbers(value: Any) -> Any:
    if isinstance(value, pd.DataFrame):
        value = value.to_numpy()
    if sparse.issparse(value):
        value = value.toarray()
    good = isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in _NUMBERS
    # A half or a whole number is no type for what follows.
    return (
        value.astype(np.float32) if good and value.dtype.itemsize < 4 else value if good else None
    )


def _plane(value: Any) -> Any:
    values = _numbers(value)
    if values is None or values.shape[1] != 2 or np.isinf(values.astype(np.float64)).any():
        return None
    return values


def _graph(value: Any) -> Any:
    if not sparse.issparse(value):
        value = sparse.csr_matrix(value) if getattr(value, "ndim", 0) == 2 else None
    if value is None or value.dtype.kind not in _NUMBERS or not np.isfinite(value.data).all():
        return None
    return value if value.format == "csr" else sparse.csr_matrix(value)


def _names(value: pd.Series) -> Any:
    if value.isna().all():
        return None
    if isinstance(value.dtype, pd.CategoricalDtype):
        texts = [str(name) for name in value.cat.categories]
        if texts == [*value.cat.categories]:
            return value
        return value.cat.rename_categories(texts) if len({*texts}) == len(texts) else None
    return pd.Categorical(value.where(value.isna(), value.astype(str)))


def _share(value: pd.Series) -> Any:
    if value.dtype.kind not in "fiu" or not ((value >= 0) & (value <= 1)).all():
        return None
    return value if value.dtype.itemsize >= 4 else value.astype(np.float32)


def _distance(value: pd.Series) -> Any:
    if value.dtype.kind not in "fiu" or np.isinf(value).any() or (value < 0).any():
        return None
    return value if value.dtype.itemsize >= 4 else value.astype(np.float32)


def _whether(value: pd.Series) -> Any:
    return value if value.dtype == bool else None


def _table_of_slices(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) and value.ndim == 2 else None


Kind = Callable[[Any], Any]
_KINDS: Mapping[str, Mapping[str, Kind]] = MappingProxyType(
    {
        "obs": {K.DOMAIN: _names, K.CONFIDENCE: _share, K.RESIDUAL: _distance},
        "var": {K.USED_GENE: _whether},
        "obsm": {K.SPATIAL_ALIGNED: _plane, K.SHIFT: _plane, K.UMAP: _plane, K.UMAP_BEFORE: _plane},
        "varm": {K.IN_SLICE: _table_of_slices},
        "obsp": dict.fromkeys((K.CONNECTIVITIES, K.DISTANCES, K.ATTENTION, K.MUTUAL), _graph),
    }
)


def _settle_colors(adata: AnnData) -> list[str]:
    """Replace the colours of domains if they are no texts, or not one for each domain."""
    told = K.DOMAIN_COLORS in adata.uns
    lost = drop_odd_colors(adata)
    if K.DOMAIN not in adata.obs:
        adata.uns.pop(K.DOMAIN_COLORS, None)
        return [slot for slot in lost if K.DOMAIN_COLORS not in slot]
    n = len(adata.obs[K.DOMAIN].cat.categories)
    if len(adata.uns.get(K.DOMAIN_COLORS, ())) != n or not n:
        adata.uns[K.DOMAIN_COLORS] = categorical_colors(n)
        lost += [f"uns[{K.DOMAIN_COLORS!r}]"] if told else []
    return [*dict.fromkeys(lost)]


def drop_odd_colors(adata: AnnData) -> list[str]:
    """Drop colours of columns that are no list of texts; no file and no view takes them.

    Parameters
    ----------
    adata
        Changed in place.

    Returns
    -------
    The slots.
    """
    keys = [key for key in adata.uns if str(key).endswith("_colors")]
    odd = [key for key in keys if not _list_of_texts(adata.uns[key])]
    for key in odd:
        del adata.uns[key]
    return [f"uns[{key!r}]" for key in odd]


def _list_of_texts(value: Any) -> bool:
    is_list = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)
    return is_list and all(isinstance(each, str) for each in value)


# --- the record: an entry is sound if what reads it can


def _texts(value: Any) -> bool:
    return np.asarray(value, dtype=object).ndim == 1


def _pairs(value: Any) -> bool:
    there = np.asarray(value, dtype=object)
    return there.size == 0 or (there.ndim == 2 and there.shape[1] == 2)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, float | int | np.floating | np.integer)


def _of_numbers(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_number(each) for each in value.values())


def _losses(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(each, np.ndarray) and each.ndim == 1 and each.dtype.kind in _NUMBERS
        for each in value.values()
    )


def _transforms(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        np.shape(each) == (3, 3) and np.isfinite(np.asarray(each, np.float64)).all()
        for each in value.values()
    )


def _registered(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and _pairs(value.get("pairs", ()))
        and _of_numbers(value.get("bending", {}))
        and _texts(value.get("landmarks", ()))
        and all(_text(value.get(key, "")) for key in ("model", "reference"))
        and len(PairTrust.read(value)) in (0, len(np.reshape(value.get("pairs", ()), (-1, 2))))
        and isinstance(Choice.read(value), Choice)
    )


def _excluded(value: Any) -> bool:
    """A table of spots with places, slices and marks."""
    obs = value.obs
    return (
        obs[K.EXCLUDED].dtype == bool
        and obs[K.EXCLUDED_AFTER].dtype.kind in "iu"
        and bool(obs[K.SLICE].notna().all())
        and bool(np.isfinite(spots_xy(value)).all())
    )


_ENTRIES: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "notes": _texts,
        "slices": _texts,
        "pairs": _pairs,
        "version": _text,
        K.SESSION: _text,
        K.COUNTS_LAYER: _text,
        K.STABILITY: _number,
        "radius": _of_numbers,
        K.RECONSTRUCTION_BY_SLICE: _of_numbers,
        "loss": _losses,
        "transforms": _transforms,
        "registration": _registered,
        K.EXCLUDED: _excluded,
        K.EXCLUDED_BY: _text,
        K.PRESENCE: lambda value: isinstance(value, pd.DataFrame),
        K.VERDICTS: lambda value: isinstance(value, pd.DataFrame),
        **dict.fromkeys(
            ("params", K.PROVENANCE, K.ANNOTATIONS, K.WRITTEN, K.OF_INPUT, K.KEPT_SLICES),
            lambda value: isinstance(value, Mapping),
        ),
    }
)
_READERS: Mapping[str, Callable[[AnnData], object]] = MappingProxyType(
    {
        "params": settings_of,
        K.PROVENANCE: sources_of,
        K.PRESENCE: recorded_presence,
        K.VERDICTS: read_verdicts,
        K.ANNOTATIONS: annotations_of,
        K.WRITTEN: written,
        K.OF_INPUT: moved,
    }
)


def _settle_record(adata: AnnData) -> list[str]:
    """Drop the entries of the record that are not of their kind, or that their reader fails on."""
    kept, lost = writable_record(adata), []
    for key in [key for key in kept if key in _ENTRIES]:
        try:
            good = _ENTRIES[key](kept[key])
            if good and key in _READERS:
                _READERS[key](adata)
        except Exception:  # whatever their readers raise on what somebody wrote there
            good = False
        if not good:
            del kept[key]
            lost.append(f"uns[{K.STALIGNER!r}][{key!r}]")
    return lost
