"""Everything that can be chosen for a run, with the published defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from napari_staligner._errors import InputError

Positives = Literal["random", "nearest"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Settings:
    """Settings of one integration.

    The defaults are ours; :data:`SETTINGS` has those of the paper under ``"published"``.

    Parameters
    ----------
    radius
        Two spots of a slice are neighbours when closer than this, in the units of
        ``obsm["spatial"]``. ``None`` finds, for each slice, the radius that gives about 6.
    n_neighbors
        Neighbours per spot; takes the place of ``radius``.
    n_top_genes
        Highly variable genes taken from each slice before the slices are joined.
    counts_layer
        Layer that holds the raw counts; ``None`` means ``X``.
    components
        The model sees so many principal components of the log-normalised expression; 0 gives it the
        expression itself.
    offsets
        With components: take out of the input what sets matched spots of different slices apart,
        again at every search for matches. Spots without a match have no say in it.
    depth
        With components: take out of the input what changes with sequencing depth from a spot to
        its neighbours on the tissue.
    hidden
        Width H of the hidden layer.
    latent
        Width d of the embedding.
    pretrain_epochs
        Most epochs of reconstruction alone.
    epochs
        Most epochs of reconstruction and triplets, after the pretraining.
    tolerance
        Pretraining ends when the share of the variance that is reconstructed gained less than this
        part of itself in 25 epochs, and alignment when the overlap of the matches with those of the
        search before rose by less; 0 trains all epochs.
    refresh
        Epochs between two searches for mutual nearest neighbours.
    alpha
        Weight of the reconstruction against the triplets, 0..1.
    margin
        Margin of the triplet loss, in units of the embedding.
    mnn_k
        Nearest neighbours looked at in both directions.
    search_spots
        A search for matches compares at most so many spots of a slice, drawn anew each time, and
        of more than 13 slices not every pair; 0 compares all.
    positives
        Which mutual nearest neighbour of an anchor is drawn as its positive.
    pairs
        Pairs of slice names to align; ``None`` takes every pair.
    learning_rate, weight_decay, clip
        Of Adam, with the gradient's norm cut at ``clip``.
    seed
        Seed of everything that is random.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    precision
        Of matrix products: ``"float32"``, ``"bfloat16"``, or ``"auto"``, which takes bfloat16 where
        the processor is made for it.
    domains
        Number of domains for the mixture; ``None`` uses Leiden.
    resolution
        Resolution of Leiden, used when ``domains`` is ``None``.
    smooth
        Replace each domain by the majority among the spot and its spatial neighbours.
    """

    radius: float | None = None
    n_neighbors: int | None = None
    n_top_genes: int = 5000
    counts_layer: str | None = None
    components: int = 100
    offsets: bool = True
    depth: bool = True
    hidden: int = 512
    latent: int = 30
    pretrain_epochs: int = 100
    epochs: int = 160
    tolerance: float = 0.01
    refresh: int = 20
    alpha: float = 0.2
    margin: float = 2.0
    mnn_k: int = 100
    search_spots: int = 5000
    positives: Positives = "random"
    pairs: tuple[tuple[str, str], ...] | None = None
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    clip: float = 5.0
    seed: int = 666
    device: str = "auto"
    precision: Precision = "auto"
    domains: int | None = None
    resolution: float = 1.0
    smooth: bool = False

    def __post_init__(self) -> None:
        _check(self)

    def as_named(self, name: str) -> Settings:
        """Return these settings with the method and schedule of named settings.

        Radius, domains, seed and whatever else the named settings agree on stay as they are.

        Raises
        ------
        InputError
            There are no settings of that name.
        """
        if name not in SETTINGS:
            raise InputError(f"There are no settings {name!r}: choose {' or '.join(SETTINGS)}.")
        return replace(self, **{key: getattr(SETTINGS[name], key) for key in METHOD_FIELDS})

    def name(self) -> str:
        """Name of the settings whose method and schedule these are, or an empty string."""
        for name, named in SETTINGS.items():
            if all(getattr(self, key) == getattr(named, key) for key in METHOD_FIELDS):
                return name
        return ""

    def with_preset(self, name: str) -> Settings:
        """Return these settings with the values of a preset.

        Raises
        ------
        InputError
            There is no preset of that name.
        """
        if name not in PRESETS:
            raise InputError(f"There is no preset {name!r}: choose one of {', '.join(PRESETS)}.")
        return replace(self, **PRESETS[name].values)


@dataclass(frozen=True)
class Preset:
    """Settings that suit a technology.

    Parameters
    ----------
    title
        Name for people.
    reason
        Why these values, in one sentence.
    values
        Fields of :class:`Settings` that differ from the defaults.
    """

    title: str
    reason: str
    values: Mapping[str, Any] = field(default_factory=dict)


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "visium": Preset(
            "Visium",
            "A few thousand large spots per slice: 50 nearest neighbours are already local.",
            {"mnn_k": 50},
        ),
        "slide-seq": Preset(
            "Slide-seq",
            "Scattered 10 µm beads with few counts each: the published 100 nearest neighbours.",
            {"mnn_k": 100},
        ),
        "stereo-seq": Preset(
            "Stereo-seq",
            "A square grid of bins: neighbours are the 8 around a bin, 100 nearest in z.",
            {"mnn_k": 100},
        ),
        "imaging": Preset(
            "Imaging-based (MERFISH, Xenium)",
            "Panels of some hundred genes, all of them informative: no gene is left out.",
            {"mnn_k": 100, "n_top_genes": 100_000},
        ),
    }
)


def parse_setting(text: str) -> tuple[str, Any]:
    """Read ``NAME=VALUE``, the value as the type of the setting.

    Raises
    ------
    InputError
        There is no such setting that a value can be given to, or the value is not of its type.
    """
    name, _, value = text.partition("=")
    defaults = {key: value for key, value in asdict(Settings()).items() if value is not None}
    kinds: dict[str, type] = {key: type(value) for key, value in defaults.items()}
    if name not in kinds:
        raise InputError(
            f"There is no setting {name!r} to give as NAME=VALUE: choose {', '.join(kinds)}."
        )
    truths = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        parsed = truths[value.lower()] if kinds[name] is bool else kinds[name](value)
    except (KeyError, ValueError):
        kind = {bool: "yes or no", int: "a whole number", float: "a number"}[kinds[name]]
        raise InputError(f"Setting {name!r} is {value!r}: give {kind}.") from None
    return name, parsed


def parse_pair(text: str, names: Sequence[str]) -> tuple[str, str]:
    """Read ``SLICE:SLICE``; a name may hold a colon.

    Raises
    ------
    InputError
        These are not two of the slices.
    """
    words = text.split(":")
    for at in range(1, len(words)):
        pair = ":".join(words[:at]), ":".join(words[at:])
        if set(pair) <= set(names):
            return pair
    there = ", ".join(map(repr, names))
    raise InputError(f"{text!r} is no pair of slices: give two of {there} as FIRST:SECOND.")


def _check(s: Settings) -> None:
    """Raise an InputError that names the first setting that cannot be used."""
    rules = (
        (s.radius is None or s.radius > 0, "radius", s.radius, "give a positive distance"),
        (
            s.n_neighbors is None or s.n_neighbors > 0,
            "n_neighbors",
            s.n_neighbors,
            "give at least 1",
        ),
        (
            s.radius is None or s.n_neighbors is None,
            "radius",
            s.radius,
            "give either a radius or a number of neighbours, not both",
        ),
        (s.n_top_genes >= 1, "n_top_genes", s.n_top_genes, "give at least 1"),
        (s.components >= 0, "components", s.components, "give 0 or more"),
        (s.tolerance >= 0, "tolerance", s.tolerance, "give 0 or more"),
        (
            s.precision in ("auto", "float32", "bfloat16"),
            "precision",
            s.precision,
            "choose auto, float32 or bfloat16",
        ),
        (s.hidden >= 1, "hidden", s.hidden, "give at least 1"),
        (s.latent >= 1, "latent", s.latent, "give at least 1"),
        (s.pretrain_epochs >= 0, "pretrain_epochs", s.pretrain_epochs, "give 0 or more"),
        (s.epochs >= 0, "epochs", s.epochs, "give 0 or more"),
        (s.pretrain_epochs + s.epochs >= 1, "epochs", s.epochs, "train for at least 1 epoch"),
        (s.refresh >= 1, "refresh", s.refresh, "give at least 1"),
        (0 <= s.alpha <= 1, "alpha", s.alpha, "give a weight from 0 to 1"),
        (s.margin >= 0, "margin", s.margin, "give 0 or more"),
        (s.mnn_k >= 1, "mnn_k", s.mnn_k, "give at least 1"),
        (s.search_spots >= 0, "search_spots", s.search_spots, "give 0 or more"),
        (
            s.positives in ("random", "nearest"),
            "positives",
            s.positives,
            "choose 'random' or 'nearest'",
        ),
        (s.learning_rate > 0, "learning_rate", s.learning_rate, "give a positive number"),
        (s.weight_decay >= 0, "weight_decay", s.weight_decay, "give 0 or more"),
        (s.clip > 0, "clip", s.clip, "give a positive number"),
        (0 <= s.seed < 2**32, "seed", s.seed, "give a number from 0 to 4294967295"),
        (
            s.device.split(":")[0] in ("auto", "cpu", "cuda"),
            "device",
            s.device,
            "choose auto, cpu or cuda",
        ),
        (s.domains is None or s.domains >= 2, "domains", s.domains, "give at least 2"),
        (s.resolution > 0, "resolution", s.resolution, "give a positive number"),
    )
    for holds, name, value, remedy in rules:
        if not holds:
            raise InputError(f"Setting {name!r} is {value!r}: {remedy}.")


SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "default": Settings(),
        "published": Settings(
            components=0,
            offsets=False,
            depth=False,
            pretrain_epochs=500,
            epochs=500,
            tolerance=0.0,
            refresh=100,
            alpha=0.5,
            margin=1.0,
            search_spots=0,
            learning_rate=1e-3,
            precision="float32",
        ),
    }
)
"""Named settings: ours, and the paper's method and schedule."""

METHOD_FIELDS: tuple[str, ...] = tuple(
    each.name
    for each in fields(Settings)
    if len({getattr(named, each.name) for named in SETTINGS.values()}) > 1
)
"""What the named settings differ in."""
