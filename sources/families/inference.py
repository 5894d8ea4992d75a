"""Natural language inference: a premise is a query, a hypothesis that it entails a positive, a contradicted one a negative.

Neutral hypotheses, and those on which the annotators did not agree (label `-`), are knowingly no pair.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from sources.families.negatives import RawNegative
from sources.formats.json_records import shown
from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair

ENTAILMENT: Final = "entailment"
NEUTRAL: Final = "neutral"
CONTRADICTION: Final = "contradiction"
_NAMES: Final = {
    ENTAILMENT: ENTAILMENT,
    NEUTRAL: NEUTRAL,
    CONTRADICTION: CONTRADICTION,
    "contradictory": CONTRADICTION,  # the translated training files of XNLI
    "-": None,
    "": None,
    "-1": None,
}
USUAL_NUMBERS: Final = (ENTAILMENT, NEUTRAL, CONTRADICTION)  # what 0, 1, 2 mean in hub rows
CLUE_NUMBERS: Final = (NEUTRAL, ENTAILMENT, CONTRADICTION)  # the same in hub rows of CLUE

Identity = Callable[[Record], str | None]


def relation_of(label: Any, numbers: tuple[str, ...] = USUAL_NUMBERS) -> str | None:
    """What a label says of the hypothesis; None where there is none. Raises BadRecord for any other value."""
    if label is None:
        return None
    text = str(label)
    if text in _NAMES:
        return _NAMES[text]
    if text in ("0", "1", "2"):
        return numbers[int(text)]
    raise BadRecord(
        "unknown_label", f"label: expected entailment, neutral, contradiction or 0 to 2, found {shown(label)}"
    )


def inference(
    premise: str | None,
    hypothesis: str | None,
    relation: str | None,
    document_id: str | None = None,
    language: str | None = None,
) -> Iterator[RawPair | RawNegative]:
    """The pair or the negative that one judged hypothesis makes, if any."""
    if relation == ENTAILMENT:
        yield RawPair(
            premise,
            hypothesis,
            "nli",
            query_language=language,
            positive_language=language,
            document_id=document_id,
        )
    elif relation == CONTRADICTION:
        yield RawNegative(premise, hypothesis, "nli", language)


def inference_layouts(
    premise: str,
    hypothesis: str,
    label: str,
    *,
    numbers: tuple[str, ...] = USUAL_NUMBERS,
    identity: Identity = lambda record: None,
    language: Callable[[Record], str | None] = lambda record: None,
    optional: Mapping[str, type] | None = None,
) -> tuple[Layout, ...]:
    """Layouts of records with these three fields, the label as a text or as a number.

    `identity` and `language` tell a record's document id and language.
    """

    def pairs(record: Record, settings: Any) -> Iterator[RawPair | RawNegative]:
        relation = relation_of(record[label], numbers)
        return inference(record[premise], record[hypothesis], relation, identity(record), language(record))

    fields = {premise: str, hypothesis: str}
    return tuple(Layout({**fields, label: kind}, pairs, optional or {}) for kind in (str, int))
