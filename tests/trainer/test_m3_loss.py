"""M3's loss against a restatement in loops and dictionaries; gradients against finite differences of it."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.trainer.m3_formula import losses, score
from trainer.distributed import Ranks
from trainer.loss import Direction, GuideEmbeddings, LossMasks, LossSettings, contrastive_loss
from trainer.m3_exchange import OutputsOfRanks
from trainer.m3_loss import m3_loss
from trainer.m3_settings import M3LossSettings
from trainer.ragged import Ragged

ALL = ("dense", "lexical", "multi_vector")
SPECIAL = np.array([0, 1, 2, 3], np.int32)
TEMPERATURE = 0.4
QUERIES, WIDTH = 4, 3
# Slots of 4 queries with 3 passages each; passage 5 twice, an empty slot, one own negative that is no negative.
SLOTS = np.array([[0, 1, 2], [3, 5, 6], [4, 5, -1], [7, 8, 9]])


class SomeBatch:
    """As much of trainer.batch.Batch as the exchange reads, of one rank."""

    rows = np.arange(QUERIES)
    slots = SLOTS
    group_width = WIDTH
    counts = np.array([QUERIES])
    first_query = 0

    def __init__(self, texts):
        self.query_tokens, self.passage_tokens = (
            texts.take(np.arange(QUERIES)),
            texts.take(np.arange(QUERIES, len(texts))),
        )
        self.query_lengths, self.passage_lengths = self.query_tokens.lengths, self.passage_tokens.lengths


def some_texts(seed=0, longest=7):
    random = np.random.default_rng(seed)
    return Ragged.of(
        [[2, *random.integers(4, 12, random.integers(1, longest)), 3] for _ in range(QUERIES + 10)], np.int32
    )


def some_outputs(texts, seed=1, dtype=torch.float64):
    random = np.random.default_rng(seed)

    def unit(rows, width):
        values = random.normal(size=(rows, width))
        return torch.tensor(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=dtype)

    weights = torch.tensor(np.maximum(random.normal(0.2, 0.5, len(texts.values)), 0), dtype=dtype)
    return {
        "dense": unit(len(texts), 5),
        "lexical": weights,
        "multi_vector": unit(len(texts.values) - len(texts), 4),
    }


def pairs(matrix):
    rows, columns = np.nonzero(matrix)
    return torch.tensor(rows), torch.tensor(columns)


FORBIDDEN = np.zeros((QUERIES, QUERIES * WIDTH), bool)
FORBIDDEN[0, [4, 9]] = FORBIDDEN[1, 5] = FORBIDDEN[3, 0] = True
FORBIDDEN_BACKWARD = np.zeros((QUERIES, QUERIES), bool)
FORBIDDEN_BACKWARD[1, 3] = True
SYMMETRIC = np.array([False, True, False, True])


def some_masks(symmetric=False, in_batch=True, teacher=None):
    empty = torch.tensor((SLOTS < 0).ravel())
    return LossMasks(
        Direction(0, WIDTH, *pairs(FORBIDDEN), empty),
        Direction(0, 1, *pairs(FORBIDDEN_BACKWARD)) if symmetric else None,
        torch.tensor(SYMMETRIC) if symmetric else None,
        in_batch,
        teacher,
        QUERIES,
    )


def ours(texts, outputs, settings, masks, distilled=False, guide=None, block_bytes=None):
    """Loss, parts by name, and the gradients of the outputs."""
    chosen = {name: outputs[name] for name in settings.outputs}
    found = OutputsOfRanks(SomeBatch(texts), texts, chosen, Ranks(), settings, SPECIAL, both_ways=True)
    loss, parts = m3_loss(
        found.comparisons(masks, guide), settings, self_distillation=distilled, block_bytes=block_bytes
    )
    return loss, dict(zip(settings.part_names, parts, strict=True)), found.gradients()


def as_lists(texts, outputs):
    """Each text as tests.trainer.m3_formula has it."""
    found, word, vector = [], 0, 0
    for number, tokens in enumerate(texts.lists()):
        weights = outputs["lexical"][word : word + len(tokens)].tolist()
        vectors = outputs["multi_vector"][vector : vector + len(tokens) - 1].tolist()
        found.append(
            {
                "dense": outputs["dense"][number].tolist(),
                "lexical": list(zip(tokens, weights, strict=True)),
                "multi_vector": vectors,
            }
        )
        word, vector = word + len(tokens), vector + len(tokens) - 1
    return found


def restated(texts, outputs, names, distilled, symmetric=False, in_batch=True, ensemble=True, zero_vectors=False):
    """{name: mean over the queries}, the loss and its parts."""
    everything = as_lists(texts, outputs)
    queries, passages = everything[:QUERIES], everything[QUERIES:]
    longest = max(len(passage["multi_vector"]) for passage in passages)

    def logit(name, a, b):
        zero = zero_vectors and len(b["multi_vector"]) < longest
        return score(name, a, b, SPECIAL.tolist(), zero) / TEMPERATURE

    total = {}
    for i, query in enumerate(queries):
        logits = {name: [logit(name, query, passages[slot]) for slot in SLOTS.ravel()] for name in names}
        counts = [not FORBIDDEN[i, column] and slot >= 0 for column, slot in enumerate(SLOTS.ravel())]
        if not in_batch:
            counts = [counted and column // WIDTH == i for column, counted in enumerate(counts)]
        row = losses(logits, i * WIDTH, counts, distilled, ensemble)
        if symmetric and SYMMETRIC[i]:
            back = {name: [logit(name, passages[SLOTS[i, 0]], other) for other in queries] for name in names}
            mirrored = losses(back, i, list(~FORBIDDEN_BACKWARD[i]), distilled, ensemble)
            row = {name: (value + mirrored[name]) / 2 for name, value in row.items()}
        for name, value in row.items():
            total[name] = total.get(name, 0.0) + value / QUERIES
    return total


@pytest.mark.parametrize(
    ("names", "distilled", "more"),
    [
        (ALL, False, {}),
        (ALL, True, {}),
        (ALL, True, {"symmetric": True}),
        (ALL, True, {"in_batch": False}),
        (ALL, False, {"ensemble": False}),
        (("dense", "lexical"), True, {}),
        (("dense", "multi_vector"), True, {}),
        (("lexical", "multi_vector"), True, {"symmetric": True}),
        (("lexical",), False, {}),
        (("multi_vector",), False, {}),
    ],
)
def test_losses_are_those_of_the_equations(names, distilled, more):
    texts = some_texts()
    outputs = some_outputs(texts)
    settings = M3LossSettings(temperature=TEMPERATURE, outputs=names, ensemble=more.get("ensemble", True))
    settings = settings.model_copy(update={"self_distillation_from": 0 if distilled else None})
    masks = some_masks(more.get("symmetric", False), more.get("in_batch", True))
    expected = restated(texts, outputs, names, distilled, **more)
    for block_bytes in (1, 3_000, None):
        loss, parts, _ = ours(texts, outputs, settings, masks, distilled, block_bytes=block_bytes)
        assert loss == pytest.approx(expected.pop("loss", loss), rel=1e-12)
        assert parts == pytest.approx({name: expected.get(name, parts[name]) for name in parts}, rel=1e-12)
        expected["loss"] = loss
        assert parts.keys() == expected.keys() - {"loss"}


@pytest.mark.parametrize("distilled", [False, True])
def test_gradients_are_finite_differences_of_the_equations(distilled):
    texts = some_texts()
    outputs = some_outputs(texts)
    settings = M3LossSettings(temperature=TEMPERATURE, outputs=ALL, self_distillation_from=0 if distilled else None)
    _, _, gradients = ours(texts, outputs, settings, some_masks(symmetric=True), distilled, block_bytes=3_000)
    random, step = np.random.default_rng(2), 1e-6
    for name, values in outputs.items():
        learning = values > 0 if name == "lexical" else torch.ones_like(values, dtype=torch.bool)
        direction = torch.tensor(random.normal(size=values.shape)) * learning
        ends = [
            frozen_teacher(texts, {**outputs, name: values + sign * step * direction}, outputs, distilled)
            for sign in (-1, 1)
        ]
        slope = (ends[1] - ends[0]) / (2 * step)
        assert float((gradients[name] * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-8)


def frozen_teacher(texts, outputs, before, distilled):
    """The loss of `outputs`, whose teacher is still that of `before`: the teacher has no gradient."""
    loss = restated(texts, outputs, ALL, False, symmetric=True)["loss"]
    if not distilled:
        return loss
    everything, taught_by = as_lists(texts, outputs), as_lists(texts, before)
    total = 0.0
    for i in range(QUERIES):
        forward = [QUERIES + slot for slot in SLOTS.ravel()]
        counts = [not FORBIDDEN[i, column] and slot >= 0 for column, slot in enumerate(SLOTS.ravel())]
        value = taught(everything, taught_by, i, forward, counts, i * WIDTH)
        if SYMMETRIC[i]:
            back = taught(everything, taught_by, QUERIES + SLOTS[i, 0], range(QUERIES), list(~FORBIDDEN_BACKWARD[i]), i)
            value = (value + back) / 2
        total += value / QUERIES
    return (loss + total) / 2


def taught(everything, taught_by, row, columns, counts, own):
    weights, total = {"dense": (1.0, 1.0), "lexical": (0.3, 0.1), "multi_vector": (1.0, 1.0)}, 0.0
    counted = [text for column, text in enumerate(columns) if counts[column] or column == own]

    def logits(name, texts):
        return np.array([score(name, texts[row], texts[text], SPECIAL.tolist()) / TEMPERATURE for text in counted])

    summed = sum(weight * logits(name, taught_by) for name, (weight, _) in weights.items())
    shares = np.exp(summed - np.logaddexp.reduce(summed))
    for name, (_, weight) in weights.items():
        values = logits(name, everything)
        total += weight * float(shares @ (np.logaddexp.reduce(values) - values)) / 3
    return total


def test_a_zero_vector_of_padding_changes_the_loss_only_with_the_switch():
    texts = some_texts()
    outputs = some_outputs(texts, seed=5)
    plain = M3LossSettings(temperature=TEMPERATURE, outputs=ALL)
    switched = plain.model_copy(update={"flagembedding": True})
    expected = [restated(texts, outputs, ALL, False, zero_vectors=zero)["loss"] for zero in (False, True)]
    assert abs(expected[0] - expected[1]) > 1e-3
    found = [ours(texts, outputs, settings, some_masks())[0] for settings in (plain, switched)]
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("distillation", ["none", "kl_div", "m3_kd_loss"])
@pytest.mark.parametrize("in_batch", [True, False])
def test_the_dense_part_is_the_dense_loss(distillation, in_batch):
    texts, random = some_texts(), np.random.default_rng(3)
    outputs = some_outputs(texts)
    scores = random.normal(size=(QUERIES, WIDTH))
    scores[1] = np.nan
    scores[2, 2] = np.nan
    masks = some_masks(symmetric=in_batch, in_batch=in_batch, teacher=torch.tensor(scores))
    given = {"temperature": 0.3, "distillation": distillation, "false_negative_margin": 0.2}
    leaf = outputs["dense"].clone().requires_grad_()
    slots = torch.tensor(np.maximum(SLOTS, 0).ravel() + QUERIES)
    guide = torch.tensor(random.normal(size=(len(texts), 3)))
    guides = GuideEmbeddings(guide[:QUERIES], guide[slots], guide[:QUERIES])
    dense = contrastive_loss(leaf[:QUERIES], leaf[slots], masks, LossSettings(**given), guide=guides)
    dense.backward()
    alone = M3LossSettings(**given, outputs=("dense",))
    found = OutputsOfRanks(
        SomeBatch(texts), texts, {"dense": outputs["dense"]}, Ranks(), alone, SPECIAL, both_ways=True
    )
    loss, _ = m3_loss(found.comparisons(masks, guides), alone, self_distillation=False, block_bytes=2_000)
    assert loss == pytest.approx(float(dense.detach()), rel=1e-12)
    torch.testing.assert_close(found.gradients()["dense"], leaf.grad, rtol=1e-10, atol=1e-13)
    several = M3LossSettings(**given, outputs=ALL)
    assert ours(texts, outputs, several, masks, guide=guides)[1]["loss_dense"] == pytest.approx(loss, rel=1e-12)


def test_the_loss_and_gradients_are_the_same_bits_on_every_call_and_close_for_any_blocks():
    texts = some_texts()
    outputs = some_outputs(texts, dtype=torch.float32)
    settings = M3LossSettings(temperature=TEMPERATURE, outputs=ALL, self_distillation_from=0)
    first, again, small = (
        ours(texts, outputs, settings, some_masks(symmetric=True), True, block_bytes=size) for size in (None, None, 1)
    )
    assert (first[0], first[1]) == (again[0], again[1])
    assert small[0] == pytest.approx(first[0], rel=1e-6)
    for name in ALL:
        assert torch.equal(first[2][name], again[2][name])
        torch.testing.assert_close(small[2][name], first[2][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"outputs": ["dense", "dense"]}, "names one twice"),
        ({"self_distillation_from": 0}, "needs the sum of several scores"),
        ({"outputs": ALL, "ensemble": False, "self_distillation_from": 5}, "needs the sum of several scores"),
        ({"outputs": ["lexical"], "false_negative_margin": 0.1}, "compare dense scores"),
        (
            {"token_dimension": 8, "outputs": ["dense", "lexical"]},
            "add multi_vector to them, or leave token_dimension out",
        ),
        ({"outputs": ["dense", "lexical"], "dense_weight": 0, "lexical_weight": 0}, "above 0, or ensemble false"),
        (
            {"outputs": ["dense", "lexical"], "ensemble": False, "dense_loss_weight": 0, "lexical_loss_weight": 0},
            "above 0, or ensemble true",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong, told):
    with pytest.raises(ValidationError, match=told):
        M3LossSettings(**wrong)


def test_outputs_have_one_order_and_name_the_parts():
    settings = M3LossSettings(outputs=["multi_vector", "dense"], self_distillation_from=3)
    assert settings.outputs == ("dense", "multi_vector")
    assert settings.part_names == ("loss_dense", "loss_multi_vector", "loss_ensemble", "loss_distillation")
    assert M3LossSettings().part_names == ()
