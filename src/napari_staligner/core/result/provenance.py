"""Where slices came from, and the command that reproduces a result."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.fields import described
from napari_staligner.core.result.access import record_of, writable_record
from napari_staligner.core.result.source import Source
from napari_staligner.core.settings import Settings

if TYPE_CHECKING:
    from anndata import AnnData

SAMPLE = "sample:"
"""Start of the path of a slice that was simulated; its name follows."""

PACKAGES = ("numpy", "scipy", "torch", "torch-geometric", "anndata", "scanpy", "squidpy")
"""Packages whose versions are recorded, because results depend on them."""

BEFORE = {"ranked": False, "wide": False}
"""What old runs did that do not record it, because it was not a choice then."""


def mark_source(adata: AnnData, source: Source) -> None:
    """Write where a slice came from to ``uns["staligner_source"]``."""
    adata.uns[K.SOURCE] = _kept(source)


def source_of(adata: AnnData) -> Source | None:
    """Where a slice came from; ``None`` if it was made in memory."""
    return source_of_record(adata.uns.get(K.SOURCE))


def source_of_record(kept: object) -> Source | None:
    """Read a source as it was written; ``None`` if there is none."""
    if not isinstance(kept, Mapping) or not kept.get("path"):
        return None
    path, sha256 = str(kept["path"]), str(kept.get("sha256", ""))
    if kept.get("key"):
        # The oldest form: one column and its value.
        return Source(path, sha256, choices={str(kept["key"]): str(kept.get("value", ""))})
    return replace(Source.from_spec(f"FILE{kept.get('part', '')}"), path=path, sha256=sha256)


def _kept(source: Source) -> dict[str, str]:
    """A source as written to a file: names and columns may hold signs that HDF5 keys may not."""
    return {"path": source.path, "sha256": source.sha256, "part": source.part()}


def record_provenance(adata: AnnData, slices: Sequence[tuple[str, AnnData]]) -> None:
    """Write where the slices of a result came from, and when and with what it was made.

    Parameters
    ----------
    adata
        Integrated slices; sets ``uns["staligner"]["provenance"]``.
    slices
        Name and AnnData of each.
    """
    import torch

    record_sources(adata, {name: source_of(each) for name, each in slices})
    record = writable_record(adata)[K.PROVENANCE]
    record |= {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
    }


def record_sources(adata: AnnData, sources: Mapping[str, Source | None]) -> None:
    """Write where the slices of a result came from, as far as it is known.

    Parameters
    ----------
    adata
        Integrated slices; sets ``uns["staligner"]["provenance"]["sources"]``.
    sources
        Of each slice.
    """
    kept = {name: _kept(source) for name, source in sources.items() if source}
    writable_record(adata).setdefault(K.PROVENANCE, {})["sources"] = kept


def sources_of(adata: AnnData) -> dict[str, Source]:
    """Where the slices of a result came from, as far as it is known."""
    kept = record_of(adata).get(K.PROVENANCE, {}).get("sources", {})
    found = {str(name): source_of_record(source) for name, source in kept.items()}
    return {name: source for name, source in found.items() if source is not None}


def settings_of(adata: AnnData) -> Settings:
    """Settings that a result was made with, as it records them."""
    kept = dict(record_of(adata).get("params", {}))
    if "components" in kept:
        kept = BEFORE | kept
    # A setting of None is not recorded, because None is its default.
    values = {
        name: each.read(kept[name]) if name in kept else each.default
        for name, each in described(Settings).items()
    }
    if "pairs" in kept:
        rows = np.asarray(kept["pairs"], dtype=object).reshape(-1, 2)
        values["pairs"] = tuple((str(a), str(b)) for a, b in rows)
    return Settings(**values)


def shell_command(
    adata: AnnData, output: str = "integrated.h5ad", *, file: str | None = None
) -> str:
    """Return the command that reproduces a result.

    Parameters
    ----------
    adata
        Integrated slices.
    output
        The file that the command writes.
    file
        The file that holds this result, which tells of spots that were excluded in a window;
        ``None`` if that is ``output``.

    Returns
    -------
    One line for a POSIX shell; on the same machine it gives bitwise the same embedding. Empty if a
    slice came from memory, or the embedding from another program.
    """
    names = [str(name) for name in adata.obs[K.SLICE].cat.categories]
    sources = sources_of(adata)
    if set(names) - set(sources) or K.ADOPTED in record_of(adata):
        return ""
    words = ["napari-staligner", "integrate", *(sources[name].spec() for name in names)]
    by = record_of(adata).get(K.EXCLUDED_BY)
    excluded = [] if by is None else ["--exclude", str(by) or file or output]
    return shlex.join([*words, "-o", output, *options_of(settings_of(adata), names), *excluded])


def options_of(settings: Settings, names: Sequence[str]) -> list[str]:
    """Return the command-line options that give these settings.

    Parameters
    ----------
    settings
        The settings.
    names
        Of the slices, in their order.
    """
    base = settings.name() or "default"
    named = Settings().as_named(base)
    words = ["--settings", base, "--seed", str(settings.seed)]
    for name, each in described(Settings).items():
        value = getattr(settings, name)
        if name != "seed" and value != getattr(named, name):
            words += each.options(value)
    if settings.domains is not None and "--resolution" in words:
        # Leiden's alone, and not looked at.
        at = words.index("--resolution")
        del words[at : at + 2]
    if settings.pairs is not None:
        words += _pair_options(settings.pairs, names)
    return words


def _pair_options(pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> list[str]:
    if list(pairs) == list(pairwise(names)):
        return ["--chain"]
    return [word for first, second in pairs for word in ("--pair", f"{first}:{second}")]


def package_versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    found = {}
    for package in ("napari-staligner", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
