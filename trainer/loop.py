"""The training loop: pack's shards and a pretrained encoder in, a fine-tuned encoder out.

    output/metrics.jsonl              one line a logged step
    output/checkpoints/step-000050/   to go on from (trainer.checkpoint)
    output/model/                     the result (trainer.export), written after the last step
    output/bad_batch.json             only where a loss or gradient was no number: the rows of that step

The same call again goes on from the newest checkpoint. What a step does depends on its number alone: its rows come from
the batch plan, and dropout is drawn from (seed, step, rank, chunk). Hence a run that was interrupted gives, on the same
CPU with the same numbers of threads and processes, the same losses and weights bit for bit as one that was not.

Started by torchrun, several processes share each step: embeddings are exchanged, each computes the loss of its own
queries against the passages of all, and one sum of the gradients makes them those of the whole batch.
"""

import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import Field

from trainer.batch import Batch
from trainer.batch_plan import BatchPlan, BatchPlanSettings, RankRows, plan_columns
from trainer.checkpoint import load_checkpoint, remove_old_checkpoints, write_checkpoint
from trainer.distributed import FlatGradients, Ranks, join_ranks
from trainer.export import export_model
from trainer.gradient_cache import CachedEmbeddings, TextEncoder, joined
from trainer.loss import GuideEmbeddings, LossSettings, contrastive_loss, loss_masks
from trainer.optimizer import OptimizerSettings, WeightAverage, adamw, learning_rate, set_learning_rate
from trainer.prefetch import Prefetch
from trainer.run_identity import FREE_SETTINGS, TrainingError, checkpoint_to_resume
from trainer.training_data import TrainingData

if TYPE_CHECKING:
    import torch

    from trainer.backbone import Backbone
    from trainer.checkpoint import Checkpoint

__all__ = [
    "StepHook",
    "TrainResult",
    "TrainSettings",
    "TrainingError",
    "TrainingStopped",
    "learning_rate",
    "train",
]

log = logging.getLogger(__name__)

_STEP_STREAM: Final = 3  # beside batch_plan's streams of the same seed
_STOPPED_BY_SIGTERM: Final = 128 + signal.SIGTERM
BAD_BATCH: Final = "bad_batch.json"


class TrainingStopped(SystemExit):
    """SIGTERM came: a checkpoint is written, and the same call again goes on from it. Exit status 143."""


class TrainSettings(BatchPlanSettings, LossSettings, OptimizerSettings):
    """A training run: what `BatchPlanSettings` says of batches, `LossSettings` of the loss, and the optimisation."""

    model: str = Field(description="local folder of the pretrained encoder, or package://PACKAGE/folder")
    seed: int = Field(0, ge=0, description="of batches, negatives and dropout")
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


def train(
    data_folder: str | Path,
    output_folder: str | Path,
    settings: TrainSettings,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    *,
    restart: bool = False,
    card: str = "",
    hook: StepHook | None = None,
) -> TrainResult:
    """Fine-tune `settings.model` on the pack output `data_folder`; the result is `output_folder`/model.

    Goes on from the newest checkpoint in `output_folder` where that is of the same settings, data and model, computed
    in the same dtype on the same kind of device; if it is not, raises TrainingError, or with `restart` removes it and
    starts anew. `on_progress` gets each line of metrics.jsonl as it is written, with the number of `steps`; `hook` is
    called between steps and may end the training. `card` begins the model card.

    In processes started by torchrun the first one writes all files and calls `on_progress` and `hook`.

    Raises TrainingDataError, ModelFolderError, BatchPlanError for input that cannot be trained on, TrainingError where
    the loss is no longer a number, CheckpointError where the disk is full, RanksError where another process has ended,
    TrainingStopped after SIGTERM.
    """
    with join_ranks(settings.device, settings.silence_seconds) as ranks:
        return _train(Path(data_folder), Path(output_folder), settings, on_progress, restart, card, hook, ranks)


