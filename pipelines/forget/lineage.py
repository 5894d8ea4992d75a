"""What came of a document, a pair or a text: every row, passage, negative, question, vector, evaluation query and model.

Reads the run's shards column by column; nothing is changed and no job runs. Rows are numbered from 0 in their shard.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipelines import storage
from pipelines.forget.tombstones import Forgotten, Tombstone, document_hash, read_forgotten
from pipelines.forget.traces import Asked, text_arrays, with_documents, with_url
from pipelines.forget.trained_on import FILE as TRAINED_ON
from pipelines.forget.trained_on import Hashes, hashes_of, of_hex, read_trained_on, trained_on
from pipelines.job import PAIRS
from pipelines.manifest import Manifest, read_manifest
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import read_batches
from sources.schema import text_id, text_ids

MODELS: Final = "models"
TRAINED: Final = "train/model"
_JOBS: Final = ("extract", "synthesize", "filter", "decontaminate", "dedup", "score", "pack")
_SHOWN: Final = ("pair_id", "question_id", "passage_id")
_COLUMNS: Final = ("source", "document_id", "url", "reason", *_SHOWN)
_TEXTS: Final = ("query", "positive", "text", "question", "paragraph")

Tell = Callable[[str], None]
Rows = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Wanted:
    """What is asked for: documents, pairs (16 bytes each), or texts as the shards have them."""

    documents: tuple[Asked, ...] = ()
    pairs: frozenset[bytes] = frozenset()
    texts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Use:
    """One place that something came to."""

    what: str  # "pairs", "rejects", "held_out", "passages", "negative of", "questions", "embedding", ...
    job: str
    path: str  # below the job's folder; of embeddings the space
    row: int
    id: str = ""
    of: str = ""  # source and document id
    reason: str = ""


@dataclass
class Lineage:
    """All uses, the models whose training data held a pair or passage, and tombstones that are set already."""

    uses: list[Use] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    tombstones: list[dict[str, Any]] = field(default_factory=list)

    def counts(self) -> list[tuple[str, str, int]]:
        """(job, what, number), in the order of the jobs."""
        counted = Counter((use.job, use.what) for use in self.uses)
        return [(job, what, number) for (job, what), number in counted.items()]

    def as_json(self) -> dict[str, Any]:
        return {
            "uses": [{name: value for name, value in asdict(use).items() if value != ""} for use in self.uses],
            "models": self.models,
            "tombstones": self.tombstones,
        }


@dataclass
class _Seen:
    """What the rows that were found have: it leads to passages, vectors and models."""

    pairs: set[bytes] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    documents: set[tuple[str, str]] = field(default_factory=set)
    queries: set[tuple[str, str]] = field(default_factory=set)  # kind and text of held-out rows


def find(run: RunFolder, recipe: Recipe, wanted: Wanted, tell: Tell = lambda path: None) -> Lineage:
    """Everything in the run that the wanted documents, pairs or texts came to. Raises OSError for shards that are gone."""
    forgotten = Forgotten(tuple(with_documents(run, [each.tombstone for each in wanted.documents], tell)))
    seen = _Seen(set(wanted.pairs), set(wanted.texts))
    found = Lineage()
    for job in _JOBS:
        manifest = read_manifest(run.job(job))
        if manifest is not None:
            for file in manifest.files_of(*sorted({file.role for file in manifest.files})):
                if file.path.endswith(".parquet"):
                    found.uses += _in_shard(run, job, file.role, file.path, wanted, forgotten, seen)
                    tell(f"{job}/{file.path}")
    found.uses += _passages_and_negatives(run, seen)
    found.uses += _packed(run, seen)
    found.uses += _evaluated(run, seen)
    found.uses += _embedded(run, recipe, seen)
    found.models = models_with(run, recipe, wanted, seen.pairs, seen.texts, seen.documents)
    found.tombstones = [_shown(each) for each in read_forgotten(run).tombstones if _is_of(each, wanted, seen)]
    return found


def _in_shard(
    run: RunFolder, job: str, role: str, path: str, wanted: Wanted, forgotten: Forgotten, seen: _Seen
) -> list[Use]:
    url = storage.join(run.job(job), path)
    with storage.open_for_reading(url) as stream, pq.ParquetFile(stream) as parquet:
        kinds = {field.name: field.type for field in parquet.schema_arrow}
    names = [name for name, kind in kinds.items() if name not in _TEXTS or kind == pa.string()]
    looked_at = [name for name in (*_COLUMNS, *(_TEXTS if wanted.texts else ())) if name in names]
    if not {"document_id", "pair_id"} & set(looked_at) or role == "mined":
        return []
    hits = _hits(url, looked_at, wanted, forgotten)
    return [] if len(hits) == 0 else list(_uses(url, job, role, path, names, hits, seen))


def _hits(url: str, columns: Sequence[str], wanted: Wanted, forgotten: Forgotten) -> npt.NDArray[np.int64]:
    """Row numbers, ascending."""
    found, row = [np.zeros(0, np.int64)], 0
    pairs, texts = pa.array(sorted(wanted.pairs), pa.binary(16)), pa.array(sorted(wanted.texts), pa.string())
    for batch in read_batches(url, columns, 65_536):
        mask = np.zeros(batch.num_rows, np.bool_)
        if forgotten and "source" in columns:
            mask |= forgotten.rows(with_url(batch))
        if len(pairs) and "pair_id" in columns:
            mask |= pc.is_in(batch["pair_id"], value_set=pairs).to_numpy(zero_copy_only=False)
        for name in _TEXTS if len(texts) else ():
            if name in columns:
                mask |= pc.is_in(batch[name], value_set=texts).to_numpy(zero_copy_only=False)
        found.append(np.flatnonzero(mask) + row)
        row += batch.num_rows
    return np.concatenate(found)


def _uses(
    url: str, job: str, role: str, path: str, names: Sequence[str], hits: npt.NDArray[np.int64], seen: _Seen
) -> Iterator[Use]:
    row = 0
    for batch in read_batches(url):
        first, last = np.searchsorted(hits, [row, row + batch.num_rows])
        if first < last:
            rows = batch.take(pa.array(hits[first:last] - row))
            _note(rows, role, seen)
            shown = rows.select([name for name in _COLUMNS if name in names]).to_pylist()
            for number, each in zip(hits[first:last].tolist(), shown, strict=True):
                identity = next((each[name] for name in _SHOWN if each.get(name) is not None), "")
                told = identity.hex() if isinstance(identity, bytes) else str(identity)
                of = "/".join(str(each[name]) for name in ("source", "document_id") if each.get(name) is not None)
                yield Use(role, job, path, number, told, of, each.get("reason") or "")
        row += batch.num_rows


def _note(rows: pa.RecordBatch, role: str, seen: _Seen) -> None:
    names = rows.schema.names
    if "pair_id" in names:
        seen.pairs.update(rows["pair_id"].to_pylist())
    if "source" in names and "document_id" in names:
        seen.documents.update(zip(rows["source"].to_pylist(), rows["document_id"].to_pylist(), strict=True))
    for name, column in text_arrays(rows):
        if name not in ("negatives", "sections"):
            seen.texts.update(pc.unique(column).to_pylist())
    if role == "held_out":
        seen.queries.update(zip(rows["kind"].to_pylist(), rows["query"].to_pylist(), strict=True))


def _passages_and_negatives(run: RunFolder, seen: _Seen) -> list[Use]:
    """The passages with one of the texts, and the pairs that have them as negatives: in pack, or else in mine."""
    uses: list[Use] = []
    for job, role, column, of_pairs in (
        ("pack", PAIRS, "negatives", "pack"),
        ("dedup", "mined", "negative_rows", "mine"),
    ):
        passages, pairs = read_manifest(run.job(job)), read_manifest(run.job(of_pairs))
        if passages is None or pairs is None:
            continue
        found, rows = _passage_rows(run, job, passages, seen)
        uses += found
        uses += list(_having(run, of_pairs, pairs, role, column, rows)) if len(rows) else []
        break
    return uses


def _passage_rows(run: RunFolder, job: str, manifest: Manifest, seen: _Seen) -> tuple[list[Use], npt.NDArray[np.int64]]:
    """Passages with one of the texts, and their row numbers over all passage shards."""
    wanted = pa.array(sorted({text_id(text) for text in seen.texts}), pa.binary(16))
    uses, numbers, start = [], [np.zeros(0, np.int64)], 0
    for file in manifest.files_of("passages"):
        first = start
        for batch in read_batches(storage.join(run.job(job), file.path), ["passage_id"], 65_536):
            here = np.flatnonzero(pc.is_in(batch["passage_id"], value_set=wanted).to_numpy(zero_copy_only=False))
            ids = batch["passage_id"].take(pa.array(here)).to_pylist()
            uses += [
                Use("passages", job, file.path, start - first + row, each.hex())
                for row, each in zip(here.tolist(), ids, strict=True)
            ]
            numbers.append(here + start)
            start += batch.num_rows
    return uses, np.concatenate(numbers)


def _having(
    run: RunFolder, job: str, manifest: Manifest, role: str, column: str, rows: npt.NDArray[np.int64]
) -> Iterator[Use]:
    wanted = pa.array(rows)
    for file in manifest.files_of(role):
        start = 0
        for batch in read_batches(storage.join(run.job(job), file.path), ["pair_id", column], 16_384):
            lists = batch[column]
            hit = pc.is_in(pc.list_flatten(lists), value_set=wanted)
            parents = pc.unique(pc.list_parent_indices(lists).filter(hit))
            ids = batch["pair_id"].take(parents).to_pylist()
            for row, each in zip(parents.to_pylist(), ids, strict=True):
                yield Use("negative of", job, file.path, start + row, each.hex())
            start += batch.num_rows


def _packed(run: RunFolder, seen: _Seen) -> Iterator[Use]:
    """The pairs as the trainer reads them."""
    pack = read_manifest(run.job("pack"))
    wanted = pa.array(sorted(seen.pairs), pa.binary(16))
    for file in pack.files_of(PAIRS) if pack is not None else ():
        start = 0
        for batch in read_batches(storage.join(run.job("pack"), file.path), ["pair_id"], 65_536):
            here = np.flatnonzero(pc.is_in(batch["pair_id"], value_set=wanted).to_numpy(zero_copy_only=False))
            for row, each in zip(here.tolist(), batch["pair_id"].take(pa.array(here)).to_pylist(), strict=True):
                yield Use("training pair", "pack", file.path, start + row, each.hex())
            start += batch.num_rows


def _evaluated(run: RunFolder, seen: _Seen) -> Iterator[Use]:
    """Held-out queries, by the ids that pack's evaluation folder and evaluate's files give them."""
    for kind, query in sorted(seen.queries):
        identity = xxhash.xxh3_128_hexdigest(f"{kind}\x00{query}".encode())
        yield Use("evaluation query", "evaluate", "pack/evaluation/held_out/queries.jsonl", 0, identity)


def _embedded(run: RunFolder, recipe: Recipe, seen: _Seen) -> Iterator[Use]:
    """Vectors of the texts in the embedding store."""
    from trainer.embedding_store import EmbeddingStore, text_keys

    folder = store_folder(run, recipe)
    if folder is None or not seen.texts:
        return
    keys = text_keys(pa.array(sorted(seen.texts)))
    for space in EmbeddingStore(folder).spaces():
        for segment in space.segments():
            for row in segment.rows_of(keys).tolist():
                yield Use("embedding", "embeddings", f"{space.folder.name}/{segment.name}", row)


def store_folder(run: RunFolder, recipe: Recipe) -> str | None:
    """Where the run's embeddings are kept; None where they are not."""
    if recipe.embeddings.folder:
        return str(recipe.embeddings.folder)
    return str(storage.split_url(storage.join(run.url, "embeddings"))[1]) if storage.is_local(run.url) else None


