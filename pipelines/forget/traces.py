"""What came of some documents: their rows, texts and hashes, collected before anything is removed.

A text counts as the documents' own where no other document has it as query, positive, document or question. Own texts are what
must be gone afterwards; others stay, and are counted.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from pipelines import storage
from pipelines.forget.fragments import LENGTH, Fragments, fragments_of, spelled
from pipelines.forget.tombstones import Forgotten, Tombstone, document_hash, excerpt_hash, name_hash
from pipelines.run_folder import RunFolder
from pipelines.shards import QUARANTINE, read_batches
from sources.schema import text_id

STEM: Final = re.compile(
    r"\d{3}-.*-[0-9a-f]{8}-\d{5}"
)  # of a shard: extract names it, and the jobs that follow keep it
# The columns that hold texts of documents, in any job's shards.
TEXT_COLUMNS: Final = (
    "query",
    "positive",
    "negatives",
    "text",
    "title",
    "question",
    "paragraph",
    "hard_negatives",
    "sections",
)
_NAMES: Final = ("source", "document_id", "url")
_SETS: Final = ("stems", "own", "names", "question_ids", "requests", "fragments")
_THREADS: Final = 4
_ROWS: Final = 8192

Tell = Callable[[str], None]
Rows = npt.NDArray[np.bool_]


class Asked(BaseModel):
    """One document to be forgotten, as the user names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str  # "url" or "document_id"
    name: str
    source: str | None = None

    @property
    def tombstone(self) -> Tombstone:
        kind: Any = self.kind
        return Tombstone(kind=kind, sha256=name_hash(kind, self.name), source=self.source)


@dataclass
class Traces:
    """All that is known of the documents: plain texts and names, for as long as they are being forgotten."""

    asked: list[Asked]
    tombstones: list[Tombstone]
    stems: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)  # texts
    names: set[str] = field(
        default_factory=set
    )  # URLs as the data write them, and what was asked for, that no other row has
    shared: int = 0  # texts that another document has, too
    pair_ids: set[bytes] = field(default_factory=set)
    question_ids: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)  # keys of LLM answers
    documents: set[tuple[str, str]] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)  # rows by job and role
    fragments: set[str] = field(default_factory=set)
    models: list[dict[str, Any]] = field(default_factory=list)  # whose training data held something

    @property
    def found(self) -> bool:
        return bool(self.stems)

    @property
    def forgotten(self) -> Forgotten:
        return Forgotten(tuple(self.tombstones))

    def as_json(self) -> dict[str, Any]:
        return {
            "asked": [each.model_dump() for each in self.asked],
            "tombstones": [each.model_dump(mode="json") for each in self.tombstones],
            "pair_ids": sorted(each.hex() for each in self.pair_ids),
            "documents": sorted(self.documents),
            **{name: sorted(getattr(self, name)) for name in _SETS},
            "shared": self.shared,
            "counts": self.counts,
            "models": self.models,
        }

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> "Traces":
        return cls(
            asked=[Asked.model_validate(each) for each in content["asked"]],
            tombstones=[Tombstone.model_validate(each) for each in content["tombstones"]],
            pair_ids={bytes.fromhex(each) for each in content["pair_ids"]},
            documents={(source, identity) for source, identity in content["documents"]},
            shared=content["shared"],
            counts=content["counts"],
            models=content["models"],
            **{name: set(content[name]) for name in _SETS},
        )


def collect(run: RunFolder, asked: Sequence[Asked], jobs: Sequence[str], tell: Tell = lambda path: None) -> Traces:
    """Find everything that came of the documents in the shards of the run; changes nothing. Raises OSError."""
    traces = Traces(list(asked), with_documents(run, [each.tombstone for each in asked], tell))
    traces.names.update(each.name for each in asked)
    texts: set[str] = set()  # of queries, positives, documents, questions
    negatives: set[str] = set()
    for path, batch in _forgotten_rows(run, "extract", traces, tell):
        traces.stems.add(stem_of(path) or path)
        _note(traces, "extract", path, batch, texts, negatives)
    for job in jobs:
        if job != "extract" and traces.stems:
            for path, batch in _forgotten_rows(run, job, traces, tell):
                _note(traces, job, path, batch, texts, negatives)
    _note_asked(run, traces, texts)
    _tell_own_apart(run, traces, texts, negatives, tell)
    _hash_texts(run, traces, texts)
    return traces


