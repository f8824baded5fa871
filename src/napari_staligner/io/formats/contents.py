"""Recognises a file by its first bytes."""

from __future__ import annotations

import re
from pathlib import Path

from napari_staligner._errors import InputError
from napari_staligner.io.formats.guard import GZIP, H5_ERRORS, opened

HDF5 = b"\x89HDF\r\n\x1a\n"
FIRST = 1 << 16
"""Number of bytes that are read."""
_R = (b"X\n", b"A\n", b"RDX", b"RDA")
_SPOT = re.compile(rb'^"?\d+(\.\d+)?x\d+(\.\d+)?"?[\t,]')
_SPOTS = re.compile(rb'^"?[^\t,]*"?[\t,]"?\d+(\.\d+)?x\d+(\.\d+)?"?[\t,\r\n]')


def kind_of_file(path: Path) -> str:
    """Tell what a file is from its content alone.

    Returns
    -------
    ``anndata``, ``10x`` (a matrix of 10x Genomics), ``gem``, ``gef``, ``st``, ``rds``, or empty
    if its bytes do not say.

    Raises
    ------
    InputError
        It cannot be opened, or is compressed in a way that is not supported.
    """
    name = path.name.lower()
    if name.endswith((".rds", ".rdata", ".rda", ".robj")):
        return "rds"
    if name.endswith(".h5ad"):
        return "anndata"  # anndata's own errors are the clearest
    if name.endswith((".gem", ".gem.gz")):
        return "gem"
    if name.endswith(".gef"):
        return "gef"
    start = _start(path)
    if start.startswith(HDF5):
        return _kind_of_h5(path)
    if start.startswith(b"PK\x03\x04"):
        raise InputError(f"{str(path)!r} is a zip archive: unpack it, and give the folder.")
    if start[257:262] == b"ustar":
        raise InputError(f"{str(path)!r} is a tar archive: unpack it, and give the folder.")
    if start.startswith(_R):
        return "rds"
    return _kind_of_text(start)


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(FIRST)
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be opened ({error.strerror}): check its permissions."
        ) from error
    if not start.startswith(GZIP):
        return start
    try:
        with opened(path) as stream:
            return stream.read(FIRST)
    except InputError:
        return b""  # its reader says what is wrong


def _kind_of_h5(path: Path) -> str:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            names = set(file)
    except H5_ERRORS:
        return "anndata"
    if names & {"geneExp", "cellBin"}:
        return "gef"
    if "matrix" in names:
        return "10x"
    return "anndata"


def holds_cells_alone(path: Path) -> bool:
    """Whether a ``.gef`` holds cells but no square bins."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "cellBin" in file and "geneExp" not in file
    except H5_ERRORS:
        return False


def _kind_of_text(start: bytes) -> str:
    lines = [line for line in start.splitlines() if not line.startswith(b"#")]
    if not lines:
        return ""
    heading = re.split(rb"[\t,]", lines[0].replace(b'"', b"").strip())
    if {b"x", b"y"} <= set(heading) and set(heading) & {b"geneID", b"geneName"}:
        return "gem"
    if len(lines) > 1 and (_SPOT.match(lines[1]) or _SPOTS.match(lines[0])):
        return "st"
    return ""
