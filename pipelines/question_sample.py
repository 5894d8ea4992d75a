"""Which documents and paragraphs questions are asked about: the first half of job synthesize.

facts-SHARD        the documents of one shard: language (identified where none is told), length, text's id
choice             of all facts together: the split of each chosen document; of equal texts one document
paragraphs-SHARD   the chosen documents of one shard (role `documents`), and their chosen paragraphs (role `paragraphs`):
                   parts that are in another language than their document are passed over before anybody is asked
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.language import language_model_sha256
from pipelines import storage
from pipelines.errors import UserError
from pipelines.job import DOCUMENTS, Job
from pipelines.manifest import fingerprint
from pipelines.progress import TaskProgress
from pipelines.question_checking import groups_told_apart, identified_groups, identified_languages
from pipelines.shards import Part, ShardFile, ShardSet, Tally, commit_part, read_batches
from pipelines.synthesize_settings import SynthesizeSettings
from sources.languages import UNKNOWN
from sources.schema import DOCUMENT, text_id, text_ids
from synth.paragraphs import Paragraph, choose_paragraphs, paragraph_text, paragraphs_in_turn
from synth.question_checks import in_other_language
from synth.sampling import CORPUS, FACTS, SPLITS, SamplingSettings, choose_documents, document_facts, shortfalls
from synth.token_count import tokenizer_count

FACTS_ROLE: Final = "facts"
PARAGRAPHS: Final = "paragraphs"
_KEY: Final = ("source", "document_id")
CHOSEN_DOCUMENT: Final = DOCUMENT.append(pa.field("split", pa.string(), nullable=False))
DOCUMENT_FACTS: Final = FACTS.append(pa.field("text_id", pa.binary(16), nullable=False))
PARAGRAPH: Final = pa.schema(
    [
        pa.field("question_id", pa.string(), nullable=False),  # of source, document and place: the same for any prompt
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field(
            "number", pa.int32(), nullable=False
        ),  # of the paragraph among those of its document that could be asked
        pa.field("start", pa.int32(), nullable=False),  # characters of the document's text
        pa.field("end", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)
PASSED_OVER: Final = "in_other_language"  # of a part's details: paragraphs by language of their documents
DUPLICATE: Final = "equal_text"  # why a document is not eligible: another one, chosen by hash, has the same text


@dataclass(frozen=True)
class Sample:
    """The chosen documents and paragraphs: shards of the job's folder, both roles in the same order."""

    folder: str
    parts: list[Part]
    details: dict[str, Any]  # documents read, those not eligible by reason, languages with fewer than wanted ...
    held_out: pa.Array  # document_keys: documents with the text of one whose questions are of dev or test

    def files(self, role: str) -> list[ShardFile]:
        """The shards of a role."""
        return [file for part in self.parts for file in part.files if file.role == role]

    def rows(self, role: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of a role, all shards."""
        batches = [batch for file in self.files(role) for batch in read_batches(self.url(file), columns)]
        fields = {DOCUMENTS: CHOSEN_DOCUMENT, PARAGRAPHS: PARAGRAPH}[role]
        return pa.Table.from_batches(batches, pa.schema([fields.field(name) for name in columns]))

    def url(self, file: ShardFile) -> str:
        return storage.join(self.folder, file.path)

    @property
    def paragraphs(self) -> int:
        """How many are asked about."""
        return sum(file.rows for file in self.files(PARAGRAPHS))


def sample_paragraphs(job: Job, settings: SynthesizeSettings, version: int) -> Sample:
    """Bring facts, choice and paragraphs up to date. Raises UserError where no document or no paragraph is left."""
    from pipelines.transforms import Task

    files = job.manifest("extract").files_of(DOCUMENTS)
    folder = job.run.job("extract")
    sampling = with_seed(settings.sampling, job.recipe.seed)
    key = partial(
        fingerprint,
        version=version,
        sampling=sampling.model_dump(mode="json"),
        tokenizer=tokenizer_sha256(settings.length_tokenizer),
        language=_language_facts(settings),
    )
    size = sum(file.bytes for file in files)
    urls = {_stem(file): storage.join(folder, file.path) for file in files}
    tasks = [Task(f"facts-{_stem(file)}", key(input=file.sha256), urls[_stem(file)]) for file in files]
    facts_parts = job.run_tasks(tasks, partial(write_facts, job.folder, settings, sampling), bytes_to_read=size)
    facts = read_facts(job.folder, facts_parts)
    distinct = facts.filter(pc.fill_null(pc.not_equal(facts["why_not"], DUPLICATE), True))
    chosen = choose_documents(distinct.select(FACTS.names), sampling)
    _refuse_nothing_chosen(facts, chosen)
    choice = key(inputs=[file.sha256 for file in files], paragraphs=settings.paragraphs.model_dump(mode="json"))
    tasks = [
        Task(f"paragraphs-{stem}", choice, (url, of_shard))
        for stem, url, of_shard in _by_shard(urls, facts_parts, facts, chosen)
    ]
    parts = job.run_tasks(tasks, partial(write_paragraphs, job.folder, settings), bytes_to_read=size)
    details: dict[str, Any] = {
        "documents_read": len(facts),
        "not_eligible": _counted(facts["why_not"]),
        "shortfalls": shortfalls(chosen, sampling),
        PASSED_OVER: _summed([part.details.get(PASSED_OVER, {}) for part in parts]),
    }
    sample = Sample(job.folder, [*facts_parts, *parts], details, held_out_documents(facts, chosen))
    if not sample.paragraphs:
        raise UserError(
            f"None of the {len(chosen):,} chosen documents has a paragraph that a question could be asked about: lower "
            "synthesize.paragraphs.min_characters, or look whether the source keeps the line breaks of its texts (the source "
            f"`documents` does).{_told_of_languages(details[PASSED_OVER])}"
        )
    return sample


def _language_facts(settings: SynthesizeSettings) -> dict[str, Any] | None:
    """What decides which language a text is said to be in."""
    if settings.language is None:
        return None
    checks = settings.checks
    return settings.language.model_dump(mode="json") | {
        "sha256": language_model_sha256(settings.language),
        "sure": [checks.min_language_probability, checks.min_language_characters],
    }


def tokenizer_sha256(path: Path | None) -> str | None:
    """The content of a tokenizer.json, for fingerprints; None where there is no such file, which is told when it is read."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and path.is_file() else None


def _told_of_languages(passed_over: Mapping[str, int]) -> str:
    if not passed_over:
        return ""
    told = ", ".join(f"{rows:,} of {language}" for language, rows in passed_over.items())
    return (
        f" Paragraphs in another language than their document were passed over: {told}; see `language` of the source."
    )


def held_out_documents(facts: pa.Table, chosen: pa.Table) -> pa.Array:
    """The keys of all documents that no other pair may be trained on: string, those of dev and test and their equals."""
    test = document_keys(chosen.filter(pc.is_in(chosen["split"], value_set=pa.array(SPLITS[1:]))))
    keys = document_keys(facts)
    texts = facts["text_id"].filter(pc.is_in(keys, value_set=test)).combine_chunks()
    return pc.unique(keys.filter(pc.is_in(facts["text_id"], value_set=texts).combine_chunks()))


def document_keys(rows: pa.Table | pa.RecordBatch) -> pa.Array:
    """document_key of each row, string."""
    source, identity = (
        pa.chunked_array([rows[name]]) if isinstance(rows, pa.RecordBatch) else rows[name] for name in _KEY
    )
    return pc.binary_join_element_wise(source, identity, "\x00").combine_chunks()


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs; nulls are not counted."""
    counted = {each["values"]: each["counts"] for each in pc.value_counts(column.drop_null()).to_pylist()}
    return dict(sorted(counted.items()))


def with_seed(sampling: SamplingSettings, seed: int) -> SamplingSettings:
    """The settings with the recipe's seed added."""
    return sampling.model_copy(update={"seed": sampling.seed + seed})


def _stem(file: ShardFile) -> str:
    return file.path.rsplit("/", 1)[-1].removesuffix(".parquet")


def write_facts(
    folder: str, settings: SynthesizeSettings, sampling: SamplingSettings, task: Any, progress: TaskProgress
) -> Part:
    """The facts of one shard's documents."""
    count = tokenizer_count(settings.length_tokenizer) if settings.length_tokenizer else None
    rows = 0
    with ShardSet(folder, task.name, {FACTS_ROLE: DOCUMENT_FACTS}, always=[FACTS_ROLE]) as shards:
        for read in read_batches(task.payload, rows=512):
            batch = with_languages(read, settings)
            facts = document_facts(batch, sampling, count)
            shards.write(FACTS_ROLE, facts.append_column(DOCUMENT_FACTS.field("text_id"), text_ids(batch["text"])))
            rows += batch.num_rows
            progress.beat(rows)
    return commit_part(folder, task.name, task.fingerprint, shards.files, Tally(), [])


def with_languages(batch: pa.RecordBatch, settings: SynthesizeSettings) -> pa.RecordBatch:
    """DOCUMENT rows; those that tell no language have the one their text is identified as, if any."""
    unknown = pc.equal(batch["language"], UNKNOWN)
    if settings.language is None or not pc.any(unknown).as_py():
        return batch
    found, sure = identified_languages(settings.language)(batch["text"].filter(unknown))
    codes = pc.if_else(pa.array(sure >= settings.checks.min_language_probability), found, UNKNOWN).fill_null(UNKNOWN)
    place = DOCUMENT.get_field_index("language")
    return batch.set_column(place, DOCUMENT.field(place), pc.replace_with_mask(batch["language"], unknown, codes))


def read_facts(folder: str, parts: list[Part]) -> pa.Table:
    """The facts of all shards; of documents with the same text only one stays eligible."""
    urls = [storage.join(folder, file.path) for part in parts for file in part.files]
    batches = [batch for url in urls for batch in read_batches(url)]
    facts = pa.Table.from_batches(batches, DOCUMENT_FACTS)
    own = text_ids(pc.binary_join_element_wise(facts["source"], facts["document_id"], "\x00").combine_chunks())
    ids = _halves(facts["text_id"].combine_chunks())
    hashes = _halves(own)
    not_eligible = ~facts["eligible"].to_numpy()
    order = np.lexsort((hashes[:, 1], hashes[:, 0], not_eligible, ids[:, 1], ids[:, 0]))
    ordered = ids[order]
    repeated = np.zeros(len(facts), np.bool_)
    repeated[order[1:]] = (ordered[1:] == ordered[:-1]).all(axis=1)
    repeated &= ~not_eligible
    eligible = pa.array(~not_eligible & ~repeated)
    why_not = pc.if_else(pa.array(repeated), pa.scalar(DUPLICATE), facts["why_not"])
    for name, column in (("eligible", eligible), ("why_not", why_not)):
        facts = facts.set_column(facts.schema.get_field_index(name), DOCUMENT_FACTS.field(name), column)
    return facts


def _halves(ids: pa.Array) -> np.ndarray[Any, Any]:
    """uint64 [n, 2] of binary(16) ids."""
    return np.frombuffer(ids.buffers()[1], ">u8").reshape(-1, 2)[ids.offset : ids.offset + len(ids)].astype(np.uint64)


def _refuse_nothing_chosen(facts: pa.Table, chosen: pa.Table) -> None:
    asked = pc.sum(pc.not_equal(chosen["split"], CORPUS)).as_py() or 0
    if asked:
        return
    if not len(facts):
        raise UserError(
            "The sources gave no documents: set `documents: true` for a source that has them, or use the source `documents`."
        )
    told = ", ".join(f"{rows:,} {name}" for name, rows in _counted(facts["why_not"]).items())
    raise UserError(
        f"None of {len(facts):,} documents is chosen to be asked about ({told or 'no counts are wanted'}): change "
        "synthesize.sampling (min_length, max_length, languages, counts)."
    )


def _by_shard(
    urls: dict[str, str], facts_parts: list[Part], facts: pa.Table, chosen: pa.Table
) -> list[tuple[str, str, dict[int, tuple[str, str]]]]:
    """(stem, documents shard, split and language by row) of every shard that has chosen documents."""
    split_of = {(row["source"], row["document_id"]): (row["split"], row["language"]) for row in chosen.to_pylist()}
    found, first = [], 0
    for (stem, url), part in zip(urls.items(), facts_parts, strict=True):
        of_shard = facts.slice(first, sum(file.rows for file in part.files))
        first += len(of_shard)
        names = zip(*(of_shard[name].to_pylist() for name in ("source", "document_id", "eligible")), strict=True)
        rows = {
            row: split_of[source, identity]
            for row, (source, identity, eligible) in enumerate(names)
            if eligible and (source, identity) in split_of
        }
        if rows:
            found.append((stem, url, rows))
    return found


def write_paragraphs(folder: str, settings: SynthesizeSettings, task: Any, progress: TaskProgress) -> Part:
    """The chosen documents of one shard, and the paragraphs of those that are asked about."""
    url, chosen = task.payload
    schemas = {DOCUMENTS: CHOSEN_DOCUMENT, PARAGRAPHS: PARAGRAPH}
    passed_over: Counter[str] = Counter()
    with ShardSet(folder, task.name.removeprefix("paragraphs-"), schemas, always=[DOCUMENTS, PARAGRAPHS]) as shards:
        rows = 0
        for batch in read_batches(url, rows=256):
            documents = _chosen_rows(batch, {row - rows: split for row, split in chosen.items() if row >= rows})
            shards.write(DOCUMENTS, documents)
            shards.write(PARAGRAPHS, paragraphs_of(documents, settings, passed_over))
            rows += batch.num_rows
            progress.beat(rows)
    details = {PASSED_OVER: dict(sorted(passed_over.items()))}
    return commit_part(folder, task.name, task.fingerprint, shards.files, Tally(), [], details=details)


def _chosen_rows(batch: pa.RecordBatch, chosen: dict[int, tuple[str, str]]) -> pa.RecordBatch:
    """CHOSEN_DOCUMENT rows of those of a batch that are chosen: split and language by row."""
    rows = [row for row in range(batch.num_rows) if row in chosen]
    splits, languages = ([chosen[row][side] for row in rows] for side in (0, 1))
    columns = {name: batch[name].take(pa.array(rows, pa.int64())) for name in DOCUMENT.names}
    columns |= {"language": pa.array(languages, pa.string()), "split": pa.array(splits, pa.string())}
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=CHOSEN_DOCUMENT)


