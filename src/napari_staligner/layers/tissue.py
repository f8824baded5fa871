"""The keeper of a viewer's layers: what the session holds is what the viewer shows."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer
from napari.utils.theme import get_theme
from qtpy.QtCore import QTimer

from napari_staligner import _keys as K
from napari_staligner.core.annotations.record import is_annotation
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.adoption import Adoption
from napari_staligner.layers.arrangement import Arrangement, footprint, is_solid
from napari_staligner.layers.camera import held
from napari_staligner.layers.canvas_view import Canvas
from napari_staligner.layers.colors import Painting, paint
from napari_staligner.layers.fast_points import LeanSpots
from napari_staligner.layers.layer_data import (
    image_layer,
    spots_layer,
)
from napari_staligner.layers.overlays.arrows import ROLE as ARROWS
from napari_staligner.layers.overlays.arrows import arrows, arrows_layer
from napari_staligner.layers.overlays.edges import attention_edges, graph_edges
from napari_staligner.layers.overlays.links import drawn_links, link_lines
from napari_staligner.layers.overlays.markers import (
    EDGE_WIDTHS,
    blank_layer,
    edges_layer,
    links_layer,
    marker_layer,
    set_edges,
    set_links,
    set_marker,
    solid_layer,
    title_layer,
)
from napari_staligner.layers.spot_index import SpotIndex
from napari_staligner.session import ColorBy

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.layers.arrangement import Look
    from napari_staligner.layers.overlays.links import Lines
    from napari_staligner.session import Session

MANY_SPOTS = 50_000
"""From so many on, the edges of spots are not smoothed, and each is drawn as one triangle: without
a GPU that is most of the time that drawing takes, and spots of so many are some pixels wide."""

_LINK_WIDTH = 0.003
"""Width of a link, as a share of the extent of the first slice."""


class Tissue:
    """Layers of a viewer that show its session; holds the viewer weakly.

    Every slice has an image (if it came with one) and spots, and at first use edges of the
    spatial graph, edges of the attention and a marker of the chosen spot. Layers are changed in
    place and only when the session says so; all of this happens on the GUI thread.
    """

    def __init__(self, viewer: napari.Viewer, session: Session) -> None:
        self.session = session
        self._viewer = weakref.ref(viewer)
        self.layers: dict[str, dict[str, Layer]] = {}
        self.painting: Painting = paint(session)
        self._arrangement = Arrangement(viewer)
        self._lean = LeanSpots(viewer)
        self._adoption = Adoption(session)
        self.spots = SpotIndex(session.slices)
        self._canvas = Canvas(viewer, session, self.layers, self._arrangement.stacking)
        self._shown: dict[str, AnnData] = {}
        self._orphans: list[Layer] = []
        self._making = self._deleting = self._due = False

        self._connect()
        viewer.layers.events.inserted.connect(self._on_layer_inserted, position="last")
        viewer.layers.events.removed.connect(self._on_layer_removed, position="last")
        viewer.events.theme.connect(self._on_viewer_theme)
        self._adoption.take(viewer.layers)
        self._on_slices_changed()

    def _connect(self) -> None:
        session = self.session
        session.slices.changed.connect(self._on_slices_changed)
        session.result.changed.connect(self._on_result_changed)
        session.view.events.color_by.connect(self._recolor)
        session.view.events.scale.connect(self._recolor)
        session.result.values_changed.connect(self._on_values_changed)
        session.domains.relabelled.connect(self._on_domains_relabelled)
        session.domains.renamed.connect(self._on_domains_renamed)
        session.domains.recolored.connect(self._on_domains_recolored)
        session.view.events.isolated.connect(self._on_domains_relabelled)
        session.result.selection_changed.connect(self._recolor)
        session.view.events.region.connect(self._on_region_changed)
        session.view.events.spot_scale.connect(self._resize)
        session.view.events.graph_shown.connect(self._on_graphs_changed)
        session.view.events.layout.connect(self._on_layout_changed)
        session.view.events.stack.connect(self._on_stack_changed)
        session.view.events.trust.connect(self._recolor)
        session.slices.graphs_changed.connect(self._on_graphs_changed)
        session.view.events.attention.connect(self._on_attention_changed)
        session.view.events.spot.connect(self._on_spot_changed)
        session.annotations.changed.connect(self._on_annotations_changed)
        session.view.events.links.connect(self._on_links_changed)
        session.result.selection_changed.connect(self._draw_links)
        session.alignment.changed.connect(self._on_alignment_changed)
        session.alignment.previewed.connect(self._on_alignment_changed)
        for shown in (
            session.alignment.changed,
            session.view.events.arrows,
            session.result.changed,
        ):
            shown.connect(self._draw_arrows)

    # -- slices ---------------------------------------------------------------------------

    def _on_layer_inserted(self, event: object) -> None:
        if not self._making:
            self._adoption.take([event.value])  # type: ignore[attr-defined]

    def _on_layer_removed(self, event: object) -> None:
        """Forget a layer that was deleted; with its spots, the slice goes."""
        layer = event.value  # type: ignore[attr-defined]
        found = [(n, role) for n, x in self.layers.items() for role in x if x[role] is layer]
        for name, role in found:
            del self.layers[name][role]
            self._deleting = True
            try:
                if role == "spots":
                    self.session.slices.remove(name)
            finally:
                self._deleting = False
        if found and not self._due:
            # Not now: napari may be amid deleting several layers, others of the slice among them.
            self._due = True
            QTimer.singleShot(0, self._settle)

    def _on_slices_changed(self) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        slices = self.session.slices
        gone = [name for name, adata in self._shown.items() if slices.get(name) is not adata]
        new = [name for name in slices if name not in self._shown or name in gone]
        for name in gone:
            del self._shown[name]
            self._orphans += self.layers.pop(name).values()
        for name in new:
            self._shown[name] = slices[name]
            ours = [layer for layers in self.layers.values() for layer in layers.values()]
            free = [layer for layer in viewer.layers if layer not in ours]
            self.layers[name] = self._adoption.layers_of(name, free)
            self._complete(viewer, name)
        if new:
            self._add_overlays_in_use()
        if not slices:
            # At once, as the viewer may be closing: out of the grid while there is a canvas.
            self._arrange(look="keep")
        if (gone or new) and not self._deleting:
            self._settle(look="fit")

    def _settle(self, *, look: Look = "keep") -> None:
        """Remove the layers of slices that are gone; colour and arrange the others."""
        self._due = False
        viewer = self._viewer()
        if viewer is None:
            return
        ours = [layer for layers in self.layers.values() for layer in layers.values()]
        orphans, self._orphans = self._orphans, []
        for layer in orphans:
            if layer in viewer.layers and layer not in ours:
                viewer.layers.remove(layer)
        many = sum(adata.n_obs for adata in self._shown.values()) >= MANY_SPOTS
        for layers in self.layers.values():
            self._lean.set_lean(layers["spots"], many)
        if self.session.view.spot_scale != 1:
            self._resize()
        self._recolor()
        self._arrange(look="fit" if orphans else look)

    def _complete(self, viewer: napari.Viewer, name: str) -> None:
        """Add image and spots of a slice unless they were adopted."""
        layers, adata = self.layers[name], self.session.slices[name]
        if "spots" not in layers:
            image = image_layer(name, adata)
            if image is not None:
                self._add(viewer, name, "image", Layer.create(*image))
            self._add(
                viewer,
                name,
                "spots",
                Layer.create(*spots_layer(name, adata, np.ones(4, np.float32))),
            )
        # Deleting or adding points would part the layer from the rows of the table.
        layers["spots"].editable = False

    def _add(self, viewer: napari.Viewer, name: str, role: str, layer: Layer) -> None:
        layer.metadata[K.LAYER_ROLE] = role
        layer.metadata[K.LAYER_SLICE] = name
        self.layers[name][role] = layer
        selected = set(viewer.layers.selection)
        self._making = True
        try:
            with held(viewer):
                viewer.add_layer(layer)
        finally:
            self._making = False
        if role != "spots" and selected:
            viewer.layers.selection = selected

    def _resize(self) -> None:
        """Give the spots of all slices the size that the session says."""
        for name, layers in self._live().items():
            size = self.spots.size(name) * self.session.view.spot_scale
            for role in ("spots", "solid"):
                if role in layers:
                    layers[role].size = size

    # -- colours --------------------------------------------------------------------------

    def _recolor(self) -> None:
        self.painting = paint(self.session)
        for name, rgba in self.painting.rgba.items():
            for role in ("spots", "solid"):
                layer = self.layers.get(name, {}).get(role)
                if layer is None or len(layer.data) != len(rgba):
                    continue
                self._lean.recolor(layer, rgba)

    def _on_values_changed(self, column: str) -> None:
        if self.session.view.color_by == ColorBy("obs", column):
            self._recolor()

    def _on_domains_renamed(self, names: dict[str, str]) -> None:
        # Every spot has the colour that it had.
        if self.session.view.color_by == ColorBy("obs", K.DOMAIN):
            self.painting = self.painting.renamed(names)

    def _on_domains_recolored(self) -> None:
        if self.session.view.color_by == ColorBy("obs", K.DOMAIN):
            self._recolor()
        if self.session.view.links.color == "domain":
            self._draw_links()

    def _on_domains_relabelled(self) -> None:
        self._recolor()
        self._draw_edges("graph")
        self._draw_edges("attention")
        self._draw_links()

    def _on_region_changed(self) -> None:
        self._recolor()
        self._draw_links()

    def _on_annotations_changed(self) -> None:
        if is_annotation(self.session.view.color_by.key):
            self._recolor()

    def _on_result_changed(self) -> None:
        self._on_domains_relabelled()
        # Amid a deletion napari's list is not to be touched; all is settled afterwards.
        if not self._deleting and self.session.view.layout == "stack":
            self._arrange(look="fit")

    # -- layout ---------------------------------------------------------------------------

    def _on_layout_changed(self) -> None:
        if is_solid(self.session):
            self._make_overlay("solid", self._new_solid)
            self._recolor()
        self._arrange(look="follow")

    def _on_alignment_changed(self) -> None:
        if self.session.view.layout == "stack":
            self._arrange(look="keep")

    def _on_stack_changed(self) -> None:
        if self.session.view.layout != "stack":
            return
        solid = is_solid(self.session)
        if solid and self._make_overlay("solid", self._new_solid):
            self._recolor()
            self._arrange(look="keep")
        self._arrangement.restack(self.session, self._live())
        self.show_overlays()
        self._draw_links()

    def _arrange(self, *, look: Look) -> None:
        """Bring the layers to their places and cells."""
        viewer = self._viewer()
        if viewer is None:
            return
        if self.session.view.layout == "grid":
            for name, role in self._arrangement.missing(self._live()):
                middle = spots_xy(self.session.slices[name]).mean(axis=0)
                self._add(viewer, name, role, blank_layer(name, middle))
        # A cell of the grid says its name itself; in the stack all names would lie on each other.
        if self.session.view.layout == "mosaic" and len(self._live()) > 1:
            self._make_overlay("title", self._new_title)
        self._arrangement.arrange(self.session, self._live(), look=look)
        self.show_overlays()
        self._draw_links()

    def show_overlays(self) -> None:
        """Show edges, arrows and markers of the slices that are seen."""
        for name, layers in self._live().items():
            hidden = self._arrangement.hides(name)
            for role, layer in layers.items():
                if role in ("graph", "attention", "shift", "marker", "title"):
                    visible = not hidden and (role == "marker" or self._is_shown(role))
                    if layer.visible != visible:
                        layer.visible = visible

    def _live(self) -> dict[str, dict[str, Layer]]:
        """Layers of the slices that are in the session still.

        A slice that leaves takes the result with it, which the session tells first.
        """
        slices = self.session.slices
        return {n: x for n, x in self.layers.items() if slices.get(n) is self._shown[n]}

    # -- edges and marker -----------------------------------------------------------------

    def _on_graphs_changed(self) -> None:
        self._show_overlay("graph", self.session.view.graph_shown)

    def _on_attention_changed(self) -> None:
        self._show_overlay("attention", self.session.view.attention.shown)

    def _show_overlay(self, kind: str, shown: bool) -> None:
        if shown:
            if self._make_overlay(kind, self._new_edges):
                self._arrange(look="keep")
            self._draw_edges(kind)
        self.show_overlays()

    def _add_overlays_in_use(self) -> None:
        """Give new slices the overlays that the others have."""
        used = {role for layers in self.layers.values() for role in layers}
        for kind in ("graph", "attention"):
            if kind in used:
                self._make_overlay(kind, self._new_edges)
                self._draw_edges(kind)
        self._draw_arrows()
        if "marker" in used:
            self._make_overlay("marker", self._new_marker)
        if "solid" in used:
            self._make_overlay("solid", self._new_solid)
        if "links" in used:
            self._make_overlay("links", self._new_links)

    def overlay(self, role: str, make: Callable[[str, float], Layer]) -> dict[str, Layer]:
        """Return the layers of a role, one for each slice, made where they are missing.

        Parameters
        ----------
        role
            The role, which has its place in the order of the layers.
        make
            Makes one, of the slice's name and the size of its spots.
        """
        if self._make_overlay(role, lambda name, _: make(name, self._spot_size(name))):
            self._arrange(look="keep")
        return {name: layers[role] for name, layers in self._live().items() if role in layers}

    def _make_overlay(self, role: str, make: Callable[[str, str], Layer]) -> bool:
        """Add a layer to all slices that lack it: cells of the grid must hold as many each.

        Returns
        -------
        Whether there is a new layer, to be arranged.
        """
        viewer = self._viewer()
        lacking = [name for name, layers in self._live().items() if role not in layers]
        if viewer is None:
            return False
        for name in lacking:
            self._add(viewer, name, role, make(name, role))
        return bool(lacking)

    def _new_edges(self, name: str, kind: str) -> Layer:
        return edges_layer(name, kind, self._spot_size(name), visible=self._is_shown(kind))

    def _new_solid(self, name: str, role: str) -> Layer:
        xy = spots_xy(self.session.slices[name])
        return solid_layer(name, xy, self._spot_size(name))

    def _new_links(self, name: str, role: str) -> Layer:
        spots = next(iter(self._live().values()))["spots"]
        extent = float(np.ptp(spots.data, axis=0).max()) * float(spots.scale[-1])
        return links_layer(name, _LINK_WIDTH * extent)

    def _new_title(self, name: str, role: str) -> Layer:
        covered = footprint(spots_xy(self.session.slices[name]), self.layers[name]).all
        layer = title_layer(name, covered[0])
        self._color_title(layer)
        return layer

    def _color_title(self, layer: Layer) -> None:
        viewer = self._viewer()
        if viewer is not None:
            layer.text.color = get_theme(viewer.theme).text.as_hex()

    def _on_viewer_theme(self) -> None:
        for layers in self._live().values():
            if "title" in layers:
                self._color_title(layers["title"])

    def _new_marker(self, name: str, role: str) -> Layer:
        return marker_layer(name, self._spot_size(name))

    def _spot_size(self, name: str) -> float:
        return float(np.median(self.layers[name]["spots"].size))

    def _is_shown(self, kind: str) -> bool:
        if kind == "shift":
            return self.session.view.arrows
        if kind == "title":
            return self.session.view.layout == "mosaic"
        return (
            self.session.view.graph_shown if kind == "graph" else self.session.view.attention.shown
        )

    def _draw_edges(self, kind: str) -> None:
        """Bring the edges of a kind up to date, if they are shown."""
        if not self._is_shown(kind):
            return
        find = graph_edges if kind == "graph" else attention_edges
        for name, layers in self._live().items():
            if kind in layers:
                of_spot = kind == "attention" and self.session.view.attention.of_spot
                width = EDGE_WIDTHS["spot" if of_spot else kind] * self._spot_size(name)
                set_edges(layers[kind], find(self.session, name), width)

    def _draw_arrows(self) -> None:
        """Bring the arrows up to date, and show or hide them."""
        shown = self.session.view.arrows
        if not shown and not any(ARROWS in roles for roles in self.layers.values()):
            return
        for name, layer in self.overlay(ARROWS, arrows_layer).items():
            if shown:
                layer.data = arrows(self.session, name)
        self.show_overlays()

    # -- links and the chosen spot --------------------------------------------------------

    def _on_links_changed(self) -> None:
        if self.session.view.links.shown and self._make_overlay("links", self._new_links):
            self._arrange(look="keep")
        self._draw_links()
        self._mark_spot()

    def _draw_links(self) -> None:
        """Bring the links up to date; all are in the layer of the last slice, above the others."""
        live = self._live()
        if not all("links" in layers for layers in live.values()):
            return
        # The cells of the grid have a world of their own each.
        shown = self.session.view.links.shown and self.session.view.layout != "grid"
        for i, layers in enumerate(live.values()):
            layer = layers["links"]
            if shown and i == len(live) - 1:
                lines = link_lines(self.session, self._arrangement.world)
                if not self._drawn_already(layer, lines):
                    set_links(layer, lines)
            elif len(layer.data):
                layer.data = np.zeros((0, 2, 3))
            if layer.visible != shown:
                layer.visible = shown

    @staticmethod
    def _drawn_already(layer: Layer, lines: Lines) -> bool:
        """Whether nothing has to be drawn: the stack tells more changes than move its slices."""
        return np.array_equal(layer.data, lines.vectors) and np.array_equal(
            layer.edge_color, lines.rgba
        )

    def _on_spot_changed(self) -> None:
        spot = self.session.view.spot
        if spot is not None and self._make_overlay("marker", self._new_marker):
            self._arrange(look="keep")
        self._mark_spot()
        self._draw_links()
        if self.session.view.attention.of_spot:
            self._draw_edges("attention")

    def _mark_spot(self) -> None:
        """Put rings around the chosen spot and, with links, around its matches."""
        spot, matched = self.session.view.spot, self._matched()
        for name, layers in self._live().items():
            if "marker" not in layers:
                continue
            points, here, rings = layers["spots"].data, None, None
            if spot is not None and spot.slice == name:
                here = points[spot.row]
            rows = self.session.result.rows(name)
            if matched is not None and rows is not None:
                rings = points[np.isin(rows, matched)]
            set_marker(layers["marker"], here, rings)

    def _matched(self) -> NDArray[np.intp] | None:
        """Rows of the result that match the chosen spot; ``None`` without links."""
        drawn = drawn_links(self.session) if self.session.view.links.shown else None
        spot = self.session.view.spot
        rows = None if spot is None else self.session.result.rows(spot.slice)
        if drawn is None or spot is None or rows is None:
            return None
        ends = np.union1d(drawn.links.first[drawn.of_spot], drawn.links.second[drawn.of_spot])
        return ends[ends != rows[spot.row]]
