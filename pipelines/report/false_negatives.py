"""The share of a run's mined negatives that answer their query, as `pairmill judge --pairs RUN --estimate N` found it.

The estimate is in RUN/false_negatives.json, with the fingerprint of the mining it was made of: one of earlier negatives is not
shown.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

from pipelines import storage
from pipelines.judge_pairs import JudgedSample
from pipelines.manifest import read_manifest
from pipelines.report.finished_run import FinishedRun
from pipelines.report.text import Clipped
from pipelines.run_folder import RunFolder

FILE: Final = "false_negatives.json"
KEPT_EXAMPLES: Final = 20


@dataclass(frozen=True)
class JudgedNegative:
    """One negative of the sample; the score is None where the judge gave no answer."""

    score: float | None
    query: Clipped
    negative: Clipped


@dataclass(frozen=True)
class FalseNegatives:
    """What the page shows."""

    judge: str
    facts: dict[str, Any]  # of pipelines.judge_pairs.JudgedSample.as_json
    relevant: float
    examples: list[JudgedNegative]


def keep_estimate(run: RunFolder, judge: str, sample: JudgedSample, relevant: float) -> None:
    """Note an estimate for the run's page."""
    manifest = read_manifest(run.job("mine"))
    content = {
        "mine": manifest.fingerprint if manifest else None,
        "judge": judge,
        "relevant": relevant,
        "facts": sample.as_json(),
        "examples": [asdict(pair) | {"score": pair.score_or_none} for pair in sample.pairs[:KEPT_EXAMPLES]],
    }
    storage.write_json(storage.join(run.url, FILE), content)


def false_negatives(finished: FinishedRun) -> FalseNegatives | None:
    """None where there is no estimate of these negatives."""
    url, manifest = storage.join(finished.run.url, FILE), finished.manifests.get("mine")
    if manifest is None or not storage.exists(url):
        return None
    found = storage.read_json(url)
    if found["mine"] != manifest.fingerprint:
        return None
    examples = [
        JudgedNegative(each["score"], Clipped.of(each["query"]), Clipped.of(each["negative"]))
        for each in found["examples"]
    ]
    return FalseNegatives(found["judge"], found["facts"], found["relevant"], examples)
