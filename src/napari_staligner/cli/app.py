"""The shell: integrate, evaluate, report, profile, register, annotations, export and others."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.cli.console import errors as _errors
from napari_staligner.cli.console import escaped as _escape
from napari_staligner.cli.console import output as _output
from napari_staligner.cli.console import sentences as _sentences
from napari_staligner.cli.jobs import job_app
from napari_staligner.cli.options import PANEL, help_of, others, with_settings
from napari_staligner.cli.sample import sample_command
from napari_staligner.cli.tables import (
    agreement_lines,
    class_table,
    domain_table,
    figure_tables,
    number_table,
    overlap_tables,
    residual_table,
    result_table,
    show,
    slice_table,
    trust_table,
)
from napari_staligner.core.freed import keep_little
from napari_staligner.core.registration.choice import Choice, Model
from napari_staligner.core.settings import PRESETS, SETTINGS, Settings
from napari_staligner.io.export.targets import TARGETS
from napari_staligner.threads import share_cores

if TYPE_CHECKING:
    from anndata import AnnData
    from rich.console import Console

    from napari_staligner.core.progress import Progress, Steps, T

app = typer.Typer(
    name="napari-staligner",
    help="Integrate slices of spatial transcriptomics with STAligner, and look at the result.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Preset = StrEnum("Preset", {name.replace("-", "_"): name for name in PRESETS})  # type: ignore[misc]
Named = StrEnum("Named", {name: name for name in SETTINGS})  # type: ignore[misc]
Handed = StrEnum("Handed", {name: name for name in TARGETS})  # type: ignore[misc]
Coordinates = StrEnum("Coordinates", {name: name for name in ("spots", "image")})  # type: ignore[misc]

DEFAULT = "default"
"""Name of our default settings."""


@app.callback()
def _begin() -> None:
    share_cores()
    keep_little()


@app.command("integrate")
@with_settings(Settings)
def integrate_files(
    slices: Annotated[
        list[str],
        typer.Argument(
            help="Slices: .h5ad, .zarr, and files and folders written by instruments (see "
            "docs/formats.md), FILE\\[SLICE] or FILE\\[COLUMN=VALUE] for one of several in a file, "
            "FILE\\[counts=LAYER] for the layer with its counts, or sample:Slide-seqV2 and "
            "sample:Stereo-seq, which are simulated.",
            metavar="SLICE...",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the result goes, .h5ad.")],
    slice_key: Annotated[
        str | None, typer.Option(help="Column of obs that names the slices of one file.")
    ] = None,
    counts_layer: Annotated[
        list[str] | None, typer.Option("--counts-layer", **help_of("counts_layer", Settings))
    ] = None,
    settings: Annotated[
        Named | None,
        typer.Option(help="Our method and schedule, or the paper's.", show_default=DEFAULT),
    ] = None,
    preset: Annotated[Preset | None, typer.Option(help="Settings that suit a technology.")] = None,
    chain: Annotated[
        bool, typer.Option("--chain", help="Align each slice with the next only (serial sections).")
    ] = False,
    pair: Annotated[list[str] | None, typer.Option("--pair", **help_of("pairs", Settings))] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(
            help="Leave out folds and tears: regions of the class 'exclude' in a .geojson, or what "
            "a result (.h5ad) left out. A column 'excluded' of obs does the same.",
            metavar="REGIONS",
        ),
    ] = None,
    set_also: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help=f"Any of the settings, also {others(Settings)}; can be repeated.",
            metavar="NAME=VALUE",
            rich_help_panel=PANEL,
        ),
    ] = None,
    **options: Any,
) -> None:
    """Integrate slices and write one .h5ad with embedding, domains and attention."""
    with _sentences():
        from napari_staligner.cli.choosing import chosen_settings

        chosen = chosen_settings(settings, preset, counts_layer, set_also, options)
        _integrate(slices, output, slice_key, chosen, chain, pair, exclude)


def _integrate(
    paths: list[str],
    output: Path,
    slice_key: str | None,
    settings: Settings,
    chain: bool,
    pairs: list[str] | None,
    regions: Path | None,
) -> None:
    from napari_staligner.cli.choosing import paired
    from napari_staligner.core.integrate import integrate_steps
    from napari_staligner.io.excluded import exclude
    from napari_staligner.io.h5ad import check_result_target, read_slices

    check_result_target(output)
    slices = read_slices(paths, slice_key=slice_key, backed=True)
    settings = paired(settings, [name for name, _ in slices], chain=chain, pairs=pairs)
    slices = slices if regions is None else exclude(slices, regions)
    result = _with_bar(integrate_steps(slices, settings))
    written = _write(result, output)
    console = _output()
    _show_domains(console, result)
    console.print(f"Written to {_escape(str(written))}", soft_wrap=True)


def _target(file: Path, output: Path | None) -> Path:
    """Where a result goes that was read from a file."""
    from napari_staligner.io.sources import parse_source

    if output is None and parse_source(str(file)).choices:
        raise InputError(f"{str(file)!r} chooses of a file: say with --output where it goes.")
    return output or file


def _result_in(file: Path, *, written_back: bool = False) -> AnnData:
    """Read integrated slices; ``written_back`` where the file is to hold what is made of them."""
    from napari_staligner.core.result.provenance import source_of
    from napari_staligner.io.h5ad import read_any

    content = read_any(file)
    if content[0] == "result":
        return content[1]
    if content[0] == "finished":
        if written_back:
            raise InputError(
                f"{str(file)!r} is a result of another program, which stays as it is: say with "
                "--output where what is made of it goes."
            )
        from napari_staligner.core.adopt import adopt_steps

        return _with_bar(adopt_steps(*content[1]))
    message = f"{str(file)!r} holds no integrated slices"
    source = source_of(content[1][0][1])
    if len(content[1]) > 1 and source is not None and source.choices:
        key = list(source.choices)[-1]
        message += f", but several sections: integrate it first, with --slice-key {key}."
    else:
        message += ": integrate them first."
    raise InputError(message)


def _write(result: AnnData, target: Path) -> Path:
    """Write a result; if writing to the target fails, it is not lost."""
    from napari_staligner.io.elsewhere import write_somewhere

    written, problem = write_somewhere(result, target)
    if problem:
        _warn(problem)
    return written


def _show_domains(console: Console, result: Any) -> None:
    if K.DOMAIN in result.obs:
        show(console, domain_table(result))


def _warn(sentence: str) -> None:
    _errors().print(f"[bold yellow]Warning:[/] {_escape(sentence)}", soft_wrap=True)


def _with_bar(steps: Steps[T], lost: list[str] | None = None) -> T:
    """Run a computation with a progress bar on stderr; what failed is appended to ``lost``."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from napari_staligner.core.progress import finish

    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=_errors(), transient=True) as bar:
        task = bar.add_task("start", total=None)

        def say(step: Progress) -> None:
            what = step.stage if step.loss is None else f"{step.stage}, epoch {step.loss.epoch}"
            bar.update(task, description=what, completed=step.done, total=step.total)
            if step.outlook:
                bar.console.print(_escape(step.outlook), soft_wrap=True)
            if step.lost:
                if lost is not None:
                    lost.append(step.lost)
                bar.console.print(f"[bold yellow]Warning:[/] {_escape(step.lost)}", soft_wrap=True)
            if step.note:
                bar.console.print(f"[yellow]Note:[/] {_escape(step.note)}", soft_wrap=True)

        return finish(steps, say)


