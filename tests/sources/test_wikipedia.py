"""Wikipedia dumps: pages, pairs, splits, damage."""

import bz2
import gzip
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sources.catalogue import load_source
from sources.source import Split
from sources.wikipedia import WikipediaSettings, cut_passage
from tests.sources.reading_all import Everything, write

HEAD = """<mediawiki xml:lang="de">
  <siteinfo>
    <dbname>dewiki</dbname>
    <base>https://de.example.org/wiki/Start</base>
  </siteinfo>
"""
LONG = "Dies ist ein Satz, der lang genug ist, um als Abschnitt zu gelten, und noch etwas mehr sagt."


def page(title: str, number: int, text: str, namespace: int = 0, redirect: str = "") -> str:
    target = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"  <page>\n    <title>{title}</title><ns>{namespace}</ns><id>{number}</id>{target}\n    <revision><id>9{number}</id>"
        f'<model>wikitext</model><text xml:space="preserve">{text}</text></revision>\n  </page>\n'
    )


def dump(*pages: str) -> bytes:
    return (HEAD + "".join(pages) + "</mediawiki>\n").encode()


def article(number: int) -> str:
    return page(f"Titel {number}", number, f"Nummer {number}. {LONG}\n== Teil ==\nTeil {number}. {LONG}")


def multistream(per_stream: int, count: int) -> bytes:
    groups = (range(first, min(first + per_stream, count)) for first in range(0, count, per_stream))
    streams = [HEAD.encode(), *("".join(map(article, group)).encode() for group in groups)]
    return b"".join(bz2.compress(stream) for stream in [*streams, b"</mediawiki>\n"])


def test_leads_sections_and_redirects_become_pairs(tmp_path: Path) -> None:
    text = f"'''Käse''' ist {LONG}\n\n== Sorten ==\nKurz.\n=== Hart &amp;amp; weich ===\n{LONG}\n== Weblinks ==\n{LONG}"
    path = write(
        tmp_path / "d.xml",
        dump(page("Käse &amp; Brot", 5, text), page("Kaese", 6, "#REDIRECT", redirect="Käse &amp; Brot")),
    )
    found = Everything("wikipedia", path)
    assert [(pair["kind"], pair["query"], pair["positive"]) for pair in found.pairs] == [
        ("title_body", "Käse & Brot", f"Käse ist {LONG}"),
        ("subtitle_passage", "Käse & Brot Sorten > Hart & weich", LONG),
        ("paraphrase", "Kaese", "Käse & Brot"),
    ]
    first = found.pairs[0]
    assert (first["document_id"], first["url"]) == ("dewiki:5", "https://de.example.org/wiki/K%C3%A4se_%26_Brot")
    assert (first["query_lang"], first["license"], first["source"]) == ("deu_Latn", "CC-BY-SA-4.0", "wikipedia")
    assert found.records == 2


def test_each_kind_of_pair_can_be_switched_off(tmp_path: Path) -> None:
    path = write(tmp_path / "d.xml", dump(article(1), page("R", 2, "", redirect="Titel 1")))
    for setting, kind in (("leads", "title_body"), ("passages", "subtitle_passage"), ("redirects", "paraphrase")):
        kinds = {pair["kind"] for pair in Everything("wikipedia", path, **{setting: False}).pairs}
        assert kinds == {"title_body", "subtitle_passage", "paraphrase"} - {kind}


def test_other_namespaces_disambiguation_and_lists_give_nothing(tmp_path: Path) -> None:
    listed = "== Liste ==\n" + "".join(f"* {LONG}\n" for _ in range(3))
    path = write(
        tmp_path / "d.xml",
        dump(
            page("Hilfe:A", 1, LONG, namespace=12),
            page("B", 2, LONG + "{{Begriffsklärung}}"),
            page("C (disambiguation)", 3, LONG),
            page("D", 4, listed),
            page("E", 5, ""),
        ),
    )
    found = Everything("wikipedia", path)
    assert (found.pairs, found.records) == ([], 5)


