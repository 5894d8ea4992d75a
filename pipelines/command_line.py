"""The command `pairmill`. Only typer and rich are imported here; each command imports what it needs when it runs."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import __version__
from pipelines.terminal import TerminalConsole, echo

if TYPE_CHECKING:
    from pipelines.recipe import Recipe

app = typer.Typer(
    name="pairmill",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = TerminalConsole()
errors = TerminalConsole(stderr=True)

RUN_PANEL = "Recipes and runs"
JOB_PANEL = "One job alone, on plain files"
LOOK_PANEL = "Looking around"

RecipeFile = Annotated[str, typer.Argument(metavar="RECIPE", help="a YAML recipe, e.g. recipes/demo.yaml")]
RunFolderArgument = Annotated[str, typer.Argument(metavar="RUN", help="a run folder, or a recipe's name: runs/NAME")]
RunFolderOption = Annotated[
    str | None, typer.Option("--run-folder", help="where the run lies; default runs/NAME; gs:// and s3:// too")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="override a setting of the recipe, e.g. train.steps=50; may be repeated"
    ),
]
Runner = Annotated[
    str | None,
    typer.Option(
        help="a Beam runner; its options follow as they are, e.g. --runner FlinkRunner --flink_master=host:8081"
    ),
]
Mode = Annotated[str | None, typer.Option(help="of the embedded runner: auto, in_memory or multi_processing")]
Workers = Annotated[int | None, typer.Option(min=0, help="worker processes of the embedded runner; 0: one a core")]
OnlyLicences = Annotated[
    str | None,
    typer.Option(
        "--only-licences",
        metavar="LIST",
        help="use rows of these licences alone, e.g. 'cc-by-4.0,cc0-1.0' or 'cc-by-[0-9]*'; rows that name none are dropped,"
        " unless --set licences.unknown=keep",
    ),
]
LogJson = Annotated[bool, typer.Option("--log-json", help="events as JSON lines on standard output")]
Input = Annotated[
    list[str],
    typer.Option(
        "--input", help="pairs: JSONL (.gz .zst .bz2 .xz) or Parquet, CSV, TSV; files, globs, URLs; may be repeated"
    ),
]
Output = Annotated[str, typer.Option("--output", help="JSONL or Parquet, by the ending")]
QueryField = Annotated[str, typer.Option(help="field or column of the query")]
PositiveField = Annotated[str, typer.Option(help="field or column of the positive; a list gives one pair an entry")]
ReportFile = Annotated[str | None, typer.Option("--report", help="write the counts by reason to this JSON file")]
Model = Annotated[
    str, typer.Option(help="model folder (Hugging Face or sentence-transformers), or package://PACKAGE/folder")
]
Keep = Annotated[
    bool, typer.Option("--keep-work", help="keep the working folder OUTPUT.work with shards, rejects and manifests")
]


def _version(show: bool) -> None:
    if show:
        console.print(f"pairmill {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """Mill raw corpora into (query, passage) pairs for text-embedding models, and the pairs into a trained, evaluated model.

    Start with [bold]pairmill run recipes/demo.yaml[/], or look at your own data with [bold]pairmill preview jsonl FILE[/].
    """


@app.command(rich_help_panel=RUN_PANEL, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    recipe: RecipeFile,
    run_folder: RunFolderOption = None,
    set_: Sets = None,
    runner: Runner = None,
    mode: Mode = None,
    workers: Workers = None,
    only_licences: OnlyLicences = None,
    log_json: LogJson = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="check the recipe, tell what each job would do and how long, and do nothing"),
    ] = False,
) -> None:
    """Bring a run up to date: extract, synthesize, filter, decontaminate, dedup, score, mine, pack, train, evaluate, report.

    Jobs that are up to date are skipped. After Ctrl-C, a crash or a kill the same command goes on from what is finished and
    ends with the same bytes. Options pairmill does not know go to Beam.
    """
    from pipelines.recipe import load_recipe
    from pipelines.run_folder import RunFolder

    overrides = _settings(set_ or []) | _runner_settings(runner, mode, workers, context.args) | _licences(only_licences)
    loaded = load_recipe(recipe, overrides)
    folder = RunFolder(run_folder or f"runs/{loaded.name}")
    if dry_run:
        _print_plan(loaded, folder)
        return
    _run(loaded, folder, log_json)
    if not log_json:
        _print_end(folder, loaded.jobs())


@app.command(rich_help_panel=RUN_PANEL, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def refresh(
    context: typer.Context,
    recipe: RecipeFile,
    run_folder: RunFolderOption = None,
    set_: Sets = None,
    runner: Runner = None,
    mode: Mode = None,
    workers: Workers = None,
    only_licences: OnlyLicences = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="let the gate decide again about a model it kept back, or that was rolled back"),
    ] = False,
    allow_gone: Annotated[
        bool, typer.Option("--allow-gone", help="go on though a source's files vanished; what came of them goes too")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="tell what each job would do, how long, at what cost, and do nothing")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --dry-run: one JSON object instead of tables")] = False,
    log_json: LogJson = False,
) -> None:
    """Follow the sources: read what is new, bring every job up to date, train, and let a better model take over.

    The recipe's [bold]refresh:[/] says how training goes on, what a new model must not lose, and when someone is told. The
    current model is RUN/models/current. Exit codes: 0 done, 3 the gate kept the new model back, 1 a failure, 2 a mistake
    to put right, 130 interrupted. After any of them, or a kill, the same command goes on.
    """
    from pipelines.recipe import load_recipe
    from pipelines.refresh.command import RefreshOptions
    from pipelines.refresh.shown import refresh_shown, show_plan
    from pipelines.run_folder import RunFolder, absolute

    overrides = _settings(set_ or []) | _runner_settings(runner, mode, workers, context.args) | _licences(only_licences)
    loaded = load_recipe(recipe, overrides)
    folder, options = absolute(RunFolder(run_folder or f"runs/{loaded.name}")), RefreshOptions(force, allow_gone)
    with _interruptible():
        if dry_run:
            show_plan(console, loaded, folder, options, as_json=as_json)
            return
        done = refresh_shown(console, loaded, folder, options, log_json=log_json)
    raise typer.Exit(done.exit_code)


@app.command(rich_help_panel=RUN_PANEL)
def status(
    run_folder: RunFolderArgument,
    languages: Annotated[
        int, typer.Option(min=0, help="of sources of several languages, how many languages to show; 0: none")
    ] = 5,
    history: Annotated[int, typer.Option("--history", min=0, help="refreshes to show, the last ones; 0: none")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object: jobs, refreshes, current version")] = False,
) -> None:
    """Show what of a run is finished, its funnel by source, language and reason, and its last refreshes.

    A refresh is told with its files, the rows of every job beside those of the refresh before, the gate's decision and alerts.
    [bold]pairmill rejects RUN --reason NAME[/] shows pairs that a reason dropped.
    """
    from pipelines.display import duration, funnel_table
    from pipelines.manifest import read_manifest
    from pipelines.progress import ProgressReader
    from pipelines.recipe import load_recipe
    from pipelines.refresh.status_view import refreshes_view, status_json

    folder = _existing_run(run_folder)
    recipe = load_recipe(folder.recipe)
    if as_json:
        echo(json.dumps(status_json(folder, recipe.jobs(), history), ensure_ascii=False))
        return
    manifests = []
    for job in recipe.jobs():
        manifest = read_manifest(folder.job(job))
        if manifest is None:
            state = ProgressReader(folder.job(job)).read()
            console.print(
                f"{job:<13} not finished"
                + (f"; {state.committed} of {state.tasks} parts committed" if state.tasks else "")
            )
            continue
        manifests.append(manifest)
        rows = f"{manifest.rows_in:,} rows in, {manifest.rows_out:,} out" if manifest.rows_in else ""
        console.print(
            f"{job:<13} finished {manifest.finished} in {duration(manifest.seconds)}  {rows}", highlight=False
        )
    if manifests:
        console.print(funnel_table(manifests, languages))
    refreshes = refreshes_view(folder, history)
    if refreshes is not None:
        console.print("", refreshes, sep="\n", highlight=False)


@app.command(rich_help_panel=RUN_PANEL)
def rollback(
    run_folder: RunFolderArgument,
    to: Annotated[int | None, typer.Option("--to", min=1, help="the version; default: the one before")] = None,
    list_: Annotated[bool, typer.Option("--list", help="show the versions there are, and change nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of words")] = False,
) -> None:
    """Make an earlier version of the model the current one (RUN/models/current).

    What is rolled back from is not promoted again by the next refresh: only a newer training is. [bold]--to[/] leads
    forward again, too. Versions beyond refresh.keep_versions are gone.
    """
    from pipelines.refresh.rollback_command import roll_back
    from pipelines.refresh.status_view import versions_json, versions_table

    folder = _existing_run(run_folder)
    if list_:
        echo(json.dumps(versions_json(folder))) if as_json else console.print(versions_table(folder))
        return
    before, now = roll_back(folder, to)
    if as_json:
        echo(json.dumps({"from": None if before is None else before.number, "version": now.number}))
    elif before is not None and before.number == now.number:
        _say(f"Version {now.number} is the current one already.")
    else:
        _say(f"Version {now.number} is the current one" + ("." if before is None else f", no longer {before.number}."))


@app.command(rich_help_panel=RUN_PANEL)
def rejects(
    run_folder: RunFolderArgument,
    job: Annotated[str | None, typer.Option(help="only what this job dropped: filter, dedup ...")] = None,
    reason: Annotated[str | None, typer.Option(help="only this reason; `pairmill status` lists them")] = None,
    source: Annotated[str | None, typer.Option(help="only this source, by its label")] = None,
    language: Annotated[str | None, typer.Option(help="only pairs with a side in this language, e.g. eng_Latn")] = None,
    rows: Annotated[int, typer.Option(min=1, help="pairs to show of each reason")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of a table")] = False,
) -> None:
    """Show pairs that a run dropped, each with the job and the reason: a random sample, the same on every call."""
    from pipelines.errors import UserError
    from pipelines.manifest import read_manifest
    from pipelines.recipe import load_recipe
    from pipelines.rejected import Wanted, rejected_json, rejected_samples, rejected_table

    folder = _existing_run(run_folder)
    jobs = load_recipe(folder.recipe).jobs()
    if job is not None and job not in jobs:
        raise UserError(f"This run has no job {job!r}; it has {', '.join(jobs)}.")
    manifests = [(folder.job(name), read_manifest(folder.job(name))) for name in jobs if job in (None, name)]
    finished = [(url, manifest) for url, manifest in manifests if manifest is not None]
    found = rejected_samples(finished, Wanted(reason, source, language), rows)
    if as_json:
        for sample in found:
            echo(rejected_json(sample))
    else:
        console.print(rejected_table(found))


@app.command(rich_help_panel=RUN_PANEL)
def forget(
    run_folder: RunFolderArgument,
    url: Annotated[list[str] | None, typer.Option("--url", help="a document's URL; may be repeated")] = None,
    document_id: Annotated[
        list[str] | None, typer.Option("--document-id", help="a document's id, as the source gives it; may be repeated")
    ] = None,
    file: Annotated[str | None, typer.Option("--file", help="a text file of URLs and ids, one a line")] = None,
    source: Annotated[str | None, typer.Option(help="only documents of this source, by its label")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="tell what would go, and change nothing")] = False,
    reason: Annotated[
        str, typer.Option(help="kept with the date in RUN/forgotten.json, e.g. the number of a request")
    ] = "",
    remove_models: Annotated[
        bool, typer.Option("--remove-models", help="delete the models whose training data held it")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="with --remove-models: the current version, too")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="what was done as one JSON object")] = False,
) -> None:
    """Make documents disappear from everything that came of them, and keep them away when sources bring them again.

    Shards, questions, answers, vectors and pages that hold something are removed, [bold]pairmill run[/] makes them again without
    it. Then every file of the run folder is searched: exit code 1 where one still holds a part of a text. Weights cannot be
    searched: the models to train anew are named. docs/forget.md says what happens to which file.
    """
    from pipelines.forget.command import Choices, asked_documents
    from pipelines.forget.command import forget as forget_documents
    from pipelines.forget.display import print_done, progress

    asked = asked_documents(url or [], document_id or [], file, source)
    choices = Choices(dry_run, reason, remove_models, force)
    with _interruptible(), progress(console) as tell:
        done = forget_documents(_existing_run(run_folder), asked, choices, tell)
    if as_json:
        echo(json.dumps(done.as_json(), ensure_ascii=True))
    else:
        print_done(console, done, choices)
    if done.left and not dry_run:
        raise typer.Exit(1)


@app.command(rich_help_panel=RUN_PANEL)
def lineage(
    run_folder: RunFolderArgument,
    url: Annotated[list[str] | None, typer.Option("--url", help="a document's URL; may be repeated")] = None,
    document_id: Annotated[
        list[str] | None, typer.Option("--document-id", help="a document's id; may be repeated")
    ] = None,
    pair_id: Annotated[list[str] | None, typer.Option("--pair-id", help="a pair's id, 32 hexadecimal digits")] = None,
    text_file: Annotated[str | None, typer.Option("--text-file", help="a file that holds one text")] = None,
    source: Annotated[str | None, typer.Option(help="only documents of this source, by its label")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="every place, as one JSON object")] = False,
) -> None:
    """Tell everything that came of a document, a pair or a text: rows, passages, negatives, questions, vectors and models.

    Nothing is run or changed. Models are told by what pack held when they were promoted, also after the document was forgotten.
    """
    from pipelines.forget.command import lineage_of
    from pipelines.forget.display import print_lineage, progress

    with _interruptible(), progress(console) as tell:
        found = lineage_of(
            _existing_run(run_folder), url or [], document_id or [], pair_id or [], text_file, source, tell
        )
    if as_json:
        echo(json.dumps(found.as_json(), ensure_ascii=True))
    else:
        print_lineage(console, found)


@app.command(rich_help_panel=RUN_PANEL)
def report(run_folder: RunFolderArgument) -> None:
    """Write a run's page again (RUN/report/index.html) and print where it is."""
    from pipelines.recipe import load_recipe
    from pipelines.run_folder import locked

    folder = _existing_run(run_folder)
    recipe = load_recipe(folder.recipe)
    with locked(folder):
        from pipelines.jobs.report import write_report

        _say(write_report(recipe, folder))


