"""What a slice is taken for."""

from __future__ import annotations

import numpy as np
import pytest
from made_formats import make_gem, make_visium, make_visium_hd
from scipy import sparse
from tiny import tiny_slice

from napari_staligner import read_slices
from napari_staligner.core.prepare.counts import ValueKind
from napari_staligner.core.progress import finish
from napari_staligner.io.slice_card import slice_card_job


def card_of(adata, name="A"):
    return finish(slice_card_job(name, adata).steps())


def read(spec):
    ((name, adata),) = read_slices([spec])
    return card_of(adata, name)


def with_image(adata, factor):
    adata.uns["spatial"] = {
        "A": {
            "images": {"hires": np.zeros((30, 40, 3), np.uint8)},
            "scalefactors": {"tissue_hires_scalef": factor, "microns_per_pixel": 0.5},
        }
    }
    return adata


def test_a_visium_folder(tmp_path):
    card = read(make_visium(tmp_path / "liver"))
    assert card.title == "Visium"
    assert card.values is ValueKind.COUNTS
    assert card.on_tissue is not None
    assert card.image == (90, 110)
    assert card.facts["Image"] == "110 × 90 pixels"
    assert any("image" in note for note in card.notes)


def test_bins_are_told(tmp_path):
    folder = make_visium_hd(tmp_path / "gut")
    assert read(f"{folder}[bin=016um]").title == "Visium HD, bins of 016um"
    assert read(f"{make_gem(tmp_path / 'a.gem')}[bin=100]").title.endswith("bins of 100")


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_counts_per_spot_are_those_of_the_slice(kind):
    adata = tiny_slice()
    counts = adata.X.toarray() if sparse.issparse(adata.X) else np.array(adata.X)
    adata.X = kind(counts)
    card = card_of(adata)
    assert card.per_spot == np.median(counts.sum(axis=1))
    assert (card.n_spots, card.n_genes) == adata.shape


def test_a_slice_that_stays_on_disk(tmp_path):
    adata = tiny_slice()
    adata.write_h5ad(tmp_path / "a.h5ad")
    whole = card_of(adata)
    ((name, backed),) = read_slices([tmp_path / "a.h5ad"], backed=True)
    assert card_of(backed, name).per_spot == whole.per_spot


def test_what_looks_wrong_is_said_with_what_to_do():
    xy = tiny_slice().obsm["spatial"]
    fits = 30 / (xy.max() - min(xy.min(), 0) + 1)
    adata = tiny_slice()
    adata.obsm["spatial"] = xy - xy.min(axis=0)
    assert not card_of(with_image(adata, fits)).problems
    (problem,) = card_of(with_image(adata, 8 * fits)).problems
    assert "of the spots lie on the image" in problem
    thin = tiny_slice()
    thin.X = (thin.X > 3).astype(np.float32)
    assert "larger bins" in " ".join(card_of(thin).problems)
    scaled = tiny_slice()
    values = scaled.X.toarray() if sparse.issparse(scaled.X) else np.array(scaled.X)
    scaled.X = values - values.mean()
    assert "layer of counts" in " ".join(card_of(scaled).problems)


def test_what_is_not_known_is_not_claimed():
    card = card_of(tiny_slice())
    assert card.facts["Scale"] == "not known"
    assert card.facts["Image"] == "none"
    assert "On tissue" not in card.facts
    assert not np.isfinite(card_of(logged()).per_spot)


def logged():
    adata = tiny_slice()
    values = adata.X.toarray() if sparse.issparse(adata.X) else np.array(adata.X)
    adata.X = np.log1p(1e4 * values / values.sum(axis=1, keepdims=True)).astype(np.float32)
    return adata


def test_the_scale_of_the_scale_factors():
    card = card_of(with_image(tiny_slice(), 0.01))
    assert card.facts["Scale"] == "0.5 µm per unit (by its scale factors)"
