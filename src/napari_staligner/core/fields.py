"""Fields of a dataclass that describe themselves.

A field is written ``Annotated[type, Setting(...)]``. Its check, its reading from text and files,
its line in the docstring, its command-line option, and its control with the tip all come from
there: a new setting is one new field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from inspect import cleandoc
from numbers import Integral, Real
from textwrap import wrap
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from napari_staligner._errors import InputError

T = TypeVar("T")

_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Setting:
    """The description of one field, besides its type and default.

    Parameters
    ----------
    label
        Label of its control.
    tip
        What it does, in plain words: the tip of its control, the help of its option, and its
        documentation.
    least, most
        Bounds, which are allowed values; ``None`` for none.
    above
        A lower bound that is not itself allowed.
    unset
        What ``None`` stands for, in a few words.
    titles
        Names of values for people, ``{value: title}``; the control offers them.
    flag
        Command-line option; ``None`` makes it from the name, and an empty string leaves the
        setting to ``--set``.
    metavar
        Name of the value in the command line's help; empty for its type.
    shown
        Range of the control; the bounds if ``None``.
    step, decimals
        Of the control.
    no_control
        Why the form of settings has no control for it; empty if it has one.
    """

    label: str
    tip: str
    least: float | None = None
    most: float | None = None
    above: float | None = None
    unset: str = ""
    titles: Mapping[Any, str] = field(default_factory=dict)
    flag: str | None = None
    metavar: str = ""
    shown: tuple[float, float] | None = None
    step: float = 1
    decimals: int = 2
    no_control: str = ""


@dataclass(frozen=True)
class Described:
    """One field with its type.

    Parameters
    ----------
    name
        Of the field.
    kind
        Its type without ``None``: ``bool``, ``int``, ``float``, ``str``, or another.
    optional
        Whether it may be ``None``.
    allowed
        Its values, if it has only a few.
    default
        Its default.
    setting
        The rest of its description.
    by_slice
        Whether it may instead have a value for each slice, by name.
    """

    name: str
    kind: type
    optional: bool
    allowed: tuple[str, ...]
    default: Any
    setting: Setting
    by_slice: bool = False

    @property
    def plain(self) -> bool:
        """Whether a value is one word, unlike a list of pairs or a value for each slice."""
        return self.kind in _KINDS and not self.by_slice

    @property
    def flag(self) -> str:
        """Command-line option; empty if ``--set`` sets it."""
        own = self.setting.flag
        return f"--{self.name.replace('_', '-')}" if own is None else own

    def check(self, value: Any) -> None:
        """Raise an InputError if the field cannot have this value."""
        remedy = self._remedy(value)
        if remedy:
            raise InputError(f"Setting {self.name!r} is {value!r}: {remedy}.")

    def parse(self, text: str) -> Any:
        """Read a value from a word.

        Raises
        ------
        InputError
            It does not have the type of the field.
        """
        try:
            return _TRUTHS[text.lower()] if self.kind is bool else self.kind(text)
        except (KeyError, ValueError):
            remedy = _KINDS[self.kind].remedy
            raise InputError(f"Setting {self.name!r} is {text!r}: {remedy}.") from None

    def read(self, value: Any) -> Any:
        """Convert a value that was read from a file to the type of the field."""
        if self.by_slice and isinstance(value, Mapping):
            return {str(name): self.kind(of) for name, of in value.items()}
        if self.by_slice and value is not None:
            return self.kind(value)
        return self.kind(value) if self.plain and value is not None else value

    def options(self, value: Any) -> list[str]:
        """Return the command-line words that set a value other than ``None``; none for a list."""
        if self.kind not in _KINDS:
            return []
        if isinstance(value, Mapping):
            return [word for name, of in value.items() for word in (self.flag, f"{name}={of}")]
        if not self.flag:
            return ["--set", f"{self.name}={value}"]
        if self.kind is bool:
            return [self.flag if value else self.flag.replace("--", "--no-", 1)]
        return [self.flag, str(value)]

    def _remedy(self, value: Any) -> str:
        """Say what to give instead of a value; empty if it can be used."""
        if value is None and self.optional:
            return ""
        if self.by_slice and isinstance(value, Mapping):
            return next(filter(None, map(self._remedy, value.values())), "")
        if self.allowed:
            return "" if value in self.allowed else f"choose {_either(self.allowed)}"
        if self.kind in _KINDS and not _KINDS[self.kind].holds(value):
            return _KINDS[self.kind].remedy
        s = self.setting
        if s.above is not None and not value > s.above:
            return "give a positive number" if s.above == 0 else f"give more than {s.above:g}"
        low = s.least is not None and not value >= s.least
        high = s.most is not None and not value <= s.most
        if not low and not high:
            return ""
        if s.least is None:
            return f"give at most {s.most}"
        if s.most is None:
            return "give 0 or more" if s.least == 0 else f"give at least {s.least}"
        return f"give a number from {s.least} to {s.most}"


@dataclass(frozen=True)
class _Kind:
    """A type with values of one word; ``remedy`` says what to give."""

    holds: Callable[[Any], bool]
    remedy: str


_KINDS: Mapping[type, _Kind] = MappingProxyType(
    {
        bool: _Kind(lambda value: value in (True, False), "give yes or no"),
        int: _Kind(lambda value: isinstance(value, Integral), "give a whole number"),
        float: _Kind(lambda value: isinstance(value, Real), "give a number"),
        str: _Kind(lambda value: isinstance(value, str), "give a text"),
    }
)


def described(of: type) -> Mapping[str, Described]:
    """Return the fields of a dataclass by name, in their order.

    Raises
    ------
    TypeError
        A field has no :class:`Setting`.
    """
    return _all_described(of)


@cache
def _all_described(of: type) -> Mapping[str, Described]:
    hints = get_type_hints(of, include_extras=True)
    return MappingProxyType({each.name: _described(each, hints[each.name]) for each in fields(of)})


def _described(of: Any, hint: Any) -> Described:
    said = [each for each in get_args(hint)[1:] if isinstance(each, Setting)]
    if get_origin(hint) is not Annotated or len(said) != 1:
        raise TypeError(f"{of.name!r} is not Annotated with one Setting")
    hint = get_args(hint)[0]
    members = () if get_origin(hint) in (Literal, tuple) else get_args(hint)
    by_slice = any(get_origin(each) is Mapping for each in members)
    kinds = [e for e in members if e is not NoneType and get_origin(e) is not Mapping] or [hint]
    (kind,) = kinds
    allowed = get_args(kind) if get_origin(kind) is Literal else ()
    return Described(
        of.name,
        str if allowed else get_origin(kind) or kind,
        NoneType in members,
        allowed,
        of.default,
        said[0],
        by_slice,
    )


def documented(of: type[T]) -> type[T]:
    """Add the parameters to the docstring of a dataclass."""
    lines = [cleandoc(of.__doc__ or ""), "", "Parameters", "----------"]
    for name, each in described(of).items():
        kind = f"{{{', '.join(map(repr, each.allowed))}}}" if each.allowed else each.kind.__name__
        kind += " or None" if each.optional else ""
        lines.append(f"{name} : {kind}, default {each.default!r}")
        lines += wrap(_sentence(each), 96, initial_indent="    ", subsequent_indent="    ")
    of.__doc__ = "\n".join(lines) + "\n"
    return of


def _sentence(of: Described) -> str:
    """Say what a field does and what ``None`` stands for."""
    tip = of.setting.tip.rstrip(".")
    return f"{tip}. None: {of.setting.unset}." if of.setting.unset else f"{tip}."


def _either(values: tuple[str, ...]) -> str:
    *most, last = values
    return f"{', '.join(most)} or {last}" if most else last
