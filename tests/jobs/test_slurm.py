"""Against a real Slurm of one node, where Debian's slurmctld, slurmd and munge are installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import anndata as ad
import pytest
from tiny import QUICK
from waiting import until

from napari_staligner._errors import InputError
from napari_staligner.jobs.folder import Tail
from napari_staligner.jobs.launch import cancel_job, look_at, resume_job, start_job
from napari_staligner.jobs.run import STOPPED_FROM_OUTSIDE

LONG = replace(QUICK, pretrain_epochs=100_000, tolerance=0.0)


@pytest.fixture(scope="module")
def slurm():
    """Start munge, the controller and a node; end them after the tests."""
    missing = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    if missing or os.geteuid():
        pytest.skip(f"no Slurm to start here: {', '.join(missing) or 'not root'}")
    # Not pytest's own folder: the path of a socket may have 107 letters.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    host = socket.gethostname()
    text = (Path(__file__).parent / "slurm.conf").read_text()
    conf = folder / "slurm.conf"
    conf.write_text(text.replace("@DIR@", str(folder)).replace("@HOST@", host))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    for name in ("spool", "state"):
        (folder / name).mkdir()
    before, os.environ["SLURM_CONF"] = os.environ.get("SLURM_CONF"), str(conf)
    munge = [
        *("munged", "--force", "--foreground", f"--key-file={folder / 'munge.key'}"),
        *(f"--socket={folder / 'munge.sock'}", f"--pid-file={folder / 'munge.pid'}"),
        *(f"--log-file={folder / 'munge.log'}", f"--seed-file={folder / 'munge.seed'}"),
    ]
    daemons = []
    try:
        daemons.append(_started(munge))
        until((folder / "munge.sock").exists)
        daemons += [_started(["slurmctld", "-D"]), _started(["slurmd", "-D"])]
        until(lambda: "idle" in _said("sinfo", "--noheader", "--format=%T"))
        yield
    finally:
        _said("scancel", "--user=root")
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(60)
        if before is None:
            del os.environ["SLURM_CONF"]
        shutil.rmtree(folder, ignore_errors=True)


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def epochs(folder) -> list[int]:
    return [step.loss.epoch for _, step in Tail(folder).new() if step.loss]


@pytest.mark.usefixtures("slurm", "in_processes")
def test_a_job_runs_in_the_queue_is_stopped_and_goes_on(make):
    both = {"cpus-per-task": "2"}
    one = make(LONG, on="slurm", name="one job", **both)
    waits = make(LONG, on="slurm", name="waits", **both)
    start_job(one)
    until(lambda: epochs(one))
    # There are two processors.
    start_job(waits)
    until(lambda: "Slurm: " in look_at(waits).sentence)
    assert look_at(waits).condition == "queued"
    cancel_job(waits)
    assert look_at(waits).condition == "cancelled"
    name = one.spec().queue_name
    assert _said("squeue", "--noheader", "--format=%j").split() == [name]
    # What a queue does a minute before the time limit.
    _said("scancel", "--signal=TERM", f"--name={name}")
    until(lambda: look_at(one).ended)
    assert look_at(one).sentence == STOPPED_FROM_OUTSIDE
    assert one.checkpoint.exists()
    far = max(epochs(one))
    resume_job(one)
    until(lambda: max(epochs(one)) > far)
    done = epochs(one)  # once: the job goes on
    assert sorted(set(done)) == list(range(1, max(done) + 1))
    cancel_job(one)
    until(lambda: look_at(one).ended)
    assert look_at(one).condition == "cancelled"
    until(lambda: not _said("squeue", "--noheader"))


@pytest.mark.usefixtures("slurm", "in_processes")
def test_srun_starts_the_ranks_of_a_job(make):
    folder = make(on="slurm", name="two ranks", ranks=2)
    start_job(folder)
    until(lambda: look_at(folder).ended)
    said = folder.log.read_text()
    assert look_at(folder).condition == "done", said
    assert "Error" not in said
    assert any("2 processes share it." in (step.outlook or "") for _, step in Tail(folder).new())
    assert "#SBATCH --ntasks=2\n" in (folder.path / "job.sh").read_text()
    assert ad.read_h5ad(folder.out).n_obs == 120


@pytest.mark.usefixtures("slurm", "in_processes")
def test_what_slurm_refuses_is_one_sentence(make):
    folder = make(on="slurm", name="refused", partition="moon")
    with pytest.raises(InputError, match=r"Slurm refused \(.*moon"):
        start_job(folder)
    assert look_at(folder).condition == "failed"


def test_without_slurm_it_is_said(make, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="There is no sbatch on this machine"):
        start_job(make(on="slurm"))
