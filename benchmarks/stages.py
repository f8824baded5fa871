"""Processor time of one thread by stage of a whole run, from the files to the written result.

The settings are those of "whole" in engine.py, which leaves simulated slices where --files says.

    python benchmarks/stages.py A.h5ad B.h5ad
"""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import torch
import typer
from engine import peak_memory, whole_settings

from napari_staligner import read_slices, write_result
from napari_staligner.core.integrate import integrate_steps
from napari_staligner.core.progress import finish


def main(files: Annotated[list[Path], typer.Argument(help="Slices, .h5ad.")]) -> None:
    torch.set_num_threads(1)
    slices = read_slices(files, backed=True)
    names = re.compile("|".join(re.escape(name) for name, _ in slices))
    seconds, steps = Counter[str](), Counter[str]()
    stage, since = "start, open", 0.0

    def enter(said: str) -> None:
        """A stage is said before its work is done."""
        nonlocal stage, since
        now = time.process_time()
        seconds[stage] += now - since
        steps[stage] += 1
        stage, since = names.sub("*", said), now

    run = integrate_steps(slices, whole_settings("default"))
    result = finish(run, lambda step: enter(step.stage))
    enter("write")
    with tempfile.TemporaryDirectory() as folder:
        write_result(result, Path(folder) / "out.h5ad")
    enter("")
    for name, taken in seconds.items():
        print(f"{name:30} {steps[name]:6} {taken:9.1f} s")
    print(f"{'all':37} {seconds.total():9.1f} s, {peak_memory():,.0f} MB at most")


if __name__ == "__main__":
    typer.run(main)
