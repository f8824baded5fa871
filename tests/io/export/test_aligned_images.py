"""Tissue images in the common frame: what is where, in how many pixels, and that a file says it."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import tifffile
from fakes import FACTOR, fake_result

from napari_staligner import InputError
from napari_staligner import _keys as K
from napari_staligner.core.progress import finish
from napari_staligner.core.registration.transforms import apply, turned
from napari_staligner.core.result.access import spots_xy
from napari_staligner.io import aligned
from napari_staligner.io.aligned import aligned_image, canvas_of
from napari_staligner.io.export import images
from napari_staligner.io.export.targets import export_steps
from napari_staligner.io.images import SCAN, SCAN_MATRIX

DARK = (60, 20, 90)


def blobs(adata, *, factor: float = 4.0, size: int = 3) -> np.ndarray:
    """An image with a dark square under every spot."""
    xy = spots_xy(adata)
    columns, rows = np.round(xy * factor).astype(int).T
    pixels = np.full((rows.max() + 40, columns.max() + 40, 3), 230, dtype=np.uint8)
    for row, column in zip(rows, columns, strict=True):
        pixels[row - size : row + size + 1, column - size : column + size + 1] = DARK
    return pixels


def give_image(result, name: str, pixels: np.ndarray, factor: float) -> None:
    result.uns[K.SPATIAL][name] = {
        "images": {"hires": pixels},
        "scalefactors": {"tissue_hires_scalef": factor, "microns_per_pixel": 2.0},
    }


@pytest.fixture
def made():
    """Two slices with an image, the second turned by 90°, or bent by :func:`bend`."""
    slices, result = fake_result()
    for name, adata in slices:
        give_image(result, name, blobs(adata), 4.0)
    return result


def bend(result) -> None:
    rows = np.flatnonzero((result.obs[K.SLICE] == "slice2").to_numpy())
    aligned = result.obsm[K.SPATIAL_ALIGNED]
    x, y = aligned[rows].T
    aligned[rows] += np.column_stack([6 * np.sin(y / 25), 5 * np.sin(x / 30)])


def exported(result, folder, pixel=None):
    finish(images.image_steps(result, folder, pixel))
    told = json.loads((folder / images.FRAME).read_text())
    return told, {n: tifffile.imread(folder / f["file"]) for n, f in told["images"].items()}


def pixels_of(told, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at = np.round((places - told["origin"]) / told["units_per_pixel"]).astype(int)
    return at[:, 1], at[:, 0]


@pytest.mark.parametrize("how", ["rigid", "affine", "bent"])
def test_every_spot_lies_on_its_pixels(made, tmp_path, how):
    if how == "affine":
        rows = np.flatnonzero((made.obs[K.SLICE] == "slice2").to_numpy())
        matrix = turned(20, mirrored=True) @ np.diag([1.1, 0.8, 1.0])
        made.uns[K.STALIGNER]["transforms"]["slice2"] = matrix
        made.obsm[K.SPATIAL_ALIGNED][rows] = apply(matrix, spots_xy(made)[rows])
    if how == "bent":
        bend(made)
    told, found = exported(made, tmp_path)
    assert [each["bent"] for each in told["images"].values()] == [False, how == "bent"]
    assert len({pixels.shape for pixels in found.values()}) == 1
    for name, pixels in found.items():
        rows = np.flatnonzero((made.obs[K.SLICE] == name).to_numpy())
        at = pixels_of(told, made.obsm[K.SPATIAL_ALIGNED][rows])
        off = np.abs(pixels[at].astype(int) - DARK).max(axis=1)
        assert (off <= 2).all(), f"{(off > 2).sum()} spots of {name} beside their pixels"
        # And what is dark is the spots alone: as many pixels as 7 × 7 each, or so.
        dark = (pixels[..., 0] < 145).sum()
        assert dark == pytest.approx(49 * len(rows), rel=0.25)
        assert tuple(pixels[0, -1]) in {(255, 255, 255), (230, 230, 230)}


def test_a_file_says_its_size_in_microns_and_has_smaller_levels(made, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "TILE", 64)
    monkeypatch.setattr(images, "SMALLEST", 128)
    told, found = exported(made, tmp_path)
    assert told["microns_per_pixel"] == pytest.approx(0.5)
    with tifffile.TiffFile(tmp_path / "slice2.ome.tif") as file:
        assert file.is_ome
        series = file.series[0]
        sizes = [level.shape[:2] for level in series.levels]
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata
        assert 'PhysicalSizeXUnit="µm"' in file.ome_metadata
        small = series.levels[1].asarray()
        assert series.levels[1].keyframe.tile == (64, 64)
    assert all(max(a) == pytest.approx(max(b) / 2, abs=1) for b, a in pairwise(sizes))
    assert max(sizes[-1]) <= 128 < max(sizes[-2])
    whole = found["slice2"].astype(float)
    height, width = (side // 2 * 2 for side in whole.shape[:2])
    halved = whole[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    both = small[: height // 2, : width // 2]
    assert np.abs(both - halved).mean() < 3


def test_a_scan_is_read_in_pieces_and_never_as_a_whole(made, tmp_path, monkeypatch):
    """A scan of full size, in tiles, turned and in channels of 16 bits."""
    monkeypatch.setattr(images, "TILE", 128)
    monkeypatch.setattr(aligned, "REMEMBERED", 100_000)
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 60_000, (2, 350, 450)).astype(np.uint16)
    path = tmp_path / "scan.ome.tif"
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD3"]}}
    tifffile.imwrite(path, planes, tile=(128, 128), compression="zlib", metadata=names)
    for name in ("slice1", "slice2"):
        made.uns[K.SPATIAL][name]["metadata"] = {
            SCAN: str(path),
            SCAN_MATRIX: np.diag([0.5, 0.5, 1.0]),
        }
    monkeypatch.setattr("napari_staligner.io.scans.TILE", 128)
    monkeypatch.setattr("napari_staligner.io.scans._opened", _fresh_opened())
    (tmp_path / "out").mkdir()
    largest = []
    asked = aligned._Pieces._block

    def watched(self, array, *rest):
        block = asked(self, array, *rest)
        largest.append(max(block.nbytes, self._size()))
        return block

    monkeypatch.setattr(aligned._Pieces, "_block", watched)
    told, found = exported(made, tmp_path / "out")
    assert max(largest) <= 100_000 < planes.nbytes / 5
    assert found["slice1"].dtype == np.uint16
    # Slice 1 stays: its pixels are those of the file. Slice 2 is turned by 90°.
    at = np.round(-np.array(told["origin"]) / told["units_per_pixel"]).astype(int)
    here = found["slice1"][:, at[1] : at[1] + 350, at[0] : at[0] + 450]
    np.testing.assert_array_equal(here, planes)
    turned_back = np.rot90(found["slice2"][:, at[1] :, : at[0] + 1], k=1, axes=(1, 2))
    np.testing.assert_array_equal(turned_back[:, :, :450][:, -350:], planes)
    with tifffile.TiffFile(tmp_path / "out" / "slice1.ome.tif") as file:
        assert 'Name="CD3"' in file.ome_metadata


def _fresh_opened():
    from napari_staligner.io.scans import _opened

    return _opened.__wrapped__


def test_what_lacks_an_image_is_named_and_a_larger_pixel_is_kept(made, tmp_path):
    del made.uns[K.SPATIAL]["slice2"]
    said = []
    finish(images.image_steps(made, tmp_path, 1.0), lambda s: s.note and said.append(s.note))
    assert said == ["Slice 'slice2' has no tissue image, so none is written."]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frame.json", "slice1.ome.tif"]
    assert (
        tifffile.imread(tmp_path / "slice1.ome.tif").shape[0]
        == canvas_of(made, {"slice1": aligned_image(made, "slice1")}, 1.0).height
    )
    del made.uns[K.SPATIAL]["slice1"]
    with pytest.raises(InputError, match="No slice of this result has a tissue image"):
        finish(images.image_steps(made, tmp_path))


def test_a_cancelled_export_ends_its_thread_and_leaves_nothing(made, tmp_path, monkeypatch):
    import threading

    monkeypatch.setattr(images, "TILE", 16)
    steps = export_steps(made, "images", tmp_path / "out")
    for _ in range(12):
        next(steps)
    steps.close()
    assert not [t for t in threading.enumerate() if t.name == "writing an image"]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(made, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "TiffWriter", full)
    with pytest.raises(
        InputError, match=r"No space left on device\): free some space, or choose another place"
    ):
        finish(export_steps(made, "images", tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_the_pixels_of_the_made_up_slices_are_found(tmp_path):
    """Their own images have one dark pixel for each spot, two units wide."""
    result = fake_result()[1]
    told, _ = exported(result, tmp_path)
    assert told["units_per_pixel"] == pytest.approx(1 / FACTOR)
    assert told["microns_per_pixel"] is None


def test_a_store_holds_what_is_bent_as_it_is_bent(made, tmp_path):
    """In the system of all slices, pixels lie under spots, and unbent slices lie there, too."""
    import spatialdata
    from spatialdata.transformations import get_transformation

    bend(made)
    finish(export_steps(made, "spatialdata", tmp_path / "out.zarr"))
    store = spatialdata.read_zarr(tmp_path / "out.zarr")
    rows = np.flatnonzero((made.obs[K.SLICE] == "slice2").to_numpy())
    spots = store.shapes["slice2_spots_bent"].geometry.get_coordinates().to_numpy()
    np.testing.assert_allclose(spots, made.obsm[K.SPATIAL_ALIGNED][rows], atol=0.1)
    image = store.images["slice2_image_bent"]
    back = get_transformation(image, "aligned_bent").inverse()
    matrix = back.to_affine_matrix(input_axes=("x", "y"), output_axes=("x", "y"))
    columns, down = np.floor(apply(matrix, spots)).astype(int).T
    assert np.abs(image.values[:, down, columns].T.astype(int) - DARK).max() <= 2
    for key in ("slice1_spots", "slice1_image"):
        assert "aligned_bent" in get_transformation(store[key], get_all=True)
    assert "aligned_bent" not in get_transformation(store["slice2_image"], get_all=True)
    assert "slice1_image_bent" not in store.images
