"""The lexical and the multi-vector head of an M3 model (M3, section 3.2; the layout of BAAI/bge-m3).

In:  a model folder with sparse_linear.pt and colbert_linear.pt (or .safetensors) beside the weights of the encoder.
Out: from hidden states of texts end to end, `SparseVectors` and one unit vector a token.
"""

from dataclasses import dataclass
from pathlib import Path
from pickle import (
    UnpicklingError,
)  # what torch.load raises for a file that holds more than tensors; nothing is unpickled
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from trainer.backbone import ModelFolderError
from trainer.sparse_vectors import SparseVectors

if TYPE_CHECKING:
    import torch

Output = Literal["dense", "lexical", "multi_vector"]
FILE_OF_HEAD: Final[dict[Output, str]] = {"lexical": "sparse_linear", "multi_vector": "colbert_linear"}


@dataclass(frozen=True)
class Head:
    """One linear layer."""

    weight: "torch.Tensor"  # [D, H]
    bias: "torch.Tensor"  # [D]

    def __call__(self, hidden: "torch.Tensor") -> "torch.Tensor":
        import torch

        return torch.nn.functional.linear(hidden, self.weight, self.bias)


def available_outputs(folder: Path) -> frozenset[Output]:
    """What a model in this folder gives: always "dense", and the others where there is a file of their weights."""
    return frozenset({"dense", *(output for output in FILE_OF_HEAD if _head_file(folder, output) is not None)})


def read_head(folder: Path, output: Output, hidden_size: int) -> Head:
    """The head of one output, in fp32 on the CPU.

    Raises ModelFolderError where there is none, or its file holds something else than one linear layer of this size.
    """
    file = _head_file(folder, output)
    if file is None:
        raise ModelFolderError(
            f"{folder} gives no {output} vectors: it holds neither {FILE_OF_HEAD[output]}.safetensors nor {FILE_OF_HEAD[output]}.pt. "
            f"Choose an M3 model such as BAAI/bge-m3, or leave {output} out."
        )
    tensors = _read_tensors(file)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    rows = 1 if output == "lexical" else shapes.get("weight", (0,))[0]
    if shapes != {"weight": (rows, hidden_size), "bias": (rows,)} or rows == 0:
        wanted = f"weight [{'1' if output == 'lexical' else 'D'}, {hidden_size}] and bias"
        raise ModelFolderError(
            f"{file} should hold {wanted} of one linear layer, found {shapes}. Its files do not belong together: fetch "
            f"the model again."
        )
    return Head(tensors["weight"].float(), tensors["bias"].float())


def special_tokens(tokenizer: Any) -> npt.NDArray[np.int32]:
    """The tokens that are no part of lexical vectors: cls, eos (sep where there is no eos), pad and unk, as far as there are.

    FlagEmbedding leaves out cls, eos, pad and unk and fails with tokenizers that lack one of them.
    """
    end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    ids = (tokenizer.cls_token_id, end, tokenizer.pad_token_id, tokenizer.unk_token_id)
    return np.array(sorted({each for each in ids if each is not None}), np.int32)


def lexical_vectors(
    head: Head,
    hidden: "torch.Tensor",
    ids: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    left_out: npt.NDArray[np.int32],
) -> SparseVectors:
    """The lexical vectors of n texts from their hidden states [t, H] and token ids [t] end to end; lengths [n]."""
    weights = head(hidden).squeeze(-1).float().relu().cpu().numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return SparseVectors.largest_of_each_token(ids.astype(np.int32), offsets, weights, left_out)


def token_vectors(head: Head, hidden: "torch.Tensor", lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
    """One unit vector float16 [t - n, D] for each token but the first of each of n texts; hidden [t, H], lengths [n]."""
    import torch

    kept = np.ones(len(hidden), np.bool_)
    kept[np.cumsum(lengths) - lengths] = False
    projected = head(hidden[torch.from_numpy(np.flatnonzero(kept)).to(hidden.device)]).float()
    vectors: npt.NDArray[np.float16] = torch.nn.functional.normalize(projected, dim=-1).half().cpu().numpy()
    return vectors


def _head_file(folder: Path, output: Output) -> Path | None:
    files = (
        (folder / f"{FILE_OF_HEAD[output]}{ending}" for ending in (".safetensors", ".pt"))
        if output in FILE_OF_HEAD
        else ()
    )
    return next((file for file in files if file.is_file()), None)


def _read_tensors(file: Path) -> "dict[str, torch.Tensor]":
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        # weights_only: a pickle that holds anything but tensors is refused instead of run.
        found = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, UnpicklingError) as error:
        raise ModelFolderError(
            f"{file} cannot be read as plain tensors ({type(error).__name__}: {str(error).partition(chr(10))[0]}). Fetch it again, or save it as "
            f"safetensors on a machine you trust the file on."
        ) from None
    if not (isinstance(found, dict) and all(isinstance(each, torch.Tensor) for each in found.values())):
        raise ModelFolderError(f"{file} should hold the weight and bias of one linear layer. Fetch the model again.")
    return found
