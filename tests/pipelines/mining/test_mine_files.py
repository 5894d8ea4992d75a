import csv
import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import UserError
from pipelines.mining import blocks, encoding, engine
from pipelines.mining.bad_rows import MiningInputError
from pipelines.mining.work import Work
from sources.schema import make_pairs
from tests.pipelines.mining.conftest import MINILM, PAIRS, read_jsonl, write_jsonl
from trainer.encoder import Encoder, EncoderSettings


def lists(pairs=PAIRS):
    return [
        {"query": query, "pos": [positive], "neg": [], "n": number} for number, (query, positive) in enumerate(pairs)
    ]


def test_rows_come_back_in_their_order_with_the_nearest_other_positives(mine, tmp_path):
    rows, report = mine(write_jsonl(tmp_path / "pairs.jsonl", lists()))
    encoder = Encoder(EncoderSettings(model=MINILM))
    queries = encoder.encode([query for query, _ in PAIRS], "query").astype(np.float16).astype(np.float64)
    passages = encoder.encode([passage for _, passage in PAIRS], "passage").astype(np.float16).astype(np.float64)
    scores = queries @ passages.T
    for number, row in enumerate(rows):
        order = [place for place in np.argsort(-scores[number], kind="stable") if place != number][:2]
        assert (row["query"], row["pos"]) == (PAIRS[number][0], [PAIRS[number][1]])
        assert row["n"] == number
        assert row["neg"] == [PAIRS[place][1] for place in order]
        assert row["pos_scores"] == pytest.approx([scores[number, number]], abs=2e-3)
        assert row["neg_scores"] == pytest.approx(scores[number, order].tolist(), abs=2e-3)
        assert row["neg_ranks"] == [0, 1]
        assert row["neg_origins"] == ["dense", "dense"]
    assert report.inputs["passages"] == len(PAIRS)
    assert report.negatives_by_origin == {"dense": 2 * len(PAIRS)}


def test_the_positives_of_all_rows_of_a_query_are_no_negatives_of_any(mine, tmp_path):
    rows = [*lists(PAIRS[:3]), {"query": "what do bees make", "pos": ["Bees also make wax."], "neg": []}]
    mined, _ = mine(write_jsonl(tmp_path / "pairs.jsonl", rows), settings={"select": {"negatives": 9}})
    assert set(mined[0]["neg"]) == set(mined[3]["neg"]) == {PAIRS[1][1], PAIRS[2][1]}


def test_what_says_the_same_as_the_query_or_a_positive_is_no_negative(mine, tmp_path):
    corpus = [
        {"text": "what do bees make"},
        {"text": "HONEY is made by bees, from the nectar of flowers"},
        {"text": "Other."},
    ]
    mined, report = mine(
        write_jsonl(tmp_path / "pairs.jsonl", lists(PAIRS[:1])),
        inputs={"corpus": [write_jsonl(tmp_path / "corpus.jsonl", corpus)]},
    )
    assert mined[0]["neg"] == ["Other."]
    assert report.inputs["positives_not_in_corpus"] == 1


def test_near_duplicates_of_a_positive_are_no_negatives_unless_allowed(mine, tmp_path):
    long = "The copper roof of the old library was mended in winter by soldering every one of its seams with great care"
    near = f"{long} indeed"
    corpus = [{"text": f"{near}, as is told."}, {"text": "Something else altogether is written here."}]
    pairs = write_jsonl(tmp_path / "pairs.jsonl", [{"query": "How was the roof mended?", "pos": [f"{near}."]}])
    files = {"corpus": [write_jsonl(tmp_path / "corpus.jsonl", corpus)]}
    kept, _ = mine(pairs, inputs=files, settings={"near": {}, "exclude_contained": False})
    assert kept[0]["neg"] == [corpus[1]["text"]]
    loose, _ = mine(pairs, inputs=files, settings={"exclude_contained": False}, output="loose.jsonl")
    assert set(loose[0]["neg"]) == {text["text"] for text in corpus}


