"""A pretrained text encoder read from a local folder: weights, tokenizer, pooling, prompts.

In:  a Hugging Face folder (config.json, *.safetensors, tokenizer.json), with or without the sentence-transformers files
     beside it (modules.json, 1_Pooling/config.json, 2_Normalize, sentence_bert_config.json,
     config_sentence_transformers.json), which are read here without importing sentence_transformers.
Out: a `Backbone`; `pool` turns its hidden states into embeddings.

Never reached: the network, pickled weights, code that comes with a model.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sources.packaged import resolve_package_path
from trainer.cpu_features import cpu_flags, has_amx

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from trainer.m3_heads import Output

log = logging.getLogger(__name__)

Pooling = Literal["cls", "mean", "last"]
Role = Literal["query", "passage"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
EncodingPrecision = Literal[Precision, "int16"]  # of a forward without training

_SENTENCE_TRANSFORMERS_POOLING: Final[dict[str, Pooling]] = {"cls": "cls", "mean": "mean", "lasttoken": "last"}
_LEGACY_POOLING_KEYS: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
# Names a prompt may have for each role, in the order sentence-transformers tries them (encode_query, encode_document).
_PROMPT_NAMES: Final[dict[Role, tuple[str, ...]]] = {"query": ("query",), "passage": ("document", "passage", "corpus")}
# Position ids of these start at pad_token_id + 1, so that many of their position embeddings hold no token.
_OFFSET_POSITIONS: Final = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "data2vec-text"}
)
_SANE_LENGTH: Final = 1_000_000  # transformers writes 1e30 for "no limit"
_DEFAULT_LENGTH: Final = 512
# The files of a model folder (and of the folders its modules.json names) that decide its embeddings.
_FINGERPRINTED: Final = (
    "config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
    "*.safetensors",
    "colbert_linear.pt",
    "sparse_linear.pt",
)
_WEIGHTS: Final = (".safetensors", ".pt")
_HEADS: Final = ("colbert_linear", "sparse_linear")  # of M3 models; trainer/m3_heads.py reads them


class ModelFolderError(ValueError):
    """A model folder cannot be used. The message names the folder, what is wrong and the remedy."""


@dataclass(frozen=True)
class Backbone:
    """A loaded encoder and what turns texts into its embeddings."""

    model: "PreTrainedModel"  # AutoModel, eval mode, fp32, on the CPU
    tokenizer: "PreTrainedTokenizerFast"
    pooling: Pooling
    normalise: bool  # embeddings are divided by their L2 norm
    prompts: dict[Role, str]  # text put before every query or passage; "" for none
    max_length: int  # tokens, special ones included
    hidden_size: int
    heads: "Mapping[Output, torch.nn.Linear]" = field(default_factory=dict)  # linear layers of M3's further outputs


def load_backbone(path: str, *, pooling: Pooling | None = None, normalise: bool | None = None) -> Backbone:
    """The encoder in the folder `path` (or `package://PACKAGE/folder`), in fp32 on the CPU, in eval mode.

    `pooling` and `normalise` override what the folder says; a folder without sentence-transformers files says
    nothing, and gets BGE's: the [CLS] state, normalised (FlagEmbedding README).

    Raises ModelFolderError where the folder is missing or incomplete, holds only pickled weights, wants code of its
    own, lacks weights, or pools in a way not supported here.
    """
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    folder = resolve_model_path(path)
    layout = _read_layout(folder)
    config = _checked_config(layout.transformer)
    check_weight_files(layout.transformer)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # weights are checked below
    tokenizer = _load_tokenizer(layout.transformer)
    if layout.lower_case:
        _lower_case(tokenizer)

    import torch

    model, loading = AutoModel.from_pretrained(
        str(layout.transformer),
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    _check_weights(layout.transformer, loading, len(tokenizer), model)
    return Backbone(
        model=model.eval(),
        tokenizer=tokenizer,
        pooling=pooling or layout.pooling,
        normalise=layout.normalise if normalise is None else normalise,
        prompts=layout.prompts,
        max_length=_max_length(layout.max_seq_length, tokenizer, config),
        hidden_size=int(model.config.hidden_size),
    )


def load_tokenizer(path: str, *, embeds: bool = True) -> "tuple[PreTrainedTokenizerFast, int]":
    """The tokenizer of the model folder `path` and the most tokens its model takes; no weights are read.

    `embeds` False: a model that gives no embedding, a cross-encoder say; its modules.json needs to name no pooling.

    Raises ModelFolderError as load_backbone does.
    """
    layout = _read_layout(resolve_model_path(path), embeds=embeds)
    config = _checked_config(layout.transformer)
    tokenizer = _load_tokenizer(layout.transformer)
    if layout.lower_case:
        _lower_case(tokenizer)
    return tokenizer, _max_length(layout.max_seq_length, tokenizer, config)


def transformer_folder(path: str) -> Path:
    """Where the config.json and weights of the model folder `path` lie: a sentence-transformers folder may keep them in
    a folder inside. Raises ModelFolderError as load_backbone does."""
    return _read_layout(resolve_model_path(path)).transformer


def resolve_model_path(path: str) -> Path:
    """The local folder that `path` names: a folder, or `package://PACKAGE/sub/folder` in an installed Python package.

    The package is found, not imported. Raises ModelFolderError where there is no such folder.
    """
    try:
        folder = Path(resolve_package_path(path)).expanduser()
    except ValueError as error:
        raise ModelFolderError(str(error)) from None
    if not folder.is_dir():
        raise ModelFolderError(
            f"There is no model folder {path!r}. Give a local folder that holds config.json, *.safetensors and the "
            f"tokenizer files; pairmill downloads nothing, so fetch the model first, for instance with "
            f"`hf download NAME --local-dir FOLDER`."
        )
    return folder.resolve()


@dataclass(frozen=True)
class _Layout:
    """What the sentence-transformers files of a folder say; BGE's habits where there are none."""

    transformer: Path  # where config.json, the weights and the tokenizer are
    pooling: Pooling
    normalise: bool
    prompts: dict[Role, str]
    max_seq_length: int | None
    lower_case: bool


