"""The encoder that is pre-trained, with its language-model head: read from a folder, made from nothing, or made longer.

In:  a Hugging Face folder (BERT, RoBERTa, XLM-RoBERTa, CamemBERT), or a folder of tokenizer files and a shape.
Out: `LanguageModel`: the transformers model for masked language modelling, and its parts under names of our own.

A folder without a head's weights gets a fresh transform and an output layer tied to the word embeddings. This module imports
torch at once and is imported where a model is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from trainer.backbone import (
    Backbone,
    ModelFolderError,
    check_weight_files,
    load_tokenizer,
    resolve_model_path,
    transformer_folder,
)
from trainer.retromae.settings import NewEncoder, PretrainSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Position ids of these begin behind that of padding.
_OFFSET_POSITIONS: Final = frozenset({"roberta", "xlm-roberta", "camembert"})
_SUPPORTED: Final = _OFFSET_POSITIONS | {"bert"}
_HEADS: Final = ("cls.", "lm_head.")
_INITIAL_STREAM: Final = 12  # of the seed


@dataclass(frozen=True)
class LanguageModel:
    """A masked language model and the tokenizer that goes with it."""

    model: Any  # transformers' ...ForMaskedLM, fp32, on the CPU
    tokenizer: "PreTrainedTokenizerFast"
    had_head: bool  # the head's weights are the folder's, not fresh

    @property
    def encoder(self) -> Any:
        """The encoder alone, sharing its weights."""
        return self.model.base_model

    @property
    def embeddings(self) -> Any:
        """The encoder's embedding layer: words, positions, types, LayerNorm, dropout."""
        return self.model.base_model.embeddings

    @property
    def first_position(self) -> int:
        """The position id of a text's first token."""
        return _first_position(self.model.config)

    @property
    def max_length(self) -> int:
        """Tokens, special ones included."""
        return int(self.model.config.max_position_embeddings) - self.first_position

    def transform(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """From hidden states to what the output layer multiplies."""
        if self.model.config.model_type == "bert":
            transform: Callable[[torch.Tensor], torch.Tensor] = self.model.cls.predictions.transform
            return transform
        head = self.model.lm_head
        return lambda states: head.layer_norm(nn.functional.gelu(head.dense(states)))

    def output_layer(self) -> tuple[nn.Parameter, nn.Parameter | None]:
        """Weight [V, H] and bias [V] of the logits."""
        layer = self.model.get_output_embeddings()
        return layer.weight, layer.bias

    def as_backbone(self, *, with_head: bool = False) -> Backbone:
        """The encoder as it is now, [CLS] pooling, normalised; `with_head`: to be saved with its head."""
        self.tokenizer.model_max_length = self.max_length
        return Backbone(
            model=self.model if with_head else self.encoder,
            tokenizer=self.tokenizer,
            pooling="cls",
            normalise=True,
            prompts={"query": "", "passage": ""},
            max_length=self.max_length,
            hidden_size=int(self.model.config.hidden_size),
        )


def _first_position(config: Any) -> int:
    return int(config.pad_token_id) + 1 if config.model_type in _OFFSET_POSITIONS else 0


def tokenizer_and_length(settings: PretrainSettings) -> "tuple[PreTrainedTokenizerFast, int]":
    """The tokenizer of the model that a run begins with, and the tokens it takes, special ones included; no weights are read.

    Raises ModelFolderError where the folder cannot be used.
    """
    if settings.new_encoder is not None:
        tokenizer, length = _tokenizer(settings.model), settings.new_encoder.positions
    else:
        tokenizer, _ = load_tokenizer(settings.model)
        config = _checked_config(transformer_folder(settings.model))
        length = int(config.max_position_embeddings) - _first_position(config)
    return tokenizer, max(length, settings.max_positions or 0)


def language_model(settings: PretrainSettings) -> LanguageModel:
    """The model that a run begins with: settings.model, or a new one, with as many positions as are asked for.

    What is fresh is drawn from the seed alone. Raises ModelFolderError where the folder cannot be used.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((settings.seed << 8) + _INITIAL_STREAM)
        if settings.new_encoder is None:
            found = _of_folder(settings.model)
        else:
            found = _new(settings.model, settings.new_encoder)
    wanted = settings.max_positions
    if wanted is not None and wanted > found.max_length:
        extend_positions(found, wanted, settings.position_extension)
    return found


def _of_folder(path: str) -> LanguageModel:
    from transformers import AutoModelForMaskedLM
    from transformers.utils import logging as transformers_logging

    tokenizer, _ = load_tokenizer(path)  # checks the folder
    folder = transformer_folder(path)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # weights are checked below
    _checked_config(folder)
    check_weight_files(folder)
    model, loading = AutoModelForMaskedLM.from_pretrained(
        str(folder),
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    missing = sorted(loading.get("missing_keys", ()))
    if alien := [name for name in missing if not name.startswith(_HEADS)]:
        raise ModelFolderError(
            f"The weights in {folder} lack {len(alien)} tensors that config.json asks for (such as {alien[0]}): they would "
            f"be random numbers. The folder is damaged or its files do not belong together: fetch it again."
        )
    found = LanguageModel(model, tokenizer, had_head=not missing)
    _check_vocabulary(folder, found)
    return found


def _checked_config(folder: Path) -> Any:
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if config.model_type not in _SUPPORTED:
        raise ModelFolderError(
            f"{folder} is a model of type {config.model_type!r}. RetroMAE's decoder embeds a state at a position, which is "
            f"written for {', '.join(sorted(_SUPPORTED))}: choose one of those."
        )
    if getattr(config, "is_decoder", False):
        raise ModelFolderError(
            f"{folder} is a decoder (is_decoder in config.json); only encoders are pre-trained here."
        )
    return config


def _check_vocabulary(folder: Path, found: LanguageModel) -> None:
    rows, tokens = len(found.embeddings.word_embeddings.weight), len(found.tokenizer)
    if tokens > rows:
        raise ModelFolderError(
            f"The tokenizer in {folder} has {tokens} tokens, the weights only {rows} embeddings: they do not belong "
            f"together."
        )
    if found.tokenizer.mask_token_id is None:
        raise ModelFolderError(
            f"The tokenizer in {folder} has no mask token, which pre-training hides words with. Set mask_token in "
            f"tokenizer_config.json, or choose another model."
        )


def _new(path: str, shape: NewEncoder) -> LanguageModel:
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = _tokenizer(path)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner or 4 * shape.hidden,
        max_position_embeddings=shape.positions,
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=shape.dropout,
        pad_token_id=tokenizer.pad_token_id,
    )
    found = LanguageModel(BertForMaskedLM(config), tokenizer, had_head=False)
    _check_vocabulary(resolve_model_path(path), found)
    return found


def _tokenizer(path: str) -> "PreTrainedTokenizerFast":
    """Of a model folder, or of one with tokenizer files alone."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    folder = resolve_model_path(path)
    if (folder / "config.json").exists():
        return load_tokenizer(path)[0]
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelFolderError(
            f"{folder} holds no tokenizer that can be loaded ({error}). A new encoder needs tokenizer.json and "
            f"tokenizer_config.json there."
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or tokenizer.pad_token_id is None:
        raise ModelFolderError(f"The tokenizer in {folder} has no fast version or no pad_token: choose another.")
    return tokenizer


def extend_positions(found: LanguageModel, length: int, how: str) -> None:
    """Give the encoder position embeddings for texts of `length` tokens, special ones included, in place.

    "copy": position i gets what position i modulo the old number had; texts that fitted before are embedded as before.
    "interpolate": the old positions lie evenly over the new ones, and what is between is linear. RoBERTa's unused first
    positions stay. The config and the tokenizer's model_max_length follow.
    """
    table, first, before = found.embeddings.position_embeddings, found.first_position, found.max_length
    used = table.weight.detach()[first:]
    if how == "copy":
        more = used[torch.arange(length) % before]
    else:
        place = torch.arange(length, dtype=torch.float64) * ((before - 1) / (length - 1))
        low = place.long().clamp(max=before - 2)
        share = (place - low).to(used.dtype)[:, None]
        more = used[low] * (1 - share) + used[low + 1] * share
    longer = nn.Embedding(first + length, table.embedding_dim, padding_idx=table.padding_idx)
    longer.weight = nn.Parameter(torch.cat([table.weight.detach()[:first], more]))
    found.embeddings.position_embeddings = longer
    for name, buffer in (
        ("position_ids", torch.arange(first + length)[None]),
        ("token_type_ids", torch.zeros(1, first + length, dtype=torch.int64)),
    ):
        if hasattr(found.embeddings, name):
            found.embeddings.register_buffer(name, buffer, persistent=False)
    found.model.config.max_position_embeddings = first + length
    found.tokenizer.model_max_length = length
