"""CC-NEWS: pages of WARC files as pairs of title and text; needs the extra `warc`."""

import gzip
import sys
import zlib
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard

from sources.source import SourceError
from tests.sources.reading_all import Everything, write

STORY = "The town council voted on Monday to plant three hundred trees along the river before the end of the year."
MORE = (
    "Residents had asked for shade for a long time, and the plan was welcomed by the schools and by the shops nearby."
)


def page(title: str = "Trees for the river", first: str = "", head: str = "", story: str = STORY) -> str:
    links = "".join(f'<li><a href="/{number}">Section {number}</a></li>' for number in range(8))
    return (
        f"<!doctype html><html lang='en'><head><title>{title}</title>{head}<script>var hidden = 1;</script></head><body>"
        f"<nav><ul>{links}</ul></nav><article>{first}<p>{story}</p><p>{MORE}</p></article>"
        "<footer>All rights reserved</footer></body></html>"
    )


def response(
    body: bytes | str,
    url: str = "https://news.example.org/1",
    status: str = "200 OK",
    kind: str = "response",
    headers: str = "Content-Type: text/html; charset=utf-8",
) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    content = f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode() + data
    warc = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nContent-Type: application/http;msgtype=response\r\n"
    return warc.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content + b"\r\n\r\n"


def read(tmp_path: Path, *records: bytes, **settings: Any) -> Everything:
    data = b"".join(map(gzip.compress, records))
    return Everything("cc_news_warc", write(tmp_path / "CC-NEWS-1.warc.gz", data), **{"min_characters": 50} | settings)


def test_a_page_gives_its_title_and_its_main_text(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 3\r\n\r\na:b\r\n\r\n",
        response(page()),
        response("GET / HTTP/1.1\r\n\r\n", kind="request"),
    )
    (pair,) = found.pairs
    assert (pair["kind"], pair["query"], pair["positive"]) == ("title_body", "Trees for the river", f"{STORY} {MORE}")
    assert (pair["url"], pair["document_id"]) == (
        "https://news.example.org/1",
        "cc_news_warc:https://news.example.org/1",
    )
    assert pair["query_lang"] == pair["positive_lang"] == "eng_Latn"
    assert (found.records, found.quarantine, found.rejects) == (3, [], [])


def test_trafilatura_finds_the_text_too(tmp_path: Path) -> None:
    found = read(tmp_path, response(page()), extractor="trafilatura")
    assert found.sides == [("Trees for the river", f"{STORY} {MORE}")]


def test_the_headline_comes_before_the_title_and_is_taken_off_the_text(tmp_path: Path) -> None:
    head = '<meta property="og:title" content="Trees &amp; river">'
    found = read(tmp_path, response(page("Trees &amp; river | The Daily", "<h1>Trees &amp; river</h1>", head)))
    assert found.sides == [("Trees & river", f"{STORY} {MORE}")]
    named = read(tmp_path, response(page("Trees - The Daily", "<h1>Trees</h1>")))
    assert named.sides == [("Trees", f"{STORY} {MORE}")]
    kept = read(tmp_path, response(page("The town council")))
    assert kept.sides == [("The town council", f"{STORY} {MORE}")]


def test_pages_without_title_or_text_and_other_responses_are_no_pairs(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        response(page(title="")),
        response(page(), status="404 Not Found"),
        response("1.2.3.4", kind="response").replace(b"application/http;msgtype=response", b"text/dns"),
        response(b"%PDF-1.7", headers="Content-Type: application/pdf"),
        response("<html><title>Short</title><body><p>Short.</p></body></html>"),
    )
    assert (found.pairs, found.quarantine, found.rejects, found.records) == ([], [], [], 5)


@pytest.mark.parametrize(
    ("headers", "pack"),
    [
        ("Content-Type: text/html\r\nContent-Encoding: gzip", gzip.compress),
        ("Content-Type: text/html\r\nContent-Encoding: deflate", zlib.compress),
        (
            "Content-Type: text/html\r\nTransfer-Encoding: chunked",
            lambda data: b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data),
        ),
        ("Content-Type: text/html; charset=iso-8859-1", lambda data: data.decode().encode("latin-1")),
    ],
)
def test_bodies_are_decoded_as_the_server_says(tmp_path: Path, headers: str, pack: Any) -> None:
    story = STORY.replace("council", "conseil municipal à Orléans")
    found = read(tmp_path, response(pack(page(story=story).encode()), headers=headers))
    assert found.sides == [("Trees for the river", f"{story} {MORE}")]


def test_the_encoding_that_the_page_names_counts_where_the_server_names_none(tmp_path: Path) -> None:
    story = "Город посадит триста деревьев вдоль реки до конца года, сообщил совет в понедельник, и жители очень рады."
    body = page("Деревья", head='<meta charset="windows-1251">', story=story).encode("windows-1251")
    found = read(tmp_path, response(body, headers="Content-Type: text/html"))
    assert found.sides == [("Деревья", f"{story} {MORE}")]


