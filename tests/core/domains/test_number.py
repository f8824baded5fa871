from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_staligner._errors import InputError
from napari_staligner.core.domains.number import _kept, stability_by_number

SIDE, KINDS = 24, 4


def integrated() -> AnnData:
    """Two slices of four layers, each a kind of its own in z."""
    places = np.stack(np.divmod(np.arange(SIDE * SIDE), SIDE), axis=1).astype(float)
    kind = np.tile(places[:, 0] * KINDS // SIDE, 2).astype(int)
    z = np.random.default_rng(0).normal(size=(len(kind), 5)) + 9 * np.eye(KINDS, 5)[kind]
    adata = AnnData(shape=(len(kind), 0), obsm={"STAligner": z, "spatial": np.tile(places, (2, 1))})
    adata.obs["slice"] = pd.Categorical(np.repeat(["A", "B"], SIDE * SIDE))
    return adata


def test_the_number_of_kinds_is_stable_and_more_are_not():
    found = stability_by_number(integrated(), [KINDS + 3, KINDS, 5000], seed=0)
    assert found["domains"].tolist() == [KINDS, KINDS + 3]
    assert found["mean"].iloc[0] > 0.99
    assert found["sd"].iloc[0] < 0.01
    assert found["mean"].iloc[1] < 0.95
    assert found["kept"].iloc[0] > 0.99
    assert found["kept"].iloc[1] < 0.95


def test_spots_keep_their_domain_whatever_it_is_called():
    first = np.array([0, 0, 0, 1, 1, 2])
    assert _kept(first, np.array([2, 2, 2, 0, 0, 1])) == 1.0
    # Two of the three spots of domain 0 stay together, and no second domain may take them too.
    assert _kept(first, np.array([2, 2, 1, 1, 1, 0])) == pytest.approx(5 / 6)
    assert _kept(first, np.zeros(6, dtype=int)) == pytest.approx(3 / 6)


def test_the_same_seed_gives_the_same_and_nothing_is_written():
    adata = integrated()
    first, again = (stability_by_number(adata, [6], seed=1) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert list(adata.obs) == ["slice"]
    assert not adata.uns


def test_no_number_that_can_be_is_one_sentence():
    with pytest.raises(InputError, match="from 2 to"):
        stability_by_number(integrated(), [1, 5000])


def test_without_an_embedding_it_is_one_sentence():
    adata = integrated()
    del adata.obsm["STAligner"]
    with pytest.raises(InputError, match="integrate the slices first"):
        stability_by_number(adata)
