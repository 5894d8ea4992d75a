"""`pairmill evaluate`: systems on sets, a table side by side, files, the page, and the gate."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.errors import UserError
from pipelines.evaluate_compare import SetComparison, compared, worse_than_first
from pipelines.evaluate_display import evaluation_view, files_line, mteb_view
from pipelines.evaluate_published import published_rows
from pipelines.evaluate_results import write_results
from pipelines.evaluate_sets import EvaluationSet, load_sets
from pipelines.evaluate_settings import EvaluationFolder, EvaluationWeights
from pipelines.evaluate_systems import (
    Chosen,
    MetricRow,
    Result,
    evaluate_bm25,
    evaluate_model,
    evaluate_run_file,
    file_name,
    save_runs,
    vectors_folder,
)
from pipelines.evaluate_tuning import HYBRID, development_set, in_words, tune_weights
from pipelines.recipe import explain_validation

if TYPE_CHECKING:
    from trainer.encoder import EncoderSettings

WORSE = 3  # exit code of --fail-if-worse
_ONE_SYSTEM: Final = (
    "--page shows two systems side by side, and there is one only: name two models, a model and a --run, or --bm25 with a "
    "retrieval set."
)


@dataclass(frozen=True)
class Evaluating:
    """What the command line asks for."""

    models: tuple[str, ...]  # PATH or NAME=PATH
    folders: tuple[dict[str, Any], ...]  # of EvaluationFolder
    output: str
    modes: tuple[str, ...]
    metrics: tuple[str, ...] | None
    weights: dict[str, Any]
    run_files: tuple[str, ...]  # FILE or NAME=FILE
    bm25: Literal["no", "words", "both"]
    encoder: dict[str, Any]  # of EncoderSettings; NAME.KEY: of the model NAME alone
    save_runs: str | None
    page: str | None
    page_queries: int
    compare: bool
    fail_if_worse: float | None
    work: str | None
    embeddings: str | None
    seed: int
    tune_on: dict[str, Any] | None = None  # of EvaluationFolder
    mteb: tuple[str, ...] = ()  # names of mteb's tasks and benchmarks


@dataclass(frozen=True)
class _Model:
    name: str
    settings: "EncoderSettings"


def evaluate_command(console: Console, asked: Evaluating) -> int:
    """Evaluate and show; the exit code: 0, or WORSE where the gate says so. Raises UserError and what reading data raises."""
    models, runs = _models(asked), [_named(given) for given in asked.run_files]
    judged = [model.name for model in models] + [name for name, _ in runs]
    _check_systems(asked, judged)
    _check_files(asked, runs)
    folders, chosen = _folders(asked), _chosen(asked)
    with tempfile.TemporaryDirectory(prefix="pairmill-evaluate-") as scratch:
        sets = load_sets(folders, asked.work or scratch)
        _tell_about_sets(console, sets)
        _check_page(asked, sets, judged)
        results = list(_results(console, asked, models, runs, sets, chosen, scratch))
        results = in_order_of_sets(results, sets)
        comparisons = compared(results, asked.seed) if asked.compare or asked.fail_if_worse is not None else []
        published = published_rows(sets)
        files = write_results(asked.output, results, comparisons, published)
        console.print(evaluation_view(results, comparisons, published))
        if asked.save_runs:
            files += save_runs(asked.save_runs, results)
        if asked.page:
            files.append(_write_page(asked, results))
        if asked.mteb:  # last: a hub that does not answer takes nothing of the rest away
            mteb_rows = [row for model in models for row in _of_mteb(asked, model)]
            write_results(asked.output, results, comparisons, published, mteb_rows)
            console.print(mteb_view(mteb_rows))
        console.print(files_line(files), highlight=False, markup=False, soft_wrap=True)
        return _gate(console, asked, comparisons, judged)


def in_order_of_sets(results: Sequence[Result], sets: Sequence[EvaluationSet]) -> list[Result]:
    """The results set by set, each set's in the order of the systems."""
    return [result for of in sets for result in results if result.of is of]


def _models(asked: Evaluating) -> list[_Model]:
    from trainer.encoder import EncoderSettings

    named = [_named(given) for given in asked.models]
    names = [name for name, _ in named]
    general = {key: value for key, value in asked.encoder.items() if _model_of(key, names) is None}
    found = []
    for name, path in named:
        own = {
            key.removeprefix(f"{name}."): value for key, value in asked.encoder.items() if _model_of(key, names) == name
        }
        try:
            found.append(_Model(name, EncoderSettings.model_validate({"model": path, **general, **own})))
        except ValidationError as error:
            raise UserError(explain_validation(error, "the command line", {}, EncoderSettings)) from None
    return found


