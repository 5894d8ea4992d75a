"""wudao."""

import json
from pathlib import Path

from tests.sources.reading_all import Everything, write

PAGE = {
    "id": 0,
    "uniqueKey": "5d2f",
    "titleUkey": "77aa",
    "dataType": "百科",
    "title": "磨坊",
    "content": "磨坊\r磨坊磨面。\n河边有一座。",
}


def test_titles_go_with_contents_that_lose_a_title_of_their_own(tmp_path: Path) -> None:
    rows = [
        PAGE,
        PAGE | {"uniqueKey": None, "content": "磨坊磨面。"},
        PAGE | {"title": ""},
        PAGE | {"content": ["x"]},
        {"title": "t"},
        "no object",
    ]
    read = Everything("wudao", write(tmp_path / "part-202101281a.json", json.dumps(rows)), documents=True)
    assert read.sides == [("磨坊", "磨坊磨面。 河边有一座。"), ("磨坊", "磨坊磨面。")]
    first, second = read.pairs
    assert (first["kind"], first["document_id"], first["query_lang"]) == ("title_body", "wudao:5d2f", "zho_Hans")
    assert second["document_id"].startswith("part-202101281a.json:")
    assert [row["reason"] for row in read.rejects] == ["empty_query"]
    assert read.reasons == [("entry", 4, "wrong_type"), ("entry", 5, "missing_field"), ("entry", 6, "not_an_object")]
    assert read.documents[0]["text"] == "磨坊磨面。 河边有一座。"
