"""What lies at a path is told without reading it."""

from __future__ import annotations

import subprocess
import sys

import made_formats as made
import pytest

from napari_staligner._errors import InputError
from napari_staligner.io.formats.sniff import sniff


@pytest.mark.parametrize(
    ("make", "kind", "roles"),
    [
        (made.make_visium, "visium", {"matrix", "positions", "scalefactors", "hires", "lowres"}),
        (made.make_xenium, "xenium", {"matrix", "cells", "experiment"}),
        (made.make_merscope, "merscope", {"matrix", "cells"}),
        (made.make_cosmx, "cosmx", {"matrix", "cells", "views"}),
        (made.make_slideseq, "slideseq", {"matrix", "cells"}),
        (made.make_st, "st", {"matrix", "positions"}),
        (made.make_geo, "mtx", {"matrix", "barcodes", "features", "positions"}),
    ],
)
def test_a_folder_is_known_by_its_files(tmp_path, make, kind, roles):
    found = sniff(make(tmp_path / "liver"))
    assert (found.kind, set(found.files)) == (kind, roles)
    assert all(path.is_file() for path in found.files.values())
    # Around it, and each of its files, lead to the same.
    assert sniff(tmp_path).files == found.files
    for path in found.files.values():
        assert sniff(path).files == found.files


def test_the_sizes_of_bins_are_told(tmp_path):
    found = sniff(made.make_visium_hd(tmp_path / "outs"))
    assert (found.kind, found.choices) == ("visium_hd", {"bin": ("002um", "008um", "016um")})
    one = sniff(tmp_path / "outs" / "binned_outputs" / "square_016um")
    assert (one.kind, one.choices, one.name) == ("visium_hd", {"bin": ("016um",)}, tmp_path.name)


def test_a_slice_is_called_after_the_first_folder_that_says_something(tmp_path):
    made.make_visium(tmp_path / "liver" / "outs")
    for path in ("liver", "liver/outs", "liver/outs/spatial"):
        assert sniff(tmp_path / path).name == "liver"


def test_several_samples_are_asked_for_by_name(tmp_path):
    for name in ("a", "b"):
        made.make_visium(tmp_path / name / "outs")
    with pytest.raises(InputError, match=r"several samples: give one of .*/a/outs', .*/b/outs'"):
        sniff(tmp_path)


def test_the_matrix_that_is_asked_for_is_taken(tmp_path):
    made.make_visium(tmp_path)
    raw = made.write_10x_h5(
        tmp_path / "raw_feature_bc_matrix.h5", made.barcodes(), made.counts(seed=3)
    )
    assert sniff(tmp_path).files["matrix"].name == "filtered_feature_bc_matrix.h5"
    assert sniff(raw).files["matrix"] == raw


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.rds", b"\x1f\x8b", None),
        ("a.zip", b"PK\x03\x04....", "unpack it"),
        ("a.tar", b"\0" * 257 + b"ustar\0", "unpack it"),
        ("a.png", b"\x89PNG\r\n", "no format that is known"),
        ("a.csv", b"a,b\n1,2\n", "no format that is known"),
        ("a.dat", b"", "no format that is known"),
    ],
)
def test_files_of_other_kinds(tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    if says is None:
        assert sniff(tmp_path / name).kind == "rds"
        return
    with pytest.raises(InputError, match=says):
        sniff(tmp_path / name)


def test_nothing_is_said_of_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        sniff(tmp_path / "outs")
    with pytest.raises(InputError, match="no format that is known here"):
        sniff(tmp_path)
    (tmp_path / "a.h5ad").write_bytes(b"x")
    with pytest.raises(InputError, match=r"give them themselves .*a\.h5ad"):
        sniff(tmp_path)


def test_sniffing_loads_nothing_heavy(tmp_path):
    made.make_visium_hd(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from napari_staligner.io.formats.sniff import sniff\n"
        f"sniff(Path({str(tmp_path)!r}))\n"
        "assert not {'anndata', 'pandas', 'scanpy', 'spatialdata', 'zarr'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
