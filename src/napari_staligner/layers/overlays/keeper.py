"""Manages the overlays of a viewer: made when switched on, removed when switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from napari_staligner import _keys as K
from napari_staligner.compat import node_of

_ABOVE = 100_000
"""Drawing order of marks: above the layers (0, 1, …), below napari's own overlays."""

if TYPE_CHECKING:
    from anndata import AnnData
    from napari.layers import Layer

    from napari_staligner.layers.overlays.overlay import SpotMark, TissueOverlay
    from napari_staligner.layers.stage import Stage


class LayerKeeper:
    """Makes, updates and removes the layers of one overlay.

    Parameters
    ----------
    overlay
        What the layers show.
    stage
        Holds the layers.
    """

    def __init__(self, overlay: TissueOverlay, stage: Stage) -> None:
        self._overlay, self._stage = overlay, stage
        # Slices that got the layer since it was switched on: a layer that the user deletes is not
        # made again before the next time. A layer for all slices has an empty name.
        self._made: dict[str, AnnData | None] = {}
        self._fresh: set[str] = set()
        for signal in (*overlay.follows(), overlay.due):
            signal.connect(self.refresh)
        stage.arranged.connect(self._on_arranged)

    def refresh(self) -> None:
        """Make, draw or remove the layers."""
        if self._stage.paused:
            # Everything is arranged afterwards.
            self._fresh.update(self._layers())
            return
        with self._stage.built_once():
            if self.sync():
                self._stage.arrange(look="keep")
            else:
                self._draw(self._layers())

    def sync(self) -> bool:
        """Make the layers that are missing, or remove those that are not wanted.

        Returns
        -------
        Whether layers were added or removed. Then all must be arranged, which draws new ones.
        """
        overlay, stage = self._overlay, self._stage
        if not overlay.wanted(stage.session):
            layers = list(self._layers().values())
            self._made.clear()
            self._fresh.clear()
            stage.remove(layers)
            return bool(layers)
        names = {"": None} if overlay.spans else {n: stage.shown[n] for n in stage.live()}
        lacking = [n for n, of in names.items() if n not in self._made or self._made[n] is not of]
        self._made = dict(names)
        for name in lacking:
            stage.add(overlay.make(name), overlay.role, name)
        self._fresh.update(lacking)
        return bool(lacking)

    def _layers(self) -> dict[str, Layer]:
        role, stage = self._overlay.role, self._stage
        if self._overlay.spans:
            return {"": stage.spanning[role]} if role in stage.spanning else {}
        return {name: roles[role] for name, roles in stage.live().items() if role in roles}

    def _on_arranged(self) -> None:
        layers, fresh = self._layers(), self._fresh
        self._fresh = set()
        due = layers if self._overlay.spans else {n: x for n, x in layers.items() if n in fresh}
        self._draw(due)
        for name, layer in layers.items():
            self._show(layer, name)

    def _draw(self, layers: dict[str, Layer]) -> None:
        for name, layer in layers.items():
            self._overlay.update(layer, name)
            self._show(layer, name)

    def _show(self, layer: Layer, name: str) -> None:
        visible = self._overlay.seen(name)
        if layer.visible != visible:
            layer.visible = visible


class MarkKeeper:
    """Manages what vispy draws over the spots.

    Parameters
    ----------
    mark
        What is drawn.
    stage
        Holds the layers of the spots.
    """

    def __init__(self, mark: SpotMark, stage: Stage) -> None:
        self._mark, self._stage = mark, stage
        # Weakly: the visuals' parents hold the layers, and through them the viewer.
        self._visuals: WeakValueDictionary[str, Any] = WeakValueDictionary()
        for signal in (*mark.follows(), stage.arranged):
            signal.connect(self.refresh)

    def refresh(self) -> None:
        """Draw the mark on the slices that want it, and on no others."""
        stage, live = self._stage, self._stage.live()
        wanted = [name for name in self._mark.wanted(stage.session) if name in live]
        for name, visual in list(self._visuals.items()):
            if name not in wanted:
                visual.parent = None
                del self._visuals[name]
        for name in wanted:
            spots = live[name].get(K.Role.SPOTS)
            node = None if spots is None else node_of(stage.viewer, spots)
            if node is not None:
                self._draw(name, spots, node)

    def _draw(self, name: str, spots: Any, node: Any) -> None:
        visual = self._visuals.get(name)
        if visual is None or visual.transform is not node.transform:
            if visual is not None:
                visual.parent = None
            visual = self._visuals[name] = self._mark.make(name)
            visual.set_gl_state("translucent", depth_test=False, cull_face=False)
            visual.order = _ABOVE
            # Moves with the spots, but is drawn above all layers.
            visual.transform = node.transform
            node.events.parent_change.connect(self._on_moved)
            spots.events.visible.connect(self.refresh)
        visual.parent = node.parent
        visual.visible = self._mark.seen(name)
        self._mark.update(visual, name)

    def _on_moved(self, event: Any) -> None:
        """Follow the spots into another cell of the grid."""
        self.refresh()
