"""The loss against the papers' formulas term by term in float64, and against sentence-transformers' on the same tensors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss, MultipleNegativesRankingLoss
from sentence_transformers.util import dot_score

from trainer import tiled_loss
from trainer.loss import (
    Direction,
    GuideEmbeddings,
    LossMasks,
    LossSettings,
    LossShapeError,
    contrastive_loss,
)


def unit_rows(rows, seed, width=6):
    values = np.random.default_rng(seed).normal(size=(rows, width))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def pairs_of(matrix):
    rows, columns = np.nonzero(matrix)
    return torch.tensor(rows), torch.tensor(columns)


def masks(
    count, width, forbidden=None, symmetric=None, backward=None, in_batch=True, teacher=None, first=0, total=None
):
    """Masks of the rank whose queries are `first` to `first + count` of `total`, from boolean matrices of all ranks."""
    total = total or count
    own = slice(first, first + count)
    forbidden = np.zeros((total, total * width), bool) if forbidden is None else forbidden.copy()
    forbidden[np.arange(total), np.arange(total) * width] = False
    backward = np.zeros((total, total), bool) if backward is None else backward & ~np.eye(total, dtype=bool)
    both = None if symmetric is None or not symmetric[own].any() else torch.tensor(symmetric[own])
    return LossMasks(
        Direction(first, width, *pairs_of(forbidden[own])),
        None if both is None else Direction(first, 1, *pairs_of(backward[own])),
        both,
        in_batch,
        None if teacher is None else torch.tensor(teacher[own]),
        total,
    )


def share(own, others, temperature):
    """-log of the share of the score `own` among itself and `others`, safe for any temperature."""
    highest = max([own, *others])
    total = sum(math.exp((score - highest) / temperature) for score in [own, *others])
    return math.log(total) - (own - highest) / temperature


def formula(
    queries,
    passages,
    temperature,
    forbidden=None,
    symmetric=None,
    backward=None,
    margin=None,
    guide=None,
    in_batch=True,
):
    """M3 equation 2, C-Pack's direction for symmetric pairs, and the rules for false negatives, term by term."""
    count, width = len(queries), len(passages) // len(queries)
    losses = []
    for i in range(count):
        own = i * width
        score = queries[i] @ passages[own]

        def counts(a, b, a_guide=None, b_guide=None, score=score, own=own, i=i):
            if margin is not None and a @ b > score + margin:
                return False
            return guide is None or a_guide @ b_guide <= guide[0][i] @ guide[1][own]

        others = [
            queries[i] @ passages[j]
            for j in range(len(passages))
            if j != own
            and (in_batch or j // width == i)
            and (forbidden is None or not forbidden[i, j])
            and counts(queries[i], passages[j], *([guide[0][i], guide[1][j]] if guide else []))
        ]
        loss = share(score, others, temperature)
        if symmetric is not None and symmetric[i]:
            others = [
                queries[k] @ passages[own]
                for k in range(count)
                if k != i
                and (backward is None or not backward[i, k])
                and counts(queries[k], passages[own], *([guide[0][k], guide[1][own]] if guide else []))
            ]
            loss = (loss + share(score, others, temperature)) / 2
        losses.append(loss)
    return sum(losses) / count


def loss_of(queries, passages, masks, dtype=torch.float64, guide=None, **chosen):
    tensors = [torch.tensor(each, dtype=dtype) for each in (queries, passages)]
    return contrastive_loss(*tensors, masks, LossSettings(**chosen), guide=guide)


@pytest.mark.parametrize("negatives", [0, 1, 3])
@pytest.mark.parametrize("temperature", [0.01, 0.5])
def test_the_loss_is_the_papers_formula(negatives, temperature):
    queries, passages = unit_rows(5, 1), unit_rows(5 * (1 + negatives), 2)
    random = np.random.default_rng(3)
    forbidden, backward = random.random((5, len(passages))) < 0.3, random.random((5, 5)) < 0.3
    symmetric = np.array([True, False, True, True, False])
    for mask in (None, forbidden):
        for both in (None, symmetric):
            expected = formula(queries, passages, temperature, mask, both, backward)
            given_masks = masks(5, 1 + negatives, mask, both, backward)
            assert float(loss_of(queries, passages, given_masks, temperature=temperature)) == pytest.approx(
                expected, rel=1e-12
            )
            single = loss_of(queries, passages, given_masks, torch.float32, temperature=temperature)
            assert float(single) == pytest.approx(expected, rel=3e-4 if temperature == 0.01 else 1e-5)


def test_two_orthogonal_pairs_have_a_loss_worked_out_by_hand():
    # Each query scores 1 with its positive and 0 with the other: -log(e / (e + 1)) at temperature 1.
    identity = np.eye(2)
    assert float(loss_of(identity, identity, masks(2, 1), temperature=1.0)) == pytest.approx(math.log(1 + math.exp(-1)))


def test_a_query_whose_every_candidate_is_forbidden_costs_nothing_and_has_no_gradient():
    queries = torch.tensor(unit_rows(2, 1), requires_grad=True)
    forbidden = np.ones((2, 4), bool)
    loss = contrastive_loss(queries, torch.tensor(unit_rows(4, 2)), masks(2, 2, forbidden), LossSettings())
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert (queries.grad == 0).all()


def test_empty_slots_count_for_no_query():
    queries, passages = unit_rows(3, 1), unit_rows(6, 2)
    empty = torch.tensor([False, True] * 3)
    plain = masks(3, 2)
    with_empty = LossMasks(Direction(0, 2, plain.forward.rows, plain.forward.columns, empty), None, None, True, None, 3)
    assert float(loss_of(queries, passages, with_empty)) == pytest.approx(
        float(loss_of(queries, passages[::2], masks(3, 1))), rel=1e-12
    )


@pytest.mark.parametrize("margin", [-0.1, 0.0, 0.1])
def test_passages_scored_above_the_positive_and_the_margin_are_no_negatives(margin):
    queries, passages = unit_rows(9, 1, 3), unit_rows(18, 2, 3)
    symmetric = np.arange(9) % 2 == 0
    expected = formula(queries, passages, 0.1, symmetric=symmetric, margin=margin)
    found = loss_of(queries, passages, masks(9, 2, symmetric=symmetric), temperature=0.1, false_negative_margin=margin)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    assert expected != pytest.approx(formula(queries, passages, 0.1, symmetric=symmetric), rel=1e-3)


def test_what_the_guide_scores_above_the_positive_is_no_negative():
    queries, passages, guide = unit_rows(7, 1), unit_rows(14, 2), (unit_rows(7, 3, 4), unit_rows(14, 4, 4))
    symmetric = np.arange(7) % 3 == 0
    expected = formula(queries, passages, 0.1, symmetric=symmetric, guide=guide)
    tensors = GuideEmbeddings(torch.tensor(guide[0]), torch.tensor(guide[1]), torch.tensor(guide[0]))
    found = loss_of(
        queries, passages, masks(7, 2, symmetric=symmetric), temperature=0.1, guide_model="guide", guide=tensors
    )
    assert float(found) == pytest.approx(expected, rel=1e-12)
    assert expected != pytest.approx(formula(queries, passages, 0.1, symmetric=symmetric), rel=1e-3)


def test_own_negatives_only_is_a_softmax_over_the_own_group():
    queries, passages = unit_rows(4, 1), unit_rows(12, 2)
    forbidden = np.zeros((4, 12), bool)
    forbidden[1, 4] = True
    expected = formula(queries, passages, 0.1, forbidden, in_batch=False)
    assert float(loss_of(queries, passages, masks(4, 3, forbidden, in_batch=False), temperature=0.1)) == pytest.approx(
        expected, rel=1e-12
    )


def softmax(values):
    values = np.exp(values - values.max())
    return values / values.sum()


def test_kl_div_adds_the_cross_entropy_between_teacher_and_student_over_the_own_group():
    queries, passages = unit_rows(4, 1), unit_rows(12, 2)
    teacher = np.random.default_rng(5).normal(size=(4, 3))
    expected = formula(queries, passages, 0.1)
    for i in range(4):
        student = softmax(queries[i] @ passages[3 * i : 3 * i + 3].T / 0.1)
        expected -= (softmax(teacher[i]) * np.log(student)).sum() / 4
    found = loss_of(queries, passages, masks(4, 3, teacher=teacher), temperature=0.1, distillation="kl_div")
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("in_batch", [True, False])
def test_m3_kd_loss_weighs_each_member_against_the_columns_without_the_members_before_it(in_batch):
    queries, passages = unit_rows(4, 1), unit_rows(12, 2)
    teacher = np.random.default_rng(5).normal(size=(4, 3))
    expected = 0.0
    for i in range(4):
        scores = queries[i] @ passages.T
        for k in range(3):
            later = range(3 * i + k + 1, 3 * i + 3)
            others = [j for j in range(12) if j // 3 != i] if in_batch else []
            expected += (
                softmax(teacher[i])[k] * share(scores[3 * i + k], [scores[j] for j in [*others, *later]], 0.1) / 4
            )
    found = loss_of(
        queries, passages, masks(4, 3, teacher=teacher, in_batch=in_batch), temperature=0.1, distillation="m3_kd_loss"
    )
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("distillation", ["kl_div", "m3_kd_loss"])
def test_rows_without_scores_have_the_plain_loss_and_a_finite_gradient(distillation):
    queries, passages = (torch.tensor(unit_rows(rows, rows), requires_grad=True) for rows in (3, 9))
    teacher = np.random.default_rng(5).normal(size=(3, 3))
    teacher[0] = np.nan
    teacher[1, 2] = np.nan
    known = [
        contrastive_loss(queries, passages, masks(3, 3, teacher=scores), LossSettings(distillation=distillation))
        for scores in (teacher, np.where(np.arange(3)[:, None] == 2, teacher, np.nan))
    ]
    plain = contrastive_loss(queries, passages, masks(3, 3), LossSettings())
    nothing = contrastive_loss(
        queries, passages, masks(3, 3, teacher=np.full((3, 3), np.nan)), LossSettings(distillation=distillation)
    )
    assert float(nothing.detach()) == pytest.approx(float(plain.detach()), rel=1e-12)
    known[0].backward()
    assert torch.isfinite(queries.grad).all()
    assert torch.isfinite(passages.grad).all()
    assert float(known[0].detach()) != float(known[1].detach())


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    width=st.integers(1, 3),
    tile=st.tuples(st.integers(1, 7), st.integers(1, 9)),
    temperature=st.sampled_from([0.01, 0.05, 1.0]),
    margin=st.sampled_from([None, 0.05]),
    seed=st.integers(0, 1000),
)
def test_tiles_and_ranks_change_neither_loss_nor_gradients(counts, width, tile, temperature, margin, seed):
    total = sum(counts)
    random = np.random.default_rng(seed)
    forbidden, backward = random.random((total, total * width)) < 0.2, random.random((total, total)) < 0.2
    symmetric = random.random(total) < 0.5
    queries, passages = unit_rows(total, seed, 4), unit_rows(total * width, seed + 1, 4)
    chosen = LossSettings(temperature=temperature, false_negative_margin=margin)

    def plain(query_tensor, passage_tensor):
        scores = query_tensor @ passage_tensor.T
        own = np.arange(total) * width
        left_out = torch.tensor(forbidden)
        left_out = left_out | (scores > scores[range(total), own][:, None] + margin) if margin is not None else left_out
        left_out[range(total), own] = False
        forward = torch.nn.functional.cross_entropy(
            (scores / temperature).masked_fill(left_out, -math.inf), torch.tensor(own), reduction="none"
        )
        scores = scores[:, own].T
        left_out = torch.tensor(backward)
        left_out = left_out | (scores > scores.diagonal()[:, None] + margin) if margin is not None else left_out
        left_out.fill_diagonal_(False)
        back = torch.nn.functional.cross_entropy(
            (scores / temperature).masked_fill(left_out, -math.inf), torch.arange(total), reduction="none"
        )
        return torch.where(torch.tensor(symmetric), (forward + back) / 2, forward).mean()

    expected_tensors = [torch.tensor(each, requires_grad=True) for each in (queries, passages)]
    expected = plain(*expected_tensors)
    expected.backward()
    found_tensors = [torch.tensor(each, requires_grad=True) for each in (queries, passages)]
    found = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled_loss, "_TILE", {"cpu": tile})
        for rank, count in enumerate(counts):
            first = sum(counts[:rank])
            part = contrastive_loss(
                found_tensors[0][first : first + count],
                found_tensors[1],
                masks(count, width, forbidden, symmetric, backward, first=first, total=total),
                chosen,
                found_tensors[0],
            )
            part.backward()
            found += float(part.detach())
    assert found == pytest.approx(float(expected.detach()), rel=1e-10, abs=1e-12)
    for one, other in zip(found_tensors, expected_tensors, strict=True):
        np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-9, atol=1e-10)


