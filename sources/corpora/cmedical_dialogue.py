"""Chinese medical dialogue data (Toyhom): what patients asked online and what doctors answered.

(title and description of the question, answer) as question_answer; `question: title` leaves the description out,
which also happens where it says no more than the title. (title, description) comes where `kinds` asks for title_body.
"""

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field

from sources.record_formats import Format, Record
from sources.records import Layout, RawPair, RecordSettings, record_source

_NOTHING: Final = frozenset({"", "无", "无。", "没有", "暂无"})  # how an empty description is filled in


class MedicalDialogueSettings(RecordSettings):
    """Settings of the source cmedical_dialogue."""

    question: Literal["title_and_ask", "title"] = Field("title_and_ask", description="what the question is made of")


def _pairs(record: Record, settings: MedicalDialogueSettings) -> Iterator[RawPair]:
    title, ask = (record["title"] or "").strip(), (record["ask"] or "").strip()
    ask = "" if ask in _NOTHING or ask in title else ask
    question = title
    if ask and (settings.question == "title_and_ask" or not title):
        question = ask if ask.startswith(title) else f"{title} {ask}"
    yield RawPair(question, record["answer"], "question_answer")
    if ask and title:
        yield RawPair(title, ask, "title_body")


SOURCE: Final = record_source(
    name="cmedical_dialogue",
    summary="questions of patients and answers of doctors, in Chinese, of six departments",
    kinds=("question_answer", "title_body"),
    usual_kinds=("question_answer",),
    languages="zho_Hans",
    layout="CSV in GB18030, one file a department: department, title, ask, answer, with a header",
    license="MIT",
    obtain="https://github.com/Toyhom/Chinese-medical-dialogue-data",
    verified="real rows",
    layouts=(Layout({"title": str, "ask": str, "answer": str}, _pairs, {"department": str}),),
    Settings=MedicalDialogueSettings,
    format=Format(other="csv"),
    language="zho_Hans",
)
