"""Everything that can be chosen for a run, with the published defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal

from napari_staligner._errors import InputError
from napari_staligner.core.fields import Setting, described, documented

Positives = Literal["random", "nearest"]
Precision = Literal["auto", "float32", "bfloat16"]

RANKED_GENES, GENES_OF_EACH = 2000, 5000
"""Default numbers of variable genes: ranked over the slices, and of each slice."""

# Why the dock has no control for a setting.
_BY_NAME = "Default and Published, the settings by name, choose it."
_FIXED = "One value suits all slices."


@documented
@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one integration.

    The defaults are ours; :data:`SETTINGS` has those of the paper under ``"published"``. Forms and
    the help of the shell show the fields in this order.
    """

    domains: Annotated[
        int | None,
        Setting(
            "Domains",
            "Number of domains over all slices, found by a Gaussian mixture",
            unset="as many as Leiden finds",
            least=2,
            shown=(2, 60),
            metavar="K",
        ),
    ] = None
    resolution: Annotated[
        float,
        Setting(
            "Resolution",
            "Resolution of Leiden, which is used without a number of domains: higher finds more",
            above=0,
            shown=(0.05, 10),
            step=0.1,
        ),
    ] = 1.0
    smooth: Annotated[
        bool,
        Setting(
            "Smooth",
            "Replace each domain by the majority among the spot and its spatial neighbours",
            no_control="The Domains dock does it after a run, and can take it back.",
        ),
    ] = False
    averaged: Annotated[
        bool,
        Setting(
            "Averaged",
            "With a number of domains: find them in the mean of the embedding over a spot and its "
            "neighbours, in slices with enough spots",
            flag="",
            no_control=_BY_NAME,
        ),
    ] = True
    seed: Annotated[
        int,
        Setting(
            "Seed",
            "Seed of all that is random. Same seed, data and machine: same result",
            least=0,
            most=2**32 - 1,
        ),
    ] = 666
    radius: Annotated[
        float | None,
        Setting(
            "Radius",
            "Two spots of a slice are neighbours when closer than this, in the units of "
            'obsm["spatial"]',
            unset="found for each slice, about 6 neighbours",
            above=0,
            no_control="The Slices dock has it, next to the graph that it makes.",
        ),
    ] = None
    n_neighbors: Annotated[
        int | None,
        Setting(
            "Neighbours",
            "Neighbours per spot, instead of a radius",
            unset="by the radius",
            least=1,
            flag="--neighbors",
            metavar="K",
            no_control="The Slices dock has it, next to the graph that it makes.",
        ),
    ] = None
    pairs: Annotated[
        tuple[tuple[str, str], ...] | None,
        Setting(
            "Pairs",
            "Pairs of slices that are searched for matching spots",
            unset="every pair",
            flag="--pair",
            metavar="SLICE:SLICE",
            no_control="It has a list that follows the slices, at the end of the form.",
        ),
    ] = None
    pretrain_epochs: Annotated[
        int,
        Setting(
            "Pretraining",
            "Most epochs in which the embedding only learns to reconstruct the genes",
            least=0,
            shown=(0, 100_000),
            step=50,
        ),
    ] = 100
    epochs: Annotated[
        int,
        Setting(
            "Epochs",
            "Most epochs after the pretraining, in which matching spots of the slices are pulled "
            "together",
            least=0,
            shown=(0, 100_000),
            step=50,
        ),
    ] = 160
    tolerance: Annotated[
        float,
        Setting(
            "Tolerance",
            "Pretraining ends when the explained share of the variance grew by less than this part "
            "of itself in 25 epochs, alignment when the overlap of the matches with those of the "
            "search before rose by less; 0 trains all epochs",
            least=0,
            flag="",
            no_control=_BY_NAME,
        ),
    ] = 0.01
    refresh: Annotated[
        int,
        Setting("Refresh", "Epochs between two searches for matches", least=1, no_control=_BY_NAME),
    ] = 20
    alpha: Annotated[
        float,
        Setting(
            "α",
            "Weight of reconstructing the genes against pulling the slices together, 0 to 1: lower "
            "mixes them more, higher keeps the structure of each",
            least=0,
            most=1,
            step=0.05,
        ),
    ] = 0.2
    margin: Annotated[
        float,
        Setting(
            "Margin",
            "How much nearer, in units of the embedding, a spot has to be to its match than to a "
            "random spot of its own slice; 2.5 if the slices differ strongly",
            least=0,
            shown=(0, 100),
            step=0.5,
        ),
    ] = 2.0
    mnn_k: Annotated[
        int,
        Setting(
            "MNN k",
            "Two spots match when each is among the k nearest of the other in the embedding",
            least=1,
            shown=(1, 1000),
            step=10,
        ),
    ] = 100
    search_spots: Annotated[
        int,
        Setting(
            "Search spots",
            "A search for matches compares at most this many spots of a slice, drawn anew each "
            "time, and with more than 13 slices not every pair; 0 compares all",
            least=0,
            flag="",
            no_control=_BY_NAME,
        ),
    ] = 5000
    learning_rate: Annotated[
        float,
        Setting(
            "Learning rate",
            "Size of a training step of Adam; lower it if the loss jumps",
            above=0,
            shown=(1e-5, 1),
            step=5e-4,
            decimals=5,
        ),
    ] = 3e-3
    weight_decay: Annotated[
        float,
        Setting("Weight decay", "Weight decay of Adam", least=0, flag="", no_control=_FIXED),
    ] = 1e-4
    clip: Annotated[
        float,
        Setting(
            "Clip",
            "A gradient with a larger norm is scaled down to this",
            above=0,
            flag="",
            no_control=_FIXED,
        ),
    ] = 5.0
    hidden: Annotated[
        int, Setting("Hidden", "Width of the hidden layer", least=1, shown=(1, 8192), step=64)
    ] = 512
    latent: Annotated[
        int, Setting("Latent", "Width of the embedding", least=1, flag="", no_control=_FIXED)
    ] = 30
    n_top_genes: Annotated[
        int | None,
        Setting(
            "Genes",
            "How many of the most variable genes that all slices share are used",
            unset="the 2,000 that rank highest over the slices; published: those among the top "
            "5,000 of each slice",
            least=1,
            shown=(1, 100_000),
            step=500,
            flag="--genes",
        ),
    ] = None
    ranked: Annotated[
        bool,
        Setting(
            "Ranked genes",
            "Choose genes by their rank over all slices, not in each slice separately",
            flag="",
            no_control=_BY_NAME,
        ),
    ] = True
    components: Annotated[
        int,
        Setting(
            "Components",
            "How many principal components of the log-normalised expression the model sees; 0 "
            "gives it the expression itself",
            least=0,
            flag="",
            no_control=_BY_NAME,
        ),
    ] = 100
    offsets: Annotated[
        bool,
        Setting(
            "Offsets",
            "With components: remove from the input the difference between matched spots of "
            "different slices, again at every search for matches. Spots without a match do not "
            "count",
            flag="",
            no_control=_BY_NAME,
        ),
    ] = True
    depth: Annotated[
        bool,
        Setting(
            "Depth",
            "With components: remove from the input what changes with sequencing depth between a "
            "spot and its neighbours on the tissue",
            flag="",
            no_control=_BY_NAME,
        ),
    ] = True
    wide: Annotated[
        bool,
        Setting(
            "Wide input",
            "With components: the model sees the mean of a spot's surroundings on the tissue in "
            "addition to the spot itself",
            flag="",
            no_control=_BY_NAME,
        ),
    ] = True
    positives: Annotated[
        Positives,
        Setting(
            "Positives",
            "Which of its matches a spot is pulled towards",
            titles={"random": "Random match", "nearest": "Nearest match"},
        ),
    ] = "random"
    device: Annotated[
        str,
        Setting(
            "Device",
            "Where to compute; automatic takes a GPU if there is one",
            titles={"auto": "Automatic", "cpu": "CPU", "cuda": "GPU (CUDA)"},
            metavar="auto|cpu|cuda",
        ),
    ] = "auto"
    precision: Annotated[
        Precision,
        Setting(
            "Precision",
            "Of matrix products; auto takes bfloat16 if the processor supports it natively",
            flag="",
            no_control=_BY_NAME,
        ),
    ] = "auto"
    counts_layer: Annotated[
        str | Mapping[str, str] | None,
        Setting(
            "Counts in",
            "Where the raw counts are: in X or in a layer; if slices differ, a layer for each",
            unset="X",
            titles={None: "X"},
            metavar="LAYER|SLICE=LAYER",
        ),
    ] = None
    all_spots: Annotated[
        bool,
        Setting(
            "All spots",
            "Keep spots off the tissue (in_tissue of obs) and spots without counts, which are left "
            "out otherwise",
        ),
    ] = False

    def __post_init__(self) -> None:
        _check(self)

    def as_named(self, name: str) -> Settings:
        """Return these settings with the method and schedule of named settings.

        Radius, domains, seed and all else that the named settings have in common stay as they are.

        Raises
        ------
        InputError
            There are no settings of that name.
        """
        if name not in SETTINGS:
            raise InputError(f"There are no settings {name!r}: choose {' or '.join(SETTINGS)}.")
        return replace(self, **{key: getattr(SETTINGS[name], key) for key in METHOD_FIELDS})

    @property
    def genes_wanted(self) -> int:
        """How many variable genes: over all slices if they are ranked so, else of each slice."""
        return self.n_top_genes or (RANKED_GENES if self.ranked else GENES_OF_EACH)

    def name(self) -> str:
        """Name of the settings with this method and schedule, or an empty string."""
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
            "Panels of a few hundred genes, all informative: no gene is left out.",
            {"mnn_k": 100, "n_top_genes": 100_000},
        ),
    }
)