def test_the_loss_is_computed_in_fp32_under_autocast():
    queries, passages = unit_rows(8, 1, 64), unit_rows(16, 2, 64)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(queries, passages, masks(8, 2), torch.float32)
    assert loss.dtype == torch.float32
    assert float(loss) == float(loss_of(queries, passages, masks(8, 2), torch.float32))


def value_and_gradients(loss, leaves):
    value = loss()
    gradients = torch.autograd.grad(value, leaves)
    return float(value.detach()), torch.cat(gradients).numpy()


def assert_equal_to_theirs(theirs, ours, leaves):
    (their_loss, their_gradients), (our_loss, our_gradients) = (
        value_and_gradients(each, leaves) for each in (theirs, ours)
    )
    assert our_loss == pytest.approx(their_loss, rel=1e-9)
    np.testing.assert_allclose(our_gradients, their_gradients, rtol=1e-6, atol=1e-9)


def leaves_of(*seeds):
    return [torch.tensor(unit_rows(6, seed, 16), requires_grad=True) for seed in seeds]


def in_slots(positives, negatives):
    return torch.stack([positives, negatives], dim=1).reshape(2 * len(positives), -1)


def test_the_loss_and_its_gradients_are_those_of_sentence_transformers_on_the_same_tensors():
    leaves = queries, positives, negatives = leaves_of(1, 2, 3)
    loss = MultipleNegativesRankingLoss(model=None, scale=50.0, similarity_fct=dot_score)
    assert_equal_to_theirs(
        lambda: loss.compute_loss_from_embeddings(leaves, None),
        lambda: contrastive_loss(queries, in_slots(positives, negatives), masks(6, 2), LossSettings(temperature=0.02)),
        leaves,
    )