def _train(
    data_folder: Path,
    output: Path,
    settings: TrainSettings,
    on_progress: Callable[[dict[str, Any]], None] | None,
    restart: bool,
    card: str,
    hook: StepHook | None,
    ranks: Ranks,
) -> TrainResult:
    from trainer.backbone import choose_device_and_dtype, load_backbone, model_fingerprint, tokenizer_fingerprint

    with ranks.rank_zero_first("Reading the data"):  # which may decode shards into a folder that all map
        data = TrainingData.open(data_folder, settings.data_cache)
    data.check_instructions(settings.instruction_share)
    backbone = load_backbone(settings.model)
    embeddings: Any = backbone.model.get_input_embeddings()
    tokenizer = tokenizer_fingerprint(backbone.tokenizer)
    data.check_model(tokenizer, len(embeddings.weight))
    data.check_lengths(backbone.max_length)
    guide = None if settings.guide_model is None else load_backbone(settings.guide_model)
    if guide is not None and tokenizer_fingerprint(guide.tokenizer) != tokenizer:
        raise TrainingError(
            f"The guide model {settings.guide_model} has another tokenizer than {settings.model}: it cannot read the packed "
            f"token ids. Choose a guide of the same tokenizer."
        )
    plan = BatchPlan(plan_columns(data, settings), settings, settings.seed, settings.steps, ranks.count)
    device, dtype = choose_device_and_dtype(ranks.device(settings.device), settings.precision)
    identity = {
        "settings": settings.model_dump(mode="json", exclude=set(FREE_SETTINGS)),
        "data": data.fingerprint,
        "model": model_fingerprint(settings.model),
        "guide": None if settings.guide_model is None else model_fingerprint(settings.guide_model),
        "dtype": str(dtype),
        "device": device.type,
    }
    checkpoint = None
    with ranks.rank_zero_first("Looking for a checkpoint"):
        if ranks.leads:
            output.mkdir(parents=True, exist_ok=True)
            checkpoint = checkpoint_to_resume(output, identity, ranks.count, restart=restart)
    run = TrainingRun(
        data=data,
        plan=plan,
        backbone=backbone,
        guide=guide,
        settings=settings,
        output=output,
        identity=identity,
        device=device,
        dtype=dtype,
        checkpoint=checkpoint,
        ranks=ranks,
    )
    result = run.to_the_end(on_progress, hook)
    with ranks.rank_zero_first("Writing the model"):
        if ranks.leads:
            # The model was trained in place: `backbone` holds its weights.
            trained = replace(backbone, prompts=_prompts(data, backbone))
            lineage = _lineage(data, settings, ranks, output)
            export_model(trained, result.model_folder, f"{card}\n\n{lineage}" if card else lineage)
    return result


def _prompts(data: TrainingData, backbone: "Backbone") -> dict[Any, str]:
    """What stood before the texts in training: pack's instructions, "" meaning none even where the backbone has
    prompts; the backbone's only where pack says nothing."""
    packing = data.details.get("packing")
    if not isinstance(packing, dict):
        return dict(backbone.prompts)
    return {
        "query": data.query_instruction,
        "passage": str(packing.get("passage_instruction", "")),
    }


def _lineage(data: TrainingData, settings: TrainSettings, ranks: Ranks, output: Path) -> str:
    """The part of the model card that says what was trained on, how, and what came of it."""
    codes, names = data.labels["dataset"]
    counts = np.bincount(codes, minlength=len(names)).tolist()
    rows = "\n".join(f"- {name}: {count:,} pairs" for name, count in zip(names, counts, strict=True))
    processes = f" by {ranks.count} processes" if ranks.count > 1 else ""
    chosen = settings.model_dump(mode="json", exclude_defaults=True, exclude={"model", "guide_model", "data_cache"})
    last = [json.loads(line) for line in _lines(output / "metrics.jsonl")[-1:]]
    reached = f"The loss of step {last[0]['step']:,} was {last[0]['loss']:.4f}." if last else ""
    return (
        f"Fine-tuned by pairmill from `{Path(settings.model).name}` for {settings.steps:,} steps of up to "
        f"{settings.batch_size:,} pairs{processes} on {len(data):,} pairs. {reached}\n\n## Data\n\n{rows}\n\n"
        f"Fingerprint of the packed data: `{data.fingerprint}`.\n\n## Command\n\n"
        f"`pairmill train --data FOLDER --output FOLDER` with the settings that are not the defaults:\n\n"
        f"```json\n{json.dumps(chosen, sort_keys=True)}\n```"
    )


