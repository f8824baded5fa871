"""What a field says of itself, and all that comes from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import pytest

from napari_staligner._errors import InputError
from napari_staligner.core.fields import Setting, described, documented


@documented
@dataclass(frozen=True)
class Oven:
    """Settings of an oven."""

    heat: Annotated[float, Setting("Heat", "How hot it gets", above=0, most=300)] = 200.0
    minutes: Annotated[int, Setting("Minutes", "How long it bakes", least=1, flag="--for")] = 40
    fan: Annotated[bool, Setting("Fan", "Whether the air is moved")] = True
    mode: Annotated[Literal["top", "both"], Setting("Mode", "Where heat comes from")] = "both"
    name: Annotated[str | None, Setting("Name", "Of the cake", unset="no name", flag="")] = None
    steps: Annotated[tuple[int, ...] | None, Setting("Steps", "Pauses", unset="none")] = None


FIELDS = described(Oven)


def test_fields_are_described_in_their_order_by_type_and_default():
    said = {n: (f.kind, f.optional, f.allowed, f.default, f.plain) for n, f in FIELDS.items()}
    assert said == {
        "heat": (float, False, (), 200.0, True),
        "minutes": (int, False, (), 40, True),
        "fan": (bool, False, (), True, True),
        "mode": (str, False, ("top", "both"), "both", True),
        "name": (str, True, (), None, True),
        "steps": (tuple, True, (), None, False),
    }
    assert list(said) == list(FIELDS)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("heat", 0, "give a positive number"),
        ("heat", float("nan"), "give a positive number"),
        ("heat", 301, "give at most 300"),
        ("heat", "200", "give a number"),
        ("heat", None, "give a number"),
        ("minutes", 0, "give at least 1"),
        ("minutes", 1.5, "give a whole number"),
        ("fan", "no", "give yes or no"),
        ("mode", "bottom", "choose top or both"),
        ("name", 3, "give a text"),
    ],
)
def test_what_a_field_cannot_be_is_one_sentence(name, value, remedy):
    with pytest.raises(InputError) as caught:
        FIELDS[name].check(value)
    assert str(caught.value) == f"Setting {name!r} is {value!r}: {remedy}."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("heat", 250),
        ("heat", np.float32(0.5)),
        ("minutes", np.int64(3)),
        ("fan", np.True_),
        ("mode", "top"),
        ("name", None),
        ("name", "pie"),
        ("steps", (1, 2)),
    ],
)
def test_what_a_field_can_be_passes(name, value):
    FIELDS[name].check(value)


def test_bounds_on_both_sides_are_said_together():
    sized = replace(FIELDS["minutes"], setting=Setting("", "", least=0, most=9))
    with pytest.raises(InputError, match="give a number from 0 to 9"):
        sized.check(10)
    no_less = replace(FIELDS["minutes"], setting=Setting("", "", least=0))
    with pytest.raises(InputError, match="give 0 or more"):
        no_less.check(-1)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("heat", "1e2", 100.0),
        ("minutes", "7", 7),
        ("fan", "No", False),
        ("mode", "top", "top"),
        ("name", "a pie", "a pie"),
    ],
)
def test_words_are_read_and_options_written(name, text, value):
    read = FIELDS[name].parse(text)
    assert read == value
    assert type(read) is type(value)
    words = FIELDS[name].options(value)
    written = {
        "heat": ["--heat", "100.0"],
        "minutes": ["--for", "7"],
        "fan": ["--no-fan"],
        "mode": ["--mode", "top"],
        "name": ["--set", "name=a pie"],
    }
    assert words == written[name]


def test_what_is_no_such_word_is_refused():
    with pytest.raises(InputError, match="Setting 'minutes' is 'soon': give a whole number"):
        FIELDS["minutes"].parse("soon")
    with pytest.raises(InputError, match="Setting 'fan' is 'on': give yes or no"):
        FIELDS["fan"].parse("on")


def test_what_a_file_holds_gets_the_type_of_the_field():
    for name, kept, value in (("heat", np.float64(9), 9.0), ("fan", np.False_, False)):
        read = FIELDS[name].read(kept)
        assert read == value
        assert type(read) is type(value)
    assert FIELDS["name"].read(None) is None


def test_the_docstring_says_every_field():
    text = Oven.__doc__
    assert text.startswith("Settings of an oven.\n\nParameters\n----------\nheat : float")
    assert "mode : {'top', 'both'}, default 'both'\n    Where heat comes from.\n" in text
    assert "name : str or None, default None\n    Of the cake. None: no name.\n" in text


def test_a_field_that_says_nothing_is_refused():
    @dataclass
    class Silent:
        heat: Annotated[float, Setting("Heat", "How hot it gets")] = 1.0
        time: int = 3

    with pytest.raises(TypeError, match="'time'"):
        described(Silent)
