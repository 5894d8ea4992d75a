"""Records of a data set on the Hugging Face hub, streamed by the library `datasets`, by a path of its own:

    hub://OWNER/NAME?config=CONFIG&split=SPLIT&revision=REVISION

Only the name is needed; the split is `train` where none is named. Data sets that are scripts are not run: `datasets`
refuses them. What a job knows of such an input is its path: name the revision where the rows must stay the same.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from sources.files.reading import HUB, Fault
from sources.record_formats import ROWS, Record, RecordBatch
from sources.source import SourceError

_NAME: Final = re.compile(r"[\w.-]+(/[\w.-]+)?\Z", re.ASCII)
_OPTIONS: Final = ("config", "split", "revision")


def is_hub_path(path: str) -> bool:
    """Whether a path names a data set on the hub."""
    return path.startswith(HUB)


class HubRecords:
    """The rows of one split of a data set, in its order."""

    unit = "row"
    cut_off = b""
    position = 0

    def __init__(self, path: str) -> None:
        self.path = path
        self.fault: Fault | None = None

    def __iter__(self) -> Iterator[RecordBatch]:
        rows = iter(_open(self.path))
        first = 0
        while True:
            try:
                records: list[Record | None] = list(islice(rows, ROWS))
            except (OSError, ValueError) as error:
                raise SourceError(
                    f"{self.path}: reading stopped after about {first} rows: {error}. Run again: what is committed stays;"
                    " or download the files and give their folder"
                ) from error
            if not records:
                return
            last = first + len(records)
            yield RecordBatch(records, {}, range(first, last), range(first + 1, last + 1), self.unit)
            first = last


def _open(path: str) -> Iterable[Record]:
    name, options = _parts(path)
    try:
        import datasets
    except ImportError as error:
        raise SourceError(f"{path}: the library datasets is needed: pip install 'pairmill[hub]'") from error
    chosen: dict[str, Any] = {"split": options.get("split", "train"), "revision": options.get("revision")}
    try:
        rows: Iterable[Record] = datasets.load_dataset(name, options.get("config"), streaming=True, **chosen)
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(
            f"{path}: the hub's data set cannot be opened: {error}. Correct the name, config or split, or download its"
            " files and give their folder"
        ) from error
    return rows


def _parts(path: str) -> tuple[str, dict[str, str]]:
    url = urlsplit(path)
    name = url.netloc + url.path.rstrip("/")
    options = dict(parse_qsl(url.query))
    unknown = [option for option in options if option not in _OPTIONS]
    if not _NAME.match(name) or ".." in name or unknown:
        raise SourceError(f"{path}: expected hub://OWNER/NAME?config=...&split=...&revision=...")
    return name, options
