"""Pairs and texts for `pairmill filter --explain` and `--calibrate`: read here and now, without a run around them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from filters.rules import RULES
from filters.settings import FilterSettings
from pipelines import standalone, storage
from pipelines.errors import UserError
from pipelines.job import PAIRS, finished
from pipelines.recipe import SourceEntry, explain_validation, load_recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import read_batches
from sources.catalogue import load_source
from sources.files.reading import expand_paths
from sources.packaged import resolve_package_path
from sources.schema import PAIR
from sources.source import Extracted

ROWS: Final = 4096  # at once, as the filter job
_SPLIT_BYTES: Final = 128 * 2**20


def filter_settings(given: Mapping[str, Any]) -> FilterSettings:
    """Settings as the recipe's section has them. Raises UserError naming what is wrong."""
    try:
        return FilterSettings.model_validate(given)
    except ValidationError as error:
        raise UserError(explain_validation(error, "the command line", {}, FilterSettings, ("filter",))) from None


def is_run(path: str) -> bool:
    return storage.exists(RunFolder(path).recipe)


def settings_of_run(path: str) -> FilterSettings:
    """The filter settings of a run's recipe."""
    settings = load_recipe(RunFolder(path).recipe).filter
    if settings is None:
        raise UserError(f"The recipe of {path} has no `filter`; name a preset with --preset.")
    return settings


def pairs_of_run(path: str) -> Iterator[pa.RecordBatch]:
    """The pairs that a run's filter job reads, or would read, as PAIR batches."""
    run = RunFolder(path)
    before = finished(run, "extract" if load_recipe(run.recipe).synthesize is None else "synthesize")
    for file in before.files_of(PAIRS):
        yield from read_batches(storage.join(run.job(before.job), file.path), rows=ROWS)


def pairs_of_files(inputs: Sequence[str], fields: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """The pairs of plain files, as `pairmill filter` reads them."""
    recipe = standalone.pair_recipe("filter", inputs, dict(fields), {})
    for extracted in _read(recipe.sources):
        yield extracted.pairs


def texts_of_files(inputs: Sequence[str], fields: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """The positives of plain files, as REJECT batches: a text without a query is read as a pair of itself twice, which no
    source lets through."""
    alone = {"query": fields["positive"], **{name: value for name, value in fields.items() if name != "query"}}
    recipe = standalone.pair_recipe("filter", inputs, alone, {})
    for extracted in _read(recipe.sources):
        yield extracted.rejects


def unjudged(settings: FilterSettings, kind: str) -> str | None:
    """What to say where all rules that are switched on judge other kinds of pairs; None where some rule judges this one."""
    kinds = [RULES[number].kinds for number in settings.active]
    if not kinds or any(each is None or kind in each for each in kinds):
        return None
    judged = ", ".join(sorted(frozenset().union(*(each for each in kinds if each is not None))))
    return f"No rule of these settings judges pairs of kind {kind}, so all pass; judged are {judged}: see --kind."


def sample_pairs(batches: Iterator[pa.RecordBatch], rows: int) -> tuple[pa.Table, int]:
    """The pairs with the smallest ids - a random sample that is the same on every run - and how many there are in all."""
    table, seen = PAIR.empty_table(), 0
    for batch in batches:
        seen += batch.num_rows
        table = pa.concat_tables([table, pa.Table.from_batches([batch])])
        if table.num_rows > 2 * rows:
            table = _smallest_ids(table, rows)
    return _smallest_ids(table, rows), seen


def _smallest_ids(table: pa.Table, rows: int) -> pa.Table:
    ids = np.array(table["pair_id"].to_pylist(), dtype="S16") if table.num_rows else np.empty(0, "S16")
    return table.take(pa.array(np.argsort(ids, kind="stable")[:rows]))


def _read(entries: Sequence[SourceEntry]) -> Iterator[Extracted]:
    for entry in entries:
        adapter, settings = load_source(entry.source), entry.adapter_settings()
        paths = expand_paths([resolve_package_path(path) for path in entry.paths])
        for file in adapter.gather(paths, settings):
            for split in adapter.input_splits(file, settings, _SPLIT_BYTES):
                yield from adapter.read(split, settings)
