import types
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import mining
from trainer.bm25 import Bm25Index
from trainer.judge import JudgeSettings
from trainer.mining import MiningCorpus, MiningError, MiningSettings, QueryBlock, mine_block
from trainer.ragged import Ragged
from trainer.sparse_vectors import SparseVectors
from trainer.vector_files import VectorFiles


class Texts:
    def __init__(self, texts):
        self.texts = pa.array(texts, pa.string())

    def __len__(self):
        return len(self.texts)

    def take(self, rows):
        return self.texts.take(pa.array(rows))


def unit(generator, *shape):
    vectors = generator.standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def random_block(seed, queries, rows, dimension=6):
    """Queries near some rows, which are their positives; some rows more are excluded."""
    generator = np.random.default_rng(seed)
    vectors = unit(generator, rows, dimension)
    positives = [np.unique(generator.integers(0, rows, generator.integers(1, 4))) for _ in range(queries)]
    excluded = [generator.integers(0, rows, generator.integers(0, 9)) for _ in range(queries)]
    near = np.array([vectors[each].mean(axis=0) for each in positives]) + 0.3 * unit(generator, queries, dimension)
    asked = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    ids = generator.integers(0, 2**63, queries).astype(np.uint64)
    texts = pa.array([f"query {number}" for number in range(queries)])
    block = QueryBlock(ids, texts, asked, Ragged.of(positives), Ragged.of(excluded))
    return block, MiningCorpus(VectorFiles.of(vectors), Texts([f"passage {number}" for number in range(rows)]))


def chosen(**changes):
    select = {"rank_window": (0, 20), "fewest": 0, **changes.pop("select", {})}
    return MiningSettings.model_validate({"exclude_contained": False, "select": select, **changes})


def negatives(mined):
    return Ragged(mined.negatives.rows, mined.negatives.offsets).lists()


def plain_python(block, corpus, settings):
    """Every query by itself: all scores, sorted; the rules one after the other."""
    vectors, select = corpus.vectors.take(np.arange(len(corpus.vectors))), settings.select
    rows = range(len(vectors)) if corpus.rows is None else corpus.rows.tolist()
    found = []
    for query, positives, excluded in zip(block.vectors, block.positives.lists(), block.excluded.lists(), strict=True):
        scores = vectors.astype(np.float64) @ query.astype(np.float64)
        lowest = min(scores[positives])
        kept, rank = [], -1
        for row in sorted(rows, key=lambda row: (-scores[row], row)):
            if row in {*positives, *excluded}:
                continue
            rank += 1
            ceiling = lowest - (1 - select.max_share_of_positive) * abs(lowest)
            if select.rank_window[0] <= rank < select.rank_window[1] and scores[row] < ceiling:
                kept.append(row)
        found.append(kept[: select.negatives])
    return found


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), low=st.integers(0, 4), high=st.integers(5, 60), part=st.booleans())
def test_what_is_mined_is_what_a_plain_loop_over_all_passages_gives(seed, low, high, part):
    block, corpus = random_block(seed, 7, 50)
    if part:
        rows = np.sort(np.random.default_rng(seed).permutation(50)[:30])
        corpus = MiningCorpus(corpus.vectors, corpus.texts, rows)
    wanted = chosen(select={"rank_window": (low, high), "negatives": 4})
    mined = mine_block(block, corpus, wanted)
    assert negatives(mined) == plain_python(block, corpus, wanted)
    vectors = corpus.vectors.take(np.arange(50)).astype(np.float64)
    expected = [vectors[own] @ query for own, query in zip(block.positives.lists(), block.vectors, strict=True)]
    np.testing.assert_allclose(mined.positive_scores.values, np.concatenate(expected), rtol=1e-6, atol=1e-7)


SELECTIONS = st.fixed_dictionaries(
    {
        "rank_window": st.sampled_from([(0, 10), (2, 30)]),
        "ranks_among": st.sampled_from(["not_excluded", "all", "allowed"]),
        "sampling": st.sampled_from(["top", "uniform", "softmax"]),
        "negatives": st.integers(1, 6),
        "max_share_of_positive": st.sampled_from([None, 0.95]),
        "fill_with_random": st.booleans(),
        "fewest": st.integers(0, 1),
    }
)
SOURCES = st.sampled_from([("dense",), ("bm25",), ("dense", "bm25")])


