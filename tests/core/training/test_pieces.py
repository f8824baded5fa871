"""Memory that runs out while tiles are computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ranked import tiny_prepared
from tiny import QUICK, tiny_pair

from napari_staligner import integrate
from napari_staligner._errors import ComputeError
from napari_staligner.core.training import pieces as module
from napari_staligner.core.training.model import STAligner
from napari_staligner.core.training.trainer import Trainer
from napari_staligner.core.training.triplets import Triplets


def make_scarce(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception | None = None) -> None:
    """Let memory suffice for so many nodes at a time, and pieces be as small as these slices."""
    encode = STAligner.encode
    error = error or torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def scarce(self, x, graph):
        if len(x) > most:
            raise error
        return encode(self, x, graph)

    monkeypatch.setattr(STAligner, "encode", scarce)
    monkeypatch.setattr(module, "FEWEST", 10)


def told(said: list) -> list[str]:
    return [step.note for step in said if step.note and "memory" in step.note.lower()]


def some_triplets() -> Triplets:
    generator = torch.Generator().manual_seed(5)
    return Triplets(*(torch.randint(244, (80,), generator=generator) for _ in range(3)))


@pytest.mark.parametrize("columns", [0, 12])
def test_gradients_of_pieces_are_those_of_the_tiles(monkeypatch, columns):
    data = replace(tiny_prepared(), log_depth=None)

    def gradients(trainer):
        said = trainer.gradients(some_triplets())
        return [*said, *(parameter.grad for parameter in trainer.model.parameters())]

    settings = replace(QUICK, components=columns)
    whole, parted = Trainer(data, settings), Trainer(data, settings)
    expected = gradients(whole)
    make_scarce(monkeypatch, 70)
    for found, exact in zip(gradients(parted), expected, strict=True):
        scale = exact.abs().max()
        torch.testing.assert_close(found / scale, exact / scale, rtol=1e-4, atol=2e-5)
    assert not parted.keeps
    np.testing.assert_allclose(parted.residuals(), whole_residuals(whole, monkeypatch), rtol=1e-5)
    assert parted.news().startswith("The memory ran out")
    assert parted.news() is None


def whole_residuals(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    monkeypatch.undo()
    return trainer.residuals()


def test_a_run_goes_on_in_smaller_pieces_and_its_result_says_so(monkeypatch):
    whole = integrate(tiny_pair(), settings=QUICK)
    make_scarce(monkeypatch, 50)
    said = []
    parted = integrate(tiny_pair(), settings=QUICK, on_progress=said.append)
    (in_pieces,) = told(said)
    assert "down to 1/2 of what they were" in in_pieces
    assert "differs in its last digits" in in_pieces
    assert in_pieces in list(parted.uns["staligner"]["notes"])
    for key in ("reconstruction", "triplet"):
        losses = (result.uns["staligner"]["loss"][key] for result in (parted, whole))
        np.testing.assert_allclose(*losses, rtol=1e-2)
    attention = (result.obsp["attention"].toarray() for result in (parted, whole))
    np.testing.assert_allclose(*attention, atol=1e-2)


def test_where_only_keeping_takes_too_much_the_bits_stay(monkeypatch):
    data, found = tiny_prepared(), []
    reconstruct, residual = STAligner.residual, []

    def scarce(self, x, norm, output, n_own):
        residual.append(n_own)
        if len(residual) == 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return reconstruct(self, x, norm, output, n_own)

    for once in (False, True):
        trainer = Trainer(data, QUICK)
        if once:
            monkeypatch.setattr(STAligner, "residual", scarce)
        trainer.step(0, some_triplets())
        found.append(trainer.embed().embedding)
    assert residual == [144, 100, 100]
    assert not trainer.keeps
    assert "the result is the same" in trainer.news()
    assert torch.equal(*found)


def test_too_little_for_the_smallest_pieces_is_one_sentence(monkeypatch):
    make_scarce(monkeypatch, 12, RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    with pytest.raises(ComputeError, match=r"too small even for \d+ spots at a time: free some,"):
        integrate(tiny_pair(), settings=QUICK)


def test_other_errors_are_no_lack_of_memory(monkeypatch):
    make_scarce(monkeypatch, 12, RuntimeError("the shapes do not agree"))
    with pytest.raises(RuntimeError, match="shapes"):
        integrate(tiny_pair(), settings=QUICK)
