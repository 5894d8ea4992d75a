"""RetroMAE pre-training: pack's text shards and an encoder in, an encoder whose [CLS] state holds a text out.

    output/metrics.jsonl              one line a logged step, with the encoder's and the decoder's loss
    output/checkpoints/step-000050/   to go on from (trainer.checkpoint); the decoder is in them
    output/model/                     the result: an encoder with its language-model head, [CLS] pooling

The same call again goes on from the newest checkpoint (trainer.training_run says what is promised). The result is read by
AutoModelForMaskedLM with its head, and by AutoModel, sentence-transformers and the next stage of training as an encoder.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.distributed import Ranks, join_ranks
from trainer.export import export_model
from trainer.packed_texts import PackedTexts
from trainer.retromae.settings import PretrainSettings
from trainer.retromae.text_plan import TextPlan
from trainer.run_identity import TrainingError, find_checkpoint, run_identity
from trainer.training_run import StepHook, TrainingRun, TrainResult, metrics_lines


def pretrain(
    data_folder: str | Path,
    output_folder: str | Path,
    settings: PretrainSettings,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    *,
    restart: bool = False,
    card: str = "",
    hook: StepHook | None = None,
) -> TrainResult:
    """Pre-train `settings.model` on the text shards in `data_folder`; the result is `output_folder`/model.

    Goes on from the newest checkpoint as trainer.loop.train does; `restart`, `on_progress`, `card` and `hook` are the
    same. In processes started by torchrun the first one writes all files.

    Raises TrainingDataError, ModelFolderError, PackingError for input that cannot be learnt from, TrainingError where the
    loss is no longer a number or data and model do not fit, CheckpointError where the disk is full, RanksError where
    another process has ended, TrainingStopped after SIGTERM.
    """
    with join_ranks(settings.device, settings.silence_seconds) as ranks:
        return _pretrain(Path(data_folder), Path(output_folder), settings, on_progress, restart, card, hook, ranks)


def _pretrain(
    data_folder: Path,
    output: Path,
    settings: PretrainSettings,
    on_progress: Callable[[dict[str, Any]], None] | None,
    restart: bool,
    card: str,
    hook: StepHook | None,
    ranks: Ranks,
) -> TrainResult:
    from trainer.backbone import choose_device_and_dtype
    from trainer.retromae.models import language_model
    from trainer.retromae.objective import RetroMAEObjective

    with ranks.rank_zero_first("Reading the texts"):
        texts = PackedTexts.open(data_folder, settings.data_cache)
    language = language_model(settings)
    check_texts(data_folder, texts, language, settings, ranks.count)
    plan = TextPlan(texts.tokens.lengths, settings.batch_size, settings.seed)
    device, dtype = choose_device_and_dtype(ranks.device(settings.device), settings.precision)
    identity = run_identity(settings, texts.fingerprint, device, dtype)
    checkpoint = find_checkpoint(output, identity, ranks, restart=restart)
    objective = RetroMAEObjective(texts, plan, language, settings, device=device, dtype=dtype, ranks=ranks)
    run = TrainingRun(
        objective, settings, output, identity=identity, device=device, dtype=dtype, checkpoint=checkpoint, ranks=ranks
    )
    result = run.to_the_end(on_progress, hook)
    with ranks.rank_zero_first("Writing the model"):
        if ranks.leads:
            lineage = _lineage(texts, settings, ranks, output)
            backbone = language.as_backbone(with_head=True)
            export_model(backbone, result.model_folder, f"{card}\n\n{lineage}" if card else lineage)
    return result


def check_texts(folder: Path, texts: PackedTexts, language: Any, settings: PretrainSettings, ranks: int) -> None:
    """Raise TrainingError where the packed texts are not for this model, or too few for the processes."""
    from trainer.backbone import tokenizer_fingerprint
    from trainer.text_packing import special_frame

    packed_with = texts.details.get("tokenizer_fingerprint")
    if packed_with is not None and packed_with != tokenizer_fingerprint(language.tokenizer):
        raise TrainingError(
            f"The texts in {folder} were packed with another tokenizer than that of {settings.model}: their token ids mean "
            f"other words. Pack them again with this model, or name the model they were packed with."
        )
    vocabulary = len(language.embeddings.word_embeddings.weight)
    if texts.largest_token_id >= vocabulary:
        raise TrainingError(
            f"The texts in {folder} hold token id {texts.largest_token_id}, but {settings.model} has {vocabulary} "
            f"embeddings. Pack them again with this model."
        )
    longest = texts.longest + sum(map(len, special_frame(language.tokenizer)))
    if longest > language.max_length:
        raise TrainingError(
            f"The longest row in {folder} has {longest} tokens with its special ones, and {settings.model} takes "
            f"{language.max_length}. Set max_positions to {longest} to make it longer, or pack with a smaller max_length."
        )
    if settings.batch_size < ranks:
        raise TrainingError(
            f"batch_size is {settings.batch_size}, fewer rows than the {ranks} processes. Raise it to {ranks} or more."
        )


def _lineage(texts: PackedTexts, settings: PretrainSettings, ranks: Ranks, output: Path) -> str:
    """The part of the model card that says what was learnt from, how, and what came of it."""
    processes = f" by {ranks.count} processes" if ranks.count > 1 else ""
    source = "random weights, with the tokenizer of" if settings.new_encoder is not None else "the weights of"
    chosen = settings.model_dump(mode="json", exclude_defaults=True, exclude={"model", "data_cache"})
    last = [json.loads(line) for line in metrics_lines(output / "metrics.jsonl")[-1:]]
    reached = (
        f"In step {last[0]['step']:,} the encoder's loss was {last[0]['encoder_loss']:.4f} and the decoder's "
        f"{last[0]['decoder_loss']:.4f}."
        if last
        else ""
    )
    return (
        f"Pre-trained by pairmill with RetroMAE from {source} `{Path(settings.model).name}` for {settings.steps:,} steps of "
        f"{settings.batch_size:,} texts{processes} on {len(texts):,} rows of plain text ({len(texts.tokens.values):,} "
        f"tokens). {reached} To be fine-tuned on pairs before use; the language-model head is in the weights "
        f"(AutoModelForMaskedLM).\n\n## Data\n\nFingerprint of the packed texts: `{texts.fingerprint}`.\n\n## Command\n\n"
        f"`pairmill pretrain --data FOLDER --output FOLDER` with the settings that are not the defaults:\n\n"
        f"```json\n{json.dumps(chosen, sort_keys=True)}\n```"
    )
