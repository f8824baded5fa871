"""What keeps versions of other packages from breaking this one, where a screen is not needed."""

from __future__ import annotations

import gc
import subprocess
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


FREE = """
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from napari_staligner.compat import load_torch_freely

def mapped():
    return "libtorch_cpu" in Path("/proc/self/maps").read_text()

before = len(sys.meta_path)
load_torch_freely()
load_torch_freely()
assert len(sys.meta_path) == before + 1 and not mapped()
import json.tool
assert not mapped()
find_spec("torch")
assert not mapped()
thread = Thread(target=find_spec, args=("torch",))
thread.start()
thread.join()
assert mapped() and "torch" not in sys.modules and len(sys.meta_path) == before
import torch
assert torch.ones(2).sum() == 2
load_torch_freely()
assert len(sys.meta_path) == before
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is done")
def test_torchs_library_is_loaded_before_the_module():
    # In a process of its own: this one may have torch.
    subprocess.run([sys.executable, "-W", "ignore", "-c", FREE], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is done")
@pytest.mark.parametrize("library", [None, b"no library"])
def test_a_torch_whose_library_does_not_load_is_imported_as_ever(library, tmp_path):
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").write_text("whole = True")
    if library is not None:
        (tmp_path / "torch" / "lib" / "libtorch_global_deps.so").write_bytes(library)
    code = (
        "from napari_staligner.compat import load_torch_freely; load_torch_freely();"
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from threading import Thread;"
        "thread = Thread(target=__import__, args=('torch',)); thread.start(); thread.join();"
        "assert sys.modules['torch'].whole"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


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
