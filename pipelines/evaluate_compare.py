"""Systems side by side: each against the one it is to be compared with, on the same queries.

In:  the `Result`s of all systems.
Out: `SetComparison`s: differences of metrics; for retrieval with interval and p-value (trainer.evaluate.significance).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.evaluate_systems import Result


@dataclass(frozen=True)
class Difference:
    """The second system against the first in one metric. What needs values by query is None for tasks."""

    metric: str
    first: float
    second: float
    difference: float  # second - first
    low: float | None = None  # 95 % interval of the difference (bootstrap)
    high: float | None = None
    p_value: float | None = None  # two-sided, paired randomisation
    better: int | None = None  # queries
    worse: int | None = None


@dataclass(frozen=True)
class SetComparison:
    """Two systems on one set."""

    data: str
    language: str | None
    task: str
    first: str
    first_mode: str
    second: str
    second_mode: str
    main_metric: str
    differences: tuple[Difference, ...]  # of the metrics that both have, the main one first

    @property
    def main(self) -> Difference | None:
        """Of the main metric; None where one of the two has no value (the correlation of equal cosines)."""
        return next((each for each in self.differences if each.metric == self.main_metric), None)

    def as_json(self) -> dict[str, Any]:
        """For comparisons.json."""
        return asdict(self)


def compared(results: Sequence[Result], seed: int = 0) -> list[SetComparison]:
    """Every result against its partner, set by set: see `partner_of`. `seed` is that of the random sign patterns."""
    found = []
    for of_set in by_set(results):
        for result in of_set:
            partner = partner_of(result, of_set)
            if partner is not None:
                found.append(_comparison(partner, result, seed))
    return found


def by_set(results: Sequence[Result]) -> list[list[Result]]:
    """The results of each set, in the order in which the sets first come."""
    groups: dict[tuple[str, str | None], list[Result]] = {}
    for result in results:
        groups.setdefault((result.of.name, result.of.language), []).append(result)
    return list(groups.values())


def partner_of(result: Result, of_set: Sequence[Result]) -> Result | None:
    """What a result is compared with: the first system in the same mode, or in its first mode where it has not that one.

    The first system's other modes are compared with its first; None for that one.
    """
    first = of_set[0]
    if result is first:
        return None
    same = [each for each in of_set if each.system == first.system and each.mode == result.mode]
    return same[0] if same and same[0] is not result else first


def _comparison(first: Result, second: Result, seed: int) -> SetComparison:
    of = second.of
    metrics = [first.metric, *(name for name in shared_metrics(first, second) if name != first.metric)]
    differences = tuple(each for metric in metrics for each in _difference(first, second, metric, seed))
    return SetComparison(
        of.name,
        of.language,
        of.kind,
        first.system,
        first.mode,
        second.system,
        second.mode,
        first.metric,
        differences,
    )


def shared_metrics(first: Result, second: Result) -> list[str]:
    """Metrics that both have for all queries, in the first one's order."""
    told = {"queries", "corpus", "examples"}
    return [
        name
        for name, value in first.overall.items()
        if isinstance(value, float) and isinstance(second.overall.get(name), float) and name not in told
    ]


def _difference(first: Result, second: Result, metric: str, seed: int) -> Iterator[Difference]:
    if first.per_query is not None and second.per_query is not None:
        from trainer.evaluate import compare

        found = compare(first.per_query, second.per_query, metric, seed=seed)
        yield Difference(
            metric,
            found.first,
            found.second,
            found.difference,
            found.low,
            found.high,
            found.p_value,
            found.better,
            found.worse,
        )
        return
    one, other = first.overall.get(metric), second.overall.get(metric)
    if one is not None and other is not None:  # no correlation may be defined
        yield Difference(metric, float(one), float(other), float(other) - float(one))


def lost_modes(comparisons: Sequence[SetComparison], system: str) -> list[str]:
    """In words, of each set: the modes that the first system has there and `system` lacks.

    Nothing of a system that has no mode in common with the first, as BM25 beside a model.
    """
    found = []
    for title in dict.fromkeys(_title(each) for each in comparisons):
        of_set = [each for each in comparisons if _title(each) == title]
        first = of_set[0].first
        if system == first:
            continue
        of_first = [of_set[0].first_mode, *(each.second_mode for each in of_set if each.second == first)]
        its = {each.second_mode for each in of_set if each.second == system}
        missing = [mode for mode in of_first if mode not in its]
        if its.intersection(of_first) and missing:
            found.append(f"{system} has no {' and no '.join(missing)} results on {title}, which {first} has")
    return found


def worse_than_first(comparisons: Sequence[SetComparison], systems: Sequence[str], most: float) -> list[str]:
    """In words, where one of `systems` is worse than the first of them by more than `most` in a set's main metric.

    Where one of the two has no value, or they share no set, nothing says that it is not worse: that counts, too, and so does
    a mode that the first system has and it lacks. A mode that the first system lacks is not held against its other modes,
    unless the two share none on that set.
    """
    meant = [each for each in comparisons if each.first == systems[0] and each.second in systems[1:]]
    alike = {_pair(each) for each in meant if each.first_mode == each.second_mode}
    compared_ones = {each.second for each in meant}
    found = [
        f"{name} cannot be compared with {systems[0]}: there is no set that both have results on"
        for name in systems[1:]
        if name not in compared_ones
    ]
    with_first = [each for each in comparisons if each.first == systems[0]]
    found += [words for name in systems[1:] for words in lost_modes(with_first, name)]
    for each in meant:
        if each.first_mode != each.second_mode and _pair(each) in alike:
            continue
        main = each.main
        if main is None:
            found.append(
                f"{each.second} ({each.second_mode}) cannot be compared on {_title(each)}: no {each.main_metric}"
            )
        elif main.difference < -most:
            found.append(
                f"{each.second} ({each.second_mode}) is worse than {each.first} on {_title(each)}: {each.main_metric} "
                f"{main.second:.4f}, {main.difference:+.4f}"
            )
    return found


def _pair(each: SetComparison) -> tuple[str, str | None, str]:
    return (each.data, each.language, each.second)


def _title(each: SetComparison) -> str:
    return f"{each.data} ({each.language})" if each.language else each.data
