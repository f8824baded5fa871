"""The report: its page is read by a parser, its pictures by matplotlib."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from fakes import fake_result
from matplotlib.image import imread
from typer.testing import CliRunner

from napari_staligner import _keys as K
from napari_staligner.cli.app import app
from napari_staligner.core.evaluation.evaluation import Evaluation, Figures, evaluate
from napari_staligner.core.evaluation.metrics import METRICS
from napari_staligner.core.evaluation.umap import Umap
from napari_staligner.core.progress import Progress, finish
from napari_staligner.core.result.verdicts import add_verdict
from napari_staligner.io.h5ad import write_result
from napari_staligner.report.report import report_job, report_steps


class Page(HTMLParser):
    """Pictures, rows of tables, links and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: dict[str, str] = {}
        self.rows: list[list[str]] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag == "img":
            self.pictures[found["alt"]] = found["src"]
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True
        elif self._in_cell:
            self.rows[-1][-1] += " "

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        self.text += data
        if self._in_cell:
            self.rows[-1][-1] += data

    def row(self, start):
        (found,) = (r for r in self.rows if r and r[0].strip() == start)
        return [" ".join(cell.split()) for cell in found]

    def pixels(self, alt):
        kind, _, data = self.pictures[alt].partition(",")
        assert kind == "data:image/png;base64"
        return imread(BytesIO(base64.b64decode(data)), format="png")


@pytest.fixture(scope="module")
def figures():
    """Return figures of the fake result, which all pages may show."""
    return evaluate(fake_result()[1], "region")


@pytest.fixture
def adata():
    return fake_result()[1]


@pytest.fixture
def page_of(figures):
    return lambda adata, title="bulb.h5ad": finish(report_steps(report_job(adata, title, figures)))


def test_the_page_needs_nothing_but_itself(adata, page_of):
    text = page_of(adata)
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    addresses = [v for _, found in page.tags for k, v in found.items() if k in ("src", "href")]
    assert addresses
    assert all(re.match(r"data:image/png;base64,|#[\w-]+$", address) for address in addresses)
    assert not re.search(r"https?:|url\(", text)
    assert "default-src 'none'" in text


def test_pictures_show_domains_and_confidence_of_each_slice(adata, page_of):
    page = Page(page_of(adata))
    for name in ("slice1", "slice2"):
        assert f"Domains of slice {name}" in page.pictures
        assert f"Confidence of slice {name}" in page.pictures
    pixels = page.pixels("Domains of slice slice1")[..., :3].reshape(-1, 3)
    for color in adata.uns[K.DOMAIN_COLORS]:
        rgb = np.frombuffer(bytes.fromhex(color[1:]), np.uint8) / 255
        assert (np.abs(pixels - rgb).max(axis=1) < 0.01).mean() > 0.05
    assert page.pixels("Overall figures of the embeddings").std() > 0.01


def test_spots_lie_as_on_the_canvas_y_downwards(adata, page_of):
    """Domains are bands along y: the first one lies on top."""
    pixels = Page(page_of(adata)).pixels("Domains of slice slice1")[..., :3]
    first = np.frombuffer(bytes.fromhex(adata.uns[K.DOMAIN_COLORS][0][1:]), np.uint8) / 255
    rows = np.flatnonzero((np.abs(pixels - first).max(axis=2) < 0.01).any(axis=1))
    assert rows.max() < 0.5 * len(pixels)


def test_tables_hold_the_figures_and_mark_the_better(adata, figures, page_of):
    page = Page(page_of(adata))
    before, after = figures.figures[K.PCA].overall, figures.figures[K.EMBEDDING].overall
    for key in ("ilisi", "clisi", "chaos", "pas", "ari"):
        arrow = "↑" if METRICS[key].higher_is_better else "↓"
        _, first, second = page.row(f"{METRICS[key].title} {arrow}")
        assert first == f"{before[key]:.3f}"
        mark = {1: " ✓", 0: "", -1: " ✗"}[METRICS[key].compare(after[key], before[key])]
        assert second == f"{after[key]:.3f}{mark}"
    assert {METRICS[k].compare(after[k], before[k]) for k in ("clisi", "ari")} == {1}
    assert "slice1 – slice2" in page.text
    assert "Compared with obs region" in page.text


def test_presence_names_what_lies_in_one_slice_only():
    _, adata = fake_result((900, 900))
    other = (adata.obs[K.SLICE] == "slice2") & (adata.obs[K.DOMAIN] == "4")
    adata.obs.loc[other, K.DOMAIN] = "3"
    codes = adata.obs[K.DOMAIN].cat.codes.to_numpy()
    figures = Evaluation({K.EMBEDDING: Figures({"ilisi": 0.5}, {}, {}, codes)}, {}, None, ())
    row = Page(finish(report_steps(report_job(adata, "x", figures)))).row("4")
    assert row[1] == "225 · 25.0 % confidence 0.59 slice-specific".replace(
        "0.59", f"{adata.obs.loc[adata.obs[K.DOMAIN] == '4', K.CONFIDENCE].mean():.2f}"
    )
    assert row[2].startswith("0 · 0.0 %")
    assert row[2].endswith(("depleted", "unclear"))


