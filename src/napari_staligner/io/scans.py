"""Images of any size: opened as pyramids, of which only what is looked at is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError, fromstring

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.core.outside import pass_on_memory
from napari_staligner.io.formats.guard import check_file, check_inside
from napari_staligner.io.pixels import PlainPixels, StoredPixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

OVERVIEW = 4096
"""Most pixels on the longer side of the coarsest level."""
TILE = 2048
"""Pixels on a side that are read at a time, about."""
MOST_STRIP = 1 << 28
"""Most bytes of a compressed piece of a TIFF, which has to be unpacked whole."""
MOST_CHANNELS = 64
_OPEN = 16
"""How many files are kept open."""


@dataclass(frozen=True)
class Scan:
    """An image of any size that has been opened.

    Parameters
    ----------
    levels
        Arrays of dask or numpy, the finest first. Colours have shape (height, width, 3 or 4) and
        type uint8; other images have shape (channels, height, width).
    channels
        Names of the channels; empty for colours.
    """

    levels: tuple[Any, ...]
    channels: tuple[str, ...] = ()

    @cached_property
    def overview(self) -> NDArray[Any]:
        """The coarsest level in memory; where the file has no small levels, all of it is read."""
        return np.asarray(self.levels[-1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the finest level, in pixels."""
        return _size(self.levels[0], colours=not self.channels)


def open_scan(path: Path) -> Scan:
    """Open an image; what was opened is remembered until the file changes.

    Parameters
    ----------
    path
        A TIFF (OME-TIFF, BigTIFF, SVS and the like), an image in a zarr folder (OME-NGFF), or a
        PNG or JPEG, which has to be decoded whole.

    Returns
    -------
    A pyramid; levels that the file lacks are made of its own ones when they are looked at.

    Raises
    ------
    InputError
        It cannot be read, or is no picture.
    """
    path = path.resolve()
    try:
        told = path.stat()
        return _opened(path, told.st_mtime_ns, told.st_size)
    except InputError:
        raise
    except Exception as error:  # any error of tifffile, a codec, zarr or an image library
        pass_on_memory(error)
        line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"{path.name!r} cannot be read as an image ({type(error).__name__}: {line}): write it "
            "again, such as a tiled TIFF."
        ) from error


@lru_cache(maxsize=_OPEN)
def _opened(path: Path, _changed: int, _size: int) -> Scan:
    if path.is_dir():
        return _completed(*_zarr(path), path)
    check_file(path)
    mosaic = _MOSAIC.fullmatch(path.name)
    if mosaic is not None:
        return _mosaics(path, mosaic)
    if path.suffix.lower() in {".png", ".jpg", ".jpeg"}:
        return _picture(path)
    return _completed(*_tiff(path), path)


_MOSAIC = re.compile(r"mosaic_(?P<stain>.+)_z(?P<plane>\d+)\.tiff?")


def _mosaics(path: Path, mosaic: re.Match[str]) -> Scan:
    """MERSCOPE's images of all stains in the plane of one of them: a file for each."""
    scans = {}
    for file in sorted(path.parent.iterdir()):
        own = _MOSAIC.fullmatch(file.name)
        if own is not None and own["plane"] == mosaic["plane"]:
            scans[own["stain"]] = _completed(*_tiff(file), file)
    first = scans[mosaic["stain"]]
    fitting = {name: scan for name, scan in scans.items() if scan.size == first.size}
    levels = zip(*(scan.levels for scan in fitting.values()), strict=True)
    return Scan(tuple(map(_stacked, levels)), tuple(fitting))


def _stacked(planes: Sequence[Any]) -> Any:
    import dask.array as da

    return da.concatenate([plane[:1] for plane in planes])


# -- files ---------------------------------------------------------------------------------------


