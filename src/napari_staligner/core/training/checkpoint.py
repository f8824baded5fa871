"""What a training is at the end of an epoch, so that it can go on from there with the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Loss
from napari_staligner.core.training.course import Course
from napari_staligner.core.training.matching import Matcher
from napari_staligner.core.training.trainer import Searched, Trainer
from napari_staligner.core.training.triplets import Matches, Triplets

if TYPE_CHECKING:
    from numpy.typing import NDArray

State = Mapping[str, "NDArray[Any]"]
"""Arrays by name: numbers and bytes only, so that a file of them holds nothing to be run."""

SAME_INPUT = 1e-3
"""Largest difference of the input's sum of squares, relative, for the same slices."""

_DAMAGED = "The checkpoint is damaged: start a new job."


class Keeper(Protocol):
    """Holds the checkpoint of one training."""

    @property
    def wanted(self) -> bool:
        """Whether one is wanted now, because the run is about to be stopped."""

    def load(self) -> State | None:
        """Return what was kept last; ``None`` if nothing was."""

    def save(self, state: State) -> None:
        """Keep this instead of what was kept before."""


def begin_course(trainer: Trainer, keeper: Keeper | None) -> Course:
    """Begin a training, or go on with the one that is kept.

    Raises
    ------
    InputError
        What is kept belongs to other slices or settings.
    """
    course = Course(trainer)
    state = None if keeper is None else keeper.load()
    # All have read it before one can write the next.
    trainer.ranks.meet()
    if state is not None:
        restore(course, state)
    return course


def keep_course(course: Course, keeper: Keeper | None) -> None:
    """Keep a checkpoint if it is time for one, or one is wanted."""
    if keeper is not None and (course.due or keeper.wanted):
        keeper.save(state_of(course))


def state_of(course: Course) -> dict[str, NDArray[Any]]:
    """Return all that the rest of a training depends on.

    Parameters
    ----------
    course
        The training, between two epochs.

    Returns
    -------
    Arrays by name: the parameters and Adam's means, the offsets that were taken out of the input,
    the states of the generators, the last search, the triplets, and the losses so far.
    """
    trainer = course.trainer
    state: dict[str, Any] = {
        "input": np.array([trainer.input.square_sum_before]),
        "said": np.array(_said(trainer)),
        "losses": np.array([[a.epoch, a.reconstruction, _nan(a.triplet)] for a in course.history]),
        "counts": np.array([course.pretrained, course.done, course.left, course.pretraining]),
        "shares": np.array(course.settling.seen),
        "overlap": np.array([course.match_settling.overlap]),
        "generator": trainer.matcher.generator.get_state(),
        "thinning": trainer.matcher.thinning.get_state(),
        "pairs": np.array(trainer.matcher.pairs, dtype=np.int64).reshape(-1, 2),
    }
    state |= {f"moves.{i}": offsets for i, offsets in enumerate(trainer.input.moves)}
    state |= {f"model.{name}": value for name, value in trainer.model.named_parameters()}
    for number, means in trainer.optimizer.state_dict()["state"].items():
        state |= {f"adam.{number}.{name}": value for name, value in means.items()}
    if course.triplets is not None:
        state |= {f"triplets.{name}": value for name, value in _fields(course.triplets).items()}
    if trainer.searched is not None:
        state["searched.embedding"] = trainer.searched.embedding
        for i, found in enumerate(trainer.searched.matches):
            state |= {f"searched.{i}.{name}": value for name, value in _fields(found).items()}
    return {name: _array(value) for name, value in state.items()}


def restore(course: Course, state: State) -> None:
    """Set a training that was just made to where another one was.

    Parameters
    ----------
    course
        The training, of the same slices with the same settings.
    state
        From :func:`state_of`.

    Raises
    ------
    InputError
        It belongs to other slices or settings, or it is damaged.
    """
    try:
        _restore(course, state)
    except (KeyError, IndexError, TypeError, RuntimeError, AttributeError) as error:
        raise InputError(_DAMAGED) from error
    except ValueError as error:
        raise (error if isinstance(error, InputError) else InputError(_DAMAGED)) from error


def _restore(course: Course, state: State) -> None:
    trainer = course.trainer
    _check(trainer, state)
    for i in range(_count(state, "moves")):
        trainer.input.move(torch.from_numpy(state[f"moves.{i}"]).to(trainer.device))
    with torch.no_grad():
        for name, value in trainer.model.named_parameters():
            value.copy_(torch.from_numpy(state[f"model.{name}"]))
    _restore_adam(trainer, state)
    _restore_matcher(trainer.matcher, state)
    if "searched.embedding" in state:
        found = [
            Matches(**_tensors(state, f"searched.{i}.", trainer.device))
            for i in range(_count(state, "searched"))
        ]
        z = torch.from_numpy(state["searched.embedding"]).to(trainer.device)
        trainer.searched = Searched(z, found)
    if "triplets.anchor" in state:
        course.triplets = Triplets(**_tensors(state, "triplets.", trainer.device))
    pretrained, done, left, pretraining = map(int, state["counts"])
    course.pretrained, course.done, course.left = pretrained, done, left
    course.pretraining = bool(pretraining)
    course.settling.seen = [*map(float, state["shares"])]
    course.match_settling.overlap = float(state["overlap"][0])
    course.history = [
        Loss(int(epoch), reconstruction, None if np.isnan(triplet) else triplet)
        for epoch, reconstruction, triplet in state["losses"].reshape(-1, 3).tolist()
    ]


def _said(trainer: Trainer) -> str:
    """The slices and settings, as text to compare."""
    return repr((trainer.matcher.names, trainer.sizes, sorted(asdict(trainer.settings).items())))


def _check(trainer: Trainer, state: State) -> None:
    now, before = trainer.input.square_sum_before, float(state["input"][0])
    if str(state["said"]) != _said(trainer) or abs(now - before) > SAME_INPUT * abs(before):
        raise InputError(
            "The checkpoint belongs to other slices or settings, or a file of the slices has "
            "changed since: start a new job."
        )


def _restore_adam(trainer: Trainer, state: State) -> None:
    whole = trainer.optimizer.state_dict()
    for number in range(len(list(trainer.model.parameters()))):
        means = _tensors(state, f"adam.{number}.", None)
        if means:
            whole["state"][number] = means
    trainer.optimizer.load_state_dict(whole)


def _restore_matcher(matcher: Matcher, state: State) -> None:
    matcher.generator.set_state(torch.from_numpy(state["generator"]))
    matcher.thinning.set_state(torch.from_numpy(state["thinning"]))
    matcher.pairs = [(int(i), int(j)) for i, j in state["pairs"]]


def _fields(held: Matches | Triplets) -> dict[str, Tensor]:
    return {each.name: getattr(held, each.name) for each in fields(held)}


def _tensors(state: State, start: str, device: torch.device | None) -> dict[str, Tensor]:
    found = {
        name.removeprefix(start): torch.from_numpy(np.array(value))
        for name, value in state.items()
        if name.startswith(start)
    }
    return {name: value if device is None else value.to(device) for name, value in found.items()}


def _count(state: State, start: str) -> int:
    """Count the numbers that follow a name, as in ``start.0`` and ``start.1``."""
    words = (name.split(".") for name in state)
    return len({each[1] for each in words if each[0] == start and each[1:] and each[1].isdigit()})


def _array(value: Any) -> NDArray[Any]:
    # A copy: the next epoch changes parameters in place.
    return value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else np.asarray(value)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
