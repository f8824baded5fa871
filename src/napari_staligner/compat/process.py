"""What else lives in the process: pint's units, napari's spinners, torch and its triton."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

SPINNER_SPEED = 4
"""Speed of napari's activity spinner, in percent: about one frame a second."""


def load_units() -> None:
    """Let pint read its table of units, for which napari's first layer would freeze the window.

    It takes 0.3 s. Can go when napari (0.9) loads it without the window waiting.
    """
    with suppress(ImportError, AttributeError):
        from pint import get_application_registry

        get_application_registry().micrometer  # noqa: B018


def slow_spinners() -> None:
    """Slow down napari's activity spinners, one in the status bar of each window.

    The canvas makes Qt (6) compose the whole window again for every change, however small.
    Without a graphics card, napari's 33 frames a second need more of two cores than a training
    leaves free. Can go when napari's spinner draws less often.
    """
    from napari.resources import LOADING_GIF_PATH
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QApplication, QLabel, QMainWindow, QStatusBar

    direct = Qt.FindChildOption.FindDirectChildrenOnly
    for window in QApplication.topLevelWidgets():
        # Not window.statusBar(), which would make one; nor all labels: a workbench has hundreds.
        bars = (
            window.findChildren(QStatusBar, options=direct)
            if isinstance(window, QMainWindow)
            else []
        )
        for label in (label for bar in bars for label in bar.findChildren(QLabel)):
            movie = label.movie()
            if movie and movie.fileName() == LOADING_GIF_PATH:
                movie.setSpeed(SPINNER_SPEED)


def keep_triton_out(mapped: Path = Path("/proc/self/maps")) -> None:
    """Prevent triton from being loaded into a process in which LLVM draws the canvas.

    If Mesa draws (software, AMD, Intel), its LLVM is already loaded by now. torch with CUDA loads
    triton, which brings another LLVM, and the two crash the process with a segmentation fault.
    Nothing here needs triton, and torch works without it if it cannot be imported. Can go when
    triton hides the symbols of its LLVM.

    Parameters
    ----------
    mapped
        File that lists the libraries of this process, on Linux.
    """
    if "triton" in sys.modules:
        return
    try:
        drawn_by_llvm = "libLLVM" in mapped.read_text()
    except OSError:
        return
    if drawn_by_llvm:
        # With None as the entry, Python refuses to import the name.
        sys.modules["triton"] = None  # type: ignore[assignment]


def load_torch_freely() -> None:
    """Load torch's largest library without Python's lock when a thread first imports torch.

    Python loads the libraries of a module while it holds its lock, so an import in a thread
    freezes the window: for torch 0.5 s, and longer from a slow disk. Linux only: on Windows torch
    does the same itself. Can go when Python gives its lock away for this.
    """
    waits = any(isinstance(finder, _TorchLibraries) for finder in sys.meta_path)
    if sys.platform == "linux" and "torch" not in sys.modules and not waits:
        sys.meta_path.insert(0, _TorchLibraries())


class _TorchLibraries(MetaPathFinder):
    """Finds no module: it is asked first, and so knows that torch is about to be imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # Who asks in the main thread waits anyway, and may only want to know whether it is there.
        if fullname != "torch" or current_thread() is main_thread():
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        found = PathFinder.find_spec(fullname, path)
        if found is not None and found.origin is not None:
            # In torch's own order, and each as torch loads it.
            folder = Path(found.origin).with_name("lib")
            if _loaded(folder / "libtorch_global_deps.so", os.RTLD_GLOBAL):
                _loaded(folder / "libtorch_cpu.so", os.RTLD_LOCAL)
        return None


def _loaded(library: Path, how: int) -> bool:
    """Load a library; if that fails, so does the import, which says why."""
    try:
        # Python's own call of it would keep the lock.
        load = ctypes.CDLL(None).dlopen
    except (AttributeError, OSError):
        return False
    load.argtypes, load.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    return load(os.fsencode(library), os.RTLD_NOW | how) is not None
