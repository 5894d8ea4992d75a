"""filter: measures every pair (what the rules ask for), then decides by thresholds.

The measurements are kept beside the pairs, a file a family: another threshold reads them and measures nothing, a rule of
another family measures that one alone (pipelines.measured). Languages that the corpus did not say are filled in where the
measurement is sure, and every pair gets its quality. Personal data is masked where the recipe says so; a masked pair
keeps the pair_id of its original texts.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from filters import word_order
from filters.calibration import calibration_sha256, load_calibration
from filters.decide import REASONS as DECISIONS
from filters.decide import decide
from filters.language import language_model_sha256
from filters.measure import deciding_columns, mask_pairs, measure, record_languages, record_quality
from filters.personal_data import KINDS as PERSONAL_DATA
from filters.rules import Family
from filters.settings import BY_LANGUAGE, FilterSettings
from pipelines import storage
from pipelines.job import PAIRS, Job, Outcome, Plan, pair_plan, pairs_before
from pipelines.manifest import fingerprint
from pipelines.measured import Measuring, measurement_files, with_measurements
from pipelines.progress import TaskProgress
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import REJECTS, Part, ShardSet, Tally, commit_part
from sources import schema

VERSION = 3
REASONS = dict(DECISIONS)
CHEAP: Final[frozenset[Family]] = frozenset({"text", "likeness"})  # always measured: a threshold may be set later

_SCHEMAS = {PAIRS: schema.PAIR, REJECTS: schema.REJECT}
# What is kept in one file: the likeness of two texts is computed from their own measures.
_FILES: Final[Mapping[str, frozenset[Family]]] = {
    "text": CHEAP,
    "language": frozenset({"language"}),
    "web": frozenset({"web"}),
    "junk": frozenset({"junk"}),
    "pair": frozenset({"pair"}),
    "order": frozenset({"order"}),
}


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    settings = recipe.filter
    assert settings is not None
    families = measured_families(settings)
    if any(settings.is_calibrated(name) for name in BY_LANGUAGE):
        load_calibration(settings.calibration)  # missing or broken: said now, not at the first passage
    files: dict[str, Any] = {"calibration_sha256": calibration_sha256(settings.calibration)}
    if "language" in families:
        files["language_model"] = language_model_sha256(settings.language)
    if "junk" in families:
        lists = (*settings.junk.word_lists, *settings.junk.boilerplate, *settings.junk.placeholders)
        files["lists"] = {path: _sha256(path) for path in lists}
    if "order" in families:
        files["word_order_model"] = _sha256(str(Path(word_order.__file__).with_name(word_order.MODEL_FILE)))
    return pair_plan(recipe, run, "filter", settings, (PAIRS,), **files)


def measured_families(settings: FilterSettings) -> frozenset[Family]:
    """What the rules ask for, and what costs next to nothing."""
    masked: frozenset[Family] = frozenset({"junk"}) if settings.personal_data.action == "mask" else frozenset()
    return settings.families() | CHEAP | masked


def execute(job: Job) -> Outcome:
    from pipelines.transforms import Task

    settings = job.recipe.filter
    assert settings is not None
    before = pairs_before(job.recipe, job.run, "filter")
    tasks = []
    for file in before.files_of(PAIRS):
        measuring = dict(_measuring_fingerprints(settings, job.plan, file.sha256))
        decided_by = settings.model_dump(mode="json") | {"calibration_sha256": job.plan.settings["calibration_sha256"]}
        key = fingerprint(measuring=measuring, settings=decided_by)
        name = file.path.rsplit("/", 1)[-1].removesuffix(".parquet")
        tasks.append(Task(name, key, (storage.join(job.run.job(before.job), file.path), measuring)))
    size = sum(file.bytes for file in before.files_of(PAIRS))
    parts = job.run_tasks(tasks, partial(write_filtered, job.folder, settings), bytes_to_read=size)
    found: Counter[str] = Counter()
    for part in parts:
        found.update(part.details.get("personal_data", {}))
    return Outcome(parts, {"personal_data": dict(sorted(found.items()))} if found else {})


def write_filtered(folder: str, settings: FilterSettings, task: Any, progress: TaskProgress) -> Part:
    """One pair shard -> its measurements, the pairs that pass every rule, and the rejects with the first rule they fail."""
    url, measuring = task.payload
    families = list(_families(settings, task.name, measuring))
    tally, rows = Tally(), 0
    found: Counter[str] = Counter()
    with ShardSet(folder, task.name, _SCHEMAS, always=[PAIRS]) as shards:
        for batch, measured in with_measurements(folder, url, families):
            reason = decide(measured, settings, batch["kind"], batch["query_lang"], batch["positive_lang"])
            judged = record_quality(record_languages(batch, measured), measured)
            if settings.personal_data.action == "mask":
                judged = mask_pairs(judged, settings.personal_data)
            kept, rejects = schema.split_rejects(judged, reason)
            tally.add(judged, "in")
            tally.add(kept, "out")
            tally.add_rejects(rejects)
            shards.write(PAIRS, kept)
            shards.write(REJECTS, rejects)
            found.update(_personal_data(measured))
            rows += batch.num_rows
            progress.beat(rows)
    files = [*shards.files, *measurement_files(folder, families)]
    details = {"personal_data": dict(sorted(found.items()))} if found else {}
    return commit_part(folder, task.name, task.fingerprint, files, tally, [PAIRS], details=details)


def _measuring_fingerprints(settings: FilterSettings, plan: Plan, input_sha256: str) -> Iterator[tuple[str, str]]:
    """Of each file of measurements: what changes its values, and nothing else."""
    more: dict[str, dict[str, Any]] = {
        "language": {
            "settings": settings.language.model_dump(mode="json"),
            "model": plan.settings.get("language_model"),
        },
        "order": {"model": plan.settings.get("word_order_model")},
        "junk": {"settings": settings.junk.model_dump(mode="json"), "lists": plan.settings.get("lists")},
    }
    for file, families in _FILES.items():
        if families & measured_families(settings):
            key = fingerprint(version=VERSION, input=input_sha256, families=sorted(families), **more.get(file, {}))
            yield file, key


def _families(settings: FilterSettings, name: str, measuring: Mapping[str, str]) -> Iterator[Measuring]:
    nothing, needed = pa.RecordBatch.from_pylist([], schema.PAIR), deciding_columns(settings)
    for file, key in measuring.items():
        measure_file = partial(measure, settings=settings, families=_FILES[file])
        yield Measuring(f"{name}.{file}", key, measure_file(nothing).schema, measure_file, needed)


def _personal_data(measured: pa.RecordBatch) -> dict[str, int]:
    """How much of each kind the texts hold; nothing where it was not measured."""
    return {
        kind: sum(pc.sum(measured[f"{side}_{kind}"]).as_py() or 0 for side in ("query", "positive"))
        for kind in PERSONAL_DATA
        if f"query_{kind}" in measured.schema.names
    }


def _sha256(path: str) -> str:
    """ "" for a file that is missing: measuring says so, and what to do."""
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
