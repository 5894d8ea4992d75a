"""extract: files -> pairs (and documents, where a source is asked for them), through the source adapters.

One task a file, or a part of a large file. Writes the roles pairs, documents, rejects (pairs that normalisation emptied) and
quarantine (records that could not be read: file, position, reason).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import xxhash

from pipelines import storage
from pipelines.errors import JobFailed
from pipelines.forget.extracted_parts import STATE, filter_parts
from pipelines.forget.tombstones import Forgotten, read_forgotten
from pipelines.job import DOCUMENTS, PAIRS, Job, Outcome, Plan, forget_parts, is_committed
from pipelines.licences import LicenceSettings, without_forbidden
from pipelines.manifest import fingerprint
from pipelines.progress import TaskProgress
from pipelines.recipe import Recipe, SourceEntry
from pipelines.refresh.content_states import ContentStore
from pipelines.run_folder import RunFolder
from pipelines.shards import FORGOTTEN, QUARANTINE, REJECTS, Part, ShardSet, Tally, commit_part, read_batches
from sources import schema
from sources.catalogue import load_source
from sources.files.archives import member_sizes, split_member
from sources.files.reading import expand_paths, file_pattern
from sources.formats.hub_rows import is_hub_path
from sources.packaged import SCHEME, resolve_package_path
from sources.source import InputFile, SourceSettings, Split

VERSION = 2
_GLOB = re.compile(r"[*?\[]")
FEW_RECORDS = 10  # so many unreadable records are always let pass: one in a file of five is no reason to stop

_SCHEMAS = {
    PAIRS: schema.PAIR,
    DOCUMENTS: schema.DOCUMENT,
    REJECTS: schema.REJECT,
    QUARANTINE: schema.QUARANTINE,
}


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    settings: dict[str, Any] = {
        "split_bytes": recipe.extract.split_bytes,
        "max_quarantined_share": recipe.extract.max_quarantined_share,
    }
    if forgotten := read_forgotten(run):
        settings[FORGOTTEN] = forgotten.digest()
    settings |= _licence_key(recipe)
    entries = [entry.model_dump(mode="json", exclude={"paths"}) for entry in recipe.sources]
    contents = content_store(recipe, run)
    inputs = [
        {"source": number, "path": identity} | state
        for number, entry in enumerate(recipe.sources)
        for identity, _, state in inputs_with_states(entry, contents)
    ]
    if contents is not None:
        contents.save()
    return Plan(settings | {"sources": entries}, inputs)


def _licence_key(recipe: Recipe) -> dict[str, Any]:
    """Part of what is compared with the last time; nothing where every licence may be used."""
    return {"licences": recipe.licences.model_dump(mode="json")} if recipe.licences.only else {}


def content_store(recipe: Recipe, run: RunFolder, name: str = "extract") -> ContentStore | None:
    """What tells whether local files that a job reads changed by their content; None where their times are to tell."""
    return ContentStore(run, name) if recipe.extract.compare_files == "content" else None


def input_files(entry: SourceEntry) -> list[tuple[str, InputFile]]:
    """(identity, file) of each input of a source, sorted, each once. The identity names the shard and is the same wherever
    the data lie: the path inside the package, or below a pattern's fixed folder, or the file's name; and where two files
    would have one identity, as much of the end of their paths as tells them apart."""
    return _gathered(entry, _identities(entry))


def _gathered(entry: SourceEntry, identities: Mapping[str, str]) -> list[tuple[str, InputFile]]:
    gathered = load_source(entry.source).gather(sorted(identities), entry.adapter_settings())
    return sorted(((identities[file.path], file) for file in gathered), key=lambda item: item[0])


def _identities(entry: SourceEntry) -> dict[str, str]:
    """The identity of each path that the patterns of an entry name."""
    identity_of: dict[str, str] = {}
    for pattern in entry.paths:
        resolved = resolve_package_path(pattern)
        files = file_pattern(resolved)
        fixed = _GLOB.split(files, maxsplit=1)[0].rpartition("/")[0] if _GLOB.search(files) else None
        package = pattern.removeprefix(SCHEME).partition("/")
        for path in expand_paths([resolved]):
            if resolved != pattern:
                identity = f"{package[0]}/{path.removeprefix(resolved.removesuffix(package[2]))}"
            elif fixed is not None:
                identity = path.removeprefix(_absolute(fixed)).strip("/")
            else:
                identity = _name_of(path)
            identity_of.setdefault(path, identity)
    return _told_apart(identity_of)


def _name_of(path: str) -> str:
    """The file's name; of a member of an archive, the archive's and the member's."""
    archive, member = split_member(path) or (path, None)
    return path.rpartition("/")[2] if member is None else path[archive.rfind("/") + 1 :]


