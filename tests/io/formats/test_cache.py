"""What is large is read once."""

from __future__ import annotations

import made_formats as made
import numpy as np
import pytest

from napari_staligner import _keys as K
from napari_staligner.core.result.provenance import source_of
from napari_staligner.io import user_folder
from napari_staligner.io.formats import cache, read
from napari_staligner.io.h5ad import read_slices
from napari_staligner.io.images import shown_picture, tissue_image
from napari_staligner.io.sources import check_unchanged


@pytest.fixture(autouse=True)
def all_is_large(monkeypatch):
    monkeypatch.setattr(cache, "LARGE", 0)


@pytest.fixture
def times(monkeypatch):
    """Count how often files are read."""
    counted = []
    whole = read.read_found

    def counting(*arguments):
        counted.append(arguments)
        return whole(*arguments)

    monkeypatch.setattr(read, "read_found", counting)
    return counted


def kept_files():
    return sorted(user_folder.cache_folder().glob("*"))


@pytest.mark.parametrize("make", [made.make_gem, made.make_gef])
@pytest.mark.parametrize("backed", [True, False])
def test_the_second_time_it_is_taken_from_the_cache(tmp_path, times, make, backed):
    path = make(tmp_path / ("A.gem.gz" if make is made.make_gem else "A.gef"))
    ((_, first),) = read_slices([path])
    ((name, again),) = read_slices([path], backed=backed)
    assert (name, len(times)) == ("A", 1)
    matrix = again.X.compute() if backed else again.X
    np.testing.assert_array_equal(matrix.toarray(), first.X.toarray())
    np.testing.assert_allclose(again.obsm[K.SPATIAL], first.obsm[K.SPATIAL])
    assert list(again.uns[K.NOTES]) == list(first.uns[K.NOTES])
    assert source_of(again) == source_of(first)
    check_unchanged(name, source_of(again))


def test_counts_are_left_on_disk_the_first_time_too(tmp_path, times):
    outs = made.make_visium_hd(tmp_path / "gut")
    ((name, adata),) = read_slices([f"{outs}[bin=016um]"], backed=True)
    assert (name, len(times)) == ("gut", 1)
    np.testing.assert_array_equal(adata.X.compute().toarray(), made.counts(6))
    assert tissue_image(adata) is not None


def test_another_choice_or_another_file_is_read_anew(tmp_path, times):
    path = made.make_gem(tmp_path / "A.gem")
    n = [read_slices([f"{path}{part}"])[0][1].n_obs for part in ("", "[bin=20]", "[bin=100]")]
    assert len(times) == 3
    assert n[1] > n[0] > n[2]
    made.make_gem(path, made.molecules(200))
    read_slices([path])
    assert len(times) == 4


def test_what_was_cut_off_is_made_again(tmp_path, times):
    path = made.make_gem(tmp_path / "A.gem")
    read_slices([path])
    (file,) = kept_files()
    file.write_bytes(file.read_bytes()[:1000])
    assert read_slices([path])[0][1].n_obs > 0
    assert len(times) == 2
    read_slices([path])
    assert len(times) == 2


def test_what_was_not_used_for_longest_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MOST", 2)
    path = made.make_gem(tmp_path / "A.gem")
    for size in (20, 50, 100):
        read_slices([f"{path}[bin={size}]"])
    assert len(kept_files()) == 2


def test_not_being_able_to_keep_is_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(user_folder, "cache_folder", lambda: tmp_path / "file" / "below")
    path = made.make_gem(tmp_path / "A.gem")
    assert read_slices([path], backed=True)[0][1].n_obs > 0


def test_small_samples_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "LARGE", 50_000_000)
    monkeypatch.setattr(user_folder, "cache_folder", lambda: tmp_path / "cache")
    read_slices([made.make_gem(tmp_path / "A.gem")])
    assert not (tmp_path / "cache").exists()


def test_a_scan_that_comes_is_shown_but_not_hashed(tmp_path, times):
    import tifffile

    outs = made.make_visium_hd(tmp_path / "gut")
    ((_, before),) = read_slices([f"{outs}[bin=016um]"])
    # The small image has 90 × 110 pixels at 0.15 pixels per coordinate.
    tifffile.imwrite(outs / "scan.btf", np.zeros((600, 733, 3), np.uint8), photometric="rgb")
    for _ in range(2):
        ((name, after),) = read_slices([f"{outs}[bin=016um]"])
        assert shown_picture(after).scan.size == (600, 733)
    assert len(times) == 2
    assert source_of(after) == source_of(before)
    check_unchanged(name, source_of(after))
