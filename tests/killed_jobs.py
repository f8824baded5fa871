"""Jobs that are killed at random, and go on."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tiny import QUICK

SETTINGS = replace(QUICK, pretrain_epochs=8, epochs=8)


def killed_jobs(folder: Path, times: int) -> list[dict[str, Any]]:
    """Run a job to its end, then again and again, killed at random and resumed.

    Parameters
    ----------
    folder
        Holds ``A.h5ad`` and ``B.h5ad``.
    times
        How many are killed.

    Returns
    -------
    For each, after how many steps it was killed, how it was seen then, and whether its result has
    the same bits as that of the one that was left alone.
    """
    from napari_staligner.io.anndata import read_file
    from napari_staligner.jobs.folder import JobFolder, Tail, Where
    from napari_staligner.jobs.launch import look_at, make_job
    from napari_staligner.jobs.run import run_job

    slices = [str(folder / f"{name}.h5ad") for name in "AB"]

    def made(name: str) -> JobFolder:
        shutil.rmtree(folder / name, ignore_errors=True)
        return make_job(slices, SETTINGS, Where(), names=["A", "B"], place=folder / name)

    whole, began = made("whole"), time.monotonic()
    run_job(whole)
    took = time.monotonic() - began
    expected = np.asarray(read_file(whole.out).obsm["STAligner"])
    found = []
    for seed in range(times):
        job, chance = made("killed"), random.Random(seed)
        child = os.fork()
        if not child:
            run_job(job)
            os._exit(0)
        time.sleep(chance.random() * took)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen, steps = look_at(job).condition, len(Tail(job).new())
        if seen != "done":
            run_job(job)
        z = np.asarray(read_file(job.out).obsm["STAligner"])
        found.append({"steps": steps, "seen": seen, "same": bool(np.array_equal(z, expected))})
    return found
