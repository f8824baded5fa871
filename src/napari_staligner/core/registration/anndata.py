"""Registration of integrated slices in AnnData: from AnnData to a job, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.attempt import REGISTRATION, RESIDUALS, collecting, drop_notes, warn_lost
from napari_staligner.core.progress import Progress, finish
from napari_staligner.core.registration.choice import Choice, Model
from napari_staligner.core.registration.histology import histology_of_result
from napari_staligner.core.registration.register import RegistrationJob, register_steps
from napari_staligner.core.registration.series import Registered
from napari_staligner.core.registration.trust import as_columns
from napari_staligner.core.result.access import record_of, spots_xy, writable_record
from napari_staligner.core.result.ownership import claim, release

if TYPE_CHECKING:
    from anndata import AnnData


def register(
    adata: AnnData,
    *,
    model: str = "rigid",
    landmarks: Sequence[str] = (),
    reference: str | None = None,
    nonrigid: bool = False,
    seed: int = 0,
    copy: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> AnnData | None:
    """Bring integrated slices into one frame.

    Parameters
    ----------
    adata
        Integrated slices, as :func:`napari_staligner.integrate` returns them.
    model
        What the transforms may do: ``"rigid"``, ``"similarity"`` or ``"affine"``. Slices in
        different units are always scaled.
    landmarks
        Domains whose spots are compared; all spots if empty.
    reference
        The slice that stays; the first by default.
    nonrigid
        Whether a smooth displacement (thin-plate spline) follows.
    seed
        Seed for drawing spots if there are many.
    copy
        Whether to return a copy instead of writing into ``adata``.
    on_progress
        Called with each :class:`~napari_staligner.core.progress.Progress`.

    Returns
    -------
    ``None``, or the copy. Writes ``obsm["spatial_aligned"]``,
    ``obsm["registration_shift"]``, ``obs["registration_residual"]``,
    ``uns["staligner"]["transforms"]`` and ``uns["staligner"]["registration"]``.

    Raises
    ------
    InputError
        A slot is missing, or a slice or domain does not exist.

    Warns
    -----
    ComputeWarning
        The residuals or the smooth displacement failed; the transforms are written.
    """
    if model not in list(Model):
        raise InputError(f"There is no model {model!r}: choose one of {', '.join(Model)}.")
    choice = Choice(Model(model), tuple(landmarks), reference, nonrigid, seed)
    job = registration_job(adata, choice)
    target = adata.copy() if copy else adata
    lost: list[str] = []
    record_registration(target, finish(register_steps(job), collecting(lost, on_progress)), choice)
    warn_lost(lost)
    return target if copy else None


def registration_job(adata: AnnData, choice: Choice) -> RegistrationJob:
    """Copy what a registration needs from integrated slices.

    Raises
    ------
    InputError
        A slot is missing, a slice or domain does not exist, or there is only one slice.
    """
    for part, key in ((adata.obs, K.SLICE), (adata.obsm, K.SPATIAL), (adata.obsm, K.EMBEDDING)):
        if key not in part:
            raise InputError(f"These slices lack {key!r}: integrate them first.")
    if K.MUTUAL not in adata.obsp:
        raise InputError(
            f"These slices lack obsp[{K.MUTUAL!r}]: complete them, or integrate them once more."
        )
    names = [str(name) for name in adata.obs[K.SLICE].cat.categories]
    if len(names) < 2:
        raise InputError(
            f"Slice {names[0]!r} is the only one: integrate it with others to register it."
        )
    if choice.reference is not None and choice.reference not in names:
        raise InputError(
            f"There is no slice {choice.reference!r} to register to: "
            f"choose one of {', '.join(map(repr, names))}."
        )
    labels = adata.obs[K.SLICE].to_numpy()
    order = np.concatenate([np.flatnonzero(labels == name) for name in names])
    if not np.array_equal(order, np.arange(adata.n_obs)):
        raise InputError(
            f"The spots of a slice do not stand together in obs[{K.SLICE!r}]: sort them by slice."
        )
    points = spots_xy(adata).copy()
    recorded = np.asarray(record_of(adata).get("pairs", ()), dtype=object)
    return RegistrationJob(
        coordinates={name: points[labels == name] for name in names},
        embedding=np.array(adata.obsm[K.EMBEDDING]),
        mutual=sparse.csr_matrix(adata.obsp[K.MUTUAL], copy=True),
        pairs=tuple((str(a), str(b)) for a, b in recorded) or None,
        model=choice.model,
        reference=choice.reference,
        counted=_counted(adata, choice.landmarks),
        nonrigid=choice.nonrigid,
        seed=choice.seed,
        histology=histology_of_result(adata),
    )


def _counted(adata: AnnData, landmarks: Sequence[str]) -> Any:
    """Spots of the landmark domains; ``None`` if there are no such domains."""
    if not landmarks:
        return None
    if K.DOMAIN not in adata.obs:
        raise InputError(f"These slices lack obs[{K.DOMAIN!r}]: find domains first.")
    domains = [str(domain) for domain in adata.obs[K.DOMAIN].cat.categories]
    strange = next((name for name in landmarks if name not in domains), None)
    if strange is not None:
        raise InputError(
            f"There is no domain {strange!r} to be a landmark: "
            f"choose from {', '.join(map(repr, domains))}."
        )
    return adata.obs[K.DOMAIN].astype(str).isin(list(landmarks)).to_numpy()


def record_registration(adata: AnnData, registered: Registered, choice: Choice) -> None:
    """Write a registration into integrated slices; see :func:`register` for the slots.

    A note that the registration was missing is dropped, and so is ``obs["area_change"]`` of other
    places.
    """
    if not np.array_equal(adata.obsm.get(K.SPATIAL_ALIGNED, ()), registered.aligned):
        # Of other places it would say nothing.
        release(adata, "obs", K.AREA_CHANGE)
    claim(adata, "obsm", K.SPATIAL_ALIGNED, K.SHIFT)
    claim(adata, "obs", K.RESIDUAL)
    before = adata.obsm.get(K.SPATIAL_ALIGNED)
    if before is None or not np.array_equal(before, registered.aligned):
        release(adata, "obs", K.OVERLAPPING)
    adata.obsm[K.SPATIAL_ALIGNED] = registered.aligned
    adata.obsm[K.SHIFT] = registered.shift
    adata.obs[K.RESIDUAL] = registered.residual.astype(np.float32)
    kept = writable_record(adata)
    kept["transforms"] = dict(registered.transforms)
    kept["registration"] = {
        "model": str(choice.model),
        "reference": choice.reference or next(iter(registered.transforms)),
        "landmarks": np.array(choice.landmarks, dtype=object),
        "nonrigid": choice.nonrigid,
        "seed": choice.seed,
        "pairs": np.array(registered.pairs, dtype=object).reshape(-1, 2),
        "bending": dict(registered.bending),
        **as_columns(registered.trust),
    }
    drop_notes(adata, REGISTRATION)
    if np.isfinite(registered.residual).any():
        drop_notes(adata, RESIDUALS)
