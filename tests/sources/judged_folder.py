"""What the tests of retrieval sets share: a folder of files written from a dictionary, and reading all of it."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sources.files.reading import expand_paths
from tests.sources.reading_all import WHOLE, Everything


def folder(place: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by their paths below a folder; those named .gz are compressed."""
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return place


def read_folder(name: str, place: Path, target_bytes: int = WHOLE, **settings: Any) -> Everything:
    """All that a source gives for the files below a folder."""
    return Everything(name, [Path(path) for path in expand_paths([str(place)])], target_bytes, **settings)


def lines(*records: Any) -> str:
    """JSON lines."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def table(*rows: tuple[object, ...]) -> str:
    """Rows of tab-separated cells."""
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)