def test_documents_hold_sections_whose_spans_fit(tmp_path: Path) -> None:
    found = Everything("wikipedia", write(tmp_path / "d.xml", dump(article(3))), documents=True)
    (document,) = found.documents
    assert document["text"] == f"Nummer 3. {LONG}\n\nTeil\nTeil 3. {LONG}"
    spans = [(part["path"], document["text"][part["start"] : part["end"]]) for part in document["sections"]]
    assert spans == [("", f"Nummer 3. {LONG}"), ("Teil", f"Teil\nTeil 3. {LONG}")]
    assert (document["document_id"], document["title"], document["language"]) == ("dewiki:3", "Titel 3", "deu_Latn")


@pytest.mark.parametrize("target", [50, 333, 1000, 1 << 30])
def test_any_split_of_a_plain_dump_gives_the_same_pairs(tmp_path: Path, target: int) -> None:
    data = dump(*(article(number) for number in range(20)))
    found = Everything("wikipedia", write(tmp_path / "d.xml", data), target)
    whole = Everything("wikipedia", write(tmp_path / "d.xml.gz", gzip.compress(data)))
    assert len(found.pairs) == 40
    assert found.pairs == whole.pairs
    assert found.records == 20
    assert (len(found.splits) > 1) == (target < len(data))


@pytest.mark.parametrize("target", [100, 500, 1 << 30])
def test_any_split_of_a_multistream_dump_gives_the_same_pairs(tmp_path: Path, target: int) -> None:
    path = write(tmp_path / "d.xml.bz2", multistream(3, 20))
    found = Everything("wikipedia", path, target)
    assert [pair["document_id"] for pair in found.pairs] == [f"dewiki:{number // 2}" for number in range(40)]
    assert found.quarantine == []
    assert (len(found.splits) > 1) == (target < path.stat().st_size)


@pytest.mark.parametrize("cut", [1, 7, 50, 311, 312, 313, 314, 315, 316, 317, 318, 319])
def test_pages_that_lie_over_two_streams_are_read_once(tmp_path: Path, cut: int) -> None:
    data = dump(article(1), article(2))
    start = data.index(b"<page>", data.index(b"<page>") + 1) - 315 + cut
    streams = [bz2.compress(part) for part in (HEAD.encode(), data[len(HEAD.encode()) : start], data[start:])]
    found = Everything("wikipedia", write(tmp_path / "d.xml.bz2", b"".join(streams)), len(streams[0]) + 1)
    assert len(found.splits) == 3 or len(found.splits) == 2
    assert [pair["document_id"] for pair in found.pairs] == ["dewiki:1"] * 2 + ["dewiki:2"] * 2


def test_a_dump_of_one_stream_is_one_split(tmp_path: Path) -> None:
    path = write(tmp_path / "d.xml.bz2", bz2.compress(dump(*(article(number) for number in range(50)))))
    assert len(Everything("wikipedia", path, 100).splits) == 1


