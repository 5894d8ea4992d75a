"""Versions of a run's model: what was promoted, which one is current, and the way back.

RUN/models/000001/model/          a promoted model: hard links of the files in train/model, copies where links fail
RUN/models/000001/version.json    its number, fingerprint, time and facts
RUN/models/current.json           which one is current: the truth, replaced as a whole
RUN/models/current                a symbolic link to NNNNNN/model, for servers; made from current.json

Who calls `promote`, `roll_back`, `prune` or `repair` holds the run folder's lock. `current.json` is written last: a folder
of a higher number than it knows is a promotion that was cut off, and the next one removes it.
"""

import contextlib
import json
import re
import shutil
import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines import storage
from pipelines.errors import UserError
from pipelines.run_folder import RunFolder
from trainer.backbone import model_fingerprint

MODELS: Final = "models"
POINTER: Final = "current.json"
LINK: Final = "current"
VERSION_FILE: Final = "version.json"
MODEL: Final = "model"
_NUMBER: Final = re.compile(r"\d{6}")
_NAMED: Final = re.compile(rf"{MODELS}/(\d{{6}})/{MODEL}\b")
_PARTIAL: Final = ".partial"


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Version(_Written):
    """A promoted model."""

    number: int
    fingerprint: str  # trainer.backbone.model_fingerprint of its folder
    promoted: str  # UTC, ISO 8601
    facts: dict[str, Any] = {}  # what the refresh says of it; `train`: the fingerprint of the training it came of


class Rejected(_Written):
    """A model that was rolled back from by hand. It is not promoted again unless somebody says so."""

    fingerprint: str  # of the model
    train: str | None  # fingerprint of the training
    version: int | None  # None: it was trained and never promoted
    when: str  # UTC, ISO 8601


class _Pointer(_Written):
    """RUN/models/current.json."""

    version: int
    newest: int  # the highest number ever given; numbers are not given twice
    rejected: tuple[Rejected, ...] = ()


def current(run: RunFolder) -> Version | None:
    """The current version; None where nothing was promoted yet.

    Raises UserError where current.json cannot be read, or names a version that is not there.
    """
    pointer = _pointer(run)
    return None if pointer is None else _existing(run, pointer.version)


def current_if_whole(run: RunFolder) -> Version | None:
    """As `current`, and None where its folder is gone or broken."""
    pointer = _pointer(run)
    return None if pointer is None else _read(run, pointer.version)


def all_versions(run: RunFolder) -> list[Version]:
    """The versions there are, by number. A promotion that was cut off is none."""
    pointer = _pointer(run)
    if pointer is None:
        return []
    found = (_read(run, number) for number in _numbers(run) if number <= pointer.newest)
    return [version for version in found if version is not None]


def model_folder(run: RunFolder, number: int) -> Path:
    """The folder of a version's model, absolute."""
    return (_folder(run, number) / MODEL).resolve()


def rejected(run: RunFolder, model: str | None = None, train: str | None = None) -> Rejected | None:
    """What was rejected by hand and has this fingerprint of the model, or of the training; None where nothing has."""
    known = rejected_ones(run)
    return next((each for each in known if model == each.fingerprint or (train and train == each.train)), None)


def rejected_ones(run: RunFolder) -> tuple[Rejected, ...]:
    """All that was rolled back from by hand."""
    pointer = _pointer(run)
    return () if pointer is None else pointer.rejected


def fingerprint_of(folder: str) -> str:
    """The fingerprint of any model folder; that of a version is read from its version.json, not worked out again."""
    beside = Path(folder).parent / VERSION_FILE
    if _NAMED.search(Path(folder).as_posix()) and beside.is_file():
        with contextlib.suppress(ValidationError):
            return Version.model_validate_json(beside.read_bytes()).fingerprint
    return model_fingerprint(folder)


def trained_fingerprint(run: RunFolder) -> str:
    """The fingerprint of the model that train holds. Raises ModelFolderError where it holds none."""
    return model_fingerprint(str(_local(run) / "train" / MODEL))


def is_trained(run: RunFolder, version: Version) -> bool:
    """Whether a version is the very model that train holds, told by the files where they are hard links, else by content."""
    from trainer.backbone import ModelFolderError

    folder, trained = model_folder(run, version.number), _local(run) / "train" / MODEL
    files = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    if files and all((trained / file).is_file() and (trained / file).samefile(folder / file) for file in files):
        return True
    try:
        return trained_fingerprint(run) == version.fingerprint
    except ModelFolderError:
        return False


