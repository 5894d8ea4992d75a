"""What a mining run reads, and under which names."""

from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, Field

from pipelines import storage
from pipelines.mining.bad_rows import MiningInputError
from pipelines.mining.forms import Form
from sources.files.reading import expand_paths, input_size

TEXT_NAMES: Final = ("text", "passage", "contents", "content", "body", "document")
ID_NAMES: Final = ("_id", "id", "docid", "doc_id", "pid", "passage_id")


class InputSettings(BaseModel):
    """The files of a mining run and the names of their fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pairs: tuple[str, ...] = Field(min_length=1, description="files, globs or one BEIR folder")
    corpus: tuple[str, ...] = Field((), description="files or globs; empty: the positives and negatives of the pairs")
    pairs_format: Literal["auto", "flagembedding", "columns", "pairs", "beir"] = "auto"
    query_field: str | None = Field(None, description="default: what the names of the fields say")
    positive_field: str | None = None
    negative_fields: tuple[str, ...] = ()
    document_field: str | None = Field(None, description="of pairs and corpus: no negative from a positive's document")
    answers_field: str | None = Field(None, description="of pairs: answer strings, one text or a list")
    text_field: str | None = Field(None, description=f"of the corpus; default: {', '.join(TEXT_NAMES)}")
    title_field: str | None = Field("title", description="of the corpus, put before the text; null: none")
    id_field: str | None = Field(None, description=f"of the corpus; default: {', '.join(ID_NAMES)}; '': none")
    split: str = Field("train", description="of a BEIR folder: qrels/SPLIT.tsv")
    min_grade: float = Field(1, description="of a BEIR folder: judgements from here on are positives")
    max_bad_share: float = Field(0, ge=0, lt=1, description="of the rows of pairs and corpus together that may be bad")

    @property
    def form(self) -> Form | None:
        return None if self.pairs_format == "auto" else self.pairs_format


def is_beir_folder(path: str) -> bool:
    """Whether a path is a folder with queries and a corpus in BEIR's layout."""
    filesystem, inside = storage.split_url(path)
    if not filesystem.isdir(inside):
        return False
    names = [PurePosixPath(name).name for name in storage.list_files(path)]
    return any(name.startswith("queries") for name in names) and any(name.startswith("corpus") for name in names)


def files_of(patterns: tuple[str, ...], option: str) -> list[str]:
    """The files that paths and globs name, in the order given, each once. Raises MiningInputError."""
    found = list(dict.fromkeys(path for pattern in patterns for path in expand_paths([pattern])))
    if not found:
        raise MiningInputError(f"{option}: no file is named.")
    return found


def file_facts(paths: list[str]) -> list[dict[str, Any]]:
    """What tells that a file is still the same: path, size and, where the storage says it, time or e-tag."""
    return [{"path": path, "size": input_size(path), "stamp": _stamp(path.split("!/")[0])} for path in paths]


def _stamp(path: str) -> list[str]:
    filesystem, inside = storage.split_url(path)
    if isinstance(filesystem, LocalFileSystem):
        found = Path(inside).stat()  # of the file itself, where the name is a link
        return [str(found.st_mtime_ns), str(found.st_ctime_ns)]  # a copy may keep the first, nothing sets the second
    info = filesystem.info(inside)
    return [str(info[name]) for name in ("mtime", "ETag", "etag", "updated", "LastModified") if name in info][:1]
