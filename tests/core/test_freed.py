from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from napari_staligner.core import freed as module


@pytest.mark.skipif(sys.platform != "linux", reason="only GNU's allocator is known")
def test_what_is_free_between_what_stays_is_given_back():
    own = psutil.Process()
    both = [(np.ones(60_000, np.uint8), np.ones(8_000, np.uint8)) for _ in range(1000)]
    left = [small for _, small in both]
    del both
    before = own.memory_info().rss
    module.give_back()
    if not hasattr(module._library(), "malloc_trim"):
        pytest.skip("another allocator")
    assert before - own.memory_info().rss > 20e6
    assert len(left) == 1000


@pytest.mark.parametrize(
    ("told", "users", "called"),
    [
        ("always [madvise] never", {}, True),
        ("always madvise [never]", {}, False),
        ("[always] madvise never", {"MALLOC_MMAP_THRESHOLD_": "1000000"}, False),
        (None, {}, False),
    ],
)
def test_large_arrays_go_back_at_once_only_where_huge_pages_make_up_for_it(
    monkeypatch, tmp_path, told, users, called
):
    calls = []
    library = SimpleNamespace(mallopt=lambda kind, size: calls.append((kind, size)))
    path = tmp_path / "enabled"
    if told is not None:
        path.write_text(told)
    monkeypatch.setattr(module, "HUGE_PAGES", path)
    monkeypatch.setattr(module, "_library", lambda: library)
    monkeypatch.setattr(module.os, "environ", environment := dict(users))
    module.keep_little()
    assert calls == ([(-3, module.LARGE)] if called else [])
    assert ("THP_MEM_ALLOC_ENABLE" in environment) == called