def _read_layout(folder: Path, *, embeds: bool = True) -> _Layout:
    prompts = _prompts(folder)
    modules_file = folder / "modules.json"
    if not modules_file.exists():
        return _Layout(folder, "cls", True, prompts, *_transformer_settings(folder))
    paths: dict[str, Path] = {}
    for kind, path in _modules(folder):
        name = kind.rpartition(".")[2]
        if name not in ("Transformer", "Pooling", "Normalize"):
            raise ModelFolderError(
                f"{modules_file} has a module {kind!r}. Only Transformer, Pooling and Normalize are supported: choose "
                f"a model made of those."
            )
        paths[name] = path
    if "Transformer" not in paths or (embeds and "Pooling" not in paths):
        raise ModelFolderError(
            f"{modules_file} names no Transformer or no Pooling module; an embedding model has both."
        )
    pooling = _pooling(paths["Pooling"] / "config.json", prompts) if embeds else "cls"
    transformer = paths["Transformer"]
    return _Layout(transformer, pooling, "Normalize" in paths, prompts, *_transformer_settings(transformer))


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """Type and folder of each module that the modules.json of `folder` (a resolved path) names; none without it."""
    file = folder / "modules.json"
    modules = []
    for module in _read_json(file, list) if file.exists() else ():
        if not isinstance(module, dict):
            raise ModelFolderError(f"{file}: every module must be a JSON object, found {module!r}. Correct the file.")
        path = (folder / str(module.get("path", ""))).resolve()
        if not path.is_relative_to(folder):
            raise ModelFolderError(
                f"{file} names the module path {module['path']!r}, which leads out of the model folder. A model's files "
                f"all lie in its folder: fetch the model again, or correct the path."
            )
        modules.append((str(module.get("type", "")), path))
    return modules


def _prompts(folder: Path) -> dict[Role, str]:
    file = folder / "config_sentence_transformers.json"
    config = _read_json(file, dict) if file.exists() else {}
    named = config.get("prompts") or {}
    if not all(isinstance(prompt, str) for prompt in named.values()):
        raise ModelFolderError(f"{file}: every prompt must be a string, found {named!r}. Correct the file.")
    default = named.get(config.get("default_prompt_name"), "")
    return {
        role: next((named[name] for name in names if name in named), default) for role, names in _PROMPT_NAMES.items()
    }


def _transformer_settings(folder: Path) -> tuple[int | None, bool]:
    file = folder / "sentence_bert_config.json"
    config = _read_json(file, dict) if file.exists() else {}
    return config.get("max_seq_length"), bool(config.get("do_lower_case"))


