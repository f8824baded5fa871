"""Runs of the shell whose memory runs out in the middle, each in a process of its own.

    python tests/short_memory.py FOLDER MB...    prints as JSON how each ended

A run passes the checks before it, reads its slices, and then has so many MB left.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from fuzz.pool import HEAVY
from scarce import leave_memory
from tiny import tiny_slice

PATIENCE = 120
BEFORE = "a result of yesterday"
SIDE, GENES = 60, 600
"""Of slices that need a few hundred MB."""


def ended(folder: Path, left: int | None) -> tuple[int, str]:
    """Run the shell; return its exit code, or the signal as a negative number, and its stderr."""
    said = folder / "stderr"
    child = os.fork()
    if not child:
        stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        # A run that waits for what never comes is no end, either.
        faulthandler.enable()
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        os._exit(_code(lambda: _integrate(folder, left)))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.read_text()


def _integrate(folder: Path, left: int | None) -> None:
    from napari_staligner.cli.app import app
    from napari_staligner.core.training import estimate

    words = ["integrate", "A.h5ad", "B.h5ad", "-o", "out.h5ad", "--set", "domains=2"]
    quick = {"pretrain_epochs": 4, "epochs": 4, "refresh": 2, "mnn_k": 10, "seed": 0}
    words += [f"--set={name}={value}" for name, value in quick.items()]
    os.chdir(folder)
    if left is not None:
        met = count()

        def passed(*_: Any) -> None:
            """Let the run begin; once all is read, little is left."""
            if next(met) == 1:
                leave_memory(left << 20)

        estimate.check_memory = passed
    app(words)


def _code(work: Callable[[], None]) -> int:
    try:
        work()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 98


def runs(folder: Path, lefts: list[int]) -> list[dict[str, Any]]:
    """Run with each limit, beside a file that is there already, and then without one."""
    for name in HEAVY:
        import_module(name)
    for seed, name in enumerate("AB"):
        tiny_slice(SIDE, GENES, seed).write_h5ad(folder / f"{name}.h5ad")
    (folder / "out.h5ad").write_text(BEFORE)
    found = []
    for left in (*lefts, None):
        code, said = ended(folder, left)
        same = (folder / "out.h5ad").read_bytes() == BEFORE.encode()
        names = sorted(path.name for path in folder.iterdir())
        found.append({"left": left, "code": code, "said": said, "same": same, "names": names})
    return found


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    sys.stdout.write(json.dumps(runs(Path(sys.argv[1]), [*map(int, sys.argv[2:])])))
