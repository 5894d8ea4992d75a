"""RUN/forgotten.json: which documents must not come back, as hashes; and what extract leaves out because of them.

A tombstone names a document by its URL or its id. It also has the hashes of what only that document had and that other rows
may carry: texts (other pairs' negatives) and excerpts of records that could not be read. No text and no URL is in the file.

A row goes where its URL or document id is the forgotten one, and, where it has no URL, where it is of a document that had the
forgotten URL when the tombstone was set.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from pipelines import storage
from pipelines.errors import UserError
from pipelines.forget.urls import one_spelling, spellings_of_row
from pipelines.manifest import fingerprint
from pipelines.run_folder import RunFolder
from sources.schema import text_ids
from sources.source import Extracted

FILE: Final = "forgotten.json"
FORGETTING: Final = "_forgetting/plan.json"  # of a take-down that goes on: what it removes; it goes at the end
BLANKED: Final = "(forgotten)"  # in place of an excerpt
_LAYOUT: Final = 1
_NAMES: Final = re.compile(r"https?://[^\s\"'<>\\]+|\"((?:[^\"\\]|\\.)*)\"|[^\s\"',;:{}\[\]<>]+")

Kind = Literal["url", "document_id"]
Rows = npt.NDArray[np.bool_]


class Tombstone(BaseModel):
    """One forgotten document."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    sha256: str  # name_hash of what the user gave
    source: str | None = None  # only rows of this source; None: of any
    documents: tuple[str, ...] = ()  # document_hash of those that had the URL
    texts: tuple[str, ...] = ()  # hexadecimal text_id of texts that no other document had
    excerpts: tuple[str, ...] = ()  # excerpt_hash of records that could not be read and held some of it
    forgotten: str = ""  # when: UTC, ISO 8601
    reason: str = ""
    counts: dict[str, int] = {}  # what was removed
    models: tuple[str, ...] = ()  # whose training data held it then

    @property
    def deciding(self) -> list[Any]:
        """What decides which rows go: not when, why and how many."""
        return [self.kind, self.sha256, self.source, self.documents, self.texts, self.excerpts]


def name_hash(kind: Kind, name: str) -> str:
    """sha256 of a document id, or of a URL in its one spelling (pipelines.forget.urls), hexadecimal."""
    return _sha256(kind, one_spelling(name) if kind == "url" else name)


def name_hashes(kind: Kind, name: str) -> list[str]:
    """The name_hash of all names that a row with this URL or id goes by: of a part of a page (#) the page's, too."""
    return [_sha256(kind, each) for each in (spellings_of_row(name) if kind == "url" else (name,))]


def _sha256(*words: str) -> str:
    return hashlib.sha256("\x00".join(words).encode("utf-8", "surrogatepass")).hexdigest()


def document_hash(source: str, document_id: str) -> str:
    """sha256 of a document: its source and its id."""
    return _sha256("document", source, document_id)


def excerpt_hash(excerpt: str) -> str:
    return _sha256("excerpt", excerpt)


@dataclass(frozen=True)
class _OfSource:
    """What is forgotten of one source, or of any."""

    urls: frozenset[str]
    ids: frozenset[str]
    documents: frozenset[str]


