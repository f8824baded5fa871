"""Which slices are shown: all, a few, or one after the other beside a pinned one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_staligner.session.slices import Slices
    from napari_staligner.session.view import View


class Paging:
    """Chooses the slices that are shown.

    Parameters
    ----------
    slices
        The loaded slices.
    view
        Holds which are shown, and which one is pinned.
    """

    def __init__(self, slices: Slices, view: View) -> None:
        self._slices, self._view = slices, view

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the slices that are shown, in their order."""
        only = self._view.only
        return tuple(name for name in self._slices if not only or name in only)

    def show_only(self, names: Iterable[str]) -> None:
        """Show these slices; all if that is all of them, or none."""
        wanted = frozenset(names) & frozenset(self._slices)
        self._view.only = frozenset() if wanted == frozenset(self._slices) else wanted

    def zoom(self, name: str) -> None:
        """Show a slice alone, beside the pinned one; all again if it is alone already."""
        wanted = frozenset({name, self._view.pinned} - {""})
        self.show_only(() if self._view.only == wanted else wanted)

    def page(self, step: int) -> str:
        """Show the next slice (1) or the one before (-1), beside the pinned one.

        Returns
        -------
        Its name; empty if there are fewer than two slices to page through.
        """
        pinned = self._view.pinned
        names = [name for name in self._slices if name != pinned]
        if len(names) < 2:
            return ""
        now = [name for name in self.shown if name != pinned]
        # From all slices the first step goes to the first slice, or to the last.
        at = names.index(now[0]) + step if len(now) == 1 else (0 if step > 0 else -1)
        name = names[at % len(names)]
        self._view.only = frozenset({name, pinned} - {""})
        return name
