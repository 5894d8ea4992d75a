"""How training goes, for people: a progress display and TensorBoard.

In:  the lines of metrics.jsonl as the loop writes them, each with the number of `steps`.
Out: rich's display, event files in OUTPUT/tensorboard. metrics.jsonl itself is the loop's.

A line has step, steps, loss, learning_rate, gradient_norm, tokens and seconds; squared_lengths, padded_tokens and
peak_memory_mib are shown where they are there.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trainer.model_flops import ModelShape, peak_tflops, training_flops

if TYPE_CHECKING:
    from rich.console import Console

Line = dict[str, Any]
Watcher = Callable[[Line], None]

TENSORBOARD: Final = "tensorboard"
EVALUATION: Final = "evaluation/"  # begins the names of what an evaluation found
_SHOWN: Final = {
    "loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "gradient_norm": "train/gradient_norm",
    "pairs": "train/pairs",
    "tokens_per_second": "speed/tokens_per_second",
    "tflops": "speed/tflops",
    "mfu": "speed/mfu",
    "padding_share": "speed/padding_share",
    "peak_memory_mib": "memory/peak_mib",
}
_STEPS_AVERAGED: Final = 50  # of the time left: steps of different length groups take different times


class WatchingError(ValueError):
    """What was asked to watch training with is not there. The message names the remedy."""


@dataclass
class Rates:
    """What follows from a line: operations a second, the share of the peak, the time left."""

    shape: ModelShape | None = None
    peak: float | None = None  # 10^12 operations a second of all devices together; None: not known
    _recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_STEPS_AVERAGED))

    @classmethod
    def here(cls, model: str, devices: int = 1, peak: float | None = None) -> "Rates":
        """For the model in a folder, on the devices of this machine. `peak`: of one device, instead of the listed one."""
        import torch

        from trainer.model_flops import shape_of_folder

        if peak is None and torch.cuda.is_available():
            peak = peak_tflops(torch.cuda.get_device_name())
        return cls(shape_of_folder(model), None if peak is None else peak * devices)

    def __call__(self, line: Line) -> Line:
        """The line with tflops, mfu, padding_share and seconds_left, where they can be told."""
        if "seconds" not in line:
            return line  # of an evaluation
        more: Line = {}
        seconds = float(line["seconds"])
        if self.shape is not None and "squared_lengths" in line and seconds > 0:
            operations = training_flops(self.shape, int(line["tokens"]), int(line["squared_lengths"]))
            more["tflops"] = operations / seconds / 1e12
            if self.peak is not None:
                more["mfu"] = more["tflops"] / self.peak
        if line.get("padded_tokens"):
            more["padding_share"] = 1 - line["tokens"] / line["padded_tokens"]
        self._recent.append((float(line["step"]), seconds))
        mean = sum(each for _, each in self._recent) / len(self._recent)
        more["seconds_left"] = (line["steps"] - line["step"]) * mean
        return line | more


def described(line: Line) -> str:
    """One line of text: loss, speed, learning rate, gradient norm, memory, time left."""
    parts = [
        f"{name.removeprefix(EVALUATION)} {value:.4f}" for name, value in line.items() if name.startswith(EVALUATION)
    ]
    if "loss" in line:
        parts.append(f"loss {line['loss']:.4f}")
    if "tokens_per_second" in line:
        parts.append(f"{line['tokens_per_second']:,.0f} tokens/s")
    if "mfu" in line:
        parts.append(f"MFU {line['mfu']:.0%}")
    elif "tflops" in line:
        parts.append(f"{line['tflops']:.2f} TFLOP/s")
    if "learning_rate" in line:
        parts.append(f"lr {line['learning_rate']:.2e}")
    if "gradient_norm" in line:
        parts.append(f"norm {line['gradient_norm']:.3g}")
    if line.get("peak_memory_mib"):
        parts.append(f"{line['peak_memory_mib'] / 1024:.1f} GiB")
    if "seconds_left" in line:
        parts.append(f"{_duration(line['seconds_left'])} left")
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


@contextmanager
def progress_display(console: "Console", steps: int) -> Iterator[Watcher]:
    """A bar of the steps and, beside it, what `described` says of the last one."""
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("step {task.completed}/{task.total}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("train", total=steps, now="")

        def show(line: Line) -> None:
            if any(name.startswith(EVALUATION) for name in line):
                progress.console.print(f"step {line['step']}: {described(line)}", highlight=False, markup=False)
            else:
                progress.update(bar, completed=line["step"], now=described(line))

        yield show


@contextmanager
def tensorboard_files(folder: str | Path) -> Iterator[Watcher]:
    """Writes the numbers of each line to TensorBoard event files in `folder`.

    A run that goes on from a checkpoint hides the steps after it that an earlier file has.
    Raises WatchingError where the package tensorboard is not there.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise WatchingError(
            "TensorBoard files were asked for, but the package tensorboard is not installed: pip install "
            "'pairmill[tensorboard]'. metrics.jsonl is written in any case."
        ) from error
    with ExitStack() as stack:
        writers: list[Any] = []

        def write(line: Line) -> None:
            if not writers:
                writers.append(SummaryWriter(str(folder), purge_step=int(line["step"])))
                stack.callback(writers[0].close)
            for name, tag in scalars(line).items():
                writers[0].add_scalar(name, tag, int(line["step"]))

        yield write


def scalars(line: Line) -> dict[str, float]:
    """The numbers of a line by TensorBoard tag; what an evaluation found keeps its name."""
    shown = {_SHOWN[name]: float(line[name]) for name in _SHOWN if line.get(name) is not None}
    return shown | {name: float(value) for name, value in line.items() if name.startswith(EVALUATION)}


@contextmanager
def watched(rates: Rates, *watchers: AbstractContextManager[Watcher]) -> Iterator[Watcher]:
    """One watcher of several, each given the lines with what `rates` adds."""
    with ExitStack() as stack:
        entered = [stack.enter_context(each) for each in watchers]

        def tell(line: Line) -> None:
            full = rates(line)
            for watcher in entered:
                watcher(full)

        yield tell
