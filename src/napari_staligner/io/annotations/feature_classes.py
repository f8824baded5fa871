"""Features of GeoJSON, and the classes that QuPath, TissUUmaps, geopandas and others give them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_staligner._errors import InputError
from napari_staligner.core.evaluation.missing import is_missing
from napari_staligner.core.json_text import check_nesting, json_of
from napari_staligner.core.palette import hex_color

_CLASS_KEYS = ("classification", "class", "classes", "label", "annotation", "region", "name")
"""Properties that may hold a class; the first that is not empty is used."""
_COLOR_KEYS = ("color", "colorRGB", "colour", "fill", "stroke")


def read_features(path: Path) -> list[dict[str, Any]]:
    """Features of a file that have a geometry.

    Parameters
    ----------
    path
        A FeatureCollection, a feature, a bare geometry, or a list of any of them.

    Raises
    ------
    InputError
        The file cannot be read, or holds none.
    """
    try:
        content = json_of(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise InputError(
            f"{str(path)!r} is no GeoJSON ({error}): export it again from QuPath or TissUUmaps."
        ) from error
    features = list(_features_in(content))
    if not features:
        raise InputError(f"{str(path)!r} holds no region: export annotations as GeoJSON.")
    return features


def _features_in(content: Any) -> Iterator[dict[str, Any]]:
    # QuPath writes a collection, a bare list or one feature, as the user chose.
    if isinstance(content, list):
        for part in content:
            yield from _features_in(part)
    elif not isinstance(content, Mapping):
        return
    elif isinstance(content.get("features"), list):
        yield from _features_in(content["features"])
    elif content.get("geometry"):
        yield dict(content)
    elif "coordinates" in content or "geometries" in content:
        yield {"geometry": dict(content), "properties": {}}


def properties_of(feature: Mapping[str, Any]) -> dict[str, Any]:
    """Properties of a feature; those written as JSON text are parsed."""
    said = _read_text(feature.get("properties"))
    return dict(said) if isinstance(said, Mapping) else {}


def metadata_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a feature says about itself besides its class, as in our own export."""
    found = _read_text(said.get("metadata"))
    return dict(found) if isinstance(found, Mapping) else {}


def class_of(said: Mapping[str, Any]) -> tuple[str, str]:
    """Name and hex colour of a feature's class.

    Parameters
    ----------
    said
        Properties of the feature. The class is a text, a list of names, or a dictionary with
        ``name`` or ``names`` (QuPath from 0.4 on); any of them may be JSON in a text.

    Returns
    -------
    Both empty if it has none. If a class is derived from others, its names are joined by
    ``": "``, as QuPath shows them.
    """
    by_key = {str(key).casefold(): value for key, value in said.items()}
    for key in _CLASS_KEYS:
        given = _read_text(by_key.get(key))
        name = _name_in(given)
        if name:
            inside = given if isinstance(given, Mapping) else {}
            return name, _color_in(inside) or _color_in(said)
    return "", ""


def _name_in(given: Any) -> str:
    if isinstance(given, Mapping):
        return _name_in(given.get("names")) or _name_in(given.get("name"))
    if isinstance(given, (list, tuple)):
        return ": ".join(filter(None, map(_name_in, given)))
    return "" if isinstance(given, bool) or is_missing(given) else str(given).strip()


def _color_in(said: Mapping[str, Any]) -> str:
    found = (hex_color(said[key])[:7] for key in _COLOR_KEYS if key in said)
    return next(filter(None, found), "")


def _read_text(value: Any) -> Any:
    """The content of a text that is JSON or, as geopandas writes it, a Python dictionary."""
    if not isinstance(value, str) or value.strip()[:1] not in ("{", "[", '"'):
        return value
    for read in (json_of, _literal):
        try:
            return read(value.strip())
        except (ValueError, SyntaxError):
            continue
    return value


def _literal(text: str) -> Any:
    check_nesting(text)
    return ast.literal_eval(text)
