"""Excluded spots are left out of all that a run computes, kept aside, and can be taken back."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pandas as pd
import pytest
from tiny import QUICK, tiny_pair
from typer.testing import CliRunner

from napari_staligner import (
    InputError,
    exclude,
    integrate,
    methods_text,
    read_slices,
    write_result,
)
from napari_staligner.cli.app import app
from napari_staligner.core.prepare.excluded import excluded_of, mark_excluded, rejoined
from napari_staligner.core.prepare.spots import excluded_spots
from napari_staligner.core.result.provenance import options_of, shell_command
from napari_staligner.core.result.renaming import rename_slices
from napari_staligner.io.excluded import slices_of_excluded
from napari_staligner.io.h5ad import read_any, slices_of_result

FOLD = (np.arange(64) % 8 < 2) & (np.arange(64) < 32)
"""The 8 spots in the left two columns and the upper half of a slice of 8 × 8."""


def square(x: float, y: float, width: float, height: float, **said: object) -> dict:
    corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
    geometry = {"type": "Polygon", "coordinates": [corners]}
    return {"type": "Feature", "geometry": geometry, "properties": said}


@pytest.fixture
def regions(tmp_path):
    """GeoJSON with that fold of slice A, and a region of another class."""
    fold = square(-5, -5, 20, 40, classification={"name": "Exclude"}, metadata={"slice": "A"})
    other = square(40, 40, 20, 20, classification={"name": "layer"}, metadata={"slice": "B"})
    path = tmp_path / "folds.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [fold, other]}))
    return path


@pytest.fixture(scope="module")
def result():
    """Integrated slices without the fold of A."""
    slices = [(n, mark_excluded(n, a, FOLD & (n == "A"))) for n, a in tiny_pair() if n == "A"]
    return integrate([*slices, tiny_pair()[1]], settings=QUICK)


def test_graph_matches_domains_and_registration_leave_them_out(result):
    gone = [f"spot{i}_A" for i in np.flatnonzero(FOLD)]
    assert not result.obs_names.isin(gone).any()
    assert result.n_obs == 64 - 8 + 56
    for slot in ("spatial_connectivities", "mutual_neighbors", "attention"):
        assert result.obsp[slot].shape == (result.n_obs, result.n_obs)
    assert len(result.obsm["spatial_aligned"]) == len(result.obs["domain"]) == result.n_obs
    # As if the slice had never had them.
    a, b = (adata for _, adata in tiny_pair())
    without = integrate([("A", a[~FOLD].copy()), ("B", b)], settings=QUICK)
    np.testing.assert_array_equal(result.obsm["STAligner"], without.obsm["STAligner"])
    assert "Slice 'A': excluded spots (obs['excluded']): 8, which were left out" in " ".join(
        result.uns["staligner"]["notes"]
    )


def test_they_are_kept_in_the_file_with_their_counts(result, tmp_path):
    write_result(result, tmp_path / "r.h5ad")
    assert "We left out 8 spots in folds or tears." in methods_text(result)
    kind, read = read_any(tmp_path / "r.h5ad")
    assert kind == "result"
    aside = excluded_of(read)
    assert aside.obs_names.tolist() == [f"spot{i}_A" for i in np.flatnonzero(FOLD)]
    assert aside.obs["excluded"].all()
    genes = tiny_pair()[0][1].var_names
    np.testing.assert_array_equal(aside[:, genes].X.toarray(), tiny_pair()[0][1][FOLD].X.toarray())
    rename_slices(read, {"A": "left"})
    assert excluded_of(read).obs["slice"].unique().tolist() == ["left"]


def test_taken_back_they_stand_where_they_were(result):
    whole = tiny_pair()[0][1]
    ((name, aside),) = slices_of_excluded(result)
    used = dict(slices_of_result(result))[name]
    back = rejoined(used, aside)
    assert back.obs_names.tolist() == whole.obs_names.tolist()
    np.testing.assert_array_equal(back[:, whole.var_names].X.toarray(), whole.X.toarray())
    np.testing.assert_array_equal(back.obsm["spatial"], whole.obsm["spatial"])
    np.testing.assert_array_equal(back.obs["excluded"], FOLD)


def test_regions_of_the_class_exclude_are_left_out_and_the_command_says_so(regions, tmp_path):
    for name, adata in tiny_pair():
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    slices = read_slices([tmp_path / "A.h5ad", tmp_path / "B.h5ad"], backed=True)
    marked = exclude(slices, regions)
    np.testing.assert_array_equal(marked[0][1].obs["excluded"], FOLD)
    assert not marked[1][1].obs["excluded"].any()
    assert "excluded" not in slices[0][1].obs
    files, out = [str(tmp_path / f"{name}.h5ad") for name in "AB"], tmp_path / "first.h5ad"
    words = ["integrate", *files, "-o", str(out), "--exclude", str(regions)]
    done = CliRunner().invoke(app, [*words, *options_of(QUICK, ["A", "B"])])
    assert done.exit_code == 0, done.output
    first = read_any(out)[1]
    assert excluded_of(first).n_obs == 8
    command = shell_command(first, str(tmp_path / "second.h5ad"))
    assert f"--exclude {regions}" in command
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    second = read_any(tmp_path / "second.h5ad")[1]
    np.testing.assert_array_equal(first.obsm["STAligner"], second.obsm["STAligner"])
    told = CliRunner().invoke(app, ["info", str(out)]).output
    assert "8 (A 8)" in told
    # A result excludes the same spots as the regions did.
    again = dict(exclude(slices, out))
    np.testing.assert_array_equal(again["A"].obs["excluded"], FOLD)


def test_drawn_in_a_window_the_command_names_the_result(result):
    # These slices came from memory, so give them files.
    from napari_staligner.core.result.provenance import record_sources
    from napari_staligner.core.result.source import Source

    adata = result.copy()
    record_sources(adata, {name: Source(f"{name}.h5ad", "") for name in ("A", "B")})
    assert shell_command(adata, file="here.h5ad").endswith("--exclude here.h5ad")


@pytest.mark.parametrize(
    ("column", "values", "n"),
    [("excluded", FOLD, 8), ("Exclude", np.where(FOLD, "yes", "no"), 8), ("exclude", "why", 0)],
)
def test_a_column_says_it_too(column, values, n):
    obs = pd.DataFrame({column: values}, index=range(64))
    assert excluded_spots(obs)[0].sum() == n


def test_what_cannot_be_excluded_is_said(regions, tmp_path):
    slices = tiny_pair()
    with pytest.raises(InputError, match=r"come from \.geojson, or a result"):
        exclude(slices, "folds.csv")
    text = regions.read_text().replace("Exclude", "fold")
    regions.write_text(text)
    with pytest.raises(InputError, match="no region of the class 'exclude', only 'fold', 'layer'"):
        exclude(slices, regions)
    slices[0][1].obs["excluded"] = "because"
    with pytest.raises(InputError, match="says something else than yes and no"):
        mark_excluded(*slices[0], FOLD)
    slices[1][1].obs["excluded"] = True
    with pytest.raises(InputError, match="Slice 'B': all of its spots are excluded"):
        integrate(slices, settings=QUICK)


def test_a_job_takes_the_regions_with_it(regions, tmp_path):
    from napari_staligner.jobs.folder import Where
    from napari_staligner.jobs.launch import make_job
    from napari_staligner.jobs.run import slices_of_job

    for name, adata in tiny_pair():
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    files, place = [str(tmp_path / f"{name}.h5ad") for name in "AB"], tmp_path / "job"
    folder = make_job(files, QUICK, Where(), names=["A", "B"], place=place, exclude=regions)
    assert f"--exclude {regions}" in folder.spec().command
    given = str(regions)
    regions.unlink()
    read = dict(slices_of_job(folder, folder.spec()))
    np.testing.assert_array_equal(read["A"].obs["excluded"], FOLD)
    assert read["A"].uns["staligner_excluded_by"] == given
