"""Evaluation sets from folders of any layout and kind of task.

In:  folders (pipelines.evaluate_settings).
Out: `EvaluationSet`s, one for each language of a retrieval set and one for each task; corpora lie on disk.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.evaluate_settings import EvaluationFolder

if TYPE_CHECKING:
    from trainer.evaluate import RetrievalData
    from trainer.evaluate.tasks import Task
    from trainer.evaluate.tasks.kinds import TaskData

# Every retrieval layout has such a file, and no task has.
_OF_RETRIEVAL: Final = re.compile(r"(corpus|docs|psgs|queries|topics?|qrels)\b.*")
_READ_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True)
class EvaluationSet:
    """One retrieval set in one language (or in several that its queries name), or one task."""

    folder: EvaluationFolder
    name: str  # no two sets have the same name and language
    language: str | None
    benchmark: str  # the folder's own name, or the layout's (miracl): what published results go by
    retrieval: "RetrievalData | None" = None
    task: "Task | None" = None
    task_fingerprint: str | None = None

    @property
    def kind(self) -> str:
        """retrieval, or the task's kind."""
        return "retrieval" if self.task is None else self.task.kind

    @property
    def title(self) -> str:
        return f"{self.name} ({self.language})" if self.language else self.name


def load_sets(folders: Sequence[EvaluationFolder], work: str | Path | None = None) -> list[EvaluationSet]:
    """The sets of all folders, in order. `work` keeps corpora in the form they are searched in; None: temporary folders.

    Raises EvaluationDataError for a folder that is missing, damaged or of no known layout.
    """
    found = [each for folder in folders for each in _sets_of(folder, work)]
    for name in (_end_of_path, _with_split):
        taken = Counter((each.name, each.language) for each in found)
        found = [_renamed(each, name(each)) if taken[each.name, each.language] > 1 else each for each in found]
    return list(_numbered(found))


def _sets_of(folder: EvaluationFolder, work: str | Path | None) -> list[EvaluationSet]:
    if folder.layout == "task" or (folder.layout is None and not holds_retrieval(Path(folder.path))):
        return [_task(folder)]
    from trainer.evaluate import load_retrieval

    loaded = load_retrieval(
        folder.path, layout=folder.layout, split=folder.split, languages=folder.languages, work=work
    )
    return [EvaluationSet(folder, data.name, _only_language(data), _benchmark(data), retrieval=data) for data in loaded]


def holds_retrieval(folder: Path) -> bool:
    """Whether a folder holds a retrieval set: one of its files is named corpus*, docs*, psgs*, queries*, topic* or qrels*.

    True for a path that is nothing, so that retrieval's reader says what is missing.
    """
    if folder.is_file():
        return False
    if not folder.is_dir():
        return True
    files = [path for path in folder.rglob("*") if path.is_file()]
    return not files or any(
        _OF_RETRIEVAL.fullmatch(part.lower()) for path in files for part in path.relative_to(folder).parts
    )


def _task(folder: EvaluationFolder) -> EvaluationSet:
    from trainer.evaluate.tasks import load_task

    settings = {"split": folder.split} if folder.split else {}
    task = load_task(folder.path, **settings)
    if folder.languages:
        from trainer.evaluate import EvaluationDataError

        kept: dict[str | None, TaskData] = {
            language: data for language, data in task.subsets.items() if language in folder.languages
        }
        if not kept:
            there = ", ".join(str(language) for language in task.subsets)
            raise EvaluationDataError(
                f"{folder.path} holds nothing in {', '.join(folder.languages)}: it has {there}. Name one of these."
            )
        task = replace(task, subsets=kept)
    return EvaluationSet(folder, task.name, None, task.name, task=task, task_fingerprint=_files_fingerprint(folder))


def _only_language(data: "RetrievalData") -> str | None:
    return data.languages[0] if len(set(data.languages)) == 1 else None


def _benchmark(data: "RetrievalData") -> str:
    return data.name if data.layout == "beir" else data.layout


def _end_of_path(each: EvaluationSet) -> str:
    """The last two parts of its path: two folders may have one name."""
    return "/".join(Path(each.folder.path).resolve().parts[-2:])


def _with_split(each: EvaluationSet) -> str:
    """One folder may be given twice, with two splits."""
    return f"{each.name} {each.folder.split}" if each.folder.split else each.name


def _numbered(sets: Sequence[EvaluationSet]) -> Iterator[EvaluationSet]:
    """Those whose name is taken with a number behind it."""
    seen: Counter[tuple[str, str | None]] = Counter()
    for each in sets:
        seen[each.name, each.language] += 1
        count = seen[each.name, each.language]
        yield each if count == 1 else _renamed(each, f"{each.name} ({count})")


def _renamed(each: EvaluationSet, name: str) -> EvaluationSet:
    return replace(
        each,
        name=name,
        retrieval=each.retrieval and replace(each.retrieval, name=name),
        task=each.task and replace(each.task, name=name),
    )


def _files_fingerprint(folder: EvaluationFolder) -> str:
    """32 hexadecimal digits: a hash of the names and contents of a task's files, and of what is taken from them."""
    path = Path(folder.path)
    content = hashlib.sha256(repr((folder.split, folder.languages)).encode())
    for file in [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file()):
        content.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(_READ_AT_ONCE):
                content.update(block)
    return content.hexdigest()[:32]
