"""decontaminate: drops training pairs that evaluation sets hold, and says which query of which set each of them leaks.

The sets' queries are indexed once (pipelines.leak_index); then each pair shard is a task of its own. A pair's query, and the
positive of a symmetric kind, must not be an evaluation query (filters.leakage). A positive that is a passage of a set is only
counted, unless the recipe says otherwise: a corpus is there to be searched, and knowing its passages is no answer.

Writes the roles pairs, rejects and leaks (which pair, which set, which query, by which rule; kept pairs among them).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.leakage import RULES as QUERY_RULES
from filters.leakage import QueryIndex, find_leaks, find_ngrams, text_keys
from pipelines import storage
from pipelines.evaluation_sets import set_files
from pipelines.job import PAIRS, Job, Outcome, Plan, pairs_before
from pipelines.jobs.extract import content_store
from pipelines.leak_index import LeakIndex, build_index, index_fingerprint, index_record, index_version, set_settings
from pipelines.manifest import fingerprint, input_names, settings_dump
from pipelines.progress import TaskProgress
from pipelines.recipe import DecontaminateSettings, Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import REJECTS, Part, ShardSet, Tally, commit_part, read_batches
from sources import schema

VERSION = 1
LEAKS: Final = "leaks"
RULES: Final = (*QUERY_RULES, "positive_ngram", "passage")  # the first that a pair breaks is its reason
POSITIVE_NGRAM, PASSAGE = len(QUERY_RULES), len(QUERY_RULES) + 1
REASONS = {
    "leaks_query_exact": "the query is a query of an evaluation set, case and punctuation aside",
    "leaks_query_near": "the query is nearly a query of an evaluation set",
    "leaks_query_ngram": "the query shares ngram_words words in a row, or ngram_characters letters, with a query of an evaluation set",
    "leaks_positive_ngram": "the positive shares ngram_words words in a row, or ngram_characters letters, with a query of an evaluation set",
    "leaks_passage": "the positive is a passage of an evaluation set",
}
KEPT_CHARACTERS: Final = 500

LEAK: Final = pa.schema(
    [
        pa.field("pair_id", pa.binary(16), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("set", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),  # of RULES
        pa.field("dropped", pa.bool_(), nullable=False),
        pa.field("side", pa.string(), nullable=False),  # query or positive
        pa.field("text", pa.string(), nullable=False),  # of that side, its first 500 characters
        pa.field("evaluation_row", pa.int64()),  # of index/queries.arrow; null for a passage, as what follows
        pa.field("evaluation_id", pa.string()),
        pa.field("evaluation_text", pa.string()),
    ]
)
_SCHEMAS = {PAIRS: schema.PAIR, REJECTS: schema.REJECT, LEAKS: LEAK}

Numbers = NDArray[np.int64]


def check_inputs(recipe: Recipe) -> None:
    """Raises UserError for a path of an evaluation set that names nothing."""
    for each in recipe.decontaminate.evaluation_sets if recipe.decontaminate else ():
        set_files(each)


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.decontaminate is not None
    before = pairs_before(recipe, run, "decontaminate")
    sets = {"evaluation_sets": set_settings(recipe.decontaminate), "index_version": index_version()}
    settings = settings_dump(recipe.decontaminate) | sets
    contents = content_store(recipe, run, "decontaminate")
    files = [file for each in recipe.decontaminate.evaluation_sets for file in set_files(each, contents)]
    if contents is not None:
        contents.save()
    return Plan(settings, [*input_names(before.files_of(PAIRS), before.job), *files])


def execute(job: Job) -> Outcome:
    from pipelines.transforms import Task

    settings = job.recipe.decontaminate
    assert settings is not None
    key = index_fingerprint(settings, [file for file in job.plan.inputs if "evaluation_set" in file])
    build_index(job.folder, settings, key)
    before = pairs_before(job.recipe, job.run, "decontaminate")
    tasks = []
    for file in before.files_of(PAIRS):
        of_task = fingerprint(version=VERSION, input=file.sha256, index=key, settings=job.plan.settings)
        name = file.path.rsplit("/", 1)[-1].removesuffix(".parquet")
        tasks.append(Task(name, of_task, storage.join(job.run.job(before.job), file.path)))
    size = sum(file.bytes for file in before.files_of(PAIRS))
    parts = job.run_tasks(tasks, partial(write_decontaminated, job.folder, settings), bytes_to_read=size)
    index = LeakIndex(job.folder, tuple(each.name for each in settings.evaluation_sets))
    return Outcome(parts, _details(index, parts))


def _details(index: LeakIndex, parts: Sequence[Part]) -> dict[str, Any]:
    """leaks: pairs by set and rule; evaluation_sets: the texts of each set, and how many of its queries were found."""
    record, names = index_record(index.folder), index.sets
    leaks: dict[str, Counter[str]] = {name: Counter() for name in names}
    for part in parts:
        for name, counts in part.details["leaks"].items():
            leaks[name].update(counts)
    found: Counter[str] = Counter()
    seen = np.empty(0, np.int64)
    for part in parts:
        for file in part.files:
            if file.role == LEAKS:
                for batch in read_batches(storage.join(index.folder, file.path), ["evaluation_row"]):
                    seen = np.union1d(seen, batch["evaluation_row"].drop_null().to_numpy())
    members = index.members["set"].to_numpy()
    for number, count in zip(*np.unique(members[seen], return_counts=True), strict=True):
        found[names[number]] = int(count)
    return {
        "leaks": {name: {rule: counts[rule] for rule in RULES if counts[rule]} for name, counts in leaks.items()},
        "evaluation_sets": {name: record["sets"][name] | {"queries_found": found[name]} for name in names},
        "ngrams_left_out": record["ngrams_left_out"],
    }


def write_decontaminated(folder: str, settings: DecontaminateSettings, task: Any, progress: TaskProgress) -> Part:
    """One pair shard -> its pairs, its rejects and its leaks."""
    index = LeakIndex(folder, tuple(each.name for each in settings.evaluation_sets))
    tally, rows = Tally(), 0
    counts: dict[str, Counter[str]] = {}
    with ShardSet(folder, task.name, _SCHEMAS, always=[PAIRS]) as shards:
        for batch in read_batches(task.payload):
            leaks, reason = find_in_batch(batch, index, settings)
            kept, rejects = schema.split_rejects(batch, reason)
            tally.add(batch, "in")
            tally.add(kept, "out")
            tally.add_rejects(rejects)
            shards.write(PAIRS, kept)
            shards.write(REJECTS, rejects)
            shards.write(LEAKS, leaks)
            _count(counts, leaks)
            rows += batch.num_rows
            progress.beat(rows)
    details = {"leaks": {name: dict(sorted(of.items())) for name, of in sorted(counts.items())}}
    return commit_part(folder, task.name, task.fingerprint, shards.files, tally, [PAIRS], details=details)


def _count(counts: dict[str, Counter[str]], leaks: pa.RecordBatch) -> None:
    grouped = (
        pa.Table.from_batches([leaks.select(["set", "rule"])]).group_by(["set", "rule"]).aggregate([([], "count_all")])
    )
    for row in grouped.to_pylist():
        counts.setdefault(row["set"], Counter())[row["rule"]] += row["count_all"]


def find_in_batch(
    batch: pa.RecordBatch, index: LeakIndex, settings: DecontaminateSettings
) -> tuple[pa.RecordBatch, pa.Array]:
    """LEAK rows of a PAIR batch, and its rows' reasons (string, null = keep).

    A row and a set have one LEAK row by the rules of queries, the first that holds, and one each by those of positives.
    """
    symmetric = batch["symmetric"]
    both = np.flatnonzero(symmetric.to_numpy(zero_copy_only=False))
    found = [
        _of_queries(
            find_leaks(batch["query"], index.queries, settings), np.arange(batch.num_rows), index, positive=False
        ),
        _of_queries(
            find_leaks(batch["positive"].filter(symmetric), index.queries, settings), both, index, positive=True
        ),
    ]
    if settings.ngram_positives != "ignore":
        found.append(_positive_ngrams(batch, index.queries, settings, index))
    found.append(_of_passages(batch, index.passages))
    row, rule, member, of_set, positive = (np.concatenate([part[place] for part in found]) for place in range(5))
    # One row and set, one leak: by the first rule, then the query's side, then the first evaluation query.
    group = np.maximum(rule, POSITIVE_NGRAM - 1)
    order = np.lexsort((member, positive, rule, of_set, group, row))
    row, rule, member, of_set, positive, group = (
        values[order] for values in (row, rule, member, of_set, positive, group)
    )
    same = (row[1:] == row[:-1]) & (of_set[1:] == of_set[:-1]) & (group[1:] == group[:-1])
    first = np.r_[True, ~same][: len(row)]
    row, rule, member, of_set, positive = (values[first] for values in (row, rule, member, of_set, positive))
    drops = np.isin(rule, _dropping(settings))
    worst = np.full(batch.num_rows, len(RULES))
    np.minimum.at(worst, row[drops], rule[drops])
    reasons = pa.array([*(f"leaks_{name}" for name in RULES), None], pa.string())
    leaks = _leak_rows(batch, index, row, rule, member, of_set, positive, worst)
    return leaks, reasons.take(pa.array(worst))


def _dropping(settings: DecontaminateSettings) -> list[int]:
    more = {POSITIVE_NGRAM: settings.ngram_positives == "drop", PASSAGE: settings.drop_passages}
    return [*range(len(QUERY_RULES)), *(rule for rule, drops in more.items() if drops)]


Found = tuple[
    Numbers, Numbers, Numbers, Numbers, NDArray[np.bool_]
]  # row, rule, member (-1: none), set, of the positive


def _of_queries(leaks: pa.Table, rows: Numbers, index: LeakIndex, *, positive: bool) -> Found:
    """Leaks of distinct texts -> of the queries of every set that has the text; `rows` are those of the texts."""
    row, query, rule = (leaks[name].to_numpy() for name in ("row", "query", "rule"))
    return _of_members(rows[row], query, rule.astype(np.int64), index, positive=positive)


def _of_members(row: Numbers, query: Numbers, rule: Numbers, index: LeakIndex, *, positive: bool) -> Found:
    first = index.first_member[query]
    sizes = index.first_member[query + 1] - first
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    member = np.repeat(first, sizes) + within
    of_set = index.members["set"].to_numpy()[member].astype(np.int64)
    return np.repeat(row, sizes), np.repeat(rule, sizes), member, of_set, np.full(len(member), positive)


def _positive_ngrams(
    batch: pa.RecordBatch, queries: QueryIndex, settings: DecontaminateSettings, index: LeakIndex
) -> Found:
    """N-grams of evaluation queries in positives that are no queries themselves."""
    asymmetric = pc.invert(batch["symmetric"])
    rows = np.flatnonzero(asymmetric.to_numpy(zero_copy_only=False))
    row, query = find_ngrams(batch["positive"].filter(asymmetric), queries, settings)
    return _of_members(rows[row], query, np.full(len(row), POSITIVE_NGRAM), index, positive=True)


def _of_passages(batch: pa.RecordBatch, passages: Mapping[int, Any]) -> Found:
    rows, sets = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    keys = text_keys(batch["positive"]) if passages else np.empty(0, np.uint64)
    for number, table in passages.items():
        known = np.flatnonzero(table.contains(keys))
        rows.append(known)
        sets.append(np.full(len(known), number))
    row, of_set = np.concatenate(rows), np.concatenate(sets)
    none = np.full(len(row), -1)
    return row, np.full(len(row), PASSAGE), none, of_set, np.full(len(row), True)


def _leak_rows(
    batch: pa.RecordBatch,
    index: LeakIndex,
    row: Numbers,
    rule: Numbers,
    member: Numbers,
    of_set: Numbers,
    positive: NDArray[np.bool_],
    worst: Numbers,
) -> pa.RecordBatch:
    places, known = pa.array(row), pa.array(member, mask=member < 0)
    pairs = batch.select(["pair_id", "source", "query", "positive"]).take(places)
    is_positive = pa.array(positive)
    queries = index.members.take(known)
    columns = {
        "pair_id": pairs["pair_id"],
        "source": pairs["source"],
        "set": pa.array(index.sets, pa.string()).take(pa.array(of_set)),
        "rule": pa.array(RULES).take(pa.array(rule)),
        "dropped": pa.array(worst[row] < len(RULES)),
        "side": pc.if_else(is_positive, "positive", "query"),
        "text": _start(pc.if_else(is_positive, pairs["positive"], pairs["query"])),
        "evaluation_row": known,
        "evaluation_id": _one(queries["id"]),
        "evaluation_text": _start(_one(queries["text"])),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=LEAK)


def _start(texts: pa.Array) -> pa.Array:
    return pc.utf8_slice_codeunits(texts, 0, KEPT_CHARACTERS)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().cast(pa.string())
