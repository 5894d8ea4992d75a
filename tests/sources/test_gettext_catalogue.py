"""Gettext catalogues."""

import struct
import tracemalloc
from pathlib import Path

import pytest

from sources.catalogue import load_source
from sources.source import Split
from tests.sources.reading_all import Everything, write

HEADER = 'msgid ""\nmsgstr ""\n"Language: fr\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'


def catalogue(tmp_path: Path, text: str | bytes, place: str = "locale/fr/LC_MESSAGES/app.po") -> Path:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, text)


def mo(messages: dict[bytes, bytes]) -> bytes:
    """A little-endian .mo file."""
    count = len(messages)
    strings, tables, start = b"", b"", 28 + 16 * count
    for group in (list(messages), list(messages.values())):
        for string in group:
            tables += struct.pack("<2I", len(string), start + len(strings))
            strings += string + b"\0"
    return struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0) + tables + strings


def test_translated_messages_are_pairs_and_no_others(tmp_path: Path) -> None:
    text = HEADER + (
        '# note\n#: a.c:1\nmsgid "Open"\nmsgstr "Ouvrir"\n\n'
        '#, fuzzy\nmsgid "Close"\nmsgstr "Fermé"\n\n'
        '#~ msgid "Old"\n#~ msgstr "Vieux"\n\n'
        'msgid "Untranslated"\nmsgstr ""\n\n'
        'msgid ""\n"Two "\n"lines\\n"\nmsgstr "Deux \\"lignes\\""\n'
        'msgctxt "menu"\nmsgid "%(count)s _File"\nmsgid_plural "%(count)s _Files"\n'
        'msgstr[0] "%(count)s _Fichier"\nmsgstr[1] "%(count)s _Fichiers"\n'
    )
    found = Everything("gettext", catalogue(tmp_path, text))
    assert found.sides == [
        ("Open", "Ouvrir"),
        ("Two lines", 'Deux "lignes"'),
        ("%(count)s _File", "%(count)s _Fichier"),
    ]
    pair = found.pairs[0]
    assert (pair["kind"], pair["symmetric"]) == ("parallel", True)
    assert (pair["query_lang"], pair["positive_lang"]) == ("eng_Latn", "fra_Latn")
    assert found.records == 3
    assert found.quarantine == []


def test_all_translations_of_a_message_share_its_document(tmp_path: Path) -> None:
    entry = 'msgid "Open"\nmsgstr "X"\n\nmsgctxt "door"\nmsgid "Open"\nmsgstr "Y"\n'
    german = Everything("gettext", catalogue(tmp_path, entry, "locale/de/LC_MESSAGES/app.po"))
    french = Everything("gettext", catalogue(tmp_path, entry, "locale/fr/LC_MESSAGES/app.po"))
    by_name = Everything("gettext", catalogue(tmp_path, entry, "app/po/it.po"))
    ids = [pair["document_id"] for pair in german.pairs]
    assert ids == [pair["document_id"] for pair in french.pairs] == [pair["document_id"] for pair in by_name.pairs]
    assert len(set(ids)) == 2
    assert ids[0].startswith("app:")
    assert by_name.pairs[0]["positive_lang"] == "ita_Latn"


def test_the_language_is_the_folders_then_the_headers_then_the_settings(tmp_path: Path) -> None:
    entry = 'msgid "a"\nmsgstr "b"\n'
    folder = Everything("gettext", catalogue(tmp_path, HEADER + entry, "x/sr@latin/LC_MESSAGES/app.po"))
    header = Everything("gettext", catalogue(tmp_path, HEADER + entry, "x/app.po"), language="de")
    setting = Everything("gettext", catalogue(tmp_path, entry, "x/other.po"), language="de")
    assert [found.pairs[0]["positive_lang"] for found in (folder, header, setting)] == [
        "srp_Latn",
        "fra_Latn",
        "deu_Latn",
    ]


def test_entries_in_bad_shape_are_quarantined_by_line_and_the_rest_is_read(tmp_path: Path) -> None:
    text = HEADER.encode() + (
        b'msgid "a"\nmsgstr "A"\n\n'  # lines 6 to 8
        b'msgid "b\nmsgstr "B"\n\n'  # 9: the quote does not close
        b'msgid "c"\n\n'  # 12: no msgstr
        b'msgid "d"\nmsgstr "\xff"\n\n'  # 14: no UTF-8
        b'what is this\nmsgid "e"\nmsgstr "E"\n'  # 17
    )
    found = Everything("gettext", catalogue(tmp_path, text))
    assert found.sides == [("a", "A"), ("e", "E")]
    assert found.reasons == [
        ("line", 9, "invalid_po"),
        ("line", 12, "invalid_po"),
        ("line", 14, "invalid_utf8"),
        ("line", 17, "invalid_po"),
    ]
    assert found.records == 6


def test_the_charset_of_the_header_is_used(tmp_path: Path) -> None:
    text = HEADER.replace("UTF-8", "ISO-8859-1") + 'msgid "a"\nmsgstr "é"\n'
    assert Everything("gettext", catalogue(tmp_path, text.encode("latin-1"))).sides == [("a", "é")]


REFUSED = ["undefined", "punycode", "idna", "utf-7", "unicode_escape", "raw_unicode_escape", "utf-16", "cp037"]


