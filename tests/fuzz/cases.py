"""What is tried: recipes that hypothesis draws, small enough to be read and written again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fuzz.harms import HARMS
from fuzz.results import RESULT_TWISTS
from fuzz.samples import SAMPLES
from fuzz.tables import DTYPES, MATRICES, TWISTS
from hypothesis import strategies as st

TARGETS = ("spatialdata", "tissuumaps", "vitessce", "images", "deformation", "slices", "csv")
TO_SLICES = ("info", "session", "graph", "integrate")
TO_RESULT = "info session domains complete evaluate report register annotations numbers".split() + [
    f"export {target}" for target in TARGETS
]


@dataclass(frozen=True)
class Table:
    """A slice that is made, and then twisted.

    Parameters
    ----------
    side, genes, seed
        Side of its square of spots, number of genes, and what all chance follows.
    matrix, dtype
        Kind of its counts.
    twists
        Names of functions of :mod:`fuzz.tables`.
    text, value
        What the twists put into names and slots.
    """

    side: int
    genes: int
    seed: int
    matrix: str = "csr"
    dtype: str = "float32"
    twists: tuple[str, ...] = ()
    text: str = ""
    value: Any = None

    def __hash__(self) -> int:
        return hash(repr(self))


@dataclass(frozen=True)
class Slices:
    """Slices in files, and what is done with them."""

    tables: tuple[Table, ...]
    then: str


@dataclass(frozen=True)
class Result:
    """Integrated slices that somebody has changed, and what is done with them."""

    twists: tuple[tuple[str, int], ...]
    text: str
    value: Any
    then: str

    def __hash__(self) -> int:
        return hash(repr(self))


@dataclass(frozen=True)
class Harm:
    """A damage: its way, and what chance decides about it."""

    way: str
    seed: int


@dataclass(frozen=True)
class Damaged:
    """A sample in the layout of a format, one of whose files is damaged."""

    sample: str
    file: int
    harms: tuple[Harm, ...]


@dataclass(frozen=True)
class Regions:
    """Annotations of others in a file."""

    name: str
    text: str


Case = Slices | Result | Damaged | Regions

# --- strategies

ODD = ["a/b", "../x", "/etc/x", "<b>&amp;</b>", "<svg onload=alert(1)>", "", " ", ".", "..", "nan"]
ODD += ["0", "1.0", "é\u0301", "名", "a\nb", "x" * 300, "[red]x", "a[b=c]", "A", "=1+1", "%s{0}"]
seeds = st.integers(0, 2**16)
texts = st.sampled_from(ODD) | st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8
)
simple = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=True, allow_infinity=True)
    | texts
)
values = st.recursive(
    simple,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
tables = st.builds(
    Table,
    side=st.sampled_from([5, 5, 6, 4, 3, 2, 1]),
    genes=st.sampled_from([30, 30, 24, 45, 2, 1]),
    seed=seeds,
    matrix=st.sampled_from(["csr", "csr", *MATRICES]),
    dtype=st.sampled_from(["float32", "float32", *DTYPES]),
    twists=st.lists(st.sampled_from(sorted(TWISTS)), max_size=3, unique=True).map(tuple),
    text=texts,
    value=values,
)
slices = st.builds(
    Slices,
    st.lists(tables, min_size=1, max_size=3).map(tuple),
    st.sampled_from([*TO_SLICES, "integrate"]),
)
results = st.builds(
    Result,
    st.lists(st.tuples(st.sampled_from(sorted(RESULT_TWISTS)), seeds), min_size=1, max_size=3).map(
        tuple
    ),
    texts,
    values,
    st.sampled_from(TO_RESULT),
)
damaged = st.builds(
    Damaged,
    st.sampled_from(sorted(SAMPLES)),
    st.integers(0, 30),
    st.lists(st.builds(Harm, st.sampled_from(sorted(HARMS)), seeds), min_size=1, max_size=3).map(
        tuple
    ),
)

numbers = st.integers(-50, 120) | st.floats(-50, 120) | simple
points = st.lists(st.lists(numbers, max_size=3), max_size=6)
geometries = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["Polygon", "Polygon", "MultiPolygon", "Point", "LineString", "GeometryCollection"]
        )
        | values,
        "coordinates": st.lists(points, max_size=2)
        | st.lists(st.lists(points, max_size=2), max_size=2)
        | values
        | st.just([[[0, 0], [50, 0], [50, 50], [0, 50], [0, 0]]]),
    }
)
classes = st.fixed_dictionaries({"name": values, "color": values, "names": values}) | values
properties = st.fixed_dictionaries(
    {}, optional={"classification": classes, "slice": texts, "metadata": values, "name": values}
)
features = st.fixed_dictionaries(
    {
        "type": st.just("Feature") | values,
        "geometry": geometries | values,
        "properties": properties | values,
    }
)
collections = (
    st.fixed_dictionaries(
        {"type": st.just("FeatureCollection"), "features": st.lists(features, max_size=3) | values}
    )
    | st.lists(features, max_size=3)
    | features
    | values
)


def _json(content: Any) -> str:
    import json

    return json.dumps(content)


cells = st.sampled_from(["spot1-1", "spot1", "spot2_A", "spot3-A", "A", "B", "barcode", "NA", '"'])
lines = st.lists(st.lists(cells | texts, max_size=4), max_size=5)


def _csv(content: list[list[str]]) -> str:
    return "\n".join(",".join(line) for line in content)


regions = st.builds(Regions, st.just("r.geojson"), collections.map(_json) | texts) | st.builds(
    Regions, st.sampled_from(["r.csv", "r.tsv", "r.csv"]), lines.map(_csv)
)
KINDS: dict[str, st.SearchStrategy[Case]] = {
    "slices": slices,
    "results": results,
    "damaged": damaged,
    "regions": regions,
}