class SameWords:
    """An index of words that knows no words: each document has the score its row gives it for a query's number."""

    def top_k(self, queries, k, *, rows=None):
        rows = np.arange(50) if rows is None else rows
        numbers = np.array([int(text.split()[1]) for text in queries.to_pylist()])
        order = np.stack([rows[np.argsort((rows * 7 + number) % 31, kind="stable")] for number in numbers])
        found = np.full((len(queries), k), -1, np.int64)
        found[:, : min(k, len(rows))] = order[:, :k]
        return np.zeros(found.shape, np.float32), found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    select=SELECTIONS,
    sources=SOURCES,
    fusion=st.sampled_from(["union", "reciprocal_rank"]),
)
def test_excluded_rows_never_come_back_and_every_candidate_is_accounted_for(seed, select, sources, fusion):
    block, corpus = random_block(seed, 6, 50)
    corpus = MiningCorpus(corpus.vectors, corpus.texts, None, SameWords())
    wanted = chosen(select=select, candidates={"sources": sources, "fusion": fusion})
    mined = mine_block(block, corpus, wanted)
    for own, positives, excluded in zip(negatives(mined), block.positives.lists(), block.excluded.lists(), strict=True):
        assert not set(own) & {*positives, *excluded}
        assert len(set(own)) == len(own) <= select["negatives"]
    drawn = int((mined.negatives.ranks < 0).sum())
    union = 0
    for query in range(6):  # how many candidates there are: what the sources give together
        allowed = {*block.positives.lists()[query], *block.excluded.lists()[query]}
        depth = select["rank_window"][1] + (0 if select["ranks_among"] == "all" else len(allowed))
        alone = block.take(np.array([query]))
        candidates = set()
        for source in sources:
            if source == "bm25":
                candidates.update(SameWords().top_k(alone.texts, min(50, depth))[1][0].tolist())
            else:
                scores = corpus.vectors.take(np.arange(50)).astype(np.float64) @ alone.vectors[0].astype(np.float64)
                candidates.update(np.argsort(-scores, kind="stable")[:depth].tolist())
        union += len(candidates)
    assert sum(mined.negatives.dropped.values()) + len(mined.negatives.rows) - drawn == union


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), select=SELECTIONS, sources=SOURCES, order=st.permutations(range(6)))
def test_other_orders_and_blocks_of_queries_give_each_query_the_same(seed, select, sources, order):
    block, corpus = random_block(seed, 6, 50)
    corpus = MiningCorpus(corpus.vectors, corpus.texts, None, SameWords())
    wanted = chosen(select=select, candidates={"sources": sources})
    whole = mine_block(block, corpus, wanted)
    turned = mine_block(block.take(np.array(order)), corpus, wanted)
    assert_same(whole.negatives.take(np.array(order)), turned.negatives)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mining, "CANDIDATES_AT_ONCE", 40)
        cut = mine_block(block, corpus, wanted)
    assert_same(whole.negatives, cut.negatives)
    assert whole.negatives.dropped == cut.negatives.dropped == turned.negatives.dropped
    alone = [mine_block(block.take(np.array([query])), corpus, wanted) for query in range(6)]
    assert negatives(whole) == [line for each in alone for line in negatives(each)]


