"""What scib-metrics says of a small seeded embedding; run as a script to print the values again.

In an environment that has scib-metrics (the extra ``scib``)::

    python tests/scib_reference.py
"""

from __future__ import annotations

import numpy as np

PAIRS = ((0, 1), (0, 2), (1, 2))


def reference_data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embedding (330, 6), labels 0..3 and slices 0..2; the slices are mixed unevenly."""
    rng = np.random.default_rng(seed)
    slices = np.repeat([0, 1, 2], [150, 100, 80])
    labels = rng.choice(4, size=len(slices), p=[0.4, 0.3, 0.2, 0.1])
    # Slice 2 lacks a label, and each slice is off by a little.
    labels[(slices == 2) & (labels == 3)] = 0
    z = rng.normal(size=(len(slices), 6))
    z[:, 0] += 2.0 * labels
    z[:, 1] += 0.8 * slices
    return z.astype(np.float32), labels, slices


def scib_figures(z: np.ndarray, labels: np.ndarray, slices: np.ndarray) -> dict[str, float]:
    """The figures of scib-metrics, on exact neighbours."""
    import scib_metrics as scib
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    distance, near = NearestNeighbors(n_neighbors=90).fit(z).kneighbors(z)
    near_90 = NeighborsResults(indices=near, distances=distance)
    return {
        "ilisi": float(scib.ilisi_knn(near_90, slices)),
        "clisi": float(scib.clisi_knn(near_90, labels)),
        "kbet": float(scib.kbet(near_90.subset_neighbors(50), slices)[0]),
        "graph_connectivity": float(scib.graph_connectivity(near_90.subset_neighbors(15), labels)),
        "label_asw": float(scib.silhouette_label(z, labels)),
        "batch_asw": float(scib.silhouette_batch(z, labels, slices)),
    }


def all_figures() -> dict[str, dict[str, float]]:
    """Over all slices, and over each pair."""
    z, labels, slices = reference_data()
    found = {"overall": scib_figures(z, labels, slices)}
    for pair in PAIRS:
        rows = np.isin(slices, pair)
        found["{}-{}".format(*pair)] = scib_figures(z[rows], labels[rows], slices[rows])
    return found


if __name__ == "__main__":
    import json
    from importlib.metadata import version

    print("scib-metrics", version("scib-metrics"))  # noqa: T201
    print(json.dumps(all_figures(), indent=4))  # noqa: T201
