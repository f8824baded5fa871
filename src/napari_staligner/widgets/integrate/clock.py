"""How long a run has taken, and how long it will take."""

from __future__ import annotations

from collections import deque
from time import monotonic

# The time left is estimated from this many last steps: epochs of one stage take equally long.
_WINDOW = 60
_LEAST = 5


class Clock:
    """Times a run by its steps."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._steps: deque[tuple[float, int]] = deque(maxlen=_WINDOW)
        self._total = 0

    def start(self) -> None:
        """Begin a run."""
        self._began = monotonic()
        self._steps.clear()
        self._total = 0

    def tick(self, done: int, total: int) -> None:
        """Note a step."""
        self._steps.append((monotonic(), done))
        self._total = total

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return monotonic() - self._began

    @property
    def left(self) -> float | None:
        """Seconds to the end at the present pace; ``None`` while unknown."""
        if len(self._steps) < _LEAST:
            return None
        (first, start), (last, done) = self._steps[0], self._steps[-1]
        if done <= start:
            return None
        return max(0.0, (self._total - done) * (last - first) / (done - start))
