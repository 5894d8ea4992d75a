"""Which pairs a step trains on, as text: `pairmill train --show-step 812`.

The plan is a function of the seed and the step, so the question can be answered before, while and after training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.batch_plan import BatchPlan, BatchPlanError, RankRows, plan_columns
from trainer.dry_run import check_tokens
from trainer.training_data import TrainingData

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from trainer.loop import TrainSettings


@dataclass(frozen=True)
class ShownPair:
    """A pair of a step. Texts are those of the token ids: what the model reads, cut where pack cut it."""

    row: int
    pair_id: str
    dataset: str
    rank: int
    query: str
    positive: str
    negatives: list[str]
    positive_score: float | None
    negative_scores: list[float | None]
    no_negatives_here: list[int]  # other rows of the step whose positive is masked for this query


def pairs_of_step(data_folder: str, settings: "TrainSettings", step: int, ranks: int = 1) -> Iterator[ShownPair]:
    """The pairs of `step`, counted from 1 as metrics.jsonl does, rank by rank.

    Raises BatchPlanError for a step that the run does not have, and what training raises for data of another model.
    """
    from trainer.backbone import load_tokenizer

    if not 1 <= step <= settings.steps:
        raise BatchPlanError(f"There is no step {step}: with these settings a run has the steps 1 to {settings.steps}.")
    data = TrainingData.open(data_folder, settings.data_cache)
    data.check_instructions(settings.instruction_share)
    check_tokens(data, settings.model)
    plan = BatchPlan(plan_columns(data, settings), settings, settings.seed, settings.steps, ranks)
    tokenizer, _ = load_tokenizer(settings.model)
    parts = plan.rows(step - 1)
    rows = np.concatenate([part.rows for part in parts])
    for rank in range(ranks):
        yield from _pairs_of_rank(data, parts, rank, rows, tokenizer)


def _pairs_of_rank(
    data: TrainingData,
    parts: list[RankRows],
    rank: int,
    rows: np.ndarray,
    tokenizer: "PreTrainedTokenizerFast",
) -> Iterator[ShownPair]:
    batch = data.collate(parts, rank, 0)
    queries = tokenizer.batch_decode(batch.query_tokens.lists(), skip_special_tokens=True)
    passages = tokenizer.batch_decode(batch.passage_tokens.lists(), skip_special_tokens=True)
    columns = batch.forbidden.columns
    for place, row in enumerate(batch.rows.tolist()):
        masked = columns[batch.forbidden.queries == place]
        positives = masked[masked % batch.group_width == 0] // batch.group_width
        slots = batch.slots[place]
        present = np.flatnonzero(slots[1:] >= 0)
        yield ShownPair(
            row=row,
            pair_id=data.pair_id[row].tobytes().hex(),
            dataset=data.dataset_of(row),
            rank=rank,
            query=queries[place],
            positive=passages[slots[0]],
            negatives=[passages[slot] for slot in slots[1:] if slot >= 0],
            positive_score=_number(batch.positive_scores[place]),
            negative_scores=[_number(batch.negative_scores[place, each]) for each in present],
            no_negatives_here=rows[positives].tolist(),
        )


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)
