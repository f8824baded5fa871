"""What is shown, and how: one model with an event per field. A session saves it as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from psygnal import SignalGroupDescriptor
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from napari_staligner import _keys as K
from napari_staligner.core.result.axis import Axis
from napari_staligner.core.settings import Settings

Layout = Literal["grid", "mosaic", "stack"]
Tool = Literal["", "lasso", "polygon", "brush", "spot", "piece", "domain", "line"]
StackMode = Literal["blend", "flicker", "checkerboard", "swipe", "3d"]
Part = Literal["both", "image", "spots"]

PAIRWISE: tuple[StackMode, ...] = ("flicker", "checkerboard", "swipe")
"""Modes of the stack that show two slices, and hide the others."""


@dataclass(frozen=True)
class ColorBy:
    """What the spots are coloured by.

    Parameters
    ----------
    kind
        ``"obs"`` (a column), ``"gene"`` (of ``X``), ``"obsm"`` (a component of an array of
        ``obsm``) or ``"attention"`` (``"self"``, ``"entropy"`` or
        ``"foreign"``).
    key
        The column, the gene, the array, or which figure of the attention.
    component
        Column of the array, from 0; 0 for the other kinds.
    """

    kind: Literal["obs", "gene", "obsm", "attention"] = "obs"
    key: str = K.SLICE
    component: int = 0


@dataclass(frozen=True)
class Scale:
    """How numbers become colours, whatever the spots are coloured by.

    Parameters
    ----------
    percentiles
        Percentiles of the values, 0..100, that are the two ends of the colour map.
    log
        Whether log(1 + value) is shown; ``None`` shows it for gene counts only.
    colormap
        Name of a colour map that napari knows.
    """

    percentiles: tuple[float, float] = (1.0, 99.0)
    log: bool | None = None
    colormap: str = "viridis"


@dataclass(frozen=True)
class Overlay:
    """Which edges are drawn on the tissue.

    Parameters
    ----------
    shown
        Whether they are drawn.
    threshold
        Attention weights below this are left out, 0..1.
    strongest
        Draw only this many of the strongest neighbours of each spot; 0 draws all.
    of_spot
        Draw only what the chosen spot receives and sends.
    """

    shown: bool = False
    threshold: float = 0.0
    strongest: int = 0
    of_spot: bool = False


@dataclass(frozen=True)
class Spot:
    """One spot: its slice and its row within the slice."""

    slice: str
    row: int


@dataclass(frozen=True)
class Region:
    """A region named by people or a file: the spots with one value in a column of ``obs``.

    Parameters
    ----------
    column
        Column of ``obs`` of the result: ``"annotation"``, or any other with names.
    name
        The value.
    """

    column: str
    name: str


@dataclass(frozen=True)
class StackView:
    """How slices in the stack are told apart.

    Parameters
    ----------
    mode
        ``"blend"`` blends all slices, ``"flicker"`` shows two in turn, ``"checkerboard"`` and
        ``"swipe"`` show parts of two, ``"3d"`` lifts each above the one before.
    pair
        Names of the two slices; ``None`` takes the first two.
    part
        What is shown of a slice; a slice without an image always shows its spots.
    opacities
        Opacity of the spots of each slice, 0..1 (of its image, if only images are blended);
        slices not named have :data:`OPACITY`, or 1 in 3-D.
    front
        Which of the pair the flicker shows now, 0 or 1.
    rate
        Changes of the flicker per second; 0 stops it.
    cells
        Cells of the checkerboard along its longer side.
    swipe
        Share of the width that shows the first of the pair, 0..1.
    spacing
        Distance between slices in 3-D, as a share of the extent of the first slice.
    """

    mode: StackMode = "blend"
    pair: tuple[str, str] | None = None
    part: Part = "both"
    opacities: Mapping[str, float] = field(default_factory=dict)
    front: int = 0
    rate: float = 2.0
    cells: int = 8
    swipe: float = 0.5
    spacing: float = 0.3

    def opacity(self, name: str) -> float:
        """Opacity of a slice, 0..1."""
        return self.opacities.get(name, OPACITY)


OPACITY = 0.6
"""Opacity of slices in the stack unless set."""


@dataclass(frozen=True)
class Trust:
    """Which spots are shown, by their ``obs["alignment_confidence"]``.

    Parameters
    ----------
    least
        Spots with a lower confidence are greyed out, 0..1.
    hide
        Hide them instead.
    """

    least: float = 0.0
    hide: bool = False


@dataclass(frozen=True)
class LinkView:
    """Which links between slices are drawn: pairs of mutual nearest neighbours in z.

    Parameters
    ----------
    shown
        Whether they are drawn.
    of_spot
        Only those of the chosen spot.
    color
        What they are coloured by: the ``"domain"`` that both ends share, or ``"distance"`` in z.
    most
        Largest number drawn, evenly over the tissue, in addition to those of the chosen spot.
    """

    shown: bool = False
    of_spot: bool = False
    color: Literal["domain", "distance"] = "domain"
    most: int = 500


@dataclass(frozen=True)
class Look:
    """How a layer is shown.

    Parameters
    ----------
    visible
        Whether it is visible.
    opacity
        Opacity, 0..1.
    """

    visible: bool = True
    opacity: float = 1.0


@dataclass(frozen=True)
class CanvasView:
    """Where the camera looks, and which layers the user shows or hides.

    Parameters
    ----------
    center, zoom, angles
        Of napari's camera.
    images, spots
        Look of the image and of the spots of each slice, by name.
    """

    center: tuple[float, ...] = (0.0, 0.0, 0.0)
    zoom: float = 1.0
    angles: tuple[float, ...] = (0.0, 0.0, 90.0)
    images: Mapping[str, Look] = field(default_factory=dict)
    spots: Mapping[str, Look] = field(default_factory=dict)


class View(BaseModel):
    """What is shown of the slices, and how.

    ``view.events.layout`` and so on signal that the value of a field changed. Each field is stored
    here and nowhere else; those with ``exclude`` are not saved with a session.
    """

    model_config = ConfigDict(validate_assignment=True, extra="ignore")
    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    settings: Settings = Settings()
    """Settings of the next run."""
    color_by: ColorBy = ColorBy()
    """What the spots are coloured by."""
    scale: Scale = Scale()
    """How numbers become colours."""
    legend_shown: bool = False
    """Whether the legend of the colours lies over the canvas."""
    layout: Layout = "grid"
    """How the slices lie: ``"grid"``, ``"mosaic"`` or ``"stack"``."""
    stack: StackView = StackView()
    """How slices on top of each other are told apart."""
    trust: Trust = Trust()
    """Which spots are shown, by their confidence."""
    links: LinkView = LinkView()
    """Which links between slices are drawn."""
    graph_shown: bool = False
    """Whether the spatial graph is drawn."""
    attention: Overlay = Overlay()
    """Which edges of the attention are drawn."""
    isolated: Annotated[frozenset[str], BeforeValidator(frozenset)] = frozenset()
    """Domains shown alone; empty shows all."""
    only: Annotated[frozenset[str], BeforeValidator(frozenset)] = frozenset()
    """Slices that are shown; empty shows all."""
    pinned: str = ""
    """Slice that stays shown while the others are paged through; empty for none."""
    spot: Spot | None = None
    """The chosen spot."""
    arrows: bool = False
    """Whether residuals are drawn as arrows."""
    canvas: CanvasView | None = None
    """How the canvas last reported to look, or should look; ``None`` before that."""
    region: Region | None = None
    """The region that is shown alone; ``None`` shows all."""
    only_overlap: bool = False
    """Whether only spots count that lie where all slices have tissue; others are dimmed."""
    spot_scale: float = 1.0
    """Diameter of the spots of all slices, as a share of the one at which they nearly touch."""
    axis: Axis = Axis()
    """What distances of spots in profiles are measured from."""
    axis_shown: bool = Field(default=False, exclude=True)
    """Whether it is drawn on the tissue."""
    outlines_shown: bool = Field(default=False, exclude=True)
    """Whether outlines of cells are drawn."""
    bending_shown: bool = Field(default=False, exclude=True)
    """Whether a grid shows how the slices are bent."""
    tool: Tool = Field(default="", exclude=True)
    """What the mouse does on the tissue; empty moves the view."""
    brush: float = Field(default=2.0, exclude=True)
    """Radius of the brush, in spacings of the spots."""
    hand: str = Field(default="", exclude=True)
    """Slice that the mouse moves; empty for none."""
    image_hand: str = Field(default="", exclude=True)
    """Slice whose tissue image the mouse moves, alone; empty for none."""

    @contextmanager
    def laid_out_once(self) -> Iterator[None]:
        """Choose a layout and which slices it shows as one; both are announced afterwards."""
        with self.events.layout.paused(), self.events.only.paused():
            yield

    @property
    def saved_fields(self) -> tuple[str, ...]:
        """Names of the fields that are saved with a session."""
        return tuple(n for n, f in type(self).model_fields.items() if not f.exclude)

    def to_json(self) -> str:
        """Return as JSON what is saved with a session."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> View | None:
        """Read what :meth:`to_json` gave; ``None`` if it is of another version."""
        try:
            return cls.model_validate_json(text)
        except (ValidationError, ValueError):  # ValueError: settings that no longer exist
            return None
