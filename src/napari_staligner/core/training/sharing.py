"""Computations whose parts several processes share, and that go on together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from napari_staligner._errors import ComputeError
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.training.ranks import Arrays, Ranks

T = TypeVar("T")
Item = TypeVar("Item")

ENDED = "The first process ended the training."


def in_step(steps: Steps[T], ranks: Ranks) -> Steps[T]:
    """Run a computation on all ranks; whoever takes the first one's steps decides if it goes on.

    Parameters
    ----------
    steps
        The computation; it has the same steps on all ranks.
    ranks
        The processes.

    Raises
    ------
    ComputeError
        The first rank's was closed, or another rank is gone.
    """
    if ranks.size == 1:
        return (yield from steps)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            yield step
        except GeneratorExit:
            steps.close()
            if not ranks.rank:
                with suppress(ComputeError):
                    ranks.decide(False)
            raise
        if not ranks.decide(True):
            raise ComputeError(ENDED)


def each(
    items: Sequence[Item],
    compute: Callable[[Item], Arrays],
    said: Callable[[int], Progress],
    ranks: Ranks,
    loads: Sequence[int] | None = None,
    threads: int = 1,
) -> Steps[list[Arrays]]:
    """Compute something for each item, every rank for some of them.

    Every step, each rank computes one of its items: an exchange waits for all of them, also the one
    that tells whether to go on, see :func:`in_step`, and whoever has no item between two would wait
    for the others to compute theirs. If another rank is lost, the first one computes what is
    missing.

    Parameters
    ----------
    items
        The same on all ranks.
    compute
        Returns arrays of numbers.
    said
        The progress when so many items are done, of one rank, or about so many, of several.
    ranks
        The processes.
    loads
        How long each item takes, in any unit; all the same if ``None``.
    threads
        How many items a rank computes at a time.

    Returns
    -------
    The arrays of every item, on all ranks.
    """
    loads = [1] * len(items) if loads is None else loads
    owners = ranks.deal(loads)
    mine = [number for number, owner in enumerate(owners) if owner == ranks.rank]
    rounds = max(map(owners.count, range(ranks.size)))
    if ranks.size > 1:
        # What is computed at the same time should take about as long.
        mine.sort(key=lambda number: -loads[number])
    own: dict[int, Arrays] = {}
    pool = ThreadPoolExecutor(threads)
    try:
        wanted = [items[number] for number in mine]
        # Nothing is computed before it is asked for, if there is one thread.
        given = iter(pool.map(compute, wanted) if threads > 1 else map(compute, wanted))
        for done in range(rounds):
            yield said(min(done * ranks.size, len(items) - 1))
            if done < len(mine):
                own[mine[done]] = next(given)
    finally:
        pool.shutdown(cancel_futures=True)
    if ranks.size == 1:
        return [own[number] for number in range(len(items))]
    return list(_gathered(items, compute, ranks, owners, own))


def _gathered(
    items: Sequence[Item],
    compute: Callable[[Item], Arrays],
    ranks: Ranks,
    owners: Sequence[int],
    own: Mapping[int, Arrays],
) -> Iterator[Arrays]:
    lost = False
    for number, owner in enumerate(owners):
        if not lost:
            try:
                yield ranks.share_arrays(own.get(number), owner)
                continue
            except ComputeError:
                if ranks.rank:
                    raise
                lost = True
        yield own[number] if number in own else compute(items[number])
