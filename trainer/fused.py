"""Functions of a tile of a matrix, compiled so that a GPU reads and writes the tile once.

In:  a function of a tile [r, c] and of tensors of two dimensions that broadcast to it.
Out: the same function, by torch.compile on CUDA; plain torch elsewhere, and where the compiler does not work.

Pointwise work and reductions are fused; matrix products stay outside, with cuBLAS. TORCH_COMPILE_DISABLE=1, torch's own
switch, leaves everything plain. This module imports torch at once.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

import torch

log = logging.getLogger(__name__)

COMPILED_ON: Final = ("cuda",)
_EXAMPLE: Final = (1024, 4096)  # unequal: sizes that were equal when it was compiled would be held to be one size


class Fused:
    """A function (tile [r, c], *others) -> tensor; each of the others None, or [1 or r, 1 or c].

    The tile may be overwritten. Every other argument stays as it is. A tile of one row or one column is not compiled for.
    """

    compiler_works = True  # what one function met in this process, the next would meet

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        self._plain = function
        self._compiled: Callable[..., torch.Tensor] | None = None
        self._kinds: set[tuple[tuple[torch.device, torch.dtype] | None, ...]] = set()

    def __call__(self, tile: torch.Tensor, *others: torch.Tensor | None) -> torch.Tensor:
        """Raises whatever plain torch would raise."""
        if tile.device.type not in COMPILED_ON or not Fused.compiler_works or 1 in tile.shape:
            return self._plain(tile, *others)
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._by_compiler(tile, *others)
        except TorchDynamoException as error:  # before anything ran; a mistake of the function's own comes again below
            Fused.compiler_works = False
            log.warning(
                "The loss is computed by plain torch, which is slower and gives the same numbers up to rounding: "
                "torch.compile failed (%s). It needs a C compiler and, on a GPU, Triton; install them, or set "
                "TORCH_COMPILE_DISABLE=1 to go without and without this warning.",
                _first_line(error),
            )
            return self._plain(tile, *others)

    def _by_compiler(self, *tensors: torch.Tensor | None) -> torch.Tensor:
        if self._compiled is None:
            self._compiled = torch.compile(self._plain, dynamic=True, options=_options())
        kind = tuple(None if each is None else (each.device, each.dtype) for each in tensors)
        if kind not in self._kinds:
            # The order of additions follows the sizes first seen. A run that goes on would see others than one from the start.
            self._compiled(*map(_example, tensors))
            self._kinds.add(kind)
        return self._compiled(*tensors)


def _example(tensor: torch.Tensor | None) -> torch.Tensor | None:
    if tensor is None:
        return None
    return tensor.new_ones([1 if size == 1 else usual for size, usual in zip(tensor.shape, _EXAMPLE, strict=True)])


def _options() -> dict[str, Any]:
    """Choices between kernels by their times would differ from run to run, and so would the rounding of sums."""
    from torch._inductor import config

    return {"deterministic": True} if hasattr(config, "deterministic") else {}  # torch 2.6 has no such choice to forbid


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
