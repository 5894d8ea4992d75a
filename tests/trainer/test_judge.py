import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.judge import JUDGE_REASONS, JudgeSettings, judge_candidates, lowest
from trainer.ragged import Ragged

NAN = float("nan")
NOTHING = {"max_score": None, "max_share_of_positive": None}


def judged(candidates, positives, **settings):
    """Verdicts on lists of scores, one list a query."""
    lists = (Ragged.of(scores, np.float32) for scores in (candidates, positives))
    return judge_candidates(*lists, JudgeSettings(**settings))


def reasons(verdicts):
    return {reason: count for reason, count in verdicts.counts.items() if count and reason in JUDGE_REASONS}


def test_without_a_rule_all_stay():
    found = judged([[1.0, 0.0]], [[0.5]], **NOTHING)
    assert found.keep.tolist() == [True, True]
    assert reasons(found) == {}


def test_relevant_ones_are_dropped_and_those_just_below_the_limit_stay():
    found = judged([[0.9, 0.5, 0.49]], [[0.95]], max_share_of_positive=None)
    assert found.drop.tolist() == [True, True, False]
    assert reasons(found) == {"judged_relevant": 2}


def test_the_lowest_positive_of_each_query_is_the_reference():
    # query 0: positives 0.8 and 0.4, so 0.95 x 0.4 = 0.38; query 1: 0.95 x 0.8 = 0.76; query 2 has no candidate
    found = judged([[0.39, 0.37], [0.75, 0.77], []], [[0.8, 0.4], [0.8], [0.1]], max_score=None)
    assert found.keep.tolist() == [False, True, True, False]
    assert reasons(found) == {"judged_near_positive": 2}


def test_the_margin_is_counted_from_the_lowest_positive():
    found = judged([[0.65, 0.5]], [[0.75, 0.9]], margin=0.125, **NOTHING)
    assert found.drop.tolist() == [True, False]
    assert reasons(found) == {"judged_within_margin": 1}


def test_what_is_as_relevant_as_the_positive_is_relabelled_and_what_lies_between_is_dropped():
    found = judged([[0.95, 0.91, 0.7, 0.2]], [[0.92]], relabel_above=0.9)
    assert found.relabel.tolist() == [True, False, False, False]
    assert found.drop.tolist() == [False, True, True, False]
    assert found.keep.tolist() == [False, False, False, True]
    assert reasons(found) == {"relabelled": 1, "judged_relevant": 2}


def test_a_relevant_one_below_the_positive_is_no_negative_where_relabelling_alone_is_on():
    found = judged([[0.93, 0.3]], [[0.99]], relabel_above=0.9, **NOTHING)
    assert found.drop.tolist() == [True, False]


def test_a_query_with_too_many_relevant_ones_gets_no_negative_and_no_new_positive():
    scores = [[0.95, 0.6, 0.1, NAN], [0.95, 0.1]]
    found = judged(scores, [[0.9], [0.9]], relabel_above=0.9, most_relevant=1)
    assert found.drop.tolist() == [True] * 4 + [False, False]
    assert found.relabel.tolist() == [False] * 4 + [True, False]
    assert reasons(found) == {"query_with_too_many_relevant": 4, "relabelled": 1}


def test_the_unjudged_stay_and_are_counted():
    found = judged([[NAN, 0.9, NAN]], [[0.9]], relabel_above=0.9)
    assert found.keep.tolist() == [True, False, True]
    assert (found.counts["judged"], found.counts["unjudged"]) == (1, 2)


def test_where_no_positive_was_judged_only_the_absolute_limit_speaks():
    found = judged([[0.95, 0.45]], [[NAN]], relabel_above=0.9, margin=0.1)
    assert found.drop.tolist() == [True, False]
    assert not found.relabel.any()


def test_an_unjudged_positive_is_no_reference():
    found = lowest(Ragged.of([[NAN, 0.3], [0.7], []], np.float32))
    assert found.tolist() == pytest.approx([0.3, 0.7, NAN], nan_ok=True)


def test_positives_that_the_judge_finds_irrelevant_are_counted():
    assert judged([[0.1], [0.1]], [[0.4, 0.6], [0.45]]).counts["doubted_positives"] == 2


def test_no_query_is_no_trouble():
    assert judged([], []).keep.shape == (0,)


def test_relabelling_below_what_does_for_a_negative_is_refused():
    with pytest.raises(ValidationError, match=r"relabel_above 0\.4 is below max_score 0\.5"):
        JudgeSettings(relabel_above=0.4)


@pytest.mark.parametrize("score", [1.5, -0.1, float("inf")])
def test_a_score_outside_of_0_to_1_is_refused(score):
    with pytest.raises(ValueError, match="between 0 and 1"):
        judged([[score]], [[0.5]])


def test_candidates_and_positives_of_different_queries_are_refused():
    with pytest.raises(ValueError, match="candidates of 2 queries, and positives of 1"):
        judged([[0.1], [0.2]], [[0.5]])


SCORES = st.one_of(st.just(NAN), st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9, 1.0]))
QUERIES = st.lists(st.tuples(st.lists(SCORES, max_size=6), st.lists(SCORES, min_size=1, max_size=3)), max_size=5)


def plainly(candidates, positives, settings):
    """The rules query by query, candidate by candidate: (kept, relabelled)."""
    known = [score for score in positives if score == score]
    reference = min(known) if known else None
    kept, relabelled = [], []
    for score in candidates:
        new = reference is not None and settings.relabel_above is not None
        new = new and score >= settings.relabel_above and score >= reference
        out = new or (settings.max_score is not None and score >= settings.max_score)
        out = out or (
            settings.relabel_above is not None and settings.max_score is None and score >= settings.relabel_above
        )
        if reference is not None and settings.max_share_of_positive is not None:
            out = out or score >= settings.max_share_of_positive * reference
        if reference is not None and settings.margin is not None:
            out = out or score >= reference - settings.margin
        kept.append(not out)
        relabelled.append(new)
    if settings.most_relevant is not None and kept.count(False) > settings.most_relevant:
        return [False] * len(candidates), [False] * len(candidates)
    return kept, relabelled


@given(
    QUERIES,
    st.sampled_from([None, 0.5]),
    st.sampled_from([None, 0.5, 1.0]),
    st.sampled_from([None, 0.25]),
    st.sampled_from([None, 0.75]),
    st.sampled_from([None, 2]),
)
def test_each_query_is_decided_by_itself_as_the_rules_say(queries, max_score, share, margin, relabel_above, most):
    settings = JudgeSettings(
        max_score=max_score, max_share_of_positive=share, margin=margin, relabel_above=relabel_above, most_relevant=most
    )
    found = judged([c for c, _ in queries], [p for _, p in queries], **settings.model_dump())
    expected = [plainly(candidates, positives, settings) for candidates, positives in queries]
    assert found.keep.tolist() == [kept for one, _ in expected for kept in one]
    assert found.relabel.tolist() == [new for _, one in expected for new in one]
    assert (found.keep.astype(int) + found.drop + found.relabel == 1).all()
    assert sum(found.counts[reason] for reason in JUDGE_REASONS) == (~found.keep).sum()
