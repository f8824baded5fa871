"""Links between slices as lines, and how many there are."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.result.access import spots_xy
from napari_staligner.core.result.matches import Links, all_links, thin
from napari_staligner.layers.colors import category_colors
from napari_staligner.layers.overlays.overlay import TissueOverlay
from napari_staligner.layers.overlays.vectors import set_vectors, vectors_layer
from napari_staligner.session import PAIRWISE

if TYPE_CHECKING:
    from anndata import AnnData
    from napari.layers import Vectors
    from numpy.typing import NDArray

    from napari_staligner.session import Session

COLORMAP = "autumn_r"
"""Colour map of distances: near ones yellow, far ones red."""
PARTED = (1.0, 0.0, 0.4, 1.0)
"""RGBA of links whose ends lie in different domains."""
_FAINT = 0.25
"""Opacity of the other links while those of a spot are drawn."""
_WIDTH = 0.003
"""Width of a link, as a share of the extent of the first slice."""


class LinksOverlay(TissueOverlay):
    """Lines between mutual nearest neighbours, from slice to slice."""

    role = K.Role.LINKS
    order = 50
    spans = True

    def follows(self) -> Iterable[Any]:
        """Which links are shown, and their colours; moved slices arrange all layers anyway."""
        session = self.session
        return (
            session.view.events.links,
            session.view.events.spot,
            session.view.events.isolated,
            session.view.events.only,
            session.view.events.region,
            session.domains.relabelled,
            session.domains.recolored,
            session.result.selection_changed,
            session.result.changed,
        )

    def wanted(self, session: Session) -> bool:
        """Whether there are links to show; the cells of the grid have a world of their own each.

        Without a line napari would take the layer for 512 units deep, and offer a slider.
        """
        if not session.view.links.shown or session.view.layout == "grid":
            return False
        drawn = drawn_links(session)
        return drawn is not None and len(drawn.links) > 0

    def make(self, name: str) -> Vectors:
        """Make the layer."""
        spots = next(iter(self.stage.live().values()))[K.Role.SPOTS]
        extent = float(np.ptp(spots.data, axis=0).max()) * float(spots.scale[-1])
        layer = vectors_layer("links", _WIDTH * extent, ndim=3)
        # Before napari has it: for an empty layer it would make a slider, see `wanted`.
        layer.data = link_lines(self.session, self.stage.arrangement.world).vectors
        return layer

    def update(self, layer: Any, name: str) -> None:
        """Draw the links where the slices are."""
        lines = link_lines(self.session, self.stage.arrangement.world)
        set_vectors(layer, lines.vectors, lines.rgba)


@dataclass(frozen=True)
class Drawn:
    """The links that the session shows.

    Parameters
    ----------
    links
        Links that are drawn: the thinned ones, and all of the chosen spot.
    of_spot
        Which of them are the chosen spot's, bool, shape (links,).
    exist
        How many links have an end among the spots that are shown.
    parted
        Share of these with ends in different domains; nan without links or domains.
    limits
        Distances at the two ends of the colour map.
    """

    links: Links
    of_spot: NDArray[np.bool_]
    exist: int
    parted: float
    limits: tuple[float, float]


@dataclass(frozen=True)
class Lines:
    """Lines of links.

    Parameters
    ----------
    vectors
        Start and direction in the world (z, y, x), float64, shape (links, 2, 3).
    rgba
        Colour of each, float32, shape (links, 4).
    """

    vectors: NDArray[np.float64]
    rgba: NDArray[np.float32]


class _Found:
    """The last answers for a result, and the links they were chosen from.

    Several callers need the same, and those of the next pair are found while people look at the
    present one.
    """

    def __init__(self, result: AnnData) -> None:
        self.result = weakref.ref(result)
        self.drawn: dict[object, Drawn] = {}
        self.links: dict[object, Links] = {}


_found: weakref.WeakKeyDictionary[Session, _Found] = weakref.WeakKeyDictionary()
_MOST_ANSWERS = 3


def drawn_links(session: Session, ahead: Ahead | None = None) -> Drawn | None:
    """Find the links that the session shows; ``None`` if its result has none.

    In the modes of the stack that compare two slices, these are only the links between the two.

    Parameters
    ----------
    session
        The session.
    ahead
        Slices that will be shown alone and rows that will be selected: their links are found before
        they are needed.
    """
    result = session.result.adata
    if result is None or K.MUTUAL not in result.obsp:
        return None
    pair = _pair(session) if ahead is None else ahead.pair
    focus = session.focus.mask(None if ahead is None else ahead.selection)
    key = (
        replace(session.view.links, shown=True),
        b"" if focus is None else focus.tobytes(),
        session.view.spot,
        pair,
        result.obs[K.DOMAIN].cat.codes.to_numpy().tobytes() if session.domains.names else b"",
    )
    found = _found.get(session)
    if found is None or found.result() is not result:
        found = _found[session] = _Found(result)
    if pair not in found.links:
        _keep(found.links, pair, all_links(result, pair))
    if key not in found.drawn:
        _keep(found.drawn, key, _choose(session, result, found.links[pair], focus))
    return found.drawn[key]


@dataclass(frozen=True)
class Ahead:
    """What will be shown.

    Parameters
    ----------
    pair
        Names of the slices.
    selection
        Rows of the result, sorted.
    """

    pair: frozenset[str]
    selection: NDArray[np.intp]


def _keep(answers: dict[Any, Any], key: Any, answer: Any) -> None:
    """Keep an answer, and forget the oldest one."""
    if len(answers) == _MOST_ANSWERS:
        del answers[next(iter(answers))]
    answers[key] = answer


def link_lines(
    session: Session, world: Callable[[str, NDArray[np.float64]], NDArray[np.float64]]
) -> Lines:
    """Lines of the links that the session shows.

    Parameters
    ----------
    session
        The session.
    world
        Converts coordinates (x, y) of a slice to world coordinates (z, y, x).
    """
    drawn = drawn_links(session)
    if drawn is None or len(drawn.links) == 0 or session.result.adata is None:
        return Lines(np.empty((0, 2, 3)), np.empty((0, 4), np.float32))
    place = np.zeros((session.result.adata.n_obs, 3))
    for name, adata in session.slices.items():
        rows = session.result.rows(name)
        if rows is not None:
            place[rows] = world(name, spots_xy(adata))
    start, end = place[drawn.links.first], place[drawn.links.second]
    # Long links first and those of the spot last: the most informative lie on top.
    order = np.lexsort((-drawn.links.distance, drawn.of_spot))
    vectors = np.stack([start, end - start], axis=1)
    return Lines(vectors[order], _rgba(session, drawn)[order])


def _pair(session: Session) -> frozenset[str] | None:
    """Slices whose links are drawn; ``None`` for all."""
    if session.view.only:
        return session.view.only
    if (
        session.view.layout != "stack"
        or session.view.stack.mode not in PAIRWISE
        or not session.slices.pair
    ):
        return None
    return frozenset(session.slices.pair)


def _choose(
    session: Session, result: AnnData, links: Links, wanted: NDArray[np.bool_] | None
) -> Drawn:
    among = links if wanted is None else links.touching(wanted)
    row = _row(session)
    if session.view.links.of_spot:
        shown = links.take(np.zeros(0, dtype=np.intp))
    else:
        shown = thin(among, result, session.view.links.most)
    if row is not None:
        shown = shown.take((shown.first != row) & (shown.second != row))
        own = links.take((links.first == row) | (links.second == row))
        shown = Links(*(np.concatenate([getattr(shown, x), getattr(own, x)]) for x in _FIELDS))
    of_spot = np.zeros(len(shown), dtype=bool)
    if row is not None:
        of_spot = (shown.first == row) | (shown.second == row)
    parted = (
        float(_parted(result, among).mean()) if len(among) and session.domains.names else np.nan
    )
    low, high = np.percentile(among.distance, [1, 99]) if len(among) else (0.0, 1.0)
    return Drawn(shown, of_spot, len(among), parted, (float(low), float(max(high, low + 1e-6))))


_FIELDS = ("first", "second", "distance")


def _row(session: Session) -> int | None:
    """Row of the chosen spot in the result."""
    spot = session.view.spot
    rows = None if spot is None else session.result.rows(spot.slice)
    return None if spot is None or rows is None else int(rows[spot.row])


def _parted(result: AnnData, links: Links) -> NDArray[np.bool_]:
    codes = result.obs[K.DOMAIN].cat.codes.to_numpy()
    return codes[links.first] != codes[links.second]


def _rgba(session: Session, drawn: Drawn) -> NDArray[np.float32]:
    from napari.utils.colormaps import ensure_colormap

    links, result = drawn.links, session.result.adata
    if session.view.links.color == "domain" and session.domains.names and result is not None:
        colors = category_colors(session, K.DOMAIN, list(session.domains.names))
        table = np.vstack([*colors.values(), np.array(PARTED)])
        codes = result.obs[K.DOMAIN].cat.codes.to_numpy()[links.first]
        rgba = table[np.where(_parted(result, links), -1, codes)]
    else:
        low, high = drawn.limits
        rgba = ensure_colormap(COLORMAP).map(np.clip((links.distance - low) / (high - low), 0, 1))
    rgba = np.array(rgba, dtype=np.float32)
    if drawn.of_spot.any():
        rgba[~drawn.of_spot, 3] *= _FAINT
    return rgba
