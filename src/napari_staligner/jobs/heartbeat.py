"""Signs of life of jobs that run or wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_staligner.jobs.folder import JobFolder

BEAT_SECONDS = 5.0
_log = logging.getLogger(__name__)


@contextmanager
def beating(folders: Collection[JobFolder]) -> Iterator[None]:
    """Give signs of life of some jobs, also within long steps.

    Parameters
    ----------
    folders
        Of the jobs; those that are taken out meanwhile give none any more.
    """
    ended = threading.Event()

    def beat() -> None:
        while True:
            for folder in tuple(folders):
                try:
                    folder.beat()
                except OSError:
                    _log.exception("No sign of life could be given")
            if ended.wait(BEAT_SECONDS):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
