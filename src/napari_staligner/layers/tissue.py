"""Keeps a viewer's layers in step with the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QTimer

from napari_staligner import _keys as K
from napari_staligner.compat import in_turn, on_canvas_resized
from napari_staligner.core.annotations.record import is_annotation
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.adoption import Adoption
from napari_staligner.layers.arrangement import is_solid
from napari_staligner.layers.canvas_view import Canvas
from napari_staligner.layers.layer_data import (
    image_layer_place,
    image_layers,
    image_roles,
    spots_layer,
)
from napari_staligner.layers.overlays import MARKS, OVERLAYS
from napari_staligner.layers.overlays.keeper import LayerKeeper, MarkKeeper
from napari_staligner.layers.stage import Stage
from napari_staligner.session import ColorBy

if TYPE_CHECKING:
    import napari
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.layers.arrangement import Look
    from napari_staligner.layers.colors import Painting
    from napari_staligner.layers.layer_data import LayerData
    from napari_staligner.layers.sketch import Sketch
    from napari_staligner.layers.spot_index import SpotIndex
    from napari_staligner.session import Session

MANY_SPOTS = 50_000
"""With this many spots or more, each is drawn as one triangle without smoothed edges. Without a
GPU, smoothing takes most of the drawing time, and such spots are only a few pixels wide."""


DIMMED = 0.35
"""Largest opacity of spots whose image is moved under them."""
SETTLED_MS = 200
"""A window that has kept its size this long is not being resized any more."""


class Tissue:
    """Layers of a viewer that show its session; holds the viewer weakly.

    Every slice has an image (if it came with one) and spots; overlays have layers while they are
    switched on. Layers are changed in place, only when the session changes, and always on the GUI
    thread.
    """

    def __init__(self, viewer: napari.Viewer, session: Session) -> None:
        self.session = session
        self.stage = Stage(viewer, session, [overlay.role for overlay in OVERLAYS])
        self._adoption = Adoption(session)
        self._canvas = Canvas(viewer, session, self.stage.layers, self.stage.arrangement)
        self._orphans: list[Layer] = []
        self._images: list[tuple[str, AnnData, LayerData]] = []
        self._resized = QTimer()
        self._resized.setSingleShot(True)
        self._resized.setInterval(SETTLED_MS)
        self._resized.timeout.connect(self._lay_out_again)
        self._lain = (session.view.layout, session.view.only)
        self._in_turns = False
        self._due = False
        self._fits = False
        self._dimmed: dict[str, float] = {}
        self._connect()
        self._overlays = [LayerKeeper(kind(self.stage), self.stage) for kind in OVERLAYS]
        self._marks = [MarkKeeper(kind(self.stage), self.stage) for kind in MARKS]
        on_canvas_resized(viewer, self._on_canvas_resized)
        viewer.layers.events.inserted.connect(self._on_layer_inserted, position="last")
        viewer.layers.events.removed.connect(self._on_layer_removed, position="last")
        self._adoption.take_all(viewer.layers)
        self._on_slices_changed()

    def _connect(self) -> None:
        session, view = self.session, self.session.view.events
        session.slices.changed.connect(self._on_slices_changed)
        session.result.changed.connect(self._on_result_changed)
        for recolored in (
            *(view.color_by, view.scale, view.trust, view.isolated, view.region),
            view.only_overlap,
            *(session.domains.relabelled, session.result.selection_changed),
        ):
            recolored.connect(self.stage.paint)
        session.result.values_changed.connect(self._on_values_changed)
        session.domains.renamed.connect(self._on_domains_renamed)
        session.domains.recolored.connect(self._on_domains_recolored)
        session.annotations.changed.connect(self._on_annotations_changed)
        view.spot_scale.connect(self._resize)
        view.layout.connect(self._on_layout_changed)
        view.stack.connect(self._on_stack_changed)
        view.only.connect(self._on_layout_changed)
        session.focus.look_wanted.connect(self._on_look_wanted)
        session.focus.held.connect(self._on_held)
        session.alignment.changed.connect(self._on_alignment_changed)
        session.alignment.previewed.connect(self._on_alignment_changed)
        session.images.changed.connect(self._on_images_changed)
        session.images.previewed.connect(self._place_image)
        view.image_hand.connect(self._on_image_hand_changed)

    # -- what the tools ask ---------------------------------------------------------------

    @property
    def layers(self) -> dict[str, dict[str, Layer]]:
        """Layers of each slice by role."""
        return self.stage.layers

    @property
    def painting(self) -> Painting:
        """Present colours of the spots."""
        return self.stage.painting

    @property
    def spots(self) -> SpotIndex:
        """Where the spots are."""
        return self.stage.spots

    @property
    def sketch(self) -> Sketch:
        """What is being drawn."""
        return self.stage.sketch

    # -- slices ---------------------------------------------------------------------------

    def _on_layer_inserted(self, event: object) -> None:
        if not self.stage.adding and self.stage.viewer is not None:
            self._adoption.take(event.value, self.stage.viewer.layers)  # type: ignore[attr-defined]

    def _on_layer_removed(self, event: object) -> None:
        """Forget a layer that was deleted; with its spots, the slice goes."""
        found = self.stage.forget(event.value)  # type: ignore[attr-defined]
        if found is None:
            return
        name, role = found
        if role == K.Role.SPOTS:
            self.stage.paused = True
            try:
                self.session.slices.remove(name)
            finally:
                self.stage.paused = False
        if not self._due:
            # Not now: napari may still be deleting several layers, some of them of this slice.
            self._due = True
            QTimer.singleShot(0, self._settle)

    def _on_slices_changed(self) -> None:
        stage, slices = self.stage, self.session.slices
        viewer = stage.viewer
        if viewer is None:
            return
        gone = [name for name, adata in stage.shown.items() if slices.get(name) is not adata]
        new = [name for name in slices if name not in stage.shown or name in gone]
        for name in gone:
            del stage.shown[name]
            orphans = stage.layers.pop(name).values()
            for layer in orphans:
                # napari would give the layers that take their place other names.
                layer.name = f"{layer.name} (gone)"
            self._orphans += orphans
        with stage.built_once():
            for name in new:
                ours = stage.ours()
                free = [layer for layer in viewer.layers if layer not in ours]
                stage.shown[name] = slices[name]
                stage.layers[name] = self._adoption.layers_of(name, free)
                self._complete(name)
        if gone and new:
            # Slices that were cut stay where they were.
            for name in slices:
                stage.shown[name] = stage.shown.pop(name)
                stage.layers[name] = stage.layers.pop(name)
        if not slices:
            # At once, as the viewer may be closing: leave the grid while there is still a canvas.
            stage.arrange(look="keep")
        if (gone or new) and not stage.paused:
            in_turns, self._in_turns = self._in_turns, self.session.slices.more_follow
            if in_turns or self._in_turns:
                # Not seen where it does not belong.
                stage.hold(True)
                in_turn(self._place_new)
            if in_turns and not self._in_turns:
                in_turn(self._settle_several)
            elif not self._in_turns:
                self._settle(look="fit")

    def _place_new(self) -> None:
        """Put slices that were added where they will lie, and show them."""
        try:
            self.stage.place()
        finally:
            self.stage.hold(False)

    def _settle_several(self) -> None:
        """Arrange slices that were added one after the other; the window lived in between."""
        if self._images:
            in_turn(self._settle_several)
        elif not self.stage.paused:
            self._settle(look="fit")

    def _settle(self, *, look: Look = "keep") -> None:
        """Remove the layers of slices that are gone; colour and arrange the others."""
        self._due = False
        stage = self.stage
        if stage.viewer is None:
            return
        ours = stage.ours()
        orphans, self._orphans = self._orphans, []
        stage.remove(layer for layer in orphans if layer not in ours)
        many = sum(adata.n_obs for adata in stage.shown.values()) >= MANY_SPOTS
        for layers in stage.layers.values():
            stage.fast_points.set_fast(layers[K.Role.SPOTS], many)
        if self.session.view.spot_scale != 1:
            self._resize()
        stage.paint()
        with stage.built_once():
            self._sync_overlays()
            stage.arrange(look="fit" if orphans else look)

    def _complete(self, name: str) -> None:
        """Add image and spots of a slice unless its layers were adopted."""
        layers, adata = self.stage.layers[name], self.session.slices[name]
        if K.Role.SPOTS not in layers:
            self._images += [(name, adata, image) for image in image_layers(name, adata)]
            if self._in_turns or self.session.slices.more_follow:
                in_turn(self._add_images)
            else:
                while self._images:
                    self._add_image()
            spots = spots_layer(name, adata, np.ones(4, np.float32))
            self.stage.add(Layer.create(*spots), K.Role.SPOTS, name)
        # If points were added or deleted, the layer would no longer match the rows of the table.
        layers[K.Role.SPOTS].editable = False

    def _add_images(self) -> None:
        """Add the images that wait; the window lives before each, as long as spots take."""
        if self._images and self.stage.viewer is not None:
            with self.stage.built_once():
                self._add_image()
            in_turn(self._add_images)

    def _add_image(self) -> None:
        name, adata, image = self._images.pop(0)
        role = image[1]["metadata"][K.LAYER_ROLE]
        if self.stage.shown.get(name) is adata and role not in self.stage.layers[name]:
            self.stage.add(Layer.create(*image), role, name)

    def _resize(self) -> None:
        """Set the size of the spots of all slices as the session says."""
        for name, layers in self.stage.live().items():
            if K.Role.SPOTS in layers:
                size = self.spots.size(name) * self.session.view.spot_scale
                layers[K.Role.SPOTS].size = size

    # -- colours --------------------------------------------------------------------------

    def _on_values_changed(self, column: str) -> None:
        if self.session.view.color_by == ColorBy("obs", column):
            self.stage.paint()

    def _on_domains_renamed(self, names: dict[str, str]) -> None:
        # The colours of the spots do not change.
        if self.session.view.color_by == ColorBy("obs", K.DOMAIN):
            self.stage.painting = self.painting.renamed(names)

    def _on_domains_recolored(self) -> None:
        if self.session.view.color_by == ColorBy("obs", K.DOMAIN):
            self.stage.paint()

    def _on_annotations_changed(self) -> None:
        if is_annotation(self.session.view.color_by.key):
            self.stage.paint()

    def _on_result_changed(self) -> None:
        self.stage.paint()
        # During a deletion napari's list must not be changed; all is settled afterwards.
        if not self.stage.paused and self.session.view.layout == "stack":
            self.stage.arrange(look="fit")

    # -- layout ---------------------------------------------------------------------------

    def _on_layout_changed(self) -> None:
        """Lay out the slices that are shown, unless both changed as one and they already lie."""
        view = self.session.view
        lain, self._lain = self._lain, (view.layout, view.only)
        if lain == self._lain:
            return
        look: Look = "follow" if lain[1] == view.only else "fit"
        if look == "fit" and self.stage.holds:
            self._fits, look = True, "keep"
        with self.stage.built_once():
            self._sync_overlays()
            self.stage.arrange(look=look)

    def _on_held(self, held: bool) -> None:
        """Hold the canvas, or show all of other slices, unless some spots were looked at since."""
        if not held and self._fits:
            self._fits = False
            self.stage.arrangement.fit()
        self.stage.hold(held)

    def _on_look_wanted(self, rows: NDArray[np.intp]) -> None:
        """Show some spots of the result as large as the canvas allows."""
        self._fits = False
        places = [np.empty((0, 3))]
        for name, own in self.session.result.by_slice.items():
            some = np.flatnonzero(np.isin(own, rows))
            if len(some):
                xy = spots_xy(self.session.slices[name])[some]
                places.append(self.stage.arrangement.world(name, xy))
        self.stage.arrangement.look_at(np.concatenate(places))

    def _on_canvas_resized(self) -> None:
        """Lay the slices out again where another number of rows fills the window better."""
        if len(self.session.slices) > 1 and self.session.view.layout == "grid":
            self._resized.start()

    def _lay_out_again(self) -> None:
        if self.stage.viewer is not None and not self.stage.paused:
            self.stage.arrange_grid()

    def _on_stack_changed(self) -> None:
        if self.session.view.layout != "stack":
            return
        with self.stage.built_once():
            if self._sync_overlays():
                self.stage.arrange(look="keep")
            else:
                self.stage.restack()

    def _on_alignment_changed(self) -> None:
        if self.session.view.layout == "stack":
            self.stage.arrange(look="keep")

    def _on_images_changed(self) -> None:
        for name in self.session.images.moves:
            self._place_image(name)
        if self.session.view.layout == "stack":
            # Parts of images that are shown are cut where they lie.
            self.stage.restack()

    def _place_image(self, name: str) -> None:
        """Show the image of a slice where it was moved to."""
        roles = self.stage.layers.get(name, {})
        images = [roles[role] for role in image_roles(roles)]
        for layer in images:
            own = layer.metadata.get(K.LAYER_OWN_PLACE, np.eye(3))
            place = image_layer_place(own, self.session.images.moves[name])
            layer.metadata[K.LAYER_PLACE] = place
        self.stage.arrangement.replace(name, images)

    def _on_image_hand_changed(self, name: str) -> None:
        """Dim the spots over an image in hand; once it is let go it may cover another area."""
        for dimmed, opacity in self._dimmed.items():
            self._set_opacity(dimmed, opacity)
        spots = self.stage.layers.get(name, {}).get(K.Role.SPOTS)
        self._dimmed = {}
        if spots is not None:
            self._dimmed = {name: self.stage.arrangement.stacking.look(spots)[1]}
            self._set_opacity(name, min(DIMMED, self._dimmed[name]))
        elif not self.stage.paused:
            # During a deletion napari's list must not be changed; all is settled afterwards.
            self.stage.arrange(look="keep")

    def _set_opacity(self, name: str, opacity: float) -> None:
        """Set the opacity of the spots of a slice, if it is still there."""
        spots, stacking = self.stage.layers.get(name, {}), self.stage.arrangement.stacking
        if K.Role.SPOTS in spots:
            layer = spots[K.Role.SPOTS]
            stacking.set_look(layer, stacking.look(layer)[0], opacity)

    def _sync_overlays(self) -> bool:
        """Make and remove overlay layers; says whether any changed and all must be arranged."""
        if not is_solid(self.session):
            # First: without the layers in 3-D, napari has no third dimension to look along.
            self.stage.arrangement.flatten()
        changed = [overlay.sync() for overlay in self._overlays]
        return any(changed)
