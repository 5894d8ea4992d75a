"""croissant.json: the same facts as JSON-LD, in MLCommons' Croissant 1.0 (docs.mlcommons.org/croissant/docs/croissant-spec.html).

Every file of the data set is a FileObject with its size and sha256; the shards of one schema are one RecordSet a shard.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
import pyarrow as pa

from pipelines.data_card.facts import MOST_LICENCES, CardFacts
from pipelines.data_card.readme import clean, language_tags
from pipelines.shards import ShardFile
from trainer.packing import PACKED_PAIR, PACKED_PASSAGE
from trainer.text_packing import PACKED_TEXT

CONFORMS_TO: Final = "http://mlcommons.org/croissant/1.0"
_PARQUET: Final = "application/x-parquet"
_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_SCHEMAS: Final[Mapping[str, tuple[str, pa.Schema]]] = {
    "pairs": (
        "training pairs: token ids of the query, rows of its positive and negatives among the passages",
        PACKED_PAIR,
    ),
    "passages": ("distinct passages: token ids", PACKED_PASSAGE),
    "texts": ("plain text for pre-training: token ids", PACKED_TEXT),
}
_JSONL_FIELDS: Final = (("query", "sc:Text", False), ("pos", "sc:Text", True), ("neg", "sc:Text", True))
_MEANINGS: Final = {
    "pair_id": "16 bytes: xxh3-128 of source, document id, kind, query and positive",
    "passage_id": "16 bytes: xxh3-128 of the passage's text",
    "text_id": "16 bytes: xxh3-128 of the text",
    "cluster_id": "16 bytes: the cluster of near-duplicates the passage is in",
    "query_cluster_id": "16 bytes: the cluster of near-duplicates the query is in",
    "positive": "row number of the positive in the passage shards, in the order of their names",
    "negatives": "row numbers of the negatives in the passage shards",
    "known_positives": "row numbers of passages that answer the query too: no negatives",
    "dataset": "label of the source",
    "token_ids": "token ids of the passage, instruction included",
    "query_token_ids": "token ids of the query, instruction included",
    "negative_scores": "one for each negative, or none",
}
_LICENCE_URLS: Final = (
    (
        re.compile(r"cc-(by(?:-nc)?(?:-nd|-sa)?)-([0-9.]+)(?:-([a-z]{2}))?"),
        "https://creativecommons.org/licenses/{0}/{1}/",
    ),
    (re.compile(r"cc0-([0-9.]+)"), "https://creativecommons.org/publicdomain/zero/{0}/"),
    (re.compile(r"pdm-([0-9.]+)"), "https://creativecommons.org/publicdomain/mark/{0}/"),
)
_SPDX: Final = re.compile(r"[a-z][a-z0-9.+-]*[0-9+][a-z0-9.+-]*|mit|unlicense")


def croissant(facts: CardFacts, extra_files: list[ShardFile]) -> bytes:
    """The file's bytes. `extra_files` are those of the data set that no part wrote: the held-out set."""
    files = [*facts.files, *extra_files]
    described = [file for file in files if file.role != "rejects"]
    content: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", facts.name),
        "description": f"{facts.pairs} training pairs and {facts.passages} passages for text-embedding models.",
        "version": "1.0.0",
        "license": _licences(facts.licences),
        "inLanguage": language_tags(facts.languages),
        "keywords": ["text embeddings", "contrastive learning", "hard negatives", "retrieval"],
        "creator": {
            "@type": "sc:Organization",
            "name": f"pairmill {facts.pairmill}",
            "description": "made by a program",
        },
        "isBasedOn": [
            {
                "@type": "sc:Dataset",
                "name": clean(source.label),
                "description": f"{source.pairs} of the pairs, read from {source.files} files as {source.adapter}",
                "license": _licences(source.licences),
            }
            for source in facts.sources
        ],
        "rai:dataCollection": " ".join(
            f"{job.job}: {job.rows_in} in, {job.rows_out} out." for job in facts.jobs if job.rows_in
        ),
        "rai:dataPreprocessingProtocol": [
            f"{job.job} dropped {number} rows: {clean(reason)}. {clean(words)}".strip()
            for job in facts.jobs
            for reason, number, words in job.dropped
        ],
        "rai:dataLimitations": list(facts.limits),
        "distribution": [_file_object(file) for file in described],
        "recordSet": [record for file in described if (record := _record_set(file)) is not None],
    }
    kept = {key: value for key, value in content.items() if value not in ([], "")}
    return orjson.dumps(kept, option=orjson.OPT_INDENT_2) + b"\n"


def _licences(counts: Sequence[tuple[str | None, int]]) -> list[str]:
    return [licence_url(name) for name, _ in counts[:MOST_LICENCES] if name is not None]


def licence_url(licence: str) -> str:
    """Where a licence is written down, for those that SPDX or Creative Commons know; else its name."""
    for pattern, url in _LICENCE_URLS:
        found = pattern.fullmatch(licence)
        if found is not None:
            country = found[3] if pattern.groups == 3 else None
            return url.format(*found.groups()) + (f"{country}/" if country else "")
    return f"https://spdx.org/licenses/{licence}.html" if _SPDX.fullmatch(licence) else clean(licence)


def _file_object(file: ShardFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": _encoding(file.path),
        "sha256": file.sha256,
    }


def _encoding(path: str) -> str:
    endings = {".parquet": _PARQUET, ".jsonl": "application/jsonlines", ".tsv": "text/tab-separated-values"}
    return next((kind for ending, kind in endings.items() if path.endswith(ending)), "text/plain")


def _record_set(file: ShardFile) -> dict[str, Any] | None:
    """The rows of one file; None for files without rows, and those that are no table."""
    role = file.path.split("/", 1)[0]
    if not file.rows or (role not in _SCHEMAS and not file.path.endswith(".jsonl")):
        return None
    name = f"{file.path}#records"
    if role in _SCHEMAS:
        words, schema = _SCHEMAS[role]
        fields = list(_parquet_fields(name, file.path, schema))
    else:
        words = "the pairs as text, in FlagEmbedding's JSON lines"
        fields = [_field(name, file.path, field, kind, repeated) for field, kind, repeated in _fields_of(file)]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": words, "field": fields}


def _fields_of(file: ShardFile) -> tuple[tuple[str, str, bool], ...]:
    if file.path.startswith("export/flagembedding"):
        return _JSONL_FIELDS if "in_batch" not in file.path else _JSONL_FIELDS[:2]
    return (("_id", "sc:Text", False), ("text", "sc:Text", False))


def _parquet_fields(name: str, path: str, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    for column in schema:
        repeated = pa.types.is_list(column.type)
        kind = _data_type(column.type.value_type if repeated else column.type)
        yield _field(name, path, column.name, kind, repeated)


def _field(name: str, path: str, column: str, kind: str, repeated: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{name}/{column}",
        "name": f"{name}/{column}",
        "description": _MEANINGS.get(column, column.replace("_", " ")),
        "dataType": kind,
        "source": {"fileObject": {"@id": path}, "extract": {"column": column}},
    }
    return found | ({"repeated": True} if repeated else {})


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
