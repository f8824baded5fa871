"""A tour of all docks, for the pictures of the documentation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.acting import Camera, press, raise_dock, wait

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

    from napari_staligner.session import Session, Spot
    from napari_staligner.widgets._spots_view import SpotsView


def take_tour(viewer: napari.Viewer, docks: dict[str, QWidget], camera: Camera) -> None:
    """Show integrated slices in the docks that the demo leaves out, and take pictures.

    Parameters
    ----------
    viewer, docks
        The window, and its docks by name.
    camera
        Takes the pictures.
    """
    _attend(viewer, docks["Attention"], camera)
    _align(viewer, docks["Alignment"], camera)
    _explore(viewer, docks["Explore"], camera)
    _compare(viewer, docks, camera)
    _judge(viewer, docks["Judge"], camera)
    _annotate(viewer, docks, camera)
    raise_dock(docks["Slices"])
    camera.take("keeping", viewer)


def _attend(viewer: napari.Viewer, attention: QWidget, camera: Camera) -> None:
    """What one spot hears, and who hears it."""
    session, before = attention.session, attention.session.attention
    raise_dock(attention)
    session.spot = _middle_of(session, _told_apart(session))
    session.attention = replace(before, shown=True, of_spot=True)
    camera.take("attention-of-a-spot", viewer)
    session.spot, session.attention = None, before


def _align(viewer: napari.Viewer, alignment: QWidget, camera: Camera) -> None:
    """Register once more, and show the residuals."""
    session, before = alignment.session, (alignment.session.layout, alignment.session.color_by)
    if len(session.slices) < 2:
        return
    raise_dock(alignment)
    press(alignment.register)
    alignment.accept.click()
    alignment.map.click()
    session.alignment.arrows = True
    camera.take("alignment", viewer)
    session.alignment.arrows = False
    session.layout, session.color_by = before


def _explore(viewer: napari.Viewer, explore: QWidget, camera: Camera) -> None:
    """The UMAP before and after, a lasso on it, and the gene that marks a domain best."""
    from napari_staligner.session import ColorBy

    session, umap, markers = explore.session, explore.umap, explore.markers
    raise_dock(explore)
    session.legend_shown = True
    press(umap.compute)
    session.color_by = ColorBy("obs", K.SLICE)
    camera.take("explore-slices", viewer)
    _lasso(session, umap.views[K.UMAP], _told_apart(session))
    camera.take("explore-lasso", viewer)
    umap.views[K.UMAP].line.setData([], [])
    session.show_all()
    markers.region.setCurrentIndex(markers.region.findData(session.domains[-1]))
    press(markers.find)
    markers.table.selectRow(0)
    camera.take("explore-markers", viewer)
    session.legend_shown = False
    session.color_by = ColorBy("obs", K.DOMAIN)


def _compare(viewer: napari.Viewer, docks: dict[str, QWidget], camera: Camera) -> None:
    """The stack in its modes, and the links between the slices; then all as before."""
    session = docks["Compare"].session
    before = session.layout, session.stack, session.links
    raise_dock(docks["Compare"])
    session.layout = "stack"
    for mode, part in (("checkerboard", "spots"), ("swipe", "image"), ("3d", "both")):
        session.stack = replace(session.stack, mode=mode, part=part)
        camera.take(f"compare-{mode}", viewer)
    raise_dock(docks["Links"])
    session.layout, session.links = "mosaic", replace(session.links, shown=True)
    camera.take("links", viewer)
    session.layout, session.stack, session.links = before
    viewer.reset_view()


def _judge(viewer: napari.Viewer, judge: QWidget, camera: Camera) -> None:
    """Which slice has which domain, a verdict, figures, and all embeddings side by side."""
    from qtpy.QtCore import Qt

    figures, verdicts, session = judge.figures, judge.verdicts, judge.session
    raise_dock(judge)
    session.isolated = {_told_apart(session)}
    verdicts.who.setText("you")
    verdicts.note.setText("It lies where it should.")
    verdicts.buttons["aligned"].click()
    camera.take("judge-domains", viewer)
    session.isolated = ()
    judge.tabs.setCurrentWidget(figures)
    for row in range(figures.embeddings.count()):
        item = figures.embeddings.item(row)
        if item.flags() & Qt.ItemFlag.ItemIsEnabled:
            item.setCheckState(Qt.CheckState.Checked)
    column = next(iter(session.named_columns), "")
    figures.labels.setCurrentIndex(max(0, figures.labels.findData(column)))
    press(figures.run.button)
    camera.take("judge-figures", viewer)
    judge.tabs.setCurrentWidget(judge.pictures)
    judge.pictures.run.button.click()
    wait(lambda: not judge.pictures.run.running)
    camera.take("judge-side-by-side", viewer)


def _annotate(viewer: napari.Viewer, docks: dict[str, QWidget], camera: Camera) -> None:
    """Name a piece of a domain by a click on the tissue; then its markers, and its links."""
    from napari_staligner.core.regions import largest_piece
    from napari_staligner.session import ColorBy, Region

    annotate, markers = docks["Annotate"], docks["Explore"].markers
    session = annotate.session
    domain = _told_apart(session)
    raise_dock(annotate)
    session.layout = "mosaic"
    session.annotations.use_template("Olfactory bulb")
    session.annotations.choose("AOBgr")
    annotate.tools.buttons["piece"].click()
    session.take(largest_piece(session.result, domain), "piece")
    annotate.tools.buttons["piece"].click()
    session.color_by = ColorBy("obs", K.ANNOTATION)
    annotate.card.ask.click()
    wait(annotate.card.ask.isEnabled)
    camera.take("annotate", viewer)
    session.region = Region(K.ANNOTATION, "AOBgr")
    raise_dock(docks["Explore"])
    session.legend_shown = True
    press(markers.find)
    camera.take("explore-region", viewer)
    raise_dock(docks["Links"])
    session.links = replace(session.links, shown=True)
    camera.take("links-of-a-region", viewer)
    session.links, session.legend_shown = replace(session.links, shown=False), False
    session.show_all()


def _told_apart(session: Session) -> str:
    """The domain that one slice alone has, else the last."""
    presence = session.presence()
    alone = {} if presence is None else presence.specific()
    return [*session.domains, *alone][-1]


def _middle_of(session: Session, domain: str) -> Spot:
    """Spot in the middle of the largest piece of a domain."""
    from napari_staligner.core.regions import largest_piece

    result: Any = session.result
    rows = largest_piece(result, domain)
    xy = np.asarray(result.obsm[K.SPATIAL])[rows, :2]
    return session.spot_of_row(int(rows[np.linalg.norm(xy - xy.mean(axis=0), axis=1).argmin()]))


def _lasso(session: Session, view: SpotsView, domain: str) -> None:
    """Draw a lasso around where most spots of a domain are in a UMAP."""
    import shapely

    result: Any = session.result
    places = np.asarray(result.obsm[K.UMAP])
    own = places[(result.obs[K.DOMAIN] == domain).to_numpy()]
    middle = np.median(own, axis=0)
    distance = np.linalg.norm(own - middle, axis=1)
    core = own[distance <= np.quantile(distance, 0.9)]
    around = shapely.MultiPoint(core).convex_hull.buffer(0.02 * float(np.ptp(places)))
    corners = shapely.get_coordinates(around.exterior)
    view.line.setData(*corners.T)
    view.take_lasso(corners, "replace")
