from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny import QUICK, tiny_pair

from napari_staligner import integrate
from napari_staligner._errors import InputError
from napari_staligner.core.free_memory import FreeMemory
from napari_staligner.core.settings import SETTINGS
from napari_staligner.core.training import estimate as module
from napari_staligner.core.training.estimate import InputSize, estimate
from napari_staligner.core.training.ranks import Ranks


def extent_of(n: int, genes: int = 1000, slices: int = 2) -> InputSize:
    names = tuple(f"slice {number}" for number in range(slices))
    return InputSize(names, (n // slices,) * slices, genes, n * genes // 10)


@pytest.fixture
def fixed_speed(monkeypatch):
    monkeypatch.setattr(module, "_speed", lambda device: 1e11)


@pytest.mark.usefixtures("fixed_speed")
def test_ours_is_told_to_take_far_less_than_the_papers():
    ours, theirs = (
        estimate(extent_of(10_000), SETTINGS[name]) for name in ("default", "published")
    )
    assert ours.seconds < theirs.seconds / 8
    assert 20 < theirs.seconds < 2000


@pytest.mark.usefixtures("fixed_speed")
def test_no_spot_has_more_neighbours_than_there_are():
    few, most = (
        estimate(extent_of(1000), replace(SETTINGS["default"], n_neighbors=k)).memory
        for k in (499, 10**6)
    )
    assert few == most


@pytest.mark.usefixtures("fixed_speed")
def test_memory_stops_growing_with_the_activations():
    small, large = (estimate(extent_of(n), SETTINGS["default"]) for n in (20_000, 400_000))
    assert large.memory < 10 * small.memory
    assert large.memory < 3 * module.GIB


def test_what_it_takes_is_said_before_training_and_not_kept():
    said = []
    result = integrate(tiny_pair(), settings=QUICK, on_progress=said.append)
    spoken = [i for i, step in enumerate(said) if step.outlook]
    first_epoch = next(i for i, step in enumerate(said) if step.loss is not None)
    assert len(spoken) == 1
    assert spoken[0] < first_epoch
    assert "GB of memory" in said[spoken[0]].outlook
    assert not any("GB" in note for note in result.uns["staligner"]["notes"])


def test_what_cannot_fit_is_refused_at_once(monkeypatch):
    free = SimpleNamespace(available=1000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    with pytest.raises(InputError, match=r"GB are free: take fewer or smaller slices"):
        integrate(tiny_pair(), settings=replace(QUICK, epochs=1))


def test_on_a_gpu_its_memory_is_said_and_what_cannot_fit_is_refused(monkeypatch):
    free = 2 * module.GIB
    monkeypatch.setattr(module, "_speed", lambda device: 1e13)
    monkeypatch.setattr(module, "find_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(module.torch.cuda, "mem_get_info", lambda device: (free, free))
    monkeypatch.setattr(module.torch.cuda, "device_count", lambda: 1)
    fits, parted, too_large = (
        estimate(extent_of(n, slices=8), SETTINGS["default"]) for n in (20_000, 100_000, 4_000_000)
    )
    assert str(fits).endswith(f", and {fits.gpu.need / module.GIB:.1f} GB of the GPU's.")
    assert not fits.streams
    assert parted.gpu.least < free < parted.gpu.need
    assert str(parted).endswith("a piece of the slices at a time.")
    module.check_memory(parted)
    with pytest.raises(InputError, match=r"only 2\.0 GB are free: set the device to 'cpu'"):
        module.check_memory(too_large)
    # Two processes share the GPU.
    one_fits = estimate(extent_of(500_000, slices=8), SETTINGS["default"])
    module.check_memory(one_fits)
    with pytest.raises(InputError, match="of the GPU's memory"):
        module.check_memory(one_fits, Ranks(0, 2, 2))


@pytest.mark.usefixtures("fixed_speed")
def test_of_several_ranks_each_needs_room_for_its_own_part(monkeypatch):
    need = estimate(extent_of(100_000, slices=8), SETTINGS["default"])
    for ranks, wanted in (
        (Ranks(), need.memory),
        (Ranks(0, 4, 2), 2 * need.memory - 1.5 * need.dealt),
    ):
        for short, fails in ((-1, False), (1, True)):
            free = FreeMemory(wanted - short)
            monkeypatch.setattr(module, "free_memory", lambda free=free: free)
            with pytest.raises(InputError, match="GB are free") if fails else nullcontext():
                module.check_memory(need, ranks)
    assert need.dealt > need.memory / 2
