"""Options of the command line, made from the fields of the settings."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from inspect import Parameter, signature
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape

from napari_staligner.core.fields import Described, described

F = TypeVar("F", bound=Callable[..., Any])

PANEL = "Settings"
"""Panel that shows them in the help of a command."""


def with_settings(of: type) -> Callable[[F], F]:
    """Give a command an option for each field of a dataclass that has a flag and a plain value.

    Parameters
    ----------
    of
        The dataclass; see :mod:`napari_staligner.core.fields`.

    Returns
    -------
    A decorator for the command. The command has a ``**parameter``, which receives all of the
    options, ``None`` for one that was not given. The help shows them before the command's own last
    option.
    """

    def decorate(command: F) -> F:
        # Evaluated here, because typer does not evaluate annotations of a replaced signature.
        own = list(signature(command, eval_str=True).parameters.values())
        kept = [each for each in own if each.kind is not Parameter.VAR_KEYWORD]
        made = [_option(each) for each in described(of).values() if each.plain and each.flag]
        parameters = [*kept[:-1], *made, kept[-1]]
        command.__signature__ = signature(command).replace(  # type: ignore[attr-defined]
            parameters=[each.replace(kind=Parameter.KEYWORD_ONLY) for each in parameters]
        )
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate


def help_of(name: str, of: type) -> dict[str, Any]:
    """Return the arguments of typer's Option for a field: help, metavar, default and panel."""
    return _said(described(of)[name])


def others(of: type) -> str:
    """Return the names of the fields that have no option of their own."""
    return ", ".join(name for name, each in described(of).items() if not each.flag)


def given_in(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, as plain Python values."""
    given = {name: value for name, value in options.items() if value is not None}
    return {n: str(v) if isinstance(v, StrEnum) else v for n, v in given.items()}


def _option(of: Described) -> Parameter:
    kind: Any = _choices(of) if of.allowed else of.kind
    flag = f"{of.flag}/{of.flag.replace('--', '--no-', 1)}" if kind is bool else of.flag
    annotation = Annotated[kind | None, typer.Option(flag, **_said(of))]
    return Parameter(of.name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _choices(of: Described) -> type[StrEnum]:
    members = {value: value for value in of.allowed}
    return StrEnum(of.name, members)  # type: ignore[return-value]


def _said(of: Described) -> dict[str, Any]:
    default = of.setting.unset if of.default is None else str(of.default)
    if of.kind is bool:
        default = "yes" if of.default else "no"
    return {
        "help": escape(f"{of.setting.tip}."),
        "metavar": of.setting.metavar or None,
        "show_default": default or False,
        "rich_help_panel": PANEL,
    }
