"""What is said where napari cannot open a window: Qt itself would end the process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from napari_staligner._errors import InputError
from napari_staligner.demo.window import no_window, require_display

MISSING_LIBRARY = """
Traceback (most recent call last):
  File "<string>", line 1, in <module>
ImportError: libEGL.so.1: cannot open shared object file: No such file or directory
"""
MISSING_PLUGIN = """
qt.qpa.plugin: From 6.5.0, xcb-cursor0 or libxcb-cursor0 is needed to load the plugin.
qt.qpa.plugin: Could not load the Qt platform plugin "xcb" in "" even though it was found.
This application failed to start because no Qt platform plugin could be initialized.
"""


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="displays are named on Linux")


@pytest.fixture
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_application(monkeypatch):
    """Stand for a process that has not loaded Qt yet."""
    monkeypatch.delitem(sys.modules, "qtpy.QtWidgets", raising=False)


@needs_linux
@pytest.mark.usefixtures("no_display")
@pytest.mark.parametrize("command", [("view", "any.h5ad"), ("demo", "--screenshots", "pictures")])
def test_without_a_display_the_shell_says_one_sentence(command, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "napari_staligner.cli.app", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("Error: There is no display")
    assert "xvfb-run" in sentence
    assert not list(tmp_path.iterdir())


@needs_linux
@pytest.mark.usefixtures("no_display", "no_application")
@pytest.mark.parametrize(
    ("name", "value"),
    [("DISPLAY", ":2077"), ("WAYLAND_DISPLAY", "none"), ("QT_QPA_PLATFORM", "xcb")],
)
def test_a_display_that_is_not_there_is_none(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="no display"):
        require_display()


@pytest.mark.usefixtures("no_application")
def test_without_qt_a_sentence_says_so(tmp_path, monkeypatch):
    for binding in ("PyQt5", "PyQt6", "PySide2", "PySide6"):
        (tmp_path / f"{binding}.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    with pytest.raises(InputError, match=r"no Qt.*napari\[all\]"):
        require_display()


@pytest.mark.usefixtures("no_display", "no_application")
def test_where_qt_can_start_nothing_is_said(monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    require_display()


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (MISSING_LIBRARY, "libEGL.so.1: cannot open shared object file"),
        (MISSING_PLUGIN, "libxcb-cursor0 is needed"),
        ("", "does not say why"),
    ],
)
def test_what_qt_says_is_handed_on(said, cause):
    sentence = no_window(said)
    assert cause in sentence
    assert "\n" not in sentence
