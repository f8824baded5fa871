"""The table in docs/formats.md names tests that exist, in every cell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
FILES = {
    **{name: f"io/formats/test_{name}.py" for name in ("tenx", "flat", "stereo", "store")},
    "malformed": "io/formats/test_malformed.py",
    **{name: f"io/test_{name}.py" for name in ("scans", "finished")},
}
_CELL = re.compile(r"(?:(?P<module>\w+)::)?(?P<test>test_\w+)`")


def rows() -> list[list[str]]:
    text = (TESTS.parent / "docs" / "formats.md").read_text(encoding="utf-8")
    table = text.split("## What is tested")[1].split("\n## ")[0]
    lines = table[table.index("\n|") :].strip().partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_cell_is_a_test(row):
    assert len(row) == 5
    assert all(row)
    module = ""
    for cell in row[1:]:
        for named in _CELL.finditer(cell):
            module = named["module"] or module
            source = (TESTS / FILES[module]).read_text(encoding="utf-8")
            assert f"def {named['test']}(" in source
    back = (TESTS / "io/export/test_write_back.py").read_text(encoding="utf-8")
    for kind in re.findall(r"`back\[(.+?)\]`", " ".join(row)):
        assert f'"{kind}": (' in back
