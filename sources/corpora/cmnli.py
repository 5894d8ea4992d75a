"""CMNLI (CLUE): MultiNLI and XNLI in Chinese.

A premise is a query, an entailed hypothesis its positive, contradicted ones its negatives. The training file is shuffled.
"""

from typing import Final

from sources.families.inference import CLUE_NUMBERS, inference_layouts
from sources.records import NegativesSettings, record_source

SOURCE: Final = record_source(
    name="cmnli",
    summary="390,000 Chinese premises and hypotheses, translated from MultiNLI and XNLI",
    kinds=("nli",),
    languages="zho_Hans",
    layout="JSON lines {train,dev}.json: sentence1, sentence2, label (entailment, neutral, contradiction, -); "
    "hub rows of CLUE: label 0 neutral, 1 entailment, 2 contradiction",
    license="none stated by CLUE; XNLI is CC-BY-NC-4.0",
    obtain="https://github.com/CLUEbenchmark/CLUE",
    verified="real rows (train.json, dev.json); hub rows: their loading code",
    layouts=inference_layouts("sentence1", "sentence2", "label", numbers=CLUE_NUMBERS),
    Settings=NegativesSettings,
    language="zho_Hans",
    gathers_negatives=True,
)
