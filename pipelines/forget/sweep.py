"""Every file of a run folder is looked into for what is left of forgotten documents; what jobs can make again is deleted.

    jobs' shards, exports, pages   deleted, with the records that name them: the next run makes them again
    files of an affected shard     deleted by their name, though they hold no text: measurements, sketches, vectors, tokens
    logs                           lines that hold a text are replaced
    refresh records                values that hold a text are replaced
    anything else                  told, not touched

Texts are found whole or in part, in Parquet, Arrow, gzip, zstd, xz and bzip2 files too, and escaped for JSON or HTML.
"""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from pipelines import storage
from pipelines.forget.fragments import LENGTH, URL_ENDS, Fragments, quoted, spelled, written_urls
from pipelines.forget.tombstones import FILE, FORGETTING
from pipelines.forget.traces import Traces, data_of, stem_of, text_arrays, with_url
from pipelines.job import EVALUATION, is_whole
from pipelines.manifest import MANIFEST, read_manifest
from pipelines.recipe import JOBS
from pipelines.report.false_negatives import FILE as JUDGED
from pipelines.run_folder import LOCK, REMOTE_LOCK, RunFolder
from pipelines.shards import PARTS
from sources.schema import text_id

WORK: Final = FORGETTING.split("/", 1)[0]
MODELS: Final = "models"
LINE: Final = "(a line was removed by pairmill forget)"
VALUE: Final = "(removed by pairmill forget)"
_BINARY: Final = (".safetensors", ".npy", ".lock")  # numbers alone
_VOCABULARY: Final = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt")  # a title may be a word of it
_BLOCK: Final = 8 << 20
_SHORTEST: Final = 8  # bytes of a text that is looked for in files without columns
_SCRATCH: Final = ("_exchange", "_progress", "_texts", "_words", "_decoded")  # of any job; made again
_NEIGHBOURS: Final = "_neighbours/"
_THREADS: Final = 4
_BYTES: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


@dataclass
class Swept:
    """What was found and done, by path below the run folder."""

    deleted: dict[str, str] = field(default_factory=dict)  # path -> what it held
    edited: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)  # path -> what it holds
    files: int = 0
    bytes: int = 0


class Search:
    """What is looked for."""

    def __init__(self, traces: Traces) -> None:
        self.traces = traces
        self.fragments = Fragments(spelled(traces.fragments))
        short = [text for text in traces.own if _SHORTEST <= len(text.encode("utf-8", "surrogatepass")) < LENGTH]
        names = [each for each in traces.names if len(each.encode("utf-8", "surrogatepass")) >= _SHORTEST]
        self._quoted = Fragments(quoted([*short, *names]), _SHORTEST + 2)
        self._urls = Fragments(written_urls(each for each in names if "://" in each), _SHORTEST, URL_ENDS)
        self._texts = pa.array(sorted(traces.own), pa.string())
        self._passages = pa.array(sorted(text_id(text) for text in traces.own), pa.binary(16))
        self._pairs = pa.array(sorted(traces.pair_ids), pa.binary(16))
        self._questions = pa.array(sorted(traces.question_ids), pa.string())

    def in_rows(self, batch: pa.RecordBatch) -> str | None:
        """What a batch of any columns holds; None: nothing."""
        names = set(batch.schema.names)
        if {"source", "document_id"} <= names and self.traces.forgotten.rows(with_url(batch)).any():
            return "rows of it"
        for name, ids in (("pair_id", self._pairs), ("passage_id", self._passages), ("question_id", self._questions)):
            if name in names and len(ids) and batch[name].type == ids.type and _any_in(batch[name], ids):
                return f"its {name}"
        if any(len(self._texts) and _any_in(column, self._texts) for _, column in text_arrays(batch)):
            return "a text of it"
        for column in _string_columns(batch):
            if any(self.fragments.found_in(data, 1) for data in data_of(column)):
                return "a part of a text of it"
        return None

    def in_bytes(self, data: bytes) -> str | None:
        """What the content of a file without columns holds."""
        if self.fragments.found_in(data, 1):
            return "a part of a text of it"
        if self._quoted.found_in(data, 1) or self._urls.found_in(data, 1):
            return "a short text, the URL or the id of it"
        return None


def _any_in(column: pa.Array, values: pa.Array) -> bool:
    return bool(pc.any(pc.is_in(column, value_set=values)).as_py())


def _string_columns(batch: pa.RecordBatch) -> Iterator[pa.Array]:
    for column in batch.columns:
        yield from _strings_in(column)


