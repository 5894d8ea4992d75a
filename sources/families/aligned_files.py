"""Sources of line-aligned files: which files go together, and the pairs that their lines make.

One unit of work is one file with the one or more that its lines are paired with. Text in two languages gives pairs of
kind `parallel`, two texts in one language (British and Indian English of NTREX) pairs of kind `paraphrase`. All pairs of
one line share a document id, so that every language of it falls on one side of a split into training and held-out data.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sources.families.aligned_lines import AlignedLines, Bad, LineBlock, LineCount, count_lines
from sources.families.aligned_names import AlignedName
from sources.families.bitext import float_column, score_column
from sources.languages import language_code
from sources.records import RecordSettings, chosen_kinds
from sources.schema import PAIR, REJECT, QuarantineRows, make_pairs
from sources.source import Extracted, Split, extracted

KINDS: Final = ("parallel", "paraphrase")
_Numbers = npt.NDArray[np.int64]
SCORES, IDS = ".scores", ".ids"  # ends of the files that hold a number, and the documents, of every line


@dataclass(frozen=True)
class AlignedFiles:
    """The files of one unit: the texts, the driving one first, with what their names say, and what describes the lines."""

    paths: tuple[str, ...]
    names: tuple[AlignedName, ...]
    scores: str | None = None
    ids: str | None = None

    @property
    def all_paths(self) -> list[str]:
        """The texts, then scores and ids where there are any."""
        return [*self.paths, *(path for path in (self.scores, self.ids) if path)]


def read_aligned(files: AlignedFiles, split: Split, settings: RecordSettings, name: str) -> Iterator[Extracted]:
    """Stream the pairs of a unit for the source of a name. Raises SourceError where a file cannot be opened."""
    rows = _Rows(files, split, settings, settings.label or name, chosen_kinds(name, settings, KINDS, KINDS))
    counts = [count_lines(path) for path in files.all_paths]
    if all(count.fault is None for count in counts) and len({count.lines for count in counts}) > 1:
        yield rows.refuse(counts)
        return
    lines = AlignedLines(files.all_paths, max(count.lines for count in counts), settings.max_record_bytes)
    for block in lines:
        yield rows.extract(block, lines.position)
    if lines.faults:
        yield rows.report(lines, max(count.lines for count in counts))


@dataclass
class _Rows:
    """Lines of one unit to pairs."""

    files: AlignedFiles
    split: Split
    settings: RecordSettings
    source: str
    kinds: frozenset[str]
    _codes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._codes = [language_code(name.language) for name in self.files.names]
        self._quarantine = QuarantineRows(self.source, self.split.path, "line")
        self._group = _group(self.split, self.files.names[0]) or self.source  # files may be called by language only

    def refuse(self, counts: Sequence[LineCount]) -> Extracted:
        """One row of quarantine for all lines of files that do not belong together."""
        named = zip(self.files.all_paths, counts, strict=True)
        said = ", ".join(f"{path.rpartition('/')[2]} {count.lines}" for path, count in named)
        most = max(count.lines for count in counts)
        self._quarantine.add(1, "unequal_line_counts", f"lines: {said}. Which belong together is not known")
        return extracted(most, self.split.size or 0, quarantine=self._quarantine.take(), lost=most - 1)

    def report(self, lines: AlignedLines, most: int) -> Extracted:
        """A row of quarantine for each file that ends too early; the lines of the others that are left are lost."""
        for path, (fault, cut_off) in lines.faults.items():
            detail = f"{path.rpartition('/')[2]}: {fault.detail} | "
            self._quarantine.add(fault.position, fault.reason, detail.encode() + cut_off, "byte")
        rows = len(self._quarantine)
        lost = max(0, most - lines.given - rows)
        return extracted(rows + lost, lines.position, quarantine=self._quarantine.take(), lost=lost)

    def extract(self, block: LineBlock, position: int) -> Extracted:
        """The pairs of some lines: the driving text with each of the others."""
        rows = len(block.texts[0])
        for row in sorted(block.bad):
            reason, detail = block.bad[row]
            self._quarantine.add(block.first + row, reason, detail)
        numbers = np.arange(block.first, block.first + rows)
        columns, numbers = _without(block.texts, numbers, block.bad)
        texts = dict(zip(self.files.all_paths, columns, strict=True))
        ids = self._document_ids(texts.get(self.files.ids or ""), numbers)
        scores = None
        if self.files.scores is not None:
            scores = score_column({"bitext_margin": float_column(texts[self.files.scores])}, len(numbers))
        kept = [pa.RecordBatch.from_pylist([], PAIR)]
        rejects = [pa.RecordBatch.from_pylist([], REJECT)]
        for path, code in zip(self.files.paths[1:], self._codes[1:], strict=True):
            kind = "paraphrase" if code == self._codes[0] else "parallel"
            if kind not in self.kinds:
                continue
            pairs, rejected = make_pairs(
                query=texts[path],
                positive=texts[self.files.paths[0]],
                kind=kind,
                source=self.source,
                document_id=ids,
                query_lang=code,
                positive_lang=self._codes[0],
                license=self.settings.license,
                scores=scores,
            )
            kept.append(pairs)
            rejects.append(rejected)
        return extracted(
            rows,
            position,
            pairs=pa.concat_batches(kept),
            rejects=pa.concat_batches(rejects),
            quarantine=self._quarantine.take(),
        )

    def _document_ids(self, ids: pa.Array | None, numbers: _Numbers) -> pa.Array:
        """The group with the number of the line or, where .ids names them, with the document of the first language."""
        place = pa.array(numbers).cast(pa.string())
        if ids is not None:
            document = pc.list_element(pc.split_pattern(ids, "\t", max_splits=1), 0)
            place = pc.if_else(pc.equal(document, ""), place, document)
        return pc.binary_join_element_wise(self._group, place, ":")


_LANGUAGE: Final = re.compile(r"[-._]?\*")  # its place in the name of a group


def _group(split: Split, name: AlignedName) -> str:
    """The group of the driving text by the name that does not depend on where the data lie."""
    known = split.name if split.name is not None and split.path.endswith(split.name) else split.path.rpartition("/")[2]
    return _LANGUAGE.sub("", name.group[len(split.path) - len(known) :]).lstrip("./")


def _without(texts: Sequence[pa.Array], numbers: _Numbers, bad: Bad) -> tuple[list[pa.Array], _Numbers]:
    if not bad:
        return list(texts), numbers
    kept = np.delete(np.arange(len(numbers)), list(bad))
    return [column.take(pa.array(kept)) for column in texts], numbers[kept]
