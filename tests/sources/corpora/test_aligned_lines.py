"""The source of line-aligned files."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from sources.catalogue import load_source
from sources.files.reading import expand_paths
from sources.source import SourceError
from tests.sources.reading_all import Everything, write


def read(*paths: Path, **settings: object) -> Everything:
    return Everything("aligned_lines", [Path(path) for path in expand_paths([str(path) for path in paths])], **settings)


def corpus(folder: Path, **texts: str) -> Path:
    for language, text in texts.items():
        write(folder / f"corpus.{language}", text)
    return folder


def test_lines_are_paired_with_english_by_default(tmp_path: Path) -> None:
    found = read(corpus(tmp_path, de="eins\nzwei\n", en="one\ntwo\n", fr="un\ndeux\n"))
    assert found.sides == [("one", "eins"), ("two", "zwei"), ("one", "un"), ("two", "deux")]
    assert [(pair["query_lang"], pair["positive_lang"]) for pair in found.pairs[1:3]] == [
        ("eng_Latn", "deu_Latn"),
        ("eng_Latn", "fra_Latn"),
    ]
    assert {pair["kind"] for pair in found.pairs} == {"parallel"}
    assert [pair["document_id"] for pair in found.pairs] == ["corpus:1", "corpus:2"] * 2
    assert found.records == 4


def test_another_pivot_or_all_directions_can_be_asked_for(tmp_path: Path) -> None:
    folder = corpus(tmp_path, de="eins\n", en="one\n", fr="un\n")
    assert read(folder, pivot="fra_Latn").sides == [("un", "eins"), ("un", "one")]
    assert read(folder, directions="all").sides == [("one", "eins"), ("one", "un"), ("eins", "un")]
    assert read(folder, directions="all", languages=["de", "fr"]).sides == [("eins", "un")]
    assert read(
        corpus(tmp_path / "x" if (tmp_path / "x").mkdir() is None else tmp_path, de="eins\n", fr="un\n")
    ).sides == [("eins", "un")]
    with pytest.raises(SourceError, match=r"no file in the pivot language 'ja'; there are de, en, fr"):
        read(folder / "corpus.*", pivot="ja")


def test_a_test_set_of_several_references_is_paired_with_its_source(tmp_path: Path) -> None:
    write(tmp_path / "news-src.eng.txt", "a colour of lorries\n")
    write(tmp_path / "news-ref.eng-US.txt", "a color of trucks\n")
    write(tmp_path / "news-ref.zho_Hant.txt", "色\n")
    found = read(tmp_path)
    assert {(pair["kind"], pair["query"], pair["positive"]) for pair in found.pairs} == {
        ("paraphrase", "a colour of lorries", "a color of trucks"),
        ("parallel", "a colour of lorries", "色"),
    }
    assert {pair["document_id"] for pair in found.pairs} == {"news.txt:1"}
    assert [pair["kind"] for pair in read(tmp_path, kinds=["parallel"]).pairs] == ["parallel"]


def test_files_named_by_language_alone_are_read(tmp_path: Path) -> None:
    for name, text in {
        "eng_Latn.dev": "one\n",
        "fur_Latn.dev": "un\n",
        "eng_Latn.devtest": "two\n",
        "fur_Latn.devtest": "doi\n",
    }.items():
        write(tmp_path / name, text)
    assert sorted(read(tmp_path).sides) == [("one", "un"), ("two", "doi")]


def test_names_can_be_described(tmp_path: Path) -> None:
    for language, text in {"de": "eins\n", "en": "one\n"}.items():
        (tmp_path / language).mkdir()
        write(tmp_path / language / "train.txt.gz", gzip.compress(text.encode()))
    assert read(tmp_path, names="{language}/train.txt").sides == [("one", "eins")]


def test_a_file_without_a_partner_is_named(tmp_path: Path) -> None:
    corpus(tmp_path, de="eins\n", en="one\n")
    write(tmp_path / "alone.fr", "un\n")
    with pytest.raises(SourceError, match=r"alone\.fr: no file in another language beside it"):
        read(tmp_path)
    write(tmp_path / "alone.de", "eins\n")
    write(tmp_path / "corpus.en.labels", "x\n")
    with pytest.raises(SourceError, match=r"corpus\.en\.labels: the name does not say a language"):
        read(tmp_path)


def test_files_of_different_length_are_quarantined_as_a_whole(tmp_path: Path) -> None:
    found = read(corpus(tmp_path, de="eins\nzwei\ndrei\n", en="one\ntwo\n"))
    assert found.pairs == []
    assert found.reasons == [("line", 1, "unequal_line_counts")]
    assert "corpus.de 3, corpus.en 2" in found.quarantine[0]["excerpt"]
    assert found.records == 3


def test_blank_lines_at_the_end_do_not_count(tmp_path: Path) -> None:
    found = read(corpus(tmp_path, de="eins\nzwei", en="one\r\ntwo\r\n\r\n\n"))
    assert found.sides == [("one", "eins"), ("two", "zwei")]
    assert (found.records, found.quarantine) == (2, [])


def test_a_blank_line_is_a_reject_and_moves_nothing(tmp_path: Path) -> None:
    found = read(corpus(tmp_path, de="eins\n\ndrei\n", en="one\ntwo\nthree\n"))
    assert found.sides == [("one", "eins"), ("three", "drei")]
    assert [reject["reason"] for reject in found.rejects] == ["empty_positive"]
    assert found.pairs[1]["document_id"] == "corpus:3"


def test_a_line_that_cannot_be_read_costs_its_own_pair(tmp_path: Path) -> None:
    write(tmp_path / "corpus.de", b"eins\nzw\xffei\ndrei\n" + b"x" * 3000 + b"\nend\n")
    write(tmp_path / "corpus.en", "one\ntwo\nthree\nfour\nfive\n")
    found = read(tmp_path, max_record_bytes=2000)
    assert found.sides == [("one", "eins"), ("three", "drei"), ("five", "end")]
    assert found.reasons == [("line", 2, "invalid_utf8"), ("line", 4, "line_too_long")]
    assert found.records == 5


def test_a_truncated_file_gives_the_pairs_before_and_counts_the_lines_after(tmp_path: Path) -> None:
    english = b"".join(b"line %d of noise %d\n" % (number, number * 7919 % 10007) for number in range(20_000))
    packed = gzip.compress(english)
    write(tmp_path / "corpus.en.gz", packed[: len(packed) // 2])
    write(tmp_path / "corpus.de", "".join(f"Zeile {number}\n" for number in range(20_000)))
    found = read(tmp_path)
    assert 1000 < len(found.pairs) < 19_000
    assert all(query.startswith(positive.replace("Zeile", "line") + " ") for query, positive in found.sides)
    assert [reason for _, _, reason in found.reasons] == ["truncated_file"]
    assert found.records == 20_000


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    peaks = []
    for lines in (1000, 800_000, 1_600_000):  # the first fills caches
        folder = tmp_path / str(lines)
        folder.mkdir()
        corpus(folder, de="Das ist eine Zeile.\n" * lines, en="This is a line.\n" * lines)
        peaks.append(peak_memory(folder, lines))
    assert peaks[2] < 1.2 * peaks[1]


def peak_memory(folder: Path, lines: int) -> int:
    source = load_source("aligned_lines")
    settings = source.Settings()
    (file,) = source.gather(expand_paths([str(folder)]), settings)
    (split,) = source.input_splits(file, settings, 1 << 20)
    tracemalloc.start()
    assert sum(step.pairs.num_rows for step in source.read(split, settings)) == lines
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