def with_documents(run: RunFolder, tombstones: Sequence[Tombstone], tell: Tell) -> list[Tombstone]:
    """The tombstones, those of URLs with the documents that have them: their other rows may have no URL."""
    found: dict[int, set[str]] = {number: set() for number, each in enumerate(tombstones) if each.kind == "url"}
    singles = {number: Forgotten((tombstones[number],)) for number in found}
    if found:
        both = Forgotten(tuple(tombstones[number] for number in found))
        for _, batch in _batches(run, "extract", _NAMES, tell):
            rows = batch.filter(pa.array(both.rows(batch)))
            for number, single in singles.items() if rows.num_rows else ():
                of_one = rows.filter(pa.array(single.rows(rows)))
                names = zip(of_one["source"].to_pylist(), of_one["document_id"].to_pylist(), strict=True)
                found[number].update(document_hash(*each) for each in set(names))
    return [
        each.model_copy(update={"documents": tuple(sorted(found.get(number, ())))})
        for number, each in enumerate(tombstones)
    ]


def _note(traces: Traces, job: str, path: str, batch: pa.RecordBatch, texts: set[str], negatives: set[str]) -> None:
    role = path.split("/", 1)[0]
    traces.counts[f"{job}/{role}"] = traces.counts.get(f"{job}/{role}", 0) + batch.num_rows
    traces.documents.update(zip(batch["source"].to_pylist(), batch["document_id"].to_pylist(), strict=True))
    for column, into in (
        ("url", traces.names),
        ("pair_id", traces.pair_ids),
        ("question_id", traces.question_ids),
        ("request", traces.requests),
    ):
        if column in batch.schema.names:
            into.update(batch[column].drop_null().to_pylist())
    traces.names.update(each for each in batch["document_id"].to_pylist() if "://" in each)
    for name, values in text_values(batch):
        (negatives if name == "negatives" else texts).update(values)


def _note_asked(run: RunFolder, traces: Traces, texts: set[str]) -> None:
    """What the model was asked and answered about their paragraphs."""
    if not traces.question_ids:
        return
    wanted = pa.array(sorted(traces.question_ids))
    for path in shards_of(run, "synthesize"):
        if path.startswith("asked/"):
            for batch in read_batches(storage.join(run.job("synthesize"), path)):
                rows = batch.filter(pc.is_in(batch["question_id"], value_set=wanted))
                traces.requests.update(rows["request"].to_pylist())
                for _, values in text_values(rows):
                    texts.update(values)


def _tell_own_apart(run: RunFolder, traces: Traces, texts: set[str], negatives: set[str], tell: Tell) -> None:
    """Which texts and names no other document has, and which fragments occur in no other row."""
    every = {text for text in texts | negatives if text}
    wanted, names = pa.array(sorted(every), pa.string()), pa.array(sorted(traces.names), pa.string())
    pieces = {piece.encode("utf-8", "surrogatepass"): piece for piece in fragments_of(every)}
    fragments = Fragments(pieces)
    elsewhere: set[str] = set()  # anywhere in other rows
    as_text: set[str] = set()  # as anything but a negative
    kept: set[bytes] = set()
    of_others_too: set[str] = set()  # names

    def look(job: str, path: str) -> tuple[set[str], set[str], set[bytes], set[str]]:
        found: tuple[set[str], set[str], set[bytes], set[str]] = (set(), set(), set(), set())
        for batch in read_batches(storage.join(run.job(job), path), rows=_ROWS):
            others = batch.filter(pa.array(~_gone(batch, traces)))
            for name in {"document_id", "url"} & set(others.schema.names):
                found[3].update(others[name].filter(pc.is_in(others[name], value_set=names)).to_pylist())
            for name, column in text_arrays(others):
                same = pc.is_in(column, value_set=wanted)
                hit = set(column.filter(same).to_pylist())
                found[0].update(hit)
                if name != "negatives":
                    found[1].update(hit)
                for data in data_of(column.filter(pc.invert(same))):
                    found[2].update(fragments.found_in(data))
        tell(path)
        return found

    paths = [(job, path) for job in ("extract", "synthesize") for path in shards_of(run, job) if not _has_no_text(path)]
    with ThreadPoolExecutor(_THREADS) as threads:
        for in_rows, not_negative, in_fragments, named in threads.map(lambda each: look(*each), paths):
            elsewhere |= in_rows
            as_text |= not_negative
            kept |= in_fragments
            of_others_too |= named
    traces.names -= of_others_too
    # A negative of another pair is no reason to keep a long text: extract takes it out there. A short one may be anybody's.
    own = {text for text in texts if text and text not in (as_text if _is_long(text) else elsewhere)}
    own |= {text for text in negatives if text and text not in texts and text not in elsewhere}
    traces.own, traces.shared = own, len(every) - len(own)
    of_others = {pieces[each] for each in kept} | fragments_of(every - own)
    traces.fragments = fragments_of(own) - of_others


