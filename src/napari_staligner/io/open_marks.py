"""Small files beside a session that say who has it open, so that two people do not lose edits."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from glob import escape
from pathlib import Path
from typing import Any

from napari_staligner._errors import InputError
from napari_staligner.core.json_text import json_of
from napari_staligner.io.atomic import write_text
from napari_staligner.io.processes import alive

SUFFIX = ".open"
FORGOTTEN = timedelta(days=1)
"""Of another machine, it cannot be known whether the program still runs."""


class OpenMark:
    """Says that one session has a file open.

    Parameters
    ----------
    id
        Of the session: hexadecimal digits.
    """

    def __init__(self, id: str) -> None:
        self._id = id
        self.path: Path | None = None
        """The mark; ``None`` while there is none."""

    def move(self, file: Path | None) -> None:
        """Mark another file instead; ``None`` removes the mark. A failure does no harm."""
        place = None if file is None else file.with_name(f".{file.name}.{self._id}{SUFFIX}")
        if place == self.path:
            return
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        self.path = place
        if place is not None:
            with suppress(OSError, InputError):
                write_text(json.dumps(_own()), place)

    def others(self, file: Path) -> str:
        """Say which other programs have a file open; empty if none has.

        Marks of programs that ended without removing them are removed.
        """
        found = []
        for place in file.parent.glob(f".{escape(file.name)}.*{SUFFIX}"):
            if place.name.split(".")[-2] == self._id:
                continue
            who = _read(place)
            if who:
                found.append(who)
        if not found:
            return ""
        return (
            f"{file.name!r} is also open in {' and in '.join(found)}: who saves last replaces what "
            "the other one saved."
        )


def _own() -> dict[str, Any]:
    import psutil

    return {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "host": socket.gethostname(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _read(place: Path) -> str:
    """Say who made a mark; empty, and the mark is removed, if that program has ended."""
    try:
        told = json_of(place.read_text(encoding="utf-8"))
        host, pid, when = str(told["host"]), int(told["pid"]), datetime.fromisoformat(told["when"])
        here = host == socket.gethostname()
        fresh = datetime.now(UTC) - when < FORGOTTEN
        if alive(pid, float(told["started"])) if here else fresh:
            since = f"since {when.astimezone():%d %b, %H:%M}"
            window = "another window" if pid == os.getpid() else "another napari"
            return f"{window} ({since})" if here else f"{window} on {host!r} ({since})"
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        pass
    with suppress(OSError):
        place.unlink(missing_ok=True)
    return ""
