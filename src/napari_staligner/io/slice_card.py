"""How a slice was understood, in a few figures, and what looks wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.counts import ValueKind, kind_of
from napari_staligner.core.prepare.image_move import image_move
from napari_staligner.core.prepare.libraries import own_library
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.core.prepare.on_disk import in_memory
from napari_staligner.core.prepare.spots import off_tissue
from napari_staligner.core.progress import Progress
from napari_staligner.core.registration.transforms import apply, inverse
from napari_staligner.core.result.access import spots_xy
from napari_staligner.core.result.provenance import SAMPLE, source_of
from napari_staligner.io.formats.sniff import sniff
from napari_staligner.io.image_check import ImageFit, image_fit
from napari_staligner.io.images import gone_scan, image_place, scan_of, shown_picture
from napari_staligner.io.outlines import cell_shapes, outlines_text
from napari_staligner.io.scans import picture_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Steps
    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.core.result.source import Source

SOME_SPOTS = 2000
"""The number of spots that are checked."""
FEW_COUNTS = 20
"""With fewer counts per spot, single genes say little: Visium has thousands, panels hundreds."""
MOST_ON_IMAGE = 0.95
MOST_LOOKED = 5000
"""About how many spots are laid on the tissue of the image."""

MEND = "“Move it so” under its card in the window does that"


@dataclass(frozen=True)
class SliceCard:
    """How a slice was understood.

    Parameters
    ----------
    name
        Of the slice.
    title
        The usual name of its format; empty if that is not known.
    n_spots, n_genes
        How many there are.
    values
        What the values of ``X`` are; ``None`` if there are none.
    per_spot
        Median of the total per spot; nan if ``X`` does not hold counts.
    on_tissue
        Share of the spots that are on the tissue according to ``obs``; ``None`` if it does not say.
    microns
        µm per unit of the coordinates, and how that is known; ``None`` if it is not.
    image
        Height and width in pixels, or why none is shown.
    on_image
        Share of the spots that lie on the image; ``None`` without an image.
    scan_gone
        Path of the image at full size that is not there any more; empty if there is none.
    notes
        Sentences about what was guessed or left out when it was read.
    fit
        How the spots lie on the tissue of the image; ``None`` if no tissue can be seen.
    mend
        Where the image would have to be moved to so that they lie clearly better, float64, shape
        (3, 3), as :func:`~napari_staligner.core.prepare.image_move.move_image` takes it; ``None``
        if they lie well.
    outlines
        Which outlines of cells it came with; empty without any.
    """

    name: str
    title: str
    n_spots: int
    n_genes: int
    values: ValueKind | None
    per_spot: float
    on_tissue: float | None
    microns: tuple[float, str] | None
    image: tuple[int, int] | str
    on_image: float | None
    scan_gone: str = ""
    notes: tuple[str, ...] = ()
    fit: ImageFit | None = None
    mend: Matrix | None = None
    outlines: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """The figures as text, by their names."""
        values = "none" if self.values is None else self.values.value
        if np.isfinite(self.per_spot):
            values = f"{values}, {self.per_spot:,.0f} a spot (median)"
        shown = f"none: {self.image}" if self.image != "none" else "none"
        if not isinstance(self.image, str):
            shown = f"{self.image[1]:,} × {self.image[0]:,} pixels"
        facts = {
            "Format": self.title or "AnnData",
            "Spots × genes": f"{self.n_spots:,} × {self.n_genes:,}",
            "Values": values,
            "On tissue": "" if self.on_tissue is None else _percent(self.on_tissue),
            "Scale": "not known" if self.microns is None else _scale(*self.microns),
            "Image": shown,
            "Outlines": self.outlines,
        }
        return {key: text for key, text in facts.items() if text}

    @property
    def problems(self) -> list[str]:
        """What looks wrong, and what to do, as sentences."""
        found = []
        if self.values is ValueKind.COUNTS and self.per_spot < FEW_COUNTS:
            found.append(
                f"A spot has {self.per_spot:,.0f} counts (median), which says little: choose "
                "larger bins, or expect domains with rough borders."
            )
        if self.values is ValueKind.SCALED:
            found.append("X holds scaled values: choose a layer of counts in the Integrate dock.")
        if self.scan_gone:
            found.append(
                f"The image at full size is not at {self.scan_gone!r} any more: put it back, or go "
                "on with the small one."
            )
        if self.on_image is not None and self.on_image < MOST_ON_IMAGE:
            found.append(
                f"Only {_percent(self.on_image)} of the spots lie on the image: it may be of "
                "another slice, or have another scale factor."
            )
        if self.fit is not None and self.fit.better:
            found.append(
                f"{_percent(self.fit.share)} of the spots lie on the tissue of the image, and "
                f"{_percent(self.fit.then)} would if the image is {self.fit.better}: {MEND}."
            )
        return found


def _percent(share: float) -> str:
    # 99.96 % is not all.
    return f"{np.floor(1000 * share) / 10:.3g} %"


def _scale(microns: float, how: str) -> str:
    return f"{microns:.3g} µm per unit ({how})"


@dataclass(frozen=True)
class SliceCardJob:
    """What a card needs of a slice: tables copied, counts and image shared as they are.

    Parameters
    ----------
    name, source
        Of the slice.
    obs
        Shape (spots, columns): the columns on tissue and on Visium's array.
    xy
        Coordinates, float64, shape (spots, 2).
    matrix
        ``X``; ``None`` if there is none.
    n_genes
        How many there are.
    libraries
        The slice's own part of ``uns["spatial"]``.
    notes
        The notes from when it was read.
    """

    name: str
    source: Source | None
    obs: pd.DataFrame = field(repr=False)
    xy: NDArray[np.float64] = field(repr=False)
    matrix: Any = field(repr=False)
    n_genes: int
    libraries: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...]

    def steps(self) -> Steps[SliceCard]:
        """Look at the slice."""
        yield Progress(f"looking at {self.name}", 0, 1)
        return _card(self)


def slice_card_job(name: str, adata: AnnData) -> SliceCardJob:
    """Copy what a card needs from a slice.

    Parameters
    ----------
    name
        Of the slice.
    adata
        The slice; its counts and image are shared, and must not change in place.
    """
    library = own_library(adata, name)
    return SliceCardJob(
        name,
        source_of(adata),
        adata.obs.copy(),
        spots_xy(adata).copy(),
        adata.X,
        adata.n_vars,
        {} if library is None else {library[0]: library[1]},
        tuple(said.removeprefix(f"Slice {name!r}: ") for said in notes_of(name, adata)),
    )


def _card(job: SliceCardJob) -> SliceCard:
    values, per_spot = _values(job.matrix)
    off, column = off_tissue(job.obs)
    image, on_image, gone = _image(job)
    return SliceCard(
        job.name,
        _title(job.source),
        len(job.obs),
        job.n_genes,
        values,
        per_spot,
        float(1 - off.mean()) if column else None,
        _microns(job),
        image,
        on_image,
        gone,
        job.notes,
        *_fit(job, ~off),
        _outlined(job),
    )


def _outlined(job: SliceCardJob) -> str:
    found = (cell_shapes(library) for library in job.libraries.values())
    return outlines_text(next((each for each in found if each), None), len(job.obs))


def _title(source: Source | None) -> str:
    if source is None:
        return ""
    if source.path.startswith(SAMPLE):
        return "simulated"
    try:
        found = sniff(Path(source.path))
    except InputError:  # it has been moved
        return ""
    size = source.choices.get("bin")
    return f"{found.title}, bins of {size}" if size else found.title


def _values(matrix: Any) -> tuple[ValueKind | None, float]:
    if matrix is None or not all(matrix.shape):
        return None, np.nan
    step = -(-matrix.shape[0] // SOME_SPOTS)
    some = in_memory(matrix[::step])
    kind = kind_of(some)
    if kind is not ValueKind.COUNTS:
        return kind, np.nan
    return kind, float(np.median(np.asarray(some.sum(axis=1)).ravel()))


def _microns(job: SliceCardJob) -> tuple[float, str] | None:
    from anndata import AnnData

    from napari_staligner.core.annotations.regions import microns_per_unit

    light = AnnData(obs=job.obs, obsm={K.SPATIAL: job.xy})
    return microns_per_unit(light, job.libraries)


def _fit(job: SliceCardJob, counted: NDArray[np.bool_]) -> tuple[ImageFit | None, Matrix | None]:
    """How the spots that are on tissue lie on that of the image, and the move that mends it."""
    from anndata import AnnData

    picture = shown_picture(AnnData(shape=(0, 0), uns={K.SPATIAL: dict(job.libraries)}))
    if picture is None:
        return None, None
    xy = job.xy[counted & np.isfinite(job.xy).all(axis=1)]
    some = xy[:: -(-max(len(xy), 1) // MOST_LOOKED)]
    at = apply(inverse(picture.matrix), some)
    fit = image_fit(picture_of(picture.scan), at, picture.scan.size)
    if fit is None or not fit.better:
        return fit, None
    return fit, picture.matrix @ fit.matrix @ inverse(picture.own)


def _image(job: SliceCardJob) -> tuple[tuple[int, int] | str, float | None, str]:
    """Size of the image, the share of spots on it, and a scan that is gone."""
    for library in job.libraries.values():
        gone = gone_scan(library)
        found, place = scan_of(library), image_place(library)
        if found is not None:
            scan, matrix = found
            (height, width), back = scan.size, np.linalg.inv(matrix)
        elif isinstance(place, str):
            return place, None, gone
        else:
            height, width, factor = place
            back = np.diag([factor, factor, 1.0])
        at = apply(back @ inverse(image_move(library)), job.xy)
        inside = (at >= 0).all(axis=1) & (at[:, 0] <= width) & (at[:, 1] <= height)
        return (height, width), float(inside.mean()), gone
    return "none", None, ""
