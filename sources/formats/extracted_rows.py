"""Pairs, documents and bad records gathered into steps of reading: for records that are neither JSON nor tables."""

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from sources.files.reading import base_name, without_compression
from sources.languages import UNKNOWN, language_code
from sources.records import RawPair
from sources.schema import DOCUMENT, SCORES, QuarantineRows, make_pairs, normalise_text
from sources.source import Extracted, Split, extracted

ROWS: Final = 2048  # pairs of a step, about
CHARACTERS: Final = 2_000_000  # of a step's texts, about
RECORDS: Final = 16_384  # of a step at most: a part of a file without pairs shows its progress too


class ExtractedRows:
    """What the records of one split give, between two steps.

    A pair without kind is of the first of `kinds`; pairs of other kinds than the `chosen` are left out. Languages are
    as the corpus writes them; where it does not, `language` stands.
    """

    def __init__(
        self,
        source: str,
        split: Split,
        unit: str,
        kinds: tuple[str, ...],
        chosen: frozenset[str],
        language: str | None,
        license: str | None,
    ) -> None:
        self.source, self._kinds, self._chosen = source, kinds, chosen
        self._language, self._license = language, license
        self._file = without_compression(split.name) if split.name else base_name(split.path)
        self._path, self._unit = split.path, unit
        self._clear()

    def _clear(self) -> None:
        self._pairs: list[RawPair] = []
        self._documents: list[dict[str, object]] = []
        self._quarantine: dict[str, QuarantineRows] = {}
        self._records = self._characters = self._quarantined = self._lost = 0

    @property
    def full(self) -> bool:
        """Whether there is enough for a step."""
        return (
            len(self._pairs) >= ROWS
            or self._characters >= CHARACTERS
            or max(self._records, self._quarantined) >= RECORDS
        )

    def place_id(self, place: object) -> str:
        """The document id of a record that has none of its own: the file's name and the record's place in it."""
        return f"{self._file}:{place}"

    def count(self, records: int = 1) -> None:
        """Count records that were read."""
        self._records += records

    def add(self, pair: RawPair) -> None:
        """Take a pair; it must have a document id."""
        if (pair.kind or self._kinds[0]) in self._chosen:
            self._pairs.append(pair)
            self._characters += len(pair.query or "") + len(pair.positive or "")

    def bad(
        self,
        position: int,
        reason: str,
        excerpt: bytes | str,
        *,
        unit: str | None = None,
        file: str | None = None,
        lost: int = 0,
    ) -> None:
        """Put a record that has been counted into quarantine; `lost` more are lost with it.

        `file` is the one that holds it where that is not the split's.
        """
        path = file or self._path
        if path not in self._quarantine:
            self._quarantine[path] = QuarantineRows(self.source, path, self._unit)
        self._quarantine[path].add(position, reason, excerpt, unit)
        self._quarantined += 1
        self._lost += lost

    def add_document(
        self,
        document_id: str,
        title: str | None,
        sections: Iterable[tuple[tuple[str, ...], str]],
        *,
        url: str | None = None,
        language: str | None = None,
        license: str | None = None,
    ) -> None:
        """Take a document as its sections: (headings from the outermost, paragraphs one a line).

        Each section's span in the text holds its heading and its paragraphs. A document without text is left out.
        """
        text, spans = "", []
        for path, paragraphs in sections:
            lines = normalise_text(pa.array([*path[-1:], *paragraphs.split("\n")], pa.string())).to_pylist()
            start = len(text) + 2 if text else 0
            text += ("\n\n" if text else "") + "\n".join(line for line in lines if line)
            spans.append({"path": " > ".join(path), "start": start, "end": len(text)})
        if not text:
            return
        self._characters += len(text)
        self._documents.append(
            {
                "document_id": document_id,
                "source": self.source,
                "url": url,
                "title": normalise_text(pa.array([title], pa.string()))[0].as_py(),
                "text": text,
                "language": language_code(language or self._language or UNKNOWN),
                "license": license or self._license,
                "sections": spans,
            }
        )

    def take(self, position: int) -> Extracted:
        """What was gathered since the last step."""
        pairs, rejects = self._pair_batches()
        step = extracted(
            self._records,
            position,
            pairs=pairs,
            rejects=rejects,
            documents=pa.RecordBatch.from_pylist(self._documents, DOCUMENT) if self._documents else None,
            quarantine=self._quarantine_batch(),
            lost=self._lost,
        )
        self._clear()
        return step

    def _quarantine_batch(self) -> pa.RecordBatch | None:
        batches = [rows.take() for rows in self._quarantine.values()]
        return pa.concat_batches(batches) if batches else None

    def _pair_batches(self) -> tuple[pa.RecordBatch | None, pa.RecordBatch | None]:
        if not self._pairs:
            return None, None
        column = dict(zip(RawPair._fields, zip(*self._pairs, strict=True), strict=True))
        negatives, scores = column["negatives"], column["scores"]
        return make_pairs(
            query=pa.array(column["query"], pa.string()),
            positive=pa.array(column["positive"], pa.string()),
            kind=[name or self._kinds[0] for name in column["kind"]],
            source=self.source,
            document_id=pa.array(column["document_id"], pa.string()),
            query_lang=self._languages(column["query_language"]),
            positive_lang=self._languages(column["positive_language"]),
            negatives=pa.array(negatives, pa.list_(pa.string())) if any(negatives) else None,
            url=pa.array(column["url"], pa.string()),
            license=[name or self._license for name in column["license"]],
            label=pa.array(column["label"], pa.float32()),
            scores=pa.array(scores, SCORES) if any(scores) else None,
        )

    def _languages(self, tags: tuple[str | None, ...]) -> pa.Array:
        code = {tag: language_code(tag or self._language or UNKNOWN) for tag in set(tags)}
        return pa.array([code[tag] for tag in tags], pa.string())
