"""A few queries with their positive and mined negatives, and what mining left out."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import pyarrow.compute as pc

from pipelines import storage
from pipelines.job import PAIRS
from pipelines.jobs.dedup import PASSAGES
from pipelines.jobs.mine import MINED
from pipelines.report.distributions import Tell
from pipelines.report.finished_run import FinishedRun
from pipelines.report.row_choice import SmallestIds, joined, rows_at
from pipelines.report.text import Clipped
from pipelines.shards import read_batches
from trainer.mining import ALL_REASONS

SHOWN_QUERIES: Final = 10


@dataclass(frozen=True)
class Found:
    """A passage beside its query: rank is None for the positive."""

    text: Clipped
    rank: int | None
    score: float | None
    bar: float  # percent of the width that a score of 1 has


@dataclass(frozen=True)
class MinedQuery:
    query: Clipped
    source: str
    kind: str
    language: str
    positive: Found
    negatives: list[Found]


@dataclass(frozen=True)
class Mined:
    queries: list[MinedQuery]
    details: dict[str, Any]
    left_out: list[tuple[str, str, int]]  # (reason, explanation, candidates)


def mined_negatives(finished: FinishedRun, tell: Tell) -> Mined | None:
    manifest = finished.manifests.get("mine")
    if manifest is None:
        return None
    left_out = sorted(manifest.details.get("candidates_left_out", {}).items(), key=lambda item: (-item[1], item[0]))
    return Mined(
        _queries(finished, tell), manifest.details, [(name, ALL_REASONS.get(name, ""), rows) for name, rows in left_out]
    )


def _queries(finished: FinishedRun, tell: Tell) -> list[MinedQuery]:
    """Mined rows stand beside the pairs of the shard of the same name, row by row."""
    job = finished.pairs_job(before="mine")
    assert job is not None
    beside = {url.rsplit("/", 1)[-1]: url for url in finished.urls(job, PAIRS)}
    chosen = SmallestIds(SHOWN_QUERIES)
    for url in finished.urls("mine", MINED):
        first_row = 0
        kinds = read_batches(beside[url.rsplit("/", 1)[-1]], ["kind"])
        mined_batches = read_batches(url, ["pair_id", "source", "negative_rows"])
        for batch, pairs in zip(mined_batches, kinds, strict=True):
            # Rows without negatives go to a stratum of their own, which is not shown: filtering would lose the row numbers.
            some = pc.greater(pc.list_value_length(batch["negative_rows"]), 0)
            stratum = pc.if_else(some, joined(batch["source"], pairs["kind"]), "")
            chosen.add(url, first_row, batch["pair_id"], stratum)
            first_row += batch.num_rows
            tell(batch.num_rows)
    places = [place for stratum, place in chosen.in_turn(2 * SHOWN_QUERIES) if stratum][:SHOWN_QUERIES]
    mined = rows_at(
        [(place.url, place.row) for place in places],
        ["positive_row", "positive_score", "negative_rows", "negative_scores", "negative_ranks"],
    )
    at = {place: (beside[place.url.rsplit("/", 1)[-1]], place.row) for place in places}
    pairs = rows_at(at.values(), ["query", "source", "kind", "query_lang"])
    numbers = {n for row in mined.values() for n in (row["positive_row"], *row["negative_rows"])}
    texts = _passages(finished, numbers)
    return [_query(mined[place.url, place.row], pairs[at[place]], texts) for place in places]


def _passages(finished: FinishedRun, numbers: set[int]) -> dict[int, str]:
    """The texts of some rows of dedup's passage shards, counted through all shards in the order of their paths."""
    files = finished.files("dedup", PASSAGES)
    urls = [storage.join(finished.run.job("dedup"), file.path) for file in files]
    ends = list(accumulate(file.rows for file in files))
    at = {}
    for number in numbers:
        shard = bisect_right(ends, number)
        at[number] = (urls[shard], number - (ends[shard - 1] if shard else 0))
    rows = rows_at(at.values(), ["text"])
    return {number: rows[place]["text"] for number, place in at.items()}


def _query(mined: dict[str, Any], pair: dict[str, Any], texts: dict[int, str]) -> MinedQuery:
    def found(row: int, score: float | None, rank: int | None) -> Found:
        bar = round(100 * min(max(score or 0.0, 0.0), 1.0), 2)
        return Found(Clipped.of(texts[row]), rank, score, bar)

    negatives = zip(mined["negative_rows"], mined["negative_scores"], mined["negative_ranks"], strict=True)
    return MinedQuery(
        query=Clipped.of(pair["query"]),
        source=pair["source"],
        kind=pair["kind"],
        language=pair["query_lang"],
        positive=found(mined["positive_row"], mined["positive_score"], None),
        negatives=[found(*negative) for negative in negatives],
    )
