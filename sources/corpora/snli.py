"""SNLI, the Stanford Natural Language Inference corpus: captions of images and what people wrote to them.

A premise is a query, an entailed hypothesis its positive, contradicted ones its negatives. The document is the image:
its captions say the same, so none of them is a negative of another.
"""

from typing import Final

from pydantic import Field

from sources.families.inference import inference_layouts
from sources.record_formats import Format, Record
from sources.records import NegativesSettings, record_source


class SnliSettings(NegativesSettings):
    """Settings of snli."""

    window_bytes: int = Field(
        16 << 20, gt=0, description="memory for premises whose hypotheses may still come: the corpus has them together"
    )


def _image(record: Record) -> str | None:
    caption = record.get("captionID") or record.get("pairID")
    return f"snli:{caption.partition('#')[0]}" if caption else None


SOURCE: Final = record_source(
    name="snli",
    summary="550,000 English premises and hypotheses, judged",
    kinds=("nli",),
    languages="eng_Latn",
    layout="snli_1.0_{train,dev,test}.txt (table with a header) or .jsonl: gold_label, sentence1, sentence2, captionID; "
    "hub rows: premise, hypothesis, label (0 entailment, 1 neutral, 2 contradiction, -1 none)",
    license="CC-BY-SA-4.0",
    obtain="https://nlp.stanford.edu/projects/snli/",
    verified="real rows (.txt); the .jsonl and hub rows: memory only",
    layouts=(
        *inference_layouts(
            "sentence1", "sentence2", "gold_label", identity=_image, optional={"captionID": str, "pairID": str}
        ),
        *inference_layouts("premise", "hypothesis", "label"),
    ),
    Settings=SnliSettings,
    language="eng_Latn",
    format=Format(other="tsv", short_rows=True),  # the last ones are the single votes
    gathers_negatives=True,
)
