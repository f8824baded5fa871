"""What is done with a case, and what must not come of it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import tempfile
import traceback
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fuzz import samples
from fuzz.cases import Case, Damaged, Regions, Result, Slices
from fuzz.harms import HARMS
from fuzz.job_samples import FOLDER, use_job
from fuzz.results import RESULT_TWISTS
from fuzz.tables import made

from napari_staligner._errors import ComputeError, InputError

LONGEST = 2000
"""Letters of a sentence: names of files and slices are in it."""
QUICK_OPTIONS = (
    "--domains 2 --seed 0 --set pretrain_epochs=1 --set epochs=2 --set refresh=1 --set hidden=16 "
    "--set latent=6 --set n_top_genes=22 --set mnn_k=10 --set precision=float32"
).split()


class _Heard(logging.Handler):
    """Keeps errors that the program caught, but that are no sentences of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])


class Workplace:
    """Does cases, each in a folder of its own.

    Parameters
    ----------
    folder
        Holds the samples.
    """

    def __init__(self, folder: Path) -> None:
        import torch

        from napari_staligner.io import user_folder

        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        logging.raiseExceptions = False
        self.samples = folder / "samples"
        self.home = folder / "home" / str(os.getpid())
        self.home.mkdir(parents=True)
        user_folder.user_folder = lambda: self.home  # type: ignore[assignment]
        user_folder.cache_folder = lambda: self.home / "cache"  # type: ignore[assignment]
        self.heard = _Heard()
        logging.getLogger("napari_staligner").addHandler(self.heard)
        self.sound: Any = None

    def do(self, case: Case) -> tuple[tuple[str, ...], str]:
        """Do a case; return its faults, and the sentence by which it was refused."""
        self.heard.errors.clear()
        with tempfile.TemporaryDirectory(dir=self.home, ignore_cleanup_errors=True) as name:
            place, refused = Path(name), ""
            os.chdir(place)
            faults: list[str] = []
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    faults += _DO[type(case)](self, case, place)
            except (InputError, ComputeError) as error:
                refused = str(error)
                faults += wrong_sentence(refused)
            except Exception as error:
                faults.append(told(error))
            faults += [
                told(error)
                for error in self.heard.errors
                if not isinstance(error, InputError | ComputeError)
            ]
            faults += [f"left behind: {each}" for each in left_behind(place)]
            os.chdir(self.home)
        return tuple(faults), refused

    # -- the kinds ----------------------------------------------------------------------------

    def slices(self, case: Slices, place: Path) -> list[str]:
        """Write slices to files as far as anndata does, and go on with them."""
        paths, named = [], []
        for number, table in enumerate(case.tables):
            adata = made(table)
            if adata is None:
                continue
            path = place / f"s{number}.h5ad"
            try:
                adata.write_h5ad(path)
            except Exception:  # what anndata does not write, nobody has in a file
                path.unlink(missing_ok=True)
                named.append((f"s{number}", adata))
                continue
            paths.append(path)
        if case.then == "integrate" and named:
            return self._integrate_in_memory([*_read(paths), *named])
        if case.then == "integrate":
            return _integrated(place, paths) if paths else []
        return [fault for path in paths for fault in _SLICES[case.then](self, place, path)]

    def _integrate_in_memory(self, named: list[Any]) -> list[str]:
        from dataclasses import replace

        from tiny import QUICK

        from napari_staligner import integrate

        before = [(name, adata.copy()) for name, adata in named]
        settings = replace(QUICK, pretrain_epochs=1, epochs=2, n_top_genes=22)
        result = integrate(named, settings=settings)
        changed = [
            f"slice {name!r} was changed"
            for (name, was), (_, now) in zip(before, named, strict=True)
            if list(was.obs) != list(now.obs) or list(was.obsm) != list(now.obsm)
        ]
        return changed + wrong_result(result)

    def result(self, case: Result, place: Path) -> list[str]:
        """Change a result, write it as far as anndata does, and go on with it."""
        from napari_staligner.io.anndata import read_file

        adata = read_file(self.samples / samples.RESULT / "r.h5ad")
        for name, seed in case.twists:
            try:
                adata = RESULT_TWISTS[name](
                    adata, np.random.default_rng(seed), case.text, case.value
                )
            except Exception:  # an earlier twist took away what this one changes
                continue
        path = place / "r.h5ad"
        try:
            adata.write_h5ad(path)
        except Exception:
            path.unlink(missing_ok=True)
            return []
        return self.with_result(place, path, case.then)

    def with_result(self, place: Path, path: Path, then: str) -> list[str]:
        """Do one thing with the file of a result; it stays whole, whatever happens."""
        before = path.read_bytes()
        faults = _to_result(self, place, path, then)
        if path.read_bytes() != before:
            faults += _unreadable(path)
        return faults

    def damaged(self, case: Damaged, place: Path) -> list[str]:
        """Damage a copy of a sample, and read all of it."""
        folder = place / "sample"
        shutil.copytree(self.samples / case.sample, folder)
        files = samples.files_of(folder)
        path = files[case.file % len(files)]
        for each in case.harms:
            with contextlib.suppress(Exception):  # an earlier one left nothing to harm
                HARMS[each.way](path, np.random.default_rng(each.seed))
        target = folder / samples.SINGLE.get(case.sample, "")
        if case.sample in _OWN_WAY:
            return _OWN_WAY[case.sample](folder)
        faults = _info(self, place, target)
        with contextlib.suppress(InputError):  # "info" has said it
            faults += _session(self, place, target)
        return faults

    def regions(self, case: Regions, place: Path) -> list[str]:
        """Import annotations into a result: in memory, and each fourth by the shell, too."""
        (place / case.name).write_text(case.text, encoding="utf-8", newline="")
        try:
            self._import(place / case.name)
        except InputError as error:
            if len(case.text) % 4:
                return wrong_sentence(str(error))
        shutil.copy(self.samples / samples.RESULT / "r.h5ad", place / "r.h5ad")
        words = ["annotations", "r.h5ad", "--import", case.name, "--slice", "A"]
        faults = shell(*words, "--coordinates", "spots")
        return faults + _unreadable(place / "r.h5ad")

    def _import(self, path: Path) -> None:
        from napari_staligner.core.annotations.record import annotations_of, write_annotations
        from napari_staligner.io.anndata import read_file
        from napari_staligner.io.annotations.formats import import_annotations

        if self.sound is None:
            self.sound = read_file(self.samples / samples.RESULT / "r.h5ad")
        result = self.sound.copy()
        made = annotations_of(result)
        import_annotations(result, made, path, slice_name="A", coordinates="spots")
        write_annotations(result, made)