def _absolute(path: str) -> str:
    return str(storage.split_url(path)[1]) if storage.is_local(path) else path


def _told_apart(identity_of: Mapping[str, str]) -> dict[str, str]:
    """The same, but those of several paths are replaced by ends of the paths, one step longer until each is of one only."""
    told = dict(identity_of)
    for steps in count(1):
        paths_of = Counter(told.values())
        alike = [path for path, identity in told.items() if paths_of[identity] > 1]
        if not alike:
            break
        told |= {path: "/".join(path.split("/")[-steps:]) for path in alike}
    return told


def inputs_with_states(
    entry: SourceEntry, contents: ContentStore | None = None
) -> list[tuple[str, InputFile, dict[str, Any]]]:
    """(identity, file, state) of each input. The state tells whether the file or one of its companions changed: local files
    by their content where `contents` is given."""
    identities = _identities(entry)
    gathered = _gathered(entry, identities)
    states = _States(contents, [path for _, file in gathered for path in (file.path, *file.companions)])
    beside: dict[tuple[str, ...], dict[str, Any]] = {}  # many inputs may share their companions, and these be many
    found = []
    for identity, file in gathered:
        state = states.of(file.path)
        if companions := file.companions:
            if companions not in beside:
                named = [[identities.get(path, path), states.of(path)] for path in companions]
                beside[companions] = {"files": len(named), "fingerprint": fingerprint(files=named)}
            state = state | {"beside": beside[companions]}
        found.append((identity, file, state))
    return found


class _States:
    """What tells whether a file changed: its size and its content's hash, time or e-tag; of a member of an archive the
    archive's. Of a data set on the hub only its path does."""

    def __init__(self, contents: ContentStore | None, paths: Iterable[str]) -> None:
        stored = ((split_member(path) or (path, None))[0] for path in paths if not is_hub_path(path))
        self._read = {} if contents is None else contents.read(list(dict.fromkeys(stored)))
        self._archives: dict[str, tuple[str, Mapping[str, int]]] = {}  # state, sizes of the members

    def of(self, path: str) -> dict[str, Any]:
        if is_hub_path(path):
            return {"bytes": None, "stamp": path}
        member = split_member(path)
        if member is None:
            size, stamp = self._size_and_stamp(path)
            return {"bytes": size, "stamp": stamp}
        archive, name = member
        if archive not in self._archives:
            size, stamp = self._size_and_stamp(archive)
            self._archives[archive] = f"{size} {stamp}", member_sizes(archive)
        stamp, sizes = self._archives[archive]
        return {"bytes": sizes[name], "stamp": stamp}

    def _size_and_stamp(self, path: str) -> tuple[int | None, str]:
        return self._read.get(path) or _size_and_stamp(path)


def _size_and_stamp(path: str) -> tuple[int | None, str]:
    filesystem, inside = storage.split_url(path)
    info = filesystem.info(inside)
    stamp = info.get("mtime") or info.get("ETag") or info.get("etag") or info.get("updated") or info.get("last_commit")
    return info.get("size"), str(stamp)


def execute(job: Job) -> Outcome:
    from pipelines.transforms import Task

    tasks, size = [], 0
    contents = content_store(job.recipe, job.run)
    for number, entry in enumerate(job.recipe.sources):
        settings = entry.adapter_settings()
        source = load_source(entry.source)
        for identity, file, state in inputs_with_states(entry, contents):
            for index, split in enumerate(source.input_splits(file, settings, job.recipe.extract.split_bytes)):
                name = f"{number:03d}-{_file_name(entry.label)}-{_file_name(identity)}-{xxhash.xxh3_64_hexdigest(identity.encode())[:8]}-{index:05d}"
                key = fingerprint(
                    version=VERSION,
                    schema=schema.SCHEMA_VERSION,
                    source=entry.source,
                    settings=settings.model_dump(mode="json"),
                    file=identity,
                    part=[split.start, split.end],
                    **_licence_key(job.recipe),
                    **state,
                )
                tasks.append(Task(name, key, (entry.source, settings, replace(split, name=identity))))
                if not is_committed(job.folder, name, key):
                    size += split.end - split.start if split.end else state["bytes"] or 0
    forgotten = read_forgotten(job.run)
    _leave_out_forgotten(job, tasks, forgotten)
    parts = job.run_tasks(tasks, partial(write_split, job.folder, forgotten, job.recipe.licences), bytes_to_read=size)
    _check_quarantine(job, parts)
    records = sum(part.details["records"] for part in parts)
    quarantined = sum(part.details["quarantined"] for part in parts)
    return Outcome(parts, {"records": records, "quarantined": quarantined})


