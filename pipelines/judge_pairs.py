"""A judge over pairs that have negatives: scores for distillation, false negatives found, dropped or relabelled, or their share
estimated from a sample. What `pairmill judge` does.

In:  the files that `pairmill mine` reads: FlagEmbedding's JSON lines, sentence-transformers' columns, our shards.
Out: JSON lines {"query", "pos", "neg", "pos_scores", "neg_scores", other keys}, in the order of the input.

Blocks of rows are written to OUTPUT.work as they are done, so that a run that is killed goes on from there.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
from rich.console import Group
from rich.table import Table

from pipelines import storage
from pipelines.mining.bad_rows import BadRows, MiningInputError
from pipelines.mining.forms import BadRow, Fields, PairRow, fields_of, row_of
from pipelines.mining.inputs import file_facts
from pipelines.mining.outputs import json_value
from pipelines.mining.row_files import RowBlock, read_rows
from pipelines.mining.work import Work
from pipelines.rejected import shown_text
from trainer.false_negatives import RELEVANT, Estimate, SampledNegatives, estimate_share
from trainer.judge import JUDGE_REASONS, Judge, JudgeSettings, Verdicts, judge_candidates
from trainer.ragged import Ragged

VERSION: Final = 1  # of the blocks: raised when the same input gives another output
ROWS: Final = 512  # judged together: what a kill loses
Tell = Callable[[int], None]


@dataclass(frozen=True)
class SampledPair:
    """One negative of the sample."""

    query: str
    negative: str
    score: float  # NaN: no answer

    @property
    def score_or_none(self) -> float | None:
        """The score as JSON has it."""
        return None if np.isnan(self.score) else round(self.score, 6)


@dataclass(frozen=True)
class JudgedSample:
    """The estimate, and what it was made from: the highest scores first."""

    estimate: Estimate
    negatives: int  # that there are in all
    pairs: list[SampledPair]

    def as_json(self) -> dict[str, Any]:
        """The estimate and the number of negatives it stands for, as a manifest or a report file has them."""
        found = asdict(self.estimate)
        return {**found, "share": found["share"] if self.estimate.judged else None, "negatives": self.negatives}


def estimate_files(
    paths: Sequence[str],
    judge: Judge,
    wanted: int,
    *,
    seed: int = 0,
    relevant: float = RELEVANT,
    tell: Tell | None = None,
) -> JudgedSample:
    """Judge `wanted` negatives of the pairs in some files, chosen by a hash of their texts and the seed.

    Raises MiningInputError for a file or row that cannot be used, or where there is no negative at all.
    """
    return judge_sample(sample_files(paths, wanted, seed), judge, relevant, tell)


def sample_files(paths: Sequence[str], wanted: int, seed: int = 0) -> SampledNegatives:
    """The sample that `estimate_files` judges."""
    sample = SampledNegatives(wanted, seed)
    for path in paths:
        for _, row in _rows(path):
            sample.add(row.query, row.negatives)
    if not sample.seen:
        raise MiningInputError(f"{', '.join(paths)}: no row has a negative, so there is nothing to judge.")
    return sample


def judge_sample(
    sample: SampledNegatives, judge: Judge, relevant: float = RELEVANT, tell: Tell | None = None
) -> JudgedSample:
    """The share of false negatives in a sample, and its pairs."""
    queries, negatives = sample.texts()
    scores = judge.score(queries, negatives, partial(_tell_from, tell, 0))
    order = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable").tolist()
    pairs = [SampledPair(queries[row].as_py(), negatives[row].as_py(), float(scores[row])) for row in order]
    return JudgedSample(estimate_share(scores, relevant), sample.seen, pairs)


def pairs_asked(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every (query, passage) that `judge_files` asks a judge about."""
    for path in paths:
        for _, row in _rows(path):
            for passage in (*row.positives, *row.negatives):
                yield row.query, passage


def judge_files(
    paths: Sequence[str], output: str, judge: Judge, rules: JudgeSettings | None, tell: Tell | None = None
) -> dict[str, int]:
    """Write the pairs of some files with the judge's scores; returns counts.

    With `rules` the negatives that they drop are left out, and those that they relabel stand behind the positives (RLHN,
    arXiv 2505.16967); without, all stay as they are. A score is null where the judge gave no answer. Raises MiningInputError
    for a row that cannot be used.
    """
    work = Work(Path(f"{output}.work"))
    with work.held():
        stage = work.stage(
            "judged",
            blocks_of=VERSION,
            judge=judge.name,
            rules=rules.model_dump(mode="json") if rules else None,
            inputs=file_facts(list(paths)),
        )
        counts, blocks = Counter[str](), 0
        for block in _blocks((row for path in paths for row in _rows(path)), ROWS):
            lines, record = stage.file(f"{blocks:06d}.jsonl"), stage.file(f"{blocks:06d}.json")
            if not record.exists():
                judged, found = judge_block(block, judge, rules, partial(_tell_from, tell, counts["pairs"]))
                with storage.atomic_write(str(lines)) as stream:
                    stream.write(judged)
                storage.write_json(str(record), found)
            counts.update(storage.read_json(str(record)))
            blocks += 1
            _tell_from(tell, counts["pairs"], 0)
        with storage.atomic_write(output) as stream:
            for number in range(blocks):
                stream.write(stage.file(f"{number:06d}.jsonl").read_bytes())
        work.remove()
    return dict(counts)


