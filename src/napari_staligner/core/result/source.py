r"""Where a slice came from, and how it is written as text.

``FILE`` alone, or followed by choices in brackets: ``FILE[NAME]`` is the slice of that name,
``FILE[KEY=VALUE]`` is a column of ``obs`` and its value, or a choice that the format offers
(``outs[bin=008um]``). Several are separated by commas. A text with a bracket, a comma, an equals
sign, a quotation mark or blanks at its ends is put in double quotes, with a backslash before
``"`` and ``\``: ``joint.h5ad[sample="liver [1]"]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from napari_staligner._errors import InputError

COUNTS = "counts"
"""The choice that names the layer with the counts of a slice; no column may have this name."""


@dataclass(frozen=True)
class Source:
    """Where a slice came from.

    Parameters
    ----------
    path
        The file, absolute; ``sample:<slice>`` for a simulated one.
    sha256
        Of the file's content when it was read, hexadecimal; empty for a simulated one.
    slice
        Name of the slice, if the file has several; empty if none is named.
    choices
        The other choices: a column of ``obs`` and the slice's value there, or a choice that the
        format of the file offers.
    """

    path: str
    sha256: str = ""
    slice: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_spec(cls, text: str) -> Source:
        """Read a text from :meth:`spec`; text without such brackets is just a path.

        Raises
        ------
        InputError
            The brackets name two slices, or choose one thing twice.
        """
        path, items = _split(text)
        return cls(path, "", *_chosen(text, items))

    def spec(self) -> str:
        """Return it as text for the command line; see the module."""
        plain = f"{self.path}{self.part()}"
        # A path that itself looks like one with brackets gets empty ones.
        return plain if _split(plain)[0] == self.path else f"{plain}[]"

    def part(self) -> str:
        """Return the brackets of :meth:`spec`; empty if the file is one slice."""
        words = [_quoted(self.slice)] if self.slice else []
        words += [f"{_quoted(key)}={_quoted(value)}" for key, value in self.choices.items()]
        return f"[{','.join(words)}]" if words else ""


def _chosen(text: str, items: list[tuple[str, str | None]]) -> tuple[str, dict[str, str]]:
    names = [key for key, value in items if value is None]
    if len(names) > 1:
        raise InputError(
            f"{text!r} names two slices, {names[0]!r} and {names[1]!r}: give the file once for "
            'each, or put a name that holds a comma in double quotes, as FILE["left, top"].'
        )
    choices: dict[str, str] = {}
    for key, value in items:
        if value is None:
            continue
        if key in choices:
            raise InputError(f"{text!r} chooses {key!r} twice: give one value.")
        choices[key] = value
    return (names[0] if names else ""), choices


_QUOTED = r'"(?:[^"\\]|\\["\\])*"'
_PLAIN = r'[^"=,]*'
_ITEM = re.compile(rf"\s*(?P<key>{_QUOTED}|{_PLAIN})\s*(?:=\s*(?P<value>{_QUOTED}|[^\",]*))?\s*")


def _split(text: str) -> tuple[str, list[tuple[str, str | None]]]:
    """The path, and the keys and values in the longest valid brackets at its end."""
    for bracket in re.finditer(r"(?<=.)\[", text) if text.endswith("]") else ():
        items = _items(text[bracket.end() : -1])
        if items is not None:
            return text[: bracket.start()], items
    return text, []


def _items(inside: str) -> list[tuple[str, str | None]] | None:
    """Keys and values between brackets; ``None`` if the text does not have that form."""
    if not inside.strip():
        return []
    found, at = [], 0
    for match in _matches(inside):
        key, value = match["key"].strip(), match["value"]
        value = None if value is None else value.strip()
        if not key or not all(map(_balanced, (key, value or ""))):
            return None
        found.append((_unquoted(key), None if value is None else _unquoted(value)))
        at = match.end()
    return found if at == len(inside) else None


def _matches(inside: str) -> Iterator[re.Match[str]]:
    at = 0
    while match := _ITEM.match(inside, at):
        yield match
        if inside[match.end() : match.end() + 1] != ",":
            return
        at = match.end() + 1


def _balanced(word: str) -> bool:
    """Whether the brackets in a word without quotes are balanced."""
    depth = 0
    for letter in "" if word.startswith('"') else word:
        depth += (letter == "[") - (letter == "]")
        if depth < 0:
            return False
    return depth == 0


def _quoted(word: str) -> str:
    if word and word == word.strip() and not re.search(r'[\[\]=,"]', word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word
