"""cMedQA v2: questions to Chinese doctors online and their answers.

`train_candidates.txt` names for each question a right answer and wrong ones of other questions, picked at random; dev and
test grade a hundred answers a question, 1 for a right one. An answer's id is its document's.
"""

from dataclasses import replace
from typing import Final

from sources.formats.column_blocks import Columns
from sources.judged.judged_files import JudgedFiles
from sources.judged.judged_pairs import JudgedLayout
from sources.judged.judged_source import judged_source
from sources.judged.judgements import QRELS, TRIPLES

_QUESTIONS: Final = Columns({"id": ("question_id",), "text": ("content",)}, ("id", "text"), other="csv")
_ANSWERS: Final = Columns({"id": ("ans_id",), "text": ("content",)}, ("id", "text"), other="csv")

SOURCE: Final = judged_source(
    name="cmedqa2",
    summary="questions to Chinese doctors and their answers",
    kinds=("question_answer",),
    languages="zho_Hans",
    layout=(
        "question.csv (question_id, content), answer.csv (ans_id, question_id, content), train_candidates.txt (question_id,"
        " pos_ans_id, neg_ans_id), {dev,test}_candidates.txt (question_id, ans_id, cnt, label); unpacked or as the zip files"
    ),
    license="non-commercial research",
    obtain="https://github.com/zhangsheng93/cMedQA2",
    verified="the corpus's README, headers as programs in use read them",
    files=JudgedFiles(
        judgements=("{split:dev|test}_candidates.txt",),
        triples=("{split:train}_candidates.txt",),
        queries=("question.csv", "questions.csv"),
        passages=("answer.csv", "answers.csv"),
    ),
    reads=JudgedLayout(
        qrels=replace(QRELS, other="csv"),
        triples=replace(TRIPLES, other="csv"),
        queries=_QUESTIONS,
        passages=_ANSWERS,
    ),
    language="zho_Hans",
)
