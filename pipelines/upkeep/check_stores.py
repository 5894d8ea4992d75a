"""Whether what lies beside a run's jobs is whole: the embedding store, answers of LLMs, versions of the model, trained weights."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pipelines import storage
from pipelines.errors import UserError
from pipelines.job import BESIDE, MODEL_FINGERPRINT
from pipelines.manifest import Manifest
from pipelines.recipe import Recipe
from pipelines.refresh import versions
from pipelines.run_folder import RunFolder
from pipelines.upkeep.check_files import check_safetensors
from pipelines.upkeep.findings import Finding
from pipelines.upkeep.run_files import FoundFile
from trainer.backbone import ModelFolderError, model_fingerprint
from trainer.embedding_store import PARTS, Segment

_SQLITE: Final = b"SQLite format 3\x00"


def store_folder(recipe: Recipe, run: RunFolder) -> Path | None:
    """Where the run's embeddings are kept; None where nothing is, or not on a local disk."""
    if recipe.embeddings.folder is not None:
        return Path(recipe.embeddings.folder).expanduser()
    return Path(storage.split_url(run.url)[1]) / "embeddings" if storage.is_local(run.url) else None


def read_segments(folder: Path) -> tuple[list[Segment], list[Finding]]:
    """The segments of all spaces of a store, and a finding for each record that cannot be read."""
    found: list[Segment] = []
    findings: list[Finding] = []
    remedy = "Delete it: its texts are then encoded again."
    for record in sorted(folder.glob("*/space.json")):
        space, dimension = record.parent, 0
        try:
            dimension = int(json.loads(record.read_bytes())["dimension"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            findings.append(Finding(str(space), f"space.json cannot be read ({error})", remedy))
            continue
        for path in sorted(space.glob("*.json")):
            if path == record:
                continue
            try:
                content = json.loads(path.read_bytes())
                found.append(Segment(space, path.stem, int(content["rows"]), dimension, dict(content["sha256"])))
            except FileNotFoundError:  # a run that shares the store merged it meanwhile
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                findings.append(Finding(str(path), f"the record of a segment cannot be read ({error})", remedy))
    return found, findings


def check_segment(segment: Segment, quick: bool) -> list[Finding]:
    """`quick` looks for missing and cut files alone."""
    remedy = f"Delete {segment.record}: its texts are then encoded again."
    try:
        if quick:
            shapes = {"keys": (segment.rows, 2), "vectors": (segment.rows, segment.dimension)}
            bad = [str(segment.path(part)) for part in PARTS if _shape(segment.path(part)) != shapes[part]]
            return [Finding(path, "it is missing, cut short or of another shape", remedy) for path in bad]
        fault = segment.fault()
    except OSError as error:
        return [Finding(str(segment.record), f"its files cannot be read ({error})", remedy)]
    if fault is None or not segment.record.exists():  # merged or evicted meanwhile by a run that shares the store
        return []
    return [Finding(str(segment.record), fault.split(". ")[0], remedy)]


def _shape(path: Path) -> tuple[int, ...] | None:
    """The shape of an .npy file; None where it is missing or shorter than that. Only its header is read."""
    try:
        shape: tuple[int, ...] = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError):
        return None
    return shape


def check_answers(run: RunFolder, files: Sequence[FoundFile], quick: bool) -> Iterator[Finding]:
    """Faults of the databases of LLM answers in the run folder, as sqlite tells them."""
    if not storage.is_local(run.url):
        return
    root = Path(storage.split_url(run.url)[1])
    for file in files:
        if file.path.endswith(".sqlite"):
            yield from _check_database(root / file.path, file.path, quick)


def _check_database(path: Path, name: str, quick: bool) -> Iterator[Finding]:
    remedy = (
        "Its answers were paid for: copy the file away first, try sqlite3's `.recover` into a new file, and only then "
        "delete it, which asks for all answers again."
    )
    with path.open("rb") as stream:
        start = stream.read(16)
    if start and start != _SQLITE:
        yield Finding(name, "it is no sqlite database", remedy)
        return
    try:
        database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            rows = database.execute("PRAGMA quick_check(3)" if quick else "PRAGMA integrity_check(3)").fetchall()
        finally:
            database.close()
    except sqlite3.Error as error:
        yield Finding(name, f"sqlite cannot read it ({error})", remedy)
        return
    if rows != [("ok",)]:
        yield Finding(name, f"sqlite says: {'; '.join(str(row[0]) for row in rows)}", remedy)


def check_versions(run: RunFolder, quick: bool) -> Iterator[Finding]:
    """Promoted models against their version.json; current.json names one that is there."""
    if not storage.is_local(run.url):
        return
    root = Path(storage.split_url(run.url)[1])
    models = root / versions.MODELS
    if not models.is_dir():
        return
    pointer = f"{versions.MODELS}/{versions.POINTER}"
    try:
        known = versions.all_versions(run)
        if known and versions.current(run) is None:
            yield Finding(pointer, "no version is current", "`pairmill rollback RUN --to N` makes one current.")
    except (UserError, ValueError, OSError) as error:
        yield Finding(pointer, str(error), "`pairmill rollback RUN --to N` writes it anew; --list tells the versions.")
        return
    yield from _unknown_versions(models, {version.number for version in known})
    for version in known:
        folder = models / f"{version.number:06d}" / versions.MODEL
        name = folder.relative_to(root).as_posix()
        remedy = f"`pairmill rollback RUN` to another version, then delete {versions.MODELS}/{version.number:06d}."
        if not folder.is_dir():
            yield Finding(name, "the model of this version is missing", remedy)
            continue
        yield from check_safetensors(folder, root)
        if quick:
            continue
        try:
            found = model_fingerprint(str(folder))
        except (ModelFolderError, OSError) as error:
            yield Finding(name, f"it cannot be read ({error})", remedy)
            continue
        if found != version.fingerprint:
            yield Finding(name, "its fingerprint is not the one in version.json: files of it changed", remedy)
    link = models / versions.LINK
    now = versions.current(run)
    if now is not None and link.is_symlink() and link.resolve() != versions.model_folder(run, now.number):
        words = f"it leads to {link.readlink()}, and current.json says version {now.number}"
        yield Finding(f"{versions.MODELS}/{versions.LINK}", words, "The next `pairmill refresh` puts it right.")


def _unknown_versions(models: Path, known: set[int]) -> Iterator[Finding]:
    """Numbered folders that are no version: cut off while they were promoted, or without a readable version.json."""
    for folder in sorted(models.glob("[0-9]" * 6)):
        if int(folder.name) not in known:
            words = "it is no version: its promotion was cut off, or its version.json or model is gone"
            yield Finding(
                f"{versions.MODELS}/{folder.name}", words, "The next promotion removes what was cut off.", "note"
            )


def check_trained(run: RunFolder, manifest: Manifest | None, quick: bool) -> Iterator[Finding]:
    """The weights that train left; where the job is finished, its model must be there, with the sizes and the fingerprint
    (not looked at if `quick`) that the manifest tells."""
    if not storage.is_local(run.url):
        return
    root = Path(storage.split_url(run.url)[1])
    folder = root / "train" / "model"
    if folder.is_dir():
        yield from check_safetensors(folder, root)
    if manifest is None:
        return
    remedy = "Delete train/_MANIFEST.json and run again."
    if not folder.is_dir():
        yield Finding("train/model", "the job is finished, and its model is missing", remedy)
        return
    whole = True
    for path, size in sorted(manifest.details.get(BESIDE, {}).items()):
        file = root / "train" / path
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            whole = False
            what = "it is missing" if found is None else f"it has {found} bytes where {size} were written"
            yield Finding(f"train/{path}", what, remedy)
    wanted = manifest.details.get(MODEL_FINGERPRINT)
    if quick or not whole or wanted is None:
        return
    try:
        changed = model_fingerprint(str(folder)) != wanted
    except (ModelFolderError, OSError) as error:
        yield Finding("train/model", f"it cannot be read ({error})", remedy)
        return
    if changed:
        yield Finding("train/model", "its fingerprint is not that of what was written: files of it changed", remedy)
