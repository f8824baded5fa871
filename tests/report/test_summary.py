"""The summary of a result for notebooks."""

from __future__ import annotations

import pandas as pd
import pytest
from tiny import QUICK, tiny_pair

from napari_staligner import InputError, integrate, summary


@pytest.fixture(scope="module")
def result():
    return integrate(tiny_pair(), settings=QUICK)


def test_counts_are_those_of_the_table(result):
    found = summary(result)
    wanted = pd.crosstab(result.obs["domain"], result.obs["slice"])
    assert found.domains[["A", "B"]].to_numpy().tolist() == wanted.to_numpy().tolist()
    assert found.slices["spots"].to_dict() == {"A": 64, "B": 56}
    assert found.head.startswith("2 slices, 120 spots, 40 of 40 genes used, 2 domains")


def test_names_are_text_and_never_markup(result):
    named = result.copy()
    named.obs["domain"] = named.obs["domain"].cat.rename_categories({"1": "<b>wm</b>"})
    named.obs["slice"] = named.obs["slice"].cat.rename_categories({"B": "verdict"})
    del named.uns["staligner"]["presence"]
    page = summary(named)._repr_html_()
    assert "&lt;b&gt;wm&lt;/b&gt;" in page
    assert "<b>wm" not in page
    assert named.uns["domain_colors"][0] in page
    assert page.count("<th>verdict</th>") == 1


def test_slices_alone_are_refused():
    with pytest.raises(InputError, match="integrate the slices first"):
        summary(tiny_pair()[0][1])