@app.command(rich_help_panel=RUN_PANEL, context_settings={"allow_extra_args": True})
def schedule(
    context: typer.Context,
    recipe: RecipeFile,
    cron: Annotated[
        str,
        typer.Option("--cron", help="minute, hour, day of month, month, day of week: '0 3 * * 1' is Mondays at 3:00"),
    ],
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="e.g. Europe/Berlin or UTC; default: the machine's")
    ] = None,
    run_folder: RunFolderOption = None,
    next_: Annotated[
        int | None, typer.Option("--next", min=1, help="print the next so many times, and run nothing")
    ] = None,
    missed: Annotated[
        str, typer.Option(help="a time that passed while the scheduler or the machine was off: run (once) or skip")
    ] = "run",
    once_now: Annotated[bool, typer.Option("--once-now", help="refresh at once, then by the schedule")] = False,
    retries: Annotated[int, typer.Option(min=0, help="how often a failed refresh is tried again")] = 2,
    retry_after: Annotated[
        str, typer.Option(help="until the first retry: 90s, 10m, 2h; twice as long before each further one")
    ] = "10m",
    keep_logs: Annotated[
        int, typer.Option(min=1, help="refreshes whose output stays, as RUN/logs/schedule-TIME.log")
    ] = 30,
    log: Annotated[str | None, typer.Option(help="a file to which every start and end is added as a JSON line")] = None,
    log_json: LogJson = False,
) -> None:
    """Refresh a recipe's run by a cron expression, one refresh at a time, until Ctrl-C or SIGTERM.

    [bold]pairmill schedule recipe.yaml --cron "0 3 * * 1" --timezone Europe/Berlin -- --set train.steps=500[/]: what follows
    [bold]--[/] goes to every [bold]pairmill refresh[/]. Each is a process of its own; what the gate kept back (exit code 3) counts as done.
    One scheduler a run folder. SIGTERM ends the refresh too, within 10 s; the next start takes it up again.
    """
    from pipelines.schedule.command import Scheduling, next_times
    from pipelines.schedule.command import schedule as run_schedule

    if next_ is not None:
        echo("\n".join(next_times(cron, timezone, next_)))
        return
    _check_refresh_options(context, recipe)
    asked = Scheduling(
        *(recipe, cron, timezone, run_folder, missed, once_now, retries, retry_after, keep_logs, log, log_json),
        options=tuple(context.args),
    )
    raise typer.Exit(run_schedule(asked, _say))


def _check_refresh_options(context: typer.Context, recipe: str) -> None:
    """Raises what `pairmill refresh` would raise for the options behind `--`: now, not at the first time of the schedule."""
    from pipelines.recipe import load_recipe

    commands = context.parent
    assert commands is not None
    command = commands.command.get_command(commands, "refresh")  # type: ignore[attr-defined]  # a group's
    with command.make_context("refresh", [recipe, *context.args], parent=commands) as asked:
        given = asked.params
        runner = _runner_settings(given["runner"], given["mode"], given["workers"], asked.args)
        load_recipe(recipe, _settings(given["set_"] or []) | runner | _licences(given["only_licences"]))


