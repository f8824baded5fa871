from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import anndata as ad
import numpy as np
import psutil
import pytest
from tiny import QUICK
from waiting import until

from napari_staligner._errors import InputError
from napari_staligner.core.training.ranks import LOST
from napari_staligner.core.training.sharing import ENDED
from napari_staligner.jobs.folder import Tail
from napari_staligner.jobs.launch import cancel_job, fetch_result, look_at, resume_job
from napari_staligner.jobs.outlook import look_closely
from napari_staligner.jobs.run import BAD_INPUT, DONE, STOPPED, run_job
from napari_staligner.jobs.watch import GONE

SETTINGS = replace(QUICK, components=12, pretrain_epochs=6)
LONG = replace(QUICK, pretrain_epochs=100_000, tolerance=0.0)


def epochs(folder) -> list[int]:
    return [step.loss.epoch for _, step in Tail(folder).new() if step.loss]


def test_a_job_that_was_stopped_goes_on_with_the_same_bits(make, tmp_path):
    whole, parted = make(SETTINGS, name="whole"), make(SETTINGS, name="parted")
    assert run_job(whole) == DONE
    assert look_at(whole).condition == "done"

    def stop(step):
        if step.loss and step.loss.epoch == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    assert run_job(parted, stop) == STOPPED
    assert look_at(parted).condition == "failed"
    assert "job resume" in look_at(parted).sentence
    assert not parted.out.exists()
    assert run_job(parted) == DONE
    assert epochs(whole) == list(range(1, 11))
    assert epochs(parted) == epochs(whole)
    ours, theirs = (ad.read_h5ad(folder.out) for folder in (parted, whole))
    for slot in ("STAligner", "spatial_aligned"):
        np.testing.assert_array_equal(ours.obsm[slot], theirs.obsm[slot])
    assert (ours.obsp["mutual_neighbors"] != theirs.obsp["mutual_neighbors"]).nnz == 0
    assert not whole.checkpoint.exists()
    seen = look_closely(parted)
    assert (seen.share, seen.left) == (1.0, None)
    assert len(seen.losses) == 10
    assert fetch_result(whole, tmp_path / "here.h5ad").stat().st_size == whole.out.stat().st_size


def test_bad_input_is_told_by_the_state(make, slice_files, tmp_path):
    folder = make(replace(QUICK, pairs=(("A", "C"),)))
    assert run_job(folder) == BAD_INPUT
    assert "'C', which is not loaded" in look_at(folder).sentence
    gone = tmp_path / "gone.h5ad"
    shutil.copy(slice_files[0], gone)
    slice_files = [str(gone), slice_files[1]]
    gone.unlink()
    folder.write_spec(replace(folder.spec(), slices=tuple(slice_files)))
    assert run_job(folder) == BAD_INPUT
    assert "gone.h5ad" in look_at(folder).sentence


def test_a_full_disk_loses_nothing(make, monkeypatch):
    from napari_staligner.io import elsewhere

    folder, write = make(SETTINGS), elsewhere.write_result

    def full(adata, path):
        if path.parent == folder.path:
            raise InputError("No space left on device.")
        return write(adata, path)

    monkeypatch.setattr(elsewhere, "write_result", full)
    assert run_job(folder) == DONE
    said = look_at(folder).sentence
    assert "No space left" in said
    assert ad.read_h5ad(said.split("'")[1]).n_obs == 120
    # Nowhere at all: the checkpoint stays, and no epoch is trained again.
    monkeypatch.setattr(elsewhere, "_places", lambda path: [path])
    assert run_job(folder) == BAD_INPUT
    assert "free some space" in look_at(folder).sentence
    assert folder.checkpoint.exists()
    monkeypatch.undo()
    before = len(epochs(folder))
    assert run_job(folder) == DONE
    assert len(epochs(folder)) == before


@pytest.mark.usefixtures("in_processes")
def test_a_job_outlives_its_parent_and_is_stopped_killed_and_cancelled(make):
    folder = make(LONG, ranks=2)
    start = (
        "import os, signal; from pathlib import Path\n"
        "from napari_staligner.jobs.folder import JobFolder\n"
        "from napari_staligner.jobs.launch import start_job\n"
        f"start_job(JobFolder(Path({str(folder.path)!r})))\n"
        "os.killpg(0, signal.SIGKILL)"
    )
    parent = subprocess.Popen([sys.executable, "-c", start], start_new_session=True)
    assert parent.wait() == -signal.SIGKILL
    until(lambda: epochs(folder))
    with pytest.raises(InputError, match="running already"):
        run_job(folder)
    (other,) = others(look_at(folder).pid)
    os.kill(look_at(folder).pid, signal.SIGTERM)
    until(lambda: look_at(folder).ended)
    assert not other.is_running()
    assert f"Rank 1: {ENDED}" in folder.log.read_text()
    assert "stopped from outside" in look_at(folder).sentence
    assert folder.checkpoint.exists()

    far = max(epochs(folder))
    resume_job(folder)
    until(lambda: look_at(folder).condition == "running" and max(epochs(folder)) > far)
    done = epochs(folder)  # once: the job goes on
    assert sorted(set(done)) == list(range(1, max(done) + 1))
    (other,) = others(look_at(folder).pid)
    psutil.Process(look_at(folder).pid).kill()
    until(lambda: look_at(folder).condition == "failed")
    assert look_at(folder).sentence == GONE
    until(lambda: not other.is_running())

    resume_job(folder)
    until(lambda: look_at(folder).condition == "running")
    cancel_job(folder)
    until(lambda: look_at(folder).ended)
    assert look_at(folder).condition == "cancelled"
    assert "Traceback" not in folder.log.read_text()


@pytest.mark.usefixtures("in_processes")
def test_ranks_give_the_same_bits_and_one_that_dies_is_told(make):
    alone, ranks = make(SETTINGS, name="alone"), make(SETTINGS, name="ranks", ranks=2)
    assert run_job(alone) == DONE

    def kill(step):
        if step.loss and step.loss.epoch == 7:
            (other,) = others(os.getpid())
            other.kill()

    assert run_job(ranks, kill) == BAD_INPUT
    assert look_at(ranks).sentence == LOST
    assert not others(os.getpid())
    assert {path.name for path in ranks.path.iterdir()} == {
        "job.json",
        "state.json",
        "progress.jsonl",
        "checkpoint",
    }
    # It goes on from the checkpoint before the first search for matches.
    assert run_job(ranks) == DONE
    assert epochs(ranks) == [*range(1, 8), *epochs(alone)[6:]]
    ours, theirs = (ad.read_h5ad(folder.out) for folder in (ranks, alone))
    for slot in ("STAligner", "spatial_aligned", "registration_shift"):
        np.testing.assert_array_equal(ours.obsm[slot], theirs.obsm[slot])
    for column in ("alignment_confidence", "domain"):
        np.testing.assert_array_equal(ours.obs[column], theirs.obs[column])
    for slot in ("mutual_neighbors", "attention"):
        assert (ours.obsp[slot] != theirs.obsp[slot]).nnz == 0


def others(pid: int) -> list[psutil.Process]:
    """Return the ranks that a process started."""
    alive = [
        each for each in psutil.Process(pid).children() if each.status() != psutil.STATUS_ZOMBIE
    ]
    return [each for each in alive if "run" in each.cmdline()]