# Models


def models_with(
    run: RunFolder,
    recipe: Recipe,
    wanted: Wanted,
    pairs: set[bytes],
    texts: set[str],
    documents: set[tuple[str, str]],
) -> list[dict[str, Any]]:
    """The models whose training data held one of the pairs, documents or URLs, or one of the texts as a passage."""
    passages = set(text_ids(pa.array(sorted(texts), pa.string())).to_pylist()) if texts else set()
    named = documents | _named_documents(wanted, [source.label for source in recipe.sources])
    asked = {
        "pair": hashes_of("pair", pairs),
        "document": np.union1d(hashes_of("document", named), _documents_of_tombstones(run, wanted)),
        "url": hashes_of("url", {each.name for each in wanted.documents if each.kind == "url"}),
        "passage": hashes_of("passage", passages),
    }
    found = []
    for name, data in _trained(run, recipe):
        counts = {kind: int(np.isin(asked[kind], data[kind]).sum()) for kind in asked}
        if any(counts.values()):
            found.append({"model": name, **{f"{kind}s": number for kind, number in counts.items() if number}})
    return found


def _named_documents(wanted: Wanted, sources: Sequence[str]) -> set[tuple[str, str]]:
    ids = [each for each in wanted.documents if each.kind == "document_id"]
    return {(source, each.name) for each in ids for source in ([each.source] if each.source else sources)}