def _strings_in(column: pa.Array) -> Iterator[pa.Array]:
    kind = column.type
    if any(of(kind) for of in _BYTES):
        yield column
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _strings_in(pc.list_flatten(column))
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _strings_in(part)
    elif pa.types.is_dictionary(kind):
        yield from _strings_in(column.dictionary)


def held_by(url: str, search: Search) -> str | None:
    """What a file holds of the documents; None: nothing. A file that cannot be read as what its name says is read as bytes."""
    if url.endswith(_BINARY) or url.rsplit("/", 1)[-1] in _VOCABULARY:
        return None
    try:
        if url.endswith(".parquet"):
            with storage.open_for_reading(url) as stream, pq.ParquetFile(stream) as parquet:
                return _first(search.in_rows(batch) for batch in parquet.iter_batches(4096))
        if url.endswith(".arrow"):
            with storage.open_for_reading(url) as stream:
                return _first(search.in_rows(batch) for batch in _arrow_batches(stream))
    except (pa.ArrowInvalid, OSError, ValueError):
        return _held_by_bytes(url, search)  # half a file, or another kind of one
    return _held_by_bytes(url, search)


def _first(found: Iterator[str | None]) -> str | None:
    return next((each for each in found if each is not None), None)


def _arrow_batches(stream: IO[bytes]) -> Iterator[pa.RecordBatch]:
    start = stream.read(6)
    stream.seek(0)
    if start == b"ARROW1":
        reader = pa.ipc.open_file(stream)
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from pa.ipc.open_stream(stream)


def _held_by_bytes(url: str, search: Search) -> str | None:
    with storage.open_for_reading(url) as stored:
        try:
            with _decompressed(url, stored) as stream:
                return _first(search.in_bytes(block) for block in _blocks(stream))
        except (OSError, EOFError, lzma.LZMAError, zstandard.ZstdError):  # no such file after all
            stored.seek(0)
            return _first(search.in_bytes(block) for block in _blocks(stored))


def _decompressed(url: str, stream: IO[bytes]) -> Any:
    if url.endswith(".gz"):
        return gzip.GzipFile(fileobj=stream)
    if url.endswith((".zst", ".zstd")):
        return zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True, closefd=False)
    if url.endswith(".xz"):
        return lzma.LZMAFile(stream)
    if url.endswith(".bz2"):
        return bz2.BZ2File(stream)
    return _Open(stream)


class _Open:
    """A stream that stays open at the end of a `with` block."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def __enter__(self) -> IO[bytes]:
        return self._stream

    def __exit__(self, *error: object) -> None:
        """Whoever opened it closes it."""


def _blocks(stream: IO[bytes], overlap: int = 1024) -> Iterator[bytes]:
    """The bytes in blocks that overlap, so that nothing short is cut in two."""
    before = b""
    while block := stream.read(_BLOCK):
        yield before + block
        before = (before + block)[-overlap:]
    yield before + b"\n"  # where the last value ends


def sweep(run: RunFolder, traces: Traces, *, act: bool, tell: Callable[[str], None] = lambda path: None) -> Swept:
    """Look into every file but extract's own; with `act`, remove what holds something. Raises OSError."""
    search, swept = Search(traces), Swept()
    paths = [path for path in storage.list_tree(run.url) if not _is_passed_over(path) and not _is_link(run, path)]

    def look(path: str) -> str | None:
        found = _by_name(path, traces) or held_by(storage.join(run.url, path), search)
        tell(path)
        return found

    with ThreadPoolExecutor(_THREADS) as threads:
        held = {path: found for path, found in zip(paths, threads.map(look, paths), strict=True) if found}
    swept.files = len(paths)
    held |= _vectors_beside(paths, held)
    for path, found in held.items():
        if _can_go(path):
            swept.deleted[path] = found
        elif not _edit(run, path, search, swept, act):
            swept.left[path] = found
    if any(path.startswith(f"pack/{EVALUATION}") for path in swept.deleted):
        beside = [path for path in paths if path.startswith(f"pack/{EVALUATION}/")]  # of no use without each other
        swept.deleted = dict.fromkeys(beside, "what belongs to such a file") | swept.deleted
    if act:
        for path in swept.deleted:
            storage.remove(storage.join(run.url, path))
        _drop_records(run)
    return swept


def _vectors_beside(paths: Sequence[str], held: dict[str, str]) -> dict[str, str]:
    """Matrices of shards that hold a text of it, perhaps as another document's negative: by numbers alone nobody can tell."""
    stems = {stem_of(path) for path in held if _can_go(path)} - {None}
    beside = [path for path in paths if path.endswith(".npy") and _can_go(path) and stem_of(path) in stems]
    return {path: "what was made of such a shard" for path in beside if path not in held}


