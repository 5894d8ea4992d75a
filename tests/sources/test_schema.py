"""The row types: normalisation, ids, rejects, quarantine."""

import re
import unicodedata
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.schema import PAIR, QuarantineRows, make_pairs, normalise_text, pair_ids, split_rejects

# Characters that the two Unicode versions at hand both know, and many of those that NFC and white space care about.
ASSIGNED = st.characters(exclude_categories=("Cs", "Cn"))
TRICKY = st.sampled_from(
    [
        *"ab \n\t\r\x0b\x00\x1c\x85\x7f",
        *"\xa0\xad\u200b\u200d\u200e\u2028\u202f\u3000\ufeff\ufffe",
        *"eéêиА가각힣क़ड़ফ",
        *"़्̧̣́̂̆াౖ각ệÅΩ豈陋",
    ]
)
TEXTS = st.text(st.one_of(ASSIGNED, TRICKY, TRICKY, TRICKY), max_size=12)
DROPPED = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)


def plain(text: str) -> str:
    """What normalise_text should give, in plain Python."""
    return " ".join(unicodedata.normalize("NFC", DROPPED.sub("", text)).split())


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.one_of(st.none(), TEXTS), max_size=20))
def test_normalised_text_is_that_of_plain_python(texts: list[str | None]) -> None:
    expected = [None if text is None else plain(text) for text in texts]
    assert normalise_text(pa.array(texts, pa.string())).to_pylist() == expected


LONG_PARTS = st.sampled_from(
    ["a plain run of words ", "without-any-space~", " ", "  ", "\n", "\x7f", "\x1f!", "é", "x"]
)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.lists(LONG_PARTS, max_size=8).map("".join), max_size=6))
def test_long_runs_of_plain_text_are_tidied_as_short_ones(texts: list[str]) -> None:
    assert normalise_text(pa.array(texts, pa.string())).to_pylist() == [plain(text) for text in texts]


@settings(deadline=None)  # the first call compiles
@given(st.lists(TEXTS, max_size=20))
def test_normalising_twice_changes_nothing_more(texts: list[str]) -> None:
    once = normalise_text(pa.array(texts, pa.string()))
    assert normalise_text(once).equals(once)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("e\u0301te\u0301", "été"),
        ("\u1112\u1161\u11ab", "한"),
        ("q\u0307\u0323", "q\u0323\u0307"),
        ("\u212b", "Å"),
        ("\ufeffa\x00b\u00ad c", "ab c"),
        (" a \n\t b\u3000c ", "a b c"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("", ""),
    ],
)
def test_text_is_composed_and_folded(raw: str, clean: str) -> None:
    assert normalise_text(pa.array([raw])).to_pylist() == [clean]


def test_an_empty_batch_and_all_nulls_are_left_alone() -> None:
    assert normalise_text(pa.array([], pa.string())).to_pylist() == []
    assert normalise_text(pa.array([None, None], pa.string())).to_pylist() == [None, None]


def test_a_slice_of_a_longer_array_is_normalised_as_such() -> None:
    texts = pa.array(["x  y", "a  b", "c"])
    assert normalise_text(texts.slice(1)).to_pylist() == ["a b", "c"]


def test_pairs_with_an_empty_or_equal_side_are_rejected_by_reason() -> None:
    pairs, rejects = make_pairs(
        query=["q", " \n", "q", "same ", None],
        positive=["p", "p", "\u00ad", "same", "p"],
        kind="question_answer",
        source="s",
        document_id=["1", "2", "3", "4", "5"],
    )
    assert pairs.column("document_id").to_pylist() == ["1"]
    assert dict(zip(rejects.column("document_id").to_pylist(), rejects.column("reason").to_pylist(), strict=True)) == {
        "2": "empty_query",
        "3": "empty_positive",
        "4": "query_equals_positive",
        "5": "empty_query",
    }


def test_a_side_given_as_a_dictionary_makes_the_same_pairs() -> None:
    query, positive = ["a", "a", "b", "b"], ["x  y", "x  y", None, "b"]
    facts: dict[str, Any] = {"kind": "other", "source": "s", "document_id": list("1234")}
    plain_sides = make_pairs(query=query, positive=positive, **facts)
    columns = [pa.array(side, pa.string()).dictionary_encode() for side in (query, positive)]
    assert make_pairs(query=columns[0], positive=columns[1], **facts) == plain_sides


def test_negatives_are_normalised_and_lose_the_empty_and_the_positive() -> None:
    pairs, _ = make_pairs(
        query=["q", "r", "s", "t"],
        positive=["p", "p", "p", "p"],
        negatives=[[" n  1", "p ", "", "n2"], None, [], [" "]],
        kind="other",
        source="s",
        document_id=["1", "2", "3", "4"],
    )
    assert pairs.column("negatives").to_pylist() == [["n 1", "n2"], None, [], []]


@pytest.mark.parametrize(("kind", "symmetric"), [("parallel", True), ("paraphrase", True), ("title_body", False)])
def test_a_pair_is_symmetric_as_its_kind_is(kind: str, symmetric: bool) -> None:
    pairs, _ = make_pairs(query=["q"], positive=["p"], kind=kind, source="s", document_id=["1"])
    assert pairs.column("symmetric").to_pylist() == [symmetric]
    assert pairs.schema.equals(PAIR)


def test_split_rejects_keeps_every_row_on_one_side() -> None:
    pairs, _ = make_pairs(
        query=["a", "b", "c"], positive=["x", "y", "z"], kind="other", source="s", document_id=["1"] * 3
    )
    kept, dropped = split_rejects(pairs, pa.array([None, "too_short", None], pa.string()))
    assert kept.column("query").to_pylist() == ["a", "c"]
    assert dropped.select(["query", "reason"]).to_pylist() == [{"query": "b", "reason": "too_short"}]
    kept, dropped = split_rejects(pairs, pa.nulls(3, pa.string()))
    assert (len(kept), len(dropped)) == (3, 0)


def test_pair_ids_tell_apart_rows_whose_fields_join_to_one_text() -> None:
    one, two = (
        pair_ids(*(pa.array([field]) for field in fields))[0].as_py()
        for fields in (("s", "d", "k", "ab", "c"), ("s", "d", "k", "a", "bc"))
    )
    assert one != two
    assert len(one) == 16


def test_quarantine_shows_bytes_that_are_no_text_as_escapes() -> None:
    rows = QuarantineRows("s", "f", "line")
    rows.add(3, "invalid_utf8", b"a\xff\x00\n")
    rows.add(4, "bad", "x" * 999, unit="byte")
    first, second = rows.take().to_pylist()
    assert (first["position"], first["unit"], first["excerpt"]) == (3, "line", "a\\xff\\x00\\n")
    assert (second["unit"], len(second["excerpt"])) == ("byte", 200)
    assert len(rows) == 0
