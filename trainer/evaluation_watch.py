"""Evaluation while training: every n steps, on collections in BEIR layout, and a stop when it no longer gets better.

In:  the model as it is after a step (trainer.training_run.StepHook).
Out: OUTPUT/evaluation.jsonl, one line an evaluation; OUTPUT/best/, the model that was best so far; true when to stop.

What it decides follows from the lines of evaluation.jsonl up to the step, so a run that goes on from a checkpoint stops
where one without interruption does.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from trainer.evaluate.model_rankings import Mode
from trainer.watching import EVALUATION

if TYPE_CHECKING:
    from trainer.backbone import Backbone
    from trainer.evaluate import RetrievalData
    from trainer.loop import StepHook

log = logging.getLogger(__name__)

RESULTS: Final = "evaluation.jsonl"
BEST: Final = "best"


class WatchSettings(BaseModel):
    """When to evaluate, on what, and when to stop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: tuple[str, ...] = Field(min_length=1, description="folders in BEIR layout; their metrics are averaged")
    every: int = Field(ge=1, description="steps between evaluations")
    metric: str = Field("ndcg@10", description="what is to rise: a metric of trainer.evaluate")
    mode: Mode = Field("dense", description="which outputs rank: dense, lexical, multi_vector, dense+lexical, all")
    patience: int | None = Field(
        None, ge=1, description="stop after so many evaluations without a new best; none: never stop"
    )
    keep_best: bool = Field(True, description="export the model whenever it is the best so far")


@dataclass
class EvaluationWatch:
    """Called every n steps with the number of steps done and the model; returns whether to stop."""

    settings: WatchSettings
    output: Path
    score: Callable[["Backbone"], float] | None = None  # default: evaluate_encoder on settings.data
    tell: Callable[[dict[str, Any]], None] = field(default=lambda line: None)
    encoding: Mapping[str, Any] = field(default_factory=dict)  # of EncoderSettings, but the model

    def __call__(self, step: int, backbone: "Backbone") -> bool:
        value = (self.score or self._evaluated)(backbone)
        found = [*self._results(before=step), {"step": step, self.settings.metric: value}]
        _write_lines(self.output / RESULTS, found)
        self.tell({"step": step, f"{EVALUATION}{self.settings.metric}": value})
        best = max(found, key=lambda line: (line[self.settings.metric], -line["step"]))
        log.info("step %d: %s %.4f (best %.4f)", step, self.settings.metric, value, best[self.settings.metric])
        if best["step"] == step and self.settings.keep_best:
            self._export(backbone, self.output / BEST, f"Step {step}: {self.settings.metric} {value:.4f}.")
        since = sum(line["step"] > best["step"] for line in found)
        return self.settings.patience is not None and since >= self.settings.patience

    def check(self) -> None:
        """Read the collections once, so that what is wrong with them is raised before the first step."""
        self._collections()

    def hook(self) -> "StepHook":
        """For trainer.loop.train."""
        from trainer.loop import StepHook

        return StepHook(self.settings.every, self)

    def _results(self, before: int) -> list[dict[str, Any]]:
        file = self.output / RESULTS
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
        # Steps of another rhythm are those of an earlier run in this folder.
        earlier = (line for line in lines if line["step"] < before and line["step"] % self.settings.every == 0)
        return [line for line in earlier if self.settings.metric in line]

    def _evaluated(self, backbone: "Backbone") -> float:
        """The mean of the metric over the collections, of the model exported and read again: as its users have it."""
        from trainer.encoder import Encoder, EncoderSettings
        from trainer.evaluate import evaluate_encoder

        folder = self.output / "evaluated"
        try:
            self._export(backbone, folder, "")
            encoder = Encoder(EncoderSettings(model=str(folder), **self.encoding))
            values = [
                _overall(evaluate_encoder(encoder, collection, mode=self.settings.mode), self.settings.metric)
                for collection in self._collections()
            ]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return sum(values) / len(values)

    def _collections(self) -> Sequence["RetrievalData"]:
        from trainer.evaluate import load_beir

        return [load_beir(folder) for folder in self.settings.data]

    def _export(self, backbone: "Backbone", folder: Path, card: str) -> None:
        from trainer.export import export_model

        export_model(backbone, folder, card)


def _overall(rows: Sequence[dict[str, Any]], metric: str) -> float:
    if metric not in rows[0]:
        known = ", ".join(name for name, value in rows[0].items() if isinstance(value, float))
        raise ValueError(f"There is no metric {metric!r} in the evaluation; there are {known}.")
    return float(rows[0][metric])


def _write_lines(file: Path, lines: Sequence[dict[str, Any]]) -> None:
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    partial.replace(file)
