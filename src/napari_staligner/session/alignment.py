"""The alignment of a result's slices in one frame, changed by registration or by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.graph import spacing
from napari_staligner.core.registration.anndata import (
    record_registration,
    registration_job,
)
from napari_staligner.core.registration.choice import Choice
from napari_staligner.core.registration.register import RegistrationJob, ResidualJob
from napari_staligner.core.registration.series import Registered
from napari_staligner.core.registration.transforms import about, apply, shifted, turned
from napari_staligner.core.registration.trust import PairTrust
from napari_staligner.core.result.access import record_of, spots_xy
from napari_staligner.session.history import StateTrack

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.session.result import Result


class Step(StrEnum):
    """What kind of step changed the alignment."""

    OPENED = "opened"
    REGISTERED = "registered"
    FITTED = "fitted"
    MOVED = "moved"
    NUDGED = "nudged"


@dataclass(frozen=True)
class AlignmentState:
    """What an undo restores.

    Parameters
    ----------
    title
        What was done, as shown to the user.
    step
        What kind of step that was; nudges in a row with the same title count as one.
    registered
        Transforms, places and residuals; residuals are NaN until they are measured.
    choice
        The options of the last registration.
    """

    title: str
    registered: Registered
    choice: Choice
    step: Step = Step.OPENED

    def same_places(self, other: AlignmentState) -> bool:
        """Whether all spots are in the same places; residuals may differ."""
        return np.array_equal(self.registered.aligned, other.registered.aligned)


class Alignment:
    """The alignment of a result; every change is written to the result at once.

    Parameters
    ----------
    result
        The result of the aligned slices.
    """

    changed = Signal()
    """Places or residuals changed."""
    previewed = Signal()
    """A slice is being moved; nothing is written yet."""
    proposed_changed = Signal()
    """``proposed`` changed."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._state: AlignmentState | None = None
        self._preview: dict[str, Matrix] = {}
        self._proposed = False
        self.track = StateTrack(lambda: self._state, self.set, _difference, _goes_on)
        result.changed.connect(self._on_result_changed)

    def _on_result_changed(self) -> None:
        adata = self._result.adata
        self._preview = {}
        self._state = None if adata is None else _recorded(adata)
        self._propose(False)
        self.track.start_over()

    @property
    def state(self) -> AlignmentState | None:
        """The present alignment; ``None`` without one."""
        return self._state

    @property
    def transforms(self) -> Mapping[str, Matrix]:
        """Transform of each slice to the frame, including a slice that is being moved."""
        return {} if self._state is None else self._state.registered.transforms | self._preview

    def job(self, choice: Choice) -> RegistrationJob:
        """Copy what a registration needs.

        Raises
        ------
        InputError
            There is no result, or it lacks something.
        """
        if self._result.adata is None:
            raise InputError("There is nothing to register: integrate the slices first.")
        return registration_job(self._result.adata, choice)

    def residual_job(self) -> ResidualJob | None:
        """Copy what measuring residuals needs; ``None`` if they are known or cannot be measured."""
        state = self._state
        if state is None or not state.registered.pairs:
            return None
        if not np.isnan(state.registered.residual).all():
            return None
        try:
            slices = self.job(state.choice)
        except InputError:
            return None  # A result without matches has no residuals.
        return ResidualJob(slices, state.registered, self.displacements())

    def set(self, state: AlignmentState) -> None:
        """Set the alignment, and write it to the result."""
        if self._result.adata is None:
            return
        before, self._state, self._preview = self._state, state, {}
        moved = before is None or not before.same_places(state)
        if moved and state.step is not Step.REGISTERED:
            # A correction by hand accepts the proposal.
            self._propose(False)
        record_registration(self._result.adata, state.registered, state.choice)
        self._result.values_changed.emit(K.RESIDUAL)
        self.track.record()
        self.changed.emit()

    # -- a proposal ---------------------------------------------------------------------------

    @property
    def proposed(self) -> bool:
        """Whether the present alignment waits to be accepted or rejected."""
        return self._proposed

    def propose(self, title: str, registered: Registered, choice: Choice) -> bool:
        """Show a registration, to be accepted or rejected; says whether it moves anything."""
        state = AlignmentState(title, registered, choice, Step.REGISTERED)
        before = self._state
        moves = before is None or not before.same_places(state)
        # Without an earlier alignment there is nothing to go back to.
        self._propose(moves and before is not None)
        self.set(state)
        return moves

    def accept(self) -> None:
        """Accept what was proposed."""
        self._propose(False)

    def reject(self) -> None:
        """Put the slices back where they were; redo brings the proposal back."""
        if self._proposed:
            self._propose(False)
            self.track.undo()

    def _propose(self, proposed: bool) -> None:
        if proposed != self._proposed:
            self._proposed = proposed
            self.proposed_changed.emit()

    # -- by hand ------------------------------------------------------------------------------

    def preview(self, name: str, transform: Matrix) -> None:
        """Show a slice in another place, without writing it to the result."""
        self._preview = {name: transform}
        self.previewed.emit()

    def move(self, name: str, transform: Matrix, title: str, step: Step = Step.MOVED) -> None:
        """Move a slice; its smooth displacement is lost, and residuals must be measured again."""
        if self._state is None:
            return
        old, rows = self._state.registered, self._rows(name)
        aligned = old.aligned.copy()
        aligned[rows] = apply(transform, self._points(name))
        moved = Registered(
            old.transforms | {name: transform},
            aligned,
            np.full_like(old.shift, np.nan),
            np.full_like(old.residual, np.nan),
            old.pairs,
            {n: energy for n, energy in old.bending.items() if n != name},
        )
        self.set(AlignmentState(title, moved, self._state.choice, step))

    def turn(self, name: str, degrees: float = 0.0, *, mirrored: bool = False) -> None:
        """Turn a slice about its middle, and mirror it first if ``mirrored``."""
        middle = self.middle(name)
        title = f"Mirror {name}" if mirrored else f"Turn {name}"
        step = about(middle, turned(degrees, mirrored=mirrored))
        kind = Step.MOVED if mirrored else Step.NUDGED
        self.move(name, step @ self.transforms[name], title, kind)

    def nudge(self, name: str, spacings: tuple[float, float]) -> None:
        """Move a slice by a multiple of its spot spacing in (x, y)."""
        transform = self.transforms[name]
        unit = spacing(apply(transform, self._points(name)))
        step = shifted(unit * np.array(spacings))
        self.move(name, step @ transform, f"Nudge {name}", Step.NUDGED)

    def middle(self, name: str) -> NDArray[np.float64]:
        """Present middle (x, y) of a slice in the frame."""
        return np.asarray(apply(self.transforms[name], self._points(name)).mean(axis=0))

    def set_residuals(self, measured: Registered) -> None:
        """Store measured residuals, unless the slices have moved since."""
        if self._state is None:
            return
        old = self._state.registered
        now, then = old.transforms, measured.transforms
        if now.keys() == then.keys() and all(np.array_equal(now[n], then[n]) for n in now):
            known = replace(old, shift=measured.shift, residual=measured.residual)
            self.set(replace(self._state, registered=known))

    def displacements(self) -> dict[str, NDArray[np.float64]]:
        """What the smooth last step added to the transforms, for each slice that it moved."""
        if self._state is None:
            return {}
        known = self._state.registered
        return {
            name: known.aligned[self._rows(name)]
            - apply(known.transforms[name], self._points(name))
            for name in known.bending
        }

    def _points(self, name: str) -> NDArray[np.float64]:
        return spots_xy(self._result.needed("move"))[self._rows(name)]

    def _rows(self, name: str) -> NDArray[np.intp]:
        return self._result.by_slice[name]


