"""``job run``: the only program that computes a job, wherever it was started from."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_staligner._errors import ComputeError, InputError
from napari_staligner.core.attempt import known_failure, log_failure, reason
from napari_staligner.core.progress import Progress, Steps, finish
from napari_staligner.core.training.ranks import standing
from napari_staligner.jobs.folder import GO_ON, SESSION_FILE, JobFolder, JobSpec, JobState
from napari_staligner.jobs.heartbeat import beating
from napari_staligner.jobs.keeper import FileKeeper, ReadingKeeper
from napari_staligner.jobs.ranks import joined_ranks, other_ranks
from napari_staligner.jobs.watch import running

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.result.source import Source
    from napari_staligner.core.training.checkpoint import Keeper
    from napari_staligner.core.training.ranks import Ranks
    from napari_staligner.io.formats.found import Named

DONE, FAILED, BAD_INPUT, STOPPED, CANCELLED = 0, 1, 2, 75, 130
"""Exit codes of a job; after 75, it can go on."""

STOPPED_FROM_OUTSIDE = (
    f"It was stopped from outside, by the time limit of a queue for one: {GO_ON}."
)


def run_job(folder: JobFolder, on_progress: Callable[[Progress], object] | None = None) -> int:
    """Compute a job, or go on with it from its checkpoint.

    Parameters
    ----------
    folder
        Of the job. Its progress, state and result are written there.
    on_progress
        Also called with each step.

    Of several ranks, only the first writes into the folder, and decides.

    Returns
    -------
    The exit code of the process. All that goes wrong is told by ``state.json``.

    Raises
    ------
    InputError
        The folder is no job's, or the job is running already.
    ComputeError
        This is not the first of several ranks, and another one is gone.
    """
    spec = folder.spec()
    if standing()[0]:
        return _help(folder, spec)
    if running(folder):
        raise InputError(f"The job {str(folder.path)!r} is running already: wait for it.")
    folder.write_state(_own_state())
    # At once, so that nobody who sees it running takes an older sign for its own.
    folder.beat()
    with beating([folder]):
        code, said = _outcome(folder, spec, on_progress)
    names = {DONE: "done", CANCELLED: "cancelled"}
    condition = names.get(code, "failed")
    folder.write_state(replace(_own_state(), condition=condition, sentence=said))  # type: ignore[arg-type]
    return code


def _help(folder: JobFolder, spec: JobSpec) -> int:
    """Compute as a rank that is not the first."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    ranks = joined_ranks()
    try:
        finish(job_steps(folder, spec, ReadingKeeper(folder.checkpoint), ranks))
    except (InputError, ComputeError) as error:
        raise type(error)(f"Rank {ranks.rank}: {error}") from error
    return DONE


def _outcome(
    folder: JobFolder, spec: JobSpec, on_progress: Callable[[Progress], object] | None
) -> tuple[int, str]:
    try:
        with other_ranks(folder, spec.where.ranks):
            return _compute(folder, spec, on_progress)
    except (InputError, ComputeError) as error:
        return BAD_INPUT, str(error)
    except KeyboardInterrupt:
        return CANCELLED, ""
    except Exception as error:
        log_failure("The job failed", error)
        if said := known_failure(error):
            return BAD_INPUT, said
        return FAILED, f"This failed ({reason(error)})."


def _compute(
    folder: JobFolder, spec: JobSpec, on_progress: Callable[[Progress], object] | None
) -> tuple[int, str]:
    keeper = FileKeeper(folder.checkpoint)
    steps = job_steps(folder, spec, keeper, joined_ranks())
    # The other ranks are told that it ends, before they are left.
    with closing(steps), _stopping() as stop:
        while True:
            if folder.cancel.exists():
                return CANCELLED, ""
            asked = keeper.wanted = stop.is_set()
            try:
                step = next(steps)
            except StopIteration as end:
                result = end.value
                break
            if keeper.problem and not step.note:
                step = replace(step, note=keeper.problem)
            folder.tell(step)
            if on_progress is not None:
                on_progress(step)
            # An epoch keeps a checkpoint when one is wanted; before all else one was kept.
            if asked and (step.loss is None or not keeper.wanted):
                return STOPPED, STOPPED_FROM_OUTSIDE
        return DONE, _write(folder, result)


def _write(folder: JobFolder, result: AnnData) -> str:
    """Write the result; return a sentence if it had to go elsewhere."""
    from napari_staligner.io.elsewhere import write_somewhere

    folder.tell(Progress("writing", 1, 1))
    _, problem = write_somewhere(result, folder.out)
    shutil.rmtree(folder.checkpoint.parent, ignore_errors=True)
    return problem


def job_steps(
    folder: JobFolder, spec: JobSpec, keeper: Keeper | None = None, ranks: Ranks | None = None
) -> Steps[AnnData]:
    """Read the slices of a job and integrate them, one step at a time."""
    from napari_staligner.core.integrate import integrate_steps

    yield Progress("reading the slices", 0, 1)
    slices = slices_of_job(folder, spec)
    return (yield from integrate_steps(slices, spec.settings, keeper, ranks))


def slices_of_job(folder: JobFolder, spec: JobSpec) -> Named:
    """Read the slices of a job; counts stay on disk.

    Raises
    ------
    InputError
        A file is gone or cannot be read.
    """
    from napari_staligner.core.result.source import Source
    from napari_staligner.io.h5ad import read_slices
    from napari_staligner.io.session_file import open_file

    if spec.slices == (SESSION_FILE,):
        content = open_file(folder.path / SESSION_FILE)
        if content.problems:
            raise InputError(content.problems[0])
        return content.slices
    places = [_within(folder, Source.from_spec(text)) for text in spec.slices]
    read = read_slices([place.spec() for place in places], slice_key=spec.slice_key, backed=True)
    if spec.exclude is None:
        return read
    from napari_staligner.io.excluded import exclude

    return exclude(read, folder.path / spec.regions, by=spec.exclude)


def _within(folder: JobFolder, source: Source) -> Source:
    """A source with its path from here; an absolute one stays."""
    from napari_staligner.core.result.provenance import SAMPLE

    if source.path.startswith(SAMPLE):
        return source
    return replace(source, path=str(folder.path / source.path))


def _own_state() -> JobState:
    import psutil

    process = psutil.Process()
    return JobState("running", "", socket.gethostname(), process.pid, process.create_time())


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Notice SIGTERM instead of dying of it."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread() or os.name == "nt":
        yield asked
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
