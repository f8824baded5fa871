"""Everything in one call: slices in, one integrated AnnData out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.attempt import (
    DISTANCES,
    EXPRESSION,
    PROVENANCE,
    attempt,
    collecting,
    warn_lost,
)
from napari_staligner.core.freed import give_back
from napari_staligner.core.missing_stages import settle_notes
from napari_staligner.core.prepare.concatenate import concatenate, rehearse, without_expression
from napari_staligner.core.prepare.coordinates import with_places
from napari_staligner.core.prepare.counts import layers_wanted, with_counts_layer
from napari_staligner.core.prepare.excluded import record_excluded, set_aside
from napari_staligner.core.prepare.expression import Expression
from napari_staligner.core.prepare.gene_names import with_matched_genes
from napari_staligner.core.prepare.graph import stacked
from napari_staligner.core.prepare.joining import left_behind
from napari_staligner.core.prepare.matrices import with_plain_matrices
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.core.prepare.on_disk import unbacked, with_slots
from napari_staligner.core.prepare.ranking import best_ranked, variability
from napari_staligner.core.prepare.sections import is_part, sections_of, split_where_certain
from napari_staligner.core.prepare.slices import (
    check_shared,
    check_slice,
    expression_of,
    log_depth,
    shared_genes,
    stored_by_gene,
    variable_genes,
    varying,
    with_unique_names,
)
from napari_staligner.core.prepare.spots import mark_of, same_slices, used_spots
from napari_staligner.core.prepare.storable import storable_name, storable_slices, unfit_name
from napari_staligner.core.progress import Progress, Steps, T, finish, part_of
from napari_staligner.core.registration.histology import histology_of_slices
from napari_staligner.core.result.access import spots_xy, writable_record
from napari_staligner.core.result.ownership import Inputs
from napari_staligner.core.result.provenance import record_provenance, source_of
from napari_staligner.core.settings import Settings
from napari_staligner.core.stages import (
    StagesJob,
    help_stages,
    record_stages,
    stage_steps,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.prepare.graph import SpatialGraph
    from napari_staligner.core.training.checkpoint import Keeper
    from napari_staligner.core.training.data import Trained
    from napari_staligner.core.training.ranks import Ranks

_log = logging.getLogger(__name__)

ONE_SLICE = "One slice only: it is run as a plain autoencoder, there is nothing to align it with."


def integrate(
    slices: Sequence[AnnData] | Mapping[str, AnnData] | Iterable[tuple[str, AnnData]],
    *,
    settings: Settings | str = "default",
    preset: str | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    **changes: Any,
) -> AnnData:
    """Integrate slices of spatial transcriptomics with STAligner.

    Parameters
    ----------
    slices
        Slices, each with counts in ``X`` (or in a layer) and ``obsm["spatial"]``; a list, or names
        and slices. They are not changed; a slice that certainly holds several sections is split.
        Data on disk, from ``read_slices(..., backed=True)`` or
        ``anndata.read_h5ad(..., backed="r")``, are read one slice at a time.
    settings
        Settings to start from, or their name: ``"default"`` (ours) or ``"published"`` (the paper's
        method and schedule).
    preset
        Name of a preset, see :data:`napari_staligner.core.settings.PRESETS`.
    on_progress
        Called with each :class:`~napari_staligner.core.progress.Progress`.
    **changes
        Fields of :class:`~napari_staligner.core.settings.Settings` to change, such as
        ``domains=7, seed=0``.

    Returns
    -------
    All spots that were used, all genes. ``X``, ``layers``, ``obsm`` and ``var`` hold what the
    slices hold (only layers and embeddings that all of them have). Data on disk stay there (as
    dask arrays; :func:`~napari_staligner.write_result` copies them piece by piece). A column of a
    slice with the name of one of ours is kept as ``<column>_of_input``, and a note says so. The
    call adds ``obs["slice"]``, ``obs["library_id"]``, ``obs["domain"]``,
    ``obs["alignment_confidence"]``, ``obs["registration_residual"]``, ``obsm["STAligner"]``,
    ``obsm["spatial_aligned"]``, ``obsm["registration_shift"]``,
    ``obsp["spatial_connectivities"]``, ``obsp["spatial_distances"]``, ``obsp["attention"]``,
    ``obsp["mutual_neighbors"]``, ``var["used_by_staligner"]``, ``varm["in_slice"]``,
    ``uns["domain_colors"]`` and ``uns["staligner"]``.

    Raises
    ------
    InputError
        A slice or a setting cannot be used.

    Warns
    -----
    ComputeWarning
        A stage after training failed: the result lacks its part, a note in
        ``uns["staligner"]["notes"]`` says so, and :func:`~napari_staligner.complete` tries again.

    References
    ----------
    Zhou, Dong & Zhang, Nature Computational Science 3, 894–906 (2023).
    """
    if isinstance(settings, str):
        settings = Settings().as_named(settings)
    if preset is not None:
        settings = settings.with_preset(preset)
    unknown = [key for key in changes if not hasattr(settings, key)]
    if unknown:
        raise InputError(f"There is no setting {unknown[0]!r}: see napari_staligner.Settings.")
    settings = replace(settings, **changes)
    lost: list[str] = []
    steps = integrate_steps(_parted(_named(slices)), settings)
    result = finish(steps, collecting(lost, on_progress))
    warn_lost(lost)
    return result


def _named(
    slices: Sequence[AnnData] | Mapping[str, AnnData] | Iterable[tuple[str, AnnData]],
) -> list[tuple[str, AnnData]]:
    listed = list(slices.items() if isinstance(slices, Mapping) else slices)
    named = [
        item if isinstance(item, tuple) else (f"slice {number}", item)
        for number, item in enumerate(listed, 1)
    ]
    return [(str(name), unbacked(adata)) for name, adata in named]


def _parted(slices: Sequence[tuple[str, AnnData]]) -> list[tuple[str, AnnData]]:
    """Split slices that certainly hold several sections, unless they come from a split already."""
    parted: list[tuple[str, AnnData]] = []
    for name, adata in slices:
        found = None if is_part(source_of(adata)) else sections_of(adata)
        if found is None:
            parted.append((name, adata))
            continue
        # Notes are added to the slice, and this one belongs to the user.
        parts = split_where_certain(name, with_slots(adata))
        parted += [(f"{name} {each}" if found.certain else name, part) for each, part in parts]
    return parted


@dataclass
class _Ledger:
    """The progress of the run, and its notes so far."""

    total: int
    done: int
    notes: list[str]

    def follow(self, steps: Steps[T], span: int) -> Steps[T]:
        """Run a part that takes ``span`` of the whole run's steps."""
        result = yield from part_of(self._noted(steps), self.done, span, self.total)
        self.done += span
        return result

    def _noted(self, steps: Steps[T]) -> Steps[T]:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            for said in (step.note, step.lost):
                if said and said not in self.notes:
                    self.notes.append(said)
            yield step


