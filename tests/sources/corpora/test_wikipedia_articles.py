"""wiki_extractor, wikipedia_hub and wiki2019zh: articles as others have extracted them."""

import bz2
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.records import RecordSettings
from sources.wiki.wikipedia_articles import article_document
from tests.sources.reading_all import Everything, write

ARTICLE = {
    "id": "12",
    "revid": "900",
    "url": "https://de.wikipedia.org/wiki?curid=12",
    "title": "Mühle",
    "text": "Eine Mühle mahlt Korn.\nGeschichte.\nDie ersten Mühlen drehten Menschen.",
}
TEXT = "Eine Mühle mahlt Korn. Geschichte. Die ersten Mühlen drehten Menschen."


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_json_lines_of_wiki_extractor_are_articles(tmp_path: Path) -> None:
    rows = [
        ARTICLE,
        ARTICLE | {"id": "13", "title": "Leer", "text": ""},
        ARTICLE
        | {"id": "14", "title": "R&amp;D", "text": '&lt;a href="Mühle"&gt;Mühlen&lt;/a&gt; &amp; Wind__NOTOC__'},
        {"id": "15", "title": "ohne Text"},
        ARTICLE | {"text": ["x"]},
    ]
    read = Everything("wiki_extractor", write(folder(tmp_path / "AA") / "wiki_00", lines(*rows)))
    assert read.sides == [("Mühle", TEXT), ("R&D", "Mühlen & Wind")]
    first, second = read.pairs
    assert (first["kind"], first["url"], first["query_lang"]) == ("title_body", ARTICLE["url"], "deu_Latn")
    assert (first["positive_lang"], first["document_id"], second["document_id"]) == (
        "deu_Latn",
        "dewiki:12",
        "dewiki:14",
    )
    assert [(row["query"], row["reason"]) for row in read.rejects] == [("Leer", "empty_positive")]
    assert read.reasons == [("line", 4, "missing_field"), ("line", 5, "wrong_type")]
    assert read.records == 5


BLOCKS = """<doc id="1" url="https://vi.wikipedia.org/wiki?curid=1" title="Cối xay "gió"">
Cối xay "gió"

Cối xay nghiền &lt;ngũ&gt; cốc.

Lịch sử.

</doc>
<doc id="2" revid="77" url="https://vi.wikipedia.org/wiki?curid=2" title="Trống">
Trống



</doc>
<doc id="3" url="https://vi.wikipedia.org/wiki?curid=3" title="Hở">
Hở

Không đóng.
<doc id="4">
sai
</doc>
<doc id="5" url="" title="Cuối">
Cuối

Bài cuối.

</doc>
"""


@pytest.mark.parametrize("target", [1 << 30, 100])
def test_doc_blocks_of_wiki_extractor_are_articles(tmp_path: Path, target: int) -> None:
    read = Everything("wiki_extractor", write(tmp_path / "wiki_00", BLOCKS), target, language="vi")
    assert len(read.splits) == (1 if target > 100 else 4)
    assert read.sides == [('Cối xay "gió"', "Cối xay nghiền <ngũ> cốc. Lịch sử."), ("Cuối", "Bài cuối.")]
    assert [pair["document_id"] for pair in read.pairs] == [
        "viwiki:1",
        "wiki_00:{}".format(BLOCKS.encode().index(b'<doc id="5"')),
    ]
    assert {pair["positive_lang"] for pair in read.pairs} == {"vie_Latn"}
    assert [(row["query"], row["reason"]) for row in read.rejects] == [("Trống", "empty_positive")]
    assert [reason for _, _, reason in read.reasons] == ["invalid_markup"] * 2
    if target > 100:
        assert [(unit, place) for unit, place, _ in read.reasons] == [("line", 15), ("line", 19)]
    assert read.records == 5


def test_compressed_doc_blocks_without_a_beginning_are_quarantined(tmp_path: Path) -> None:
    data = bz2.compress(("stray text\n" + BLOCKS[: BLOCKS.index('<doc id="2"')]).encode())
    read = Everything("wiki_extractor", write(tmp_path / "wiki_00.bz2", data))
    assert len(read.pairs) == 1
    assert read.reasons == [("line", 1, "invalid_markup")]


def test_rows_of_the_hub_are_articles_in_the_language_of_their_url(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["5", "6", None],
            "url": ["https://ja.wikipedia.org/wiki/A", "", "https://zh-min-nan.wikipedia.org/wiki/B"],
            "title": ["水車", "風車", None],
            "text": ["水車\n\n水の力で回る。", "風の力で回る。", "x"],
        }
    )
    pq.write_table(table, folder(tmp_path / "20231101.ja") / "train-00000-of-00001.parquet")
    read = Everything("wikipedia_hub", tmp_path / "20231101.ja" / "train-00000-of-00001.parquet", documents=True)
    assert read.sides == [("水車", "水の力で回る。"), ("風車", "風の力で回る。")]
    assert [pair["document_id"] for pair in read.pairs] == ["jawiki:5", "train-00000-of-00001.parquet:1"]
    assert [pair["query_lang"] for pair in read.pairs] == ["jpn_Jpan", "jpn_Jpan"]
    assert [(row["reason"], row["positive_lang"]) for row in read.rejects] == [("empty_query", "nan_Latn")]
    assert [(row["document_id"], row["title"], row["text"]) for row in read.documents][:1] == [
        ("jawiki:5", "水車", "水の力で回る。")
    ]


def test_articles_of_wiki2019zh_lose_the_title_that_starts_the_text(tmp_path: Path) -> None:
    row = {
        "id": "53",
        "url": "https://zh.wikipedia.org/wiki?curid=53",
        "title": "磨坊",
        "text": "磨坊\n\n磨坊磨面。\n\n历史",
    }
    read = Everything("wiki2019zh", write(tmp_path / "wiki_00", lines(row, row | {"url": None}, [row])))
    assert read.sides == [("磨坊", "磨坊磨面。 历史")] * 2
    assert [pair["document_id"] for pair in read.pairs] == ["zhwiki:53", f"wiki_00:{len(lines(row))}"]
    assert [pair["query_lang"] for pair in read.pairs] == ["zho_Hans", "zho_Hans"]
    assert read.reasons == [("line", 3, "not_an_object")]


@pytest.mark.parametrize(
    ("url", "language", "identity"),
    [
        ("https://en.wikibooks.org/wiki/Mill", "en", "enwikibooks:7"),
        ("https://be-tarask.wikipedia.org/wiki/x", "be-tarask", "be_taraskwiki:7"),
        ("http://ja.m.wikipedia.org/wiki/x", "ja", "jawiki:7"),
        ("https://example.org/wiki/Mill", None, None),
        ("wikipedia.org", None, None),
        ("https://", None, None),
    ],
)
def test_the_host_tells_language_and_wiki(url: str, language: str | None, identity: str | None) -> None:
    article = article_document({"id": 7, "url": url, "title": "t", "text": "x"}, RecordSettings())
    assert (article.language, article.document_id) == (language, identity)
