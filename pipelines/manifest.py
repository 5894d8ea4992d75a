"""`_MANIFEST.json`: the last file a job writes. A job folder without one is unfinished work.

The fingerprint covers the job's inputs (by content hash), its settings, its VERSION and the schema version: while it stays the
same, the job is up to date and does not run again.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
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
    funnel: dict[str, dict[str, int]]
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
    """The manifest of a job folder; None where the job is unfinished, or was written by another version of the manifest."""
    url = storage.join(folder, MANIFEST)
    if not storage.exists(url):
        return None
    content = storage.read_json(url)
    if content.get("schema_version") != SCHEMA_VERSION:
        return None
    return Manifest.model_validate(content)


def merge_parts(parts: Sequence[Part]) -> tuple[int, int, dict[str, int], dict[str, dict[str, int]], list[ShardFile]]:
    """Rows in, rows out, dropped by reason, funnel by source and all files of several parts, in task order."""
    dropped: Counter[str] = Counter()
    funnel: dict[str, Counter[str]] = {}
    files: list[ShardFile] = []
    for part in sorted(parts, key=lambda p: p.task):
        dropped.update(part.dropped)
        files.extend(part.files)
        for source, counts in part.funnel.items():
            funnel.setdefault(source, Counter()).update(counts)
    return (
        sum(p.rows_in for p in parts),
        sum(p.rows_out for p in parts),
        dict(sorted(dropped.items())),
        {source: dict(sorted(counts.items())) for source, counts in sorted(funnel.items())},
        files,
    )


def write_manifest(folder: str, manifest: Manifest) -> None:
    stamped = manifest.model_copy(update={"finished": datetime.now(UTC).isoformat(timespec="seconds")})
    storage.write_json(storage.join(folder, MANIFEST), stamped.model_dump())


def input_names(files: Sequence[ShardFile], job: str) -> list[dict[str, Any]]:
    """How a job's manifest names the shards it read."""
    return [{"job": job, "path": f.path, "sha256": f.sha256} for f in files]


def settings_dump(settings: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    dumped = settings.model_dump(mode="json") if isinstance(settings, BaseModel) else dict(settings)
    return dict(sorted(dumped.items()))
