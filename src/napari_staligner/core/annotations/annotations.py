"""Regions that people name: classes, who put which spot in which class, and undo.

Everything is a list of edits, and the present state is their result. So undo has no limit, and
the same list records who did what, when and how.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_staligner._errors import InputError
from napari_staligner.core.annotations.classes import (
    EXCLUDE,
    EXCLUDED_COLOR,
    KEYS,
    NONE,
    TEMPLATES,
    Edit,
    RegionClass,
    Shape,
)
from napari_staligner.core.palette import categorical_colors

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from napari_staligner.core.annotations.classes import Codes, Rows


@dataclass(eq=False)
class Annotations:
    """Classes, labels of every annotator, and the edits that led to them.

    Spots are identified by name, so that a new result of the same slices keeps its annotations.

    Parameters
    ----------
    spots
        Names of the spots, unique.
    annotator
        Who annotates now.
    """

    spots: pd.Index[str] | None = None
    annotator: str = "me"
    _chosen: str = ""
    classes: tuple[RegionClass, ...] = ()
    edits: list[Edit] = field(default_factory=list)
    position: int = 0
    """How many of the edits are done; those after them are undone."""

    changed = Signal()
    """Labels, classes or shapes changed."""
    view_changed = Signal()
    """Another annotator or class is chosen."""

    def __post_init__(self) -> None:
        self._codes: dict[str, Codes] = {}

    # -- what there is ----------------------------------------------------------------------

    @property
    def n_spots(self) -> int:
        """Spots that can be annotated."""
        return 0 if self.spots is None else len(self.spots)

    @property
    def annotators(self) -> tuple[str, ...]:
        """Everyone who has labels, and the present annotator."""
        return tuple(dict.fromkeys([*self._codes, self.annotator]))

    @property
    def done(self) -> list[Edit]:
        """The edits that are not undone, the oldest first."""
        return self.edits[: self.position]

    @property
    def shapes(self) -> list[tuple[Edit, Shape]]:
        """All that was drawn and not undone, the oldest first."""
        return [(edit, shape) for edit in self.done for shape in edit.shapes]

    def named(self, name: str) -> RegionClass:
        """Return the class with a name.

        Raises
        ------
        InputError
            There is none.
        """
        for region in self.classes:
            if region.name == name:
                return region
        there = ", ".join(repr(c.name) for c in self.classes) or "none"
        raise InputError(f"There is no class {name!r}: choose one of {there}.")

    def with_key(self, key: int) -> RegionClass | None:
        """Return the class that a key assigns."""
        return next((c for c in self.classes if c.key == key), None)

    def codes(self, who: str | None = None) -> Codes:
        """Class of each spot by its place in :attr:`classes`, -1 for none.

        Parameters
        ----------
        who
            The annotator; ``None`` for the present one.

        Returns
        -------
        int16, shape (spots,).
        """
        ids = self._ids(self.annotator if who is None else who)
        table = np.full(max((c.id for c in self.classes), default=0) + 2, NONE, dtype=np.int16)
        for place, region in enumerate(self.classes):
            table[region.id] = place
        # The stored codes of removed classes stay, for undo; here those spots have no class.
        return np.asarray(table[np.where((ids < 0) | (ids >= len(table)), -1, ids)])

    def column(self, who: str | None = None) -> pd.Categorical:
        """Names of the classes of all spots, as a categorical with all classes."""
        import pandas as pd

        return pd.Categorical.from_codes(self.codes(who), [c.name for c in self.classes])

    def mask_of(self, name: str, who: str | None = None) -> NDArray[np.bool_]:
        """Which spots have a class, shape (spots,)."""
        return np.equal(self.codes(who), self.classes.index(self.named(name)))

    def rows_of(self, name: str, who: str | None = None) -> Rows:
        """Rows that have a class."""
        return np.flatnonzero(self.mask_of(name, who))

    def _ids(self, who: str) -> Codes:
        if who not in self._codes:
            return np.full(self.n_spots, NONE, dtype=np.int16)
        return self._codes[who]

    # -- what is looked at ------------------------------------------------------------------

    @property
    def chosen(self) -> str:
        """Name of the class that tools assign; empty if they only select."""
        return self._chosen if any(c.name == self._chosen for c in self.classes) else ""

    def choose(self, name: str) -> None:
        """Choose the class that tools assign; with an empty name they only select."""
        if name != self.chosen:
            self._chosen = self.named(name).name if name else ""
            self.view_changed.emit()

    def annotate_as(self, who: str) -> None:
        """Switch to another annotator.

        Raises
        ------
        InputError
            The name is empty, or has a slash, which a column in a file may not have.
        """
        who = who.strip()
        if not who or "/" in who:
            raise InputError(f"The annotator's name {who!r} cannot be used: give one without '/'.")
        if who != self.annotator:
            self.annotator = who
            self.view_changed.emit()
            self.changed.emit()

    # -- spots ------------------------------------------------------------------------------

    def assign(
        self, rows: NDArray[np.integer[Any]], name: str, how: str, shapes: Iterable[Shape] = ()
    ) -> int:
        """Give spots a class.

        Parameters
        ----------
        rows
            Rows of the result.
        name
            The class; empty removes their class.
        how
            The tool.
        shapes
            What was drawn, if anything.

        Returns
        -------
        How many spots changed; if none did, there is no edit.
        """
        each: Rows = np.unique(np.asarray(rows, dtype=np.intp))
        code = self.named(name).id if name else NONE
        return self.put(each, np.full(len(each), code, np.int16), name, how, shapes=shapes)

    def put(
        self,
        rows: Rows,
        codes: Codes,
        name: str,
        how: str,
        *,
        classes: Sequence[RegionClass] | None = None,
        shapes: Iterable[Shape] = (),
    ) -> int:
        """Give each of some spots a class of its own; the classes may change in the same edit.

        Parameters
        ----------
        rows
            Rows of the result, each once.
        codes
            Identifiers of their classes, -1 for none.
        name
            What they become, for the undo button; empty if they become unlabelled.
        how
            The tool.
        classes
            All classes afterwards; ``None`` leaves them as they are.
        shapes
            What was drawn.
        """
        before = self._ids(self.annotator)[rows]
        differs = before != codes
        n = int(differs.sum())
        if n or (classes is not None and tuple(classes) != self.classes):
            target = name or "no class"
            edit = self._edit(f"{n:,} spots to {target}", how, classes)
            self._do(
                replace(
                    edit,
                    rows=rows[differs],
                    before=before[differs],
                    after=codes[differs],
                    shapes=tuple(shapes),
                )
            )
        return n

    # -- classes ----------------------------------------------------------------------------

    def use_template(self, template: str) -> None:
        """Add the classes of a template that are missing, with free keys and colours."""
        classes = list(self.classes)
        for name, parent in TEMPLATES[template]:
            if all(name != c.name for c in classes):
                classes.append(self.new_class(name, classes, parent=parent))
        self._change(classes, f"classes of {template}")

    def add_class(self, name: str, color: str = "", parent: str = "", key: int = 0) -> RegionClass:
        """Add a class; without colour or key it gets free ones.

        Raises
        ------
        InputError
            The name is empty or taken.
        """
        name = self._free(name)
        added = self.new_class(name, self.classes, color=color, parent=parent, key=key)
        self._change([*self.classes, added], f"class {name}")
        return added

    def new_class(
        self,
        name: str,
        beside: Sequence[RegionClass],
        *,
        color: str = "",
        parent: str = "",
        key: int = 0,
    ) -> RegionClass:
        """Make a class with an identifier, colour and key not used by those ``beside`` it."""
        ever = [*beside, *(c for e in self.edits for c in e.new_classes)]
        taken = {c.color for c in beside}
        colors = categorical_colors(len(beside) + 1)
        color = color or (EXCLUDED_COLOR if name == EXCLUDE else "")
        color = color or next((one for one in colors if one not in taken), colors[-1])
        keys = {c.key for c in beside}
        return RegionClass(
            id=max((c.id for c in ever), default=NONE) + 1,
            name=name,
            color=color,
            parent=parent,
            key=key or next((k for k in KEYS if k not in keys), 0),
        )

    def rename_class(self, old: str, new: str) -> None:
        """Give a class another name; its children follow."""
        self.named(old)
        if new.strip() == old:
            return
        new = self._free(new)
        self._chosen = new if self._chosen == old else self._chosen
        renamed = [
            replace(
                c,
                name=new if c.name == old else c.name,
                parent=new if c.parent == old else c.parent,
            )
            for c in self.classes
        ]
        self._change(renamed, f"renaming {old} to {new}")

    def change_class(self, name: str, **changes: Any) -> None:
        """Change colour, parent or key of a class; a key is taken away from the class that had it.

        Raises
        ------
        InputError
            The parent is the class itself or one of its own children.
        """
        changed = replace(self.named(name), **changes)
        above = changed.parent
        while above:
            if above == name:
                raise InputError(
                    f"Class {name!r} cannot be a part of {changed.parent!r}, which is a part of "
                    "it: choose another parent."
                )
            above = self.named(above).parent
        freed = [
            replace(c, key=0) if changed.key and c.key == changed.key else c for c in self.classes
        ]
        what = f"changing {name}"
        self._change([changed if c.name == name else c for c in freed], what)

    def remove_class(self, name: str) -> None:
        """Remove a class: its spots become unlabelled, and its children move to its parent."""
        gone = self.named(name)
        left = [
            replace(c, parent=gone.parent) if c.parent == name else c
            for c in self.classes
            if c is not gone
        ]
        self._change(left, f"removing {name}")

    def _free(self, name: str) -> str:
        name = name.strip()
        if not name or any(name == c.name for c in self.classes):
            why = f"is taken ({name!r})" if name else "is empty"
            raise InputError(f"The name of the class {why}: choose another.")
        return name

    def _change(self, classes: Sequence[RegionClass], what: str) -> None:
        if tuple(classes) != self.classes:
            self._do(self._edit(what, "classes", classes))

    # -- history ----------------------------------------------------------------------------

    def undo(self) -> None:
        """Undo the last edit."""
        if self.position:
            self.position -= 1
            edit = self.edits[self.position]
            self._apply(edit, edit.before, edit.old_classes)

    def redo(self) -> None:
        """Redo the edit that was last undone."""
        if self.position < len(self.edits):
            edit = self.edits[self.position]
            self.position += 1
            self._apply(edit, edit.after, edit.new_classes)

    @property
    def undo_text(self) -> str:
        """What :meth:`undo` undoes; empty if there is nothing."""
        return self.edits[self.position - 1].what if self.position else ""

    @property
    def redo_text(self) -> str:
        """What :meth:`redo` redoes; empty if there is nothing."""
        return self.edits[self.position].what if self.position < len(self.edits) else ""

    def _edit(self, what: str, how: str, classes: Sequence[RegionClass] | None) -> Edit:
        if self.spots is None:
            raise InputError("There are no spots to annotate: integrate the slices first.")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        none, codes = np.empty(0, np.intp), np.empty(0, np.int16)
        edit = Edit(what, how, self.annotator, now, none, codes, codes)
        if classes is None or tuple(classes) == self.classes:
            return edit
        return replace(edit, old_classes=self.classes, new_classes=tuple(classes))

    def _do(self, edit: Edit) -> None:
        del self.edits[self.position :]
        self.edits.append(edit)
        self.position += 1
        self._apply(edit, edit.after, edit.new_classes)

    def _apply(self, edit: Edit, codes: Codes, classes: tuple[RegionClass, ...]) -> None:
        self._enter(edit, codes, classes)
        self.changed.emit()

    def _enter(self, edit: Edit, codes: Codes, classes: tuple[RegionClass, ...]) -> None:
        if edit.old_classes or edit.new_classes:
            self.classes = classes
        if len(edit.rows):
            self._codes.setdefault(edit.who, self._ids(edit.who))[edit.rows] = codes

    # -- other spots ------------------------------------------------------------------------

    def start(self, spots: pd.Index[str], edits: Sequence[Edit], position: int) -> None:
        """Start with these edits; the first ``position`` of them are done."""
        self.spots, self.edits, self.position = spots, list(edits), position
        self._codes, self.classes = {}, tuple[RegionClass, ...]()
        for edit in self.done:
            self._enter(edit, edit.after, edit.new_classes)
        self.changed.emit()
        self.view_changed.emit()

    def carry_to(self, spots: pd.Index[str]) -> None:
        """Keep everything for other spots, if they have the same names."""
        old, edits = self.spots, self.edits
        if old is not None and not old.equals(spots):
            to = spots.get_indexer(old)
            edits = [_mapped(edit, to) for edit in edits]
        self.start(spots, edits, self.position)


def _mapped(edit: Edit, to: NDArray[np.intp]) -> Edit:
    """Return an edit for rows that have moved; -1 where a row is gone."""
    rows = to[edit.rows]
    there = rows >= 0
    return replace(edit, rows=rows[there], before=edit.before[there], after=edit.after[there])