@app.command(rich_help_panel=RUN_PANEL)
def verify(
    run_folder: RunFolderArgument,
    quick: Annotated[bool, typer.Option("--quick", help="sizes and row counts alone; reads no whole file")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object instead of lines")] = False,
) -> None:
    """Check that a run is whole: manifests, sizes and sha256 of all files, rows in and out, inputs, embeddings, models.

    One line a fault, with the file and the remedy; exit code 1 if there is one. Notes tell of what is merely left over, or
    out of date. Nothing is changed.
    """
    from pipelines.upkeep.verify_command import finding_line, summary_line, verify_shown

    folder = _existing_run(run_folder)
    found = verify_shown(errors, folder, quick)
    if as_json:
        echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        for finding in found.findings:
            _say(finding_line(finding))
        _say(summary_line(folder, found, quick))
    if found.faults:
        raise typer.Exit(1)


@app.command(rich_help_panel=RUN_PANEL)
def clean(
    run_folders: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="run folders, or recipes' names: runs/NAME")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="tell what would go, and remove nothing")] = False,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="leave younger files alone: 7d, 12h, 30m")
    ] = "0s",
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="also checkpoints of a training that is finished; its model stays")
    ] = False,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="also vectors of texts that the run no longer has")
    ] = False,
    temporary_folder: Annotated[
        bool,
        typer.Option(
            help="also pairmill's leftovers in the system's temporary folder that no living process holds, an hour old"
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of a table")] = False,
) -> None:
    """Remove what runs no longer need: files of killed writers, shards nothing names, models beyond refresh.keep_versions.

    Files that pairmill does not know stay, whatever they are. Refused while a run is in use. Everything a job needs to be up
    to date stays, so the next run does nothing again.
    """
    from dataclasses import asdict

    from pipelines.upkeep.clean_command import Cleaning, clean_all, removed_table, seconds_of

    cleaning = Cleaning(seconds_of(older_than), checkpoints, embeddings, dry_run)
    removed = clean_all([_existing_run(name) for name in run_folders], cleaning, temporary_folder)
    if as_json:
        for each in removed:
            echo(json.dumps(asdict(each), ensure_ascii=False))
    elif removed:
        console.print(removed_table(removed, dry_run))
    else:
        _say("Nothing to remove.")


@app.command(rich_help_panel=RUN_PANEL)
def ablate(
    recipe: RecipeFile,
    vary: Annotated[str, typer.Option("--vary", help="a YAML file of variants and seeds")],
    run_folder: Annotated[
        str | None, typer.Option("--run-folder", help="where all runs lie; default runs/NAME-ablation")
    ] = None,
    log_json: LogJson = False,
) -> None:
    """Run a recipe in several variants and seeds, and lay out what each variant is worth.

    [bold]variants: [{name: all}, {name: without news, without_sources: [news]}, {name: no mining, without_jobs: [mine]},
    {name: batch 64, set: {train.batch_size: 64}}][/] and [bold]seeds: [0, 1, 2][/] make twelve runs that share their embeddings
    and every job whose settings and inputs are alike. The table has mean and deviation over the seeds, and the difference to
    the first variant with a paired test. The same command goes on after a kill.
    """
    from pipelines.ablate_command import ablate as run_ablation

    with _interruptible():
        run_ablation(console, recipe, vary, run_folder, log_json=log_json)


@app.command("evaluate-data", rich_help_panel=RUN_PANEL)
def evaluate_data(
    run_folder: RunFolderArgument,
    output: Annotated[str | None, typer.Option("--output", help="write it as JSON to this file, too")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table")] = False,
) -> None:
    """Tell how good a run's pairs are before a model is trained: by source and language, the least relevant first.

    Shares of filtered pairs, leaks and duplicates come from the finished jobs, relevance from job score; nothing is
    measured again. [bold]pairmill judge --pairs RUN --estimate 200[/] adds the share of false negatives.
    """
    from pipelines import storage
    from pipelines.evaluate_data import data_quality, quality_view

    found = data_quality(_existing_run(run_folder))
    if output:
        storage.write_json(output, found.as_json())
    if as_json:
        echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        console.print(quality_view(found), highlight=False)


@app.command(rich_help_panel=LOOK_PANEL)
def preview(
    source: Annotated[str, typer.Argument(help="a source; `pairmill sources` lists them")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="files, globs or URLs")],
    rows: Annotated[int, typer.Option(min=1, help="pairs to show")] = 20,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a setting of the source, e.g. query=title")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of a table")] = False,
) -> None:
    """Show the first pairs a source makes of some files, in seconds, whatever their size."""
    from pipelines.preview import preview_pairs, preview_table

    found = preview_pairs(source, paths, _settings(set_ or []), rows)
    if as_json:
        for row in found.pairs:
            echo(found.as_json(row))
    else:
        console.print(preview_table(found))


@app.command(rich_help_panel=LOOK_PANEL)
def sources(
    name: Annotated[str | None, typer.Argument(help="tell all about this one, its settings too")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a source")] = False,
) -> None:
    """List the sources: what each takes, gives, and where the data is had."""
    from pipelines.sources_page import source_as_json, source_details, sources_overview
    from sources.catalogue import load_source, source_names

    if as_json:
        for known in [name] if name else source_names():
            echo(json.dumps(source_as_json(load_source(known)), ensure_ascii=False))
        return
    console.print(source_details(load_source(name)) if name else sources_overview())


@app.command(rich_help_panel=LOOK_PANEL)
def languages(
    directions: Annotated[
        bool, typer.Option("--directions", help="the pairs of languages that NLLB has bitexts of")
    ] = False,
) -> None:
    """List the languages of the corpora that M3-Embedding used, or the directions between them: one a line."""
    from sources.language_list import corpus_languages, nllb_directions

    lines = [f"{first} {second}" for first, second in nllb_directions()] if directions else corpus_languages()
    echo("\n".join(lines))


@app.command(rich_help_panel=LOOK_PANEL)
def doctor() -> None:
    """Say what is installed, what the machine has, what is missing and how to get it."""
    from pipelines.doctor import examine, print_findings

    raise typer.Exit(print_findings(console, examine()))


@app.command(rich_help_panel=JOB_PANEL)
def extract(
    source: Annotated[str, typer.Argument(help="a source; `pairmill sources` lists them")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="files, folders, globs or URLs")],
    output: Annotated[str, typer.Option("--output", help="run folder: OUTPUT/extract/pairs/*.parquet")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a setting of the source, e.g. language=de")
    ] = None,
    report_file: ReportFile = None,
    log_json: LogJson = False,
) -> None:
    """Turn corpus files into pairs."""
    from pipelines import standalone
    from pipelines.run_folder import RunFolder

    recipe = standalone.recipe(
        {"name": "extract", "sources": [{"source": source, "paths": paths, **_settings(set_ or [])}]}
    )
    _run(recipe, RunFolder(output), log_json, ["extract"])
    standalone.write_counts(RunFolder(output), "extract", report_file)


@app.command(rich_help_panel=JOB_PANEL)
def synthesize(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="documents: JSONL of id, title, text, language; files, folders, globs"),
    ],
    output: Annotated[
        str, typer.Option("--output", help="run folder: OUTPUT/synthesize holds questions and benchmark")
    ],
    server: Annotated[
        str | None, typer.Option("--server", help="an OpenAI-compatible server, up to and with /v1")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="the LLM, as the server names it")] = None,
    local_model: Annotated[
        str | None, typer.Option(help="instead: a GGUF file that is served here, or package://PACKAGE/file.gguf")
    ] = None,
    key_variable: Annotated[
        str | None, typer.Option(help="the environment variable that holds the key; default: no key")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="a preset (mldr, short_question, small_model ...) or a file")
    ] = None,
    source: Annotated[str, typer.Option(help="the source that reads the inputs, e.g. wikipedia")] = "documents",
    source_set: Annotated[
        list[str] | None,
        typer.Option("--source-set", metavar="KEY=VALUE", help="a setting of the source, e.g. language=de"),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="model folder: the paragraph must be found by its question (round trip)")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the sample")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="tell calls, tokens, hours and money, and send nothing")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="a setting, e.g. sampling.counts.train=500, client.budget=20 or retry=1"
        ),
    ] = None,
    report_file: ReportFile = None,
    log_json: LogJson = False,
) -> None:
    """Have an LLM write questions about paragraphs of long documents: training pairs and a benchmark, as MLDR.

    Each kept question is paired with its whole document. Answers are kept: after a kill, or an exhausted budget, the same
    command goes on and pays for nothing twice. [bold]pairmill rejects OUTPUT[/] shows what was rejected, and why.
    """
    from pipelines import standalone
    from pipelines.run_folder import RunFolder
    from pipelines.synthesize_command import Inputs, show_end, synthesize_recipe, tell_costs

    given = {"client.base_url": server, "client.model": model, "local_model.path": local_model, "prompt": prompt}
    given |= {"round_trip.encoder.model": encoder}
    chosen = {name: value for name, value in given.items() if value is not None} | _settings(set_ or [])
    if local_model is None:
        chosen.setdefault("client.key_variable", key_variable)
    recipe = synthesize_recipe(Inputs(inputs, source, _settings(source_set or [])), _nested(chosen), seed)
    folder = RunFolder(output)
    _run(recipe, folder, log_json, ["extract"] if dry_run else ["extract", "synthesize", "report"])
    if dry_run:
        with _interruptible():
            tell_costs(console, recipe, folder)
        return
    standalone.write_counts(folder, "synthesize", report_file)
    if not log_json:
        show_end(console, folder)


