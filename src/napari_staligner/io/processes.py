"""Whether a process that a file names is still running."""

from __future__ import annotations


def alive(pid: int, started: float) -> bool:
    """Whether the process that wrote its number into a file is still running.

    Parameters
    ----------
    pid
        Its number; any number, since files are changed by others.
    started
        When it started, in seconds since 1970: numbers are used again.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < 1
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.AccessDenied:
        return True  # it is there, and is somebody else's
    except (psutil.Error, ValueError, OverflowError):
        return False
