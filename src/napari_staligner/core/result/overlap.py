"""What aligned slices have in common: the places where all of them have tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.regions import REACH
from napari_staligner.core.progress import Progress, Steps, finish
from napari_staligner.core.result.ownership import claim, written

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from shapely import Geometry


@dataclass(frozen=True, eq=False)
class Overlap:
    """Which spots lie on tissue of which slices, in the common frame.

    Parameters
    ----------
    names
        Of the slices.
    slice_of
        Number of each spot's slice, shape (spots,).
    on
        Whether a spot lies on the tissue of a slice, bool, shape (spots, slices); true for its own.
    """

    names: tuple[str, ...]
    slice_of: NDArray[np.intp]
    on: NDArray[np.bool_]

    @property
    def others(self) -> NDArray[np.int16]:
        """How many other slices have tissue where a spot lies, shape (spots,)."""
        return np.asarray(self.on.sum(axis=1) - 1, dtype=np.int16)

    @property
    def common(self) -> NDArray[np.bool_]:
        """Spots that lie on tissue of all slices, shape (spots,)."""
        return np.asarray(self.on.all(axis=1))

    def shares(self) -> pd.DataFrame:
        """Share of each slice's spots that lie on tissue of each slice.

        Returns
        -------
        Slices (of the spots) × slices (with the tissue), and a column ``all``: on that of all.
        """
        each = [self.slice_of == number for number in range(len(self.names))]
        rows = [[*self.on[own].mean(axis=0), self.common[own].mean()] for own in each]
        return pd.DataFrame(rows, index=list(self.names), columns=[*self.names, "all"])


@dataclass(frozen=True)
class OverlapJob:
    """Everything that finding the overlap needs, copied.

    Parameters
    ----------
    names
        Of the slices.
    slice_of
        Number of each spot's slice, shape (spots,).
    places
        Coordinates in the common frame, float64, shape (spots, 2).
    """

    names: tuple[str, ...]
    slice_of: NDArray[np.intp]
    places: NDArray[np.float64]

    def steps(self) -> Steps[Overlap]:
        """Find it slice by slice; see :func:`overlap`."""
        import shapely

        on = np.zeros((len(self.places), len(self.names)), dtype=bool)
        for number, name in enumerate(self.names):
            yield Progress(f"tissue of {name}", number, len(self.names))
            own = self.slice_of == number
            tissue = tissue_outline(self.places[own])
            shapely.prepare(tissue)
            on[:, number] = shapely.contains_xy(tissue, self.places[:, 0], self.places[:, 1])
            on[own, number] = True
        return Overlap(self.names, self.slice_of, on)


def overlap(adata: AnnData, *, copy: bool = False) -> AnnData | None:
    """Write how many other slices have tissue where a spot lies, in the common frame.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["slice"]`` and ``obsm["spatial_aligned"]``.
    copy
        Whether to return a copy instead of writing into ``adata``.

    Returns
    -------
    ``None``, or the copy. Writes ``obs["slices_overlapping"]``, int16: 0 where a slice is alone,
    the number of slices less one where all have tissue. Registering again removes the column.

    Raises
    ------
    InputError
        The slices are not registered, or there is only one.
    """
    target = adata.copy() if copy else adata
    record_overlap(target, finish(overlap_job(target).steps()))
    return target if copy else None


def overlap_job(adata: AnnData) -> OverlapJob:
    """Copy what finding the overlap needs.

    Raises
    ------
    InputError
        The slices are not registered, or there is only one.
    """
    if K.SLICE not in adata.obs or K.SPATIAL_ALIGNED not in adata.obsm:
        raise InputError(
            f"There is no obs[{K.SLICE!r}] or obsm[{K.SPATIAL_ALIGNED!r}], so no overlap: register "
            "the slices first."
        )
    slices = pd.Categorical(adata.obs[K.SLICE]).remove_unused_categories()
    if len(slices.categories) < 2:
        raise InputError("There is one slice only, which overlaps with none: integrate several.")
    return OverlapJob(
        tuple(map(str, slices.categories)),
        slices.codes.astype(np.intp),
        np.array(adata.obsm[K.SPATIAL_ALIGNED], dtype=np.float64),
    )


def record_overlap(adata: AnnData, found: Overlap) -> None:
    """Write ``obs["slices_overlapping"]``; see :func:`overlap`."""
    claim(adata, "obs", K.OVERLAPPING)
    adata.obs[K.OVERLAPPING] = found.others


def common_spots(adata: AnnData) -> NDArray[np.bool_] | None:
    """Spots that lie on tissue of all slices, as recorded; ``None`` if that is not.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["slices_overlapping"]`` if it was written here.

    Returns
    -------
    bool, shape (spots,).
    """
    if K.OVERLAPPING not in adata.obs or K.OVERLAPPING not in written(adata)["obs"]:
        return None
    n = len(pd.Categorical(adata.obs[K.SLICE]).remove_unused_categories().categories)
    return np.asarray(adata.obs[K.OVERLAPPING].to_numpy() >= n - 1)


def checked_common(adata: AnnData) -> NDArray[np.bool_]:
    """Spots that lie on tissue of all slices, recorded or found now; nothing is written.

    Raises
    ------
    InputError
        There is no such place, or the overlap cannot be found.
    """
    common = common_spots(adata)
    if common is None:
        common = finish(overlap_job(adata).steps()).common
    slices = pd.Categorical(adata.obs[K.SLICE]).remove_unused_categories()
    for number, name in enumerate(slices.categories):
        if (common & (slices.codes == number)).sum() < 2:
            raise InputError(
                f"Slice {str(name)!r} has no tissue where all other slices have some: register the "
                "slices again, or compare all spots."
            )
    return common


def tissue_outline(xy: NDArray[np.float64]) -> Geometry:
    """Outline of the tissue of a slice: the places within reach of a spot.

    Parameters
    ----------
    xy
        Coordinates, shape (spots, 2).

    Returns
    -------
    A shapely polygon or several, in which a hole stays a hole. The reach is that of a spot's cell,
    :data:`~napari_staligner.core.annotations.regions.REACH`.
    """
    import shapely
    from scipy.spatial import KDTree

    places = np.unique(xy, axis=0)
    if len(places) < 2:
        return shapely.points(places[0]).buffer(1.0)
    nth = min(4, len(places) - 1) + 1
    reach = REACH * float(np.median(KDTree(places).query(places, k=[nth])[0]))
    return shapely.union_all(shapely.buffer(shapely.points(places), reach, quad_segs=3))
