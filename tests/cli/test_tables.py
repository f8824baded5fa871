"""Tables of the shell are read whole, however narrow the terminal."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from fakes import fake_result
from rich.console import Console

from napari_staligner import _keys as K
from napari_staligner.cli.tables import Table, domain_table, result_table, show


def printed(what, width: int) -> str:
    console = Console(file=StringIO(), width=width)
    if isinstance(what, Table):
        show(console, what)
    else:
        console.print(what)
    return console.file.getvalue()


FIGURES = Table(
    "By slice pair",
    ["slices", "embedding"],
    ["iLISI ↑", "graph connectivity ↑", "kBET ↑", "ARI ↑"],
    [
        ["DLPFC_151673 – DLPFC_151674", "PCA, not integrated", "0.101", "0.202", "0.303", "0.404"],
        ["DLPFC_151673 – DLPFC_151675", "STAligner", "0.505", "0.606", "0.707", "0.808"],
    ],
)


@pytest.mark.parametrize(("width", "parts"), [(1000, 1), (100, 1), (80, 2), (70, 3)])
def test_a_wide_table_is_printed_in_parts(width, parts):
    text = printed(FIGURES, width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("By slice pair") == parts
    assert text.count("DLPFC_151673 – DLPFC_151674") == parts
    assert text.count("PCA, not integrated") == parts
    for cell in FIGURES.rows[0][2:] + FIGURES.rows[1][2:]:
        assert text.count(cell) == 1
    assert "…" not in text


def test_a_column_that_never_fits_is_not_left_out():
    assert [cell in printed(FIGURES, 30) for cell in ("iLISI", "kBET", "ARI")] == [True] * 3


def test_what_is_in_brackets_is_no_markup():
    _, result = fake_result()
    result.obs[K.DOMAIN] = result.obs[K.DOMAIN].cat.rename_categories(lambda name: f"[red]{name}")
    assert "[red]1" in printed(domain_table(result), 80)


def test_only_a_domain_of_one_slice_is_marked():
    table = domain_table(fake_result()[1])
    assert table.names == ["domain"]
    assert len(table.columns) == 2


def test_paths_are_folded_and_not_cut():
    _, result = fake_result()
    result.uns[K.STALIGNER]["notes"] = ["/a/very/long/path" * 9]
    text = printed(result_table(Path("out.h5ad"), result), 60)
    assert "…" not in text
    assert "".join(c for c in text if c not in "│ \n").count("/a/very/long/path") == 9
