"""Real slices are fetched whole or not at all, from a server of the test's own."""

from __future__ import annotations

import gc
import hashlib
import io
import tarfile
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import anndata as ad
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_staligner import InputError
from napari_staligner import _keys as K
from napari_staligner.cli.app import app
from napari_staligner.core.progress import finish
from napari_staligner.io import fetching, remote_samples
from napari_staligner.io.fetching import fetch_steps
from napari_staligner.io.remote_samples import SAMPLES, RemoteFile, RemoteSample, samples_named

CONTENT = b"barcode\tx\ty\n" * 200_000


@pytest.fixture(autouse=True)
def sockets_gone():
    """Let go of sockets that requests leaves in errors, before another test is told of them."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def git_name(content):
    return f"git:{hashlib.sha1(b'blob %d' % len(content) + bytes(1) + content).hexdigest()}"


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; files called slow stop in the middle until the test goes on."""

    go_on = threading.Event()

    def log_message(self, *args):
        """Say nothing."""

    def copyfile(self, source, outputfile):
        content = source.read()
        half = len(content) // 2
        try:
            outputfile.write(content[:half])
            if "slow" in self.path:
                outputfile.flush()
                self.go_on.wait(20)
            if "cut" not in self.path:
                outputfile.write(content[half:])
        except ConnectionError:
            pass


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served").mkdir()
    Handler.go_on.clear()
    handler = partial(Handler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield lambda name: f"http://127.0.0.1:{server.server_port}/{name}"
        Handler.go_on.set()
        server.shutdown()
        thread.join()


def put(tmp_path, name, content=CONTENT):
    (tmp_path / "served" / name).write_bytes(content)


def sample(*files, opened=""):
    return RemoteSample("mine", "A slice", "CC0", "https://page", "Somebody", files, opened)


def fetch(tmp_path, *files, opened=""):
    (found,) = finish(fetch_steps([sample(*files, opened=opened)], tmp_path / "to"))
    return found


def left(tmp_path):
    return sorted(p.name for p in (tmp_path / "to").rglob("*") if p.is_file())


@pytest.mark.parametrize("checksum", [sha256, git_name])
def test_a_file_is_fetched_once_and_checked(tmp_path, server, checksum):
    put(tmp_path, "a.txt")
    file = RemoteFile("spatial/a.txt", server("a.txt"), checksum(CONTENT))
    steps, told = fetch_steps([sample(file)], tmp_path / "to"), []
    (found,) = finish(steps, lambda step: told.append(step.stage))
    assert (found.path / "spatial" / "a.txt").read_bytes() == CONTENT
    assert found.notes == ()
    assert told[0].startswith("fetching a.txt, ")
    # The second time, nothing is asked of the server.
    (tmp_path / "served" / "a.txt").unlink()
    assert fetch(tmp_path, file) == found
    # Unless the file was damaged.
    (found.path / "spatial" / "a.txt").write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match="answers 404"):
        fetch(tmp_path, file)


@pytest.mark.parametrize("checksum", [sha256, git_name])
def test_of_another_file_nothing_is_kept(tmp_path, server, checksum):
    put(tmp_path, "a.txt")
    with pytest.raises(InputError, match=r"is not the file that is known.*a\.txt was changed"):
        fetch(tmp_path, RemoteFile("a.txt", server("a.txt"), checksum(CONTENT[1:])))
    assert left(tmp_path) == []


def test_a_file_that_cannot_be_checked_is_said_and_kept_in_mind(tmp_path, server):
    put(tmp_path, "a.txt")
    file = RemoteFile("a.txt", server("a.txt"))
    found = fetch(tmp_path, file)
    (note,) = found.notes
    assert "could not be checked" in note
    assert sha256(CONTENT).removeprefix("sha256:") in note
    assert left(tmp_path) == ["a.txt", "checksums.txt"]
    assert fetch(tmp_path, file).notes == ()
    # Another content at the same address is not taken for it.
    (found.path / "a.txt").unlink()
    put(tmp_path, "a.txt", CONTENT[1:])
    with pytest.raises(InputError, match="is not the file that is known"):
        fetch(tmp_path, file)


def test_without_a_network_the_address_and_the_place_are_told(tmp_path):
    url = "http://127.0.0.1:9/a.txt"
    with pytest.raises(InputError) as refused:
        fetch(tmp_path, RemoteFile("a.txt", url))
    said = str(refused.value)
    assert url in said
    assert str(tmp_path / "to" / "mine" / "a.txt") in said
    assert left(tmp_path) == []


