"""What is kept for the user between two starts: unsaved sessions, and the files used last."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import monotonic

from napari_staligner._errors import InputError
from napari_staligner.core.json_text import json_of

MOST_RECENT = 8
PATIENCE_SECONDS = 1.0
"""A folder of a network may answer late, or never."""


def user_folder() -> Path:
    """The user's own folder; it may not exist yet."""
    from platformdirs import user_data_path

    return user_data_path("napari-staligner")


def cache_folder() -> Path:
    """Folder for what can be made again; it may not exist yet."""
    from platformdirs import user_cache_path

    return user_cache_path("napari-staligner") / "slices"


def recent_files() -> list[Path]:
    """Return the sessions that were opened or saved last and are still there, the newest first."""
    try:
        listed = json_of(_recent().read_text(encoding="utf-8"))
        return _there([*map(Path, listed)])
    except (OSError, ValueError, TypeError):
        return []


def _there(paths: list[Path]) -> list[Path]:
    """Those of some files that are there; a folder that does not answer is not waited for."""
    found: set[Path] = set()

    def look(path: Path) -> None:
        with suppress(OSError, ValueError):
            if path.is_file():
                found.add(path)

    threads = [Thread(target=look, args=(path,), daemon=True) for path in paths]
    for thread in threads:
        thread.start()
    end = monotonic() + PATIENCE_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
    return [path for path in paths if path in found]


def remember_file(path: Path) -> None:
    """Put a session first among the recent files; a failure does no harm."""
    from napari_staligner.io.atomic import write_text

    path = path.absolute()
    listed = [path, *(other for other in recent_files() if other != path)][:MOST_RECENT]
    try:
        _recent().parent.mkdir(parents=True, exist_ok=True)
        write_text(json.dumps([str(each) for each in listed]), _recent())
    except (OSError, InputError):
        return


def _recent() -> Path:
    return user_folder() / "recent.json"
