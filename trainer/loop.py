"""The training loop: pack's shards and a pretrained encoder in, a fine-tuned encoder out.

    output/metrics.jsonl              one line a logged step
    output/checkpoints/step-000050/   to go on from (trainer.checkpoint)
    output/model/                     the result (trainer.export), written after the last step

The same call again goes on from the newest checkpoint. What a step does depends on its number alone: its rows come from
the batch plan, and torch's random numbers are seeded from (seed, step). Hence a run that was interrupted gives, on the
same CPU with the same number of threads, the same losses and weights bit for bit as one that was not.
"""

import json
import logging
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import Field

from trainer.batch_plan import BatchPlan, BatchPlanSettings, PlanColumns
from trainer.checkpoint import Checkpoint, load_checkpoint, newest_checkpoint, remove_old_checkpoints, write_checkpoint
from trainer.export import export_model
from trainer.loss import DEFAULT_TEMPERATURE, info_nce
from trainer.training_data import Batch, TrainingData, TrainingDataError

if TYPE_CHECKING:
    import torch

    from trainer.backbone import Backbone

log = logging.getLogger(__name__)

_STEP_STREAM: Final = 3  # beside batch_plan's streams of the same seed
# Padded tokens a forward: fewer leave the hardware idle, more are padding (measured on the CPU: MiniLM, 2 cores).
_TOKENS_PER_FORWARD: Final = {"cpu": 2048, "cuda": 16_384}
_SETTING_OF_DTYPE: Final = {"torch.float32": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}
_STOPPED_BY_SIGTERM: Final = 128 + signal.SIGTERM


class TrainingError(ValueError):
    """Training cannot start or go on. The message names the cause and the remedy."""


class TrainingStopped(SystemExit):
    """SIGTERM came: a checkpoint is written, and the same call again goes on from it. Exit status 143."""


class TrainSettings(BatchPlanSettings):
    """A training run: what `BatchPlanSettings` says of batches, and the optimisation."""

    model: str = Field(description="local folder of the pretrained encoder, or package://PACKAGE/folder")
    steps: int = Field(ge=1, description="optimiser steps (M3 unsupervised: 25,000)")
    temperature: float = Field(
        DEFAULT_TEMPERATURE, gt=0, description="tau of M3 eq. 2 (FlagEmbedding default 0.02; BGE v1 0.01)"
    )
    learning_rate: float = Field(1e-5, gt=0, description="AdamW's, at its highest (FlagEmbedding, BGE fine-tuning)")
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="share of the steps with rising rate (M3 appendix B.1)")
    schedule: Literal["linear", "constant"] = Field("linear", description="of the learning rate after warm-up")
    weight_decay: float = Field(0.01, ge=0, description="not on biases and layer norms (M3 appendix B.1)")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm (transformers default)")
    seed: int = Field(0, ge=0, description="of batches, negatives and dropout")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of matrix products; weights and loss stay fp32"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    checkpoint_every: int = Field(200, ge=1, description="steps (ours)")
    keep_checkpoints: int = Field(2, ge=1, description="older ones are removed (ours)")
    log_every: int = Field(1, ge=1, description="steps between lines of metrics.jsonl (ours)")


# Settings that may change between a run and its continuation, because they do not change what a step computes. Compared
# by what they come to instead: the model by its content, device and precision ("auto") by what was chosen here.
_FREE_SETTINGS: Final = frozenset({"model", "device", "precision", "checkpoint_every", "keep_checkpoints", "log_every"})


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


