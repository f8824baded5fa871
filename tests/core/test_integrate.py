from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.linalg import block_diag
from threadpoolctl import threadpool_limits
from tiny import QUICK, tiny_pair

from napari_staligner import integrate
from napari_staligner.core.integrate import integrate_steps
from napari_staligner.core.progress import finish
from napari_staligner.core.training.model import MessageGraph, STAligner


@pytest.fixture(scope="module")
def result():
    return integrate(tiny_pair(), settings=QUICK)


def test_slots(result):
    n = result.n_obs
    assert result.obsm["STAligner"].shape == (n, QUICK.latent)
    assert result.obsm["STAligner"].dtype == np.float32
    assert list(result.obs["slice"].cat.categories) == ["A", "B"]
    assert result.obs["domain"].dtype == "category"
    assert len(result.uns["domain_colors"]) == len(result.obs["domain"].cat.categories)
    assert result.obs["alignment_confidence"].between(0, 1).all()
    for key in ("spatial_connectivities", "spatial_distances", "attention", "mutual_neighbors"):
        assert sparse.issparse(result.obsp[key])
        assert result.obsp[key].format == "csr"
    assert result.obsm["spatial_aligned"].shape == (n, 2)
    kept = result.uns["staligner"]
    assert kept["params"]["seed"] == 0
    assert kept["params"]["domains"] == 2
    assert len(kept["loss"]["reconstruction"]) == 8
    assert np.isnan(kept["loss"]["triplet"][:4]).all()
    assert np.isfinite(kept["loss"]["triplet"][4:]).all()
    assert kept["transforms"]["B"].shape == (3, 3)
    assert kept["pairs"].tolist() == [["A", "B"]]


def test_slices_come_through_untouched(result):
    for name, adata in tiny_pair():
        part = result[result.obs["slice"] == name]
        assert (part.X != adata.X).nnz == 0
        np.testing.assert_array_equal(part.obsm["spatial"], adata.obsm["spatial"])
        assert part.obs["half"].tolist() == adata.obs["half"].tolist()
        assert part.obs_names.tolist() == [f"{spot}_{name}" for spot in adata.obs_names]


def test_the_users_slices_are_not_changed():
    slices = tiny_pair()
    integrate(slices, settings=QUICK)
    for (_, after), (_, before) in zip(slices, tiny_pair(), strict=True):
        assert (after.X != before.X).nnz == 0
        assert list(after.obs) == list(before.obs)
        assert not after.obsp
        assert not after.uns


def test_genes_are_joined_and_all_kept():
    slices = tiny_pair()
    (_, a), (_, b) = slices
    a.var["chromosome"] = "1"
    a.var_names = ["only_a", *a.var_names[1:]]
    b.var_names = [*b.var_names[:-1], "only_b"]
    a.layers["twice"], b.layers["twice"] = a.X * 2, b.X * 2
    out = integrate(slices, settings=QUICK)
    assert out.n_vars == 42
    assert out.var["used_by_staligner"].sum() == 38
    assert not out.var.loc["only_a", "used_by_staligner"]
    assert out.var.loc["gene1", "chromosome"] == "1"
    assert out[out.obs["slice"] == "B", "only_a"].X.nnz == 0
    assert (out[out.obs["slice"] == "A", a.var_names].X != a.X).nnz == 0
    assert (out[out.obs["slice"] == "B", b.var_names].layers["twice"] != b.X * 2).nnz == 0
    assert out.varm["in_slice"].sum(axis=0).tolist() == [40, 40]


def test_attention_is_the_models(result, monkeypatch):
    """Rows sum to 1, over a spot and its neighbours; equal to α of the last forward pass."""
    attention = result.obsp["attention"]
    np.testing.assert_allclose(np.asarray(attention.sum(axis=1)).ravel(), 1, rtol=1e-6)
    pattern = (result.obsp["spatial_connectivities"] + sparse.eye(result.n_obs)) > 0
    assert ((attention > 0) != pattern).nnz == 0

    seen = []
    encode = STAligner.encode

    def spy(self, x, graph: MessageGraph):
        said = encode(self, x, graph)
        seen.append((graph.matrix(said[1].detach()).to_dense().numpy(), said[0].detach().numpy()))
        return said

    monkeypatch.setattr(STAligner, "encode", spy)
    again = integrate(tiny_pair(), settings=QUICK)
    alphas, z = zip(*seen[-2:], strict=True)  # the last pass, slice by slice
    whole = block_diag(*alphas)
    np.testing.assert_array_equal(again.obsp["attention"].toarray(), whole)
    np.testing.assert_array_equal(again.obsm["STAligner"], np.concatenate(z))


