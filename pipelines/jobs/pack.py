"""pack: training shards with token ids, the held-out evaluation set, and exports for other trainers.

passages/passages-*.parquet       the distinct training passages, tokenised (trainer.packing.PACKED_PASSAGE), row for row
                                  those of dedup
passages/supplied.parquet         behind them: the negatives that came with the data and are no passage of dedup's
pairs/*.parquet                   the training pairs, tokenised, their positives and negatives as passage rows (PACKED_PAIR):
                                  the negatives that came with a pair first, then the mined ones
evaluation/held_out/              the held-out pairs as a BEIR-layout folder: corpus.jsonl, queries.jsonl, qrels/test.tsv
texts/*.parquet                   where the recipe asks for it: plain text for pre-training (pipelines.text_shards)
export/flagembedding/*.jsonl      pairs with negatives, as FlagEmbedding's trainer reads them
export/flagembedding_in_batch/    pairs without negatives (FlagEmbedding divides by their number: for train_group_size 1)
README.md, croissant.json         the data set's card (pipelines.data_card)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipelines import storage
from pipelines.data_card.facts import counts_fingerprints
from pipelines.data_card.write import write_card
from pipelines.errors import JobFailed, UserError
from pipelines.exports import FlagEmbeddingExport
from pipelines.job import (
    DOCUMENTS,
    EVALUATION,
    HELD_OUT,
    PAIRS,
    Job,
    Outcome,
    Plan,
    finished,
    pair_plan,
    pairs_before,
    take_part,
)
from pipelines.jobs.dedup import PASSAGES
from pipelines.jobs.mine import MINED
from pipelines.manifest import fingerprint, input_names
from pipelines.packed_before import (
    QUERY_COLUMNS,
    TOKENISING,
    export_key,
    pack_passages,
    pack_queries,
    rows_before,
)
from pipelines.passage_members import query_clusters
from pipelines.progress import TaskProgress
from pipelines.recipe import PackJobSettings, Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import REJECTS, Part, ShardFile, ShardSet, Tally, commit_part, read_batches
from pipelines.supplied_negatives import (
    PassageNumbers,
    first_negatives,
    joined_negatives,
    new_passages,
    with_own_passages,
)
from pipelines.text_shards import VERSION as VERSION_OF_TEXTS
from pipelines.text_shards import check_text_sources, write_text_shards
from pipelines.training_scores import with_training_scores
from sources import schema
from sources.schema import text_ids
from trainer.backbone import load_tokenizer, model_fingerprint, tokenizer_fingerprint
from trainer.packing import PACKED_PAIR, PACKED_PASSAGE, PackedTexts, Packer, pack_pairs
from trainer.ragged import Ragged

VERSION = 4  # the data card
RELABELLED: Final = "relabelled_rows"  # of mine, where a judge was set
SUPPLIED: Final = "supplied"  # sorts behind passages-*: row numbers follow the order of names
_LINES_FROM: Final = "lines_from"  # of a part's details
_DECIDE_TOKENS: Final = {
    "max_query_length",
    "max_passage_length",
    "query_instruction",
    "query_instructions",
    "keep_plain_queries",
    "passage_instruction",
}
# Of MINED: what an exported line shows.
_EXPORTED: Final = (
    "positive_score",
    "negative_rows",
    "negative_scores",
    "positive_judge_score",
    "negative_judge_scores",
    "relabelled_rows",
    "relabelled_judge_scores",
)
REASONS = {
    "kind_not_trained": "pack.kinds leaves this kind of pair out of training",
    "language_not_trained": "pack.languages leaves this language out of training",
}
_SCHEMAS = {PAIRS: PACKED_PAIR, PASSAGES: PACKED_PASSAGE, REJECTS: schema.REJECT}


def check_inputs(recipe: Recipe) -> None:
    """Raises UserError where plain text is asked for and the recipe's sources give none."""
    if recipe.pack is not None and recipe.pack.texts is not None:
        check_text_sources(recipe.pack.texts, recipe.sources)


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.pack is not None
    tokenizer = model_fingerprint(recipe.pack.model, weights=False)
    pairs = pair_plan(recipe, run, "pack", recipe.pack, (PAIRS, HELD_OUT), tokenizer_files=tokenizer)
    inputs = [*pairs.inputs, *input_names(finished(run, "dedup").files_of(PASSAGES), "dedup")]
    if recipe.mine is not None:
        inputs += input_names(finished(run, "mine").files_of(MINED), "mine")
    inputs += counts_fingerprints(run)
    if recipe.pack.texts is None:
        return Plan(pairs.settings, inputs)
    assert recipe.dedup is not None
    division = {"held_out_share": recipe.dedup.held_out_share, "held_out_sources": list(recipe.dedup.held_out_sources)}
    inputs += input_names(finished(run, "extract").files_of(DOCUMENTS), "extract")
    more = {"held_out": division | {"seed": recipe.seed}, "version_of_texts": VERSION_OF_TEXTS}
    return Plan(pairs.settings | more, inputs)