def _tiff(path: Path) -> tuple[list[Any], str, tuple[str, ...], bool]:
    """Levels, their axes, names of channels, and whether the file says that it is in colours."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        levels = [
            _lazy(_tiff_level(path, level, number), series.axes)
            for number, level in enumerate(series.levels)
        ]
        kind = tifffile.PHOTOMETRIC(series.keyframe.photometric).name
        colours = kind in {"RGB", "YCBCR", "CIELAB"}
        return levels, series.axes, _ome_channels(file.ome_metadata), colours


def _tiff_level(path: Path, level: Any, number: int) -> Any:
    import tifffile
    import zarr

    if level.dataoffset is not None and not number:
        order = "<" if level.parent.byteorder == "<" else ">"
        return PlainPixels(path, level.dataoffset, level.shape, level.dtype.newbyteorder(order))
    store = tifffile.imread(path, aszarr=True, series=0, level=number)
    array = StoredPixels(zarr.open(store, mode="r"), path, store)
    piece = int(np.prod(array.chunks)) * array.dtype.itemsize
    if piece > MOST_STRIP:
        raise InputError(
            f"{path.name!r} is packed in pieces of {piece / 2**20:,.0f} MB, which cannot be read "
            "in part: write it as a tiled TIFF."
        )
    return array


def _ome_channels(text: str | None) -> tuple[str, ...]:
    """Names of the channels of the first image; empty if there are none."""
    try:
        root = fromstring(text) if text else None
    except ParseError:
        root = None
    pixels = None if root is None else root.find(".//{*}Image/{*}Pixels")
    found = [] if pixels is None else pixels.findall("{*}Channel")
    names = tuple(channel.get("Name") or "" for channel in found)
    return names if any(names) else ()


def _zarr(path: Path) -> tuple[list[Any], str, tuple[str, ...], bool]:
    """Read an image of OME-NGFF, as SpatialData stores it."""
    import zarr

    check_inside(path)
    group = zarr.open_group(path, mode="r")
    told: Any = group.attrs.get("ome", group.attrs.asdict())
    image: Mapping[str, Any] = told["multiscales"][0]
    axes = "".join(a["name"] if isinstance(a, Mapping) else a for a in image["axes"]).upper()
    levels = [_lazy(StoredPixels(group[part["path"]], path), axes) for part in image["datasets"]]
    channels = (told.get("omero") or {}).get("channels") or ()
    return levels, axes, tuple(str(channel.get("label", "")) for channel in channels), False


def _picture(path: Path) -> Scan:
    import imageio.v3 as iio

    pixels = np.asarray(iio.imread(path))
    if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        return Scan(tuple(strided(pixels)))
    axes = "YXS"[: pixels.ndim]
    return _completed([_lazy(pixels, axes)], axes, (), False, path)


def strided(pixels: NDArray[Any]) -> list[NDArray[Any]]:
    """Levels of a picture in memory, shape (height, width, …): views, so nothing is copied."""
    levels = [pixels]
    while max(levels[-1].shape[:2]) > OVERVIEW:
        levels.append(levels[-1][::2, ::2])
    return levels


def _lazy(array: Any, axes: str) -> Any:
    """An array as dask reads it: in pieces of about one tile, which are whole pieces of it."""
    import dask.array as da

    own = getattr(array, "chunks", None) or (1,) * array.ndim
    wanted, room = [1] * array.ndim, TILE * TILE
    for axis in sorted(range(array.ndim), key=lambda axis: "SXY".find(axes[axis])):
        if axes[axis] == "S":
            wanted[axis] = array.shape[axis]
        elif axes[axis] in "YX":
            side = TILE if axes[axis] == "X" else max(1, room)
            pieces = max(1, round(side / own[axis]))
            wanted[axis] = min(array.shape[axis], pieces * own[axis])
            room //= wanted[axis]
    # Random names: dask would read all of the file for a name of its content.
    return da.from_array(array, chunks=tuple(wanted), name=False)


# -- pyramids ------------------------------------------------------------------------------------


def _completed(
    levels: list[Any], axes: str, names: Sequence[str], colours: bool, path: Path
) -> Scan:
    """Bring levels to the order of axes that is shown, and add those that are missing."""
    levels = [_planes(level, axes, path) for level in levels]
    names = _unique(names, len(levels[0]))
    if _in_colours(levels[0], axes, names, colours):
        levels, names = [_colours(level) for level in levels], ()
    kept: list[Any] = levels[:1]
    for level in levels[1:]:
        if 0 < max(_size(level, not names)) < max(_size(kept[-1], not names)):
            kept.append(level)
    while max(_size(kept[-1], not names)) > OVERVIEW:
        kept.append(_halved(kept[-1], not names))
    return Scan(tuple(kept), tuple(names))


def _planes(level: Any, axes: str, path: Path) -> Any:
    """Shape (channels, height, width); the middle of a volume, the first of other axes."""
    if level.dtype.kind not in "buif" or not {"Y", "X"} <= set(axes) or not level.size:
        raise InputError(f"{path.name!r} has axes {axes!r} of {level.dtype}: it is no picture.")
    of_channels = next(
        (axis for axis in "CSQI" if axis in axes and _several(level, axes, axis)), ""
    )
    index = tuple(
        slice(None)
        if axis in ("Y", "X", of_channels)
        else level.shape[at] // 2
        if axis == "Z"
        else 0
        for at, axis in enumerate(axes)
    )
    level = level[index]
    rest = [axis for axis in axes if axis in ("Y", "X", of_channels)]
    order = [*(["C"] if of_channels else []), "Y", "X"]
    rest = ["C" if axis == of_channels else axis for axis in rest]
    level = level.transpose([rest.index(axis) for axis in order])
    return level if of_channels else level[None]


def _several(level: Any, axes: str, axis: str) -> bool:
    return 1 < level.shape[axes.index(axis)] <= MOST_CHANNELS


def _in_colours(level: Any, axes: str, names: Sequence[str], told: bool) -> bool:
    if len(level) not in (3, 4):
        return False
    if "S" in axes or told or [name[:1].lower() for name in names[:3]] == ["r", "g", "b"]:
        return True
    unnamed = all(name.isdigit() or name.startswith("channel ") for name in names)
    return bool(level.dtype == np.uint8) and unnamed


def _unique(names: Sequence[str], n: int) -> tuple[str, ...]:
    """A name for each of n channels, no two the same."""
    found: list[str] = []
    for number in range(n):
        own = (names[number].strip() if number < len(names) else "") or f"channel {number + 1}"
        found.append(own if own not in found else f"{own} ({number + 1})")
    return tuple(found)


def _colours(level: Any) -> Any:
    """Shape (height, width, colours), uint8."""
    import dask.array as da

    level = da.moveaxis(level, 0, 2).rechunk({2: -1})
    if level.dtype == np.uint8:
        return level
    top = np.iinfo(level.dtype).max if level.dtype.kind in "ui" else 1.0
    return level.map_blocks(_in_8_bits, top=float(top), dtype=np.uint8)


def _in_8_bits(block: NDArray[Any], top: float) -> NDArray[np.uint8]:
    scaled = np.clip(block.astype(np.float32) * np.float32(255 / top), 0, 255)
    return np.asarray(np.round(scaled), dtype=np.uint8)


def _halved(level: Any, colours: bool) -> Any:
    """A level of half the size: means of four pixels, taken when it is looked at."""
    import dask.array as da

    y = 0 if colours else 1
    return da.coarsen(_mean, level, {y: 2, y + 1: 2}, trim_excess=True)


def _mean(block: NDArray[Any], axis: Any = None) -> NDArray[Any]:
    mean = block.mean(axis=axis, dtype=np.float32)
    return np.asarray(mean if block.dtype.kind == "f" else mean + 0.5).astype(block.dtype)


def _size(level: Any, colours: bool) -> tuple[int, int]:
    height, width = level.shape[:2] if colours else level.shape[-2:]
    return int(height), int(width)


# -- looks ---------------------------------------------------------------------------------------

COLORS: Mapping[str, tuple[int, int, int]] = {
    "blue": (0, 0, 1),
    "green": (0, 1, 0),
    "magenta": (1, 0, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
    "red": (1, 0, 0),
    "gray": (1, 1, 1),
}
"""Colour maps of channels, by napari's names; nuclei are blue."""
SHOWN = 4
"""Channels that are shown at first: of more, nobody sees which is which."""
_NUCLEI = ("dapi", "hoechst", "nucle", "ssdna")


