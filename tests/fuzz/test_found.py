"""Cases that a fuzz once found a fault with; each stands for its kind."""

from __future__ import annotations

import shutil
from contextlib import nullcontext

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from anndata.io import write_elem
from scipy import sparse
from tiny import tiny_slice

from napari_staligner import InputError
from napari_staligner._errors import InputWarning
from napari_staligner.core.annotations.record import annotations_of
from napari_staligner.core.annotations.regions import microns_per_unit
from napari_staligner.core.prepare.coordinates import with_places
from napari_staligner.core.prepare.notes import add_notes, notes_of
from napari_staligner.core.prepare.storable import storable_keys
from napari_staligner.core.result.soundness import make_sound
from napari_staligner.core.settings import Settings
from napari_staligner.core.training.estimate import InputSize, estimate
from napari_staligner.io.annotations.barcode_table import read_barcode_table
from napari_staligner.io.export.spatialdata import write_spatialdata
from napari_staligner.io.formats.contents import holds_cells_alone
from napari_staligner.io.unsaved_edits import apply_edits, digest


@pytest.fixture
def result():
    """Two slices as an integration leaves them, as far as it matters here."""
    adata = tiny_slice(side=4, n_genes=20)
    n = adata.n_obs
    rng = np.random.default_rng(0)
    adata.obs["slice"] = pd.Categorical(["A"] * (n // 2) + ["B"] * (n - n // 2))
    adata.obs["domain"] = pd.Categorical(["1", "2"] * (n // 2))
    adata.obs["alignment_confidence"] = np.full(n, 0.5, "float32")
    adata.obsm["STAligner"] = rng.normal(size=(n, 4)).astype("float32")
    adata.obsm["spatial_aligned"] = adata.obsm["spatial"].copy()
    adata.obsp["attention"] = sparse.eye(n, format="csr", dtype="float32")
    adata.uns["domain_colors"] = ["#0072b2", "#e69f00"]
    adata.uns["staligner"] = {
        "version": "0.1.0",
        "slices": np.array(["A", "B"], object),
        "notes": np.array(["a note"], object),
        "params": {"seed": 3},
        "transforms": {"A": np.eye(3), "B": np.eye(3)},
        "written": {"obs": np.array(["slice", "domain"], object)},
        "of_input": {},
    }
    return adata


def notes(adata: AnnData) -> str:
    return " ".join(map(str, adata.uns["staligner"]["notes"]))


def test_a_sound_result_stays_as_it_is(result):
    before = result.copy()
    make_sound("r.h5ad", result)
    assert notes(result) == "a note"
    assert list(result.obs) == list(before.obs)
    assert result.uns["staligner"].keys() == before.uns["staligner"].keys()


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("params", "text"),
        ("params", {"seed": "many"}),
        ("transforms", {"A": np.full((3, 3), np.nan)}),
        ("transforms", np.eye(3)),
        ("written", ["obs"]),
        ("of_input", {"obs": np.array(["a", "b", "c"], object)}),
        ("slices", {}),
        ("annotations", {"edits": 1}),
        ("loss", {"triplet": "low"}),
        ("verdicts", pd.DataFrame({"a": [1]}).to_numpy()),
        ("registration", {"pairs": np.array(["A"], object)}),
        ("registration", {"pairs": np.array(["A", "B"], object)}),
        ("pairs", np.array(["A", "B"], object)),
        ("provenance", {"sources": "file"}),
    ],
)
def test_an_entry_of_another_kind_is_left_out_and_said(result, entry, value):
    result.uns["staligner"][entry] = value
    make_sound("r.h5ad", result)
    assert entry not in result.uns["staligner"] or entry in ("written", "of_input")
    assert f"['{entry}']" in notes(result)
    assert "a note" in notes(result)


@pytest.mark.parametrize("pairs", [np.array([["A", "B"]], object), np.array([], object)])
def test_pairs_in_rows_or_none_stay(result, pairs):
    result.uns["staligner"]["pairs"] = pairs
    make_sound("r.h5ad", result)
    assert result.uns["staligner"]["pairs"] is pairs
    assert notes(result) == "a note"


@pytest.mark.parametrize(
    ("there", "kept"),
    [
        (["one", [["two"], {}]], ["one", "[['two'], {}]"]),
        ("one", ["one"]),
        (np.array("one"), ["one"]),
        (np.array(["one"], object), ["one"]),
    ],
)
def test_notes_that_another_program_left_are_texts(there, kept):
    adata = tiny_slice(side=4, n_genes=20)
    adata.uns["staligner_notes"] = there
    add_notes(adata, ["ours."])
    assert [*adata.uns["staligner_notes"]] == [*kept, "ours."]
    assert notes_of("A", adata)[0] == f"Slice 'A': {kept[0]}"


@pytest.mark.parametrize("record", ["text", 1.5, None, np.array(["a"])])
def test_a_record_that_is_none_gets_empty(result, record):
    result.uns["staligner"] = record
    make_sound("r.h5ad", result)
    assert isinstance(result.uns["staligner"], dict)


@pytest.mark.parametrize(
    ("slot", "key", "value"),
    [
        ("obs", "alignment_confidence", np.full(16, np.nan)),
        ("obs", "alignment_confidence", np.full(16, 7.0)),
        ("obs", "alignment_confidence", ["high"] * 16),
        ("obs", "domain", np.full(16, np.nan)),
        ("obsm", "spatial_aligned", np.full((16, 2), np.inf)),
        ("obsm", "spatial_aligned", np.zeros((16, 3))),
        ("obsp", "attention", sparse.eye(16, format="csr") * np.nan),
    ],
)
def test_a_slot_of_another_kind_is_left_out_and_said(result, slot, key, value):
    getattr(result, slot)[key] = value
    make_sound("r.h5ad", result)
    assert key not in getattr(result, slot)
    assert f"{slot}['{key}']" in notes(result)


def test_colors_that_are_none_are_replaced(result):
    result.uns["domain_colors"] = None
    make_sound("r.h5ad", result)
    assert len(result.uns["domain_colors"]) == 2
    assert "domain_colors" in notes(result)


@pytest.mark.parametrize(
    ("slot", "key", "value", "said"),
    [
        ("obsm", "STAligner", np.full((16, 4), np.nan), "integrate"),
        ("obsm", "STAligner", np.full((16, 4), 1e38), "integrate"),
        ("obsm", "STAligner", np.full((16, 4), "x"), "integrate"),
        ("obsm", "spatial", np.zeros((16, 1)), "integrate"),
        ("obs", "slice", [None, *["A"] * 15], "no slice"),
        ("obs", "slice", ["", *["A"] * 15], "call it 'unnamed'"),
        ("obs", "slice", ["A/1", *["A"] * 15], "call it 'A_1'"),
    ],
)
def test_what_all_rests_on_is_required(result, slot, key, value, said):
    getattr(result, slot)[key] = value
    with pytest.raises(InputError, match=said):
        make_sound("r.h5ad", result)


def test_a_result_without_spots_is_refused(result):
    with pytest.raises(InputError, match="without spots"):
        make_sound("r.h5ad", result[:0].copy())


def test_slices_may_be_text_and_halves_become_floats(result):
    result.obs["slice"] = result.obs["slice"].astype(str).to_numpy()
    result.obsm["STAligner"] = result.obsm["STAligner"].astype("float16")
    make_sound("r.h5ad", result)
    assert list(result.obs["slice"].cat.categories) == ["A", "B"]
    assert result.obsm["STAligner"].dtype == np.float32


@pytest.mark.parametrize("factor", ["0.5", "wide", [1.0, 2.0], None, np.nan, {}, -1, np.array([])])
def test_a_scale_factor_of_any_kind_is_read_or_left(factor):
    adata = tiny_slice(side=4)
    adata.obs["array_row"] = adata.obs["array_col"] = 1
    library = {"scalefactors": {"microns_per_pixel": factor, "spot_diameter_fullres": factor}}
    found = microns_per_unit(adata, {"a": library, "b": {"scalefactors": factor}})
    assert found is None or found[0] == 0.5


def test_a_run_of_no_spots_can_be_estimated():
    assert estimate(InputSize(("A",), (0,)), Settings()).memory > 0


def test_rows_longer_than_the_heading_are_no_table(tmp_path):
    (tmp_path / "a.csv").write_text("a\nb,c,d\n")
    with pytest.raises(InputError, match="more cells"):
        read_barcode_table(tmp_path / "a.csv")


def test_an_hdf5_file_with_broken_links_is_no_surprise(tmp_path):
    with h5py.File(tmp_path / "a.gef", "w") as file:
        file["cellBin/cell"] = np.arange(1000)
    whole = (tmp_path / "a.gef").read_bytes()
    for at in range(40, 1400, 24):
        broken = bytearray(whole)
        broken[at : at + 24] = b"\xff" * 24
        path = tmp_path / "b.gef"
        path.write_bytes(broken)
        assert holds_cells_alone(path) in (True, False)
    shutil.rmtree(tmp_path)


def test_an_embedding_may_be_sparse_and_what_is_beyond_all_bounds_is_left_out(result):
    from napari_staligner.core.adopt import adopt_steps
    from napari_staligner.core.progress import finish
    from napari_staligner.core.result.finished import finished_in

    z = np.random.default_rng(0).normal(size=(16, 4))
    z[3, 0] = 1e30
    result.obsm["X_harmony"] = sparse.csr_matrix(z)
    for key in ("STAligner", "spatial_aligned"):
        del result.obsm[key]
    del result.uns["staligner"]
    found = finished_in(result, "r.h5ad")
    assert found.embedding == "X_harmony"
    adopted = finish(adopt_steps(result, found))
    assert adopted.obsm["STAligner"].shape == (15, 4)
    assert "1 spots have no number, or one beyond all bounds" in notes(adopted)


@pytest.mark.parametrize("value", [[{"a": True}], "red", 5, [1, 2], np.zeros((2, 2))])
def test_colors_of_any_column_are_texts_or_left_out(result, value):
    result.uns["half_colors"] = value
    del result.uns["domain_colors"]
    make_sound("r.h5ad", result)
    assert "half_colors" not in result.uns
    assert "uns['half_colors']" in notes(result)
    assert len(result.uns["domain_colors"]) == 2


@pytest.mark.parametrize("harm", ["registration", "type"])
def test_edits_that_were_kept_are_made_sound_as_a_file_is(result, tmp_path, harm):
    from napari_staligner.io import recovery
    from napari_staligner.io.session_file import SessionRecord
    from napari_staligner.session import Session

    result.uns["staligner"]["registration"] = {
        "pairs": np.array([["A", "B"]], object),
        "pair_p": np.array([0.1]),
        "pair_apart": np.array([1.0]),
    }
    result.write_h5ad(tmp_path / "r.h5ad")
    kept = recovery.Recovery()
    kept.keep(result, SessionRecord(()), tmp_path / "r.h5ad")
    with h5py.File(kept.path, "r+") as file:
        file.attrs["pid"] = 2**30
        if harm == "registration":
            del file["uns/staligner/registration/pair_p"]
        else:
            file["uns/staligner/params/seed"].attrs["encoding-version"] = "9"
    found = recovery.find(tmp_path / "r.h5ad")
    if harm == "type":
        with pytest.raises(InputError, match="cannot be read"):
            recovery.read_kept(found)
        return
    content = recovery.read_kept(found)
    assert "['registration']" in notes(content.result)
    Session().open(content)


@pytest.mark.parametrize("tiled", [True, False])
def test_a_damaged_part_of_an_image_is_empty_and_said_once(tmp_path, tiled):
    import tifffile

    from napari_staligner.io.scans import open_scan

    pixels = np.random.default_rng(0).integers(1, 255, (96, 80, 3), dtype=np.uint8)
    options = {"tile": (32, 32), "compression": "zlib"} if tiled else {}
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **options)
    level = open_scan(tmp_path / "a.tif").levels[0]
    np.testing.assert_array_equal(level, pixels)
    np.testing.assert_array_equal(level[3:90:4, 5], pixels[3:90:4, 5])
    # In place: what is open sees it, and a map of the file would end the process.
    with (tmp_path / "a.tif").open("r+b") as file:
        file.truncate(9000)
    scan = open_scan(tmp_path / "a.tif") if tiled else None
    level = level if scan is None else scan.levels[0]
    with pytest.warns(InputWarning, match=r"'a\.tif' cannot be read .* is shown empty") as said:
        read = np.asarray(level)
    assert len(said) == 1
    assert (read[-1] == 0).all()


class TestJobFolders:
    """Damaged folders of jobs: sentences, and the other jobs are still found."""

    @pytest.fixture
    def job(self, tmp_path, monkeypatch):
        from napari_staligner.io import user_folder
        from napari_staligner.jobs.folder import Where
        from napari_staligner.jobs.launch import make_job
        from napari_staligner.jobs.listing import remember_job

        monkeypatch.setattr(user_folder, "user_folder", lambda: tmp_path / "home")
        made = [
            make_job(["a.h5ad"], Settings(), Where(), names=["a"], place=tmp_path / name)
            for name in ("other", "job")
        ]
        for each in made:
            remember_job(each)
        return made[1]

    def test_a_job_that_cannot_be_read_is_on_the_board_with_its_sentence(self, job):
        from napari_staligner.jobs.board import JobBoard
        from napari_staligner.jobs.listing import job_of, known_jobs

        (job.path / "job.json").write_text("{")
        broken, other = JobBoard().look()
        assert (broken.folder, broken.state.condition) == (job, "failed")
        assert "start the job again" in broken.state.sentence
        assert job_of(other.spec.id) == known_jobs()[1]

    @pytest.mark.parametrize("pid", [-1, 2**40, 0])
    def test_a_process_of_any_number_is_dead_or_alive(self, job, pid):
        import socket

        from napari_staligner.jobs.folder import JobState
        from napari_staligner.jobs.launch import look_at

        job.write_state(JobState("running", "", socket.gethostname(), pid, 1.0))
        assert look_at(job).condition == "failed"

    @pytest.mark.parametrize(
        "line",
        [
            {"done": "many"},
            {"done": -3},
            {"loss": {"epoch": "x", "reconstruction": 0}},
            {"loss": 5},
            {"stage": None},
            {"time": float("nan")},
        ],
    )
    def test_steps_of_other_kinds_are_not_counted(self, job, line):
        import json

        from napari_staligner.jobs.outlook import look_closely

        good = {"time": 1.0, "stage": "align", "done": 1, "total": 2}
        job.progress.write_text(f"{json.dumps(good)}\n{json.dumps(good | line)}\n")
        assert look_closely(job).share == 0.5

    def test_signs_of_life_that_are_gone_are_begun_again(self, job):
        job.progress.unlink()
        assert job.age == float("inf")
        job.beat()
        assert job.age < 60

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"x" * 100])
    def test_a_checkpoint_of_any_content_is_refused(self, job, content):
        from napari_staligner.jobs.keeper import FileKeeper

        job.checkpoint.parent.mkdir()
        job.checkpoint.write_bytes(content)
        with pytest.raises(InputError, match="remove it to begin"):
            FileKeeper(job.checkpoint).load()


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.parametrize("unused", [b"\0\0\0", b"\0\n\0"])
def test_a_heap_without_end_is_refused(tmp_path, backed, unused):
    from napari_staligner import read_slices
    from napari_staligner.io.formats.heaps import SIGNATURE

    path = tmp_path / "a.h5ad"
    tiny_slice(side=5, n_genes=30).write_h5ad(path)
    assert read_slices([path], backed=backed)
    content = bytearray(path.read_bytes())
    at = content.find(SIGNATURE)
    assert at > 0
    content[at + 200 : at + 800] = bytes(600)
    content[at + 5 : at + 8] = unused
    path.write_bytes(content)
    with pytest.raises(InputError, match="a heap of its texts has no end"):
        read_slices([path], backed=backed)


