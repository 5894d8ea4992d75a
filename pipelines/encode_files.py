"""`pairmill encode`: the outputs of a model for the texts of files, in blocks that are there whole or not at all.

    FOLDER/blocks/NNNNNN.rows.parquet          row (from 0, over all blocks), id, file, number (its line or row there, from 1)
    FOLDER/blocks/NNNNNN.dense.npy             float16 [rows, D]
    FOLDER/blocks/NNNNNN.lexical.parquet       row, token_ids list<int32>, weights list<float32>
    FOLDER/blocks/NNNNNN.lexical.jsonl         {"row": 0, "id": "...", "weights": {"token": weight}}; tokens as in the vocabulary
    FOLDER/blocks/NNNNNN.multi_vector.npy      float16 [t, d]: a vector for each token but the first
    FOLDER/blocks/NNNNNN.offsets.npy           int64 [rows + 1]: the token vectors of row r are offsets[r] to offsets[r + 1]
    FOLDER/_MANIFEST.json                      written last: model, settings, counts, blocks
    FOLDER/_bad_rows.jsonl                     rows that were left out, where --max-bad-share allows some

Texts are read once into FOLDER/read, which goes when all is done. The same call again goes on from the blocks there are;
another model, setting or input starts anew.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError
from rich.console import Console

from pipelines import storage
from pipelines.errors import UserError
from pipelines.manifest import fingerprint
from pipelines.mining.inputs import InputSettings, file_facts, files_of
from pipelines.mining.progress import Progress, choose_progress
from pipelines.mining.reading import Unit, bad_rows_of, check_share, is_read, read_unit, units_of
from pipelines.mining.texts import StoredRows
from pipelines.mining.work import Stage, Work, read_arrow, write_array
from pipelines.recipe import explain_validation
from trainer.backbone import load_tokenizer, model_fingerprint
from trainer.encoder import ARITHMETIC, EncoderSettings
from trainer.encoder_processes import open_encoder
from trainer.m3_heads import Output
from trainer.token_windows import EmbeddingError

if TYPE_CHECKING:
    from trainer.encoder import Encoder, M3Outputs
    from trainer.encoder_processes import EncoderPool
    from trainer.sparse_vectors import SparseVectors

MANIFEST: Final = "_MANIFEST.json"
BAD_ROWS: Final = "_bad_rows.jsonl"
OUTPUTS: Final[tuple[Output, ...]] = ("dense", "lexical", "multi_vector")
BLOCK_ROWS: Final = 8192  # at most so many texts are encoded again after a kill
BLOCK_BYTES: Final = 64 << 20  # of text
# Token vectors take some 500 bytes a byte of text (1,024 dimensions): about 1 GiB a block.
BLOCK_BYTES_OF_TOKEN_VECTORS: Final = 2 << 20


@dataclass(frozen=True)
class EncodeTask:
    """What is encoded, and how."""

    inputs: InputSettings  # its corpus
    encoder: EncoderSettings
    role: Literal["query", "passage"]
    outputs: tuple[Output, ...]


def encoder_settings(given: dict[str, Any]) -> EncoderSettings:
    """Checked settings. Raises UserError."""
    try:
        return EncoderSettings.model_validate(given)
    except ValidationError as error:
        raise UserError(explain_validation(error, "the command line", {}, EncoderSettings)) from None


def encode_command(
    console: Console,
    paths: Sequence[str],
    output: str,
    encoder: EncoderSettings,
    *,
    role: str,
    outputs: Sequence[str],
    text_field: str | None,
    title_field: str,
    id_field: str | None,
    max_bad_share: float,
    log_json: bool,
) -> None:
    """Encode the texts of files and say what was done. Raises UserError for a word that is none of those known."""
    if role not in ("query", "passage"):
        raise UserError(f"--role {role}: there is no such role; there are query and passage.")
    wrong = next((name for name in outputs if name not in OUTPUTS), None)
    if wrong is not None or not outputs:
        raise UserError(f"--outputs {wrong or ''}: there is no such output; there are {', '.join(OUTPUTS)}.")
    if not storage.is_local(output):
        raise UserError(f"--output {output} is not on this machine: encode into a local folder, and copy that.")
    files = files_of(tuple(paths), "INPUT")
    names = {"text_field": text_field, "title_field": title_field or None, "id_field": id_field}
    inputs = InputSettings(pairs=tuple(files), corpus=tuple(files), max_bad_share=max_bad_share, **names)
    chosen = tuple(name for name in OUTPUTS if name in outputs)
    with choose_progress(console, as_json=log_json) as progress:
        facts = encode_files(EncodeTask(inputs, encoder, role, chosen), Path(output).expanduser(), progress)  # type: ignore[arg-type]
    if not log_json:
        left_out = f", {facts['bad_rows']:,} rows left out ({BAD_ROWS})" if facts["bad_rows"] else ""
        cut = f", {facts['truncated']:,} of them cut to {facts['max_length']:,} tokens" if facts["truncated"] else ""
        told = f"{facts['rows']:,} texts{cut}{left_out}: {output}/blocks"
        console.print(told, highlight=False, markup=False, soft_wrap=True)


def encode_files(task: EncodeTask, folder: Path, progress: Progress) -> dict[str, Any]:
    """Encode all texts into `folder` and return its manifest; nothing is done where that is of this very task.

    Raises MiningInputError and SourceError for inputs, ModelFolderError and EmbeddingError for the model, UserError where
    the folder holds something else, or another command works in it.
    """
    facts = _identity(task)
    with Work(folder).held():
        manifest = _finished(folder, facts)
        if manifest is not None:
            shutil.rmtree(folder / "read", ignore_errors=True)  # of a run that was killed after its last block
            progress.start("encode", manifest["rows"], "texts", manifest["rows"])
            progress.finish("up to date")
            return manifest
        storage.remove(str(folder / MANIFEST))
        read, units, bad = _read(task, folder, facts, progress)
        stage = Work(folder).stage("blocks", **facts)
        encoded = _encode(task, stage, read, units, progress)
        manifest = {**facts, **encoded, "bad_rows": bad, "fingerprint": fingerprint(**facts)}
        storage.write_json(str(folder / MANIFEST), manifest)
        shutil.rmtree(read.folder)
    return manifest


def _identity(task: EncodeTask) -> dict[str, Any]:
    """All that the blocks follow from."""
    settings = task.encoder.model_dump(mode="json")
    free = ("model", "device", "tokens_per_batch")
    return {
        "model": Path(task.encoder.model).name,
        "model_fingerprint": model_fingerprint(task.encoder.model),
        "encoder": {name: value for name, value in settings.items() if name not in free},
        "arithmetic": ARITHMETIC,
        "role": task.role,
        "outputs": list(task.outputs),
        "inputs": file_facts(list(task.inputs.corpus)),
        "fields": task.inputs.model_dump(mode="json", include={"text_field", "title_field", "id_field"}),
        "bad_allowed": task.inputs.max_bad_share > 0,
    }


def _finished(folder: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
        there = all((folder / "blocks" / name).exists() for block in manifest["blocks"] for name in block["files"])
        return manifest if there and manifest["fingerprint"] == fingerprint(**facts) else None
    except (ValueError, KeyError, TypeError):  # damaged; the blocks say for themselves what they are
        return None


def _read(task: EncodeTask, folder: Path, facts: dict[str, Any], progress: Progress) -> tuple[Stage, list[Unit], int]:
    """The texts, in Arrow files to be mapped; and how many rows could not be used."""
    units = units_of(task.inputs.corpus, [])
    stage = Work(folder).stage("read", **{name: facts[name] for name in ("inputs", "fields", "bad_allowed")})
    progress.start("read", None, "rows")
    for unit in units:
        if not is_read(stage, unit):
            read_unit(stage, unit, units, task.inputs, progress)
    bad = check_share(stage, units, task.inputs).total()
    if bad:
        with storage.atomic_write(str(folder / BAD_ROWS)) as stream:
            for line in bad_rows_of(stage, units):
                stream.write(line)
    else:
        storage.remove(str(folder / BAD_ROWS))
    progress.finish(f"{bad:,} bad rows in {BAD_ROWS}" if bad else "")
    return stage, units, bad


def _encode(task: EncodeTask, stage: Stage, read: Stage, units: Sequence[Unit], progress: Progress) -> dict[str, Any]:
    paths = [read.file(f"{unit.name}.texts.arrow") for unit in units]
    tables = [read_arrow(path) for path in paths]
    texts = StoredRows(paths, ["text", "id", "number"])
    lengths = np.concatenate([_byte_lengths(table) for table in tables])
    of_files = np.cumsum([0, *(table.num_rows for table in tables)])
    most = BLOCK_BYTES_OF_TOKEN_VECTORS if "multi_vector" in task.outputs else BLOCK_BYTES
    blocks = list(_blocks(lengths, most))
    missing = [number for number in range(len(blocks)) if not _is_whole(stage, number)]
    rows_missing = sum(blocks[number].stop - blocks[number].start for number in missing)
    progress.start("encode", len(lengths), "texts", len(lengths) - rows_missing)
    encoder = open_encoder(task.encoder)
    try:
        for number in missing:
            rows = np.arange(blocks[number].start, blocks[number].stop)
            batch = texts.take(rows)
            file = np.searchsorted(of_files, rows, "right") - 1
            names = pa.array([unit.path for unit in units]).take(pa.array(file))
            _Block(task, stage, number, encoder).write(batch, rows, names, progress)
        facts = [storage.read_json(str(stage.file(_name(number, "json")))) for number in range(len(blocks))]
        progress.finish()
        return {
            "rows": len(lengths),
            "tokens": sum(each["tokens"] for each in facts),
            "truncated": sum(each["truncated"] for each in facts),
            "max_length": encoder.max_length(task.role),
            "prompt": encoder.prompt(task.role),
            "blocks": [{"rows": each["rows"], "files": each["files"]} for each in facts],
        }
    finally:
        encoder.close()


def _byte_lengths(table: pa.Table) -> npt.NDArray[np.int64]:
    lengths: npt.NDArray[np.int64] = pc.binary_length(table["text"]).to_numpy().astype(np.int64)
    return lengths


def _blocks(lengths: npt.NDArray[np.int64], most_bytes: int) -> Iterator[slice]:
    """Runs of rows of so many bytes and BLOCK_ROWS rows at most, or of one row."""
    ends, start = np.cumsum(lengths), 0
    while start < len(lengths):
        before = int(ends[start - 1]) if start else 0
        by_bytes = int(np.searchsorted(ends, before + most_bytes, side="right"))
        end = max(start + 1, min(by_bytes, start + BLOCK_ROWS))
        yield slice(start, end)
        start = end


def _is_whole(stage: Stage, number: int) -> bool:
    record = _name(number, "json")
    return stage.has(record) and all(stage.has(name) for name in storage.read_json(str(stage.file(record)))["files"])


def _name(number: int, kind: str) -> str:
    return f"{number:06d}.{kind}"


@dataclass(frozen=True)
class _Block:
    """The files of one block."""

    task: EncodeTask
    stage: Stage
    number: int
    encoder: "Encoder | EncoderPool"

    def write(self, batch: pa.RecordBatch, rows: npt.NDArray[np.int64], names: pa.Array, progress: Progress) -> None:
        encoder, before = self.encoder, (self.encoder.tokens, self.encoder.truncated)
        told = encoder.encoded

        def advance(encoded: int) -> None:
            nonlocal told
            progress.advance(encoded - told)
            told = encoded

        encoder.on_batch = advance
        try:
            outputs = encoder.encode_all(batch["text"], self.task.role, self.task.outputs)
        except EmbeddingError as error:
            first, last = (f"{names[place].as_py()} number {batch['number'][place].as_py()}" for place in (0, -1))
            raise EmbeddingError(f"Of the texts {first} to {last}: {error}") from None
        columns = {"row": pa.array(rows), "id": batch["id"], "file": names, "number": batch["number"]}
        files = [self._table("rows.parquet", columns), *self._outputs(outputs, rows, batch["id"])]
        facts = {"rows": len(rows), "tokens": encoder.tokens - before[0], "truncated": encoder.truncated - before[1]}
        # Last: with it the block is finished.
        storage.write_json(str(self.stage.file(_name(self.number, "json"))), {**facts, "files": files})

    def _outputs(self, outputs: "M3Outputs", rows: npt.NDArray[np.int64], ids: pa.Array) -> list[str]:
        files = []
        if outputs.dense is not None:
            files.append(self._array("dense.npy", self._rounded(outputs.dense)))
        if outputs.lexical is not None:
            lists = {
                "token_ids": _lists(outputs.lexical.offsets, outputs.lexical.token_ids),
                "weights": _lists(outputs.lexical.offsets, outputs.lexical.weights),
            }
            files.append(self._table("lexical.parquet", {"row": pa.array(rows), **lists}))
            files.append(self._dictionaries(outputs.lexical, rows, ids))
        if outputs.token_vectors is not None and outputs.token_offsets is not None:
            files.append(self._array("multi_vector.npy", outputs.token_vectors))
            files.append(self._array("offsets.npy", outputs.token_offsets))
        return files

    def _rounded(self, dense: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
        with np.errstate(over="ignore"):  # told below
            rounded = dense.astype(np.float16)
        if not np.isfinite(rounded).all():
            raise EmbeddingError(
                f"{self.task.encoder.model} gives values beyond the range of float16: set normalise to true."
            )
        return rounded

    def _array(self, kind: str, array: npt.NDArray[Any]) -> str:
        write_array(self.stage.file(_name(self.number, kind)), array)
        return _name(self.number, kind)

    def _table(self, kind: str, columns: dict[str, pa.Array]) -> str:
        with storage.atomic_write(str(self.stage.file(_name(self.number, kind)))) as stream:
            pq.write_table(pa.table(columns), stream, compression="zstd", store_schema=False)
        return _name(self.number, kind)

    def _dictionaries(self, vectors: "SparseVectors", rows: npt.NDArray[np.int64], ids: pa.Array) -> str:
        used, places = np.unique(vectors.token_ids, return_inverse=True)
        tokens = _tokenizer(self.task.encoder.model).convert_ids_to_tokens(used.tolist())
        names = [json.dumps(name, ensure_ascii=False) for name in tokens]
        # As text numpy gives the fewest digits that are this float32.
        entries = [f"{names[p]}: {w}" for p, w in zip(places.tolist(), vectors.weights.astype(str), strict=True)]
        bounds = vectors.offsets.tolist()
        with storage.atomic_write(str(self.stage.file(_name(self.number, "lexical.jsonl")))) as stream:
            for place, (row, name) in enumerate(zip(rows.tolist(), ids.to_pylist(), strict=True)):
                weights = ", ".join(entries[bounds[place] : bounds[place + 1]])
                head = f'{{"row": {row}, "id": {json.dumps(name, ensure_ascii=False)}'
                stream.write(f'{head}, "weights": {{{weights}}}}}\n'.encode())
        return _name(self.number, "lexical.jsonl")


@cache
def _tokenizer(model: str) -> Any:
    return load_tokenizer(model)[0]


def _lists(offsets: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