@app.command("filter", rich_help_panel=JOB_PANEL)
def filter_(
    input_: Input,
    output: Annotated[
        str | None, typer.Option("--output", help="JSONL or Parquet, by the ending; with --calibrate the JSON file")
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            help="thresholds to start from: none, c-mtp, bge-m3, gopher, c4, fineweb, opus-basic or nllb; default c-mtp; may be"
            " repeated, the later goes before the earlier"
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="a filter setting, e.g. max_length_ratio=4 or by_language.ja.min_words=40",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="show what each rule would drop of a sample, and examples; write nothing")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="take the inputs for clean text, and write thresholds by language with which --keep of it passes",
        ),
    ] = False,
    query_field: QueryField = "query",
    positive_field: PositiveField = "positive",
    kind: Annotated[
        str, typer.Option(help="kind of the pairs, e.g. title_body: rules on passages judge passages only")
    ] = "other",
    language: Annotated[str | None, typer.Option(help="language of both sides, e.g. de; default: measured")] = None,
    language_field: Annotated[str | None, typer.Option(help="field that holds the language of both sides")] = None,
    sample: Annotated[int, typer.Option(min=1, help="with --explain: pairs looked at, chosen by their id")] = 20_000,
    examples: Annotated[int, typer.Option(min=0, help="with --explain: examples on each side of a threshold")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="with --explain: JSON instead of tables")] = False,
    keep: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="with --calibrate: share of the clean texts that passes all rules")
    ] = 0.95,
    min_texts: Annotated[
        int, typer.Option(min=1, help="with --calibrate: a language of fewer texts has the thresholds of its script")
    ] = 200,
    min_length: Annotated[
        int,
        typer.Option(min=0, help="with --calibrate: shorter texts (in letters, a Han letter is three) are left out"),
    ] = 100,
    report_file: ReportFile = None,
    keep_work: Keep = False,
    log_json: LogJson = False,
) -> None:
    """Drop pairs by length, characters, language, repetition, boilerplate and likeness of the sides, each with its reason.

    [bold]pairmill filter --explain --preset c-mtp --input pairs.jsonl[/] shows what that would drop, and why; a run folder
    as --input shows it for a recipe's pairs. [bold]pairmill filter --calibrate --input clean.jsonl --positive-field text
    --output calibration.json[/] derives thresholds from text that should pass: take it with --set calibration=FILE.
    """
    from pipelines.errors import UserError
    from pipelines.filter_input import filter_settings, unjudged

    chosen = {"preset": preset or ["c-mtp"], **_nested(_settings(set_ or []))}
    fields = {"query": query_field, "positive": positive_field, "kind": kind}
    if language:
        fields |= {"query_language": language, "positive_language": language}
    if language_field:
        fields |= {"query_language_field": language_field, "positive_language_field": language_field}
    if explain:
        _explain_filter(input_, fields, None if preset is None and not set_ else chosen, sample, examples, as_json)
        return
    if output is None:
        raise UserError("Name the file to write with --output, or ask with --explain what would be dropped.")
    if calibrate:
        _calibrate_filter(input_, fields, chosen, output, keep, min_texts, min_length)
        return
    hint = unjudged(filter_settings(chosen), kind)
    if hint:
        _say(hint)
    _standalone("filter", input_, output, {"filter": chosen}, fields, report_file, keep_work, log_json)


def _explain_filter(
    inputs: list[str],
    fields: dict[str, str],
    chosen: dict[str, Any] | None,
    sample: int,
    examples: int,
    as_json: bool,
) -> None:
    """`chosen` None: the settings of the run that is looked at, or c-mtp."""
    from pipelines.errors import UserError
    from pipelines.explain_filter import explain, explanation_table
    from pipelines.filter_input import (
        filter_settings,
        is_run,
        pairs_of_files,
        pairs_of_run,
        sample_pairs,
        settings_of_run,
        unjudged,
    )

    run = len(inputs) == 1 and is_run(inputs[0])
    of_run = chosen is None and run
    settings = settings_of_run(inputs[0]) if of_run else filter_settings(chosen or {"preset": "c-mtp"})
    pairs, seen = sample_pairs(pairs_of_run(inputs[0]) if run else pairs_of_files(inputs, fields), sample)
    if not seen and not run:
        raise UserError(_no_pair(inputs, fields))
    hint = None if run or as_json else unjudged(settings, fields["kind"])
    if hint:
        _say(hint)
    explanation = explain(pairs, seen, settings, examples)
    if as_json:
        echo(json.dumps(explanation.as_json(), ensure_ascii=False))
    else:
        console.print(explanation_table(explanation), highlight=False)


def _calibrate_filter(
    inputs: list[str],
    fields: dict[str, str],
    chosen: dict[str, Any],
    output: str,
    keep: float,
    min_texts: int,
    min_length: int,
) -> None:
    from pipelines.calibrate_filter import calibrate_files, calibration_table
    from pipelines.errors import UserError
    from pipelines.filter_input import filter_settings, texts_of_files

    if not output.endswith(".json"):  # a bare name means a packaged calibration (filters.calibration)
        raise UserError(f"--output {output}: let the name of a calibration end in .json, e.g. {output}.json.")
    calibration = calibrate_files(
        texts_of_files(inputs, fields),
        filter_settings(chosen),
        keep=keep,
        min_texts=min_texts,
        min_length=min_length,
        output=output,
    )
    console.print(calibration_table(calibration))
    _say(
        f"Thresholds written to {output}; take them with --set calibration={output}, or calibration: {output} in a recipe."
    )


@app.command(rich_help_panel=JOB_PANEL)
def dedup(
    input_: Input,
    output: Output,
    near: Annotated[
        bool,
        typer.Option("--near/--no-near", help="near-duplicates too, or only texts equal but for case and punctuation"),
    ] = True,
    similarity: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=0.99,
            help="of longer texts: share of n-grams (Jaccard) from which two are near-duplicates; 0.65",
        ),
    ] = None,
    edit_similarity: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="of titles and questions: share of characters that need no edit; 0.82"),
    ] = None,
    exact: Annotated[
        bool, typer.Option(help="compare longer texts exactly, not by estimate: slower, texts in memory")
    ] = False,
    keep: Annotated[
        str, typer.Option(help="which of several is kept: quality (best scores.quality), or first (smallest pair_id)")
    ] = "quality",
    max_pairs_per_query: Annotated[int, typer.Option(min=1, help="of one query")] = 1,
    max_pairs_per_positive: Annotated[int, typer.Option(min=1, help="of one positive or near-duplicates of it")] = 1,
    max_pairs_per_document: Annotated[int | None, typer.Option(min=1, help="needs --document-field")] = None,
    max_pairs_per_domain: Annotated[int | None, typer.Option(min=1, help="by the host of --url-field")] = None,
    document_field: Annotated[str | None, typer.Option(help="field or column of the positive's document")] = None,
    url_field: Annotated[str | None, typer.Option(help="field or column of the url")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any dedup setting, e.g. near.queries=false")
    ] = None,
    query_field: QueryField = "query",
    positive_field: PositiveField = "positive",
    report_file: ReportFile = None,
    keep_work: Keep = False,
    log_json: LogJson = False,
) -> None:
    """Drop duplicates and near-duplicates of pairs, and all but a number of pairs per query, positive, document and domain.

    Similar queries form clusters, and similar positives. Of the pairs with the same two clusters one is kept
    ([bold]duplicate_pair[/], [bold]near_duplicate_pair[/]); then at most so many of each cluster of queries and of positives, per
    kind and language ([bold]query_cap[/], [bold]positive_cap[/]), 1 unless told otherwise. Rows get query_cluster_id,
    positive_cluster_id and the clusters' sizes. With --keep-work, OUTPUT.work/dedup/rejects holds what was dropped, and why.
    """
    if (max_pairs_per_document and not document_field) or (max_pairs_per_domain and not url_field):
        from pipelines.errors import UserError

        raise UserError(
            "--max-pairs-per-document needs --document-field, and --max-pairs-per-domain --url-field: say which field it is."
        )
    given = {
        "near.similarity": similarity,
        "near.least_edit_similarity": edit_similarity,
        "near.exact": exact or None,
        "keep": keep,
        "max_pairs_per_query": max_pairs_per_query,
        "max_pairs_per_positive": max_pairs_per_positive,
        "max_pairs_per_document": max_pairs_per_document,
        "max_pairs_per_domain": max_pairs_per_domain,
    }
    settings = _nested({key: value for key, value in given.items() if value is not None} | _settings(set_ or []))
    if not near:
        settings["near"] = None
    optional = {"document_id": document_field, "url": url_field}
    _standalone(
        "dedup",
        input_,
        output,
        {"dedup": settings},
        {"query": query_field, "positive": positive_field} | {name: field for name, field in optional.items() if field},
        report_file,
        keep_work,
        log_json,
    )