def parse_setting(text: str) -> tuple[str, Any]:
    """Read ``NAME=VALUE``; the value gets the type of the setting.

    Raises
    ------
    InputError
        There is no such setting that can be given so, or the value does not have its type.
    """
    name, _, value = text.partition("=")
    known = {key: each for key, each in described(Settings).items() if each.plain}
    if name not in known:
        raise InputError(
            f"There is no setting {name!r} to give as NAME=VALUE: choose {', '.join(known)}."
        )
    return name, known[name].parse(value)


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
    for name, each in described(type(s)).items():
        each.check(getattr(s, name))
    rules = (
        (
            s.radius is None or s.n_neighbors is None,
            "radius",
            "give either a radius or a number of neighbours, not both",
        ),
        (s.pretrain_epochs + s.epochs >= 1, "epochs", "train for at least 1 epoch"),
        (
            s.device.split(":")[0] in ("auto", "cpu", "cuda"),
            "device",
            "choose auto, cpu or cuda",
        ),
    )
    for holds, name, remedy in rules:
        if not holds:
            raise InputError(f"Setting {name!r} is {getattr(s, name)!r}: {remedy}.")


SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "default": Settings(),
        "published": Settings(
            ranked=False,
            components=0,
            offsets=False,
            depth=False,
            wide=False,
            averaged=False,
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
"""The fields in which the named settings differ."""
