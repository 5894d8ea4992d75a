"""COLIEE task 1: cases of the Federal Court of Canada, and the cases that each of them cites ("noticed cases").

A case's file name is its id and its document's. The corpus names no negatives.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

from sources.files.text_files import file_id, whole_file, whole_text
from sources.formats.column_blocks import ColumnBlock
from sources.judged.judged_files import JudgedFiles
from sources.judged.judged_pairs import JudgedLayout
from sources.judged.judged_source import judged_source
from sources.schema import QUARANTINE
from sources.source import Split


def _judge(split: Split, settings: Any, source: str) -> Iterator[ColumnBlock]:
    labels = whole_file(split.path, settings.max_record_bytes, "{case: [noticed cases]}", list)
    rows = [(file_id(case), file_id(str(noticed))) for case, cases in labels.items() for noticed in cases]
    columns = {
        "query": pa.array([case for case, _ in rows], pa.string()),
        "passage": pa.array([noticed for _, noticed in rows], pa.string()),
    }
    yield ColumnBlock(columns, np.arange(1, len(rows) + 1), "entry", pa.RecordBatch.from_pylist([], QUARANTINE))


SOURCE: Final = judged_source(
    name="coliee",
    summary="Canadian court decisions with the decisions that they cite",
    kinds=("citation",),
    languages="eng_Latn",
    layout=(
        "task1_{train,test}_labels_YEAR.json ({case.txt: [noticed cases]}) and task1_{train,test}_files_YEAR/*.txt,"
        " unpacked"
    ),
    license="by agreement with the organisers",
    obtain="https://coliee.org",
    verified="the names and keys that programs in use read",
    files=JudgedFiles(
        judgements=("task1_{split}_labels_{year}.json",),
        queries=("task1_{split}_files_{year}/*.txt",),
        passages=("task1_{split}_files_{year}/*.txt",),
    ),
    reads=JudgedLayout(judge=_judge, file_text=whole_text, queries_are_files=True),
    language="eng_Latn",
)
