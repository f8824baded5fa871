"""What is kept for the user between two starts: unsaved sessions, and the files used last."""

from __future__ import annotations

import json
from pathlib import Path

from napari_staligner._errors import InputError

MOST_RECENT = 8


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
        listed = json.loads(_recent().read_text(encoding="utf-8"))
        return [path for path in map(Path, listed) if path.is_file()]
    except (OSError, ValueError, TypeError):
        return []


def remember_file(path: Path) -> None:
    """Put a session first among the recent files; a failure does no harm."""
    from napari_staligner.io.atomic import write_text

    path = path.resolve()
    listed = [path, *(other for other in recent_files() if other != path)][:MOST_RECENT]
    try:
        _recent().parent.mkdir(parents=True, exist_ok=True)
        write_text(json.dumps([str(each) for each in listed]), _recent())
    except (OSError, InputError):
        return


def _recent() -> Path:
    return user_folder() / "recent.json"
