"""From a notebook to a window and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError
from napari_staligner.demo.run import add_content, open_viewer
from napari_staligner.demo.window import require_display

if TYPE_CHECKING:
    import napari
    from anndata import AnnData

    from napari_staligner.io.session_file import Content


def view(
    slices: AnnData | Mapping[str, AnnData] | Iterable[tuple[str, AnnData]],
    *,
    viewer: napari.Viewer | None = None,
) -> napari.Viewer:
    """Open integrated slices, or slices that are still to be integrated, in napari.

    In a notebook the window stays open and usable while cells run. In a script, end with
    ``napari.run()``.

    Parameters
    ----------
    slices
        What :func:`~napari_staligner.integrate` returned, one slice, or names and slices. The
        window has its own tables and shares the counts: yours are not changed. :func:`edited`
        gives what was edited in the window.
    viewer
        Where to open them; a new window with all docks if ``None``.

    Returns
    -------
    The viewer.

    Raises
    ------
    InputError
        There is no display, or a slice lacks ``obsm["spatial"]``.
    """
    content = _content(slices)
    require_display()
    viewer = open_viewer()[0] if viewer is None else viewer
    add_content(viewer, content)
    return viewer


def _content(
    slices: AnnData | Mapping[str, AnnData] | Iterable[tuple[str, AnnData]],
) -> Content:
    from anndata import AnnData

    from napari_staligner import _keys as K
    from napari_staligner.io.session_file import Content, session_content, shared_copy

    if not isinstance(slices, AnnData):
        listed = list(slices.items() if isinstance(slices, Mapping) else slices)
        return Content([(str(name), _placed(str(name), adata)) for name, adata in listed])
    if K.SLICE in slices.obs and K.EMBEDDING in slices.obsm:
        return session_content(shared_copy(slices), None)
    return Content([("slice 1", _placed("slice 1", slices))])


def _placed(name: str, adata: AnnData) -> AnnData:
    from napari_staligner.core.prepare.coordinates import with_places
    from napari_staligner.io.session_file import shared_copy

    own = shared_copy(adata)
    if adata.raw is not None:
        own.raw = adata.raw.to_adata()
    return with_places(name, own)


def edited(viewer: napari.Viewer) -> AnnData:
    """Return the result of a window as it is now: domains, names, colours, annotations, verdicts.

    Parameters
    ----------
    viewer
        A window with integrated slices, for example from :func:`view`.

    Returns
    -------
    An AnnData with its own tables; counts are shared. Written with
    :func:`~napari_staligner.write_result`, it opens with the same picture.

    Raises
    ------
    InputError
        The window has no result.
    """
    from napari_staligner.layers import open_session

    session = open_session(viewer)
    if session.result.adata is None:
        raise InputError("The window has no result yet: integrate its slices first.")
    return session.to_write()