def execute(job: Job) -> Outcome:
    from pipelines.transforms import Task

    settings = job.recipe.pack
    assert settings is not None
    before = pairs_before(job.recipe, job.run, "pack")
    passage_files = job.manifest("dedup").files_of(PASSAGES)
    passage_tasks = [
        Task(
            f"passages-{_stem(file.path)}",
            fingerprint(version=VERSION, input=file.sha256, settings=job.plan.settings),
            storage.join(job.run.job("dedup"), file.path),
        )
        for file in passage_files
    ]
    tokenising = fingerprint(
        version=VERSION,
        packing=settings.packing.model_dump(mode="json", include=_DECIDE_TOKENS),
        max_tokens=settings.max_tokens,
        tokenizer=job.plan.settings["tokenizer_files"],
    )
    texts = tuple(storage.join(job.run.job("dedup"), file.path) for file in passage_files)
    pair_files = before.files_of(PAIRS)
    pair_urls = tuple(storage.join(job.run.job(before.job), file.path) for file in pair_files)
    size = sum(file.bytes for file in passage_files)
    read_by_all = fingerprint(
        version=VERSION, settings=job.plan.settings, passages=[file.sha256 for file in passage_files]
    )
    of_supplied = fingerprint(passages=read_by_all, pairs=[file.sha256 for file in pair_files])
    packed = job.run_tasks(
        [*passage_tasks, Task(SUPPLIED, of_supplied, pair_urls)],
        partial(write_texts, job.folder, settings, texts, tokenising),
        bytes_to_read=size,
        keep_records=True,
    )
    if not any(file.rows for file in passage_files):
        raise UserError(
            "No training pair is left to pack. `pairmill status` shows which job dropped them and why; loosen its settings, or give it more data."
        )
    mined = {_stem(f.path): f for f in job.manifest("mine").files_of(MINED)} if job.recipe.mine else {}
    lengths = tuple(storage.join(job.folder, PASSAGES, f"{part.task}.parquet") for part in packed if part.files)
    of_all = fingerprint(passages=read_by_all, supplied=[file.sha256 for file in packed[-1].files])
    pair_tasks = [_pair_task(job, before.job, file, mined.get(_stem(file.path)), of_all) for file in pair_files]
    write = partial(write_pairs, job.folder, settings, texts, lengths, tokenising)
    size = sum(file.bytes for file in pair_files)
    pairs = job.run_tasks(pair_tasks, write, bytes_to_read=size, keep_records=True)
    texts_written: list[Part] = []
    of_texts: dict[str, Any] = {}
    if settings.texts is not None:
        assert job.recipe.dedup is not None
        documents = job.manifest("extract").files_of(DOCUMENTS)
        texts_written, of_texts = write_text_shards(job, documents, settings.texts, job.recipe.dedup, settings.model)
    held_out = [storage.join(job.run.job(before.job), file.path) for file in before.files_of(HELD_OUT)]
    evaluation = write_evaluation(job.folder, held_out, settings.evaluation_kinds)
    details: dict[str, Any] = {
        "tokenizer_fingerprint": tokenizer_fingerprint(load_tokenizer(settings.model)[0]),
        "model": settings.model,
        "packing": settings.packing.model_dump(mode="json"),  # the trainer's prompts come from here
        "evaluation": evaluation,
        "length_edges": list(settings.packing.length_edges),
        "passage_tokens": sum(part.details["tokens"] for part in packed),
        "query_tokens": sum(part.details["tokens"] for part in pairs),
        "special_tokens": list(_packer(settings.model_dump_json()).special_tokens()),
        "pairs_with_curated_negatives": sum(part.details["curated"] for part in pairs),
        "supplied_passages": packed[-1].details["passages"],
        "relabelled_positives": sum(part.details["relabelled"] for part in pairs),
        "truncated_passages": sum(part.details["truncated"] for part in packed),
        "truncated_queries": sum(part.details["truncated"] for part in pairs),
    }
    parts, details = [*packed, *pairs, *texts_written], details | of_texts
    card, details["card"] = write_card(job, parts, details, pair_urls)
    return Outcome(parts, details, card)


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".parquet")