def _documents_of_tombstones(run: RunFolder, wanted: Wanted) -> Hashes:
    """Documents that had one of the URLs when it was forgotten: models may know them by rows without URL."""
    asked = {each.tombstone.sha256 for each in wanted.documents}
    known = [each for each in read_forgotten(run).tombstones if each.sha256 in asked]
    return of_hex(sorted({document for each in known for document in each.documents}))


def _trained(run: RunFolder, recipe: Recipe) -> Iterator[tuple[str, dict[str, Hashes]]]:
    for path in storage.list_tree(storage.join(run.url, MODELS), (TRAINED_ON,)):
        yield f"{MODELS}/{path.removesuffix(f'/{TRAINED_ON}')}", read_trained_on(storage.join(run.url, MODELS, path))
    if recipe.train is not None and storage.exists(storage.join(run.url, TRAINED)):
        kept = storage.join(run.job("train"), TRAINED_ON)
        now = read_trained_on(kept) if storage.exists(kept) else trained_on(run)
        if now is not None:
            yield TRAINED, now


def _is_of(tombstone: Tombstone, wanted: Wanted, seen: _Seen) -> bool:
    named = {(each.tombstone.kind, each.tombstone.sha256) for each in wanted.documents}
    documents = {document_hash(*each) for each in seen.documents}
    texts = {text_id(text).hex() for text in wanted.texts}
    return (
        (tombstone.kind, tombstone.sha256) in named
        or bool(documents & set(tombstone.documents))
        or bool(texts & set(tombstone.texts))
    )


def _shown(tombstone: Tombstone) -> dict[str, Any]:
    return {
        "kind": tombstone.kind,
        "forgotten": tombstone.forgotten,
        "reason": tombstone.reason,
        "counts": tombstone.counts,
        "models": list(tombstone.models),
    }
