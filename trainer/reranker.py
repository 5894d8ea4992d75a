"""The relevance of (query, passage) pairs by a cross-encoder: a model that reads both texts together.

In:  any Hugging Face sequence-classification folder with one or two classes (config.json, *.safetensors, tokenizer): bge-reranker,
     ms-marco-MiniLM and what sentence-transformers' CrossEncoder trains are such.
Out: float32 [n], 0 to 1, in the order of the pairs: the sigmoid of one logit, or the probability of the second of two classes.

Pairs are tokenised ahead in a thread, sorted by length inside windows, and cut into batches of a fixed number of padded tokens,
as trainer/encoder.py does. Never reached: the network, pickled weights, code that comes with a model.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainer.backbone import (
    ModelFolderError,
    Precision,
    check_weight_files,
    choose_device_and_dtype,
    load_tokenizer,
    model_fingerprint,
    resolve_model_path,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)

WINDOW: Final = 4096  # pairs that are tokenised and sorted by length together
CPU_TOKENS_PER_BATCH: Final = 4096
GPU_TOKENS_PER_BATCH: Final = 131_072


class CrossEncoderError(ValueError):
    """A pair cannot be scored. The message names its row and what to do."""


class CrossEncoderSettings(BaseModel):
    """Which cross-encoder, and how it is run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="local folder of a sequence-classification model, or package://PACKAGE/folder")
    max_length: int = Field(
        512,
        ge=8,
        description="tokens of query and passage together, as FlagEmbedding's rerankers; cut to what the model takes",
    )
    query_template: str = Field("{text}", description="what the model reads for a query; {text} is the query")
    passage_template: str = Field("{text}", description="what the model reads for a passage; {text} is the passage")
    tokens_per_batch: int | None = Field(None, ge=1, description="padded tokens a forward; default by device")
    precision: Precision = Field("auto", description="auto, fp32, bf16 or fp16")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")

    @field_validator("query_template", "passage_template")
    @classmethod
    def _holds_the_text(cls, template: str) -> str:
        if template.count("{text}") != 1:
            raise ValueError("write {text} once, where the text goes")
        return template


@dataclass(frozen=True)
class _PairTokens:
    """The token ids of one window of pairs, end to end."""

    ids: npt.NDArray[np.int32]  # [total]
    types: npt.NDArray[np.int32]  # [total]: 0 the query, 1 the passage, as the tokenizer marks them
    offsets: npt.NDArray[np.int64]  # [n + 1]
    truncated: int

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)


def _nobody_watches(scored: int) -> None:
    """The default of `on_batch`."""


