"""The texts of queries or passages that were judged, with what else their files say of them."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sources.files.stored_texts import StoredTexts
from sources.formats.column_blocks import Numbers

OPTIONAL: Final = ("title", "url", "language")


class JudgedTexts:
    """Texts by the numbers of their ids, 0 to count-1; the first of an id counts."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.text = StoredTexts(count)
        self.others: dict[str, StoredTexts] = {}  # by the names of OPTIONAL

    def add(self, codes: Numbers, columns: dict[str, pa.Array]) -> None:
        """Store those rows of a block that are wanted: code 0 or more."""
        rows = np.flatnonzero(codes >= 0)
        if not len(rows):
            return
        kept = pa.array(rows)
        self.text.add(codes[rows], columns["text"].take(kept))
        for name in OPTIONAL:
            if name in columns and columns[name].null_count < len(columns[name]):
                self.others.setdefault(name, StoredTexts(self._count)).add(codes[rows], columns[name].take(kept))

    @property
    def any(self) -> bool:
        """Whether there is a text of any id."""
        return not self.missing.all()

    @property
    def missing(self) -> Any:
        """Which ids have no text (boolean array)."""
        return self.text.missing

    def sizes(self) -> Numbers:
        """Bytes of each text."""
        return self.text.sizes()

    def optional(self, name: str, codes: Any) -> pa.Array:
        """A column that the files may lack; null where it is empty."""
        store = self.others.get(name)
        if store is None:
            return pa.nulls(len(codes), pa.string())
        values = store.take(codes)
        return pc.if_else(pc.equal(values, ""), None, values)