def _model_of(key: str, names: Sequence[str]) -> str | None:
    """Whose setting NAME.KEY is, a name may hold dots; None: of all models."""
    return max((name for name in names if key.startswith(f"{name}.")), key=len, default=None)


def _named(given: str) -> tuple[str, str]:
    """(name, path) of PATH, whose name is itself, or of NAME=PATH."""
    name, equals, path = given.partition("=")
    return (name, path) if equals and name and path and not Path(given).exists() else (given, given)


def _check_systems(asked: Evaluating, names: Sequence[str]) -> None:
    """Before any work: whether there is something to evaluate, and two systems where two are compared."""
    twice = next((name for name in names if names.count(name) > 1 or name in ("bm25", "bm25-tokens")), None)
    if twice is not None:
        raise UserError(f"Two systems would be called {twice}: give each a name of its own, as in NAME={twice}.")
    every = len(names) + (asked.bm25 != "no")
    if asked.tune_on is not None and not set(HYBRID) & set(asked.modes):
        raise UserError("--tune-on searches weights of hybrid modes, and --modes has none: add dense+lexical or all.")
    if asked.mteb and not asked.models:
        raise UserError("--mteb runs mteb's tasks with a model: name one.")
    if not every:
        raise UserError("There is nothing to evaluate: name a model, a run file with --run, or --bm25.")
    if asked.fail_if_worse is not None and len(names) < 2:
        raise UserError(
            "--fail-if-worse compares the first system with those after it, and there is one only. Name the model that is to be "
            "kept first and the new one after it, or a run file of the new one with --run."
        )
    if asked.fail_if_worse is not None and not asked.folders:
        raise UserError("--fail-if-worse compares systems on folders of --data, and there is none: name one.")
    if asked.bm25 == "both" and not asked.models:
        raise UserError("--bm25-tokens counts the tokens of the first model, and there is none: name one.")
    if asked.page and every < 2:
        raise UserError(_ONE_SYSTEM)


def _check_page(asked: Evaluating, sets: Sequence[EvaluationSet], names: Sequence[str]) -> None:
    """Whether two systems will have results: BM25 has none on tasks."""
    ranked = any(of.retrieval is not None for of in sets)
    if asked.page and len(names) + (asked.bm25 != "no" and ranked) < 2:
        raise UserError(_ONE_SYSTEM)


def _check_files(asked: Evaluating, runs: Sequence[tuple[str, str]]) -> None:
    """Before any work: whether what is read is there, and what is written is no folder."""
    for _, file in runs:
        if not Path(file).is_file():
            raise UserError(f"--run names {file}, and there is no such file. Correct the path.")
    for option, path in (("--output", asked.output), ("--page", asked.page)):
        if path and (Path(path).is_dir() or path.endswith("/")):
            raise UserError(f"{option} {path} is a folder: name a file in it.")


def _folders(asked: Evaluating) -> list[EvaluationFolder]:
    try:
        return [EvaluationFolder.model_validate(folder) for folder in asked.folders]
    except ValidationError as error:
        raise UserError(explain_validation(error, "the command line", {}, EvaluationFolder)) from None


def _chosen(asked: Evaluating) -> Chosen:
    from trainer.evaluate.metrics import depth_of

    try:
        weights = EvaluationWeights.model_validate(asked.weights) if asked.weights else None
        EvaluationFolder.model_validate({"path": "-", "modes": asked.modes})
    except ValidationError as error:
        raise UserError(explain_validation(error, "the command line", {}, EvaluationFolder)) from None
    if asked.metrics is not None:
        try:
            depth_of(asked.metrics)
        except ValueError as error:
            raise UserError(f"--metrics: {error}") from None
    return Chosen(tuple(dict.fromkeys(asked.modes)), asked.metrics, weights, 100)  # type: ignore[arg-type]  # checked above


def _tell_about_sets(console: Console, sets: Sequence[EvaluationSet]) -> None:
    for of in sets:
        for words, count in (of.retrieval.notes if of.retrieval else {}).items():
            if count:
                console.print(
                    f"{of.title}: {count:,} {words.replace('_', ' ')}", style="yellow", highlight=False, markup=False
                )


