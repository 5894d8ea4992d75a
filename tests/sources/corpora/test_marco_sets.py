"""MS MARCO and its translations."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.schema import text_id
from sources.source import SourceError
from tests.sources.judged_folder import folder, lines, read_folder, table

COLLECTION = table(("0", "Cats sleep."), ("1", 'A "dog" barks.'), ("2", "Fish swim."), ("3", "Birds fly."))
FILES = {
    "collection.tsv": COLLECTION,
    "queries.train.tsv": table(("10", "what barks"), ("11", "who sleeps"), ("12", "not judged")),
    "queries.dev.tsv": table(("20", "what swims")),
    "qrels.train.tsv": table(("10", 0, "1", 1), ("11", 0, "0", 1)),
    "qrels.dev.small.tsv": table(("20", 0, "2", 1)),
}


def test_judgements_pair_the_queries_with_their_passages(tmp_path: Path) -> None:
    found = read_folder("msmarco", folder(tmp_path, FILES))
    assert found.sides == [("what barks", 'A "dog" barks.'), ("who sleeps", "Cats sleep.")]
    assert [pair["document_id"] for pair in found.pairs] == ["msmarco:1", "msmarco:0"]
    assert {(pair["kind"], pair["query_lang"], pair["positive_lang"]) for pair in found.pairs} == {
        ("question_context", "eng_Latn", "eng_Latn")
    }
    assert read_folder("msmarco", tmp_path, split="dev").sides == [("what swims", "Fish swim.")]


def test_the_files_may_lie_in_the_archive_that_the_corpus_comes_as(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "collectionandqueries.tar.gz", "w:gz") as archive:
        for name, text in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    assert read_folder("msmarco", tmp_path).sides == [("what barks", 'A "dog" barks.'), ("who sleeps", "Cats sleep.")]


def test_triples_of_ids_give_the_negatives(tmp_path: Path) -> None:
    triples = table(("10", "1", "3"), ("11", "0", "2"), ("10", "1", "0"), ("10", "1", "3"), ("11", "0", "99"))
    place = folder(tmp_path, FILES | {"qidpidtriples.train.full.2.tsv.gz": triples})
    found = read_folder("msmarco", place)
    assert [pair["negatives"] for pair in found.pairs] == [["Birds fly.", "Cats sleep."], ["Fish swim."]]
    assert found.reasons == [("line", 5, "unknown_passage")]
    assert "the first is 99" in found.quarantine[0]["excerpt"]


def test_triples_of_ids_alone_give_each_pair_once_with_all_its_negatives(tmp_path: Path) -> None:
    files = {name: text for name, text in FILES.items() if not name.startswith("qrels")}
    triples = table(("10", "1", "3"), ("11", "0", "2"), ("bad",), ("10", "1", "2"))
    found = read_folder("msmarco", folder(tmp_path, files | {"qidpidtriples.train.full.2.tsv": triples}))
    assert found.sides == [("what barks", 'A "dog" barks.'), ("who sleeps", "Cats sleep.")]
    assert [pair["negatives"] for pair in found.pairs] == [["Birds fly.", "Fish swim."], ["Fish swim."]]
    assert [pair["label"] for pair in found.pairs] == [None, None]
    assert found.reasons == [("line", 3, "wrong_number_of_columns")]
    assert found.records == 4


def test_triples_of_texts_are_pairs_with_one_negative_each(tmp_path: Path) -> None:
    triples = table(("q", "p", "n"), ("q", "p"), ("r", "p", "m"))
    found = read_folder("msmarco", folder(tmp_path, {"triples.train.small.tsv": triples}))
    assert [(*sides, pair["negatives"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("q", "p", ["n"]),
        ("r", "p", ["m"]),
    ]
    assert {pair["document_id"] for pair in found.pairs} == {f"msmarco:{text_id('p').hex()}"}
    assert found.reasons == [("line", 2, "wrong_number_of_columns")]


def test_a_collection_that_lacks_is_named(tmp_path: Path) -> None:
    files = {name: text for name, text in FILES.items() if name != "collection.tsv"}
    with pytest.raises(
        SourceError, match=r"qrels\.train\.tsv found, but none of its passages .* expected collection\.tsv"
    ):
        read_folder("msmarco", folder(tmp_path, files))


def test_each_language_of_mmarco_has_its_own_queries_and_collection(tmp_path: Path) -> None:
    place = folder(
        tmp_path,
        {
            "google/collections/german_collection.tsv": table(("0", "Katzen schlafen."), ("1", "Hunde bellen.")),
            "google/collections/chinese_collection.tsv": table(("0", "猫睡觉。"), ("1", "狗叫。")),
            "google/queries/train/german_queries.train.tsv": table(("10", "wer schläft")),
            "google/queries/train/chinese_queries.train.tsv": table(("10", "谁睡觉")),
            "google/queries/dev/german_queries.dev.tsv": table(("20", "wer bellt")),
            "triples.train.ids.small.tsv": table(("10", "0", "1")),
        },
    )
    found = read_folder("mmarco", place)
    assert [(*sides, pair["negatives"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("谁睡觉", "猫睡觉。", ["狗叫。"]),
        ("wer schläft", "Katzen schlafen.", ["Hunde bellen."]),
    ]
    assert [pair["query_lang"] for pair in found.pairs] == ["zho_Hans", "deu_Latn"]
    assert [pair["document_id"] for pair in found.pairs] == ["mmarco:0", "mmarco:0"]
    assert len({split.path for split in found.splits}) == 2


def test_judgements_of_ms_marco_serve_every_language(tmp_path: Path) -> None:
    place = folder(
        tmp_path,
        {
            "qrels.dev.small.tsv": table(("20", 0, "1", 1)),
            "german_queries.dev.small.tsv": table(("20", "wer bellt")),
            "german_collection.tsv": table(("0", "Katzen schlafen."), ("1", "Hunde bellen.")),
        },
    )
    assert read_folder("mmarco", place, split="dev").sides == [("wer bellt", "Hunde bellen.")]


def test_rows_of_mmarco_are_pairs_in_the_language_of_their_folder(tmp_path: Path) -> None:
    rows = [{"query": "谁叫", "positive": "狗叫。", "negative": "猫睡觉。"}, {"query": "q", "positive": 4}]
    place = folder(tmp_path, {"chinese/train.jsonl": lines(*rows)})
    (tmp_path / "german").mkdir()
    table_of_rows = pa.table({"query": ["wer"], "positive": ["Hunde"], "negative": [None]})
    pq.write_table(table_of_rows, tmp_path / "german/train-00000-of-00001.parquet")
    found = read_folder("mmarco", place)
    assert [(*sides, pair["negatives"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("谁叫", "狗叫。", ["猫睡觉。"]),
        ("wer", "Hunde", None),
    ]
    assert [pair["positive_lang"] for pair in found.pairs] == ["zho_Hans", "deu_Latn"]
    assert found.reasons == [("line", 2, "wrong_type")]
