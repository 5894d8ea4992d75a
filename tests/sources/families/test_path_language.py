"""Languages that paths name."""

import pytest

from sources.families.path_language import language_of_path
from sources.source import Split

language = language_of_path(r"(?:^|/)([a-z]{2,3})_part\.txt")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("corpus/de_part.txt.gz", "de"),
        ("de_part.txt", "de"),
        ("corpus.zip!/ast_part.txt", "ast"),
        ("corpus/node_part.txt", None),
        ("hub://owner/corpus?config=af&split=train", "af"),
        ("hub://owner/corpus?split=train&config=zh-Hant", "zh-Hant"),
        ("hub://owner/corpus?config=everything", None),
    ],
)
def test_the_language_is_found_in_a_path(path: str, found: str | None) -> None:
    assert language(Split(path)) == found


def test_the_name_that_a_split_has_of_its_own_counts_too() -> None:
    assert language(Split("0001.bin", name="fr_part.txt")) == "fr"
