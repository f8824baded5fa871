from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy import sparse
from tiny import QUICK, tiny_slice

from napari_staligner._errors import InputError
from napari_staligner.core.integrate import prepare_steps
from napari_staligner.core.prepare.expression import Expression
from napari_staligner.core.prepare.graph import graph_steps
from napari_staligner.core.progress import finish
from napari_staligner.core.training.data import Prepared
from napari_staligner.core.training.train import train

# With offsets that move the input, drawn spots, and pretraining that settles or goes on.
SETTINGS = {
    "default": replace(
        QUICK, components=12, pretrain_epochs=30, epochs=9, refresh=3, search_spots=40
    ),
    "published": replace(QUICK, components=0, pretrain_epochs=2, epochs=5, search_spots=0),
    "settles": replace(QUICK, components=12, pretrain_epochs=40, epochs=12, tolerance=0.5),
}


@pytest.fixture(scope="module")
def data() -> Prepared:
    slices = [
        ("A", tiny_slice(seed=1)),
        ("B", tiny_slice(side=9, seed=2)),
        ("C", tiny_slice(seed=3)),
    ]
    slices[1][1].X = slices[1][1].X * 2
    ready = finish(prepare_steps(slices, QUICK))
    places = [(name, adata.obsm["spatial"]) for name, adata in ready.slices]
    graphs = finish(graph_steps(places, QUICK))
    return Prepared(
        tuple(graphs),
        tuple(adata.n_obs for _, adata in slices),
        Expression.held(list(ready.expression)),
        sparse.block_diag([g.connectivities for g in graphs.values()], format="csr"),
        np.concatenate([points for _, points in places]),
        ready.log_depth,
    )


class Held:
    """A keeper in memory, which also counts."""

    def __init__(self, state=None):
        self.state, self.wanted, self.saves = state, False, 0

    def load(self):
        return self.state

    def save(self, state):
        self.state, self.saves = state, self.saves + 1


def stopped(data, settings, at: int) -> Held:
    """Return what is kept of a training that is told to stop in an epoch, and stops after it."""
    keeper, seen = Held(), 0
    keeper.wanted = at == 1
    steps = train(data, settings, keeper)
    for step in steps:
        seen += step.loss is not None
        keeper.wanted = seen >= at - 1
        if seen == at:
            steps.close()
            break
    assert keeper.saves
    return keeper


def resumed(data, settings, state):
    """Return what a training gives that goes on, and how many epochs it took."""
    epochs = []
    steps = train(data, settings, Held(state))
    given = finish(steps, lambda step: epochs.append(step.loss) if step.loss else None)
    return given, len(epochs)


def assert_same_bits(ours, theirs):
    for field in fields(theirs):
        one, other = getattr(ours, field.name), getattr(theirs, field.name)
        if sparse.issparse(other):
            one, other = one.toarray(), other.toarray()
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("named", SETTINGS)
def test_a_training_that_was_stopped_gives_the_same_bits(data, named):
    settings = SETTINGS[named]
    whole = finish(train(data, settings))
    epochs = len(whole.reconstruction)
    # In the pretraining, in the middle of a round of the alignment, and before its last epoch.
    for at in (1, epochs - 4, epochs - 1):
        again, took = resumed(data, settings, stopped(data, settings, at).state)
        assert took == epochs - at
        assert_same_bits(again, whole)


def test_a_finished_training_is_not_trained_again(data):
    keeper, settings = Held(), SETTINGS["settles"]
    whole = finish(train(data, settings, keeper))
    again, took = resumed(data, settings, keeper.state)
    assert took == 0
    assert_same_bits(again, whole)


def test_a_state_holds_arrays_of_numbers_and_one_text(data):
    state = stopped(data, SETTINGS["default"], 35).state
    assert {array.dtype.kind for array in state.values()} <= set("fiub") | {"U"}
    assert [name for name, array in state.items() if array.dtype.kind == "U"] == ["said"]
    assert {"triplets.anchor", "searched.embedding", "moves.0", "adam.0.exp_avg"} <= set(state)


def test_a_checkpoint_of_other_slices_is_refused(data):
    settings = SETTINGS["published"]
    state = stopped(data, settings, 1).state
    others = replace(data, expression=Expression.held([2 * block for block in data.expression]))
    for given, chosen in (
        (others, settings),
        (replace(data, names=("A", "B", "D")), settings),
        (data, replace(settings, seed=5)),
    ):
        with pytest.raises(InputError, match="belongs to other slices or settings"):
            finish(train(given, chosen, Held(state)))
