"""chinese_poetry."""

import json
from pathlib import Path

from tests.sources.reading_all import Everything, write


def test_titles_go_with_the_lines_of_the_poem(tmp_path: Path) -> None:
    poem = {"author": "某人", "paragraphs": ["水車轉不停，", "磨麥過清晨。"], "title": "水車", "id": "p-1"}
    rows = [
        poem,
        poem | {"paragraphs": None},
        poem | {"paragraphs": ["a", 1]},
        {"author": "某人", "paragraphs": ["一"], "rhythmic": "調"},
        {"author": "某人", "title": "無句"},
    ]
    read = Everything("chinese_poetry", write(tmp_path / "poet.tang.0.json", json.dumps(rows, ensure_ascii=False)))
    assert read.sides == [("水車", "水車轉不停，磨麥過清晨。")]
    (pair,) = read.pairs
    assert (pair["kind"], pair["document_id"], pair["query_lang"]) == ("title_body", "chinese_poetry:p-1", "lzh_Hant")
    assert [row["reason"] for row in read.rejects] == ["empty_positive"]
    assert read.reasons == [("entry", 3, "wrong_type"), ("entry", 5, "missing_field")]
