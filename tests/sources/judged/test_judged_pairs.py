"""What every source of judgements does, shown with BEIR's layout and MS MARCO's."""

from pathlib import Path
from typing import Any

import pytest

from sources.source import SourceError
from tests.sources.judged_folder import folder, lines, read_folder, table
from tests.sources.reading_all import Everything

CORPUS = [
    {"_id": "d1", "title": "Tides", "text": "The moon pulls the sea.", "metadata": {"url": "https://sea.example/1"}},
    {"_id": "d2", "title": "", "text": "Ferries wait for high water."},
    {"_id": "d3", "title": "Mills", "text": "A mill turns."},
    {"_id": "d4", "title": "Bread", "text": "Dough rises."},
    {"_id": "d5", "text": "Nobody judged this."},
]
QUERIES = [
    {"_id": "q1", "text": "what pulls the sea"},
    {"_id": "q2", "text": "when do ferries sail"},
    {"_id": "q3", "text": ""},
]
HEADER = ("query-id", "corpus-id", "score")
QRELS = [HEADER, ("q2", "d2", 1), ("q1", "d1", 2), ("q1", "d3", 0), ("q1", "d4", 0), ("q2", "d3", -1)]


def sea(place: Path, qrels: Any = QRELS, corpus: Any = CORPUS, **more: str) -> Path:
    files = {
        "sea/corpus.jsonl.gz": lines(*corpus),
        "sea/queries.jsonl": lines(*QUERIES),
        "sea/qrels/train.tsv": table(*qrels),
    }
    return folder(place, files | more)


def test_pairs_come_in_the_order_of_the_judgements_with_grade_url_and_negatives(tmp_path: Path) -> None:
    found = read_folder("beir", sea(tmp_path), language="en", license="CC0-1.0")
    assert found.sides == [
        ("when do ferries sail", "Ferries wait for high water."),
        ("what pulls the sea", "Tides The moon pulls the sea."),
    ]
    ferries, tides = found.pairs
    assert [pair["document_id"] for pair in found.pairs] == ["beir:sea:d2", "beir:sea:d1"]
    assert (ferries["label"], tides["label"]) == (1.0, 2.0)
    assert (ferries["url"], tides["url"]) == (None, "https://sea.example/1")
    assert ferries["negatives"] == ["Mills A mill turns."]
    assert tides["negatives"] == ["Mills A mill turns.", "Bread Dough rises."]
    assert {pair["query_lang"] for pair in found.pairs} == {"eng_Latn"}
    assert {pair["license"] for pair in found.pairs} == {"CC0-1.0"}
    assert (found.records, found.quarantine, found.rejects) == (5, [], [])


def test_titles_negatives_and_grades_are_as_the_settings_say(tmp_path: Path) -> None:
    place = sea(tmp_path)
    found = read_folder("beir", place, with_title=False, max_negatives=1)
    assert [pair["negatives"] for pair in found.pairs] == [["A mill turns."], ["A mill turns."]]
    assert read_folder("beir", place, max_negatives=0).pairs[1]["negatives"] is None
    strict = read_folder("beir", place, min_grade=2, max_negative_grade=1)
    assert strict.sides == [("what pulls the sea", "Tides The moon pulls the sea.")]
    all_of_them = read_folder("beir", place, min_grade=0)
    assert len(all_of_them.pairs) == 4
    assert [pair["negatives"] for pair in all_of_them.pairs if pair["query"].startswith("what")] == [None] * 3


def test_judged_ids_without_a_text_are_quarantined_at_their_line(tmp_path: Path) -> None:
    rows = [*QRELS, ("q9", "d1", 1), ("q1", "d9", 1), ("q1", "d8", 0), ("q8", "d8", 1)]
    found = read_folder("beir", sea(tmp_path, rows))
    assert sorted(found.reasons) == [
        ("line", 7, "unknown_query"),
        ("line", 8, "unknown_passage"),
        ("line", 9, "unknown_passage"),
        ("line", 10, "unknown_query"),
    ]
    assert {row["file"].rpartition("/")[2] for row in found.quarantine} == {"train.tsv"}
    assert {row["excerpt"] for row in found.quarantine} == {"q9", "d9", "d8", "q8"}
    assert (len(found.pairs), found.records) == (2, 9)


def test_empty_texts_are_rejects_and_not_lost(tmp_path: Path) -> None:
    corpus = [*CORPUS, {"_id": "d6", "title": None, "text": None}]
    found = read_folder("beir", sea(tmp_path, [HEADER, ("q3", "d1", 1), ("q1", "d6", 1), ("q1", "d1", 1)], corpus))
    assert [(row["document_id"], row["reason"]) for row in found.rejects] == [
        ("beir:sea:d1", "empty_query"),
        ("beir:sea:d6", "empty_positive"),
    ]
    assert len(found.pairs) == 1