def _pair_task(job: Job, before: str, pairs: ShardFile, mined: ShardFile | None, of_all: str) -> Any:
    """The task of one pair shard; `of_all` is the fingerprint of what every such task reads."""
    from pipelines.transforms import Task

    key = fingerprint(of_all=of_all, pairs=pairs.sha256, mined=mined.sha256 if mined else None)
    mined_url = storage.join(job.run.job("mine"), mined.path) if mined else None
    payload = PairTask(storage.join(job.run.job(before), pairs.path), mined_url, pairs.sha256)
    return Task(_stem(pairs.path), key, payload)


@dataclass(frozen=True)
class PairTask:
    """What the task of a pair shard reads."""

    url: str
    mined_url: str | None
    sha256: str  # of the pairs


@cache
def _packer(settings_json: str) -> Packer:
    settings = PackJobSettings.model_validate_json(settings_json)
    tokenizer, max_length = load_tokenizer(settings.model)
    return Packer(tokenizer, settings.packing, settings.max_tokens or max_length)


def write_passages(folder: str, settings: PackJobSettings, tokenising: str, task: Any, progress: TaskProgress) -> Part:
    packer = _packer(settings.model_dump_json())
    truncated, tokens, rows = packer.truncated_passages, 0, 0
    old = take_part(folder, task.name)
    earlier = rows_before(folder, old, PASSAGES, tokenising, "passage_id", ("token_ids", "length"))
    with ShardSet(folder, task.name, _SCHEMAS, always=[PASSAGES]) as shards:
        for batch in read_batches(task.payload, ["passage_id", "text", "cluster_id"]):
            packed = pack_passages(packer, batch, earlier)
            shards.write(PASSAGES, packed)
            tokens += pc.sum(packed["length"]).as_py() or 0
            rows += batch.num_rows
            progress.beat(rows)
    details = {"tokens": tokens, "truncated": packer.truncated_passages - truncated, TOKENISING: tokenising}
    return commit_part(folder, task.name, task.fingerprint, shards.files, Tally(), [], details=details)


def write_texts(
    folder: str,
    settings: PackJobSettings,
    texts: tuple[str, ...],
    tokenising: str,
    task: Any,
    progress: TaskProgress,
) -> Part:
    if task.name == SUPPLIED:
        return write_supplied(folder, settings, texts, task, progress)
    return write_passages(folder, settings, tokenising, task, progress)


