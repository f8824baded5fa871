"""Profiles along an axis: what was found last, and which ones the report shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_staligner._errors import InputError
from napari_staligner.core.result.profiles import profile_job, read_profiles, write_profiles
from napari_staligner.core.result.quantities import Quantity

if TYPE_CHECKING:
    from napari_staligner.core.result.axis import Axis
    from napari_staligner.core.result.profiles import ProfileJob, Profiles
    from napari_staligner.session.result import Result
    from napari_staligner.session.view import View


class Profile:
    """The profile of what the spots are coloured by, along the axis of the view.

    Parameters
    ----------
    result
        The integrated slices.
    view
        Holds the axis, and what the spots are coloured by.
    """

    changed = Signal()
    """``found`` was set."""
    kept_changed = Signal()
    """``kept`` changed."""

    def __init__(self, result: Result, view: View) -> None:
        self._result, self._view = result, view
        self._found: Profiles | None = None
        result.changed.connect(self._on_result_changed)

    @property
    def found(self) -> Profiles | None:
        """The last profiles; ``None`` if there are none of the present result."""
        return self._found

    @found.setter
    def found(self, value: Profiles | None) -> None:
        if value is not self._found:
            self._found = value
            self.changed.emit()

    def job(self, smoothing: float | None = None) -> ProfileJob:
        """Copy what the profile needs; see :func:`core.result.profiles.profile_job`.

        Raises
        ------
        InputError
            There is no result, or it does not have what is wanted.
        """
        adata = self._result.needed("draw a profile of")
        by = self._view.color_by
        if by.kind == "obsm":
            raise InputError(
                f"A component of obsm[{by.key!r}] has no profile: colour by a gene or a column."
            )
        return profile_job(adata, self._view.axis, Quantity(by.kind, by.key), smoothing=smoothing)

    @property
    def kept(self) -> tuple[tuple[Axis, Quantity], ...]:
        """What the report shows, in order."""
        return () if self._result.adata is None else read_profiles(self._result.adata)

    def keep(self) -> bool:
        """Show the last profile in the report; says whether it was not there yet."""
        found, adata = self._found, self._result.adata
        if found is None or adata is None or (found.axis, found.of) in self.kept:
            return False
        write_profiles(adata, (*self.kept, (found.axis, found.of)))
        self.kept_changed.emit()
        return True

    def keep_none(self) -> None:
        """Show no profile in the report."""
        if self._result.adata is not None and self.kept:
            write_profiles(self._result.adata, ())
            self.kept_changed.emit()

    def _on_result_changed(self) -> None:
        self.found = None
