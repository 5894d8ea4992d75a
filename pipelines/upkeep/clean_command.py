"""`pairmill clean RUN...`: removes what a run no longer needs, and nothing that it does not know."""

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.markup import escape
from rich.table import Table

from pipelines import storage
from pipelines.errors import UserError
from pipelines.recipe import Recipe, load_recipe
from pipelines.refresh import versions
from pipelines.report.text import visible
from pipelines.run_folder import RunFolder, locked
from pipelines.upkeep import check_records, check_stores
from pipelines.upkeep.leftovers import JobRecords, Leftover, find_leftovers
from pipelines.upkeep.run_files import FoundFile, files_below
from pipelines.upkeep.temporary_folders import abandoned_entries
from pipelines.upkeep.unused_embeddings import drop_unused, keys_in_use, unused_entries
from trainer.embedding_store import EmbeddingStore

_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

CHECKPOINTS: Final = "checkpoints"
EMBEDDINGS: Final = "embeddings"
VERSIONS: Final = "versions"
TEMPORARY: Final = "temporary folder"


@dataclass(frozen=True)
class Cleaning:
    """What is to be removed beside unfinished and superseded files."""

    older_than: float = 0.0  # seconds; younger files stay
    checkpoints: bool = False
    embeddings: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Removed:
    """What was removed, or with `dry_run` would be: one row of the table."""

    run: str
    kind: str
    why: str
    files: int
    bytes: int
    example: str


def seconds_of(age: str) -> float:
    """7d, 12h, 30m, 90s or 2w in seconds. Raises UserError for anything else."""
    found = _AGE.fullmatch(age.strip().lower())
    if found is None:
        raise UserError(f"--older-than {age}: write a number with s, m, h, d or w behind it, e.g. 7d.")
    return float(found[1]) * _SECONDS[found[2]]


def clean(run: RunFolder, cleaning: Cleaning) -> list[Removed]:
    """Remove what the run does not need: a row for each kind of thing.

    Raises:
        UserError: another process writes into the run, or its recipe or records cannot be read.
    """
    recipe = load_recipe(run.recipe)
    with locked(run, wait_seconds=1.0), _store_alone(recipe, run) as alone:
        if cleaning.embeddings and recipe.embeddings.folder is None and not alone:
            raise UserError(
                f"The embeddings of {run.url} are in use by another run. Nothing was removed: clean without --embeddings, or "
                "when that run has ended."
            )
        files = files_below(run.url)
        records, faults = check_records.read_records(run, files)
        unreadable = next((fault for fault in faults if fault.level == "fault"), None)
        if unreadable is not None:  # what it names is not known, so anything might be needed
            raise UserError(f"{run.url}/{unreadable.file}: {unreadable.what}. Nothing was removed: {unreadable.remedy}")
        leftovers = [each for each in find_leftovers(run, files, records) if alone or not _in_store(each.file)]
        if cleaning.checkpoints:
            leftovers += _checkpoints(files, records)
        chosen = [each for each in leftovers if each.file.age() >= cleaning.older_than]
        if not cleaning.dry_run:
            _remove(run, chosen)
        removed = _rows(run.url, chosen)
        removed += _old_versions(recipe, run, cleaning)
        if cleaning.embeddings:
            removed += _unused_embeddings(recipe, run, cleaning)
    return removed


@contextlib.contextmanager
def _store_alone(recipe: Recipe, run: RunFolder) -> Iterator[bool]:
    """Whether no other run uses the store of embeddings in this one's folder; none begins to meanwhile."""
    store = check_stores.store_folder(recipe, run)
    if recipe.embeddings.folder is not None or store is None or not (store / "in_use.lock").exists():
        yield True
        return
    with EmbeddingStore(store).held_alone() as alone:
        yield alone


def _in_store(file: FoundFile) -> bool:
    return file.steps[0] == "embeddings"


def clean_temporary_folder(cleaning: Cleaning) -> list[Removed]:
    """The same for pairmill's leftovers in the system's folder for temporary files."""
    chosen = [entry for entry in abandoned_entries() if entry.as_file().age() >= max(cleaning.older_than, 0.0)]
    if not cleaning.dry_run:
        for entry in chosen:
            if entry.path.is_dir():
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                entry.path.unlink(missing_ok=True)
    found = [Leftover(entry.as_file(), TEMPORARY, "of a process that was killed") for entry in chosen]
    return _rows("", found)


def _checkpoints(files: Sequence[FoundFile], records: dict[str, JobRecords]) -> Iterator[Leftover]:
    """Those of a training that is finished: it is not gone on with, unless it is given more steps."""
    train = records.get("train")
    if train is None or train.manifest is None:
        return
    for file in files:
        steps = file.steps
        if steps[0] == "train" and "checkpoints" in steps[1:-1]:
            yield Leftover(file, CHECKPOINTS, "a checkpoint of a training that is finished")


