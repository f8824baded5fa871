"""Two ranks, of which the second is slow and then falls silent: see test_ranks."""

from __future__ import annotations

import os
import signal
import sys
import time

import torch

from napari_staligner._errors import ComputeError
from napari_staligner.core.training import signs
from napari_staligner.core.training.ranks import Ranks

if __name__ == "__main__":
    signs.BEAT, signs.LOOK, signs.SILENT = 0.1, 0.1, 3.0
    ranks = Ranks.joined()
    if ranks.rank:
        time.sleep(4.0)  # slow, but alive
    shared = int(ranks.share(torch.tensor([7 * ranks.rank]), 1))
    if ranks.rank:
        os.kill(os.getpid(), signal.SIGSTOP)
    try:
        ranks.share(torch.tensor([0]), 1)
    except ComputeError as error:
        sys.stdout.write(f"{shared}\n{error}\n")
    signs.leave(0)