def test_no_negative_comes_from_a_document_of_a_positive(mine, tmp_path):
    corpus = [{"text": f"Passage {n} of it.", "doc": f"d{n % 2}"} for n in range(6)]
    pairs = [
        {"query": "Which passage?", "pos": ["Passage 0 of it."]},
        {"query": "New?", "pos": ["Not there."], "doc": "d1"},
    ]
    mined, _ = mine(
        write_jsonl(tmp_path / "pairs.jsonl", pairs),
        inputs={"corpus": [write_jsonl(tmp_path / "corpus.jsonl", corpus)], "document_field": "doc"},
        settings={"select": {"negatives": 9}},
    )
    assert set(mined[0]["neg"]) == {"Passage 1 of it.", "Passage 3 of it.", "Passage 5 of it.", "Not there."}
    assert set(mined[1]["neg"]) == {"Passage 0 of it.", "Passage 2 of it.", "Passage 4 of it."}


def test_no_negative_holds_an_answer(mine, tmp_path):
    pairs = [
        {"query": "How high is it?", "pos": ["It is 3,776 metres high."], "answer": ["3,776 metres", "12,389 feet"]}
    ]
    corpus = [{"text": "Some say 12,389 feet."}, {"text": "Nobody knows."}]
    files = {"corpus": [write_jsonl(tmp_path / "corpus.jsonl", corpus)]}
    source = write_jsonl(tmp_path / "pairs.jsonl", pairs)
    assert mine(source, inputs=files)[0][0]["neg"] == [text["text"] for text in corpus]
    assert mine(source, inputs=files | {"answers_field": "answer"}, output="b.jsonl")[0][0]["neg"] == ["Nobody knows."]


def test_no_negative_holds_an_answer_of_another_row_of_the_query(mine, tmp_path):
    pairs = [
        {"query": "How high is it?", "pos": ["It is 3,776 metres high."], "answer": "3,776 metres"},
        {"query": "How high is it?", "pos": ["Feet: 12,389."], "answer": "12,389 feet"},
        {"query": "how high is it", "pos": ["Not low."], "answer": ["fathoms"]},
    ]
    corpus = [{"text": "Some say 12,389 feet."}, {"text": "Over 2,000 fathoms, they say."}, {"text": "Nobody knows."}]
    mined, _ = mine(
        write_jsonl(tmp_path / "pairs.jsonl", pairs),
        inputs={"corpus": [write_jsonl(tmp_path / "corpus.jsonl", corpus)], "answers_field": "answer"},
    )
    assert [row["neg"] for row in mined] == [["Nobody knows."]] * 3


def test_random_negatives_obey_the_rules_too(mine, tmp_path):
    corpus = [{"text": f"Nothing is known about number {n}."} for n in range(3)]
    wrong = ["Some say 12,389 feet.", "Yes: it is 3,776 metres high in all, they wrote."]
    pairs = [{"query": "How high is it?", "pos": ["It is 3,776 metres high in all."], "answer": ["12,389 feet"]}]
    mined, report = mine(
        write_jsonl(tmp_path / "pairs.jsonl", pairs),
        inputs={
            "corpus": [write_jsonl(tmp_path / "corpus.jsonl", [*corpus, *({"text": text} for text in wrong)])],
            "answers_field": "answer",
        },
        settings={"select": {"negatives": 5, "max_score": -1, "fewest": 0, "fill_with_random": True}},
    )
    assert mined == []  # max_score lets nothing through, and nothing comes back by chance
    settings = {"negatives": 5, "rank_window": [40, 50], "fewest": 0, "fill_with_random": True}
    mined, report = mine(
        tmp_path / "pairs.jsonl",
        inputs={"corpus": [str(tmp_path / "corpus.jsonl")], "answers_field": "answer"},
        settings={"select": settings},
        output="b.jsonl",
    )
    assert sorted(mined[0]["neg"]) == [passage["text"] for passage in corpus]
    assert report.negatives_by_origin == {"random": 3}


def test_a_column_of_negatives_that_later_rows_have_first_is_not_overwritten(mine, tmp_path, monkeypatch):
    monkeypatch.setattr("sources.formats.json_records.ROWS", 4)
    rows = [{"anchor": query, "positive": positive} for query, positive in PAIRS]
    rows[9]["negative_1"] = "Written by hand."
    mined, _ = mine(write_jsonl(tmp_path / "pairs.jsonl", rows))
    assert mined[9]["negative_1"] == "Written by hand."
    assert all(row["negative_2"] and row["negative_3"] for row in mined)


