"""nli-zh-all (shibing624/nli-zh-all): 8 million Chinese pairs of texts, made of sixteen and more other sets.

Label 1 makes a pair, label 0 a negative of the pairs with the same first text. The set that a file was made of, which
its name begins with, tells the kind.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sources.families.negatives import RawNegative
from sources.families.similarity import similarity
from sources.files.reading import base_name
from sources.record_formats import Record
from sources.records import Layout, NegativesSettings, RawPair, record_source
from sources.source import Split

_KINDS: Final = {
    "alpaca": "instruction_output",
    "belle": "instruction_output",
    "firefly": "instruction_output",
    "amazon_reviews": "review",
    "chatmed_consult": "question_answer",
    "webqa": "question_answer",
    "zhihu_kol": "question_answer",
    "cmrc2018": "question_context",
    "dureader_robust": "question_context",
    "mlqa": "question_context",
    "csl": "title_abstract",
    "xlsum": "summary_body",
    "cblue_chip_sts": "paraphrase",
    "nli_zh": "paraphrase",
    "simclue": "paraphrase",
}


def _layouts(split: Split, settings: Any) -> Sequence[Layout]:
    name = base_name(split.path)
    kind = next((kind for start, kind in _KINDS.items() if name.startswith(start)), "nli")

    def pairs(record: Record, settings: Any) -> Iterator[RawPair | RawNegative]:
        return similarity(record["text1"], record["text2"], record["label"], kind=kind)

    def renamed(record: Record, settings: Any) -> Iterator[RawPair | RawNegative]:
        return similarity(record["sentence1"], record["sentence2"], record["label"], kind=kind)

    return [
        *(Layout({"text1": str, "text2": str, "label": of_label}, pairs) for of_label in (int, str)),
        *(Layout({"sentence1": str, "sentence2": str, "label": of_label}, renamed) for of_label in (int, str)),
    ]


SOURCE: Final = record_source(
    name="nli_zh_all",
    summary="8 million Chinese pairs of texts for matching, of many tasks",
    kinds=("nli", *dict.fromkeys(_KINDS.values())),
    languages="zho_Hans",
    layout="JSON lines SET-train.jsonl: text1, text2 (or sentence1, sentence2), label (1 similar, 0 not)",
    license="CC-BY-4.0 for the collection; the texts are their publishers'",
    obtain="https://huggingface.co/datasets/shibing624/nli-zh-all",
    verified="the corpus's README",
    layouts=_layouts,
    Settings=NegativesSettings,
    language="zho_Hans",
    gathers_negatives=True,
)
