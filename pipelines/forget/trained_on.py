"""Which pairs, passages, documents and URLs a model was trained on, kept beside it as hashes: RUN/models/NNNNNN/trained_on.parquet.

The shards it was made of change with every refresh; this file says later whether a version has seen a document. It holds what
pack had when the version was promoted: eight bytes of hash each, sorted, no text. By chance one in 2^64 / rows hashes is another's.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.forget.tombstones import document_hash, name_hash, name_hashes
from pipelines.job import PAIRS
from pipelines.manifest import Manifest, read_manifest
from pipelines.run_folder import RunFolder
from pipelines.shards import read_batches

FILE: Final = "trained_on.parquet"
KINDS: Final = ("pair", "passage", "document", "url")
SCHEMA: Final = pa.schema([pa.field("kind", pa.uint8(), nullable=False), pa.field("hash", pa.uint64(), nullable=False)])
_PASSAGES: Final = "passages"

Hashes = npt.NDArray[np.uint64]


def write_trained_on(run: RunFolder, folder: str | Path, started_from: Sequence[str] = ()) -> Path | None:
    """Write FOLDER/trained_on.parquet of what pack holds now: its path; None, and nothing written, where pack is not finished.

    What models that the training started from have beside them is added: their weights have seen it. Rows are sorted by kind (a
    number of KINDS) and hash: the same pack gives the same bytes. Raises OSError.
    """
    hashes = trained_on(run)
    if hashes is None:
        return None
    for model in started_from:
        before = Path(model).parent / FILE
        if before.is_file():
            seen = read_trained_on(str(before))
            hashes = {kind: np.union1d(hashes[kind], seen[kind]) for kind in KINDS}
    path = Path(folder) / FILE
    kinds = np.concatenate([np.full(len(of), number, np.uint8) for number, of in enumerate(hashes.values())])
    table = pa.table([kinds, np.concatenate(list(hashes.values()))], schema=SCHEMA)
    with storage.atomic_write(str(path)) as stream:
        pq.write_table(table, stream, compression="zstd", store_schema=False)
    return path


def trained_on(run: RunFolder) -> dict[str, Hashes] | None:
    """Sorted hashes by kind of what the run's pack holds now; None where pack is not finished."""
    pack = read_manifest(run.job("pack"))
    if pack is None:
        return None
    ids = _ids(run, pack, PAIRS, "pair_id")
    documents, urls = _names(run, pack, ids)
    passages = first_eight(_ids(run, pack, _PASSAGES, "passage_id"))
    found = {"pair": first_eight(ids), "passage": passages, "document": of_hex(documents), "url": of_hex(urls)}
    return {kind: np.unique(found[kind]) for kind in KINDS}


def read_trained_on(path: str) -> dict[str, Hashes]:
    """What write_trained_on wrote. Raises OSError."""
    with storage.open_for_reading(path) as stream:
        table = pq.read_table(stream)
    kinds = table["kind"].to_numpy()
    return {kind: table["hash"].to_numpy()[kinds == number] for number, kind in enumerate(KINDS)}


def first_eight(ids: pa.Array) -> Hashes:
    """uint64 [n]: the first eight bytes of binary(16) ids."""
    if len(ids) == 0:
        return np.zeros(0, np.uint64)
    words = np.frombuffer(ids.buffers()[1], ">u8").reshape(-1, 2)
    return words[ids.offset : ids.offset + len(ids), 0].astype(np.uint64)


def of_hex(hashes: Iterable[str]) -> Hashes:
    """uint64 [n]: the first eight bytes of hexadecimal hashes."""
    return np.array([int(each[:16], 16) for each in hashes], np.uint64)


def hashes_of(kind: str, values: Iterable[Any]) -> Hashes:
    """Hashes as the file has them: of ids (bytes), of (source, document id), of URLs."""
    if kind == "document":
        return of_hex(document_hash(*each) for each in values)
    if kind == "url":
        return of_hex(name_hash("url", each) for each in values)
    return first_eight(pa.array(sorted(values), pa.binary(16)))


def _ids(run: RunFolder, pack: Manifest, role: str, column: str) -> pa.Array:
    urls = [storage.join(run.job("pack"), file.path) for file in pack.files_of(role)]
    found = [batch[column] for url in urls for batch in read_batches(url, [column], 65_536)]
    return pa.concat_arrays([pa.array([], pa.binary(16)), *found])


def _names(run: RunFolder, pack: Manifest, pair_ids: pa.Array) -> tuple[set[str], set[str]]:
    """Hashes of the documents and the URLs of the packed pairs, from the pair shards that pack read."""
    documents: set[str] = set()
    urls: set[str] = set()
    for batch in _pairs_read(run, pack):
        trained = batch.filter(pc.is_in(batch["pair_id"], value_set=pair_ids))
        keys = pc.unique(pc.binary_join_element_wise(trained["source"], trained["document_id"], "\x00"))
        documents.update(document_hash(*key.split("\x00", 1)) for key in keys.to_pylist())
        distinct = pc.unique(trained["url"].drop_null()).to_pylist()
        urls.update(each for url in distinct for each in name_hashes("url", url))
    return documents, urls


def _pairs_read(run: RunFolder, pack: Manifest) -> Iterator[pa.RecordBatch]:
    for file in pack.inputs:
        if str(file.get("path", "")).startswith(f"{PAIRS}/"):
            url = storage.join(run.job(file["job"]), file["path"])
            if not storage.exists(url):  # a pack folder that was copied here alone: its pairs and passages are known
                continue
            yield from read_batches(url, ["pair_id", "source", "document_id", "url"], 65_536)


def copy_trained_on(run: RunFolder, model: Path, folder: Path) -> None:
    """For the promotion of a model: what train kept beside it, or else what pack holds now. Raises OSError."""
    beside = model.parent / FILE
    if beside.is_file():
        shutil.copyfile(beside, folder / FILE)
    else:
        write_trained_on(run, folder)