def promote(run: RunFolder, model: Path, facts: Mapping[str, Any]) -> Version:
    """Make a model the current version. That of the same fingerprint as the current one changes nothing.

    Raises UserError for a run that is not on a local disk, ModelFolderError for a folder that holds no model.
    """
    pointer, fingerprint = _pointer(run), model_fingerprint(str(model))
    if pointer is not None:
        before = _existing(run, pointer.version)
        if before.fingerprint == fingerprint:
            repair(run)
            return before
    _remove_unfinished(run, pointer)
    version = Version(
        number=pointer.newest + 1 if pointer else 1, fingerprint=fingerprint, promoted=_now(), facts=dict(facts)
    )
    _write_version(run, version, model)
    others = tuple(each for each in (pointer.rejected if pointer else ()) if each.fingerprint != fingerprint)
    _point(run, _Pointer(version=version.number, newest=version.number, rejected=others))
    return version


def roll_back(run: RunFolder, to: int | None = None) -> Version:
    """Make an earlier version current, by default the one before. What is left is not promoted again: neither the version
    that was current nor the model that train holds now; only a newer training is. `to` may also lead forward again.

    Raises UserError where there is no such version, or nothing to go back to.
    """
    pointer = _pointer(run)
    if pointer is None:
        _remove_unfinished(run, pointer)
        raise UserError(f"{run.url} has no promoted version to roll back from: `pairmill refresh` makes the first.")
    there = all_versions(run)
    target = _earlier(run, pointer, there) if to is None else next((each for each in there if each.number == to), None)
    if target is None:
        raise UserError(
            f"{run.url} has no version {to}: it has {', '.join(str(each.number) for each in there) or 'none'}. "
            "`pairmill rollback RUN --list` tells more."
        )
    if target.number == pointer.version:
        repair(run)
        return target
    left = [each for each in _left(run, pointer) if each.fingerprint != target.fingerprint]
    known = {each.fingerprint for each in left} | {target.fingerprint}
    kept = [each for each in pointer.rejected if each.fingerprint not in known]
    _point(run, _Pointer(version=target.number, newest=pointer.newest, rejected=(*kept, *left)))
    return target


def prune(run: RunFolder, keep: int, in_use: Collection[int] = ()) -> list[int]:
    """Remove the versions that `superseded` tells; their numbers."""
    gone = superseded(run, keep, in_use)
    remove_versions(run, gone)
    return gone


def superseded(run: RunFolder, keep: int, in_use: Collection[int] = ()) -> list[int]:
    """The numbers of all but the newest versions, `keep` of them with the current one.

    Never the current one, those `in_use`, those that the run's recipe names, and those that its trained model started from or
    was compared with.
    """
    from pipelines.refresh.state import read_state

    pointer = _pointer(run)
    if pointer is None:
        return []
    held = {pointer.version, *in_use, *_named_by_recipe(run), *read_state(run).versions_in_use()}
    others = [number for number in reversed(_numbers(run)) if number <= pointer.newest and number != pointer.version]
    return sorted(number for number in others[keep - 1 :] if number not in held)


def remove_versions(run: RunFolder, numbers: Collection[int]) -> None:
    """Remove versions of which none is current. The caller knows that nothing uses them."""
    for number in numbers:
        folder = _folder(run, number)
        leaving = folder.with_name(f".{folder.name}{_PARTIAL}")
        shutil.rmtree(leaving, ignore_errors=True)
        folder.rename(leaving)  # it is gone as a whole, also for a reader that comes now
        shutil.rmtree(leaving)


def repair(run: RunFolder) -> None:
    """Make the link `current` lead where current.json says; remove what cut-off promotions and prunings left."""
    pointer = _pointer(run)
    _remove_unfinished(run, pointer)
    if pointer is not None:
        _link(run, pointer.version)


def _earlier(run: RunFolder, pointer: _Pointer, there: list[Version]) -> Version:
    given_up = {each.fingerprint for each in pointer.rejected}
    before = [each for each in there if each.number < pointer.version and each.fingerprint not in given_up]
    if not before:
        raise UserError(
            f"Version {pointer.version} is the current one of {run.url}, and there is none before it. Name one with --to; "
            "`pairmill rollback RUN --list` shows which there are."
        )
    return before[-1]


def _left(run: RunFolder, pointer: _Pointer) -> list[Rejected]:
    """The current version, and the model in train where it is another one."""
    version = _read(run, pointer.version)
    left = []
    if version is not None:
        train = version.facts.get("train")
        left.append(
            Rejected(
                fingerprint=version.fingerprint,
                train=train if isinstance(train, str) else None,
                version=version.number,
                when=_now(),
            )
        )
    trained = _trained(run)
    if trained is not None and trained[0] not in {each.fingerprint for each in left}:
        left.append(Rejected(fingerprint=trained[0], train=trained[1], version=None, when=_now()))
    return left


def _trained(run: RunFolder) -> tuple[str, str | None] | None:
    """The fingerprint of the model that train holds, and of its training; None where there is none."""
    from pipelines.manifest import read_manifest
    from trainer.backbone import ModelFolderError

    manifest = read_manifest(run.job("train"))
    try:
        return trained_fingerprint(run), None if manifest is None else manifest.fingerprint
    except ModelFolderError:
        return None


