"""What all tests share: the environment of a window, small slices, and real ones if present."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from functools import partialmethod
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytestqt.qtbot import QtBot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData

# Read by napari's own fixtures: a viewer that leaves Qt widgets behind fails its test.
os.environ.setdefault("NAPARI_STRICT_QT", "1")
# Tests start a hundred processes, each of which would compile all of the project again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

PROJECT = Path(__file__).resolve().parents[1]
N_THREADS = 1
"""More would slow down tiny tensors, and stand in the way of the other tests' process."""

LONG_FILES = (
    "test_whole_path.py test_demo.py test_run.py test_ranks.py test_domains.py test_slurm.py "
    "test_layer_list.py test_viewer.py test_workbench.py"
).split()
"""The longest first."""
PATIENCE_MS = 120_000
"""How long a test waits for what must come: a loaded machine takes long to import scanpy."""

# Of the workers of pytest-xdist. On a shared one, the windows of one would take another's focus.
_screens: list[subprocess.Popen[bytes]] = []


def _open_screen() -> str:
    """Start a virtual screen and return its name, as ``DISPLAY`` has it."""
    told, telling = os.pipe()
    command = ["Xvfb", "-displayfd", str(telling), "-screen", "0", "1600x1200x24"]
    _screens.append(
        subprocess.Popen(
            [*command, "-nolisten", "tcp"], pass_fds=[telling], stderr=subprocess.DEVNULL
        )
    )
    os.close(telling)
    with os.fdopen(told) as number:
        return f":{number.readline().strip()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files first that take long: begun last, they would keep one process waiting."""
    place = {name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG_FILES)))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker a screen of its own where there are virtual ones."""
    if shutil.which("Xvfb"):
        node.workerinput["display"] = _open_screen()


def pytest_configure(config: pytest.Config) -> None:
    """Use the worker's screen, and look less often for garbage among all that is there."""
    gc.set_threshold(700, 10, 200)
    if display := getattr(config, "workerinput", {}).get("display"):
        os.environ["DISPLAY"] = display


def pytest_unconfigure() -> None:
    """Close the screens, when the workers have ended."""
    for screen in _screens:
        screen.terminate()
        screen.wait()


@pytest.fixture(scope="session", autouse=True)
def _pinned_threads() -> Iterator[None]:
    """Train with the same number of threads on every machine: sums depend on it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(N_THREADS)
    yield
    torch.set_num_threads(before)


class PatientBot(QtBot):
    """Waits longer for what must come, before it gives up."""

    waitUntil = partialmethod(QtBot.waitUntil, timeout=PATIENCE_MS)
    waitSignal = partialmethod(QtBot.waitSignal, timeout=PATIENCE_MS)
    waitSignals = partialmethod(QtBot.waitSignals, timeout=PATIENCE_MS)
    waitExposed = partialmethod(QtBot.waitExposed, timeout=PATIENCE_MS)


@pytest.fixture
def qtbot(qapp: Any, request: pytest.FixtureRequest) -> QtBot:
    """Return pytest-qt's robot, with more patience."""
    return PatientBot(request)


@pytest.fixture
def make_napari_viewer(make_napari_viewer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return napari's maker of viewers, which are closed without a look at all old objects.

    For each layer that goes, napari looks for garbage among a million objects of the libraries.
    """
    from napari import Viewer

    close = Viewer.close

    def close_soon(viewer: Viewer) -> None:
        gc.freeze()
        try:
            close(viewer)
        finally:
            gc.unfreeze()

    monkeypatch.setattr(Viewer, "close", close_soon)
    return make_napari_viewer


@pytest.fixture(scope="session")
def _user_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders that are not there yet. To number its own, pytest reads the names of all others."""
    place = tmp_path_factory.mktemp("users")
    return (place / str(number) for number in count())


@pytest.fixture(autouse=True)
def _user_folder(_user_folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what tests do away from the user's own, and from other tests."""
    from napari_staligner.io import user_folder

    folder = next(_user_folders)
    folder.mkdir()
    monkeypatch.setattr(user_folder, "user_folder", lambda: folder)
    monkeypatch.setattr(user_folder, "cache_folder", lambda: folder / "cache")
    monkeypatch.setattr("napari_staligner.layers.preferences.kept_by_napari", lambda: None)
    # What is written in the background is looked at next.
    monkeypatch.setattr("napari_staligner.io.newest_task.PATIENCE_SECONDS", 60.0)


@pytest.fixture(scope="session")
def project() -> Path:
    """Return the project's root."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real slices, or skip where there is none."""
    folder = Path(os.environ.get("STALIGNER_DATA", PROJECT.parent / "shared" / "data"))
    if not any(folder.glob("*.h5ad")):
        pytest.skip(f"no real slices (.h5ad) in {folder}; name their folder with STALIGNER_DATA")
    return folder


@pytest.fixture(scope="session")
def _simulated_bulb() -> list[AnnData]:
    from napari_staligner.samples import simulated_olfactory_bulb

    return simulated_olfactory_bulb(seed=0, n_slide_seq=600, n_stereo_seq=500, n_genes=300)


@pytest.fixture
def bulb(_simulated_bulb: list[AnnData]) -> list[AnnData]:
    """Return a small simulated olfactory bulb, two slices, that the test may change."""
    return [adata.copy() for adata in _simulated_bulb]


@pytest.fixture
def made_cgroups(tmp_path, monkeypatch):
    """Return a writer of cgroups: the process's membership, and files by their path."""
    from napari_staligner import threads

    monkeypatch.setattr(threads, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "MEMBERSHIP", tmp_path / "membership")

    def write(membership: str, files: dict[str, str]) -> None:
        threads.MEMBERSHIP.write_text(membership)
        for name, text in files.items():
            path = threads.CGROUPS / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")

    return write