def check(run: RunFolder, traces: Traces, paths: Sequence[str]) -> dict[str, str]:
    """Of some files that were to stay: those that still hold something, and what."""
    search = Search(traces)
    found = {path: held_by(storage.join(run.url, path), search) for path in paths}
    return {path: held for path, held in found.items() if held}


def files_of(run: RunFolder, folder: str) -> list[str]:
    """Paths below the run folder of all files of one of its folders."""
    return [f"{folder}/{path}" for path in storage.list_tree(storage.join(run.url, folder))]


def _is_passed_over(path: str) -> bool:
    """Extract's shards lose rows, and the embedding store vectors, in other ways. Names of the sources' files stay."""
    top = path.split("/", 1)[0]
    return (
        path in (LOCK, REMOTE_LOCK, FILE)
        or top in (WORK, "embeddings")
        or (top == "extract" and not path.startswith("extract/_progress"))
        or path.startswith(("synthesize/_asked/", "refresh/inputs", "refresh/content-"))
    )


def _is_link(run: RunFolder, path: str) -> bool:
    """What a link leads to is searched where it lies, if that is in the run folder."""
    return storage.is_local(run.url) and Path(storage.split_url(storage.join(run.url, path))[1]).is_symlink()


def _by_name(path: str, traces: Traces) -> str | None:
    """Files that are told by their names: those of an affected shard, and what jobs leave between two runs."""
    top, _, rest = path.partition("/")
    if traces.found and path == JUDGED:
        return "what a judge said of negatives that are mined anew"
    if not traces.found or top not in JOBS or top in ("train", "extract"):
        return None
    if rest.startswith(_NEIGHBOURS):  # of mine: hashes of vectors, positions and scores
        return None
    if stem_of(path) in traces.stems:
        return "what was made of its shard"
    if rest.split("/", 1)[0] in _SCRATCH:
        return "what a job leaves for its next run"
    return "a page about it" if top == "report" and path.endswith(".html") else None


def _can_go(path: str) -> bool:
    """Whether a job makes the file again. What training wrote is a model's."""
    top = path.split("/", 1)[0]
    return (top in JOBS and top not in ("train", "extract")) or "/_progress/" in path or path == JUDGED


def _edit(run: RunFolder, path: str, search: Search, swept: Swept, act: bool) -> bool:
    """Replace what a log or a record of a refresh holds; whether the file is one of those."""
    top = path.split("/", 1)[0]
    is_log = top == "logs" or path == "log.jsonl"
    if not is_log and not (top == "refresh" and path.endswith(".json")):
        return False
    swept.edited.append(path)
    if act:
        url = storage.join(run.url, path)
        with storage.open_for_reading(url) as stream:
            content = stream.read()
        with storage.atomic_write(url) as out:
            out.write(_without_lines(content, search) if is_log else _without_values(content, search))
    return True


def _without_lines(content: bytes, search: Search) -> bytes:
    lines = content.split(b"\n")
    told = json.dumps({"event": LINE}).encode()
    kept = [
        line if search.in_bytes(line + b"\n") is None else told if line.startswith(b"{") else LINE.encode()
        for line in lines
    ]
    return b"\n".join(kept)


def _without_values(content: bytes, search: Search) -> bytes:
    def cleaned(value: Any) -> Any:
        if isinstance(value, str):
            return (
                VALUE if search.in_bytes(f"{json.dumps(value)}\n{value}\n".encode("utf-8", "surrogatepass")) else value
            )
        if isinstance(value, list):
            return [cleaned(each) for each in value]
        return {cleaned(key): cleaned(each) for key, each in value.items()} if isinstance(value, dict) else value

    try:
        return json.dumps(cleaned(json.loads(content)), indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n"
    except ValueError:
        return _without_lines(content, search)


def _drop_records(run: RunFolder) -> None:
    """Records must not outlive what they describe: manifests, parts and measurements that name a file that is gone, also one
    that a killed take-down removed."""
    for job in sorted(set(JOBS) - {"extract", "train"}):
        folder = run.job(job)
        there = set(storage.list_tree(folder))
        manifest = read_manifest(folder)
        if manifest is None or not is_whole(folder, manifest):
            storage.remove(storage.join(folder, MANIFEST))
        for path in sorted(there):
            if path.startswith((f"{PARTS}/", "_measured/")) and path.endswith(".json"):
                record = storage.read_record(storage.join(folder, path)) or {"files": [{"path": None}]}  # torn
                named = record["files"] if "files" in record else [record["file"]]
                if not {file["path"] for file in named} <= there:
                    storage.remove(storage.join(folder, path))
