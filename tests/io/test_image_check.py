"""Spots on their own image: as they lie, and in the orientation in which they would lie better."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import tiny_slice

from napari_staligner.core.progress import finish
from napari_staligner.io.image_check import image_fit, otsu, tissue_mask
from napari_staligner.io.slice_card import slice_card_job


def tissue(height: int = 300, width: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """An L-shaped piece of tissue without symmetry, and spots (column, row) all over it."""
    pixels = np.full((height, width, 3), (235, 232, 238), dtype=np.uint8)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    on = (x > 40) & (x < 130) & (y > 30) & (y < 270) | (x > 40) & (x < 330) & (y > 200) & (y < 270)
    pixels[on] = (170, 90, 160)
    pixels = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    places = np.stack(np.meshgrid(np.arange(45, 330, 8), np.arange(35, 270, 8)), -1).reshape(-1, 2)
    return pixels, places[on[places[:, 1], places[:, 0]]].astype(float)


def fit(pixels, spots):
    return image_fit(pixels, spots, pixels.shape[:2])


def test_spots_that_lie_well_are_left_alone():
    pixels, spots = tissue()
    found = fit(pixels, spots)
    assert found.share > 0.97
    assert found.better == ""


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (lambda p: p[:, ::-1], "mirrored left to right"),
        (lambda p: p[::-1], "mirrored top to bottom"),
        (lambda p: p[::-1, ::-1], "turned by 180°"),
        (lambda p: np.rot90(p, 1), "turned by 90° clockwise"),
        (lambda p: np.rot90(p, -1), "turned by 90° counterclockwise"),
        (lambda p: p.transpose(1, 0, 2), "mirrored along its falling diagonal"),
        (lambda p: np.rot90(p, 2).transpose(1, 0, 2), "mirrored along its rising diagonal"),
    ],
)
def test_an_image_in_another_orientation_is_told_with_what_mends_it(change, undo):
    pixels, spots = tissue()
    found = fit(np.ascontiguousarray(change(pixels)), spots)
    assert found.share < 0.8
    assert found.better == undo
    assert found.then > 0.97


def test_a_shift_is_told_with_its_way():
    pixels, spots = tissue()
    found = fit(pixels, spots - (32, 0))
    assert found.better.startswith("moved")
    assert "left" in found.better
    assert found.then > 0.95


def test_fluorescence_is_bright_on_dark_and_an_empty_image_says_nothing():
    pixels, spots = tissue()
    assert fit(255 - pixels, spots).share > 0.97
    assert fit(np.full_like(pixels, 230), spots) is None
    noise = np.random.default_rng(0).integers(228, 234, pixels.shape).astype(np.uint8)
    assert fit(noise, spots) is None


def test_the_threshold_parts_two_heaps_as_that_of_scikit_image():
    filters = pytest.importorskip("skimage.filters")
    values = np.concatenate([np.random.default_rng(0).normal(m, 9, 900) for m in (80, 190)])
    assert otsu(values) == pytest.approx(filters.threshold_otsu(values), abs=1)
    assert tissue_mask(tissue()[0]).mean() == pytest.approx(0.29, abs=0.03)


def test_the_card_of_a_slice_says_it():
    pixels, spots = tissue()
    adata = tiny_slice(side=25)[: len(spots)].copy()
    adata.obsm["spatial"] = spots[: adata.n_obs] * 2

    def problems(image):
        adata.uns["spatial"] = {
            "A": {"images": {"hires": image}, "scalefactors": {"tissue_hires_scalef": 0.5}}
        }
        return finish(slice_card_job("A", adata).steps()).problems

    assert not [said for said in problems(pixels) if "tissue" in said]
    (said,) = [said for said in problems(pixels[:, ::-1].copy()) if "tissue" in said]
    assert "of the spots lie on the tissue of the image" in said
    assert "if the image is mirrored left to right" in said
