"""The times of a cron expression, as cron means them.

APScheduler computes them; three things in which it differs from cron are put right here: numbers of weekdays (cron's 0 and 7
are Sunday, APScheduler's 0 is Monday), day of month and day of week both given (cron: either of them, APScheduler: both), and
the hour that the clocks go back (cron runs a job of a fixed hour once, APScheduler twice).
"""

import difflib
import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Final

from apscheduler.triggers.cron import CronTrigger

from pipelines.errors import UserError

NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS: Final = ("minute", "hour", "day of month", "month", "day of week")

_WEEKDAY_PART: Final = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[1-9]\d*))?", re.ASCII)
_FORM: Final = re.compile(r"[\w*/,-]+", re.ASCII)
_STEP: Final = timedelta(microseconds=1)


class CronTimes:
    """The times of one cron expression in one time zone.

    Args:
        expression: five fields, minute to day of week, or a nickname such as @weekly.
        zone: an IANA name, e.g. Europe/Berlin; None: the machine's own time zone.

    Raises:
        UserError: an expression or a time zone that is none, an expression that no day fulfils.
    """

    def __init__(self, expression: str, zone: str | None = None) -> None:
        self.expression = expression.strip()
        self.zone_name = zone
        fields = _fields(self.expression)
        self._runs_by_elapsed_time = fields[1].startswith("*")
        self._triggers = [_trigger(self.expression, each, _zone(zone)) for each in _either_day(fields)]
        if self._next(datetime.now(UTC)) is None:
            raise UserError(f"The cron expression {expression!r} never comes: no year has such a day.")

    def after(self, moment: datetime) -> datetime:
        """The first time later than `moment` (which knows its time zone), in the schedule's time zone."""
        found = self._next(moment.astimezone(UTC) + _STEP)
        if found is None:
            raise UserError(f"The cron expression {self.expression!r} does not come after {moment:%Y-%m-%d}.")
        return found

    def following(self, moment: datetime) -> Iterator[datetime]:
        """All times later than `moment`, in order."""
        while True:
            moment = self.after(moment)
            yield moment

    def _next(self, moment: datetime) -> datetime | None:
        while True:
            found = [trigger.get_next_fire_time(None, moment) for trigger in self._triggers]
            known = [each for each in found if each is not None]
            if not known:
                return None
            # by UTC and back: of a time that the clocks leave out (2:30 in spring) the same moment on the new clock
            earliest = min(each.astimezone(UTC) for each in known)
            local: datetime = earliest.astimezone(known[0].tzinfo)
            if self._runs_by_elapsed_time or not local.fold:
                return local
            moment = earliest + _STEP


def _fields(expression: str) -> list[str]:
    fields = NICKNAMES.get(expression.lower(), expression).split()
    if len(fields) != 5 or not all(_FORM.fullmatch(field) for field in fields):
        raise UserError(
            f"{expression!r} is no cron expression: write minute, hour, day of month, month and day of week, e.g. '0 3 * * 1' for Mondays at 3:00, or one of {', '.join(NICKNAMES)}."
        )
    return fields


def _either_day(fields: list[str]) -> list[list[str]]:
    """One set of fields, or two, of which either may be fulfilled: cron's rule where both kinds of day are given."""
    day, weekday = fields[2], fields[4]
    if day.startswith("*") or weekday.startswith("*"):
        return [fields]
    return [[*fields[:4], "*"], [*fields[:2], "*", *fields[3:]]]


def _trigger(expression: str, fields: list[str], zone: tzinfo | None) -> CronTrigger:
    minute, hour, day, month, weekday = fields
    given = {"minute": minute, "hour": hour, "day": day, "month": month.lower()}
    for name, field in zip(FIELDS, given.items(), strict=False):
        try:
            CronTrigger(**dict([field]), timezone=UTC)
        except ValueError as error:
            raise UserError(
                f"The cron expression {expression!r}, {name} {field[1]!r}: {str(error).rstrip('.')}."
            ) from None
    return CronTrigger(**given, day_of_week=_weekdays(expression, weekday.lower()), timezone=zone)


def _weekdays(expression: str, field: str) -> str:
    """Cron's weekdays as names, which mean the same to APScheduler: 1-5 -> "mon,tue,wed,thu,fri"."""
    days: set[int] = set()
    for part in field.split(","):
        found = _WEEKDAY_PART.fullmatch(part)
        if found is None:
            raise UserError(_no_weekday(expression, part))
        step = int(found["step"] or 1)
        if found["first"] is None:
            days.update(range(0, 7, step))
            continue
        first = _weekday(expression, found["first"])
        last = _weekday(expression, found["last"]) if found["last"] else first
        if found["last"] and last == 0:
            last = 7  # fri-sun
        if last < first or (found["step"] and not found["last"]):
            raise UserError(_no_weekday(expression, part))
        days.update(day % 7 for day in range(first, last + 1, step))
    return ",".join(WEEKDAYS[day] for day in sorted(days))


def _weekday(expression: str, word: str) -> int:
    if word in WEEKDAYS:
        return WEEKDAYS.index(word)
    if word.isdecimal() and int(word) <= 7:
        return int(word)
    raise UserError(_no_weekday(expression, word))


def _no_weekday(expression: str, part: str) -> str:
    return f"The cron expression {expression!r}, day of week {part!r}: write 0 to 7 (0 and 7 are Sunday) or sun to sat, ranges as 1-5, steps as */2 or 1-5/2."


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        close = difflib.get_close_matches(name, zoneinfo.available_timezones(), 3, 0.5)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise UserError(f"{name!r} is no time zone: name one as Europe/Berlin or UTC.{hint}") from None


def count_between(times: CronTimes, first: datetime, last: datetime, most: int = 10_000) -> int:
    """How many times lie in [first, last], `first` being one of them; `most` at most."""
    if first > last:
        return 0
    for number, (_, following) in enumerate(pairwise(_with(first, times.following(first))), 1):
        if following > last or number == most:
            return number
    return most


def _with(first: datetime, others: Iterator[datetime]) -> Iterator[datetime]:
    yield first
    yield from others