class CrossEncoder:
    """A loaded cross-encoder; a `trainer.judge.Judge`.

    `truncated` counts the pairs so far that were longer than max_length, `scored` all pairs.
    """

    def __init__(self, settings: CrossEncoderSettings) -> None:
        """Load the model and move it to its device. Raises ModelFolderError where folder or device will not do."""
        self.settings = settings
        folder = resolve_model_path(settings.model)
        _check_folder(folder)
        self._tokenizer, longest = load_tokenizer(str(folder), embeds=False)
        self.max_length = min(settings.max_length, longest)
        self.device, self.dtype = choose_device_and_dtype(settings.device, settings.precision)
        model: Any = _load_classifier(folder, self._tokenizer)
        self._classes = int(model.config.num_labels)
        self._model = model.to(device=self.device, dtype=self.dtype)
        self._reads_types = "token_type_ids" in self._tokenizer.model_input_names
        default = CPU_TOKENS_PER_BATCH if self.device.type == "cpu" else GPU_TOKENS_PER_BATCH
        self._tokens_per_batch = settings.tokens_per_batch or default
        self._fingerprint = model_fingerprint(str(folder))
        self.truncated = 0
        self.scored = 0

    @property
    def name(self) -> str:
        """The model's folder name and weights, its lengths, its templates and the computing type."""
        decides = [self.max_length, self.settings.query_template, self.settings.passage_template, str(self.dtype)]
        return f"cross_encoder {Path(self.settings.model).name} {self._fingerprint} {json.dumps(decides, ensure_ascii=False)}"

    def score(
        self,
        queries: pa.Array | Sequence[str],
        passages: pa.Array | Sequence[str],
        on_batch: Callable[[int], None] = _nobody_watches,
    ) -> npt.NDArray[np.float32]:
        """Relevance float32 [n], 0 to 1, of `passages` [n] for `queries` [n]. The same pairs in one call give the same bytes.

        Of pairs longer than max_length the longer text is cut, token by token, as the tokenizer's "longest_first" does.
        `on_batch` gets the number of pairs done so far. Raises CrossEncoderError for a null, texts that are not as many, and
        a score that is not finite.
        """
        if len(queries) != len(passages):
            raise CrossEncoderError(f"{len(queries)} queries cannot be paired with {len(passages)} passages.")
        scores = np.empty(len(queries), np.float32)
        start = 0
        for tokens in self._tokenised_windows(queries, passages):
            count = len(tokens.lengths)
            scores[start : start + count] = self._score_window(tokens, start, on_batch)
            start += count
            self.truncated += tokens.truncated
        self.scored += len(scores)
        return scores

    def _tokenised_windows(
        self, queries: pa.Array | Sequence[str], passages: pa.Array | Sequence[str]
    ) -> Iterator[_PairTokens]:
        """The windows in order; the next one is tokenised while the caller works on this one."""
        starts = range(0, len(queries), WINDOW)
        with ThreadPoolExecutor(1, "tokenise") as thread:
            pending = [thread.submit(self._tokenise, queries, passages, start) for start in starts[:1]]
            for following in (*starts[1:], None):
                tokens = pending.pop().result() if pending else None
                if following is not None:
                    pending.append(thread.submit(self._tokenise, queries, passages, following))
                if tokens is not None:
                    yield tokens

    def _tokenise(
        self, queries: pa.Array | Sequence[str], passages: pa.Array | Sequence[str], start: int
    ) -> _PairTokens:
        sides = [
            _strings(texts, start, side, template)
            for texts, side, template in (
                (queries, "query", self.settings.query_template),
                (passages, "passage", self.settings.passage_template),
            )
        ]
        backend = self._tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(self.max_length, strategy="longest_first", direction=self._tokenizer.truncation_side)
        encodings = backend.encode_batch_fast(list(zip(*sides, strict=True)))
        offsets = np.zeros(len(encodings) + 1, np.int64)
        np.cumsum([len(encoding) for encoding in encodings], out=offsets[1:])
        ids, types = (
            np.concatenate([np.array(getattr(encoding, name), np.int32) for encoding in encodings])
            for name in ("ids", "type_ids")
        )
        return _PairTokens(ids, types, offsets, sum(bool(encoding.overflowing) for encoding in encodings))

    def _score_window(
        self, tokens: _PairTokens, first_row: int, on_batch: Callable[[int], None]
    ) -> npt.NDArray[np.float32]:
        """Scores [n] of one window, in its order; `first_row` is the number of pairs before it."""
        import torch

        lengths = tokens.lengths
        order = np.argsort(-lengths, kind="stable")  # longest first: a batch too large for the memory fails at once
        scores = np.empty(len(order), np.float32)
        start = 0
        with torch.inference_mode():
            while start < len(order):
                longest = max(1, int(lengths[order[start]]))
                rows = order[start : start + max(1, self._tokens_per_batch // longest)]
                try:
                    logits = self._logits(tokens, rows)
                except torch.cuda.OutOfMemoryError:
                    self._take_smaller_batches(len(rows), longest)
                    continue
                scores[rows] = _probabilities(logits, self._classes)
                start += len(rows)
                on_batch(first_row + start)
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise CrossEncoderError(
                f"The score of pair {first_row + int(bad[0])} is not finite, as are {len(bad) - 1} more of its window. The "
                f"model {self.settings.model} overflows in {self.dtype}: use precision fp32."
            )
        return scores

    def _take_smaller_batches(self, rows: int, longest: int) -> None:
        """After the memory of the GPU ran out: half as many tokens a batch from now on."""
        import torch

        if rows == 1:
            raise CrossEncoderError(
                f"A single pair of {longest} tokens does not fit into the memory of {self.device}. Lower max_length, or "
                "choose device cpu."
            )
        self._tokens_per_batch = max(longest, rows * longest // 2)
        torch.cuda.empty_cache()
        log.warning("The memory of %s ran out: going on with %d tokens a batch.", self.device, self._tokens_per_batch)

    def _logits(self, tokens: _PairTokens, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """float32 [len(rows), classes]. Padding is on the right: every position scheme allows it."""
        import torch

        lengths = tokens.lengths[rows]
        mask = np.arange(max(1, int(lengths.max()))) < lengths[:, None]
        spans = [slice(tokens.offsets[row], tokens.offsets[row + 1]) for row in rows]
        inputs = {"input_ids": np.full(mask.shape, self._tokenizer.pad_token_id, np.int64)}
        inputs["input_ids"][mask] = np.concatenate([tokens.ids[span] for span in spans])
        inputs["attention_mask"] = mask.astype(np.int64)
        if self._reads_types:
            inputs["token_type_ids"] = np.zeros(mask.shape, np.int64)
            inputs["token_type_ids"][mask] = np.concatenate([tokens.types[span] for span in spans])
        tensors = {name: torch.from_numpy(array).to(self.device) for name, array in inputs.items()}
        logits: npt.NDArray[np.float32] = self._model(**tensors).logits.float().cpu().numpy()
        return logits


def _strings(texts: pa.Array | Sequence[str], start: int, side: str, template: str) -> list[str]:
    window = texts[start : start + WINDOW]
    strings = window.to_pylist() if isinstance(window, pa.Array | pa.ChunkedArray) else list(window)
    if None in strings:
        raise CrossEncoderError(f"Pair {start + strings.index(None)} has no {side} (null). Leave such pairs out.")
    if template == "{text}":
        return strings
    before, after = template.split("{text}")
    return [before + text + after for text in strings]


def _probabilities(logits: npt.NDArray[np.float32], classes: int) -> npt.NDArray[np.float32]:
    """[n]: the sigmoid of one logit; of two, which is the sigmoid of their difference, the softmax of the second."""
    wide = logits.astype(np.float64)
    margin = wide[:, 0] if classes == 1 else wide[:, 1] - wide[:, 0]
    small = np.exp(-np.abs(margin))  # never overflows
    found: npt.NDArray[np.float32] = (np.where(margin < 0, small, 1.0) / (1.0 + small)).astype(np.float32)
    return found


def _check_folder(folder: Path) -> None:
    """Refuse what is no cross-encoder, with what to do; load_tokenizer checks the rest."""
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(file.name for file in (*folder.glob("*.bin"), *folder.glob("*.pt")))
        raise ModelFolderError(
            f"{folder} holds no *.safetensors weights"
            + (f", only {', '.join(pickled)}, which is a pickle and can run code when loaded" if pickled else "")
            + ". Convert the weights once, on a machine you trust the file on: "
            "AutoModelForSequenceClassification.from_pretrained(FOLDER).save_pretrained(FOLDER) with transformers 5 writes "
            "model.safetensors."
        )


def _load_classifier(folder: Path, tokenizer: "PreTrainedTokenizerFast") -> "torch.nn.Module":
    """The model in eval mode, in fp32 on the CPU. Raises ModelFolderError."""
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # weights are checked below
    check_weight_files(folder)
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            str(folder),
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (ValueError, OSError) as error:
        raise ModelFolderError(
            f"{folder} holds no sequence-classification model that transformers can load ({' '.join(str(error).split())[:300]}). "
            "Choose a reranker of that kind, such as bge-reranker-v2-m3; those that generate a word are asked as an LLM instead."
        ) from None
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise ModelFolderError(
            f"The weights in {folder} lack {', '.join(missing[:4])}: the head that scores a pair would be random numbers. It is "
            "an encoder, not a cross-encoder: choose a model that was trained to score pairs."
        )
    if model.config.num_labels not in (1, 2):
        raise ModelFolderError(
            f"The model in {folder} has {model.config.num_labels} classes; a judge has one (relevance) or two (no, yes)."
        )
    model.config.pad_token_id = tokenizer.pad_token_id  # models that read the last token find it by the padding
    classifier: torch.nn.Module = model.eval()
    return classifier