@pytest.mark.parametrize("charset", REFUSED)
def test_codecs_that_are_no_charsets_are_refused(tmp_path: Path, charset: str) -> None:
    text = HEADER.replace("UTF-8", charset) + 'msgid "a"\nmsgstr "\\\\ud800"\n\nmsgid "b"\nmsgstr "+2AA-"\n'
    found = Everything("gettext", catalogue(tmp_path, text))
    assert found.reasons == [("line", 6, "unsupported_charset"), ("line", 9, "unsupported_charset")]
    assert (found.sides, found.records) == ([], 2)
    header = f"Content-Type: text/plain; charset={charset}\n".encode()
    compiled = Everything("gettext", catalogue(tmp_path, mo({b"": header, b"a": b"+2AA-"}), "fr/LC_MESSAGES/a.mo"))
    assert compiled.reasons == [("entry", 2, "unsupported_charset")]


def test_an_unknown_charset_is_taken_for_utf8(tmp_path: Path) -> None:
    for name in ("CHARSET", "rot13"):
        text = HEADER.replace("UTF-8", name) + 'msgid "a"\nmsgstr "é"\n'
        assert Everything("gettext", catalogue(tmp_path, text)).sides == [("a", "é")]


def test_the_flags_of_an_obsolete_entry_are_not_the_next_ones(tmp_path: Path) -> None:
    text = HEADER + (
        '#, fuzzy\n#~ msgid "old"\n#~ msgstr "vieux"\n\nmsgid "a"\nmsgstr "A"\n\n'
        '#, fuzzy\n#| msgid "x"\n#~ msgid "old"\n#~ msgstr "vieux"\nmsgid "b"\nmsgstr "B"\n\n'
        '#~ msgid "old"\n#~ msgstr "vieux"\n#, fuzzy\nmsgid "c"\nmsgstr "C"\n'
    )
    assert Everything("gettext", catalogue(tmp_path, text)).sides == [("a", "A"), ("b", "B")]


def test_an_entry_of_endless_lines_is_one_bad_entry(tmp_path: Path) -> None:
    lines = '"more"\n' * 300
    text = HEADER + f'msgid "a"\n{lines}msgstr "A"\n{lines}\nmsgid "b"\nmsgstr "B"\n'
    found = Everything("gettext", catalogue(tmp_path, text), max_line_bytes=1000)
    assert found.sides == [("b", "B")]
    assert found.reasons == [("line", 6, "entry_too_long")]
    assert found.records == 2


def test_steps_are_bounded_by_characters_too(tmp_path: Path) -> None:
    text = HEADER + "".join(f'msgid "{number}"\nmsgstr "{"x" * 500_000}"\n\n' for number in range(12))
    source = load_source("gettext")
    steps = list(source.read(Split(str(catalogue(tmp_path, text))), source.Settings()))
    assert [step.records for step in steps] == [4, 4, 4, 0]


def test_strings_that_are_too_long_in_a_compiled_catalogue_are_quarantined(tmp_path: Path) -> None:
    data = mo({b"a": b"A", b"b": b"B" * 2000, b"c": b"C"})
    found = Everything("gettext", catalogue(tmp_path, data, "fr/LC_MESSAGES/a.mo"), max_line_bytes=1000)
    assert found.sides == [("a", "A"), ("c", "C")]
    assert found.reasons == [("entry", 2, "entry_too_long")]


def test_a_compiled_catalogue_whose_entries_share_one_string_is_no_bomb(tmp_path: Path) -> None:
    count, size = 2000, 4 << 20
    place = 28 + 16 * count
    tables = struct.pack("<2I", 10, place) * count + struct.pack("<2I", size, place) * count
    data = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0) + tables + b"x" * size
    path = catalogue(tmp_path, data, "fr/LC_MESSAGES/a.mo")
    source = load_source("gettext")
    tracemalloc.start()
    steps = list(source.read(Split(str(path)), source.Settings()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(step.records for step in steps) == count
    assert sum(step.pairs.nbytes for step in steps) < 10 << 20
    assert steps[-1].quarantine["reason"][0].as_py() == "overlapping_strings"
    assert peak < 100 << 20


def test_a_compiled_catalogue_gives_the_same_pairs(tmp_path: Path) -> None:
    messages = {
        b"": b"Content-Type: text/plain; charset=UTF-8\n",
        b"Open": b"Ouvrir",
        b"menu\x04File\x00Files": b"Fichier\x00Fichiers",
        b"empty": b"",
    }
    text = (
        HEADER
        + 'msgid "Open"\nmsgstr "Ouvrir"\n\nmsgctxt "menu"\nmsgid "File"\nmsgid_plural "Files"\nmsgstr[0] "Fichier"\n'
    )
    compiled = Everything("gettext", catalogue(tmp_path, mo(messages), "fr/LC_MESSAGES/app.mo"))
    source = Everything("gettext", catalogue(tmp_path, text, "fr/LC_MESSAGES/app.po"))
    assert compiled.sides == [("Open", "Ouvrir"), ("File", "Fichier")]
    assert compiled.pairs == source.pairs


def test_a_compiled_catalogue_that_is_cut_or_none_is_quarantined(tmp_path: Path) -> None:
    data = mo({b"a": b"A", b"b": b"B"})
    cut = Everything("gettext", catalogue(tmp_path, data[:-2], "fr/LC_MESSAGES/cut.mo"))
    assert cut.sides == [("a", "A")]
    assert cut.reasons == [("entry", 2, "truncated_file")]
    huge = struct.pack("<7I", 0x950412DE, 0, 0xFFFFFFFF, 28, 28, 0, 0)
    assert Everything("gettext", catalogue(tmp_path, huge, "fr/LC_MESSAGES/huge.mo")).records == 1
    other = Everything("gettext", catalogue(tmp_path, "hello", "fr/LC_MESSAGES/other.mo"))
    assert other.reasons == [("byte", 0, "not_a_mo")]


def test_an_empty_catalogue_gives_nothing(tmp_path: Path) -> None:
    assert Everything("gettext", catalogue(tmp_path, "")).records == 0