@app.command(rich_help_panel=JOB_PANEL)
def decontaminate(
    input_: Input,
    output: Output,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="NAME=PATH",
            help="an evaluation set: a file or glob of queries, or a folder with queries* and corpus* files; may be repeated, "
            "for one name too",
        ),
    ] = None,
    against_corpus: Annotated[
        list[str] | None,
        typer.Option("--against-corpus", metavar="NAME=PATH", help="passages of an evaluation set; may be repeated"),
    ] = None,
    set_field: Annotated[
        str | None, typer.Option("--against-field", help="field of the sets' queries; default: text, query or question")
    ] = None,
    drop_passages: Annotated[
        bool,
        typer.Option("--drop-passages", help="drop pairs whose positive is in a set's corpus, not only count them"),
    ] = False,
    leaks: Annotated[
        str | None, typer.Option(help="write every leak (pair, set, rule, both texts) to this JSONL or Parquet file")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a setting, e.g. near=false or ngram_words=8")
    ] = None,
    query_field: QueryField = "query",
    positive_field: PositiveField = "positive",
    report_file: ReportFile = None,
    keep_work: Keep = False,
    log_json: LogJson = False,
) -> None:
    """Drop pairs whose query is a query of an evaluation set, or nearly, and say which query of which set.

    For example [bold]pairmill decontaminate --input pairs.jsonl --against nfcorpus=beir/nfcorpus --against
    dl19=topics.dl19-passage.txt --output clean.jsonl --leaks leaks.jsonl[/]. JSON lines, TSV, CSV and Parquet are read;
    a recipe reads the sets of every source.
    """
    from pipelines import standalone

    sets = standalone.evaluation_sets(against or [], against_corpus or [], set_field)
    settings = {"evaluation_sets": sets, "drop_passages": drop_passages, **_settings(set_ or [])}
    _standalone(
        "decontaminate",
        input_,
        output,
        {"decontaminate": settings},
        {"query": query_field, "positive": positive_field},
        report_file,
        keep_work,
        log_json,
        leaks=leaks,
    )


@app.command(rich_help_panel=JOB_PANEL)
def score(
    input_: Input,
    output: Annotated[str | None, typer.Option("--output", help="JSONL or Parquet, by the ending")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="model folder (Hugging Face or sentence-transformers), or package://PACKAGE/folder"),
    ] = None,
    threshold: Annotated[float, typer.Option(help="pairs with a smaller cosine are dropped; -1 keeps all")] = -1.0,
    calibrate: Annotated[
        int | None,
        typer.Option(
            min=0, help="show what each threshold would keep, and so many pairs on both sides of the present one"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="with --calibrate: JSON instead of tables")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="a score setting, e.g. threshold_by_language.de=0.5"),
    ] = None,
    query_field: QueryField = "query",
    positive_field: PositiveField = "positive",
    language_field: Annotated[str | None, typer.Option(help="field that holds the language of both sides")] = None,
    report_file: ReportFile = None,
    keep_work: Keep = False,
    log_json: LogJson = False,
) -> None:
    """Measure the relevance of the two sides with an encoder, and drop pairs below a threshold.

    [bold]pairmill score --calibrate 10 --input RUN[/] shows of a run whose job score is finished, without measuring again,
    what each threshold would keep by language, source and kind. Beside --model and --output it shows that of files.
    """
    from pipelines import standalone
    from pipelines.errors import UserError
    from pipelines.filter_input import is_run

    if calibrate is not None and len(input_) == 1 and is_run(input_[0]):
        standalone.show_calibration(console, _existing_run(input_[0]), calibrate, as_json=as_json)
        return
    if output is None or model is None:
        raise UserError("Name the encoder with --model and the file to write with --output.")
    given = {"encoder.model": model, "threshold": threshold, **_settings(set_ or [])}
    fields = {"query": query_field, "positive": positive_field}
    if language_field:
        fields |= {"query_language_field": language_field, "positive_language_field": language_field}
    _standalone(
        "score",
        input_,
        output,
        {"score": _nested(given)},
        fields,
        report_file,
        keep_work or calibrate is not None,
        log_json,
    )
    if calibrate is not None:
        folder = standalone.work_folder(output)
        standalone.show_calibration(console, folder, calibrate, as_json=as_json)
        if not keep_work:
            standalone.remove_work_folder(folder)


@app.command(rich_help_panel=JOB_PANEL)
def mine(
    pairs: Annotated[
        list[str],
        typer.Option(
            "--pairs", help="files or globs: JSONL, Parquet, CSV, TSV (.gz ...); or a BEIR folder; may be repeated"
        ),
    ],
    output: Annotated[str, typer.Option("--output", help="JSONL or Parquet, by the ending; .tsv of a BEIR folder")],
    model: Model,
    corpus: Annotated[
        list[str] | None,
        typer.Option("--corpus", help="passages: files or globs; default: the positives and negatives of the pairs"),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="window, number and sampling of hn_mine, sentence-transformers, c-pack or m3")
    ] = None,
    negatives: Annotated[int | None, typer.Option(min=1, help="of a query; 7")] = None,
    range_: Annotated[
        tuple[int, int] | None,
        typer.Option("--range", metavar="FROM TO", help="ranks from 0 that may be negatives; 2 200"),
    ] = None,
    sampling: Annotated[str | None, typer.Option(help="top, uniform or softmax, among the allowed ones; top")] = None,
    max_share_of_positive: Annotated[
        float | None, typer.Option(help="of the lowest positive's score a negative stays under; 0.95")
    ] = None,
    margin: Annotated[float | None, typer.Option(help="a negative stays so far under the lowest positive")] = None,
    candidates: Annotated[
        str | None, typer.Option(help="where from: dense, bm25, lexical (M3), or several: dense,bm25; dense")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="cross-encoder folder that re-scores candidates; false negatives are dropped")
    ] = None,
    near: Annotated[
        bool | None, typer.Option("--near/--no-near", help="no negative that is a near-duplicate of a positive")
    ] = None,
    pairs_format: Annotated[
        str, typer.Option(help="auto, flagembedding, columns, pairs (pairmill's shards) or beir")
    ] = "auto",
    query_field: Annotated[str | None, typer.Option(help="of the pairs; default: by name (query, anchor ...)")] = None,
    positive_field: Annotated[
        str | None, typer.Option(help="of the pairs; default: by name (pos, positive ...)")
    ] = None,
    negative_field: Annotated[
        list[str] | None, typer.Option(help="of the pairs: negatives that they came with; may be repeated")
    ] = None,
    document_field: Annotated[
        str | None, typer.Option(help="of pairs and corpus: no negative from a document of a positive")
    ] = None,
    answers_field: Annotated[
        str | None, typer.Option(help="of the pairs: answers; no negative holds one (DPR)")
    ] = None,
    text_field: Annotated[str | None, typer.Option(help="of the corpus; default: by name (text, passage ...)")] = None,
    title_field: Annotated[str, typer.Option(help="of the corpus, put before the text; '' for none")] = "title",
    id_field: Annotated[str | None, typer.Option(help="of the corpus; default: by name (_id, id ...)")] = None,
    split: Annotated[str, typer.Option(help="of a BEIR folder: qrels/SPLIT.tsv")] = "train",
    output_format: Annotated[
        str, typer.Option(help="same (as it came), flagembedding, triplets, columns, labeled-list or qrels")
    ] = "same",
    scores: Annotated[
        bool | None,
        typer.Option("--scores/--no-scores", help="write scores; default: where the form has room for them"),
    ] = None,
    keep_without_negatives: Annotated[
        bool,
        typer.Option("--keep-without-negatives", help="write queries that got none too (FlagEmbedding stops there)"),
    ] = False,
    embeddings: Annotated[
        str | None, typer.Option(help="a folder that keeps vectors: later runs encode only what is new")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes that mine; the result is the same")] = 1,
    max_bad_share: Annotated[
        float, typer.Option(min=0, max=0.99, help="bad rows to leave out, into OUTPUT.quarantine.jsonl; 0: none")
    ] = 0.0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="any setting, e.g. select.fewest=3 or encoder.query_prompt='query: '"
        ),
    ] = None,
    work: Annotated[str | None, typer.Option(help="local folder to work in; default OUTPUT.work")] = None,
    report_file: ReportFile = None,
    keep_work: Annotated[
        bool, typer.Option("--keep-work", help="keep the working folder: other settings then start from its vectors")
    ] = False,
    log_json: LogJson = False,
) -> None:
    """Mine hard negatives for training pairs: exact search, nothing that is likely another right answer.

    [bold]pairmill mine --pairs pairs.jsonl --corpus corpus.jsonl --model MODEL --output mined.jsonl[/] takes FlagEmbedding's
    {"query", "pos", "neg"}, sentence-transformers' columns (anchor, positive, negative ...), pairmill's shards or a BEIR folder,
    and gives the rows back in their order with their negatives. No negative is a positive of the query (in any of its rows),
    says the same, holds a positive or is its near-duplicate, comes from its document (--document-field) or scores 95 % of
    the positive and more. Negatives that came with a row stay, first, and no rule is asked about them.

    A --preset does without the rules that its original has not: all without the 95 %; hn_mine and sentence-transformers also
    without near-duplicates and passages that hold a positive. hn_mine fills up with random passages, marked by rank -1.

    After Ctrl-C or a kill the same command goes on from finished blocks and ends with the same bytes. Other settings start
    only what they touch.
    """
    from pipelines.mining.command import mine_command

    given: dict[str, Any] = {
        "select.negatives": negatives,
        "select.rank_window": range_ and list(range_),
        "select.sampling": sampling,
        "select.max_share_of_positive": max_share_of_positive,
        "select.margin": margin,
        "candidates.sources": candidates and [source.strip() for source in candidates.split(",")],
        "judge.cross_encoder.model": judge,
        "embeddings": embeddings,
    }
    chosen = {key: value for key, value in given.items() if value is not None}
    if near is not None:
        chosen |= {"near": {} if near else None}
    inputs = {
        "pairs": pairs,
        "corpus": corpus or [],
        "pairs_format": pairs_format,
        "query_field": query_field,
        "positive_field": positive_field,
        "negative_fields": negative_field or [],
        "document_field": document_field,
        "answers_field": answers_field,
        "text_field": text_field,
        "title_field": title_field,
        "id_field": id_field,
        "split": split,
        "max_bad_share": max_bad_share,
    }
    with _interruptible():
        mine_command(
            console,
            inputs=inputs,
            preset=preset,
            chosen=_nested({"encoder.model": model} | chosen | _settings(set_ or [])),
            output=output,
            output_format=output_format,
            scores=scores,
            keep_without_negatives=keep_without_negatives,
            report_file=report_file,
            workers=workers,
            work=work,
            keep_work=keep_work,
            log_json=log_json,
        )


