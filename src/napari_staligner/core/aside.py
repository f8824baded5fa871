"""Computations in a process of their own, started with ``python -m``.

Some compiled libraries hold Python's lock for seconds at a time, which would freeze a window, and
cannot be interrupted. A process of its own can be ended at once, and its end is not that of napari.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from napari_staligner._errors import ComputeError

_POLL_SECONDS = 0.1


def run_aside(module: str, folder: Path, what: str) -> Generator[str, None, None]:
    """Run a module in another process, which is ended when this generator is closed.

    Parameters
    ----------
    module
        Its name; it is given the folder.
    folder
        Where it finds its input, and leaves its output.
    what
        What it computes, for the message.

    Yields
    ------
    All that the process wrote to stderr until now, ten times a second or more often.

    Raises
    ------
    ComputeError
        It failed; the last line that it wrote says why.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    said: SimpleQueue[str] = SimpleQueue()
    reader = Thread(target=_read, args=(process, said), daemon=True)
    reader.start()
    try:
        text = ""
        while process.poll() is None:
            with suppress(Empty):
                text += said.get(timeout=_POLL_SECONDS)
            yield text
        reader.join()
        while not said.empty():
            text += said.get()
        if process.returncode:
            last = text.strip().splitlines()[-1:] or ["no reason given"]
            raise ComputeError(f"{what} failed ({last[0].strip()[:200]}): please report it.")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join()
        if process.stderr is not None:
            process.stderr.close()


def _read(process: subprocess.Popen[bytes], said: SimpleQueue[str]) -> None:
    """Pass on the output of the process as it comes."""
    if process.stderr is not None:
        while chunk := os.read(process.stderr.fileno(), 4096):
            said.put(chunk.decode(errors="replace"))
