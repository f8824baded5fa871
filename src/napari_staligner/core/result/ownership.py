"""What this package wrote into an AnnData, and what happened to the input's own columns.

A result records which keys of each slot it wrote (``uns["staligner"]["written"]``). If the input
has a key of the same name, it is moved to ``<key>_of_input``, with a number if that is taken, and
``uns["staligner"]["of_input"]`` records its original name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.prepare.on_disk import with_slots
from napari_staligner.core.result.access import drop_record, has_record, record_of, writable_record

if TYPE_CHECKING:
    from anndata import AnnData

SLOTS = ("obs", "var", "obsm", "varm", "obsp")

RESERVED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "obs": (K.SLICE, K.LIBRARY, K.DOMAIN, K.CONFIDENCE, K.RESIDUAL),
        "var": (K.USED_GENE,),
        "obsm": (K.EMBEDDING, K.SPATIAL_ALIGNED, K.SHIFT, K.UMAP, K.UMAP_BEFORE),
        "varm": (K.IN_SLICE,),
        "obsp": (K.CONNECTIVITIES, K.DISTANCES, K.ATTENTION, K.MUTUAL),
    }
)
"""Keys that an integration writes, or the UMAP panel soon after."""


def written(adata: AnnData) -> dict[str, frozenset[str]]:
    """Keys of each slot that this package wrote.

    Parameters
    ----------
    adata
        Any AnnData. In a result of a version that did not record them, the names in
        :data:`RESERVED` are ours, and annotations if their edits are recorded.
    """
    if not has_record(adata):
        return {slot: frozenset() for slot in SLOTS}
    kept = record_of(adata)
    told = kept.get(K.WRITTEN)
    if isinstance(told, Mapping):
        return {slot: frozenset(map(str, np.atleast_1d(told.get(slot, ())))) for slot in SLOTS}
    ours = {slot: set(keys) for slot, keys in RESERVED.items()}
    # Those versions did not write it yet.
    ours["obs"].remove(K.LIBRARY)
    ours["obs"].add(K.DISAGREEMENT)
    edits = kept.get(K.ANNOTATIONS)
    if isinstance(edits, Mapping) and {"annotator", "edits"} <= set(edits):
        who = [str(edits["annotator"]), *map(str, edits["edits"]["who"])]
        ours["obs"] |= {K.ANNOTATION, *(f"{K.ANNOTATION_BY}{name}" for name in who)}
    return {slot: frozenset(keys) for slot, keys in ours.items()}


def moved(adata: AnnData) -> dict[str, dict[str, str]]:
    """For each slot, the input's keys that were moved aside: the key here, and the original one."""
    told = record_of(adata).get(K.OF_INPUT)
    told = told if isinstance(told, Mapping) else {}
    rows = {slot: np.asarray(told.get(slot, ()), object).reshape(-1, 2) for slot in SLOTS}
    return {slot: {str(here): str(own) for here, own in of} for slot, of in rows.items()}


def names_of_input(adata: AnnData, slot: str) -> dict[str, str]:
    """The input's keys of a slot, with their original names."""
    ours, aside = written(adata)[slot], moved(adata)[slot]
    return {key: aside.get(key, key) for key in getattr(adata, slot) if key not in ours}


def claim(adata: AnnData, slot: str, *keys: str) -> list[str]:
    """Take keys for this package; keys of the input with these names are moved aside.

    Parameters
    ----------
    adata
        Where they will be written; sets ``uns["staligner"]["written"]`` and ``["of_input"]``.
    slot
        ``"obs"``, ``"var"``, ``"obsm"``, ``"varm"`` or ``"obsp"``.
    keys
        Of the slot.

    Returns
    -------
    A sentence for each that was moved; it is also in the notes of the result.
    """
    ours, aside = written(adata), moved(adata)
    said = []
    for key in keys:
        if key in ours[slot] or not _has(adata, slot, key):
            continue
        here = _free(key, [adata], slot)
        _rename(adata, slot, {key: here})
        aside[slot][here] = key
        said.append(_sentence(slot, key, here))
    ours[slot] = ours[slot].union(keys)
    _record(adata, ours, aside)
    _add_notes(adata, said)
    return said


def release(adata: AnnData, slot: str, *keys: str) -> None:
    """Remove what this package wrote under these keys; what was moved aside is restored."""
    ours, aside = written(adata), moved(adata)
    for key in ours[slot].intersection(keys):
        _remove(adata, slot, key)
        for here in [here for here, own in aside[slot].items() if own == key]:
            _rename(adata, slot, {here: key})
            del aside[slot][here]
            _drop_note(adata, _sentence(slot, key, here))
    ours[slot] = ours[slot].difference(keys)
    _record(adata, ours, aside)


