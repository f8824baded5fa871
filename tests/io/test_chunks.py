"""Chunks of zarr that hold less than they claim: refused, where they ended the process."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import sys

import anndata as ad
import numcodecs
import numpy as np
import pytest
from tiny import tiny_pair

from napari_staligner import InputError
from napari_staligner.compat import check_chunks
from napari_staligner.io.h5ad import read_any

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is fenced as Linux does it")
TEXTS = np.array([f"spot {number}" for number in range(200)], dtype=object)
CODECS = {
    **{name: (numcodecs.Blosc(name), np.arange(9000) % 50) for name in ("zstd", "lz4", "zlib")},
    "blosclz": (numcodecs.Blosc("blosclz", blocksize=256), np.arange(9000) % 7),
    "texts": (numcodecs.VLenUTF8(), TEXTS),
    "bytes": (numcodecs.VLenBytes(), np.array([t.encode() for t in TEXTS], dtype=object)),
}


def fenced(data: bytes) -> tuple[mmap.mmap, np.ndarray]:
    """Bytes in memory behind which nobody may read."""
    page = mmap.PAGESIZE
    size = -(-max(len(data), 1) // page) * page
    memory = mmap.mmap(-1, size + page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + size), page, 0) == 0
    memory[size - len(data) : size] = data
    return memory, np.frombuffer(memory, dtype="u1")[size - len(data) : size]


def damaged(good: bytes, seed: int) -> bytes:
    chance, bad = random.Random(seed), bytearray(good)
    if chance.random() < 0.5:
        bad = bad[: chance.randint(0, len(bad))]
    for _ in range(chance.randint(0, 6) if bad else 0):
        place = chance.randrange(min(len(bad), chance.choice([16, 1 << 20])))
        bad[place] = chance.randrange(256)
    return bytes(bad)


@linux
@pytest.mark.parametrize("kind", CODECS)
def test_a_damaged_chunk_is_an_error_and_not_the_end_of_the_process(kind):
    import resource

    check_chunks()
    codec, values = CODECS[kind]
    good = bytes(codec.encode(values))
    assert np.array_equal(np.asarray(codec.decode(good)).ravel().view(values.dtype), values)
    child = os.fork()
    if child == 0:
        # What a chunk claims is not asked of the system.
        resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
        refused = 0
        for seed in range(150):
            _memory, chunk = fenced(damaged(good, seed))
            try:
                codec.decode(chunk)
            except MemoryError:
                os._exit(99)
            except Exception:
                refused += 1
        os._exit(0 if refused > 75 else 98)
    _, status = os.waitpid(child, 0)
    assert not os.WIFSIGNALED(status), os.WTERMSIG(status)
    assert os.WEXITSTATUS(status) == 0


@pytest.mark.parametrize("kind", ["zstd", "lz4", "zlib", "blosclz"])
def test_a_chunk_with_more_behind_it_is_read_as_before(kind):
    check_chunks()
    codec, values = CODECS[kind]
    read = np.frombuffer(codec.decode(bytes(codec.encode(values)) + bytes(7)), values.dtype)
    assert np.array_equal(read, values)


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer", "ignore:Consolidated")
@pytest.mark.parametrize("version", [2, 3])
def test_a_slice_with_a_chunk_that_was_cut_off_is_named(tmp_path, version):
    (_, adata), _ = tiny_pair()
    store = tmp_path / "a.zarr"
    with ad.settings.override(zarr_write_format=version):
        adata.write_zarr(store)
    chunks = [p for p in store.joinpath("X").rglob("*") if p.is_file() and p.stat().st_size > 64]
    chunk = max(chunks, key=lambda path: path.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"a\.zarr.*"):
        read_any(store)
