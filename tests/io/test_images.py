"""Under each slice lies its own image, as it looks, or it is said why there is none."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from tiny import QUICK, tiny_pair, tiny_slice

from napari_staligner import integrate, read_slices, write_result
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.io.images import image_problem, tissue_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def library(color: tuple[int, ...] = RED, factor: object = 0.1) -> dict:
    image = np.full((8, 10, len(color)), color, np.uint8)
    return {"images": {"hires": image}, "scalefactors": {"tissue_hires_scalef": factor}}


def color_of(adata: AnnData) -> tuple[int, ...] | None:
    found = tissue_image(adata)
    return None if found is None else tuple(map(int, found[0][0, 0]))


# -- which image ---------------------------------------------------------------------------------


def joint(libraries: dict, n: int = 2, **columns: object) -> AnnData:
    keys = [f"S{i + 1}" for i in range(n)]
    parts = [tiny_slice(seed=i) for i in range(n)]
    adata = ad.concat(parts, label="sample", keys=keys, index_unique="-")
    adata.uns["spatial"] = libraries
    for key, values in columns.items():
        adata.obs[key] = values
    return adata


TWO = {"V1": library(RED), "V2": library(BLUE)}
NUMBERED = {"1": library(RED), "2": library(BLUE)}
FOUND = {
    "by name": (joint({"S1": library(RED), "S2": library(BLUE)}), [RED, BLUE]),
    "by library_id": (joint(TWO, library_id=np.repeat(["V1", "V2"], 64)), [RED, BLUE]),
    "by another column": (joint(TWO, slide_code=np.repeat(["V2", "V1"], 64)), [BLUE, RED]),
    "by numbers": (joint(NUMBERED, library_id=np.repeat([1, 2], 64)), [RED, BLUE]),
    "by floats": (joint(NUMBERED, library_id=np.repeat([2.0, 1.0], 64)), [BLUE, RED]),
    "one of one slide": (joint({"V1": library(RED)}, library_id="V1"), [RED, RED]),
    "none is named": (joint(TWO), [None, None]),
    "the third has none": (joint({"S1": library(RED), "S2": library(BLUE)}, 3), [RED, BLUE, None]),
    "one is named": (joint({"S2": library(BLUE)}), [None, BLUE]),
    "one of any name": (joint({"V1": library(RED)}), [None, None]),
}


@pytest.mark.parametrize(("adata", "colors"), FOUND.values(), ids=FOUND)
def test_the_image_of_each_of_several_slices(adata: AnnData, colors: list, tmp_path) -> None:
    adata.write_h5ad(tmp_path / "joint.h5ad")
    slices = read_slices([tmp_path / "joint.h5ad"], slice_key="sample")
    assert [color_of(part) for _, part in slices] == colors
    for (name, part), color in zip(slices, colors, strict=True):
        told = any("has no tissue image" in note for note in notes_of(name, part))
        assert told is (color is None)


def test_the_only_library_is_that_of_the_only_slice(tmp_path) -> None:
    adata = tiny_slice()
    adata.uns["spatial"] = {"any name": library(BLUE)}
    adata.write_h5ad(tmp_path / "A.h5ad")
    ((_, part),) = read_slices([tmp_path / "A.h5ad"])
    assert color_of(part) == BLUE


SINGLE = {
    "library_id": (lambda a: a.obs.__setitem__("library_id", "V2"), BLUE),
    "sample": (lambda a: a.obs.__setitem__("sample", "V2"), BLUE),
    "nothing": (lambda a: None, None),
    "in_tissue": (
        lambda a: (a.obs.__setitem__("in_tissue", 1), a.uns.update(spatial=NUMBERED)),
        None,
    ),
}


@pytest.mark.parametrize(("change", "color"), SINGLE.values(), ids=SINGLE)
def test_one_slice_that_still_has_all_libraries(change, color) -> None:
    adata = tiny_slice()
    adata.uns["spatial"] = TWO
    change(adata)
    assert color_of(adata) == color


@pytest.mark.parametrize("names", [("adata", "adata (2)"), ("a", "a b"), ("x", "y")])
def test_a_result_gives_each_slice_its_own_image_back(names: tuple[str, str], tmp_path) -> None:
    (_, a), (_, b) = tiny_pair()
    b.uns["spatial"] = {"any": library(BLUE)}
    result = integrate(dict(zip(names, (a, b), strict=True)), settings=QUICK)
    path = write_result(result, tmp_path / "out.h5ad")
    assert [color_of(part) for _, part in read_slices([path])] == [None, BLUE]


@pytest.mark.parametrize(
    "spatial",
    [
        pd.DataFrame({"x": [1.0]}),
        np.ones((3, 2)),
        "text",
        {"is_single": True},
        {"is_single": True, "V1": library()},
        library(),
    ],
    ids=["table", "array", "text", "no library", "CELLxGENE", "without a name"],
)
def test_what_else_stands_in_uns_spatial(spatial: object) -> None:
    adata = tiny_slice()
    adata.uns["spatial"] = spatial
    known = isinstance(spatial, dict) and len(spatial) > 1
    assert color_of(adata) == (RED if known else None)
    assert (image_problem(adata) is None) is known


# -- how it looks --------------------------------------------------------------------------------

RGB = np.full((8, 10, 3), RED, np.uint8)
GREY = np.full((8, 10), 128, np.uint8)
LOOKS = {
    "uint8": (RGB, RED),
    "RGBA": (np.dstack([RGB, np.full((8, 10), 255, np.uint8)]), (*RED, 255)),
    "colours first": (np.moveaxis(RGB, 2, 0), RED),
    "grey": (GREY, (128, 128, 128)),
    "grey with an axis": (GREY[:, :, None], (128, 128, 128)),
    "grey, axis first": (GREY[None], (128, 128, 128)),
    "float of 0 to 1": (RGB / 255, RED),
    "float of 0 to 255": (RGB.astype(float), RED),
    "float of 0 to 1, first": (np.moveaxis(RGB, 2, 0) / 255, RED),
    "half float": ((RGB / 255).astype(np.float16), RED),
    "uint16": (RGB.astype(np.uint16) * 257, RED),
    "12 bits": ((RGB / 255 * 4095).astype(np.uint16), RED),
    "uint16 of 0 to 255": (RGB.astype(np.uint16), RED),
    "int64": (RGB.astype(np.int64), RED),
    "truths": (RGB > 0, RED),
    "NaN around": (np.where(RGB == 0, np.nan, RGB / 255), RED),
}


@pytest.mark.parametrize(("image", "color"), LOOKS.values(), ids=LOOKS)
def test_an_image_is_shown_as_it_looks(image: np.ndarray, color: tuple[int, ...]) -> None:
    adata = tiny_slice()
    adata.uns["spatial"] = {"V1": library() | {"images": {"hires": image}}}
    pixels, _ = tissue_image(adata)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (8, 10, len(color))
    assert color_of(adata) == color
    assert image_problem(adata) is None


@pytest.mark.parametrize("factor", ["0.1", b"0.1", np.array([0.1]), np.float32(0.1)], ids=repr)
def test_a_factor_that_is_no_plain_number(factor: object) -> None:
    adata = tiny_slice()
    adata.uns["spatial"] = {"V1": library(factor=factor)}
    assert tissue_image(adata)[1] == pytest.approx(0.1)


PROBLEMS = {
    "no factor": (library() | {"scalefactors": {}}, "no scale factor 'tissue_hires_scalef'"),
    "factors None": (library() | {"scalefactors": None}, "no scale factor"),
    "no number": (library(factor="large"), "no scale factor"),
    "zero": (library(factor=0), "no scale factor"),
    "NaN": (library(factor=np.nan), "no scale factor"),
    "two colours": (library() | {"images": {"hires": RGB[:, :, :2]}}, "shape (8, 10, 2)"),
    "four axes": (library() | {"images": {"hires": RGB[None]}}, "so it is not a picture"),
    "a path": (library() | {"images": {"hires": "tissue.png"}}, "so it is not a picture"),
    "another name": (library() | {"images": {"large": RGB}}, "'large' is none of"),
    "no image": (library() | {"images": {}}, "none"),
}


@pytest.mark.parametrize(("held", "reason"), PROBLEMS.values(), ids=PROBLEMS)
def test_why_there_is_no_image(held: dict, reason: str) -> None:
    adata = tiny_slice()
    adata.uns["spatial"] = {"V1": held}
    assert tissue_image(adata) is None
    assert reason in image_problem(adata)


def test_a_smaller_image_stands_in() -> None:
    adata = tiny_slice()
    held = library() | {"scalefactors": {"tissue_lowres_scalef": 0.05}}
    held["images"] = {"hires": RGB, "lowres": np.full((4, 5, 3), BLUE, np.uint8)}
    adata.uns["spatial"] = {"V1": held}
    assert color_of(adata) == BLUE
