"""Against an sshd of its own on the loopback, with a key that is thrown away."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from waiting import until

from napari_staligner._errors import InputError
from napari_staligner.jobs.folder import Tail
from napari_staligner.jobs.launch import cancel_job, fetch_result, look_at, resume_job, start_job
from napari_staligner.jobs.launchers.ssh import PROGRAM

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"

STAND_IN = """#!/bin/sh
# Says what 'job run' says; what that computes is tested where it needs no network.
echo "$@"; ls slices/1
step='{"time": 1, "stage": "align", "done": 3, "total": 9}'
echo "$step" >> progress.jsonl
echo '{"condition": "running", "host": "elsewhere"}' > state.json
if [ -e second ]; then
    echo "a result" > out.h5ad; echo '{"condition": "done"}' > state.json; exit
fi
touch second
while [ ! -e cancel ]; do sleep 0.1; echo "$step" >> progress.jsonl; done
echo '{"condition": "cancelled"}' > state.json
"""


@pytest.fixture
def host(monkeypatch):
    """Start sshd, and put an ssh first on the PATH that knows its port and key."""
    missing = [name for name in ("ssh", "sftp", "ssh-keygen") if shutil.which(name) is None]
    missing += [] if Path(SSHD).exists() else ["sshd"]
    if missing:
        pytest.skip(f"no sshd to start here: {', '.join(missing)} missing")
    folder = Path(tempfile.mkdtemp(prefix="ssh-"))
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    shutil.copy(folder / "user.pub", folder / "known")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'known'}\nStrictModes no\nUsePAM no\n"
        "Subsystem sftp internal-sftp\nPermitRootLogin yes\n"
        "PasswordAuthentication no\n"
    )
    (folder / "config").write_text(
        f"Host there\nHostName 127.0.0.1\nPort {port}\nIdentityFile {folder / 'user'}\n"
        "IdentitiesOnly yes\nStrictHostKeyChecking no\n"
        f"UserKnownHostsFile {folder / 'hosts'}\nLogLevel ERROR\n"
    )
    programs = folder / "bin"
    programs.mkdir()
    for name in ("ssh", "sftp"):
        (programs / name).write_text(
            f'#!/bin/sh\nexec {shutil.which(name)} -F {folder / "config"} "$@"\n'
        )
    (programs / "napari-staligner").write_text(STAND_IN)
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv(PROGRAM, str(programs / "napari-staligner"))
    Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL
    )
    until(lambda: subprocess.run(["ssh", "there", "true"], check=False).returncode == 0)
    yield "there"
    daemon.terminate()
    daemon.wait(30)
    shutil.rmtree(folder)


@pytest.fixture
def sent(make, host):
    """Make a job for the host; its folder there is removed in the end."""
    folder = make(on=f"ssh:{host}", name='a "short" [job]')
    yield folder
    shutil.rmtree(Path.home() / ".napari-staligner" / "jobs" / folder.spec().id)


def test_a_job_runs_elsewhere_and_its_result_comes_back(sent, tmp_path):
    own = tmp_path / 'a "b" [1].h5ad'
    shutil.copy(sent.spec().slices[0], own)
    sent.write_spec(replace(sent.spec(), slices=(str(own), sent.spec().slices[1])))
    start_job(sent)
    until(lambda: look_at(sent).condition == "running" and Tail(sent).new())
    cancel_job(sent)
    until(lambda: look_at(sent).ended)
    assert look_at(sent).condition == "cancelled"
    with pytest.raises(InputError, match="is cancelled, without result"):
        fetch_result(sent)
    resume_job(sent)
    until(lambda: look_at(sent).ended)
    assert look_at(sent).condition == "done"
    assert fetch_result(sent).read_text() == "a result\n"
    assert sent.log.read_text().split("\n")[:2] == ["job run .", own.name]


def test_what_is_not_there_is_one_sentence(make, host, monkeypatch):
    folder = make(on=f"ssh:{host}", name="one")
    monkeypatch.setenv(PROGRAM, "/nowhere/napari-staligner")
    with pytest.raises(InputError, match="have napari-staligner on its PATH"):
        start_job(folder)
