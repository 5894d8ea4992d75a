"""Alerts: what is told, from which threshold on, and what is none."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.refresh.alerts import find
from pipelines.refresh.records import JobRecord, RefreshRecord
from pipelines.refresh.settings import AlertSettings

OFF = AlertSettings(source_shrinks=None, language_gone=False, keep_rate_moves=None, loss_rises=None, metric_falls=None)


def record(number, *jobs, **more):
    return RefreshRecord(number=number, started="", seconds=1, outcome="promoted", jobs=jobs, **more)


def extract(**pairs):
    """Sources with so many pairs."""
    return JobRecord(job="extract", ran=True, funnel={name: {"in": rows, "out": rows} for name, rows in pairs.items()})


def filtered(source="news", rows=1000, kept=500, language="eng_Latn", job="filter"):
    counts = {"in": rows, "drop:short": (rows - kept) // 2, "drop:junk": rows - kept - (rows - kept) // 2, "out": kept}
    return JobRecord(job=job, ran=True, funnel={source: counts}, languages={source: {language: counts}})


def trained(number, loss, ran=True):
    return record(number, JobRecord(job="train", ran=ran), final_loss=loss)


def row(value, data="held_out", metric="ndcg@10", scope="all", **more):
    return {"model": "trained", "data": data, "language": None, "mode": "dense", "scope": scope, metric: value, **more}


def kinds(found):
    return [(each.kind, each.subject) for each in found]


def test_the_first_refresh_has_nothing_to_be_compared_with():
    assert find(None, record(1, extract(news=0), filtered(kept=0)), AlertSettings()) == ()


def test_a_source_that_gives_fewer_pairs_is_told_from_the_threshold_on():
    before = record(1, extract(news=1000, wiki=1000, forum=10))
    now = record(2, extract(news=700, wiki=701, forum=10))
    (alert,) = find(before, now, AlertSettings())
    assert (alert.kind, alert.subject, alert.before, alert.now) == ("source_shrinks", "news", 1000, 700)
    assert alert.message == "Source news gives 700 pairs, 30.0% fewer than the 1,000 of refresh 1."
    assert find(before, now, OFF) == ()


@pytest.mark.parametrize("now", [extract(wiki=5), extract(wiki=5, news=0)])
def test_a_source_that_is_gone_has_a_text_of_its_own(now):
    (alert,) = find(record(7, extract(news=1200, wiki=5)), record(8, now), AlertSettings())
    assert alert.message.startswith("Source news gave 1,200 pairs in refresh 7 and gives none now") and alert.now == 0


def test_a_new_source_and_one_that_never_gave_a_pair_are_no_alert():
    before, now = record(1, extract(empty=0)), record(2, extract(news=5, empty=0))
    assert find(before, now, AlertSettings()) == ()


def test_a_refresh_that_ended_before_a_job_is_not_compared_there():
    before = record(1, extract(news=1000), filtered(), trained(1, 0.5).jobs[0], final_loss=0.5, metrics=[row(0.9)])
    assert find(before, record(2), AlertSettings()) == ()
    assert find(before, record(2, extract(news=1000)), AlertSettings()) == ()
    assert find(record(1), before, AlertSettings()) == ()


def test_a_language_that_no_pair_is_left_of_is_told():
    before = record(1, filtered(language="swh_Latn", kept=500))
    assert kinds(find(before, record(2, filtered(language="eng_Latn", kept=500)), AlertSettings())) == [
        ("language_gone", "swh_Latn")
    ]
    (alert,) = find(before, record(2, filtered(language="swh_Latn", kept=0)), AlertSettings(keep_rate_moves=None))
    assert alert.message == "No pair in swh_Latn comes out of filter; in refresh 1 500 did."


def test_languages_below_the_floor_are_not_watched():
    for had, expected in ((99, 0), (100, 1)):
        before = record(1, filtered(language="swh_Latn", kept=had))
        found = find(before, record(2, filtered(language="eng_Latn", kept=had)), AlertSettings())
        assert len(found) == expected
    before = record(1, filtered(language="swh_Latn", kept=5))
    assert find(before, record(2, filtered(kept=5)), AlertSettings(language_least=5)) != ()


def test_languages_are_summed_over_sources_and_looked_at_after_the_last_job():
    two = JobRecord(
        job="dedup",
        ran=True,
        languages={"a": {"eng_Latn": {"in": 80, "drop:x": 20}}, "b": {"eng_Latn": {"in": 40}, "deu_Latn": {"in": 99}}},
    )
    gone = JobRecord(job="dedup", ran=True, languages={"b": {"eng_Latn": {"in": 10, "drop:x": 10}}})
    before, now = record(1, filtered(kept=500), two), record(2, filtered(kept=500), gone)
    (alert,) = find(before, now, AlertSettings())
    assert (alert.subject, alert.before) == ("eng_Latn", 100)


def test_a_job_that_keeps_another_share_is_told_from_the_threshold_on():
    before = record(1, filtered(rows=1000, kept=500))
    for kept, expected in ((600, 1), (599, 0), (400, 1), (401, 0)):
        found = find(before, record(2, filtered(rows=1000, kept=kept)), AlertSettings())
        assert len(found) == expected, kept
    (alert,) = find(before, record(2, filtered(rows=2000, kept=300)), AlertSettings())
    assert alert.message == "Job filter keeps 15.0% of the 2,000 pairs of news; in refresh 1 it kept 50.0% of 1,000."


def test_shares_of_few_pairs_are_not_watched():
    before = record(1, filtered(rows=99, kept=50))
    assert find(before, record(2, filtered(rows=1000, kept=1)), AlertSettings(language_gone=False)) == ()
    before = record(1, filtered(rows=1000, kept=500))
    assert find(before, record(2, filtered(rows=0, kept=0)), AlertSettings(language_gone=False)) == ()
    found = find(before, record(2, filtered(rows=2, kept=2)), AlertSettings(keep_rate_least=1))
    assert kinds(found) == [("keep_rate_moves", "filter news")]


def test_a_job_that_is_new_in_the_recipe_is_no_alert():
    assert find(record(1, filtered()), record(2, filtered(), filtered(job="score", kept=1)), AlertSettings()) == ()


def test_a_loss_that_rose_is_told_above_the_threshold():
    assert find(trained(1, 0.2), trained(2, 0.3), AlertSettings()) == ()  # 1.5 times, not above
    (alert,) = find(trained(1, 0.2), trained(2, 0.31), AlertSettings())
    assert alert.message == "Training ended with a loss of 0.3100, 1.55 times the 0.2000 of refresh 1."
    assert find(trained(1, 0.2), trained(2, 0.31), OFF) == ()


@pytest.mark.parametrize("loss", [None, math.nan, math.inf])
def test_a_loss_that_is_no_number_is_told_also_at_the_first_refresh(loss):
    (alert,) = find(None, trained(1, loss), AlertSettings())
    assert alert.message == "Training ended without a loss that is a number." and alert.now is None
    (alert,) = find(trained(1, 0.2), trained(2, loss), AlertSettings())
    assert alert.message.endswith("last time it was 0.2000.")
    assert find(trained(1, loss), trained(2, 0.3), AlertSettings()) == ()


def test_without_training_there_is_no_loss_to_watch():
    assert find(trained(1, 0.2), record(2, extract(news=1)), AlertSettings()) == ()
    assert find(trained(1, None, ran=False), trained(2, None, ran=False), AlertSettings()) == ()
    assert find(trained(1, 0.0), trained(2, 0.1), AlertSettings()) == ()  # no multiple of 0


def test_a_main_metric_that_fell_is_told_from_the_threshold_on():
    before = record(1, metrics=[row(0.5), row(0.9, "sts", "cosine_spearman", main_metric="cosine_spearman")])
    now = record(2, metrics=[row(0.48), row(0.8801, "sts", "cosine_spearman", main_metric="cosine_spearman")])
    (alert,) = find(before, now, AlertSettings())
    assert (alert.subject, alert.before, alert.now) == ("held_out", 0.5, 0.48)
    assert alert.message == "ndcg@10 of the new model on held_out, dense, is 0.4800; in refresh 1 it was 0.5000."


def test_a_metric_without_a_value_counts_and_a_set_that_changed_is_told():
    before = record(1, metrics=[row(0.5, data_fingerprint="a")])
    (alert,) = find(before, record(2, metrics=[row(None, data_fingerprint="b")]), AlertSettings())
    assert alert.message.endswith("is undefined; in refresh 1 it was 0.5000, and the set has changed since.")


def test_rows_of_kinds_and_sets_that_are_no_longer_evaluated_are_no_alert():
    before = record(1, metrics=[row(0.9, scope="kind"), row(0.9, "other"), row(None, "empty")])
    assert find(before, record(2, metrics=[row(0.1, scope="kind"), row(0.1, "empty")]), AlertSettings()) == ()


counts = st.integers(0, 10**7)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a machine that is busy
@given(had=counts, has=counts, share=st.floats(0.01, 1))
def test_a_source_is_told_exactly_where_it_gives_that_share_fewer(had, has, share):
    found = find(record(1, extract(s=had)), record(2, extract(s=has)), AlertSettings(source_shrinks=share))
    lost = had - has
    if abs(lost - share * had) > 1e-6:  # at the very threshold rounding may decide
        assert bool(found) is (had > 0 and lost > share * had)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(had=st.tuples(counts, counts), has=st.tuples(counts, counts), loss=st.floats(allow_nan=True), data=st.data())
def test_equal_refreshes_give_no_alert_and_no_count_breaks_it(had, has, loss, data):
    def made(number, rows):
        kept = min(rows)
        return record(
            number,
            extract(s=rows[0]),
            filtered(rows=max(rows), kept=kept),
            JobRecord(job="train", ran=False),
            final_loss=loss,
            metrics=[row(loss)],
        )

    thresholds = AlertSettings(
        source_shrinks=data.draw(st.floats(0.01, 1)), keep_rate_moves=data.draw(st.floats(0.01, 1)), keep_rate_least=1
    )
    assert find(made(1, had), made(2, had), thresholds) == ()
    for alert in find(made(1, had), made(2, has), thresholds):
        assert alert.message.endswith(".") and alert.before != alert.now
