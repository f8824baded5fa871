"""Integrated slices as a page of Vitessce: tissue, embedding and domains, without a server."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner.core.palette import categorical_colors
from napari_staligner.core.prepare.libraries import libraries_of_result
from napari_staligner.core.progress import Progress
from napari_staligner.core.result.access import spot_size, spots_xy
from napari_staligner.io.export.parts import counted, file_names, own_names, rows_by_slice
from napari_staligner.io.export.vitessce_page import write_page
from napari_staligner.io.images import tissue_image

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Steps

SETS = (K.DOMAIN, K.ANNOTATION)
"""Columns of ``obs`` that colour the spots."""
TILE = 256
"""Pixels of a tile of an image."""
_WIDTH, _ROWS = 12, 12
"""Number of columns and rows of the page's grid."""


def vitessce_steps(adata: AnnData, draft: Path) -> Steps[str]:
    """Write a folder whose ``index.html`` shows integrated slices in any browser, offline.

    One view shows the embedding of all spots (the UMAP, if there is one); a view for each slice
    shows its tissue image with the spots. Domains and annotated classes are sets of spots in their
    colours. Data are in ``data``, Vitessce's own JavaScript is in ``javascript``, and
    ``vitessce.json`` is the configuration, which other pages of Vitessce can also use.

    Parameters
    ----------
    adata
        Integrated slices.
    draft
        The folder.
    """
    slices = rows_by_slice(adata)
    files, total = file_names(slices), len(slices) + 3
    data = draft / "data"
    data.mkdir()
    yield Progress("embedding", 0, total)
    title, places = _picture(adata)
    whole = [
        _table(data, "embedding.csv", adata.obs_names, places, "obsEmbedding", title),
        _sets(data, "sets.json", adata, np.arange(adata.n_obs), adata.obs_names),
    ]
    sources = {}
    for done, (name, rows) in enumerate(slices.items()):
        yield Progress(f"tissue of {name}", done + 1, total)
        names, start = own_names(adata, name, rows), f"slice {files[name]}"
        image = _image(data, f"{start}.ome.tif", adata, name)
        factor = 1.0 if image is None else image["factor"]
        xy = spots_xy(adata)[rows] * factor
        sources[name] = [
            _table(data, f"{start}.csv", names, xy, "obsLocations", ""),
            _sets(data, f"{start}.json", adata, rows, names),
            *([] if image is None else [image]),
        ]
    config = _config(adata, slices, whole, sources, title)
    text = json.dumps(config, indent=1)
    (draft / "vitessce.json").write_text(text + "\n", encoding="utf-8")
    yield Progress("page", total - 2, total)
    note = write_page(draft, config)
    if note:
        yield Progress("page", total - 1, total, note=note)
    return f"A page of {counted(slices)} (index.html)"


def _picture(adata: AnnData) -> tuple[str, NDArray[np.float64]]:
    """Two coordinates of each spot in the embedding, and their name."""
    if K.UMAP in adata.obsm:
        return "UMAP", np.asarray(adata.obsm[K.UMAP], dtype=np.float64)[:, :2]
    z = np.asarray(adata.obsm[K.EMBEDDING], dtype=np.float64)
    z = z - z.mean(axis=0)
    _, axes = np.linalg.eigh(z.T @ z)
    return "Embedding, first two components", z @ axes[:, :-3:-1]


def _table(
    data: Path, name: str, spots: pd.Index, xy: NDArray[np.float64], kind: str, embedding: str
) -> dict[str, Any]:
    table = pd.DataFrame({"spot": spots, "x": xy[:, 0], "y": xy[:, 1]})
    table.to_csv(data / name, index=False, float_format="%.6g")
    file: dict[str, Any] = {
        "fileType": f"{kind}.csv",
        "url": f"data/{name}",
        "options": {"obsIndex": "spot", kind: ["x", "y"]},
        "coordinationValues": {"obsType": "spot"},
    }
    if embedding:
        file["coordinationValues"] |= {"embeddingType": embedding}
    return file


def _sets(
    data: Path, name: str, adata: AnnData, rows: NDArray[np.intp], spots: pd.Index
) -> dict[str, Any]:
    tree = []
    for column in [*SETS, K.SLICE]:
        if column not in adata.obs:
            continue
        values = pd.Categorical(adata.obs[column])
        codes = values.codes[rows]
        children = [
            {
                "name": str(category),
                "color": color,
                "set": [[spot, None] for spot in spots[codes == code]],
            }
            for code, (category, color) in enumerate(
                zip(values.categories, _colors(adata, column, len(values.categories)), strict=True)
            )
            if (codes == code).any()
        ]
        tree.append({"name": column.capitalize(), "children": children})
    content = {"version": "0.1.3", "datatype": "obs", "tree": tree}
    (data / name).write_text(json.dumps(content), encoding="utf-8")
    return {
        "fileType": "obsSets.json",
        "url": f"data/{name}",
        "coordinationValues": {"obsType": "spot"},
    }


