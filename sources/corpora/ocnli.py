"""OCNLI (CLUE): Chinese premises of five genres and hypotheses that people wrote in Chinese.

A premise is a query, an entailed hypothesis its positive, contradicted ones its negatives.
"""

from typing import Final

from sources.families.inference import CLUE_NUMBERS, inference_layouts
from sources.record_formats import Record
from sources.records import NegativesSettings, record_id, record_source


def _premise(record: Record) -> str | None:
    return record_id("ocnli", record.get("prem_id"))


SOURCE: Final = record_source(
    name="ocnli",
    summary="56,000 Chinese premises and hypotheses, judged",
    kinds=("nli",),
    languages="zho_Hans",
    layout="JSON lines train.50k.json, dev.json: sentence1, sentence2, label (entailment, neutral, contradiction, -), "
    "prem_id; hub rows of CLUE: label 0 neutral, 1 entailment, 2 contradiction",
    license="CC-BY-NC-2.0",
    obtain="https://github.com/CLUEbenchmark/OCNLI",
    verified="real rows (train.json, dev.json); hub rows: the loading code of CLUE",
    layouts=inference_layouts(
        "sentence1", "sentence2", "label", numbers=CLUE_NUMBERS, identity=_premise, optional={"prem_id": str}
    ),
    Settings=NegativesSettings,
    language="zho_Hans",
    gathers_negatives=True,
)
