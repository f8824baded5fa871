"""A tour of all docks, for the pictures of the documentation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.compat import camera_of
from napari_staligner.core.result.access import spots_xy
from napari_staligner.demo.window import DemoCamera, bring_forward, press, wait
from napari_staligner.session import ColorBy, Region

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

    from napari_staligner.session import Session, Spot
    from napari_staligner.widgets.parts.spots_view import SpotsView

ANNOTATED = "AOBgr"
"""Class of the olfactory bulb that is annotated on the tour."""


def take_tour(viewer: napari.Viewer, docks: dict[str, QWidget], camera: DemoCamera) -> None:
    """Show integrated slices in the docks that the demo leaves out, and take pictures.

    Parameters
    ----------
    viewer, docks
        The window, and its docks by name.
    camera
        Takes the pictures.
    """
    _align(viewer, docks["Alignment"], camera)
    _explore(viewer, docks["Explore"], camera)
    _compare(viewer, docks, camera)
    _judge(viewer, docks["Judge"], camera)
    _annotate(viewer, docks["Annotate"], camera)
    bring_forward(docks["Slices"])
    camera.take("keeping", viewer)
    # Steps added later are at the end, so that earlier pictures keep their numbers.
    session = docks["Slices"].session
    session.view.color_by, session.view.layout = ColorBy("obs", K.DOMAIN), "grid"
    _show_attention(viewer, docks["Attention"], camera)
    _select(viewer, docks["Explore"], camera)
    _look_at_region(viewer, docks, camera)
    _show_side_by_side(viewer, docks["Judge"], camera)


def _show_attention(viewer: napari.Viewer, attention: QWidget, camera: DemoCamera) -> None:
    """Show which neighbours one spot receives from, and which ones it sends to."""
    session, before = attention.session, attention.session.view.attention
    bring_forward(attention)
    session.view.spot = _middle_of(session, _specific_domains(session)[-1])
    session.view.attention = replace(before, shown=True, strongest=0, of_spot=True)
    (spots,) = (
        layer
        for layer in viewer.layers
        if layer.metadata.get(K.LAYER_ROLE) == "spots"
        and layer.metadata.get(K.LAYER_SLICE) == session.view.spot.slice
    )
    at = camera_of(viewer)
    at.center = spots.data_to_world(spots.data[session.view.spot.row])
    at.zoom *= 6
    camera.take("attention-of-a-spot", viewer)
    session.view.spot, session.view.attention = None, before
    viewer.reset_view()


def _select(viewer: napari.Viewer, explore: QWidget, camera: DemoCamera) -> None:
    """Draw a lasso on the UMAP, around what only one slice has."""
    session, view = explore.session, explore.umap.views[K.UMAP]
    bring_forward(explore)
    session.view.color_by, session.view.legend_shown = ColorBy("obs", K.SLICE), True
    _lasso(session, view, _specific_domains(session))
    camera.take("explore-lasso", viewer)
    view.line.setData([], [])
    session.focus.show_all()
    session.view.legend_shown = False


def _look_at_region(viewer: napari.Viewer, docks: dict[str, QWidget], camera: DemoCamera) -> None:
    """Show the annotated region: its markers and its links."""
    explore, markers = docks["Explore"], docks["Explore"].markers
    session = explore.session
    session.view.color_by, session.view.layout = ColorBy("obs", K.ANNOTATION), "mosaic"
    viewer.reset_view()
    session.view.region = Region(K.ANNOTATION, ANNOTATED)
    bring_forward(explore)
    press(markers.run.button)
    camera.take("explore-region", viewer)
    bring_forward(docks["Links"])
    session.view.links = replace(session.view.links, shown=True)
    camera.take("links-of-a-region", viewer)
    session.view.links = replace(session.view.links, shown=False)
    session.view.color_by, session.view.layout = ColorBy("obs", K.DOMAIN), "grid"
    session.focus.show_all()
    viewer.reset_view()


def _show_side_by_side(viewer: napari.Viewer, judge: QWidget, camera: DemoCamera) -> None:
    """Show the domains of all embeddings on the tissue, and their UMAPs."""
    bring_forward(judge)
    judge.tabs.setCurrentWidget(judge.pictures)
    judge.pictures.run.button.click()
    wait(lambda: not judge.pictures.run.running)
    camera.take("judge-side-by-side", viewer)


def _align(viewer: napari.Viewer, alignment: QWidget, camera: DemoCamera) -> None:
    """Register again, and show the residuals."""
    session = alignment.session
    before = session.view.layout, session.view.color_by
    if len(session.slices) < 2:
        return
    bring_forward(alignment)
    press(alignment.register)
    if alignment.accept.isVisible():
        alignment.accept.click()
    alignment.map.click()
    session.view.arrows = True
    camera.take("alignment", viewer)
    session.view.arrows = False
    session.view.layout, session.view.color_by = before


def _explore(viewer: napari.Viewer, explore: QWidget, camera: DemoCamera) -> None:
    """Show the UMAP before and after integration, and the best marker gene of a domain."""
    session, umap, markers = explore.session, explore.umap, explore.markers
    bring_forward(explore)
    session.view.legend_shown = True
    press(umap.run.button)
    session.view.color_by = ColorBy("obs", K.SLICE)
    camera.take("explore-slices", viewer)
    markers.region.setCurrentIndex(markers.region.findData(session.domains.names[-1]))
    press(markers.run.button)
    markers.table.selectRow(0)
    camera.take("explore-markers", viewer)
    session.view.legend_shown = False
    session.view.color_by = ColorBy("obs", K.DOMAIN)


def _compare(viewer: napari.Viewer, docks: dict[str, QWidget], camera: DemoCamera) -> None:
    """Show the modes of the stack and the links between the slices; then restore the view."""
    session = docks["Compare"].session
    before = session.view.layout, session.view.stack, session.view.links
    bring_forward(docks["Compare"])
    session.view.layout = "stack"
    for mode, part in (("checkerboard", "spots"), ("swipe", "image"), ("3d", "both")):
        session.view.stack = replace(session.view.stack, mode=mode, part=part)
        camera.take(f"compare-{mode}", viewer)
    bring_forward(docks["Links"])
    session.view.layout, session.view.links = "mosaic", replace(session.view.links, shown=True)
    camera.take("links", viewer)
    session.view.layout, session.view.stack, session.view.links = before
    viewer.reset_view()


def _judge(viewer: napari.Viewer, judge: QWidget, camera: DemoCamera) -> None:
    """Show which slice has which domain, a verdict, figures, and all embeddings side by side."""
    from qtpy.QtCore import Qt

    figures, verdicts, session = judge.figures, judge.verdicts, judge.session
    bring_forward(judge)
    session.view.isolated = _specific_domains(session)
    verdicts.who.setText("you")
    verdicts.note.setText("It lies where it should.")
    verdicts.buttons["aligned"].click()
    camera.take("judge-domains", viewer)
    session.view.isolated = ()
    judge.tabs.setCurrentWidget(figures)
    for row in range(figures.embeddings.count()):
        item = figures.embeddings.item(row)
        if item.flags() & Qt.ItemFlag.ItemIsEnabled:
            item.setCheckState(Qt.CheckState.Checked)
    column = next(iter(session.result.named_columns), "")
    figures.labels.setCurrentIndex(max(0, figures.labels.findData(column)))
    press(figures.run.button)
    camera.take("judge-figures", viewer)


def _annotate(viewer: napari.Viewer, annotate: QWidget, camera: DemoCamera) -> None:
    """Annotate a connected piece of a domain, one that only one slice has, as by a click on it."""
    from napari_staligner.core.annotations.regions import largest_piece

    session = annotate.session
    domain = _specific_domains(session)[-1]
    bring_forward(annotate)
    session.view.layout = "mosaic"
    viewer.reset_view()
    session.annotations.use_template("Olfactory bulb")
    session.annotations.choose(ANNOTATED)
    annotate.tools.buttons["piece"].click()
    session.annotations.take(largest_piece(session.result.adata, domain), "piece")
    annotate.tools.buttons["piece"].click()
    session.view.color_by = ColorBy("obs", K.ANNOTATION)
    annotate.card.ask.click()
    wait(annotate.card.ask.isEnabled)
    camera.take("annotate", viewer)


def _specific_domains(session: Session) -> list[str]:
    """The domains that only one slice has, or else the last domain."""
    presence = session.domains.presence()
    specific = [] if presence is None else list(presence.specific())
    return specific or [session.domains.names[-1]]


def _middle_of(session: Session, domain: str) -> Spot:
    """Spot in the middle of the largest piece of a domain."""
    from napari_staligner.core.annotations.regions import largest_piece

    result: Any = session.result.adata
    rows = largest_piece(result, domain)
    xy = spots_xy(result)[rows]
    return session.result.spot_of_row(
        int(rows[np.linalg.norm(xy - xy.mean(axis=0), axis=1).argmin()])
    )


def _lasso(session: Session, view: SpotsView, domains: list[str]) -> None:
    """Draw a lasso around most spots of some domains in a UMAP."""
    import shapely

    result: Any = session.result.adata
    places = np.asarray(result.obsm[K.UMAP])
    own = places[result.obs[K.DOMAIN].isin(domains).to_numpy()]
    middle = np.median(own, axis=0)
    distance = np.linalg.norm(own - middle, axis=1)
    core = own[distance <= np.quantile(distance, 0.9)]
    around = shapely.MultiPoint(core).convex_hull.buffer(0.02 * float(np.ptp(places)))
    corners = shapely.get_coordinates(around.exterior)
    view.line.setData(*corners.T)
    view.take_lasso(corners, "replace")
