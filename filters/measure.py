"""All that the filter knows of a batch of pairs, as columns beside it; filters.decide turns them into reasons."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.junk import measure_junk
from filters.language import LANGUAGE_MEASURES, measure_language
from filters.pair_quality import measure_pair_quality
from filters.personal_data import PERSONAL_DATA_MEASURES, PersonalDataSettings, mask_personal_data
from filters.quality import QUALITY_COLUMNS, measure_quality
from filters.rules import RULES, Family
from filters.settings import FilterSettings
from filters.text_quality import measure_likeness, measure_text
from sources.languages import UNKNOWN
from sources.schema import SCORES

Columns = dict[str, pa.Array]


def measure(
    batch: pa.RecordBatch, settings: FilterSettings, families: AbstractSet[Family] | None = None
) -> pa.RecordBatch:
    """The measurements of a PAIR batch, row by row: those that the rules of `settings` need, or the families named.

    Columns, by family: text (TEXT_MEASURES) and junk (JUNK_MEASURES) of both sides as query_NAME and positive_NAME, web
    (WEB_MEASURES) and order of the positive as positive_NAME; likeness, language and pair by their own names. Of the
    settings only `language` and `junk` change a value: measured with all families, any other can be decided on later.
    Raises LanguageModelError where languages are asked for and the model is missing, PhraseFileError where a list is.
    """
    families = settings.families() if families is None else families
    columns: Columns = {}
    if families & {"text", "likeness"}:
        columns |= _text(batch, likeness="likeness" in families)
    for family, measured in _MEASURED.items():
        if family in families:
            columns |= measured(batch, settings)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def deciding_columns(settings: FilterSettings) -> frozenset[str]:
    """The measurements that decisions, quality and counts of personal data look at; fewer than are measured."""
    rules = [RULES[number] for number in settings.active]
    columns = {"query_length", "positive_length", "copied_share", *LANGUAGE_MEASURES.names, *QUALITY_COLUMNS}
    columns |= {f"{side}_{kind}" for side in ("query", "positive") for kind in PERSONAL_DATA_MEASURES.names}
    return frozenset(columns.union(*(rule.columns() for rule in rules)))


def _text(batch: pa.RecordBatch, *, likeness: bool) -> Columns:
    query, positive = (measure_text(batch[side]) for side in ("query", "positive"))
    columns = _columns(query, "query_") | _columns(positive, "positive_")
    if likeness:
        columns |= _columns(measure_likeness(batch["query"], batch["positive"], query, positive))
    return columns


def _language(batch: pa.RecordBatch, settings: FilterSettings) -> Columns:
    return _columns(measure_language(batch, settings.language))


def _web(batch: pa.RecordBatch, settings: FilterSettings) -> Columns:
    from filters.web_text import measure_web

    return _columns(measure_web(batch["positive"]), "positive_")


def _junk(batch: pa.RecordBatch, settings: FilterSettings) -> Columns:
    sides = {f"{side}_": measure_junk(batch[side], settings.junk) for side in ("query", "positive")}
    return {name: column for prefix, side in sides.items() for name, column in _columns(side, prefix).items()}


def _pair(batch: pa.RecordBatch, settings: FilterSettings) -> Columns:
    return _columns(measure_pair_quality(batch))


def _order(batch: pa.RecordBatch, settings: FilterSettings) -> Columns:
    from filters.junk_shape import measure_shape
    from filters.word_order import measure_word_order

    positives = batch["positive"]
    return _columns(measure_word_order(positives), "positive_") | _columns(measure_shape(positives), "positive_")


_MEASURED: Final[Mapping[Family, Callable[[pa.RecordBatch, FilterSettings], Columns]]] = {
    "language": _language,
    "web": _web,
    "junk": _junk,
    "pair": _pair,
    "order": _order,
}


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


def record_quality(batch: pa.RecordBatch, measurements: pa.RecordBatch) -> pa.RecordBatch:
    """The PAIR batch with filters.quality's number in scores.quality; without measures of texts it stays as it is."""
    quality = measure_quality(measurements)
    if quality.null_count:
        return batch
    return _replace(batch, "scores", _with_score(batch["scores"], "quality", quality))


def mask_pairs(batch: pa.RecordBatch, settings: PersonalDataSettings) -> pa.RecordBatch:
    """The PAIR batch with personal data replaced in query, positive and negatives.

    The pair_id stays that of the texts as they came, so that a masked pair is found again in its source.
    """
    for side in ("query", "positive"):
        batch = _replace(batch, side, mask_personal_data(batch[side], settings.kinds, settings.replacements))
    negatives = batch["negatives"]
    if negatives.null_count < len(negatives):
        # `flatten` leaves out what nulls and slices hide; so must the offsets.
        texts = mask_personal_data(negatives.flatten(), settings.kinds, settings.replacements)
        lengths = pc.fill_null(pc.list_value_length(negatives), 0).to_numpy()
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        offsets = pa.array(ends, mask=np.append(negatives.is_null().to_numpy(zero_copy_only=False), False))
        batch = _replace(batch, "negatives", pa.ListArray.from_arrays(offsets, texts, type=negatives.type))
    return batch


def _columns(measures: pa.RecordBatch, prefix: str = "") -> Columns:
    names = [f"{prefix}{name}" for name in measures.schema.names]
    return dict(zip(names, measures.columns, strict=True))


def _replace(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    place = batch.schema.get_field_index(name)
    return batch.set_column(place, batch.schema.field(place), column)


def _with_score(scores: pa.Array, name: str, values: pa.Array) -> pa.Array:
    fields = [values if field.name == name else pc.struct_field(scores, field.name) for field in SCORES]
    return pa.StructArray.from_arrays(fields, fields=list(SCORES))
