"""Where the run came from: sources, licences, input files, and each job's settings, version and fingerprint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from pipelines.manifest import Manifest
from pipelines.report.distributions import KeptPairs
from pipelines.report.finished_run import FinishedRun, jobs_before_report


@dataclass(frozen=True)
class SourceFacts:
    label: str
    adapter: str
    paths: tuple[str, ...]
    files: int | None  # None where extract is not finished
    bytes: int | None
    licences: list[tuple[str, int]]  # of the kept pairs


@dataclass(frozen=True)
class JobFacts:
    name: str
    manifest: Manifest | None
    bytes: int
    settings: str  # YAML


def sources(finished: FinishedRun, kept: KeptPairs) -> list[SourceFacts]:
    manifest = finished.manifests.get("extract")
    found = []
    for number, entry in enumerate(finished.recipe.sources):
        inputs = [given for given in manifest.inputs if given.get("source") == number] if manifest else []
        licences = [
            (licence or "not stated", rows)
            for (source, licence), rows in sorted(kept.licences_by_source.items(), key=lambda item: -item[1])
            if source == entry.label
        ]
        size = sum(given.get("bytes") or 0 for given in inputs)
        files = len(inputs) if manifest else None
        found.append(SourceFacts(entry.label, entry.source, entry.paths, files, size if manifest else None, licences))
    return found


def jobs(finished: FinishedRun) -> list[JobFacts]:
    found = []
    for name in jobs_before_report(finished.recipe):
        manifest = finished.manifests.get(name)
        settings = as_yaml(manifest.settings) if manifest else ""
        found.append(JobFacts(name, manifest, sum(file.bytes for file in manifest.files) if manifest else 0, settings))
    return found


def as_yaml(settings: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(settings), sort_keys=True, allow_unicode=True, width=100, default_flow_style=None)


def flat(settings: Mapping[str, Any], below: str = "") -> list[tuple[str, str]]:
    """("a.b", "value") of nested settings, for a table."""
    rows = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{below}{key}.")
        else:
            shown = ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else _plain(value)
            rows.append((f"{below}{key}", shown or "-"))
    return rows


def _plain(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