def integrate_steps(
    slices: Sequence[tuple[str, AnnData]],
    settings: Settings,
    keeper: Keeper | None = None,
    ranks: Ranks | None = None,
) -> Steps[AnnData]:
    """Integrate slices, one step at a time; see :func:`integrate`.

    Parameters
    ----------
    slices
        Name and AnnData of each slice.
    settings
        See :class:`~napari_staligner.core.settings.Settings`.
    keeper
        Holds checkpoints of the training, which goes on from the last one; ``None`` keeps none.
    ranks
        The processes that compute together, all with the same slices; only the first returns a
        result, the others an empty table. ``None`` for this one alone.
    """
    from anndata import AnnData

    from napari_staligner.core.prepare.graph import graph_steps
    from napari_staligner.core.training.data import Prepared
    from napari_staligner.core.training.dealing import cut_and_dealt
    from napari_staligner.core.training.estimate import InputSize, check_memory, estimate
    from napari_staligner.core.training.train import train
    from napari_staligner.core.training.trainer import TILE_SPOTS

    epochs = settings.pretrain_epochs + settings.epochs
    part = max(len(slices), epochs // 40)
    ledger = _Ledger(total=epochs + 5 * part, done=0, notes=[])
    check_slices(slices, settings)
    inputs = Inputs.of(slices)
    slices = inputs.slices
    extent = InputSize.of(slices)
    # Refuse what cannot fit into memory before anything is read.
    check_memory(estimate(extent, settings), ranks)
    ready = yield from ledger.follow(prepare_steps(slices, settings), part)
    slices, genes, expression, depth, layers, aside = ready
    rehearse(slices, genes, layers)
    names = tuple(name for name, _ in slices)
    places = {name: spots_xy(adata) for name, adata in slices}
    histology = histology_of_slices(dict(slices))
    sizes = tuple(map(len, places.values()))
    coordinates = np.concatenate(list(places.values())).astype(np.float64)
    held = None
    if ranks is not None and ranks.rank:
        # The first needs all for the result, the others only those that they train on.
        held = cut_and_dealt(ranks, sizes, coordinates, TILE_SPOTS)[1].held
    building = graph_steps(list(places.items()), settings, ranks, held)
    graphs = yield from ledger.follow(building, part)
    connectivities = stacked(graphs, "connectivities")
    data = Prepared(names, sizes, expression, connectivities, coordinates, depth)
    extent = replace(InputSize.of(slices), n_genes=expression.n_genes, stored=expression.stored)
    need = estimate(extent, settings)
    check_memory(need, ranks)
    said = f"{need} {ranks.size} processes share it." if ranks and ranks.size > 1 else str(need)
    # Shown, but not stored with the result: it is only about this machine at this moment.
    yield Progress("estimate", ledger.done, ledger.total, outlook=said)
    give_back()
    trained = yield from ledger.follow(train(data, settings, keeper, ranks), epochs)
    give_back()
    # From here on, no failure may lose the training.
    job = StagesJob(
        places,
        trained.embedding,
        connectivities,
        trained.mutual,
        pairs=tuple((names[i], names[j]) for i, j in trained.pairs),
        settings=settings,
        ranks=ranks,
        histology=histology,
    )
    if ranks is not None and ranks.rank:
        yield from help_stages(job)
        return AnnData()
    staged = yield from ledger.follow(stage_steps(job), 3 * part)
    joining = attempt(lambda: _joined(slices, genes, layers, aside), EXPRESSION)
    joined = yield from ledger.follow(joining, 0)
    adata, counts = joined or (_tables_of(slices, genes), None)
    for note in inputs.record(adata):
        ledger.notes.append(note)
        yield Progress("record", ledger.done, ledger.total, note=note)
    _record(adata, graphs, connectivities, trained, settings)
    distances = attempt(lambda: _distances(adata, graphs), DISTANCES)
    yield from ledger.follow(distances, 0)
    if counts is not None:
        writable_record(adata)[K.COUNTS_LAYER] = counts
    yield from ledger.follow(record_stages(adata, staged, settings), 0)
    yield from ledger.follow(attempt(lambda: _provenance(adata, slices), PROVENANCE), 0)
    writable_record(adata)["notes"] = np.array(ledger.notes, dtype=object)
    settle_notes(adata)
    yield Progress("done", ledger.total, ledger.total)
    return adata


def _joined(
    slices: Sequence[tuple[str, AnnData]],
    genes: Sequence[str],
    layers: Sequence[str | None],
    aside: Sequence[tuple[str, AnnData]],
) -> Steps[tuple[AnnData, str | None]]:
    yield Progress("joining the slices", 0, 1)
    joined, counts = concatenate(slices, genes, layers)
    record_excluded(joined, aside, genes, layers)
    return joined, counts


def _tables_of(slices: Sequence[tuple[str, AnnData]], genes: Sequence[str]) -> AnnData:
    """All but the expression; if even that fails, only slices and coordinates of the spots."""
    from anndata import AnnData

    try:
        return without_expression(slices, genes)
    except Exception:
        _log.exception("The tables of the slices could not be joined")
    names = [name for name, _ in slices]
    index = [f"{spot}_{name}" for name, adata in slices for spot in adata.obs_names]
    slice_of = pd.Categorical.from_codes(
        np.repeat(np.arange(len(names)), [adata.n_obs for _, adata in slices]), names
    )
    places = [spots_xy(adata) for _, adata in slices]
    obs = pd.DataFrame({K.SLICE: slice_of}, index=index)
    return AnnData(obs=obs, obsm={K.SPATIAL: np.concatenate(places)})


def _provenance(adata: AnnData, slices: Sequence[tuple[str, AnnData]]) -> Steps[None]:
    yield Progress("provenance", 0, 1)
    record_provenance(adata, slices)


class Ready(NamedTuple):
    """Checked slices, and the data to train on.

    ``slices`` have unique names and only the spots that are used; ``genes`` are those they share;
    ``log_depth``, shape (spots,), is ``None`` if the values of a slice are not counts; ``layers``
    name the layers of the counts, ``None`` for ``X``; ``aside`` are the excluded spots.
    """

    slices: list[tuple[str, AnnData]]
    genes: list[str]
    expression: Expression
    log_depth: NDArray[np.float64] | None
    layers: list[str | None]
    aside: list[tuple[str, AnnData]]


def check_slices(slices: Sequence[tuple[str, AnnData]], settings: Settings) -> None:
    """Check what can be checked without looking into the slices.

    Raises
    ------
    InputError
        There are none, two have the same name, or the settings name one that is not there.
    """
    from napari_staligner.core.training.matching import pairs_of

    if not slices:
        raise InputError("There is no slice to integrate: give one or several .h5ad files.")
    names = [name for name, _ in slices]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"Two slices are named {doubled!r}: give each a name of its own.")
    unfit = unfit_name(names)
    if unfit is not None:
        raise InputError(
            f"Slice {unfit!r} has a name that a file cannot hold: "
            f"call it {storable_name(unfit)!r}, for one."
        )
    pairs_of(names, settings)
    layers = settings.counts_layer
    unknown = sorted(set(layers) - set(names)) if isinstance(layers, Mapping) else []
    if unknown:
        raise InputError(
            f"The setting counts_layer names slice {unknown[0]!r}, which is not there: choose "
            f"among {', '.join(map(repr, names))}."
        )


