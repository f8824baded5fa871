"""Finished results of other programs are opened as results: shell, reader, session."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from tiny import tiny_slice
from typer.testing import CliRunner

from napari_staligner import InputError, complete, read_slices
from napari_staligner import _keys as K
from napari_staligner.cli.app import app
from napari_staligner.core.adopt import adopt_steps
from napari_staligner.core.progress import finish
from napari_staligner.core.result.provenance import shell_command, sources_of
from napari_staligner.io.export.targets import export_steps
from napari_staligner.io.h5ad import read_any
from napari_staligner.io.images import tissue_image
from napari_staligner.io.session_file import open_file
from napari_staligner.session import Session


def joined(keys: tuple[str, ...] = ("151673", "151674"), label: str = "slice_name") -> ad.AnnData:
    """Slices in one table as the tutorials of the field make it, with an embedding of both."""
    slices = [tiny_slice(seed=i) for i in range(len(keys))]
    made = ad.concat(slices, label=label, keys=keys, index_unique="_")
    rng = np.random.default_rng(0)
    z = rng.normal(scale=0.3, size=(made.n_obs, 8))
    z[:, 0] += np.where(made.obs["half"] == "left", 4, -4)
    made.obsm["z"] = z.astype(np.float32)
    return made


def moved(made: ad.AnnData, key: str) -> ad.AnnData:
    made.obsm[key] = made.obsm.pop("z")
    return made


def authors() -> ad.AnnData:
    """As the published tutorial of STAligner leaves it."""
    made = moved(joined(), "STAligner")
    made.obs["batch_name"] = made.obs["slice_name"].astype("category")
    made.obs["mclust"] = made.obs["half"]
    made.uns["edgeList"] = np.arange(6).reshape(2, 3)
    return made


def omicverse() -> ad.AnnData:
    made = moved(joined(label="batch_name"), "STAligner")
    made.obsm["X_umap"] = made.obsm["STAligner"][:, :2]
    return made


def graphst() -> ad.AnnData:
    """Batches as text, spots of the same name, and a second embedding of fewer numbers."""
    made = moved(joined(label="batch"), "emb")
    made.obs["batch"] = made.obs["batch"].astype(str)
    made.obs_names = [name.split("_")[0] for name in made.obs_names]
    made.obsm["emb_pca"] = made.obsm["emb"][:, :4]
    made.obs["domain"] = made.obs["half"]
    return made


def scvi() -> ad.AnnData:
    """Spots not slice by slice, a table of places, and a batch without a value."""
    made = moved(joined(label="sample"), "X_scVI")
    made = made[np.random.default_rng(1).permutation(made.n_obs)].copy()
    made.obsm["X_scVI"] = made.obsm["X_scVI"].astype(np.float64)
    made.obs["sample"] = made.obs["sample"].astype(object)
    made.obs.iloc[:3, made.obs.columns.get_loc("sample")] = np.nan
    return made


def harmony() -> ad.AnnData:
    made = moved(joined(label="sample"), "X_pca_harmony")
    made.obsm["X_pca"] = made.obsm["X_pca_harmony"] + 1
    made.obsm["X_pca_harmony"][5] = np.nan
    return made


MADE = {
    "authors": (authors, "STAligner", "slice_name", 128),
    "omicverse": (omicverse, "STAligner", "batch_name", 128),
    "graphst": (graphst, "emb", "batch", 128),
    "scvi": (scvi, "X_scVI", "sample", 125),
    "harmony": (harmony, "X_pca_harmony", "sample", 127),
}


def adopted(path: Path | str) -> ad.AnnData:
    kind, content = read_any(path)
    assert kind == "finished"
    return finish(adopt_steps(*content))


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize("name", MADE)
def test_a_finished_result_is_taken_without_training(name, tmp_path):
    make, key, column, n = MADE[name]
    path = tmp_path / "joint.h5ad"
    before = make()
    before.write_h5ad(path)
    result = adopted(path)
    assert result.n_obs == n
    assert list(result.obs[K.SLICE].cat.categories) == ["151673", "151674"]
    assert result.obs_names.is_unique
    assert (np.diff(result.obs[K.SLICE].cat.codes) >= 0).all()
    assert result.obsm[K.EMBEDDING].dtype == np.float32
    np.testing.assert_allclose(result.obsm[K.EMBEDDING], result.obsm[key], rtol=1e-6)
    first = str(result.uns[K.STALIGNER]["notes"][0])
    assert f"obsm['{key}'], and obs['{column}'] names the slices" in first
    # Edges within slices, matches across.
    codes = result.obs[K.SLICE].cat.codes.to_numpy()
    for slot, same in ((K.CONNECTIVITIES, True), (K.MUTUAL, False)):
        rows, columns = result.obsp[slot].nonzero()
        assert len(rows) > n
        assert ((codes[rows] == codes[columns]) == same).all()
    complete(result)
    assert pd.crosstab(result.obs[K.DOMAIN], result.obs["half"]).min(axis=1).max() <= 2
    assert result.obs[K.CONFIDENCE].between(0, 1).all()
    assert set(result.uns[K.STALIGNER]["transforms"]) == {"151673", "151674"}
    # What the file held is there, under its own name or a note's.
    for kept in before.obs:
        assert kept in result.obs or f"{kept}_of_input" in result.obs
    assert set(before.obsm) <= set(result.obsm)
    assert shell_command(result) == ""


def test_the_sentence_names_what_else_could_be_meant_and_how_to_choose(tmp_path):
    made = authors()
    made.obsm["X_scVI"] = made.obsm["STAligner"][::-1].copy()
    made.obs["sample"] = pd.Categorical(np.arange(made.n_obs) % 2)
    path = tmp_path / "joint.h5ad"
    made.write_h5ad(path)
    said = str(adopted(path).uns[K.STALIGNER]["notes"][0])
    assert "obsm['X_scVI'], obs['sample'] could be meant, too" in said
    assert f"{path}[embedding=X_scVI,slice=sample]" in said
    # A column that parts the spots alike is no other choice.
    assert "batch_name" not in said
    other = adopted(f"{path}[embedding=X_scVI,slice=sample]")
    np.testing.assert_array_equal(other.obsm[K.EMBEDDING], other.obsm["X_scVI"])
    assert list(other.obs[K.SLICE].cat.categories) == ["0", "1"]
    assert other.uns[K.STALIGNER][K.ADOPTED] == {"embedding": "X_scVI", "slices": "sample"}
    # The input's own slot of that name is kept.
    assert "STAligner_of_input" in other.obsm


def test_any_embedding_can_be_chosen(tmp_path):
    made = moved(joined(label="donor"), "my embedding")
    path = tmp_path / "joint.h5ad"
    made.write_h5ad(path)
    assert read_any(path)[0] == "slices"
    result = adopted(f"{path}[embedding=my embedding,slice=donor]")
    assert result.n_obs == 128


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ("[embedding=X_none]", r"no embedding obsm\['X_none'\]: choose one of 'STAligner'"),
        ("[embedding=STAligner,slice=none]", r"no obs\['none'\] to tell slices apart.*'half'"),
        ("[embedding=STAligner,half=left]", "chooses both an embedding of several slices and a"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(tmp_path, chosen, says):
    path = tmp_path / "joint.h5ad"
    authors().write_h5ad(path)
    with pytest.raises(InputError, match=says):
        read_any(f"{path}{chosen}")


def test_slices_are_still_slices(tmp_path):
    """Of one slice, without an embedding, or of what each slice has by itself."""
    one = moved(joined(("A",)), "STAligner")
    none = joined()
    del none.obsm["z"]
    alone = moved(joined(), "X_pca")
    for number, made in enumerate((one, none, alone)):
        made.write_h5ad(tmp_path / f"{number}.h5ad")
        assert read_any(tmp_path / f"{number}.h5ad")[0] == "slices"
    authors().write_h5ad(tmp_path / "joint.h5ad")
    slices = dict(read_slices([tmp_path / "joint.h5ad"]))
    assert list(slices) == ["151673", "151674"]
    assert "STAligner" in slices["151673"].obsm


def test_without_places_it_is_refused(tmp_path):
    made = authors()
    del made.obsm["spatial"]
    made.write_h5ad(tmp_path / "joint.h5ad")
    with pytest.raises(InputError, match=r"Slice '151673'.*coordinates"):
        adopted(tmp_path / "joint.h5ad")


def test_each_slice_has_its_image_and_goes_back_with_what_was_made(tmp_path):
    made = omicverse()
    made.uns[K.SPATIAL] = {
        name: {
            "images": {"hires": np.full((90, 90, 3), light, np.uint8)},
            "scalefactors": {"tissue_hires_scalef": 1.0, "spot_diameter_fullres": 7.0},
        }
        for name, light in (("151674", 90), ("151673", 200))
    }
    made.obs["domain"] = "theirs"
    made.write_h5ad(tmp_path / "joint.h5ad")
    result = adopted(tmp_path / "joint.h5ad")
    complete(result)
    for (name, part), light in zip(
        open_file(tmp_path / "joint.h5ad").slices, (200, 90), strict=True
    ):
        assert (result.uns[K.SPATIAL][name]["images"]["hires"] == light).all()
        assert (tissue_image(part)[0] == light).all()
    finish(export_steps(result, "slices", tmp_path / "out"))
    back = ad.read_h5ad(tmp_path / "out" / "151674.h5ad")
    assert (back.obs["batch_name"] == "151674").all()
    assert set(back.obs["domain_of_input"]) == {"theirs"}
    rows = (result.obs[K.SLICE] == "151674").to_numpy()
    assert back.obs[K.DOMAIN].tolist() == result.obs[K.DOMAIN][rows].tolist()
    assert K.SPATIAL_ALIGNED in back.obsm


def test_the_window_opens_it_and_does_not_save_over_it(tmp_path):
    path = tmp_path / "joint.h5ad"
    graph = authors()
    graph.write_h5ad(path)
    content = open_file(path)
    session = Session()
    session.open(content)
    assert session.path is None
    assert list(session.slices) == ["151673", "151674"]
    assert session.result.adata is not None
    assert any("is taken for a finished result" in note for note in content.notes)
    assert any("press Complete" in note for note in content.notes)
    job = session.completion_job()
    assert {stage.name for stage in job.wanted} == {"confidence", "domains", "registration"}
    session.save(tmp_path / "saved.h5ad")
    back = open_file(tmp_path / "saved.h5ad")
    assert back.result is not None
    assert back.path == tmp_path / "saved.h5ad"
    # Its slices are found in the file again.
    for name, source in sources_of(back.result).items():
        ((_, part),) = read_slices([source.spec()])
        assert (part.obs["slice_name"] == name).all()


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_shell_completes_and_judges_it(tmp_path):
    path = tmp_path / "joint.h5ad"
    authors().write_h5ad(path)
    before = path.read_bytes()
    outcome = run("info", path)
    assert outcome.exit_code == 0
    assert "is taken for a finished result of another program" in outcome.output
    for command in ("complete", "register"):
        outcome = run(command, path)
        assert outcome.exit_code == 2
        assert "say with --output where what is made of it goes" in outcome.stderr
        assert path.read_bytes() == before
    chosen = f"{path}[embedding=STAligner,slice=batch_name]"
    outcome = run("complete", chosen)
    assert outcome.exit_code == 2
    assert "say with --output where it goes" in outcome.stderr
    outcome = run("complete", chosen, "-o", tmp_path / "out.h5ad")
    assert outcome.exit_code == 0, outcome.output
    made = ad.read_h5ad(tmp_path / "out.h5ad")
    assert {K.DOMAIN, K.CONFIDENCE} <= set(made.obs)
    assert K.SPATIAL_ALIGNED in made.obsm
    outcome = run("evaluate", path, "--labels", "half", "--embedding", "STAligner")
    assert outcome.exit_code == 0, outcome.output
    assert path.read_bytes() == before
