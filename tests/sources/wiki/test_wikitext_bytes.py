"""Names as numbers: the table made in Python is the one the loops look up in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.wiki.wikitext_bytes import hash_exactly, hash_name, look_up, make_table
from sources.wiki.wikitext_names import LANGUAGES, TEMPLATES, namespace_names


def number_of(name: str, numbers: dict[bytes, int]) -> int:
    data = np.frombuffer(b"<" + name.encode() + b">", np.uint8)
    return int(look_up(make_table(numbers), hash_name(data, 1, len(data) - 1)))


@settings(deadline=None)  # the first call compiles
@given(st.dictionaries(st.binary(min_size=1, max_size=80), st.integers(1, 99), max_size=30), st.binary(max_size=90))
def test_every_name_has_its_number_and_others_have_none(numbers: dict[bytes, int], other: bytes) -> None:
    table = make_table(numbers)
    for name in [*numbers, other]:
        data = np.frombuffer(name, np.uint8)
        assert look_up(table, hash_exactly(data, 0, len(data))) == numbers.get(name, 0)


@pytest.mark.parametrize("form", ["as of", "As_of", " as  of\n", "AS OF", "a\x04s of"])
def test_case_spaces_and_marks_make_no_difference_to_a_name(form: str) -> None:
    assert number_of(form, {b"as of": 7}) == 7


@pytest.mark.parametrize("form", ["asof", "as of x", "", "x" * 81])
def test_another_name_is_another_name(form: str) -> None:
    assert number_of(form, {b"as of": 7, b"x" * 81: 8}) == 0


def test_the_names_of_templates_are_as_they_are_looked_up() -> None:
    for name, action in TEMPLATES.items():
        assert number_of(name.decode(), TEMPLATES) == action, name


@pytest.mark.parametrize("form", ["Файл", "файл", "ФАЙЛ", "file", "FILE", "thể loại", "Thể_loại", "zh-min-nan"])
def test_namespaces_are_known_in_every_case(form: str) -> None:
    assert number_of(form, namespace_names(["Файл", "Thể_loại"])) == 1


@pytest.mark.parametrize("form", ["csi", "star trek", "ncis", "wikt", "w", "s", "n"])
def test_prefixes_of_titles_and_sister_projects_are_no_languages(form: str) -> None:
    assert form not in LANGUAGES