@app.command("complete")
def complete_result(
    result: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.", metavar="OUT.h5ad")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where the result goes. [default: the same file]"),
    ] = None,
) -> None:
    """Compute what a result lacks: confidence, domains, their presence, registration."""
    with _sentences():
        _complete(result, output)


def _complete(source: Path, output: Path | None) -> None:
    from napari_staligner.core.stages import record_completed, stage_steps, stages_job
    from napari_staligner.io.h5ad import check_result_target

    target = check_result_target(_target(source, output))
    content = _result_in(source, written_back=output is None)
    job, lost = stages_job(content), list[str]()
    console = _output()
    if not job.wanted:
        console.print(f"{_escape(source.name)} lacks nothing.", soft_wrap=True)
    staged = _with_bar(stage_steps(job), lost)
    record_completed(content, staged, job.settings, lost)
    written = _write(content, target)
    _show_domains(console, content)
    console.print(f"Written to {_escape(str(written))}", soft_wrap=True)


@app.command("evaluate")
def evaluate_result(
    file: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.", metavar="OUT.h5ad")],
    labels: Annotated[
        str | None, typer.Option(help="Column of obs to compare with.", metavar="COL")
    ] = None,
    embedding: Annotated[
        list[str] | None,
        typer.Option(
            help="Key of obsm; may be given again. X_pca, X_pca_neighbors, X_pca_harmony, "
            "X_pca_neighbors_harmony, SEDR and SEDR_harmony are computed where they are absent. "
            "\\[default: X_pca, STAligner]",
            metavar="KEY",
        ),
    ] = None,
    yardsticks: Annotated[
        bool, typer.Option("--yardsticks", help="Compare with all that can be computed.")
    ] = False,
    only_overlap: Annotated[
        bool,
        typer.Option("--only-overlap", help="Compare only spots where all slices have tissue."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the slices with what was computed there."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw all methods on all slices there: .png, .pdf or .svg."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file.", metavar="FILE")
    ] = None,
) -> None:
    """Compare embeddings: before and after integration, or any in the file."""
    with _sentences():
        chosen = {"yardsticks": yardsticks, "only_overlap": only_overlap}
        _evaluate(file, labels, embedding, json, output, picture, **chosen)


def _evaluate(
    file: Path,
    labels: str | None,
    embeddings: list[str] | None,
    target: Path | None,
    output: Path | None,
    picture: Path | None,
    *,
    yardsticks: bool,
    only_overlap: bool,
) -> None:
    import json
    from importlib.metadata import version

    from napari_staligner.core.evaluation import evaluation as E
    from napari_staligner.core.evaluation.baselines import Embeddings, record_embeddings
    from napari_staligner.io.atomic import check_target, write_text, written_beside
    from napari_staligner.io.h5ad import check_result_target
    from napari_staligner.report.picture import picture_form, picture_job

    for path in filter(None, (target, picture)):
        check_target(path)
    form = "" if picture is None else picture_form(picture)
    if output is not None:
        check_result_target(output)
    content = _result_in(file)
    compared = _compared(content, embeddings, yardsticks)
    job = E.evaluation_job(content, labels, compared, only_overlap=only_overlap)
    found = _with_bar(E.evaluation_steps(job))
    console = _output()
    for table in figure_tables(found):
        show(console, table)
    if picture is not None:
        drawn = _with_bar(picture_job(content, found, form).steps())
        with written_beside(picture) as draft:
            draft.write_bytes(drawn)
        console.print(f"Written to {_escape(str(picture))}", soft_wrap=True)
    if output is not None:
        record_embeddings(content, Embeddings(found.computed, found.params))
        written = _write(content, output)
        console.print(f"Written to {_escape(str(written))}", soft_wrap=True)
    if target is not None:
        made_by = {"file": file.name, "version": version("napari-staligner")}
        write_text(json.dumps(made_by | found.to_dict(), indent=2) + "\n", target)
        console.print(f"Written to {_escape(str(target))}", soft_wrap=True)


def _compared(content: AnnData, embeddings: list[str] | None, yardsticks: bool) -> tuple[str, ...]:
    """Keys of the embeddings to compare."""
    from napari_staligner.core.evaluation.baselines import beside_yardsticks
    from napari_staligner.core.evaluation.evaluation import BEFORE_AND_AFTER

    if not yardsticks:
        return tuple(embeddings or BEFORE_AND_AFTER)
    keys, left_out = beside_yardsticks(content, embeddings or ())
    for sentence in left_out:
        _warn(sentence)
    return keys


@app.command("numbers")
def compare_numbers(
    file: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.", metavar="OUT.h5ad")],
    least: Annotated[int, typer.Option(min=2, help="Fewest domains.")] = 2,
    most: Annotated[int, typer.Option(min=2, help="Most domains.")] = 15,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the halvings.")] = 666,
) -> None:
    """Tell of each number of domains how alike those are that two halves of the tissue give."""
    with _sentences():
        from napari_staligner.core.domains.number import number_job

        found = _with_bar(number_job(_result_in(file), range(least, most + 1), seed=seed).steps())
        show(_output(), number_table(found))


@app.command()
def report(
    file: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.", metavar="OUT.h5ad")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the report goes, .html.")],
    labels: Annotated[
        str | None, typer.Option(help="Column of obs to compare with.", metavar="COL")
    ] = None,
    embedding: Annotated[
        list[str] | None,
        typer.Option(help="Key of obsm, as for evaluate; can be repeated.", metavar="KEY"),
    ] = None,
    yardsticks: Annotated[
        bool, typer.Option("--yardsticks", help="Compare with all that can be computed.")
    ] = False,
    umap: Annotated[
        bool, typer.Option(help="Compute the UMAPs of embeddings that the file lacks.")
    ] = True,
) -> None:
    """Write verdicts, pictures and figures as one HTML file that opens without napari."""
    with _sentences():
        _report(file, output, labels, embedding, yardsticks=yardsticks, umap=umap)


