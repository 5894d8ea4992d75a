"""SimCSE's NLI triplets: a premise of SNLI or MultiNLI, a hypothesis it entails, one it contradicts."""

from collections.abc import Iterator
from typing import Final

from sources.record_formats import Record
from sources.records import Layout, RawPair, RecordSettings, record_source


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    negative = record.get("hard_neg")
    yield RawPair(record["sent0"], record["sent1"], "nli", negatives=[negative] if negative else None)


SOURCE: Final = record_source(
    name="simcse_nli",
    summary="275,000 triplets of SNLI and MultiNLI",
    kinds=("nli",),
    languages="eng_Latn",
    layout="nli_for_simcse.csv: sent0 (premise), sent1 (entailment), hard_neg (contradiction)",
    license="those of SNLI (CC-BY-SA-4.0) and MultiNLI",
    obtain="https://huggingface.co/datasets/princeton-nlp/datasets-for-simcse",
    verified="the code that reads it (three columns); their names: memory only",
    layouts=(Layout({"sent0": str, "sent1": str}, _pairs, {"hard_neg": str}),),
    language="eng_Latn",
)
