"""Plain text for pre-training: documents of extract, each text once, as rows of tokens (part of the job pack).

text_keys/*.parquet    a key of each document's folded text, and whether it may be used
texts/*.parquet        the rows (trainer.text_packing.PACKED_TEXT)

    1. each document shard is keyed; documents of other sources or languages, and held-out ones, are marked
    2. of equal texts the first counts, in the order of shards and rows; none that a held-out document has, too, since
       evaluation must not see what a model was made of. Keys are brought together in one process, about 60 bytes a document
    3. each shard is tokenised and cut
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates import dedup_key, first_of_each
from pipelines import storage
from pipelines.errors import UserError
from pipelines.job import Job
from pipelines.manifest import fingerprint
from pipelines.pair_signatures import held_out_documents
from pipelines.progress import TaskProgress
from pipelines.recipe import DedupSettings, PackTextSettings, SourceEntry
from pipelines.shards import Part, ShardFile, ShardSet, Tally, commit_part, read_batches
from sources.schema import text_ids
from trainer.backbone import load_tokenizer
from trainer.text_packing import PACKED_TEXT, TextPacker, TextPackingSettings

TEXTS: Final = "texts"
TEXT_KEYS: Final = "text_keys"
VERSION: Final = 1

TEXT_KEY: Final = pa.schema(
    [
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("standing", pa.int8(), nullable=False),  # a number of STANDINGS
    ]
)
STANDINGS: Final = ("used", "held_out", "other_source", "other_language", "empty")
_USED, _HELD_OUT = 0, 1

Bool = npt.NDArray[np.bool_]


def check_text_sources(settings: PackTextSettings, sources: Sequence[SourceEntry]) -> None:
    """Raise UserError where none of the sources that plain text is of writes documents, or one that is named is not there."""
    labels = {source.label for source in sources}
    unknown = next((name for name in settings.sources if name not in labels), None)
    if unknown is not None:
        raise UserError(
            f"pack.texts.sources names {unknown!r}, and the recipe's sources are {', '.join(sorted(labels))}."
        )
    chosen = [source for source in sources if not settings.sources or source.label in settings.sources]
    if not any(source.adapter_settings().documents for source in chosen):
        raise UserError(
            f"pack.texts makes plain text of documents, and none of {', '.join(source.label for source in chosen)} gives any. "
            f"Set `documents: true` on the sources whose texts are meant."
        )


def write_text_shards(
    job: Job, files: list[ShardFile], settings: PackTextSettings, dedup: DedupSettings, model: str
) -> tuple[list[Part], dict[str, Any]]:
    """Do all of it for the document shards of extract. Returns the parts, and what the manifest's details say."""
    from pipelines.transforms import Task

    if not files:
        raise UserError(
            "pack.texts makes plain text of documents, and extract found none in the files of the sources with "
            "`documents: true`. Look at their paths, or leave pack.texts out."
        )
    urls = [storage.join(job.run.job("extract"), file.path) for file in files]
    size = sum(file.bytes for file in files)
    choice = settings.model_dump(mode="json", include={"sources", "languages"})
    division = dedup.model_dump(mode="json", include={"held_out_share", "held_out_sources"}) | {"seed": job.recipe.seed}
    key_tasks = [
        Task(
            f"text-keys-{_stem(file.path)}", fingerprint(version=VERSION, input=file.sha256, **choice, **division), url
        )
        for file, url in zip(files, urls, strict=True)
    ]
    divide = partial(
        held_out_documents, seed=job.recipe.seed, share=dedup.held_out_share, sources=dedup.held_out_sources
    )
    keyed = job.run_tasks(key_tasks, partial(write_keys, job.folder, settings, divide), bytes_to_read=size)
    kept, counts = kept_documents([storage.join(job.folder, part.files[0].path) for part in keyed])
    packing = settings.packing()
    text_tasks = [
        Task(
            f"texts-{_stem(file.path)}",
            fingerprint(version=VERSION, input=file.sha256, settings=job.plan.settings, kept=rows.tobytes().hex()),
            (url, rows.tobytes()),
        )
        for file, url, rows in zip(files, urls, kept, strict=True)
    ]
    written = job.run_tasks(text_tasks, partial(write_texts, job.folder, packing, model), bytes_to_read=size)
    told: dict[str, Any] = {name: sum(part.details[name] for part in written) for name in ("rows", "tokens", "short")}
    return [*keyed, *written], {"text_packing": packing.model_dump(mode="json"), "texts": {**counts, **told}}


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".parquet")


