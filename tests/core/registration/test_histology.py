from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy import ndimage, sparse
from scipy.spatial import KDTree
from skimage.color import hed2rgb
from tiny import QUICK, tiny_pair

from napari_staligner import _keys as K
from napari_staligner import integrate
from napari_staligner.core.prepare.image_move import move_image
from napari_staligner.core.progress import finish
from napari_staligner.core.registration import Registered, register_steps
from napari_staligner.core.registration.anndata import Choice, registration_job
from napari_staligner.core.registration.histology import (
    Histology,
    histology_in,
    histology_of_slices,
)
from napari_staligner.core.registration.sections import Section
from napari_staligner.core.registration.seen import image_evidence
from napari_staligner.core.registration.transforms import about, apply, inverse, turned
from napari_staligner.core.stages import StagesJob, stage_steps, stages_job

MIDDLE, SPACING, FACTOR, SIDE = np.array([500.0, 350.0]), 19.0, 0.12, 168
"""Of tissue of 1000 × 700; and of images of it, which reach 200 beyond it on all sides."""


def tissue(n: int, seed: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Spots, and features that look the same once the tissue is mirrored, or turned by 180°.

    Or, of the kind "plain", in no other way.
    """
    rng = np.random.default_rng(seed)
    points = rng.random((n, 2)) * 2 * MIDDLE
    x, y = ((points - MIDDLE) / 300).T
    if kind == "mirrored":
        z = np.stack([np.abs(x), y, np.sin(np.abs(x) + y), np.abs(x) * y / 3], axis=1)
    elif kind == "plain":
        z = np.stack([x, y, np.sin(x + y), x * y / 3], axis=1)
    else:
        z = np.stack([x * y, x * x, y * y, np.sin(x * y + x * x)], axis=1)
    return points, z + rng.normal(scale=0.05, size=z.shape)


def smooth(noise: np.ndarray, width: float) -> np.ndarray:
    """Two fields that vary over a width in pixels, with a variance of 1."""
    fields = ndimage.gaussian_filter(noise, (0, width, width))
    return fields / fields.std(axis=(1, 2), keepdims=True)


def picture(motion: np.ndarray, seed: int = 0) -> np.ndarray:
    """A section stained with H&E, uint8, as its own slide shows it: moved, and with its own dye."""
    rng = np.random.default_rng(seed)
    # What the sections share is drawn from one generator, whatever the seed.
    shared = np.random.default_rng(9).normal(size=(2, 90, 90))
    texture = smooth(shared, 4.0)
    row, column = np.mgrid[:SIDE, :SIDE]
    pixels = np.stack([column, row], axis=-1).reshape(-1, 2)
    at = apply(inverse(motion), pixels / FACTOR - 200.0)
    inside = ((at >= 0) & (at <= 2 * MIDDLE)).all(axis=1)
    places = (at / 1000 * 80 + 5).T[::-1]
    stains = [ndimage.map_coordinates(layer, places, order=1, mode="nearest") for layer in texture]
    amounts = 0.05 + 0.01 * np.stack(stains, axis=1) + rng.normal(scale=0.005, size=(len(at), 2))
    hed = np.column_stack([np.clip(amounts * rng.uniform(0.7, 1.3, 2), 0, 0.2), np.zeros(len(at))])
    rgb = hed2rgb(hed * inside[:, None]).reshape(SIDE, SIDE, 3)
    return np.round(255 * rgb).astype(np.uint8)


def library(image: np.ndarray) -> dict:
    scales = {"tissue_lowres_scalef": FACTOR, "spot_diameter_fullres": SPACING}
    return {"images": {"lowres": image}, "scalefactors": scales}


def pair(kind: str, motion: np.ndarray, *, images: int = 2) -> tuple[AnnData, np.ndarray]:
    """Two integrated slices, the second moved, and where its spots would lie in the first."""
    (a, z_a), (b, z_b) = tissue(700, 0, kind), tissue(600, 1, kind)
    near = KDTree(z_b).query(z_a)[1]
    block = sparse.csr_matrix((np.ones(700), (np.arange(700), near)), shape=(700, 600))
    adata = AnnData(
        obs={K.SLICE: np.repeat(["A", "B"], [700, 600])},
        obsm={
            # Both have their images' origin, so that no pixel is negative.
            K.SPATIAL: np.vstack([a, apply(motion, b)]) + 200.0,
            K.EMBEDDING: np.vstack([z_a, z_b]).astype(np.float32),
        },
        obsp={K.MUTUAL: sparse.bmat([[None, block], [block.T, None]], format="csr")},
    )
    adata.obs[K.SLICE] = adata.obs[K.SLICE].astype("category")
    both = {"A": library(picture(np.eye(3), 1)), "B": library(picture(motion, 2))}
    adata.uns[K.SPATIAL] = dict(list(both.items())[:images])
    return adata, b + 200.0


def registered(adata: AnnData) -> tuple[Registered, list[str]]:
    notes: list[str] = []
    steps = register_steps(registration_job(adata, Choice()))
    return finish(steps, lambda step: step.note and notes.append(step.note)), notes


def off(found: Registered, true: np.ndarray) -> float:
    """Median distance of the second slice's spots from where they belong, in spacings."""
    return float(np.median(np.linalg.norm(found.aligned[700:] - true, axis=1))) / SPACING


@pytest.mark.parametrize(
    ("kind", "degrees", "mirror"),
    [("mirrored", 40, False), ("mirrored", 40, True), ("turned by 180°", 220, False)],
)
def test_images_tell_how_symmetric_tissue_lies(kind, degrees, mirror):
    motion = about(MIDDLE, turned(degrees, mirrored=mirror))
    adata, true = pair(kind, motion)
    found, notes = registered(adata)
    assert off(found, true) < 0.5
    assert [one.doubt for one in found.trust] == [""]
    assert [note for note in notes if "tissue images tell" in note] == notes != []
    # With one image the doubt remains, and is said.
    del adata.uns[K.SPATIAL]["B"]
    alone, notes = registered(adata)
    assert "fits another way" in alone.trust[0].doubt
    assert kind in notes[0]


def test_no_image_is_looked_at_where_the_embedding_tells(monkeypatch):
    adata, true = pair("plain", about(MIDDLE, turned(40, mirrored=True)))
    asked: list[Histology] = []
    monkeypatch.setattr(Histology, "stains", asked.append)
    found, notes = registered(adata)
    assert off(found, true) < 0.5
    assert asked == notes == []


@pytest.mark.parametrize("width", [1.0, 4.0, 8.0])
def test_chance_is_chance_however_slowly_stains_vary(width):
    column, row = np.meshgrid(np.arange(24), np.arange(16))
    points = np.stack([column, row], axis=-1).reshape(-1, 2).astype(float)
    mirrored = about(points.mean(axis=0), turned(0, mirrored=True))

    def told(first: np.ndarray, second: np.ndarray, seed: int) -> float:
        noise = np.random.default_rng(seed).normal(scale=0.5, size=(2, *first.shape))
        sections = {
            k: Section(points, field + noise[k], np.arange(len(points)), 1.5)
            for k, field in enumerate((first, second))
        }
        ours, theirs = ({0: matrix, 1: np.eye(3)} for matrix in (np.eye(3), mirrored))
        return image_evidence(sections, ours, theirs, 2.0)

    noise = np.random.default_rng(0).normal(size=(16, 2, 16, 24))
    fields = [smooth(one, width).reshape(2, -1).T for one in noise]
    alike = [told(fields[k], fields[k], k) for k in range(4)]
    unlike = [told(fields[k], fields[k - 1], k) for k in range(16)]
    # A test over blocks of tissue would be far above 1 where stains vary slowly.
    assert 0.5 < np.sqrt(np.mean(np.square(unlike))) < 1.6
    assert np.mean(alike) > 1.3


def test_images_that_do_not_lie_under_their_spots_tell_nothing():
    motion = about(MIDDLE, turned(40, mirrored=True))
    adata, _ = pair("mirrored", motion)
    for name in "AB":
        far = np.eye(3)
        far[:2, 2] = 600.0
        move_image(adata, far, name)
    found, notes = registered(adata)
    assert "fits another way" in found.trust[0].doubt
    assert not any("tissue images" in note for note in notes)


def test_an_integration_and_its_missing_stages_take_the_images_along(monkeypatch):
    slices = tiny_pair()
    for _, adata in slices:
        scales = {"tissue_lowres_scalef": 0.5, "spot_diameter_fullres": 1.0}
        image = {"lowres": np.full((30, 40, 3), 200, np.uint8)}
        adata.uns[K.SPATIAL] = {"library": {"images": image, "scalefactors": scales}}
    seen: list[StagesJob] = []
    monkeypatch.setattr(
        "napari_staligner.core.integrate.stage_steps",
        lambda job: (seen.append(job), stage_steps(job))[1],
    )
    result = integrate(slices, settings=QUICK)
    for job in (seen[0], stages_job(result)):
        assert list(job.histology) == [name for name, _ in slices]
        for (_, adata), one in zip(slices, job.histology.values(), strict=True):
            np.testing.assert_allclose(one.places, adata.obsm[K.SPATIAL] / 2)


def test_stains_are_those_under_the_spots_wherever_the_image_was_moved():
    image = np.full((40, 60, 3), 240, np.uint8)
    image[10:20, 30:40] = (120, 60, 160)
    scales = {"tissue_lowres_scalef": 0.5, "spot_diameter_fullres": 6.0}
    row, column = np.mgrid[4:76:4, 4:116:4]
    xy = np.stack([column, row], axis=-1).reshape(-1, 2) * 1.0
    adata = AnnData(np.zeros((len(xy), 1)), obsm={K.SPATIAL: xy})
    adata.uns[K.SPATIAL] = {"A": {"images": {"lowres": image}, "scalefactors": scales}}

    def dark() -> np.ndarray:
        stains = histology_of_slices({"A": adata})["A"].stains()
        assert stains.shape == (len(xy), 2)
        return xy[stains[:, 0] > 1].mean(axis=0)

    np.testing.assert_allclose(dark(), (69, 29), atol=2)
    flip = np.array([[-1.0, 0, 118], [0, 1, 0], [0, 0, 1]])
    move_image(adata, flip, "")
    np.testing.assert_allclose(dark(), (49, 29), atol=2)
    beside = {"images": {"lowres": image}, "scalefactors": scales}
    assert histology_in(beside, xy + 30.0).stains() is None
    blank = {"images": {"lowres": np.full_like(image, 200)}, "scalefactors": scales}
    assert histology_in(blank, xy).stains() is None
    assert histology_in({"images": {}, "scalefactors": scales}, xy) is None