def test_negatives_that_came_stay_first_and_get_scores(mine, tmp_path):
    rows = lists(PAIRS[:4])
    rows[0]["neg"] = ["Written by hand.", PAIRS[1][1]]
    mined, report = mine(write_jsonl(tmp_path / "pairs.jsonl", rows), settings={"select": {"negatives": 9}})
    assert mined[0]["neg"][:2] == rows[0]["neg"]
    assert set(mined[0]["neg"][2:]) == {PAIRS[2][1], PAIRS[3][1]}
    assert mined[0]["neg_origins"] == ["curated", "curated", "dense", "dense"]
    assert mined[0]["neg_ranks"][:2] == [None, None]
    assert len(mined[0]["neg_scores"]) == 4
    assert "Written by hand." in mined[1]["neg"]  # without a corpus it is one of the passages
    assert report.inputs["passages"] == 5


def test_with_a_corpus_only_it_and_the_positives_are_negatives(mine, tmp_path):
    rows = lists(PAIRS[:2])
    rows[0]["neg"] = ["Written by hand."]
    corpus = [{"id": 7, "title": "Sea", "text": "is salty."}, {"id": 8, "title": "", "text": PAIRS[0][1]}]
    mined, report = mine(
        write_jsonl(tmp_path / "pairs.jsonl", rows),
        inputs={"corpus": [write_jsonl(tmp_path / "corpus.jsonl", corpus)]},
        settings={"select": {"negatives": 9}},
    )
    assert mined[0]["neg"][0] == "Written by hand."
    assert dict(zip(mined[0]["neg"][1:], mined[0]["neg_ids"][1:], strict=True)) == {
        PAIRS[1][1]: None,
        "Sea is salty.": "7",
    }
    assert dict(zip(mined[1]["neg"], mined[1]["neg_ids"], strict=True)) == {PAIRS[0][1]: "8", "Sea is salty.": "7"}
    assert report.inputs["positives_not_in_corpus"] == 1
    assert report.inputs["passages_searched"] == 3


@pytest.mark.parametrize("ending", ["jsonl.gz", "csv", "tsv", "parquet"])
def test_columns_are_read_from_any_format(mine, tmp_path, ending):
    rows = [{"anchor": query, "positive": positive, "extra": "x, y"} for query, positive in PAIRS]
    path = tmp_path / f"pairs.{ending}"
    if ending == "jsonl.gz":
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    elif ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if ending == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    mined, _ = mine(path)
    assert [{name: row[name] for name in rows[0]} for row in mined] == rows
    assert [list(row) for row in mined] == [["anchor", "positive", "extra", "negative_1", "negative_2"]] * len(rows)
    expected, _ = mine(write_jsonl(tmp_path / "lists.jsonl", lists()), output="lists-out.jsonl")
    assert [[row["negative_1"], row["negative_2"]] for row in mined] == [row["neg"] for row in expected]


def test_a_column_of_negatives_stays_and_the_mined_ones_are_numbered_on(mine, tmp_path):
    rows = [{"anchor": q, "positive": p, "negative": "Written by hand."} for q, p in PAIRS[:4]]
    mined, _ = mine(write_jsonl(tmp_path / "pairs.jsonl", rows))
    assert list(mined[0]) == ["anchor", "positive", "negative", "negative_2", "negative_3"]
    assert mined[0]["negative"] == "Written by hand." != mined[0]["negative_2"]


def test_the_rows_of_our_shards_keep_their_columns_and_types(mine, tmp_path):
    queries, positives = (list(side) for side in zip(*PAIRS[:5], strict=True))
    pairs, _ = make_pairs(query=queries, positive=positives, kind="other", source="s", document_id=["d"] * 5)
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.Table.from_batches([pairs]), path, store_schema=False)
    mine(path, output="mined.parquet")
    before, after = pq.read_table(path), pq.read_table(tmp_path / "mined.parquet")
    assert after.schema.names[: len(before.schema.names)] == before.schema.names
    for name in before.schema.names:
        if name != "negatives":
            assert after[name].equals(before[name])
    assert all(len(row) == 2 for row in after["negatives"].to_pylist())
    assert all(len(row) == 2 for row in after["negative_scores"].to_pylist())


