"""Is there room for what a job is going to write? Asked before it starts, so that a disk does not fill after hours of work.

The estimate is what the job wrote the last time, scaled by the bytes it reads now and then; else the bytes it reads times a
factor. Of what it wrote before, its new files take the place, one after the other.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pipelines import storage
from pipelines.errors import UserError
from pipelines.job import DOCUMENTS, HELD_OUT, PAIR_JOBS, PAIRS, module_of
from pipelines.manifest import Manifest, read_manifest
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import ShardFile
from trainer.backbone import ModelFolderError, resolve_model_path

# Bytes written by bytes read, shards being compressed: of recipes/demo.yaml, rounded up (synthesize and decontaminate are not
# in it: ours). extract reads raw files.
_FACTORS: Final = {
    "extract": 1.2,
    "synthesize": 1.5,  # what extract wrote is linked, not copied
    "filter": 1.8,  # pairs, rejects and measurements
    "decontaminate": 1.2,
    "dedup": 4.5,  # pairs, passages and sketches
    "score": 1.3,
    "mine": 0.2,
    "pack": 7.0,  # token ids, and FlagEmbedding's lines, which are not compressed
}
_MOST_RESERVED: Final = 256 * 2**20
_LEAST_TEMPORARY: Final = 64 * 2**20
_SHARE_AGAIN: Final = 0.1  # of what a job rewrites is there twice for a while
_CHECKPOINT_WEIGHTS: Final = 4  # weights, their averages and two moments of Adam's (trainer.checkpoint)
_VECTORS: Final = (
    "score",
    "mine",
)  # jobs that keep float16 embeddings of what they read, and mine a copy beside its shards
_BYTES_A_TEXT: Final = 250  # compressed: how many texts there are is guessed by it where only bytes are known


def check_room(recipe: Recipe, run: RunFolder, job: str) -> None:
    """Raises UserError where the job is expected to write more than the disk takes, or the temporary folder is nearly full.

    Nothing is checked on object stores, and where runner.disk_reserve_bytes is null.
    """
    reserve = recipe.runner.disk_reserve_bytes
    if reserve is None:
        return
    if storage.is_local(run.url):
        folder = Path(storage.split_url(run.url)[1])
        needed, (free, kept) = needed_bytes(recipe, run, job), _free_and_kept(folder, reserve)
        if needed + kept > free:
            raise UserError(
                f"Job {job} is expected to write {_size(needed)} into {folder}, where {_size(free)} are free and "
                f"runner.disk_reserve_bytes keeps {_size(kept)}. Make room (`pairmill clean RUN --dry-run` tells what can go), "
                "put the run on another disk with --run-folder, or, if the estimate is wrong, set runner.disk_reserve_bytes to "
                "less, or to null for no check."
            )
    folder = Path(tempfile.gettempdir())
    free, kept = _free_and_kept(folder, reserve)
    if free < min(kept, _LEAST_TEMPORARY):
        raise UserError(
            f"The folder for temporary files, {folder}, has {_size(free)} free, too little for job {job}. Make room there "
            "(`pairmill clean RUN` removes what killed runs left), or set TMPDIR to a folder on another disk."
        )


def needed_bytes(recipe: Recipe, run: RunFolder, job: str) -> int:
    """Bytes that the job's folder and the embedding store are expected to grow by."""
    if job == "train":
        return training_bytes(recipe)
    if job not in _FACTORS:
        return 0
    manifest, reads = read_manifest(run.job(job)), _bytes_read(recipe, run, job)
    there = _bytes_below(run.job(job))
    if manifest is not None and manifest.files:
        before = sum(file.bytes for file in manifest.files)
        written = before * reads / (_bytes_read_before(run, manifest) or reads or 1)
    else:
        written = reads * _FACTORS[job]
    vectors = 0.0
    if job in _VECTORS and manifest is None:
        vectors = 2.0 * _dimension(recipe, job) * 2 * reads / _BYTES_A_TEXT
    return round(max(written - there, _SHARE_AGAIN * written) + vectors)


def training_bytes(recipe: Recipe) -> int:
    """The exported model, and the checkpoints kept meanwhile and one more while it is written."""
    assert recipe.train is not None
    try:
        folder = resolve_model_path(recipe.train.model)
    except ModelFolderError:
        return 0  # the job says so itself
    weights = sum(file.stat().st_size for file in folder.rglob("*") if file.suffix in (".safetensors", ".bin"))
    kept = getattr(recipe.train, "keep_checkpoints", 2)
    return int(weights * (1 + _CHECKPOINT_WEIGHTS * (kept + 1)))


def _bytes_read(recipe: Recipe, run: RunFolder, job: str) -> int:
    if job == "extract":
        inputs = module_of("extract").plan(recipe, run).inputs
        return sum(each.get("bytes") or 0 for each in inputs)
    jobs = recipe.jobs()
    before = [other for other in jobs[: jobs.index(job)] if other in PAIR_JOBS]
    read = _files(read_manifest(run.job(before[-1])), (PAIRS, HELD_OUT)) if before else []
    if job == "synthesize":
        read = _files(read_manifest(run.job("extract")), (DOCUMENTS,))
    if job in ("mine", "pack"):
        read = [*read, *_files(read_manifest(run.job("dedup")), ("passages",))]
    return sum(file.bytes for file in read)


def _bytes_read_before(run: RunFolder, manifest: Manifest) -> int:
    """What the inputs a manifest names have now, where they are still there under their names; raw files as they were."""
    sizes: dict[str, dict[str, int]] = {}
    total = 0
    for each in manifest.inputs:
        if "source" in each:
            total += each.get("bytes") or 0
        elif "path" in each and "job" in each:
            job = str(each["job"])
            if job not in sizes:
                found = read_manifest(run.job(job))
                sizes[job] = {file.path: file.bytes for file in found.files} if found else {}
            total += sizes[job].get(str(each["path"]), 0)
    return total


def _files(manifest: Manifest | None, roles: Sequence[str]) -> list[ShardFile]:
    return manifest.files_of(*roles) if manifest else []


def _bytes_below(folder: str) -> int:
    root = Path(storage.split_url(folder)[1])
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) if root.is_dir() else 0


def _dimension(recipe: Recipe, job: str) -> int:
    """Of the encoder's vectors; 1,024 where its folder does not say."""
    encoder: Any = getattr(getattr(recipe, job), "encoder", None)
    try:
        config = json.loads((resolve_model_path(encoder.model) / "config.json").read_bytes())
        return int(config["hidden_size"])
    except (ModelFolderError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return 1024


def _free_and_kept(folder: Path, reserve: int | Literal["auto"]) -> tuple[int, int]:
    """Bytes that are free on a folder's disk, and those of them that are to stay so."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    usage = shutil.disk_usage(there)
    return usage.free, min(_MOST_RESERVED, usage.total // 20) if reserve == "auto" else reserve


def _size(number: float) -> str:
    return f"{number / 10**9:.1f} GB" if number >= 10**9 else f"{number / 10**6:.1f} MB"
