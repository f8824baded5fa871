from __future__ import annotations

import sys

import anndata as ad
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score
from tiny import QUICK
from typer.testing import CliRunner

from napari_staligner._errors import InputError
from napari_staligner.cli.app import app
from napari_staligner.jobs import array
from napari_staligner.jobs.array import make_array, members_of, parse_varied, start_array
from napari_staligner.jobs.folder import JobState, Where
from napari_staligner.jobs.launch import cancel_job, look_at
from napari_staligner.jobs.listing import known_jobs
from napari_staligner.jobs.run import DONE, run_job

SEEDS = [{"seed": seed} for seed in range(3)]


def test_values_are_read_and_combined():
    assert parse_varied(["seed=0..2"]) == SEEDS
    assert parse_varied(["alpha=0.3,0.5", "wide=no,yes"]) == [
        {"alpha": 0.3, "wide": False},
        {"alpha": 0.3, "wide": True},
        {"alpha": 0.5, "wide": False},
        {"alpha": 0.5, "wide": True},
    ]


@pytest.mark.parametrize(
    "text", ["seed=1", "seed=3..1", "seed=a..b", "seed=0..999999999", "sede=0,1", "alpha=x,y"]
)
def test_what_makes_no_array_is_refused(text):
    with pytest.raises(InputError):
        parse_varied([text])


def test_an_array_is_made_whole_or_not_at_all(slice_files, tmp_path):
    place, names = tmp_path / "array", ["A", "B"]
    with pytest.raises(InputError, match="alpha"):
        make_array(
            slice_files, QUICK, [{"alpha": 0.5}, {"alpha": 9.0}], Where(), names=names, place=place
        )
    assert not place.exists()
    with pytest.raises(InputError, match="over ssh"):
        make_array(slice_files, QUICK, SEEDS, Where("ssh", "there"), names=names, place=place)


STAND_IN = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
with open(folder.parent / "begun", "a") as file:
    file.write(folder.name + " ")
(folder / "state.json").write_text(json.dumps({"condition": "done"}))
"""


def test_jobs_run_one_after_the_other_and_one_that_was_cancelled_does_not(
    slice_files, tmp_path, monkeypatch
):
    jobs = make_array(
        slice_files, QUICK, SEEDS, Where(), names=["A", "B"], place=tmp_path / "array"
    )
    assert [folder.path.name for folder in jobs] == ["1-seed=0", "2-seed=1", "3-seed=2"]
    assert [folder.spec().settings.seed for folder in jobs] == [0, 1, 2]
    assert jobs[1].spec().title == "A, B: seed=1"
    launched = []
    monkeypatch.setattr(array, "launcher_of", lambda on: Launched(launched))
    start_array(jobs)
    assert [folder.path for folder in launched] == [tmp_path / "array"]
    assert known_jobs() == jobs
    assert look_at(jobs[2]) == JobState("queued", array.WAITS)
    cancel_job(jobs[1])
    monkeypatch.setattr(
        array, "command", lambda folder: [sys.executable, "-c", STAND_IN, str(folder.path)]
    )
    assert array.run_array(members_of(tmp_path / "array")) == 0
    assert [look_at(folder).condition for folder in jobs] == ["done", "cancelled", "done"]
    assert (tmp_path / "array" / "begun").read_text().split() == ["1-seed=0", "3-seed=2"]


class Launched:
    """Keeps what it is told to start."""

    def __init__(self, started):
        self._started = started

    def start(self, folder, spec):
        self._started.append(folder)


def test_jobs_are_compared(slice_files, tmp_path):
    place = tmp_path / "array"
    jobs = make_array(slice_files, QUICK, SEEDS, Where(), names=["A", "B"], place=place)
    for folder in jobs[:2]:
        assert run_job(folder) == DONE
    done = CliRunner().invoke(
        app, ["job", "compare", str(place), "--labels", "half", "--csv", str(tmp_path / "t.csv")]
    )
    assert done.exit_code == 0, done.output
    assert "Job '3-seed=2' is queued and is left out." in done.output
    table = pd.read_csv(tmp_path / "t.csv", index_col="run")
    assert list(table.index) == ["1-seed=0", "2-seed=1", "mean", "sd"]
    first, second = (ad.read_h5ad(folder.out) for folder in jobs[:2])
    ari = adjusted_rand_score(first.obs["domain"], second.obs["domain"])
    assert table.loc["mean", "ari_of_runs"] == pytest.approx(ari)
    assert table.loc["2-seed=1", "ari_with_1-seed=0"] == pytest.approx(ari)
    truth = [adjusted_rand_score(a.obs["domain"], a.obs["half"]) for a in (first, second)]
    assert list(table["ari"])[:2] == pytest.approx(truth)
    for name in ("ilisi", "ari"):
        assert table.loc["mean", name] == pytest.approx(table[name].iloc[:2].mean())
        assert table.loc["sd", name] == pytest.approx(table[name].iloc[:2].std())
    left_out = first[:-1].copy()
    left_out.write_h5ad(jobs[1].out)
    again = CliRunner().invoke(app, ["job", "compare", str(place)])
    assert again.exit_code == 2
    assert "'2-seed=1' holds other spots than '1-seed=0'" in again.output
