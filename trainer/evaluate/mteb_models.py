"""mteb's own tasks with our encoder: standard benchmarks by name, where the hub can be reached (extra `mteb`).

Out: FOLDER/mteb/TASK.json as mteb writes it (figures rounded to six digits), and rows like those of evaluate_task.

Written for mteb 2: an encoder is an object with encode, similarity, similarity_pairwise and mteb_model_meta. mteb computes and
scores; only embeddings are ours, so figures can be compared with those of a leaderboard.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from trainer.backbone import Role
from trainer.evaluate.metrics import MetricRow, write_whole
from trainer.evaluate.tasks.text_vectors import TextEncoder, text_vectors

if TYPE_CHECKING:
    from mteb.models import ModelMeta

log = logging.getLogger(__name__)

BENCHMARKS: Final[Mapping[str, str]] = {"C-MTEB": "MTEB(cmn, v1)"}  # names that people use, and mteb's


class MtebError(ValueError):
    """mteb cannot be run. The message says what is missing."""


class MtebEncoder:
    """An encoder by mteb's protocol (`EncoderProtocol`).

    mteb tells queries and documents of retrieval and reranking; texts of other tasks have the role `symmetric_role`.
    Each distinct text of a call is encoded once.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        name: str = "pairmill/model",
        revision: str = "local",
        symmetric_role: Role = "passage",
    ) -> None:
        """`name` and `revision` are what mteb writes into its results; mteb wants a name of the form OWNER/MODEL."""
        self._encoder = encoder
        self._name = name if "/" in name else f"pairmill/{name}"
        self._revision = revision
        self._symmetric_role = symmetric_role

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """What mteb knows of the model: its name."""
        meta = _mteb().models.ModelMeta.create_empty({"name": self._name, "revision": self._revision})
        return meta.model_copy(update={"similarity_fn_name": "dot", "modalities": ["text"]})

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[str]]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **_: Any,
    ) -> npt.NDArray[np.float32]:
        """Embeddings float32 [n, D] of the field `text` of all batches. mteb's batch size is not used: batches are ours."""
        texts = [text for batch in inputs for text in batch["text"]]
        return text_vectors(self._encoder, texts, self._role(prompt_type)).take(slice(None))

    def _role(self, prompt_type: Any) -> Role:
        if prompt_type is None:
            return self._symmetric_role
        return "query" if getattr(prompt_type, "value", prompt_type) == "query" else "passage"

    def similarity(self, embeddings1: Any, embeddings2: Any) -> npt.NDArray[np.float32]:
        """Inner products [n, m], as in our own retrieval."""
        return np.asarray(np.atleast_2d(embeddings1) @ np.atleast_2d(embeddings2).T, np.float32)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> npt.NDArray[np.float32]:
        """Inner products [n] of the rows."""
        return np.asarray(np.vecdot(np.asarray(embeddings1), np.asarray(embeddings2)), np.float32)


def run_mteb(
    encoder: TextEncoder,
    tasks: Sequence[Any],
    output: str | Path,
    *,
    model: str,
    revision: str,
    symmetric_role: Role = "passage",
) -> list[MetricRow]:
    """Run mteb's tasks and keep its results in `output`/mteb/; a task whose file is there is read, not run again.

    `tasks` are names of tasks (T2Reranking), of benchmarks (C-MTEB, MTEB(cmn, v1)) or mteb's task objects. `revision`
    identifies the model's content (trainer.backbone.model_fingerprint). Each task is written as soon as it is done.
    Raises MtebError where mteb is not installed, a name is unknown, the data cannot be fetched, or `output` holds the results of
    another model.
    """
    mteb = _mteb()
    folder = Path(output) / "mteb"
    _check_model(folder, {"model": model, "revision": revision, "symmetric_role": symmetric_role})
    wrapped = MtebEncoder(encoder, name=model, revision=revision, symmetric_role=symmetric_role)
    rows: list[MetricRow] = []
    for task in _tasks(mteb, tasks):
        file = folder / f"{task.metadata.name}.json"
        if file.is_file():
            log.info("%s is there: read, not run again. Remove it to run the task.", file)
        else:
            _run(mteb, wrapped, task, file)
        # Read also what was just written: rounded as mteb rounds it, the figures are the same whenever they are asked for.
        rows += _rows(mteb.results.TaskResult.from_disk(file), task, model)
    return rows


def _run(mteb: Any, encoder: MtebEncoder, task: Any, file: Path) -> None:
    try:
        result = mteb.evaluate(encoder, task, cache=None, co2_tracker=False).task_results[0]
    except OSError as error:  # what datasets and the hub's client raise where nothing can be fetched
        raise MtebError(
            f"mteb could not get the data of {task.metadata.name} ({error}). They come from the hub: go on where it can be reached "
            f"(finished tasks are kept), or evaluate a downloaded folder of task files (docs/evaluation.md)."
        ) from error
    partial = file.with_suffix(".partial")
    result.to_disk(partial)
    partial.replace(file)


def _check_model(folder: Path, identity: dict[str, str]) -> None:
    """Write whose results the folder holds, or compare with what is written there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "model.json"
    if not file.is_file():
        write_whole(file, lambda partial: partial.write_text(json.dumps(identity, indent=2) + "\n", "utf-8"))
    found = json.loads(file.read_text("utf-8"))
    if found != identity:
        raise MtebError(
            f"{folder} holds mteb's results of another model ({found}; asked for: {identity}). Choose another output folder, or "
            f"remove that one."
        )


def _mteb() -> Any:
    try:
        import mteb
    except ImportError as error:
        raise MtebError(
            "mteb is not installed, and without it its benchmarks cannot be run by name. Install it with pip install 'pairmill[mteb]', "
            "or evaluate folders of task files (docs/evaluation.md)."
        ) from error
    return mteb


def _tasks(mteb: Any, wanted: Sequence[Any]) -> list[Any]:
    tasks: list[Any] = []
    for each in wanted:
        if not isinstance(each, str):
            tasks.append(each)
            continue
        name = BENCHMARKS.get(each, each)
        try:
            if name in {benchmark.name for benchmark in mteb.get_benchmarks()}:
                tasks += list(mteb.get_benchmark(name).tasks)
            else:
                tasks.append(mteb.get_task(name))
        except (KeyError, ValueError) as error:
            raise MtebError(
                f"mteb {mteb.__version__} has no task or benchmark {each!r} ({error}). `mteb available-tasks` lists the names."
            ) from error
    return tasks


def _rows(result: Any, task: Any, model: str) -> list[MetricRow]:
    """One row for each split and subset, with mteb's names of metrics."""
    rows: list[MetricRow] = []
    for split, subsets in result.scores.items():
        for scores in subsets:
            numbers = {name: value for name, value in scores.items() if isinstance(value, float | int)}
            rows.append(
                {
                    "model": model,
                    "data": result.task_name,
                    "task": f"mteb:{task.metadata.type}",
                    "split": split,
                    "language": ", ".join(scores["languages"]) or None,
                    "mode": "dense",
                    "main_metric": task.metadata.main_score,
                    **numbers,
                }
            )
    return rows
