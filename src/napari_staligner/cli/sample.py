"""The command that fetches real slices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_staligner.cli.console import escaped, output, sentences
from napari_staligner.cli.tables import Table, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console


def sample_command(with_bar: Callable[[Any], Any]) -> Callable[..., None]:
    """Return the command.

    Parameters
    ----------
    with_bar
        Runs steps with a progress bar.
    """

    def sample(
        names: Annotated[
            list[str] | None,
            typer.Argument(help="Names of slices or sets; without any, the list of them."),
        ] = None,
        to: Annotated[
            Path | None,
            typer.Option(help="Folder to fetch into. \\[default: the user's folder for caches]"),
        ] = None,
    ) -> None:
        """Fetch real slices to try: olfactory bulbs and cortex; checked, with their licence."""
        with sentences():
            from napari_staligner.io.fetching import fetch_steps
            from napari_staligner.io.remote_samples import samples_named

            console = output()
            if not names:
                show_list(console)
                return
            wanted = samples_named(names)
            for each in wanted:
                console.print(each.told, soft_wrap=True, markup=False, highlight=False)
            fetched = with_bar(fetch_steps(wanted, to))
            for one in fetched:
                for note in one.notes:
                    console.print(f"[yellow]Note:[/] {escaped(note)}", soft_wrap=True)
                console.print(escaped(str(one.path)), soft_wrap=True, highlight=False)

    return sample


def show_list(console: Console) -> None:
    """Print what can be fetched."""
    from napari_staligner.io.remote_samples import SAMPLES, SETS

    rows = [
        [each.name, each.title, each.size_text, each.checked, each.licence, each.page]
        for each in SAMPLES.values()
    ]
    heads = ["what", "size", "checksum is public", "licence", "from"]
    show(console, Table("Samples", ["name"], heads, rows))
    for name, members in SETS.items():
        console.print(f"{name}: {', '.join(members)}", highlight=False, soft_wrap=True)
