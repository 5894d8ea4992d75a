"""safetensors files written tensor by tensor, so that not all of them have to be in memory at once.

In:  the names, shapes and dtypes of a file's tensors, and the tensors one after another.
Out: a file as safetensors' own `save_file` writes it and its readers read it (https://github.com/huggingface/safetensors,
"Format": the header's length in 8 bytes, the header as JSON, the tensors' bytes).
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

_ALIGNED_TO: Final = 8  # bytes


def in_order_of_file(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """The same by falling size of an element, then by name: so each begins at a multiple of its element's size."""
    return dict(sorted(tensors.items(), key=lambda named: (-named[1].element_size(), named[0])))


def write_tensors(file: Path, tensors: "Mapping[str, torch.Tensor]", contents: "Iterator[torch.Tensor]") -> None:
    """Write `file`; of `tensors`, in `in_order_of_file`, only shapes and dtypes are read. As many of `contents`, on the CPU, follow.

    Raises OSError where the disk does not take it, TypeError for a tensor of a type that weights do not have (complex numbers).
    """
    import torch

    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _name_of(name, tensor.dtype),
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED_TO)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, content in zip(tensors, contents, strict=False):
            stream.write(content.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _name_of(tensor: str, dtype: "torch.dtype") -> str:
    import torch

    names = {
        torch.float64: "F64",
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.float8_e4m3fn: "F8_E4M3",
        torch.float8_e5m2: "F8_E5M2",
        torch.int64: "I64",
        torch.int32: "I32",
        torch.int16: "I16",
        torch.int8: "I8",
        torch.uint64: "U64",
        torch.uint32: "U32",
        torch.uint16: "U16",
        torch.uint8: "U8",
        torch.bool: "BOOL",
    }
    if dtype not in names:
        raise TypeError(f"{tensor} is of {dtype}, which no checkpoint of ours holds.")
    return names[dtype]
