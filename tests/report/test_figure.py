"""Figures for papers: size, names, legend and a true scale bar."""

from __future__ import annotations

import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from napari_staligner.report.figure import FigureLegend, FigurePart, nice_length, slices_figure

RED = (1.0, 0.0, 0.0, 1.0)


def part(name, microns=None):
    x, y = np.meshgrid(np.arange(10.0), np.arange(10.0))
    points = np.column_stack([x.ravel(), y.ravel()]) * 100
    return FigurePart(name, points, np.tile(RED, (100, 1)), 95.0, microns)


def test_a_png_has_300_dots_per_inch_and_spots_in_their_colours():
    png = slices_figure([part("one"), part("two")], FigureLegend("domain", (("a", RED),)))
    image = Image.open(BytesIO(png))
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    pixels = np.asarray(image.convert("RGB"))
    red = (pixels == (255, 0, 0)).all(axis=-1).mean()
    assert red > 0.3


def test_an_svg_has_names_legend_and_a_bar_as_text():
    names = [f"slice{i}" for i in range(12)]
    legend = FigureLegend("domain", (("layer & 1", RED), ("WM", (0, 0, 1, 1))))
    svg = slices_figure([part(n, microns=2.0) for n in names], legend, "svg").decode()
    for text in (*names, "domain", "layer &amp; 1", "WM"):
        assert f">{text}</text>" in svg
    # 900 units and two spots at each end are 2,180 µm; three tenths of that are 654.
    assert svg.count(">500 µm</text>") == 1


def test_slices_of_different_scale_have_a_bar_each_and_unknown_scales_are_not_called_microns():
    legend = FigureLegend("x", (), (0.0, 1.0), np.tile(RED, (8, 1)), "counts")
    svg = slices_figure([part("a", 2.0), part("b", 1.0)], legend, "svg").decode()
    assert svg.count(">500 µm</text>") == 2
    alone = slices_figure([part("a")], legend, "svg").decode()
    assert re.search(r">200 units</text>", alone)
    assert "µm" not in alone


def test_an_image_lies_under_the_spots_where_it_was_moved_to():
    spots = replace(part("a"), rgba=np.tile((0, 0, 0, 0.0), (100, 1)))
    image = np.full((10, 10, 3), 255, dtype=np.uint8)
    image[2, 3] = (0, 0, 255)
    turned = np.array([[0, -100.0, 900], [100, 0, 0], [0, 0, 1]])
    legend = FigureLegend("x", (("a", RED),))
    seen = []
    for matrix in (np.diag([100.0, 100, 1]), turned):
        png = slices_figure([replace(spots, image=image, matrix=matrix)], legend)
        pixels = np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)
        rows, columns = np.nonzero((pixels[..., 2] - pixels[..., 0]) > 200)
        seen.append((columns.mean(), rows.mean()))
    # 1,090 units are 582 pixels: (3, 2) lies at (300, 200), turned at (700, 300).
    moved = np.subtract(*seen[::-1]) / 582 * 1090
    np.testing.assert_allclose(moved, (400, 100), atol=8)


@pytest.mark.parametrize(("most", "nice"), [(654, 500), (500, 500), (0.19, 0.1), (2100, 2000)])
def test_lengths_of_bars_are_round(most, nice):
    assert nice_length(most) == pytest.approx(nice)