_DO: dict[type, Callable[..., list[str]]] = {
    Slices: Workplace.slices,
    Result: Workplace.result,
    Damaged: Workplace.damaged,
    Regions: Workplace.regions,
}


# --- what is done


def shell(*words: str | Path) -> list[str]:
    """Run a command in this process; return what must not come of it."""
    heard, code = io.StringIO(), 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(heard):
        try:
            code = _command().main([str(word) for word in words], standalone_mode=False) or 0
        except SystemExit as end:
            code = int(end.code or 0)
        except Exception as error:
            return [told(error)]
    said = heard.getvalue().strip()
    if code == 2:
        last = said.split("Error:")[-1].strip()
        return wrong_sentence(last) if "Error:" in said else [f"refused without a sentence: {said}"]
    if code:
        return [f"exit code {code}: {said[-300:]}"]
    return []


@cache
def _command() -> Any:
    """The shell's commands, made once: that takes longer than most cases."""
    from typer.main import get_command

    from napari_staligner.cli.app import app

    return get_command(app)


def _read(paths: list[Path]) -> list[Any]:
    from napari_staligner import read_slices

    return read_slices(paths)


def _info(self: Workplace, place: Path, path: Path) -> list[str]:
    return shell("info", path)


def _session(self: Workplace, place: Path, path: Path) -> list[str]:
    """Open in a session, look at the cards and graphs, save, and open again."""
    from napari_staligner.core.prepare.graph import graph_steps
    from napari_staligner.core.progress import finish
    from napari_staligner.core.result.access import spots_xy
    from napari_staligner.core.settings import Settings
    from napari_staligner.io.session_file import open_file
    from napari_staligner.io.slice_card import slice_card_job
    from napari_staligner.session.session import Session

    session = Session()
    session.open(open_file(path))
    for name, adata in session.slices.items():
        finish(slice_card_job(name, adata).steps())
        finish(graph_steps([(name, spots_xy(adata))], Settings()))
    n = {name: adata.n_obs for name, adata in session.slices.items()}
    session.save(place / "saved.h5ad")
    again = Session()
    content = open_file(place / "saved.h5ad")
    again.open(content)
    now = {name: adata.n_obs for name, adata in again.slices.items()}
    if now != n and not content.problems:
        return [f"a saved session of {n} comes back as {now}"]
    return []


def _graph(self: Workplace, place: Path, path: Path) -> list[str]:
    from napari_staligner.core.prepare.coordinates import with_places
    from napari_staligner.core.prepare.graph import graph_steps
    from napari_staligner.core.progress import finish
    from napari_staligner.core.result.access import spots_xy
    from napari_staligner.core.settings import Settings

    for name, adata in _read([path]):
        placed = with_places(name, adata)
        finish(graph_steps([(name, spots_xy(placed))], Settings()))
    return []


def _integrated(place: Path, paths: list[Path]) -> list[str]:
    target = place / "out.h5ad"
    faults = shell("integrate", *paths, "-o", target, *QUICK_OPTIONS)
    if target.exists():
        from napari_staligner.io.anndata import read_file

        faults += wrong_result(read_file(target)) + _info(None, place, target)  # type: ignore[arg-type]
    return faults


