"""A GPU that is lost amid a run: a sentence, the work is kept, and the next run computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import QUICK, tiny_pair

from napari_staligner import integrate
from napari_staligner._errors import InputError
from napari_staligner.core.attempt import DOMAINS, known_failure
from napari_staligner.core.training.devices import device_note, find_device
from napari_staligner.core.training.trainer import Trainer

LOST = (
    "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported "
    "at some other API call, so the stacktrace below might be incorrect."
)


@pytest.fixture
def lost_gpu(monkeypatch):
    """Let torch say that there is a GPU, which fails as one does that fell off the bus."""
    ones = torch.ones

    def fails(*size, device=None, **how):
        if device is not None and torch.device(device).type == "cuda":
            raise torch.AcceleratorError(LOST)
        return ones(*size, device=device, **how)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", fails)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LOST, "unspecified launch failure"),
        ("CUDA error: uncorrectable ECC error encountered", "uncorrectable ECC error encountered"),
        (
            "CUDA error: the launch timed out and was terminated",
            "the launch timed out and was terminated",
        ),
        (
            "CUDA unknown error - this may be due to an incorrectly set up environment",
            "CUDA unknown error",
        ),
        ("HIP error: the operation cannot be performed", "the operation cannot be performed"),
    ],
)
def test_a_lost_gpu_is_said_with_a_remedy(text, why):
    error = RuntimeError(text)
    sentence = f"The GPU failed ({why}): start the program again, or set the device to 'cpu'."
    assert known_failure(error) == sentence
    outer = RuntimeError("training stopped")
    outer.__cause__ = error
    assert known_failure(outer) == sentence
    assert DOMAINS.sentence(error).startswith(
        f"The domains are missing (the GPU failed, {why}): press Complete"
    )


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered",
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: invalid argument",
        "The size of tensor a (3) must match the size of tensor b (4)",
    ],
)
def test_a_mistake_of_the_program_is_still_to_be_reported(text):
    assert known_failure(RuntimeError(text)) == ""


def test_memory_that_runs_out_on_a_gpu_is_no_lost_gpu():
    assert "not enough memory" in known_failure(RuntimeError("CUDA error: out of memory"))


def test_the_next_run_computes_without_the_lost_gpu_and_says_so(lost_gpu):
    assert find_device("auto") == torch.device("cpu")
    assert "unspecified launch failure" in device_note("auto")
    assert device_note("cpu") is None
    with pytest.raises(InputError, match=r"does not answer .*: start the program again, or choose"):
        find_device("cuda")
    said = []
    settings = QUICK
    assert settings.device == "auto"
    result = integrate(
        tiny_pair(), settings=settings, on_progress=lambda step: said.append(step.note)
    )
    assert said.count(device_note("auto")) == 1
    assert np.isfinite(result.obsm["STAligner"]).all()
    assert device_note("auto") in result.uns["staligner"]["notes"]


def test_a_gpu_that_has_no_memory_left_answers(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", full)
    assert find_device("auto") == torch.device("cuda")
    assert device_note("auto") is None


def test_a_gpu_that_is_lost_amid_training_ends_the_run_with_one_sentence(monkeypatch):
    """As the shell and the window say it; the slices are as they were."""
    from napari_staligner.core.attempt import known_failure

    step = Trainer.step

    def lost(self, epoch, triplets):
        if epoch == 2:
            raise torch.AcceleratorError(LOST)
        return step(self, epoch, triplets)

    pair = tiny_pair()
    before = [adata.copy() for _, adata in pair]
    with monkeypatch.context() as amid:
        amid.setattr(Trainer, "step", lost)
        with pytest.raises(RuntimeError) as told:
            integrate(pair, settings=QUICK)
    assert known_failure(told.value).startswith("The GPU failed (unspecified launch failure)")
    for (_, adata), old in zip(pair, before, strict=True):
        assert adata.obs.equals(old.obs)
        assert (adata.X != old.X).nnz == 0 if hasattr(adata.X, "nnz") else (adata.X == old.X).all()
    assert integrate(pair, settings=QUICK).n_obs == sum(a.n_obs for _, a in pair)
