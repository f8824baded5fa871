"""What one viewer holds: slices, settings, result, palette, and what is looked at.

The session is the one state that all docks show and set. It knows neither Qt nor napari; it says
what changed by signals, and every change goes through its methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotation_record import (
    is_annotation,
    read_annotations,
    write_annotations,
)
from napari_staligner.core.annotations import Annotations
from napari_staligner.core.registration import Alignment
from napari_staligner.core.settings import Settings
from napari_staligner.io.autosave import Autosave
from napari_staligner.io.h5ad import free_name, write_result
from napari_staligner.view import LinkView, StackView, Trust

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.evaluation import Evaluation, EvaluationJob
    from napari_staligner.core.graph import SpatialGraph
    from napari_staligner.core.markers import MarkerJob
    from napari_staligner.core.presence import PresenceTable
    from napari_staligner.core.region_card import CardJob
    from napari_staligner.core.region_classes import Shape
    from napari_staligner.core.transfer import Proposal, TransferJob
    from napari_staligner.core.umap import Umap, UmapJob
    from napari_staligner.core.verdicts import Level, Verdict

Layout = Literal["grid", "mosaic", "stack"]
Tool = Literal["", "lasso", "polygon", "brush", "spot", "piece", "domain"]


@dataclass(frozen=True)
class ColorBy:
    """What the spots are coloured by.

    Parameters
    ----------
    kind
        ``"obs"`` (a column), ``"gene"`` (of ``X``), ``"obsm"`` (a component of an array of
        ``obsm``) or ``"attention"`` (``"self"``, ``"entropy"`` or
        ``"foreign"``).
    key
        The column, the gene, the array, or which figure of the attention.
    component
        Column of the array, from 0; 0 for the other kinds.
    """

    kind: Literal["obs", "gene", "obsm", "attention"] = "obs"
    key: str = K.SLICE
    component: int = 0


@dataclass(frozen=True)
class Scale:
    """How numbers become colours, whatever the spots are coloured by.

    Parameters
    ----------
    percentiles
        Percentiles of the values, 0..100, that are the two ends of the colour map.
    log
        Whether log(1 + value) is shown; ``None`` takes it for counts of genes only.
    colormap
        Name of a colour map that napari knows.
    """

    percentiles: tuple[float, float] = (1.0, 99.0)
    log: bool | None = None
    colormap: str = "viridis"


@dataclass(frozen=True)
class Overlay:
    """Which edges are drawn on the tissue.

    Parameters
    ----------
    shown
        Whether they are drawn.
    threshold
        Attention weights below this are left out, 0..1.
    strongest
        Only the strongest so many neighbours of each spot; 0 draws all.
    of_spot
        Only what the chosen spot takes and gives.
    """

    shown: bool = False
    threshold: float = 0.0
    strongest: int = 0
    of_spot: bool = False


@dataclass(frozen=True)
class Spot:
    """One spot: its slice and its row within the slice."""

    slice: str
    row: int


@dataclass(frozen=True)
class DomainState:
    """Labels, names and colours of the domains, and how they were found: what an undo restores."""

    codes: NDArray[np.integer[Any]]
    names: tuple[str, ...]
    colors: tuple[str, ...]
    params: Mapping[str, Any]

    def same_labels(self, other: DomainState) -> bool:
        """Whether both put the same spots together; names and colours may differ."""
        return len(self.names) == len(other.names) and np.array_equal(self.codes, other.codes)


@dataclass(frozen=True)
class IntegrationJob:
    """All that a run needs, copied: the worker sees nothing of the user's."""

    slices: tuple[tuple[str, AnnData], ...]
    settings: Settings


@dataclass(frozen=True)
class GraphJob:
    """All that building the spatial graphs needs, copied."""

    coordinates: tuple[tuple[str, NDArray[np.float64]], ...]
    settings: Settings


@dataclass(frozen=True)
class DomainJob:
    """All that finding domains needs, copied."""

    embedding: NDArray[np.float32]
    connectivities: Any
    settings: Settings