def test_bad_rows_of_every_file_are_quarantined(tmp_path: Path) -> None:
    place = sea(tmp_path, [*QRELS, ("q1", "d2"), ("q1", "d2", "high")])
    (place / "sea/queries.jsonl").write_text(lines(*QUERIES) + '{"_id": "q4"}\nnot json\n')
    found = read_folder("beir", place)
    reasons = sorted((row["file"].rpartition("/")[2], row["position"], row["reason"]) for row in found.quarantine)
    assert reasons == [
        ("queries.jsonl", 4, "missing_field"),
        ("queries.jsonl", 5, "invalid_json"),
        ("train.tsv", 7, "wrong_number_of_columns"),
        ("train.tsv", 8, "wrong_type"),
    ]
    assert found.records == 5 + 4
    assert len(found.pairs) == 2


def test_the_first_text_of_an_id_counts(tmp_path: Path) -> None:
    corpus = [*CORPUS, {"_id": "d1", "title": "", "text": "Another text of the same id."}]
    assert "The moon pulls the sea." in read_folder("beir", sea(tmp_path, corpus=corpus)).pairs[1]["positive"]


def test_passages_that_nobody_judged_are_pairs_of_title_and_text_when_asked_for(tmp_path: Path) -> None:
    corpus = [*CORPUS, {"_id": "d7", "title": "Oars", "text": "Row with them."}]
    place = sea(tmp_path, corpus=corpus)
    found = read_folder("beir", place, kinds=("title_body",), language="en")
    assert [(pair["query"], pair["positive"], pair["kind"], pair["document_id"]) for pair in found.pairs] == [
        ("Oars", "Row with them.", "title_body", "beir:sea:d7")
    ]
    both = read_folder("beir", place, kinds=("title_body", "question_context"))
    assert [pair["kind"] for pair in both.pairs] == ["title_body", "question_context", "question_context"]
    with pytest.raises(SourceError, match="no pairs of kind 'chat'"):
        read_folder("beir", place, kinds=("chat",))


def test_documents_are_the_passages_that_make_pairs_each_once(tmp_path: Path) -> None:
    rows = [HEADER, ("q1", "d1", 1), ("q2", "d1", 1), ("q2", "d2", 1)]
    found = read_folder("beir", sea(tmp_path, rows), documents=True, language="en")
    documents = [(row["document_id"], row["title"], row["text"], row["url"]) for row in found.documents]
    assert documents == [
        ("beir:sea:d1", "Tides", "The moon pulls the sea.", "https://sea.example/1"),
        ("beir:sea:d2", None, "Ferries wait for high water.", None),
    ]
    assert {row["language"] for row in found.documents} == {"eng_Latn"}


def test_texts_of_another_corpus_are_refused_with_both_kinds_of_ids(tmp_path: Path) -> None:
    corpus = [{"_id": "x-1", "title": "", "text": "t"}]
    with pytest.raises(SourceError, match=r"no text of the 4 judged ids of .*train\.tsv: they begin 'd2', .* 'x-1'"):
        read_folder("beir", sea(tmp_path, corpus=corpus))


def test_a_folder_without_judgements_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    place = folder(tmp_path, {"notes.txt": "x", "corpus.jsonl": "{}"})
    with pytest.raises(SourceError, match=r"none of the 2 files is one of judgements of 'train': expected qrels/"):
        read_folder("beir", place)


def test_no_judgement_at_all_gives_nothing(tmp_path: Path) -> None:
    found = read_folder("beir", sea(tmp_path, [HEADER]))
    assert (found.pairs, found.quarantine, found.records) == ([], [], 0)


def test_steps_are_bounded_by_the_size_of_their_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 300
    corpus = [{"_id": f"d{number}", "title": "", "text": f"{number} " * 100} for number in range(count)]
    rows = [HEADER, *(("q1", f"d{number}", 1) for number in reversed(range(count)))]
    place = sea(tmp_path, rows, corpus)
    whole = read_folder("beir", place)
    monkeypatch.setattr("sources.judged.judged_pairs.STEP_BYTES", 3000)
    steps = read_folder("beir", place)
    assert whole.pairs == steps.pairs
    assert [pair["document_id"] for pair in steps.pairs] == [f"beir:sea:d{number}" for number in reversed(range(count))]


def test_a_corpus_that_is_cut_off_gives_its_whole_rows_and_says_so(tmp_path: Path) -> None:
    place = sea(tmp_path, corpus=[*CORPUS, *({"_id": f"x{number * 7919}", "text": "t"} for number in range(20_000))])
    path = place / "sea/corpus.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-5000])
    found = read_folder("beir", place)
    assert len(found.pairs) == 2
    assert [reason for _, _, reason in found.reasons] == ["truncated_file"]


def test_the_driving_file_is_one_split_with_its_companions(tmp_path: Path) -> None:
    found: Everything = read_folder("beir", sea(tmp_path), target_bytes=10)
    (split,) = found.splits
    assert [path.rpartition("/")[2] for path in (split.path, *split.companions)] == [
        "train.tsv",
        "queries.jsonl",
        "corpus.jsonl.gz",
    ]