@dataclass(frozen=True)
class Inputs:
    """Slices without what this package wrote before, and with its keys free to write.

    Parameters
    ----------
    slices
        Name and AnnData of each; those that needed no change are the same objects.
    aside
        For each slot, the keys that were moved aside, and their names in the input.
    """

    slices: list[tuple[str, AnnData]]
    aside: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, slices: Sequence[tuple[str, AnnData]]) -> Inputs:
        """Take slices; they are not changed."""
        aside: dict[str, dict[str, str]] = {slot: {} for slot in SLOTS}
        made = [(name, _given_back(adata)) for name, adata in slices]
        for slot, keys in RESERVED.items():
            every = [adata for _, adata in made]
            taken = [key for key in keys if any(_has(adata, slot, key) for adata in every)]
            new = {key: _free(key, every, slot) for key in taken}
            aside[slot] = {here: key for key, here in new.items()}
            for number, (name, adata) in enumerate(made):
                if any(_has(adata, slot, key) for key in new):
                    made[number] = name, _renamed(adata, slot, new)
        return cls(made, aside)

    def record(self, adata: AnnData) -> list[str]:
        """Record in the joined slices what was moved aside.

        Returns
        -------
        A sentence for each that is there.
        """
        aside = {
            slot: {here: own for here, own in of.items() if here in getattr(adata, slot)}
            for slot, of in self.aside.items()
        }
        _record(adata, {slot: frozenset(keys) for slot, keys in RESERVED.items()}, aside)
        return [_sentence(slot, own, here) for slot in SLOTS for here, own in aside[slot].items()]


def _sentence(slot: str, key: str, here: str) -> str:
    return (
        f"{slot}[{key!r}] of the input is kept as {slot}[{here!r}]; "
        f"{slot}[{key!r}] is what was made here."
    )


def _has(adata: AnnData, slot: str, key: str) -> bool:
    return key in getattr(adata, slot) or (slot == "obs" and f"{key}_colors" in adata.uns)


def _free(key: str, every: Iterable[AnnData], slot: str) -> str:
    taken = {key for adata in every for key in getattr(adata, slot)}
    taken |= {key.removesuffix("_colors") for adata in every for key in adata.uns}
    free, number = f"{key}_of_input", 2
    while free in taken:
        free, number = f"{key}_of_input_{number}", number + 1
    return free


def _remove(adata: AnnData, slot: str, key: str) -> None:
    part = getattr(adata, slot)
    if key in part:
        del part[key]
    if slot == "obs":
        adata.uns.pop(f"{key}_colors", None)


def _rename(adata: AnnData, slot: str, new: Mapping[str, str]) -> None:
    """Rename keys of a slot in place; the colours of columns of ``obs`` go with them."""
    part = getattr(adata, slot)
    if slot in ("obs", "var"):
        setattr(adata, slot, part.rename(columns=dict(new)))
    else:
        for key in [key for key in new if key in part]:
            part[new[key]] = part.pop(key)
    for key, here in new.items() if slot == "obs" else ():
        if f"{key}_colors" in adata.uns:
            adata.uns[f"{here}_colors"] = adata.uns.pop(f"{key}_colors")


def _renamed(adata: AnnData, slot: str, new: Mapping[str, str]) -> AnnData:
    made = with_slots(adata)
    _rename(made, slot, new)
    return made


def _given_back(adata: AnnData) -> AnnData:
    """A slice as in the input: without our keys, and with the input's keys under their names."""
    if not has_record(adata):
        return adata
    ours, aside = written(adata), moved(adata)
    made = with_slots(adata)
    for slot in SLOTS:
        for key in ours[slot]:
            _remove(made, slot, key)
        _rename(made, slot, aside[slot])
    drop_record(made)
    return made


def _record(
    adata: AnnData, ours: Mapping[str, frozenset[str]], aside: Mapping[str, Mapping[str, str]]
) -> None:
    kept = writable_record(adata)
    kept[K.WRITTEN] = {
        slot: np.array(sorted(keys), dtype=object) for slot, keys in ours.items() if keys
    }
    kept[K.OF_INPUT] = {
        slot: np.array(list(of.items()), dtype=object) for slot, of in aside.items() if of
    }


def _add_notes(adata: AnnData, said: Sequence[str]) -> None:
    if said:
        kept = writable_record(adata)
        kept["notes"] = np.array([*map(str, kept.get("notes", ())), *said], dtype=object)


def _drop_note(adata: AnnData, said: str) -> None:
    kept = writable_record(adata)
    left = [str(note) for note in kept.get("notes", ()) if str(note) != said]
    kept["notes"] = np.array(left, dtype=object)