@dataclass(frozen=True)
class PlannedBatch:
    """What a rank needs for a step."""

    batch: Batch
    rows: list[RankRows]  # of all ranks


class TrainingRun:
    """One run's model, optimiser and files between two steps."""

    def __init__(
        self,
        *,
        data: TrainingData,
        plan: BatchPlan,
        backbone: "Backbone",
        guide: "Backbone | None",
        settings: TrainSettings,
        output: Path,
        identity: dict[str, Any],
        device: "torch.device",
        dtype: "torch.dtype",
        checkpoint: "Checkpoint | None",
        ranks: Ranks,
    ) -> None:
        import torch

        self.data, self.plan, self.backbone, self.settings = data, plan, backbone, settings
        self.output, self.identity, self.device, self.ranks = output, identity, device, ranks
        self.encoder = _text_encoder(backbone, device, dtype)
        self.model = self.encoder.model.train()
        self.guide = None if guide is None else _text_encoder(guide, device, dtype)
        _prepare(self.model, settings, device)
        self.gradients = FlatGradients(self.model, tail=5)
        self.optimizer = adamw(self.model, settings)
        self.average = None if settings.average_decay is None else WeightAverage(self.model, settings.average_decay)
        # fp16 gradients underflow unless scaled; bf16 and fp32 need no scaling.
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        # Whether any rank may need the queries of all: known without asking, since all ranks see all data.
        self.both_ways = bool(data.symmetric.any())
        self.first_step, self.ended = 0, False
        self._start_from(checkpoint)

    def _start_from(self, checkpoint: "Checkpoint | None") -> None:
        if checkpoint is not None:
            load_checkpoint(
                checkpoint, self.model, self.optimizer, None if self.average is None else self.average.averages
            )
            log.info("going on from %s", checkpoint.folder)
        content = {} if checkpoint is None else {"step": checkpoint.step, **checkpoint.state}
        state = self.ranks.told({name: content[name] for name in ("step", "scaler", "ended") if name in content})
        if "step" in state:
            self.first_step, self.ended = int(state["step"]), bool(state.get("ended"))
            self.scaler.load_state_dict(state["scaler"])
        self._take_over(resumed="step" in state)

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
            _sigterm() as stopped,
            metrics_file as metrics,
            Prefetch(self.planned_batch, self.first_step, steps) as batches,
        ):
            for step, planned in batches:
                line, stop = self.step(step, planned, stop=stopped.is_set())
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
                    break
                if stop and done < steps:
                    log.warning("SIGTERM: stopped after step %d of %d; the same call again goes on", done, steps)
                    raise TrainingStopped(_STOPPED_BY_SIGTERM)
        if self.average is not None:
            self.average.put_in()
        return TrainResult(
            model_folder=self.output / "model",
            steps=self.settings.steps,
            resumed_from=self.first_step,
            loss=loss,
            seconds=time.perf_counter() - started,
            tokens=tokens,
            left_out=self.plan.left_out,
        )

    def planned_batch(self, step: int) -> PlannedBatch:
        rows = self.plan.rows(step)
        batch = self.data.collate(rows, self.ranks.rank, self.encoder.pad_token_id)
        return PlannedBatch(batch, rows)

    def step(self, step: int, planned: PlannedBatch, *, stop: bool) -> tuple[dict[str, Any], bool]:
        """The line of metrics.jsonl, and whether a rank was told to stop."""
        started = time.perf_counter()
        batch = planned.batch
        rate = learning_rate(step, self.settings)
        set_learning_rate(self.optimizer, rate)
        self.gradients.clear()
        texts = joined(batch.query_tokens, batch.passage_tokens)
        embedded = CachedEmbeddings(
            self.encoder,
            texts,
            (self.settings.seed, _STEP_STREAM, step, self.ranks.rank),
            tokens_per_forward=self.settings.tokens_per_forward,
            tokens_at_once=self.settings.tokens_at_once,
        )
        loss, gradients = self._loss(batch, embedded.embeddings, texts)
        embedded.backward(self.scaler.scale(gradients))
        own = (loss, float(stop), batch.tokens, embedded.padded_tokens, batch.squared_lengths)
        self.gradients.tail.copy_(self.gradients.tail.new_tensor(own))
        self.gradients.add_up(self.ranks)
        value, stops, tokens, padded, squared = self.gradients.tail.tolist()
        self._check_finite(value, "loss", step, planned)
        self.scaler.unscale_(self.optimizer)
        norm = self.gradients.clip(self.settings.max_grad_norm)
        if not self.scaler.is_enabled():  # an enabled scaler skips the step and tries a smaller scale
            self._check_finite(norm, "gradient norm", step, planned)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(step)
        seconds = time.perf_counter() - started
        return {
            "step": step + 1,
            "epoch": self.plan.place(step)[0],
            "loss": value,
            "learning_rate": rate,
            "gradient_norm": norm,
            "pairs": int(batch.counts.sum()),
            "tokens": round(tokens),
            "padded_tokens": round(padded),
            "squared_lengths": round(squared),
            "tokens_per_second": round(tokens / seconds, 1),
            "seconds": round(seconds, 4),
            "peak_memory_mib": _peak_memory(self.device),
        }, stops > 0

    def _loss(self, batch: Batch, embeddings: "torch.Tensor", texts: Any) -> "tuple[float, torch.Tensor]":
        """This rank's part of the loss, and the gradient of the whole loss by its embeddings [texts, D]."""
        import torch

        own = _OwnAndAll(batch, embeddings, self.ranks, self.device, both_ways=self.both_ways)
        guide = None
        if self.guide is not None:
            read = CachedEmbeddings(self.guide, texts, (0,), tokens_at_once=0).embeddings
            guide = _OwnAndAll(batch, read, self.ranks, self.device, both_ways=True).as_guide()
        own.require_gradients()
        loss = contrastive_loss(
            own.queries,
            own.all_passages,
            loss_masks(batch, self.device),
            self.settings,
            own.all_queries if self.both_ways else None,
            guide,
        )
        torch.autograd.backward(loss)
        return float(loss.detach()), own.gradient()

    def _check_finite(self, value: float, name: str, step: int, planned: PlannedBatch) -> None:
        if math.isfinite(value):
            return
        rows = np.concatenate([each.rows for each in planned.rows])
        pairs = [self.data.pair_id[row].tobytes().hex() for row in rows]
        if self.ranks.leads:
            content = {
                "step": step + 1,
                "what": name,
                "value": str(value),
                "dataset": planned.batch.dataset,
                "rows": rows.tolist(),
                "pair_ids": pairs,
            }
            (self.output / BAD_BATCH).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        raise TrainingError(
            f"The {name} of step {step + 1} is {value}. The step's {len(rows)} pairs begin with {', '.join(pairs[:8])}; "
            f"{self.output / BAD_BATCH} lists all. Look at those pairs; lower the learning rate, raise the temperature or "
            f"use precision fp32, and train into another output folder (the same settings would fail at the same step)."
        )

    def _call(self, hook: StepHook, done: int) -> bool:
        """What the hook says, asked on the first rank; it sees the averaged weights where there are some."""
        end = False
        with self.ranks.rank_zero_first("What is done between steps"):
            if self.ranks.leads:
                with _evaluating(self.model, self.average):
                    end = hook.call(done, replace(self.backbone, prompts=_prompts(self.data, self.backbone)))
        return bool(self.ranks.told(bool(end)))

    def _checkpoint(self, done: int) -> None:
        root = self.output / "checkpoints"
        state = {
            "identity": self.identity,
            "scaler": self.scaler.state_dict(),
            "ranks": self.ranks.count,
            "ended": self.ended,
        }
        average = None if self.average is None else self.average.averages
        with self.ranks.rank_zero_first("Writing a checkpoint"):
            if self.ranks.leads:
                write_checkpoint(root, done, self.model, self.optimizer, state, average)
                remove_old_checkpoints(root, done, self.settings.keep_checkpoints)


