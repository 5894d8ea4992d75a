"""How a search is done: where, in what precision, how much at a time. None of it but `approximate` changes the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["auto", "float32", "bfloat16", "float16", "int16"]


class ApproximateSettings(BaseModel):
    """An inverted file (IVF, Sivic and Zisserman 2003, as faiss has it): only some cells of the corpus are searched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lists: int | None = Field(
        None, ge=1, description="cells; null: 4 times the root of the number of rows (faiss's guidelines: 4 to 16)"
    )
    probes: int = Field(64, ge=1, description="cells searched for a query; more find more and take longer (ours)")
    training_rows: int = Field(64, ge=39, description="rows of the sample a cell; faiss warns below 39")
    seed: int = Field(0, ge=0, lt=2**31, description="of the sample that the cells are made from")


class SearchSettings(BaseModel):
    """Exact search unless `approximate_above_rows` says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: tuple[str, ...] = Field(
        ("auto",),
        min_length=1,
        description='"auto": every GPU of the machine, else the CPU; or "cpu", or torch devices such as "cuda:0"; several '
        "take turns with the blocks of the corpus",
    )
    precision: Precision = Field(
        "auto",
        description="of the matrix products that find candidates; auto: float16 on GPUs, bfloat16 on CPUs with AMX, "
        "int16 on others with AVX2 (with AVX-512: also VNNI), else float32",
    )
    query_block: int | None = Field(None, ge=1, description="queries a matrix product; null: 512, on a GPU 4,096")
    corpus_block: int | None = Field(None, ge=1, description="corpus rows at a time; null: 32,768, on a GPU 65,536")
    memory_mb: int = Field(
        1024,
        ge=1,
        description="that blocks may take beside queries and result, on each device; default blocks shrink to fit",
    )
    approximate_above_rows: int | None = Field(
        None, ge=0, description="a larger corpus is searched approximately, by faiss; null: never"
    )
    approximate: ApproximateSettings = ApproximateSettings()
    recall_sample: int = Field(
        200, ge=0, description="queries that are searched exactly too, to measure an approximate search's recall"
    )


def search_devices(names: Sequence[str]) -> tuple[str, ...]:
    """The devices meant by SearchSettings.devices. Raises ValueError for one that torch or this machine does not have."""
    devices = [device for name in names for device in (_all_devices() if name == "auto" else (name,))]
    if set(devices) != {"cpu"}:
        for device in devices:
            _check(device)
    return tuple(devices)


def _all_devices() -> tuple[str, ...]:
    if not any(Path("/dev", name).exists() for name in ("nvidiactl", "dxg", "nvmap", "kfd")):
        return ("cpu",)  # torch takes seconds and hundreds of megabytes to say the same
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(f"cuda:{number}" for number in range(count)) or ("cpu",)


def _check(name: str) -> None:
    import torch

    remedy = "choose auto, cpu or cuda:N"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"search.devices: there is no device {name!r}: {remedy}.") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(f"search.devices: {name!r} was asked for, but this machine shows {count} CUDA GPUs: {remedy}.")
