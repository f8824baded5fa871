"""Several sections in one file are noticed, named, and parted where that is certain."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from tiny import QUICK, tiny_pair, tiny_slice

from napari_staligner import InputError, integrate
from napari_staligner.core.prepare.gene_names import with_matched_genes
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.core.prepare.sections import sections_of, split_by, split_where_certain
from napari_staligner.core.prepare.spots import off_tissue

LIBRARY = {"images": {}, "scalefactors": {}}


def joint(key: str = "sample", n: int = 2, *, apart: float = 0.0) -> AnnData:
    """Sections on one grid, or side by side, in one file."""
    parts = []
    for number in range(n):
        part = tiny_slice(seed=number)
        part.obsm["spatial"][:, 0] += number * apart
        parts.append(part)
    keys = [f"S{number + 1}" for number in range(n)]
    return ad.concat(parts, label=key, keys=keys, index_unique="-")


NAMES = ("sample", "batch_name", "batch", "library_id", "Slice", "orig.ident", "any_name")


@pytest.mark.parametrize("key", NAMES)
def test_places_that_coincide_across_a_column(key: str) -> None:
    found = sections_of(joint(key))
    assert found is not None
    assert (found.key, found.values, found.certain) == (key, ("S1", "S2"), True)
    assert f"--slice-key {key}" in found.sentence()


def test_sections_among_each_other_that_coincide_nowhere() -> None:
    adata = joint()
    rng = np.random.default_rng(0)
    adata.obsm["spatial"] = adata.obsm["spatial"] + rng.normal(size=(128, 2))
    found = sections_of(adata)
    assert found is not None
    assert found.certain
    assert "among each other" in found.reason


@pytest.mark.parametrize("libraries", [("S1", "S2"), ("S1", "S2", "S3"), ("S1", "S2", "x")])
def test_libraries_that_are_called_as_the_values(libraries: tuple[str, ...]) -> None:
    adata = joint("any_name", apart=1000)
    adata.uns["spatial"] = dict.fromkeys(libraries, LIBRARY)
    found = sections_of(adata)
    assert found is not None
    assert (found.key, found.certain) == ("any_name", True)


NUMBERS = {
    "whole": np.repeat([151673, 151674], 64),
    "floats": np.repeat([151673.0, 151674.0], 64),
    "categories": pd.Categorical(np.repeat([151673, 151674], 64)),
    "nullable": pd.array(np.repeat([151673, 151674], 64), dtype="Int64"),
    "text": np.repeat(["151673", "151674"], 64),
}


@pytest.mark.parametrize("values", NUMBERS.values(), ids=NUMBERS)
def test_values_that_are_numbers_name_libraries(values: object) -> None:
    adata = joint(apart=1000)
    adata.obs["library_id"] = values
    adata.uns["spatial"] = {"151673": LIBRARY, "151674": LIBRARY}
    parts = dict(split_where_certain("file", adata))
    assert list(parts) == ["151673", "151674"]
    assert [list(part.uns["spatial"]) for part in parts.values()] == [["151673"], ["151674"]]


def test_sections_side_by_side_are_said_not_parted() -> None:
    adata = joint(apart=1000)
    ((name, part),) = split_where_certain("file", adata)
    assert name == "file"
    assert part.n_obs == 128
    (note,) = notes_of(name, part)
    assert "obs['sample'] names 2 sections (S1, S2" in note
    assert "--slice-key sample" in note


def test_libraries_that_no_column_names() -> None:
    adata = tiny_slice()
    adata.uns["spatial"] = {"V1": LIBRARY, "V2": LIBRARY}
    found = sections_of(adata)
    assert found is not None
    assert not found.certain
    assert "2 libraries" in found.sentence()


def test_places_that_coincide_and_no_column_parts() -> None:
    adata = joint()
    del adata.obs["sample"]
    found = sections_of(adata)
    assert found is not None
    assert found.key == ""
    assert "128 spots lie at the place of another" in found.sentence()


ONE = {
    "plain": lambda a: None,
    "one library": lambda a: a.uns.update(spatial={"V1": LIBRARY}),
    "one library, named": lambda a: (
        a.uns.update(spatial={"V1": LIBRARY, "V2": LIBRARY}),
        a.obs.__setitem__("library_id", "V1"),
    ),
    "one sample": lambda a: a.obs.__setitem__("sample", "S1"),
    "regions": lambda a: a.obs.__setitem__("region", np.repeat(["cortex", "medulla"], 32)),
    "libraries called 0 and 1": lambda a: (
        a.uns.update(spatial={"0": LIBRARY}),
        a.obs.__setitem__("in_tissue", np.arange(64) % 2),
    ),
    "no coordinates": lambda a: a.obsm.pop("spatial"),
    "spatial is a table": lambda a: a.uns.update(spatial=pd.DataFrame({"x": [1.0]})),
}


@pytest.mark.parametrize("change", ONE.values(), ids=ONE)
def test_one_section_is_one(change) -> None:
    adata = tiny_slice()
    change(adata)
    assert sections_of(adata) is None


def test_no_edge_runs_between_sections() -> None:
    adata = joint()
    result = integrate({"A": adata}, settings=QUICK)
    assert result.obs["slice"].cat.categories.tolist() == ["A S1", "A S2"]
    graph = result.obsp["spatial_connectivities"].tocoo()
    sample = result.obs["sample"].to_numpy()
    assert (sample[graph.row] == sample[graph.col]).all()
    assert "--slice-key sample" in " ".join(result.uns["staligner"]["notes"])
    assert "staligner_notes" not in adata.uns


# -- spots without a value of the key ------------------------------------------------------------

MISSING = {
    "Int64": pd.array([None] * 5 + [0] * 59 + [1] * 64, dtype="Int64"),
    "float": np.array([np.nan] * 5 + [0.0] * 59 + [1.0] * 64),
    "category": pd.Categorical([None] * 5 + ["0"] * 59 + ["1"] * 64),
    "category of floats": pd.Categorical([np.nan] * 5 + [0.0] * 59 + [1.0] * 64),
    "objects": np.array([None] * 5 + ["0"] * 59 + ["1"] * 64, dtype=object),
    "mixed": np.array([None] * 5 + [0] * 59 + ["1"] * 64, dtype=object),
    "text nan": np.array(["nan"] * 5 + ["0"] * 59 + ["1"] * 64),
    "text NA": np.array(["NA"] * 5 + ["0"] * 59 + ["1"] * 64),
    "empty text": np.array([""] * 5 + ["0"] * 59 + ["1"] * 64),
    "boolean": pd.array([None] * 5 + [False] * 59 + [True] * 64, dtype="boolean"),
}


@pytest.mark.parametrize("values", MISSING.values(), ids=MISSING)
def test_spots_without_a_value_are_counted_and_left_out(values: object, request) -> None:
    adata = joint()
    adata.obs["id"] = values
    parts = split_by("file", adata, "id")
    names = ["False", "True"] if "boolean" in request.node.name else ["0", "1"]
    assert [name for name, _ in parts] == names
    assert [part.n_obs for _, part in parts] == [59, 64]
    (note,) = notes_of(*parts[0])
    assert "5 spots of 'file' have no value in obs['id']" in note


@pytest.mark.parametrize("empty", [np.nan, "nan", ""], ids=["NaN", "text", "empty"])
def test_a_key_without_any_value_is_refused(empty: object) -> None:
    adata = joint()
    adata.obs["id"] = empty
    with pytest.raises(InputError, match=r"obs\['id'\] is empty"):
        split_by("file", adata, "id")


def test_slices_come_in_the_order_of_numbers() -> None:
    adata = joint(n=3)
    adata.obs["id"] = np.repeat([10, 9, 2], 64)
    assert [name for name, _ in split_by("file", adata, "id")] == ["2", "9", "10"]


def test_lists_in_columns_are_in_nobodys_way() -> None:
    slices = [(name, adata.copy()) for name, adata in tiny_pair()]
    for _, adata in slices:
        adata.obs["of lists"] = [[number] for number in range(adata.n_obs)]
        adata.obs["in_tissue"] = [[1]] * adata.n_obs
        adata.var["of lists"] = [[number] for number in range(adata.n_vars)]
    first, second = (adata for _, adata in slices)
    first.obs["part"] = np.repeat(["a", "b"], 32)
    first.obsm["spatial"][32:] = first.obsm["spatial"][:32]
    found = sections_of(first)
    assert found is not None
    assert found.key == "part"
    assert not off_tissue(first.obs)[0].any()
    second.var_names = second.var_names.str.upper()
    (_, (_, matched)), _ = with_matched_genes(slices)
    assert matched.var_names.equals(first.var_names)
