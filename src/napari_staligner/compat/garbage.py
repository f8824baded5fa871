"""Python's search for garbage: among all that torch, scanpy and napari hold, it takes 0.5 s."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEVER = 1_000_000
_usual: list[tuple[int, int, int]] = []
_spared: list[bool] = []


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Let what is called inside search among new objects only, though it asks for all.

    Not by ``gc.freeze``: after it, Python holds little of what there is for old, and soon searches
    all of it once more. Can go when nothing called inside asks for a whole search, see
    :func:`~napari_staligner.compat.layers_removed`.
    """
    whole = gc.collect

    def collect(generation: int = 1) -> int:
        return whole(min(generation, 1))

    gc.collect = collect
    try:
        yield
    finally:
        gc.collect = whole


def search_whole(wanted: bool) -> None:
    """Let Python search all objects now and then, as usual, or not before this is called again."""
    if wanted and _usual:
        gc.set_threshold(*_usual.pop())
    elif not wanted and not _usual:
        _usual.append(gc.get_threshold())
        gc.set_threshold(*_usual[0][:2], _NEVER)


def spare_libraries(wanted: bool) -> None:
    """Leave all that is there now out of later searches, or take it in again.

    For when the libraries of a run have been loaded. What of it becomes garbage in a circle, as
    layers do, keeps its memory until this is called again: once is enough, and it must be taken
    back when slices are closed.
    """
    if wanted and not _spared:
        gc.freeze()
        _spared.append(True)
    elif not wanted and _spared:
        gc.unfreeze()
        _spared.clear()
