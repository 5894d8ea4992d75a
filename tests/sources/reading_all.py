"""What the tests of the adapters share: reading a whole file through its splits, and writing files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sources.catalogue import load_source
from sources.schema import DOCUMENT, PAIR, QUARANTINE, REJECT

WHOLE = 1 << 40


class Everything:
    """All that a source gave for one file, or for several files given together."""

    def __init__(
        self, name: str, path: Path | str | Sequence[Path], target_bytes: int = WHOLE, **settings: Any
    ) -> None:
        source = load_source(name)
        chosen = source.Settings(**settings)
        paths = [path] if isinstance(path, Path | str) else path
        self.splits = [
            split
            for file in source.gather([str(path) for path in paths], chosen)
            for split in source.input_splits(file, chosen, target_bytes)
        ]
        steps = [step for split in self.splits for step in source.read(split, chosen)]
        self.pairs = pa.Table.from_batches([step.pairs for step in steps], PAIR).to_pylist()
        self.rejects = pa.Table.from_batches([step.rejects for step in steps], REJECT).to_pylist()
        self.documents = pa.Table.from_batches([step.documents for step in steps], DOCUMENT).to_pylist()
        self.quarantine = pa.Table.from_batches([step.quarantine for step in steps], QUARANTINE).to_pylist()
        self.records = sum(step.records for step in steps)
        self.sides = [(pair["query"], pair["positive"]) for pair in self.pairs]
        self.reasons = [(bad["unit"], bad["position"], bad["reason"]) for bad in self.quarantine]


def write(path: Path, data: bytes | str) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path
