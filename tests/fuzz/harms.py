"""Damages to files: their bytes, the members of HDF5 files, the cells of tables, JSON."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

HARMS: dict[str, Callable[[Path, np.random.Generator], None]] = {}


def harm(change: Callable[..., None]) -> Callable[..., None]:
    """Add a damage to the list."""
    HARMS[change.__name__] = change
    return change


# --- bytes


def _bytes(path: Path, change: Callable[[bytearray], bytes]) -> None:
    path.write_bytes(bytes(change(bytearray(path.read_bytes()))))


@harm
def flip_bytes(path, rng):
    def change(data):
        for at in rng.integers(0, max(len(data), 1), int(rng.integers(1, 20))):
            if len(data):
                data[at] = int(rng.integers(256))
        return data

    _bytes(path, change)


@harm
def flip_early_bytes(path, rng):
    def change(data):
        for at in rng.integers(0, max(min(len(data), 2000), 1), 3):
            if len(data):
                data[at] = int(rng.integers(256))
        return data

    _bytes(path, change)


@harm
def cut_off(path, rng):
    _bytes(path, lambda data: data[: int(rng.integers(0, len(data) + 1))])


@harm
def zero_a_block(path, rng):
    def change(data):
        a = int(rng.integers(0, len(data) + 1))
        b = min(len(data), a + int(rng.integers(1, 600)))
        data[a:b] = bytes(b - a)
        return data

    _bytes(path, change)


@harm
def put_in_bytes(path, rng):
    def change(data):
        at = int(rng.integers(0, len(data) + 1))
        return data[:at] + rng.bytes(int(rng.integers(1, 40))) + data[at:]

    _bytes(path, change)


@harm
def take_out_bytes(path, rng):
    def change(data):
        at = int(rng.integers(0, len(data) + 1))
        return data[:at] + data[at + int(rng.integers(1, 40)) :]

    _bytes(path, change)


@harm
def remove(path, rng):
    path.unlink()


# --- HDF5; a file of another kind gets its bytes damaged


def _members(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def _hdf5(change: Callable[[h5py.File, list[str], np.random.Generator], None]) -> None:
    def changed(path: Path, rng: np.random.Generator) -> None:
        try:
            with h5py.File(path, "r+") as file:
                names = _members(file)
                if names:
                    change(file, names, rng)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError):
            if path.exists():
                flip_bytes(path, rng)

    HARMS[change.__name__] = changed


def _one(rng: np.random.Generator, names: Any) -> Any:
    return names[int(rng.integers(len(names)))]


def _datasets(file: h5py.File, names: list[str]) -> list[str]:
    return [name for name in names if isinstance(file[name], h5py.Dataset)]


@_hdf5
def h5_drop(file, names, rng):
    del file[_one(rng, names)]


@_hdf5
def h5_values(file, names, rng):
    data = file[_one(rng, _datasets(file, names))]
    wrong = [-1, 2**31 - 1, -(2**31), 0, 10**6, 255, np.nan, np.inf, -0.5]
    if data.dtype.kind in "iuf" and data.size:
        values = np.atleast_1d(data[()]).astype(data.dtype)
        with np.errstate(all="ignore"):
            number = np.array(_one(rng, wrong), float).astype(data.dtype)
        values.flat[int(rng.integers(values.size))] = number
        data[...] = values.reshape(data.shape)


@_hdf5
def h5_type(file, names, rng):
    name = _one(rng, _datasets(file, names))
    values, told = file[name][()], dict(file[name].attrs)
    del file[name]
    kinds = ["f2", "f8", "i1", "u8", "S8", "?", ">i4", "c8"]
    with np.errstate(all="ignore"):
        try:
            file[name] = np.asarray(values).astype(_one(rng, kinds))
        except (TypeError, ValueError):
            file[name] = "text"
    file[name].attrs.update(told)


@_hdf5
def h5_shape(file, names, rng):
    name = _one(rng, _datasets(file, names))
    values, told = np.asarray(file[name][()]), dict(file[name].attrs)
    del file[name]
    ways = [
        lambda x: x[:-1] if x.ndim else x,
        lambda x: np.concatenate([x, x]) if x.ndim else x,
        lambda x: x[None],
        lambda x: x.reshape(-1)[:0],
        lambda x: x.ravel(),
        lambda x: x.reshape(-1)[0] if x.size else x,
        lambda x: x.T,
    ]
    file[name] = _one(rng, ways)(values)
    file[name].attrs.update(told)


@_hdf5
def h5_other(file, names, rng):
    name = _one(rng, names)
    del file[name]
    others = [1, "text", np.arange(3), np.zeros((2, 2)), b"\xff\xfe", h5py.Empty("f4"), np.nan]
    file[name] = _one(rng, others)


@_hdf5
def h5_group(file, names, rng):
    name = _one(rng, _datasets(file, names))
    del file[name]
    file.create_group(name)["x"] = 1


@_hdf5
def h5_swap(file, names, rng):
    a, b = _one(rng, names), _one(rng, names)
    if a != b and not a.startswith(f"{b}/") and not b.startswith(f"{a}/"):
        file.move(a, "tmp")
        file.move(b, a)
        file.move("tmp", b)


@_hdf5
def h5_name(file, names, rng):
    name = _one(rng, names)
    file.move(name, name + _one(rng, ["x", " ", "é", "/x", "_index", "<b>"]))


@_hdf5
def h5_attribute(file, names, rng):
    with_some = [name for name in names if len(file[name].attrs)]
    attrs = file[_one(rng, with_some)].attrs if with_some else file.attrs
    if not len(attrs):
        return
    key = _one(rng, sorted(attrs))
    del attrs[key]
    if rng.random() < 0.7:
        attrs[key] = _one(rng, [1, "x", np.arange(3), "categorical", "csc_matrix", "", -1.5])


@_hdf5
def h5_link(file, names, rng):
    name = _one(rng, names)
    del file[name]
    links = [
        h5py.SoftLink("/nowhere"),
        h5py.SoftLink("/"),
        h5py.SoftLink(f"/{name}"),
        h5py.ExternalLink("other.h5", "/"),
        file["/"],
    ]
    file[name] = _one(rng, links)


# --- tables and JSON, packed or not


def _text(change: Callable[[str, np.random.Generator], str]) -> None:
    def changed(path: Path, rng: np.random.Generator) -> None:
        try:
            data = path.read_bytes()
            packed = data[:2] == b"\x1f\x8b"
            text = (gzip.decompress(data) if packed else data).decode()
        except (OSError, EOFError, ValueError):
            if path.exists():
                flip_bytes(path, rng)
            return
        after = change(text, rng).encode("utf-8", "surrogatepass")
        path.write_bytes(gzip.compress(after) if packed else after)

    HARMS[change.__name__] = changed


ODD = ["", "nan", "x", "-1", "1e400", "1e30", "é", '"', "9" * 30, "0x10", "1,5", " ", "NA", "\t"]


def _cells(change: Callable[[list[list[str]], np.random.Generator], None]) -> None:
    def changed(text: str, rng: np.random.Generator) -> str:
        sign = "\t" if text.count("\t") > text.count(",") else ","
        rows = [line.split(sign) for line in text.split("\n")]
        change(rows, rng)
        return "\n".join(sign.join(row) for row in rows)

    changed.__name__ = change.__name__
    _text(changed)


@_cells
def cell(rows, rng):
    row = _one(rng, rows)
    row[int(rng.integers(len(row)))] = _one(rng, ODD)


@_cells
def heading(rows, rng):
    rows[0][int(rng.integers(len(rows[0])))] = _one(rng, [*ODD, *rows[0]])


@_cells
def drop_column(rows, rng):
    at = int(rng.integers(len(rows[0])))
    for row in rows:
        del row[at : at + 1]


@_cells
def column_of_odd(rows, rng):
    at, odd = int(rng.integers(len(rows[0]))), _one(rng, ODD)
    for row in rows[1:]:
        row[at : at + 1] = [odd]


@_cells
def drop_row(rows, rng):
    del rows[int(rng.integers(len(rows)))]


@_cells
def double_row(rows, rng):
    rows.append(list(_one(rng, rows)))


@_cells
def only_heading(rows, rng):
    del rows[1:]


@_cells
def ragged(rows, rng):
    _one(rng, rows).append("x")


@_text
def decimal_commas(text, rng):
    return text.replace(",", ";").replace(".", ",")


@_text
def line_ends(text, rng):
    return text.replace("\n", _one(rng, ["\r\n", "\r", "\n\n"]))


@_text
def byte_order_mark(text, rng):
    return "\ufeff" + text


@harm
def other_encoding(path, rng):
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError):
        return
    path.write_bytes(text.encode(_one(rng, ["utf-16", "utf-32", "utf-16-le"])))


@_text
def json_part(text, rng):
    try:
        content = json.loads(text)
    except ValueError:
        return text
    wrong = [None, {}, [], "x", 1e400, -1, "", [[]], {"a": 1}, True, 10**40, "../x", "/etc/x"]
    here, key = content, None
    while isinstance(here, dict | list) and len(here):
        holder = here
        key = _one(rng, sorted(here)) if isinstance(here, dict) else int(rng.integers(len(here)))
        here = here[key]
        if rng.random() < 0.3:
            break
    if key is None:
        return text
    if isinstance(holder, dict) and rng.random() < 0.3:
        del holder[key]
    else:
        holder[key] = _one(rng, wrong)
    return json.dumps(content)
