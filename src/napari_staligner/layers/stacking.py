"""What a stack shows of each slice: all blended, one at a time, or parts of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.layers.layer_data import image_roles
from napari_staligner.layers.masks import masked_levels, pixels_world
from napari_staligner.session import PAIRWISE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from napari.layers import Image, Layer, Points
    from numpy.typing import NDArray

    from napari_staligner.session import Session, StackView

    SliceLayers = Mapping[str, Mapping[str, Layer]]


class Stacking:
    """Shows the slices of a stack as ``session.view.stack`` says, and restores them afterwards.

    Only ``visible``, ``opacity``, the ``shown`` of points and the alpha of images change. An image
    that is shown in parts gets a copy of its pixels with alpha, or of a pyramid levels that are
    masked when they are looked at; the original comes back unchanged.
    """

    def __init__(self) -> None:
        self._before: dict[Layer, tuple[bool, float]] = {}
        self._pixels: dict[Layer, tuple[NDArray, NDArray]] = {}
        self._levels: dict[Layer, tuple[list[Any], Any]] = {}
        """Of pyramids and channels: their own levels, and the finest one that is masked."""
        self._masked: set[Layer] = set()
        self.hidden: frozenset[str] = frozenset()
        """Slices whose edges and markers are hidden at present."""
        self.away: frozenset[str] = frozenset()
        """Slices that are not shown at all at present."""
        self._put: dict[Layer, bool] = {}

    def show(self, session: Session, layers: SliceLayers) -> None:
        """Show the layers, which are already in place, as the session says."""
        self._forget({layer for roles in layers.values() for layer in roles.values()})
        if session.view.layout != "stack":
            self._leave()
            return
        view, pair = session.view.stack, session.slices.pair
        seen = _seen(view, pair, layers)
        self.hidden = frozenset(layers) - seen if view.mode != "3d" else frozenset(layers)
        for i, (name, roles) in enumerate(layers.items()):
            self._show_slice(view, name, roles, seen=name in seen, lowest=i == 0)
        self._show_parts(view, pair, layers)

    def look(self, layer: Layer) -> tuple[bool, float]:
        """Whether a layer is visible, and its opacity, when not changed by the stack."""
        return self._before.get(layer, (self._put.get(layer, layer.visible), layer.opacity))

    def set_look(self, layer: Layer, visible: bool, opacity: float) -> None:
        """Give a layer a look; in the stack, it is applied once another layout is chosen."""
        if layer in self._before:
            self._before[layer] = visible, opacity
        else:
            self._look(layer, visible, opacity)

    def _look(self, layer: Layer, visible: bool, opacity: float) -> None:
        """Give a layer a look; one that is put away gets it when it comes back."""
        if layer in self._put:
            self._put[layer] = visible
            visible = layer.visible
        _look(layer, visible, opacity)

    def put_away(self, layers: SliceLayers, shown: Collection[str]) -> None:
        """Hide all slices but some, after the others are as they should be."""
        self.away = frozenset(layers) - frozenset(shown)
        for name in self.away:
            for layer in layers[name].values():
                if layer not in self._put or layer.visible:
                    self._put[layer] = layer.visible
                if layer.visible:
                    layer.visible = False

    def bring_back(self, layers: SliceLayers, shown: Collection[str]) -> None:
        """Show what was put away of some slices, as it was; what stays away is not touched.

        napari takes some 10 ms for each layer that is shown or hidden.
        """
        put, self._put = self._put, {}
        back = {layer for name in shown for layer in layers.get(name, {}).values()}
        present = {layer for roles in layers.values() for layer in roles.values()}
        for layer, visible in put.items():
            if layer in back:
                # What the user has shown in the meantime stays.
                if visible and not layer.visible:
                    layer.visible = True
            elif layer in present:
                self._put[layer] = visible

    # -- whole slices ---------------------------------------------------------------------

    def _show_slice(
        self,
        view: StackView,
        name: str,
        roles: Mapping[str, Layer],
        *,
        seen: bool,
        lowest: bool,
    ) -> None:
        has_image = K.Role.IMAGE in roles
        opacity = view.opacity(name)
        # Whether it is shown, whether that holds even if it was hidden before, and its opacity.
        image = (
            seen and _wants_image(view, lowest=lowest),
            view.part == "image",
            opacity if view.mode == "blend" and view.part == "image" else None,
        )
        spots = (
            seen and view.mode != "3d" and (view.part != "image" or not has_image),
            view.part != "both",
            opacity if view.mode == "blend" or view.part == "both" else None,
        )
        for role in (*image_roles(roles), K.Role.SPOTS):
            if role in roles:
                layer = roles[role]
                wanted, in_any_case, fade = spots if role == K.Role.SPOTS else image
                now = self._put.get(layer, layer.visible), layer.opacity
                before = self._before.setdefault(layer, now)
                # A channel that was hidden stays hidden; there are others.
                channel = K.LAYER_CHANNEL in layer.metadata and role != K.Role.IMAGE
                visible = wanted and (before[0] or (in_any_case and not channel))
                self._look(layer, visible, before[1] if fade is None else fade)

    def _leave(self) -> None:
        for layer, look in self._before.items():
            self._look(layer, *look)
        for layer in list(self._masked):
            self._unmask(layer)
        self._before.clear()
        self.hidden = frozenset()

    def _forget(self, present: set[Layer]) -> None:
        """Forget layers that were removed."""
        self._before = {x: look for x, look in self._before.items() if x in present}
        self._pixels = {x: pixels for x, pixels in self._pixels.items() if x in present}
        self._levels = {x: levels for x, levels in self._levels.items() if x in present}
        self._masked &= present

    # -- parts of two slices --------------------------------------------------------------

    def _show_parts(
        self, view: StackView, pair: tuple[str, str] | None, layers: SliceLayers
    ) -> None:
        masked: set[Layer] = set()
        if view.mode in ("checkerboard", "swipe") and pair is not None and set(pair) <= set(layers):
            box = _box([layers[name][K.Role.SPOTS] for name in pair])
            for number, name in enumerate(pair):
                for role in (*image_roles(layers[name]), K.Role.SPOTS):
                    layer = layers[name].get(role)
                    if layer is None or not layer.visible:
                        continue
                    masked.add(layer)
                    self._mask(layer, view, box, second=number == 1)
        for layer in self._masked - masked:
            self._unmask(layer)
        self._masked = masked

    def _mask(self, layer: Layer, view: StackView, box: NDArray, *, second: bool) -> None:
        if layer.ndim == 2 and hasattr(layer, "shown"):
            world = _world(layer.data, _to_world(layer))
            show_points(layer, first_of_pair(view, box, world[:, 0], world[:, 1]) != second)
            return
        if layer.multiscale or not layer.rgb:
            self._mask_lazily(layer, view, box, second=second)
            return
        if layer not in self._pixels or layer.data is not self._pixels[layer][1]:
            self._pixels[layer] = layer.data, _with_alpha(np.asarray(layer.data))
        source, buffer = self._pixels[layer]
        rows = np.arange(buffer.shape[0], dtype=np.float32)[:, None]
        columns = np.arange(buffer.shape[1], dtype=np.float32)[None]
        y, x = pixels_world(rows, columns, _to_world(layer))
        alpha = np.asarray(source)[..., 3] if source.shape[-1] == 4 else _opaque(buffer.dtype)
        buffer[..., 3] = np.where(first_of_pair(view, box, y, x) != second, alpha, 0)
        layer.data = buffer

    def _mask_lazily(self, layer: Image, view: StackView, box: NDArray, *, second: bool) -> None:
        """Mask a pyramid or a channel: only what is seen of it is computed."""
        levels = list(layer.data) if layer.multiscale else [layer.data]
        if layer not in self._levels or levels[0] is not self._levels[layer][1]:
            self._levels[layer] = levels, None
        source = self._levels[layer][0]

        def inside(y: NDArray, x: NDArray) -> NDArray[np.bool_]:
            return first_of_pair(view, box, y, x) != second

        masked = masked_levels(source, _to_world(layer), inside, rgb=layer.rgb)
        self._levels[layer] = source, masked[0]
        layer.data = masked if layer.multiscale else masked[0]

    def _unmask(self, layer: Image | Points) -> None:
        if hasattr(layer, "shown"):
            show_points(layer, np.ones(len(layer.data), dtype=bool))
        elif layer in self._pixels:
            source, buffer = self._pixels.pop(layer)
            if layer.data is buffer:
                layer.data = source
        elif layer in self._levels:
            levels, masked = self._levels.pop(layer)
            if (layer.data[0] if layer.multiscale else layer.data) is masked:
                layer.data = levels if layer.multiscale else levels[0]
        self._masked.discard(layer)


def first_of_pair(
    view: StackView, box: NDArray[np.float64], y: NDArray, x: NDArray
) -> NDArray[np.bool_]:
    """Whether places in the world show the first of the two slices.

    Parameters
    ----------
    view
        ``"checkerboard"`` or ``"swipe"``.
    box
        Smallest and largest (y, x) of both slices, shape (2, 2).
    y, x
        The places; shapes that broadcast.
    """
    if view.mode == "swipe":
        edge = box[0, 1] + view.swipe * (box[1, 1] - box[0, 1])
        return np.broadcast_arrays(x < edge, y)[0]
    side = np.ptp(box, axis=0).max() / view.cells or 1.0
    even = np.floor((y - box[0, 0]) / side) + np.floor((x - box[0, 1]) / side)
    return even % 2 == 0


def show_points(layer: Points, shown: NDArray[np.bool_]) -> None:
    """Show some points of a layer and hide the others."""
    if not np.array_equal(layer.shown, shown):
        layer.shown = shown
        layer.refresh()


def _seen(view: StackView, pair: tuple[str, str] | None, layers: SliceLayers) -> frozenset[str]:
    if view.mode not in PAIRWISE or pair is None:
        return frozenset(layers)
    return frozenset([pair[view.front]] if view.mode == "flicker" else pair)


def _wants_image(view: StackView, *, lowest: bool) -> bool:
    """Show no image that would cover the spots of another slice, unless images are chosen."""
    if view.part == "spots":
        return False
    if view.mode in PAIRWISE:
        return True
    return lowest or (view.mode == "blend" and view.part == "image")


def _look(layer: Layer, visible: bool, opacity: float) -> None:
    if layer.opacity != opacity:
        layer.opacity = opacity
    if layer.visible != visible:
        layer.visible = visible


def _to_world(layer: Layer) -> NDArray[np.float64]:
    """3 × 3 matrix from the data of a layer, (y, x, 1), to the world."""
    inner = np.diag([*layer.scale[-2:], 1.0])
    inner[:2, 2] = layer.translate[-2:]
    return layer.affine.affine_matrix @ inner


def _world(yx: NDArray, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return yx @ matrix[:2, :2].T + matrix[:2, 2]


def _box(layers: list[Points]) -> NDArray[np.float64]:
    """Smallest and largest (y, x) of the points in the world, shape (2, 2)."""
    world = np.vstack([_world(layer.data, _to_world(layer)) for layer in layers])
    return np.array([world.min(axis=0), world.max(axis=0)])


def _opaque(dtype: np.dtype) -> float:
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def _with_alpha(pixels: NDArray) -> NDArray:
    """Copy of an RGB or RGBA image with its own alpha."""
    out = np.empty((*pixels.shape[:2], 4), dtype=pixels.dtype)
    out[..., :3], out[..., 3] = pixels[..., :3], _opaque(pixels.dtype)
    return out
