"""Tables of the command line, and how they are printed if wider than the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from rich.table import Column as RichColumn
from rich.table import Table as RichTable
from rich.text import Text

from napari_staligner import _keys as K
from napari_staligner._errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray
    from rich.console import Console

    from napari_staligner.core.annotations.annotations import Annotations
    from napari_staligner.core.domains.number import NumberStability
    from napari_staligner.core.evaluation.evaluation import Evaluation
    from napari_staligner.core.evaluation.runs import Runs
    from napari_staligner.core.result.overlap import Overlap

WIDEST = 100_000
"""Width outside a terminal: the command that reproduces a result names all its files."""
_EDGE = 3
"""Number of characters between two columns."""


@dataclass(frozen=True)
class Table:
    """Rows of texts.

    Parameters
    ----------
    title
        Title above the table.
    names
        Headings of the first columns, which name the rows; they are repeated in every part.
    columns
        Headings of the other columns.
    rows
        One text per heading.
    """

    title: str
    names: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def show(console: Console, table: Table) -> None:
    """Print a table; if it is too wide, in several parts below each other.

    Parameters
    ----------
    console
        Where to print.
    table
        What to print.
    """
    for part in _parts(table, console.width):
        console.print(part)


def _parts(table: Table, width: int) -> Iterator[RichTable]:
    n = len(table.names)
    cells = list(zip(*table.rows, strict=True)) or [()] * (n + len(table.columns))
    widths = [
        max(map(len, [*texts, *(heading.split() if k >= n else [heading])]), default=0) + _EDGE
        for k, (heading, texts) in enumerate(
            zip([*table.names, *table.columns], cells, strict=True)
        )
    ]
    free = width - sum(widths[:n]) - 1
    for part in _fitting(widths[n:], free):
        made = RichTable(title=table.title)
        for heading in table.names:
            made.add_column(Text(heading), overflow="fold")
        for k in part:
            made.add_column(Text(table.columns[k]), justify="right", width=widths[n + k] - _EDGE)
        for row in table.rows:
            made.add_row(*map(Text, [*row[:n], *(row[n + k] for k in part)]))
        yield made


def _fitting(widths: Sequence[int], free: int) -> Iterator[list[int]]:
    """Numbers of the columns of each part: as many as fit, at least one."""
    part: list[int] = []
    for k, width in enumerate(widths):
        if part and sum(widths[i] for i in part) + width > free:
            yield part
            part = []
        part.append(k)
    yield part


def domain_table(result: AnnData) -> Table:
    """Spots by domain and slice, and which domains are in one slice only."""
    import pandas as pd

    from napari_staligner.core.domains.presence import presence_of

    counts = pd.crosstab(result.obs[K.DOMAIN], result.obs[K.SLICE])
    tested = presence_of(result)
    specific = {} if tested is None else tested.specific()
    names, columns = ["domain"], list(map(str, counts.columns))
    rows = [[str(domain), *map(str, row)] for domain, row in counts.iterrows()]
    if specific:
        names.append("only in")
        for row in rows:
            row.insert(1, str(specific[row[0]].slice) if row[0] in specific else "")
    return Table("Spots by domain and slice", names, columns, rows)


def figure_tables(found: Evaluation) -> Iterator[Table]:
    """Overall figures with a column per embedding; by pair and by slice, a column per figure."""
    from napari_staligner.core.evaluation.baselines import TITLES
    from napari_staligner.core.evaluation.metrics import METRICS, SCOPES

    frame = found.to_frame()
    titles = {key: TITLES.get(key, key) for key in found.figures}
    against = "" if found.labels is None else f", against obs {found.labels}"
    for scope, title in SCOPES.items():
        part = frame[frame["scope"] == scope]
        metrics = [key for key in METRICS if key in set(part["metric"])]
        if not metrics:
            continue
        heads = [
            f"{METRICS[m].title} {'↑' if METRICS[m].higher_is_better else '↓'}" for m in metrics
        ]
        if scope == "overall":
            wide = part.pivot(index="metric", columns="embedding", values="value")
            rows = [
                [head, *(_figure(wide.loc[metric, key]) for key in titles)]
                for metric, head in zip(metrics, heads, strict=True)
            ]
            yield Table(title + against, ["figure"], list(titles.values()), rows)
            continue
        rows = []
        for (first, second, key), group in part.groupby(
            ["first", "second", "embedding"], sort=False
        ):
            values = group.set_index("metric")["value"].reindex(metrics)
            name = f"{first} – {second}" if second else first
            rows.append([name, titles[key], *map(_figure, values)])
        names = ["slices" if scope == "pair" else scope, "embedding"]
        yield Table(title + against, names, heads, rows)


def _figure(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def run_tables(found: Runs) -> Iterator[Table]:
    """A row for each run with its figures, their mean and spread; then who agrees with whom."""
    from napari_staligner.core.evaluation.metrics import METRICS
    from napari_staligner.core.evaluation.runs import AGREEMENT

    own = {"domains": "domains", AGREEMENT: "ARI of runs"}
    heads = [own.get(key) or METRICS[key].title for key in found.figures]
    rows = [[str(name), *map(_figure, row)] for name, row in found.figures.T.items()]
    rows += [[str(name), *map(_figure, row)] for name, row in found.spread.T.items()]
    yield Table("Runs", ["run"], heads, rows)
    if len(found.agreement) > 1:
        rows = [[str(name), *map(_figure, row)] for name, row in found.agreement.T.items()]
        columns = [*map(str, found.agreement)]
        yield Table("Agreement of the domains of two runs (ARI)", ["run"], columns, rows)


def number_table(found: Sequence[NumberStability]) -> Table:
    """How alike the domains of two halves of the tissue are, for each number of domains."""
    rows = [
        [str(one.domains), f"{one.mean:.3f}", f"{one.sd:.3f}", f"{one.kept:.1%}"] for one in found
    ]
    columns = ("mean", "sd", "spots that keep their domain")
    return Table("Agreement of two halves (ARI)", ("domains",), columns, rows)


def overlap_tables(result: AnnData, found: Overlap) -> Iterator[Table]:
    """Where slices overlap, and what residuals and domains are there."""
    shares = found.shares()
    rows = [[str(name), *(f"{share:.0%}" for share in row)] for name, row in shares.iterrows()]
    columns = list(map(str, shares.columns))
    yield Table("Share of the spots on tissue of", ["slice"], columns, rows)
    common = found.common
    if not common.any():
        return
    if K.RESIDUAL in result.obs:
        yield residual_table(result, common)
    if K.DOMAIN in result.obs:
        yield _presence_table(result, common)


def _presence_table(result: AnnData, within: NDArray[np.bool_]) -> Table:
    """Shares of the domains of each slice where slices overlap, with the verdict of the test."""
    from napari_staligner.core.domains.presence import domain_presence

    tested = domain_presence(result, within)
    names = list(dict.fromkeys(row.slice for row in tested.rows))
    rows: dict[str, list[str]] = {}
    for row in tested.rows:
        said = "" if row.verdict == "shared" else f" {row.verdict}"
        rows.setdefault(row.label, [row.label]).append(f"{row.share:.0%}{said}")
    title = "Share of the domains where slices overlap"
    return Table(title, ["domain"], names, list(rows.values()))


def residual_table(result: AnnData, within: NDArray[np.bool_] | None = None) -> Table:
    """How far apart slices still are after registration.

    Parameters
    ----------
    result
        Registered slices.
    within
        Only these spots, bool, shape (spots,); ``None`` takes all.
    """
    from napari_staligner.core.result.access import record_of

    bending = record_of(result).get("registration", {}).get("bending", {})
    rows = []
    part = result.obs if within is None else result.obs[within]
    for name, values in part[K.RESIDUAL].groupby(part[K.SLICE], observed=False):
        share = f"{values.notna().mean():.0%}"
        figures = [f"{values.quantile(q):.2f}" if values.notna().any() else "–" for q in (0.5, 0.9)]
        bent = f"{bending[name]:.2g}" if name in bending else "–"
        rows.append([str(name), *figures, share, bent])
    columns = ["median", "90 %", "compared", "bending"]
    where = "" if within is None else ", where slices overlap"
    return Table(f"Residuals in spot spacings{where}", ["slice"], columns, rows)


def trust_table(result: AnnData) -> Table:
    """How far each registered pair of slices is to be trusted."""
    from napari_staligner.core.registration.trust import PairTrust
    from napari_staligner.core.result.access import record_of

    kept = record_of(result)["registration"]
    rows = [
        [f"{first} – {second}", f"{one.p:.3f}", f"{one.apart:.1f}", one.doubt or "–"]
        for (first, second), one in zip(kept["pairs"], PairTrust.read(kept), strict=True)
    ]
    columns = ["p of this way", "spacings from the series", "doubt"]
    return Table("Trust in the pairs", ["slices"], columns, rows)


def slice_table(name: str, adata: AnnData) -> RichTable:
    """What a slice has that an integration can use."""
    from napari_staligner.core.prepare.counts import kind_of
    from napari_staligner.core.prepare.libraries import own_library
    from napari_staligner.core.prepare.matrices import with_plain_matrices
    from napari_staligner.core.prepare.notes import notes_of
    from napari_staligner.core.prepare.on_disk import named_layers
    from napari_staligner.io.images import image_place
    from napari_staligner.io.outlines import outlines_text, shapes_of

    adata = with_plain_matrices(name, adata)
    rows = [["spots × genes", f"{adata.n_obs} × {adata.n_vars}"]]
    if adata.X is not None:
        rows.append(["X", str(kind_of(adata.X))])
    rows.append(["layers", ", ".join(named_layers(adata)) or "none"])
    rows.append(["obs", ", ".join(map(str, adata.obs.columns)) or "none"])
    adata = _place_rows(name, adata, rows)
    library = own_library(adata)
    place = "none" if library is None else image_place(library[1])
    rows.append(["image", place if isinstance(place, str) else "{1} × {0} pixels".format(*place)])
    outlined = outlines_text(shapes_of(adata, name), adata.n_obs)
    rows += [["outlines", outlined]] if outlined else []
    rows += [["note", note] for note in notes_of(name, adata)]
    return _facts(f"Slice {name}", rows)


def _place_rows(name: str, adata: AnnData, rows: list[list[str]]) -> AnnData:
    """Add rows on the places of the spots, and on spots off the tissue, as a run reads them."""
    import numpy as np

    from napari_staligner.core.prepare.coordinates import with_places
    from napari_staligner.core.prepare.graph import find_radius, spacing
    from napari_staligner.core.prepare.spots import off_tissue

    off, column = off_tissue(adata.obs)
    if off.any():
        rows.append(["off the tissue", f"{int(off.sum()):,} spots, by obs[{column!r}]"])
    try:
        adata = with_places(name, adata)
    except InputError as error:
        rows.append(["coordinates", str(error)])
        return adata
    points = np.asarray(adata.obsm[K.SPATIAL], dtype=float)
    if len(points) > 1:
        low, high = points.min(axis=0), points.max(axis=0)
        extent = ", ".join(f"{a:g} to {b:g}" for a, b in zip(low, high, strict=True))
        rows.append(["coordinates", extent])
        rows.append(["spacing", f"{spacing(points):g}"])
        rows.append(["radius for about 6 neighbours", f"{find_radius(points):g}"])
    return adata


def _no_command(result: AnnData) -> str:
    from napari_staligner.core.result.access import record_of

    adopted = record_of(result).get(K.ADOPTED)
    if adopted is None:
        return "no command: made in memory"
    return f"no command: another program left it in obsm[{str(adopted['embedding'])!r}]"


def result_table(file: Path, result: AnnData) -> RichTable:
    """How a result was made, and from which files."""
    from napari_staligner.core.prepare.excluded import excluded_of
    from napari_staligner.core.result.access import record_of
    from napari_staligner.core.result.provenance import shell_command, sources_of

    record = record_of(result)
    rows = [["slices", ", ".join(map(str, result.obs[K.SLICE].cat.categories))]]
    rows.append(["spots × genes", f"{result.n_obs} × {result.n_vars}"])
    if K.USED_GENE in result.var:
        rows.append(["genes used", str(int(result.var[K.USED_GENE].sum()))])
    rows.append(["embedding", f"obsm {K.EMBEDDING}, {result.obsm[K.EMBEDDING].shape[1]} wide"])
    rows.append(["made by", f"napari-staligner {record.get('version', '?')}"])
    rows += [[str(key), str(value)] for key, value in record.get("params", {}).items()]
    if K.STABILITY in record:
        rows.append(["stability of the domains", f"{record[K.STABILITY]:.2f}"])
    rows += [["note", str(note)] for note in record.get("notes", ())]
    rows += [[f"slice {name}", source.spec()] for name, source in sources_of(result).items()]
    left_out = excluded_of(result)
    if left_out is not None:
        by_slice = left_out.obs[K.SLICE].value_counts(sort=False)
        told = ", ".join(f"{name} {n:,}" for name, n in by_slice.items() if n)
        rows.append(["excluded spots", f"{left_out.n_obs:,} ({told})"])
    again = shell_command(result, file=str(file))
    rows.append(["made again by", again or _no_command(result)])
    return _facts(f"Integrated slices in {file.name}", rows)


def _facts(title: str, rows: Sequence[Sequence[str]]) -> RichTable:
    made = RichTable("", RichColumn(overflow="fold"), title=title, show_header=False)
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def class_table(adata: AnnData, made: Annotations) -> Table:
    """Spots by class of an annotation and by slice."""
    import pandas as pd

    counts = pd.crosstab(made.column(), adata.obs[K.SLICE].to_numpy(), dropna=False)
    rows = [
        [str(region), *map(str, row)] for region, row in counts.loc[counts.index.notna()].iterrows()
    ]
    title = f"Spots by class and slice, by {made.annotator}"
    return Table(title, ["class"], list(map(str, counts.columns)), rows)


def agreement_lines(made: Annotations) -> Iterator[str]:
    """How well each pair of annotators agrees, one sentence per pair."""
    from napari_staligner.core.annotations.agreement import agreement

    for first, second in combinations(made.annotators, 2):
        found = agreement(made, first, second)
        yield (
            f"{first} and {second}: Cohen's kappa {found.kappa:.3f}, "
            f"{found.n_same:,} of {found.n_both:,} common spots agree"
        )