def train(
    data_folder: str | Path,
    output_folder: str | Path,
    settings: TrainSettings,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    *,
    restart: bool = False,
    card: str = "",
) -> TrainResult:
    """Fine-tune `settings.model` on the pack output `data_folder`; the result is `output_folder`/model.

    Goes on from the newest checkpoint in `output_folder` where that is of the same settings, data and model, computed
    in the same dtype on the same kind of device; if it is not, raises TrainingError, or with `restart` removes it and
    starts anew. `on_progress` gets each line of
    metrics.jsonl as it is written, with the number of `steps`. `card` is put into the model card.

    Raises TrainingDataError, ModelFolderError, BatchPlanError for input that cannot be trained on, TrainingError where
    the loss is no longer a number, TrainingStopped after SIGTERM.
    """
    from trainer.backbone import choose_device_and_dtype, load_backbone, model_fingerprint, tokenizer_fingerprint

    data = TrainingData.open(data_folder)
    backbone = load_backbone(settings.model)
    embeddings: Any = backbone.model.get_input_embeddings()
    data.check_model(tokenizer_fingerprint(backbone.tokenizer), len(embeddings.weight))
    _check_lengths(data, backbone)
    plan = BatchPlan(plan_columns(data, settings.group_by), settings, settings.seed, settings.steps)
    device, dtype = choose_device_and_dtype(settings.device, settings.precision)
    identity = {
        "settings": settings.model_dump(mode="json", exclude=set(_FREE_SETTINGS)),
        "data": data.fingerprint,
        "model": model_fingerprint(settings.model),
        "dtype": str(dtype),
        "device": device.type,
    }
    output = Path(output_folder)
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = _checkpoint_to_resume(output, identity, restart)
    run = _Run(
        data=data,
        plan=plan,
        backbone=backbone,
        settings=settings,
        output=output,
        identity=identity,
        device=device,
        dtype=dtype,
        checkpoint=checkpoint,
    )
    result = run.to_the_end(on_progress)
    # The model was trained in place: `backbone` holds its weights.
    trained = replace(backbone, prompts=_prompts(data, backbone))
    export_model(trained, result.model_folder, card or _lineage(data, settings))
    return result


def plan_columns(data: TrainingData, group_by: str) -> PlanColumns:
    """What the batch plan must know of the pairs."""
    column = {"dataset": "dataset", "kind": "kind", "language": "query_lang"}.get(group_by)
    return PlanColumns(
        group=data.labels[column][0] if column else np.zeros(len(data), np.int32),
        length_group=data.length_group,
        length=data.length,
        query_cluster=data.query_cluster,
        positive_cluster=data.passage_cluster[data.positive],
        negatives=data.negatives.lengths,
    )


