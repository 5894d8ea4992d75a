"""Times of cron expressions: dates worked out by hand with a calendar, and cron's rule restated minute by minute."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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


@pytest.mark.parametrize(
    ("expression", "start", "expected"),
    [
        ("30 0 * * *", "2026-03-28 12:00", ["2026-03-29 00:30 +0100", "2026-03-30 00:30 +0200"]),
        ("0 0 * * 1", "2026-03-26 12:00", ["2026-03-30 00:00 +0200", "2026-04-06 00:00 +0200"]),  # a Monday
        ("@monthly", "2026-03-15 12:00", ["2026-04-01 00:00 +0200", "2026-05-01 00:00 +0200"]),
        ("@monthly", "2026-02-15 12:00", ["2026-03-01 00:00 +0100", "2026-04-01 00:00 +0200"]),
    ],
)
def test_the_midnight_after_a_change_in_spring_is_not_lost(expression: str, start: str, expected: list[str]) -> None:
    """APScheduler by itself goes on at 1:00 of the next day, and with that to the next night, week or month."""
    assert _next(expression, datetime.fromisoformat(start).replace(tzinfo=BERLIN), 2, "Europe/Berlin") == expected


def test_a_time_that_the_clocks_leave_out_still_comes_for_who_asks_within_that_hour() -> None:
    found = _next("30 2 * * *", datetime(2026, 3, 29, 3, 10, tzinfo=BERLIN), 1, "Europe/Berlin")
    assert found == ["2026-03-29 03:30 +0200"]


def test_a_midnight_that_the_clocks_leave_out_comes_at_one() -> None:
    # Santiago, 6 September 2026: 0:00 -04 is 1:00 -03
    santiago = ZoneInfo("America/Santiago")
    found = _next("0 0 * * *", datetime(2026, 9, 5, 12, tzinfo=santiago), 2, "America/Santiago")
    assert found == ["2026-09-06 01:00 -0300", "2026-09-07 00:00 -0300"]


def test_months_have_names_in_ranges_with_steps_too() -> None:
    found = _next("0 3 1 jan-dec/3 *", datetime(2026, 3, 15, tzinfo=UTC), 3)
    assert [each[:10] for each in found] == ["2026-04-01", "2026-07-01", "2026-10-01"]
    found = _next("0 3 1 JAN,sep-oct *", datetime(2026, 3, 15, tzinfo=UTC), 3)
    assert [each[:10] for each in found] == ["2026-09-01", "2026-10-01", "2027-01-01"]


def test_a_machine_whose_own_zone_cannot_be_told_is_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_zone() -> None:
        raise ZoneInfoNotFoundError("TZ=Nowhere/Atall")

    monkeypatch.setattr("apscheduler.triggers.cron.get_localzone", no_zone)
    with pytest.raises(UserError, match="--timezone"):
        CronTimes("0 3 * * *")


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
        ("0 3 last-3 * *", "day of month 'last-3'"),
        ("0 3 1 janfoo *", "month 'janfoo'"),
        ("0 3 1 jan- *", "month"),
        ("*/0 3 * * *", "minute '\\*/0'"),
        ("0, 3 * * *", "minute '0,'"),
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


# zone, a day before its clocks change in 2026: by an hour, at midnight, by half an hour, in spring and in autumn
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 24, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 9, 5, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 4, 4, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),
]


def _comes(moment: datetime, zone: ZoneInfo, minutes: set[int], hours: set[int], by_elapsed_time: bool) -> bool:
    """Cron's rule for one minute: what the wall shows, or what it would show had the clocks not just left an hour out."""
    wall = moment.astimezone(zone)
    if wall.minute in minutes and wall.hour in hours and (by_elapsed_time or not wall.fold):
        return True
    before = (moment - timedelta(hours=3)).astimezone(zone).utcoffset()
    assert before is not None
    left_out = (moment + before).replace(tzinfo=zone)
    is_none = left_out.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != left_out.replace(tzinfo=None)
    return not by_elapsed_time and is_none and left_out.minute in minutes and left_out.hour in hours


@settings(max_examples=40, deadline=None)
@given(_field(0, 59), _field(0, 23), st.sampled_from(CHANGES), st.integers(0, 36 * 60))
def test_times_near_a_change_of_the_clocks_are_those_of_the_rule_asked_minute_by_minute(
    minute: str, hour: str, change: tuple[str, datetime], later: int
) -> None:
    zone, start = ZoneInfo(change[0]), change[1] + timedelta(minutes=later)
    minutes, hours = _values(minute, 0, 59), _values(hour, 0, 23)
    asked = (start + timedelta(minutes=number) for number in range(1, 2 * 24 * 60))
    expected = [each for each in asked if _comes(each, zone, minutes, hours, hour.startswith("*"))][:40]
    found = islice(CronTimes(f"{minute} {hour} * * *", change[0]).following(start), len(expected))
    assert [each.astimezone(UTC) for each in found] == expected
