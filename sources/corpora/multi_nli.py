"""MultiNLI: premises of ten genres of written and spoken English and what people wrote to them.

A premise is a query, an entailed hypothesis its positive, contradicted ones its negatives. The training file is shuffled:
the hypotheses of a premise are far from each other.
"""

from typing import Final

from sources.families.inference import inference_layouts
from sources.record_formats import Format, Record
from sources.records import NegativesSettings, record_id, record_source


def _prompt(record: Record) -> str | None:
    return record_id("multi_nli", record.get("promptID"))


SOURCE: Final = record_source(
    name="multi_nli",
    summary="430,000 English premises and hypotheses of ten genres, judged",
    kinds=("nli",),
    languages="eng_Latn",
    layout="multinli_1.0_{train,dev_matched,dev_mismatched}.txt (table with a header) or .jsonl, GLUE's MNLI .tsv: "
    "gold_label, sentence1, sentence2, promptID; hub rows: promptID, premise, hypothesis, label (0 entailment, 1 neutral, "
    "2 contradiction)",
    license="OANC and others: free use and redistribution",
    obtain="https://cims.nyu.edu/~sbowman/multinli/",
    verified="real rows (.txt and .jsonl); hub rows: memory only",
    layouts=(
        *inference_layouts("sentence1", "sentence2", "gold_label", identity=_prompt),
        *inference_layouts("premise", "hypothesis", "label", identity=_prompt),
    ),
    Settings=NegativesSettings,
    language="eng_Latn",
    format=Format(other="tsv", short_rows=True),  # the last ones are the single votes
    gathers_negatives=True,
)
