"""Folders of jobs, sound, to be damaged; and what is done with a damaged one."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny import QUICK, tiny_pair

SETTINGS = replace(QUICK, pretrain_epochs=2, epochs=2)
FOLDER = "job"


def make_job_sample(folder: Path, *, stopped: bool) -> None:
    """Run a job on two tiny slices, to its end or into its first epochs.

    Parameters
    ----------
    folder
        Holds the slices, and the job in ``job``.
    stopped
        Whether it is stopped, so that there is a checkpoint and no result.
    """
    from napari_staligner.jobs.folder import Where
    from napari_staligner.jobs.launch import make_job
    from napari_staligner.jobs.run import run_job

    for name, adata in tiny_pair():
        adata[:, :30].write_h5ad(folder / f"{name}.h5ad")
    slices = [f"../{name}.h5ad" for name in "AB"]
    job = make_job(slices, SETTINGS, Where(), names=["A", "B"], place=folder / FOLDER)

    def stop(step: Any) -> None:
        if stopped and step.loss and step.loss.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    run_job(job, stop)
    assert job.out.exists() != stopped
    assert job.checkpoint.exists() == stopped


def use_job(
    shell: Callable[..., list[str]], opened: Callable[[Path], list[str]], folder: Path
) -> list[str]:
    """List a job, show it on the board, ask how it is, go on with it, and take its result.

    Parameters
    ----------
    shell
        Runs a command and returns what is wrong with its end.
    opened
        Opens the file of a result and returns what is wrong.
    folder
        Of the job.
    """
    from napari_staligner._errors import InputError
    from napari_staligner.jobs.board import JobBoard
    from napari_staligner.jobs.folder import JobFolder
    from napari_staligner.jobs.launchers.local import Local
    from napari_staligner.jobs.listing import forget_job, remember_job
    from napari_staligner.jobs.run import run_job

    job = JobFolder(folder)
    remember_job(job)
    # In this process: another one would import all again.
    Local.start = lambda self, job, spec: run_job(job)  # type: ignore[method-assign,assignment]
    faults = [fault for words in (["list"], ["status", folder]) for fault in shell("job", *words)]
    there = (folder / "job.json").is_file()
    cards = JobBoard().look()
    if there and [card.folder.path for card in cards] != [folder.resolve()]:
        faults.append(f"the board shows {len(cards)} jobs")
    for card in cards:
        _as_the_dock_does(card)
    faults += shell("job", "resume", folder)
    faults += shell("job", "fetch", folder, "-o", folder.parent / "fetched.h5ad")
    faults += shell("job", "compare", folder)
    if job.out.exists():
        try:
            faults += opened(job.out)
        except InputError as error:
            faults += [] if str(error).endswith(".") else [f"no sentence: {error}"]
    forget_job(job)
    shutil.rmtree(folder, ignore_errors=True)
    return faults


def _as_the_dock_does(card: Any) -> None:
    """Ask a card for all that the dock shows."""
    from napari_staligner.core.progress import spoken

    f"{card.share:.0%} {card.spec.title} {card.spec.where.on} {card.spec.made:.16}"
    spoken(card.left or 0)
    round(1000 * card.share)
    for loss in card.losses:
        float(loss.epoch), float(loss.reconstruction), float(loss.triplet or 0)
