"""Negatives that stand in records of their own are gathered by query, in bounded memory."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.families.negatives import NegativesWindow, RawNegative
from sources.record_formats import Record
from sources.records import Layout, NegativesSettings, RawPair, record_source
from sources.schema import PAIR
from sources.source import Source
from tests.sources.reading_all import write


def judged(record: Record, settings: NegativesSettings) -> Iterator[RawPair | RawNegative]:
    if record["right"]:
        yield RawPair(record["query"], record["text"])
    else:
        yield RawNegative(record["query"], record["text"])


def made() -> Source:
    facts = dict.fromkeys(("summary", "languages", "layout", "license", "obtain", "verified"), "")
    return record_source(
        name="judged",
        kinds=("nli",),
        layouts=(Layout({"query": str, "text": str, "right": bool}, judged),),
        Settings=NegativesSettings,
        gathers_negatives=True,
        **facts,
    )


def read(path: Path, **settings: int) -> tuple[list[dict[str, object]], int, int]:
    """Pairs, records, splits."""
    source = made()
    chosen = source.Settings(**settings)
    splits = source.splits(str(path), chosen, 100)
    steps = [step for split in splits for step in source.read(split, chosen)]
    pairs = pa.Table.from_batches([step.pairs for step in steps], PAIR).to_pylist()
    return pairs, sum(step.records for step in steps), len(splits)


def lines(rows: list[tuple[str, str, bool]]) -> str:
    return "".join(json.dumps({"query": query, "text": text, "right": right}) + "\n" for query, text, right in rows)


def test_negatives_far_from_their_pairs_are_found_before_and_after_them(tmp_path: Path) -> None:
    rows = [(f"q{n}", f"{what} {n}", what == "yes") for n in range(6000) for what in ("no", "yes", "nay")]
    random.Random(1).shuffle(rows)
    pairs, records, splits = read(write(tmp_path / "a.jsonl", lines(rows)))
    assert (records, splits) == (18000, 1)
    assert {(pair["query"], pair["positive"], frozenset(pair["negatives"])) for pair in pairs} == {
        (f"q{n}", f"yes {n}", frozenset({f"no {n}", f"nay {n}"})) for n in range(6000)
    }
    first_seen = list(dict.fromkeys(query for query, _, _ in rows))
    assert [pair["query"] for pair in pairs] == first_seen


def test_pairs_of_one_query_share_the_place_of_its_first_record(tmp_path: Path) -> None:
    rows = [("q", "no", False), ("p", "yes", True), ("q", "a", True), ("q", "b", True)]
    pairs, _, _ = read(write(tmp_path / "a.jsonl", lines(rows)))
    second = lines(rows[:1])
    assert [(pair["positive"], pair["document_id"]) for pair in pairs] == [
        ("a", "a.jsonl:0"),
        ("b", "a.jsonl:0"),
        ("yes", f"a.jsonl:{len(second)}"),
    ]


def test_a_query_without_a_pair_gives_nothing_and_a_pair_without_negatives_has_none(tmp_path: Path) -> None:
    pairs, records, _ = read(write(tmp_path / "a.jsonl", lines([("q", "no", False), ("p", "yes", True)])))
    assert [(pair["positive"], pair["negatives"]) for pair in pairs] == [("yes", None)]
    assert records == 2


def test_only_the_first_negatives_are_kept_and_none_twice(tmp_path: Path) -> None:
    rows = [("q", "yes", True), *(("q", f"no {n // 2}", False) for n in range(20))]
    path = write(tmp_path / "a.jsonl", lines(rows))
    assert read(path, max_negatives=3)[0][0]["negatives"] == ["no 0", "no 1", "no 2"]
    assert read(path, max_negatives=0)[0][0]["negatives"] is None


def test_a_positive_is_no_negative_of_its_query(tmp_path: Path) -> None:
    rows = [("q", "yes", True), ("q", "yes too", False), ("q", "no", False), ("q", "yes too", True)]
    pairs, _, _ = read(write(tmp_path / "a.jsonl", lines(rows)))
    assert [(pair["positive"], pair["negatives"]) for pair in pairs] == [("yes", ["no"]), ("yes too", ["no"])]


def test_a_full_window_lets_the_oldest_queries_go_and_loses_no_pair(tmp_path: Path) -> None:
    rows = [(f"q{n}", "yes", True) for n in range(9000)] + [("q0", "no", False), ("q8999", "no", False)]
    pairs, _, _ = read(write(tmp_path / "a.jsonl", lines(rows)), window_bytes=1_000_000)
    assert [pair["query"] for pair in pairs] == [f"q{n}" for n in range(9000)]
    assert [pair["query"] for pair in pairs if pair["negatives"]] == ["q8999"]


@pytest.mark.parametrize("other", [{"query": "r"}, {"kind": "paraphrase"}, {"query_language": "de"}])
def test_only_negatives_of_the_same_query_kind_and_language_count(other: dict[str, str]) -> None:
    window = NegativesWindow(1 << 20, 16)
    window.add(RawPair("q", "yes", "nli", query_language="en"), "f:0")
    window.add(RawNegative("q", "no", "nli", "en")._replace(**other), "f:1")
    (pair,) = window.take(last=True)
    assert pair.negatives is None


judgements = st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("abcdef"), st.booleans()))


@given(judgements, st.integers(1, 5000))
def test_every_pair_leaves_the_window_once(rows: list[tuple[str, str, bool]], limit: int) -> None:
    window = NegativesWindow(limit, 4)
    left: list[tuple[str | None, str | None]] = []
    for number, (query, text, right) in enumerate(rows):
        window.add(RawPair(query, text) if right else RawNegative(query, text), f"f:{number}")
        left += [(pair.query, pair.positive) for pair in window.take()]
    left += [(pair.query, pair.positive) for pair in window.take(last=True)]
    assert sorted(left, key=str) == sorted(((query, text) for query, text, right in rows if right), key=str)
