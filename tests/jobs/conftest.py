"""A job on two tiny slices."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tiny import QUICK, tiny_pair

from napari_staligner.jobs.folder import Where
from napari_staligner.jobs.launch import make_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_staligner.core.settings import Settings
    from napari_staligner.jobs.folder import JobFolder


@pytest.fixture(scope="session")
def slice_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Write two tiny slices."""
    folder = tmp_path_factory.mktemp("slices")
    for name, adata in tiny_pair():
        adata.write_h5ad(folder / f"{name}.h5ad")
    return sorted(map(str, folder.iterdir()))


@pytest.fixture
def make(slice_files: list[str], tmp_path: Path) -> Callable[..., JobFolder]:
    """Return what makes a job on the slices."""

    def make(
        settings: Settings = QUICK,
        on: str = "local",
        name: str = "a job",
        ranks: int = 1,
        **queue: str,
    ) -> JobFolder:
        where = Where.from_text(on, queue, ranks)
        return make_job(slice_files, settings, where, names=["A", "B"], place=tmp_path / name)

    return make


@pytest.fixture
def in_processes(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """Let processes that the test starts find this source, and leave cores to others."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(project / "src"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
