"""Sets of questions and answers, instructions, reviews, translations and documented code."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sources.reading_all import Everything, write


def jsonl(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


BAIKE = [
    {"qid": "q1", "category": "生活", "title": "怎么煮饭？", "desc": "第一次煮。", "answer": "先洗米。\r\r再加水。"},
    {"qid": "q2", "category": "生活", "title": "怎么煮饭？", "desc": "怎么煮饭？", "answer": "看说明书。"},
    {"qid": "q3", "category": "生活", "title": "怎么煮饭？", "desc": "怎么煮饭？我不会。", "answer": "学。"},
    {"qid": "q4", "category": "生活", "title": "没有答案？", "desc": None, "answer": None},
    {"qid": "q5", "category": "生活", "title": ["坏"], "desc": "", "answer": "坏"},
    {"qid": "q6", "category": "生活", "title": "缺答案"},
]


def test_baike_questions_take_their_description_where_it_says_more(tmp_path: Path) -> None:
    path = write(tmp_path / "baike_qa_train.json", jsonl(*BAIKE) + '{"qid": \n')
    found = Everything("baike2018qa", path)
    assert found.sides == [
        ("怎么煮饭？ 第一次煮。", "先洗米。 再加水。"),
        ("怎么煮饭？", "看说明书。"),
        ("怎么煮饭？我不会。", "学。"),
    ]
    assert [pair["document_id"] for pair in found.pairs] == ["baike2018qa:q1", "baike2018qa:q2", "baike2018qa:q3"]
    assert {(pair["kind"], pair["query_lang"]) for pair in found.pairs} == {("question_answer", "zho_Hans")}
    assert [bad["reason"] for bad in found.rejects] == ["empty_positive"]
    assert found.reasons == [("line", 5, "wrong_type"), ("line", 6, "missing_field"), ("line", 7, "invalid_json")]
    titles = Everything("baike2018qa", path, with_description=False)
    assert {pair["query"] for pair in titles.pairs} == {"怎么煮饭？"}


def test_webtext_up_votes_are_labels_and_answers_of_a_page_share_its_id(tmp_path: Path) -> None:
    rows = [
        {
            "qid": 65618973,
            "title": "为何？",
            "desc": "一<br>二",
            "star": 3,
            "content": "因为。<br>所以。",
            "answer_id": 1,
        },
        {"qid": 65618973, "title": "为何？", "desc": "", "star": 9, "content": "不知。", "answer_id": 2},
        {"qid": "7", "title": "为何？", "desc": "", "star": "many", "content": "坏", "answer_id": 3},
        {"qid": 8, "title": "为何？", "desc": 4, "star": 3, "content": "坏"},
    ]
    path = write(tmp_path / "web_text_zh_train.json", jsonl(*rows))
    found = Everything("webtext2019zh", path)
    assert [(p["query"], p["positive"], p["label"], p["document_id"]) for p in found.pairs] == [
        ("为何？ 一 二", "因为。 所以。", 3.0, "webtext2019zh:65618973"),
        ("为何？", "不知。", 9.0, "webtext2019zh:65618973"),
    ]
    assert found.reasons == [("line", 3, "unknown_label"), ("line", 4, "wrong_type")]
    assert [pair["label"] for pair in Everything("webtext2019zh", path, min_star=5).pairs] == [9.0]


def test_translation2019zh_is_parallel_text(tmp_path: Path) -> None:
    rows = [{"english": "Good day.", "chinese": "你好。"}, {"english": "", "chinese": "空"}, {"english": "x"}]
    found = Everything("translation2019zh", write(tmp_path / "translation2019zh_train.json", jsonl(*rows)))
    (pair,) = found.pairs
    assert (pair["query"], pair["positive"], pair["kind"], pair["symmetric"]) == (
        "Good day.",
        "你好。",
        "parallel",
        True,
    )
    assert (pair["query_lang"], pair["positive_lang"]) == ("eng_Latn", "zho_Hans")
    assert [bad["reason"] for bad in found.rejects] == ["empty_query"]
    assert found.reasons == [("line", 3, "missing_field")]


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("zh/merged_zh.jsonl", "zho_Hans"),
        ("downloads/merged_sw.jsonl", "swa_Latn"),
        ("yo/xp3_task_train.jsonl", "yor_Latn"),
        ("data/tel_Telu/task.jsonl", "tel_Telu"),
        ("code/merged_code.jsonl", "und"),
        ("data/task.jsonl", "und"),
    ],
)
def test_xp3_takes_the_language_from_the_path(tmp_path: Path, name: str, language: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    found = Everything("xp3", write(path, jsonl({"inputs": "Ask.", "targets": "Answer."}, {"inputs": "x"})))
    (pair,) = found.pairs
    assert (pair["query"], pair["positive"], pair["kind"]) == ("Ask.", "Answer.", "instruction_output")
    assert (pair["query_lang"], pair["positive_lang"]) == (language, language)
    assert found.reasons == [("line", 2, "missing_field")]


def test_xp3x_records_and_the_users_setting_go_before_the_path(tmp_path: Path) -> None:
    (tmp_path / "zh").mkdir()
    rows = [
        {"inputs": "Ask.", "targets": "Answer.", "language": "eng_Latn"},
        {"inputs": "Demande", "targets": "Réponse"},
    ]
    path = write(tmp_path / "zh" / "a.jsonl", jsonl(*rows))
    assert [pair["query_lang"] for pair in Everything("xp3", path).pairs] == ["eng_Latn", "zho_Hans"]
    assert [pair["query_lang"] for pair in Everything("xp3", path, language="fr").pairs] == ["eng_Latn", "fra_Latn"]


def test_amazon_reviews_keep_stars_and_languages(tmp_path: Path) -> None:
    row = {"review_id": "zh_1", "stars": "4", "review_title": "不错", "review_body": "很好用。", "language": "zh"}
    rows = [row, {**row, "review_id": "de_1", "stars": 2, "language": "de"}, {**row, "review_title": 5}]
    found = Everything("amazon_reviews_multi", write(tmp_path / "dataset_zh_train.json", jsonl(*rows)))
    assert [(p["query"], p["positive"], p["label"], p["query_lang"], p["document_id"]) for p in found.pairs] == [
        ("不错", "很好用。", 4.0, "zho_Hans", "amazon_reviews_multi:zh_1"),
        ("不错", "很好用。", 2.0, "deu_Latn", "amazon_reviews_multi:de_1"),
    ]
    assert found.pairs[0]["kind"] == "review"
    assert found.reasons == [("line", 3, "wrong_type")]
    text = 'stars,review_id,review_title,review_body,language\n1,ja_1,ひどい,"動かない、\n残念",ja\n1,ja_2\n'
    table = Everything("amazon_reviews_multi", write(tmp_path / "train.csv", text))
    assert [(pair["positive"], pair["label"], pair["query_lang"]) for pair in table.pairs] == [
        ("動かない、 残念", 1.0, "jpn_Jpan")
    ]
    assert table.reasons == [("row", 3, "wrong_number_of_columns")]


CODE = 'def twice(n):\n    """Double a number."""\n    return 2 * n'
FUNCTION = {
    "repo": "someone/numbers",
    "path": "numbers/twice.py",
    "func_name": "twice",
    "language": "python",
    "code": CODE,
    "docstring": "Double a number.",
    "url": "https://example.org/someone/numbers#L1",
}


def test_codesearchnet_code_loses_the_docstring_that_stands_in_it(tmp_path: Path) -> None:
    go = {**FUNCTION, "language": "go", "path": "twice.go", "code": "func twice(n int) int { // Double a number.\n}"}
    path = write(
        tmp_path / "train.jsonl", jsonl(FUNCTION, go, {**FUNCTION, "docstring": None}, {**FUNCTION, "code": 1})
    )
    found = Everything("codesearchnet", path)
    assert found.sides == [
        ("Double a number.", "def twice(n): return 2 * n"),
        ("Double a number.", "func twice(n int) int { // Double a number. }"),
    ]
    first = found.pairs[0]
    assert (first["query_lang"], first["positive_lang"], first["kind"]) == ("eng_Latn", "und", "docstring_code")
    assert (first["document_id"], first["url"]) == ("codesearchnet:someone/numbers/numbers/twice.py", FUNCTION["url"])
    assert [bad["reason"] for bad in found.rejects] == ["empty_query"]
    assert found.reasons == [("line", 4, "wrong_type")]
    whole = Everything("codesearchnet", path, cut_docstring=False)
    assert whole.pairs[0]["positive"] == " ".join(CODE.split())


@pytest.mark.parametrize(
    ("code", "rest"),
    [
        ("def f():\n    r'''\n    Text.\n    '''\n    pass", "def f(): pass"),
        ('def f():\n    return "Text."', 'def f(): return "Text."'),
        ('def f():\n    """Text. And more."""', 'def f(): """Text. And more."""'),
    ],
)
def test_codesearchnet_cuts_only_whole_docstrings(tmp_path: Path, code: str, rest: str) -> None:
    record = {**FUNCTION, "code": code, "docstring": "Text."}
    assert Everything("codesearchnet", write(tmp_path / "a.jsonl", jsonl(record))).sides == [("Text.", rest)]


def test_codesearchnet_hub_rows_have_other_names(tmp_path: Path) -> None:
    names = ("func_documentation_string", "func_code_string", "repository_name", "func_path_in_repository")
    row = dict(zip(names, ("Double.", "x => 2 * x", "a/b", "c.js"), strict=True))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    (pair,) = Everything("codesearchnet", tmp_path / "a.parquet").pairs
    assert (pair["query"], pair["positive"], pair["document_id"]) == ("Double.", "x => 2 * x", "codesearchnet:a/b/c.js")


def test_law_gpt_gives_the_articles_when_asked(tmp_path: Path) -> None:
    rows = [
        {"question": "可以吗？", "answer": "不可以。", "reference": ["第一条", "第二条", 3]},
        {"question": "然后？", "answer": "起诉。", "reference": None},
        {"question": "坏", "answer": "坏", "reference": "第三条"},
    ]
    path = write(tmp_path / "law.json", json.dumps(rows, ensure_ascii=False))
    found = Everything("law_gpt", path)
    assert found.sides == [("可以吗？", "不可以。"), ("然后？", "起诉。")]
    assert {pair["kind"] for pair in found.pairs} == {"question_answer"}
    assert found.reasons == [("entry", 1, "wrong_type"), ("entry", 3, "wrong_type")]
    articles = Everything("law_gpt", path, kinds=("question_context",))
    assert articles.sides == [("可以吗？", "第一条"), ("可以吗？", "第二条")]


def test_law_gpt_single_turns_are_questions_and_answers(tmp_path: Path) -> None:
    rows = [{"input": "可以吗？", "output": "不可以。"}, {"input": "可以吗？"}]
    found = Everything("law_gpt", write(tmp_path / "a.json", json.dumps(rows, ensure_ascii=False)))
    assert found.sides == [("可以吗？", "不可以。")]
    assert found.reasons == [("entry", 2, "missing_field")]
