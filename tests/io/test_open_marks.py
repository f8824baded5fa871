"""Two programs with the same session: both are told, and neither loses edits unknowingly."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from fakes import fake_result

from napari_staligner.io import open_marks
from napari_staligner.io.open_marks import OpenMark
from napari_staligner.io.session_file import open_file
from napari_staligner.session import Session


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a [1].h5ad"
    fake_result()[1].write_h5ad(path)
    return path


def opened(file):
    session = Session()
    session.autosave.start()
    session.open(open_file(file))
    return session


def marks(file):
    return [path.name for path in file.parent.iterdir() if path.name.endswith(".open")]


def test_the_second_is_told_and_the_first_with_its_next_edit(file):
    first = opened(file)
    assert first.autosave.warning == ""
    second, told = opened(file), []
    second.autosave.warning_changed.connect(lambda: told.append(second.autosave.warning))
    assert "'a [1].h5ad' is also open in another window (since " in second.autosave.warning
    first.domains.recolor(first.domains.names[0], "#123456")
    assert "who saves last replaces what the other one saved." in first.autosave.warning
    assert len(marks(file)) == 2
    first.autosave.leave()
    second.domains.recolor(second.domains.names[0], "#654321")
    assert told == [""]
    second.save(file.with_name("b.h5ad"))
    assert [name[:8] for name in marks(file)] == [".b.h5ad."]
    second.autosave.leave()
    assert not marks(file)


def test_another_program_is_told_of_until_it_ends(file):
    code = (
        "import sys; from pathlib import Path\n"
        "from napari_staligner.io.open_marks import OpenMark\n"
        f"OpenMark('abc').move(Path({str(file)!r})); print(flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        other.stdout.readline()
        assert "also open in another napari (since " in OpenMark("1").others(file)
        other.kill()
    assert OpenMark("1").others(file) == ""
    assert not marks(file), "the mark of a program that ended is left"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"host": "elsewhere"}, "another napari on 'elsewhere' (since "),
        ({"host": "elsewhere", "when": "2020-01-01T00:00:00+00:00"}, ""),
        ({"when": "yesterday"}, ""),
        ({"pid": -1}, ""),
        ({"started": "x"}, ""),
    ],
)
def test_marks_of_any_content(file, change, says):
    mark = OpenMark("abc")
    mark.move(file)
    mark.path.write_text(json.dumps(open_marks._own() | change | {"pid": change.get("pid", 1)}))
    said = OpenMark("1").others(file)
    assert (says in said) if says else not said
    for content in ("", "[]", "{", "5"):
        mark.path.write_text(content)
        assert OpenMark("1").others(file) == ""


def test_a_folder_that_cannot_be_written_does_no_harm(file, monkeypatch):
    def refused(*_):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(open_marks, "write_text", refused)
    session = opened(file)
    assert session.autosave.warning == ""
    session.autosave.leave()