def beir(folder, gz=False):
    corpus = [{"_id": f"c{n}", "title": "", "text": positive} for n, (_, positive) in enumerate(PAIRS)]
    write_jsonl(folder / "corpus.jsonl", corpus)
    write_jsonl(folder / "queries.jsonl", [{"_id": f"q{n}", "text": query} for n, (query, _) in enumerate(PAIRS)])
    (folder / "qrels").mkdir()
    judged = "".join(f"q{n}\tc{n}\t1\nq{n}\tc{(n + 1) % 12}\t{n % 2}\n" for n in range(11))
    (folder / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return folder


def test_a_beir_folder_gives_negatives_by_id_or_rows_of_lists(mine, tmp_path):
    folder = beir(tmp_path / "set")
    mine(folder, output="negatives.tsv", format="qrels")
    lines = [line.split("\t") for line in (tmp_path / "negatives.tsv").read_text().splitlines()]
    assert lines[0] == ["query-id", "corpus-id", "rank", "score", "origin"]
    assert len(lines) == 1 + 2 * 11
    rows, report = mine(folder, output="rows.jsonl")
    assert [line[:2] for line in lines[1:]] == [[row["query_id"], name] for row in rows for name in row["neg_ids"]]
    assert [row["query_id"] for row in rows] == [f"q{n}" for n in range(11)]
    assert rows[1]["pos"] == [PAIRS[1][1], PAIRS[2][1]]
    assert rows[2]["pos"] == [PAIRS[2][1]]
    assert not any(set(row["pos"]) & set(row["neg"]) for row in rows)
    assert report.inputs["queries_without_judgement"] == 1


@pytest.mark.parametrize(("form", "scores"), [("triplets", None), ("columns", True), ("labeled-list", None)])
def test_sentence_transformers_forms_load_as_a_data_set(mine, tmp_path, form, scores):
    from datasets import load_dataset

    source = write_jsonl(tmp_path / "pairs.jsonl", lists())
    rows, _ = mine(source, format=form, scores=scores)
    expected, _ = mine(source, output="lists.jsonl")
    loaded = load_dataset(
        "json", data_files=str(tmp_path / "out.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded.to_list() == rows
    if form == "triplets":
        wanted = [(row["query"], row["pos"][0], text) for row in expected for text in row["neg"]]
        assert [tuple(row.values()) for row in rows] == wanted
    elif form == "columns":
        assert loaded.column_names == ["anchor", "positive", "negative_1", "negative_2", "scores"]
        assert rows[0]["scores"] == [*expected[0]["pos_scores"], *expected[0]["neg_scores"]]
    else:
        assert rows[0]["documents"] == [*expected[0]["pos"], *expected[0]["neg"]]
        assert rows[0]["labels"] == [1, 0, 0]


def test_parquet_holds_the_same_rows_as_json_lines(mine, tmp_path):
    rows = lists()
    rows[5]["only_here"] = {"a": 1}
    source = write_jsonl(tmp_path / "pairs.jsonl", rows)
    expected, _ = mine(source)
    mine(source, output="mined.parquet")
    read = pq.read_table(tmp_path / "mined.parquet").to_pylist()
    assert [{name: row[name] for name in ("query", "pos", "neg", "n")} for row in read] == [
        {name: row[name] for name in ("query", "pos", "neg", "n")} for row in expected
    ]
    assert read[5]["only_here"] == {"a": 1} and read[0]["only_here"] is None


def test_rows_that_one_parquet_file_cannot_hold_are_told_and_written_as_json(mine, tmp_path):
    rows = lists(PAIRS[:3])
    rows[0]["id"], rows[1]["id"] = 1, "a"
    source = write_jsonl(tmp_path / "pairs.jsonl", rows)
    with pytest.raises(MiningInputError, match=r"'id'.*Write JSON lines.*--work"):
        mine(source, output="mined.parquet")
    mined, _ = mine(source, work=tmp_path / "mined.parquet.work")
    assert [row.get("id") for row in mined] == [1, "a", None]
    write_jsonl(tmp_path / "pairs.jsonl", [row | {"id": {}} for row in rows])
    with pytest.raises(MiningInputError, match=r"'id'.*Write JSON lines"):
        mine(source, output="mined.parquet")


def test_numbers_of_any_size_come_out_as_they_came(mine, tmp_path):
    rows = lists(PAIRS[:3])
    rows[0] |= {"id": 123456789012345678901234567890, "share": 0.1}
    mined, _ = mine(write_jsonl(tmp_path / "pairs.jsonl", rows))
    assert [{name: row[name] for name in ("id", "share")} for row in mined[:1]] == [{"id": rows[0]["id"], "share": 0.1}]
    assert (tmp_path / "out.jsonl").read_text().count(PAIRS[0][1]) >= 1


def test_given_negatives_that_are_positives_of_another_row_are_counted(mine, tmp_path):
    rows = [{"query": "q", "pos": ["x"], "neg": ["y", "z"]}, {"query": "Q?", "pos": ["y"]}]
    mined, report = mine(write_jsonl(tmp_path / "pairs.jsonl", rows))
    assert mined[0]["neg"] == ["y", "z"]
    assert report.inputs["negatives_given_that_are_positives"] == 1


def test_rows_without_negatives_are_left_out_and_counted_unless_kept(mine, tmp_path):
    source = write_jsonl(tmp_path / "pairs.jsonl", lists(PAIRS[:1]))
    rows, report = mine(source)
    assert rows == []
    assert report.output["rows_without_negatives"] == 1
    kept, _ = mine(source, output="kept.jsonl", keep_without_negatives=True)
    assert [row["neg"] for row in kept] == [[]]


def test_columns_need_all_their_negatives(mine, tmp_path):
    rows, report = mine(write_jsonl(tmp_path / "pairs.jsonl", lists(PAIRS[:2])), format="columns")
    assert rows == []
    assert report.output["rows_with_too_few_for_the_columns"] == 2


def test_candidates_from_words_and_vectors_say_where_they_come_from(mine, tmp_path):
    settings = {"candidates": {"sources": ["dense", "bm25"]}, "select": {"negatives": 3}}
    rows, report = mine(write_jsonl(tmp_path / "pairs.jsonl", lists()), settings=settings)
    assert set(report.negatives_by_origin) <= {"dense", "bm25", "dense+bm25"}
    assert all(len(row["neg"]) == 3 for row in rows)


def test_the_same_bytes_for_any_block_and_number_of_processes(mine, tmp_path):
    source = write_jsonl(tmp_path / "pairs.jsonl", lists())
    mine(source)
    one = (tmp_path / "out.jsonl").read_bytes()
    mine(source, output="small.jsonl", settings={"query_block": 5})
    mine(source, output="two.jsonl", settings={"query_block": 5}, workers=2)
    assert (tmp_path / "small.jsonl").read_bytes() == one
    assert (tmp_path / "two.jsonl").read_bytes() == one


def test_a_run_goes_on_from_its_blocks(mine, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "BLOCK", 5)
    source = write_jsonl(tmp_path / "pairs.jsonl", lists())
    mine(source, settings={"query_block": 5})
    expected = (tmp_path / "out.jsonl").read_bytes()
    mined = blocks.mine_one_block

    def fails_at_last(job, number):
        if number == 2:
            raise RuntimeError("power cut")
        return mined(job, number)

    monkeypatch.setattr(blocks, "mine_one_block", fails_at_last)
    with pytest.raises(RuntimeError, match="power cut"):
        mine(source, output="again.jsonl", settings={"query_block": 5})
    work = tmp_path / "again.jsonl.work"
    finished = {path: path.stat().st_mtime_ns for path in work.rglob("0*.*")}
    assert sorted(path.name for path in (work / "mined").glob("*.arrow")) == ["000000.arrow", "000001.arrow"]
    monkeypatch.setattr(blocks, "mine_one_block", mined)
    mine(source, output="again.jsonl", settings={"query_block": 5}, keep_work=True)
    assert (tmp_path / "again.jsonl").read_bytes() == expected
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_other_rules_start_only_the_stage_they_touch(mine, tmp_path):
    source = write_jsonl(tmp_path / "pairs.jsonl", lists())
    mine(source, keep_work=True)
    work = tmp_path / "out.jsonl.work"
    vectors = {path: path.stat().st_mtime_ns for path in work.glob("vectors-*/*")}
    first = (work / "mined" / "000000.arrow").stat().st_mtime_ns
    rows, _ = mine(source, keep_work=True, settings={"select": {"negatives": 1}})
    assert all(len(row["neg"]) == 1 for row in rows)
    assert {path: path.stat().st_mtime_ns for path in work.glob("vectors-*/*")} == vectors
    assert (work / "mined" / "000000.arrow").stat().st_mtime_ns != first


def test_a_store_of_embeddings_leaves_only_new_passages_to_encode(mine, tmp_path):
    corpus = [{"text": f"Passage number {n}."} for n in range(20)]
    files = {"corpus": [write_jsonl(tmp_path / "corpus.jsonl", corpus)]}
    source = write_jsonl(tmp_path / "pairs.jsonl", lists(PAIRS[:2]))
    settings = {"embeddings": str(tmp_path / "store")}
    _, first = mine(source, inputs=files, settings=settings)
    assert first.encoding["passages"]["encoded"] == 22
    write_jsonl(tmp_path / "corpus.jsonl", [*corpus, {"text": "A new one."}])
    _, second = mine(source, inputs=files, settings=settings, output="b.jsonl")
    assert second.encoding == {"passages": {"encoded": 1, "truncated": 0}, "queries": {"encoded": 0, "truncated": 0}}


def test_a_query_longer_than_the_limit_is_counted(mine, tmp_path):
    rows = [*lists(PAIRS[:3]), {"query": "very " * 50, "pos": ["long"]}]
    encoder = {"model": MINILM, "max_query_length": 16}
    _, report = mine(write_jsonl(tmp_path / "pairs.jsonl", rows), settings={"encoder": encoder})
    assert report.encoding["queries"]["truncated"] == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"query": "q", "pos": ["p"]}\n{"query": "r", "pos": "a text"}\n', ["line 2", "a list", '"a text"']),
        (b'{"query": "q", "pos": ["p"]}\n{"query": "\xff", "pos": ["p"]}\n', ["line 2", "UTF-8"]),
        (b'{"query": "q", "pos": ["p"]}\n{"query": "q", "pos": ["p"', ["line 2", "no JSON"]),
        (b'{"query": "q", "pos": ["p"]}\n[1]\n', ["line 2", "no JSON object"]),
        (b'{"query": "q", "pos": ["p"]}\n{"pos": ["p"]}\n', ["line 2", "no query"]),
        (b"", ["there is no pair"]),
    ],
)
def test_bad_rows_are_refused_with_file_and_line(mine, tmp_path, content, words):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(content)
    with pytest.raises(MiningInputError) as error:
        mine(path)
    for word in ["pairs.jsonl", *words]:
        assert word in str(error.value)