def write_keys(
    folder: str,
    settings: PackTextSettings,
    divide: Callable[[pa.RecordBatch], pa.Array],
    task: Any,
    progress: TaskProgress,
) -> Part:
    """Key one shard of documents."""
    rows = 0
    with ShardSet(folder, task.name, {TEXT_KEYS: TEXT_KEY}, always=[TEXT_KEYS]) as shards:
        for batch in read_batches(task.payload, ["document_id", "source", "language", "text"], rows=512):
            columns = [dedup_key(batch["text"]), pa.array(_standing(batch, settings, divide))]
            shards.write(TEXT_KEYS, pa.RecordBatch.from_arrays(columns, schema=TEXT_KEY))
            rows += batch.num_rows
            progress.beat(rows)
    return commit_part(folder, task.name, task.fingerprint, shards.files, Tally(), [])


def _standing(
    batch: pa.RecordBatch, settings: PackTextSettings, divide: Callable[[pa.RecordBatch], pa.Array]
) -> npt.NDArray[np.int8]:
    """A number of STANDINGS for each document. Held out goes before all: such texts are kept out of other documents, too."""
    standing = np.zeros(batch.num_rows, np.int8)
    standing[np.asarray(pc.equal(pc.utf8_trim_whitespace(batch["text"]), ""))] = STANDINGS.index("empty")
    for name, column, wanted in (
        ("other_language", batch["language"], settings.languages),
        ("other_source", batch["source"], settings.sources),
    ):
        if wanted:
            outside = pc.invert(pc.is_in(column, pa.array(list(wanted), pa.string())))
            standing[np.asarray(outside)] = STANDINGS.index(name)
    standing[np.asarray(divide(batch))] = _HELD_OUT
    return standing


def kept_documents(urls: list[str]) -> tuple[list[npt.NDArray[np.uint8]], dict[str, int]]:
    """Which rows of each shard of keys are kept, as packed bits, and how many documents went where."""
    batches = [list(read_batches(url)) for url in urls]
    sizes = [sum(batch.num_rows for batch in of_shard) for of_shard in batches]
    everything = [batch for of_shard in batches for batch in of_shard]
    if not everything:
        return [np.zeros(0, np.uint8) for _ in urls], {"documents": 0}
    table = pa.Table.from_batches(everything, TEXT_KEY)
    keys, standing = table["key"].combine_chunks(), table["standing"].to_numpy()
    usable = standing == _USED
    seen = np.asarray(pc.is_in(keys, keys.filter(pa.array(standing == _HELD_OUT)).unique()))
    first = np.zeros(len(standing), np.bool_)
    places = np.flatnonzero(usable & ~seen)
    first[places] = first_of_each(keys.take(pa.array(places)), np.arange(len(places)))
    counts = Counter(dict(zip(STANDINGS, np.bincount(standing, minlength=len(STANDINGS)).tolist(), strict=True)))
    found = {
        "documents": len(standing),
        **{name: counts[name] for name in STANDINGS[1:]},
        "as_held_out": int((usable & seen).sum()),
        "duplicate": int((usable & ~seen).sum() - first.sum()),
        "used": int(first.sum()),
    }
    return [np.packbits(rows) for rows in np.split(first, np.cumsum(sizes)[:-1])], found


def write_texts(folder: str, packing: TextPackingSettings, model: str, task: Any, progress: TaskProgress) -> Part:
    """Tokenise and cut the kept documents of one shard."""
    url, bits = task.payload
    packer = _packer(packing.model_dump_json(), model)
    short, tokens, rows, seen = packer.short_texts, 0, 0, 0
    kept = np.unpackbits(np.frombuffer(bits, np.uint8)).astype(np.bool_)
    with ShardSet(folder, task.name, {TEXTS: PACKED_TEXT}, always=[TEXTS]) as shards:
        for batch in read_batches(url, ["text"], rows=512):
            texts = batch["text"].filter(pa.array(kept[seen : seen + batch.num_rows]))
            seen += batch.num_rows
            for packed in packer.pack(text_ids(texts), texts):
                shards.write(TEXTS, packed)
                tokens += pc.sum(packed["length"]).as_py() or 0
                rows += packed.num_rows
            progress.beat(seen)
    details = {"rows": rows, "tokens": tokens, "short": packer.short_texts - short}
    return commit_part(folder, task.name, task.fingerprint, shards.files, Tally(), [], details=details)


@cache
def _packer(settings_json: str, model: str) -> TextPacker:
    return TextPacker(load_tokenizer(model)[0], TextPackingSettings.model_validate_json(settings_json))
