"""Plain files of texts as a folder that pre-training reads: `pairmill pretrain --texts FILE...`, without a recipe.

FOLDER/texts/*.parquet    the rows of each file (trainer.text_packing.PACKED_TEXT)
FOLDER/_MANIFEST.json     written last: the files' hashes, what they were made of, what was left out

Texts equal but for case, white space and punctuation count once, the first of them, over all files. Their keys are kept in
memory meanwhile, some 100 bytes a text: 100 million texts want a recipe with pack.texts.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates import dedup_key
from pipelines import storage
from pipelines.errors import UserError
from pipelines.manifest import MANIFEST, fingerprint
from pipelines.mining.inputs import TEXT_NAMES, file_facts, files_of
from pipelines.shards import ShardSet
from pipelines.text_shards import TEXTS
from sources.files.reading import MAX_LINE
from sources.formats.column_blocks import Columns, read_columns
from sources.schema import text_ids
from trainer.backbone import tokenizer_fingerprint
from trainer.text_packing import PACKED_TEXT, TextPacker, TextPackingSettings

VERSION: Final = 1


def pack_plain_texts(
    files: Sequence[str], folder: str, tokenizer: Any, settings: TextPackingSettings, text_field: str | None = None
) -> dict[str, Any]:
    """Pack the texts of files and globs (JSON lines, JSON, CSV, TSV, Parquet, compressed or not) into `folder`, unless
    that has been done. Returns the manifest's details.

    Raises UserError where a row has no text, naming file and place, and where no text is left.
    """
    paths = files_of(tuple(files), "--texts")
    wanted = fingerprint(
        version=VERSION,
        files=file_facts(paths),
        field=text_field,
        settings=settings.model_dump(mode="json"),
        tokenizer=tokenizer_fingerprint(tokenizer),
    )
    place = storage.join(folder, MANIFEST)
    if storage.exists(place):
        manifest = storage.read_json(place)
        there = set(storage.list_tree(folder))
        if manifest.get("fingerprint") == wanted and all(file["path"] in there for file in manifest["files"]):
            return dict(manifest["details"])
    storage.remove(place)
    storage.remove(storage.join(folder, TEXTS))
    packer, counts = TextPacker(tokenizer, settings), _Counts()
    written = []
    for number, path in enumerate(paths):
        with ShardSet(folder, f"{number:05d}", {TEXTS: PACKED_TEXT}, always=[TEXTS]) as shards:
            for texts in _distinct(path, text_field, counts):
                for packed in packer.pack(text_ids(texts), texts):
                    shards.write(TEXTS, packed)
                    counts.rows += packed.num_rows
                    counts.tokens += pc.sum(packed["length"]).as_py() or 0
        written += [file.model_dump() for file in shards.files]
    if not counts.rows:
        raise UserError(
            f"No text is left of {counts.texts} in {', '.join(paths)}: {counts.empty} are empty, {counts.duplicates} "
            f"repeat others, {packer.short_texts} have fewer than {settings.min_length} tokens. Lower min_length, or name "
            f"other files."
        )
    told = {"texts": counts.texts, "empty": counts.empty, "duplicate": counts.duplicates, "short": packer.short_texts}
    details = {
        "tokenizer_fingerprint": tokenizer_fingerprint(tokenizer),
        "text_packing": settings.model_dump(mode="json"),
        "texts": told | {"rows": counts.rows, "tokens": counts.tokens},
    }
    storage.write_json(place, {"fingerprint": wanted, "files": written, "details": details})
    return details


class _Counts:
    def __init__(self) -> None:
        self.texts = self.empty = self.duplicates = self.rows = self.tokens = 0
        self.keys: set[bytes] = set()


def _distinct(path: str, text_field: str | None, counts: _Counts) -> Iterator[pa.Array]:
    """The texts of a file that are not empty and have not come before, block by block."""
    name = text_field or TEXT_NAMES[0]
    names = (name,) if text_field else TEXT_NAMES[1:]
    for block in read_columns(path, Columns({name: names}, required=(name,), other="json"), "pretrain", MAX_LINE):
        if block.quarantine.num_rows:
            bad = block.quarantine.to_pylist()[0]
            raise UserError(
                f"{bad['file']}, {bad['unit']} {bad['position']}: {bad['reason']} ({bad['excerpt'][:120]!r}). Every row needs "
                f"a text in the field {name!r}: mend the file, or name the field with --text-field."
            )
        texts = block.columns[name].cast(pa.string()).fill_null("")
        counts.texts += len(texts)
        filled = pc.not_equal(pc.utf8_trim_whitespace(texts), "")
        texts = texts.filter(filled)
        counts.empty += int(pc.sum(pc.invert(filled)).as_py() or 0)
        new = []
        for key in dedup_key(texts).to_pylist():
            new.append(key not in counts.keys)
            counts.keys.add(key)
        counts.duplicates += len(new) - sum(new)
        yield texts.filter(pa.array(new, pa.bool_()))
