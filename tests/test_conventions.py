"""What holds for the whole project: what imports what, the manifest, the text of its files."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml
from tiny import QUICK, tiny_pair

from napari_staligner import integrate

PACKAGE = "napari_staligner"
PROJECT = Path(__file__).resolve().parents[1]
SOURCE = PROJECT / "src" / PACKAGE
WINDOW_LIBRARIES = set(
    "PyQt5 PyQt6 PySide2 PySide6 magicgui napari pyqtgraph qtpy superqt vispy".split()
)


# --- what an import loads, in a fresh process


def loaded_after(statements: str) -> set[str]:
    """Return the top-level names of the modules that the statements load."""
    code = f"import sys\n{statements}\nimport json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_loaded_after_sees_what_is_loaded():
    assert {"numpy", PACKAGE} <= loaded_after(f"import {PACKAGE}, numpy")


def test_importing_the_package_is_light():
    heavy = WINDOW_LIBRARIES | {"torch", "torch_geometric", "scanpy", "squidpy", "anndata"}
    assert not loaded_after(f"import {PACKAGE}") & heavy


def test_importing_all_of_core_loads_no_window_library():
    every_module = (
        "import importlib, pkgutil\n"
        f"import {PACKAGE}.core as core\n"
        "names = [m.name for m in pkgutil.walk_packages(core.__path__, core.__name__ + '.')]\n"
        "assert names\n"
        "for name in names: importlib.import_module(name)"
    )
    assert not loaded_after(every_module) & WINDOW_LIBRARIES


# What takes seconds to import.
HEAVY = WINDOW_LIBRARIES | set("torch torch_geometric scanpy squidpy sklearn numba umap".split())


def loaded_by_shell(*arguments: str | Path) -> set[str]:
    """Return the top-level names of the modules that a command of the shell loads."""
    return loaded_after(
        f"from {PACKAGE}.cli.app import app\n"
        f"app({list(map(str, arguments))!r}, standalone_mode=False)"
    )


@pytest.mark.parametrize(
    "command", [(), ("integrate",), ("job", "start"), ("register",), ("info",)]
)
def test_help_loads_no_library_of_numbers(command):
    loaded = loaded_by_shell(*command, "--help")
    assert "typer" in loaded
    assert not loaded & (HEAVY | {"numpy", "pandas", "scipy", "anndata"})


def test_info_loads_what_reads_the_file_and_no_more(tmp_path):
    slices = tiny_pair()
    slice_file, result_file = tmp_path / "slice.h5ad", tmp_path / "result.h5ad"
    slices[0][1].write_h5ad(slice_file)
    integrate(slices, settings=QUICK).write_h5ad(result_file)
    for file in (slice_file, result_file):
        loaded = loaded_by_shell("info", file)
        assert "anndata" in loaded
        assert not loaded & HEAVY


# --- imports go one way: from a lower rank to a higher one, or within one package

RANKS = {
    "cli": 0,
    "__main__": 0,
    "demo": 0,
    "report": 3.5,
    "widgets": 1,
    "worker": 2,
    "layers": 2,
    "session": 3,
    "jobs": 3.7,
    "io": 4,
    "samples": 5,
    "core": 6,
    "compat": 7,
    "_keys": 7,
    "_errors": 7,
    "threads": 7,
    "_version": 7,
}


def targets(node: ast.AST, module: str, *, is_package: bool) -> list[str]:
    """Return the full dotted names that an import statement asks for, [] for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        home = module.split(".")
        home = home[: len(home) - node.level + is_package]
        base = ".".join([*home, base] if base else home)
    # `from package import name` may ask for a module of the package.
    return [f"{base}.{alias.name}" if base == PACKAGE else base for alias in node.names]