def write_supplied(
    folder: str, settings: PackJobSettings, texts: tuple[str, ...], task: Any, progress: TaskProgress
) -> Part:
    """The texts of negatives that came with the pairs and that dedup has no passage of, as packed passages.

    One task for all pairs: which of them brings a text first decides its row.
    """
    packer = _packer(settings.model_dump_json())
    truncated, tokens, passages = packer.truncated_passages, 0, 0
    take_part(folder, task.name)
    with ShardSet(folder, task.name, _SCHEMAS) as shards:
        for batch in new_passages(_supplied_texts(task.payload, settings, progress), _passage_numbers(texts)):
            packed = packer.pack_passages(batch)
            shards.write(PASSAGES, packed)
            tokens += pc.sum(packed["length"]).as_py() or 0
            passages += batch.num_rows
    details = {"tokens": tokens, "truncated": packer.truncated_passages - truncated, "passages": passages}
    return commit_part(folder, task.name, task.fingerprint, shards.files, Tally(), [], details=details)


def _supplied_texts(urls: Iterable[str], settings: PackJobSettings, progress: TaskProgress) -> Iterator[pa.Array]:
    rows = 0
    for url in urls:
        for batch in read_batches(url, ["negatives", "kind", "query_lang", "positive_lang"]):
            negatives = batch.filter(pc.is_null(untrained_reason(batch, settings)))["negatives"]
            places = first_negatives(negatives, settings.packing.negatives).values
            yield negatives.flatten().take(pa.array(places))
            rows += batch.num_rows
            progress.beat(rows)


@cache
def _passage_numbers(urls: tuple[str, ...]) -> PassageNumbers:
    return PassageNumbers.of_shards(urls)


@cache
def _column(urls: tuple[str, ...], name: str) -> pa.Array:
    """One column of several shards end to end; one copy a process."""
    batches = [batch[name] for url in urls for batch in read_batches(url, [name])]
    if not batches:
        return pa.array([], pa.string())
    array = pa.chunked_array(batches)
    # 64-bit offsets: the passages of a large run are more than 2 GB of text.
    return array.cast(pa.large_string()).combine_chunks() if pa.types.is_string(array.type) else array.combine_chunks()


def write_pairs(
    folder: str,
    settings: PackJobSettings,
    texts: tuple[str, ...],
    lengths: tuple[str, ...],
    tokenising: str,
    task: Any,
    progress: TaskProgress,
) -> Part:
    """One pair shard and its mined shard -> packed pairs, rejects, and the exports."""
    url, mined_url = task.payload.url, task.payload.mined_url
    old = take_part(folder, task.name)
    earlier = rows_before(folder, old, PAIRS, tokenising, "pair_id", QUERY_COLUMNS)
    lines_from = _lines_from(task.payload, settings, texts)
    lines_stay = old is not None and lines_from is not None and old.details.get(_LINES_FROM) == lines_from
    packer = _packer(settings.model_dump_json())
    truncated, tokens, rows, curated, relabelled = packer.truncated_queries, 0, 0, 0, 0
    passage_lengths = _column(lengths, "length").to_numpy() if lengths else np.zeros(0, np.int32)
    tally = Tally()
    mined_batches = read_batches(mined_url) if mined_url else None
    export = FlagEmbeddingExport(folder, task.name, enabled=settings.export_flagembedding and not lines_stay)
    with ShardSet(folder, task.name, _SCHEMAS, always=[PAIRS]) as shards, export:
        for batch in read_batches(url):
            mined = with_training_scores(next(mined_batches)) if mined_batches else _not_mined(batch, lengths)
            if mined_batches and not mined["pair_id"].equals(batch["pair_id"]):
                raise JobFailed(
                    f"{mined_url} holds other pairs than {url}. Delete the run's mine folder and run again."
                )
            reason = untrained_reason(batch, settings)
            keep = pc.is_null(reason)
            _, rejects = schema.split_rejects(batch, reason)
            trained, negatives = batch.filter(keep), mined.filter(keep)
            queries = pack_queries(packer, trained, earlier)
            shards.write(PAIRS, _packed(trained, negatives, queries, passage_lengths, lengths, settings))
            relabelled += len(_relabelled(negatives).values)
            shards.write(REJECTS, rejects)
            if settings.export_flagembedding and not lines_stay:
                export.write(trained, negatives, _column(texts, "text"))
            curated += pc.sum(_has_negatives(trained)).as_py() or 0
            tally.add(batch, "in")
            tally.add(trained, "out")
            tally.add_rejects(rejects)
            tokens += pc.sum(queries.lengths).as_py() or 0
            rows += batch.num_rows
            progress.beat(rows)
    details = {
        "tokens": tokens,
        "truncated": packer.truncated_queries - truncated,
        "curated": curated,
        "relabelled": relabelled,
        TOKENISING: tokenising,
        _LINES_FROM: lines_from,
    }
    exported = [file for file in old.files if file.path.endswith(".jsonl")] if old and lines_stay else export.files
    files = [*shards.files, *exported]
    return commit_part(folder, task.name, task.fingerprint, files, tally, [PAIRS], details=details)


