"""webtext2019zh (brightmart/nlp_chinese_corpus): answers of a Chinese community site, each with its question.

The query is the title, and the description where that says more (setting `with_description`); the positive is one answer,
its up-votes are the `label`. The document is the question's page: answers to one question share it. Pairs of two answers
to one question are not made: the records of a question are not beside each other.
"""

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from sources.families.community_question import question_text
from sources.families.similarity import number_of
from sources.record_formats import Record
from sources.records import Layout, RawPair, RecordSettings, record_id, record_source


class Webtext2019ZhSettings(RecordSettings):
    """Settings of webtext2019zh."""

    with_description: bool = Field(True, description="whether a question's description follows its title in the query")
    min_star: int = Field(0, ge=0, description="least number of up-votes of an answer; the corpus starts at 3")


def _pairs(record: Record, settings: Webtext2019ZhSettings) -> Iterator[RawPair]:
    star = number_of(record.get("star"))
    if star is not None and star < settings.min_star:
        return
    description = (record.get("desc") or "").replace("<br>", " ")
    yield RawPair(
        question_text(record["title"], description, settings.with_description),
        (record["content"] or "").replace("<br>", " "),
        document_id=record_id("webtext2019zh", record.get("qid")),
        label=star,
    )


SOURCE: Final = record_source(
    name="webtext2019zh",
    summary="4.1 million Chinese answers with at least 3 up-votes, to questions of 28,000 topics",
    kinds=("question_answer",),
    languages="zho_Hans",
    layout="JSON lines web_text_zh_{train,valid,testa}.json: qid, title, desc, topic, star, content, answer_id",
    license="MIT for the collection; the texts are their writers'",
    obtain="https://github.com/brightmart/nlp_chinese_corpus",
    verified="the corpus's README",
    layouts=tuple(Layout({"title": str, "content": str}, _pairs, {"desc": str, "qid": kind}) for kind in (int, str)),
    Settings=Webtext2019ZhSettings,
    language="zho_Hans",
)
