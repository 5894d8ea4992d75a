"""Negatives that stand in records of their own: (premise, contradiction), (question, no duplicate of it).

A file may hold the records of one query in any order, so its pairs wait in a window for the negatives of their query.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sources.records import RawPair

# Bytes of memory beside the texts, measured with tracemalloc: a group and its containers, a pair with its id, a negative.
GROUP_BYTES: Final = 500
PAIR_BYTES: Final = 220
NEGATIVE_BYTES: Final = 40


class RawNegative(NamedTuple):
    """A text that does not belong to a query: it becomes a negative of the pairs with the same query, kind and language."""

    query: str | None
    negative: str | None
    kind: str | None = None  # None: the source's first
    query_language: str | None = None


@dataclass(slots=True)
class _Group:
    """What is known of one query so far."""

    document_id: str  # for pairs that have none of their own: all pairs of a query share it
    pairs: list["RawPair"] = field(default_factory=list)
    negatives: dict[str, None] = field(default_factory=dict)  # a set in the order of the file
    size: int = 0


class NegativesWindow:
    """Gathers the pairs and the negatives of each query over about `limit` bytes of memory.

    Queries leave in the order of their first record, once newer records need the room, so any number of records passes
    through. A query of which more comes after it has left starts anew. `most` negatives of a query are kept, the first
    ones; a text that is a positive of the query too is none of them.
    """

    def __init__(self, limit: int, most: int) -> None:
        self._limit, self._most = limit, most
        # An OrderedDict gives its oldest entry at once; a dict passes over all the removed ones each time.
        self._groups: OrderedDict[tuple[str, str | None, str | None], _Group] = OrderedDict()
        self._size = 0

    def add(self, found: "RawPair | RawNegative", default_id: str) -> None:
        """Take in one pair or negative; `default_id` is for a query that is new and whose pairs have no document id."""
        query = found.query or ""
        key = (query, found.kind, found.query_language)
        group = self._groups.get(key)
        before = group.size if group else 0
        if group is None:
            group = self._groups[key] = _Group(default_id, size=GROUP_BYTES + sys.getsizeof(query))
        if isinstance(found, RawNegative):
            self._add_negative(group, found.negative)
        else:
            group.pairs.append(found)
            group.size += PAIR_BYTES + sys.getsizeof(found.query) + sys.getsizeof(found.positive)
            for negative in found.negatives or ():
                self._add_negative(group, negative)
        self._size += group.size - before

    def _add_negative(self, group: _Group, negative: str | None) -> None:
        if negative and len(group.negatives) < self._most and negative not in group.negatives:
            group.negatives[negative] = None
            group.size += NEGATIVE_BYTES + sys.getsizeof(negative)

    def take(self, last: bool = False) -> Iterator["RawPair"]:
        """The pairs of the queries for which there is no more room, with their negatives; with `last`, of all."""
        while self._groups and (last or self._size > self._limit):
            _, group = self._groups.popitem(last=False)
            self._size -= group.size
            positives = {pair.positive for pair in group.pairs}
            negatives = [text for text in group.negatives if text not in positives] or None
            for pair in group.pairs:
                yield pair._replace(negatives=negatives, document_id=pair.document_id or group.document_id)
