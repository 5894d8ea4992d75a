"""Several ranks have the loss and the gradients of one; within a rank, where asked for, those of its own passages."""

import numpy as np
import pytest
import torch

from tests.trainer.thread_ranks import on_ranks
from trainer.distributed import Ranks
from trainer.loss import Direction, LossMasks
from trainer.m3_exchange import OutputsOfRanks
from trainer.m3_loss import m3_loss
from trainer.m3_settings import M3LossSettings
from trainer.ragged import Ragged

ALL = ("dense", "lexical", "multi_vector")
SPECIAL = np.array([0, 1, 2, 3], np.int32)
WIDTH = 2
COUNTS = {1: [7], 2: [4, 3], 4: [2, 2, 2, 1]}
TOTAL = 7


def texts_and_outputs():
    """Of 7 queries, then of their 7 positives and 7 negatives in the order of slots; negative 3 is empty."""
    random = np.random.default_rng(0)
    texts = Ragged.of([[2, *random.integers(4, 12, random.integers(1, 7)), 3] for _ in range(3 * TOTAL)], np.int32)

    def unit(rows, width):
        values = random.normal(size=(rows, width))
        return torch.tensor(values / np.linalg.norm(values, axis=1, keepdims=True))

    weights = torch.tensor(np.maximum(random.normal(0.2, 0.5, len(texts.values)), 0))
    return texts, {
        "dense": unit(len(texts), 5),
        "lexical": weights,
        "multi_vector": unit(len(texts.values) - len(texts), 4),
    }


TEXTS, OUTPUTS = texts_and_outputs()
FORBIDDEN = np.zeros((TOTAL, TOTAL * WIDTH), bool)
FORBIDDEN[[0, 2, 6], [5, 8, 1]] = True
SYMMETRIC = np.array([True, False, False, True, True, False, False])
EMPTY = 3 * WIDTH + 1


class RankBatch:
    """As much of trainer.batch.Batch as the exchange reads: passages in an order of their own, shared ones once."""

    group_width = WIDTH

    def __init__(self, rank, counts):
        self.counts, self.rank = np.array(counts), rank
        self.first_query = int(self.counts[:rank].sum())
        self.numbers = np.arange(self.first_query, self.first_query + counts[rank])
        self.rows = self.numbers
        slots = (self.numbers[:, None] * WIDTH + np.arange(WIDTH)).ravel()
        self.passages = np.setdiff1d(slots, [EMPTY])[::-1]
        place = {slot: row for row, slot in enumerate(self.passages.tolist())}
        self.slots = np.array([place.get(slot, -1) for slot in slots.tolist()]).reshape(-1, WIDTH)
        self.texts = np.concatenate([self.numbers, TOTAL + self.passages])
        self.query_tokens, self.passage_tokens = TEXTS.take(self.numbers), TEXTS.take(TOTAL + self.passages)
        self.query_lengths, self.passage_lengths = self.query_tokens.lengths, self.passage_tokens.lengths

    def masks(self, within=False):
        """`within`: of this rank as if there were no other."""
        first, columns = (self.first_query, slice(None))
        total = TOTAL
        if within:
            columns = slice(first * WIDTH, (first + len(self.rows)) * WIDTH)
            first, total = 0, len(self.rows)
        forbidden = np.nonzero(FORBIDDEN[self.numbers][:, columns])
        empty = (np.arange(TOTAL * WIDTH) == EMPTY)[columns]
        nothing = torch.empty(0, dtype=torch.int64)
        symmetric = SYMMETRIC[self.numbers]
        return LossMasks(
            Direction(first, WIDTH, *(torch.tensor(each) for each in forbidden), torch.tensor(empty)),
            Direction(first, 1, nothing, nothing) if symmetric.any() else None,
            torch.tensor(symmetric) if symmetric.any() else None,
            True,
            None,
            total,
        )


def rows_of(texts, output):
    """Which rows of an output these texts have."""
    lengths = {"dense": np.ones_like(TEXTS.lengths), "lexical": TEXTS.lengths, "multi_vector": TEXTS.lengths - 1}[
        output
    ]
    ends = np.cumsum(lengths)
    return np.concatenate([np.arange(ends[text] - lengths[text], ends[text]) for text in texts])


def learn(rank, counts, settings, within=False):
    """Loss, parts and gradients, in the order of all texts, of one rank."""
    batch = RankBatch(rank.rank, counts)
    own = {output: OUTPUTS[output][rows_of(batch.texts, output)] for output in settings.outputs}
    ranks, masks = Ranks() if within else rank, batch.masks(within)
    if within:
        batch.counts, batch.first_query = batch.counts[rank.rank : rank.rank + 1], 0
    texts = TEXTS.take(batch.texts)
    found = OutputsOfRanks(batch, texts, own, ranks, settings, SPECIAL, both_ways=True)
    loss, parts = m3_loss(found.comparisons(masks, None), settings, self_distillation=True, block_bytes=3_000)
    gradients = {output: torch.zeros_like(OUTPUTS[output]) for output in settings.outputs}
    for output, gradient in found.gradients().items():
        gradients[output][rows_of(batch.texts, output)] += gradient
    return loss, np.array(parts), gradients


def of_all(results):
    return (
        sum(loss for loss, _, _ in results),
        sum(parts for _, parts, _ in results),
        {output: sum(gradients[output] for _, _, gradients in results) for output in results[0][2]},
    )


@pytest.mark.parametrize("outputs", [ALL, ("dense", "lexical"), ("lexical", "multi_vector")])
def test_two_and_four_ranks_have_the_loss_and_gradients_of_one(outputs):
    settings = M3LossSettings(temperature=0.3, outputs=outputs, self_distillation_from=0)
    expected = learn(Ranks(), COUNTS[1], settings)
    assert float(expected[2]["lexical"].norm()) > 0.01
    for count in (2, 4):
        loss, parts, gradients = of_all(on_ranks(count, lambda rank: learn(rank, COUNTS[rank.count], settings)))
        assert loss == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(parts, expected[1], rtol=1e-12)
        for output in outputs:
            torch.testing.assert_close(gradients[output], expected[2][output], rtol=1e-10, atol=1e-14)


def test_within_a_rank_all_scores_but_the_dense_one_see_its_own_passages_only():
    settings = M3LossSettings(
        temperature=0.3, outputs=ALL, self_distillation_from=0, candidates="own_rank", dense_loss_weight=0.0
    )
    counts = COUNTS[2]
    found = of_all(on_ranks(2, lambda rank: learn(rank, counts, settings)))
    alone = on_ranks(2, lambda rank: learn(rank, counts, settings, within=True))
    shares = np.array(counts) / TOTAL
    names = settings.part_names
    expected = sum(share * parts for share, (_, parts, _) in zip(shares, alone, strict=True))
    dense = learn(Ranks(), COUNTS[1], M3LossSettings(temperature=0.3, outputs=ALL, self_distillation_from=0))[1][0]
    assert found[1][0] == pytest.approx(dense, rel=1e-12)
    np.testing.assert_allclose(found[1][1:], expected[1:], rtol=1e-12)
    assert names[1:] == ("loss_lexical", "loss_multi_vector", "loss_ensemble", "loss_distillation")
    # The dense loss weighs nothing here, so that the whole gradient comes from what stays within a rank.
    for output in ALL:
        gradient = sum(share * gradients[output] for share, (_, _, gradients) in zip(shares, alone, strict=True))
        torch.testing.assert_close(found[2][output], gradient, rtol=1e-10, atol=1e-14)