@app.command(rich_help_panel=JOB_PANEL)
def pack(
    input_: Input,
    output: Annotated[str, typer.Option("--output", help="run folder: OUTPUT/pack holds the shards")],
    model: Model,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="a pack setting, e.g. packing.max_passage_length=512"),
    ] = None,
    query_field: QueryField = "query",
    positive_field: PositiveField = "positive",
    only_licences: OnlyLicences = None,
    log_json: LogJson = False,
) -> None:
    """Tokenise pairs into training shards (without mined negatives; `pairmill run` packs those too)."""
    from pipelines import standalone
    from pipelines.run_folder import RunFolder

    settings = {"dedup": {}, "pack": _nested({"model": model, **_settings(set_ or [])})} | _nested(
        _licences(only_licences)
    )
    fields = {"query": query_field, "positive": positive_field}
    if only_licences is not None:
        fields["license_field"] = "license"
    recipe = standalone.pair_recipe("pack", input_, fields, settings)
    _run(recipe, RunFolder(output), log_json, ["extract", "dedup", "pack"])


@app.command(rich_help_panel=JOB_PANEL)
def train(
    data: Annotated[str, typer.Option("--data", help="a pack folder")],
    model: Model,
    output: Annotated[str | None, typer.Option("--output", help="folder for checkpoints, metrics and model/")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="optimiser steps")] = None,
    epochs: Annotated[float | None, typer.Option(min=0, help="instead of --steps: how often through the data")] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="settings of a published run, e.g. bge-base-stage-2 or m3-stage-2")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="steps between checkpoints")] = 100,
    restart: Annotated[
        bool, typer.Option("--restart", help="remove checkpoints of other settings or data and start anew")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="write TensorBoard files to OUTPUT/tensorboard, too")
    ] = False,
    peak_tflops: Annotated[
        float | None, typer.Option(help="of one device, for the MFU shown; default: NVIDIA's figure for the GPU")
    ] = None,
    evaluate_on: Annotated[
        list[str] | None, typer.Option(help="a folder in BEIR layout to evaluate on while training; may be repeated")
    ] = None,
    evaluate_every: Annotated[int, typer.Option(min=1, help="with --evaluate-on: steps between evaluations")] = 500,
    patience: Annotated[
        int | None, typer.Option(min=1, help="with --evaluate-on: stop after so many evaluations without a new best")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show batches, padding, memory and time, and train nothing")
    ] = False,
    show_step: Annotated[
        int | None, typer.Option(min=1, help="show the pairs of this step, one JSON object a line, and train nothing")
    ] = None,
    find_batch_size: Annotated[
        bool, typer.Option("--find-batch-size", help="try how large a batch fits, by length group, and train nothing")
    ] = False,
    memory: Annotated[
        float | None, typer.Option(min=0.1, help="with --find-batch-size on a CPU: GB that training may take")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a training setting, e.g. temperature=0.05")
    ] = None,
) -> None:
    """Train an encoder on packed shards. The same command again resumes from the newest checkpoint.

    On several GPUs: torchrun --nproc-per-node 8 --no-python pairmill train ... (--set sharding=weights splits a
    large encoder over them)
    """
    from pipelines import training

    given = {"model": model, "seed": seed, "checkpoint_every": checkpoint_every, **_settings(set_ or [])}
    settings = training.train_settings(
        data, preset, steps, epochs, _nested(given), otherwise=show_step or find_batch_size
    )
    training.tell_about_preset(console, data, preset)
    if dry_run:
        training.show_dry_run(console, data, settings)
    elif show_step is not None:
        training.show_step(data, settings, show_step)
    elif find_batch_size:
        training.show_batch_sizes(console, data, settings, memory_gb=memory)
    else:
        watching = training.Watching(tensorboard, peak_tflops, tuple(evaluate_on or ()), evaluate_every, patience)
        with _interruptible():
            training.train(console, data, output, settings, watching, restart=restart)


@app.command(rich_help_panel=JOB_PANEL)
def encode(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="texts: files or globs; JSONL, Parquet, CSV, TSV (.gz ...)")
    ],
    model: Model,
    output: Annotated[str, typer.Option("--output", help="a local folder: OUTPUT/blocks holds the files")],
    outputs: Annotated[
        str, typer.Option(help="what of the model: dense, lexical, multi_vector (M3), or several: dense,lexical")
    ] = "dense",
    role: Annotated[str, typer.Option(help="query or passage: each has its own prompt and length")] = "passage",
    text_field: Annotated[str | None, typer.Option(help="default: by name (text, passage ...)")] = None,
    title_field: Annotated[
        str | None, typer.Option(help="put before the text; default: title, none of queries")
    ] = None,
    id_field: Annotated[str | None, typer.Option(help="default: by name (_id, id ...); '' for none")] = None,
    mcls_every: Annotated[
        int | None, typer.Option(min=1, help="a [CLS] before every so many tokens of long documents, 256 say (MCLS)")
    ] = None,
    max_bad_share: Annotated[
        float, typer.Option(min=0, max=0.99, help="of the rows that may be left out; 0: none")
    ] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="an encoder setting, e.g. max_passage_length=512"),
    ] = None,
    log_json: LogJson = False,
) -> None:
    """Write a model's outputs for texts: dense vectors, lexical weights, one vector a token.

    Rows keep their order; each block of .npy and Parquet files tells ids and line numbers of its rows. After Ctrl-C or a kill
    the same command goes on from finished blocks.
    """
    from pipelines.encode_files import encode_command, encoder_settings

    with _interruptible():
        encode_command(
            console,
            inputs,
            output,
            encoder_settings({"model": model, "mcls_every": mcls_every, **_settings(set_ or [])}),
            role=role,
            outputs=[name for name in outputs.replace(",", " ").split() if name],
            text_field=text_field,
            title_field=("" if role == "query" else "title") if title_field is None else title_field,
            id_field=id_field,
            max_bad_share=max_bad_share,
            log_json=log_json,
        )


