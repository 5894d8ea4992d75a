"""Times of cron expressions: dates worked out by hand with a calendar, and cron's rule restated minute by minute."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.schedule.cron_times import CronTimes, count_between

BERLIN = ZoneInfo("Europe/Berlin")


def _next(expression: str, start: datetime, number: int, zone: str = "UTC") -> list[str]:
    return [f"{each:%Y-%m-%d %H:%M %z}" for each in islice(CronTimes(expression, zone).following(start), number)]


@pytest.mark.parametrize("weekday", ["0", "7", "sun", "SUN"])
def test_zero_and_seven_and_sun_are_sunday(weekday: str) -> None:
    # 1 November 2026 is a Sunday
    found = _next(f"0 3 * * {weekday}", datetime(2026, 10, 28, tzinfo=UTC), 2)
    assert found == ["2026-11-01 03:00 +0000", "2026-11-08 03:00 +0000"]


def test_one_to_five_is_monday_to_friday() -> None:
    # 30 October 2026 is a Friday
    found = _next("0 3 * * 1-5", datetime(2026, 10, 29, 12, tzinfo=UTC), 3)
    assert found == ["2026-10-30 03:00 +0000", "2026-11-02 03:00 +0000", "2026-11-03 03:00 +0000"]


def test_a_range_may_end_on_sunday() -> None:
    found = _next("0 3 * * fri-sun", datetime(2026, 10, 29, 12, tzinfo=UTC), 4)
    assert found == [f"2026-{day} 03:00 +0000" for day in ("10-30", "10-31", "11-01", "11-06")]


def test_of_day_of_month_and_day_of_week_either_is_enough() -> None:
    # the 13th or a Friday, in November 2026: Fridays 6, 13, 20, 27
    found = _next("0 0 13 11 fri", datetime(2026, 11, 1, tzinfo=UTC), 4)
    assert found == [f"2026-11-{day} 00:00 +0000" for day in ("06", "13", "20", "27")]
    found = _next("0 0 1,13 * mon", datetime(2026, 11, 1, 12, tzinfo=UTC), 4)
    assert found == [f"2026-11-{day} 00:00 +0000" for day in ("02", "09", "13", "16")]


def test_a_time_that_the_clocks_leave_out_comes_once_at_that_moment_on_the_new_clock() -> None:
    # 29 March 2026: 2:00 CET is followed by 3:00 CEST
    found = _next("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=BERLIN), 2, "Europe/Berlin")
    assert found == ["2026-03-29 03:30 +0200", "2026-03-30 02:30 +0200"]


def test_a_time_that_the_clocks_show_twice_comes_once() -> None:
    # 25 October 2026: 3:00 CEST is followed by 2:00 CET
    found = _next("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=BERLIN), 2, "Europe/Berlin")
    assert found == ["2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"]


def test_a_schedule_of_every_hour_runs_through_both_changes_by_elapsed_time() -> None:
    autumn = _next("0 * * * *", datetime(2026, 10, 25, 1, 30, tzinfo=BERLIN), 3, "Europe/Berlin")
    assert autumn == ["2026-10-25 02:00 +0200", "2026-10-25 02:00 +0100", "2026-10-25 03:00 +0100"]
    spring = _next("0 * * * *", datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN), 2, "Europe/Berlin")
    assert spring == ["2026-03-29 03:00 +0200", "2026-03-29 04:00 +0200"]


def test_the_hour_of_the_day_stays_when_the_clocks_change() -> None:
    found = CronTimes("0 3 * * 1", "Europe/Berlin").following(datetime(2026, 10, 19, 12, tzinfo=BERLIN))
    assert [each.astimezone(UTC).hour for each in islice(found, 2)] == [2, 2]  # 26 October and 2 November: CET
    found = CronTimes("0 3 * * 1", "Europe/Berlin").following(datetime(2026, 10, 12, 12, tzinfo=BERLIN))
    assert next(found).astimezone(UTC).hour == 1  # 19 October: CEST


def test_nicknames_are_known() -> None:
    assert _next("@weekly", datetime(2026, 11, 2, tzinfo=UTC), 1) == ["2026-11-08 00:00 +0000"]
    assert _next("@monthly", datetime(2026, 11, 2, tzinfo=UTC), 1) == ["2026-12-01 00:00 +0000"]


def test_times_between_two_moments_are_counted_with_both_ends() -> None:
    times = CronTimes("0 3 * * *", "UTC")
    first = datetime(2026, 11, 1, 3, tzinfo=UTC)
    assert count_between(times, first, first + timedelta(days=3)) == 4
    assert count_between(times, first, first) == 1
    assert count_between(times, first, first - timedelta(seconds=1)) == 0
    assert count_between(times, first, first + timedelta(days=300), most=7) == 7


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 3 * *", "write minute, hour"),
        ("0 3 * * * *", "write minute, hour"),
        ("@reboot", "@weekly"),
        ("0 3 * * 8", "0 and 7 are Sunday"),
        ("0 3 * * 5-1", "0 and 7 are Sunday"),
        ("0 3 * * 1/2", "0 and 7 are Sunday"),
        ("0 3 * * mon#1", "write minute, hour"),
        ("61 3 * * *", "minute '61'"),
        ("0 24 * * *", "hour '24'"),
        ("0 3 0 * *", "day of month '0'"),
        ("0 3 * 13 *", "month '13'"),
        ("0 3 30 2 *", "never comes"),
        ("0 3 * * ١", "write minute, hour"),
    ],
)
def test_what_is_no_cron_expression_is_refused_with_its_field(expression: str, words: str) -> None:
    with pytest.raises(UserError, match=words.replace("'", ".")):
        CronTimes(expression, "UTC")


def test_an_unknown_time_zone_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Europe/Berlin"):
        CronTimes("0 3 * * *", "Europe/Berlim")
    with pytest.raises(UserError, match="no time zone"):
        CronTimes("0 3 * * *", "../../etc/passwd")


def _field(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    span = st.tuples(number, number).map(sorted)
    part = st.one_of(
        number.map(str),
        span.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.tuples(st.integers(least, most - 3), st.integers(1, 3)).map(lambda both: f"{both[0]}-{most}/{both[1]}"),
    )
    return st.one_of(
        st.just("*"),
        st.integers(2, 5).map(lambda step: f"*/{step}"),
        st.lists(part, min_size=1, max_size=2).map(",".join),
    )


def _values(field: str, least: int, most: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = (f"{least}-{most}" if span == "*" else span).partition("-")
        found |= set(range(int(low), int(high or low) + 1, int(step or 1)))
    return found


@settings(max_examples=60, deadline=None)
@given(_field(0, 59), _field(0, 23), _field(1, 28), _field(0, 7))
def test_times_are_those_of_crons_rule_asked_minute_by_minute(minute: str, hour: str, day: str, weekday: str) -> None:
    start = datetime(2026, 11, 1, 0, 0, tzinfo=UTC)
    minutes, hours, days = _values(minute, 0, 59), _values(hour, 0, 23), _values(day, 1, 31)
    weekdays = {value % 7 for value in _values(weekday, 0, 6 if weekday.startswith("*") else 7)}
    expected = []
    moment = start
    while len(expected) < 3 and moment < start + timedelta(days=40):
        moment += timedelta(minutes=1)
        if moment.minute not in minutes or moment.hour not in hours:
            continue
        by_day, by_weekday = moment.day in days, moment.isoweekday() % 7 in weekdays
        either = not day.startswith("*") and not weekday.startswith("*")
        if (by_day or by_weekday) if either else (by_day and by_weekday):
            expected.append(moment)
    found = islice(CronTimes(f"{minute} {hour} {day} * {weekday}", "UTC").following(start), len(expected))
    assert list(found) == expected