def test_the_loss_of_symmetric_pairs_is_sentence_transformers_of_both_directions():
    leaves = queries, positives = leaves_of(4, 5)
    loss = MultipleNegativesRankingLoss(
        model=None,
        scale=50.0,
        similarity_fct=dot_score,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )
    assert_equal_to_theirs(
        lambda: loss.compute_loss_from_embeddings(leaves, None),
        lambda: contrastive_loss(
            queries, positives, masks(6, 1, symmetric=np.ones(6, bool)), LossSettings(temperature=0.02)
        ),
        leaves,
    )


@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_the_loss_with_a_guide_is_sentence_transformers_of_gistembed(margin):
    leaves = queries, positives, negatives = leaves_of(6, 7, 8)
    guides = [torch.tensor(unit_rows(6, seed, 4)) for seed in (9, 10, 11)]
    loss = GISTEmbedLoss.__new__(GISTEmbedLoss)  # its formula alone: making one asks for two models
    torch.nn.Module.__init__(loss)
    loss.model = lambda features: {"sentence_embedding": features["own"]}
    loss.guide = lambda features: {"sentence_embedding": features["guide"]}
    loss.temperature, loss.margin, loss.margin_strategy = 0.02, margin, "absolute"
    loss.similarity_fct = lambda left, right: (left * right).sum(dim=-1)  # the same, and no gradient of a norm
    loss.cross_entropy_loss = torch.nn.CrossEntropyLoss()
    loss.must_retokenize = loss.gather_across_devices = loss.contrast_anchors = loss.contrast_positives = False
    columns = [{"own": own, "guide": guide} for own, guide in zip(leaves, guides, strict=True)]
    assert_equal_to_theirs(
        lambda: loss(columns, None),
        lambda: contrastive_loss(
            queries,
            in_slots(positives, negatives),
            masks(6, 2),
            LossSettings(temperature=0.02, guide_model="a guide", guide_margin=margin),
            guide=GuideEmbeddings(guides[0], in_slots(*guides[1:]), guides[0]),
        ),
        leaves,
    )


@pytest.mark.parametrize(("queries", "passages", "width"), [(2, 3, 1), (0, 0, 1), (2, 4, 3)])
def test_shapes_that_do_not_fit_are_refused(queries, passages, width):
    with pytest.raises(LossShapeError, match="needs b queries"):
        contrastive_loss(
            torch.zeros(queries, 4), torch.zeros(passages, 4), masks(max(queries, 1), width), LossSettings()
        )
