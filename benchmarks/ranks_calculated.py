"""How long a run takes on more ranks, and for more spots, by calculation from measured parts.

From one rank and two, measured by ``ranks.py compare --keep``, follows for each part what ranks
share: twice the difference. Parts grow with the spots, with the pairs of slices that are compared
(12 others for each slice at most) or not at all; slices stay as large as they were.

    python benchmarks/ranks_calculated.py kept.json --spots 1000000 --sizes 1,4,16
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from napari_staligner.core.training.matching import PARTNERS

BY_PAIRS = (
    "searches for matches",
    "matches of all spots",
    "confidence",
    "registration, pair by pair",
    "registration, all together",
)
PAIRS_BESIDE_DOMAINS = "registration, pair by pair"
"""All of it is shared; the first rank takes fewer pairs, because it finds domains meanwhile."""
REFRESH, SEARCHES = 20, 2
"""Epochs from one search to the next in a whole run, and searches in the measured one."""
PARAMETERS, LATENT, TILE = 200 * 512 + 512 * 30 + 2 * 512, 30, 12_500
"""Numbers of the model and of a spot's z, and spots of a tile."""
BYTES_A_SECOND = 1.25e9
"""Of a network of 10 Gbit/s."""


def pairs(slices: float) -> float:
    """Pairs of slices that are compared."""
    return min(slices * (slices - 1), slices * PARTNERS) / 2


def grown(part: str, kept: dict, spots: int, epochs: tuple[int, int]) -> float:
    """How many times as long a part takes as in the measured run."""
    slices = spots / kept["spots"] * kept["slices"]
    more = spots / kept["spots"]
    if part in BY_PAIRS:
        more = pairs(slices) / pairs(kept["slices"])
    for name, wanted in zip(("epochs, pretrain", "epochs, align"), epochs, strict=True):
        if part == name:
            more *= wanted / kept["epochs"]
    if part == "searches for matches":
        more *= (1 + epochs[1] / REFRESH) / SEARCHES
    return more


def exchange(spots: int, epochs: tuple[int, int], ranks: int) -> float:
    """Seconds to send gradients of tiles in each epoch, and z for triplets and searches."""
    gradients = 4 * PARAMETERS * spots / TILE * sum(epochs)
    z = 4 * LATENT * spots * (epochs[1] + 4 * (1 + epochs[1] / REFRESH))
    return (gradients + z) * (1 - 1 / ranks) / BYTES_A_SECOND


def main(
    file: Path,
    spots: int = 1_000_000,
    sizes: Annotated[str, typer.Option(help="Numbers of ranks.")] = "1,4,16",
    epochs: Annotated[str, typer.Option(help="Of reconstruction, and with triplets.")] = "76,80",
) -> None:
    """Print a table in Markdown: seconds of a processor, shared and not, and for each number."""
    kept = json.loads(file.read_text())
    first, second = epochs.split(",")
    both, many = (int(first), int(second)), [int(size) for size in sizes.split(",")]
    one, two = (kept["tables"][size] for size in ("1", "2"))
    print("| | shared | not shared |", *(f"{size} ranks |" for size in many))
    print("|---|---|---|" + "---|" * len(many))
    whole = dict.fromkeys(many, 0.0)
    for part, (alone, *_) in one.items():
        if part in ("training", "whole"):
            continue
        shared = min(max(0.0, 2 * (alone - two[part][0])), alone)
        if part == PAIRS_BESIDE_DOMAINS:
            shared = alone
        more = grown(part, kept, spots, both)
        row = {size: more * (alone - shared + shared / size) for size in many}
        whole = {size: whole[size] + row[size] for size in many}
        shown = (more * shared, more * (alone - shared), *row.values())
        print(f"| {part} |", *(f"{seconds:,.0f} |" for seconds in shown))
    sent = {size: exchange(spots, both, size) for size in many}
    print("| exchange | | |", *(f"{seconds:,.0f} |" for seconds in sent.values()))
    print(f"| **{spots:,} spots** | | |", *(f"**{whole[n] + sent[n]:,.0f}** |" for n in many))
    alone = whole[many[0]] + sent[many[0]]
    print("| times as fast | | |", *(f"{alone / (whole[n] + sent[n]):.1f} |" for n in many))


if __name__ == "__main__":
    typer.run(main)