def document_key(row: Mapping[str, Any]) -> str:
    """What tells documents apart: source and id."""
    return f"{row['source']}\x00{row['document_id']}"


def paragraphs_of(documents: pa.RecordBatch, settings: SynthesizeSettings, passed_over: Counter[str]) -> pa.RecordBatch:
    """PARAGRAPH rows of the documents that are no mere distractors; `passed_over` counts those in another language than told."""
    asked = documents.filter(pc.not_equal(documents["split"], CORPUS)).to_pylist()
    chosen = _chosen_paragraphs(asked, settings, passed_over)
    rows = []
    for document, places in zip(asked, chosen, strict=True):
        for number, start, end in sorted(places):
            place = "\x00".join((document_key(document), str(start), str(end)))
            rows.append(
                {name: document[name] for name in ("document_id", "source", "title", "language", "split")}
                | {"question_id": text_id(place).hex()[:16], "number": number, "start": start, "end": end}
                | {"text": paragraph_text(document["text"], start, end)}
            )
    return pa.RecordBatch.from_pylist(rows, PARAGRAPH)


def _chosen_paragraphs(
    documents: Sequence[Mapping[str, Any]], settings: SynthesizeSettings, passed_over: Counter[str]
) -> list[list[Paragraph]]:
    """Of each document. Where a paragraph is in another language, the next in turn is looked at."""
    of_each = [(document_key(each), each["text"], each["sections"], settings.paragraphs) for each in documents]
    if settings.language is None:
        return [choose_paragraphs(*each) for each in of_each]
    in_turn = [paragraphs_in_turn(*each) for each in of_each]
    wanted = settings.paragraphs.per_document
    told = groups_told_apart([each["language"] for each in documents], settings.language)
    identify = identified_groups(settings.language)
    chosen: list[list[Paragraph]] = [[] for _ in documents]
    looked_at = [0] * len(documents)
    while True:
        tried = [
            (row, place)
            for row, places in enumerate(in_turn)
            for place in places[looked_at[row] : looked_at[row] + wanted - len(chosen[row])]
        ]
        if not tried:
            return chosen
        rows = [row for row, _ in tried]
        texts = pa.array([paragraph_text(documents[row]["text"], place.start, place.end) for row, place in tried])
        other = in_other_language(texts, told.take(pa.array(rows)), identify, settings.checks)
        for (row, place), passed in zip(tried, other.tolist(), strict=True):
            looked_at[row] += 1
            if passed:
                passed_over[documents[row]["language"]] += 1
            else:
                chosen[row].append(place)
