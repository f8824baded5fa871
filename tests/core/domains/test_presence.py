from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.blocks import blocks_of
from napari_staligner.core.domains.domains import domain_steps, record_domains
from napari_staligner.core.domains.presence import (
    PresenceTable,
    domain_presence,
    presence,
    record_presence,
    recorded_presence,
)
from napari_staligner.core.domains.slice_specific import tissue_of
from napari_staligner.core.progress import finish
from napari_staligner.core.settings import Settings


def tissue(side: int = 40) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=2).reshape(-1, 2) * 1.0


def layers_of(points: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """Five bands of equal width, moved along y."""
    return np.clip((points[:, 1] + shift) // 8, 0, 4).astype(int)


def table_of(labels: list[np.ndarray], points: list[np.ndarray]) -> PresenceTable:
    names = [f"s{i}" for i in range(len(labels))]
    return presence(
        pd.Categorical(np.concatenate(labels)),
        pd.Categorical(np.repeat(names, list(map(len, labels)))),
        np.concatenate(points),
    )


def test_blocks_are_compact_and_of_equal_size():
    points = np.random.default_rng(0).uniform(size=(1000, 2)) * [10, 2]
    block = blocks_of(points)
    sizes = np.bincount(block)
    assert len(sizes) == 64
    assert sizes.min() >= 15
    assert sizes.max() <= 17
    spread = [np.ptp(points[block == b], axis=0).max() for b in range(64)]
    assert np.median(spread) < 1.2
    assert len(np.bincount(blocks_of(np.random.default_rng(0).uniform(size=(30000, 2))))) == 256
    assert blocks_of(points[:5]).tolist() == [0] * 5


def test_a_patch_in_one_slice_is_found_and_the_layers_are_shared():
    points = tissue(60)
    first, second = layers_of(points), layers_of(points, 2)
    patch = (points[:, 0] < 15) & (points[:, 1] < 12)
    first[patch] = 5
    table = table_of([first, second], [points, points * 3])
    assert {label: row.slice for label, row in table.specific().items()} == {"5": "s0"}
    rows = {(row.label, row.slice): row for row in table.rows}
    assert rows["5", "s1"].verdict == "depleted"
    assert rows["5", "s0"].spots == 180
    assert rows["5", "s0"].share == pytest.approx(0.05)
    assert rows["5", "s1"].elsewhere == pytest.approx(0.05)
    assert {row.verdict for row in table.rows if row.label != "5"} == {"shared"}


def test_some_strays_elsewhere_do_not_hide_it():
    points = tissue()
    labels = [layers_of(points) for _ in range(4)]
    labels[2][(points[:, 0] < 12) & (points[:, 1] < 12)] = 7
    labels[0][np.random.default_rng(0).choice(len(points), 10, replace=False)] = 7
    assert table_of(labels, [points] * 4).specific()["7"].slice == "s2"


def test_a_layer_that_one_of_four_slices_lacks_is_depleted_there():
    points = tissue()
    labels = [layers_of(points) for _ in range(4)]
    labels[3][labels[3] == 4] = 3
    table = table_of(labels, [points] * 4)
    lacking = {(row.label, row.slice) for row in table.rows if row.verdict == "depleted"}
    assert lacking == {("4", "s3")}
    assert not table.specific()


def test_one_compact_patch_of_a_block_is_no_evidence():
    """20 spots side by side count as what they are: one or two draws, not twenty."""
    points = tissue()
    first, second = layers_of(points), layers_of(points)
    first[(points[:, 0] < 5) & (points[:, 1] < 4)] = 6
    table = table_of([first, second], [points, points])
    assert not table.specific()
    assert {r.slice: r.verdict for r in table.rows if r.label == "6"} == dict.fromkeys(
        ("s0", "s1"), "unclear"
    )
    assert table.unclear() == ["6"]


def level(patch: int) -> tuple[float, float]:
    """Share of p ≤ 5 % with patches of labels drawn alike in both slices; ours, and by spots."""
    from scipy.stats import fisher_exact

    rng = np.random.default_rng(0)
    points, side = tissue(24), 24 // patch
    where = (points[:, 0] // patch * side + points[:, 1] // patch).astype(int)
    ours, by_spots = [], []
    for _ in range(40):
        labels = [rng.choice(3, side * side, p=[0.6, 0.3, 0.1])[where] for _ in range(2)]
        ours += [row.p for row in table_of(labels, [points] * 2).rows if row.slice == "s0"]
        counts = np.array([np.bincount(found, minlength=3) for found in labels])
        by_spots += [
            fisher_exact(np.stack([counts[:, i], 576 - counts[:, i]]))[1] for i in range(3)
        ]
    return np.mean(np.array(ours) <= 0.05), np.mean(np.array(by_spots) <= 0.05)


def test_the_test_keeps_its_level_where_neighbours_are_alike():
    """Exactly with patches inside a block; roughly with patches as large as one."""
    small, by_spots = level(2)
    assert small < 0.12
    assert by_spots > 0.2
    large, by_spots = level(4)
    assert large < 0.25
    assert by_spots > 0.5


def test_a_slice_alone_and_labels_without_spots():
    points = tissue(10)
    table = table_of([layers_of(points)], [points])
    assert {row.verdict for row in table.rows} == {"shared"}
    labels = pd.Categorical(["a"] * 100, categories=["a", "b"])
    slices = pd.Categorical(["x"] * 50 + ["y"] * 50)
    table = presence(labels, slices, points)
    assert {row.verdict for row in table.rows} == {"shared"}


def test_spots_without_a_label_are_no_label():
    points = tissue()
    labels = pd.Categorical(np.where(points[:, 1] < 20, "a", None))
    table = presence(labels, pd.Categorical(np.where(points[:, 0] < 20, "x", "y")), points)
    assert [(row.label, row.spots, row.share) for row in table.rows] == [
        ("a", 400, 0.5),
        ("a", 400, 0.5),
    ]


def test_the_record_goes_with_the_domains_and_through_a_file(tmp_path):
    _, adata = fake_result((160, 150))
    assert recorded_presence(adata) is None
    record_domains(adata, np.arange(adata.n_obs) % 3, Settings(domains=3))
    table = recorded_presence(adata)
    assert table == domain_presence(adata)
    rows = table.to_frame()
    assert rows["spots"].sum() == adata.n_obs
    own = (adata.obs[K.DOMAIN] == rows["label"][0]) & (adata.obs[K.SLICE] == rows["slice"][0])
    assert rows["confidence"][0] == pytest.approx(adata.obs[K.CONFIDENCE][own].mean())
    adata.write_h5ad(tmp_path / "out.h5ad")
    again = ad.read_h5ad(tmp_path / "out.h5ad")
    pd.testing.assert_frame_equal(recorded_presence(again).to_frame(), rows)
    again.obs[K.DOMAIN] = again.obs[K.DOMAIN].cat.rename_categories({"1": "one"})
    assert recorded_presence(again) is None
    record_presence(again)
    assert recorded_presence(again).rows[0].label == "one"


def test_domains_that_were_tested_when_found_have_the_same_record():
    _, adata = fake_result((160, 150))
    adata.obs[K.SLICE] = adata.obs[K.SLICE].cat.reorder_categories(["slice2", "slice1"])
    adata.obs[K.DOMAIN] = adata.obs[K.DOMAIN].cat.rename_categories({"1": "one"})
    tissue = tissue_of(adata)
    z = np.asarray(adata.obsm[K.EMBEDDING])
    found = finish(domain_steps(z, None, Settings(domains=3, seed=0), tissue))
    record_domains(adata, found.labels, Settings(domains=3), found.stability, found.presence)
    ours, theirs = recorded_presence(adata).to_frame(), domain_presence(adata).to_frame()
    columns = ["label", "slice"]
    pd.testing.assert_frame_equal(
        ours.sort_values(columns, ignore_index=True), theirs.sort_values(columns, ignore_index=True)
    )
    assert ours["label"].drop_duplicates().tolist() == adata.obs[K.DOMAIN].cat.categories.tolist()


def test_a_spot_without_a_slice():
    with pytest.raises(InputError, match="empty for some spots"):
        presence(pd.Categorical(["a", "a"]), pd.Categorical(["x", None]), np.zeros((2, 2)))


def test_real_layers(shared_data):
    """As annotated: nothing is of one slice only, until a layer is taken from the others."""
    from napari_staligner import read_slices

    names = [f"DLPFC_{number}" for number in range(151673, 151677)]
    parts = read_slices([shared_data / f"{name}.h5ad" for name in names])

    def specific(drop: str | None) -> dict[str, str]:
        kept = [
            (name, a if i == 0 or drop is None else a[(a.obs["layer"] != drop).to_numpy()])
            for i, (name, a) in enumerate(parts)
        ]
        table = presence(
            pd.Categorical(pd.concat([a.obs["layer"].astype(object) for _, a in kept])),
            pd.Categorical(np.repeat([n for n, _ in kept], [a.n_obs for _, a in kept])),
            np.concatenate([a.obsm["spatial"] for _, a in kept]),
        )
        return {label: row.slice for label, row in table.specific().items()}

    assert specific(None) == {}
    for layer in ("WM", "Layer1"):
        assert specific(layer) == {layer: names[0]}