def test_two_runs_are_bitwise_equal(result):
    assert result.obsp["attention"].has_sorted_indices
    again = integrate(tiny_pair(), settings=QUICK)
    np.testing.assert_array_equal(result.obsm["STAligner"], again.obsm["STAligner"])
    np.testing.assert_array_equal(result.obsp["attention"].data, again.obsp["attention"].data)
    np.testing.assert_array_equal(result.obsm["spatial_aligned"], again.obsm["spatial_aligned"])
    assert result.obs["domain"].tolist() == again.obs["domain"].tolist()


DIGEST = """
from hashlib import sha256
import numpy as np
from napari_staligner import integrate
from napari_staligner.samples import simulated_olfactory_bulb
from tiny import QUICK
bulb = simulated_olfactory_bulb(seed=0, n_slide_seq=300, n_stereo_seq=250, n_genes=300)
made = integrate(bulb, settings=QUICK)
arrays = [made.obsm[key] for key in sorted(made.obsm)]
arrays += [made.obsp[key].toarray() for key in sorted(made.obsp)] + [made.X.toarray()]
for key in sorted(made.obs):
    column = made.obs[key]
    arrays.append(column.cat.codes if hasattr(column, "cat") else column)
arrays += [*made.uns["staligner"]["transforms"].values()]
arrays.append(np.array([*made.var_names, *made.obs_names], "U"))
digest = " ".join(sha256(np.ascontiguousarray(a).tobytes()).hexdigest()[:8] for a in arrays)
"""


PINNED = """
import numpy, scipy.linalg, torch
from threadpoolctl import threadpool_limits
torch.set_num_threads(2)
threadpool_limits(2, user_api="blas")
"""
THERE = {"PYTHONHASHSEED": "1", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"}


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    # Other tests of this process may have left products another number.
    with threadpool_limits(2, user_api="blas"):
        yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_process_in_another_place_agrees(project, tmp_path):
    """Another hash seed, locale, time zone and working folder, two threads: not a bit changes."""
    elsewhere = f"{PINNED}\n{DIGEST}\nprint(digest)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", elsewhere],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={
            **os.environ,
            **THERE,
            "PYTHONPATH": f"{project / 'src'}{os.pathsep}{project / 'tests'}",
        },
    )
    here: dict[str, str] = {}
    exec(DIGEST, here)
    assert done.stdout.strip() == here["digest"]


def test_another_seed_differs(result):
    other = integrate(tiny_pair(), settings=QUICK, seed=1)
    assert not np.array_equal(result.obsm["STAligner"], other.obsm["STAligner"])


def test_global_generators_are_left_alone():
    legacy = np.random.mtrand._rand
    numpy_state, torch_state = legacy.get_state()[1].copy(), torch.get_rng_state()
    integrate(tiny_pair(), settings=QUICK)
    np.testing.assert_array_equal(numpy_state, legacy.get_state()[1])
    assert torch.equal(torch_state, torch.get_rng_state())


def test_progress_never_goes_back_and_tells_every_epoch():
    steps = []
    finish(integrate_steps(tiny_pair(), QUICK), steps.append)
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert {step.total for step in steps} == {steps[0].total}
    assert done[-1] == steps[0].total
    epochs = [step.loss.epoch for step in steps if step.loss]
    assert epochs == list(range(1, 9))


def test_alignment_is_run_without_pretraining():
    out = integrate(tiny_pair(), settings=QUICK, pretrain_epochs=0)
    assert np.isfinite(out.uns["staligner"]["loss"]["triplet"]).all()


def test_pairs_limit_the_matches():
    slices = [*tiny_pair(), ("C", tiny_pair()[0][1])]
    out = integrate(slices, settings=QUICK, pairs=(("A", "B"), ("B", "C")))
    rows = {name: np.flatnonzero(out.obs["slice"] == name) for name in "ABC"}
    mutual = out.obsp["mutual_neighbors"]
    assert mutual[rows["A"]][:, rows["C"]].nnz == 0
    assert mutual[rows["A"]][:, rows["B"]].nnz > 0
    assert (abs(mutual - mutual.T) > 0).nnz == 0


def test_lists_and_mappings():
    (_, a), (_, b) = tiny_pair()
    assert list(integrate([a, b], settings=QUICK).obs["slice"].cat.categories) == [
        "slice 1",
        "slice 2",
    ]
    assert list(integrate({"X": a, "Y": b}, settings=QUICK).obs["slice"].cat.categories) == [
        "X",
        "Y",
    ]


def test_tissue_images_come_through():
    slices = tiny_pair()
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    for name, adata in slices:
        adata.uns["spatial"] = {
            f"library {name}": {
                "images": {"lowres": image},
                "scalefactors": {"tissue_lowres_scalef": 0.1},
            }
        }
    out = integrate(slices, settings=QUICK)
    assert set(out.uns["spatial"]) == {"A", "B"}
    np.testing.assert_array_equal(out.uns["spatial"]["B"]["images"]["lowres"], image)