def wrong_imports(module: str, tree: ast.Module, *, is_package: bool = False) -> list[str]:
    """Return a sentence for each import of the module that goes against the arrows."""
    own = module.split(".")[1]
    wrong = []
    for node in ast.walk(tree):
        for target in targets(node, module, is_package=is_package):
            top, _, rest = target.partition(".")
            where = f"{module}, line {node.lineno}: imports {target}"
            if own == "core" and top in WINDOW_LIBRARIES:
                wrong.append(f"{where}, and core runs without a window")
            if top != PACKAGE:
                continue
            part = rest.partition(".")[0]
            if part in {"", "__version__"}:
                continue
            if part not in RANKS:
                wrong.append(f"{where}, which has no rank: import it from the module that has it")
            elif own in {"cli", "demo", "__main__"}:
                if part == "widgets" and node in tree.body:
                    wrong.append(f"{where} at module level")
            elif part != own and RANKS[part] <= RANKS[own]:
                wrong.append(where)
    return wrong


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name != PACKAGE:  # the package's own names are lazy; what they load is tested above
            found.append((name, path))
    return found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.graph", "import napari"),
        ("core.graph", "from qtpy.QtWidgets import QWidget"),
        ("core.graph", "def f():\n    from napari_staligner.io.h5ad import read_slices"),
        ("core.graph", "from napari_staligner import session"),
        ("core.graph", "from ..io import h5ad"),
        ("core.graph", "from .. import layers"),
        ("io.h5ad", "from napari_staligner.session import Session"),
        ("session", "import napari_staligner.layers"),
        ("layers", "from napari_staligner.worker import run"),
        ("worker", "from napari_staligner.widgets.slices.dock import SlicesWidget"),
        ("_keys", "from napari_staligner.core import settings"),
        ("cli", "from napari_staligner.widgets.slices.dock import SlicesWidget"),
        ("widgets.slices", "from napari_staligner import integrate"),
    ],
)
def test_wrong_imports_are_found(module, source):
    assert wrong_imports(f"{PACKAGE}.{module}", ast.parse(source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "core.graph",
            "import numpy\nfrom napari_staligner import _keys as K\nfrom . import model",
        ),
        ("io.h5ad", "from napari_staligner.core.prepare.slices import check"),
        ("layers", "from napari_staligner.samples import simulated_olfactory_bulb"),
        ("widgets.slices", "from napari_staligner.widgets.parts.dock import Dock\nimport qtpy"),
        ("cli", "def f():\n    from napari_staligner.widgets.workbench import open_workbench"),
    ],
)
def test_right_imports_pass(module, source):
    assert not wrong_imports(f"{PACKAGE}.{module}", ast.parse(source))


def test_imports_go_one_way():
    wrong = []
    for module, path in modules():
        own = module.split(".")[1]
        assert own in RANKS, f"give {own} a rank"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wrong += wrong_imports(module, tree, is_package=path.name == "__init__.py")
    assert not wrong, "\n".join(wrong)


# --- workarounds for versions of other packages are in one module

WORKAROUNDS = re.compile(r"_qt_viewer\b|__wrapped__|hasattr\(viewer\b|\btriton\b")
"""What is needed for some version of napari, vispy, Qt or triton only."""
IN_A_WINDOW = {"demo", "layers", "widgets", "worker"}


def workarounds(module: str, text: str) -> list[str]:
    """Return a sentence for each line that says what only ``compat`` says."""
    if f"{module}.".startswith(f"{PACKAGE}.compat."):
        return []
    return [
        f"{module}, line {number}: {found[0]} belongs into compat"
        for number, line in enumerate(text.splitlines(), 1)
        for found in WORKAROUNDS.finditer(line)
    ]


def private_parts(module: str, tree: ast.Module) -> list[str]:
    """Return a sentence for each use, in what runs in a window, of what another object hides."""
    if module.split(".")[1] not in IN_A_WINDOW:
        return []
    wrong = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr=name):
                pass
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr" | "setattr"),
                args=[owner, ast.Constant(value=str(name)), *_],
            ):
                pass
            case _:
                continue
        own = ast.unparse(owner) in {"self", "cls", "super()"}
        if name.startswith("_") and not name.startswith("__") and not own:
            wrong.append(f"{module}, line {node.lineno}: {name} is hidden: reach it in compat")
    return wrong


@pytest.mark.parametrize(
    "source",
    [
        "canvas = viewer.window._qt_viewer.canvas",
        "viewer = getattr(viewer, '__wrapped__', viewer)",
        "grid = viewer.canvas.grid if hasattr(viewer, 'canvas') else viewer.grid",
        "sys.modules['triton'] = None",
        "import triton.language",
    ],
)
def test_workarounds_are_found(source):
    assert workarounds(f"{PACKAGE}.layers.colors", source)
    assert not workarounds(f"{PACKAGE}.compat", source)


@pytest.mark.parametrize("source", ["keep_triton_out()", "hasattr(layer, 'shown')", "qt_viewer"])
def test_what_is_no_workaround_passes(source):
    assert not workarounds(f"{PACKAGE}.layers.colors", source)


@pytest.mark.parametrize(
    "source",
    [
        "markers._data",
        "getattr(layer, '_face', None)",
        "f(self.box)._button",
        "setattr(a, '_b', 1)",
    ],
)
def test_private_parts_are_found(source):
    for module in ("layers.colors", "widgets.links.dock", "worker", "demo.run"):
        assert private_parts(f"{PACKAGE}.{module}", ast.parse(source))