def learning_rate(step: int, settings: TrainSettings) -> float:
    """The rate of `step` (from 0): rises linearly to the highest in the last warm-up step, then falls towards 0."""
    warmup = round(settings.warmup_ratio * settings.steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * (settings.steps - step) / (settings.steps - warmup)


def _check_lengths(data: TrainingData, backbone: "Backbone") -> None:
    longest = int(max(data.query_tokens.lengths.max(), data.passage_tokens.lengths.max()))
    if longest > backbone.max_length:
        raise TrainingDataError(
            f"{data.folder} holds a text of {longest} tokens, but the model takes at most {backbone.max_length}. Run "
            f"pack again with this model, or with shorter max_query_length and max_passage_length."
        )


def _checkpoint_to_resume(output: Path, identity: dict[str, Any], restart: bool) -> Checkpoint | None:
    checkpoint = newest_checkpoint(output / "checkpoints")
    if checkpoint is None or checkpoint.state.get("identity") == identity:
        return checkpoint
    before = checkpoint.state.get("identity") or {}
    differences = f"{checkpoint.folder} is of a run that differs from this one in {_differences(before, identity)}."
    if restart:
        log.warning("%s Its checkpoints are removed, and training starts anew.", differences)
        shutil.rmtree(output / "checkpoints")
        return None
    raise TrainingError(
        f"{differences} Undo the change{_settings_to_set(before, identity)} to go on with that run, choose another "
        f"output folder, or restart to remove it."
    )


def _differences(before: dict[str, Any], identity: dict[str, Any]) -> str:
    old, new = before.get("settings") or {}, identity["settings"]
    changed = [
        f"{name} ({old.get(name)} there, {new.get(name)} here)"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    changed += [f"the {name}" for name in ("data", "model") if before.get(name) != identity[name]]
    changed += [
        f"the {name} it computes {preposition} ({before.get(name)} there, {identity[name]} here)"
        for name, preposition in (("dtype", "in"), ("device", "on"))
        if before.get(name) != identity[name]
    ]
    return ", ".join(changed)


def _settings_to_set(before: dict[str, Any], identity: dict[str, Any]) -> str:
    """In words, the settings that compute as the run before did; another machine's `auto` may have chosen otherwise."""
    wanted = [
        f"{setting} {_SETTING_OF_DTYPE.get(before[name], before[name])}"
        for name, setting in (("dtype", "precision"), ("device", "device"))
        if name in before and before[name] != identity[name]
    ]
    return f" (set {' and '.join(wanted)})" if wanted else ""


def _prompts(data: TrainingData, backbone: "Backbone") -> dict[Any, str]:
    """What stood before the texts in training: pack's instructions, "" meaning none even where the backbone has
    prompts; the backbone's only where pack says nothing."""
    packing = data.details.get("packing")
    if not isinstance(packing, dict):
        return dict(backbone.prompts)
    return {
        "query": str(packing.get("query_instruction", "")),
        "passage": str(packing.get("passage_instruction", "")),
    }


def _lineage(data: TrainingData, settings: TrainSettings) -> str:
    names = ", ".join(data.labels["dataset"][1])
    return (
        f"Fine-tuned by pairmill from `{Path(settings.model).name}` for {settings.steps} steps of "
        f"{settings.batch_size} pairs on {len(data)} pairs of: {names}. Fingerprint of the "
        f"training data: {data.fingerprint}."
    )


class _Run:
    """One run's model, optimiser and files between two steps."""

    def __init__(
        self,
        *,
        data: TrainingData,
        plan: BatchPlan,
        backbone: "Backbone",
        settings: TrainSettings,
        output: Path,
        identity: dict[str, Any],
        device: "torch.device",
        dtype: "torch.dtype",
        checkpoint: Checkpoint | None,
    ) -> None:
        import torch

        self.data, self.plan, self.backbone, self.settings = data, plan, backbone, settings
        self.output, self.identity, self.device, self.dtype = output, identity, device, dtype
        model: Any = backbone.model
        self.model: torch.nn.Module = model.to(device).train()
        self.optimizer = _optimizer(self.model, settings)
        # fp16 gradients underflow unless scaled; bf16 and fp32 need no scaling.
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        self.first_step = 0
        if checkpoint is not None:
            load_checkpoint(checkpoint, self.model, self.optimizer)
            self.scaler.load_state_dict(checkpoint.state["scaler"])
            self.first_step = checkpoint.step
            log.info("going on from %s", checkpoint.folder)

    def to_the_end(self, on_progress: Callable[[dict[str, Any]], None] | None) -> TrainResult:
        loss, tokens, started = None, 0, time.perf_counter()
        steps = self.settings.steps
        with _deterministic(self.device), _sigterm() as stopped, _metrics(self.output, self.first_step) as metrics:
            for step in range(self.first_step, steps):
                line = self._step(step)
                loss, tokens = line["loss"], tokens + line["tokens"]
                done = step + 1
                if done % self.settings.log_every == 0 or done == steps:
                    metrics.write(json.dumps(line) + "\n")
                    metrics.flush()
                    if on_progress is not None:
                        on_progress({**line, "steps": steps})
                if done % self.settings.checkpoint_every == 0 or done == steps or stopped.is_set():
                    os.fsync(metrics.fileno())
                    self._checkpoint(done)
                if stopped.is_set() and done < steps:
                    log.warning("SIGTERM: stopped after step %d of %d; the same call again goes on", done, steps)
                    raise TrainingStopped(_STOPPED_BY_SIGTERM)
        return TrainResult(
            model_folder=self.output / "model",
            steps=steps,
            resumed_from=self.first_step,
            loss=loss,
            seconds=time.perf_counter() - started,
            tokens=tokens,
            left_out=self.plan.epoch(0).left_out,
        )

    def _step(self, step: int) -> dict[str, Any]:
        import torch

        started = time.perf_counter()
        torch.manual_seed(int(np.random.SeedSequence([self.settings.seed, _STEP_STREAM, step]).generate_state(1)[0]))
        planned = self.plan.rows(step)[0]
        batch = self.data.collate(planned.rows, planned.negatives, int(self.backbone.tokenizer.pad_token_id))
        rate = learning_rate(step, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(batch)
        value = float(loss.detach())
        self._check_finite(value, "loss", step, batch)
        scaled: Any = self.scaler.scale(loss)
        scaled.backward()
        self.scaler.unscale_(self.optimizer)
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm))
        if not self.scaler.is_enabled():  # an enabled scaler skips the step and tries a smaller scale
            self._check_finite(norm, "gradient norm", step, batch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - started
        return {
            "step": step + 1,
            "epoch": self.plan.place(step)[0],
            "loss": value,
            "learning_rate": rate,
            "gradient_norm": norm,
            "pairs": len(batch.rows),
            "tokens": batch.tokens,
            "tokens_per_second": round(batch.tokens / seconds, 1),
            "seconds": round(seconds, 4),
        }

    def _loss(self, batch: Batch) -> "torch.Tensor":
        import torch

        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            queries = self._embed(batch.query_ids, batch.query_lengths)
            passages = self._embed(batch.passage_ids, batch.passage_lengths)
        # Empty slots (-1) take some passage's embedding; `forbidden` keeps it out of the sum.
        slots = torch.from_numpy(np.maximum(batch.slots, 0).ravel()).to(self.device)
        return info_nce(
            queries,
            passages.index_select(0, slots),
            self.settings.temperature,
            torch.from_numpy(batch.forbidden).to(self.device),
            torch.from_numpy(batch.symmetric).to(self.device),
        )

    def _embed(self, token_ids: "np.ndarray[Any, Any]", lengths: "np.ndarray[Any, Any]") -> "torch.Tensor":
        """Embeddings, float32 [rows, D], of padded token ids [rows, L].

        Texts of like length share a forward, because most of a padded matrix of all of them can be padding.
        """
        import torch

        from trainer.backbone import pool

        order = np.argsort(-lengths, kind="stable")
        pieces = []
        for part in _like_lengths(lengths[order], _TOKENS_PER_FORWARD[self.device.type]):
            rows = order[part]
            ids = torch.from_numpy(token_ids[rows, : lengths[rows].max()]).to(self.device, torch.int64)
            mask = (torch.arange(ids.shape[1]) < torch.from_numpy(lengths[rows])[:, None]).to(self.device, torch.int64)
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            pieces.append(pool(hidden, mask, self.backbone.pooling, self.backbone.normalise))
        return torch.cat(pieces).index_select(0, torch.from_numpy(np.argsort(order)).to(self.device))

    def _check_finite(self, value: float, name: str, step: int, batch: Batch) -> None:
        if math.isfinite(value):
            return
        pairs = ", ".join(self.data.pair_id[row].tobytes().hex() for row in batch.rows[:8])
        raise TrainingError(
            f"The {name} of step {step + 1} is {value}. The step's {len(batch.rows)} pairs begin with {pairs}. Look "
            f"at those pairs; lower the learning rate, raise the temperature or use precision fp32, and train into "
            f"another output folder (the same settings would fail at the same step)."
        )

    def _checkpoint(self, done: int) -> None:
        root = self.output / "checkpoints"
        state = {"identity": self.identity, "scaler": self.scaler.state_dict()}
        write_checkpoint(root, done, self.model, self.optimizer, state)
        remove_old_checkpoints(root, done, self.settings.keep_checkpoints)


def _like_lengths(descending: "np.ndarray[Any, Any]", tokens: int) -> Iterator[slice]:
    """Consecutive parts of lengths in falling order, each of at least `tokens` with its padding, but for the last."""
    start = 0
    while start < len(descending):
        end = start + -(-tokens // int(descending[start]))
        yield slice(start, end)
        start = end


def _optimizer(model: "torch.nn.Module", settings: TrainSettings) -> "torch.optim.Optimizer":
    import torch

    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        # Biases and the scales of layer norms are vectors.
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


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


@contextmanager
def _sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, so that the step under way can be finished and kept."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # Python delivers signals to the main thread only
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _metrics(output: Path, steps_done: int) -> Iterator[Any]:
    """metrics.jsonl opened at its end, without the lines after the checkpoint that the run goes on from."""
    file = output / "metrics.jsonl"
    kept = [line for line in _lines(file) if _step_of(line) <= steps_done]
    partial = file.with_name(file.name + ".partial")
    partial.write_text("".join(kept), "utf-8")
    partial.replace(file)
    with file.open("a", encoding="utf-8") as stream:
        yield stream


def _lines(file: Path) -> list[str]:
    return file.read_text("utf-8").splitlines(keepends=True) if file.exists() else []


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # the line that a kill cut short
