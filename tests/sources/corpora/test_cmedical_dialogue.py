"""Chinese medical dialogue data: tables of questions and answers."""

from pathlib import Path

import pytest

from tests.sources.reading_all import Everything, write

TABLE = """department,title,ask,answer
内科,头痛怎么办？,我头痛三天了，怎么办？,多休息。
内科,发烧怎么办？,无,"多喝水，
多休息。"
内科,咳嗽怎么办？,咳嗽怎么办？我咳了两天。,看医生。
内科,,我牙痛。,看牙医。
内科,腹痛怎么办？,我腹痛。,
内科,缺一列,无
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_question_is_the_title_with_what_the_description_adds(tmp_path: Path, encoding: str) -> None:
    found = Everything("cmedical_dialogue", write(tmp_path / "内科.csv", TABLE.encode(encoding)))
    assert found.sides == [
        ("头痛怎么办？ 我头痛三天了，怎么办？", "多休息。"),
        ("发烧怎么办？", "多喝水， 多休息。"),
        ("咳嗽怎么办？我咳了两天。", "看医生。"),
        ("我牙痛。", "看牙医。"),
    ]
    assert (found.pairs[0]["kind"], found.pairs[0]["query_lang"]) == ("question_answer", "zho_Hans")
    assert [row["reason"] for row in found.rejects] == ["empty_positive"]
    assert found.reasons == [("row", 7, "wrong_number_of_columns")]


def test_the_title_alone_and_title_with_description_are_chosen_by_settings(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", TABLE)
    titles = Everything("cmedical_dialogue", file, question="title").sides
    assert [query for query, _ in titles] == ["头痛怎么办？", "发烧怎么办？", "咳嗽怎么办？", "我牙痛。"]
    assert Everything("cmedical_dialogue", file, kinds=["title_body"]).sides == [
        ("头痛怎么办？", "我头痛三天了，怎么办？"),
        ("咳嗽怎么办？", "咳嗽怎么办？我咳了两天。"),
        ("腹痛怎么办？", "我腹痛。"),
    ]