@pytest.mark.parametrize("chunks", [None, (1000,)])
def test_a_heap_behind_the_values_of_a_large_file_is_looked_at_and_they_are_not(
    tmp_path, monkeypatch, chunks
):
    from napari_staligner.io.formats import heaps

    monkeypatch.setattr(heaps, "LONGEST", 4096)
    path, values = tmp_path / "a.h5", np.arange(100_000)
    # What looks like a heap without end, amid values.
    values[500:504] = np.frombuffer(heaps.SIGNATURE + bytes(3) + bytes([64]) + bytes(23), np.int64)
    with h5py.File(path, "w") as file:
        file.create_dataset("first", data=values, chunks=chunks)
        file["group/names"] = np.array([f"name {i}" for i in range(9)], dtype=object)
        file["last"] = values
    heaps.check_heaps(path)
    content = bytearray(path.read_bytes())
    at = content.rfind(heaps.SIGNATURE, 0, content.find(b"name 0"))
    assert at > 100_000
    content[at + 16 : at + 400] = bytes(384)
    path.write_bytes(content)
    with pytest.raises(InputError, match="a heap of its texts has no end"):
        heaps.check_heaps(path)


@pytest.mark.parametrize("theirs", [np.arange(16) % 3, pd.Categorical(["x", "y"] * 8)])
def test_a_column_of_another_program_is_not_taken_for_our_domains(result, tmp_path, theirs):
    from napari_staligner.io.session_file import open_file
    from napari_staligner.session import Session

    del result.uns["staligner"], result.uns["domain_colors"]
    result.obs["domain"] = theirs
    result.write_h5ad(tmp_path / "r.h5ad")
    session = Session()
    session.open(open_file(tmp_path / "r.h5ad"))
    adopted = session.result.adata
    assert session.domains.names == ()
    assert adopted.obs["domain_of_input"].tolist() == [*theirs]
    assert {"spatial_aligned", "attention"}.isdisjoint({*adopted.obsm, *adopted.obsp})


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_slices_of_a_result_with_doubled_names_are_exported(result, tmp_path):
    import anndata as ad

    from napari_staligner.core.progress import finish
    from napari_staligner.io.export.targets import export_steps

    doubled = ad.concat([result, result], uns_merge="first")
    finish(export_steps(doubled, "slices", tmp_path / "out"))
    one, mine = ad.read_h5ad(tmp_path / "out" / "A.h5ad"), doubled[doubled.obs["slice"] == "A"]
    assert one.obs["domain"].tolist() == mine.obs["domain"].tolist()
    np.testing.assert_array_equal(one.obsm["STAligner"], mine.obsm["STAligner"])


