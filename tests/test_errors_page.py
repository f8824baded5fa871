"""The page of errors is made from the code as it is now."""

from __future__ import annotations

import importlib.util

from conftest import PROJECT


def made():
    spec = importlib.util.spec_from_file_location(
        "list_errors", PROJECT / "scripts" / "list_errors.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_errors_is_up_to_date():
    script = made()
    page = (PROJECT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert page == script.page(), "run python scripts/list_errors.py"


def test_every_error_is_on_it():
    script = made()
    listed = sum(len([*script.sentences(path)]) for path in script.SOURCE.rglob("*.py"))
    written = sum(
        path.read_text(encoding="utf-8").count("InputError(")
        for path in script.SOURCE.rglob("*.py")
    )
    # One is the class itself.
    assert listed == written - 1
