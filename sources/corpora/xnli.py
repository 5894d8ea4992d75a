"""XNLI: inference in fifteen languages, and the machine translations of MultiNLI's training set that go with it.

A premise is a query, an entailed hypothesis in the same language its positive, contradicted ones its negatives. The rows
of a premise in all languages are one document. The sentences of the fifteen-way file are parallel: English with each
other language.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sources.families.inference import USUAL_NUMBERS, inference, inference_layouts, relation_of
from sources.families.negatives import RawNegative
from sources.families.path_language import language_of_path
from sources.record_formats import Format, Record
from sources.records import BadRecord, Layout, NegativesSettings, RawPair, field_of, record_id, record_source, text_of
from sources.source import Split

LANGUAGES: Final = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
# A part of the file's name or of its folder's: multinli.train.sw.tsv, sw/train-0.parquet, the hub's config=sw.
_language_of_path: Final = language_of_path(
    rf"(?:^|[./=_-])({'|'.join(LANGUAGES)})(?=(?:[._&-][^/]*)?(?:/[^/]*)?$)",
)
# Translations into English, whose `language` is that of the original.
_INTO_ENGLISH: Final = re.compile(r"xnli\.(dev|test)\.en\.")


def _prompt(record: Record) -> str | None:
    return record_id("xnli", record.get("promptID"))


def _all_languages(record: Record, settings: NegativesSettings) -> Iterator[RawPair | RawNegative]:
    relation = relation_of(record["label"], USUAL_NUMBERS)
    hypothesis = record["hypothesis"] or {}
    languages, texts = field_of(hypothesis, "language", list), field_of(hypothesis, "translation", list)
    if len(languages) != len(texts):
        raise BadRecord("wrong_type", f"hypothesis: {len(languages)} languages, {len(texts)} translations")
    for language, text in zip(languages, texts, strict=True):
        premise = field_of(record["premise"], text_of(language, "language"), str)
        yield from inference(premise, text_of(text, "translation"), relation, None, language)


def _parallel(record: Record, settings: NegativesSettings) -> Iterator[RawPair]:
    for language in LANGUAGES:
        if language != "en" and record.get(language):
            yield RawPair(record["en"], record[language], "parallel", None, "en", language)


def _layouts(split: Split, settings: Any) -> Sequence[Layout]:
    of_path = settings.language or _language_of_path(split)
    into_english = _INTO_ENGLISH.search(split.path)

    def of_record(record: Record) -> str | None:
        return "en" if into_english else record["language"]

    def of_file(record: Record) -> str | None:
        return of_path

    return (
        *(
            Layout({**layout.required, "language": str}, layout.pairs)
            for layout in inference_layouts(
                "sentence1", "sentence2", "gold_label", identity=_prompt, language=of_record
            )
        ),
        *inference_layouts("premise", "hypo", "label", language=of_file),
        *inference_layouts("premise", "hypothesis", "label", language=of_file),
        Layout({"premise": dict, "hypothesis": dict, "label": int}, _all_languages),
        Layout(dict.fromkeys(("en", "de", "zh"), str), _parallel, dict.fromkeys(LANGUAGES, str)),
    )


SOURCE: Final = record_source(
    name="xnli",
    summary="Premises and hypotheses in 15 languages, judged; translated MultiNLI",
    kinds=("nli", "parallel"),
    languages=", ".join(LANGUAGES),
    layout="xnli.{dev,test}.tsv or .jsonl (language, gold_label, sentence1, sentence2, promptID); "
    "multinli.train.LANGUAGE.tsv (premise, hypo, label); hub rows (premise, hypothesis, label), also of all languages; "
    "xnli.15way.orig.tsv (a column a language)",
    license="CC-BY-NC-4.0",
    obtain="https://github.com/facebookresearch/XNLI",
    verified="real rows (.tsv and .jsonl of dev, test, translated training); hub rows and the 15-way file: memory only",
    layouts=_layouts,
    Settings=NegativesSettings,
    gathers_negatives=True,
    format=Format(other="tsv"),
)
