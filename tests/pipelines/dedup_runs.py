"""The dedup job on shards written by a test: no extraction, no process of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from pipelines.job import Job, build_manifest
from pipelines.jobs import dedup
from pipelines.manifest import Manifest, write_manifest
from pipelines.recipe import parse_recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import ShardWriter, read_batches
from sources.schema import PAIR, make_pairs

SOURCES = [{"source": "jsonl", "paths": ["none.jsonl"]}]


def pairs(rows: Sequence[tuple], *, kind: str = "title_body", source: str = "s") -> pa.RecordBatch:
    """A PAIR batch of (query, positive[, document[, columns]]) rows; columns may name quality and any column of make_pairs."""
    more = [row[3] if len(row) > 3 else {} for row in rows]

    def column(name: str, default: Any) -> list:
        return [each.get(name, default) for each in more]

    batch, rejects = make_pairs(
        query=[row[0] for row in rows],
        positive=[row[1] for row in rows],
        kind=column("kind", kind),
        source=source,
        document_id=[row[2] if len(row) > 2 else f"document {row[0]} {row[1]}" for row in rows],
        url=pa.array(column("url", None), pa.string()),
        query_lang=column("query_lang", "eng_Latn"),
        positive_lang=column("positive_lang", "eng_Latn"),
        scores=[None if quality is None else {"quality": quality} for quality in column("quality", None)],
    )
    assert rejects.num_rows == 0
    return batch


def run_dedup(
    folder: Path,
    shards: Mapping[str, pa.RecordBatch],
    *,
    runner: Mapping[str, Any] | None = None,
    seed: int = 0,
    **settings: Any,
) -> "Deduplicated":
    """Write the shards as extract would and run dedup over them."""
    content = {"name": "t", "seed": seed, "sources": SOURCES, "dedup": settings, "runner": dict(runner or {})}
    recipe, run = parse_recipe(yaml.safe_dump(content), "t.yaml"), RunFolder(str(folder))
    files = []
    for name, batch in shards.items():
        with ShardWriter(run.job("extract"), "pairs", name, PAIR) as writer:
            writer.write(batch)
        files.append(writer.file)
    rows = sum(batch.num_rows for batch in shards.values())
    counts = {"rows_in": rows, "rows_out": rows, "dropped": {}, "funnel": {}}
    manifest = Manifest(
        job="extract", pairmill="0", fingerprint="e", settings={}, inputs=[], files=[f for f in files if f], **counts
    )
    write_manifest(run.job("extract"), manifest)
    plan = dedup.plan(recipe, run)
    job = Job("dedup", recipe, run, plan, plan.fingerprint("dedup", dedup.VERSION))
    return Deduplicated(folder, build_manifest(job, "0", dedup.execute(job), 0))


class Deduplicated:
    """What the job wrote."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest

    def rows(self, *roles: str) -> list[dict[str, Any]]:
        return [
            row
            for file in self.manifest.files_of(*roles)
            for batch in read_batches(f"{self.folder}/dedup/{file.path}")
            for row in batch.to_pylist()
        ]

    def kept(self) -> set[tuple[str, str]]:
        return {(row["query"], row["positive"]) for row in self.rows("pairs", "held_out")}

    def dropped(self) -> dict[tuple[str, str], str]:
        """The reason of each dropped pair; where the same was dropped several times, that of the last."""
        return {(row["query"], row["positive"]): row["reason"] for row in self.rows("rejects")}

    def bytes_of(self, name: str) -> dict[str, str]:
        """The sha256 of what was written for one input shard, by role."""
        return {file.role: file.sha256 for file in self.manifest.files if file.path.endswith(f"/{name}.parquet")}