def prepare_steps(slices: Sequence[tuple[str, AnnData]], settings: Settings) -> Steps[Ready]:
    """Check the slices and find their shared variable genes, slice by slice.

    Raises
    ------
    InputError
        A slice cannot be used.
    """
    names = [name for name, _ in slices]
    ready, genes, depths, notes = [], [], [], [ONE_SLICE] if len(slices) == 1 else []
    stored, varies, layers, marks, found, aside = [], [], [], [], [], []
    slices = [(name, with_places(name, with_plain_matrices(name, a))) for name, a in slices]
    slices, changed = storable_slices(slices)
    slices, matched = with_matched_genes(slices)
    wanted = layers_wanted(slices, settings.counts_layer)
    notes += [*changed, *matched]
    for done, (name, adata) in enumerate(slices):
        yield Progress(f"check {name}", 2 * done, 2 * len(slices))
        adata = with_places(name, with_plain_matrices(name, adata))
        # Before any spot is left out, so that a window can find them by name again.
        adata, renamed = with_unique_names(name, adata)
        adata, layer, said = with_counts_layer(name, adata, wanted)
        whole = adata
        adata, held, left = used_spots(name, adata, layer, all_spots=settings.all_spots)
        aside.append((name, set_aside(whole, adata)))
        notes += [*notes_of(name, adata), *said, *left, *check_slice(name, held, layer), *renamed]
        layers.append(layer)
        marks.append(mark_of(held, layer))
        yield Progress(f"variable genes of {name}", 2 * done + 1, 2 * len(slices))
        if settings.ranked:
            genes.append(held.var_names)
            # If a slice has no more, all shared genes are used.
            if held.n_vars > settings.genes_wanted:
                found.append(variability(name, held, layer))
        else:
            genes.append(variable_genes(name, held, layer, settings.genes_wanted))
        depths.append(log_depth(name, held, layer))
        stored.append(pd.Series(stored_by_gene(name, held, layer), held.var_names))
        varies.append(pd.Series(varying(expression_of(name, held, layer)), held.var_names))
        ready.append((name, adata))
    shared, warning = shared_genes(names, genes)
    if settings.ranked:
        shared = best_ranked(shared, found, settings.genes_wanted)
    for name, of_slice in zip(names, varies, strict=True):
        check_shared(name, int(of_slice[shared].sum()), len(shared))
    notes += [*same_slices(names, marks), *left_behind(ready, layers)]
    for note in [*notes, *([warning] if warning else [])]:
        yield Progress("checked", 2 * len(slices), 2 * len(slices), note=note)
    n_stored = int(sum(of_slice[shared].sum() for of_slice in stored))
    expression = Expression.of_slices(ready, shared, layers, n_stored)
    known = [depth for depth in depths if depth is not None]
    depth = np.concatenate(known) if len(known) == len(ready) else None
    return Ready(ready, shared, expression, depth, layers, aside)


