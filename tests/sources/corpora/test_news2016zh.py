"""news2016zh."""

import json
from pathlib import Path

from tests.sources.reading_all import Everything, write


def test_title_and_description_go_with_the_content(tmp_path: Path) -> None:
    article = {
        "news_id": "600000001",
        "keywords": "磨坊,粮食",
        "title": "老磨坊重新开放",
        "desc": "停工十年的磨坊再次磨面。",
        "source": "例报",
        "time": "03-01 10:20",
        "content": "镇上的老磨坊在修缮之后重新开放，游客可以参观石磨。",
    }
    rows = [article, article | {"news_id": "2", "desc": ""}, {"title": "没有内容"}, article | {"content": 5}]
    read = Everything("news2016zh", write(tmp_path / "news2016zh_valid.json", "\n".join(map(json.dumps, rows))))
    body = article["content"]
    assert [(pair["kind"], pair["query"], pair["positive"]) for pair in read.pairs] == [
        ("title_body", article["title"], body),
        ("summary_body", article["desc"], body),
        ("title_body", article["title"], body),
    ]
    assert {pair["positive_lang"] for pair in read.pairs} == {"zho_Hans"}
    assert [pair["document_id"] for pair in read.pairs] == ["news2016zh:600000001"] * 2 + ["news2016zh:2"]
    assert read.reasons == [("line", 3, "missing_field"), ("line", 4, "wrong_type")]