def _lines_from(task: PairTask, settings: PackJobSettings, texts: tuple[str, ...]) -> str | None:
    """What the lines exported of a pair shard follow from; None where none are."""
    if not settings.export_flagembedding:
        return None
    inputs = (str(VERSION), task.sha256, *settings.kinds, "/", *settings.languages)
    mined = read_batches(task.mined_url, list(_EXPORTED)) if task.mined_url else iter(())
    return export_key(inputs, mined, _column(texts, "passage_id"))


def _has_negatives(batch: pa.RecordBatch) -> pa.Array:
    return pc.greater(pc.list_value_length(batch["negatives"]).fill_null(0), 0)


def untrained_reason(batch: pa.RecordBatch, settings: PackJobSettings) -> pa.Array:
    """string[rows]: why a pair does not go into training; null where it does."""
    rows = batch.num_rows
    every = pa.repeat(pa.scalar(True), rows)
    kind = pc.is_in(batch["kind"], pa.array(list(settings.kinds), pa.string())) if settings.kinds else every
    languages = pa.array(list(settings.languages), pa.string())
    both = pc.and_(pc.is_in(batch["query_lang"], languages), pc.is_in(batch["positive_lang"], languages))
    language = both if settings.languages else every
    conditions = pc.make_struct(pc.invert(kind), pc.invert(language))
    return pc.case_when(conditions, pa.scalar("kind_not_trained"), pa.scalar("language_not_trained"))


def _packed(
    batch: pa.RecordBatch,
    mined: pa.RecordBatch,
    queries: PackedTexts,
    passage_lengths: Any,
    passages: tuple[str, ...],
    settings: PackJobSettings,
) -> pa.RecordBatch:
    answers = _answers(batch["query"], mined, passages)
    negatives = joined_negatives(
        _supplied_rows(batch["negatives"], passages, settings.packing.negatives),
        Ragged.of_arrow(mined["negative_rows"]),
        Ragged.of_arrow(mined["negative_scores"]),
        np.asarray(mined["positive_row"]),
        answers,
    )
    scored = not np.isnan(negatives.scores.values).all()
    return pack_pairs(
        pair_id=batch["pair_id"],
        queries=queries,
        query_cluster_id=query_clusters(batch),
        positive=mined["positive_row"],
        negatives=negatives.rows.arrow(pa.int64()),
        positive_score=mined["positive_score"],
        negative_scores=negatives.scores.arrow(pa.float32()) if scored else None,
        known_positives=answers.arrow(pa.int64()),
        dataset=batch["source"],
        kind=batch["kind"],
        query_lang=batch["query_lang"],
        symmetric=batch["symmetric"],
        passage_lengths=passage_lengths,
        settings=settings.packing,
    )


