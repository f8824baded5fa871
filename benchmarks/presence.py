"""How often slices of one make are told apart, by how far their labels are alike.

Five labels (40, 30, 15, 10 and 5 %) are drawn for square patches, the same way in every slice, with
the grid of patches at a random offset. So nothing is of one slice only, and every verdict is wrong.

presence.py [--tables 60]
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from napari_staligner.core.domains import presence as P

SHARES = (0.4, 0.3, 0.15, 0.1, 0.05)


def labels_of(
    points: NDArray[np.float64], patch: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Labels of a square grid of spots, alike over patches of so many spots a side."""
    column, row = ((points + rng.integers(0, patch, 2)) // patch).astype(int).T
    drawn = rng.choice(len(SHARES), size=(column.max() + 1, row.max() + 1), p=SHARES)
    return np.asarray(drawn[column, row])


def main(tables: Annotated[int, typer.Option(help="Tables of each kind.")] = 60) -> None:
    P.PERMUTATIONS = 999
    print("spots a slice, slices, spots of a patch: p ≤ 0.05, a wrong verdict, “slice-specific”")
    for side, n_slices, patch in [
        (s, n, p) for s in (30, 60) for n in (2, 4) for p in (2, 4, 6, 8)
    ]:
        rng = np.random.default_rng(0)
        points = np.stack(np.divmod(np.arange(side**2), side), axis=1).astype(float)
        slices = pd.Categorical(np.repeat([f"s{i}" for i in range(n_slices)], side**2))
        p, wrong, specific = [], 0, 0
        for _ in range(tables):
            labels = np.concatenate([labels_of(points, patch, rng) for _ in range(n_slices)])
            table = P.presence(
                pd.Categorical(labels.astype(str)), slices, np.tile(points, (n_slices, 1))
            )
            p += [row.p for row in table.rows]
            wrong += any(row.verdict in ("slice-specific", "depleted") for row in table.rows)
            specific += bool(table.specific())
        low = float(np.mean(np.array(p) <= P.LEVEL))
        print(
            f"{side**2:>5} {n_slices} {patch**2:>3}: {low:.2f}  {wrong / tables:.2f}"
            f"  {specific / tables:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