class _OwnAndAll:
    """This rank's queries and slots, and those of all ranks, from the embeddings of its distinct texts."""

    def __init__(
        self, batch: Batch, embeddings: "torch.Tensor", ranks: Ranks, device: "torch.device", *, both_ways: bool
    ) -> None:
        import torch

        self.ranks, self.embeddings, self.own_queries = ranks, embeddings, len(batch.rows)
        self.query_counts = batch.counts.tolist()
        self.slot_counts = (batch.counts * batch.group_width).tolist()
        # Empty slots (-1) take some text's embedding: they count for no query.
        self.slots = torch.from_numpy(np.maximum(batch.slots, 0).ravel() + self.own_queries).to(device)
        self.queries = embeddings[: self.own_queries]
        self.all_passages = ranks.gather_rows(embeddings.index_select(0, self.slots), self.slot_counts)
        self.all_queries = ranks.gather_rows(self.queries, self.query_counts) if both_ways else self.queries

    def require_gradients(self) -> None:
        for tensor in (self.queries, self.all_passages, self.all_queries):
            tensor.requires_grad_()

    def gradient(self) -> "torch.Tensor":
        """[texts, D]: what the losses of all ranks say of this rank's texts."""
        import torch

        gradient = torch.zeros_like(self.embeddings)
        if self.queries.grad is not None:
            gradient[: self.own_queries] += self.queries.grad
        if self.all_queries is not self.queries:
            of_all = self.all_queries.grad
            of_all = torch.zeros_like(self.all_queries) if of_all is None else of_all
            gradient[: self.own_queries] += self.ranks.sum_to_owners(of_all, self.query_counts)
        of_slots = self.all_passages.grad
        assert of_slots is not None  # every query has a positive
        gradient.index_add_(0, self.slots, self.ranks.sum_to_owners(of_slots, self.slot_counts))
        return gradient

    def as_guide(self) -> GuideEmbeddings:
        return GuideEmbeddings(self.queries, self.all_passages, self.all_queries)


def _text_encoder(backbone: "Backbone", device: "torch.device", dtype: "torch.dtype") -> TextEncoder:
    model: Any = backbone.model
    pad = int(backbone.tokenizer.pad_token_id)
    return TextEncoder(model.to(device), backbone.pooling, backbone.normalise, pad, device, dtype)


def _prepare(model: "torch.nn.Module", settings: TrainSettings, device: "torch.device") -> None:
    named: Any = model
    if getattr(named, "pooler", None) is not None:
        named.pooler.requires_grad_(False)  # embeddings do not come from it
    if device.type == "cpu":
        from trainer.embedding_table import add_gradients_in_place

        add_gradients_in_place(named.get_input_embeddings())
    if settings.gradient_checkpointing:
        # The name that transformers 5 has, and the one before.
        if hasattr(named, "activation_checkpointing_enable"):
            named.activation_checkpointing_enable({"use_reentrant": False})
        else:
            named.gradient_checkpointing_enable({"use_reentrant": False})


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