def _report(
    source: Path,
    target: Path,
    labels: str | None,
    embeddings: list[str] | None,
    *,
    yardsticks: bool,
    umap: bool,
) -> None:
    from napari_staligner.core.evaluation.evaluation import evaluation_job
    from napari_staligner.io.atomic import check_target, write_text
    from napari_staligner.report.report import report_job, report_steps

    check_target(target)
    content = _result_in(source)
    figures = evaluation_job(content, labels, _compared(content, embeddings, yardsticks))
    job = report_job(content, source.name, figures, compute_umaps=umap)
    write_text(_with_bar(report_steps(job)), target)
    _output().print(f"Written to {_escape(str(target))}", soft_wrap=True)


@app.command()
def profile(
    file: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.", metavar="OUT.h5ad")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The curves, .csv.")],
    of: Annotated[
        str, typer.Option(help="Column of obs, gene:NAME, or attention:self.", metavar="WHAT")
    ] = K.DOMAIN,
    line: Annotated[
        str | None,
        typer.Option(help="Corners of a line in the common frame: X,Y;X,Y.", metavar="CORNERS"),
    ] = None,
    across: Annotated[
        bool, typer.Option("--across", help="Distance from the line, not along it.")
    ] = False,
    width: Annotated[
        float, typer.Option(min=0, help="Only spots this near the line, in spots; 0 for all.")
    ] = 0.0,
    rim: Annotated[
        str | None,
        typer.Option(help="Distance from the rim of a region.", metavar="COLUMN=REGION"),
    ] = None,
    of_slice: Annotated[
        str | None,
        typer.Option(help="Slice whose rim or border holds for all.", metavar="SLICE"),
    ] = None,
    smoothing: Annotated[
        float | None, typer.Option(min=0.1, help="In spots. \\[default: spans neighbours]")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="The curves, .png, .pdf or .svg.", metavar="FILE")
    ] = None,
) -> None:
    """Average what spots have along an axis; without line or rim, below the tissue's border."""
    with _sentences():
        from napari_staligner.cli.profile import axis_of, write_profile_files

        axis = axis_of(line, rim, of_slice, across=across, width=width)
        content = _result_in(file)
        written = write_profile_files(content, axis, of, smoothing, output, picture, _with_bar)
        console = _output()
        show(console, written.table)
        for path in written.paths:
            console.print(f"Written to {_escape(str(path))}", soft_wrap=True)


