"""A peer: PASTE2 on series of sections, in the figure that ``registration.py`` prints.

python benchmarks/paste2.py her2 0.9 pca    in an environment of its own: pip install paste2

Sections are turned at random, every second one mirrored; adjacent ones are aligned by PASTE2 with
the share of overlap and the dissimilarity that are given, and laid on each other by its own
``partial_stack_slices_pairwise``. Printed is, for each pair of neighbours and in the mean, the
share of spots whose nearest one in the next section bears the same label. It imports nothing of
this project, as PASTE2 asks for other versions of its libraries.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise

import numpy as np
from paste2 import PASTE2, projection
from series import shares, turned_series


def main(series: str, overlap: float, dissimilarity: str, seed: int = 0) -> None:
    """Align, stack, and print the shares."""
    slices, labels = turned_series(series, seed)
    start, plans = time.perf_counter(), []
    for first, second in pairwise(slices):
        plans.append(
            PASTE2.partial_pairwise_align(
                first.copy(), second.copy(), s=overlap, dissimilarity=dissimilarity, verbose=False
            )
        )
    stacked = projection.partial_stack_slices_pairwise(slices, plans)
    found = shares([np.asarray(adata.obsm["spatial"]) for adata in stacked], labels)
    print(f"{series}, s={overlap}, {dissimilarity}", found, f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
