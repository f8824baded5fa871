"""A session without a window, and jobs, killed at random; what is left is looked at.

    python tests/kills.py FOLDER N      N kills of a session, N / 4 of a job; prints what was lost
    python tests/kills.py FOLDER moves  a kill after each file that was moved into place

``whole_path.py crash`` does the same with a window and a hand, which takes ten times as long.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from killed_jobs import killed_jobs
from tiny import QUICK, tiny_pair
from whole_path import EXPORTED, SAVED, _clear, _drafts_left, _forked, _lines, kept, restore, state

from napari_staligner.io import newest_task


def steps_of(session: Any, folder: Path) -> dict[str, Callable[[], object]]:
    """The work of a person in steps of one edit each, by name."""
    from napari_staligner import read_slices
    from napari_staligner.core.progress import finish
    from napari_staligner.core.registration.choice import Choice, Model
    from napari_staligner.io.export.targets import export_steps

    def train() -> None:
        job = session.integration_job()
        session.autosave.await_result(job.kept)
        session.set_result(finish(job.steps()), kept=job.kept)

    def recluster() -> None:
        from dataclasses import replace

        chosen = replace(QUICK, domains=3)
        found = finish(session.domains.job(chosen).steps())
        session.domains.relabel(found.labels, chosen, found.stability, found.presence)

    def register() -> None:
        choice = Choice(Model.SIMILARITY)
        registered = finish(session.alignment.job(choice).steps())
        session.alignment.propose("Register", registered, choice)
        session.alignment.accept()

    domains, view = session.domains, session.view
    return {
        "load A": lambda: session.add(read_slices([folder / "A.h5ad"])),
        "load B": lambda: session.add(read_slices([folder / "B.h5ad"])),
        "settings": lambda: setattr(view, "settings", QUICK),
        "train": train,
        "re-cluster": recluster,
        "rename": lambda: domains.rename(domains.names[0], "first"),
        "save": lambda: session.save(folder / SAVED),
        "recolour": lambda: domains.recolor("first", "#123456"),
        "template": lambda: session.annotations.use_template("Cortex"),
        "annotate": lambda: session.annotations.assign(np.arange(5), "WM", "spot"),
        "judge": lambda: session.verdicts.give("partly", domain="first", note="the rim", who="Ann"),
        "register": register,
        "save again": lambda: session.save(folder / SAVED),
        "export": lambda: finish(
            export_steps(session.to_write(), "csv", folder / EXPORTED, overwrite=True)
        ),
        "recolour again": lambda: domains.recolor("first", "#654321"),
    }


def walk(folder: Path, log: Path, *, stay: bool, moves: int = 0) -> None:
    """Do all steps; a line in the log says that one is done, and what there is then.

    After so many moves of a file into its place, the process kills itself; 0 counts them only.
    """
    from napari_staligner.session.session import Session

    move, met = os.replace, count(1)

    def counted(*names: Any) -> None:
        move(*names)
        number = next(met)
        with (folder / "moves").open("a") as target:
            target.write(f"{Path(names[1]).suffix}\n")
        if number == moves:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = counted  # type: ignore[assignment]
    session, started = Session(), time.monotonic()
    session.autosave.start()
    with log.open("w") as target:
        for name, step in steps_of(session, folder).items():
            step()
            line = {"name": name, "after": time.monotonic() - started, "state": state(session)}
            target.write(json.dumps(line) + "\n")
            target.flush()
            os.fsync(target.fileno())
    while stay:
        time.sleep(1)
    session.autosave.leave()


def kill(folder: Path, seed: int, took: list[float]) -> dict[str, Any]:
    """Kill a walk at a time that chance gives, within a step that chance gives."""
    log, chance = _begun(folder), random.Random(seed)
    child = _forked(lambda: walk(folder, log, stay=True))
    steps = chance.randint(0, len(took) - 1)
    while len(_lines(log)) < steps:
        time.sleep(0.005)
    time.sleep(chance.random() * took[steps])
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return _left(folder, log)


def kill_after_move(folder: Path, number: int) -> dict[str, Any]:
    """Kill a walk between two writes that may belong together."""
    log = _begun(folder)
    child = _forked(lambda: walk(folder, log, stay=False, moves=number))
    os.waitpid(child, 0)
    return _left(folder, log)


def _begun(folder: Path) -> Path:
    (folder / "log").unlink(missing_ok=True)
    _clear(folder)
    return folder / "log"


def _left(folder: Path, log: Path) -> dict[str, Any]:
    """What the next start takes."""
    left, done = folder / "left.json", len(_lines(log))
    left.unlink(missing_ok=True)
    os.waitpid(_forked(lambda: restore(left, folder / SAVED)), 0)
    told = json.loads(left.read_text()) if left.exists() else None
    unsaved = [path.name for path in (folder / "home" / "unsaved").glob("*")]
    return {"done": done, "left": told, "drafts": [*_drafts_left(folder), *unsaved]}


def killed_sessions(
    folder: Path, times: int | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Walk to the end once, then kill walks: so many, or after each move if that is ``None``.

    Returns
    -------
    The lines of the whole walk, the first one before any step, and what each kill left.
    """
    from napari_staligner.io import user_folder
    from napari_staligner.session.session import Session

    home = folder / "home"
    user_folder.user_folder = lambda: home  # type: ignore[assignment]
    for name, adata in tiny_pair():
        adata.write_h5ad(folder / f"{name}.h5ad")
    log = _begun(folder)
    (folder / "moves").unlink(missing_ok=True)
    os.waitpid(_forked(lambda: walk(folder, log, stay=False)), 0)
    lines = [{"name": "nothing", "after": 0.0, "state": state(Session())}, *_lines(log)]
    took = [b["after"] - a["after"] for a, b in pairwise(lines)]
    kills = []
    moves = len((folder / "moves").read_text().splitlines())
    with (folder / "kills.jsonl").open("w") as told:
        for n in range(moves if times is None else times):
            kills.append(
                kill_after_move(folder, n + 1) if times is None else kill(folder, n, [*took, 0.2])
            )
            print(json.dumps(kills[-1]), file=told, flush=True)
    return lines, kills


