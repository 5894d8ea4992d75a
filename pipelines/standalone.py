"""One job alone on plain files: a small recipe around it, a working folder beside the output, and an export at the end.

The working folder OUTPUT.work is a run folder like any other, so a job that is killed goes on from what it had finished.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.console import Console

from pipelines import storage
from pipelines.errors import UserError
from pipelines.job import PAIRS, finished
from pipelines.recipe import Recipe, load_recipe, parse_recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import read_batches
from sources.schema import PAIR

TABLES = (".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz")
COUNTED = ("rows_in", "rows_out", "dropped", "funnel")


def recipe(content: dict[str, Any]) -> Recipe:
    """A recipe of a command's own. It tells changed files by their times: one run gains nothing from reading them twice."""
    content = {"extract": {"compare_files": "time"}} | content
    return parse_recipe(yaml.safe_dump(content, allow_unicode=True), "the command line")


def pair_recipe(job: str, inputs: Sequence[str], fields: dict[str, str], settings: dict[str, Any]) -> Recipe:
    """A recipe that reads pairs from plain files and runs one job on them."""
    tables = [path for path in inputs if path.endswith(TABLES)]
    lines = [path for path in inputs if path not in tables]
    entries = [
        {"source": source, "paths": paths, "label": "input", **fields}
        for source, paths in (("jsonl", lines), ("table", tables))
        if paths
    ]
    return recipe({"name": job, "sources": entries, **settings})


def evaluation_sets(against: Sequence[str], corpora: Sequence[str], field: str | None) -> list[dict[str, Any]]:
    """The sets that `--against NAME=PATH` and `--against-corpus NAME=PATH` name, as a recipe has them.

    A folder's files are told by their names: queries* and topics*, corpus* and collection*.
    """
    sets: dict[str, dict[str, Any]] = {}
    for option, role, given in (("--against", "queries", against), ("--against-corpus", "corpus", corpora)):
        for words in given:
            name, equals, path = words.partition("=")
            if not (name and equals and path):
                raise UserError(f"{option} {words}: write NAME=PATH, e.g. {option} nfcorpus=beir/nfcorpus.")
            of_set = sets.setdefault(name, {"name": name} | ({"query_field": field} if field else {}))
            found = _set_files(path) if role == "queries" and _is_folder(path) else {role: [path]}
            for each, paths in found.items():
                of_set[each] = [*of_set.get(each, []), *paths]
    return list(sets.values())


def _is_folder(path: str) -> bool:
    filesystem, inside = storage.split_url(path)
    return bool(filesystem.isdir(inside))


def _set_files(folder: str) -> dict[str, list[str]]:
    starts = {"queries": ("queries", "topics"), "corpus": ("corpus", "collection")}
    files = storage.list_tree(folder)
    found = {
        role: [storage.join(folder, file) for file in files if any(step.startswith(names) for step in file.split("/"))]
        for role, names in starts.items()
    }
    if not found["queries"] and not found["corpus"]:
        raise UserError(
            f"--against: the folder {folder} has no file named queries*, topics*, corpus* or collection*. Name the set's "
            "files: --against NAME=FILE for queries, --against-corpus NAME=FILE for passages."
        )
    return {role: paths for role, paths in found.items() if paths}


def work_folder(output: str) -> RunFolder:
    folder = RunFolder(f"{output}.work")
    if storage.exists(folder.url) and storage.list_tree(folder.url) and not storage.exists(folder.recipe):
        raise UserError(
            f"{folder.url} is where this job would work, and holds something else. Move it, or choose another --output."
        )
    return folder


def remove_work_folder(folder: RunFolder) -> None:
    storage.remove(folder.url)


def export(folder: RunFolder, job: str, output: str) -> int:
    """Write the job's rows to `output` (JSONL, or Parquet by the ending); returns how many."""
    files = finished(folder, job).files_of(PAIRS)
    batches = (batch for file in files for batch in read_batches(storage.join(folder.job(job), file.path)))
    if output.endswith(".parquet"):
        return _write_parquet(output, batches)
    return _write_lines(output, (line for batch in batches for line in _pair_lines(batch)))


def _pair_lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    for row in batch.to_pylist():
        shown = {
            key: value.hex() if isinstance(value, bytes) else value for key, value in row.items() if value is not None
        }
        yield json.dumps(shown, ensure_ascii=False).encode() + b"\n"


def export_leaks(folder: RunFolder, output: str) -> None:
    """Write what decontaminate found to `output`: JSONL, or Parquet by the ending."""
    from pipelines.jobs.decontaminate import LEAK, LEAKS

    files = finished(folder, "decontaminate").files_of(LEAKS)
    batches = (batch for file in files for batch in read_batches(storage.join(folder.job("decontaminate"), file.path)))
    if output.endswith(".parquet"):
        _write_parquet(output, batches, LEAK)
    else:
        _write_lines(output, (line for batch in batches for line in _pair_lines(batch)))


def _write_lines(output: str, lines: Iterator[bytes]) -> int:
    rows = 0
    with storage.atomic_write(output) as stream:
        for line in lines:
            stream.write(line)
            rows += 1
    return rows


def _write_parquet(output: str, batches: Iterator[pa.RecordBatch], schema: pa.Schema = PAIR) -> int:
    rows = 0
    with (
        storage.atomic_write(output) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd", store_schema=False) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def write_counts(folder: RunFolder, job: str, report_file: str | None) -> None:
    """The counts by reason as JSON, where asked for."""
    if report_file:
        manifest = finished(folder, job)
        storage.write_json(
            report_file, {name: getattr(manifest, name) for name in COUNTED} | {"details": manifest.details}
        )


def show_calibration(console: Console, folder: RunFolder, samples: int, *, as_json: bool) -> None:
    """Show what thresholds of job score would keep of a run whose job score is finished. Raises UserError where it is not."""
    from pipelines.score_calibration import ROLES, calibration, calibration_view

    settings = load_recipe(folder.recipe).score
    if settings is None:
        raise UserError(f"The recipe of {folder.url} has no `score`: there is no relevance to look at.")
    urls = [storage.join(folder.job("score"), file.path) for file in finished(folder, "score").files_of(*ROLES)]
    found = calibration(urls, settings, samples)
    if found is None:
        raise UserError(
            f"No pair of {folder.url} was scored: it has none, or none in a language that the encoder reads."
        )
    if as_json:
        console.file.write(json.dumps(found.as_json(), ensure_ascii=False) + "\n")
    else:
        console.print(calibration_view(found), highlight=False)