def _recorded(result: AnnData) -> AlignmentState | None:
    """The alignment that a result holds; ``None`` if it holds none."""
    kept = record_of(result)
    transforms = {str(n): np.asarray(m, np.float64) for n, m in kept.get("transforms", {}).items()}
    names = [str(name) for name in result.obs[K.SLICE].cat.categories]
    if set(names) != set(transforms) or K.SPATIAL_ALIGNED not in result.obsm:
        return None
    missing = np.full((result.n_obs, 2), np.nan)
    about: Mapping[str, Any] = kept.get("registration", {})
    pairs = about.get("pairs", kept.get("pairs", ()))
    residual = result.obs[K.RESIDUAL] if K.RESIDUAL in result.obs else missing[:, 0]
    registered = Registered(
        {name: transforms[name] for name in names},
        np.array(result.obsm[K.SPATIAL_ALIGNED], dtype=np.float64),
        np.array(result.obsm.get(K.SHIFT, missing), dtype=np.float64),
        np.array(residual, dtype=np.float64),
        tuple((str(a), str(b)) for a, b in pairs),
        {str(name): float(energy) for name, energy in about.get("bending", {}).items()},
        PairTrust.read(about),
    )
    return AlignmentState("as it came", registered, Choice.read(about))


def _difference(before: AlignmentState, after: AlignmentState) -> str:
    """Name what was done; measuring residuals afterwards is not a step."""
    return "" if before.same_places(after) else after.title


def _goes_on(before: AlignmentState, after: AlignmentState) -> bool:
    """Whether a nudge or a turn continues the one before."""
    return before.step is after.step is Step.NUDGED and before.title == after.title
