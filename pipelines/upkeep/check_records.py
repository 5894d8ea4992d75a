"""Whether a run's records agree: manifests with parts, rows in with rows out and dropped, a job's inputs with the files of the
job before it, fingerprints with the recipe."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from pipelines import storage
from pipelines.job import HELD_OUT, PAIRS, module_of
from pipelines.manifest import MANIFEST, Manifest, fingerprint, merge_parts
from pipelines.recipe import JOBS, Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import FORGOTTEN, PARTS, REJECTS, Part, ShardFile
from pipelines.upkeep.findings import Finding
from pipelines.upkeep.leftovers import JobRecords
from pipelines.upkeep.run_files import FoundFile
from sources.schema import SCHEMA_VERSION

AGAIN: Final = "Delete the file and run the recipe again"
_KEPT_ROLES: Final = {"synthesize": ("questions",), "mine": ("mined",)}


def read_records(run: RunFolder, files: Sequence[FoundFile]) -> tuple[dict[str, JobRecords], list[Finding]]:
    """The manifest and the parts of each job that has a folder, and a finding for each record that cannot be read."""
    jobs = [job for job in JOBS if any(file.steps[0] == job and len(file.steps) > 1 for file in files)]
    records: dict[str, JobRecords] = {}
    findings: list[Finding] = []
    for job in jobs:
        paths = [file.path for file in files if file.steps[0] == job]
        manifest = None
        if f"{job}/{MANIFEST}" in paths:
            manifest = _manifest(run, job, findings)
        elif any(not path.startswith(f"{job}/_") for path in paths):
            findings.append(
                Finding(job, "the job is not finished", "The next `pairmill run` goes on with it.", level="note")
            )
        parts = {}
        for path in paths:
            if path.startswith(f"{job}/{PARTS}/") and path.endswith(".json"):
                part = _part(run, path, findings)
                if part is not None:
                    parts[path.rsplit("/", 1)[-1].removesuffix(".json")] = part
        records[job] = JobRecords(manifest, parts)
    return records, findings


def _manifest(run: RunFolder, job: str, findings: list[Finding]) -> Manifest | None:
    path = f"{job}/{MANIFEST}"
    content = _json(run, path, findings)
    if content is None:
        return None
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        words = f"it has row types of version {version}, and this pairmill writes version {SCHEMA_VERSION}"
        findings.append(Finding(path, words, "The next `pairmill run` does the job again."))
        return None
    manifest: Manifest | None = _validated(Manifest, path, content, findings)
    return manifest


def _part(run: RunFolder, path: str, findings: list[Finding]) -> Part | None:
    content = _json(run, path, findings)
    part: Part | None = None if content is None else _validated(Part, path, content, findings)
    return part


def _json(run: RunFolder, path: str, findings: list[Finding]) -> dict[str, Any] | None:
    try:
        content = storage.read_json(storage.join(run.url, path))
    except (OSError, ValueError, RecursionError) as error:
        findings.append(Finding(path, f"it cannot be read ({error})", f"{AGAIN}: what it records is done anew."))
        return None
    if not isinstance(content, dict):
        findings.append(Finding(path, f"it holds no record, but {json.dumps(content)[:60]}", f"{AGAIN}."))
        return None
    return content


def _validated(model: Any, path: str, content: dict[str, Any], findings: list[Finding]) -> Any:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        findings.append(Finding(path, f"{place}: {first['msg']}", f"{AGAIN}: what it records is done anew."))
        return None


def check_sums(job: str, records: JobRecords) -> Iterator[Finding]:
    """Rows in = rows out + rows dropped, in the manifest and in every part; the manifest is the sum of the parts."""
    manifest = records.manifest
    if manifest is None:
        return
    path, remedy = f"{job}/{MANIFEST}", f"Delete the folder {job} and run the recipe again."
    dropped = sum(manifest.dropped.values())
    if manifest.rows_in != manifest.rows_out + dropped:
        words = f"{manifest.rows_in} rows in are not {manifest.rows_out} out and {dropped} dropped"
        yield Finding(path, words, remedy)
    for source, counts in manifest.funnel.items():
        told = sum(rows for outcome, rows in counts.items() if outcome.startswith("drop:"))
        if counts.get("in", 0) != counts.get("out", 0) + told:
            words = f"of source {source!r} {counts.get('in', 0)} rows in are not {counts.get('out', 0)} out and {told} dropped"
            yield Finding(path, words, remedy)
    if not records.parts:
        return
    merged = merge_parts(list(records.parts.values()))
    listed = {file.path for file in manifest.files}
    for name, in_manifest, in_parts in (
        ("rows_in", manifest.rows_in, merged.rows_in),
        ("rows_out", manifest.rows_out, merged.rows_out),
        ("dropped", manifest.dropped, merged.dropped),
        ("funnel", manifest.funnel, merged.funnel),
        ("languages", manifest.languages, merged.languages),
    ):
        if in_manifest != in_parts:
            yield Finding(path, f"{name} is {in_manifest}, and the parts hold {in_parts}", remedy)
    missing = sorted({file.path for file in merged.files} - listed)
    if missing:
        yield Finding(path, f"parts committed {len(missing)} files that it does not name, e.g. {missing[0]}", remedy)
    if len(records.parts) != manifest.details.get("tasks", len(records.parts)):
        words = f"{manifest.details['tasks']} tasks committed, and {len(records.parts)} records of tasks are there"
        yield Finding(f"{job}/{PARTS}", words, remedy)


def check_named_alike(job: str, records: JobRecords) -> Iterator[Finding]:
    """Whether the manifest and the parts tell the same of the files that both name."""
    listed = {file.path: file for file in records.manifest.files} if records.manifest else {}
    for name, part in records.parts.items():
        other = sorted(file.path for file in part.files if listed.get(file.path, file) != file)
        if other:
            words = f"it tells other bytes, rows or sha256 than the manifest of {len(other)} files, e.g. {other[0]}"
            remedy = "Delete this record and run the recipe again: the task is done anew."
            yield Finding(f"{job}/{PARTS}/{name}.json", words, remedy)


def check_part(job: str, name: str, part: Part, counted: Mapping[str, Counter[str]]) -> Iterator[Finding]:
    """The rows of a part against those of its files. `counted` has the reasons counted in each of its rejects."""
    path, remedy = f"{job}/{PARTS}/{name}.json", "Delete this record and run the recipe again: the task is done anew."
    kept = _KEPT_ROLES.get(job, (PAIRS, HELD_OUT))
    dropped = sum(part.dropped.values())
    if part.rows_in != part.rows_out + dropped:
        yield Finding(path, f"{part.rows_in} rows in are not {part.rows_out} out and {dropped} dropped", remedy)
    if not part.rows_in:
        return
    rows = sum(file.rows for file in part.files if file.role in kept)
    if rows != part.rows_out:
        yield Finding(path, f"it tells {part.rows_out} rows out, and its files hold {rows}", remedy)
    found: Counter[str] = Counter()
    for file in part.files:
        found.update(counted.get(file.path, {}))
    told = {reason: rows for reason, rows in part.dropped.items() if reason != FORGOTTEN and rows}
    complete = all(file.path in counted for file in part.files if file.role == REJECTS)
    if complete and dict(found) != told:
        yield Finding(path, f"it tells {told} dropped, and its rejects hold {dict(found)}", remedy)


def check_inputs(job: str, records: Mapping[str, JobRecords]) -> Iterator[Finding]:
    """Whether the files a job was made from are those that the jobs before it hold now."""
    manifest = records[job].manifest
    if manifest is None:
        return
    files: dict[str, dict[str, ShardFile]] = {}
    stale: list[str] = []
    gone: set[str] = set()
    for each in manifest.inputs:
        name = str(each.get("job"))
        if name in JOBS and name not in records:
            gone.add(name)
            continue
        before = records.get(name)
        if before is None or before.manifest is None:
            continue
        if "sha256" in each:
            of_job = files.setdefault(name, {file.path: file for file in before.manifest.files})
            file = of_job.get(str(each["path"]))
            if file is None or file.sha256 != each["sha256"]:
                stale.append(f"{name}/{each['path']}")
        elif "fingerprint" in each and each["fingerprint"] != before.manifest.fingerprint:
            stale.append(name)
    if stale:
        words = (
            f"{len(stale)} of its {len(manifest.inputs)} inputs are no longer what it was made from, e.g. {stale[0]}"
        )
        yield Finding(f"{job}/{MANIFEST}", words, "Run the recipe again: the job is then brought up to date.")
    for name in sorted(gone):
        yield Finding(
            name, f"job {job} was made from it, and nothing of it is there", "Run the recipe again: it is made anew."
        )


def check_fingerprints(recipe: Recipe, run: RunFolder, records: Mapping[str, JobRecords]) -> Iterator[Finding]:
    """Notes on jobs that the next run of the frozen recipe would do again."""
    for job in recipe.jobs():
        found = records.get(job)
        if found is None or found.manifest is None:
            return  # what follows cannot be planned
        path = f"{job}/{MANIFEST}"
        try:
            module = module_of(job)
            plan = module.plan(recipe, run)
            wanted = plan.fingerprint(job, module.VERSION)
        except (ValueError, OSError, RuntimeError) as error:
            words = f"whether it is up to date cannot be told: {error}"
            yield Finding(path, words, "Make its inputs readable, if it is to run again.", level="note")
            continue
        if wanted != found.manifest.fingerprint:
            words = "it is not up to date: its inputs, its settings or pairmill changed since it ran"
            yield Finding(path, words, "The next `pairmill run` does the job again.", level="note")
        elif _told(plan.settings, plan.inputs) != _told(found.manifest.settings, found.manifest.inputs):
            words = "its settings or inputs are not those that its fingerprint was made of"
            yield Finding(path, words, f"Delete the folder {job} and run the recipe again.")


def _told(settings: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> str:
    return fingerprint(settings=settings, inputs=inputs)