def channel_colors(channels: Sequence[str]) -> list[str]:
    """A colour map of :data:`COLORS` for each channel."""
    if len(channels) == 1:
        return ["gray"]
    others = [color for color in COLORS if color != "blue"]
    nuclei = [any(part in name.lower() for part in _NUCLEI) for name in channels]
    at, found = 0, []
    for number in range(len(channels)):
        if nuclei[number]:
            found.append("blue")
        else:
            found.append(others[at % len(others)])
            at += 1
    return found


def contrast_limits(scan: Scan) -> list[tuple[float, float]]:
    """Darkest and brightest value that are told apart, of each channel, by its coarsest level."""
    found = []
    for plane in scan.overview:
        values = plane[::2, ::2].astype(np.float32)
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, (1, 99.8)) if len(values) else (0.0, 1.0)
        found.append((float(low), float(high) if high > low else float(low) + 1))
    return found


def picture_of(scan: Scan) -> NDArray[np.uint8]:
    """The coarsest level in colours, shape (height, width, 3 or 4)."""
    level = scan.overview
    if not scan.channels:
        return level
    made = np.zeros((*level.shape[1:], 3), dtype=np.float32)
    looks = zip(level, channel_colors(scan.channels), contrast_limits(scan), strict=True)
    for plane, color, (low, high) in list(looks)[:SHOWN]:
        share = np.clip((np.nan_to_num(plane.astype(np.float32)) - low) / (high - low), 0, 1)
        made += share[:, :, None] * np.array(COLORS[color], dtype=np.float32)
    return np.asarray(np.round(255 * np.clip(made, 0, 1)), dtype=np.uint8)