_SLICES: dict[str, Callable[..., list[str]]] = {
    "info": _info,
    "session": _session,
    "graph": _graph,
}


def _to_result(self: Workplace, place: Path, path: Path, then: str) -> list[str]:
    if then == "session":
        return _session(self, place, path)
    if then == "domains":
        return _domains(path)
    word, _, rest = then.partition(" ")
    if word == "export":
        target = place / ("out" + {"spatialdata": ".zarr", "tissuumaps": ".h5ad"}.get(rest, ""))
        return shell("export", path, target, "--to", rest)
    options = {
        "report": ("-o", place / "r.html", "--no-umap"),
        "numbers": ("--most", "3"),
        "annotations": ("--export", place / "r.geojson"),
        "evaluate": ("--json", place / "e.json"),
    }.get(word, ())
    return shell(word, path, *options)


def _domains(path: Path) -> list[str]:
    from napari_staligner import find_domains
    from napari_staligner.io.h5ad import read_any

    kind, adata = read_any(path)
    if kind != "result":
        return []
    find_domains(adata, 2)
    column = adata.obs["domain"]
    return ["a spot has no domain"] if column.isna().any() else []


def _recover(path: Path) -> list[str]:
    from napari_staligner.io.recovery import find, read_kept
    from napari_staligner.session.session import Session

    kept = find(path)
    if kept is None:
        return []
    kept.describe()
    session = Session()
    session.open(read_kept(kept), saved=False)
    return []


def _scan(folder: Path) -> list[str]:
    from napari_staligner.io.scans import contrast_limits, open_scan, picture_of

    if (folder / "scan.tif").exists():
        scan = open_scan(folder / "scan.tif")
        contrast_limits(scan)
        picture_of(scan)
    return []


def _excluded(folder: Path) -> list[str]:
    from napari_staligner.io.excluded import exclude

    regions, slices = folder / "exclude.geojson", folder / "a.h5ad"
    if regions.exists() and slices.exists():
        exclude(_read([slices]), regions)
    return []


_OWN_WAY: dict[str, Callable[[Path], list[str]]] = {
    "unsaved": lambda folder: _recover(folder / "r.h5ad"),
    "image": _scan,
    "regions": _excluded,
}
_OWN_WAY |= {
    name: lambda folder: use_job(shell, partial(_session, None, folder), folder / FOLDER)  # type: ignore[arg-type]
    for name in samples.JOBS
}


# --- what must not come of it


def told(error: BaseException) -> str:
    """Say an error: its type and where it was raised first, then the whole traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "napari_staligner" in f.filename] or frames
    at = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else ""
    line = (str(error).splitlines() or [""])[0][:120]
    text = "".join(traceback.format_exception(error))
    return f"{type(error).__name__} in {at}: {line}\n{text}"


def wrong_sentence(text: str) -> list[str]:
    """Say what is wrong with a sentence that refuses an input."""
    if not text.rstrip().endswith((".", "?")):
        return [f"no whole sentence: {text[-200:]!r}"]
    if "Traceback" in text or len(text) > LONGEST:
        return [f"not one sentence: {text[:200]!r}"]
    return []


def left_behind(place: Path) -> list[str]:
    """Drafts that were not moved into place or removed."""
    return [
        path.name
        for path in place.rglob("*")
        if path.name.endswith((".part", ".tmp"))
        or path.name.startswith((".staligner-", ".out-", ".r-", ".saved-", ".e-"))
    ]


def _unreadable(path: Path) -> list[str]:
    from napari_staligner.io.anndata import read_file

    try:
        read_file(path)
    except InputError as error:
        return [f"the file is not whole any more: {error}"]
    return []


def wrong_result(adata: Any) -> list[str]:
    """Say what is wrong with integrated slices, whatever they were made of."""
    faults = []
    z = np.asarray(adata.obsm["STAligner"])
    if z.dtype != np.float32 or not np.isfinite(z).all():
        faults.append(f"the embedding is {z.dtype}, finite: {np.isfinite(z).all()}")
    notes = " ".join(map(str, adata.uns["staligner"].get("notes", ())))
    if "domain" in adata.obs:
        column = adata.obs["domain"]
        if not isinstance(column.dtype, pd.CategoricalDtype) or column.isna().any():
            faults.append(f"domains are {column.dtype}, {int(column.isna().sum())} missing")
    elif "domains are missing" not in notes:
        faults.append("no domains, and no word about it")
    if "alignment_confidence" in adata.obs:
        c = adata.obs["alignment_confidence"].to_numpy(float)
        if not ((c >= 0) & (c <= 1)).all() and adata.obs["slice"].nunique() > 1:
            faults.append(
                f"confidence from {np.nanmin(c)} to {np.nanmax(c)}, NaN {np.isnan(c).sum()}"
            )
    places = np.asarray(adata.obsm["spatial"], float)
    if not np.isfinite(places).all():
        faults.append("coordinates are not finite")
    return faults
