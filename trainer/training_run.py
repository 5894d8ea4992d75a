"""A training run: an objective's steps one after another, resumable to the bit, on one or several ranks.

    output/metrics.jsonl              one line a logged step
    output/checkpoints/step-000050/   to go on from (trainer.checkpoint)
    output/bad_batch.json             only where a loss or gradient was no number: the rows of that step

What is learnt is the `Objective`'s: it reads a step's rows, computes its loss and adds the gradients to the weights. The
run sums gradients over the ranks, updates the weights, writes files and stops where it is told to.

The same call again goes on from the newest checkpoint. What a step does depends on its number alone. Hence a run that was
interrupted gives, on the same CPU with the same numbers of threads and processes, the same losses and weights bit for bit
as one that was not.
"""

import _thread
import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from pydantic import Field

from trainer.checkpoint import (
    checkpoint_tensors,
    hand_over,
    load_checkpoint,
    load_shards,
    on_cpu,
    remove_old_checkpoints,
    write_checkpoint,
)
from trainer.distributed import FlatGradients, Ranks
from trainer.optimizer import OptimizerSettings, WeightAverage, adamw, learning_rate, set_learning_rate
from trainer.prefetch import Prefetch
from trainer.run_identity import TrainingError

if TYPE_CHECKING:
    import torch

    from trainer.backbone import Backbone
    from trainer.checkpoint import Checkpoint
    from trainer.sharding import ShardedGradients, Shards

log = logging.getLogger(__name__)

_STOP_SECONDS: Final = float(os.environ.get("PAIRMILL_STOP_SECONDS", "8"))
BAD_BATCH: Final = "bad_batch.json"


class TrainingStopped(SystemExit):
    """SIGTERM or Ctrl-C came: a checkpoint is written, and the same call again goes on from it. Exit status 143 or 130."""


class RunSettings(OptimizerSettings):
    """How a run computes and what it keeps, whatever it learns."""

    model: str = Field(description="local folder of the pretrained encoder, or package://PACKAGE/folder")
    seed: int = Field(0, ge=0, description="of batches, dropout and what else is drawn")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of matrix products; weights and loss stay fp32"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N; of several processes each takes its own GPU")
    tokens_per_forward: int | None = Field(
        None, ge=1, description="padded tokens of one forward; none: 1,024 on a CPU, 16,384 on a GPU (ours)"
    )
    tokens_at_once: int | None = Field(
        None,
        ge=0,
        description="a batch of so many padded tokens is embedded once, what is above twice (GradCache): memory against "
        "time, same result; none: all or nothing, by free memory (on a CPU at most 16,384)",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="keep only the layers' inputs in a forward and compute the rest again: long texts on small GPUs",
    )
    silence_seconds: float = Field(
        1800.0,
        gt=0,
        description="of several processes, one that gives no answer for so long counts as gone; longer than an "
        "evaluation takes (ours)",
    )
    checkpoint_every: int = Field(200, ge=1, description="steps (ours)")
    keep_checkpoints: int = Field(2, ge=1, description="older ones are removed (ours)")
    log_every: int = Field(1, ge=1, description="steps between lines of metrics.jsonl (ours)")


@dataclass(frozen=True)
class StepHook:
    """Something to do between steps, an evaluation say. Called on the first rank; the others wait."""

    every: int  # steps
    call: Callable[[int, "Backbone"], bool]  # (steps done, the model as it is, in eval mode) -> whether to end here


@dataclass(frozen=True)
class TrainResult:
    """What a call of `train` did."""

    model_folder: Path
    steps: int  # of the whole run
    resumed_from: int  # steps that were done before this call
    loss: float | None  # of the last step; None where no step was left to do
    seconds: float  # of this call's steps
    tokens: int  # without padding, in this call's steps
    left_out: int  # rows that the first epoch could put into no batch


@dataclass(frozen=True)
class StepFigures:
    """What a rank did in a step. All numbers are summed over the ranks."""

    loss: float  # the rank's part: the sum over ranks is the loss
    samples: int  # pairs, or texts
    tokens: int  # without padding
    padded_tokens: int  # that the forwards computed
    squared_lengths: int  # sum over texts of tokens squared: the work of attention
    parts: tuple[float, ...] = ()  # of the loss, named by Objective.part_names


