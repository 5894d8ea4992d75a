"""The page of two systems side by side: figures by set, and the queries that moved most, with their passages.

One HTML file without script or request; languages are chosen by radio buttons that the style sheet reads.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines import __version__, storage
from pipelines.evaluate_moved import MovedQuery, MovedSet, SideBySide
from pipelines.evaluate_systems import shown_name
from pipelines.report.page import rendered
from pipelines.report.text import Clipped

TEMPLATE: Final = "side_by_side.html"
NO_LANGUAGE: Final = "no language told"


@dataclass(frozen=True)
class Passage:
    """A passage with its ranks as words."""

    document_id: str
    text: Clipped | None
    first_rank: str
    second_rank: str
    relevant: bool
    tops: tuple[str, ...]  # which systems rank it first


@dataclass(frozen=True)
class Query:
    """A card of the page. `group` is the number of its language."""

    query_id: str
    query: Clipped
    language: str
    kind: str | None
    group: int
    first: float
    second: float
    passages: list[Passage]


@dataclass(frozen=True)
class OneSet:
    """A set and its cards; `anchor` is made of numbers alone: no string of the data enters a link."""

    facts: MovedSet
    anchor: str
    gained: list[Query]
    lost: list[Query]


def render(shown: SideBySide) -> bytes:
    """The page as UTF-8."""
    languages = sorted({_language(each, query) for each in shown.sets for query in (*each.gained, *each.lost)})
    groups = {language: number for number, language in enumerate(languages)}
    names = _names(shown)
    sets = [
        OneSet(
            each,
            f"set-{number}",
            [_query(each, query, groups, names) for query in each.gained],
            [_query(each, query, groups, names) for query in each.lost],
        )
        for number, each in enumerate(shown.sets)
    ]
    content: dict[str, Any] = {
        "version": __version__,
        "first": names[0],
        "second": names[1],
        "paths": (shown.first, shown.second),
        "sets": sets,
        "languages": languages if len(languages) > 1 else [],
    }
    return rendered(TEMPLATE, content, _filters(range(len(languages))))


def write_page(path: str | Path, shown: SideBySide) -> Path:
    """Write the page; its path."""
    with storage.atomic_write(str(path)) as stream:
        stream.write(render(shown))
    return Path(path)


def _filters(groups: Iterable[int]) -> str:
    """Rules that hide the cards of other languages than the one whose radio button is chosen, and sets without a card left."""
    return "".join(
        f"body:has(#show-{n}:checked) :is(.moved:not(.of-{n}),.of-set:not(:has(.of-{n}))){{display:none}}\n"
        for n in groups
    )


def _names(shown: SideBySide) -> tuple[str, str]:
    first, second = shown_name(shown.first), shown_name(shown.second)
    return (first, second) if first != second else (shown.first, shown.second)


def _language(of: MovedSet, query: MovedQuery) -> str:
    return query.language or of.language or NO_LANGUAGE


def _query(of: MovedSet, query: MovedQuery, groups: dict[str, int], names: Sequence[str]) -> Query:
    passages = []
    for passage in query.passages:
        ranks = (passage.first_rank, passage.second_rank)
        passages.append(
            Passage(
                passage.document_id,
                None if passage.text is None else Clipped.of(passage.text),
                _rank(ranks[0], of.depth),
                _rank(ranks[1], of.depth),
                passage.relevant,
                tuple(name for name, rank in zip(names, ranks, strict=True) if rank == 1),
            )
        )
    language = _language(of, query)
    return Query(
        query.query_id,
        Clipped.of(query.query),
        language,
        query.kind,
        groups[language],
        query.first,
        query.second,
        passages,
    )


def _rank(rank: int | None, depth: int | None) -> str:
    return f"{rank:,}" if rank is not None else f"below {depth:,}" if depth else "not ranked"