def assert_same(left, right):
    for name in ("offsets", "rows", "scores", "ranks", "origins", "source_ranks"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


class FixedModel:
    """What sentence_transformers.util.mine_hard_negatives asks of a model: fixed vectors."""

    device = torch.device("cpu")
    model_card_data = types.SimpleNamespace(base_model="fixed")

    def __init__(self, queries, documents):
        self.queries, self.documents = queries, documents

    def encode_query(self, texts, **_):
        return np.stack([self.queries[text] for text in texts])

    def encode_document(self, texts, **_):
        return np.stack([self.documents[text] for text in texts])

    def similarity(self, left, right):
        return torch.as_tensor(left) @ torch.as_tensor(right).T

    def similarity_pairwise(self, left, right):
        return (torch.as_tensor(left) * torch.as_tensor(right)).sum(dim=1)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {"max_share_of_positive": None}),
        ({"relative_margin": 0.05}, {"max_share_of_positive": 0.95}),
        ({"relative_margin": 0.05, "range_min": 3}, {"max_share_of_positive": 0.95, "low": 3}),
        ({"absolute_margin": 0.1, "range_min": 1}, {"max_share_of_positive": None, "margin": 0.1, "low": 1}),
        (
            {"max_score": 0.6, "min_score": 0.1, "relative_margin": 0.0},
            {"max_share_of_positive": 1.0, "max_score": 0.6, "min_score": 0.1},
        ),
    ],
)
def test_the_settings_of_sentence_transformers_give_its_negatives(theirs, ours):
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    # Queries with 1 to 3 positives each, in mixed order: the lowest of a query's own positives must count.
    block, corpus = random_block(3, 20, 60)
    vectors = corpus.vectors.take(np.arange(60))
    passages, queries = corpus.texts.texts.to_pylist(), block.texts.to_pylist()
    pairs = [(queries[query], passages[row]) for query, rows in enumerate(block.positives.lists()) for row in rows]
    np.random.default_rng(0).shuffle(pairs)
    assert len({len(rows) for rows in block.positives.lists()}) > 1
    high, count = 18, 5
    mined = mine_hard_negatives(
        Dataset.from_dict({"anchor": [pair[0] for pair in pairs], "positive": [pair[1] for pair in pairs]}),
        FixedModel(dict(zip(queries, block.vectors, strict=True)), dict(zip(passages, vectors, strict=True))),
        corpus=passages,
        range_max=high,
        num_negatives=count,
        output_format="triplet",
        verbose=False,
        **theirs,
    )
    expected = {query: set() for query in queries}
    for row in mined:
        expected[row["anchor"]].add(row["negative"])
    most = max(block.positives.lengths)  # their search is deeper by the most positives that any query has
    ours = dict(ours)
    wanted = chosen(
        select={"rank_window": (ours.pop("low", 0), high), "negatives": count, "ranks_among": "allowed", **ours},
        candidates={"depth": high + int(most)},
    )
    only_positives = QueryBlock(block.ids, block.texts, block.vectors, block.positives, Ragged.empty(20))
    found = negatives(mine_block(only_positives, corpus, wanted))
    assert {query: {passages[row] for row in rows} for query, rows in zip(queries, found, strict=True)} == expected
    assert sum(map(len, found)) > 20


LINE = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.1], [0.7, 0.1], [0.6, 0.1], [0.5, 0.1], [0.4, 0.1]], np.float32)
SAID = [
    "The river rises in the northern mountains each spring.",
    "A lake.",
    "Each spring? The river rises in the northern mountains, each spring. Then it falls.",
    "It rises in 1987.",
    "A sea",
    "A pond",
    "A well",
]


def one_query(**changes):
    """A query whose ranking is 0 (its positive), 1, 2 ..., with the scores 1, 0.9, 0.8 ..."""
    given = {"answers": None, "excluded": Ragged.empty(1), **changes}
    block = QueryBlock(
        np.array([1], np.uint64),
        pa.array(["when does the river rise"]),
        np.array([[1.0, 0.0]], np.float32),
        Ragged.of([[0]]),
        given["excluded"],
        given["answers"],
    )
    return block, MiningCorpus(VectorFiles.of(LINE), Texts(SAID))


def test_passages_that_hold_a_positive_or_an_answer_are_left_out_and_counted():
    block, corpus = one_query(answers=pa.array([["1987"]], pa.list_(pa.string())))
    wanted = chosen(exclude_contained=True, select={"max_share_of_positive": None, "negatives": 2})
    mined = mine_block(block, corpus, wanted)
    assert negatives(mined) == [[1, 4]]
    assert mined.negatives.ranks.tolist() == [0, 3]
    assert mined.negatives.dropped == {
        "excluded": 1, "outside_window": 0, "says_the_same": 0, "contained": 1, "has_answer": 1, "too_few": 0, "not_needed": 2,
    }  # fmt: skip
    without = wanted.model_copy(update={"exclude_contained": False, "exclude_answers": False})
    assert negatives(mine_block(block, corpus, without)) == [[1, 2]]


