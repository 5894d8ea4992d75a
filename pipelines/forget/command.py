"""`pairmill forget`: documents disappear from everything that came of them, and stay away.

    1. what came of them is collected, and kept in RUN/_forgetting until all is done: a killed command goes on from it
    2. the tombstone is written
    3. LLM answers, vectors, shards, exports and pages that hold something are removed; then extract's shards lose the rows
    4. what is left anywhere in the run folder is told

The next run makes again what was removed, at the cost of the shards that held the documents.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines import storage
from pipelines.errors import UserError
from pipelines.forget.answers import forget_answers, note_requests
from pipelines.forget.extracted_parts import filter_parts
from pipelines.forget.lineage import TRAINED, Lineage, Wanted, find, models_with, store_folder
from pipelines.forget.sweep import MODELS, WORK, Swept, check, files_of, sweep
from pipelines.forget.tombstones import (
    FORGETTING,
    Forgotten,
    Tombstone,
    add_tombstones,
    read_forgotten,
    write_forgotten,
)
from pipelines.forget.traces import Asked, Traces, collect
from pipelines.job import forget_parts
from pipelines.manifest import MANIFEST
from pipelines.recipe import Recipe, load_recipe
from pipelines.run_folder import RunFolder, append_log, locked
from pipelines.shards import PARTS, read_part
from pipelines.training_stages import TrainStages
from sources.schema import normalise_text

Tell = Callable[[str, str], None]  # what is being done, and at which file


@dataclass(frozen=True)
class Choices:
    """What the user wants beside forgetting."""

    dry_run: bool = False
    reason: str = ""
    remove_models: bool = False
    force: bool = False  # also the current version


@dataclass
class Done:
    """What was found, removed and left."""

    found: bool
    counts: dict[str, int]  # rows by job/role
    shared: int  # texts that other documents have, too, and that stay
    rows: int = 0  # pairs and rejects taken out of extract's shards
    answers: int = 0
    batch_files: int = 0
    vectors: int = 0
    swept: Swept = field(default_factory=Swept)
    left: dict[str, str] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    removed_models: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "found": self.found,
            "rows": self.counts,
            "texts_of_others": self.shared,
            "extracted_rows_removed": self.rows,
            "answers_removed": self.answers,
            "batch_files_removed": self.batch_files,
            "vectors_removed": self.vectors,
            "files_looked_at": self.swept.files,
            "files_deleted": self.swept.deleted,
            "files_edited": self.swept.edited,
            "left": self.left,
            "models": self.models,
            "models_removed": self.removed_models,
        }


def read_list(path: str) -> list[tuple[str, str]]:
    """(kind, name) of each line of a file: a URL where it has ://, else a document id. Empty lines are passed over.

    Raises UserError where the file cannot be read, or names nothing.
    """
    try:
        lines = [
            line.strip() for line in Path(path).read_text("utf-8-sig").split("\n")
        ]  # an id may hold any other break
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): name a text file in UTF-8 with one URL or id a line."
        ) from None
    found = [("url" if "://" in line else "document_id", line) for line in lines if line]
    if not found:
        raise UserError(f"{path} names no document: write one URL or document id a line.")
    return list(dict.fromkeys(found))


def asked_documents(urls: Sequence[str], ids: Sequence[str], file: str | None, source: str | None) -> list[Asked]:
    """The documents that a command names. Raises UserError where it names none."""
    named = [*(("url", url) for url in urls), *(("document_id", each) for each in ids)]
    named += read_list(file) if file else []
    if not named:
        raise UserError("Name a document with --url URL or --document-id ID, or several with --file LIST.txt.")
    return [Asked(kind=kind, name=name, source=source) for kind, name in dict.fromkeys(named)]


def lineage_of(
    run: RunFolder,
    urls: Sequence[str],
    ids: Sequence[str],
    pairs: Sequence[str],
    text_file: str | None,
    source: str | None,
    tell: Tell = lambda step, path: None,
) -> Lineage:
    """What came of the named documents, pairs (hexadecimal) and the text of a file. Raises UserError for names that are none."""
    documents = asked_documents(urls, ids, None, source) if urls or ids or not (pairs or text_file) else []
    wanted = Wanted(tuple(documents), frozenset(map(_pair, pairs)), frozenset(_text_of(text_file) if text_file else ()))
    return find(run, load_recipe(run.recipe), wanted, lambda path: tell("reading", path))


def _pair(given: str) -> bytes:
    try:
        found = bytes.fromhex(given)
    except ValueError:
        found = b""
    if len(found) != 16:
        raise UserError(
            f"--pair-id {given!r} is no pair's id: it has 32 hexadecimal digits, as `pairmill lineage --json` shows."
        )
    return found


def _text_of(path: str) -> list[str]:
    """The text of a file as it is and as pairs have it."""
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): name a text file in UTF-8.") from None
    normal: str = normalise_text(pa.array([text], pa.string()))[0].as_py()
    if not normal:
        raise UserError(f"{path} holds no text.")
    return list(dict.fromkeys([normal, text, text.rstrip("\n")]))


def forget(run: RunFolder, asked: Sequence[Asked], choices: Choices, tell: Tell = lambda step, path: None) -> Done:
    """Forget some documents, or with `dry_run` tell what would go. A take-down that was cut short is finished first.

    Raises:
        UserError: the run is in use; an unknown source; a reason that names the document; a current model that is to be removed.
    """
    recipe = load_recipe(run.recipe)
    _check(run, recipe, asked, choices)
    with locked(run):
        if choices.dry_run:
            traces = _collected(run, recipe, asked, choices, tell)
            swept = sweep(run, traces, act=False, tell=lambda path: tell("looking", path))
            return Done(traces.found, traces.counts, traces.shared, swept=swept, left=swept.left, models=traces.models)
        pending = _pending(run)
        if pending is not None:
            before = _finish(run, recipe, pending, tell)
            if set(asked) <= set(pending.asked):
                before.removed_models = _remove_models(run, recipe, pending, choices)
                return before
        traces = _collected(run, recipe, asked, choices, tell)
        _refuse_current(run, traces, choices)
        storage.write_json(storage.join(run.url, FORGETTING), traces.as_json())
        done = _finish(run, recipe, traces, tell)
        done.removed_models = _remove_models(run, recipe, traces, choices)
        if pending is not None:  # that one named other documents
            done.left = before.left | done.left
        return done


def finish_interrupted(run: RunFolder, recipe: Recipe) -> bool:
    """Finish a take-down that was cut short; whether there was one. The caller holds the run's lock.

    Raises UserError where something is left that no job makes again: it must be looked at.
    """
    pending = _pending(run)
    if pending is None:
        return False
    done = _finish(run, recipe, pending, lambda step, path: None)
    if done.left:
        raise UserError(
            "A take-down that was cut short is finished now, and these files still hold something of the document: "
            f"{', '.join(sorted(done.left)[:5])}. Look at them, and run the same command again to go on."
        )
    return True


def _check(run: RunFolder, recipe: Recipe, asked: Sequence[Asked], choices: Choices) -> None:
    labels = sorted({source.label for source in recipe.sources})
    for each in asked:
        if each.source is not None and each.source not in labels:
            raise UserError(f"This run has no source {each.source!r}; its sources are {', '.join(labels)}.")
        if each.name and re.search(rf"(?<!\w){re.escape(each.name)}(?!\w)", choices.reason):
            raise UserError(
                "--reason names the document itself, and the reason is kept in forgotten.json. Write it without the URL or id."
            )
        if not each.name.strip():
            raise UserError("The URL or id of the document is empty: name one with --url, --document-id or --file.")
        if any("\ud800" <= character <= "\udfff" for character in each.name):
            raise UserError(
                f"{each.name!r} is not in UTF-8, so no row can have it: set the terminal to UTF-8, or name it in a file with --file."
            )


def _collected(run: RunFolder, recipe: Recipe, asked: Sequence[Asked], choices: Choices, tell: Tell) -> Traces:
    traces = collect(
        run, asked, [job for job in recipe.jobs() if job != "report"], lambda path: tell("collecting", path)
    )
    note_requests(recipe, run, traces)
    wanted = Wanted(documents=tuple(asked))
    traces.models = models_with(run, recipe, wanted, traces.pair_ids, traces.own, traces.documents)
    models = tuple(each["model"] for each in traces.models)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    more = {"forgotten": now, "reason": choices.reason, "models": models}
    traces.tombstones = [each.model_copy(update=more) for each in traces.tombstones]
    return traces


def _pending(run: RunFolder) -> Traces | None:
    url = storage.join(run.url, FORGETTING)
    return Traces.of_json(storage.read_json(url)) if storage.exists(url) else None


def _finish(run: RunFolder, recipe: Recipe, traces: Traces, tell: Tell) -> Done:
    """All that a collected take-down removes. Each step may have been done before: then it finds nothing more."""
    done = Done(traces.found, dict(traces.counts), traces.shared, models=traces.models)
    forgotten = add_tombstones(run, traces.tombstones)
    tell("removing answers and vectors", "")
    done.answers, done.batch_files = forget_answers(recipe, run, traces)
    done.vectors = _forget_vectors(run, recipe, traces)
    done.swept = sweep(run, traces, act=True, tell=lambda path: tell("looking", path))
    if traces.found:
        _remove_decoded(run, recipe)
    done.rows = _filter_extract(run, forgotten, traces, tell)
    done.left = dict(done.swept.left)
    done.left |= check(run, traces, _to_check(run, done.swept))
    _note_counts(run, traces, done)
    append_log(run, {"time": datetime.now(UTC).timestamp(), "event": "forgotten", "documents": len(traces.asked)})
    storage.remove(storage.join(run.url, WORK))
    return done


def _forget_vectors(run: RunFolder, recipe: Recipe, traces: Traces) -> int:
    from trainer.embedding_store import EmbeddingStore, text_keys

    folder = store_folder(run, recipe)
    if folder is None or not traces.own:
        return 0
    return EmbeddingStore(folder).forget(text_keys(pa.array(sorted(traces.own), pa.string())))


def _remove_decoded(run: RunFolder, recipe: Recipe) -> None:
    """The trainer's decoded columns hold the texts as tokens; those below the run folder went with pack's scratch."""
    from trainer.packed_columns import name_in_cache

    if not storage.is_local(run.url) or recipe.train is None:
        return
    stages = recipe.train.stages if isinstance(recipe.train, TrainStages) else (recipe.train,)
    settings = [getattr(each, "data_cache", None) or (each.model_extra or {}).get("data_cache") for each in stages]
    pack = Path(storage.split_url(run.job("pack"))[1])
    for cache in {str(each) for each in settings if each}:
        storage.remove(str((Path(cache) / name_in_cache(pack)).absolute()))


def _filter_extract(run: RunFolder, forgotten: Forgotten, traces: Traces, tell: Tell) -> int:
    """Take the rows out of extract's shards, and remove what no part names: it is of a job that was killed."""
    storage.remove_temporary_files(run.url)  # no other writer is there: half a file of one that was killed
    folder = run.job("extract")
    tasks = [name.removesuffix(".json") for name in storage.list_files(storage.join(folder, PARTS), ".json")]
    filtered = filter_parts(folder, tasks, forgotten, lambda task: tell("rewriting extract", task))
    forget_parts(folder, filtered.outdated)  # of other tombstones than these: extract reads their files again
    named = {file.path for task in tasks if (part := read_part(folder, task)) is not None for file in part.files}
    for path in storage.list_tree(folder, (".parquet",)):
        if path not in named:
            storage.remove(storage.join(folder, path))
    if traces.found or filtered.parts:
        storage.remove(storage.join(folder, MANIFEST))
    return filtered.rows


