"""Titles that texts hold themselves."""

import pytest

from sources.families.own_title import OwnTitleSettings, own_title, own_title_pairs, without_title

HEADING = OwnTitleSettings()
ANY_LINE = OwnTitleSettings(title_rule="first_line")
NONE = OwnTitleSettings(title_rule="none")


def test_the_first_line_is_the_title_and_the_rest_the_body() -> None:
    assert own_title("\n  How to mill \r\n\n Take grain.\nMill it.\n", HEADING) == (
        "How to mill",
        "Take grain.\nMill it.\n",
    )


@pytest.mark.parametrize(
    "text",
    [
        "How to mill | Our site\nHow to mill\nTake grain.",
        "Our site - How to mill\n\n  How to mill  \n Take grain.",
        "How to mill\nHow to mill\r\nTake grain.",
    ],
)
def test_a_second_line_that_repeats_the_title_is_the_title_and_no_body(text: str) -> None:
    assert own_title(text, HEADING) == ("How to mill", "Take grain.")


def test_a_second_line_that_is_less_than_half_of_the_first_stays_in_the_body() -> None:
    text = "Mills of the world and how they grind\nMills\nThey grind."
    assert own_title(text, HEADING) == ("Mills of the world and how they grind", "Mills\nThey grind.")


@pytest.mark.parametrize("ending", [".", "...", "…", "。", "।", "؛:", ",", "።", '."', ".)", "。」"])
def test_a_line_that_ends_as_a_sentence_does_is_a_title_only_where_any_line_is(ending: str) -> None:
    text = f"The mill grinds{ending}\nIt stands by the river."
    assert own_title(text, HEADING) is None
    assert own_title(text, ANY_LINE) == (f"The mill grinds{ending}", "It stands by the river.")


@pytest.mark.parametrize("ending", ["", "!", "?", "？", ")", '"'])
def test_questions_exclamations_and_plain_words_may_be_titles(ending: str) -> None:
    title = f"The mill grinds{ending}"
    assert own_title(f"{title}\nIt stands by the river.", HEADING) == (title, "It stands by the river.")


def test_lines_shorter_or_longer_than_allowed_are_no_titles() -> None:
    limits = OwnTitleSettings(min_title_characters=3, max_title_characters=6)
    found = {title: own_title(f"{title}\nIt grinds.", limits) for title in ("ab", "abc", "abcdef", "abcdefg", "a" * 90)}
    assert [title for title, own in found.items() if own] == ["abc", "abcdef"]


def test_a_long_line_whose_second_half_is_repeated_gives_the_short_title() -> None:
    limits = OwnTitleSettings(max_title_characters=12)
    assert own_title("How to mill | Our site\nHow to mill\nTake grain.", limits) == ("How to mill", "Take grain.")


@pytest.mark.parametrize("text", ["Only a title", "Only a title\n \n", "How to mill | Site\nHow to mill\n", ""])
def test_a_text_without_body_has_no_title(text: str) -> None:
    assert own_title(text, HEADING) is None


def test_no_rule_no_pair() -> None:
    assert own_title("How to mill\nTake grain.", NONE) is None
    assert list(own_title_pairs("How to mill\nTake grain.", NONE)) == []
    assert list(own_title_pairs("", NONE)) == []


def test_the_title_of_the_record_comes_before_that_of_the_text() -> None:
    (pair,) = own_title_pairs("Mill\nIt grinds.", HEADING, title="Mill", language="en", document_id="d", url="u")
    assert (pair.query, pair.positive, pair.kind) == ("Mill", "\nIt grinds.", "title_body")
    assert (pair.query_language, pair.positive_language, pair.document_id, pair.url) == ("en", "en", "d", "u")
    (pair,) = own_title_pairs("Mills\nThey grind.", HEADING, title=" ")
    assert (pair.query, pair.positive) == ("Mills", "They grind.")


def test_an_empty_text_is_a_pair_of_nothing_that_becomes_a_reject() -> None:
    assert [(pair.query, pair.positive) for text in (None, " \n") for pair in own_title_pairs(text, HEADING)] == [
        (None, None)
    ] * 2


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Mill\nIt grinds.", "\nIt grinds."),
        (" \nMill\r\nIt grinds.", "\r\nIt grinds."),
        ("Mill", ""),
        ("Mill is a place.", "Mill is a place."),
        ("Mills\nThey grind.", "Mills\nThey grind."),
        ("The Mill\nIt grinds.", "The Mill\nIt grinds."),
        ("", ""),
        (None, None),
    ],
)
def test_a_title_is_taken_off_where_it_is_the_whole_first_line(text: str | None, left: str | None) -> None:
    assert without_title("Mill", text) == left


def test_without_a_title_nothing_is_taken_off() -> None:
    assert without_title(None, "\nMill") == "\nMill"
    assert without_title("", "\nMill") == "\nMill"


def test_megabytes_of_white_space_are_passed_over_at_once() -> None:
    text = "A title" + "\n" * (8 << 20) + "body"
    assert own_title(text, OwnTitleSettings()) == ("A title", "body")
