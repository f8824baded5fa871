"""What keeps versions of other packages from breaking this one, where a screen is not needed."""

from __future__ import annotations

import gc
import sys
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from napari_staligner.compat import (
    camera_of,
    grid_of,
    keep_triton_out,
    search_whole,
    unwrapped,
)


def test_camera_and_grid_are_found_where_a_version_of_napari_has_them():
    before = SimpleNamespace(camera="camera", grid="grid")
    since = SimpleNamespace(
        scene=SimpleNamespace(camera="camera"), canvas=SimpleNamespace(grid="grid")
    )
    for viewer in (before, since):
        assert (camera_of(viewer), grid_of(viewer)) == ("camera", "grid")


def test_the_viewer_behind_each_proxy_is_the_same():
    from napari.utils._proxies import PublicOnlyProxy

    viewer = SimpleNamespace()
    assert unwrapped(PublicOnlyProxy(viewer)) is viewer
    assert unwrapped(viewer) is viewer


@pytest.mark.parametrize(
    ("library", "kept_out"),
    [("/usr/lib/libLLVM.so.19.1", True), ("/usr/lib/libLLVM-15.so.1", True), ("libGL.so", False)],
)
def test_triton_is_kept_out_where_llvm_draws(library, kept_out, tmp_path):
    mapped = tmp_path / "maps"
    mapped.write_text(f"7f00-7f01 r-xp 00000000 08:01 1  {library}\n")
    with patch.dict(sys.modules):
        sys.modules.pop("triton", None)
        keep_triton_out(mapped)
        assert ("triton" in sys.modules) == kept_out
        if kept_out:
            with pytest.raises(ImportError):
                __import__("triton")


def test_triton_that_is_loaded_stays_and_other_systems_are_left_alone(tmp_path):
    mapped = tmp_path / "maps"
    with patch.dict(sys.modules):
        sys.modules.pop("triton", None)
        keep_triton_out(mapped)
        assert "triton" not in sys.modules
    with patch.dict(sys.modules, triton=sys):
        keep_triton_out(mapped)
        mapped.write_text("/usr/lib/libLLVM.so.19.1")
        keep_triton_out(mapped)
        assert sys.modules["triton"] is sys


def test_a_whole_search_waits_until_it_is_wanted_again():
    usual = gc.get_threshold()
    try:
        search_whole(False)
        search_whole(False)
        assert gc.get_threshold()[:2] == usual[:2]
        assert gc.get_threshold()[2] > 1000
    finally:
        search_whole(True)
    search_whole(True)
    assert gc.get_threshold() == usual
