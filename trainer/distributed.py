"""Training on several processes (ranks), one a GPU: what they tell each other, and how they end together.

Started by torchrun, which sets RANK, WORLD_SIZE and LOCAL_RANK; without those there is one rank and nothing to tell.
A step has one sum of all gradients (`FlatGradients`; of shards trainer.sharding); embeddings are exchanged by rows, without graph. Where a rank
ends or hangs, the others end with a message instead of waiting.
"""

import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import torch

_STARTED_BY: Final = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_PARENT_SECONDS: Final = 0.5  # between two looks at whether torchrun is still there


class RanksError(ValueError):
    """The processes of a training cannot work together (any more). The message says why and what to do."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # on its machine
    control: Any = None  # the gloo group for small messages; None for one rank

    @property
    def leads(self) -> bool:
        """Whether this rank writes files and shows progress."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this rank where the settings say `name`: a GPU of its own."""
        import torch

        if self.count == 1 or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return name
        if ":" in name:
            raise RanksError(
                f"device {name} names one GPU, but {self.count} processes train together and each takes its own. Set "
                f"device auto or cuda, and choose GPUs by CUDA_VISIBLE_DEVICES."
            )
        if self.local_rank >= torch.cuda.device_count():
            raise RanksError(
                f"Process {self.local_rank} of this machine has no GPU: there are {torch.cuda.device_count()}. Start "
                f"torchrun with --nproc-per-node {torch.cuda.device_count()}, or set device cpu."
            )
        return f"cuda:{self.local_rank}"

    def gather_rows(self, own: "torch.Tensor", counts: Sequence[int]) -> "torch.Tensor":
        """The rows of all ranks, in rank order: [sum of counts, D] from each rank's [counts[rank], D]. Without graph.

        Ranks whose counts are less than the largest send so many rows more, which nobody reads; the batch plan's counts
        differ by one row a query at most.
        """
        import torch
        import torch.distributed as dist

        if self.count == 1:
            return own
        most = max(counts)
        padded = own.contiguous()
        if len(own) < most:
            padded = torch.cat([own, own.new_zeros(most - len(own), *own.shape[1:])])
        everything = own.new_empty(self.count * most, *own.shape[1:])
        with self._together():
            dist.all_gather(list(everything.chunk(self.count)), padded)
        if min(counts) == most:
            return everything
        return torch.cat([everything[rank * most : rank * most + count] for rank, count in enumerate(counts)])

    def sum_to_owners(self, everyones: "torch.Tensor", counts: Sequence[int]) -> "torch.Tensor":
        """This rank's rows [counts[rank], D] of the sum over ranks of `everyones` [sum of counts, D]."""
        import torch.distributed as dist

        if self.count == 1:
            return everyones
        first = sum(counts[: self.rank])
        with self._together():
            if everyones.device.type == "cuda" and min(counts) == max(counts):
                own = everyones.new_empty(counts[self.rank], *everyones.shape[1:])
                dist.reduce_scatter(own, list(everyones.contiguous().chunk(self.count)))
                return own
            # gloo has no reduce-scatter before torch 2.9, and uneven shares have none.
            dist.all_reduce(everyones)
        return everyones[first : first + counts[self.rank]]

    def add_up(self, tensor: "torch.Tensor") -> None:
        """Replace `tensor`, in place, by its sum over all ranks: the same bits on every rank."""
        import torch.distributed as dist

        if self.count > 1:
            with self._together():
                dist.all_reduce(tensor)

    def take_over(self, tensors: "Sequence[torch.Tensor]") -> None:
        """Replace each tensor, in place, by that of rank 0."""
        import torch.distributed as dist

        if self.count > 1:
            with self._together():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """Of each number the largest that any rank gives."""
        import torch
        import torch.distributed as dist

        if self.count == 1:
            return list(numbers)
        most = torch.tensor(numbers)
        with self._together():
            dist.all_reduce(most, op=dist.ReduceOp.MAX, group=self.control)
        return [int(number) for number in most]

    def told(self, message: Any = None) -> Any:
        """What rank 0 says, as JSON; the others' `message` is not looked at."""
        import torch
        import torch.distributed as dist

        if self.count == 1:
            return message
        text = json.dumps(message).encode() if self.leads else b""
        with self._together():
            length = torch.tensor([len(text)])
            dist.broadcast(length, src=0, group=self.control)
            content = torch.frombuffer(bytearray(text), dtype=torch.uint8) if self.leads else None
            if content is None:
                content = torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(content, src=0, group=self.control)
        return json.loads(content.numpy().tobytes())

    @contextmanager
    def rank_zero_first(self, what: str) -> Iterator[None]:
        """Rank 0 does the body, then the others do it; where it fails on rank 0 the others raise RanksError.

        For files that all read and one prepares, and, with a body that only rank 0 does, for what it writes.
        """
        if self.count == 1:
            yield
            return
        if not self.leads:
            problem = self.told()
            if problem is not None:
                raise RanksError(f"{what} failed in the first process ({problem}); its own output says more.")
            yield
            return
        try:
            yield
        except BaseException as error:
            self.told(f"{type(error).__name__}: {error}"[:500])
            raise
        self.told(None)

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise self._alone_after(error) from error

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """For a body within which torch exchanges weights and gradients of its own accord: RanksError where that fails.

        Other errors, memory among them, stay what they are.
        """
        import torch

        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if "torch/distributed/" not in _raised_in(error):
                raise
            raise self._alone_after(error) from error

    def _alone_after(self, error: RuntimeError) -> RanksError:
        return RanksError(
            f"Process {self.rank} of {self.count} can go on no longer: another process of this training has ended or "
            f"gives no answer ({str(error).strip().splitlines()[0][:300]}). That one's output says why. Start all "
            f"again by the same command: training goes on from its newest checkpoint."
        )


