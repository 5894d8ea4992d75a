"""`_MANIFEST.json`: the last file a job writes. A job folder without one is unfinished work.

The fingerprint covers the job's inputs (by content hash), its settings, its VERSION and the schema version: while it stays the
same, the job is up to date and does not run again.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from pipelines import storage
from pipelines.shards import Part, ShardFile
from sources.schema import SCHEMA_VERSION

MANIFEST: Final = "_MANIFEST.json"


class Manifest(BaseModel):
    """What a job did and wrote. Only `finished`, `seconds` and `details.timings` differ between two runs of one recipe."""

    model_config = ConfigDict(extra="forbid")

    job: str
    pairmill: str
    schema_version: int = SCHEMA_VERSION
    fingerprint: str
    settings: dict[str, Any]
    inputs: list[dict[str, Any]]
    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    funnel: dict[str, dict[str, int]]  # by source
    languages: dict[str, dict[str, dict[str, int]]] = {}  # by source and language
    files: list[ShardFile]
    details: dict[str, Any] = {}
    seconds: float = 0.0
    finished: str = ""

    def files_of(self, *roles: str) -> list[ShardFile]:
        """The files of the given roles, in shard order (by path)."""
        return sorted((f for f in self.files if f.role in roles), key=lambda f: f.path)


def fingerprint(**parts: Any) -> str:
    """sha256 of the canonical JSON of `parts`."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_manifest(folder: str) -> Manifest | None:
    """The manifest of a job folder; None where the job is unfinished, its manifest torn or of another version."""
    content = storage.read_record(storage.join(folder, MANIFEST))
    if content is None or content.get("schema_version") != SCHEMA_VERSION:
        return None
    return Manifest.model_validate(content)


@dataclass(frozen=True)
class Merged:
    """What several parts hold together."""

    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    funnel: dict[str, dict[str, int]]
    languages: dict[str, dict[str, dict[str, int]]]
    files: list[ShardFile]


def merge_parts(parts: Sequence[Part]) -> Merged:
    """The sums of several parts, and their files in the order of the tasks."""
    ordered = sorted(parts, key=lambda part: part.task)
    sources = sorted({source for part in ordered for source in part.languages})
    return Merged(
        rows_in=sum(part.rows_in for part in ordered),
        rows_out=sum(part.rows_out for part in ordered),
        dropped=_sums([part.dropped for part in ordered]),
        funnel=_sums_by_key([part.funnel for part in ordered]),
        languages={source: _sums_by_key([part.languages.get(source, {}) for part in ordered]) for source in sources},
        files=[file for part in ordered for file in part.files],
    )


def _sums(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def _sums_by_key(counts: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    keys = sorted({key for each in counts for key in each})
    return {key: _sums([each.get(key, {}) for each in counts]) for key in keys}


def write_manifest(folder: str, manifest: Manifest) -> None:
    stamped = manifest.model_copy(update={"finished": datetime.now(UTC).isoformat(timespec="seconds")})
    storage.write_json(storage.join(folder, MANIFEST), stamped.model_dump())


def input_names(files: Sequence[ShardFile], job: str) -> list[dict[str, Any]]:
    """How a job's manifest names the shards it read."""
    return [{"job": job, "path": f.path, "sha256": f.sha256} for f in files]


def settings_dump(settings: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    dumped = settings.model_dump(mode="json") if isinstance(settings, BaseModel) else dict(settings)
    return dict(sorted(dumped.items()))
