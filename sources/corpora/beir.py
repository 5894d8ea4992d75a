"""Retrieval sets in BEIR's layout: FEVER, HotpotQA, NQ, Quora, SciFact, the mirror of MS MARCO and all others.

Each judgement of at least `min_grade` is a pair; passages judged 0 are negatives. A set's name is that of its folder: it
tells the kind of the pairs (questions that mean the same in quora and cqadupstack, citations in scidocs, else a question
with its context) and is part of the documents' ids, since sets use the same ids.
"""

from typing import Any, Final

from pydantic import Field, field_validator

from sources.judged.judged_files import JudgedFiles, folder_names, named_files
from sources.judged.judged_pairs import JudgedLayout, JudgedSettings
from sources.judged.judged_source import judged_source
from sources.judged.judgements import QRELS
from sources.schema import KINDS
from sources.source import Split

FILES: Final = JudgedFiles(
    judgements=(
        "qrels/{split}.tsv",
        "qrels.{split}.tsv",
        "qrels/{split}.jsonl",
        "qrels/{split}*.parquet",
        "{split}.tsv",
        "data/{split}-*.parquet",
    ),
    queries=(
        "queries.jsonl",
        "queries.{split}.jsonl",
        "queries/{split}*.parquet",
        "queries/*.parquet",
        "queries.parquet",
        "queries/queries.jsonl",
    ),
    passages=("corpus.jsonl", "corpus/*.parquet", "corpus.parquet", "corpus/*.jsonl", "corpus-*.jsonl"),
)
_PARTS: Final = {"qrels", "queries", "corpus", "data", "default"}
_KINDS: Final = {"quora": "question_question", "cqadupstack": "question_question", "scidocs": "citation"}

_OF_PAIRS: Final = tuple(kind for kind in KINDS if kind != "title_body")  # that is for passages that nobody judged


class BeirSettings(JudgedSettings):
    """Settings of the source."""

    kind: str | None = Field(None, description="kind of every pair; default: by the name of the set's folder")

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str | None) -> str | None:
        if kind is not None and kind not in _OF_PAIRS:
            raise ValueError(f"unknown kind {kind!r}; known are {', '.join(_OF_PAIRS)}")
        return kind


def _set_folders(split: Split) -> list[str]:
    corpus = named_files(split.companions, FILES.passages)
    path = corpus[0].path if corpus else split.path
    return [name.lower() for name in folder_names(path) if name.lower() not in _PARTS]


def _kind(split: Split, settings: Any) -> str:
    folders = _set_folders(split)[:2]  # CQADupStack's sets lie in a folder of theirs
    by_folder = (kind for name, kind in _KINDS.items() if any(name in folder for folder in folders))
    return settings.kind or next(by_folder, "question_context")


SOURCE: Final = judged_source(
    name="beir",
    summary="any retrieval set in BEIR's layout: corpus, queries, qrels",
    kinds=KINDS,
    languages="from `lang` of the records where they say it, else `language`",
    layout=(
        "a folder for each set: corpus.jsonl (_id, title, text), queries.jsonl (_id, text), qrels/{train,dev,test}.tsv"
        " (query-id, corpus-id, score; TREC's four columns too); the same as Parquet; corpus and queries in parts"
    ),
    license="that of each set",
    obtain="https://github.com/beir-cellar/beir",
    verified="real files",
    files=FILES,
    reads=JudgedLayout(qrels=QRELS),
    Settings=BeirSettings,
    kind_of=_kind,
    document_prefix=lambda split: f"beir:{next(iter(_set_folders(split)), 'set')}",
)
