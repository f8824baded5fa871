"""The file about an unexpected error says what helps, and nothing of the user's data."""

from __future__ import annotations

from pathlib import Path

from napari_staligner.io.problem_report import MOST_KEPT, keep_problem, problems_folder


def failing(secret):
    counts = {"patient": secret}
    return counts["gene"]


def failed():
    try:
        failing("Alice")
    except KeyError as error:
        return error


def test_it_has_versions_and_the_traceback_but_no_values():
    said = keep_problem(failed(), "napari-staligner report")
    (path,) = problems_folder().glob("*.txt")
    assert repr(str(path)) in said
    text = path.read_text(encoding="utf-8")
    for word in ("napari-staligner: ", "numpy: ", "python: ", "KeyError: 'gene'", "in failing"):
        assert word in text
    assert "Alice" not in text.replace('failing("Alice")', "")
    assert str(Path.home()) not in text


def test_the_newest_are_kept():
    for _ in range(MOST_KEPT + 3):
        keep_problem(failed(), "x")
    assert len([*problems_folder().iterdir()]) == MOST_KEPT


def test_a_place_that_cannot_be_written_hides_no_error():
    problems_folder().parent.mkdir(parents=True, exist_ok=True)
    problems_folder().write_text("in the way")
    assert keep_problem(failed(), "x") == ""
