"""What fails after the training costs nothing but itself, and can be computed once more."""

from __future__ import annotations

import logging
import re

import anndata as ad
import numpy as np
import pytest
from tiny import QUICK, tiny_pair

from napari_staligner import ComputeWarning, InputError, complete, find_domains, integrate, register
from napari_staligner.core import integrate as core
from napari_staligner.core import registration
from napari_staligner.core.attempt import CONFIDENCE, attempt
from napari_staligner.core.domains import domains, presence
from napari_staligner.core.domains.presence import record_presence
from napari_staligner.core.integrate import integrate_steps
from napari_staligner.core.missing_stages import missing_stages
from napari_staligner.core.prepare import concatenate
from napari_staligner.core.progress import Progress
from napari_staligner.core.registration import measuring
from napari_staligner.core.registration import register as pairwise_registration
from napari_staligner.core.result import confidence
from napari_staligner.core.training import train as training
from napari_staligner.core.training.matching import Matcher
from napari_staligner.core.training.trainer import Trainer
from napari_staligner.io.h5ad import write_result

STAGES = {
    "confidence": (confidence, "confidence_steps"),
    "domains": (domains, "domain_steps"),
    "record of the domains": (domains, "record_domains"),
    "presence": (presence, "presence"),
    "registration": (registration, "register_steps"),
    "record of the registration": (registration, "record_registration"),
}
OPENINGS = {
    "confidence": "The confidence of the spots is missing",
    "domains": "The domains are missing",
    "presence": "The test in which slices the domains are is missing",
    "registration": "The registration of the slices is missing",
}
SLOTS = {
    "confidence": [("obs", "alignment_confidence")],
    "domains": [("obs", "domain"), ("uns", "domain_colors")],
    "presence": [],
    "registration": [("obsm", "spatial_aligned"), ("obs", "registration_residual")],
}
ERRORS = [
    InputError("Nothing. Take more."),
    MemoryError("Unable to allocate 9 GiB"),
    RuntimeError("DefaultCPUAllocator: not enough memory"),
    np.linalg.LinAlgError("Singular matrix"),
    KeyError("x"),
    AssertionError(),
]


def assert_one_sentence(message: str) -> None:
    assert message.endswith(".")
    assert not re.search(r"\.\s+[A-Z]|\n", message)


def fail(monkeypatch, stage: str, error: Exception) -> None:
    def fails(*_, **__):
        raise error

    module, name = STAGES[stage]
    monkeypatch.setattr(module, name, fails)
    if stage == "presence":
        # Imported by name.
        monkeypatch.setattr(domains, name, fails)


def stage_of(name: str) -> str:
    return name.removeprefix("record of the ")


def missing_notes(result: ad.AnnData) -> list[str]:
    return [note for note in result.uns["staligner"]["notes"] if "missing" in note]


@pytest.fixture(scope="module")
def whole():
    return integrate(tiny_pair(), settings=QUICK)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_fails_is_missing_and_all_else_is_there(
    name, whole, monkeypatch, tmp_path, caplog
):
    stage = stage_of(name)
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        fail(patch, name, np.linalg.LinAlgError("Singular matrix"))
        with pytest.warns(ComputeWarning, match="LinAlgError") as warned:
            result = integrate(tiny_pair(), settings=QUICK)
    (said,) = (str(warning.message) for warning in warned)
    assert_one_sentence(said)
    assert said.startswith(OPENINGS[stage])
    assert "napari-staligner " in said
    assert said in list(result.uns["staligner"]["notes"])
    assert any("Traceback" in (record.exc_text or "") for record in caplog.records)
    np.testing.assert_array_equal(result.obsm["STAligner"], whole.obsm["STAligner"])
    for kind, slots in SLOTS.items():
        for slot, key in slots:
            assert (key in getattr(result, slot)) == (kind != stage), key
    write_result(result, tmp_path / "out.h5ad")

    back = ad.read_h5ad(tmp_path / "out.h5ad")
    assert [each.name for each in missing_stages(back)] == [stage]
    complete(back)
    assert not missing_stages(back)
    assert not missing_notes(back)
    if stage == "confidence":
        np.testing.assert_array_equal(
            back.obs["alignment_confidence"], whole.obs["alignment_confidence"]
        )
    assert back.obs["domain"].tolist() == whole.obs["domain"].tolist()
    np.testing.assert_array_equal(back.obsm["spatial_aligned"], whole.obsm["spatial_aligned"])


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_whatever_the_reason(error):
    def fails():
        yield Progress("begun", 0, 1)
        raise error

    begun, step = list(attempt(fails, CONFIDENCE))
    assert begun.stage == "begun"
    said = step.lost
    assert_one_sentence(said)
    expected = isinstance(error, InputError)
    memory = isinstance(error, MemoryError) or "memory" in str(error)
    assert (type(error).__name__ in said) == (not expected and not memory)
    assert ("not enough memory" in said) == memory
    assert ("please report" in said) == (not expected and not memory)