class FixedJudge:
    name = "fixed"

    def __init__(self, scores):
        self.scores, self.asked = scores, []

    def score(self, queries, passages, on_batch=lambda done: None):
        assert queries.to_pylist() == ["when does the river rise"] * len(passages)
        self.asked += passages.to_pylist()
        return np.array([self.scores[SAID.index(text)] for text in passages.to_pylist()], np.float32)


def test_a_judge_drops_some_and_makes_positives_of_others():
    block, corpus = one_query()
    judge = FixedJudge({0: 0.9, 1: 0.2, 2: 0.95, 3: 0.6, 4: np.nan, 5: 0.1, 6: 0.1})
    rules = JudgeSettings(depth=5, max_score=0.5, relabel_above=0.9, max_share_of_positive=None)
    wanted = chosen(select={"max_share_of_positive": None, "negatives": 3}, judge=rules.model_dump())
    mined = mine_block(block, corpus, wanted, judge)
    assert judge.asked == [SAID[row] for row in (1, 2, 3, 4, 5, 0)]  # the first five, and the positive
    assert negatives(mined) == [[1, 4, 5]]
    np.testing.assert_array_equal(mined.negatives.judge_scores, np.array([0.2, np.nan, 0.1], np.float32))
    assert mined.relabelled.lists() == [[2]]
    np.testing.assert_array_equal(mined.relabelled_scores.values, np.array([0.8], np.float32))
    np.testing.assert_array_equal(mined.relabelled_judge_scores.values, np.array([0.95], np.float32))
    np.testing.assert_array_equal(mined.positive_judge_scores.values, np.array([0.9], np.float32))
    assert mined.judged == {"judged": 4, "unjudged": 1, "doubted_positives": 0}
    dropped = mined.negatives.dropped
    assert (dropped["excluded"], dropped["relabelled"], dropped["judged_relevant"], dropped["not_needed"]) == (
        1,
        1,
        1,
        1,
    )
    assert sum(dropped.values()) + 3 == 7


def test_random_rows_fill_up_and_are_no_relabelled_positives():
    block, corpus = one_query()
    judge = FixedJudge(dict.fromkeys(range(7), 0.95))
    rules = JudgeSettings(depth=2, relabel_above=0.9)
    select = {"max_share_of_positive": None, "negatives": 6, "fill_with_random": True}
    mined = mine_block(block, corpus, chosen(select=select, judge=rules.model_dump()), judge)
    assert mined.relabelled.lists() == [[1, 2]]
    assert sorted(mined.negatives.rows.tolist()) == [3, 4, 5, 6]
    assert mined.negatives.ranks.tolist() == [-1] * 4
    assert np.isnan(mined.negatives.judge_scores).all()
    np.testing.assert_array_equal(mined.negatives.scores, LINE[mined.negatives.rows, 0])


def test_random_rows_obey_the_rules_that_the_ranking_obeys():
    block, corpus = one_query()
    texts = ["the river", *["nothing"] * 3, "it rises in a well", "nothing", "nothing"]
    corpus = MiningCorpus(corpus.vectors, Texts(texts))
    block = replace(block, answers=pa.array([["a well"]]))
    select = {"max_share_of_positive": None, "negatives": 6, "fill_with_random": True, "rank_window": (50, 60)}
    mined = mine_block(block, corpus, chosen(select=select | {"max_score": float(LINE[2, 0])}))
    assert sorted(mined.negatives.rows.tolist()) == [3, 5, 6]
    judge = FixedJudge(dict.fromkeys(range(7), 0.7) | {3: 0.1})
    rules = {"depth": 6, "max_score": 0.5, "max_share_of_positive": None}
    judged = mine_block(*one_query(), chosen(select=select | {"rank_window": (0, 60)}, judge=rules), judge)
    assert judged.negatives.rows.tolist() == [3]