def test_the_language_of_the_settings_stands_before_the_guess(tmp_path: Path) -> None:
    assert read(tmp_path, response(page()), language="sv").pairs[0]["query_lang"] == "swe_Latn"


def test_damaged_records_are_quarantined_with_their_place(tmp_path: Path) -> None:
    bad = response(page()).replace(b"HTTP/1.1 200 OK", bytes(15))
    parts = [gzip.compress(data) for data in (response(page()), bad, response(page(), "https://news.example.org/2"))]
    half = gzip.compress(response(page()))[:-30]
    path = write(tmp_path / "a.warc.gz", b"".join([*parts, half]))
    found = Everything("cc_news_warc", path, min_characters=50)
    assert [pair["url"] for pair in found.pairs] == ["https://news.example.org/1", "https://news.example.org/2"]
    places = [len(parts[0]), sum(map(len, parts))]
    assert found.reasons == [("byte", places[0], "invalid_http"), ("byte", places[1], "truncated_file")]
    assert found.records == 4


def test_a_small_body_that_unpacks_to_a_huge_one_is_quarantined(tmp_path: Path) -> None:
    bomb = gzip.compress(b"<p>" + b"x" * 30_000_000)
    found = read(tmp_path, response(bomb, headers="Content-Type: text/html\r\nContent-Encoding: gzip"))
    assert [reason for _, _, reason in found.reasons] == ["record_too_long"]


def test_pages_become_documents_when_asked_for(tmp_path: Path) -> None:
    found = read(tmp_path, response(page()), documents=True)
    (document,) = found.documents
    assert (document["title"], document["text"]) == ("Trees for the river", f"{STORY}\n{MORE}")
    assert document["document_id"] == found.pairs[0]["document_id"]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no WARC record in it"):
        Everything("cc_news_warc", write(tmp_path / "a.warc", "title\ttext\n" * 100))


@pytest.mark.parametrize("missing", ["fastwarc.warc", "resiliparse.parse.html", "trafilatura"])
def test_without_the_extra_the_error_tells_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SourceError, match=r"pip install 'pairmill\[warc\]'"):
        read(tmp_path, response(page()), extractor="trafilatura")


COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress, "br": brotli.compress}
BODY = "Content-Type: text/html; charset=utf-8\r\nContent-Encoding: "


@pytest.mark.parametrize("coding", COMPRESS)
def test_a_compressed_body_is_read_and_a_bomb_is_not(tmp_path: Path, coding: str) -> None:
    compress = COMPRESS[coding]
    found = read(tmp_path, response(compress(page().encode()), headers=BODY + coding))
    assert found.sides == [("Trees for the river", f"{STORY} {MORE}")]
    bomb = response(compress(bytes(9 << 20)), headers=BODY + coding)
    assert [reason for _, _, reason in read(tmp_path, bomb).reasons] == ["record_too_long"]


def test_bodies_compressed_twice_or_in_an_unknown_way(tmp_path: Path) -> None:
    twice = response(gzip.compress(zlib.compress(page().encode())), headers=f"{BODY}deflate, gzip")
    unknown = response(page(), headers=f"{BODY}rot13")
    found = read(tmp_path, twice, unknown)
    assert len(found.pairs) == 1
    assert [reason for _, _, reason in found.reasons] == ["invalid_http"]


@pytest.mark.parametrize(
    "story",
    [
        "<div>" * 20_000,
        "<p " + " ".join(f'a{number}="<"' for number in range(30_000)) + ">",
        "<p>x" * 400_001,
    ],
    ids=["depth", "attributes", "tags"],
)
def test_pages_that_the_parser_would_take_minutes_for_are_quarantined(tmp_path: Path, story: str) -> None:
    found = read(tmp_path, response(page(story=story)), response(page()))
    assert len(found.pairs) == 1
    assert [reason for _, _, reason in found.reasons] == ["invalid_html"]


def test_long_pages_of_many_elements_are_read(tmp_path: Path) -> None:
    wide = "".join(f'<p class="c{number}" id=x data-a>{STORY}</p>' for number in range(3000))
    deep = "<div>" * 200 + STORY + "</div>" * 200
    assert len(read(tmp_path, response(page(story=wide)), response(page(story=deep))).pairs) == 2


def test_a_page_in_chinese_does_not_shift_the_records_of_a_plain_file(tmp_path: Path) -> None:
    chinese = (
        page(title="磨坊", story="镇上的议会决定沿着河边种三百棵树。" * 30).replace("utf-8", "gb2312").encode("gb2312")
    )
    record = response(chinese, headers="Content-Type: text/html; charset=gb2312")
    found = Everything("cc_news_warc", write(tmp_path / "a.warc", record + response(page())), min_characters=50)
    assert [pair["query"] for pair in found.pairs] == ["磨坊", "Trees for the river"]
    assert found.quarantine == []
