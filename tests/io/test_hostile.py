"""Files made to do harm run no code, lead nowhere else and write nothing outside."""

from __future__ import annotations

import ast
import gzip
import json
from pathlib import Path

import h5py
import pytest
from conftest import PROJECT
from tiny import tiny_slice

from napari_staligner import InputError, read_slices
from napari_staligner.io.annotations.spatialdata import element_names
from napari_staligner.io.export.parts import file_names
from napari_staligner.io.formats import guard

NAMES = ["../x", "/etc/x", "..", ".", "", "a/b", "a\\b", "C:\\x", "<svg onload=x>", "a\0b", "a\nb"]
NAMES += ["x" * 300, "con", "%2e%2e/x", "~/x", "$HOME", "`id`", "; rm x", "-rf"]

# -- no code ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        {"filters": [{"id": "pickle", "protocol": 5}]},
        {"compressor": {"id": "Pickle"}},
        {"codecs": [{"name": "numcodecs.pickle", "configuration": {}}]},
    ],
)
def test_a_store_that_would_run_code_is_refused(tmp_path, told):
    folder = tmp_path / "a.zarr" / "obs"
    folder.mkdir(parents=True)
    name = "zarr.json" if "codecs" in told else ".zarray"
    (folder / name).write_text(json.dumps(told))
    (folder.parent / ".zgroup").write_text('{"zarr_format": 2}')
    with pytest.raises(InputError, match="run code"):
        read_slices([tmp_path / "a.zarr"])


RUNS = {"eval", "exec", "compile", "__import__"}
RUNS_IN = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


NO = ast.Constant(False)


def runs_code(text: str) -> list[str]:
    """Calls that may run what a file holds."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            found += sorted(RUNS_IN & {str(name).split(".")[0] for name in names})
        if not isinstance(node, ast.Call):
            continue
        called, words = ast.unparse(node.func), {word.arg: word.value for word in node.keywords}
        wrong = (
            called in RUNS
            or called.endswith(("read_pickle", "os.system", "os.popen", "yaml.load"))
            or (called == "torch.load" and "weights_only" not in words)
            or (called == "np.load" and ast.unparse(words.get("allow_pickle", NO)) != "False")
            or "shell" in words
        )
        found += [called] if wrong else []
    return found


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)",
        "import pickle",
        "from joblib import load",
        "torch.load(f)",
        "np.load(f, allow_pickle=True)",
        "pd.read_pickle(f)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_what_runs_code_is_found(text):
    assert runs_code(text)


def test_nothing_runs_what_a_file_holds():
    for path in (PROJECT / "src").rglob("*.py"):
        assert not runs_code(path.read_text(encoding="utf-8")), path


# -- no other place -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
def test_a_link_out_of_a_store_is_not_followed(tmp_path):
    tiny_slice(side=4).write_zarr(tmp_path / "a.zarr")
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "a.zarr" / "X" / "0.0").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="refers to another file"):
        read_slices([tmp_path / "a.zarr"])


@pytest.mark.parametrize("way", ["hard", "soft", "in turns", "deep"])
def test_a_group_within_itself_is_refused_and_hdf5_goes_on(tmp_path, way):
    path = tmp_path / "a.h5ad"
    tiny_slice(side=4).write_h5ad(path)
    with h5py.File(path, "a") as file:
        uns = file["uns"]
        if way == "hard":
            uns["again"] = uns
        elif way == "soft":
            uns["again"] = h5py.SoftLink("/")
        elif way == "in turns":
            one, other = uns.create_group("one"), uns.create_group("other")
            one["other"], other["one"] = h5py.SoftLink("/uns/other"), h5py.SoftLink("/uns/one")
        else:
            uns.create_group("/".join(map(str, range(guard.DEEPEST + 2))))
    with pytest.raises(InputError, match="a group within itself"):
        read_slices([path])
    tiny_slice(side=4).write_h5ad(path)
    assert read_slices([path])[0][1].n_obs == tiny_slice(side=4).n_obs


def test_a_group_that_two_names_lead_to_is_read(tmp_path):
    path = tmp_path / "a.h5ad"
    adata = tiny_slice(side=4)
    adata.uns["one"] = {"value": 3}
    adata.write_h5ad(path)
    with h5py.File(path, "a") as file:
        file["uns/two"] = file["uns/one"]
        file["uns/three"] = h5py.SoftLink("/uns/one")
    assert read_slices([path])[0][1].n_obs == adata.n_obs


@pytest.mark.parametrize("slot", ["X", "obs", "uns/x", "layers/a/b"])
@pytest.mark.parametrize("backed", [False, True])
def test_an_external_link_is_not_followed(tmp_path, slot, backed):
    tiny_slice(side=4).write_h5ad(tmp_path / "secret.h5ad")
    tiny_slice(side=4).write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        if slot in file:
            del file[slot]
        file[slot] = h5py.ExternalLink(str(tmp_path / "secret.h5ad"), "/X")
    with pytest.raises(InputError, match="refers to another file"):
        read_slices([tmp_path / "a.h5ad"], backed=backed)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "ALWAYS_FINE", 1 << 16)
    path = tmp_path / "a.gem.gz"
    path.write_bytes(gzip.compress(b"geneID\tx\ty\tMIDCount\n" + bytes(1 << 26)))
    with pytest.raises(InputError, match="unpacks to more than"):
        read_slices([path])


def test_a_shape_that_fills_all_memory_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("x", (10**12,), "f8", chunks=(1000,), compression="gzip")
        with pytest.raises(InputError, match="claims"):
            guard.values(data, tmp_path / "a.h5")


def test_names_become_names_of_files_in_the_folder():
    for name in file_names(NAMES).values():
        assert name not in ("", ".", "..")
        assert Path(name).name == name
        assert not set(name) & set('/\\\0\n<>:"|?*')
        assert len(name.encode()) <= 240
    assert len(set(file_names(NAMES).values())) == len(NAMES)


def test_names_become_names_of_elements():
    for name in element_names(NAMES).values():
        assert name.replace("_", "").replace(".", "").replace("-", "").isalnum() or name
        assert not set(name) & set("/\\\0\n")
        assert name not in ("", ".", "..")
