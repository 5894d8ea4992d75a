r"""baike2018qa (brightmart/nlp_chinese_corpus): Chinese community questions with one answer each.

The query is the title, and the description where that says more (setting `with_description`); the positive is the
answer. `\r\r` between paragraphs becomes a space, as all white space does.
"""

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from sources.families.community_question import question_text
from sources.record_formats import Record
from sources.records import Layout, RawPair, RecordSettings, record_id, record_source


class Baike2018QaSettings(RecordSettings):
    """Settings of baike2018qa."""

    with_description: bool = Field(True, description="whether a question's description follows its title in the query")


def _pairs(record: Record, settings: Baike2018QaSettings) -> Iterator[RawPair]:
    question = question_text(record["title"], record.get("desc"), settings.with_description)
    yield RawPair(question, record["answer"], document_id=record_id("baike2018qa", record.get("qid")))


SOURCE: Final = record_source(
    name="baike2018qa",
    summary="1.4 million Chinese questions of 492 categories, with answers",
    kinds=("question_answer",),
    languages="zho_Hans",
    layout="JSON lines baike_qa_{train,valid}.json: qid, category, title, desc, answer",
    license="MIT for the collection; the texts are their writers'",
    obtain="https://github.com/brightmart/nlp_chinese_corpus",
    verified="the corpus's README",
    layouts=(Layout({"title": str, "answer": str}, _pairs, {"desc": str, "qid": str}),),
    Settings=Baike2018QaSettings,
    language="zho_Hans",
)
