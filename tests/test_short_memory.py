"""Memory that runs out amid a run of the shell: a sentence, whole files, and a next run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SAID = "Error: There is not enough memory: use fewer genes per slice"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux keeps to the limit")
def test_memory_that_runs_out_costs_the_run_alone(project, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "short_memory.py", str(tmp_path), "5"],
        capture_output=True,
        text=True,
        cwd=project / "tests",
        env=os.environ | {"XDG_DATA_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *short, after = json.loads(done.stdout)
    for run in short:
        assert run["code"] == 2, run
        assert SAID in run["said"], run
        assert "Traceback" not in run["said"], run
        assert run["same"], "the file that was there is lost"
        assert run["names"] == ["A.h5ad", "B.h5ad", "out.h5ad", "stderr"], run
    assert after["code"] == 0, after
    assert not after["same"]