def test_all_of_them(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        for name in STAGES:
            fail(patch, name, ValueError("bad"))
        with pytest.warns(ComputeWarning) as warned:
            result = integrate(tiny_pair(), settings=QUICK)
        assert len(warned) == 3
        with pytest.warns(ComputeWarning):
            complete(result)
    assert len(missing_notes(result)) == 3
    assert result.obsm["STAligner"].shape == (120, QUICK.latent)
    write_result(result, tmp_path / "out.h5ad")
    complete(result)
    assert not missing_stages(result)


def test_find_domains_and_register_fill_the_gap_too(monkeypatch):
    with monkeypatch.context() as patch:
        for name in ("domains", "registration"):
            fail(patch, name, ValueError("bad"))
        with pytest.warns(ComputeWarning):
            result = integrate(tiny_pair(), settings=QUICK)
    assert len(missing_notes(result)) == 2
    find_domains(result, 2, seed=0)
    (left,) = missing_notes(result)
    assert left.startswith(OPENINGS["registration"])
    register(result)
    assert not missing_stages(result)
    assert not missing_notes(result)


def test_a_record_of_the_presence_fills_the_gap_too(monkeypatch):
    with monkeypatch.context() as patch:
        fail(patch, "presence", ValueError("bad"))
        with pytest.warns(ComputeWarning):
            result = integrate(tiny_pair(), settings=QUICK)
    before = list(result.uns["staligner"]["notes"])
    (note,) = missing_notes(result)
    record_presence(result)
    assert list(result.uns["staligner"]["notes"]) == [each for each in before if each != note]


def test_domains_stay_where_their_presence_cannot_be_tested(whole, monkeypatch):
    fail(monkeypatch, "presence", ValueError("bad"))
    result = whole.copy()
    find_domains(result, 3)
    assert result.obs["domain"].nunique() == 3
    assert "presence" not in result.uns["staligner"]


def test_a_join_that_fails_leaves_all_but_the_expression(whole, monkeypatch, tmp_path):
    join, calls = core.concatenate, []

    def fails(slices, genes, *counts):
        calls.append(len(slices[0][1]))
        if slices[0][1].n_obs == 64 and slices[0][1].X.nnz:
            raise MemoryError
        return join(slices, genes, *counts)

    monkeypatch.setattr(core, "concatenate", fails)
    with pytest.warns(ComputeWarning, match="expression of the genes is missing.*not enough"):
        result = integrate(tiny_pair(), settings=QUICK)
    assert result.X is None
    assert result.var_names.tolist() == whole.var_names.tolist()
    assert result.obs["half"].tolist() == whole.obs["half"].tolist()
    assert not missing_stages(result)
    write_result(result, tmp_path / "out.h5ad")


def test_where_not_even_the_tables_can_be_joined(whole, monkeypatch, tmp_path):
    join, calls = core.concatenate, []

    def fails(slices, genes, *counts):
        calls.append(0)
        if len(calls) > 2:
            raise RuntimeError("bad")
        return join(slices, genes, *counts)

    monkeypatch.setattr(core, "concatenate", fails)
    monkeypatch.setattr(concatenate, "concatenate", fails)
    with pytest.warns(ComputeWarning, match="expression of the genes is missing"):
        result = integrate(tiny_pair(), settings=QUICK)
    assert result.obs_names.tolist() == whole.obs_names.tolist()
    assert not missing_stages(result)
    write_result(result, tmp_path / "out.h5ad")


def test_provenance_that_fails(monkeypatch):
    def fails(*_):
        raise OSError("no clock")

    monkeypatch.setattr(core, "record_provenance", fails)
    with pytest.warns(ComputeWarning, match="how the result was made is missing"):
        result = integrate(tiny_pair(), settings=QUICK)
    assert not missing_stages(result)


def test_a_cancel_in_a_stage_is_a_cancel(monkeypatch):
    fail(monkeypatch, "domains", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        integrate(tiny_pair(), settings=QUICK)
    monkeypatch.undo()
    steps = integrate_steps(tiny_pair(), QUICK)
    next(step for step in steps if step.stage == "confidence")
    steps.close()


def test_a_whole_result_is_left_as_it_is(whole):
    after = whole.copy()
    complete(after)
    assert after.obs.equals(whole.obs)
    made = complete(whole, copy=True)
    assert made is not whole


def test_what_is_no_result_is_refused():
    with pytest.raises(InputError, match=r"lack obs\['slice'\]: integrate them first"):
        complete(tiny_pair()[0][1])


# --- what follows the epochs


def fails(*_, **__):
    raise np.linalg.LinAlgError("Singular matrix")


@pytest.mark.parametrize(
    ("where", "name", "opening", "slot", "key"),
    [
        (training, "_with_attention", "The attention between the spots", "obsp", "attention"),
        (Matcher, "find_all", "The matches between the slices", "obsp", "mutual_neighbors"),
        (Trainer, "residuals", "The reconstruction error", "uns", "reconstruction_by_slice"),
        (core, "_distances", "The distances between", "obsp", "spatial_distances"),
    ],
)
def test_the_end_of_the_training(where, name, opening, slot, key, whole, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(where, name, fails)
        with pytest.warns(ComputeWarning) as warned:
            result = integrate(tiny_pair(), settings=QUICK)
    said = [str(warning.message) for warning in warned]
    assert said[0].startswith(opening)
    for each in said:
        assert_one_sentence(each)
    np.testing.assert_array_equal(result.obsm["STAligner"], whole.obsm["STAligner"])
    assert key not in (result.uns["staligner"] if slot == "uns" else getattr(result, slot))
    write_result(result, tmp_path / "out.h5ad")
    if name != "find_all":
        assert len(said) == 1
        assert not missing_stages(result)
        return
    assert [each.name for each in missing_stages(result)] == ["matches", "registration"]
    back = ad.read_h5ad(tmp_path / "out.h5ad")
    complete(back)
    assert not missing_stages(back)
    assert not missing_notes(back)
    for matrix in ("mutual_neighbors", "spatial_connectivities"):
        assert (back.obsp[matrix] != whole.obsp[matrix]).nnz == 0
    np.testing.assert_array_equal(back.obsm["spatial_aligned"], whole.obsm["spatial_aligned"])


def test_residuals_that_fail_leave_the_registration(whole, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(measuring, "counterparts", fails)
        with pytest.warns(ComputeWarning, match="residuals of the registration are missing"):
            result = integrate(tiny_pair(), settings=QUICK)
    np.testing.assert_array_equal(result.obsm["spatial_aligned"], whole.obsm["spatial_aligned"])
    assert result.obs["registration_residual"].isna().all()
    assert not missing_stages(result)
    write_result(result, tmp_path / "out.h5ad")
    assert len(missing_notes(result)) == 1
    register(result)
    assert not missing_notes(result)
    np.testing.assert_array_equal(
        result.obs["registration_residual"], whole.obs["registration_residual"]
    )


def test_a_smooth_displacement_that_fails_leaves_the_registration(whole, monkeypatch):
    monkeypatch.setattr(pairwise_registration, "warp", fails)
    result = whole.copy()
    with pytest.warns(ComputeWarning, match="smooth displacement of the slices is missing"):
        register(result, nonrigid=True)
    np.testing.assert_array_equal(result.obsm["spatial_aligned"], whole.obsm["spatial_aligned"])
    assert np.isfinite(result.obs["registration_residual"]).any()
