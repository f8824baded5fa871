"""What colour the spots have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fakes import COLORS, fake_result, fake_session
from scipy.sparse import csr_matrix

from napari_staligner import _keys as K
from napari_staligner.core.palette import categorical_colors, to_rgba
from napari_staligner.layers import legend
from napari_staligner.layers.colors import DIMMED, NO_VALUE, paint
from napari_staligner.session import ColorBy, Scale, Session


@pytest.fixture
def loaded() -> Session:
    """Return a session with two slices, not integrated."""
    session = Session()
    session.add(fake_result()[0])
    return session


def rgba(color):
    return pytest.approx(tuple(to_rgba([color])[0]))


def test_colours_of_a_palette_differ():
    assert len(set(categorical_colors(32))) == 32
    assert len(categorical_colors(100)) == 100
    assert categorical_colors(5) == categorical_colors(9)[:5]


def test_colours_are_read_whatever_way_they_are_written():
    found = to_rgba(["#ff0000", "red", "#ff000080", "no colour"])
    assert found[0].tolist() == found[1].tolist() == [1, 0, 0, 1]
    assert found[2, 3] == pytest.approx(128 / 255)
    assert found[3].tolist() == pytest.approx([0.6, 0.6, 0.6, 1])


def test_slices_have_a_colour_each(loaded):
    found = legend(loaded)
    assert [name for name, _ in found.entries] == ["slice1", "slice2"]
    painted = paint(loaded).rgba
    assert (painted["slice1"] == painted["slice1"][0]).all()
    assert painted["slice1"][0].tolist() != painted["slice2"][0].tolist()


def test_a_category_has_one_colour_in_all_slices_whatever_its_code(loaded):
    second = loaded.slices["slice2"].obs
    second["region"] = second["region"].cat.reorder_categories(["lower", "upper"])
    loaded.view.color_by = ColorBy("obs", "region")
    painting = paint(loaded)
    colors = dict(painting.legend.entries)
    for name, adata in loaded.slices.items():
        for spot, region in zip(painting.rgba[name], adata.obs["region"], strict=True):
            assert spot == pytest.approx(colors[region])


def test_recorded_colours_are_used(loaded):
    loaded.slices["slice1"].uns["region_colors"] = ["#123456", "gold"]
    loaded.view.color_by = ColorBy("obs", "region")
    colors = dict(legend(loaded).entries)
    assert colors["upper"] == rgba("#123456")
    assert colors["lower"] == rgba("gold")


def test_recorded_colours_of_another_number_are_not_used(loaded):
    loaded.slices["slice1"].uns["region_colors"] = ["#123456"]
    loaded.view.color_by = ColorBy("obs", "region")
    assert legend(loaded).entries[0][1] == rgba(categorical_colors(1)[0])


SETS = {"slice1": ["a", "b"], "slice2": ["c", "d"]}


@pytest.mark.parametrize(
    "colors",
    [
        {"slice1": ["#1f77b4", "#ff7f0e"], "slice2": ["#1f77b4", "#ff7f0e"]},
        {"slice1": ["#ff0000", "blue"], "slice2": [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)]},
        {"slice1": np.array(["#0072b2", "#e69f00"], object), "slice2": ["#0072b2ff", "#e69f00"]},
        {"slice1": ["#0072b2", "#e69f00"], "slice2": np.eye(3)[:2]},
        {"slice1": ["#0072b2", "#e69f00"]},
        {"slice2": ["#0072b2", "#e69f00", "#009e73"]},
        {"slice1": ["#0072b2"], "slice2": ["#e69f00", "#0072b2"]},
        {"slice1": ["#0072b2", "no colour"], "slice2": ["#0072b2", "#e69f00"]},
        {"slice1": {"a": "#0072b2", "b": "#e69f00"}, "slice2": ["#0072b2", "#009e73"]},
        {"slice1": ["#0072b2", None]},
        {},
    ],
)
@pytest.mark.parametrize("integrated", [False, True])
def test_categories_that_slices_do_not_share_differ_in_colour(colors, integrated):
    slices, result = fake_result()
    for name, adata in slices:
        of_spot = np.array(SETS[name])[np.arange(adata.n_obs) % 2]
        adata.obs["ct"] = pd.Categorical(of_spot)
        if name in colors:
            adata.uns["ct_colors"] = colors[name]
    session = Session()
    session.add(slices)
    if integrated:
        both = [adata.obs["ct"].astype(str) for _, adata in slices]
        result.obs["ct"] = pd.Categorical(np.concatenate(both))
        session.set_result(result)
    session.view.color_by = ColorBy("obs", "ct")
    found = dict(legend(session).entries)
    assert list(found) == ["a", "b", "c", "d"]
    assert len(set(found.values())) == 4
    first = colors.get("slice1", colors.get("slice2"))
    if isinstance(first, list) and len(first) > 1:
        assert found["a" if "slice1" in colors else "c"] == rgba(first[0])


def test_a_category_that_slices_share_keeps_its_colour_and_new_ones_look_different():
    slices, _ = fake_result()
    for (_, adata), names in zip(slices, (["a", "b"], ["b", "c"]), strict=True):
        adata.obs["ct"] = pd.Categorical(np.array(names)[np.arange(adata.n_obs) % 2])
        adata.uns["ct_colors"] = ["#1f77b4", "#ff7f0e"]
    session = Session()
    session.add(slices)
    session.view.color_by = ColorBy("obs", "ct")
    found = dict(legend(session).entries)
    assert found["a"] == rgba("#1f77b4")
    assert found["b"] == rgba("#ff7f0e")
    # Not #0072b2 nor #e69f00, which look like those.
    assert found["c"] == rgba("#009e73")


def test_what_one_slice_gives_one_colour_keeps_it(loaded):
    for adata in loaded.slices.values():
        adata.uns["region_colors"] = ["#123456", "#123456"]
    loaded.color_by = ColorBy("obs", "region")
    assert {color for _, color in legend(loaded).entries} == {tuple(to_rgba(["#123456"])[0])}


def test_domains_have_the_colours_of_the_session():
    session = fake_session()
    assert legend(session).entries[1] == ("2", rgba(COLORS[1]))
    session.domains.recolor("2", "#abcdef")
    session.domains.rename("2", "two")
    assert legend(session).entries[1] == ("two", rgba("#abcdef"))
    domains = session.result.adata.obs[K.DOMAIN].iloc[session.result.rows("slice2")]
    painted = paint(session).rgba["slice2"][(domains == "two").to_numpy()]
    assert painted == rgba("#abcdef") or np.allclose(painted, to_rgba(["#abcdef"]))


def test_the_result_wins_over_the_slice():
    session = fake_session()
    session.result.adata.obs["region"] = pd.Categorical(["new"] * session.result.adata.n_obs)
    session.view.color_by = ColorBy("obs", "region")
    assert [name for name, _ in legend(session).entries] == ["new"]


def test_no_value_is_grey(loaded):
    obs = loaded.slices["slice1"].obs
    obs.loc[obs.index[3], "region"] = np.nan
    obs.loc[obs.index[4], "depth"] = np.nan
    del loaded.slices["slice2"].obs["region"]
    loaded.view.color_by = ColorBy("obs", "region")
    painted = paint(loaded).rgba
    assert painted["slice1"][3] == pytest.approx(NO_VALUE)
    assert np.allclose(painted["slice2"], NO_VALUE)
    loaded.view.color_by = ColorBy("obs", "depth")
    assert paint(loaded).rgba["slice1"][4] == pytest.approx(NO_VALUE)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a", None], {"a", "b"}),
        ([True, False, True], {"True", "False"}),
        (pd.Categorical([3, 1, 3]), {"3", "1"}),
    ],
)
def test_names_in_any_type_are_categories(loaded, values, expected):
    for adata in loaded.slices.values():
        column = np.resize(np.array(values, dtype=object), adata.n_obs)
        dtype = bool if values[0] is True else object
        adata.obs["names"] = (
            pd.Categorical(column) if isinstance(values, pd.Categorical) else column.astype(dtype)
        )
    loaded.view.color_by = ColorBy("obs", "names")
    assert {name for name, _ in legend(loaded).entries} == expected


def test_numbers_share_their_limits_over_slices(loaded):
    loaded.slices["slice2"].obs["depth"] += 100
    loaded.view.color_by = ColorBy("obs", "depth")
    painting = paint(loaded)
    both = np.concatenate([a.obs["depth"] for a in loaded.slices.values()])
    assert painting.legend.limits == pytest.approx(tuple(np.percentile(both, [1, 99])))
    assert painting.legend.colormap == "viridis"
    # viridis goes from violet to yellow
    assert painting.rgba["slice1"][0, 2] > painting.rgba["slice1"][0, 1]
    assert painting.rgba["slice2"][-1, 1] > painting.rgba["slice2"][-1, 2]


def test_numbers_and_names_in_one_column_are_names(loaded):
    loaded.slices["slice1"].obs["mixed"] = 1.0
    loaded.slices["slice2"].obs["mixed"] = "x"
    loaded.view.color_by = ColorBy("obs", "mixed")
    assert [name for name, _ in legend(loaded).entries] == ["1", "x"]


def test_counts_of_a_gene_are_normalised(loaded):
    loaded.view.color_by = ColorBy("gene", "gene3")
    adata = loaded.slices["slice1"]
    totals = np.asarray(adata.X.sum(axis=1)).ravel()
    expected = np.log1p(adata.X[:, [3]].toarray().ravel() / totals * 1e4)
    np.testing.assert_allclose(paint(loaded).values["slice1"], expected, rtol=1e-6)


@pytest.mark.parametrize("dense", [True, False])
def test_a_gene_that_is_not_counts_is_shown_as_it_is(loaded, dense):
    for adata in loaded.slices.values():
        adata.X = adata.X * np.float32(0.3)
        adata.X = adata.X.toarray() if dense else adata.X
    loaded.view.color_by = ColorBy("gene", "gene3")
    adata = loaded.slices["slice2"]
    column = np.asarray(adata[:, "gene3"].to_df()).ravel()
    np.testing.assert_allclose(paint(loaded).values["slice2"], column)


def test_a_gene_that_one_slice_lacks_is_grey_there(loaded):
    loaded.slices["slice2"].var_names = [f"other{i}" for i in range(20)]
    loaded.view.color_by = ColorBy("gene", "gene3")
    painting = paint(loaded)
    assert np.allclose(painting.rgba["slice2"], NO_VALUE)
    assert "slice2" not in painting.values


def test_the_logarithm_of_counts_may_be_left_out(loaded):
    loaded.view.color_by = ColorBy("gene", "gene3")
    logged = paint(loaded)
    assert logged.legend.log
    assert logged.legend.unit == "log1p of counts per 10,000"
    loaded.view.scale = Scale(log=False)
    plain = paint(loaded)
    assert plain.legend.unit == "counts per 10,000"
    np.testing.assert_allclose(np.expm1(logged.values["slice1"]), plain.values["slice1"])


def test_the_logarithm_of_a_column_is_taken_if_asked_and_possible(loaded):
    loaded.view.color_by, loaded.view.scale = ColorBy("obs", "depth"), Scale(log=True)
    depth = loaded.slices["slice1"].obs["depth"].to_numpy(copy=True)
    np.testing.assert_allclose(paint(loaded).values["slice1"], np.log1p(depth))
    loaded.slices["slice1"].obs["depth"] -= 50
    assert not paint(loaded).legend.log
    np.testing.assert_allclose(paint(loaded).values["slice1"], depth - 50)


def test_the_scale_sets_percentiles_and_colormap(loaded):
    loaded.view.color_by, loaded.view.scale = (
        ColorBy("obs", "depth"),
        Scale((10, 50), colormap="gray"),
    )
    painting = paint(loaded)
    both = np.concatenate([a.obs["depth"] for a in loaded.slices.values()])
    assert painting.legend.limits == pytest.approx(tuple(np.percentile(both, [10, 50])))
    assert painting.legend.colormap == "gray"
    depth, gray = loaded.slices["slice1"].obs["depth"].to_numpy(), painting.rgba["slice1"]
    assert gray[depth > painting.legend.limits[1]] == pytest.approx(1)
    assert gray[0] == pytest.approx([0, 0, 0, 1])


def test_what_is_signed_has_zero_in_the_middle_of_its_colours(loaded):
    for sign, adata in zip((-1, 3), loaded.slices.values(), strict=True):
        adata.obs[K.AREA_CHANGE] = sign * np.linspace(0, 1, adata.n_obs)
    loaded.view.color_by = ColorBy("obs", K.AREA_CHANGE)
    loaded.view.scale = Scale(percentiles=(0.0, 100.0))
    painting = paint(loaded)
    assert painting.legend.limits == (-3, 3)
    middle, shrunk, grown = (
        painting.rgba[n][i] for n, i in (("slice1", 0), ("slice1", -1), ("slice2", -1))
    )
    assert np.ptp(middle[:3]) < 0.02
    assert shrunk[2] > shrunk[0]
    assert grown[0] > grown[2]
    loaded.view.scale = Scale(percentiles=(0.0, 100.0), colormap="magma")
    assert paint(loaded).legend.colormap == "magma"


def test_a_component_is_of_the_result_where_it_has_the_array(loaded):
    _, result = fake_result()
    loaded.set_result(result)
    loaded.view.color_by = ColorBy("obsm", K.EMBEDDING, 4)
    painting = paint(loaded)
    assert painting.legend.title == "STAligner 5"
    z = np.concatenate(list(painting.values.values()))
    np.testing.assert_allclose(z, result.obsm[K.EMBEDDING][:, 4])


@pytest.mark.parametrize("kind", ["array", "table", "sparse"])
def test_a_component_of_a_slice_may_come_in_any_form(loaded, kind):
    adata = loaded.slices["slice1"]
    array = np.arange(3.0 * adata.n_obs).reshape(-1, 3)
    adata.obsm["X_pca"] = {
        "array": array,
        "table": pd.DataFrame(array, index=adata.obs_names),
        "sparse": csr_matrix(array),
    }[kind]
    loaded.view.color_by = ColorBy("obsm", "X_pca", 2)
    painting = paint(loaded)
    np.testing.assert_array_equal(painting.values["slice1"], array[:, 2])
    assert "slice2" not in painting.values
    loaded.view.color_by = ColorBy("obsm", "X_pca", 3)
    assert paint(loaded).values == {}


@pytest.mark.parametrize("figure", ["self", "entropy"])
def test_attention_is_a_scale(figure):
    session = fake_session()
    session.view.color_by = ColorBy("attention", figure)
    painting = paint(session)
    assert painting.legend.colormap == "viridis"
    low, high = painting.legend.limits
    assert 0 <= low < high <= 1


def test_attention_without_any_is_grey():
    session = fake_session()
    del session.result.adata.obsp[K.ATTENTION]
    session.view.color_by = ColorBy("attention", "self")
    assert np.allclose(paint(session).rgba["slice1"], NO_VALUE)


def test_isolated_domains_stand_out():
    session = fake_session()
    every = paint(session).rgba["slice1"]
    session.view.isolated = ["2", "3"]
    some = paint(session).rgba["slice1"]
    domains = session.result.adata.obs[K.DOMAIN].iloc[session.result.rows("slice1")]
    shown = domains.isin(["2", "3"]).to_numpy()
    np.testing.assert_array_equal(some[shown], every[shown])
    assert np.allclose(some[~shown], DIMMED)


def test_the_selection_stands_out_within_what_is_isolated():
    session = fake_session()
    every = paint(session).rgba
    session.result.selection = np.array([70, 3, 3, 61])
    assert session.result.selection.tolist() == [3, 61, 70]
    some = paint(session).rgba
    first, second = np.zeros(60, bool), np.zeros(50, bool)
    first[3], second[[1, 10]] = True, True
    for name, shown in (("slice1", first), ("slice2", second)):
        np.testing.assert_array_equal(some[name][shown], every[name][shown])
        assert np.allclose(some[name][~shown], DIMMED)
    session.view.isolated = {"1"}  # the lower quarter of each slice
    assert np.allclose(paint(session).rgba["slice1"][3], every["slice1"][3])
    session.view.isolated = {"4"}
    assert np.allclose(paint(session).rgba["slice1"], DIMMED)


def test_a_selection_goes_with_its_result():
    session = fake_session()
    session.result.selection = np.array([1])
    session.slices.clear()
    assert len(session.result.selection) == 0
    session.result.selection = np.array([1])
    assert len(session.result.selection) == 0


def test_layers_are_recoloured_in_place(shown):
    layer = shown.layer("slice1")
    shown.session.set_result(shown.result)
    np.testing.assert_allclose(layer.face_color, paint(shown.session).rgba["slice1"])
    for by in (ColorBy("gene", "gene1"), ColorBy("obs", "region"), ColorBy("obs", "depth")):
        shown.session.view.color_by = by
        assert shown.layer("slice1") is layer
        np.testing.assert_allclose(layer.face_color, paint(shown.session).rgba["slice1"])
    shown.session.view.isolated = ["1"]
    assert (layer.face_color[:, 3] < 0.3).any()


def test_layers_are_coloured_only_when_the_session_says_so(shown):
    layer = shown.layer("slice1")
    before = layer.face_color.copy()
    shown.slices[0][1].obs["region"] = "other"
    shown.viewer.reset_view()
    np.testing.assert_array_equal(layer.face_color, before)
