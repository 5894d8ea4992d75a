"""Amazon's multilingual reviews: (title, body) of reviews in six languages; the stars are the `label`."""

from collections.abc import Iterator
from typing import Final

from sources.families.similarity import number_of
from sources.record_formats import Record
from sources.records import Layout, RawPair, RecordSettings, record_id, record_source


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    language = record.get("language")
    yield RawPair(
        record["review_title"],
        record["review_body"],
        query_language=language,
        positive_language=language,
        document_id=record_id("amazon_reviews_multi", record.get("review_id")),
        label=number_of(record.get("stars")),
    )


SOURCE: Final = record_source(
    name="amazon_reviews_multi",
    summary="Reviews in German, English, Spanish, French, Japanese and Chinese",
    kinds=("review",),
    languages="as the records say",
    layout="JSON lines dataset_LANGUAGE_{train,dev,test}.json, or the same columns as .csv or Parquet: review_id, "
    "product_id, stars, review_body, review_title, language, product_category",
    license="Amazon's licence for academic research; withdrawn from the hub",
    obtain="https://registry.opendata.aws/amazon-reviews-ml/",
    verified="the corpus's documentation (review_title, review_body, stars); memory only for the others",
    layouts=(Layout({"review_title": str, "review_body": str}, _pairs, {"language": str, "review_id": str}),),
)
