"""The questions as a benchmark, by language, in the layouts that others read.

    export/mldr/LANGUAGE/{train,dev,test}.jsonl.gz   {query_id, query, positive_passages: [{docid, text}], negative_passages}
    export/mldr/LANGUAGE/corpus.jsonl.gz             {docid, text}
    export/beir/LANGUAGE/corpus.jsonl                {_id, id, title: "", text}
    export/beir/LANGUAGE/queries.jsonl               {_id, text, metadata: {kind, language, split}}
    export/beir/LANGUAGE/qrels/{train,dev,test}.tsv  query-id, corpus-id, score
    export/beir/LANGUAGE/{train,dev,test}_queries.jsonl, {train,dev,test}_qrels.jsonl   as FlagEmbedding's local data loader reads them

LANGUAGE is as MLDR names it (en, zh). The corpus is all chosen documents: those asked about and the distractors. A document's
text is that of the pairs: normalised, without its title, so that figures of both layouts and of training agree.
"""

import contextlib
import gzip
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Final, cast

import langcodes
import orjson

from pipelines import storage
from pipelines.shards import ShardFile, read_batches
from sources.schema import normalise_text, text_id

EXPORT: Final = "export"
KIND: Final = "synthetic_longdoc"
_NEGATIVE: Final = "negative"  # docids of generated hard negatives


def folder_name(language: str) -> str:
    """eng_Latn -> en: the short tag, scripts left out."""
    tag = langcodes.Language.get(language.split("_", 1)[0]).prefer_macrolanguage().language or "und"
    return tag if tag.isalnum() else "und"


def docid(source: str, document_id: str) -> str:
    """A document's id in the export: a hash, the same for every run, whatever the source's own ids hold."""
    return f"doc-{text_id(chr(0).join((source, document_id))).hex()[:16]}"


class _Folder:
    """The files of a job's export that are being written; each appears when the `with` block ends well."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: dict[str, tuple[IO[bytes], storage.HashingStream]] = {}
        self._rows: dict[str, int] = {}
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> "_Folder":
        return self

    def __exit__(self, *error: Any) -> None:
        self._exit.__exit__(*error)

    def has(self, path: str) -> bool:
        return path in self._files

    def write(self, path: str, line: bytes) -> None:
        if path not in self._files:
            self._files[path] = self._opened(path)
            self._rows[path] = 0
        self._files[path][0].write(line)
        self._rows[path] += 1

    def _opened(self, path: str) -> tuple[IO[bytes], storage.HashingStream]:
        stream = self._exit.enter_context(storage.atomic_write(storage.join(self._folder, path)))
        if not path.endswith(".gz"):
            return cast(IO[bytes], stream), stream
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=cast(IO[bytes], stream), mtime=0, compresslevel=6)
        return self._exit.enter_context(contextlib.closing(cast(IO[bytes], packed))), stream

    def files(self) -> list[ShardFile]:
        """After the `with` block."""
        return [
            ShardFile(role=EXPORT, path=path, rows=self._rows[path], bytes=stream.bytes, sha256=stream.sha256)
            for path, (_, stream) in sorted(self._files.items())
        ]


def write_export(
    folder: str, documents: Sequence[str], questions: Sequence[str], tell: Callable[[int], None]
) -> list[ShardFile]:
    """Write the benchmark of a job: from shards of its chosen documents, and beside each one of its kept questions. `tell`
    gets the number of documents so far.

    Memory: one batch of documents, and the questions of one shard.
    """
    written = 0
    with _Folder(folder) as files:
        for documents_url, questions_url in zip(documents, questions, strict=True):
            asked = _by_document(questions_url)
            for batch in read_batches(documents_url, ["source", "document_id", "language", "text", "split"], rows=256):
                texts = normalise_text(batch["text"]).to_pylist()
                for row, text in zip(batch.drop_columns(["text"]).to_pylist(), texts, strict=True):
                    _write_document(files, row, text)
                    for question in asked.get((row["source"], row["document_id"]), ()):
                        _write_question(files, row, text, question)
                written += batch.num_rows
                tell(written)
    return files.files()


def _by_document(url: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    columns = ["question_id", "source", "document_id", "split", "question", "hard_negatives"]
    for batch in read_batches(url, columns):
        for row in batch.to_pylist():
            found.setdefault((row["source"], row["document_id"]), []).append(row)
    return found


def _write_document(files: _Folder, row: Mapping[str, Any], text: str) -> None:
    language, identity = folder_name(row["language"]), docid(row["source"], row["document_id"])
    files.write(f"export/mldr/{language}/corpus.jsonl.gz", _line({"docid": identity, "text": text}))
    files.write(
        f"export/beir/{language}/corpus.jsonl", _line({"_id": identity, "id": identity, "title": "", "text": text})
    )


def _write_question(files: _Folder, row: Mapping[str, Any], text: str, question: Mapping[str, Any]) -> None:
    language, identity, split = folder_name(row["language"]), docid(row["source"], row["document_id"]), row["split"]
    query_id, query = f"q-{question['question_id']}", question["question"]
    negatives = [
        {"docid": f"{_NEGATIVE}-{text_id(negative).hex()[:16]}", "text": negative}
        for negative in question["hard_negatives"] or ()
    ]
    whole = {
        "query_id": query_id,
        "query": query,
        "positive_passages": [{"docid": identity, "text": text}],
        "negative_passages": negatives,
    }
    files.write(f"export/mldr/{language}/{split}.jsonl.gz", _line(whole))
    beir = f"export/beir/{language}"
    metadata = {"kind": KIND, "language": row["language"], "split": split}
    files.write(f"{beir}/queries.jsonl", _line({"_id": query_id, "text": query, "metadata": metadata}))
    qrels = f"{beir}/qrels/{split}.tsv"
    if not files.has(qrels):
        files.write(qrels, b"query-id\tcorpus-id\tscore\n")
    files.write(qrels, f"{query_id}\t{identity}\t1\n".encode())
    files.write(f"{beir}/{split}_queries.jsonl", _line({"id": query_id, "text": query}))
    files.write(f"{beir}/{split}_qrels.jsonl", _line({"qid": query_id, "docid": identity, "relevance": 1}))


def _line(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(row) + b"\n"
