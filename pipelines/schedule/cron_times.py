"""The times of a cron expression, as cron means them.

APScheduler computes them, on a clock that nobody sets (UTC): where clocks change it loses times (0:00 on the day after the change
in spring, and so the whole week or month of a job that comes once in it). Which moments such a time of the clock on the wall
is in a zone is said here, as is what APScheduler takes otherwise than cron: numbers of weekdays (cron's 0 and 7 are Sunday,
APScheduler's 0 is Monday), day of month and day of week both given (cron: either of them, APScheduler: both), and names of
months with a step.
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
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
FIELDS: Final = ("minute", "hour", "day of month", "month", "day of week")

_WEEKDAY_PART: Final = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[1-9]\d*))?", re.ASCII)
_FORM: Final = re.compile(r"[\w*/,-]+", re.ASCII)
_NUMBERS: Final = re.compile(r"[\d*/,-]+", re.ASCII)
_STEP: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)


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
        self._triggers = [_trigger(self.expression, each) for each in _either_day(fields)]
        self._zone = _zone(zone)
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
        """The first time from `moment` on. Near a change of the clocks a later hour on the wall may be the earlier moment."""
        wall = moment.astimezone(self._zone).replace(tzinfo=None) - self._jump(moment)
        best: datetime | None = None
        while True:
            found = self._next_on_the_wall(wall)
            if found is None or (best is not None and found > self._last_rival(best)):
                return None if best is None else best.astimezone(self._zone)
            best = min(
                (each for each in (best, *self._moments(found)) if each is not None and each >= moment), default=None
            )
            wall = found + _STEP

    def _next_on_the_wall(self, wall: datetime) -> datetime | None:
        known = [trigger.get_next_fire_time(None, wall.replace(tzinfo=UTC)) for trigger in self._triggers]
        return min((each.replace(tzinfo=None) for each in known if each is not None), default=None)

    def _moments(self, wall: datetime) -> list[datetime]:
        """When the clock on the wall shows a time, in UTC. An hour that it leaves out is taken by the clock before the change."""
        first, second = (wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if not self._runs_by_elapsed_time:
            return [first]
        return [each for each in (first, second) if each.astimezone(self._zone).replace(tzinfo=None) == wall]

    def _last_rival(self, best: datetime) -> datetime:
        """No time on the wall after this one comes before `best`."""
        return best.astimezone(self._zone).replace(tzinfo=None) + self._jump(best)

    def _jump(self, moment: datetime) -> timedelta:
        """By how much the clocks were or will be set within a day of a moment: nothing, nearly always."""
        before, now, after = (self._offset(each) for each in (moment - _DAY, moment, moment + _DAY))
        return max(abs(now - before), abs(after - now))

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self._zone).utcoffset() or timedelta(0)


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


def _trigger(expression: str, fields: list[str]) -> CronTrigger:
    minute, hour, day, month, weekday = fields
    given = {"minute": minute, "hour": hour, "day": day, "month": _months(month.lower())}
    for name, field in zip(FIELDS, given.items(), strict=False):
        try:
            if not _NUMBERS.fullmatch(field[1]):
                raise ValueError("there is a word in it that is none of cron's")
            CronTrigger(**dict([field]), timezone=UTC)
        except ValueError as error:
            raise UserError(
                f"The cron expression {expression!r}, {name} {field[1]!r}: {str(error).rstrip('.')}."
            ) from None
    return CronTrigger(**given, day_of_week=_weekdays(expression, weekday.lower()), timezone=UTC)


def _months(field: str) -> str:
    """Months as numbers; a word that is no month stays."""
    return re.sub("[a-z]+", lambda word: str(MONTHS.index(word[0]) + 1) if word[0] in MONTHS else word[0], field)


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


def _zone(name: str | None) -> tzinfo:
    """A time zone, by default the machine's. Raises UserError where it is none, or cannot be told."""
    try:
        return zoneinfo.ZoneInfo(name) if name is not None else CronTrigger(minute="0").timezone
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        if name is None:
            raise UserError(
                f"This machine's own time zone cannot be told ({error}): name one with --timezone."
            ) from None
        known = zoneinfo.available_timezones()
        close = difflib.get_close_matches(name, known, 3, 0.5)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        none = "" if known else " This machine has no list of time zones: install its package tzdata."
        raise UserError(f"{name!r} is no time zone: name one as Europe/Berlin or UTC.{hint}{none}") from None


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
