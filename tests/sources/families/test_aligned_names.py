"""What the names of aligned files say."""

import pytest

from sources.families.aligned_names import AlignedName, aligned_name, name_pattern, stands_apart
from sources.source import SourceError


@pytest.mark.parametrize(
    ("path", "group", "language"),
    [
        ("a/corpus.en", "a/corpus.*", "en"),
        ("a/corpus.de.gz", "a/corpus.*", "de"),
        ("a/Tatoeba.deu-eng.eng", "a/Tatoeba.deu-eng.*", "eng"),
        ("x.zip!/OpenSubtitles.en-zh_CN.zh_CN", "x.zip!/OpenSubtitles.en-zh_CN.*", "zh_CN"),
        ("a/eng_Latn.dev", "a/*.dev", "eng_Latn"),
        ("a/zho_Hant.devtest", "a/*.devtest", "zho_Hant"),
        ("a/newstest2019-src.eng.txt", "a/newstest2019-*.*.txt", "eng"),
        ("a/newstest2019-ref.eng-GB.txt", "a/newstest2019-*.*.txt", "eng-GB"),
        ("a/fur_Latn", "a/*", "fur_Latn"),
        ("a/train.pt_br.txt", "a/train.*.txt", "pt_br"),
        ("a/dev.de", "a/dev.*", "de"),
    ],
)
def test_a_name_says_language_and_group(path: str, group: str, language: str) -> None:
    assert aligned_name(path) == AlignedName(group, language)


@pytest.mark.parametrize("path", ["a/corpus.en.labels", "a/metadata.tsv.info", "a/notes.markdown"])
def test_other_names_say_nothing(path: str) -> None:
    assert aligned_name(path) is None


def test_a_pattern_says_it_for_all_other_names() -> None:
    pattern = name_pattern("{language}/train*.txt")
    assert aligned_name("x/de/train-1.txt.gz", pattern) == AlignedName("x/*/train-1.txt.gz", "de")
    assert aligned_name("x/de/dev.txt", pattern) is None
    with pytest.raises(SourceError, match=r"must hold \{language\} once"):
        name_pattern("train.txt")


@pytest.mark.parametrize(
    ("path", "apart"), [("a/LICENSE", True), ("README.md", True), ("a.zip!/README", True), ("a/x.en", False)]
)
def test_licences_and_readmes_stand_apart(path: str, apart: bool) -> None:
    assert stands_apart(path) is apart