def _pooling(file: Path, prompts: dict[Role, str]) -> Pooling:
    config = _read_json(file, dict)
    modes = (
        config.get("pooling_mode") or [mode for key, mode in _LEGACY_POOLING_KEYS.items() if config.get(key)] or "mean"
    )
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in _SENTENCE_TRANSFORMERS_POOLING:
        raise ModelFolderError(
            f"{file} asks for pooling {' + '.join(map(str, modes))!r}. Supported: one of cls, mean, "
            f"lasttoken. Choose another model."
        )
    if not config.get("include_prompt", True) and any(prompts.values()):
        raise ModelFolderError(
            f"{file} leaves the prompt out of pooling (include_prompt false), which is not supported. Choose another "
            f"model, or remove the prompts from config_sentence_transformers.json."
        )
    return _SENTENCE_TRANSFORMERS_POOLING[modes[0]]


def _read_json(file: Path, kind: type) -> Any:
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelFolderError(f"{file} is missing; the model folder is incomplete. Fetch it again.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelFolderError(f"{file} is not JSON ({error}). Fetch the model again.") from error
    if not isinstance(content, kind):
        raise ModelFolderError(f"{file} should hold a JSON {kind.__name__}, found {type(content).__name__}.")
    return content


def _checked_config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").exists():
        raise ModelFolderError(f"{folder} holds no config.json: it is not the folder of a Hugging Face model.")
    config: dict[str, Any] = _read_json(folder / "config.json", dict)
    if config.get("auto_map") or _tokenizer_config(folder).get("auto_map"):
        raise ModelFolderError(
            f"The model in {folder} wants to run Python code that comes with it (auto_map), which pairmill never does. "
            f"Choose a model of an architecture that transformers itself knows."
        )
    if config.get("is_encoder_decoder"):
        raise ModelFolderError(
            f"The model in {folder} is an encoder with a decoder; only encoders give text embeddings here."
        )
    if all(file.stem in _HEADS for file in folder.glob("*.safetensors")):
        pickles = (*folder.glob("*.bin"), *folder.glob("*.pt"))
        pickled = sorted(file.name for file in pickles if file.stem not in _HEADS)
        raise ModelFolderError(
            f"{folder} holds no *.safetensors weights"
            + (f", only {', '.join(pickled)}, which is a pickle and can run code when loaded" if pickled else "")
            + ". Convert the weights once, on a machine you trust the file on: "
            "AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER) with transformers 5 writes model.safetensors."
        )
    return config


def check_weight_files(folder: Path) -> None:
    """Raises ModelFolderError where a *.safetensors file is none, such as a pickle under its name; reads headers only."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(str(file), "np"):
                continue
        except (SafetensorError, OSError) as error:
            raise ModelFolderError(
                f"{file} is no safetensors file ({error}). Fetch it again, or convert the weights on a machine you trust the file on."
            ) from None


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    file = folder / "tokenizer_config.json"
    config: dict[str, Any] = _read_json(file, dict) if file.exists() else {}
    return config


def _load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_fast=True
        )
    except (OSError, ValueError) as error:
        raise ModelFolderError(
            f"{folder} holds no tokenizer that can be loaded ({error}). Save one beside the weights: "
            f"tokenizer.json and tokenizer_config.json."
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelFolderError(
            f"The tokenizer in {folder} has no fast version. Save it once with transformers as tokenizer.json and "
            f"use that."
        )
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ModelFolderError(f"The tokenizer in {folder} names no pad_token: set one in tokenizer_config.json.")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _lower_case(tokenizer: "PreTrainedTokenizerFast") -> None:
    """Put lower-casing before the tokenizer's own normaliser, as sentence-transformers does for do_lower_case."""
    from tokenizers.normalizers import Lowercase, Sequence

    backend = tokenizer.backend_tokenizer
    backend.normalizer = Sequence([Lowercase(), *([backend.normalizer] if backend.normalizer else [])])


def _check_weights(folder: Path, loading: dict[str, Any], vocabulary: int, model: "PreTrainedModel") -> None:
    # A pooler is not used here, and checkpoints of masked language models lack one: it would be random numbers, other ones
    # in every export.
    absent = loading.get("missing_keys", ())
    if any(name.startswith("pooler.") for name in absent):
        model.pooler = None  # type: ignore[assignment]
    missing = sorted(name for name in absent if not name.startswith("pooler."))
    if missing:
        raise ModelFolderError(
            f"The weights in {folder} lack {len(missing)} tensors that config.json asks for (such as {missing[0]}): "
            f"they would be random numbers. The folder is damaged or its files do not belong together: fetch it again."
        )
    embeddings: Any = model.get_input_embeddings()
    rows = int(embeddings.weight.shape[0])
    if vocabulary > rows:
        raise ModelFolderError(
            f"The tokenizer in {folder} has {vocabulary} tokens, the weights only {rows} embeddings: they do not "
            f"belong together."
        )


def _max_length(max_seq_length: int | None, tokenizer: "PreTrainedTokenizerFast", config: dict[str, Any]) -> int:
    positions = config.get("max_position_embeddings")
    if positions and config.get("model_type") in _OFFSET_POSITIONS:
        positions -= int(config.get("pad_token_id") or 1) + 1
    limits = [
        limit for limit in (max_seq_length, tokenizer.model_max_length, positions) if limit and 0 < limit < _SANE_LENGTH
    ]
    return int(min(limits, default=_DEFAULT_LENGTH))


def pool(hidden: "torch.Tensor", attention_mask: "torch.Tensor", pooling: Pooling, normalise: bool) -> "torch.Tensor":
    """One embedding a text: float32 [B, D] (float64 where they are) from hidden states [B, L, D] and their mask [B, L]
    (1 token, 0 padding).

    "cls" takes the first token, "last" the last one, on whichever side the padding is; "mean" averages the tokens.
    Raises ModelFolderError for another `pooling`.
    """
    import torch

    exact = torch.float64 if hidden.dtype is torch.float64 else torch.float32
    if pooling == "mean":
        weights = attention_mask.to(exact).unsqueeze(-1)
        pooled = (hidden.to(exact) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
    elif pooling in ("cls", "last"):
        mask = attention_mask.to(torch.int32)
        if pooling == "last":
            mask = mask * torch.arange(1, mask.shape[1] + 1, device=mask.device, dtype=torch.int32)
        rows = torch.arange(hidden.shape[0], device=hidden.device)
        pooled = hidden[rows, mask.argmax(dim=1)].to(exact)
    else:
        raise ModelFolderError(f"There is no pooling {pooling!r}: choose cls, mean or last.")
    return torch.nn.functional.normalize(pooled, dim=-1) if normalise else pooled


def pool_unpadded(
    hidden: "torch.Tensor", lengths: npt.NDArray[np.int64], pooling: Pooling, normalise: bool
) -> "torch.Tensor":
    """`pool` for n texts whose hidden states [t, H] lie end to end: float32 [n, H]; lengths [n] >= 1, in tokens.

    Raises ModelFolderError for another `pooling`.
    """
    import torch

    if pooling == "mean":
        pooled = torch.segment_reduce(hidden.float(), "mean", lengths=torch.from_numpy(lengths).to(hidden.device))
    elif pooling in ("cls", "last"):
        ends = np.cumsum(lengths)
        places = ends - 1 if pooling == "last" else ends - lengths
        pooled = hidden[torch.from_numpy(places).to(hidden.device)].float()
    else:
        raise ModelFolderError(f"There is no pooling {pooling!r}: choose cls, mean or last.")
    return torch.nn.functional.normalize(pooled, dim=-1) if normalise else pooled


def tokenizer_fingerprint(tokenizer: "PreTrainedTokenizerFast") -> str:
    """sha256 (hex) of the tokenizer.json of `tokenizer`, written canonically.

    Truncation and padding are left out: every call sets them anew, and they do not change what a token id means.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content.pop("truncation", None)
    content.pop("padding", None)
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def model_fingerprint(path: str, *, weights: bool = True) -> str:
    """sha256 (hex) over the names and sha256 of all files of a model folder that decide its embeddings; without
    `weights`, of those that decide its token ids and lengths.

    Raises ModelFolderError where there is no such folder, none of those files in it, or modules.json leads out of it.
    """
    folder = resolve_model_path(path)
    folders = {folder, *(module_folder for _, module_folder in _modules(folder))}
    names = [name for name in _FINGERPRINTED if weights or not name.endswith(_WEIGHTS)]
    files = sorted({file for each in folders for name in names for file in each.glob(name) if file.is_file()})
    if not files:
        raise ModelFolderError(f"{folder} holds no model: neither config.json nor weights nor a tokenizer.")
    digest = hashlib.sha256()
    for file in files:
        content = _content(file, _state(file))
        digest.update(f"{file.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _state(file: Path) -> tuple[int, ...]:
    found = file.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=256)
def _content(file: Path, state: tuple[int, ...]) -> str:
    """sha256 (hex) of a file, kept by its state: several jobs of one recipe ask for the same gigabytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def choose_device_and_dtype(
    device: str = "auto", precision: str = "auto", *, integers: bool = False
) -> "tuple[torch.device, torch.dtype]":
    """Where to compute and in what type: a GPU where there is one, and the fastest type that hardware has.

    `device` is "auto", "cpu", "cuda" or "cuda:N". `precision` "auto" is bf16 on GPUs that have it and fp16 on
    older ones; on the CPU bf16 where AMX or AVX512-BF16 computes it, else fp32 (emulated bf16 is slower than
    fp32). `integers`: the caller can compute linear layers and attention with trainer.integer_products, which are then
    int16 where asked for, and for "auto" where that beats fp32 and there is no AMX. Raises ModelFolderError for a value that
    is not known or that the machine or the caller cannot do.
    """
    import torch

    chosen = _device(device)
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int16": torch.int16}
    if precision not in ("auto", *dtypes):
        raise ModelFolderError(f"There is no precision {precision!r}: choose auto, fp32, bf16, fp16 or int16.")
    if precision == "int16":
        _check_integers(chosen, integers)
    if chosen.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = (torch.bfloat16 if has_bf16 else torch.float16) if precision == "auto" else dtypes[precision]
        if dtype is torch.bfloat16 and not has_bf16:
            raise ModelFolderError("precision bf16: this GPU does not compute it. Choose precision fp16 or fp32.")
    else:
        dtype = _fastest_of_cpu(integers) if precision == "auto" else dtypes[precision]
        if dtype is torch.float16:
            raise ModelFolderError("precision fp16 needs a GPU. Choose precision auto, fp32 or bf16.")
    _tell_once(f"computing on {chosen} in {str(dtype).removeprefix('torch.')} ({_reason(chosen, dtype, precision)})")
    return chosen, dtype


def _check_integers(device: "torch.device", integers: bool) -> None:
    from trainer.integer_products import can_multiply_integers

    if not integers:
        raise ModelFolderError(
            "precision int16 is for encoding with models of the kinds BERT, RoBERTa, XLM-RoBERTa and CamemBERT (with GELU and "
            "absolute positions), and for nothing else. Choose precision fp32."
        )
    if device.type != "cpu" or not can_multiply_integers():
        raise ModelFolderError(
            f"precision int16 was asked for on {device}: it needs a CPU with AVX2. Choose precision auto or fp32."
        )


def _fastest_of_cpu(integers: bool) -> "torch.dtype":
    import torch

    from trainer.integer_products import integers_are_faster

    if integers and integers_are_faster() and not has_amx():  # without tiles bf16 is no faster, and less exact
        return torch.int16
    return torch.bfloat16 if cpu_computes_bf16() else torch.float32


@cache
def _tell_once(message: str) -> None:
    log.info(message)


def _reason(device: "torch.device", dtype: "torch.dtype", precision: str) -> str:
    import torch

    if precision != "auto":
        return f"precision: {precision}"
    if device.type == "cuda":
        return "precision auto: the fastest type of this GPU"
    if dtype is torch.int16:
        return "precision auto: without AMX products of numbers rounded to int16 are fastest"
    return f"precision auto: this CPU {'multiplies' if cpu_computes_bf16() else 'does not multiply'} bf16 in hardware"


def describe_device() -> str:
    """What `choose_device_and_dtype` chooses here by itself, in words for a user."""
    import torch

    device, dtype = choose_device_and_dtype(integers=True)
    number = str(dtype).removeprefix("torch.")
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        return f"encoder on {torch.cuda.get_device_name(device)} ({device}, {memory:.0f} GiB) in {number}"
    other = ""
    if dtype is torch.int16:
        of_others = str(choose_device_and_dtype()[1]).removeprefix("torch.")
        other = f", {of_others} for other models than BERT and RoBERTa"
    return f"encoder on the CPU ({torch.get_num_threads()} threads) in {number}{other}"


def cpu_computes_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware, by AMX or AVX512-BF16, and torch has oneDNN to use it."""
    import torch

    return bool(cpu_flags() & {"amx_bf16", "avx512_bf16"}) and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _device(name: str) -> "torch.device":
    import torch

    if name == "cpu":
        return torch.device("cpu")
    if name == "auto" and not torch.cuda.is_available():
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if name != "auto" and (kind != "cuda" or (":" in name and not index.isdigit())):
        raise ModelFolderError(f"There is no device {name!r}: choose auto, cpu, cuda or cuda:N.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    number = int(index) if index else (torch.cuda.current_device() if count else 0)
    if number >= count:
        raise ModelFolderError(
            f"device {name!r} was asked for, but this machine shows {count} CUDA GPUs. Choose auto or cpu."
        )
    return torch.device("cuda", number)
