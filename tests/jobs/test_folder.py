from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tiny import QUICK

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Loss, Progress
from napari_staligner.jobs.folder import HELD, JobFolder, JobState, Tail, Where
from napari_staligner.jobs.keeper import FileKeeper
from napari_staligner.jobs.launch import cancel_job, fetch_result, look_at, make_job, resume_job
from napari_staligner.jobs.launchers import ssh
from napari_staligner.jobs.launchers.local import command
from napari_staligner.jobs.launchers.slurm import script_of
from napari_staligner.jobs.listing import forget_job, job_of, known_jobs, remember_job
from napari_staligner.jobs.watch import GONE


def test_a_job_says_what_it_computes(make):
    settings = replace(QUICK, pairs=(("A", "B"),), counts_layer={"A": "counts"})
    folder = make(settings, on="slurm", time="8:00:00", mem="64G")
    spec = JobFolder(folder.path).spec()
    assert spec.settings == settings
    assert spec.where == Where("slurm", queue={"time": "8:00:00", "mem": "64G"})
    assert [each.endswith(".h5ad") for each in spec.slices] == [True, True]
    assert "torch" in spec.versions
    assert spec.command.endswith(" --counts-layer A=counts --chain")
    assert spec.title == "A, B"
    assert look_at(make(name="b")).sentence == HELD


@pytest.mark.parametrize(
    "text", ["", "moon", "ssh", "local:here", "ssh:-oProxyCommand=x", "ssh:a b", "dask:$(x)"]
)
def test_a_place_that_is_none_is_refused(text):
    with pytest.raises(InputError, match=r"choose local|no name of a host"):
        Where.from_text(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [("prolog", "x"), ("wrap", "rm"), ("time", "1\nrm -r /"), ("mem", "$(x)"), ("time", "-x")],
)
def test_what_could_run_is_not_asked_of_slurm(make, name, value):
    with pytest.raises(InputError):
        Where.from_text("slurm", {name: value})
    # Nor if somebody wrote it into the folder.
    folder = make(on="slurm", time="1:00")
    said = json.loads((folder.path / "job.json").read_text())
    said["where"]["queue"] = {name: value}
    (folder.path / "job.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="cannot be read"):
        folder.spec()


def test_names_of_folders_stay_words(make):
    folder = make(on="slurm", name='a "b" $(touch x) %j; c', partition="gpu")
    script = script_of(folder, folder.spec())
    assert "#SBATCH --partition=gpu\n" in script
    assert '\\"b\\" $(touch x) %%j; c/log.txt"\n' in script
    assert command(folder)[-1] == str(folder.path)
    assert f"'{folder.path}'" in script


def test_progress_is_read_as_it_grows(make):
    folder = make()
    tail = Tail(folder)
    steps = [Progress("check A", 0, 9, note="Few spots."), Progress("align", 2, 9)]
    steps.append(Progress("pretrain", 3, 9, loss=Loss(1, 0.5, None)))
    for step in steps[:2]:
        folder.tell(step)
    assert [step for _, step in tail.new()] == steps[:2]
    assert tail.new() == []
    folder.tell(steps[2])
    with folder.progress.open("a") as file:
        file.write('{"time": 1, "stage": "half')
    assert [step for _, step in tail.new()] == steps[2:]
    with folder.progress.open("a") as file:
        file.write('\nnonsense\n{"time": 1, "stage": "x", "done": 1, "total": 2}\n')
    assert [step.stage for _, step in tail.new()] == ["x"]


def test_a_dead_process_is_seen(make):
    folder = make()
    folder.write_state(JobState("running", "", "another-machine", 1, 0.0))
    assert look_at(folder).condition == "running"
    import os

    os.utime(folder.progress, (1, 1))
    assert look_at(folder) == JobState("failed", GONE, "another-machine", 1, 0.0)


def test_a_job_that_waits_is_cancelled_at_once(make):
    folder = make()
    cancel_job(folder)
    assert look_at(folder).condition == "cancelled"
    with pytest.raises(InputError, match="cancelled already"):
        cancel_job(folder)
    with pytest.raises(InputError, match="is cancelled, without result"):
        fetch_result(folder)


def test_what_does_not_fit_is_one_sentence(make, tmp_path):
    folder = make()
    with pytest.raises(InputError, match="is taken"):
        make()
    with pytest.raises(InputError, match="holds no job"):
        JobFolder(tmp_path).spec()
    folder.write_state(JobState("done"))
    with pytest.raises(InputError, match="nothing to go on with"):
        resume_job(folder)
    (folder.path / "job.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        folder.spec()


def test_jobs_are_found_again(make):
    jobs = [make(name=name) for name in "abc"]
    for folder in (*jobs, jobs[0]):
        remember_job(folder)
    assert known_jobs() == [jobs[0], jobs[2], jobs[1]]
    forget_job(jobs[2])
    assert known_jobs() == [jobs[0], jobs[1]]
    assert job_of(jobs[1].spec().id[:6]) == jobs[1]
    assert job_of(str(jobs[2].path)) == jobs[2]
    for text in ("", "zzz"):
        with pytest.raises(InputError, match=r"no job|several"):
            job_of(text)
    own = make_job(["x.h5ad"], QUICK, Where(), names=["x"])
    assert own.path.name == own.spec().id


def test_a_checkpoint_holds_no_objects(tmp_path):
    import numpy as np

    keeper = FileKeeper(tmp_path / "checkpoint" / "training.npz")
    assert keeper.load() is None
    keeper.save({"a": np.arange(3.0), "said": np.array("text")})
    assert set(keeper.load()) == {"a", "said"}
    np.savez(tmp_path / "checkpoint" / "training.npz", a=np.array([print], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        keeper.load()


def test_a_checkpoint_that_cannot_be_written_ends_no_training(tmp_path):
    (tmp_path / "checkpoint").write_text("a file is in the way")
    keeper = FileKeeper(tmp_path / "checkpoint" / "training.npz")
    keeper.wanted = True
    keeper.save({})
    assert keeper.problem.startswith("No checkpoint could be kept: ")
    assert not keeper.wanted


def test_a_name_that_would_be_a_command_of_sftp_is_not_sent(make, monkeypatch):
    sent = []
    monkeypatch.setattr(ssh, "_transfer", lambda spec, lines: sent.append(lines))
    folder = make(on="ssh:there")
    spec = replace(folder.spec(), slices=("/data/a\n!touch here\n.h5ad",))
    with pytest.raises(InputError, match="cannot be sent"):
        ssh._send(folder, spec)
    assert not sent
