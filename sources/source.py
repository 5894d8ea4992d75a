"""What an adapter is: a name, the facts a user needs, its settings, and its functions.

    gather(paths, settings)               tells which of the files belong together; by default each is on its own
    splits(path, settings, target_bytes)  cuts one input file into parts that can be read independently and in parallel
    read(split, settings)                 streams one part as `Extracted` batches, in file order, in bounded memory

Adapters are plain functions gathered in a `Source`; `sources.catalogue` lists them all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from sources.schema import DOCUMENT, PAIR, QUARANTINE, REJECT

WHOLE: Final = 1 << 62  # bytes no file has: a split of so many is the whole file


class SourceError(ValueError):
    """An input cannot be read at all as what it is said to be. The message names the file, the value and the remedy."""


class SourceSettings(BaseModel):
    """Settings every adapter has; an adapter's own settings model extends this one. Unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str | None = Field(None, description="value of the pairs' `source` column; default: the adapter's name")
    language: str | None = Field(None, description="language where the files do not say it, e.g. en or eng_Latn")
    license: str | None = Field(None, description="licence written beside every pair, e.g. CC-BY-SA-4.0")
    documents: bool = Field(False, description="also write documents (for long-document questions and the like)")


@dataclass(frozen=True)
class InputFile:
    """One unit of input: the file whose bytes are split, and the files needed beside it (a corpus, queries, scores)."""

    path: str
    companions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """One independently readable part of an input file: bytes [start, end) of the file, or all of it (end None)."""

    path: str
    start: int = 0
    end: int | None = None
    size: int | None = None  # bytes of the file on storage, for progress; None where unknown
    # The file's name without its place: what default document ids start with; None: the base name.
    name: str | None = None
    companions: tuple[str, ...] = ()  # those of the InputFile
    encoding: str | None = None  # told by the settings; None: UTF-8, or what the file looks like


@dataclass(frozen=True)
class Extracted:
    """One step of reading: what came of the records since the step before. Batches may be empty, never None."""

    pairs: pa.RecordBatch  # schema.PAIR
    rejects: pa.RecordBatch  # schema.REJECT: pairs that normalisation emptied
    documents: pa.RecordBatch  # schema.DOCUMENT
    quarantine: pa.RecordBatch  # schema.QUARANTINE: records that could not be read
    records: int  # records read in this step, quarantined ones included
    position: int  # byte of the stored (compressed) file reached, counted from its start even in a later split
    lost: int = 0  # records lost beyond the rows of quarantine: one row may stand for a whole damaged part of a file


def extracted(
    records: int,
    position: int,
    *,
    pairs: pa.RecordBatch | None = None,
    rejects: pa.RecordBatch | None = None,
    documents: pa.RecordBatch | None = None,
    quarantine: pa.RecordBatch | None = None,
    lost: int = 0,
) -> Extracted:
    """An `Extracted` whose absent batches are empty."""
    return Extracted(
        pairs=_or_empty(pairs, PAIR),
        rejects=_or_empty(rejects, REJECT),
        documents=_or_empty(documents, DOCUMENT),
        quarantine=_or_empty(quarantine, QUARANTINE),
        records=records,
        position=position,
        lost=lost,
    )


def _or_empty(batch: pa.RecordBatch | None, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema) if batch is None else batch


def each_alone(paths: Sequence[str], settings: SourceSettings) -> list[InputFile]:
    """Every file is input by itself."""
    return [InputFile(path) for path in paths]


@dataclass(frozen=True)
class Source:
    """An adapter. `layout` says what files it takes; `obtain` where a user gets them.

    `verified` says what the layout was checked against: real files, the corpus's own documentation, or memory only.
    """

    name: str
    summary: str
    kinds: tuple[str, ...]
    languages: str
    layout: str
    license: str
    obtain: str
    Settings: type[SourceSettings]
    splits: Callable[[str, Any, int], list[Split]]
    read: Callable[[Split, Any], Iterator[Extracted]]
    gather: Callable[[Sequence[str], Any], list[InputFile]] = each_alone
    verified: str = "real files"

    def input_splits(self, file: InputFile, settings: SourceSettings, target_bytes: int) -> list[Split]:
        """The splits of an input file; each knows the companions. A file whose encoding is told is one."""
        encoding = getattr(settings, "encoding", None)
        parts = self.splits(file.path, settings, WHOLE if encoding else target_bytes)
        return [replace(part, companions=file.companions, encoding=encoding) for part in parts]
