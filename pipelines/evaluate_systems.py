"""What one system gets on evaluation sets: an encoder in its modes, BM25, or any other system's run file.

In:  `EvaluationSet`s and an encoder (or a run file).
Out: `Result`s, one for each set and mode, set by set.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa

from pipelines.errors import UserError
from pipelines.evaluate_sets import EvaluationSet
from pipelines.evaluate_settings import EvaluationWeights, Mode

if TYPE_CHECKING:
    from trainer.encoder import Encoder
    from trainer.encoder_processes import EncoderPool
    from trainer.evaluate import Evaluation
    from trainer.search_blocks import Found

MetricRow = dict[str, str | int | float | None]
Embed = Callable[[Literal["query", "passage"], pa.Array], "np.ndarray[Any, Any]"]

RUN_MODE: Final = "run"  # of the rows of run files
_DOCUMENTS: Final = 100  # of a ranking, at least, where it is kept: a run file is of use to others


@dataclass(frozen=True)
class Result:
    """One system in one mode on one set."""

    system: str
    mode: str
    of: EvaluationSet
    rows: list[MetricRow]  # of retrieval the first is for all queries; of tasks the last is for all languages
    per_query: pa.Table | None = None  # of retrieval: query_id, kind, language and a column a metric
    ranking: "Found | None" = None  # of retrieval

    @property
    def metric(self) -> str:
        """The metric that counts first: of the papers for the benchmark, of the kind of task."""
        return main_metric(self.of)

    @property
    def overall(self) -> MetricRow:
        """The row for all queries, or all languages."""
        return self.rows[-1] if self.of.task is not None else self.rows[0]

    @property
    def value(self) -> float | None:
        """The main metric of all; None where the task has none defined."""
        value = self.overall[self.metric]
        return None if value is None else float(value)


@dataclass(frozen=True)
class Chosen:
    """What is computed for every system."""

    modes: tuple[Mode, ...] = ("dense",)
    metrics: tuple[str, ...] | None = None  # default: those of trainer.evaluate
    weights: EvaluationWeights | None = None
    depth: int | None = None  # of kept rankings; default: what the metrics look at


def main_metric(of: EvaluationSet) -> str:
    """ndcg@10; answer_recall@100 of sets with answers (M3 table 2); of tasks the one of their kind."""
    if of.task is not None:
        from trainer.evaluate.tasks import MAIN_METRICS

        return MAIN_METRICS[of.task.kind]
    assert of.retrieval is not None
    return "ndcg@10" if of.retrieval.answers is None else "answer_recall@100"


def modes_of(encoder: "Encoder | EncoderPool", wanted: Sequence[Mode]) -> tuple[Mode, ...]:
    """Those of the wanted modes that the model has the outputs for."""
    from trainer.evaluate.model_rankings import NEEDS

    return tuple(mode for mode in wanted if NEEDS[mode] <= encoder.outputs)


def evaluate_model(
    encoder: "Encoder | EncoderPool",
    name: str,
    sets: Sequence[EvaluationSet],
    chosen: Chosen,
    *,
    work: str | None = None,
    embedded: Embed | None = None,
    starting: Callable[[EvaluationSet], None] = lambda of: None,
) -> Iterator[Result]:
    """Evaluate an encoder. A mode that the model lacks is left out; `starting` is told each set before its work.

    Raises UserError where a retrieval set is left with no mode, and what encoding raises.
    """
    for of in sets:
        starting(of)
        if of.task is not None:
            yield _task_result(encoder, name, of)
            continue
        for evaluation in _retrieval(encoder, name, of, chosen, work, embedded):
            yield _result(name, of, evaluation)


def vectors_folder(sets: Sequence[EvaluationSet], scratch: str) -> str | None:
    """Where a corpus's vectors are kept while one model is evaluated: nowhere, unless several sets search one corpus (MKQA).

    Otherwise they are a stream, and take no disk.
    """
    corpora = [id(of.retrieval.documents) for of in sets if of.retrieval is not None]
    return scratch if len(set(corpora)) < len(corpora) else None


def _retrieval(
    encoder: "Encoder | EncoderPool",
    name: str,
    of: EvaluationSet,
    chosen: Chosen,
    work: str | None,
    embedded: Embed | None,
) -> "list[Evaluation]":
    from trainer.evaluate import RetrievalSettings, evaluate_retrieval

    assert of.retrieval is not None
    wanted = of.folder.modes or chosen.modes
    modes = modes_of(encoder, wanted)
    if not modes:
        raise UserError(
            f"{name} gives {' and '.join(sorted(encoder.outputs))} vectors only, and none of the modes {', '.join(wanted)} can do "
            f"with that. Add the mode dense."
        )
    weights = of.folder.weights or chosen.weights
    settings = RetrievalSettings(
        modes=modes,
        metrics=metrics_for(of, chosen),
        depth=_depth(of, chosen),
        weights=weights.hybrid() if weights else None,
        work=work,
    )
    return evaluate_retrieval(encoder, of.retrieval, settings, model=name, embedded=embedded)


def metrics_for(of: EvaluationSet, chosen: Chosen) -> tuple[str, ...] | None:
    """The chosen metrics that the set can give, its main one always among them; None for the usual ones."""
    assert of.retrieval is not None
    if chosen.metrics is None:
        return None
    by_answer = of.retrieval.answers is not None
    possible = [metric for metric in chosen.metrics if metric.startswith("answer_") == by_answer]
    return tuple(dict.fromkeys([main_metric(of), *possible]))


def _depth(of: EvaluationSet, chosen: Chosen) -> int | None:
    from trainer.evaluate.metrics import depth_of, usual_metrics

    assert of.retrieval is not None
    looked_at = depth_of(metrics_for(of, chosen) or usual_metrics(of.retrieval))
    return max(looked_at, chosen.depth) if chosen.depth else None


def _result(name: str, of: EvaluationSet, evaluation: "Evaluation") -> Result:
    rows = [{**row, "task": "retrieval", "scope": _scope(row, row is evaluation.rows[0])} for row in evaluation.rows]
    return Result(name, evaluation.mode, of, rows, evaluation.per_query, evaluation.ranking)


def _scope(row: MetricRow, overall: bool) -> str:
    """What a row is of: all queries, those of a kind, or those of a language."""
    return "all" if overall else "language" if row.get("kind") in (None, "all") else "kind"


def _task_result(encoder: "Encoder | EncoderPool", name: str, of: EvaluationSet) -> Result:
    from trainer.evaluate.retrieval import code_version, model_fingerprint_of
    from trainer.evaluate.tasks import evaluate_task

    assert of.task is not None and of.task_fingerprint is not None
    identity: MetricRow = {
        "model_fingerprint": model_fingerprint_of(encoder),
        "data_fingerprint": of.task_fingerprint,
        "code": code_version(),
    }
    rows = evaluate_task(encoder, of.task, model=name)
    return Result(name, "dense", of, [{**row, **identity, "scope": _scope(row, row is rows[-1])} for row in rows])


def evaluate_bm25(of: EvaluationSet, chosen: Chosen, model: str | None = None) -> list[Result]:
    """BM25 on a retrieval set: by words of the queries' language and, with a model folder, by its tokens (M3 table 11)."""
    from trainer.evaluate import bm25_baselines

    assert of.retrieval is not None
    found = []
    evaluations = bm25_baselines(of.retrieval, model, metrics_for(of, chosen), depth=_depth(of, chosen))
    # One name in all languages: what the analyser of each does is told in its rows.
    for name, evaluation in zip(("bm25", "bm25-tokens"), evaluations, strict=False):
        result = _result(name, of, evaluation)
        analyser = re.sub(r"^bm25 ?\(?|\)$", "", str(evaluation.rows[0]["model"])) or "words"
        rows = [{**row, "model": name, "analyser": analyser} for row in result.rows]
        found.append(replace(result, rows=rows))
    return found


