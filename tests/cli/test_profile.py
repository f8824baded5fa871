"""The shell's command for profiles."""

from __future__ import annotations

import pandas as pd
import pytest
from fakes import fake_result
from typer.testing import CliRunner

from napari_staligner.cli.app import app


@pytest.fixture
def file(tmp_path):
    """Return a file with a result of two slices."""
    fake_result()[1].write_h5ad(tmp_path / "r.h5ad")
    return tmp_path / "r.h5ad"


def run(file, *arguments):
    out = file.with_name("p.csv")
    return CliRunner().invoke(app, ["profile", str(file), "-o", str(out), *arguments])


def test_curves_peaks_and_picture_are_written(file):
    picture = file.with_name("p.svg")
    done = run(file, "--of", "gene:gene3", "--line", "20,20;20,90", "--picture", str(picture))
    assert done.exit_code == 0, done.output
    curves = pd.read_csv(file.with_name("p.csv"))
    assert set(curves["slice"]) == {"slice1", "slice2"}
    assert (curves["value"] == "gene3").all()
    assert len(pd.read_csv(file.with_name("p_peaks.csv"))) == 2
    assert "Distance along the line" in picture.read_text()
    assert "apart" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--line", "20;90,20"), "give corners as X,Y;X,Y"),
        (("--line", "0,0;9,9", "--rim", "domain=1"), "not both"),
        (("--across",), "needs a line"),
        (("--rim", "domain"), "COLUMN=REGION"),
        (("--of", "gene:none"), "no gene 'none'"),
        (("--picture", "p.tif"), "end it with"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(file, arguments, said):
    done = run(file, *arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())
    assert not file.with_name("p.csv").exists()
