"""The shell's ``job``: start integrations elsewhere, and look after them."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from napari_staligner.cli.console import errors, escaped, output, sentences

if TYPE_CHECKING:
    from napari_staligner.cli.tables import Table
    from napari_staligner.jobs.folder import JobFolder, Where

Job = Annotated[
    str,
    typer.Argument(help="Folder of the job, or its id as 'job list' shows it.", metavar="JOB"),
]
Jobs = Annotated[
    str,
    typer.Argument(
        help="Folder of a job or of an array, or a job's id as 'job list' shows it.", metavar="JOB"
    ),
]
Folder = Annotated[Path, typer.Argument(help="Folder of the job.", metavar="JOB")]
On = Annotated[
    str,
    typer.Option(
        "--on", help="local, slurm, dask:ADDRESS or ssh:HOST.", metavar="PLACE", show_default=True
    ),
]
Place = Annotated[
    Path | None,
    typer.Option("--job", help="Folder of the job; new or empty. \\[default: one of its own]"),
]
Queue = Annotated[
    list[str] | None,
    typer.Option(
        help="Ask Slurm for this, as time=8:00:00 or partition=gpu; can be repeated.",
        metavar="NAME=VALUE",
    ),
]

Ranks = Annotated[
    int,
    typer.Option(
        min=1,
        help="Processes that compute it together, a GPU for each where there are any.",
        show_default=True,
    ),
]
Varied = Annotated[
    list[str] | None,
    typer.Option(
        "--array",
        help="Start a job for each value of a setting, as seed=0..4 or alpha=0.3,0.5; repeated, "
        "for each combination. See 'job compare'.",
        metavar="NAME=VALUES",
    ),
]
Hold = Annotated[
    bool, typer.Option("--hold", help="Only make the folder, for 'job run' in a script of yours.")
]


def job_app(integrate: Callable[..., Any]) -> typer.Typer:
    """Return the commands of ``job``.

    Parameters
    ----------
    integrate
        The command whose slices and settings ``job start`` takes, too.
    """
    app = typer.Typer(
        name="job", help="Integrate in a job that outlives window and shell.", no_args_is_help=True
    )
    app.command("run")(run)
    app.command("start")(_with_parameters_of(integrate, start))
    for command in (list_jobs, status, cancel, fetch, resume, compare):
        app.command(command.__name__.removesuffix("_jobs"))(command)
    return app


def _with_parameters_of(integrate: Callable[..., Any], start: Callable[..., Any]) -> Any:
    """Give ``job start`` the slices and settings of ``integrate``, but its own place."""
    taken = [each for name, each in signature(integrate).parameters.items() if name != "output"]
    own = [
        each
        for each in signature(start, eval_str=True).parameters.values()
        if each.kind is not Parameter.VAR_KEYWORD
    ]

    def command(**given: Any) -> None:
        start(**given)

    command.__doc__ = start.__doc__
    parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in (*taken[:1], *own)]
    parameters += [each.replace(kind=Parameter.KEYWORD_ONLY) for each in taken[1:]]
    command.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def run(job: Folder) -> None:
    """Compute a job, here and now; what starts jobs calls this."""
    try:
        _run(job)
    except typer.Exit as end:
        from napari_staligner.core.training.signs import leave

        leave(end.exit_code)
        raise


def _run(job: Path) -> None:
    with sentences():
        from napari_staligner.core.training.ranks import standing
        from napari_staligner.jobs.array import members_of, run_array
        from napari_staligner.jobs.folder import JobFolder
        from napari_staligner.jobs.run import run_job

        folder = JobFolder(job)
        if members := members_of(job):
            raise typer.Exit(run_array(members))
        code = run_job(folder, _say)
        state = folder.state()
        if state.sentence and not standing()[0]:
            errors().print(escaped(state.sentence), soft_wrap=True)
        raise typer.Exit(code)


def _say(step: Any) -> None:
    """Print what a log should have; the steps themselves are in progress.jsonl."""
    for said in (step.outlook, step.note, step.lost):
        if said:
            errors().print(escaped(said), soft_wrap=True)


def start(
    on: On = "local",
    job: Place = None,
    queue: Queue = None,
    ranks: Ranks = 1,
    array: Varied = None,
    hold: Hold = False,
    **of_integrate: Any,
) -> None:
    """Start to integrate slices in a job, or in several, and return at once."""
    with sentences():
        from napari_staligner.jobs.array import start_array
        from napari_staligner.jobs.folder import Where
        from napari_staligner.jobs.launch import start_job
        from napari_staligner.jobs.listing import remember_job

        where = Where.from_text(on, dict(_option(each) for each in queue or ()), ranks)
        made = _made(where, job, array, **of_integrate)
        if hold:
            for folder in reversed(made):
                remember_job(folder)
        elif array:
            start_array(made)
        else:
            start_job(made[0])
        for folder in made:
            place = escaped(str(folder.path))
            output().print(f"Job {folder.spec().id} in {place}", soft_wrap=True)


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _made(
    where: Where,
    place: Path | None,
    varied: list[str] | None,
    *,
    slices: list[str],
    slice_key: str | None,
    counts_layer: list[str] | None,
    settings: str | None,
    preset: str | None,
    chain: bool,
    pair: list[str] | None,
    exclude: Path | None,
    set_also: list[str] | None,
    **options: Any,
) -> list[JobFolder]:
    """Make jobs; slices that cannot be read are refused now, not hours later."""
    from napari_staligner.cli.choosing import chosen_settings, paired
    from napari_staligner.core.integrate import check_slices
    from napari_staligner.io.h5ad import read_slices
    from napari_staligner.jobs.array import make_array, parse_varied
    from napari_staligner.jobs.launch import make_job
    from napari_staligner.jobs.listing import new_job_folder

    changes = parse_varied(varied) if varied else []
    chosen = chosen_settings(settings, preset, counts_layer, set_also, options)
    read = read_slices(slices, slice_key=slice_key, backed=True)
    names = [name for name, _ in read]
    chosen = paired(chosen, names, chain=chain, pairs=pair)
    check_slices(read, chosen)
    if exclude is not None:
        from napari_staligner.io.excluded import exclude as excluding

        excluding(read, exclude)
    absolute = [_absolute(each) for each in slices]
    shared: dict[str, Any] = {"names": names, "slice_key": slice_key, "exclude": exclude}
    if not changes:
        return [make_job(absolute, chosen, where, place=place, **shared)]
    place = place or new_job_folder(f"array-{uuid4().hex[:12]}").path
    return make_array(absolute, chosen, changes, where, place=place, **shared)


def _absolute(text: str) -> str:
    """A slice as given, with its path from the root."""
    from dataclasses import replace

    from napari_staligner.core.result.provenance import SAMPLE
    from napari_staligner.io.sources import parse_source

    source = parse_source(text)
    if source.path.startswith(SAMPLE):
        return text
    return replace(source, path=str(Path(source.path).resolve())).spec()


def list_jobs() -> None:
    """List the jobs that were started here, the newest first."""
    with sentences():
        from napari_staligner.cli.tables import show
        from napari_staligner.jobs.listing import known_jobs

        jobs = known_jobs()
        if jobs:
            show(output(), _table(jobs))
        else:
            output().print("No job was started here yet.")


def _table(jobs: list[JobFolder]) -> Table:
    from napari_staligner.cli.tables import Table
    from napari_staligner.jobs.outlook import glance

    rows = []
    for folder in jobs:
        seen = glance(folder)
        if isinstance(seen, str):
            rows.append(["", "", "", "", "", seen])
            continue
        spec, state = seen.spec, seen.state
        made = spec.made.replace("T", " ")[:16]
        share = f"{seen.share:.0%}"
        rows.append([spec.id, spec.title, str(spec.where), made, f"{state.condition} {share}"])
        rows[-1].append(state.sentence)
    return Table("", ["Job"], ["Slices", "On", "Made (UTC)", "State", ""], rows)


def status(job: Jobs) -> None:
    """Tell how a job is: its state, how far it is, and how long it may take yet."""
    with sentences():
        from napari_staligner.cli.tables import show
        from napari_staligner.jobs.array import jobs_of
        from napari_staligner.jobs.outlook import look_closely

        found = jobs_of(job)
        if len(found) > 1:
            show(output(), _table(found))
            return
        seen = look_closely(found[0])
        for line in seen.lines():
            output().print(escaped(line), soft_wrap=True)


def cancel(job: Jobs) -> None:
    """Ask a job to end, or all of an array that have not ended; they do at their next step."""
    with sentences():
        from napari_staligner.jobs.array import jobs_of
        from napari_staligner.jobs.launch import cancel_job, look_at

        found = jobs_of(job)
        for folder in found:
            if len(found) == 1 or not look_at(folder).ended:
                cancel_job(folder)
        output().print("It ends at its next step." if len(found) == 1 else "They end.")


def fetch(
    job: Job,
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="Copy the result there, .h5ad.")
    ] = None,
) -> None:
    """Bring the result of a job here."""
    with sentences():
        from napari_staligner.jobs.launch import fetch_result
        from napari_staligner.jobs.listing import job_of

        written = fetch_result(job_of(job), target)
        output().print(f"Written to {escaped(str(written))}", soft_wrap=True)


def resume(job: Job) -> None:
    """Go on with a job that was stopped, cancelled or failed, from its checkpoint."""
    with sentences():
        from napari_staligner.jobs.launch import resume_job
        from napari_staligner.jobs.listing import job_of

        folder = job_of(job)
        resume_job(folder)
        output().print(f"Job {folder.spec().id} goes on.", soft_wrap=True)


def compare(
    jobs: Annotated[
        list[str],
        typer.Argument(help="Folder of an array, or several jobs.", metavar="JOB..."),
    ],
    labels: Annotated[
        str | None,
        typer.Option(help="Column of obs to compare the domains of each with.", metavar="COLUMN"),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Also write the table there.", metavar="FILE")
    ] = None,
) -> None:
    """Compare the results of jobs on the same slices: figures, mean, spread, and agreement."""
    with sentences():
        from napari_staligner.cli.tables import run_tables, show
        from napari_staligner.io.atomic import write_text
        from napari_staligner.jobs.array import compare_jobs, jobs_of, run_table

        folders = [folder for text in jobs for folder in jobs_of(text)]
        found, left = compare_jobs(folders, labels)
        for table in run_tables(found):
            show(output(), table)
        for sentence in left:
            output().print(escaped(sentence), soft_wrap=True)
        if csv is not None:
            written = write_text(run_table(found).to_csv(), csv)
            output().print(f"Written to {escaped(str(written))}", soft_wrap=True)
