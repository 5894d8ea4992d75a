"""All that the filter knows of a batch of pairs, as columns beside it; filters.decide turns them into reasons."""

from collections.abc import Set as AbstractSet

import pyarrow as pa
import pyarrow.compute as pc

from filters.decide import Family, FilterSettings
from filters.language import measure_language
from filters.text_quality import measure_likeness, measure_text
from sources.languages import UNKNOWN
from sources.schema import SCORES


def measure(
    batch: pa.RecordBatch, settings: FilterSettings, families: AbstractSet[Family] | None = None
) -> pa.RecordBatch:
    """The measurements of a PAIR batch, row by row: those that the rules of `settings` need, or the families named.

    Columns: TEXT_MEASURES of both sides as query_NAME and positive_NAME, LIKENESS_MEASURES, LANGUAGE_MEASURES. Of the
    settings only `language` changes a value: measured with all families, any other setting can be decided on later.
    Raises LanguageModelError where languages are asked for and the model is missing.
    """
    families = settings.families() if families is None else families
    columns: dict[str, pa.Array] = {}
    if families & {"text", "likeness"}:
        sides = {side: measure_text(batch[side]) for side in ("query", "positive")}
        for side, measures in sides.items():
            columns |= {f"{side}_{name}": measures[name] for name in measures.schema.names}
        if "likeness" in families:
            columns |= _columns(measure_likeness(batch["query"], batch["positive"], sides["query"], sides["positive"]))
    if "language" in families:
        columns |= _columns(measure_language(batch, settings.language))
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def record_languages(batch: pa.RecordBatch, measurements: pa.RecordBatch, sure: float = 0.5) -> pa.RecordBatch:
    """The PAIR batch with what was measured written into it: probabilities into `scores`, languages where unknown.

    `query_lang` and `positive_lang` change only from `und`, and only to a language of probability `sure` (ours) or
    more. Measurements without languages leave the batch as it is.
    """
    for side in ("query", "positive"):
        if f"{side}_language" not in measurements.schema.names:
            continue
        language, probability = measurements[f"{side}_language"], measurements[f"{side}_language_probability"]
        found = pc.and_(pc.equal(batch[f"{side}_lang"], UNKNOWN), pc.greater_equal(probability, sure))
        filled = pc.if_else(pc.fill_null(found, False), language, batch[f"{side}_lang"])
        batch = _replace(batch, f"{side}_lang", filled)
        batch = _replace(batch, "scores", _with_score(batch["scores"], f"{side}_language_probability", probability))
    return batch


def _columns(measures: pa.RecordBatch) -> dict[str, pa.Array]:
    return dict(zip(measures.schema.names, measures.columns, strict=True))


def _replace(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    place = batch.schema.get_field_index(name)
    return batch.set_column(place, batch.schema.field(place), column)


def _with_score(scores: pa.Array, name: str, values: pa.Array) -> pa.Array:
    fields = [values if field.name == name else pc.struct_field(scores, field.name) for field in SCORES]
    return pa.StructArray.from_arrays(fields, fields=list(SCORES))
