"""The main job end to end, in processes of their own, as the shell starts it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tiny import QUICK, tiny_pair

from napari_staligner import integrate, write_result

# All docks, one after the other: long on a loaded machine.
pytestmark = pytest.mark.timeout(900)

DEMO = """
import sys
from pathlib import Path
import numpy as np
from napari_staligner.core.evaluation import umap
from napari_staligner.core.progress import Progress
from napari_staligner.demo import run, window
from napari_staligner.samples import write_sample
from tiny import QUICK
window.DRAWN_MS, run.WINDOW = 100, (1000, 700)  # its size is most of what drawing takes
def planes(job):
    yield Progress("UMAP", 0, 1)
    n = sum(map(len, job.slices))
    keys = [*job.embeddings, *([] if job.expression is None else ["X_umap_unintegrated"])]
    plane = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    return umap.Umap(dict.fromkeys(keys, plane), {})
umap.umap_steps = planes  # scanpy's takes most of the time
folder = Path(sys.argv[1])
files = write_sample(folder, n_slide_seq=300, n_stereo_seq=250, n_genes=300)
for path in run.run_demo(folder / "pictures", files=files, settings=QUICK):
    print(path.name)
"""

DEMO_ENDS = """
import sys
from dataclasses import replace
from pathlib import Path
from napari_staligner.demo import run as demo
from napari_staligner._errors import ComputeError
from napari_staligner.demo import window
from napari_staligner.samples import write_sample
from qtpy.QtCore import QTimer
from tiny import QUICK
window.DRAWN_MS, demo.WINDOW = 100, (1000, 700)
files = write_sample(Path(sys.argv[1]), n_slide_seq=300, n_stereo_seq=250, n_genes=300)
try:
    demo.run_demo(files=files, settings=replace(QUICK, radius=1e-6))
except ComputeError as error:
    print(error)
take = demo.DemoCamera.take
def closed_amid(self, name, viewer):
    if name == "running":
        QTimer.singleShot(0, viewer.close)
    take(self, name, viewer)
demo.DemoCamera.take = closed_amid
taken = demo.run_demo(Path(sys.argv[1]), files=files, settings=QUICK)
print([path.name for path in taken])
"""

VIEW = """
import sys
from napari_staligner.demo import run as demo
from napari_staligner.cli.app import app
def look():
    import napari
    viewer = napari.current_viewer()
    from napari_staligner.layers import open_session
    session = open_session(viewer)
    print([layer.name for layer in viewer.layers])
    print(session.view.color_by.key, list(session.domains.names), session.saved)
    viewer.close()
demo._stay = look
app(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path_factory):
    """Keep the jobs of other tests, and of the user, out of the window."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("home")))


def run(project, code: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=project / "tests",
        # One thread: the tests of the other process want theirs.
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=800,
        check=False,
    )


def test_the_demo_runs_through_the_docks_and_leaves_pictures(project, tmp_path):
    done = run(project, DEMO, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    names = done.stdout.splitlines()
    assert all(name.endswith(".png") for name in names), done.stdout + done.stderr
    steps = "slices running integrated domains-grid domains-stack attention explore-markers "
    steps += "explore-lasso judge-side-by-side links-of-a-region annotate"
    for step in steps.split():
        assert any(name.endswith(f"-{step}.png") for name in names), names
    sizes = [(tmp_path / "pictures" / name).stat().st_size for name in names]
    assert min(sizes) > 20_000


def test_the_demo_ends_if_it_cannot_go_on_or_is_closed(project, tmp_path):
    done = run(project, DEMO_ENDS, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    sentence, taken = done.stdout.splitlines()[-2:]
    assert "no spot has a neighbour within radius 1e-06" in sentence
    assert taken == "['01-slices.png']"


@pytest.fixture
def result(tmp_path):
    return write_result(integrate(tiny_pair(), settings=QUICK), tmp_path / "out.h5ad")


def test_view_shows_a_result_as_it_was_left(project, result):
    done = run(project, VIEW, "view", result)
    assert done.returncode == 0, done.stderr
    layers, state = done.stdout.splitlines()[-2:]
    assert "'A'" in layers
    assert "'B'" in layers
    assert state == "domain ['1', '2'] True"


def test_view_refuses_what_it_cannot_read(project, tmp_path):
    (tmp_path / "text.h5ad").write_text("no HDF5")
    done = run(project, VIEW, "view", tmp_path / "text.h5ad")
    assert done.returncode == 2
    assert "text.h5ad" in done.stderr
    assert "Traceback" not in done.stderr