@pytest.mark.parametrize("place", ["attribute", "dataset", "root"])
def test_a_text_that_became_a_list_is_refused(tmp_path, place):
    from napari_staligner import read_slices

    path = tmp_path / "a.h5ad"
    tiny_slice(side=5, n_genes=30).write_h5ad(path)
    lists, values = h5py.vlen_dtype(np.int32), np.empty(1, object)
    values[0] = np.arange(3, dtype=np.int32)
    with h5py.File(path, "r+") as file:
        if place == "dataset":
            file.create_dataset("uns/lists", (2,), dtype=lists)
        else:
            holder = file["obs"] if place == "attribute" else file
            holder.attrs.create("lists", values, dtype=lists)
    with pytest.raises(InputError, match=r"is damaged \('/.*' is of a type that is not used\)"):
        read_slices([path])


def test_the_check_goes_on_behind_a_part_that_is_lost(tmp_path):
    from napari_staligner import read_slices

    path = tmp_path / "a.h5ad"
    tiny_slice(side=5, n_genes=30).write_h5ad(path)
    values = np.empty(1, object)
    values[0] = np.arange(3, dtype=np.int32)
    with h5py.File(path, "r+") as file:
        file["var"].attrs.create("lists", values, dtype=h5py.vlen_dtype(np.int32))
        lost = h5py.h5o.get_info(file["obs"].id).addr
    content = bytearray(path.read_bytes())
    content[lost : lost + 4] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged \('/var' is of a type that is not used\)"):
        read_slices([path])


