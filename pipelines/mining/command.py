"""What stands between the options of `pairmill mine` and the engine: settings from presets and options, tables at the end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines import storage
from pipelines.errors import UserError
from pipelines.mining.engine import MineReport, mine_files
from pipelines.mining.inputs import InputSettings, is_beir_folder
from pipelines.mining.outputs import OutputFormat, OutputSettings
from pipelines.mining.progress import choose_progress
from pipelines.mining.settings import PRESETS, MineFilesSettings
from pipelines.recipe import explain_validation

_Settings = TypeVar("_Settings", bound=BaseModel)


def mine_command(
    console: Console,
    *,
    inputs: Mapping[str, Any],
    preset: str | None,
    chosen: Mapping[str, Any],
    output: str,
    output_format: str,
    scores: bool | None,
    keep_without_negatives: bool,
    report_file: str | None,
    workers: int,
    work: str | None,
    keep_work: bool,
    log_json: bool,
) -> None:
    """Mine files and print what was found. `chosen` are nested settings; they go before the preset's."""
    read = _checked(InputSettings, dict(inputs))
    settings = mine_settings(preset, chosen)
    form = _output_format(output_format, output, read)
    folder = work_folder(output, work)
    wanted = OutputSettings(output, form, scores, keep_without_negatives, settings.select.negatives)
    with choose_progress(console, as_json=log_json) as progress:
        report = mine_files(
            read,
            settings,
            wanted,
            folder,
            workers=workers,
            keep_work=keep_work,
            progress=progress,
        )
    if report_file:
        storage.write_json(report_file, report.as_dict())
    if not log_json:
        console.print(report_table(report), highlight=False)


def mine_settings(preset: str | None, chosen: Mapping[str, Any]) -> MineFilesSettings:
    """The settings of a preset with some of them set anew. Raises UserError."""
    if preset is not None and preset not in PRESETS:
        raise UserError(f"--preset {preset}: there is no such preset; there are {', '.join(PRESETS)}.")
    return _checked(MineFilesSettings, _merged(PRESETS[preset] if preset else {}, chosen))


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged


def _checked(model: type[_Settings], content: dict[str, Any]) -> _Settings:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(explain_validation(error, "the command line", {}, model)) from None


def _output_format(wanted: str, output: str, inputs: InputSettings) -> OutputFormat:
    """A BEIR folder's own form of negatives is a TSV; a TSV can hold nothing else. Raises UserError."""
    known = get_args(OutputFormat)
    if wanted not in known:
        raise UserError(f"--output-format {wanted}: there is no such form; there are {', '.join(known)}.")
    is_tsv = output.endswith(".tsv")
    beir = inputs.form == "beir" or is_beir_folder(inputs.pairs[0])
    if wanted == "qrels" or (wanted == "same" and is_tsv):
        if not beir:
            raise UserError(
                f"--output {output}: negatives by id (TSV) need a BEIR folder as --pairs; write JSONL or Parquet."
            )
        if not is_tsv:
            raise UserError(f"--output {output}: let the name of a file of negatives by id end in .tsv.")
        return "qrels"
    if not output.endswith((".jsonl", ".json", ".ndjson", ".parquet", ".pq")):
        raise UserError(f"--output {output}: let the name end in .jsonl or .parquet, which says what is written.")
    return cast(OutputFormat, wanted)


def work_folder(output: str, work: str | None) -> Path:
    """The local folder to work in. Raises UserError where the output is elsewhere and none is named, or is a folder."""
    if work is None and not storage.is_local(output):
        raise UserError(f"--output {output} is not on this machine: name a local folder to work in with --work.")
    if storage.is_local(output) and Path(output).is_dir():
        raise UserError(f"--output {output} is a folder: name a file in it, e.g. {output.rstrip('/')}/mined.jsonl.")
    return Path(work or f"{output}.work").expanduser()


def report_table(report: MineReport) -> Table:
    """The counts of a run."""
    table = Table(title="Mined", title_justify="left", header_style="bold")
    for column in ("what", "", "rows"):
        table.add_column(column, justify="right" if column == "rows" else "left")
    groups = {
        "input": report.inputs,
        **report.encoding,
        "bad rows": report.bad_rows,
        "candidates left out": report.candidates_left_out,
        "negatives found by": report.negatives_by_origin,
        "output": report.output,
    }
    for group, counts in groups.items():
        for name, count in counts.items():
            if count or group in ("input", "output"):
                table.add_row(escape(group), escape(name.replace("_", " ")), f"{count:,}")
    return table
