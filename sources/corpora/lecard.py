"""LeCaRD and LeCaRDv2: Chinese criminal cases as queries, and the cases that are relevant to them, graded 0 to 3.

LeCaRD calls cases graded 3 relevant, LeCaRDv2 those graded 2 or more. Of LeCaRD's hundred candidates a query, thirty were
graded: the others are irrelevant, as its README says, and negatives like those graded 0. The text of a case is all of it
(`qw`), or with `text: fact` what happened (`ajjbqk`, in LeCaRDv2 `fact`). A case's id is its document's.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from sources.files.reading import base_name
from sources.files.text_files import file_id, json_object, whole_file
from sources.formats.column_blocks import ColumnBlock, Columns, read_columns
from sources.formats.json_records import type_name
from sources.judged.judged_files import JudgedFiles, folder_names, named_files
from sources.judged.judged_pairs import JudgedLayout, JudgedSettings
from sources.judged.judged_source import judged_source
from sources.judged.judgements import QRELS
from sources.records import BadRecord
from sources.schema import QUARANTINE
from sources.source import Split

FILES: Final = JudgedFiles(
    judgements=(
        "label_top30_dict.json",
        "label_top30.json",
        "{split}_relevence.trec",
        "relevence.trec",
        "{split}_relevence_gold.trec",
        "relevence_gold.trec",
    ),
    queries=("{split}_query.json", "{split}_query.jsonl", "query.json", "query.jsonl"),
    passages=(
        "candidates/*/*.json",
        "candidates/*/*/*.json",
        "candidates*.zip!/*/*.json",
        "candidates*.zip!/*/*/*.json",
        "candidate/*/*.json",
        "candidate*/*.json",
    ),
)
_FACTS: Final = {"qw": ("qw",), "fact": ("ajjbqk", "fact")}


class LecardSettings(JudgedSettings):
    """Settings of the source."""

    text: Literal["qw", "fact"] = Field("qw", description="what of a case is its text: qw (all of it) or fact")


def _case(content: bytes, settings: Any) -> tuple[str | None, str]:
    case = json_object(content)
    for name in _FACTS[settings.text]:
        if name in case:
            if type(case[name]) is not str:
                raise BadRecord("wrong_type", f"{name}: expected a text, found {type_name(case[name])}")
            return None, case[name]
    raise BadRecord(
        "missing_field", f"no {' or '.join(_FACTS[settings.text])}; found {', '.join(list(case)[:20])[:100]}"
    )


def _judge(split: Split, settings: Any, source: str) -> Iterator[ColumnBlock]:
    if not base_name(split.path).endswith(".json"):
        yield from read_columns(split.path, QRELS, source, settings.max_record_bytes)
        return
    judged = _graded(split.path, settings)
    rows = [(query, case, grade) for query, cases in judged.items() for case, grade in cases.items()]
    for path in (file.path for file in named_files(split.companions, FILES.passages)):
        query, case = folder_names(path)[0], file_id(path)
        if query in judged and case not in judged[query]:
            rows.append((query, case, "0"))
    columns = {
        name: pa.array([row[place] for row in rows], pa.string())
        for place, name in enumerate(("query", "passage", "grade"))
    }
    yield ColumnBlock(columns, np.arange(1, len(rows) + 1), "entry", pa.RecordBatch.from_pylist([], QUARANTINE))


def _graded(path: str, settings: Any) -> dict[str, dict[str, str]]:
    labels = whole_file(path, settings.max_record_bytes, "{query id: {case id: grade}}", dict)
    return {query: {case: str(grade) for case, grade in cases.items()} for query, cases in labels.items()}


SOURCE: Final = judged_source(
    name="lecard",
    summary="Chinese criminal cases with the cases relevant to them",
    kinds=("other",),
    languages="zho_Hans",
    layout=(
        "LeCaRD's data folder: label/label_top30_dict.json, query/query.json (lines: ridx, q), candidates/RIDX/ID.json"
        " (qw, ajjbqk; or candidates*.zip); or LeCaRDv2's: label/relevence.trec (qid, 0, pid, grade), query/{train,test}_query.json"
        " (lines: id, query, fact), candidate/*/PID.json (pid, qw, fact)"
    ),
    license="MIT",
    obtain="https://github.com/myx666/LeCaRD, https://github.com/THUIR/LeCaRDv2",
    verified="real labels and queries of LeCaRD; READMEs for the candidates and LeCaRDv2",
    files=FILES,
    reads=JudgedLayout(
        queries=Columns({"id": ("ridx",), "text": ("q", "query", "fact")}, ("id", "text"), other="json"),
        judge=_judge,
        file_text=_case,
    ),
    Settings=LecardSettings,
    language="zho_Hans",
    min_grade=lambda split: 3 if base_name(split.path).endswith(".json") else 2,
)
