"""The picture of all methods: what stands where in it."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fakes import fake_result
from imageio.v3 import imread

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.evaluation.evaluation import Evaluation, Figures
from napari_staligner.core.progress import finish
from napari_staligner.report.picture import picture_form, picture_job


@pytest.fixture(scope="module")
def adata():
    return fake_result()[1]


@pytest.fixture(scope="module")
def evaluation(adata):
    """Of two methods: the second one's domains are those of the result."""
    codes = adata.obs[K.DOMAIN].cat.codes.to_numpy()
    first = {"ilisi_raw": 1.8, "clisi_raw": 1.5, "ari": 0.4, "nmi": 0.7, "f1": float("nan")}
    second = {"ilisi_raw": 1.6, "clisi_raw": 1.2, "ari": 0.6, "nmi": 0.7, "f1": 0.3}
    figures = {
        "other": Figures(first, {}, {}, np.where(codes < 1, 0, -1)),
        K.EMBEDDING: Figures(second, {}, {}, codes),
    }
    return Evaluation(figures, {}, "region", ())


def texts(svg: bytes) -> dict[str, tuple[float, float, bool]]:
    """Place of each text, and whether it is bold."""
    found = {}
    pattern = (
        r'<text style="([^"]*)"[^>]*?(?:translate\(|rotate\(-?0 )(\S+) ([^\s)]+)\)"[^>]*>([^<]+)<'
    )
    for style, x, y, text in re.findall(pattern, svg.decode()):
        found[text] = float(x), float(y), "font-weight: 700" in style
    return found


def test_methods_are_rows_slices_and_figures_are_columns(adata, evaluation):
    found = texts(finish(picture_job(adata, evaluation, "svg").steps()))
    assert found["slice1"][0] < found["slice2"][0] < found["iLISI ↑"][0] < found["cLISI ↓"][0]
    assert found["region"][1] < found["other"][1] < found["STAligner"][1]
    # A figure stands in the row of its method; the better one is bold, and both if they are equal.
    for value, row, bold in (
        ("1.800", "other", True),
        ("1.600", "STAligner", False),
        ("1.500", "other", False),
        ("1.200", "STAligner", True),
        ("0.400", "other", False),
        ("0.600", "STAligner", True),
        ("0.700", "STAligner", True),
        ("–", "other", False),
        ("0.300", "STAligner", True),
    ):
        assert found[value][1] == pytest.approx(found[row][1], abs=5)
        assert found[value][2] == bold, value
    assert "F1 ↑" in found


def test_tissues_have_the_colours_of_the_domains(adata, evaluation):
    png = finish(picture_job(adata, evaluation).steps())
    pixels = imread(BytesIO(png))[..., :3] / 255
    assert len(pixels) > 3 * 150
    rows = np.array_split(pixels[len(pixels) // 10 :], 3)
    colors = [
        np.frombuffer(bytes.fromhex(c[1:]), np.uint8) / 255 for c in adata.uns["domain_colors"]
    ]

    def share(row, color):
        return (np.abs(row - color).max(axis=2) < 0.01).mean()

    # Rows: labels, "other" with one domain and spots without, the result.
    assert all(share(rows[2], color) > 0.003 for color in colors)
    assert share(rows[1], colors[0]) > 0.003
    assert share(rows[1], colors[2]) < 1e-3
    assert share(rows[1], np.full(3, 0x99 / 255)) > 0.01


def test_the_ending_says_the_format():
    assert picture_form(Path("a/b.PDF")) == "pdf"
    for name in ("b", "b.doc", "b.tiff"):
        with pytest.raises(InputError, match=r"end it with \.png or \.pdf or \.svg"):
            picture_form(Path(name))
