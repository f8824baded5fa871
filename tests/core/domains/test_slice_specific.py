from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from napari_staligner import Settings, find_domains
from napari_staligner.core.domains.domains import domain_steps, record_domains
from napari_staligner.core.domains.slice_specific import (
    SpotContext,
    lone_structures,
    seeds_of,
    tissue_of,
)
from napari_staligner.core.prepare.graph import spatial_graph
from napari_staligner.core.progress import finish
from napari_staligner.core.result.confidence import confidence_steps

SIDE, SLICES = 30, 3
SIZES = [SIDE * SIDE] * SLICES
"""Spots of each slice, on a square grid."""


def grid():
    return np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1).reshape(-1, 2)


@pytest.fixture(scope="module")
def links():
    graph = spatial_graph(grid().astype(float), Settings(radius=1.5))
    return sparse.csr_matrix(sparse.block_diag([graph.connectivities] * SLICES))


def layers(seed=0, lone=True):
    """Three wide layers in each slice; in the first, a strip beside the last is of another kind."""
    rng = np.random.default_rng(seed)
    row = np.tile(grid()[:, 0], SLICES)
    truth = np.minimum(row // 10, 2)
    if lone:
        truth[: SIZES[0]][row[: SIZES[0]] >= SIDE - 3] = 3
    z = rng.normal(size=(len(row), 3)) * [0.5, 0.5, 0.3]
    z[:, 0] += 5 * truth.clip(max=2)
    z[:, 1] += 5 * (truth == 1)
    z[truth == 3, 2] += 2.2
    return z.astype(np.float32), truth


def tissue(z, links):
    return SpotContext(
        np.repeat(np.arange(SLICES), SIZES),
        np.tile(grid(), (SLICES, 1)).astype(float),
        finish(confidence_steps(z, SIZES)),
        links,
    )


def best_f1(labels, wanted):
    held = [labels == label for label in np.unique(labels)]
    return max(2 * (one & wanted).sum() / (one.sum() + wanted.sum()) for one in held)


def test_a_structure_of_one_slice_is_found(links):
    z, truth = layers()
    (rows,) = lone_structures(z, tissue(z, links), 4)
    assert (truth[rows] == 3).mean() > 0.95
    assert len(rows) > 0.5 * (truth == 3).sum()


def test_nothing_is_found_where_all_slices_have_the_same(links):
    for seed in range(3):
        z, _ = layers(seed, lone=False)
        assert lone_structures(z, tissue(z, links), 4) == []


def test_nothing_is_found_without_confidence_or_in_one_slice():
    whole = SpotContext(np.repeat([0, 1], 50), np.zeros((100, 2)))
    assert lone_structures(np.zeros((100, 2)), whole, 3) == []
    single = SpotContext(
        np.zeros(100, dtype=int), np.zeros((100, 2)), np.zeros(100), sparse.eye(100)
    )
    assert lone_structures(np.zeros((100, 2)), single, 3) == []


def test_a_slice_that_is_not_aligned_has_no_structure_of_its_own(links):
    z, _ = layers(lone=False)
    whole = tissue(z, links)
    whole.confidence[: int(0.6 * SIZES[0])] = 0
    assert lone_structures(z, whole, 2) == []
    whole.confidence[: int(0.6 * SIZES[0])] = 1
    whole.confidence[: int(0.2 * SIZES[0])] = 0
    assert len(lone_structures(z, whole, 2)) == 1
    # A structure that two of the slices have is not one that one slice alone has.
    whole.confidence[SIZES[0] : int(1.2 * SIZES[0])] = 0
    between = sparse.lil_matrix(links)
    between[0, SIZES[0]] = between[SIZES[0], 0] = 1
    both = SpotContext(whole.slice_of, whole.places, whole.confidence, between.tocsr())
    assert lone_structures(z, both, 2) == []


def test_pieces_that_are_alike_are_one_structure(links):
    z, truth = layers()
    whole = tissue(z, links)
    # A column of the strip has a counterpart, which parts the rest of it on the tissue.
    column = np.tile(grid()[:, 1], SLICES)
    whole.confidence[:] = (truth != 3) | (column == SIDE // 2)
    (rows,) = lone_structures(z, whole, 4)
    assert len(rows) == 3 * (SIDE - 1)


def test_a_few_spots_are_no_structure(links):
    z, _ = layers(lone=False)
    whole = tissue(z, links)
    whole.confidence[:15] = 0
    assert lone_structures(z, whole, 4) == []


def test_the_structure_gets_a_domain_and_k_stays(links):
    z, truth = layers()
    # Three domains for four kinds: by likelihood, the one that is rare goes to its neighbour.
    settings = Settings(domains=3, seed=0)
    plain = finish(domain_steps(z, links, settings)).labels
    assert best_f1(plain, truth == 3) < 0.6
    found = finish(domain_steps(z, links, settings, tissue(z, links)))
    assert best_f1(found.labels, truth == 3) > 0.85
    assert np.unique(found.labels).tolist() == [0, 1, 2]
    again = finish(domain_steps(z, links, settings, tissue(z, links)))
    np.testing.assert_array_equal(found.labels, again.labels)


def test_a_domain_that_swallows_what_all_slices_have_is_let_go(links):
    z, truth = layers(lone=False)
    z[:, 0], z[:, 1] = 5 * (truth > 0), 0
    z[:, 0] += np.random.default_rng(1).normal(size=len(z)) * 0.5
    whole = tissue(z, links)
    # Whatever the reason for it: a patch of a wide layer does not find its counterpart.
    row, column = np.tile(grid(), (SLICES, 1)).T
    patch = (whole.slice_of == 0) & (row >= 20) & (column < 10)
    whole.confidence[:] = ~patch
    assert len(lone_structures(z, whole, 2)) == 1
    found = finish(domain_steps(z, links, Settings(domains=2, seed=0), whole))
    assert {row.verdict for row in found.presence.rows} == {"shared"}
    assert best_f1(found.labels, truth > 0) > 0.99


def test_the_structure_keeps_its_domain_where_starts_are_tried_on_some_spots(links, monkeypatch):
    monkeypatch.setattr("napari_staligner.core.domains.mixture.TRIAL_SPOTS", 1000)
    z, truth = layers()
    found = finish(domain_steps(z, links, Settings(domains=3, seed=0), tissue(z, links)))
    assert best_f1(found.labels, truth == 3) > 0.85


def test_a_structure_holds_the_domains_that_it_has_or_one(links):
    z, truth = layers()
    whole = tissue(z, links)
    (rows,) = lone_structures(z, whole, 4)
    seeds = seeds_of([rows], np.minimum(truth, 2), whole.slice_of)
    np.testing.assert_array_equal(np.flatnonzero(seeds == 0), rows)
    # Two domains of the slice's own hold themselves; what lies in a shared one is left free.
    labels = truth.copy()
    labels[rows[: len(rows) // 2]] = 4
    labels[rows[-5:]] = 0
    seeds = seeds_of([rows], labels, whole.slice_of)
    parts = [set(rows[labels[rows] == label]) for label in (3, 4)]
    assert [set(np.flatnonzero(seeds == number)) for number in (0, 1)] == parts
    assert (seeds[rows[-5:]] == -1).all()
    # A large part that lies in shared ones is another structure, beside that of its own.
    labels = truth.copy()
    labels[rows[-40:]] = 0
    seeds = seeds_of([rows], labels, whole.slice_of)
    assert [np.flatnonzero(seeds == number).tolist() for number in (0, 1)] == [
        rows[:-40].tolist(),
        rows[-40:].tolist(),
    ]


def test_single_spots_without_a_counterpart_do_not_hide_a_structure(links):
    z, truth = layers()
    whole = tissue(z, links)
    noisy = np.random.default_rng(0).random(len(z)) < 0.1
    whole.confidence[noisy & (whole.slice_of == 0)] = 0.2
    (rows,) = lone_structures(z, whole, 4)
    assert (truth[rows] == 3).mean() > 0.95


def test_find_domains_reads_what_it_needs_from_the_result(links):
    z, truth = layers()
    n = len(z)
    whole = tissue(z, links)
    adata = AnnData(
        shape=(n, 0),
        obsm={"STAligner": z, "spatial": whole.places},
        obsp={"spatial_connectivities": links, "mutual_neighbors": sparse.csr_matrix((n, n))},
    )
    assert tissue_of(adata) is None
    adata.obs["slice"] = np.array(["a", "b", "c"])[whole.slice_of]
    assert tissue_of(adata).confidence is None
    adata.obs["alignment_confidence"] = whole.confidence
    find_domains(adata, 3, seed=0)
    assert best_f1(adata.obs["domain"].to_numpy(), truth == 3) > 0.85
    assert 0 < adata.uns["staligner"]["domain_stability"] <= 1
    record_domains(adata, truth, Settings())
    assert "domain_stability" not in adata.uns["staligner"]