def test_some_bad_rows_may_be_left_out_and_are_written_with_their_reason(mine, tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_jsonl(path, lists())
    with path.open("a") as stream:
        stream.write('{"query": "r", "pos": "a text"}\n' + "x" * (17 << 20) + "\n")
    rows, report = mine(path, inputs={"max_bad_share": 0.2})
    assert len(rows) == len(PAIRS)
    assert report.bad_rows == {"not_a_list": 1, "line_too_long": 1}
    told = read_jsonl(tmp_path / "out.jsonl.quarantine.jsonl")
    assert [(row["position"], row["reason"]) for row in told] == [(13, "not_a_list"), (14, "line_too_long")]
    with pytest.raises(MiningInputError, match="2 of 14 rows"):
        mine(path, inputs={"max_bad_share": 0.1}, output="b.jsonl")


def test_a_truncated_gzip_is_told(mine, tmp_path):
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in lists()).encode())[:-20])
    with pytest.raises(MiningInputError, match=r"pairs\.jsonl\.gz"):
        mine(path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"_id": "a", "text": "one"}, {"_id": "a", "text": "two"}], "row 2: the id 'a'"),
        ([{"_id": "a", "text": " "}], "line 1: a text is empty"),
        ([], "corpus holds no passage"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_refused(mine, tmp_path, rows, words):
    corpus = write_jsonl(tmp_path / "corpus.jsonl", rows)
    with pytest.raises(MiningInputError, match=words):
        mine(write_jsonl(tmp_path / "pairs.jsonl", lists()), inputs={"corpus": [corpus]})


def test_equal_passages_are_searched_once(mine, tmp_path):
    corpus = [{"_id": f"{n}", "text": "The very same."} for n in range(4)]
    mined, report = mine(
        write_jsonl(tmp_path / "pairs.jsonl", lists(PAIRS[:1])),
        inputs={"corpus": [write_jsonl(tmp_path / "corpus.jsonl", corpus)]},
    )
    assert mined[0]["neg"] == ["The very same."]
    assert mined[0]["neg_ids"] == ["0"]
    assert report.inputs["duplicate_texts"] == 3


def test_a_judgement_of_a_passage_that_is_not_there_is_told(mine, tmp_path):
    folder = beir(tmp_path / "set")
    with (folder / "qrels" / "train.tsv").open("a") as stream:
        stream.write("q1\tmissing\t1\n")
    with pytest.raises(MiningInputError, match=r"line 24.*'missing'"):
        mine(folder, output="x.tsv", format="qrels")


def test_a_query_of_a_beir_folder_without_text_is_told(mine, tmp_path):
    folder = beir(tmp_path / "set")
    asked = [{"_id": f"q{n}", "text": query if n else " "} for n, (query, _) in enumerate(PAIRS)]
    write_jsonl(folder / "queries.jsonl", asked)
    with pytest.raises(MiningInputError, match=r"line 1: a text is empty"):
        mine(folder, output="x.tsv", format="qrels")


@pytest.mark.parametrize("output", ["pairs.jsonl", "corpus.jsonl"])
def test_an_input_is_not_overwritten(mine, tmp_path, output):
    pairs = write_jsonl(tmp_path / "pairs.jsonl", lists())
    files = {"corpus": [write_jsonl(tmp_path / "corpus.jsonl", [{"text": "One."}])]}
    before = (tmp_path / output).read_bytes()
    with pytest.raises(UserError, match="would be overwritten"):
        mine(pairs, inputs=files, output=output)
    assert (tmp_path / output).read_bytes() == before


def test_an_input_of_the_same_size_and_time_behind_a_link_is_read_again(mine, tmp_path):
    stored = write_jsonl(
        tmp_path / "stored.jsonl", [{"query": "What do bees make?", "pos": ["Honey."], "neg": ["Silk."]}]
    )
    link = tmp_path / "pairs.jsonl"
    link.symlink_to(stored)
    mine(link, keep_work=True)
    changed = Path(stored).stat().st_mtime_ns
    write_jsonl(tmp_path / "stored.jsonl", [{"query": "What do bees make?", "pos": ["Honey."], "neg": ["Wine."]}])
    os.utime(stored, ns=(changed, changed))
    mined, _ = mine(link, keep_work=True, keep_without_negatives=True)
    assert mined[0]["neg"] == ["Wine."]


def test_what_a_kill_left_of_a_stage_that_was_being_emptied_is_no_stage(mine, tmp_path, monkeypatch):
    source = write_jsonl(tmp_path / "pairs.jsonl", lists())
    mine(source, keep_work=True)
    expected = (tmp_path / "out.jsonl").read_bytes()

    def killed(folder):
        (folder / "first.npy").unlink()
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.mining.work.shutil.rmtree", lambda folder: killed(tmp_path / "out.jsonl.work/index"))
        with pytest.raises(RuntimeError, match="killed"):
            Work(tmp_path / "out.jsonl.work").stage("index", read="another")
    mine(source, keep_work=True)
    assert (tmp_path / "out.jsonl").read_bytes() == expected


def test_how_a_search_is_done_leaves_finished_blocks_as_they_are(mine, tmp_path):
    source = write_jsonl(tmp_path / "pairs.jsonl", lists())
    mine(source, keep_work=True)
    block = tmp_path / "out.jsonl.work" / "mined" / "000000.arrow"
    first = block.stat().st_mtime_ns
    mine(source, keep_work=True, settings={"search": {"memory_mb": 64}})
    assert block.stat().st_mtime_ns == first


def test_the_bad_rows_of_a_run_before_do_not_stay(mine, tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_jsonl(path, [*lists(), {"query": "r", "pos": "a text"}])
    mine(path, inputs={"max_bad_share": 0.5})
    assert (tmp_path / "out.jsonl.quarantine.jsonl").exists()
    write_jsonl(path, lists())
    mine(path, inputs={"max_bad_share": 0.5})
    assert not (tmp_path / "out.jsonl.quarantine.jsonl").exists()


def test_a_folder_with_other_files_is_not_worked_in(mine, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("private")
    with pytest.raises(UserError, match="holds something else"):
        mine(write_jsonl(tmp_path / "pairs.jsonl", lists()), work=tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "private"


def test_candidates_by_the_token_weights_of_an_m3_model(mine, tmp_path, tiny_model):
    import torch

    folder = tmp_path / "m3"
    shutil.copytree(tiny_model, folder)
    head = {"weight": torch.zeros(1, 32), "bias": torch.ones(1)}  # every token weighs 1: a score counts shared words
    torch.save(head, folder / "sparse_linear.pt")
    passages = ["river valley harvest", "river", "river valley", "copper engine"]
    rows, report = mine(
        write_jsonl(tmp_path / "pairs.jsonl", [{"query": "river valley harvest winter", "pos": [passages[0]]}]),
        inputs={"corpus": [write_jsonl(tmp_path / "corpus.jsonl", [{"text": text} for text in passages])]},
        settings={
            "encoder": {"model": str(folder)},
            "candidates": {"sources": ["lexical"]},
            "exclude_contained": False,
        },
    )
    assert rows[0]["neg"] == ["river valley", "river"]
    assert report.negatives_by_origin == {"lexical": 2}


def test_a_judge_drops_and_relabels_and_its_scores_go_out(mine, tmp_path, monkeypatch):
    grades = {PAIRS[0][1]: 0.9, PAIRS[1][1]: 0.95, PAIRS[2][1]: 0.6}

    class Grades:
        name = "grades"

        def score(self, queries, passages, on_batch=None):
            return np.array([grades.get(text, 0.1) for text in passages.to_pylist()], np.float32)

    monkeypatch.setattr(blocks, "make_judge", lambda chosen: Grades())
    monkeypatch.setattr(engine, "judge_facts", lambda chosen: {"judge": "grades"})
    rows = [lists()[0], {"query": "Others?", "pos": [positive for _, positive in PAIRS[1:5]]}]
    judge = {
        "cross_encoder": {"model": "unused"},
        "max_score": 0.5,
        "relabel_above": 0.9,
        "max_share_of_positive": None,
    }
    mined, report = mine(
        write_jsonl(tmp_path / "pairs.jsonl", rows), settings={"judge": judge, "select": {"negatives": 9}}
    )
    assert mined[0]["pos"] == [PAIRS[0][1], PAIRS[1][1]]
    assert mined[0]["relabelled"] == 1
    assert set(mined[0]["neg"]) == {PAIRS[3][1], PAIRS[4][1]}
    assert mined[0]["pos_scores"] == [0.9, 0.95]
    assert mined[0]["neg_scores"] == [0.1, 0.1]
    assert report.output["relabelled"] == 1
    assert report.candidates_left_out["judged_relevant"] >= 1


def test_answers_of_a_beir_folder_are_asked_for_too(mine, tmp_path):
    folder = beir(tmp_path / "set")
    asked = [{"_id": f"q{n}", "text": query, "answer": "bees"} for n, (query, _) in enumerate(PAIRS)]
    write_jsonl(folder / "queries.jsonl", asked)
    files = {"answers_field": "answer"}
    rows, _ = mine(folder, output="rows.jsonl", inputs=files, settings={"select": {"negatives": 11}})
    assert PAIRS[0][1] not in {text for row in rows for text in row["neg"]}


def test_a_judgement_of_a_query_that_is_not_there_is_told(mine, tmp_path):
    folder = beir(tmp_path / "set")
    with (folder / "qrels" / "train.tsv").open("a") as stream:
        stream.write("nobody\tc1\t1\n")
    with pytest.raises(MiningInputError, match=r"line 24.*the query is not in the file"):
        mine(folder, output="x.tsv", format="qrels")
