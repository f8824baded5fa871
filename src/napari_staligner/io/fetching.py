"""Fetches real slices once, with pooch: checked, whole or not at all, and to be cancelled."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress
from napari_staligner.io.atomic import write_text
from napari_staligner.io.user_folder import cache_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_staligner.core.progress import Steps
    from napari_staligner.io.remote_samples import RemoteFile, RemoteSample

TIMEOUT_S = 30
"""How long a server may be silent."""
_TICK_S = 0.1
_PINS = "checksums.txt"
"""File in the folder of a sample: SHA-256 of each file that was fetched, as sha256sum writes it."""


@dataclass(frozen=True)
class Fetched:
    """A sample that is there.

    Parameters
    ----------
    path
        What to open.
    notes
        Sentences on files that could not be checked.
    """

    path: Path
    notes: tuple[str, ...] = ()


def samples_folder() -> Path:
    """Folder for samples that were fetched; it may not exist yet."""
    return cache_folder().parent / "samples"


def is_fetched(sample: RemoteSample, folder: Path | None = None) -> bool:
    """Whether all of a sample is there, so that nothing has to be fetched."""
    own = (folder or samples_folder()) / sample.name
    return all((own / file.name).is_file() for file in sample.files)


def fetch_steps(
    samples: Sequence[RemoteSample], folder: Path | None = None
) -> Steps[list[Fetched]]:
    """Fetch samples that are not there yet, each to a folder of its own.

    Parameters
    ----------
    samples
        To be fetched.
    folder
        Where; by default the user's folder for caches.

    Raises
    ------
    InputError
        A file cannot be fetched or written, or is not the one that is known.
    """
    found: list[Fetched] = []
    for sample in samples:
        one = yield from _sample_steps(sample, (folder or samples_folder()) / sample.name)
        found += [one]
    return found


def _sample_steps(sample: RemoteSample, folder: Path) -> Steps[Fetched]:
    from napari_staligner.io.bulb_archive import unpacked

    notes = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{str(folder)!r} cannot be written to ({error.strerror}): choose another place."
        ) from error
    pins = _pins(folder)
    for file in sample.files:
        new = not (folder / file.name).is_file()
        path = yield from _file_steps(
            sample, file, folder, file.checksum or pins.get(file.name, "")
        )
        pins[file.name] = f"sha256:{_sha256(path)}"
        if new and not file.checksum:
            notes.append(
                f"{file.name!r} of {sample.name!r} could not be checked, as no public source tells "
                f"its checksum; its SHA-256 is {pins[file.name].removeprefix('sha256:')}, and is "
                "kept in mind."
            )
    lines = [f"{known.removeprefix('sha256:')}  {name}\n" for name, known in pins.items()]
    write_text("".join(lines), folder / _PINS)
    if sample.opened and not (folder / sample.opened).is_file():
        yield Progress(f"unpacking {sample.name}", 0, 1)
        unpacked(folder / sample.files[0].name, folder / sample.opened)
    return Fetched(folder / sample.opened, tuple(notes))


def _pins(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / _PINS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    pairs = (line.split("  ", 1) for line in lines if "  " in line)
    return {name: f"sha256:{known}" for known, name in pairs}


def _file_steps(sample: RemoteSample, file: RemoteFile, folder: Path, known: str) -> Steps[Path]:
    """Fetch a file in a thread of its own, so that this one can tell of it and end it."""
    ticker = _Ticker()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(_retrieve, file, folder, known, ticker)
        try:
            while not running.done():
                wait([running], timeout=_TICK_S)
                yield Progress(_told(file, ticker), ticker.done, max(ticker.total, 1))
        finally:
            ticker.stopped.set()
    error = running.exception()
    if error is None:
        return running.result()
    raise _refusal(sample, file, folder, error) from error


def _told(file: RemoteFile, ticker: _Ticker) -> str:
    of = f" of {ticker.total / 1e6:.1f}" if ticker.total else ""
    return f"fetching {Path(file.name).name}, {ticker.done / 1e6:.1f}{of} MB"


class _Stopped(Exception):
    """The fetching was cancelled."""


class _Ticker:
    """What pooch takes for a progress bar: counts bytes, and ends the fetching when asked to."""

    def __init__(self) -> None:
        self.total, self.done = 0, 0
        self.stopped = Event()

    def update(self, n: int) -> None:
        if self.stopped.is_set():
            raise _Stopped
        self.done += n
        self.done = min(self.done, self.total or self.done)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Nothing to be closed."""


def _retrieve(file: RemoteFile, folder: Path, known: str, ticker: _Ticker) -> Path:
    import pooch

    place = folder / file.name
    for_git = known.startswith("git:")
    if for_git and place.is_file() and _git_name(place) != known:
        # pooch does not know of git's checksums, and would take it.
        place.unlink()
    fetch = pooch.HTTPDownloader(progressbar=ticker, timeout=TIMEOUT_S)

    def checked(url: str, target: str, mover: Any) -> None:
        fetch(url, target, mover)
        if for_git and _git_name(Path(target)) != known:
            raise ValueError("git's name of the content differs")

    pooch.get_logger().setLevel("ERROR")
    pooch.retrieve(
        file.url,
        known_hash=None if for_git or not known else known,
        fname=place.name,
        path=place.parent,
        downloader=checked,
    )
    return place


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _git_name(path: Path) -> str:
    """The name that git gives to a content: the SHA-1 of its length and of itself."""
    whole = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            whole.update(piece)
    return f"git:{whole.hexdigest()}"


def _refusal(
    sample: RemoteSample, file: RemoteFile, folder: Path, error: BaseException
) -> InputError:
    """Say in a sentence why a file is not there, and how to bring it by hand."""
    import requests

    by_hand = f"or fetch it in a browser, and put it at {str(folder / file.name)!r}"
    start = f"{file.name!r} of the sample {sample.name!r}"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        why = f"{file.url} answers {error.response.status_code}"
        return InputError(f"{start} cannot be fetched ({why}): try later, {by_hand}.")
    if isinstance(error, requests.RequestException):
        return InputError(
            f"{start} cannot be fetched from {file.url} (no connection, or it broke off): check "
            f"the network, {by_hand}."
        )
    if isinstance(error, ValueError):
        return InputError(
            f"{start} is not the file that is known, by its checksum, so nothing was kept of it: "
            f"{file.url} was changed or cut off; try again."
        )
    if isinstance(error, OSError):
        return InputError(
            f"{str(folder)!r} cannot be written to ({error.strerror or error}): choose another "
            "place."
        )
    raise error