def judge_block(
    rows: Sequence[tuple[dict[str, Any], PairRow]], judge: Judge, rules: JudgeSettings | None, tell: Tell
) -> tuple[bytes, dict[str, int]]:
    """Some rows as JSON lines with scores, and counts."""
    texts = [(row.query, text) for _, row in rows for text in (*row.positives, *row.negatives)]
    queries, passages = (pa.array([each[side] for each in texts], pa.string()) for side in (0, 1))
    scores = judge.score(queries, passages, tell)
    counts = {"rows": len(rows), "pairs": len(texts), "without_score": int(np.isnan(scores).sum())}
    positives, negatives = _divided(scores, rows)
    if rules is None:
        keep = np.ones(len(negatives.values), np.bool_)
        verdicts = Verdicts(keep, ~keep, ~keep, {})
    else:
        verdicts = judge_candidates(negatives, positives, rules)
    counts |= {"negatives": len(negatives.values), **verdicts.counts, "negatives_left": int(verdicts.keep.sum())}
    lines = []
    for place, (record, row) in enumerate(rows):
        own = slice(*negatives.offsets[place : place + 2].tolist())
        of_positives = positives.values[slice(*positives.offsets[place : place + 2].tolist())]
        lines.append(_line(record, row, of_positives, negatives.values[own], verdicts.keep[own], verdicts.relabel[own]))
    counts["rows_without_negatives"] = int(
        (np.bincount(negatives.owners[verdicts.keep], minlength=len(rows)) == 0).sum()
    )
    return b"".join(lines), counts


def _divided(scores: npt.NDArray[np.float32], rows: Sequence[tuple[dict[str, Any], PairRow]]) -> tuple[Ragged, Ragged]:
    """The scores of the positives and of the negatives of each row."""
    sizes = [size for _, row in rows for size in (len(row.positives), len(row.negatives))]
    parts = np.split(scores, list(accumulate(sizes))[:-1]) if sizes else []
    return Ragged.of(parts[::2], np.float32), Ragged.of(parts[1::2], np.float32)


def _line(
    record: dict[str, Any],
    row: PairRow,
    positive_scores: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    keep: npt.NDArray[np.bool_],
    relabel: npt.NDArray[np.bool_],
) -> bytes:
    new, left = np.flatnonzero(relabel).tolist(), np.flatnonzero(keep).tolist()
    judged = {
        "query": row.query,
        "pos": [*row.positives, *(row.negatives[place] for place in new)],
        "neg": [row.negatives[place] for place in left],
        "pos_scores": _shown([*positive_scores.tolist(), *scores[new].tolist()]),
        "neg_scores": _shown(scores[left].tolist()),
    }
    line = {**judged, **{name: value for name, value in record.items() if name not in judged}}
    return orjson.dumps(line, default=json_value) + b"\n"


def _shown(scores: list[float]) -> list[float | None]:
    return [None if np.isnan(score) else round(score, 6) for score in scores]


def _rows(path: str) -> Iterator[tuple[dict[str, Any], PairRow]]:
    """The rows of a file: what is left of each record beside the texts, and the texts."""
    fields: Fields | None = None
    bad = BadRows(path, io.StringIO(), allowed=False)
    for block in read_rows(path, bad):
        if fields is None and block.records:
            fields = _fields(path, block)
        for place, record in enumerate(block.records):
            assert fields is not None
            try:
                row = row_of(record, fields)
            except BadRow as fault:
                bad.add(block.numbers[place], block.unit, fault.reason, fault.detail)
                continue
            taken = {fields.query, fields.positive, *fields.negatives}
            yield {name: value for name, value in record.items() if name not in taken}, row


def _fields(path: str, block: RowBlock) -> Fields:
    names = list(dict.fromkeys(name for record in block.records for name in record))
    return fields_of(path, names, None, query=None, positive=None, negatives=(), document=None, answers=None)


def _blocks(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    block: list[Any] = []
    for row in rows:
        block.append(row)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def _tell_from(tell: Tell | None, before: int, pairs: int) -> None:
    """How many pairs are done in all, to whom it concerns."""
    if tell is not None:
        tell(before + pairs)


def reasons_told(counts: dict[str, int]) -> list[tuple[str, int, str]]:
    """(reason, negatives, in words) of those that there were."""
    return [(reason, counts[reason], words) for reason, words in JUDGE_REASONS.items() if counts.get(reason)]


def sample_table(judged: JudgedSample, relevant: float = RELEVANT, shown: int = 10) -> Group:
    """The estimate, and the sampled negatives that the judge finds most relevant."""
    estimate = judged.estimate
    lines = [f"[bold]false negatives[/] {estimate} ({judged.negatives:,} negatives in all)"]
    if not shown or not estimate.judged:
        return Group(*lines)
    table = Table(header_style="bold", show_lines=True)
    table.add_column("judged", justify="right")
    for column in ("query", "negative"):
        table.add_column(column, overflow="fold")
    for pair in judged.pairs[:shown]:
        score = "" if np.isnan(pair.score) else f"{pair.score:.2f}"
        colour = "red" if pair.score >= relevant else "green"
        table.add_row(f"[{colour}]{score}[/]", shown_text(pair.query), shown_text(pair.negative))
    return Group(*lines, table)


def counts_table(counts: dict[str, int]) -> Group:
    """What was judged, and what became of the negatives."""
    table = Table(header_style="bold")
    table.add_column("negatives", justify="right")
    table.add_column("")
    for _, number, words in reasons_told(counts):
        table.add_row(f"{number:,}", words)
    table.add_row(f"{counts['negatives_left']:,}", f"left, of {counts['negatives']:,}")
    notes = [
        f"{counts[name]:,} {words}"
        for name, words in (
            ("without_score", "pairs got no answer from the judge: their score is null, and they stay as they are"),
            ("doubted_positives", "positives are scored below max_score: where that is many, judge or pairs are bad"),
            ("rows_without_negatives", "rows have no negative (FlagEmbedding's trainer stops at such rows)"),
        )
        if counts.get(name)
    ]
    return Group(f"{counts['pairs']:,} pairs of {counts['rows']:,} rows judged", table, *notes)