@app.command("register")
def register_result(
    result: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.", metavar="OUT.h5ad")],
    landmark: Annotated[
        list[str] | None,
        typer.Option(help="Domain to compare the spots of; can be repeated. \\[default: all]"),
    ] = None,
    model: Annotated[
        Model, typer.Option(help="Changes allowed besides moving, turning and mirroring.")
    ] = Model.RIGID,
    reference: Annotated[
        str | None,
        typer.Option(help="Slice that stays in place. \\[default: the first]", metavar="SLICE"),
    ] = None,
    nonrigid: Annotated[
        bool, typer.Option("--nonrigid", help="Displace the spots smoothly as a last step.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where the result goes. \\[default: the same file]"),
    ] = None,
) -> None:
    """Align integrated slices in one frame, and show how far apart they still are."""
    with _sentences():
        choice = Choice(model, tuple(landmark or ()), reference, nonrigid, seed)
        _register(result, output, choice)


def _register(source: Path, output: Path | None, choice: Choice) -> None:
    from napari_staligner.core.registration import (
        record_registration,
        register_steps,
        registration_job,
    )
    from napari_staligner.io.h5ad import check_result_target

    target = check_result_target(_target(source, output))
    content = _result_in(source, written_back=output is None)
    registered = _with_bar(register_steps(registration_job(content, choice)))
    record_registration(content, registered, choice)
    written = _write(content, target)
    console = _output()
    show(console, residual_table(content))
    show(console, trust_table(content))
    console.print(f"Written to {_escape(str(written))}", soft_wrap=True)