def _colors(adata: AnnData, column: str, n: int) -> list[list[int]]:
    from matplotlib.colors import to_rgb

    colors = adata.uns.get(f"{column}_colors")
    if colors is None or len(colors) != n:
        colors = categorical_colors(n)
    return [[round(255 * part) for part in to_rgb(str(color)[:7])] for color in colors]


def _image(data: Path, name: str, adata: AnnData, slice_name: str) -> dict[str, Any] | None:
    """Write the tissue image of a slice as OME-TIFF; ``factor`` is pixels per coordinate unit."""
    from anndata import AnnData
    from tifffile import imwrite

    of_slice = {K.SPATIAL: libraries_of_result(adata, slice_name)}
    found = tissue_image(AnnData(shape=(0, 0), uns=of_slice))
    if found is None:
        return None
    pixels, factor = found
    stored = io.BytesIO()
    planes = np.ascontiguousarray(np.moveaxis(pixels[..., :3], 2, 0))
    axes = {"axes": "CYX", "Channel": {"Name": ["Red", "Green", "Blue"]}}
    options: dict[str, Any] = {
        "tile": (TILE, TILE),
        "compression": "zlib",
        "photometric": "minisblack",
    }
    imwrite(stored, planes, ome=True, metadata=axes, **options)
    (data / name).write_bytes(stored.getvalue())
    return {"fileType": "image.ome-tiff", "url": f"data/{name}", "factor": factor}


def _config(
    adata: AnnData,
    slices: dict[str, NDArray[np.intp]],
    whole: list[dict[str, Any]],
    sources: dict[str, list[dict[str, Any]]],
    title: str,
) -> dict[str, Any]:
    """The configuration of Vitessce: data sets, what the views share, and the layout."""
    uids = {name: f"slice{number}" for number, name in enumerate(slices, 1)}
    spots = {}
    for name, rows in slices.items():
        factor = next((f.pop("factor") for f in sources[name] if "factor" in f), 1.0)
        radius = spot_size(spots_xy(adata)[rows]) * factor / 2
        spots[uids[name]] = {"radius": radius, "stroked": False, "visible": True, "opacity": 0.8}
    datasets = [{"uid": "all", "name": "all slices", "files": whole}]
    datasets += [{"uid": uid, "name": n, "files": sources[n]} for n, uid in uids.items()]
    return {
        "version": "1.0.16",
        "name": "napari-staligner",
        "description": ", ".join(slices),
        "initStrategy": "auto",
        "datasets": datasets,
        "coordinationSpace": _space(adata, spots, title),
        "layout": _layout(uids),
    }


_SHARED = ("obsType", "obsColorEncoding", "obsSetSelection", "obsSetColor")
"""What all views share: a set chosen in one is shown in all."""
_OWN = ("spatialZoom", "spatialTargetX", "spatialTargetY")
"""What each view of a slice has of its own and sets by itself."""


def _space(adata: AnnData, spots: dict[str, Any], title: str) -> dict[str, Any]:
    """What views may share, with the names of scopes."""
    column = next((key for key in SETS if key in adata.obs), K.SLICE)
    values = pd.Categorical(adata.obs[column])
    colors = _colors(adata, column, len(values.categories))
    used = [code for code in range(len(colors)) if (values.codes == code).any()]
    paths = [[column.capitalize(), str(values.categories[code])] for code in used]
    colored = [{"path": p, "color": colors[code]} for p, code in zip(paths, used, strict=True)]
    return {
        "dataset": {"all": "all"} | {uid: uid for uid in spots},
        "obsType": {"A": "spot"},
        "embeddingType": {"A": title},
        "obsColorEncoding": {"A": "cellSetSelection"},
        "obsSetSelection": {"A": paths},
        "obsSetColor": {"A": colored},
        "spatialSegmentationLayer": spots,
    } | dict.fromkeys(_OWN, dict.fromkeys(spots))


def _layout(uids: dict[str, str]) -> list[dict[str, Any]]:
    """The embedding and the sets on the left, the slices in rows next to them."""
    shared = dict.fromkeys(_SHARED, "A")
    left = max(3, _WIDTH // (len(uids) + 1))
    of_all = shared | {"dataset": "all"}
    views = [
        _view("scatterplot", of_all | {"embeddingType": "A"}, 0, 0, left, _ROWS - 4),
        _view("obsSets", of_all, 0, _ROWS - 4, left, 4),
    ]
    across = min(int(np.ceil(np.sqrt(len(uids)))), _WIDTH - left)
    width, height = (_WIDTH - left) // across, max(1, _ROWS // -(-len(uids) // across))
    for number, (name, uid) in enumerate(uids.items()):
        scopes = shared | dict.fromkeys(("dataset", "spatialSegmentationLayer", *_OWN), uid)
        x, y = left + number % across * width, number // across * height
        views.append(_view("spatial", scopes, x, y, width, height))
        views[-1]["props"] = {"title": name}
    return views


def _view(component: str, scopes: dict[str, str], x: int, y: int, w: int, h: int) -> dict[str, Any]:
    place = {"x": x, "y": y, "w": w, "h": h}
    return {"component": component, "coordinationScopes": scopes} | place