class Session:
    """Slices, settings, result and view of one viewer."""

    slices_changed = Signal()
    """A slice came or went."""
    settings_changed = Signal()
    """``settings`` was set."""
    result_changed = Signal()
    """There is a new result, or none any more."""
    domains_changed = Signal()
    """Labels, names or colours of the domains changed."""
    color_changed = Signal()
    """``color_by`` or ``scale`` was set."""
    isolated_changed = Signal()
    """Other domains are shown alone."""
    selection_changed = Signal()
    """``selection`` was set."""
    legend_changed = Signal()
    """``legend_shown`` was set."""
    umap_changed = Signal()
    """The result got a UMAP."""
    layout_changed = Signal()
    """``layout`` was set."""
    stack_changed = Signal()
    """``stack`` was set."""
    trust_changed = Signal()
    """``trust`` was set."""
    links_changed = Signal()
    """``links`` was set."""
    graphs_changed = Signal()
    """``graphs`` (the spatial graph of each slice) or ``graph_shown`` changed."""
    attention_changed = Signal()
    """``attention`` (the overlay) was set."""
    spot_changed = Signal()
    """``spot`` was set."""
    annotations_changed = Signal()
    """``annotations`` changed, or what of them is chosen; the result has them already."""
    proposal_changed = Signal()
    """``proposal`` was set."""
    tool_changed = Signal()
    """``tool`` or ``brush`` was set."""
    verdicts_changed = Signal()
    """A verdict was given, taken back, or renamed with its domain."""
    evaluation_changed = Signal()
    """There are new figures, or none any more."""

    def __init__(self) -> None:
        self._slices: dict[str, AnnData] = {}
        self._rows: dict[str, NDArray[np.intp]] = {}
        self._graphs: dict[str, SpatialGraph] = {}
        self._result: AnnData | None = None
        self._settings = Settings()
        self._color_by = ColorBy()
        self._scale = Scale()
        self._isolated: frozenset[str] = frozenset()
        self._selection: NDArray[np.intp] = _no_rows()
        self._legend_shown = False
        self._layout: Layout = "grid"
        self._stack = StackView()
        self._trust = Trust()
        self._links = LinkView()
        self._graph_shown = False
        self._attention = Overlay()
        self._spot: Spot | None = None
        self._tool: Tool = ""
        self._brush = 2.0
        self._proposal: Proposal | None = None
        # The selection that a tool made, the tool, and what was drawn.
        self._taken: tuple[NDArray[np.intp], str, tuple[Shape, ...]] = _no_rows(), "", ()
        self.alignment = Alignment()
        self.alignment.changed.connect(self._on_alignment_changed)
        self._evaluation: Evaluation | None = None
        self.annotations = Annotations()
        self.autosave = Autosave(self.annotations)
        self.annotations.changed.connect(self._on_annotations_changed)
        self.annotations.view_changed.connect(self.annotations_changed.emit)
        self.path: Path | None = None
        """File of the result; ``None`` if it was never saved."""
        self.saved = True

    # -- slices ---------------------------------------------------------------------------

    @property
    def slices(self) -> Mapping[str, AnnData]:
        """The loaded slices by name, in the order of loading."""
        return MappingProxyType(self._slices)

    def add(self, slices: Iterable[tuple[str, AnnData]]) -> list[str]:
        """Add slices; a name that is taken gets a number. Returns the names as they became."""
        names = []
        for name, adata in slices:
            free = free_name(name, self._slices)
            self._slices[free] = adata
            names.append(free)
        if names:
            self.slices_changed.emit()
        return names

    def remove(self, name: str) -> None:
        """Remove a slice; a result that holds it goes with it."""
        if name not in self._slices:
            return
        del self._slices[name]
        self._graphs.pop(name, None)
        if name in self._rows:
            self._drop_result()
        if self._spot is not None and self._spot.slice == name:
            self.spot = None
        self.slices_changed.emit()

    def clear(self) -> None:
        """Remove all slices and the result."""
        self._slices.clear()
        self._graphs.clear()
        self._drop_result()
        self.spot = None
        self.slices_changed.emit()

    @property
    def graphs(self) -> Mapping[str, SpatialGraph]:
        """Spatial graph of each slice, as far as they are built for the present settings."""
        return MappingProxyType(self._graphs)

    def set_graphs(self, graphs: Mapping[str, SpatialGraph], settings: Settings) -> None:
        """Take graphs that were built with ``settings``; dropped if those are no longer set."""
        if (settings.radius, settings.n_neighbors) != (
            self._settings.radius,
            self._settings.n_neighbors,
        ):
            return
        self._graphs.update({n: g for n, g in graphs.items() if n in self._slices})
        self.graphs_changed.emit()

    # -- settings and view ----------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """Settings of the next run."""
        return self._settings

    @settings.setter
    def settings(self, value: Settings) -> None:
        if value == self._settings:
            return
        old, self._settings = self._settings, value
        if (old.radius, old.n_neighbors) != (value.radius, value.n_neighbors):
            self._graphs.clear()
            self.graphs_changed.emit()
        self.settings_changed.emit()

    @property
    def color_by(self) -> ColorBy:
        """What the spots are coloured by."""
        return self._color_by

    @color_by.setter
    def color_by(self, value: ColorBy) -> None:
        if value != self._color_by:
            self._color_by = value
            self.color_changed.emit()

    @property
    def scale(self) -> Scale:
        """How numbers become colours."""
        return self._scale

    @scale.setter
    def scale(self, value: Scale) -> None:
        if value != self._scale:
            self._scale = value
            self.color_changed.emit()

    @property
    def selection(self) -> NDArray[np.intp]:
        """Rows of the result that are selected, sorted, read-only; empty where none is."""
        return self._selection

    @selection.setter
    def selection(self, value: NDArray[np.integer[Any]]) -> None:
        rows = np.unique(np.asarray(value, dtype=np.intp))
        rows = rows if self._result is not None else _no_rows()
        if not np.array_equal(rows, self._selection):
            rows.flags.writeable = False
            self._selection = rows
            self.selection_changed.emit()

    @property
    def legend_shown(self) -> bool:
        """Whether the legend of the colours lies over the canvas."""
        return self._legend_shown

    @legend_shown.setter
    def legend_shown(self, value: bool) -> None:
        if value != self._legend_shown:
            self._legend_shown = value
            self.legend_changed.emit()

    @property
    def isolated(self) -> frozenset[str]:
        """Domains shown alone; empty shows all."""
        return self._isolated

    @isolated.setter
    def isolated(self, value: Iterable[str]) -> None:
        value = frozenset(value)
        if value != self._isolated:
            self._isolated = value
            self.isolated_changed.emit()

    @property
    def layout(self) -> Layout:
        """How the slices lie: ``"grid"``, ``"mosaic"`` or ``"stack"``."""
        return self._layout

    @layout.setter
    def layout(self, value: Layout) -> None:
        if value != self._layout:
            self._layout = value
            self.layout_changed.emit()

    @property
    def stack(self) -> StackView:
        """How slices on top of each other are told apart."""
        return self._stack

    @stack.setter
    def stack(self, value: StackView) -> None:
        if value != self._stack:
            self._stack = value
            self.stack_changed.emit()

    @property
    def trust(self) -> Trust:
        """Which spots are shown by their confidence."""
        return self._trust

    @trust.setter
    def trust(self, value: Trust) -> None:
        if value != self._trust:
            self._trust = value
            self.trust_changed.emit()

    @property
    def links(self) -> LinkView:
        """Which links between slices are drawn."""
        return self._links

    @links.setter
    def links(self, value: LinkView) -> None:
        if value != self._links:
            self._links = value
            self.links_changed.emit()

    @property
    def stack_pair(self) -> tuple[str, str] | None:
        """The two slices that are compared; ``None`` with fewer than two slices."""
        pair, names = self._stack.pair, list(self._slices)
        if pair is not None and pair[0] != pair[1] and set(pair) <= set(names):
            return pair
        return (names[0], names[1]) if len(names) > 1 else None

    @property
    def graph_shown(self) -> bool:
        """Whether the spatial graph is drawn."""
        return self._graph_shown

    @graph_shown.setter
    def graph_shown(self, value: bool) -> None:
        if value != self._graph_shown:
            self._graph_shown = value
            self.graphs_changed.emit()

    @property
    def attention(self) -> Overlay:
        """Which edges of the attention are drawn."""
        return self._attention

    @attention.setter
    def attention(self, value: Overlay) -> None:
        if value != self._attention:
            self._attention = value
            self.attention_changed.emit()

    @property
    def spot(self) -> Spot | None:
        """The spot that is looked at."""
        return self._spot

    @spot.setter
    def spot(self, value: Spot | None) -> None:
        if value != self._spot:
            self._spot = value
            self.spot_changed.emit()

    # -- result ---------------------------------------------------------------------------

    @property
    def result(self) -> AnnData | None:
        """The concatenated AnnData of the last run, or of the opened file."""
        return self._result

    def set_result(self, result: AnnData, *, saved: bool = False, path: Path | None = None) -> None:
        """Take a result; its slices must be loaded.

        Annotations that it brings replace those of before; without any, those of the same spots
        are kept.

        Parameters
        ----------
        result
            Integrated slices.
        saved
            Whether a file holds it.
        path
            That file.

        Raises
        ------
        InputError
            A slice of the result is not loaded, or has another number of spots.
        """
        labels = result.obs[K.SLICE]
        rows = {
            str(name): np.flatnonzero((labels == name).to_numpy()) for name in labels.cat.categories
        }
        for name, index in rows.items():
            if name not in self._slices or self._slices[name].n_obs != len(index):
                raise InputError(
                    f"Slice {name!r} of the result is not the one that is loaded: "
                    "load the slices again and run once more."
                )
        self._result, self._rows, self.path = result, rows, path
        self.alignment.follow(result)
        self.proposal = None
        self._evaluation = None
        self.autosave.pause()
        read_annotations(result, self.annotations)
        self.saved = saved
        self.autosave.follow(path)
        self._isolated = frozenset()
        self.selection = _no_rows()
        self._color_by = ColorBy("obs", K.DOMAIN if K.DOMAIN in result.obs else K.SLICE)
        self.result_changed.emit()
        self.domains_changed.emit()
        self.color_changed.emit()

    def rows(self, name: str) -> NDArray[np.intp] | None:
        """Rows of the result that belong to a slice; ``None`` if the result lacks it."""
        return self._rows.get(name)

    def spot_of_row(self, row: int) -> Spot:
        """Spot that stands in a row of the result."""
        for name, rows in self._rows.items():
            at = int(np.searchsorted(rows, row))
            if at < len(rows) and rows[at] == row:
                return Spot(name, at)
        raise IndexError(row)

    def _drop_result(self) -> None:
        if self._result is None:
            return
        self._result, self._rows, self.saved = None, {}, True
        self.alignment.follow(None)
        self.path = None
        self.proposal = None
        self._evaluation = None
        self._isolated = frozenset()
        self.selection, self.tool = _no_rows(), ""
        computed = self._color_by.key == K.DOMAIN or is_annotation(self._color_by.key)
        if self._color_by.kind in ("attention", "obsm") or computed:
            self._color_by = ColorBy()
        self.result_changed.emit()
        self.domains_changed.emit()
        self.color_changed.emit()

    # -- domains --------------------------------------------------------------------------

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in their order."""
        if self._result is None or K.DOMAIN not in self._result.obs:
            return ()
        return tuple(map(str, self._result.obs[K.DOMAIN].cat.categories))

    @property
    def domain_colors(self) -> dict[str, str]:
        """Hex colour of each domain."""
        if self._result is None or not self.domains:
            return {}
        return dict(zip(self.domains, map(str, self._result.uns[K.DOMAIN_COLORS]), strict=True))

    def domain_counts(self) -> dict[str, dict[str, int]]:
        """Spots of each domain by slice: ``{domain: {slice: spots}}``."""
        if self._result is None or not self.domains:
            return {}
        codes = self._result.obs[K.DOMAIN].cat.codes.to_numpy()
        found = codes >= 0
        counts = {
            name: np.bincount(codes[rows][found[rows]], minlength=len(self.domains))
            for name, rows in self._rows.items()
        }
        return {
            domain: {name: int(count[i]) for name, count in counts.items()}
            for i, domain in enumerate(self.domains)
        }

    def presence(self) -> PresenceTable | None:
        """In which slices the domains are; tested anew where the record is of other domains.

        Writes ``uns["staligner"]["presence"]``; ``None`` without domains.
        """
        from napari_staligner.core.presence import record_presence, recorded_presence

        if self._result is None or not self.domains:
            return None
        return recorded_presence(self._result) or record_presence(self._result)

    def set_domains(self, labels: NDArray[np.integer[Any]], settings: Settings) -> None:
        """Take new labels (0, 1, … per row of the result); matching domains keep name and colour.

        Writes ``obs["domain"]``, ``uns["domain_colors"]`` and ``uns["staligner"]["params"]``.
        """
        from napari_staligner.core.domains import record_domains

        if self._result is None:
            return
        record_domains(self._result, labels, settings)
        self.settings = replace(
            self._settings,
            domains=settings.domains,
            resolution=settings.resolution,
            smooth=settings.smooth,
        )
        self._domains_edited()

    def rename_domain(self, old: str, new: str) -> None:
        """Rename a domain.

        Raises
        ------
        InputError
            The new name is empty or taken.
        """
        new = new.strip()
        if self._result is None or new == old:
            return
        if not new or new in self.domains:
            why = "empty" if not new else f"already taken ({new!r})"
            raise InputError(f"The name for domain {old!r} is {why}: choose another.")
        column = self._result.obs[K.DOMAIN]
        self._result.obs[K.DOMAIN] = column.cat.rename_categories({old: new})
        self._isolated = frozenset(new if d == old else d for d in self._isolated)
        self._rename_in_verdicts({old: new})
        self._domains_edited()

    def set_domain_color(self, domain: str, color: str) -> None:
        """Give a domain another colour (hex)."""
        if self._result is None or domain not in self.domains:
            return
        colors = self.domain_colors | {domain: color}
        self._result.uns[K.DOMAIN_COLORS] = list(colors.values())
        self._domains_edited()

    @property
    def domain_settings(self) -> Settings:
        """Settings with the choice that the present domains were found with."""
        params = self._params()
        if "resolution" not in params:
            return self._settings
        domains = params.get("domains")
        return replace(
            self._settings,
            domains=None if domains is None else int(domains),
            resolution=float(params["resolution"]),
            smooth=bool(params.get("smooth", False)),
        )

    def domain_state(self) -> DomainState | None:
        """Copy labels, names and colours of the domains; ``None`` if there are none."""
        if self._result is None or not self.domains:
            return None
        codes = np.array(self._result.obs[K.DOMAIN].cat.codes)
        colors = tuple(self.domain_colors.values())
        return DomainState(codes, self.domains, colors, self._params())

    def restore_domain_state(self, state: DomainState) -> None:
        """Put back what :meth:`domain_state` copied from this result."""
        import pandas as pd

        if self._result is None:
            return
        present = self.domain_state()
        if present is not None and state.same_labels(present):
            self._rename_in_verdicts(dict(zip(present.names, state.names, strict=True)))
        self._result.obs[K.DOMAIN] = pd.Categorical.from_codes(state.codes, list(state.names))
        self._result.uns[K.DOMAIN_COLORS] = list(state.colors)
        self._result.uns.setdefault(K.STALIGNER, {})["params"] = dict(state.params)
        self.settings = self.domain_settings
        self._domains_edited()

    def _params(self) -> dict[str, Any]:
        """Parameters of the result, as it records them."""
        if self._result is None:
            return {}
        return dict(self._result.uns.get(K.STALIGNER, {}).get("params", {}))

    def _domains_edited(self) -> None:
        self.saved = False
        self._isolated = self._isolated & frozenset(self.domains)
        if self._evaluation is not None and not self._of_these_domains(self._evaluation):
            self._evaluation = None
            self.evaluation_changed.emit()
        self.domains_changed.emit()

    # -- alignment ------------------------------------------------------------------------

    def _on_alignment_changed(self) -> None:
        self.saved = False
        if self._color_by == ColorBy("obs", K.RESIDUAL):
            self.color_changed.emit()

    # -- judging --------------------------------------------------------------------------

    @property
    def evaluation(self) -> Evaluation | None:
        """Figures of embeddings; ``None`` until they are computed for the present domains."""
        return self._evaluation

    def evaluation_job(self, labels: str | None, embeddings: Iterable[str]) -> EvaluationJob:
        """Copy what figures of embeddings need; see :func:`core.evaluation.evaluation_job`.

        Raises
        ------
        InputError
            There is no result, or a column or an embedding cannot be used.
        """
        from napari_staligner.core.evaluation import evaluation_job

        if self._result is None:
            raise InputError("There are no integrated slices to judge: integrate first.")
        return evaluation_job(self._result, labels, tuple(embeddings))

    def set_evaluation(self, evaluation: Evaluation) -> None:
        """Take figures, and write embeddings that were computed for them to ``obsm``."""
        if self._result is None or not self._of_these_domains(evaluation):
            return
        for key, embedding in evaluation.computed.items():
            self._result.obsm[key] = embedding
            self.saved = False
        self._evaluation = evaluation
        self.evaluation_changed.emit()

    def _of_these_domains(self, evaluation: Evaluation) -> bool:
        import pandas as pd

        figures = evaluation.figures.get(K.EMBEDDING)
        if figures is None or self._result is None or K.DOMAIN not in self._result.obs:
            return True
        return np.array_equal(figures.domains, pd.factorize(self._result.obs[K.DOMAIN])[0])

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What people said of the alignment, the oldest first."""
        from napari_staligner.core.verdicts import read_verdicts

        return () if self._result is None else read_verdicts(self._result)

    def judge(
        self,
        level: Level,
        pair: tuple[str, str] | None = None,
        domain: str | None = None,
        note: str = "",
        who: str | None = None,
    ) -> Verdict:
        """Give a verdict; see :func:`core.verdicts.add_verdict`.

        Raises
        ------
        InputError
            There is no result, or no such slice or domain.
        """
        from napari_staligner.core.verdicts import add_verdict

        if self._result is None:
            raise InputError("There are no integrated slices to judge: integrate first.")
        verdict = add_verdict(self._result, level, pair=pair, domain=domain, note=note, who=who)
        self.saved = False
        self.verdicts_changed.emit()
        return verdict

    def undo_verdict(self) -> Verdict | None:
        """Take the last verdict back and return it; ``None`` if there is none."""
        from napari_staligner.core.verdicts import write_verdicts

        if self._result is None or not self.verdicts:
            return None
        *rest, last = self.verdicts
        write_verdicts(self._result, rest)
        self.saved = False
        self.verdicts_changed.emit()
        return last

    def _rename_in_verdicts(self, names: Mapping[str, str]) -> None:
        from napari_staligner.core.verdicts import rename_judged_domains

        if self._result is not None:
            rename_judged_domains(self._result, names)
            self.verdicts_changed.emit()

    # -- annotations ----------------------------------------------------------------------

    @property
    def tool(self) -> Tool:
        """What the mouse does on the tissue; empty moves the view."""
        return self._tool

    @tool.setter
    def tool(self, value: Tool) -> None:
        if value != self._tool:
            self._tool = value
            self.tool_changed.emit()

    @property
    def brush(self) -> float:
        """Radius of the brush, in spacings of the spots."""
        return self._brush

    @brush.setter
    def brush(self, value: float) -> None:
        if value != self._brush:
            self._brush = value
            self.tool_changed.emit()

    @property
    def proposal(self) -> Proposal | None:
        """Spots that may belong to a class, for the user to accept, trim or reject."""
        return self._proposal

    @proposal.setter
    def proposal(self, value: Proposal | None) -> None:
        if value is not self._proposal:
            self._proposal = value
            self.proposal_changed.emit()

    def take(self, rows: NDArray[np.intp], how: str, shapes: Iterable[Shape] = ()) -> None:
        """Select what a tool took, and give it the chosen class, if one is chosen.

        Parameters
        ----------
        rows
            Rows of the result.
        how
            The tool.
        shapes
            What was drawn.

        Raises
        ------
        InputError
            Annotations that were kept from a crash wait to be restored or discarded.
        """
        self.selection = rows
        self._taken = self.selection, how, tuple(shapes)
        if self.annotations.chosen:
            self.annotate(self.annotations.chosen)

    def annotate(self, name: str) -> int:
        """Give the selected spots a class and end the selection; an empty name takes theirs away.

        Returns
        -------
        How many changed.

        Raises
        ------
        InputError
            No spot is selected, or annotations that were kept wait to be restored or discarded.
        """
        if not len(self.selection):
            raise InputError("No spot is selected: draw on the tissue first.")
        self.check_annotations()
        rows, how, shapes = self._taken
        if rows is not self.selection:
            how, shapes = "selection", ()
        n = self.annotations.assign(self.selection, name, how, shapes)
        # It is done: what is selected still would hide what was given to the other spots.
        self.selection = _no_rows()
        return n

    def check_annotations(self) -> None:
        """Check that annotations may be changed.

        Raises
        ------
        InputError
            There is no result, or annotations that were kept wait to be restored or discarded.
        """
        if self._result is None:
            raise InputError("There are no spots to annotate: integrate the slices first.")
        if self.autosave.offer is not None:
            raise InputError(
                "Annotations from before were not saved: restore or discard them first."
            )

    def annotation_counts(self) -> dict[str, dict[str, int]]:
        """Spots of each class by slice: ``{class: {slice: spots}}``."""
        if self._result is None:
            return {}
        codes, classes = self.annotations.codes(), self.annotations.classes
        counts = {
            name: np.bincount(codes[rows][codes[rows] >= 0], minlength=len(classes))
            for name, rows in self._rows.items()
        }
        return {
            region.name: {name: int(count[i]) for name, count in counts.items()}
            for i, region in enumerate(classes)
        }

    def map_disagreement(self, first: str, second: str) -> bool:
        """Write where two annotators agree to ``obs``; says whether there is a result."""
        from napari_staligner.core.agreement import write_disagreement

        if self._result is None:
            return False
        write_disagreement(self._result, self.annotations, first, second)
        self.color_changed.emit()
        return True

    def card_job(self, name: str) -> CardJob:
        """Copy what describing a class needs.

        Raises
        ------
        InputError
            There is no result, no such class, or no spot of it.
        """
        from napari_staligner.core.region_card import card_job

        if self._result is None:
            raise InputError("There is no region to describe: integrate the slices first.")
        region = np.zeros(self._result.n_obs, dtype=bool)
        region[self.annotations.rows_of(name)] = True
        return card_job(self._result, region, name, self.annotations.codes() >= 0)

    def accept_proposal(self) -> int:
        """Give the proposed spots their class; returns how many changed."""
        proposal = self._proposal
        if proposal is None:
            return 0
        self.check_annotations()
        n = self.annotations.assign(proposal.kept, proposal.name, "transfer")
        self.proposal = None
        return n

    def transfer_job(self, name: str, source: str) -> TransferJob:
        """Copy what carrying a class from one slice to the others needs.

        Raises
        ------
        InputError
            There is no result, no such class, or no spot of it in the source.
        """
        from napari_staligner.core.transfer import transfer_job

        self.check_annotations()
        place = self.annotations.classes.index(self.annotations.named(name))
        codes = self.annotations.codes()
        return transfer_job(self._result, codes, name, code=place, source=source)

    def _on_annotations_changed(self) -> None:
        if self._result is not None and self.annotations.n_spots == self._result.n_obs:
            write_annotations(self._result, self.annotations)
            self.saved = False
            self.autosave.keep()
        self.annotations_changed.emit()

    # -- jobs -----------------------------------------------------------------------------

    def umap_job(self) -> UmapJob:
        """Copy what computing a UMAP needs.

        Raises
        ------
        InputError
            There is no result yet.
        """
        from scipy.sparse import csr_matrix, hstack

        from napari_staligner.core.umap import UmapJob

        result = self._result
        if result is None or K.EMBEDDING not in result.obsm:
            raise InputError("There is no embedding to lay out: integrate first.")
        matrix = self._expression(result)
        if matrix is not None:
            used = np.ones(result.n_vars, dtype=bool)
            if K.USED_GENE in result.var:
                used = result.var[K.USED_GENE].to_numpy(dtype=bool)
            others = csr_matrix(matrix.sum(axis=1)) - csr_matrix(matrix[:, used].sum(axis=1))
            matrix = hstack([csr_matrix(matrix[:, used]), others], format="csr")
        return UmapJob(
            np.array(result.obsm[K.EMBEDDING], dtype=np.float32),
            matrix,
            tuple(self._rows.values()),
            int(self._params().get("seed", 0)),
        )

    def marker_job(
        self, inside: NDArray[np.integer[Any]], against: NDArray[np.integer[Any]]
    ) -> MarkerJob:
        """Copy what finding genes that mark rows of the result, against others, needs.

        Raises
        ------
        InputError
            There is no result, or these rows cannot be compared.
        """
        from napari_staligner.core.markers import marker_job

        if self._result is None:
            raise InputError("There are no integrated slices to compare: integrate first.")
        layer = self._params().get("counts_layer") or None
        return marker_job(self._result, inside, against, layer=layer)

    def _expression(self, result: AnnData) -> Any:
        """Matrix that the result was integrated from; ``None`` if it lacks that."""
        layer = self._params().get("counts_layer") or None
        return result.layers.get(layer) if layer else result.X

    def set_umap(self, umap: Umap) -> None:
        """Take UMAPs: ``obsm["X_umap"]``, ``obsm["X_umap_unintegrated"]``, and their parameters."""
        if self._result is None:
            return
        for key, array in umap.arrays.items():
            self._result.obsm[key] = array
            self._result.uns[key] = {"params": dict(umap.params)}
        self.saved = False
        self.umap_changed.emit()

    def integration_job(self) -> IntegrationJob:
        """Copy what a run needs.

        Raises
        ------
        InputError
            There is no slice.
        """
        if not self._slices:
            raise InputError("There is no slice to integrate: open one or several .h5ad files.")
        copies = tuple((name, adata.copy()) for name, adata in self._slices.items())
        return IntegrationJob(copies, self._settings)

    def graph_job(self) -> GraphJob:
        """Copy what building the missing spatial graphs needs."""
        missing = [name for name in self._slices if name not in self._graphs]
        return GraphJob(
            tuple(
                (name, np.array(self._slices[name].obsm[K.SPATIAL], dtype=np.float64))
                for name in missing
            ),
            self._settings,
        )

    def domain_job(self, settings: Settings) -> DomainJob:
        """Copy what finding domains needs.

        Raises
        ------
        InputError
            There is no result yet.
        """
        if self._result is None:
            raise InputError("There is no embedding to find domains in: integrate first.")
        return DomainJob(
            np.array(self._result.obsm[K.EMBEDDING]),
            self._result.obsp[K.CONNECTIVITIES].copy(),
            settings,
        )

    def save(self, path: Path) -> None:
        """Write the result to an ``.h5ad`` file, beside it first and then moved into place.

        Raises
        ------
        InputError
            There is no result, or the file cannot be written.
        """
        if self._result is None:
            raise InputError("There is no result to save: integrate first.")
        write_result(self._result, path)
        self.saved = True
        self.path = path
        self.autosave.saved_to(path)


def _no_rows() -> NDArray[np.intp]:
    return np.empty(0, dtype=np.intp)