def _leave_out_forgotten(job: Job, tasks: Sequence[Any], forgotten: Forgotten) -> None:
    """What is committed already loses what was forgotten since, without its source being read again."""
    committed = [task.name for task in tasks if is_committed(job.folder, task.name, task.fingerprint)]
    progress = TaskProgress(job.folder, FORGOTTEN)
    filtered = filter_parts(job.folder, committed, forgotten, lambda task: progress.beat(0))
    forget_parts(job.folder, filtered.outdated)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "_", text)[-60:].strip("._") or "input"


def write_split(
    folder: str, forgotten: Forgotten, licences: LicenceSettings, task: Any, progress: TaskProgress
) -> Part:
    """Read one part of a file to its end and commit what came of it, but for forgotten documents and for licences that may
    not be used."""
    name, settings, split = task.payload
    source = load_source(name)
    tally, records, quarantined = Tally(), 0, 0
    with ShardSet(folder, task.name, _SCHEMAS, always=[PAIRS]) as shards:
        for read in source.read(split, settings):
            known, gone = forgotten.divided(read)
            extracted = without_forbidden(known, licences)
            for pairs in (extracted.pairs, extracted.rejects, *gone):
                tally.add(pairs, "in")
            for pairs in gone:
                tally.add(pairs, f"drop:{FORGOTTEN}")
            tally.add(extracted.pairs, "out")
            tally.add_rejects(extracted.rejects)
            shards.write(PAIRS, extracted.pairs)
            shards.write(REJECTS, extracted.rejects)
            shards.write(DOCUMENTS, extracted.documents)
            shards.write(QUARANTINE, extracted.quarantine)
            records += extracted.records
            quarantined += extracted.quarantine.num_rows + extracted.lost
            progress.beat(tally.total("in"), _share(split, extracted.position))
    details = {"records": records, "quarantined": quarantined, "label": _label(settings, name), "file": split.path}
    if forgotten:
        details[STATE] = forgotten.state
    return commit_part(folder, task.name, task.fingerprint, shards.files, tally, [PAIRS], details=details)


def _share(split: Split, position: int) -> float:
    end = split.end or split.size or 0
    return min(1.0, max(0.0, (position - split.start) / (end - split.start))) if end > split.start else 0.0


def _label(settings: SourceSettings, name: str) -> str:
    return settings.label or name


def _check_quarantine(job: Job, parts: list[Part]) -> None:
    """Fail where more of a source's records could not be read than the recipe allows."""
    limit = job.recipe.extract.max_quarantined_share
    for label in sorted({part.details["label"] for part in parts}):
        of_source = [part for part in parts if part.details["label"] == label]
        records = sum(part.details["records"] for part in of_source)
        bad = sum(part.details["quarantined"] for part in of_source)
        if bad > FEW_RECORDS and bad > limit * records:
            raise JobFailed(
                f"{bad} of {records} records of source {label!r} could not be read, more than extract.max_quarantined_share = {limit:g} allows. "
                f"For example {_first_quarantined(job.folder, of_source)}. All of them are in {storage.join(job.folder, QUARANTINE)}. "
                "Mend the files or the source's settings, or raise the share if losing them is right."
            )


def _first_quarantined(folder: str, parts: list[Part]) -> str:
    for part in parts:
        for file in part.files:
            if file.role == QUARANTINE and file.rows:
                row = next(read_batches(storage.join(folder, file.path))).to_pylist()[0]
                return f"{row['file']}, {row['unit']} {row['position']}: {row['reason']}: {row['excerpt'][:80]!r}"
    raise AssertionError("quarantined records without a quarantine shard")
