"""OPUS's Moses archives."""

import zipfile
from pathlib import Path

import pytest

from sources.files.reading import expand_paths
from sources.source import SourceError
from tests.sources.reading_all import Everything, write


def write_zip(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def read(*paths: Path, **settings: object) -> Everything:
    return Everything("opus_moses", [Path(path) for path in expand_paths([str(path) for path in paths])], **settings)


TEXTS = {"Toy.de-en.de": "Hund\nKatze\n", "Toy.de-en.en": "dog\ncat\n"}


def test_an_archive_gives_its_bitext_and_its_licence_is_left_out(tmp_path: Path) -> None:
    archive = write_zip(
        tmp_path / "de-en.txt.zip", TEXTS | {"LICENSE": "free", "README": "a toy", "Toy.de-en.xml": "<x/>"}
    )
    found = read(archive)
    assert found.sides == [("Hund", "dog"), ("Katze", "cat")]
    assert [(pair["query_lang"], pair["positive_lang"]) for pair in found.pairs] == [("deu_Latn", "eng_Latn")] * 2
    assert [pair["document_id"] for pair in found.pairs] == ["Toy.de-en:1", "Toy.de-en:2"]


def test_the_order_of_the_pair_does_not_depend_on_the_alphabet(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", {"Toy.sv-de.de": "Hund\n", "Toy.sv-de.sv": "hund\n"})
    assert read(archive).sides == [("hund", "Hund")]


def test_codes_with_underscores_and_odd_ones_are_read(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", {"S.ze_en-zh_TW.ze_en": "dog\n", "S.ze_en-zh_TW.zh_TW": "狗\n"})
    (pair,) = read(archive).pairs
    assert (pair["query_lang"], pair["positive_lang"]) == ("eng_Latn", "zho_Hant")
    (pair,) = read(archive, source_language="en-GB", target_language="yue").pairs
    assert (pair["query_lang"], pair["positive_lang"]) == ("eng_Latn", "yue_Hant")


def test_scores_become_the_margin_and_ids_the_document(tmp_path: Path) -> None:
    ids = "de/a.xml.gz\ten/b.xml.gz\t1\t1\nde/c.xml.gz\ten/d.xml.gz\t4\t5\n"
    archive = write_zip(tmp_path / "x.zip", TEXTS | {"Toy.de-en.scores": "1.25\nnone\n", "Toy.de-en.ids": ids})
    found = read(archive)
    assert [pair["scores"]["bitext_margin"] for pair in found.pairs] == [1.25, None]
    assert [pair["document_id"] for pair in found.pairs] == ["Toy.de-en:de/a.xml.gz", "Toy.de-en:de/c.xml.gz"]


def test_scores_of_another_number_of_lines_refuse_the_bitext(tmp_path: Path) -> None:
    found = read(write_zip(tmp_path / "x.zip", TEXTS | {"Toy.de-en.scores": "1.25\n"}))
    assert (found.pairs, found.reasons) == ([], [("line", 1, "unequal_line_counts")])


def test_several_archives_are_several_bitexts(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", TEXTS)
    write_zip(tmp_path / "b.zip", {"Toy.en-fr.en": "dog\n", "Toy.en-fr.fr": "chien\n"})
    assert sorted(read(tmp_path).sides) == [("Hund", "dog"), ("Katze", "cat"), ("dog", "chien")]


def test_files_beside_each_other_need_no_archive(tmp_path: Path) -> None:
    for name, text in TEXTS.items():
        write(tmp_path / name, text)
    assert read(tmp_path).sides == [("Hund", "dog"), ("Katze", "cat")]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Toy.de-en.de": "x"}, r"Toy\.de-en\.de: 1 texts of this bitext, expected 2"),
        (TEXTS | {"Other.de-fr.scores": "1"}, r"Other\.de-fr\.scores: no texts beside it"),
        (TEXTS | {"corpus.de": "x"}, r"corpus\.de: the name is none of OPUS's Moses files"),
    ],
)
def test_files_that_stand_alone_are_named(tmp_path: Path, members: dict[str, str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(write_zip(tmp_path / "x.zip", members))