def lost(kills: list[dict[str, Any]], lines: list[dict[str, Any]]) -> list[int]:
    """Kills that lost more than the step that was under way."""
    states = [line["state"] for line in lines]
    return [
        n for n, each in enumerate(kills) if not kept(each | {"done": each["done"] + 1}, states)
    ]


def main(folder: Path, times: int | None) -> int:
    import torch

    import napari_staligner.core.integrate
    import napari_staligner.core.registration
    import napari_staligner.core.training.train  # noqa: F401

    torch.set_num_threads(1)
    logging.disable()
    folder.mkdir(parents=True, exist_ok=True)
    lines, kills = killed_sessions(folder, times)
    jobs = killed_jobs(folder, (times or 0) // 4)
    wrong = lost(kills, lines)
    (folder / "kills.json").write_text(json.dumps({"lines": lines, "kills": kills, "jobs": jobs}))
    after = Counter(lines[each["done"]]["name"] for each in kills)
    print(f"{len(kills)} kills of a session, after: {dict(after)}")
    print(f"lost more than the step under way: {wrong}")
    print(f"drafts left for good: {sum(bool(each['drafts']) for each in kills)}")
    print(f"{len(jobs)} kills of a job, {sum(not job['same'] for job in jobs)} with other bits")
    return bool(wrong)


if __name__ == "__main__":
    # How long a busy machine may take for an edit is not what is tried here.
    newest_task.PATIENCE_SECONDS = 60.0
    sys.exit(main(Path(sys.argv[1]), None if sys.argv[2] == "moves" else int(sys.argv[2])))
