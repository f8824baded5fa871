"""What the shell says: results on stdout, all else as sentences on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from napari_staligner._errors import ComputeError, InputError
from napari_staligner.cli.tables import WIDEST


@contextmanager
def sentences() -> Iterator[None]:
    """Report errors as one sentence on stderr, with exit code 2 for what users can mend, else 1."""
    try:
        yield
    except (InputError, ComputeError) as error:
        errors().print(f"[bold red]Error:[/] {escaped(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        errors().print("Cancelled; nothing was written.")
        raise typer.Exit(130) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        from napari_staligner.core.attempt import known_failure, log_failure, reason
        from napari_staligner.io.problem_report import keep_problem

        if said := known_failure(error):
            errors().print(f"[bold red]Error:[/] {escaped(said)}", soft_wrap=True)
            raise typer.Exit(2) from None
        # The words after the name of the command may hold names of the user's.
        kept = keep_problem(error, " ".join(["napari-staligner", *sys.argv[1:2]]))
        if not kept:
            log_failure("The command failed", error)
        text = f"This failed ({reason(error)}). {kept}".rstrip()
        errors().print(f"[bold red]Error:[/] {escaped(text)}", soft_wrap=True)
        raise typer.Exit(1) from None


# Consoles are made at each use: stdout and stderr may have been replaced since the import.


def output() -> Console:
    """Return stdout; in a file or a pipe, tables keep their full width."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDEST)


def errors() -> Console:
    """Return stderr."""
    return Console(stderr=True, highlight=False)


def escaped(text: str) -> str:
    """Return a text that rich prints as it is."""
    from rich.markup import escape

    return escape(text)
