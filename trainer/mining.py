"""Mining: from queries, their positives and a corpus to hard negatives, a block of queries at a time.

    1. candidates    each source is searched, the results fused (trainer.candidates)
    2. cheap rules   excluded rows, rank window, scores against the lowest positive (trainer.negatives)
    3. texts         passages that hold a positive or an answer, asked of no more candidates than are needed (trainer.text_rules)
    4. judge         the first so many are judged; some are dropped, some are positives (trainer.judge)
    5. choice        the first `negatives` of what is left; random rows behind them where the settings say so

What a query gets depends on that query, the corpus and the settings alone, not on the block it is in.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.candidates import fused
from trainer.inner_products import inner_products
from trainer.judge import JUDGE_REASONS, Judge, judge_candidates
from trainer.mining_settings import MiningSettings
from trainer.negatives import (
    REASONS,
    NegativeSettings,
    Ranked,
    Ranking,
    Selection,
    chosen_first,
    fill_with_random,
    first_of_each,
    rank_candidates,
    screened,
    too_close,
)
from trainer.ragged import Ragged
from trainer.search import Found, top_k
from trainer.sparse_vectors import SparseVectors
from trainer.text_rules import TEXT_REASONS, TextRules
from trainer.vector_files import VectorFiles

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

__all__ = ["MinedBlock", "MiningCorpus", "MiningError", "MiningSettings", "QueryBlock", "mine_block"]

ALL_REASONS: Final = REASONS | TEXT_REASONS | JUDGE_REASONS  # why a candidate is no negative
CANDIDATES_AT_ONCE: Final = 2_000_000  # ranked at once, some 100 bytes each: queries x depth x sources
_PAIRS_AT_ONCE: Final = 8192  # of a query and a passage whose vectors or texts are in memory


class MiningError(ValueError):
    """What was given to mine cannot be mined. The message says what is missing."""


class PassageTexts(Protocol):
    """The texts of the corpus by row number; they need not be in memory."""

    def __len__(self) -> int: ...

    def take(self, rows: Rows) -> pa.Array:
        """The texts of these rows: (large) string [n], in their order."""
        ...


class NearSearch(Protocol):
    """The dense search over the part of the corpus that is searched (trainer.kept_neighbours.KeptSearch)."""

    def top_k(
        self, queries: npt.NDArray[Any], depths: Rows, on_block: Callable[[int, int], None] | None = None
    ) -> Found:
        """The depths[q] best rows of each query; what is behind them in a line does not count."""
        ...


class WordIndex(Protocol):
    """BM25 over the corpus (trainer.bm25.Bm25Index)."""

    def top_k(self, queries: pa.Array, k: int, *, rows: Rows | None = None) -> tuple[Floats, Rows]:
        """Scores [Q, k] and corpus rows [Q, k], best first; -inf and -1 where there are fewer."""
        ...


@dataclass(frozen=True)
class MiningCorpus:
    """What is searched."""

    vectors: VectorFiles
    texts: PassageTexts | None = None  # needed by the text rules, bm25 and judges
    rows: Rows | None = None  # int64 [n] ascending: the part that is searched; None: all
    bm25: WordIndex | None = None
    lexical: SparseVectors | None = None  # of all rows
    near: NearSearch | None = None  # None: all vectors are searched


@dataclass(frozen=True)
class QueryBlock:
    """Q queries. Positives and excluded rows are corpus rows, whether they are in the part that is searched or not."""

    ids: npt.NDArray[np.uint64]  # [Q] decide the samples
    texts: pa.Array  # string [Q]
    vectors: npt.NDArray[Any]  # float16 or float32 [Q, D]
    positives: Ragged  # Q lists of rows, at least one each
    excluded: Ragged  # Q lists of rows: same document, cluster or text as a positive; the positives count anyway
    answers: pa.Array | None = None  # list<string> [Q]
    lexical: SparseVectors | None = None  # [Q]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, queries: Rows) -> "QueryBlock":
        """These queries, in that order."""
        return QueryBlock(
            self.ids[queries],
            self.texts.take(pa.array(queries)),
            self.vectors[queries],
            self.positives.take(queries),
            self.excluded.take(queries),
            None if self.answers is None else self.answers.take(pa.array(queries)),
            None if self.lexical is None else self.lexical.take(queries),
        )


@dataclass(frozen=True)
class MinedBlock:
    """What was found for Q queries."""

    positive_scores: Ragged  # float32, beside the block's positives
    negatives: Selection
    relabelled: Ragged  # corpus rows of new positives, found by the judge, in the ranking's order
    relabelled_scores: Ragged  # float32, beside them: of the encoder
    positive_judge_scores: Ragged | None = None  # float32, beside the block's positives; None without a judge
    relabelled_judge_scores: Ragged | None = None
    judged: dict[str, int] = field(default_factory=dict)  # what the judge was asked, not answered, and doubted


def mine_block(
    block: QueryBlock,
    corpus: MiningCorpus,
    settings: MiningSettings,
    judge: Judge | None = None,
    on_batch: Callable[[int], None] = lambda done: None,
) -> MinedBlock:
    """Hard negatives for a block of queries, in its order.

    The reference of the rules on scores is the lowest score among a query's positives. `on_batch` gets numbers as signs of
    life. The whole block may be large: candidates are ranked some two millions at a time.

    Raises MiningError for a query without positives, an empty corpus, and a source, text or judge that the settings ask
    for and that is not there; ValueError as the search does.
    """
    _check(block, corpus, settings, judge)
    positive_scores = _positive_scores(block, corpus)
    excluded = _with_positives(block, corpus.rows)
    parts, places = [], []
    for queries, depths in _parts(block, corpus, settings, excluded):
        part = _Part(block.take(queries), positive_scores.take(queries), excluded.take(queries), depths)
        parts.append(_mine_part(part, corpus, settings, judge, on_batch))
        places.append(queries)
        on_batch(len(queries))
    return _in_order(parts, np.concatenate([np.empty(0, np.int64), *places]), positive_scores)


@dataclass(frozen=True)
class _Part:
    block: QueryBlock
    positive_scores: Ragged
    excluded: Ragged
    depths: Rows  # [Q] candidates of each query from each source

    @property
    def lowest_positive(self) -> Floats:
        lowest: Floats = np.minimum.reduceat(self.positive_scores.values, self.positive_scores.offsets[:-1])
        return lowest


def _check(block: QueryBlock, corpus: MiningCorpus, settings: MiningSettings, judge: Judge | None) -> None:
    if (block.positives.lengths == 0).any():
        query = int(np.argmin(block.positives.lengths))
        raise MiningError(f"Query {query} of the block ({block.texts[query].as_py()[:80]!r}) has no positive passage.")
    if len(corpus.vectors) == 0 or (corpus.rows is not None and len(corpus.rows) == 0):
        raise MiningError("The corpus has no passages, so there is nothing to find negatives in.")
    needed = {
        "bm25": (corpus.bm25, "candidates from bm25 need an index of the corpus's words"),
        "lexical": (
            block.lexical if corpus.lexical is not None else None,
            "candidates from lexical need the token weights of an M3 model",
        ),
    }
    for source in settings.candidates.sources:
        if source != "dense" and needed[source][0] is None:
            raise MiningError(f"{needed[source][1]}; take {source} out of candidates.sources, or give it.")
    if (settings.judge is None) != (judge is None):
        raise MiningError("A judge needs its settings (`judge`), and these a judge.")
    if corpus.texts is None and (judge or settings.exclude_contained or _asks_answers(block, settings)):
        raise MiningError("Contained texts, answers and judges need the texts of the corpus.")


def _asks_answers(block: QueryBlock, settings: MiningSettings) -> bool:
    return settings.exclude_answers and block.answers is not None


def _positive_scores(block: QueryBlock, corpus: MiningCorpus) -> Ragged:
    """float32, beside the positives."""
    score = _scorer(block, corpus)
    return Ragged(score(block.positives.owners, block.positives.values), block.positives.offsets)


def _scorer(block: QueryBlock, corpus: MiningCorpus) -> Callable[[Rows, Rows], Floats]:
    """What gives the scores float32 [m] of pairs of a query number and a corpus row, int64 [m] each."""

    def score(queries: Rows, rows: Rows) -> Floats:
        scores = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            scores[part] = inner_products(block.vectors[queries[part]], corpus.vectors, rows[part, None])[:, 0]
        return scores

    return score


def _with_positives(block: QueryBlock, searched: Rows | None) -> Ragged:
    """The excluded rows of each query and its positives, each once, those in the part that is searched."""
    owners = np.concatenate([block.positives.owners, block.excluded.owners])
    rows = np.concatenate([block.positives.values, block.excluded.values]).astype(np.int64)
    if searched is not None:
        inside = searched[np.searchsorted(searched, rows).clip(max=len(searched) - 1)] == rows
        owners, rows = owners[inside], rows[inside]
    stride = int(rows.max(initial=0)) + 1
    keys = np.unique(owners * stride + rows)
    return Ragged.grouped(keys // stride, keys % stride, len(block))


def _parts(
    block: QueryBlock, corpus: MiningCorpus, settings: MiningSettings, excluded: Ragged
) -> Iterator[tuple[Rows, Rows]]:
    """Query numbers and their depths, in parts of about CANDIDATES_AT_ONCE. A query is searched as deep as its own
    exclusions ask for; queries of like depth are together, for a search goes as deep as its deepest query."""
    depths = _depths(settings, excluded.lengths, len(corpus.vectors) if corpus.rows is None else len(corpus.rows))
    order = np.argsort(depths, kind="stable")
    width = len(settings.candidates.sources)
    start = 0
    while start < len(order):
        sizes = np.arange(1, len(order) - start + 1) * depths[order[start:]] * width
        queries = order[start : start + max(1, int(np.searchsorted(sizes, CANDIDATES_AT_ONCE, "right")))]
        yield queries, depths[queries]
        start += len(queries)


def _depths(settings: MiningSettings, excluded: Rows, searched: int) -> Rows:
    if settings.candidates.depth is not None:
        return np.full(len(excluded), min(searched, settings.candidates.depth))
    on_top = 0 if settings.select.ranks_among == "all" else excluded
    return np.minimum(searched, settings.select.rank_window[1] + on_top * np.ones(len(excluded), np.int64))


def _mine_part(
    part: _Part,
    corpus: MiningCorpus,
    settings: MiningSettings,
    judge: Judge | None,
    on_batch: Callable[[int], None],
) -> MinedBlock:
    block, select = part.block, settings.select
    ranking = _candidates(part, corpus, settings, on_batch)
    ranked = rank_candidates(ranking, part.lowest_positive, part.excluded, select, block.ids)
    rules = _text_rules(block, corpus, settings)
    places, dropped = _screen(ranked, rules, settings)
    judgement = _Judgement.none(len(block))
    if judge is not None:
        places, judgement = _judge(part, ranked, places, corpus, settings, judge, on_batch)
    negatives = chosen_first(ranked, places, select, dropped | judgement.dropped, judgement.scores)
    if select.fill_with_random:
        taken = _joined(part.excluded, judgement.left_out)
        searched = len(corpus.vectors) if corpus.rows is None else corpus.rows
        allowed = _rules_for_random(part, rules, select)
        negatives = fill_with_random(negatives, searched, taken, select, block.ids, _scorer(block, corpus), allowed)
    return MinedBlock(
        part.positive_scores,
        negatives,
        judgement.relabelled,
        judgement.relabelled_scores,
        judgement.positive_scores,
        judgement.relabelled_judge_scores,
        judgement.counts,
    )


def _candidates(
    part: _Part, corpus: MiningCorpus, settings: MiningSettings, on_batch: Callable[[int], None]
) -> Ranking:
    block, deepest = part.block, int(part.depths.max())
    found, dense_scores = [], None
    for source in settings.candidates.sources:
        if source == "dense":
            result = _near(part, corpus, settings, on_batch)
            rows, dense_scores = result.rows, result.scores
        elif source == "bm25":
            assert corpus.bm25 is not None
            rows = corpus.bm25.top_k(block.texts, deepest, rows=corpus.rows)[1]
        else:
            rows = _lexical(block, corpus, deepest)
        # What a query needs, not what its neighbours do.
        rows[np.arange(rows.shape[1]) >= part.depths[:, None]] = -1
        found.append(rows)
    return fused(found, settings.candidates, block.vectors, dense_scores, corpus.vectors)


def _near(part: _Part, corpus: MiningCorpus, settings: MiningSettings, on_batch: Callable[[int], None]) -> Found:
    def tell(done: int, total: int) -> None:
        on_batch(done)

    vectors = part.block.vectors
    if corpus.near is not None:
        return corpus.near.top_k(vectors, part.depths, tell)
    return top_k(vectors, corpus.vectors, int(part.depths.max()), settings.search, rows=corpus.rows, on_block=tell)


def _lexical(block: QueryBlock, corpus: MiningCorpus, depth: int) -> Rows:
    from trainer.lexical_search import lexical_top_k

    assert corpus.lexical is not None
    assert block.lexical is not None
    if corpus.rows is None:
        return lexical_top_k(block.lexical, corpus.lexical, depth).rows
    rows = lexical_top_k(block.lexical, corpus.lexical.take(corpus.rows), depth).rows
    return np.where(rows >= 0, corpus.rows[rows], -1)


def _text_rules(block: QueryBlock, corpus: MiningCorpus, settings: MiningSettings) -> TextRules | None:
    """None where no rule needs texts."""
    answers = block.answers if _asks_answers(block, settings) else None
    if not settings.exclude_contained and answers is None:
        return None
    assert corpus.texts is not None
    return TextRules(corpus.texts.take, block.texts, block.positives, answers, contained=settings.exclude_contained)


def _screen(ranked: Ranked, rules: TextRules | None, settings: MiningSettings) -> tuple[Ragged, dict[str, int]]:
    """The candidates that may be needed, the rules on texts having been asked."""
    most = settings.select.negatives if settings.judge is None else settings.judge.depth
    if rules is None:
        return first_of_each(ranked.open, most), {}
    return screened(ranked, most, rules.find_faults, tuple(TEXT_REASONS))


def _rules_for_random(
    part: _Part, rules: TextRules | None, select: NegativeSettings
) -> Callable[[Rows, Rows, Floats], npt.NDArray[np.bool_]]:
    """Which random rows may be negatives: what a rule keeps out of the ranking must not come back by chance."""
    lowest = part.lowest_positive

    def allowed(queries: Rows, rows: Rows, scores: Floats) -> npt.NDArray[np.bool_]:
        passed = ~too_close(scores, lowest[queries], select)
        if rules is not None:
            places = np.flatnonzero(passed)
            passed[places] = rules.find_faults(queries[places], rows[places]) < 0
        return passed

    return allowed


@dataclass(frozen=True)
class _Judgement:
    """What the judge did. Without one nothing, and no scores."""

    dropped: dict[str, int]
    counts: dict[str, int]
    scores: Floats | None  # of the candidates that are left
    left_out: Ragged  # corpus rows that it keeps out, the relabelled ones among them
    relabelled: Ragged
    relabelled_scores: Ragged
    positive_scores: Ragged | None
    relabelled_judge_scores: Ragged | None

    @classmethod
    def none(cls, queries: int) -> "_Judgement":
        nothing = Ragged.empty(queries)
        return cls({}, {}, None, nothing, nothing, Ragged.empty(queries, np.float32), None, None)


def _judge(
    part: _Part,
    ranked: Ranked,
    places: Ragged,
    corpus: MiningCorpus,
    settings: MiningSettings,
    judge: Judge,
    on_batch: Callable[[int], None],
) -> tuple[Ragged, _Judgement]:
    """The candidates that the judge leaves, and what it did with the others and with the positives."""
    assert corpus.texts is not None
    assert settings.judge is not None
    rows, positives = ranked.rows(places), part.block.positives
    owners = np.concatenate([rows.owners, positives.owners])
    wanted = np.concatenate([rows.values, positives.values])
    # One after the other, the pairs of a query together: what a judge is asked for does not depend on the block.
    order = np.argsort(owners, kind="stable")
    scores = np.empty(len(order), np.float32)
    for start in range(0, len(order), _PAIRS_AT_ONCE):
        pairs = order[start : start + _PAIRS_AT_ONCE]
        queries = part.block.texts.take(pa.array(owners[pairs]))
        scores[pairs] = judge.score(queries, corpus.texts.take(wanted[pairs]), on_batch)
    own, of_positives = scores[: len(rows.values)], scores[len(rows.values) :]
    judged = Ragged(of_positives, positives.offsets)
    verdicts = judge_candidates(Ragged(own, places.offsets), judged, settings.judge)
    count = len(places)
    left = Ragged.grouped(places.owners[verdicts.keep], places.values[verdicts.keep], count)
    # In the ranking's order, as negatives are.
    new = np.flatnonzero(verdicts.relabel)
    new = new[np.argsort(places.values[new], kind="stable")]
    relabelled = Ragged.grouped(places.owners[new], rows.values[new], count)
    encoder_scores = ranked.ranking.scores.reshape(-1)[places.values[new]]
    counts = dict(verdicts.counts)
    asked = {name: counts.pop(name) for name in ("judged", "unjudged", "doubted_positives")}
    return left, _Judgement(
        counts,
        asked,
        own[verdicts.keep],
        Ragged.grouped(places.owners[~verdicts.keep], rows.values[~verdicts.keep], count),
        relabelled,
        replace(relabelled, values=encoder_scores),
        judged,
        replace(relabelled, values=own[new]),
    )


def _joined(left: Ragged, right: Ragged) -> Ragged:
    """Of each query the values of both."""
    owners = np.concatenate([left.owners, right.owners])
    order = np.argsort(owners, kind="stable")
    return Ragged.grouped(owners[order], np.concatenate([left.values, right.values])[order], len(left))


def _in_order(parts: list[MinedBlock], places: Rows, positive_scores: Ragged) -> MinedBlock:
    """The parts, whose queries are numbered `places`, in the block's order."""
    back = np.empty(len(places), np.int64)
    back[places] = np.arange(len(places))
    judged: Counter[str] = Counter()
    for part in parts:
        judged.update(part.judged)
    return MinedBlock(
        positive_scores,
        Selection.concatenate([part.negatives for part in parts]).take(back),
        Ragged.concatenate(part.relabelled for part in parts).take(back),
        Ragged.concatenate((part.relabelled_scores for part in parts), np.float32).take(back),
        _judged_scores([part.positive_judge_scores for part in parts], back),
        _judged_scores([part.relabelled_judge_scores for part in parts], back),
        dict(judged),
    )


def _judged_scores(parts: list[Ragged | None], back: Rows) -> Ragged | None:
    known = [part for part in parts if part is not None]
    return Ragged.concatenate(known, np.float32).take(back) if known else None