@pytest.mark.parametrize(
    "source", ["self._data", "super()._lay_out()", "hasattr(self, '_title')", "array.__class__"]
)
def test_what_is_an_objects_own_passes(source):
    assert not private_parts(f"{PACKAGE}.layers.colors", ast.parse(source))


def test_workarounds_are_in_one_module():
    wrong = []
    for module, path in modules():
        text = path.read_text(encoding="utf-8")
        wrong += workarounds(module, text) + private_parts(module, ast.parse(text))
    assert not wrong, "\n".join(wrong)


# --- circles, and names that say two things


def circle(sources: Mapping[str, str]) -> list[str]:
    """Return modules of which each imports the next and the last is the first; [] if none do.

    Parameters
    ----------
    sources
        Text of each module by its dotted name; a package has the name of its folder and ``.``.
    """
    known = {name.rstrip("."): name for name in sources}
    imported = {}
    for name, text in sources.items():
        module = name.rstrip(".")
        imported[module] = set()
        for node in ast.walk(ast.parse(text)):
            asked = targets(node, module, is_package=name.endswith("."))
            if isinstance(node, ast.ImportFrom):
                asked = [
                    inner if (inner := f"{base}.{alias.name}") in known else base
                    for base in asked
                    for alias in node.names
                ]
            imported[module] |= {each for each in asked if each in known and each != module}
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def names_twice(sources: Mapping[str, str]) -> list[str]:
    """Return a sentence for each public class or function that two modules have."""
    where: dict[str, list[str]] = {}
    for module, text in sources.items():
        for node in ast.parse(text).body:
            named = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if named and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(module.rstrip("."))
    return [f"{name} is in {' and '.join(there)}" for name, there in where.items() if there[1:]]


CHECKING = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    "sources",
    [
        {"p.a": "import p.b", "p.b": "from p.a import f"},
        {"p.a": "from p import b", "p.b": "def g():\n    from . import a"},
        {"p.a": "from p.b import B", "p.b": f"{CHECKING}from p.a import A"},
        {"p.a": "import p.b", "p.b": "import p.c", "p.c": "from .a import f"},
        {"p.q.": "from p.q.a import A", "p.q.a": "from p.q import f"},
    ],
)
def test_circles_are_found(sources):
    found = circle(sources)
    assert found[0] == found[-1]
    assert set(found) == {name.rstrip(".") for name in sources}


@pytest.mark.parametrize(
    "sources",
    [
        {"p.a": "import p.b, numpy", "p.b": "from p.c import f", "p.c": ""},
        {"p.q.": "from p.q.a import A", "p.q.a": "from . import b", "p.q.b": ""},
    ],
)
def test_what_is_no_circle_passes(sources):
    assert not circle(sources)


def test_names_that_are_there_twice_are_found():
    assert names_twice({"p.a": "class Look: ...", "p.b": "def Look(): ..."}) == [
        "Look is in p.a and p.b"
    ]
    assert not names_twice(
        {"p.a": "class Look:\n    def f(self): ...", "p.b": "def f(): ...\n_F = 1"}
    )


def sources() -> dict[str, str]:
    """Return the text of each module by its name, as :func:`circle` takes it."""
    return {
        module + "." * (path.name == "__init__.py"): path.read_text(encoding="utf-8")
        for module, path in modules()
    }


def test_there_are_no_circles():
    assert not circle(sources())


def test_no_name_says_two_things():
    assert not names_twice(sources())


# --- what is done in one place

ONE_PLACE = {
    r"\bos\.(replace|rename)\(": "io.atomic",
    r"\buns\[K\.STALIGNER\]|\buns\.\w+\(K\.STALIGNER\b": "core.result.access",
    r"\bobsm\[K\.SPATIAL\][^\n]*, ?:2\]": "core.result.access",
}
"""Patterns, and the one module in which they may be."""


def out_of_place(module: str, text: str) -> list[str]:
    """Return a sentence for each line that does what another module is there for."""
    return [
        f"{module}, line {number}: {found[0]} is for {place} to do"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, place in ONE_PLACE.items()
        if module.rstrip(".") != f"{PACKAGE}.{place}"
        for found in re.finditer(pattern, line)
    ]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("os.replace(draft, path)", "io.atomic"),
        ("kept = adata.uns[K.STALIGNER]", "core.result.access"),
        ("kept = adata.uns.get(K.STALIGNER, {})", "core.result.access"),
        ("kept = result.uns.setdefault(K.STALIGNER, {})", "core.result.access"),
        ("xy = np.asarray(adata.obsm[K.SPATIAL], float)[:, :2]", "core.result.access"),
        ("xy = adata.obsm[K.SPATIAL][rows, :2]", "core.result.access"),
    ],
)
def test_what_is_out_of_place_is_found(source, place):
    assert out_of_place(f"{PACKAGE}.layers.colors", source)
    assert not out_of_place(f"{PACKAGE}.{place}", source)