def _write_version(run: RunFolder, version: Version, model: Path) -> None:
    from pipelines.forget.trained_on import copy_trained_on
    from trainer.checkpoint import publish_folder

    folder = _folder(run, version.number)
    partial = folder.with_name(f".{folder.name}{_PARTIAL}")
    shutil.copytree(model, partial / MODEL, copy_function=storage.link_or_copy)
    copy_trained_on(run, model, partial)
    (partial / VERSION_FILE).write_text(version.model_dump_json(indent=1) + "\n", "utf-8")
    publish_folder(partial, folder)


def _point(run: RunFolder, pointer: _Pointer) -> None:
    with storage.atomic_write(str(_local(run) / MODELS / POINTER)) as stream:
        stream.write((pointer.model_dump_json(indent=1) + "\n").encode())
    _link(run, pointer.version)


def _link(run: RunFolder, number: int) -> None:
    models = _local(run) / MODELS
    link, target = models / LINK, Path(f"{number:06d}") / MODEL
    if link.is_symlink() and link.readlink() == target:
        return
    new = models / f".{LINK}{storage.TEMPORARY}{uuid.uuid4().hex[:8]}"
    try:
        new.symlink_to(target)
        new.replace(link)
    except OSError:  # a file system without symbolic links: current.json says it all
        new.unlink(missing_ok=True)


def _remove_unfinished(run: RunFolder, pointer: _Pointer | None) -> None:
    models, newest = _local(run) / MODELS, pointer.newest if pointer else 0
    storage.remove_temporary_files(str(models))
    for leftover in models.glob(f".*{_PARTIAL}"):
        shutil.rmtree(leftover)
    unknown = [number for number in _numbers(run) if number > newest]
    if unknown == [newest + 1] and not _was_promoted(run, pointer, newest + 1):
        shutil.rmtree(_folder(run, newest + 1))
    elif unknown:  # no promotion leaves that behind: current.json is lost, or an old one
        raise UserError(
            f"{models} holds versions {', '.join(map(str, unknown))}, of which {models / POINTER} knows nothing. "
            f"{_remedy(run)}, or delete those that are not wanted."
        )


def _was_promoted(run: RunFolder, pointer: _Pointer | None, number: int) -> bool:
    """Whether current.json once knew a version that it does not know: it was lost, or an old one was put back."""
    from pipelines.refresh.state import read_state

    link = _local(run) / MODELS / LINK  # it is set after current.json
    if link.is_symlink() and link.readlink() == Path(f"{number:06d}") / MODEL:
        return True
    decided = read_state(run).decided  # and this is written after both
    return pointer is None and decided is not None and decided.promoted


def _pointer(run: RunFolder) -> _Pointer | None:
    if not storage.is_local(run.url):
        return None  # training reads and writes a local disk only
    file = _local(run) / MODELS / POINTER
    try:
        return _Pointer.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        there = ", ".join(str(number) for number in _numbers(run)) or "none"
        raise UserError(
            f"{file} cannot be read ({error.error_count()} faults, such as {error.errors()[0]['msg']}), so it is not known "
            f"which version is current. Versions there: {there}. {_remedy(run)}, or delete {file.parent} to begin anew."
        ) from None


def _remedy(run: RunFolder) -> str:
    newest = max(_numbers(run), default=1)
    return f"Write that file anew, e.g. {json.dumps({'version': newest, 'newest': newest})}"


def _existing(run: RunFolder, number: int) -> Version:
    version = _read(run, number)
    if version is None:
        raise UserError(
            f"{_local(run) / MODELS / POINTER} says that version {number} is current, and {_folder(run, number)} is not there, "
            "or not whole. Put it back, choose another version with `pairmill rollback RUN --to N`, or, where none is left, delete "
            f"{POINTER} to begin anew."
        )
    return version


def _read(run: RunFolder, number: int) -> Version | None:
    folder = _folder(run, number)
    try:
        version = Version.model_validate_json((folder / VERSION_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return version if (folder / MODEL).is_dir() else None


def _numbers(run: RunFolder) -> list[int]:
    models = _local(run) / MODELS
    return sorted(int(each.name) for each in models.glob("*") if each.is_dir() and _NUMBER.fullmatch(each.name))


def _named_by_recipe(run: RunFolder) -> set[int]:
    file = Path(_local(run) / "recipe.yaml")
    text = file.read_text("utf-8", "replace") if file.is_file() else ""
    return {int(number) for number in _NAMED.findall(text)}


def _folder(run: RunFolder, number: int) -> Path:
    return _local(run) / MODELS / f"{number:06d}"


def _local(run: RunFolder) -> Path:
    if not storage.is_local(run.url):
        raise UserError(f"Versions of a model lie on a local disk, and this run is at {run.url}.")
    return Path(storage.split_url(run.url)[1])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
