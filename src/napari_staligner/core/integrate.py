"""All of it in one call: slices in, one integrated AnnData out."""

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
from napari_staligner.core.attempt import EXPRESSION, PROVENANCE, attempt, settle_notes
from napari_staligner.core.prepare.coordinates import with_places
from napari_staligner.core.prepare.counts import layers_wanted, with_counts_layer
from napari_staligner.core.prepare.expression import Expression
from napari_staligner.core.prepare.gene_names import with_matched_genes
from napari_staligner.core.prepare.joining import left_behind, slim_slices
from napari_staligner.core.prepare.libraries import drawable, own_library
from napari_staligner.core.prepare.matrices import with_plain_matrices
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.core.prepare.on_disk import unbacked, with_slots
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
from napari_staligner.core.prepare.storable import check_storable, storable_name, storable_slices
from napari_staligner.core.progress import Progress, Steps, T, finish
from napari_staligner.core.result.ownership import Inputs
from napari_staligner.core.result.provenance import record_provenance, source_of
from napari_staligner.core.settings import Settings
from napari_staligner.core.stages import (
    StagesJob,
    hearing,
    record_stages,
    stage_steps,
    warn_lost,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.prepare.graph import SpatialGraph
    from napari_staligner.core.training.data import Trained

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
        and slices. They are not changed; what certainly holds several sections is split. What is on
        disk, as ``read_slices(..., backed=True)`` and ``anndata.read_h5ad(..., backed="r")`` leave
        it, is read a slice at a time.
    settings
        Settings to start from, or their name: ``"default"`` (ours) or ``"published"`` (the paper's
        method and schedule).
    preset
        Name of a preset, see :data:`napari_staligner.core.settings.PRESETS`.
    on_progress
        Called with each :class:`~napari_staligner.core.progress.Progress`.
    **changes
        Fields of :class:`~napari_staligner.core.settings.Settings` to change, as
        ``domains=7, seed=0``.

    Returns
    -------
    All spots that were used, all genes. ``X``, ``layers``, ``obsm`` and ``var`` hold what the
    slices hold (layers and embeddings: those that all of them have), on disk where it is on
    disk (as dask arrays; :func:`~napari_staligner.write_result` copies them piece by piece). A
    column of a slice that is called as one of ours is kept as ``<column>_of_input``, and a note
    says so. Added are ``obs["slice"]``, ``obs["library_id"]``, ``obs["domain"]``,
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
        What is computed after the training failed in part: the result is without it, a note in
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
    result = finish(steps, hearing(lost, on_progress))
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
    """Split what certainly holds several sections, unless it was split by a column before."""
    parted: list[tuple[str, AnnData]] = []
    for name, adata in slices:
        found = None if is_part(source_of(adata)) else sections_of(adata)
        if found is None:
            parted.append((name, adata))
            continue
        # Notes go to the slice, and this one is the user's.
        parts = split_where_certain(name, with_slots(adata))
        parted += [(f"{name} {each}" if found.certain else name, part) for each, part in parts]
    return parted


@dataclass
class _Ledger:
    """Where the run stands, and what was said on the way."""

    total: int
    done: int
    notes: list[str]

    def follow(self, steps: Steps[T], span: int) -> Steps[T]:
        """Run a part that takes ``span`` of the whole run's steps."""
        start = self.done
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                self.done = start + span
                return end.value  # type: ignore[no-any-return]
            for said in (step.note, step.lost):
                if said and said not in self.notes:
                    self.notes.append(said)
            self.done = start + span * step.done // max(step.total, 1)
            yield replace(step, done=self.done, total=self.total)


def integrate_steps(slices: Sequence[tuple[str, AnnData]], settings: Settings) -> Steps[AnnData]:
    """Integrate slices, a step at a time; see :func:`integrate`.

    Parameters
    ----------
    slices
        Name and AnnData of each slice.
    settings
        See :class:`~napari_staligner.core.settings.Settings`.
    """
    from napari_staligner.core.prepare.graph import graph_steps
    from napari_staligner.core.training.data import Prepared
    from napari_staligner.core.training.estimate import Extent, check_memory, estimate
    from napari_staligner.core.training.train import train

    epochs = settings.pretrain_epochs + settings.epochs
    part = max(len(slices), epochs // 40)
    ledger = _Ledger(total=epochs + 5 * part, done=0, notes=[])
    check_slices(slices, settings)
    inputs = Inputs.of(slices)
    slices = inputs.slices
    extent = Extent.of(slices)
    # What cannot fit at all is said before anything is read.
    check_memory(estimate(extent, settings))
    ready = yield from ledger.follow(prepare_steps(slices, settings), part)
    slices, genes, expression, depth, layers = ready
    rehearse(slices, genes, layers)
    names = tuple(name for name, _ in slices)
    places = {name: np.asarray(adata.obsm[K.SPATIAL])[:, :2] for name, adata in slices}
    graphs = yield from ledger.follow(graph_steps(list(places.items()), settings), part)
    connectivities = _stack(graphs, "connectivities")
    coordinates = np.concatenate(list(places.values())).astype(np.float64)
    data = Prepared(
        names,
        tuple(map(len, places.values())),
        expression,
        connectivities,
        coordinates,
        depth,
    )
    extent = replace(Extent.of(slices), n_genes=expression.n_genes, stored=expression.stored)
    need = estimate(extent, settings)
    check_memory(need)
    # Said, but not kept with the result: it tells of this machine at this moment.
    yield Progress("estimate", ledger.done, ledger.total, outlook=str(need))
    trained = yield from ledger.follow(train(data, settings), epochs)
    # From here on nothing that fails may cost the training.
    job = StagesJob(
        places,
        trained.embedding,
        connectivities,
        trained.mutual,
        pairs=tuple((names[i], names[j]) for i, j in trained.pairs),
        settings=settings,
    )
    staged = yield from ledger.follow(stage_steps(job), 3 * part)
    joining = attempt(lambda: _joined(slices, genes, layers), EXPRESSION)
    joined = yield from ledger.follow(joining, 0)
    adata, counts = joined or (_tables_of(slices, genes), None)
    for note in inputs.record(adata):
        ledger.notes.append(note)
        yield Progress("record", ledger.done, ledger.total, note=note)
    _record(adata, graphs, trained, settings)
    if counts is not None:
        adata.uns[K.STALIGNER][K.COUNTS_LAYER] = counts
    yield from ledger.follow(record_stages(adata, staged, settings), 0)
    yield from ledger.follow(attempt(lambda: _provenance(adata, slices), PROVENANCE), 0)
    adata.uns[K.STALIGNER]["notes"] = np.array(ledger.notes, dtype=object)
    settle_notes(adata)
    yield Progress("done", ledger.total, ledger.total)
    return adata


def _joined(
    slices: Sequence[tuple[str, AnnData]], genes: Sequence[str], layers: Sequence[str | None]
) -> Steps[tuple[AnnData, str | None]]:
    yield Progress("joining the slices", 0, 1)
    return concatenate(slices, genes, layers)


def _tables_of(slices: Sequence[tuple[str, AnnData]], genes: Sequence[str]) -> AnnData:
    """All but the expression; where even that fails, slices and coordinates of the spots."""
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
    places = [np.asarray(adata.obsm[K.SPATIAL])[:, :2] for _, adata in slices]
    obs = pd.DataFrame({K.SLICE: slice_of}, index=index)
    return AnnData(obs=obs, obsm={K.SPATIAL: np.concatenate(places)})


def _provenance(adata: AnnData, slices: Sequence[tuple[str, AnnData]]) -> Steps[None]:
    yield Progress("provenance", 0, 1)
    record_provenance(adata, slices)


class Ready(NamedTuple):
    """Slices that were checked, with what is trained on.

    ``slices`` have unique names and only the spots that are used; ``genes`` are those they share;
    ``log_depth``, shape (spots,), is ``None`` where the values of a slice are not counts;
    ``layers`` hold the counts, ``None`` where they are in ``X``.
    """

    slices: list[tuple[str, AnnData]]
    genes: list[str]
    expression: Expression
    log_depth: NDArray[np.float64] | None
    layers: list[str | None]


def check_slices(slices: Sequence[tuple[str, AnnData]], settings: Settings) -> None:
    """Check what can be told without looking into the slices.

    Raises
    ------
    InputError
        There is none, two have one name, or the settings name one that is not there.
    """
    from napari_staligner.core.training.matching import pairs_of

    if not slices:
        raise InputError("There is no slice to integrate: give one or several .h5ad files.")
    names = [name for name, _ in slices]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"Two slices are named {doubled!r}: give each a name of its own.")
    unfit = next((name for name in names if storable_name(name) != name), None)
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
    """Check the slices and find their shared variable genes, one slice after the other.

    Raises
    ------
    InputError
        A slice cannot be used.
    """
    names = [name for name, _ in slices]
    ready, genes, depths, notes = [], [], [], [ONE_SLICE] if len(slices) == 1 else []
    stored, varies, layers, marks = [], [], [], []
    slices = [(name, with_places(name, with_plain_matrices(name, a))) for name, a in slices]
    slices, changed = storable_slices(slices)
    slices, matched = with_matched_genes(slices)
    wanted = layers_wanted(slices, settings.counts_layer)
    notes += [*changed, *matched]
    for done, (name, adata) in enumerate(slices):
        yield Progress(f"check {name}", 2 * done, 2 * len(slices))
        adata = with_places(name, with_plain_matrices(name, adata))
        # Before any spot is left out, so that a window finds them by their names again.
        adata, renamed = with_unique_names(name, adata)
        adata, layer, said = with_counts_layer(name, adata, wanted)
        adata, held, left = used_spots(name, adata, layer, all_spots=settings.all_spots)
        notes += [*notes_of(name, adata), *said, *left, *check_slice(name, held, layer), *renamed]
        layers.append(layer)
        marks.append(mark_of(held, layer))
        yield Progress(f"variable genes of {name}", 2 * done + 1, 2 * len(slices))
        genes.append(variable_genes(name, held, layer, settings.n_top_genes))
        depths.append(log_depth(name, held, layer))
        stored.append(pd.Series(stored_by_gene(name, held, layer), held.var_names))
        varies.append(pd.Series(varying(expression_of(name, held, layer)), held.var_names))
        ready.append((name, adata))
    shared, warning = shared_genes(names, genes)
    for name, of_slice in zip(names, varies, strict=True):
        check_shared(name, int(of_slice[shared].sum()), len(shared))
    notes += [*same_slices(names, marks), *left_behind(ready, layers)]
    for note in [*notes, *([warning] if warning else [])]:
        yield Progress("checked", 2 * len(slices), 2 * len(slices), note=note)
    n_stored = int(sum(of_slice[shared].sum() for of_slice in stored))
    expression = Expression.of_slices(ready, shared, layers, n_stored)
    known = [depth for depth in depths if depth is not None]
    depth = np.concatenate(known) if len(known) == len(ready) else None
    return Ready(ready, shared, expression, depth, layers)


def rehearse(
    slices: Sequence[tuple[str, AnnData]],
    used_genes: Sequence[str],
    counts: Sequence[str | None],
) -> None:
    """Join the slices without what is large, and see that a file can hold the result.

    Parameters
    ----------
    slices, used_genes, counts
        As for :func:`concatenate`.

    Raises
    ------
    InputError
        They cannot be joined, or what they give cannot be written.
    """
    # Whole tables without values, and a few spots with all their values.
    few = [(name, adata[:2]) for name, adata in slices]
    for join in (
        lambda: without_expression(slices, used_genes),
        lambda: concatenate(few, used_genes, counts)[0],
    ):
        try:
            joined = join()
        except (TypeError, ValueError, NotImplementedError) as error:
            raise InputError(
                f"The slices cannot be joined ({error}): leave out the columns and layers that "
                "are of other types than numbers and text."
            ) from error
        check_storable(joined)


def without_expression(slices: Sequence[tuple[str, AnnData]], used_genes: Sequence[str]) -> AnnData:
    """Put slices into one AnnData as :func:`concatenate` does, without ``X`` and layers."""
    from anndata import AnnData

    tables = []
    for name, adata in slices:
        empty = sparse.csr_matrix(adata.shape, dtype=np.float32)
        part = AnnData(
            empty, obs=adata.obs, var=adata.var, uns=dict(adata.uns), obsm=dict(adata.obsm)
        )
        tables.append((name, part))
    joined, _ = concatenate(tables, used_genes, [None] * len(tables))
    joined.X = None
    return joined


def concatenate(
    slices: Sequence[tuple[str, AnnData]],
    used_genes: Sequence[str],
    counts: Sequence[str | None],
) -> tuple[AnnData, str | None]:
    """Put slices into one AnnData with all spots and all genes.

    Parameters
    ----------
    slices
        Name and AnnData of each slice.
    used_genes
        Genes to mark in ``var["used_by_staligner"]``.
    counts
        Layer of each slice that holds its counts; ``None`` for ``X``.

    Returns
    -------
    adata
        ``X``, and the layers and embeddings that all slices have, hold what the slices hold, with
        zeros for genes that a slice lacks (``varm["in_slice"]`` tells which); spots are named
        ``<spot>_<slice>``.
    counts
        The layer that holds the counts of all; ``None`` for ``X``.
    """
    import anndata as ad

    names = [name for name, _ in slices]
    parts, layer = slim_slices([adata for _, adata in slices], counts)
    joined = ad.concat(
        parts,
        join="outer",
        label=K.SLICE,
        keys=names,
        index_unique="_",
        fill_value=0,
        uns_merge="same",
    )
    # The join sorts the genes; they stay in the order of the slices.
    joined = joined[:, pd.unique(np.concatenate([a.var_names for _, a in slices]))].copy()
    joined.obs[K.SLICE] = pd.Categorical(joined.obs[K.SLICE].astype(str), categories=names)
    for _, adata in slices:
        for column in adata.var:
            if column not in joined.var:
                merged = [a.var[column] for _, a in slices if column in a.var]
                whole = pd.concat(merged)
                joined.var[column] = whole[~whole.index.duplicated()].reindex(joined.var_names)
    joined.var[K.USED_GENE] = joined.var_names.isin(list(used_genes))
    joined.varm[K.IN_SLICE] = np.stack(
        [joined.var_names.isin(adata.var_names) for _, adata in slices], axis=1
    )
    own = ((name, adata, own_library(adata, name)) for name, adata in slices)
    # By the name of the slice, for squidpy.
    joined.uns[K.SPATIAL] = {
        name: drawable(library[1], np.asarray(adata.obsm[K.SPATIAL])[:, :2])
        for name, adata, library in own
        if library is not None
    }
    return joined, layer


def _stack(graphs: Mapping[str, SpatialGraph], part: str) -> sparse.csr_matrix:
    blocks = [getattr(graph, part) for graph in graphs.values()]
    return sparse.csr_matrix(sparse.block_diag(blocks, format="csr"))


def _record(
    adata: AnnData,
    graphs: Mapping[str, SpatialGraph],
    trained: Trained,
    settings: Settings,
) -> None:
    """Write what the training gave."""
    names = list(graphs)
    adata.obs[K.LIBRARY] = adata.obs[K.SLICE]
    adata.obsm[K.EMBEDDING] = trained.embedding
    adata.obsp[K.CONNECTIVITIES] = _stack(graphs, "connectivities")
    adata.obsp[K.DISTANCES] = _stack(graphs, "distances")
    adata.obsp[K.ATTENTION] = trained.attention
    adata.obsp[K.MUTUAL] = trained.mutual
    pairs = [(names[i], names[j]) for i, j in trained.pairs]
    adata.uns[K.STALIGNER] |= {
        "params": _plain(settings),
        "version": version("napari-staligner"),
        "loss": {"reconstruction": trained.reconstruction, "triplet": trained.triplet},
        K.RECONSTRUCTION_BY_SLICE: dict(
            zip(names, trained.reconstruction_by_slice.tolist(), strict=True)
        ),
        "slices": np.array(names, dtype=object),
        "pairs": np.array(pairs, dtype=object).reshape(-1, 2),
        "radius": {name: graph.radius for name, graph in graphs.items() if graph.radius},
    }


def _plain(settings: Settings) -> dict[str, Any]:
    """Settings as AnnData can store them: what is ``None`` is left out."""
    values = {key: value for key, value in asdict(settings).items() if value is not None}
    if "pairs" in values:
        values["pairs"] = np.array(values["pairs"], dtype=object).reshape(-1, 2)
    return values