@app.command("overlap")
def overlap_of_result(
    result: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.", metavar="OUT.h5ad")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where the result goes. \\[default: the same file]"),
    ] = None,
) -> None:
    """Find where registered slices overlap: a column of obs, residuals and domains there."""
    with _sentences():
        from napari_staligner.core.result.overlap import overlap_job, record_overlap
        from napari_staligner.io.h5ad import check_result_target

        target = check_result_target(_target(result, output))
        content = _result_in(result, written_back=output is None)
        found = _with_bar(overlap_job(content).steps())
        record_overlap(content, found)
        written = _write(content, target)
        for table in overlap_tables(content, found):
            show(_output(), table)
        _output().print(f"Written to {_escape(str(written))}", soft_wrap=True)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A slice, an instrument's folder, or a result.")],
) -> None:
    """Show what is in a file or folder, as a table."""
    with _sentences():
        from napari_staligner.io.h5ad import read_any, slices_in

        read, console = read_any(file), _output()
        if read[0] == "result":
            console.print(result_table(file, read[1]))
            _show_domains(console, read[1])
            return
        if read[0] == "finished":
            console.print(_escape(read[1][1].said), soft_wrap=True)
        for name, adata in read[1] if read[0] == "slices" else slices_in(file.stem, read[1][0]):
            console.print(slice_table(name, adata))


app.command("sample")(sample_command(_with_bar))


@app.command("annotations")
def bring_annotations(
    file: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.")],
    export: Annotated[
        Path | None,
        typer.Option(help="Write the regions: .geojson (QuPath, TissUUmaps), .csv (Loupe), .zarr."),
    ] = None,
    read: Annotated[
        Path | None,
        typer.Option("--import", help="Import regions from .geojson or .csv into the file."),
    ] = None,
    slice_name: Annotated[
        str | None, typer.Option("--slice", help="Only this slice. \\[default: all]")
    ] = None,
    coordinates: Annotated[
        Coordinates | None, typer.Option(help="Coordinates of GeoJSON. \\[default: spots]")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            help="Column of a .csv that holds the classes. \\[default: annotation, or the only one "
            "with names]",
            metavar="COL",
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(help="The annotator. \\[default: the last one]")] = None,
) -> None:
    """Show what is annotated; import or export annotations."""
    with _sentences():
        _annotations(file, export, read, slice_name, coordinates and str(coordinates), column, by)