def _gone(batch: pa.RecordBatch, traces: Traces) -> Rows:
    """Which rows are of the documents, in any shard."""
    if {"source", "document_id"} <= set(batch.schema.names):
        return traces.forgotten.rows(with_url(batch))
    if "question_id" in batch.schema.names and traces.question_ids:
        found: Rows = pc.is_in(batch["question_id"], value_set=pa.array(sorted(traces.question_ids))).to_numpy(
            zero_copy_only=False
        )
        return found
    return np.zeros(batch.num_rows, np.bool_)


def _hash_texts(run: RunFolder, traces: Traces, texts: set[str]) -> None:
    """The hashes that keep the documents' texts out of other pairs' negatives and out of excerpts."""
    hashes = tuple(sorted(text_id(text).hex() for text in traces.own & texts if _is_long(text)))
    excerpts = tuple(sorted(_excerpts_with(run, traces)))
    first, *others = traces.tombstones
    traces.tombstones = [first.model_copy(update={"texts": hashes, "excerpts": excerpts}), *others]


def _excerpts_with(run: RunFolder, traces: Traces) -> Iterator[str]:
    fragments, names = Fragments(spelled(traces.fragments)), [each for each in traces.names if len(each) >= 8]
    for path in shards_of(run, "extract"):
        if path.startswith(f"{QUARANTINE}/"):
            for batch in read_batches(storage.join(run.job("extract"), path), ["excerpt"]):
                for excerpt in batch["excerpt"].to_pylist():
                    words = excerpt.replace("\\/", "/")
                    if any(name in words for name in names) or fragments.found_in(
                        words.encode("utf-8", "surrogatepass"), 1
                    ):
                        yield excerpt_hash(excerpt)


def _is_long(text: str) -> bool:
    return len(text.encode("utf-8", "surrogatepass")) >= LENGTH


# Shards and their columns


def stem_of(path: str) -> str | None:
    """The stem that extract gave the shard a file is of; None for a file that is of no single shard."""
    found = STEM.search(path.rsplit("/", 1)[-1])
    return found[0] if found else None


def shards_of(run: RunFolder, job: str) -> list[str]:
    """The Parquet files of a job's folder, sorted, whether a manifest names them or not."""
    return [path for path in storage.list_tree(run.job(job), (".parquet",)) if not path.startswith("_")]


def _has_no_text(path: str) -> bool:
    return path.startswith(("facts/", "verdicts/", QUARANTINE))


def _forgotten_rows(run: RunFolder, job: str, traces: Traces, tell: Tell) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(path, rows) of the documents in a job's shards; after extract only in shards of the stems that are known."""
    for path in shards_of(run, job):
        if job != "extract" and stem_of(path) not in traces.stems:
            continue
        url = storage.join(run.job(job), path)
        if not _has_names(url):
            continue
        if job == "extract" and not _any(url, traces):
            tell(path)
            continue
        for batch in read_batches(url):
            rows = batch.filter(pa.array(traces.forgotten.rows(with_url(batch))))
            if rows.num_rows:
                yield path, rows
        tell(path)


def _any(url: str, traces: Traces) -> bool:
    return any(traces.forgotten.rows(batch).any() for batch in read_batches(url, _NAMES, 65_536))


def _batches(run: RunFolder, job: str, columns: Sequence[str], tell: Tell) -> Iterator[tuple[str, pa.RecordBatch]]:
    for path in shards_of(run, job):
        url = storage.join(run.job(job), path)
        if _has_names(url):
            for batch in read_batches(url, columns, 65_536):
                yield path, batch
        tell(path)


def _has_names(url: str) -> bool:
    with storage.open_for_reading(url) as stream, pq.ParquetFile(stream) as parquet:
        names = set(parquet.schema_arrow.names)
    return {"source", "document_id"} <= names and (QUARANTINE not in url)


def with_url(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows with a column `url`: null where the shard has none. Then only the document tells."""
    if "url" in batch.schema.names:
        return batch
    return batch.append_column("url", pa.nulls(batch.num_rows, pa.string()))


def text_arrays(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    """(column, string array) of the columns with texts, lists flattened, nulls left out."""
    for name in TEXT_COLUMNS:
        if name not in batch.schema.names:
            continue
        column = batch[name]
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pc.list_flatten(column)
        if pa.types.is_struct(column.type):
            column = pc.struct_field(column, "path")
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            yield name, column.drop_null()


def text_values(batch: pa.RecordBatch) -> Iterator[tuple[str, list[str]]]:
    for name, column in text_arrays(batch):
        yield name, pc.unique(column).to_pylist()


def data_of(column: pa.Array) -> Iterator[Any]:
    """The bytes of a string array, one text after the other, as a buffer."""
    if len(column) == 0:
        return
    wide = pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type)
    _, offsets, data = column.buffers()
    if data is None:
        return
    bounds = np.frombuffer(offsets, np.int64 if wide else np.int32)[column.offset : column.offset + len(column) + 1]
    yield data.slice(int(bounds[0]), int(bounds[-1] - bounds[0]))