@pytest.mark.parametrize(
    "source", ["text.replace('a', 'b')", "adata.obsm[K.SPATIAL] = xy", "uns[K.DOMAIN_COLORS]"]
)
def test_what_is_in_its_place_passes(source):
    assert not out_of_place(f"{PACKAGE}.layers.colors", source)


def test_what_has_one_place_is_there_alone():
    found = [line for module, text in sources().items() for line in out_of_place(module, text)]
    assert not found, "\n".join(found)


# --- the map of the house

MAP = PROJECT / "docs" / "contributing.md"


def rooms_told(page: str) -> set[str]:
    """Return the folders and files of the package that the map of a page tells of."""
    told: set[str] = set()
    parents: list[str] = []
    start = page.index(f"    src/{PACKAGE}/")
    for line in page[start:].split("\n\n")[0].splitlines()[1:]:
        depth = (len(line) - len(line.lstrip())) // 2 - 3
        if depth < 0:
            break
        name = line.split()[0]
        if name.endswith(":"):  # goes on with the line before
            told.add("".join([*parents, name[:-1]]))
            continue
        parents[depth:] = [name]
        told.add("".join(parents))
        # "…; integrate.py: all of it" tells of another one on the same line.
        told |= {
            "".join([*parents[: depth + name.endswith("/")], other])
            for other in re.findall(r"; (\w+(?:\.py|/)):", line)
        }
    return told


def test_rooms_told_reads_a_map():
    page = (
        f"    src/{PACKAGE}/\n"
        "      cli/       the shell\n"
        "      core/      the method\n"
        "        settings.py  what; integrate.py: all\n"
        "        prepare/     slices\n"
        "      io/        files; formats/: folders\n"
        "                 export/: of others\n"
        "    tests/       mirrors src\n"
    )
    told = {"cli/", "core/", "core/settings.py", "core/integrate.py", "core/prepare/"}
    assert rooms_told(page) == told | {"io/", "io/formats/", "io/export/"}


def test_the_map_tells_of_every_room():
    told = rooms_told(MAP.read_text(encoding="utf-8"))
    folders = {f"{path.relative_to(SOURCE)}/" for path in SOURCE.rglob("*") if path.is_dir()}
    folders = {name for name in folders if "__pycache__" not in name}
    docks = {f"widgets/{path.parent.name}/" for path in SOURCE.glob("widgets/*/dock.py")}
    assert folders - docks <= told
    alone = {path.name for path in SOURCE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert alone <= told
    assert not [name for name in told if not (SOURCE / name).exists()]


def test_lazy_public_names_exist():
    package = importlib.import_module(PACKAGE)
    for name in package.__all__:
        assert getattr(package, name) is not None


# --- the manifest


def manifest() -> dict:
    return yaml.safe_load((PROJECT / "napari.yaml").read_text(encoding="utf-8"))


def test_the_manifest_is_one_file():
    link = SOURCE / "napari.yaml"
    assert link.is_symlink()
    assert link.resolve() == PROJECT / "napari.yaml"


def test_npe2_finds_the_manifest():
    from npe2 import PluginManifest

    found = PluginManifest.from_distribution("napari-staligner")
    assert found.display_name == manifest()["display_name"]
    assert {c.id for c in found.contributions.commands} == {
        c["id"] for c in manifest()["contributions"]["commands"]
    }


@pytest.mark.parametrize(
    "python_name", [c["python_name"] for c in manifest()["contributions"]["commands"]]
)
def test_manifest_names_resolve(python_name):
    module, _, name = python_name.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


# --- the text of the project's files

# Places that exist on one machine only. Written in two pieces, so that this file passes.
FORBIDDEN = re.compile(
    "|".join(["/opt/" + "(wheels|pypi)", "/work/" + r"\w", r"\.library/" + r"\w"])
)
DESIGN_NOTES = re.compile("shared/" + "design")
REAL_DATA = re.compile("shared/" + "data")


def project_files() -> list[Path]:
    """Return the project's text files, as git knows them, new ones too."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (PROJECT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def test_files_name_no_place_outside_the_project():
    found = []
    for path in project_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture
            continue
        name = path.relative_to(PROJECT)
        patterns = [FORBIDDEN, DESIGN_NOTES]
        if name.parts[0] not in {"tests", "benchmarks"}:
            patterns.append(REAL_DATA)
        for number, line in enumerate(text.splitlines(), 1):
            found += [f"{name}:{number}: {line.strip()}" for p in patterns if p.search(line)]
    assert not found, "\n".join(found)