def test_labels_and_embeddings_stand_side_by_side_in_colours_that_compare(adata, page_of):
    plane = np.random.default_rng(0).normal(size=(adata.n_obs, 2)).astype(np.float32)
    adata.obsm[K.UMAP] = plane
    page = Page(page_of(adata))
    for title in ("obs: region", "PCA, not integrated", "STAligner"):
        for name in ("slice1", "slice2"):
            assert f"{title} on slice {name}" in page.pictures
    # Only what has a UMAP shows one; none is computed unless it is asked for.
    drawn = {alt for alt in page.pictures if alt.startswith("UMAP")}
    assert drawn == {"UMAP of STAligner by slice", "UMAP of STAligner by domain"}
    pixels = page.pixels("STAligner on slice slice1")[..., :3].reshape(-1, 3)
    for color in adata.uns[K.DOMAIN_COLORS]:
        rgb = np.frombuffer(bytes.fromhex(color[1:]), np.uint8) / 255
        assert (np.abs(pixels - rgb).max(axis=1) < 0.01).mean() > 0.05


def test_umaps_that_are_missing_are_computed_if_wanted(adata, figures, monkeypatch):
    asked = {}

    def planes(job):
        asked.update(job.embeddings)
        yield Progress("UMAP", 1, 1)
        return Umap({key: z[:, :2] for key, z in job.embeddings.items()}, {})

    monkeypatch.setattr("napari_staligner.report.comparison.umap_steps", planes)
    adata.obsm[K.UMAP] = adata.obsm[K.EMBEDDING][:, :2]
    page = Page(finish(report_steps(report_job(adata, "x", figures, compute_umaps=True))))
    # The figures computed the principal components, and the file lacks them.
    assert list(asked) == ["X_umap_pca"]
    np.testing.assert_array_equal(asked["X_umap_pca"], figures.computed[K.PCA])
    assert "UMAP of PCA, not integrated by slice" in page.pictures


def test_verdicts_are_listed_and_are_text_never_markup(adata, page_of):
    add_verdict(adata, "partly", domain="2", note="<script>alert('x')</script> & so on", who="Ada")
    text = page_of(adata, title="<b>bulb</b>")
    page = Page(text)
    row = page.row("domain 2, all slices")
    assert row[1:4] == ["~ partly", "<script>alert('x')</script> & so on", "Ada"]
    assert row[4].endswith("UTC")
    assert "<script" not in text
    assert "<b>bulb" not in text
    adata.obs[K.DOMAIN] = adata.obs[K.DOMAIN].cat.rename_categories({"2": "new"})
    assert "about other domains than those shown here" in Page(page_of(adata)).text


def test_parameters_and_versions_are_named(adata, page_of):
    page = Page(page_of(adata))
    assert page.row("seed") == ["seed", "666"]
    assert page.row("integrated by")[1] == "napari-staligner 0.1.0"
    assert re.search(r"torch \d+\.\d+", page.text)


def test_a_file_without_domains_confidence_and_images_is_reported_too(adata, page_of):
    del (
        adata.obs[K.DOMAIN],
        adata.obs[K.CONFIDENCE],
        adata.uns[K.SPATIAL],
        adata.uns["domain_colors"],
    )
    page = Page(page_of(adata))
    assert "The file has no domains." in page.text
    assert "The file has no confidence of its spots." in page.text
    assert "Domains of slice slice2" in page.pictures
    assert "No verdict has been given." in page.text


# --- from the shell


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_shell_writes_the_page(adata, tmp_path, run):
    source, target = write_result(adata, tmp_path / "out.h5ad"), tmp_path / "report.html"
    done = run(source, "-o", target, "--labels", "region", "--no-umap")
    assert done.exit_code == 0, done.output
    assert str(target) in done.stdout.replace("\n", "")
    page = Page(target.read_text(encoding="utf-8"))
    assert "Alignment of out.h5ad" in page.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5ad", "report.html"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.h5ad", "-o", "report.html"], "There is no file"),
        (["slice.h5ad", "-o", "report.html"], "holds no integrated slices"),
        (["out.h5ad", "-o", "gone/report.html"], "does not exist: make it first"),
        (["out.h5ad", "-o", "report.html", "--labels", "nothing"], "no obs['nothing']"),
        (["out.h5ad", "-o", "report.html", "--embedding", "Z"], "obsm['Z'] is not in the file"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    adata, tmp_path, monkeypatch, run, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    write_result(adata, tmp_path / "out.h5ad")
    fake_result()[0][0][1].write_h5ad(tmp_path / "slice.h5ad")
    done = run(*arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr.replace("\n", "")
    assert done.stderr.count("Error:") == 1
    assert not (tmp_path / "report.html").exists()