def _annotations(
    file: Path,
    export: Path | None,
    read: Path | None,
    slice_name: str | None,
    coordinates: Any,
    column: str | None,
    by: str | None,
) -> None:
    from napari_staligner.core.annotations.record import annotations_of, write_annotations
    from napari_staligner.io.annotations.formats import export_annotations, import_annotations
    from napari_staligner.io.h5ad import write_result
    from napari_staligner.io.recovery import find

    adata = _result_in(file, written_back=read is not None)
    made = annotations_of(adata, by)
    console = _output()
    if read is not None:
        if find(file) is not None:
            raise InputError(
                f"{str(file)!r} has unsaved edits: open it in napari first, "
                "and restore or discard them."
            )
        brought = import_annotations(
            adata, made, read, slice_name=slice_name, coordinates=coordinates, column=column
        )
        said = write_annotations(adata, made)
        write_result(adata, file)
        for note in (*brought.notes, *said):
            _errors().print(f"[yellow]Note:[/] {_escape(note)}", soft_wrap=True)
        console.print(
            f"{brought.n_changed:,} spots changed in {_escape(str(file))}", soft_wrap=True
        )
    if export is not None:
        what = export_annotations(
            adata, made, export, slice_name=slice_name, coordinates=coordinates or "spots"
        )
        console.print(f"{what} written to {_escape(str(export))}", soft_wrap=True)
    if export is None and read is None:
        table = class_table(adata, made)
        if table.rows:
            show(console, table)
        else:
            console.print(f"Nothing is annotated by {_escape(made.annotator)} yet.")
        for line in agreement_lines(made):
            console.print(_escape(line), soft_wrap=True)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.", metavar="OUT.h5ad")],
    target: Annotated[
        Path,
        typer.Argument(help="Where it goes: a file, or a folder that is made.", metavar="TARGET"),
    ],
    to: Annotated[
        Handed,
        typer.Option(
            "--to", help="; ".join(f"{key}: {each.tip}" for key, each in TARGETS.items()) + "."
        ),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what was exported there before.")
    ] = False,
) -> None:
    """Hand a result on to another program, as tables, or back into the slices' own files."""
    with _sentences():
        _export(file, str(to), target, overwrite)


def _export(source: Path, to: str, target: Path, overwrite: bool) -> None:
    from napari_staligner.io.export.targets import check_export, export_steps

    check_export(to, target, overwrite=overwrite)
    content = _result_in(source)
    said = _with_bar(export_steps(content, to, target, overwrite=overwrite))
    _output().print(f"{_escape(said)} written to {_escape(str(target))}", soft_wrap=True)


@app.command("figure")
def figure_of_result(
    file: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.", metavar="OUT.h5ad")],
    picture: Annotated[
        Path, typer.Argument(help="PNG at 300 dpi, SVG or PDF.", metavar="FIGURE.png")
    ],
    color: Annotated[str, typer.Option("--color", help="A column of obs, or a gene.")] = "domain",
    only: Annotated[
        list[str] | None, typer.Option("--slice", help="Only this slice; repeat for several.")
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="As they lie once they are registered.")
    ] = False,
    images: Annotated[bool, typer.Option(help="Draw the spots over their tissue.")] = True,
) -> None:
    """Draw the slices side by side for a paper, with names, scale bar and legend."""
    with _sentences():
        from napari_staligner.io.atomic import check_target, write_bytes
        from napari_staligner.report.picture import picture_form
        from napari_staligner.report.result_figure import result_figure

        target = check_target(picture)
        form = picture_form(target)
        drawn = result_figure(
            _result_in(file), color, slices=only or None, aligned=aligned, images=images, form=form
        )
        write_bytes(drawn, target)
        _output().print(f"Figure written to {_escape(str(target))}", soft_wrap=True)


@app.command("methods")
def methods_of_result(
    file: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.", metavar="OUT.h5ad")],
) -> None:
    """Print a paragraph for the methods of a paper, with the figures of this result filled in."""
    with _sentences():
        from napari_staligner.core.result.methods_text import methods_text

        _output().print(_escape(methods_text(_result_in(file))), soft_wrap=True, highlight=False)


@app.command("view")
def open_files(
    files: Annotated[
        list[Path], typer.Argument(help="Slices or a result, .h5ad.", metavar="FILE...")
    ],
) -> None:
    """Open slices or a result in napari, with the docks."""
    with _sentences():
        from napari_staligner.demo.run import view_files

        view_files(files)


@app.command()
def demo(
    screenshots: Annotated[
        Path | None,
        typer.Option(help="Save pictures to this folder and quit, instead of staying open."),
    ] = None,
) -> None:
    """Run the main job on the simulated olfactory bulb, through the docks."""
    with _sentences():
        from napari_staligner.demo.run import run_demo

        for path in run_demo(screenshots):
            typer.echo(path)


app.add_typer(job_app(integrate_files))


if __name__ == "__main__":
    sys.exit(app())
