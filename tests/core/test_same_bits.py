"""The same slices, settings and seed give the same bits, wherever and however they are started."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# All slots that are computed; uns tells when and from where, which differs.
PROGRAM = """
import hashlib, json, locale, os, sys, time
from pathlib import Path
try:
    locale.setlocale(locale.LC_ALL, "")
except locale.Error:
    pass
getattr(time, "tzset", lambda: None)()
import numpy as np, torch
torch.set_num_threads(1)
from napari_staligner import integrate, read_slices
from tiny import QUICK
result = integrate(read_slices(sys.argv[1:]), settings=QUICK)
digest = lambda x: hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()[:12]
arrays = {f"obsm {k}": result.obsm[k] for k in result.obsm}
for k in result.obsp:
    matrix = result.obsp[k].tocsr()
    matrix.sort_indices()
    arrays |= {f"obsp {k} {part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
for k in result.obs:
    column = result.obs[k]
    arrays[f"obs {k}"] = column.cat.codes if hasattr(column, "cat") else column.to_numpy()
arrays["genes"] = np.array(result.var_names.tolist(), "U")
arrays["X"] = result.X.toarray()
for name, matrix in result.uns["staligner"]["transforms"].items():
    arrays[f"transform {name}"] = matrix
print(json.dumps({"order": [*result.obs["slice"].cat.categories]} | {
    k: digest(v) for k, v in arrays.items()
}))
"""
HERE = {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "0"}
THERE = {"LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "4711"}


@pytest.fixture(scope="module")
def bulb(tmp_path_factory):
    """Two slices of the sample in files."""
    from napari_staligner.samples import simulated_olfactory_bulb

    folder = tmp_path_factory.mktemp("bulb")
    made = simulated_olfactory_bulb(seed=0, n_slide_seq=200, n_stereo_seq=150, n_genes=300)
    for name, adata in zip("ab", made, strict=True):
        adata.write_h5ad(folder / f"{name}.h5ad")
    return folder


def digests(project, files, environment, cwd):
    paths = [str(project / "src"), str(project / "tests")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_locale_time_zone_hash_seed_and_folder_change_no_bit(bulb, project, tmp_path):
    here = digests(project, ["a.h5ad", "b.h5ad"], HERE, bulb)
    there = digests(project, [bulb / "a.h5ad", bulb / "b.h5ad"], THERE, tmp_path)
    assert here["order"] == ["a", "b"]
    assert here == there