def test_bm25_brings_candidates_that_the_encoder_ranks_last(tmp_path):
    block, corpus = one_query()
    texts = ["the river", *["nothing"] * 5, "does the river rise in a well"]
    corpus = MiningCorpus(corpus.vectors, Texts(texts), None, Bm25Index.build([pa.array(texts)], tmp_path))
    wanted = chosen(
        select={"max_share_of_positive": None, "negatives": 2, "rank_window": (0, 2)},
        candidates={"sources": ["dense", "bm25"]},
    )
    mined = mine_block(block, corpus, wanted)
    assert negatives(mined) == [[6, 1]]  # ranks in bm25 and in dense: 0 and none, 1 and none in the other way round
    assert mined.negatives.origins.tolist() == [2, 1]
    assert mined.negatives.source_ranks.tolist() == [[-1, 0], [1, -1]]
    np.testing.assert_array_equal(mined.negatives.scores, np.array([0.4, 0.9], np.float32))


def test_what_cannot_be_mined_is_said():
    block, corpus = one_query()
    with pytest.raises(MiningError, match="no positive passage"):
        mine_block(
            QueryBlock(block.ids, block.texts, block.vectors, Ragged.empty(1), Ragged.empty(1)), corpus, chosen()
        )
    with pytest.raises(MiningError, match="no passages"):
        mine_block(block, MiningCorpus(VectorFiles.of(LINE[:0]), Texts([])), chosen())
    with pytest.raises(MiningError, match="take bm25 out of candidates"):
        mine_block(block, corpus, chosen(candidates={"sources": ["bm25"]}))
    with pytest.raises(MiningError, match="A judge needs its settings"):
        mine_block(block, corpus, chosen(), FixedJudge({}))
    with pytest.raises(MiningError, match="need the texts"):
        mine_block(block, MiningCorpus(corpus.vectors), chosen(exclude_contained=True))


def test_no_queries_give_nothing():
    block, corpus = one_query()
    mined = mine_block(block.take(np.empty(0, np.int64)), corpus, chosen())
    assert negatives(mined) == []
    assert len(mined.relabelled) == 0
    assert len(mined.positive_scores) == 0


def test_lexical_weights_bring_candidates_of_the_part_that_is_searched():
    block, corpus = one_query()
    of_passages = SparseVectors(
        np.arange(8), np.array([5, 5, 9, 9, 9, 5, 5], np.int32), np.arange(1, 8, dtype=np.float32)
    )
    of_query = SparseVectors(np.array([0, 1]), np.array([5], np.int32), np.ones(1, np.float32))
    corpus = replace(corpus, lexical=of_passages, rows=np.array([0, 1, 2, 5]))
    wanted = chosen(select={"max_share_of_positive": None}, candidates={"sources": ["lexical"]})
    mined = mine_block(replace(block, lexical=of_query), corpus, wanted)
    # token 5 is in 0, 1, 5 and 6, with the weights 1, 2, 6 and 7; 0 is the positive, 6 is not searched
    assert negatives(mined) == [[5, 1]]
    np.testing.assert_array_equal(mined.negatives.scores, np.array([0.5, 0.9], np.float32))
    with pytest.raises(MiningError, match="token weights"):
        mine_block(block, corpus, wanted)


def test_pairs_are_scored_and_judged_in_pieces_of_bounded_size(monkeypatch):
    block, corpus = random_block(1, 6, 50)
    wanted = chosen(select={"negatives": 3, "fill_with_random": True, "max_score": 0.2}, judge={"depth": 6})

    class Judge:
        name = "by number"
        calls = 0

        def score(self, queries, passages, on_batch=lambda done: None):
            Judge.calls += 1
            return np.array([int(text.split()[1]) % 10 / 10 for text in passages.to_pylist()], np.float32)

    whole = mine_block(block, corpus, wanted, Judge())
    assert Judge.calls == 1
    monkeypatch.setattr(mining, "_PAIRS_AT_ONCE", 5)
    pieces = mine_block(block, corpus, wanted, Judge())
    assert Judge.calls > 3
    assert_same(whole.negatives, pieces.negatives)
    np.testing.assert_array_equal(whole.negatives.judge_scores, pieces.negatives.judge_scores)
    np.testing.assert_array_equal(whole.positive_judge_scores.values, pieces.positive_judge_scores.values)