@app.command(rich_help_panel=JOB_PANEL)
def pretrain(
    model: Model,
    output: Annotated[str, typer.Option("--output", help="folder for checkpoints, metrics and model/")],
    data: Annotated[
        str | None, typer.Option("--data", help="a pack folder with texts/ (pack.texts in its recipe)")
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option(
            "--texts", help="instead of --data: files of texts, JSONL with a field text, say; may be repeated"
        ),
    ] = None,
    text_field: Annotated[str | None, typer.Option(help="with --texts; default: by name (text, content ...)")] = None,
    max_length: Annotated[
        int | None, typer.Option(min=8, help="with --texts: tokens of a row; 512, or what the model takes")
    ] = None,
    min_length: Annotated[int | None, typer.Option(min=1, help="with --texts: shorter rows are left out; 16")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="optimiser steps")] = None,
    epochs: Annotated[float | None, typer.Option(min=0, help="instead of --steps: how often through the texts")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="settings of a published run: bge or m3")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="steps between checkpoints")] = 100,
    restart: Annotated[
        bool, typer.Option("--restart", help="remove checkpoints of other settings or data and start anew")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="write TensorBoard files to OUTPUT/tensorboard, too")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="a setting, e.g. decoder_mask=0.7 or new_encoder.layers=4"),
    ] = None,
) -> None:
    """Pre-train an encoder on plain text with RetroMAE. The same command again resumes from the newest checkpoint.

    On several GPUs: torchrun --nproc-per-node 8 --no-python pairmill pretrain ...
    """
    from pipelines import pretraining

    packing = {name: value for name, value in (("max_length", max_length), ("min_length", min_length)) if value}
    source = pretraining.TextSource(data, tuple(texts or ()), text_field, packing)
    given = _nested({"model": model, "seed": seed, "checkpoint_every": checkpoint_every, **_settings(set_ or [])})
    with _interruptible():
        pretraining.pretrain(
            console, source, output, preset, steps, epochs, given, restart=restart, tensorboard=tensorboard
        )


@app.command(rich_help_panel=JOB_PANEL)
def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]MODEL...", help="model folders, or package://PACKAGE/folder; the first is compared with"
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="a retrieval set (layout of BEIR, MIRACL, Mr. TyDi, MLDR, MKQA) or a task (STS, pair classification, "
            "classification, clustering, reranking); may be repeated",
        ),
    ] = None,
    output: Annotated[str, typer.Option("--output", help="JSON; values by query and comparisons go beside it")] = (
        "metrics.json"
    ),
    modes: Annotated[
        str, typer.Option(help="dense, lexical, multi_vector, dense+lexical, all (M3), or several: dense,all")
    ] = "dense",
    metrics: Annotated[
        str | None,
        typer.Option(help="of retrieval; default: ndcg@10,mrr@10,recall@100,map@100, or answer_recall@20,@100"),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="MODE=W,W",
            help="of a hybrid mode, e.g. all=1,0.3,1; default: the paper's for its benchmarks",
        ),
    ] = None,
    tune_on: Annotated[
        str | None,
        typer.Option(
            "--tune-on",
            help="FOLDER or FOLDER:SPLIT, a retrieval set that each model's weights are searched on, e.g. beir/fiqa:dev",
        ),
    ] = None,
    run_: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="[NAME=]FILE", help="a TREC run file of any system; may be repeated"),
    ] = None,
    bm25: Annotated[bool, typer.Option("--bm25/--no-bm25", help="BM25 over the same passages, too")] = True,
    bm25_tokens: Annotated[
        bool, typer.Option("--bm25-tokens", help="BM25 over the first model's tokens, too, as the M3 paper has it")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare/--no-compare", help="differences to the first system, and whether chance explains them"
        ),
    ] = True,
    fail_if_worse: Annotated[
        float | None,
        typer.Option(
            "--fail-if-worse",
            min=0,
            help="exit code 3 where a later system is worse than the first by more, in any set's main metric",
        ),
    ] = None,
    page: Annotated[
        str | None, typer.Option("--page", help="an HTML page: the first two systems, and the queries that moved most")
    ] = None,
    page_queries: Annotated[
        int,
        typer.Option(min=1, help="with --page: queries shown of each set and language that gained most, and lost most"),
    ] = 10,
    save_runs: Annotated[
        str | None, typer.Option("--save-runs", help="a folder for TREC run files of all rankings")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="of --data: beir, miracl, mrtydi, mldr, mkqa or task; default: told by the files")
    ] = None,
    split: Annotated[str | None, typer.Option(help="of --data; default: test, and dev of MIRACL")] = None,
    languages: Annotated[
        str | None,
        typer.Option("--languages", help="of sets with several, as their files name them: sw,yo; default: all"),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N, or all: every GPU of the machine, a process each")
    ] = "auto",
    embeddings: Annotated[
        str | None, typer.Option(help="a folder that keeps vectors: later evaluations encode only what is new")
    ] = None,
    work: Annotated[
        str | None,
        typer.Option(help="a folder that keeps corpora and their vectors: a killed evaluation goes on from there"),
    ] = None,
    mteb: Annotated[
        list[str] | None,
        typer.Option(
            "--mteb",
            help="run mteb's own task or benchmark (T2Reranking, C-MTEB), needs the extra mteb and the hub; may be repeated",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the significance test")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[NAME.]KEY=VALUE",
            help="an encoder setting, of all models or of one by its name, e.g. e5.query_prompt='query: '",
        ),
    ] = None,
) -> None:
    """Evaluate encoders, BM25 and other systems' runs, side by side.

    [bold]pairmill evaluate old=runs/a/train/model new=runs/b/train/model --data beir/scifact --data sts/ATEC[/] prints a table
    for each set: metrics, the difference to the first system, its 95 % interval and the p-value of a paired test. --output
    gets a row a figure, with fingerprints of model, data and code; beside it lie the values of every query. Where a folder
    is a benchmark of the papers (miracl, mkqa, mldr, narrativeqa, C-MTEB's), their published results stand beside.

    [bold]--page compare.html[/] shows which queries moved most, with their passages; [bold]--fail-if-worse 0.01[/] ends with exit
    code 3 where the new model lost more than a point of nDCG: for gates.
    """
    from pipelines.errors import UserError
    from pipelines.evaluate_command import Evaluating, evaluate_command

    if not data and not mteb:
        raise UserError("Name what to evaluate on with --data: a folder, and others with more of them.")
    common = {"layout": layout, "split": split, "languages": _words(languages or "")}
    asked = Evaluating(
        models=tuple(models or ()),
        folders=tuple({"path": path, **common} for path in data or ()),
        output=output,
        modes=_words(modes),
        metrics=_words(metrics) if metrics else None,
        weights=_weights(weights or []),
        run_files=tuple(run_ or ()),
        bm25=("both" if bm25_tokens else "words") if bm25 or bm25_tokens else "no",
        encoder={"device": device, **_settings(set_ or [])},
        save_runs=save_runs,
        page=page,
        page_queries=page_queries,
        compare=compare,
        fail_if_worse=fail_if_worse,
        work=work,
        embeddings=embeddings,
        seed=seed,
        tune_on=_tuning_folder(tune_on, common) if tune_on else None,
        mteb=tuple(mteb or ()),
    )
    with _interruptible():
        code = evaluate_command(console, asked)
    raise typer.Exit(code)


def _tuning_folder(path: str, common: dict[str, Any]) -> dict[str, Any]:
    """The folder of --tune-on, PATH or PATH:SPLIT."""
    folder, colon, split = path.rpartition(":")
    return {**common, "path": folder, "split": split} if colon and not Path(path).exists() else {**common, "path": path}


def _words(given: str) -> tuple[str, ...]:
    """Names separated by commas or spaces."""
    return tuple(given.replace(",", " ").split())


def _weights(given: list[str]) -> dict[str, list[float]]:
    """all=1,0.3,1 -> {"all": [1, 0.3, 1]}"""
    from pipelines.errors import UserError

    found = {}
    for words in given:
        mode, _, values = words.partition("=")
        try:
            found[mode.strip().replace("+", "_")] = [float(value) for value in _words(values)]
        except ValueError:
            raise UserError(f"--weights {words}: write MODE=W,W, e.g. all=1,0.3,1 or dense+lexical=1,0.3.") from None
    return found