def _relabelled(mined: pa.RecordBatch) -> Ragged:
    """The passages of each pair that a judge found to answer its query, where mine had one."""
    if RELABELLED not in mined.schema.names:
        return Ragged.empty(mined.num_rows)
    return Ragged.of_arrow(mined[RELABELLED])


def _answers(queries: pa.Array, mined: pa.RecordBatch, passages: tuple[str, ...]) -> Ragged:
    """By passage row, what is no negative of a query beside its positives' clusters: what a judge found to answer it, and
    the passage that is the query itself, whose cluster may have another id than the query's."""
    itself = _passage_numbers(passages).find(text_ids(queries))
    return with_own_passages(_relabelled(mined), np.where(itself == np.asarray(mined["positive_row"]), -1, itself))


def _supplied_rows(negatives: pa.Array, passages: tuple[str, ...], most: int) -> Ragged:
    places = first_negatives(negatives, most)
    if not len(places.values):
        return Ragged.empty(len(negatives))
    texts = negatives.flatten().take(pa.array(places.values))
    return Ragged(_passage_numbers(passages).find(text_ids(texts)), places.offsets)


def _not_mined(batch: pa.RecordBatch, passages: tuple[str, ...]) -> pa.RecordBatch:
    """What mine would have written, without negatives: for recipes that train on in-batch negatives alone."""
    rows, empty = batch.num_rows, pa.array(np.zeros(batch.num_rows + 1, np.int32))
    positive = pa.array(_passage_numbers(passages).find(text_ids(batch["positive"])))
    return pa.RecordBatch.from_arrays(
        [
            positive,
            pa.nulls(rows, pa.float32()),
            pa.ListArray.from_arrays(empty, pa.array([], pa.int64())),
            pa.ListArray.from_arrays(empty, pa.array([], pa.float32())),
        ],
        names=["positive_row", "positive_score", "negative_rows", "negative_scores"],
    )


def write_evaluation(folder: str, held_out: Iterable[str], kinds: tuple[str, ...]) -> dict[str, int]:
    """The held-out pairs as a BEIR-layout folder. A query is a (kind, text); its corpus are the held-out positives.

    Returns the numbers of queries, passages and judgements; nothing is written where there are none.
    """
    corpus: dict[str, bytes] = {}
    queries: dict[str, bytes] = {}
    judgements: list[str] = []
    for row in _held_out_rows(held_out, kinds):
        query_id = xxhash.xxh3_128_hexdigest(f"{row['kind']}\x00{row['query']}".encode())
        passage_id = schema.text_id(row["positive"]).hex()
        metadata = {"kind": row["kind"], "language": row["query_lang"]}
        corpus.setdefault(passage_id, orjson.dumps({"_id": passage_id, "title": "", "text": row["positive"]}))
        queries.setdefault(query_id, orjson.dumps({"_id": query_id, "text": row["query"], "metadata": metadata}))
        judgements.append(f"{query_id}\t{passage_id}\t1")
    counts = {"queries": len(queries), "corpus": len(corpus), "judgements": len(set(judgements))}
    if not queries:
        storage.remove(storage.join(folder, "evaluation"))
        return counts
    for name, lines in (
        ("corpus.jsonl", [line.decode() for line in corpus.values()]),
        ("queries.jsonl", [line.decode() for line in queries.values()]),
        ("qrels/test.tsv", ["query-id\tcorpus-id\tscore", *dict.fromkeys(judgements)]),
    ):
        with storage.atomic_write(storage.join(folder, EVALUATION, name)) as stream:
            stream.write("".join(f"{line}\n" for line in lines).encode())
    return counts


def _held_out_rows(urls: Iterable[str], kinds: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for url in urls:
        for batch in read_batches(url, ["query", "positive", "kind", "query_lang"]):
            for row in batch.to_pylist():
                if not kinds or row["kind"] in kinds:
                    yield row
