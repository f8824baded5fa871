"""Settings of an integration from what the shell was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from napari_staligner._errors import InputError
from napari_staligner.cli.options import given_in
from napari_staligner.core.settings import Settings, parse_pair, parse_setting


def chosen_settings(
    named: str | None,
    preset: str | None,
    counts_layer: Sequence[str] | None,
    set_also: Sequence[str] | None,
    options: dict[str, Any],
) -> Settings:
    """Return the settings that options of the shell give.

    Raises
    ------
    InputError
        They contradict each other, or one has a value that cannot be used.
    """
    given = given_in(options) | dict(map(parse_setting, set_also or ()))
    if counts_layer:
        from napari_staligner.core.prepare.counts import parse_counts_layers

        given["counts_layer"] = parse_counts_layers(counts_layer)
    if {"domains", "resolution"} <= set(given):
        raise InputError("Give either --domains or --resolution, not both.")
    settings = Settings().as_named(str(named or "default"))
    settings = settings if preset is None else settings.with_preset(str(preset))
    return replace(settings, **given)


def paired(
    settings: Settings, names: Sequence[str], *, chain: bool, pairs: Sequence[str] | None
) -> Settings:
    """Return the settings with the pairs of slices that were asked for."""
    if chain:
        return replace(settings, pairs=tuple(pairwise(names)))
    if pairs:
        return replace(settings, pairs=tuple(parse_pair(pair, names) for pair in pairs))
    return settings
