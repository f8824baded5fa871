"""Against a real scheduler and a worker, as processes on the loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import anndata as ad
import pytest
from waiting import until

from napari_staligner._errors import InputError
from napari_staligner.jobs.folder import Tail
from napari_staligner.jobs.launch import look_at, start_job
from napari_staligner.jobs.launchers import dask


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def scheduler(tmp_path, in_processes):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    address = f"tcp://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    dask = [sys.executable, "-m", "dask"]
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    started = [subprocess.Popen([*dask, "scheduler", *common, "--port", port], **quiet)]
    worker = [*dask, "worker", address, *common, "--no-nanny", "--nthreads", "1"]
    started.append(subprocess.Popen(worker, **quiet))
    until(lambda: listens(int(port)))
    yield address
    for process in reversed(started):
        process.terminate()
        process.wait(60)


def test_a_worker_computes_a_job_that_this_process_no_longer_holds(make, scheduler):
    folder = make(on=f"dask:{scheduler}")
    start_job(folder)
    until(lambda: look_at(folder).ended)
    assert look_at(folder).condition == "done", folder.log.read_text()
    assert look_at(folder).pid != os.getpid()
    assert sum(step.loss is not None for _, step in Tail(folder).new()) == 8
    assert ad.read_h5ad(folder.out).obsm["STAligner"].shape == (120, 6)


def test_a_scheduler_that_does_not_answer_is_one_sentence(make, monkeypatch):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    monkeypatch.setattr(dask, "ANSWERS_WITHIN", 1.0)
    folder = make(on=f"dask:tcp://127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match="does not answer"):
        start_job(folder)
    assert look_at(folder).condition == "failed"