class Objective(Protocol):
    """What a run learns. Gradients are added to the weights of `model`."""

    model: "torch.nn.Module"  # all weights that learn or are kept in checkpoints, on the device
    shards: "Shards | None"  # of the model, where each rank keeps only a part of it
    unit: str  # what a sample is, in the plural: the name of a column of metrics.jsonl
    part_names: tuple[str, ...]  # further columns
    left_out: int  # samples that the first epoch could put into no batch

    def prepare(self, step: int) -> Any:
        """What `learn` needs for a step, as the step's number says; called ahead, in another thread."""

    def learn(self, step: int, prepared: Any, scaled: "Callable[[torch.Tensor], torch.Tensor]") -> StepFigures:
        """Add the gradients of the step's loss, this rank's part, to the weights. `scaled` is applied to whatever a
        backward pass begins with (fp16's gradient scaling)."""

    def epoch(self, step: int) -> int:
        """Which pass over the data a step belongs to, from 0."""

    def blamed(self, prepared: Any) -> dict[str, Any]:
        """What a step read, as JSON, with the list "ids" of all its samples: for bad_batch.json."""

    def as_backbone(self) -> "Backbone":
        """The encoder as it is now, sharing its weights. Of shards a copy, on the first rank's CPU: all ranks call it."""


class TrainingRun:
    """One run's model, optimiser and files between two steps."""

    def __init__(
        self,
        objective: Objective,
        settings: RunSettings,
        output: Path,
        *,
        identity: dict[str, Any],
        device: "torch.device",
        dtype: "torch.dtype",
        checkpoint: "Checkpoint | None",
        ranks: Ranks,
    ) -> None:
        """`dtype` is what the objective's forwards compute in; `identity` tells this run from others (run_identity)."""
        import torch

        self.objective, self.settings, self.output = objective, settings, output
        self.identity, self.device, self.ranks = identity, device, ranks
        self.model, self.shards = objective.model.train(), objective.shards
        # Behind the gradients: the loss, whether to stop, the figures and the loss's parts.
        self.gradients = self._gradients(tail=6 + len(objective.part_names))
        self.optimizer = adamw(self.model, settings)
        self.average = None if settings.average_decay is None else WeightAverage(self.model, settings.average_decay)
        # fp16 gradients underflow unless scaled; bf16 and fp32 need no scaling.
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        self.first_step, self.ended = 0, False
        self._start_from(checkpoint)

    def _gradients(self, tail: int) -> "FlatGradients | ShardedGradients":
        if self.shards is None:
            return FlatGradients(self.model, tail)
        from trainer.sharding import ShardedGradients

        return ShardedGradients(self.model, tail, self.device)

    def _start_from(self, checkpoint: "Checkpoint | None") -> None:
        averages = None if self.average is None else self.average.averages
        if checkpoint is not None:
            if self.shards is None:
                load_checkpoint(checkpoint, self.model, self.optimizer, averages)
            log.info("going on from %s", checkpoint.folder)
        content = {} if checkpoint is None else {"step": checkpoint.step, **checkpoint.state}
        state = self.ranks.told({name: content[name] for name in ("step", "scaler", "ended") if name in content})
        if "step" in state:
            self.first_step, self.ended = int(state["step"]), bool(state.get("ended"))
            self.scaler.load_state_dict(state["scaler"])
        if self.shards is None:
            self._take_over(resumed="step" in state)
        elif "step" in state:
            load_shards(checkpoint, self.model, self.optimizer, averages, self.shards.fill)

    def _take_over(self, *, resumed: bool) -> None:
        """Of several ranks, each takes the first one's weights, and what it read from a checkpoint."""
        import torch

        if self.ranks.count == 1:
            return
        if resumed and not self.ranks.leads:
            for weight in self.gradients.weights:
                zeros = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
                self.optimizer.state[weight] = {"step": torch.zeros((), device=weight.device), **zeros}
            self.optimizer.load_state_dict(self.optimizer.state_dict())
        tensors = [weight.detach() for weight in self.model.parameters()]
        if resumed:
            for weight in self.gradients.weights:
                tensors += [self.optimizer.state[weight][name] for name in ("step", "exp_avg", "exp_avg_sq")]
        if self.average is not None:
            tensors += list(self.average.averages.values())
        self.ranks.take_over(tensors)

    def to_the_end(self, on_progress: Callable[[dict[str, Any]], None] | None, hook: StepHook | None) -> TrainResult:
        loss, tokens, started = None, 0, time.perf_counter()
        steps = self.first_step if self.ended else self.settings.steps
        metrics_file = _metrics(self.output, self.first_step) if self.ranks.leads else nullcontext()
        with (
            _deterministic(self.device),
            _stopped_by_signal() as stopped,
            metrics_file as metrics,
            Prefetch(self.objective.prepare, self.first_step, steps) as batches,
        ):
            for step, prepared in batches:
                line, stop = self.step(step, prepared, stop=stopped.is_set())
                loss, tokens = line["loss"], tokens + line["tokens"]
                done = step + 1
                if metrics is not None and (done % self.settings.log_every == 0 or done == steps):
                    metrics.write(json.dumps(line) + "\n")
                    metrics.flush()
                    if on_progress is not None:
                        on_progress({**line, "steps": self.settings.steps})
                if hook is not None and done % hook.every == 0:
                    self.ended = self._call(hook, done)
                # With several ranks the signal is acted on where all know of it: after the sum of the next step.
                stop = stopped.is_set() if self.ranks.count == 1 else stop
                if done % self.settings.checkpoint_every == 0 or done == steps or stop or self.ended:
                    if metrics is not None:
                        os.fsync(metrics.fileno())
                    self._checkpoint(done)
                if self.ended:
                    log.info("ended after step %d of %d", done, steps)
                if stop:
                    raise _stopped_after(stopped, done, steps)
                if self.ended:
                    break
            if self.ranks.count == 1 and stopped.is_set():  # while the last checkpoint was written
                raise _stopped_after(stopped, steps, steps)
        if self.average is not None:
            self.average.put_in()
        return TrainResult(
            model_folder=self.output / "model",
            steps=self.settings.steps,
            resumed_from=self.first_step,
            loss=loss,
            seconds=time.perf_counter() - started,
            tokens=tokens,
            left_out=self.objective.left_out,
        )

    def step(self, step: int, prepared: Any, *, stop: bool) -> tuple[dict[str, Any], bool]:
        """The line of metrics.jsonl, and whether a rank was told to stop."""
        started = time.perf_counter()
        rate = learning_rate(step, self.settings)
        set_learning_rate(self.optimizer, rate)
        self.gradients.clear()
        with self.ranks.exchanging():
            own = self.objective.learn(step, prepared, self.scaler.scale)
        told = (own.loss, float(stop), own.samples, own.tokens, own.padded_tokens, own.squared_lengths, *own.parts)
        self.gradients.tail.copy_(self.gradients.tail.new_tensor(told))
        self.gradients.add_up(self.ranks)
        value, stops, samples, tokens, padded, squared, *parts = self.gradients.tail.tolist()
        self._check_finite(value, "loss", step, prepared)
        self.scaler.unscale_(self.optimizer)
        norm = self.gradients.clip(self.settings.max_grad_norm)
        if not self.scaler.is_enabled():  # an enabled scaler skips the step and tries a smaller scale
            self._check_finite(norm, "gradient norm", step, prepared)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(step)
        seconds = time.perf_counter() - started
        return {
            "step": step + 1,
            "epoch": self.objective.epoch(step),
            "loss": value,
            **dict(zip(self.objective.part_names, parts, strict=True)),
            "learning_rate": rate,
            "gradient_norm": norm,
            self.objective.unit: round(samples),
            "tokens": round(tokens),
            "padded_tokens": round(padded),
            "squared_lengths": round(squared),
            "tokens_per_second": round(tokens / seconds, 1),
            "seconds": round(seconds, 4),
            "peak_memory_mib": _peak_memory(self.device),
        }, stops > 0

    def _check_finite(self, value: float, name: str, step: int, prepared: Any) -> None:
        if math.isfinite(value):
            return
        blamed, unit = self.objective.blamed(prepared), self.objective.unit
        ids = [str(each) for each in blamed["ids"]]
        if self.ranks.leads:
            content = {"step": step + 1, "what": name, "value": str(value), **blamed}
            (self.output / BAD_BATCH).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        raise TrainingError(
            f"The {name} of step {step + 1} is {value}. The step's {len(ids)} {unit} begin with {', '.join(ids[:8])}; "
            f"{self.output / BAD_BATCH} lists all. Look at those {unit}; lower the learning rate, raise the temperature or "
            f"use precision fp32, and train into another output folder (the same settings would fail at the same step)."
        )

    def _call(self, hook: StepHook, done: int) -> bool:
        """What the hook says, asked on the first rank; it sees the averaged weights where there are some."""
        end, takes_part = False, self.ranks.leads or self.shards is not None
        with _evaluating(self.model, self.average) if takes_part else nullcontext():
            backbone = self.objective.as_backbone()
            with self.ranks.rank_zero_first("What is done between steps"):
                if self.ranks.leads:
                    end = hook.call(done, backbone)
        return bool(self.ranks.told(bool(end)))

    def _checkpoint(self, done: int) -> None:
        root = self.output / "checkpoints"
        state = {
            "identity": self.identity,
            "scaler": self.scaler.state_dict(),
            "ranks": self.ranks.count,
            "sharded": self.shards is not None,
            "ended": self.ended,
        }
        files = checkpoint_tensors(self.model, self.optimizer, None if self.average is None else self.average.averages)
        whole = on_cpu if self.shards is None else self.shards.whole
        if self.shards is not None and not self.ranks.leads:
            for _ in hand_over(files, whole):
                pass
        with self.ranks.rank_zero_first("Writing a checkpoint"):
            if self.ranks.leads:
                write_checkpoint(root, done, files, state, whole)
                remove_old_checkpoints(root, done, self.settings.keep_checkpoints)