def evaluate_run_file(file: str, name: str, sets: Sequence[EvaluationSet], chosen: Chosen) -> Iterator[Result]:
    """Any system's TREC run file, on each retrieval set of which it ranks a query.

    Raises UserError where it ranks no query of any set, EvaluationDataError for a damaged file or a foreign document.
    """
    from trainer.evaluate import read_run, rows_of_run
    from trainer.evaluate.retrieval import evaluated, identity_of
    from trainer.search_blocks import Found

    run = read_run(file)
    fingerprint = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:32]
    meant = [
        of for of in sets if of.retrieval is not None and not run.rankings.keys().isdisjoint(of.retrieval.query_ids)
    ]
    if not meant:
        query = next(iter(run.rankings))
        raise UserError(f"{file} ranks no query of --data (its first is {query!r}). Name the set it was made of.")
    for of in meant:
        assert of.retrieval is not None
        identity = {"model_fingerprint": fingerprint, **identity_of(None, of.retrieval)}
        found = Found(*rows_of_run(run, of.retrieval))
        metrics = metrics_for(of, chosen)
        yield _result(name, of, evaluated(of.retrieval, found, metrics, model=name, mode=RUN_MODE, identity=identity))


def save_runs(folder: str | Path, results: Sequence[Result]) -> list[Path]:
    """Write each ranking as FOLDER/SET.LANGUAGE.SYSTEM.MODE.trec; the files in order."""
    from trainer.evaluate import write_run

    files: list[Path] = []
    stems: Counter[str] = Counter()
    for result in results:
        if result.ranking is None or result.of.retrieval is None:
            continue
        names = (result.of.name, result.of.language, result.system, result.mode)
        stem = ".".join(file_name(name) for name in names if name)
        stems[stem] += 1  # a/b and a-b would have one file
        file = Path(folder) / (f"{stem}.trec" if stems[stem] == 1 else f"{stem}.{stems[stem]}.trec")
        tag = file_name(result.system)
        write_run(file, result.of.retrieval, result.ranking.scores, result.ranking.rows, name=tag)
        files.append(file)
    return files


def file_name(name: str) -> str:
    """A name as part of a file's: letters and digits of any script stay."""
    return re.sub(r"[^\w+-]+", "-", name.removeprefix("package://")).strip("-") or "unnamed"


def shown_name(system: str) -> str:
    """A system's name, short: of a long path its end; of an installed model its package."""
    if system.startswith("package://"):
        return system.removeprefix("package://").partition("/")[0]
    parts = Path(system).parts
    return str(Path(*parts[-3:])) if len(parts) > 3 else system
