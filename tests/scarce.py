"""Disks that are full, folders that are read-only and folders that stop, made for tests.

All need the right to mount, which containers and runners often give; :func:`may_mount` tells.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

FILLER = "filler"


@cache
def may_mount() -> bool:
    """Whether a small disk can be mounted here."""
    with TemporaryDirectory() as folder:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
            capture_output=True,
            check=False,
        )
        if made.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return made.returncode == 0


@contextmanager
def small_disk(folder: Path, size: str = "6m") -> Iterator[Path]:
    """Mount a disk of a few MB on an empty folder."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@cache
def may_ration() -> bool:
    """Whether a folder with a quota can be made here: by btrfs, which holds the superuser to it."""
    try:
        with TemporaryDirectory() as folder, rationed_folder(Path(folder) / "x"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def rationed_folder(folder: Path) -> Iterator[Path]:
    """Mount a disk with a folder whose quota :func:`used_up` sets."""
    folder.mkdir(exist_ok=True)
    image, own = folder.with_suffix(".img"), folder / "own"
    image.touch()
    os.truncate(image, 300 << 20)
    _quietly("mkfs.btrfs", "-q", image)
    _quietly("mount", "-o", "loop", image, folder)
    try:
        _quietly("btrfs", "quota", "enable", folder)
        _quietly("btrfs", "subvolume", "create", own)
        yield own
    finally:
        _quietly("umount", folder)
        image.unlink()


@contextmanager
def used_up(folder: Path, left: int) -> Iterator[None]:
    """Leave a folder with a quota so many bytes, and lift the quota again."""
    _quietly("sync", "-f", folder)
    told = _quietly("btrfs", "qgroup", "show", "--raw", "-f", folder).splitlines()[-1].split()
    # By the folder above: the quota would hinder its own removal.
    limit = ("btrfs", "qgroup", "limit")
    _quietly(*limit, str(int(told[1]) + left), told[0], folder.parent)
    try:
        yield
    finally:
        _quietly(*limit, "none", told[0], folder.parent)


def _quietly(*words: str | Path) -> str:
    return subprocess.run(words, capture_output=True, check=True, text=True).stdout


@contextmanager
def full(folder: Path, left: int = 8192) -> Iterator[None]:
    """Fill a disk but for so many bytes, and free it again."""
    filler = folder / FILLER
    free = os.statvfs(folder)
    filler.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left)))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a mounted disk read-only, for the superuser, too."""
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)


@contextmanager
def stopped_folder(folder: Path) -> Iterator[None]:
    """Mount a folder that answers nobody, as one of a server that is gone.

    It is a file system of FUSE whose program never answers; whoever asks waits, until it ends.
    """
    folder.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    program = os.open("/dev/fuse", os.O_RDWR)
    told = f"fd={program},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"stopped", os.fsencode(folder), b"fuse", 0, told):
        os.close(program)
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        yield
    finally:
        os.close(program)  # those who wait get an error now
        libc.umount2(os.fsencode(folder), 2)


@cache
def may_stop() -> bool:
    """Whether a folder that stops can be mounted here."""
    try:
        with TemporaryDirectory() as folder, stopped_folder(Path(folder) / "x"):
            return True
    except OSError:
        return False


def leave_memory(left: int) -> tuple[int, int]:
    """Leave this process so many bytes more, as ``ulimit -v`` does; return the limit before."""
    import resource

    import psutil

    before = resource.getrlimit(resource.RLIMIT_AS)
    held = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (held + left, before[1]))
    return before


@contextmanager
def short_memory(left: int) -> Iterator[None]:
    """Leave this process only so many bytes more for a while."""
    import resource

    before = leave_memory(left)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