@pytest.mark.parametrize(("left", "short"), [(10 << 20, True), (8 << 30, False)])
def test_a_size_that_no_memory_has_is_the_fault_of_the_file(monkeypatch, left, short):
    from napari_staligner.core import outside
    from napari_staligner.core.free_memory import FreeMemory

    monkeypatch.setattr(outside, "free_memory", lambda: FreeMemory(left))
    error = OSError("Unable to open object (memory allocation failed for on disk image buffer)")
    with pytest.raises(MemoryError) if short else nullcontext():
        outside.pass_on_memory(error)
    outside.pass_on_memory(OSError("Unable to open object (bad local heap signature)"))


@pytest.mark.parametrize("k", [2, None])
def test_one_spot_is_one_domain(result, k):
    from napari_staligner import find_domains

    one = result[:1].copy()
    find_domains(one, k)
    assert one.obs["domain"].tolist() == ["1"]


def test_a_damaged_matrix_of_a_slice_that_a_session_keeps_is_refused(tmp_path):
    from napari_staligner.io.session_file import open_file
    from napari_staligner.session import Session

    session = Session()
    loose = tiny_slice(side=5, n_genes=30)
    loose.X = sparse.csr_matrix(loose.X)
    session.add([("loose", loose)])
    session.save(tmp_path / "s.h5ad")
    with h5py.File(tmp_path / "s.h5ad", "r+") as file:
        found = []
        file.visit(lambda name: found.append(name) if name.endswith("X/indptr") else None)
        (name,) = found
        file[name][3] = 10**6
    with pytest.raises(InputError, match=r"\['loose'\].*X is a damaged sparse matrix"):
        open_file(tmp_path / "s.h5ad")


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_a_matrix_with_a_part_that_holds_nothing_is_refused(tmp_path, part):
    from napari_staligner.io.session_file import open_file

    adata = tiny_slice(side=4, n_genes=20)
    adata.X = sparse.csr_matrix(adata.X)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        kind = file[f"X/{part}"].dtype
        del file[f"X/{part}"]
        file[f"X/{part}"] = h5py.Empty(kind)
    with pytest.raises(InputError, match=r"'a.h5ad': X is a damaged sparse matrix"):
        open_file(tmp_path / "a.h5ad")


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("part", ["indices", "indptr"])
def test_indices_that_are_no_numbers_or_in_rows_and_columns_are_refused(kind, part):
    from napari_staligner.core.prepare.matrices import with_plain_matrices

    for harm in (lambda old: np.full(len(old), np.nan), lambda old: old[None].astype(float)):
        adata = tiny_slice(side=4, n_genes=20)
        matrix = sparse.random(16, 20, 0.3, format=kind, dtype="float32", rng=0)
        setattr(matrix, part, harm(getattr(matrix, part)))
        adata._X = matrix
        with pytest.raises(InputError, match=r"'A': X is a damaged sparse matrix"):
            with_plain_matrices("A", adata)