def _to_check(run: RunFolder, swept: Swept) -> list[str]:
    answers = [path for path in files_of(run, "synthesize") if path.startswith("synthesize/_asked/")]
    there = [path for path in swept.edited if storage.exists(storage.join(run.url, path))]
    return [*files_of(run, "extract"), *answers, *there]


def _note_counts(run: RunFolder, traces: Traces, done: Done) -> None:
    """What was removed, into the tombstone: nothing that decides anything."""
    counts = dict(traces.counts) | {"answers": done.answers, "vectors": done.vectors, "files": len(done.swept.deleted)}
    decided = [each.deciding for each in traces.tombstones]

    def counted(each: Tombstone) -> Tombstone:
        return each.model_copy(update={"counts": counts}) if each.deciding in decided and not each.counts else each

    forgotten = read_forgotten(run)
    write_forgotten(run, Forgotten(tuple(counted(each) for each in forgotten.tombstones)))


# Models


def _refuse_current(run: RunFolder, traces: Traces, choices: Choices) -> None:
    current = _current(run) if choices.remove_models else None
    named = {each["model"] for each in traces.models}
    if current is not None and f"{MODELS}/{current:06d}" in named and not choices.force:
        raise UserError(
            f"Version {current} is the current model, and its training data held the document. Train and promote another one first "
            f"(`pairmill refresh`), or remove it all the same with --force: then an older version becomes current, or none is."
        )