def _record(
    adata: AnnData,
    graphs: Mapping[str, SpatialGraph],
    connectivities: sparse.csr_matrix,
    trained: Trained,
    settings: Settings,
) -> None:
    """Write the results of training."""
    names = list(graphs)
    adata.obs[K.LIBRARY] = adata.obs[K.SLICE]
    adata.obsm[K.EMBEDDING] = trained.embedding
    adata.obsp[K.CONNECTIVITIES] = connectivities
    for key, matrix in ((K.ATTENTION, trained.attention), (K.MUTUAL, trained.mutual)):
        if matrix is not None:
            adata.obsp[key] = matrix
    pairs = [(names[i], names[j]) for i, j in trained.pairs]
    record = writable_record(adata)
    record |= {
        "params": _plain(settings),
        "version": version("napari-staligner"),
        "loss": {"reconstruction": trained.reconstruction, "triplet": trained.triplet},
        "slices": np.array(names, dtype=object),
        "pairs": np.array(pairs, dtype=object).reshape(-1, 2),
        "radius": {name: graph.radius for name, graph in graphs.items() if graph.radius},
    }
    if trained.reconstruction_by_slice is not None:
        by_slice = dict(zip(names, trained.reconstruction_by_slice.tolist(), strict=True))
        writable_record(adata)[K.RECONSTRUCTION_BY_SLICE] = by_slice


def _distances(adata: AnnData, graphs: Mapping[str, SpatialGraph]) -> Steps[None]:
    yield Progress("distances", 0, 1)
    adata.obsp[K.DISTANCES] = stacked(graphs, "distances")


def _plain(settings: Settings) -> dict[str, Any]:
    """Settings in a form that AnnData can store: ``None`` is left out."""
    values = {key: value for key, value in asdict(settings).items() if value is not None}
    if "pairs" in values:
        values["pairs"] = np.array(values["pairs"], dtype=object).reshape(-1, 2)
    return values