def _raised_in(error: BaseException) -> str:
    """The path, with slashes, of the Python file whose code, or what that called, raised."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return Path(frame.f_code.co_filename).as_posix()


@contextmanager
def join_ranks(device: str, silence_seconds: float) -> Iterator[Ranks]:
    """This process among those that torchrun started with it; alone where it did not.

    `silence_seconds`: after so long without an answer another rank counts as gone. Raises RanksError where a rank does
    not come.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    import torch
    import torch.distributed as dist

    missing = [name for name in _STARTED_BY if name not in os.environ]
    if missing:
        raise RanksError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {' and '.join(missing)} are not set. Start several processes "
            f"by torchrun, or unset WORLD_SIZE."
        )
    rank, count, local = (int(os.environ[name]) for name in _STARTED_BY)
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    on_gpu = torch.cuda.is_available() and device != "cpu"
    if on_gpu and local < torch.cuda.device_count():
        torch.cuda.set_device(local)
    silence = timedelta(seconds=silence_seconds)
    alone = Ranks(rank, count, local)
    with alone._together():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=silence)
        control: Any = dist.new_group(backend="gloo", timeout=silence)
        dist.monitored_barrier(control, timeout=silence)  # names the ranks that did not come
    yield Ranks(rank, count, local, control)
    # Not after an error: it would wait for ranks that are gone, and the process ends anyway.
    dist.destroy_process_group()


def _end_with_launcher() -> None:
    """End this process when torchrun is gone: killed by -9 it takes no rank along, and these would go on to write into a
    folder that the next try writes into, too. At once: whatever is half written is found and done again."""
    parent = os.getppid()
    while os.getppid() == parent and not _was_orphaned(parent):
        time.sleep(_PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _was_orphaned(parent: int) -> bool:
    """Whether torchrun was gone before anybody watched: while torch was imported, which takes seconds. An orphan's parent is
    process 1 or the user's systemd; in a container torchrun may be process 1 itself."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return False
    try:
        name = Path(f"/proc/{parent}/comm").read_bytes().strip()
        command = Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:  # not Linux, or not ours to read: the rendezvous will time out
        return False
    launched = any(launcher in command for launcher in (b"torch", b"accelerate"))
    return (parent == 1 or name == b"systemd") and not launched


class FlatGradients:
    """The gradients of all weights as views of one flat tensor, so that one sum makes them those of all ranks.

    `tail` numbers behind them go along: what ranks tell each other once a step.
    """

    def __init__(self, model: "torch.nn.Module", tail: int) -> None:
        import torch

        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        sizes = np.cumsum([0, *(weight.numel() for weight in self.weights)]).tolist()
        first = self.weights[0]
        self._everything = torch.zeros(sizes[-1] + tail, dtype=first.dtype, device=first.device)
        self.gradients, self.tail = self._everything[: sizes[-1]], self._everything[sizes[-1] :]
        self._views = [
            self.gradients[low:high].view_as(weight)
            for weight, low, high in zip(self.weights, sizes[:-1], sizes[1:], strict=True)
        ]
        self.clear()

    def clear(self) -> None:
        self._everything.zero_()
        for weight, view in zip(self.weights, self._views, strict=True):
            weight.grad = view

    def add_up(self, ranks: Ranks) -> None:
        """The sum over all ranks: the one exchange of gradients in a step."""
        ranks.add_up(self._everything)

    def clip(self, largest: float) -> float:
        """Scale the gradients down to the norm `largest`; returns the norm they had."""
        import torch

        norm = float(torch.linalg.vector_norm(self.gradients))
        if norm > largest:  # not where it is no number
            self.gradients.mul_(largest / (norm + 1e-6))
        return norm
