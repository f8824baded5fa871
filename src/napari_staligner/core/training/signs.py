"""Signs of life between processes that compute together.

A process that computes for long is waited for; one whose machine is gone, or that was stopped, is
not: its connection may stay open, so that only its silence tells.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import Store, Work

BEAT, LOOK = 5.0, 5.0
"""Seconds between two signs of a process, and between two looks at those of others."""
SILENT = 120.0
"""A process that gives no sign for so many seconds is taken for gone."""


_left = threading.Event()


class Silence(RuntimeError):
    """Another process gives no sign of life."""


def exchange_left() -> bool:
    """Whether this process has left an exchange, whose own threads still wait for the others."""
    return _left.is_set()


def leave(code: int) -> None:
    """End this process now if it has left an exchange: else its end would wait for that."""
    if exchange_left():
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


class Signs:
    """Gives signs of life, and sees those of others.

    Parameters
    ----------
    store
        What all processes read and write.
    rank, size
        Number of this process, and how many there are.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self._store, self._rank = store, rank
        self._others = [str(other) for other in range(size) if other != rank]
        self._seen: dict[str, bytes] = {}
        self._still = dict.fromkeys(self._others, 0.0)
        self._looked = time.monotonic()
        threading.Thread(target=self._give, name="signs", daemon=True).start()

    def wait(self, work: Work) -> None:
        """Wait for an exchange as long as all others give signs.

        Raises
        ------
        RuntimeError
            The exchange failed, or another process is silent: :class:`Silence`.
        """
        while True:
            try:
                work.wait(timedelta(seconds=LOOK))
                return
            except RuntimeError:
                # The exchange itself, or only the time for this look, is over.
                if work.is_completed():
                    raise
            if self._anyone_silent():
                _left.set()
                raise Silence

    def _give(self) -> None:
        number = 0
        # If the first process is gone, there is nobody to give signs to.
        with suppress(RuntimeError):
            while True:
                self._store.set(str(self._rank), str(number))
                number += 1
                time.sleep(BEAT)

    def _anyone_silent(self) -> bool:
        # If this process was stopped itself, that time does not count.
        waited = min(time.monotonic() - self._looked, 2 * LOOK)
        self._looked = time.monotonic()
        try:
            for other in self._others:
                sign = self._store.get(other) if self._store.check([other]) else b""
                self._still[other] += waited
                if sign != self._seen.get(other):
                    self._seen[other], self._still[other] = sign, 0.0
        except RuntimeError:
            return True
        return max(self._still.values()) > SILENT
