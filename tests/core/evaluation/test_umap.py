"""The UMAP, which a process of its own computes."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from fakes import fake_session

from napari_staligner import _keys as K
from napari_staligner._errors import ComputeError
from napari_staligner.core.evaluation import umap
from napari_staligner.core.evaluation.umap import UmapJob, umap_steps
from napari_staligner.core.progress import finish


def n_processes() -> int:
    """Return how many children this process has."""
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return len(children.read().split())


@pytest.fixture
def verbosity():
    """Put scanpy's back."""
    import scanpy as sc

    before = int(sc.settings.verbosity)
    yield
    sc.settings.verbosity = before


@pytest.fixture(scope="module")
def computed():
    session = fake_session()
    steps = []
    return session, finish(umap_steps(session.figures.umap_job()), steps.append), steps


def test_after_is_what_scanpy_makes_of_the_embedding(computed):
    import scanpy as sc
    from anndata import AnnData

    session, found, _ = computed
    alone = AnnData(obsm={"z": session.result.adata.obsm[K.EMBEDDING]}, shape=(110, 0))
    sc.pp.neighbors(alone, n_neighbors=15, use_rep="z", random_state=666)
    sc.tl.umap(alone, random_state=666)
    np.testing.assert_allclose(found.arrays[K.UMAP], alone.obsm["X_umap"], rtol=1e-4, atol=1e-3)


def test_before_knows_nothing_of_the_embedding(computed):
    session, found, _ = computed
    before = found.arrays[K.UMAP_BEFORE]
    assert before.shape == (110, 2)
    assert before.dtype == np.float32
    assert np.isfinite(before).all()
    # The embedding parts the four domains, the made-up counts know none.
    from sklearn.metrics import silhouette_score

    domains = session.result.adata.obs[K.DOMAIN]
    assert silhouette_score(found.arrays[K.UMAP], domains) > 0.5
    assert silhouette_score(before, domains) < 0.2


def test_it_says_how_far_it_is(computed):
    steps = computed[2]
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert {step.total for step in steps[1:]} == {200}
    assert 0 < max(done) <= 200
    assert any(step.stage == "UMAP before integration: optimising" for step in steps)


def test_closing_it_ends_the_process():
    steps = umap_steps(fake_session().figures.umap_job())
    before = n_processes()
    for _ in range(4):
        next(steps)
    assert n_processes() == before + 1
    start = time.monotonic()
    steps.close()
    assert n_processes() == before
    assert time.monotonic() - start < 2


@pytest.mark.usefixtures("verbosity")
def test_without_expression_there_is_no_before(tmp_path):
    session = fake_session()
    session.result.adata.X = None
    job = session.figures.umap_job()
    assert job.expression is None
    # What the process does, without one.
    np.savez(tmp_path / umap.SPOTS, **umap._arrays(job))
    umap._work(tmp_path)
    with np.load(tmp_path / "umap.npz") as found:
        assert found.files == [K.UMAP]
        assert found[K.UMAP].shape == (110, 2)


def test_what_fails_in_the_process_is_said():
    z = np.full((40, 3), np.nan, np.float32)
    with pytest.raises(ComputeError, match=r"The UMAP failed .*NaN"):
        finish(umap_steps(UmapJob({K.UMAP: z}, None, (np.arange(40),))))


def test_too_few_spots():
    with pytest.raises(ComputeError, match="3 spots are too few"):
        finish(umap_steps(UmapJob({K.UMAP: np.zeros((3, 3), np.float32)}, None, (np.arange(3),))))


def test_the_session_keeps_both(computed):
    session, found, _ = computed
    heard = []
    session.figures.umap_changed.connect(lambda: heard.append(1))
    session.figures.set_umap(found)
    assert heard == [1]
    assert not session.saved
    assert session.result.adata.uns[K.UMAP]["params"]["n_neighbors"] == umap.N_NEIGHBORS
    np.testing.assert_array_equal(
        session.result.adata.obsm[K.UMAP_BEFORE], found.arrays[K.UMAP_BEFORE]
    )