def _current(run: RunFolder) -> int | None:
    from pipelines.refresh import versions

    found = versions.current(run)
    return None if found is None else found.number


def _remove_models(run: RunFolder, recipe: Recipe, traces: Traces, choices: Choices) -> list[str]:
    """Delete the models whose training data held the documents, where the user says so: which."""
    if not choices.remove_models:
        return []
    _refuse_current(run, traces, choices)
    names = [str(each["model"]) for each in traces.models]
    _leave_current(run, names)
    removed = []
    for name in names:
        folder = run.job("train") if name == TRAINED else storage.join(run.url, name)
        if storage.exists(folder):
            storage.remove(folder)
            removed.append(name)
    return removed


def _leave_current(run: RunFolder, names: Sequence[str]) -> None:
    """Where the current version is to be removed, make the newest that stays current; none where all go."""
    from pipelines.refresh import versions

    current = _current(run)
    if current is None or f"{MODELS}/{current:06d}" not in names:
        return
    staying = [each.number for each in versions.all_versions(run) if f"{MODELS}/{each.number:06d}" not in names]
    if staying:
        versions.roll_back(run, to=max(staying))
        return
    for name in (versions.LINK, versions.POINTER):
        (Path(storage.split_url(run.url)[1]) / MODELS / name).unlink(missing_ok=True)
