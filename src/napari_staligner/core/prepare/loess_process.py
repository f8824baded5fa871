"""loess in a process of its own: what ends it does not end ours.

scikit-misc's loess is compiled code that was seen to crash. ``python -m`` this module fits what it
is sent, and ends with the program that started it. It imports numpy and loess alone.
"""

from __future__ import annotations

import atexit
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import RLock
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_ASKED = struct.Struct("<Qdi")
"""How many values, and what loess calls ``span`` and ``degree``; x and y follow, float64."""
_ANSWERED = struct.Struct("<?Q")
"""Whether it went well, and the bytes that follow: the fit, float64, or why not."""


@contextmanager
def loess_aside() -> Iterator[None]:
    """Let scanpy, which imports loess when it needs it, fit in the other process."""
    from skmisc import loess

    with _lock:
        own = loess.loess
        loess.loess = _Loess
        try:
            yield
        finally:
            loess.loess = own


class _Loess:
    """Stands in for :class:`skmisc.loess.loess`, as far as scanpy uses it.

    Parameters
    ----------
    x, y
        The points, shape (n,).
    span, degree
        As loess has them.
    """

    def __init__(self, x: ArrayLike, y: ArrayLike, span: float = 0.75, degree: int = 2) -> None:
        self._points = np.asarray(x, np.float64), np.asarray(y, np.float64)
        self._how = span, degree
        self.outputs = SimpleNamespace(fitted_values=np.empty(0))

    def fit(self) -> None:
        """Fit; ``outputs.fitted_values`` is float64, shape (n,).

        Raises
        ------
        ValueError
            loess failed, or its process ended.
        """
        self.outputs.fitted_values = _fitted(*self._points, *self._how)


_lock = RLock()
_started: dict[int, subprocess.Popen[bytes]] = {}
"""The process of each program: one that was forked has none yet."""


def _fitted(x: NDArray[np.float64], y: NDArray[np.float64], span: float, degree: int) -> Any:
    asked = _ASKED.pack(len(x), span, degree) + x.tobytes() + y.tobytes()
    try:
        process = _process()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(asked)
        process.stdin.flush()
        well, size = _ANSWERED.unpack(_read(process.stdout, _ANSWERED.size))
        answer = _read(process.stdout, size)
    except (OSError, EOFError) as error:
        _end()
        raise ValueError("the process of loess has ended") from error
    if not well:
        raise ValueError(answer.decode(errors="replace"))
    return np.frombuffer(answer)


def _process() -> subprocess.Popen[bytes]:
    here = os.getpid()
    if here not in _started:
        _started[here] = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    return _started[here]


@atexit.register
def _end() -> None:
    process = _started.pop(os.getpid(), None)
    if process is not None:
        with suppress(OSError):
            process.communicate()  # it ends when nobody can ask any more


def _read(stream: IO[bytes], size: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise EOFError
    return found


def _serve() -> None:
    """Fit what comes, until nothing comes any more."""
    from skmisc.loess import loess

    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is meant for the program
    asking, telling = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what compiled code prints
    with suppress(EOFError):
        while True:
            n, span, degree = _ASKED.unpack(_read(asking, _ASKED.size))
            x, y = (np.frombuffer(_read(asking, 8 * n)) for _ in range(2))
            try:
                model = loess(x, y, span=span, degree=degree)
                model.fit()
                well, answer = True, np.asarray(model.outputs.fitted_values, float).tobytes()
            except Exception as error:
                well, answer = False, str(error).encode()
            telling.write(_ANSWERED.pack(well, len(answer)) + answer)
            telling.flush()


if __name__ == "__main__":
    _serve()