def test_of_a_file_that_breaks_off_nothing_is_kept(tmp_path, server):
    put(tmp_path, "cut.txt")
    with pytest.raises(InputError, match="broke off"):
        fetch(tmp_path, RemoteFile("cut.txt", server("cut.txt")))
    assert left(tmp_path) == []


def test_cancelled_in_the_middle_nothing_is_kept(tmp_path, server):
    put(tmp_path, "slow.txt", CONTENT * 10)
    file = RemoteFile("slow.txt", server("slow.txt"), sha256(CONTENT * 10))
    steps = fetch_steps([sample(file)], tmp_path / "to")
    while not next(steps).done:
        pass
    Handler.go_on.set()
    steps.close()
    assert left(tmp_path) == []


def archive(parts):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in parts.items():
            info = tarfile.TarInfo(f"Dataset1/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


PARTS = {
    "RNA_counts.tsv": "geneID\t7\t8\t9\nPcp4\t1\t0\t2\nDoc2g\t0\t3\t4\n",
    "position.tsv": "label\tx\ty\n9\t90\t5\n8\t80\t5\n7\t70\t6\n",
    "used_barcodes.txt": "Spot_7\nSpot_9\n",
}


def test_the_archive_of_the_bulb_becomes_a_slice(tmp_path, server):
    put(tmp_path, "bulb.tar.gz", packed := archive(PARTS))
    file = RemoteFile("bulb.tar.gz", server("bulb.tar.gz"), git_name(packed))
    adata = ad.read_h5ad(fetch(tmp_path, file, opened="bulb.h5ad").path)
    assert list(adata.obs_names) == ["Spot_7", "Spot_9"]
    assert adata[:, "Doc2g"].X.toarray().ravel().tolist() == [0, 4]
    np.testing.assert_array_equal(adata.obsm[K.SPATIAL], [[70, 6], [90, 5]])


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (archive({"position.tsv": PARTS["position.tsv"]}), "holds no RNA_counts"),
        (archive(PARTS | {"position.tsv": "label\tx\ty\n7\t1\t1\n"}), "spot '8' has counts and no"),
        (b"no archive", "cut off or no archive"),
    ],
)
def test_an_archive_of_something_else_is_refused(tmp_path, server, packed, said):
    put(tmp_path, "bulb.tar.gz", packed)
    file = RemoteFile("bulb.tar.gz", server("bulb.tar.gz"))
    with pytest.raises(InputError, match=said):
        fetch(tmp_path, file, opened="bulb.h5ad")
    assert "bulb.h5ad" not in left(tmp_path)


def test_what_is_listed_is_told_whole():
    for each in SAMPLES.values():
        assert each.licence
        assert each.cite
        for file in each.files:
            assert file.url.startswith("https://")
            kind, _, digits = file.checksum.partition(":")
            assert len(digits) == {"sha256": 64, "git": 40, "": 0}[kind]
    assert [each.name for each in samples_named(["Bulbs"])] == ["slideseqv2-bulb", "stereoseq-bulb"]
    with pytest.raises(InputError, match="no sample 'bulp': choose one of bulbs, dlpfc"):
        samples_named(["bulp"])


def test_the_shell_lists_fetches_and_refuses(tmp_path, server, monkeypatch):
    listed = CliRunner().invoke(app, ["sample"])
    assert listed.exit_code == 0
    for word in ("dlpfc-151676", "Artistic-2.0", "3 of 4 files", "bulbs: slideseqv2-bulb"):
        assert word in listed.stdout
    put(tmp_path, "a.txt")
    mine = sample(RemoteFile("a.txt", server("a.txt")))
    monkeypatch.setattr(remote_samples, "SAMPLES", {"mine": mine})
    monkeypatch.setattr(fetching, "samples_folder", lambda: tmp_path / "cache")
    done = CliRunner().invoke(app, ["sample", "mine"])
    assert done.exit_code == 0
    assert "Licence: CC0. From https://page; cite Somebody." in done.stdout
    assert "could not be checked" in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "cache" / "mine")
    (tmp_path / "served" / "a.txt").unlink()
    refused = CliRunner().invoke(app, ["sample", "mine", "--to", str(tmp_path / "other")])
    assert refused.exit_code == 2
    assert "answers 404" in refused.stderr
