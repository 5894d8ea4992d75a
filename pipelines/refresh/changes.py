"""Which input files are new, changed or gone since the last refresh, by source; and refusing to take a missing disk for it.

Files are compared by their identities (pipelines.jobs.extract) and states: content hashes of local files, e-tags or times of
others. What they are compared with is RUN/refresh/inputs.json, written when a refresh has come to its end; before the first
one, what job extract has read.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipelines import storage
from pipelines.errors import UserError
from pipelines.jobs import extract
from pipelines.manifest import fingerprint, read_manifest
from pipelines.recipe import Recipe, SourceEntry
from pipelines.refresh.content_states import REFRESH
from pipelines.refresh.records import SourceChange
from pipelines.run_folder import RunFolder
from sources.files.reading import NoFileError, expand_paths
from sources.packaged import resolve_package_path

INPUTS: Final = "inputs.json"
_VERSION: Final = 1
_EXAMPLES: Final = 20

# label -> identity -> (bytes or None, what tells a change)
Inputs = dict[str, dict[str, tuple[int | None, str]]]


def inputs_now(recipe: Recipe, run: RunFolder) -> Inputs:
    """The files there are now, by source label.

    Raises UserError where a path of a source matches nothing; what sources raise.
    """
    try:
        planned = extract.plan(recipe, run).inputs
    except NoFileError as error:
        raise UserError(_nothing_there(recipe, run, error)) from error
    return _by_label(planned, [entry.label for entry in recipe.sources])


def inputs_before(run: RunFolder) -> Inputs:
    """The files of the last refresh; of the last finished extract where there was none; else no files."""
    kept = _kept_inputs(run)
    if kept is not None:
        return kept
    manifest = read_manifest(run.job("extract"))
    if manifest is None:
        return {}
    labels = [str(entry.get("label") or entry["source"]) for entry in manifest.settings["sources"]]
    return _by_label(manifest.inputs, labels)


def _kept_inputs(run: RunFolder) -> Inputs | None:
    url = storage.join(run.url, REFRESH, INPUTS)
    try:
        content = storage.read_json(url)
        if content["version"] != _VERSION:
            return None
        return {
            label: {identity: (size, str(state)) for identity, (size, state) in files.items()}
            for label, files in content["sources"].items()
        }
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logging.getLogger(__name__).warning("%s cannot be read, job extract's inputs take its place: %s", url, error)
        return None


def keep_inputs(run: RunFolder, inputs: Inputs) -> None:
    """Remember the files of a refresh that came to its end."""
    if _kept_inputs(run) == inputs:
        return
    content = json.dumps({"version": _VERSION, "sources": inputs}, sort_keys=True, separators=(",", ":")).encode()
    with storage.atomic_write(storage.join(run.url, REFRESH, INPUTS)) as stream:
        stream.write(content)


def _by_label(inputs: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Inputs:
    found: Inputs = {label: {} for label in labels}
    times: Counter[tuple[str, str]] = Counter()
    for each in inputs:
        label, identity = labels[each["source"]], str(each["path"])
        times[label, identity] += 1
        if (seen := times[label, identity]) > 1:  # two sources of one label
            identity = f"{identity} ({seen})"
        state = str(each["stamp"]) if "beside" not in each else fingerprint(state=[each["stamp"], each["beside"]])
        found[label][identity] = (each["bytes"], state)
    return found


def compare(before: Inputs, now: Inputs) -> tuple[SourceChange, ...]:
    """The change of every source that has files, or had some; in the order of the recipe, those that are gone last."""
    labels = [*now, *(label for label in before if label not in now)]
    return tuple(_change(label, before.get(label, {}), now.get(label, {})) for label in labels)


def _change(
    label: str, before: Mapping[str, tuple[int | None, str]], now: Mapping[str, tuple[int | None, str]]
) -> SourceChange:
    named = {
        "new": sorted(now.keys() - before.keys()),
        "changed": sorted(name for name in now.keys() & before.keys() if tuple(now[name]) != tuple(before[name])),
        "gone": sorted(before.keys() - now.keys()),
    }
    return SourceChange(
        label=label,
        new=len(named["new"]),
        changed=len(named["changed"]),
        gone=len(named["gone"]),
        unchanged=len(now) - len(named["new"]) - len(named["changed"]),
        new_bytes=sum(now[name][0] or 0 for kind in ("new", "changed") for name in named[kind]),
        bytes=sum(size or 0 for size, _ in now.values()),
        examples={kind: tuple(names[:_EXAMPLES]) for kind, names in named.items() if names},
    )


def refuse_vanished(recipe: Recipe, run: RunFolder, before: Inputs, now: Inputs) -> None:
    """A disk that is not mounted, or a half-done copy, must not delete a corpus silently.

    Raises UserError for a source that lost files, and has less than `refresh.least_left` of the bytes it had. A dump that
    takes another's place is no loss.
    """
    share = recipe.refresh.least_left
    for label, files in before.items():
        left = now.get(label)
        if left is None or not files.keys() - left.keys():  # a source that the recipe no longer has is meant
            continue
        had, has = (sum(size or 0 for size, _ in each.values()) for each in (files, left))
        if has < share * had:
            gone = sorted(files.keys() - left.keys())
            raise UserError(
                f"Source {label!r} lost {len(gone):,} of its {len(files):,} files ({', '.join(gone[:3])}"
                f"{' ...' if len(gone) > 3 else ''}) and has {has:,} bytes where the last refresh of {run.url} read {had:,}: "
                "less than refresh.least_left allows. A disk that is not mounted looks like this, so nothing was done. Bring the files back; "
                "or, where they are gone for good, use --allow-gone, and what came of them goes too."
            )


def _nothing_there(recipe: Recipe, run: RunFolder, error: NoFileError) -> str:
    labels = [entry.label for entry in recipe.sources if _empty_paths(entry)]
    before = inputs_before(run)
    had = sum(len(before.get(label, {})) for label in labels)
    if not had:
        return str(error)
    return (
        f"{error}. Source {', '.join(repr(label) for label in labels)} had {had:,} files at the last refresh of {run.url}. "
        "A disk that is not mounted or an empty bucket looks like this, so nothing was done. Bring the files back; or, where "
        "they are gone for good, take the path out of the recipe or use --allow-gone, and what came of them goes too."
    )


def without_empty_paths(recipe: Recipe) -> Recipe:
    """The recipe without the paths that match nothing, and without the sources that have no other.

    Raises UserError where no source is left.
    """
    kept = []
    for entry in recipe.sources:
        empty = _empty_paths(entry)
        paths = tuple(path for path in entry.paths if path not in empty)
        if paths:
            kept.append(entry.model_copy(update={"paths": paths}) if empty else entry)
    if not kept:
        raise UserError(
            f"None of the sources of recipe {recipe.name} has a file, so there is nothing to make pairs of."
        )
    return recipe.model_copy(update={"sources": tuple(kept)})


def _empty_paths(entry: SourceEntry) -> set[str]:
    empty = set()
    for path in entry.paths:
        try:
            expand_paths([resolve_package_path(path)])
        except NoFileError:
            empty.add(path)
    return empty
