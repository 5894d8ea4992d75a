"""The training loop: pack's shards and a pretrained encoder in, a fine-tuned encoder out.

    output/metrics.jsonl              one line a logged step
    output/checkpoints/step-000050/   to go on from (trainer.checkpoint)
    output/model/                     the result (trainer.export), written after the last step

The same call again goes on from the newest checkpoint (trainer.training_run says what is promised). What is learnt is
trainer.contrastive's. Started by torchrun, several processes share each step.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.backbone import resolve_model_path
from trainer.batch_plan import BatchPlan, BatchPlanSettings, plan_columns
from trainer.contrastive import ContrastiveObjective, ContrastiveSettings
from trainer.distributed import Ranks, join_ranks
from trainer.export import export_model, markdown_text
from trainer.m3_heads import available_outputs
from trainer.optimizer import learning_rate
from trainer.run_identity import TrainingError, find_checkpoint, run_identity
from trainer.training_data import TrainingData
from trainer.training_run import StepHook, TrainingRun, TrainingStopped, TrainResult, metrics_lines

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

__all__ = [
    "StepHook",
    "TrainResult",
    "TrainSettings",
    "TrainingError",
    "TrainingStopped",
    "learning_rate",
    "train",
]


class TrainSettings(BatchPlanSettings, ContrastiveSettings):
    """A training run: what `BatchPlanSettings` says of batches, `LossSettings` of the loss, `RunSettings` of the run."""


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
    from trainer.backbone import choose_device_and_dtype, load_backbone, tokenizer_fingerprint

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
    _check_sharding(settings, ranks, dtype)
    identity = run_identity(settings, data.fingerprint, device, dtype, settings.guide_model)
    if ranks.leads:
        _tell_of_outputs(settings)
    checkpoint = find_checkpoint(output, identity, ranks, restart=restart, sharded=settings.shards_over(ranks))
    objective = ContrastiveObjective(
        data, plan, backbone, settings, device=device, dtype=dtype, ranks=ranks, guide=guide
    )
    run = TrainingRun(
        objective, settings, output, identity=identity, device=device, dtype=dtype, checkpoint=checkpoint, ranks=ranks
    )
    result = run.to_the_end(on_progress, hook)
    trained = objective.as_backbone()
    with ranks.rank_zero_first("Writing the model"):
        if ranks.leads:
            lineage = _lineage(data, plan, settings, ranks, output)
            export_model(trained, result.model_folder, f"{card}\n\n{lineage}" if card else lineage)
    return result


def _check_sharding(settings: TrainSettings, ranks: Ranks, dtype: "torch.dtype") -> None:
    import torch

    if settings.sharding != "none" and ranks.count == 1:
        log.warning(
            "sharding %s: there is one process, which keeps the whole model; torchrun starts several", settings.sharding
        )
    if settings.shards_over(ranks) and dtype is torch.float16:
        raise TrainingError(
            f"sharding {settings.sharding} does not go with fp16, whose gradients are scaled: set precision bf16 or fp32, or "
            f"sharding none."
        )


def _tell_of_outputs(settings: TrainSettings) -> None:
    """Warn of heads that the trained model will not have, and of a distillation that never begins."""
    lost = sorted(available_outputs(resolve_model_path(settings.model)) - {*settings.outputs, "dense"})
    if lost:
        log.warning(
            "%s gives %s outputs, which are not among the outputs that learn (%s): the trained model will not have them. Add "
            "them to outputs to keep them.",
            settings.model,
            " and ".join(lost),
            ", ".join(settings.outputs),
        )
    first = settings.self_distillation_from
    if first is not None and first >= settings.steps:
        log.warning(
            "self_distillation_from is %d, and there are %d steps: the outputs never learn from their sum. Set it below %d, "
            "or train for more steps.",
            first,
            settings.steps,
            settings.steps,
        )


def _lineage(data: TrainingData, plan: BatchPlan, settings: TrainSettings, ranks: Ranks, output: Path) -> str:
    """The part of the model card that says what was trained on, how, and what came of it."""
    codes, names = data.labels["dataset"]
    taking_part = codes if plan.columns.chosen is None else codes[plan.columns.chosen]
    counts = np.bincount(taking_part, minlength=len(names)).tolist()
    rows = "\n".join(
        f"- {markdown_text(name)}: {count:,} pairs" for name, count in zip(names, counts, strict=True) if count
    )
    processes = f" by {ranks.count} processes" if ranks.count > 1 else ""
    chosen = settings.model_dump(mode="json", exclude_defaults=True, exclude={"model", "guide_model", "data_cache"})
    last = [json.loads(line) for line in metrics_lines(output / "metrics.jsonl")[-1:]]
    many_cls = ""
    if settings.mcls_every is not None:
        many_cls = (
            f"Trained with a [CLS] before every {settings.mcls_every} tokens: encode with pairmill and mcls_every "
            f"{settings.mcls_every}. sentence-transformers puts in one, which gives longer texts other embeddings.\n\n"
        )
    reached = f"The loss of step {last[0]['step']:,} was {last[0]['loss']:.4f}." if last else ""
    return (
        f"Fine-tuned by pairmill from `{Path(settings.model).name}` for {settings.steps:,} steps of up to "
        f"{settings.batch_size:,} pairs{processes} on {len(plan.columns):,} pairs. {reached}\n\n{many_cls}## Data\n\n{rows}\n\n"
        f"Fingerprint of the packed data: `{data.fingerprint}`.\n\n## Command\n\n"
        f"`pairmill train --data FOLDER --output FOLDER` with the settings that are not the defaults:\n\n"
        f"```json\n{json.dumps(chosen, sort_keys=True)}\n```"
    )