def _remove(run: RunFolder, leftovers: Sequence[Leftover]) -> None:
    if not storage.is_local(run.url):
        for each in leftovers:
            storage.remove(storage.join(run.url, each.file.path))
    else:  # by their very names, whatever a URL would make of them
        root = Path(storage.split_url(run.url)[1])
        for each in leftovers:
            (root / each.file.path).unlink(missing_ok=True)
        for folder in sorted({(root / each.file.path).parent for each in leftovers}, reverse=True):
            _remove_empty(folder, root)


def _remove_empty(folder: Path, root: Path) -> None:
    """A folder that the removal left empty, and those around it, up to the job's own."""
    while root not in (folder, folder.parent):
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone
            return
        folder = folder.parent


def _rows(run: str, leftovers: Sequence[Leftover]) -> list[Removed]:
    by_why: dict[tuple[str, str], list[FoundFile]] = {}
    for each in leftovers:
        by_why.setdefault((each.kind, each.why), []).append(each.file)
    return [
        Removed(run, kind, why, len(files), sum(file.bytes for file in files), files[0].path)
        for (kind, why), files in sorted(by_why.items())
    ]


def _old_versions(recipe: Recipe, run: RunFolder, cleaning: Cleaning) -> list[Removed]:
    """Promoted models beyond refresh.keep_versions, never the current one."""
    if not storage.is_local(run.url):
        return []
    root = Path(storage.split_url(run.url)[1]) / versions.MODELS
    old = versions.superseded(run, recipe.refresh.keep_versions)
    files = {number: files_below(str(root / f"{number:06d}")) for number in old}
    gone = [number for number in old if _promoted_before(root / f"{number:06d}", cleaning.older_than)]
    if not cleaning.dry_run:
        versions.remove_versions(run, gone)
    size = sum(file.bytes for number in gone for file in files[number])
    count = sum(len(files[number]) for number in gone)
    example = f"{versions.MODELS}/{gone[0]:06d}" if gone else ""
    return (
        [Removed(run.url, VERSIONS, "a promoted model beyond refresh.keep_versions", count, size, example)]
        if gone
        else []
    )


def _promoted_before(folder: Path, seconds: float) -> bool:
    """The model's files are links and may be older: the folder's own time is that of the promotion."""
    return FoundFile("", 0, folder.stat().st_mtime).age() >= seconds


def _unused_embeddings(recipe: Recipe, run: RunFolder, cleaning: Cleaning) -> list[Removed]:
    if recipe.embeddings.folder is not None:
        raise UserError(
            f"The embeddings of {run.url} lie in {recipe.embeddings.folder}, which other runs may share: what they need is not "
            "known here. Set embeddings.max_bytes, by which the ones used least recently go."
        )
    store = check_stores.store_folder(recipe, run)
    if store is None or not store.is_dir():
        return []
    used = keys_in_use(run, recipe.jobs())
    if used is None:
        return []
    segments, _ = check_stores.read_segments(store)
    found = list(unused_entries(segments, used))
    if not cleaning.dry_run:
        for each in found:
            drop_unused(each.segment, used)
    if not found:
        return []
    example = found[0].segment.record.relative_to(store.parent).as_posix()
    count, size = sum(each.unused for each in found), sum(each.bytes for each in found)
    return [Removed(run.url, EMBEDDINGS, "vectors of texts that the run no longer has", count, size, example)]


def removed_table(removed: Sequence[Removed], dry_run: bool) -> Table:
    """What went, by run and kind, and in all."""
    title = "Would be removed" if dry_run else "Removed"
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in ("run", "kind", "what"):
        table.add_column(column)
    for column in ("count", "bytes"):
        table.add_column(column, justify="right")
    table.add_column("for example", overflow="fold")
    for each in removed:
        cells = (
            _shown(each.run or "-"),
            each.kind,
            each.why,
            f"{each.files:,}",
            f"{each.bytes:,}",
            _shown(each.example),
        )
        table.add_row(*cells)
    if removed:
        table.add_section()
        files, size = sum(each.files for each in removed), sum(each.bytes for each in removed)
        table.add_row("in all", "", "", f"{files:,}", f"{size:,}", "")
    return table


def _shown(text: str) -> str:
    return escape(str(visible(text)))


def clean_all(runs: Sequence[RunFolder], cleaning: Cleaning, with_temporary_folder: bool) -> list[Removed]:
    """As clean, of several runs."""
    removed = [each for run in runs for each in clean(run, cleaning)]
    if with_temporary_folder:
        with contextlib.suppress(PermissionError):
            removed += clean_temporary_folder(cleaning)
    return removed
