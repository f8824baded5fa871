"""The pages that are made from the code tell of all that the code has."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from napari_staligner import _keys as K
from napari_staligner.core.glossary import TERMS

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages", DOCS / "_ext" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_shell_has_every_command_and_option(pages):
    import typer

    from napari_staligner.cli.app import app

    text = pages.shell_page()
    for name, command in typer.main.get_command(app).commands.items():
        assert f"\n## {name}\n" in text
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.opts[0] in section
    # A cell that held a bare pipe would break its table.
    for line in text.splitlines():
        if line.startswith("| `"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3, line


def test_the_page_of_slots_has_every_key(pages):
    text = pages.slots_page()
    keys = {value for name, value in vars(K).items() if name.isupper() and isinstance(value, str)}
    assert keys
    assert not {key for key in keys if f"| `{key}` |" not in text}


def test_the_page_of_python_has_every_public_name():
    import napari_staligner

    listed = re.findall(r"^   (\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted([*listed, "__version__"]) == sorted(napari_staligner.__all__)


def test_the_glossary_has_every_term(pages):
    text = pages.glossary_page()
    assert all(f"\n{term}\n  {told}\n" in text for term, told in TERMS.items())


def test_every_page_is_in_the_contents():
    listed = set()
    for path in (DOCS / "index.md", DOCS / "tutorials" / "index.md"):
        for block in re.findall(r"```\{toctree\}(.*?)```", path.read_text(encoding="utf-8"), re.S):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {(path.parent / name).relative_to(DOCS).as_posix() for name in names}
    there = {p.relative_to(DOCS).with_suffix("").as_posix() for p in DOCS.rglob("*.md")}
    there = {name for name in there if not name.startswith("_generated")}
    assert there - listed == {"index"}
