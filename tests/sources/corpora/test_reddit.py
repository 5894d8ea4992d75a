"""reddit."""

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.sources.reading_all import Everything, write

POST = {
    "id": "a1",
    "title": "Mills &amp; millers",
    "selftext": "How do they grind?\n\nI &lt;3 mills.",
    "permalink": "/r/mills/comments/a1/mills/",
    "score": 5,
    "over_18": False,
}


def lines(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def test_submissions_give_title_and_text(tmp_path: Path) -> None:
    rows = [
        POST,
        POST | {"selftext": ""},
        POST | {"selftext": "[removed]"},
        POST | {"selftext": " [deleted] "},
        POST | {"title": "[deleted by user]"},
        POST | {"selftext": None},
        POST | {"title": ""},
        POST | {"selftext": 4},
        POST | {"score": "many"},
        {"title": "comment"},
    ]
    path = write(tmp_path / "RS_2020-01.zst", zstandard.compress(lines(*rows)))
    read = Everything("reddit", path, documents=True)
    assert read.sides == [("Mills & millers", "How do they grind? I <3 mills.")]
    (pair,) = read.pairs
    assert (pair["kind"], pair["document_id"], pair["query_lang"]) == ("title_body", "reddit:a1", "eng_Latn")
    assert pair["url"] == "https://www.reddit.com/r/mills/comments/a1/mills/"
    assert (read.rejects, len(read.documents)) == ([], 1)
    assert read.reasons == [("line", 8, "wrong_type"), ("line", 9, "wrong_type"), ("line", 10, "missing_field")]
    assert read.records == 10


@pytest.mark.parametrize(("least", "count"), [(None, 3), (5, 2), (6, 1)])
def test_posts_with_too_few_votes_can_be_left_out(tmp_path: Path, least: int | None, count: int) -> None:
    rows = [POST, POST | {"score": -3}, POST | {"score": None}]
    read = Everything("reddit", write(tmp_path / "posts.jsonl", lines(*rows)), min_score=least)
    assert len(read.pairs) == count


def test_rows_and_lists_of_title_and_body_are_posts(tmp_path: Path) -> None:
    rows = [{"title": "Mills", "body": "They grind.", "subreddit": "mills"}, {"title": "Mills", "body": "[removed]"}]
    assert Everything("reddit", write(tmp_path / "a.jsonl", lines(*rows))).sides == [("Mills", "They grind.")]
    lists = lines(["Mills", "They grind."], ["Mills"], ["Mills", 3], ["a", "b", "c"])
    read = Everything("reddit", write(tmp_path / "b.jsonl", lists))
    assert read.sides == [("Mills", "They grind.")]
    assert read.reasons == [
        ("line", 2, "wrong_number_of_texts"),
        ("line", 3, "wrong_type"),
        ("line", 4, "wrong_number_of_texts"),
    ]


def test_summaries_of_authors_go_with_their_posts(tmp_path: Path) -> None:
    post = {"id": "c1", "subreddit": "mills", "body": "x", "content": "A long story.", "summary": "Mills &gt; all"}
    rows = [post, {"content": "Another.", "summary": ""}, post | {"content": "[deleted]"}, {"content": "no summary"}]
    read = Everything("reddit", write(tmp_path / "corpus-webis-tldr-17.json", lines(*rows)))
    assert read.sides == [("Mills > all", "A long story.")]
    assert (read.pairs[0]["kind"], read.pairs[0]["document_id"]) == ("summary_body", "reddit:c1")
    assert [row["reason"] for row in read.rejects] == ["empty_query"]
    assert read.reasons == [("line", 4, "missing_field")]