@app.command(rich_help_panel=JOB_PANEL)
def judge(
    pairs: Annotated[
        list[str],
        typer.Option("--pairs", help="pairs with negatives, in any form that `pairmill mine` reads, or a run's folder"),
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", help="JSONL: query, pos, neg, pos_scores, neg_scores, and what else a row had"),
    ] = None,
    cross_encoder: Annotated[
        str | None,
        typer.Option(help="the judge: folder of a sequence-classification model, e.g. of bge-reranker-v2-m3"),
    ] = None,
    llm: Annotated[str | None, typer.Option(help="the judge: an LLM's name on an OpenAI-compatible server")] = None,
    url: Annotated[str, typer.Option(help="with --llm: the server")] = "http://127.0.0.1:8000/v1",
    key_variable: Annotated[
        str | None, typer.Option(help="with --llm: the environment variable that holds the key; default: no key")
    ] = None,
    answers: Annotated[
        str, typer.Option(help="with --llm: database that keeps all answers, so that nothing is paid for twice")
    ] = "llm-answers.sqlite",
    estimate: Annotated[
        int | None, typer.Option(min=1, help="judge so many negatives only, and tell the share of false ones")
    ] = None,
    clean: Annotated[
        bool,
        typer.Option("--clean", help="leave out the negatives that the judge finds relevant; see relabel_above too"),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="with --llm: tell calls, tokens, hours and money, and send nothing")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="with --estimate: of the sample")] = 0,
    examples: Annotated[int, typer.Option(min=0, help="with --estimate: how many negatives to show")] = 10,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="a setting, e.g. relabel_above=0.9 or cross_encoder.max_length=1024"
        ),
    ] = None,
    report_file: ReportFile = None,
) -> None:
    """Have a cross-encoder or an LLM judge pairs and their negatives.

    [bold]--estimate 200[/] tells how many of the negatives are false ones, with an interval. [bold]--output[/] writes all with
    the judge's scores, for distillation; [bold]--clean[/] leaves out false negatives, and [bold]--set relabel_above=0.9[/] makes
    positives of them (RLHN). The same command goes on after a kill.
    """
    from pipelines import judge_command

    given = {"cross_encoder.model": cross_encoder, "llm.client.model": llm}
    if llm:
        given |= {"llm.client.base_url": url, "llm.client.answers": answers}
    settings = _nested({name: value for name, value in given.items() if value is not None} | _settings(set_ or []))
    if llm:
        settings["llm"]["client"].setdefault("key_variable", key_variable)
    judging = judge_command.Judging(tuple(pairs), output, estimate, clean, seed, examples, report_file)
    if dry_run:
        judge_command.tell_costs(console, judging, settings)
    else:
        judge_command.judge(console, judging, settings)


def _standalone(
    job: str,
    inputs: list[str],
    output: str,
    settings: dict[str, Any],
    fields: dict[str, str],
    report_file: str | None,
    keep_work: bool,
    log_json: bool,
    *,
    leaks: str | None = None,
) -> None:
    from pipelines import standalone
    from pipelines.job import finished

    recipe = standalone.pair_recipe(job, inputs, fields, settings)
    folder = standalone.work_folder(output)
    _run(recipe, folder, log_json, [name for name in recipe.jobs() if name != "report"])
    rows = standalone.export(folder, job, output)
    standalone.write_counts(folder, job, report_file)
    if leaks:
        standalone.export_leaks(folder, leaks)
    if not log_json:
        _say(f"{rows:,} rows written to {output}")
        if finished(folder, "extract").rows_in == 0:
            _say(_no_pair(inputs, fields))
    if not keep_work:
        standalone.remove_work_folder(folder)


def _no_pair(inputs: list[str], fields: dict[str, str]) -> str:
    return (
        f"No pair could be read from {', '.join(inputs)}: name the fields of the two texts with --query-field (now"
        f" {fields['query']}) and --positive-field (now {fields['positive']})."
    )


def _run(recipe: "Recipe", folder: Any, log_json: bool, only: list[str] | None = None) -> None:
    from pipelines.display import choose_display
    from pipelines.launcher import run_recipe
    from pipelines.run_folder import absolute

    with _interruptible(), choose_display(console, log_json) as display:
        run_recipe(recipe, absolute(folder), display, only)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the work politely (training writes a checkpoint), with exit code 130 or 143."""
    from pipelines.interruption import Interrupted, ended_by_signals

    try:
        with ended_by_signals():
            yield
    except Interrupted as interrupted:
        errors.print("Interrupted. What was finished is kept; the same command goes on from there.", highlight=False)
        raise typer.Exit(interrupted.exit_code) from None


def _print_plan(recipe: "Recipe", folder: Any) -> None:
    from pipelines.refresh.plan import plan_work
    from pipelines.refresh.shown import print_plan
    from pipelines.run_folder import absolute
    from pipelines.training_stages import TrainStages

    print_plan(console, plan_work(recipe, absolute(folder)))
    if isinstance(recipe.train, TrainStages):
        _say(f"train         {', '.join(f'{stage.name} ({stage.kind})' for stage in recipe.train.stages)}")


def _print_end(folder: Any, jobs: list[str]) -> None:
    from pipelines import storage
    from pipelines.display import funnel_table, metrics_table
    from pipelines.manifest import read_manifest

    manifests = [manifest for job in jobs if (manifest := read_manifest(folder.job(job)))]
    console.print(funnel_table(manifests))
    evaluated = next((manifest for manifest in manifests if manifest.job == "evaluate"), None)
    if evaluated:
        console.print(metrics_table(evaluated.details["metrics"]))
    _say(f"Report: {storage.join(folder.url, 'report', 'index.html')}")


def _existing_run(name: str) -> Any:
    from pipelines import storage
    from pipelines.errors import UserError
    from pipelines.run_folder import RunFolder

    for candidate in (RunFolder(name), RunFolder(f"runs/{name}")):
        if storage.exists(candidate.recipe):
            return candidate
    known = sorted(path.parent.name for path in Path("runs").glob("*/recipe.yaml"))
    raise UserError(
        f"There is no run at {name} or runs/{name}. "
        + (f"Runs here: {', '.join(known)}." if known else "`pairmill run RECIPE` makes one.")
    )


def _settings(pairs: list[str]) -> dict[str, Any]:
    from pipelines.errors import UserError
    from pipelines.yaml_text import read_yaml

    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {pair}: write KEY=VALUE, e.g. --set language=de.")
        try:
            settings[key.strip()], _ = read_yaml(value, f"--set {key.strip()}")
        except UserError:
            raise UserError(f"--set {pair}: the value is not YAML; put quotes around it.") from None
    return settings


def _licences(names: str | None) -> dict[str, Any]:
    """--only-licences as a setting."""
    chosen = [name.strip() for name in (names or "").split(",")]
    return {"licences.only": [name for name in chosen if name]} if names is not None else {}


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} -> {"a": {"b": 1}}"""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        place = nested
        for step in path:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                from pipelines.errors import UserError

                raise UserError(f"--set {key}: {step} is set to {place} too; give one of both.")
        place[last] = value
    return nested


def _runner_settings(
    runner: str | None, mode: str | None, workers: int | None, beam_options: list[str]
) -> dict[str, Any]:
    from pipelines.errors import UserError
    from pipelines.runner import REFUSED_MODE

    if mode == "multi_threading":
        raise UserError(f"--mode multi_threading is refused: {REFUSED_MODE}")
    if beam_options and runner is None:
        raise UserError(
            f"Unknown option {beam_options[0]}. (Beam's options are passed on only together with --runner.)"
        )
    given = {"runner": runner, "mode": mode, "workers": workers, "options": beam_options or None}
    return {f"runner.{key}": value for key, value in given.items() if value is not None}


def _say(words: str) -> None:
    """A line with names from outside: no markup, no wrapping."""
    console.print(words, highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Run the command: exit code 0, 2 for the user's mistake, 1 for a failure, 130 after Ctrl-C, 143 after SIGTERM."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv = [word for word in sys.argv if word != "--debug"]
    try:
        app()
    except Exception as error:
        if debug:
            raise
        code, message = _explained(error)
        errors.print(f"[bold red]Error:[/] {message}", highlight=False, soft_wrap=True)
        sys.exit(code)


def _explained(error: Exception) -> tuple[int, str]:
    """(exit code, one paragraph) for an error."""
    from rich.markup import escape

    from pipelines.errors import USER_ERRORS, JobFailed, with_remedy

    if type(error).__name__ in USER_ERRORS:
        return 2, escape(" ".join(str(error).split()))
    if isinstance(error, JobFailed):
        return 1, escape(" ".join(str(error).split()))
    if isinstance(error, OSError) and (told := with_remedy(str(error))) != str(error):
        return 1, escape(told)
    return 1, escape(f"{type(error).__name__}: {error}. Run the command again with --debug for the traceback.")


if __name__ == "__main__":
    main()