@pytest.mark.parametrize("harm", ["no places", "no table"])
def test_a_damaged_slice_that_a_session_keeps_is_named(tmp_path, harm):
    from napari_staligner.io.session_file import open_file
    from napari_staligner.session import Session

    session = Session()
    session.add([("A", tiny_slice(side=5, n_genes=30)), ("B", tiny_slice(side=5, n_genes=30))])
    session.save(tmp_path / "session.h5ad")
    with h5py.File(tmp_path / "session.h5ad", "r+") as file:
        kept = file["uns/staligner/kept_slices/A"]
        if harm == "no table":
            kept.attrs["encoding-type"] = "dict"
        else:
            del kept["obsm/spatial"]
    content = open_file(tmp_path / "session.h5ad")
    assert [name for name, _ in content.slices] == ["B"]
    assert len(content.problems) == 1
    assert "'A'" in content.problems[0]


def test_keys_that_mean_a_path_in_a_store_are_renamed(result, tmp_path):
    result.uns["spatial"] = {"A": {"metadata": {"..": [1], "__": 2, "a/b": {".": 3}}}, "..": {}}
    result.uns["theirs"] = {"..": {"": 1}}
    path = write_spatialdata(result, annotations_of(result), tmp_path / "out.zarr")
    uns = anndata.read_zarr(path / "tables" / "staligner_result").uns
    assert uns["theirs"] == {"__": {"unnamed": 1}}
    kept = uns["spatial"]["A"]["metadata"]
    assert kept["__ (2)"].tolist() == [1]
    assert kept["__"] == 2
    assert kept["a_b"] == {"_": 3}
    assert storable_keys(["..", "__", ".", "/"]) == ["__ (2)", "__", "_", "_ (2)"]


