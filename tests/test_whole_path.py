"""The whole work of a person, in processes of its own: to the end, reopened, and killed amid."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from PIL import Image, ImageChops
from tiny import tiny_pair
from whole_path import kept

KILLS = 3
WRITES = 3
"""Steps of the short path that write files, and change nothing of the session."""

# All that a person does takes long on a loaded machine.
pytestmark = pytest.mark.timeout(900)


def run(project, home, *words):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "whole_path.py", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=project / "tests",
        # One thread: the tests of the other process want theirs.
        env=os.environ | {"XDG_DATA_HOME": str(home), "OMP_NUM_THREADS": "1"},
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The folder of a walk over the embedded sample, and what was seen."""
    from conftest import PROJECT

    folder = tmp_path_factory.mktemp("walk")
    run(PROJECT, folder / "home", "walk", folder)
    return folder, json.loads((folder / "walk.json").read_text())


def test_the_aob_is_flagged_annotated_and_has_its_markers(walked):
    _, told = walked
    assert set(told["flagged"].values()) == {"Slide-seqV2"}
    assert told["domain"] in told["flagged"]
    assert told["share of AOBgr"] > 0.6
    assert told["fold of the first marker"] > 2
    assert told["best fold of a marker in AOBgr"] > 2


def test_a_saved_session_reopened_in_a_new_process_is_identical(walked, project):
    folder, told = walked
    run(project, folder / "home", "reopen", folder / "session.h5ad", folder / "again.json")
    assert json.loads((folder / "again.json").read_text()) == told["state"]
    pictures = [Image.open(folder / name).convert("RGB") for name in ("saved.png", "reopened.png")]
    assert pictures[0].size == pictures[1].size
    assert ImageChops.difference(*pictures).getbbox() is None, "another picture"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes that are killed are forked")
def test_killed_at_any_time_at_most_the_last_edit_is_lost(project, tmp_path):
    for name, adata in tiny_pair():
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    run(project, tmp_path / "home", "crash", tmp_path, KILLS)
    told = json.loads((tmp_path / "crash.json").read_text())
    steps, kills = told["steps"], told["kills"]
    assert len(kills) == KILLS
    # Two saves and an export change only files; one step may find all as it is.
    different = len({json.dumps(step) for step in steps})
    assert different >= len(steps) - WRITES - 1, "steps that change nothing"
    for kill in kills:
        assert kept(kill, steps), kill["done"]
        assert not kill["drafts"]
    assert all(job["same"] for job in told["jobs"])
