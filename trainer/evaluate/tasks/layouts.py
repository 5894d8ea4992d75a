"""Folders and files of the five kinds of tasks, told apart by their fields; docs/evaluation.md describes them.

    sts                  sentence1, sentence2, score
    pair_classification  sentence1, sentence2, label (0 or 1)
    classification       text, label; a file of the split `train` beside the one that is evaluated
    clustering           text, label, without `train`; or lists of both, a set a row
    reranking            query, positive (list), negative (list)

A field `language` divides any of them. Files: JSON lines, TSV, CSV, Parquet, also gzipped, named by split (test.jsonl,
validation-00000-of-00001.parquet ...), in the folder or its folder data/. task.json may hold settings.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from trainer.evaluate.files import EvaluationDataError
from trainer.evaluate.tasks.fields import codes, flattened, labels, numbers, text_lists, texts, zero_or_one
from trainer.evaluate.tasks.kinds import (
    Classification,
    Clustering,
    LabelledPairs,
    LabelledTexts,
    Reranking,
    ScoredPairs,
    Task,
    TaskData,
    TaskKind,
    TaskSettings,
)
from trainer.evaluate.tasks.published import published_task
from trainer.evaluate.tasks.rows import SUFFIXES, Rows, read_rows

log = logging.getLogger(__name__)

SPLITS: Final = ("test", "validation", "dev")  # which is evaluated where none is named
FIELDS: Final[dict[TaskKind, tuple[str, ...]]] = {
    "sts": ("sentence1", "sentence2", "score"),
    "pair_classification": ("sentence1", "sentence2", "label"),
    "classification": ("text", "label"),
    "clustering": ("text", "label"),
    "reranking": ("query", "positive", "negative"),
}


def load_task(path: str | Path, **settings: Any) -> Task:
    """Read a task's folder, or the single file of one. `settings` (fields of TaskSettings) overrule its task.json, and that the published ones.

    Raises EvaluationDataError for files that are missing, damaged or of no known layout, for a row without the field it
    needs, for scores that are no finite numbers or all equal, and for labels of one class only; the message names file and
    line.
    """
    path = Path(path)
    name = path.resolve().name if path.is_dir() else path.name.split(".")[0]
    chosen = _settings(path, name, settings)
    files = _files(path)
    split = _split(path, files, chosen.split)
    rows = read_rows(files[split])
    kind = chosen.kind or _kind(rows, "train" in files and split != "train")
    _require(rows, FIELDS[kind], kind)
    train = None
    if kind == "classification":
        if split == "train" or "train" not in files:
            raise EvaluationDataError(
                f"{path} is a classification task without a file of the split train (train.jsonl ...): there is nothing to "
                f"learn the labels from. Add it, or set kind to clustering."
            )
        train = read_rows(files["train"])
        _require(train, FIELDS[kind], kind)
    subsets = {language: _DATA[kind](part, held) for language, part, held in _by_language(rows, train)}
    log.info("%s: %s, split %s, %d rows, %d languages", path, kind, split, len(rows), len(subsets))
    return Task(name, kind, split, subsets, chosen)


def _settings(path: Path, name: str, given: dict[str, Any]) -> TaskSettings:
    published = published_task(name)
    values: dict[str, Any] = {}
    if published is not None:
        values = {"kind": published.kind, "split": published.split, **published.settings}
    file = path / "task.json"
    try:
        if file.is_file():
            values |= orjson.loads(file.read_bytes())
        return TaskSettings.model_validate(values | given)
    except (ValueError, TypeError) as error:
        raise EvaluationDataError(
            f"The settings of the task {path} (its task.json and those given) will not do: {error}. Correct them; the settings "
            f"are {', '.join(TaskSettings.model_fields)}."
        ) from error


def _files(path: Path) -> dict[str, list[Path]]:
    """Files by split; a single file is the split it is named after, or test."""
    if path.is_file():
        if not path.name.removesuffix(".gz").endswith(SUFFIXES):
            raise EvaluationDataError(
                f"{path} is no task file: its name ends in none of {', '.join(SUFFIXES)} (or .gz)."
            )
        return {_split_of(path): [path]}
    files: dict[str, list[Path]] = {}
    by_stem: dict[str, Path] = {}
    for folder in (path, path / "data"):
        found = sorted(file for file in folder.glob("*") if file.name.removesuffix(".gz").endswith(SUFFIXES))
        for file in found:
            if file.name != "task.json" and not file.name.startswith((".", "_")):
                other = by_stem.setdefault(Path(file.name.removesuffix(".gz")).stem, file)
                if other != file:
                    raise EvaluationDataError(
                        f"{other} and {file} are one file in two forms, and its rows would count twice. Remove one of them."
                    )
                files.setdefault(_split_of(file), []).append(file)
    if not files:
        raise EvaluationDataError(
            f"{path} holds no task file. A task is a folder with test.jsonl (or .tsv, .csv, .parquet), or one such file."
        )
    return files


def _split_of(file: Path) -> str:
    return re.split(r"[.-]", file.name, maxsplit=1)[0]


def _split(path: Path, files: dict[str, list[Path]], wanted: str | None) -> str:
    if path.is_file():
        return next(iter(files))
    if wanted is None:
        wanted = next((split for split in SPLITS if split in files), None)
        if wanted is None and len(files) == 1:
            return next(iter(files))
    if wanted not in files:
        raise EvaluationDataError(
            f"{path} has no file of the split {wanted or ' or '.join(SPLITS)}; it has {', '.join(sorted(files))}. Name the split to "
            f"evaluate."
        )
    return wanted


def _kind(rows: Rows, with_train: bool) -> TaskKind:
    fields = set(rows.columns)
    kinds: list[TaskKind] = [
        kind for kind, needed in FIELDS.items() if fields.issuperset(needed) and kind != "clustering"
    ]
    if len(kinds) != 1:
        layouts = "; ".join(f"{kind}: {', '.join(needed)}" for kind, needed in FIELDS.items())
        raise EvaluationDataError(
            f"{rows.files} has the fields {', '.join(rows.found)}, which are those of {'no' if not kinds else 'several'} kind of task "
            f"({layouts}). Rename the fields, or set kind."
        )
    in_sets = kinds[0] == "classification" and isinstance(rows.columns["text"][0], list)
    return "clustering" if kinds[0] == "classification" and (in_sets or not with_train) else kinds[0]


def _require(rows: Rows, fields: Sequence[str], kind: TaskKind) -> None:
    missing = [name for name in fields if name not in rows.columns]
    if missing:
        raise EvaluationDataError(
            f"{rows.files} has no field {' and '.join(missing)}, which a {kind} task needs; it has {', '.join(rows.found)}."
        )


def _by_language(rows: Rows, train: Rows | None) -> list[tuple[str | None, Rows, Rows | None]]:
    """The rows of each language, in the order of their codes, with the training rows of the same language."""
    if "language" not in rows.columns:
        return [(None, rows, train)]
    divided = train is not None and "language" in train.columns
    return [
        (language, _only(rows, language), _only(train, language) if train is not None and divided else train)
        for language in sorted(set(texts(rows, "language")))
    ]


def _only(rows: Rows, language: str) -> Rows:
    keep = [row for row, value in enumerate(rows.columns["language"]) if value == language]
    if not keep:
        raise EvaluationDataError(
            f"{rows.files} holds no row of the language {language}, which the evaluated file has."
        )
    columns = {name: [column[row] for row in keep] for name, column in rows.columns.items()}
    parts, start = [], 0
    for file, unit, places in rows.parts:
        parts.append((file, unit, [places[row - start] for row in keep if start <= row < start + len(places)]))
        start += len(places)
    return Rows(columns, parts, rows.found)


def _scored_pairs(rows: Rows, _: Rows | None) -> ScoredPairs:
    rows = flattened(rows, FIELDS["sts"])
    data = ScoredPairs(texts(rows, "sentence1"), texts(rows, "sentence2"), numbers(rows, "score"))
    if len(np.unique(data.scores)) < 2:
        raise EvaluationDataError(
            f"{rows.files}: all {len(data.scores)} scores are equal, and no correlation with them is defined. STS needs at least "
            f"two different scores."
        )
    return data


def _labelled_pairs(rows: Rows, _: Rows | None) -> LabelledPairs:
    rows = flattened(rows, FIELDS["pair_classification"])
    data = LabelledPairs(texts(rows, "sentence1"), texts(rows, "sentence2"), zero_or_one(rows))
    if data.labels.all() or not data.labels.any():
        raise EvaluationDataError(
            f"{rows.files}: all {len(data.labels)} pairs have the label {int(data.labels[0])}. Pair classification needs pairs of "
            f"both labels."
        )
    return data


def _classification(rows: Rows, train: Rows | None) -> Classification:
    assert train is not None
    learnt, asked = labels(train), labels(rows)
    if isinstance(learnt[0], str) or isinstance(asked[0], str):
        learnt, asked = [str(label) for label in learnt], [str(label) for label in asked]
    for part, values in ((train, learnt), (rows, asked)):
        _two_labels(part, values)
    unseen = Counter(asked).keys() - set(learnt)
    if unseen:
        log.warning(
            "%s: %d labels never occur in %s and are never predicted: %s",
            rows.files,
            len(unseen),
            train.files,
            sorted(unseen, key=str)[:10],
        )
    names = _names(learnt, asked)
    return Classification(
        LabelledTexts(texts(train, "text"), codes(names, learnt), [str(name) for name in names]),
        LabelledTexts(texts(rows, "text"), codes(names, asked), [str(name) for name in names]),
    )


def _names(*labels_of: list[int] | list[str]) -> list[Any]:
    return sorted({label for values in labels_of for label in values})


def _two_labels(rows: Rows, values: list[int] | list[str]) -> None:
    if len(set(values)) < 2:
        raise EvaluationDataError(
            f"{rows.files}: all {len(values)} rows have the label {values[0]!r}. At least two labels are needed."
        )


def _clustering(rows: Rows, _: Rows | None) -> Clustering:
    if not isinstance(rows.columns["text"][0], list):
        values = labels(rows)
        _two_labels(rows, values)
        names = _names(values)
        return Clustering([LabelledTexts(texts(rows, "text"), codes(names, values), [str(name) for name in names])])
    flat = flattened(rows, FIELDS["clustering"])
    all_texts, all_labels = texts(flat, "text"), labels(flat)
    sets, start = [], 0
    for row, members in enumerate(rows.columns["text"]):
        values = all_labels[start : start + len(members)]
        if not values:
            raise EvaluationDataError(f"{rows.place(row)} holds a set without texts. Correct or remove it.")
        names = _names(values)
        sets.append(
            LabelledTexts(all_texts[start : start + len(members)], codes(names, values), [str(name) for name in names])
        )
        start += len(members)
    if all(len(each.names) < 2 for each in sets):
        raise EvaluationDataError(f"{rows.files}: no set has two labels. Clustering needs sets of at least two.")
    return Clustering(sets)


def _reranking(rows: Rows, _: Rows | None) -> Reranking:
    queries = texts(rows, "query")
    positives, negatives = text_lists(rows, "positive"), text_lists(rows, "negative")
    keep = [row for row in range(len(queries)) if positives[row] and negatives[row]]
    if not keep:
        raise EvaluationDataError(
            f"{rows.files}: no query has both a positive and a negative. Reranking needs both; nothing can be evaluated."
        )
    if len(keep) < len(queries):
        log.warning(
            "%s: %d of %d queries have no positive or no negative and are left out, as mteb does",
            rows.files,
            len(queries) - len(keep),
            len(queries),
        )
    return Reranking([queries[row] for row in keep], [positives[row] for row in keep], [negatives[row] for row in keep])


_DATA: Final[dict[TaskKind, Callable[[Rows, Rows | None], TaskData]]] = {
    "sts": _scored_pairs,
    "pair_classification": _labelled_pairs,
    "classification": _classification,
    "clustering": _clustering,
    "reranking": _reranking,
}
