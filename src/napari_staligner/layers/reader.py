"""Reader for npe2: slices or a result from files and folders of the field's formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner.io.formats.sniff import is_known

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.layers.layer_data import LayerData

Paths = str | Path | Sequence[str | Path]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the function that reads these, or ``None`` if the format of one is unknown.

    A known format that cannot be read is accepted, so that the user is told why.
    """
    return read_layers if all(map(is_known, _listed(path))) else None


def read_layers(path: Paths) -> list[LayerData]:
    """Read slices, or results with their slices, as layer data.

    Raises
    ------
    InputError
        A file cannot be read, or lacks what a slice needs.
    """
    from warnings import warn

    from napari_staligner.io.session_file import open_file
    from napari_staligner.layers.layer_data import content_layers, slice_layers

    layers: list[LayerData] = []
    slices: list[tuple[str, AnnData]] = []
    for content in map(open_file, _listed(path)):
        if content.result is None and not content.view:
            slices += content.slices
        else:
            layers += content_layers(content)
        for sentence in [*content.problems, *content.notes]:
            warn(sentence, stacklevel=2)
    return slice_layers(slices) + layers


def _listed(path: Paths) -> list[Path]:
    return [Path(path)] if isinstance(path, str | Path) else [Path(p) for p in path]
