"""Time of a change of the view at 200,000 spots over eight slices, in a real window.

scripts/with_display.sh --hidden .venv/bin/python benchmarks/canvas.py

"set" is until the session's signal has been answered, "drawn" until the canvas shows it, with all
docks open and Explore in front; where there is no GPU, with software rendering. The median of the
rounds and the best of them; with --cpu, for shared machines, the CPU time of the thread of the
window and that of the busiest of the others, added: what the clock says at most where each thread
has a core (told by Linux).

Then one domain gets another colour and another name while the spatial graph is drawn: how long the
thread of the window is held up, how many edges are drawn again, and both against telling the same
change as other labels of the spots, by turns. To show that edges are counted, a domain is isolated.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from anndata import AnnData
from scipy.sparse import block_diag, csr_matrix
from scipy.spatial import KDTree

from napari_staligner import _keys as K
from napari_staligner.core.palette import categorical_colors
from napari_staligner.layers import open_session
from napari_staligner.session import ColorBy, Session

GENES, PER_SPOT, DOMAINS = 5_000, 400, 12
PAUSE = 0.4


def main(
    spots: Annotated[int, typer.Option(help="Over all slices.")] = 200_000,
    slices: int = 8,
    rounds: int = 7,
    cpu: bool = False,
    rest: Annotated[float, typer.Option(help="Seconds before it starts, for what docks do.")] = 15,
) -> None:
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_staligner.widgets.workbench import open_workbench

    viewer = napari.Viewer()
    viewer.window.resize(1600, 1000)
    docks = open_workbench(viewer)
    explore = docks["Explore"].parentWidget()
    while not hasattr(explore, "toggleViewAction"):
        explore = explore.parentWidget()
    explore.raise_()
    session = open_session(viewer)
    load(session, spots // slices, slices)
    canvas = viewer.window._qt_viewer.canvas.native

    clock = Busy.now if cpu else time.perf_counter
    frames: list[Busy | float] = []
    canvas.frameSwapped.connect(lambda: frames.append(clock()))

    def draw() -> Busy | float:
        """Let the window live until it has drawn what was asked for; returns when that was."""
        frames.clear()
        canvas.update()
        while not frames:
            QApplication.processEvents()
        return frames[0]

    def live(seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    def timed(change: Callable[[int], None], turn: int) -> tuple[float, float]:
        """Seconds until a change is set, and until it is drawn."""
        # Pictures beside the canvas follow a moment after it: those of the change before are done.
        live(PAUSE)
        start = clock()
        change(turn)
        at_once = clock() - start
        return float(at_once), float(draw() - start)

    live(rest)

    print(f"{spots:,} spots, {slices} slices; seconds, median (best)")
    print(f"{'':<28} {'set':<15}drawn")
    for name, change in changes(session).items():
        draw()
        taken = [timed(change, turn) for turn in range(rounds + 1)][1:]
        figures = zip(np.median(taken, axis=0), np.min(taken, axis=0), strict=True)
        print(f"{name:<28} " + "  ".join(f"{m:.3f} ({best:.3f})" for m, best in figures))
    session.view.color_by, session.view.isolated = ColorBy("obs", K.DOMAIN), frozenset()
    session.result.selection = np.empty(0, dtype=np.intp)
    session.view.graph_shown = True
    live(PAUSE)
    edges = Redrawn(viewer)
    compare(domain_changes(session), edges, timed, rounds)
    edges.drawn = 0
    session.view.isolated = frozenset(session.domains.names[:1])
    print(f"{'isolate that domain':<28} {'':<15} {edges.drawn:,}")
    viewer.close()


def compare(
    changes: dict[str, Callable[..., None]],
    edges: Redrawn,
    timed: Callable[..., tuple[float, float]],
    rounds: int,
) -> None:
    """Make each change as it is and as one of labels, by turns."""
    print(f"\none domain, {edges.there:,} edges on the tissue; seconds until set, median (best)")
    print(f"{'':<28} {'as it is':<15} {'edges':<7} {'as labels':<15} {'edges':<9} ratio")
    for name, change in changes.items():
        taken: dict[bool, list[float]] = {False: [], True: []}
        drawn = {False: 0, True: 0}
        for turn in range(2 * rounds):
            as_labels = turn % 2 == 1
            edges.drawn = 0
            taken[as_labels].append(timed(partial(change, as_labels=as_labels), turn)[0])
            drawn[as_labels] = max(drawn[as_labels], edges.drawn)
        alone, labels = (f"{np.median(x):.3f} ({min(x):.3f})" for x in taken.values())
        ratio = np.median(taken[True]) / np.median(taken[False])
        print(
            f"{name:<28} {alone:<15} {drawn[False]:<7,} {labels:<15} {drawn[True]:<9,} {ratio:.1f}"
        )


def load(session: Session, spots: int, slices: int) -> None:
    """Give the session slices with counts, and a result with domains and a UMAP."""
    named = [(f"slice{i + 1}", one_slice(spots, seed=i)) for i in range(slices)]
    session.add(named)
    n, rng = spots * slices, np.random.default_rng(0)
    codes = np.concatenate([domain_codes(adata) for _, adata in named])
    obs = pd.DataFrame(
        {
            K.SLICE: pd.Categorical(np.repeat([name for name, _ in named], spots)),
            K.DOMAIN: pd.Categorical.from_codes(codes, [str(i + 1) for i in range(DOMAINS)]),
            K.CONFIDENCE: rng.random(n, dtype=np.float32),
        },
        index=[f"{i}" for i in range(n)],
    )
    places = np.concatenate([adata.obsm[K.SPATIAL] for _, adata in named])
    result = AnnData(obs=obs, obsm={K.SPATIAL: places})
    result.uns[K.DOMAIN_COLORS] = categorical_colors(DOMAINS)
    result.obsp[K.CONNECTIVITIES] = block_diag([nearest(adata) for _, adata in named], "csr")
    result.obsm[K.UMAP] = rng.normal(size=(n, 2)).astype(np.float32) + codes[:, None]
    session.set_result(result, saved=True)


def one_slice(spots: int, seed: int) -> AnnData:
    """Scattered spots with counts of some genes and a column of numbers."""
    rng = np.random.default_rng(seed)
    indices = np.sort(rng.integers(0, GENES, (spots, PER_SPOT), dtype=np.int32), axis=1)
    starts = np.arange(0, indices.size + 1, PER_SPOT)
    counts = rng.integers(1, 9, indices.size).astype(np.float32)
    x = csr_matrix((counts, indices.ravel(), starts), shape=(spots, GENES))
    x.sum_duplicates()
    adata = AnnData(x, obs=pd.DataFrame(index=[f"spot{i}" for i in range(spots)]))
    adata.var_names = [f"gene{i}" for i in range(GENES)]
    adata.obsm[K.SPATIAL] = rng.uniform(0, 1000, (spots, 2))
    adata.obs["depth"] = adata.obsm[K.SPATIAL][:, 1]
    return adata


def nearest(adata: AnnData) -> csr_matrix:
    """Join each spot with the nearest other one."""
    xy = adata.obsm[K.SPATIAL]
    to = KDTree(xy).query(xy, k=2)[1][:, 1]
    joined = csr_matrix((np.ones(len(xy), np.float32), (np.arange(len(xy)), to)), (len(xy),) * 2)
    return joined.maximum(joined.T)


def domain_codes(adata: AnnData) -> np.ndarray:
    """Bands along x."""
    return (adata.obsm[K.SPATIAL][:, 0] / 1000 * DOMAINS).astype(int)


def changes(session: Session) -> dict[str, Callable[[int], None]]:
    """What is timed, by its name; each takes the number of the round."""

    def color(kind: str, *keys: str) -> Callable[[int], None]:
        def change(turn: int) -> None:
            session.view.color_by = ColorBy(kind, keys[turn % len(keys)])

        return change

    def isolate(turn: int) -> None:
        session.view.isolated = {str(turn + 1)}

    def select(turn: int) -> None:
        session.result.selection = np.arange(turn, 200_000, 10 + turn)

    return {
        "domain, then slice": color("obs", K.DOMAIN, K.SLICE),
        "two genes": color("gene", "gene1", "gene2"),
        "two columns of numbers": color("obs", "depth", K.CONFIDENCE),
        "isolate a domain": isolate,
        "select with a lasso": select,
    }


def domain_changes(session: Session) -> dict[str, Callable[[int, bool], None]]:
    """Another colour and another name of one domain, told as such or as other labels, too."""
    domains = session.domains

    def recolor(turn: int, as_labels: bool) -> None:
        domains.recolor(domains.names[3], f"#{turn + 16:02x}8040")
        if as_labels:
            domains.relabelled.emit()

    def rename(turn: int, as_labels: bool) -> None:
        domains.rename(domains.names[3], f"name {turn}")
        if as_labels:
            domains.relabelled.emit()

    return {"another colour": recolor, "another name": rename}


class Redrawn:
    """Counts edges that are drawn again.

    Parameters
    ----------
    viewer
        Whose layers of edges are there already.
    """

    def __init__(self, viewer: Any) -> None:
        self._layers = [x for x in viewer.layers if x.metadata.get(K.LAYER_ROLE) == "graph"]
        self.drawn = 0
        for layer in self._layers:
            # The one does not come with the other.
            layer.events.set_data.connect(self._on_drawn)
            layer.events.edge_color.connect(self._on_drawn)

    @property
    def there(self) -> int:
        """How many there are."""
        return sum(len(layer.data) for layer in self._layers)

    def _on_drawn(self, event: Any) -> None:
        self.drawn += len(event.source.data)


class Busy:
    """CPU time of every thread of this process so far, in seconds by its number."""

    def __init__(self, of_thread: dict[str, float]) -> None:
        self._of_thread = of_thread

    @classmethod
    def now(cls) -> Busy:
        """What Linux tells."""
        found = {}
        for task in Path("/proc/self/task").iterdir():
            # A thread may end meanwhile.
            with suppress(OSError):
                found[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
        return cls(found)

    def __sub__(self, before: Busy) -> Busy:
        taken = {n: t - before._of_thread.get(n, 0.0) for n, t in self._of_thread.items()}
        return Busy(taken)

    def __float__(self) -> float:
        """Seconds of the first thread and of the busiest other one."""
        first = str(os.getpid())
        others = [t for name, t in self._of_thread.items() if name != first]
        return self._of_thread[first] + max(others, default=0.0)


if __name__ == "__main__":
    typer.run(main)