@contextmanager
def _evaluating(model: "torch.nn.Module", average: WeightAverage | None) -> Iterator[None]:
    """The model as it would be exported now."""
    import torch

    kept = {} if average is None else {name: weight.detach().clone() for name, weight in average.weights.items()}
    if average is not None:
        average.put_in()
    model.eval()
    try:
        yield
    finally:
        model.train()
        with torch.no_grad():
            for name, weight in kept.items():
                assert average is not None
                average.weights[name].copy_(weight)


def _peak_memory(device: "torch.device") -> int:
    """MiB: of the GPU's allocator, or of this process."""
    import resource

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


@contextmanager
def _deterministic(device: "torch.device") -> Iterator[None]:
    """On the CPU, only algorithms that add in a fixed order; they are as fast there."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    deterministic: Any = torch.utils.deterministic
    fill = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(before or device.type == "cpu")
    # Filling fresh memory with NaN finds reads of it, which these models do not have, and costs time.
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        deterministic.fill_uninitialized_memory = fill


class _Stopped(threading.Event):
    """Set by the signal `number`."""

    number = int(signal.SIGTERM)


def _stopped_after(stopped: _Stopped, done: int, steps: int) -> TrainingStopped:
    name = signal.Signals(stopped.number).name
    log.warning("%s: stopped after step %d of %d; the same call again goes on", name, done, steps)
    return TrainingStopped(128 + stopped.number)


@contextmanager
def _stopped_by_signal() -> Iterator[_Stopped]:
    """An event that SIGTERM and Ctrl-C set, so that the step under way can be finished and kept.

    A second signal ends the process at once, and so does the end of PAIRMILL_STOP_SECONDS (8), where a step or its checkpoint
    takes longer: the checkpoint before is whole.
    """
    stopped = _Stopped()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # Python delivers signals to the main thread only
        return
    over = threading.Event()

    def end_unless_over() -> None:
        if not over.wait(_STOP_SECONDS):
            os._exit(128 + stopped.number)

    def stop(number: int, _frame: FrameType | None) -> None:
        if stopped.is_set():
            os._exit(128 + number)
        stopped.number = number
        stopped.set()
        # Not threading's own start: its lock may be held by the code that the signal interrupted.
        _thread.start_new_thread(end_unless_over, ())

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        over.set()
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _metrics(output: Path, steps_done: int) -> Iterator[Any]:
    """metrics.jsonl opened at its end, without the lines after the checkpoint that the run goes on from."""
    file = output / "metrics.jsonl"
    kept = [line for line in metrics_lines(file) if _step_of(line) <= steps_done]
    partial = file.with_name(file.name + ".partial")
    partial.write_text("".join(kept), "utf-8")
    partial.replace(file)
    with file.open("a", encoding="utf-8") as stream:
        yield stream


def metrics_lines(file: Path) -> list[str]:
    return file.read_text("utf-8").splitlines(keepends=True) if file.exists() else []


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # the line that a kill cut short
