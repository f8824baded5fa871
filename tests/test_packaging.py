"""What is published: wheel and sdist, and the files that name versions and requirements again."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import jinja2
import pytest
import yaml
from packaging.requirements import Requirement

PACKAGE = "napari_staligner"
PROJECT = Path(__file__).resolve().parents[1]
SDIST_LIMIT = 2_000_000
ADDRESS = "https://forge.example/owner/name"
CONDA_NAMES = {
    "igraph": "python-igraph",
    "matplotlib": "matplotlib-base",
    "torch": "pytorch",
    "torch-geometric": "pytorch_geometric",
}
VERSIONED = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md", "recipe/meta.yaml", "README.md")


def build(source: Path, target: Path, *kinds: str) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds")
    chosen = [word for kind in kinds for word in ("-t", kind)]
    command = [sys.executable, "-m", "hatchling", "build", *chosen, "-d", str(target)]
    done = subprocess.run(
        command, cwd=source, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """Return a folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    build(PROJECT, folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def wheel(dist) -> zipfile.ZipFile:
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def sdist(dist) -> Path:
    (path,) = dist.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def release():
    """Return the script that prepares a release, as a module."""
    path = PROJECT / "scripts" / "prepare_release.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path) -> Path:
    """Return a folder with the files that a release changes or reads, as they are."""
    for name in VERSIONED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT / name, tmp_path / name)
    return tmp_path


# --- the archives


def test_a_wheel_has_the_manifest_once(wheel):
    names = wheel.namelist()
    assert [n for n in names if n.endswith("napari.yaml")] == [f"{PACKAGE}/napari.yaml"]
    (entry_points,) = (n for n in names if n.endswith(".dist-info/entry_points.txt"))
    assert f"{PACKAGE}:napari.yaml" in wheel.read(entry_points).decode()
    assert wheel.read(f"{PACKAGE}/napari.yaml") == (PROJECT / "napari.yaml").read_bytes()


def test_a_wheel_has_every_file_of_the_package_and_no_other(wheel):
    source = PROJECT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert f"{PACKAGE}/report/report.html.jinja" in wanted
    assert {n for n in wheel.namelist() if ".dist-info/" not in n} == wanted


def test_an_sdist_is_small_and_has_no_pictures(sdist):
    assert sdist.stat().st_size < SDIST_LIMIT
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert not [name for name in names if name.endswith(".png")]
    assert {"napari.yaml", "LICENSE", "README.md", "CITATION.cff", "constraints.txt"} <= set(names)


def test_an_sdist_builds_the_same_wheel(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, tmp_path / "dist", "wheel")
    (path,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as again:
        # The list of hashes tells of the content of all other files, too.
        (record,) = (n for n in wheel.namelist() if n.endswith("/RECORD"))
        assert sorted(again.read(record).splitlines()) == sorted(wheel.read(record).splitlines())


# --- what is said twice


def project_table() -> dict:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def recipe() -> dict:
    text = (PROJECT / "recipe" / "meta.yaml").read_text(encoding="utf-8")
    rendered = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(text)
    return yaml.safe_load(rendered.render(PYTHON="python"))


def test_the_recipe_requires_what_the_project_requires():
    wanted = {f"python {project_table()['requires-python']}"}
    for text in project_table()["dependencies"]:
        requirement = Requirement(text)
        name = CONDA_NAMES.get(requirement.name, requirement.name)
        wanted.add(f"{name} {requirement.specifier}".strip())
    assert set(recipe()["requirements"]["run"]) == wanted


def test_the_recipe_has_the_same_command_license_and_summary():
    table = project_table()
    (command,) = recipe()["build"]["entry_points"]
    assert dict([command.split(" = ")]) == table["scripts"]
    about = recipe()["about"]
    assert (about["license"], about["summary"]) == (table["license"], table["description"])


def test_all_files_name_the_same_version(release):
    assert release.wrong_versions(PROJECT, f"v{project_table()['version']}") == []


# --- before a release


@pytest.mark.parametrize("name", [name for name in VERSIONED if name != "README.md"])
def test_a_release_with_another_version_is_refused(release, copy, name):
    tag = f"v{project_table()['version']}"
    path = copy / name
    path.write_text(path.read_text(encoding="utf-8").replace(tag[1:], "9.9.9"), encoding="utf-8")
    before = (copy / "README.md").read_text(encoding="utf-8")
    wrong = release.prepare(copy, ADDRESS, tag)
    assert any(name in sentence or "9.9.9" in sentence for sentence in wrong)
    assert (copy / "README.md").read_text(encoding="utf-8") == before


def test_a_tag_of_another_version_is_refused(release, copy):
    (sentence,) = release.prepare(copy, ADDRESS, "v9.9.9")
    assert "not v9.9.9" in sentence


def test_a_release_has_the_address_and_full_links(release, copy):
    tag = f"v{project_table()['version']}"
    assert release.prepare(copy, f"{ADDRESS}/", tag) == []
    text = (copy / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert f"{ADDRESS}/raw/{tag}/docs/images/04-domains-grid.png" in targets
    assert f"{ADDRESS}/blob/{tag}/docs/tutorial.md" in targets
    assert all(target.startswith("https://") for target in targets)
    urls = tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert urls["Source"] == ADDRESS
    recipe = (copy / "recipe" / "meta.yaml").read_text(encoding="utf-8")
    assert f"\n  home: {ADDRESS}\n" in recipe
    assert f"recipe-maintainers:\n    - {ADDRESS.split('/')[-2]}\n" in recipe
    # Every link of the README and of the project leads to a file that is there.
    for target in [*targets, *urls.values()]:
        kind, _, path = target.removeprefix(ADDRESS).strip("/").partition(f"/{tag}/")
        if kind in {"raw", "blob"}:
            assert (PROJECT / path.partition("#")[0]).is_file(), target


def test_an_address_that_is_written_stays(release, copy):
    path = copy / "pyproject.toml"
    written = '\n[project.urls]\nSource = "https://elsewhere.example"\n\n[project.scripts]\n'
    path.write_text(
        path.read_text(encoding="utf-8").replace("\n[project.scripts]\n", written), encoding="utf-8"
    )
    assert release.prepare(copy, ADDRESS, f"v{project_table()['version']}") == []
    urls = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["urls"]
    assert urls == {"Source": "https://elsewhere.example"}