@pytest.mark.parametrize("columns", [2, 3, 6])
def test_coordinates_of_no_spots_or_without_a_number(columns):
    adata = AnnData(np.ones((0, 3), dtype=np.float32))
    adata.obsm["spatial"] = np.zeros((0, columns))
    assert with_places("A", adata).obsm["spatial"].shape == (0, 2)
    adata = AnnData(np.ones((4, 3), dtype=np.float32))
    adata.obsm["spatial"] = np.full((4, columns), np.nan)
    with pytest.raises(InputError, match="to 0 of 4 spots only"):
        with_places("A", adata)


@pytest.mark.parametrize("slot", ["obs", "obsm", "uns"])
@pytest.mark.parametrize("value", ["a group", "one number", "too few", "no slot"])
def test_unsaved_edits_whose_slots_are_of_another_kind(result, tmp_path, slot, value):
    path, key = tmp_path / "edits.h5", {"obs": "domain", "obsm": "spatial_aligned"}.get(slot, "x")
    bad = {"a group": {"a": np.ones(3)}, "one number": 3, "too few": np.ones((5, 2))}
    edits = {"obs": {}, "obsm": {}, "uns": {}}
    edits[slot] = np.ones(4) if value == "no slot" else {key: bad[value]}
    with h5py.File(path, "w") as file:
        file.attrs["spots"] = digest(result.obs_names)
        for name, kept in edits.items():
            write_elem(file, name, kept)
    if slot == "uns" and value != "no slot":
        apply_edits(path, result)  # anything may be there
        return
    with pytest.raises(InputError, match=r"The edits in .* cannot be read .*: discard them\.$"):
        apply_edits(path, result)
