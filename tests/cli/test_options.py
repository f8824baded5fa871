"""Options of the shell that come from the fields of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from napari_staligner.cli import app as cli
from napari_staligner.cli.options import given_in, others, with_settings
from napari_staligner.core.fields import Setting, described
from napari_staligner.core.settings import Settings

FIELDS = described(Settings)


def options():
    return typer.main.get_command(cli.app).commands["integrate"].params


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_every_setting_has_one_option_that_says_its_tip(field):
    having = [each for each in options() if field.flag and field.flag in each.opts]
    if not field.flag:
        (having,) = ([each for each in options() if "--set" in each.opts],)
        assert field.plain
        assert field.name in having[0].help
    else:
        assert field.setting.tip in having[0].help.replace("\\[", "[")
        assert having[0].default is None
    assert len(having) == 1


def test_the_options_of_before_are_all_there():
    there = {word for each in options() for word in each.opts}
    assert there >= set(
        "--output --slice-key --counts-layer --settings --preset --domains --resolution --smooth "
        "--radius --neighbors --chain --pair --pretrain-epochs --epochs --refresh --alpha --margin "
        "--mnn-k --positives --genes --hidden --learning-rate --seed --device --set".split()
    )


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_the_help_shows_every_option_and_default(field, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    text = CliRunner().invoke(cli.app, ["integrate", "--help"]).output
    line = next(line for line in text.splitlines() if (field.flag or "--set") in line.split())
    default = field.setting.unset if field.default is None else str(field.default)
    if field.flag and field.kind is not bool:
        assert f"({default})" in line


@dataclass(frozen=True)
class More(Settings):
    """Settings with new fields."""

    on_tissue: Annotated[bool, Setting("On tissue", "Leave out spots beside the tissue")] = True
    shade: Annotated[Literal["dark", "light"], Setting("Shade", "Of the picture")] = "dark"
    rings: Annotated[int | None, Setting("Rings", "How many", unset="all", least=1)] = None
    hidden_one: Annotated[float, Setting("Hidden one", "By --set only", flag="")] = 1.0


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {}),
        (["--no-on-tissue"], {"on_tissue": False}),
        (["--on-tissue", "--shade", "light"], {"on_tissue": True, "shade": "light"}),
        (["--rings", "3", "--mnn-k", "20"], {"rings": 3, "mnn_k": 20}),
    ],
)
def test_a_new_field_is_a_new_option(words, given):
    got = []
    app = typer.Typer()

    @app.command()
    @with_settings(More)
    def run(file: str, set_also: list[str] | None = None, **options: Any) -> None:
        got.append(given_in(options))

    done = CliRunner().invoke(app, ["a.h5ad", *words])
    assert done.exit_code == 0, done.output
    assert got == [given]
    assert all(type(value) in (bool, int, str) for value in got[0].values())
    text = CliRunner().invoke(app, ["--help"]).output
    for word in ("--on-tissue", "--shade", "dark|light", "--rings", "(all)"):
        assert word in text
    assert "hidden_one" in others(More)


def test_what_is_no_choice_is_refused(tmp_path):
    words = ["integrate", "a.h5ad", "-o", str(tmp_path / "b.h5ad")]
    done = CliRunner().invoke(cli.app, [*words, "--device", "tpu"])
    assert done.exit_code == 2
    assert "Setting 'device' is 'tpu': choose auto, cpu or cuda." in done.stderr
    done = CliRunner().invoke(cli.app, [*words, "--positives", "first"])
    assert done.exit_code == 2
    assert "first" in done.stderr