@dataclass(frozen=True)
class Forgotten:
    """All tombstones of a run, in the order they were set. Small: it is sent to workers."""

    tombstones: tuple[Tombstone, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tombstones)

    def digest(self, count: int | None = None) -> str:
        """Of the first `count` tombstones: tells whether rows were left out by these."""
        return fingerprint(tombstones=[each.deciding for each in self.tombstones[:count]])

    @cached_property
    def state(self) -> dict[str, Any]:
        """How a part says that it was written with these tombstones."""
        return {"tombstones": len(self.tombstones), "digest": self.digest()}

    def extends(self, state: dict[str, Any]) -> bool:
        """Whether a part with this state needs nothing but the later tombstones."""
        count = int(state["tombstones"])
        return count <= len(self.tombstones) and state["digest"] == self.digest(count)

    @cached_property
    def _by_source(self) -> dict[str | None, _OfSource]:
        found = {}
        for source in {each.source for each in self.tombstones}:
            chosen = [each for each in self.tombstones if each.source == source]
            urls = frozenset(each.sha256 for each in chosen if each.kind == "url")
            ids = frozenset(each.sha256 for each in chosen if each.kind == "document_id")
            found[source] = _OfSource(urls, ids, frozenset(d for each in chosen for d in each.documents))
        return found

    @cached_property
    def _texts(self) -> pa.Array:
        return pa.array(sorted({bytes.fromhex(text) for each in self.tombstones for text in each.texts}), pa.binary(16))

    @cached_property
    def _excerpts(self) -> frozenset[str]:
        return frozenset(excerpt for each in self.tombstones for excerpt in each.excerpts)

    @property
    def has_texts(self) -> bool:
        """Whether negatives have to be looked at."""
        return len(self._texts) > 0

    def rows(self, batch: pa.RecordBatch | pa.Table) -> Rows:
        """Which rows with the columns source, document_id and url are forgotten: bool [rows]."""
        found = np.zeros(batch.num_rows, np.bool_)
        for source, names in self._by_source.items():
            here = _named(batch, names)
            if source is not None:
                here &= pc.equal(batch["source"], source).to_numpy(zero_copy_only=False)
            found |= here
        return found

    def without_texts(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows with a column `negatives`, those that are forgotten texts left out of it; the same object where there are none."""
        if not len(self._texts) or batch["negatives"].null_count == batch.num_rows:
            return batch
        lists = batch["negatives"]
        flat, parents = pc.list_flatten(lists), pc.list_parent_indices(lists)
        if flat.null_count:
            flat = flat.fill_null("")
        gone = pc.is_in(text_ids(flat), value_set=self._texts).to_numpy(zero_copy_only=False)
        if not gone.any():
            return batch
        kept = np.bincount(parents.to_numpy()[~gone], minlength=batch.num_rows)
        offsets = pa.array(np.r_[0, np.cumsum(kept)].astype(np.int32))
        values = flat.filter(pa.array(~gone))
        rebuilt = pa.ListArray.from_arrays(offsets, values, type=lists.type, mask=pc.is_null(lists))
        place = batch.schema.get_field_index("negatives")
        return batch.set_column(place, batch.schema.field(place), rebuilt)

    def blanked(self, quarantine: pa.RecordBatch) -> pa.RecordBatch:
        """QUARANTINE rows; excerpts that name a forgotten document, or are known to hold some of it, say so instead. The same
        object where there are none."""
        excerpts = quarantine["excerpt"].to_pylist()
        told = [BLANKED if self._is_in(excerpt) else excerpt for excerpt in excerpts]
        if told == excerpts:
            return quarantine
        place = quarantine.schema.get_field_index("excerpt")
        return quarantine.set_column(place, quarantine.schema.field(place), pa.array(told, pa.string()))

    def _is_in(self, excerpt: str) -> bool:
        if excerpt_hash(excerpt) in self._excerpts:
            return True
        found = _NAMES.finditer(excerpt.replace("\\/", "/"))  # as some writers of JSON escape it
        names = {each[1] if each[1] is not None else each[0] for each in found}
        urls = {each for name in names for each in name_hashes("url", name)}
        ids = {name_hash("document_id", name) for name in names}
        return any(urls & of.urls or ids & of.ids for of in self._by_source.values())

    def divided(self, extracted: Extracted) -> tuple[Extracted, list[pa.RecordBatch]]:
        """What is kept of a step of reading, and the pairs and rejects that are not."""
        if not self:
            return extracted, []
        gone = []
        kept = []
        for rows in (extracted.pairs, extracted.rejects, extracted.documents):
            forgotten = self.rows(rows)
            if rows is not extracted.documents and forgotten.any():
                gone.append(rows.filter(pa.array(forgotten)))
            kept.append(rows.filter(pa.array(~forgotten)) if forgotten.any() else rows)
        pairs, rejects = (self.without_texts(rows) for rows in kept[:2])
        quarantine = self.blanked(extracted.quarantine)
        return replace(extracted, pairs=pairs, rejects=rejects, documents=kept[2], quarantine=quarantine), gone


def _named(batch: pa.RecordBatch | pa.Table, names: _OfSource) -> Rows:
    """Rows by URL, by id, and those without URL by document. An id that is written as the URL counts as the URL."""
    urls, ids = batch["url"], batch["document_id"]
    found = _hashed_in(ids, "document_id", names.ids)
    if names.urls:
        found |= _hashed_in(urls, "url", names.urls) | _hashed_in(ids, "url", names.urls)
    if names.documents:
        without = pc.is_null(urls).to_numpy(zero_copy_only=False) & ~found
        if without.any():
            rows = np.flatnonzero(without)
            chosen = batch.take(pa.array(rows))
            found[rows] = _documents_in(chosen, names.documents)
    return found


def _hashed_in(column: pa.Array | pa.ChunkedArray, kind: Kind, wanted: frozenset[str]) -> Rows:
    if not wanted or column.null_count == len(column):
        return np.zeros(len(column), np.bool_)
    distinct = pc.unique(column)
    hit = [
        value for value in distinct.to_pylist() if value is not None and not wanted.isdisjoint(name_hashes(kind, value))
    ]
    found: Rows = pc.is_in(column, value_set=pa.array(hit, pa.string())).to_numpy(zero_copy_only=False)
    return found.copy()


def _documents_in(batch: pa.RecordBatch | pa.Table, wanted: frozenset[str]) -> Rows:
    keys = pc.binary_join_element_wise(batch["source"], batch["document_id"], "\x00")
    hit = [key for key in pc.unique(keys).to_pylist() if document_hash(*key.split("\x00", 1)) in wanted]
    found: Rows = pc.is_in(keys, value_set=pa.array(hit, pa.string())).to_numpy(zero_copy_only=False)
    return found


def read_forgotten(run: RunFolder) -> Forgotten:
    """The tombstones of a run; none where none was ever set.

    Raises:
        UserError: the file cannot be read. Going on without it would bring forgotten documents back.
    """
    url = storage.join(run.url, FILE)
    if not storage.exists(url):
        return Forgotten()
    try:
        content = storage.read_json(url)
        if content["layout"] != _LAYOUT:
            raise ValueError(f"its layout is {content['layout']!r}, not {_LAYOUT}")
        return Forgotten(tuple(Tombstone.model_validate(each) for each in content["tombstones"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{url} cannot be read ({error}). It says which documents must not come back, so nothing runs without it: restore it"
            " from a backup, or, if no document is to be kept out any more, delete it."
        ) from None


def add_tombstones(run: RunFolder, added: Iterable[Tombstone]) -> Forgotten:
    """Append tombstones; what is there already for the same document is left as it is where nothing deciding is new."""
    forgotten = read_forgotten(run)
    known = {fingerprint(of=each.deciding) for each in forgotten.tombstones}
    new = [each for each in added if fingerprint(of=each.deciding) not in known and not _covered(each, forgotten)]
    forgotten = Forgotten((*forgotten.tombstones, *new))
    write_forgotten(run, forgotten)
    return forgotten


def _covered(tombstone: Tombstone, forgotten: Forgotten) -> bool:
    """Whether one that is there says as much: a document that is forgotten once more has nothing left to tell."""
    same = [each for each in forgotten.tombstones if each.deciding[:3] == tombstone.deciding[:3]]
    told = (
        set(getattr(tombstone, name)) <= {value for each in same for value in getattr(each, name)} for name in _LISTS
    )
    return bool(same) and all(told)


_LISTS: Final = ("documents", "texts", "excerpts")


def write_forgotten(run: RunFolder, forgotten: Forgotten) -> None:
    content = {"layout": _LAYOUT, "tombstones": [each.model_dump(mode="json") for each in forgotten.tombstones]}
    storage.write_json(storage.join(run.url, FILE), content)
