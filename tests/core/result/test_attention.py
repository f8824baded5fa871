"""Figures and edges of the attention against a naive loop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from scipy.sparse import csr_matrix

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.result.attention import (
    attention_edges,
    attention_entropy,
    border_attention,
    foreign_attention,
    neighbor_table,
    self_attention,
    spot_edges,
    top_weight,
)

N_SPOTS = 23


@pytest.fixture
def result() -> AnnData:
    """Symmetric random graph with self loops, unequal weights, spot 0 alone."""
    rng = np.random.default_rng(3)
    linked = np.triu(rng.random((N_SPOTS, N_SPOTS)) < 0.25, 1)
    linked[0] = False
    linked = linked | linked.T
    scores = np.where(linked | np.eye(N_SPOTS, dtype=bool), rng.random((N_SPOTS, N_SPOTS)), 0)
    weights = scores / scores.sum(axis=1, keepdims=True)
    adata = AnnData(np.zeros((N_SPOTS, 1), dtype=np.float32))
    adata.obs_names = [f"spot{i}" for i in range(N_SPOTS)]
    adata.obs["domain"] = pd.Categorical(np.where(np.arange(N_SPOTS) % 2, "odd", "even"))
    adata.obsp["attention"] = sparse.csr_matrix(weights.astype(np.float32))
    adata.obsp["spatial_distances"] = sparse.csr_matrix(
        np.where(linked, 1 + np.abs(np.subtract.outer(np.arange(N_SPOTS), np.arange(N_SPOTS))), 0.0)
    )
    return adata


def naive_edges(adata, rows, threshold, strongest):
    weights = adata.obsp["attention"].toarray()
    edges = []
    for i in rows:
        senders = [j for j in range(N_SPOTS) if j != i and weights[i, j] > 0]
        senders = [j for j in senders if weights[i, j] >= threshold]
        senders.sort(key=lambda j: (-weights[i, j], j))
        if strongest:
            senders = senders[:strongest]
        edges += [(i, j, weights[i, j]) for j in sorted(senders)]
    return edges


def test_self_attention_is_the_diagonal(result):
    expected = [result.obsp["attention"][i, i] for i in range(N_SPOTS)]
    found = self_attention(result)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float32(expected))
    assert found[0] == 1


def test_entropy_agrees_with_a_loop(result):
    expected = []
    for row in result.obsp["attention"].toarray().astype(float):
        heard = row[row > 0]
        expected.append(
            -(heard * np.log(heard)).sum() / np.log(len(heard)) if len(heard) > 1 else 0.0
        )
    found = attention_entropy(result)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_entropy_of_uniform_attention_is_one_and_of_a_lonely_spot_zero(result):
    uniform = result.obsp["attention"].copy()
    uniform.data[:] = np.repeat(1 / np.diff(uniform.indptr), np.diff(uniform.indptr))
    result.obsp["attention"] = uniform
    found = attention_entropy(result)
    assert found[0] == 0
    np.testing.assert_allclose(found[1:], 1, rtol=1e-6)
    assert found.max() <= 1


@pytest.mark.parametrize("strongest", [0, 1, 3])
@pytest.mark.parametrize("threshold", [0.0, 0.15])
@pytest.mark.parametrize("rows", [range(N_SPOTS), range(7, 15), [9, 2, 0]])
def test_edges_agree_with_a_loop(result, rows, threshold, strongest):
    receivers, senders, weights = attention_edges(
        result, np.array(rows), threshold=threshold, strongest=strongest
    )
    expected = naive_edges(result, rows, np.float32(threshold), strongest)
    assert expected, "the case must hold edges"
    assert list(zip(receivers.tolist(), senders.tolist(), weights, strict=True)) == expected


def test_of_equal_weights_the_first_sender_is_kept(result):
    row = np.full((1, N_SPOTS), 1 / N_SPOTS, dtype=np.float32)
    result.obsp["attention"] = sparse.csr_matrix(np.repeat(row, N_SPOTS, axis=0))
    receivers, senders, _ = attention_edges(result, np.array([0, 5]), strongest=2)
    assert receivers.tolist() == [0, 0, 5, 5]
    assert senders.tolist() == [1, 2, 0, 1]


def test_edges_do_not_depend_on_the_order_of_storage(result):
    tidy = attention_edges(result, np.arange(N_SPOTS), strongest=2)
    stored = result.obsp["attention"]
    backwards = np.concatenate(
        [np.arange(b, a, -1) - 1 for a, b in zip(stored.indptr, stored.indptr[1:], strict=False)]
    )
    result.obsp["attention"] = sparse.csr_matrix(
        (stored.data[backwards], stored.indices[backwards], stored.indptr), shape=stored.shape
    )
    again = attention_edges(result, np.arange(N_SPOTS), strongest=2)
    for a, b in zip(tidy, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_rows_give_no_edges(result):
    assert [len(x) for x in attention_edges(result, np.array([], dtype=int))] == [0, 0, 0]


def test_top_weight_leaves_out_self_loops(result):
    weights = result.obsp["attention"].toarray()
    between = [weights[i, j] for i in range(N_SPOTS) for j in range(N_SPOTS) if i != j]
    assert top_weight(result) == pytest.approx(np.percentile([w for w in between if w], 99))
    result.obsp["attention"] = sparse.identity(N_SPOTS, dtype=np.float32, format="csr")
    assert top_weight(result) == 1


@pytest.mark.parametrize("row", [0, 4, 11])
def test_table_lists_both_directions(result, row):
    weights = result.obsp["attention"].toarray()
    distances = result.obsp["spatial_distances"].toarray()
    table = neighbor_table(result, row)
    expected = {j for j in range(N_SPOTS) if weights[row, j] or weights[j, row]} | {row}
    assert set(table.index) == expected
    assert list(table.columns) == ["name", "domain", "distance", "incoming", "outgoing"]
    assert table.index[0] == row
    assert table["incoming"].iloc[1:].is_monotonic_decreasing
    for j, line in table.iterrows():
        assert line["name"] == f"spot{j}"
        assert line["domain"] == ("odd" if j % 2 else "even")
        assert line["incoming"] == pytest.approx(weights[row, j])
        assert line["outgoing"] == pytest.approx(weights[j, row])
        assert line["distance"] == distances[row, j]
    assert table["incoming"].sum() == pytest.approx(1)


def test_table_without_domains_or_distances(result):
    del result.obs["domain"], result.obsp["spatial_distances"]
    table = neighbor_table(result, 4)
    assert set(table["domain"]) == {""}
    assert table.loc[4, "distance"] == 0
    assert table["distance"].iloc[1:].isna().all()


@pytest.mark.parametrize(
    "call",
    [
        self_attention,
        attention_entropy,
        top_weight,
        lambda a: attention_edges(a, np.arange(3)),
        lambda a: neighbor_table(a, 0),
    ],
)
def test_without_attention_the_slot_is_named(result, call):
    del result.obsp["attention"]
    with pytest.raises(InputError, match="attention"):
        call(result)


# --- one spot, and the borders of domains


def bordered():
    """Six spots: 0 to 2 in domain a, 3 to 5 in b; 2 and 3 hear across."""
    weights = np.array(
        [
            [0.5, 0.5, 0, 0, 0, 0],
            [0.3, 0.4, 0.3, 0, 0, 0],
            [0, 0.5, 0.3, 0.2, 0, 0],
            [0, 0, 0.1, 0.5, 0.2, 0.2],
            [0, 0, 0, 0.5, 0.5, 0],
            [0, 0, 0, 0.4, 0, 0.6],
        ]
    )
    domain = pd.Categorical(list("aaabbb"), ["a", "b", "alone"])
    return AnnData(
        obs=pd.DataFrame({K.DOMAIN: domain}, index=[f"spot{i}" for i in range(6)]),
        obsp={K.ATTENTION: csr_matrix(weights)},
    )


def test_edges_of_a_spot_are_those_it_hears_and_those_that_hear_it():
    receivers, senders, weights = spot_edges(bordered(), 3)
    found = {(r, s): w for r, s, w in zip(receivers, senders, weights, strict=True)}
    expected = {(2, 3): 0.2, (3, 2): 0.1, (3, 4): 0.2, (3, 5): 0.2, (4, 3): 0.5, (5, 3): 0.4}
    assert found == pytest.approx(expected)
    assert len(spot_edges(bordered(), 3, threshold=0.3)[0]) == 2


def test_attention_to_other_domains():
    np.testing.assert_allclose(foreign_attention(bordered()), [0, 0, 0.2, 0.1, 0, 0], atol=1e-7)


def test_spots_without_a_domain_are_nobodys_foreigners():
    adata = bordered()
    adata.obs[K.DOMAIN] = pd.Categorical(["a", "a", "a", None, "b", "b"], ["a", "b"])
    np.testing.assert_array_equal(foreign_attention(adata), np.zeros(6))
    assert border_attention(adata)["spots"].tolist() == [0, 0]


def test_borders_compare_only_spots_that_hear_both():
    table = border_attention(bordered())
    assert table["spots"].tolist() == [1, 1, 0]
    np.testing.assert_allclose(table["within"], [0.5, 0.2, np.nan])
    np.testing.assert_allclose(table["across"], [0.2, 0.1, np.nan])


def test_figures_across_domains_need_domains():
    adata = bordered()
    del adata.obs[K.DOMAIN]
    for figure in (foreign_attention, border_attention):
        with pytest.raises(InputError, match="obs\\['domain'\\]"):
            figure(adata)
