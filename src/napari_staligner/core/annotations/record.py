"""Annotations in the slots of an AnnData, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.classes import NONE, Edit, RegionClass, Shape
from napari_staligner.core.evaluation.missing import is_missing
from napari_staligner.core.json_text import json_of
from napari_staligner.core.palette import hex_color
from napari_staligner.core.result.access import record_of, writable_record
from napari_staligner.core.result.ownership import claim, release, written

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def write_annotations(adata: AnnData, annotations: Annotations) -> list[str]:
    """Write annotations into integrated slices.

    Parameters
    ----------
    adata
        Integrated slices; sets ``obs["annotation"]`` (the present annotator's),
        ``obs["annotation_by_…"]`` if there are several annotators, their colours in ``uns``, and
        ``uns["staligner"]["annotations"]``: every edit with who, when, how, spots and shapes.
    annotations
        Of the same spots; without any edits the slots are removed.

    Returns
    -------
    A sentence for each column of the input with such a name; it is kept under another one, see
    :mod:`~napari_staligner.core.result.ownership`.
    """
    columns = {K.ANNOTATION: annotations.annotator}
    if len(annotations.annotators) > 1:
        columns |= {f"{K.ANNOTATION_BY}{who}": who for who in annotations.annotators}
    if not annotations.edits:
        columns = {}
    old = {key for key in written(adata)["obs"] if is_annotation(key)}
    release(adata, "obs", *(old - set(columns)))
    said = claim(adata, "obs", *columns)
    for key, who in columns.items():
        adata.obs[key] = annotations.column(who)
        adata.uns[f"{key}_colors"] = [c.color for c in annotations.classes]
    recorded = writable_record(adata)
    if columns:
        recorded[K.ANNOTATIONS] = to_record(annotations)
    else:
        recorded.pop(K.ANNOTATIONS, None)
    return said


def is_annotation(column: str) -> bool:
    """Whether a column of ``obs`` is one that :func:`write_annotations` writes, or its colours."""
    return column in (K.ANNOTATION, K.ANNOTATION_COLORS) or str(column).startswith(K.ANNOTATION_BY)


def read_annotations(adata: AnnData, into: Annotations) -> None:
    """Read the annotations of integrated slices; if there are none, keep the earlier ones by spot.

    Parameters
    ----------
    adata
        Reads what :func:`write_annotations` writes; or an ``obs["annotation"]`` from elsewhere,
        which becomes the first edit.
    into
        Gets them.
    """
    record = record_of(adata).get(K.ANNOTATIONS)
    if record is not None:
        into.annotator = str(record["annotator"])
        into.start(adata.obs_names, *from_record(record))
    elif K.ANNOTATION in adata.obs and adata.obs[K.ANNOTATION].dtype == "category":
        into.start(adata.obs_names, [], 0)
        take_column(into, adata.obs[K.ANNOTATION], adata.uns.get(K.ANNOTATION_COLORS), "file")
    else:
        into.carry_to(adata.obs_names)


def annotations_of(adata: AnnData, annotator: str | None = None) -> Annotations:
    """Return the annotations of integrated slices.

    Parameters
    ----------
    adata
        See :func:`read_annotations`.
    annotator
        Who annotates; by default the last one.
    """
    made = Annotations()
    read_annotations(adata, made)
    if annotator is not None:
        made.annotate_as(annotator)
    return made


def take_column(
    into: Annotations, column: pd.Series, colors: Sequence[str] | None, how: str
) -> int:
    """Give spots the classes of a categorical column, as one edit; missing classes are added.

    Parameters
    ----------
    into
        Gets them.
    column
        One value for each spot; spots without a value, or with a text that means none, keep their
        class.
    colors
        One for each category; ``None`` takes free ones.
    how
        The tool, for the record.

    Returns
    -------
    How many spots changed.
    """
    names = [str(name) for name in column.cat.categories]
    given = (
        [hex_color(color)[:7] for color in colors]
        if colors is not None and len(colors) == len(names)
        else [""] * len(names)
    )
    classes = list(into.classes)
    for name, color in zip(names, given, strict=True):
        if not is_missing(name) and all(name != c.name for c in classes):
            classes.append(into.new_class(name, classes, color=color))
    known = {c.name: c.id for c in classes}
    ids = np.array([*(known.get(name, NONE) for name in names), NONE], dtype=np.int16)
    place = column.cat.codes.to_numpy()
    rows = np.flatnonzero(ids[place] != NONE)
    return into.put(rows, ids[place[rows]], "the classes of a column", how, classes=classes)


# -- the record ------------------------------------------------------------------------------


def to_record(annotations: Annotations) -> dict[str, Any]:
    """Return all edits as a dictionary of arrays that HDF5 can hold."""
    edits = annotations.edits
    shapes = [(i, shape) for i, edit in enumerate(edits) for shape in edit.shapes]
    return {
        "annotator": annotations.annotator,
        "position": annotations.position,
        "classes": {
            "name": _strings(c.name for c in annotations.classes),
            "color": _strings(c.color for c in annotations.classes),
            "parent": _strings(c.parent for c in annotations.classes),
            "key": np.array([c.key for c in annotations.classes], dtype=np.int16),
        },
        "edits": {
            **{key: _strings(getattr(e, key) for e in edits) for key in _WORDS},
            "classes": _strings(_packed(e) for e in edits),
            "spots": np.array([len(e.rows) for e in edits], dtype=np.int64),
            "rows": _joined([e.rows for e in edits], np.int64),
            "before": _joined([e.before for e in edits], np.int16),
            "after": _joined([e.after for e in edits], np.int16),
        },
        "shapes": {
            "edit": np.array([i for i, _ in shapes], dtype=np.int64),
            "slice": _strings(shape.slice for _, shape in shapes),
            "corners": np.array([len(shape.xy) for _, shape in shapes], dtype=np.int64),
            "xy": _joined([shape.xy for _, shape in shapes], np.float64).reshape(-1, 2),
        },
    }


def from_record(record: Mapping[str, Any]) -> tuple[list[Edit], int]:
    """Return the edits of a record, and how many of them are done."""
    edits, drawn = record["edits"], record["shapes"]
    shapes: dict[int, list[Shape]] = {}
    corners = _split(np.asarray(drawn["xy"], float).reshape(-1, 2), drawn["corners"])
    for edit, name, xy in zip(drawn["edit"], drawn["slice"], corners, strict=True):
        shapes.setdefault(int(edit), []).append(Shape(str(name), xy))
    words = {key: [str(word) for word in edits[key]] for key in _WORDS}
    rows, before, after = (
        _split(np.asarray(edits[key]), edits["spots"]) for key in ("rows", "before", "after")
    )
    found = []
    for i, packed in enumerate(edits["classes"]):
        old, new = _unpacked(str(packed))
        found.append(
            Edit(
                what=words["what"][i],
                how=words["how"][i],
                who=words["who"][i],
                when=words["when"][i],
                rows=rows[i].astype(np.intp),
                before=before[i].astype(np.int16),
                after=after[i].astype(np.int16),
                old_classes=old,
                new_classes=new,
                shapes=tuple(shapes.get(i, ())),
            )
        )
    return found, int(record["position"])


_WORDS = ("what", "how", "who", "when")


def _packed(edit: Edit) -> str:
    if not edit.old_classes and not edit.new_classes:
        return ""
    return json.dumps([[astuple(c) for c in x] for x in (edit.old_classes, edit.new_classes)])


def _unpacked(text: str) -> tuple[tuple[RegionClass, ...], tuple[RegionClass, ...]]:
    old, new = json_of(text) if text else ((), ())
    return tuple(RegionClass(*c) for c in old), tuple(RegionClass(*c) for c in new)


def _strings(values: Any) -> np.ndarray:
    return np.array(list(values), dtype=object)


def _joined(parts: Sequence[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate([*parts, np.empty((0, *parts[0].shape[1:]) if parts else 0, dtype)])


def _split(values: np.ndarray, lengths: Any) -> list[np.ndarray]:
    ends = np.cumsum(np.asarray(lengths, dtype=np.int64))
    return np.split(values, ends[:-1]) if len(ends) else []
