"""The records of a run's refreshes: RUN/refresh/000001.json and so on, one a refresh."""

import json
import logging
import math
import re
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Final

import orjson
from pydantic import ValidationError

from pipelines import storage
from pipelines.manifest import Manifest, read_manifest
from pipelines.refresh.records import JobRecord, RefreshRecord
from pipelines.run_folder import RunFolder

FOLDER: Final = "refresh"
IDLE_KEPT: Final = 20  # records of refreshes that found nothing new; those of all others stay
RECENT: Final = 100  # records that are looked at where the newest of a kind are meant: years of them would take seconds
_NAME: Final = re.compile(r"(\d{6})\.json")
_END_SHARE: Final = 0.05  # of the logged steps: their mean is the loss at the end
_END_MOST: Final = 50

log = logging.getLogger(__name__)


def next_number(run: RunFolder) -> int:
    """The number of the next refresh, from 1."""
    return max(_numbers(run), default=0) + 1


def write(run: RunFolder, record: RefreshRecord) -> None:
    """Write a record, whole or not at all; again with the same number it takes the place of the first.

    Of records of refreshes with nothing new the newest `IDLE_KEPT` are kept.
    """
    with storage.atomic_write(_url(run, record.number)) as stream:
        stream.write(record.model_dump_json(indent=1).encode() + b"\n")
    if record.outcome == "nothing_new":
        idle = [each.number for each in read_all(run, RECENT) if each.outcome == "nothing_new"]
        for number in idle[:-IDLE_KEPT]:
            storage.remove(_url(run, number))


def read_all(run: RunFolder, newest: int | None = None) -> list[RefreshRecord]:
    """All records, or so many of the newest, by number. One that cannot be read (of another version, torn by a crash) is left
    out, with a warning."""
    numbers = _numbers(run) if newest is None else _numbers(run)[-newest:]
    return [record for number in numbers if (record := _read(run, number)) is not None]


def latest_with_data(records: Sequence[RefreshRecord]) -> RefreshRecord | None:
    """The newest record of a refresh that brought the data to its end: what a later one is compared with."""
    return next((each for each in reversed(records) if each.outcome not in ("nothing_new", "failed")), None)


def newest_with_data(run: RunFolder, before: int | None = None) -> RefreshRecord | None:
    """As latest_with_data of all records, or of those with a smaller number than `before`, reading no more than that takes."""
    for number in reversed([each for each in _numbers(run) if before is None or each < before]):
        record = _read(run, number)
        if record is not None and record.outcome not in ("nothing_new", "failed"):
            return record
    return None


def job_record(manifest: Manifest, ran: bool) -> JobRecord:
    """What a record keeps of a job's manifest."""
    return JobRecord(
        job=manifest.job,
        ran=ran,
        seconds=manifest.seconds if ran else 0.0,
        rows_in=manifest.rows_in,
        rows_out=manifest.rows_out,
        dropped=manifest.dropped,
        funnel=manifest.funnel,
        languages=manifest.languages,
        bytes=sum(file.bytes for file in manifest.files),
    )


def final_loss(run: RunFolder) -> float | None:
    """The mean loss of the last 5 % of the logged steps (50 at most) of the last stage of training.

    None where nothing was trained, and where one of those losses is no number: training went astray.
    """
    manifest = read_manifest(run.job("train"))
    if manifest is None:
        return None
    stages = [str(stage["name"]) for stage in manifest.details.get("stages") or []]
    url = storage.join(run.job("train"), *stages[-1:], "metrics.jsonl")
    losses = _losses(url) or [manifest.details.get("training", {}).get("loss")]
    end = losses[-min(_END_MOST, max(1, round(_END_SHARE * len(losses)))) :]
    if any(not isinstance(loss, int | float) or not math.isfinite(loss) for loss in end):
        return None
    return fmean(float(loss) for loss in end if loss is not None)


def _losses(url: str) -> list[Any]:
    if not storage.exists(url):
        return []
    with storage.open_for_reading(url) as stream:
        lines = [json.loads(line) for line in stream.read().splitlines() if line.strip()]  # NaN is not for orjson
    return [line["loss"] for line in lines if isinstance(line, dict) and "loss" in line]


def _numbers(run: RunFolder) -> list[int]:
    names = storage.list_files(storage.join(run.url, FOLDER), ".json")
    return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))


def _read(run: RunFolder, number: int) -> RefreshRecord | None:
    try:
        with storage.open_for_reading(_url(run, number)) as stream:
            return RefreshRecord.model_validate(orjson.loads(stream.read()))
    except (ValidationError, orjson.JSONDecodeError) as error:
        why = f"{error.error_count()} faults" if isinstance(error, ValidationError) else "no JSON"
        log.warning("%s cannot be read (%s) and is left out of the history", _url(run, number), why)
        return None
    except FileNotFoundError:  # removed meanwhile
        return None


def _url(run: RunFolder, number: int) -> str:
    return storage.join(run.url, FOLDER, f"{number:06d}.json")
