"""WikiAtomicEdits."""

import gzip
from pathlib import Path

import pytest

from sources.source import SourceError
from tests.sources.reading_all import Everything, write

ROWS = 'Das ist ein Haus .\tgroßes\tDas ist ein großes Haus .\nSie sang " leise .\tsehr\tSie sang " sehr leise .\n'


def table(folder: Path, language: str, rows: str, name: str = "insertions.tsv.gz") -> Path:
    (folder / language).mkdir()
    data = rows.encode()
    return write(folder / language / name, gzip.compress(data) if name.endswith(".gz") else data)


@pytest.mark.parametrize(("folder", "code"), [("german", "deu_Latn"), ("de", "deu_Latn"), ("chinese", "zho_Hans")])
def test_an_edit_is_a_pair_in_the_language_of_the_folder(tmp_path: Path, folder: str, code: str) -> None:
    found = Everything("wiki_atomic_edits", table(tmp_path, folder, ROWS))
    assert found.sides == [
        ("Das ist ein Haus .", "Das ist ein großes Haus ."),
        ('Sie sang " leise .', 'Sie sang " sehr leise .'),
    ]
    assert {(pair["kind"], pair["query_lang"], pair["positive_lang"]) for pair in found.pairs} == {("edit", code, code)}


def test_a_header_is_no_record(tmp_path: Path) -> None:
    path = table(tmp_path, "german", "base_sentence\tphrase\tedited_sentence\n" + ROWS, "deletions.tsv")
    for found in (Everything("wiki_atomic_edits", path), Everything("wiki_atomic_edits", path, target_bytes=60)):
        assert (len(found.pairs), found.records) == (2, 2)


def test_a_folder_that_is_no_language_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = table(tmp_path, "downloads", ROWS)
    with pytest.raises(SourceError, match="the folder 'downloads' is no language"):
        Everything("wiki_atomic_edits", path)
    assert {pair["query_lang"] for pair in Everything("wiki_atomic_edits", path, language="de").pairs} == {"deu_Latn"}