def test_a_truncated_dump_gives_every_whole_page_and_one_quarantine_row(tmp_path: Path) -> None:
    packed = multistream(1, 10)
    found = Everything("wikipedia", write(tmp_path / "d.xml.bz2", packed[: len(packed) // 2]))
    ids = [pair["document_id"] for pair in found.pairs]
    assert ids == [f"dewiki:{number // 2}" for number in range(len(ids))]
    assert len(ids) in (8, 10)
    assert found.reasons == [("byte", len(packed) // 2, "truncated_file")]
    assert found.records == len(ids) // 2 + 1
    plain = Everything("wikipedia", write(tmp_path / "d.xml", dump(article(1), article(2))[:-150]))
    assert [reason for _, _, reason in plain.reasons] == ["truncated_file"]
    assert len(plain.pairs) == 2


def test_pages_that_cannot_be_read_are_quarantined_by_number(tmp_path: Path) -> None:
    data = dump(
        article(1), page("Bad", 2, "x\x01LATIN"), article(3), page("Big", 4, "x" * 5000), "<page></page>\n", article(6)
    )
    path = write(tmp_path / "d.xml", data.replace(b"\x01LATIN", b"\xff"))
    found = Everything("wikipedia", path, max_page_bytes=2000)
    assert found.reasons == [("page", 2, "invalid_utf8"), ("page", 4, "page_too_large"), ("page", 5, "malformed_page")]
    assert {pair["document_id"] for pair in found.pairs} == {"dewiki:1", "dewiki:3", "dewiki:6"}
    assert found.records == 6


def test_a_page_may_be_as_large_as_mediawiki_lets_it() -> None:
    assert WikipediaSettings().max_page_bytes == 8 << 20


def test_a_page_larger_than_the_limit_is_dropped_over_many_chunks(tmp_path: Path) -> None:
    path = write(tmp_path / "d.xml", dump(article(1), page("Big", 2, "x" * (5 << 20)), article(3)))
    found = Everything("wikipedia", path, max_page_bytes=1 << 20)
    assert found.reasons == [("page", 2, "page_too_large")]
    assert len(found.pairs) == 4


def test_a_number_of_5000_digits_in_a_page_costs_no_page(tmp_path: Path) -> None:
    number = "&amp;#" + "9" * 5000 + ";"
    data = dump(article(1), page(f"A{number.replace('&amp;', '&')}", 2, f"{number} {LONG}"), article(3))
    found = Everything("wikipedia", write(tmp_path / "d.xml", data))
    assert (found.records, found.reasons) == (3, [])
    (pair,) = [pair for pair in found.pairs if pair["document_id"] == "dewiki:2"]
    assert (pair["query"], pair["positive"]) == ("A\ufffd", f"\ufffd {LONG}")


def test_pairs_of_a_block_come_in_the_order_of_its_pages(tmp_path: Path) -> None:
    pages = [
        article(1),
        page("R", 2, "", redirect="Titel 1"),
        article(3),
        page("Talk", 4, LONG, namespace=1),
        article(5),
    ]
    found = Everything("wikipedia", write(tmp_path / "d.xml", dump(*pages)))
    assert [pair["document_id"] for pair in found.pairs] == [f"dewiki:{number}" for number in (1, 1, 2, 3, 3, 5, 5)]


@pytest.mark.parametrize("word", ["REDIRECT", "Weiterleitung", "転送", "ПЕРЕНАПРАВЛЕННЯ", "तुपाठ"])
def test_a_redirect_is_known_by_its_text_where_the_dump_has_no_element(tmp_path: Path, word: str) -> None:
    pages = [
        page("Kaese", 1, f"#{word} [[Käse_&amp;amp; Brot#Teil|x]]"),
        page("Liste", 2, f"# [[Eins]] {LONG}\n{LONG}"),
    ]
    first, second = Everything("wikipedia", write(tmp_path / "d.xml", dump(*pages))).pairs
    assert (first["kind"], first["query"], first["positive"]) == ("paraphrase", "Kaese", "Käse & Brot")
    assert second["kind"] == "title_body"


NAMESPACES = """<namespaces><namespace key="0" /><namespace key="1">Rede</namespace>
<namespace key="6" case="first-letter">Bildlein</namespace><namespace key="14">Rubrik</namespace></namespaces>
</siteinfo>"""


def test_the_siteinfo_names_what_links_show_no_words(tmp_path: Path) -> None:
    text = f"[[Bildlein:A.jpg|mini|x]]{LONG}[[Rubrik:B]][[rubrik:C]] [[Rede: Eine|Rede]]"
    data = dump(page("A", 1, text)).replace(b"</siteinfo>", NAMESPACES.encode())
    (pair,) = Everything("wikipedia", write(tmp_path / "d.xml", data)).pairs
    assert pair["positive"] == f"{LONG} Rede"


def test_pages_of_old_dumps_are_known_by_the_namespace_in_their_title(tmp_path: Path) -> None:
    data = dump(page("Rede:A", 1, LONG), page("Rede an alle: B", 2, LONG))
    data = data.replace(b"</siteinfo>", NAMESPACES.encode()).replace(b"<ns>0</ns>", b"")
    found = Everything("wikipedia", write(tmp_path / "d.xml", data))
    assert ([pair["query"] for pair in found.pairs], found.records) == (["Rede an alle: B"], 2)


def test_lists_and_texts_without_a_sentence_give_pairs_when_wanted(tmp_path: Path) -> None:
    names = "Renaissance und Reformation und Barock und Aufklärung und Romantik und Moderne"
    path = write(
        tmp_path / "d.xml", dump(page("A", 1, names), page("B", 2, f"* {LONG}"), page("C", 3, "ภาษาไทย " * 10))
    )
    titles = {
        (share, sentences): [
            pair["query"] for pair in Everything("wikipedia", path, max_list_share=share, sentences=sentences).pairs
        ]
        for share in (0.8, 1.0)
        for sentences in (True, False)
    }
    expected = {(0.8, True): ["C"], (0.8, False): ["A", "C"], (1.0, True): ["B", "C"], (1.0, False): ["A", "B", "C"]}
    assert titles == expected


def test_sections_inside_references_give_nothing_and_those_after_do(tmp_path: Path) -> None:
    text = f"{LONG}\n== Einzelnachweise ==\n{LONG}\n=== Bücher ===\n{LONG}\n== Danach ==\n{LONG}"
    found = Everything("wikipedia", write(tmp_path / "d.xml", dump(page("A", 1, text))), documents=True)
    assert [pair["query"] for pair in found.pairs] == ["A", "A Danach"]
    assert [part["path"] for part in found.documents[0]["sections"]] == ["", "Danach"]


def test_pairs_are_one_line_and_documents_keep_lines_and_are_composed(tmp_path: Path) -> None:
    text = f"Cafe\u0301 {LONG}\n\nZweite Zeile.\n== Teil ==\n{LONG}"
    found = Everything("wikipedia", write(tmp_path / "d.xml", dump(page("A", 1, text))), documents=True)
    assert found.pairs[0]["positive"] == f"Café {LONG} Zweite Zeile."
    (document,) = found.documents
    assert document["text"] == f"Café {LONG}\nZweite Zeile.\n\nTeil\n{LONG}"
    assert [document["text"][part["start"] : part["end"]] for part in document["sections"]][1] == f"Teil\n{LONG}"


def test_the_last_revision_of_a_page_counts(tmp_path: Path) -> None:
    older = f"<revision><text>Alt. {LONG}</text></revision>"
    data = dump(page("A", 1, f"Neu. {LONG}")).replace(b"    <revision>", f"    {older}<revision>".encode())
    assert [pair["positive"] for pair in Everything("wikipedia", write(tmp_path / "d.xml", data)).pairs] == [
        f"Neu. {LONG}"
    ]


PIECES = st.sampled_from(
    [
        article(1),
        article(2),
        page("R", 3, "", redirect="A"),
        page("T", 4, LONG, 1),
        page("Ж", 5, "{{x " + LONG),
        "<pag",
        "x",
    ]
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, max_size=8), st.lists(st.floats(0, 1), max_size=4))
def test_a_dump_cut_anywhere_gives_the_same_pairs(tmp_path: Path, pages: list[str], shares: list[float]) -> None:
    data = dump(*pages)
    path = str(write(tmp_path / "d.xml", data))
    cuts = sorted({0, len(data), *(int(share * len(data)) for share in shares)})
    source = load_source("wikipedia")

    def read(splits: list[Split]) -> list[tuple[str, str, str]]:
        steps = [step for split in splits for step in source.read(split, source.Settings())]
        assert not any(step.quarantine.num_rows for step in steps)
        rows = [row for step in steps for row in step.pairs.to_pylist()]
        return [(row["document_id"], row["query"], row["positive"]) for row in rows]

    assert read([Split(path, begin, end) for begin, end in pairwise(cuts)]) == read([Split(path)])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120))
def test_any_bytes_as_a_page_are_text_or_quarantine(tmp_path: Path, wikitext: bytes) -> None:
    escaped = wikitext.replace(b"&", b"&amp;").replace(b"<", b"&lt;")
    data = dump(page("A", 1, "TEXT"), article(2)).replace(b"TEXT", escaped + LONG.encode())
    found = Everything("wikipedia", write(tmp_path / "d.xml", data), documents=True)
    assert found.records == 2
    try:
        wikitext.decode()
    except UnicodeDecodeError:
        assert found.reasons == [("page", 1, "invalid_utf8")]
    else:
        assert found.reasons == []
    assert [pair["document_id"] for pair in found.pairs[-2:]] == ["dewiki:2"] * 2


@pytest.mark.parametrize("chunk", [7, 1 << 20])
@pytest.mark.parametrize("target", [200, 400, 700])
def test_a_later_split_names_the_byte_of_a_bad_page(
    tmp_path: Path, chunk: int, target: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.files.reading.CHUNK", chunk)
    pages = [
        article(1),
        article(2),
        article(3),
        article(4),
        "  <page></page>\n",
        page("Big", 6, "x" * 3000),
        article(7),
    ]
    data = dump(*pages)
    found = Everything("wikipedia", write(tmp_path / "d.xml", data), target, max_page_bytes=2000)
    bad, big = data.index(b"<page></page>"), data.index(b"<page>\n    <title>Big")
    assert found.reasons == [("byte", bad, "malformed_page"), ("byte", big, "page_too_large")]
    assert len(found.splits) > 2


@pytest.mark.parametrize("chunk", [16, 1 << 20])
def test_a_later_split_of_a_multistream_dump_names_the_stream_of_a_bad_page(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.files.reading.CHUNK", chunk)
    parts = [HEAD, article(1), article(2), article(3) + "<page></page>", article(4), article(5) + "<pa", "ge></page>"]
    streams = [bz2.compress(part.encode()) for part in parts]
    path = write(tmp_path / "d.xml.bz2", b"".join(streams))
    source = load_source("wikipedia")
    split = Split(str(path), len(streams[0]), path.stat().st_size)
    steps = list(source.read(split, source.Settings()))
    bad = [(row["unit"], row["position"], row["reason"]) for step in steps for row in step.quarantine.to_pylist()]
    starts = [sum(map(len, streams[:number])) for number in range(len(streams))]
    assert bad == [("byte", starts[3], "malformed_page"), ("byte", starts[5], "malformed_page")]


def test_an_empty_file_gives_nothing(tmp_path: Path) -> None:
    assert Everything("wikipedia", write(tmp_path / "d.xml", "")).records == 0


def test_a_dump_without_siteinfo_takes_its_name_from_the_file(tmp_path: Path) -> None:
    data = dump(article(1)).replace(HEAD.encode(), b'<mediawiki xml:lang="fr">\n')
    (first, _) = Everything("wikipedia", write(tmp_path / "frwiki-2024.xml", data)).pairs
    assert (first["document_id"], first["query_lang"], first["url"]) == ("frwiki:1", "fra_Latn", None)


def test_passages_are_cut_at_the_end_of_a_sentence() -> None:
    assert cut_passage("Ein Satz. Noch einer. Und der dritte.", 30) == "Ein Satz. Noch einer."
    assert cut_passage("一二三四五。六七八九十。一二三", 13) == "一二三四五。六七八九十。"
    assert cut_passage("word " * 10, 22) == "word word word word"
    assert cut_passage("x" * 50, 20) == "x" * 20
    assert cut_passage("short", 20) == "short"
    assert cut_passage("One sentence here. By J. R. R. Tolkien in a year.", 32) == "One sentence here."
