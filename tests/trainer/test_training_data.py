"""Packed data: what is refused, what is mapped, and what a batch holds and masks."""

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.packed_folder import CLS, SEP, packed, some_rows, text, write_folder, write_manifest
from trainer.batch_plan import RankRows
from trainer.packed_columns import cluster_codes
from trainer.training_data import TrainingData, TrainingDataError

NOTHING = np.empty((0, 0), np.int64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"), *some_rows())


@pytest.fixture
def own_folder(tmp_path) -> Path:
    return write_folder(tmp_path / "data", *some_rows())


def rank(rows, negatives=None, **drawn) -> RankRows:
    rows = np.array(rows, np.int64)
    return RankRows(rows, np.array(negatives, np.int64) if negatives else np.empty((len(rows), 0), np.int64), **drawn)


def rewrite(file: Path, change) -> None:
    pq.write_table(change(pq.read_table(file)), file)


def test_columns_are_mapped_from_disk_and_equal_the_shards(folder):
    data = TrainingData.open(folder)
    pairs, passages = some_rows()
    assert isinstance(data.passage_tokens.values, np.memmap)
    assert isinstance(data.query_tokens.values, np.memmap)
    assert data.passage_tokens.lists() == [row["token_ids"] for row in passages]
    assert data.query_tokens.lists() == [row["query"] for row in pairs]
    assert data.positive.tolist() == [row["positive"] for row in pairs]
    assert data.negatives.lists() == [row["negatives"] for row in pairs]
    assert data.symmetric.tolist() == [row["symmetric"] for row in pairs]
    assert data.labels["dataset"][1] == ["one"]
    assert data.largest_token_id == max(max(row["token_ids"]) for row in passages)
    assert data.longest_text == max(len(row["token_ids"]) for row in passages)


def test_shards_are_decoded_once_and_anew_when_they_change(own_folder):
    first = TrainingData.open(own_folder)
    decoded = next(path for path in (own_folder / "_decoded").iterdir() if path.is_dir())
    stamp = (decoded / "facts.json").stat().st_mtime_ns
    TrainingData.open(own_folder)
    assert (decoded / "facts.json").stat().st_mtime_ns == stamp
    rewrite(own_folder / "pairs" / "00001.parquet", lambda table: table.slice(0, 5))
    write_manifest(own_folder)
    again = TrainingData.open(own_folder)
    assert len(again) == 25
    assert again.fingerprint != first.fingerprint
    assert [path for path in (own_folder / "_decoded").iterdir() if path.is_dir()] != [decoded]
    assert len(first.pair_id) == 40  # a run that maps the old files keeps them


def test_processes_that_open_the_folder_at_once_decode_it_once(own_folder):
    opened = []
    threads = [threading.Thread(target=lambda: opened.append(TrainingData.open(own_folder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(data) for data in opened] == [40] * 4
    assert len([path for path in (own_folder / "_decoded").iterdir() if path.is_dir()]) == 1


def test_another_folder_takes_the_decoded_columns(own_folder, tmp_path):
    TrainingData.open(own_folder, tmp_path / "cache")
    assert not (own_folder / "_decoded").exists()
    assert len(TrainingData.open(own_folder, tmp_path / "cache")) == 40


def test_a_cache_that_cannot_be_written_to_is_told_with_the_remedy(own_folder, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(TrainingDataError, match=r"cannot be written to .* data_cache"):
        TrainingData.open(own_folder, tmp_path / "file" / "cache")


def test_a_decoding_that_was_cut_short_is_done_again(own_folder):
    TrainingData.open(own_folder)
    decoded = next(path for path in (own_folder / "_decoded").iterdir() if path.is_dir())
    decoded.rename(decoded.with_name(f"{decoded.name}.partial"))
    assert len(TrainingData.open(own_folder)) == 40


def test_decoded_columns_that_were_cut_short_are_made_again(own_folder):
    before = TrainingData.open(own_folder).passage_tokens.lists()
    (column,) = own_folder.glob("_decoded/*/passage_tokens.npy")
    column.write_bytes(column.read_bytes()[:-4])
    assert TrainingData.open(own_folder).passage_tokens.lists() == before


def test_decoding_removes_no_folder_that_is_not_its_own(own_folder, tmp_path):
    photographs = tmp_path / "cache" / "photographs"
    photographs.mkdir(parents=True)
    TrainingData.open(own_folder, tmp_path / "cache")
    for kept in (*(tmp_path / "cache").iterdir(), own_folder / "_decoded" / "notes"):
        (kept / "notes").mkdir(parents=True)
    rewrite(own_folder / "pairs" / "00001.parquet", lambda table: table.slice(0, 5))
    write_manifest(own_folder)
    TrainingData.open(own_folder, tmp_path / "cache")
    assert len([*(tmp_path / "cache").glob("*/notes")]) == 2
    assert len([*(tmp_path / "cache").glob("*/*/facts.json")]) == 1


def test_data_folders_that_share_a_cache_leave_each_other_s_columns(own_folder, tmp_path):
    other = write_folder(tmp_path / "other", *some_rows(12))
    TrainingData.open(own_folder, tmp_path / "cache")
    first = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").glob("*/*/facts.json")}
    assert len(TrainingData.open(other, tmp_path / "cache")) == 12
    assert len(TrainingData.open(own_folder, tmp_path / "cache")) == 40
    assert {file: file.stat().st_mtime_ns for file in first} == first


def test_a_change_that_keeps_size_and_time_is_seen(own_folder):
    TrainingData.open(own_folder)
    shard = own_folder / "pairs" / "00000.parquet"
    stat, content = shard.stat(), bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    with shard.open("r+b") as stream:
        stream.write(content)
    os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert shard.stat().st_ino == stat.st_ino
    with pytest.raises(TrainingDataError, match="was changed since pack wrote it"):
        TrainingData.open(own_folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "pairs" / "00001.parquet").unlink(), "is missing"),
        (lambda folder: shutil.rmtree(folder / "passages"), "holds no .*parquet files"),
        (
            lambda folder: shutil.copy(folder / "pairs" / "00000.parquet", folder / "pairs" / "00009.parquet"),
            "was not written by pack",
        ),
        (
            lambda folder: rewrite(folder / "pairs" / "00000.parquet", lambda table: table.slice(1)),
            "was changed since pack wrote it",
        ),
        (lambda folder: (folder / "_MANIFEST.json").write_text("{}"), "is not a manifest that pack wrote"),
    ],
)
@pytest.mark.parametrize("opened_before", [False, True])
def test_a_folder_that_is_not_what_pack_wrote_is_refused(own_folder, spoil, message, opened_before):
    if opened_before:
        TrainingData.open(own_folder)
    spoil(own_folder)
    with pytest.raises(TrainingDataError, match=message):
        TrainingData.open(own_folder)


def set_column(name, values):
    def change(table: pa.Table) -> pa.Table:
        position = table.schema.get_field_index(name)
        return table.set_column(
            position, table.schema.field(name), pa.array(values(table), table.schema.field(name).type)
        )

    return change


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("pairs", lambda table: table.drop_columns(["kind"]), "column kind should be string, found none"),
        ("pairs", lambda table: table.slice(0, 0), "holds no pairs at all"),
        ("pairs", set_column("positive", lambda table: [999] * len(table)), "passage row 999, but there are 80"),
        ("pairs", set_column("negatives", lambda table: [[-1]] * len(table)), "passage row -1"),
        ("pairs", set_column("known_positives", lambda table: [[80]] * len(table)), "passage row 80"),
        ("pairs", set_column("negative_scores", lambda table: [[1.0, 2.0]] * len(table)), "2 scores of negatives"),
        ("passages", set_column("length", lambda table: [1] * len(table)), "whose length is not the one beside it"),
        (
            "passages",
            set_column("token_ids", lambda table: [[-1] * n for n in table["length"].to_pylist()]),
            "negative id",
        ),
    ],
)
def test_shards_that_cannot_be_trained_on_are_refused(own_folder, part, change, message):
    for file in (own_folder / part).iterdir():
        rewrite(file, change)
    write_manifest(own_folder)
    with pytest.raises(TrainingDataError, match=message):
        TrainingData.open(own_folder)


def test_a_file_that_is_not_parquet_is_refused(own_folder):
    (own_folder / "_MANIFEST.json").unlink()
    (own_folder / "pairs" / "00000.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(TrainingDataError, match="is not a readable Parquet file"):
        TrainingData.open(own_folder)


def test_another_tokenizer_and_ids_over_the_vocabulary_are_refused(tmp_path):
    data = TrainingData.open(write_folder(tmp_path / "data", *some_rows(), tokenizer_fingerprint="a" * 64))
    data.check_model("a" * 64, 65)
    with pytest.raises(TrainingDataError, match="packed with another tokenizer"):
        data.check_model("b" * 64, 65)
    with pytest.raises(TrainingDataError, match="vocabulary has 10 entries"):
        data.check_model("a" * 64, 10)


def test_a_share_of_plain_queries_needs_some_in_the_data(folder):
    TrainingData.open(folder).check_instructions(1.0)
    with pytest.raises(TrainingDataError, match="keep_plain_queries"):
        TrainingData.open(folder).check_instructions(0.5)


def test_codes_of_names_follow_the_names_and_not_the_rows(tmp_path):
    pairs, passages = some_rows(6)
    names = ["zeta", "alpha", "mid", "alpha", "zeta", "mid"]
    for pair, name in zip(pairs, names, strict=True):
        pair["dataset"] = name
    data = TrainingData.open(write_folder(tmp_path / "data", pairs, passages))
    codes, known = data.labels["dataset"]
    assert known == ["alpha", "mid", "zeta"]
    assert [known[code] for code in codes] == names
    assert data.dataset_of(4) == "zeta"


def test_ids_that_differ_in_any_byte_have_different_codes():
    ids = [bytes(16)] + [bytes(place) + b"q" + bytes(15 - place) for place in range(16)]
    assert len(set(cluster_codes(pa.array(ids, pa.binary(16))).tolist())) == 17


def test_collate_maps_slots_and_lists_what_is_empty(folder):
    data = TrainingData.open(folder)
    pairs, passages = some_rows()
    batch = data.collate([rank([1, 4, 6], [[0], [-1], [0]])], 0, pad_token_id=9)
    # Row 4 has no negative (every fourth has none); the others' are passages 41 and 46, beside positives 1, 4 and 6.
    assert batch.slots.tolist() == [[0, 3], [1, -1], [2, 4]]
    assert batch.empty.tolist() == [3]
    assert [part.tolist() for part in batch.forbidden] == [[], []]
    assert batch.passage_tokens.lists() == [passages[row]["token_ids"] for row in (1, 4, 6, 41, 46)]
    assert batch.query_tokens.lists() == [pairs[row]["query"] for row in (1, 4, 6)]
    assert batch.symmetric.tolist() == [False, True, True]
    assert batch.tokens == sum(len(passages[row]["token_ids"]) for row in (1, 4, 6, 41, 46)) + 3 * 5
    assert batch.squared_lengths == sum(len(passages[row]["token_ids"]) ** 2 for row in (1, 4, 6, 41, 46)) + 3 * 25
    assert (batch.group_width, batch.first_query, batch.dataset, batch.in_batch) == (2, 0, "one", True)
    for row, ids in enumerate(batch.passage_ids.tolist()):
        tokens = batch.passage_tokens.lists()[row]
        assert ids == tokens + [9] * (len(ids) - len(tokens))


def test_a_passage_named_twice_is_held_once(tmp_path):
    pairs, passages = some_rows(4)
    pairs[1]["negatives"] = pairs[2]["negatives"] = [7]
    batch = TrainingData.open(write_folder(tmp_path / "data", pairs, passages)).collate(
        [rank([1, 2], [[0], [0]])], 0, 0
    )
    assert batch.slots.tolist() == [[0, 2], [1, 2]]
    assert len(batch.passage_tokens) == 3


def test_scores_come_with_the_chosen_negatives_and_are_nan_where_not_known(tmp_path):
    pairs, passages = some_rows(4)
    pairs[1] |= {"negatives": [5, 6, 7], "negative_scores": [0.5, 0.25, 0.125], "positive_score": 0.75}
    pairs[2] |= {"negatives": [5, 6]}
    data = TrainingData.open(write_folder(tmp_path / "data", pairs, passages))
    batch = data.collate([rank([1, 2, 3], [[2, 0], [1, 0], [0, -1]])], 0, 0)
    assert batch.negative_scores[0].tolist() == [0.125, 0.5]
    assert np.isnan(batch.negative_scores[1:]).all()
    assert batch.positive_scores[0] == 0.75
    assert np.isnan(batch.positive_scores[1:]).all()


def answers_alike(tmp_path) -> TrainingData:
    """Passages 1 and 2 are near-duplicates; pairs 5 and 7 ask the same; passage 8 is known to answer pair 3 too; passage 9
    says what the query of pair 0 says."""
    pairs, passages = some_rows(10)
    for pair in pairs:
        pair |= {"negatives": [], "symmetric": True}
    passages[1]["cluster"] = passages[2]["cluster"] = "alike"
    pairs[5]["cluster"] = pairs[7]["cluster"] = "asked twice"
    pairs[3]["known_positives"] = [8]
    pairs[0]["cluster"] = passages[9]["cluster"] = "the same text"
    return TrainingData.open(write_folder(tmp_path / "data", pairs, passages))


def test_what_answers_a_query_too_is_forbidden_in_both_directions(tmp_path):
    batch = answers_alike(tmp_path).collate([rank(range(10))], 0, 0)
    expected = {(1, 2), (2, 1), (5, 7), (7, 5), (3, 8), (0, 9)}
    assert set(zip(*(part.tolist() for part in batch.forbidden), strict=True)) == expected
    backward = set(zip(*(part.tolist() for part in batch.forbidden_backward), strict=True))
    assert backward == {(positive, query) for query, positive in expected}


def test_pairs_that_are_not_symmetric_have_no_backward_mask(folder):
    batch = TrainingData.open(folder).collate([rank([1, 3, 5])], 0, 0)
    assert [len(part) for part in batch.forbidden_backward] == [0, 0]


def test_an_own_negative_that_is_known_to_answer_is_forbidden(tmp_path):
    pairs, passages = some_rows(4)
    pairs[1]["known_positives"] = [5]
    assert pairs[1]["negatives"] == [5]
    data = TrainingData.open(write_folder(tmp_path / "data", pairs, passages))
    batch = data.collate([rank([0, 1], [[-1], [0]])], 0, 0)
    assert [part.tolist() for part in batch.forbidden] == [[1], [3]]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ranks_mask_what_a_plain_restatement_of_the_rule_masks(tmp_path_factory, data):
    """The rule, pair by pair: a slot is no negative of a query if its cluster is the query's, or that of a positive of any
    pair of the query's cluster; empty slots and the own positive apart."""
    count = data.draw(st.integers(2, 8))
    names = [f"c{number}" for number in range(data.draw(st.integers(1, 12)))]
    random = np.random.default_rng(0)
    passages = [{"token_ids": text(random, 2), "cluster": data.draw(st.sampled_from(names))} for _ in range(count + 4)]
    pairs = [
        {
            "query": text(random, 2),
            "positive": data.draw(st.integers(0, count + 3)),
            "negatives": data.draw(st.lists(st.integers(0, count + 3), max_size=3)),
            "known_positives": data.draw(st.lists(st.integers(0, count + 3), max_size=2)),
            "cluster": data.draw(st.sampled_from(names)),
            "symmetric": data.draw(st.booleans()),
        }
        for _ in range(count)
    ]
    opened = TrainingData.open(write_folder(tmp_path_factory.mktemp("data"), pairs, passages))
    order = data.draw(st.permutations(range(count)))
    cut = data.draw(st.integers(0, count))
    chosen = [[k if k < len(pairs[row]["negatives"]) else -1 for k in range(2)] for row in order]
    ranks = [
        RankRows(np.array(order[part], np.int64), np.array(chosen[part], np.int64).reshape(-1, 2))
        for part in (slice(0, cut), slice(cut, None))
    ]
    slots = [[pairs[row]["positive"], *(pairs[row]["negatives"] + [None, None])[:2]] for row in order]
    flat = [slot for row in slots for slot in row]

    def answers(row):
        alike = [pair for pair in pairs if pair["cluster"] == pairs[row]["cluster"]]
        positives = {p for pair in alike for p in [pair["positive"], *pair["known_positives"]]}
        return {passages[p]["cluster"] for p in positives} | {pairs[row]["cluster"]}

    masked = {
        (query, column)
        for query, row in enumerate(order)
        for column, slot in enumerate(flat)
        if slot is not None and column != 3 * query and passages[slot]["cluster"] in answers(row)
    }
    for number, own in enumerate(ranks):
        if not len(own.rows):
            continue
        batch = opened.collate(ranks, number, 0)
        first, last = batch.first_query, batch.first_query + len(own.rows)
        found = list(zip(*(part.tolist() for part in batch.forbidden), strict=True))
        assert found == sorted((query - first, column) for query, column in masked if first <= query < last)
        assert batch.empty.tolist() == [column for column, slot in enumerate(flat) if slot is None]
        backward = list(zip(*(part.tolist() for part in batch.forbidden_backward), strict=True))
        assert backward == sorted(
            (column // 3 - first, query)
            for query, column in masked
            if column % 3 == 0 and first <= column // 3 < last and pairs[order[column // 3]]["symmetric"]
        )


def test_queries_go_without_instruction_where_the_plan_drew_so(tmp_path):
    pairs, passages = some_rows(4)
    for row in (0, 1):
        pairs[row]["plain"] = [CLS, 60 + row, SEP]
    data = TrainingData.open(write_folder(tmp_path / "data", pairs, passages))
    plain = np.array([True, False, True, False])
    batch = data.collate([rank([0, 1, 2, 3], plain=plain)], 0, 0)
    # Pair 2 was packed without instruction: there is nothing to leave out.
    assert batch.query_tokens.lists() == [[CLS, 60, SEP], *(pairs[row]["query"] for row in (1, 2, 3))]


def test_a_shuffled_positive_has_its_thirds_in_another_order_between_its_special_tokens(tmp_path):
    pairs, passages = some_rows(4)
    words = list(range(5, 55)) * 2 + [55]  # 101 words: thirds of 34, 34 and 33
    passages[0] = {"token_ids": [CLS, *words, SEP]}
    passages[1] = {"token_ids": [CLS, *words[:100], SEP]}
    data = TrainingData.open(write_folder(tmp_path / "data", pairs, passages, special_tokens=[1, 1]))
    seen = set()
    for seed in range(1, 7):
        shuffle = np.array([seed, seed], np.uint64)
        batch = data.collate([rank([0, 1], shuffle=shuffle)], 0, 0)
        first, short = batch.passage_tokens.lists()
        thirds = [words[:34], words[34:68], words[68:]]
        assert first[0] == CLS
        assert first[-1] == SEP
        assert any(
            first[1:-1] == thirds[a] + thirds[b] + thirds[3 - a - b] for a in range(3) for b in range(3) if a != b
        )
        assert short == passages[1]["token_ids"]
        seen.add(tuple(first))
    assert len(seen) == 6
    assert data.passage_tokens.lists()[0] == passages[0]["token_ids"]


def test_a_shuffled_positive_is_shuffled_where_another_rank_has_it_as_negative(tmp_path):
    pairs, passages = some_rows(4)
    passages[0] = {"token_ids": [CLS, *range(5, 60), *range(5, 60), SEP]}
    pairs[1]["negatives"] = [0]
    data = TrainingData.open(write_folder(tmp_path / "data", pairs, passages))
    parts = [
        rank([0], [[-1]], shuffle=np.array([4], np.uint64)),
        rank([1], [[0]], shuffle=np.array([0], np.uint64)),
    ]
    own, other = (data.collate(parts, number, 0) for number in (0, 1))
    shuffled = own.passage_tokens.lists()[own.slots[0, 0]]
    assert shuffled != passages[0]["token_ids"]
    assert other.passage_tokens.lists()[other.slots[0, 1]] == shuffled


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "common: "),
        ({"one": "one: ", "two": "one: "}, "one: "),
        ({"one": "one: ", "two": "two: "}, "common: "),
        ({"title_body": "kind: "}, "kind: "),
        ({"title_body": "kind: ", "two": "two: "}, "common: "),
        ({"one": "", "two": ""}, ""),
    ],
)
def test_the_instruction_of_the_data_is_that_of_all_data_sets_or_the_common_one(tmp_path, given, expected):
    pairs, passages = some_rows(6)
    for row, pair in enumerate(pairs):
        # Symmetric pairs have no instruction, and their data set's is not asked for.
        pair["dataset"] = "alike" if pair["symmetric"] else ("one", "two")[row % 4 == 1]
    packing = {"query_instruction": "common: ", "query_instructions": given | {"alike": "never: "}}
    data = TrainingData.open(write_folder(tmp_path / "data", pairs, passages, packing=packing))
    assert data.query_instruction == expected


def test_a_step_of_many_pairs_has_no_matrix_of_pairs(tmp_path):
    rows = 20_000
    passages = [{"token_ids": [CLS, SEP]}] * rows
    pairs = [{"query": [CLS, SEP], "positive": row} for row in range(rows)]
    data = TrainingData.open(write_folder(tmp_path / "data", pairs, passages))
    batch = data.collate([rank(range(rows), [[-1]] * rows)], 0, 0)
    assert len(batch.empty) == rows
    assert len(batch.forbidden.queries) == 0


def test_schemas_hold_what_the_rows_say():
    pairs, passages = packed(*some_rows(4))
    assert json.loads(json.dumps(pairs["negatives"].to_pylist())) == [[], [5], [6], [7]]
    assert passages.num_rows == 8
