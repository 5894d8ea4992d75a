"""What of a run must be the same however it was disturbed: every file a manifest names, the counts, and the weights."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.manifest import read_manifest
from pipelines.recipe import load_recipe

COUNTS = ("fingerprint", "inputs", "rows_in", "rows_out", "dropped", "funnel", "languages")


def contents(run: Path) -> dict[str, Any]:
    """File -> sha256 of what it holds, count -> value. Clock fields, metrics.jsonl and pages are left out.

    Raises AssertionError where a file is not what its manifest says, or a job is not finished.
    """
    found: dict[str, Any] = {}
    for job in load_recipe(str(run / "recipe.yaml")).jobs():
        manifest = read_manifest(str(run / job))
        assert manifest is not None, f"{job} has no manifest"
        if job == "report":
            continue  # its page tells times
        found |= {f"{job}: {name}": getattr(manifest, name) for name in COUNTS}
        for file in manifest.files:
            content = sha256(run / job / file.path)
            assert content == file.sha256, f"{job}/{file.path} is not what its manifest says"
            found[f"{job}/{file.path}"] = _without_clock(run / job / file.path) if file.role == "asked" else content
    return found | {str(path.relative_to(run)): sha256(path) for path in _weights(run)}


def _without_clock(file: Path) -> str:
    """sha256 of a table's rows without the seconds that the LLM's server took."""
    rows = pq.read_table(file).drop_columns("seconds").to_pylist()
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def _weights(run: Path) -> Iterator[Path]:
    yield from sorted(run.glob("train/model/**/*.safetensors"))
    yield from sorted(run.glob("evaluate/metrics.queries.parquet"))


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Names of what lacks, is too many or is not the same."""
    names = sorted(expected.keys() | found.keys())
    return [name for name in names if expected.get(name) != found.get(name)]


def leftovers(run: Path) -> list[str]:
    """Temporary files and half folders that nothing will ever clean away."""
    signs = (".tmp-", ".partial", ".replaced")
    return sorted(
        str(path.relative_to(run))
        for path in run.rglob("*")
        if path.name == "_exchange" or path.name.endswith(".new") or any(sign in path.name for sign in signs)
    )


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