def _results(
    console: Console,
    asked: Evaluating,
    models: Sequence[_Model],
    runs: Sequence[tuple[str, str]],
    sets: Sequence[EvaluationSet],
    chosen: Chosen,
    scratch: str,
) -> Iterator[Result]:
    work = asked.work or vectors_folder(sets, scratch)
    development = None
    if asked.tune_on is not None:
        folder = EvaluationFolder.model_validate(asked.tune_on)
        development = development_set(load_sets([folder], asked.work or scratch))
    with _progress(console) as (progress, bar):
        of_runs: list[Result] = []  # first, since mistakes in files are told in seconds
        for name, file in runs:
            progress.update(bar, description=escape(name), total=None)
            of_runs += evaluate_run_file(file, name, sets, chosen)
        for model in models if sets else ():
            yield from _of_model(asked, model, sets, chosen, work, progress, bar, development)
        yield from of_runs
        for of in sets if asked.bm25 != "no" else ():
            if of.retrieval is not None:
                progress.update(bar, description=escape(f"BM25 on {of.title}"), total=None)
                tokens = models[0].settings.model if asked.bm25 == "both" and models else None
                yield from evaluate_bm25(of, chosen, tokens)


def _of_model(
    asked: Evaluating,
    model: _Model,
    sets: Sequence[EvaluationSet],
    chosen: Chosen,
    work: str | None,
    progress: Progress,
    bar: TaskID,
    development: EvaluationSet | None,
) -> Iterator[Result]:
    from trainer.encoder_processes import open_encoder

    progress.update(bar, description=escape(f"load {model.name}"), total=None, completed=0)
    with closing(open_encoder(model.settings)) as encoder:
        before = 0

        def starting(of: EvaluationSet) -> None:
            nonlocal before
            before = encoder.encoded
            progress.reset(bar, description=escape(f"{model.name} on {of.title}"), total=_texts(of, chosen))

        encoder.on_batch = lambda encoded: progress.update(bar, completed=encoded - before)
        embedded = _embedded(encoder, asked.embeddings)
        if development is not None:
            progress.update(bar, description=escape(f"{model.name}: weights on {development.title}"))
            weights = tune_weights(encoder, development, chosen.modes, work)
            if weights is not None:
                told = f"{model.name}, weights from {development.title}: {in_words(weights)}"
                progress.console.print(told, highlight=False, markup=False, soft_wrap=True)
                chosen = replace(chosen, weights=weights)
        yield from evaluate_model(encoder, model.name, sets, chosen, work=work, embedded=embedded, starting=starting)


def _of_mteb(asked: Evaluating, model: _Model) -> list[MetricRow]:
    """The rows of mteb's own tasks; its files lie in OUTPUT's folder, mteb-results/NAME/mteb."""
    from trainer.backbone import model_fingerprint
    from trainer.encoder_processes import open_encoder
    from trainer.evaluate.mteb_models import run_mteb

    folder = Path(asked.output).parent / "mteb-results" / file_name(model.name)
    revision = model_fingerprint(model.settings.model)
    with closing(open_encoder(model.settings)) as encoder:
        return [
            {**row, "scope": "all"}
            for row in run_mteb(encoder, asked.mteb, folder, model=model.name, revision=revision)
        ]


def _texts(of: EvaluationSet, chosen: Chosen) -> int | None:
    """How many texts will be encoded, as far as that is known."""
    modes = of.folder.modes or chosen.modes
    if of.retrieval is None or {"multi_vector", "all"} & set(modes):
        return None
    return len(of.retrieval.documents) + len(of.retrieval.query_ids)


def _embedded(encoder: Any, folder: str | None) -> Callable[..., Any] | None:
    if folder is None:
        return None
    from trainer.embedding_store import EmbeddingStore
    from trainer.evaluate import stored_embedding

    store = EmbeddingStore(folder)
    store.begin_use(tidy=True)
    return stored_embedding(encoder, store)


@contextmanager
def _progress(console: Console) -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f} texts"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress, progress.add_task("read", total=None)


def _write_page(asked: Evaluating, results: Sequence[Result]) -> Path:
    from pipelines.evaluate_moved import side_by_side
    from pipelines.report.side_by_side import write_page

    assert asked.page is not None
    systems = list(dict.fromkeys(result.system for result in results))
    return write_page(asked.page, side_by_side(results, systems[0], systems[1], asked.page_queries, asked.seed))


def _gate(console: Console, asked: Evaluating, comparisons: Sequence[SetComparison], systems: Sequence[str]) -> int:
    if asked.fail_if_worse is None:
        return 0
    failed = worse_than_first(comparisons, systems, asked.fail_if_worse)
    for words in failed:
        console.print(f"[red]worse[/] {escape(words)}", highlight=False, soft_wrap=True)
    return WORSE if failed else 0
