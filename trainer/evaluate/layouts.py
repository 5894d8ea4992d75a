"""Which files of a folder are a retrieval set's: the layouts of BEIR, MIRACL, Mr. TyDi, MLDR and MKQA.

In:  a folder as the set's makers hand it out; any file may be gzipped; several languages may lie side by side.
Out: `RetrievalFiles`, one for each language.

    beir    corpus.jsonl {_id, title, text}, queries(.SPLIT).jsonl {_id, text, metadata: {kind, language}}, qrels/SPLIT.tsv
            or qrels(.SPLIT).tsv (query-id, corpus-id, score)
    miracl  topics.miracl-v1.0-LANGUAGE-SPLIT.tsv (id, query), qrels.miracl-v1.0-LANGUAGE-SPLIT.tsv (TREC),
            miracl-corpus-v1.0-LANGUAGE/docs-*.jsonl {docid, title, text}
            or rows as of mldr in miracl-v1.0-LANGUAGE/SPLIT.jsonl
    mrtydi  topic(s).SPLIT.tsv or topics.mrtydi-v1.1-LANGUAGE.SPLIT.txt (id, query), qrels.SPLIT.txt or
            qrels.mrtydi-v1.1-LANGUAGE.SPLIT.txt (TREC), corpus.jsonl or collection/*.jsonl {docid, title, text};
            or rows as of mldr in mrtydi-v1.1-LANGUAGE/SPLIT.jsonl
    mldr    LANGUAGE/SPLIT.jsonl {query_id, query, positive_passages [{docid}]}, LANGUAGE/corpus.jsonl {docid, text}
    mkqa    mkqa.jsonl {example_id, queries {language}, answers {language: [{type, text, aliases}]}} or LANGUAGE.jsonl
            {id, question, answers}, and a corpus.jsonl of any of the fields above
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainer.evaluate.files import EvaluationDataError, json_objects
from trainer.evaluate.retrieval_data import Layout

USUAL_SPLITS: Final[dict[Layout, str]] = {"beir": "test", "miracl": "dev", "mrtydi": "test", "mldr": "test", "mkqa": ""}
_TYDI_LANGUAGES: Final = {
    "arabic": "ar", "bengali": "bn", "english": "en", "finnish": "fi", "indonesian": "id", "japanese": "ja",
    "korean": "ko", "russian": "ru", "swahili": "sw", "telugu": "te", "thai": "th",
}  # fmt: skip
_LANGUAGE: Final = r"[a-z]{2,3}(?:[-_][a-z]{2,4})?"
_TYDI_FOLDER: Final = rf"(?:mrtydi-v[\d.]+-)?({'|'.join((*_TYDI_LANGUAGES, *_TYDI_LANGUAGES.values()))})"


@dataclass(frozen=True)
class RetrievalFiles:
    """The files of one set in one language."""

    layout: Layout
    name: str
    language: str | None  # in the set's own words, of all queries; None: as the queries tell
    corpus: tuple[Path, ...]
    queries: Path
    judgements: Path | None  # None: they come with the queries


def find_files(
    folder: str | Path, *, layout: Layout | None = None, split: str | None = None, languages: Sequence[str] = ()
) -> list[RetrievalFiles]:
    """The sets in a folder, by language. `split` None: the one the papers report; `languages` empty: all.

    Raises EvaluationDataError where the folder has no layout or several (then `layout` decides), and where a file or one of
    `languages` lacks.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EvaluationDataError(f"There is no folder {folder}. Correct the path.")
    layout = layout or _told_by_content(folder)
    found = _FINDERS[layout](folder, USUAL_SPLITS[layout] if split is None else split)
    there = sorted({each.language for each in found if each.language is not None})
    lacking = sorted(set(languages) - set(there))
    if lacking:
        told = f"it has {', '.join(there)}. Name one of these" if there else "its files name no language. Name none"
        raise EvaluationDataError(f"{folder} holds nothing in {', '.join(lacking)}: {told}.")
    return [each for each in found if not languages or each.language in languages]


def _told_by_content(folder: Path) -> Layout:
    names = {plain(path) for path in _files(folder)}

    def any_name(pattern: str) -> bool:
        return any(re.fullmatch(pattern, name) for name in names)

    if any_name(r"(topics|qrels)\.miracl-.*"):
        return "miracl"
    if any_name(r"qrels\.mrtydi-.*") or any_name(r"topics?\.(train|dev|test)\.tsv"):
        return "mrtydi"
    if "mkqa.jsonl" in names or _first_row_has(folder, rf"({_LANGUAGE})\.jsonl", {"question", "answers"}):
        return "mkqa"
    if _first_row_has(folder, r"(train|dev|test)\.jsonl", {"query_id", "positive_passages"}):
        return _named_in_folders(folder) or "mldr"
    return "beir"


def _named_in_folders(folder: Path) -> Layout | None:
    """The layout whose name a folder of rows begins with: rows of all three look alike."""
    parts = {part for path in _files(folder) for part in path.parent.resolve().parts}
    named: tuple[Layout, ...] = ("miracl", "mrtydi")
    return next((layout for layout in named if any(part.startswith(f"{layout}-v") for part in parts)), None)


def _first_row_has(folder: Path, pattern: str, fields: set[str]) -> bool:
    for path in _files(folder):
        if re.fullmatch(pattern, plain(path)):
            _, row = next(json_objects(path), (0, {}))
            return fields <= row.keys()
    return False


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def plain(path: Path) -> str:
    """The file's name without .gz, in lower case."""
    return path.name.lower().removesuffix(".gz")


def _beir(folder: Path, split: str) -> list[RetrievalFiles]:
    corpus = _existing(folder, ["corpus.jsonl"])
    queries = _existing(folder, [f"queries.{split}.jsonl", "queries.jsonl"])
    judgements = _existing(folder, [f"qrels/{split}.tsv", f"qrels.{split}.tsv", "qrels.tsv"])
    return [RetrievalFiles("beir", folder.resolve().name, None, (corpus,), queries, judgements)]


def _existing(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return file
    raise EvaluationDataError(
        f"{folder} holds no {' or '.join(names)}. A folder in BEIR's layout holds corpus.jsonl, queries.jsonl and "
        f"qrels/test.tsv; see the documentation for the other layouts and splits."
    )


def _miracl(folder: Path, split: str) -> list[RetrievalFiles]:
    files = _files(folder)
    rows = _by_folder(files, rf"{re.escape(split)}\.jsonl", rf"miracl-v[\d.]+-({_LANGUAGE})")
    topics = _by_language(files, rf"topics\.miracl-v[\d.]+-({_LANGUAGE})-{re.escape(split)}\.tsv") or rows
    _require(topics, folder, "miracl", f"topics.miracl-v1.0-LANGUAGE-{split}.tsv")
    judgements = _by_language(files, rf"qrels\.miracl-v[\d.]+-({_LANGUAGE})-{re.escape(split)}\.tsv")
    documents = [path for path in files if re.fullmatch(r"(docs|corpus)\b.*\.jsonl", plain(path))]
    return [
        RetrievalFiles(
            "miracl",
            "miracl",
            language,
            _corpus_of(documents, language, len(topics) == 1, folder, rf"miracl-corpus-v[\d.]+-{language}|{language}"),
            path,
            _judgements(judgements, language, path, f"qrels.miracl-v1.0-{language}-{split}.tsv"),
        )
        for language, path in topics.items()
    ]


def _mrtydi(folder: Path, split: str) -> list[RetrievalFiles]:
    files = _files(folder)
    in_name = rf"mrtydi-v[\d.]+-(\w+)\.{re.escape(split)}\.txt"
    topics = {
        **_by_folder(files, rf"topics?\.{re.escape(split)}\.(tsv|txt)", _TYDI_FOLDER),
        **_by_language(files, rf"topics?\.{in_name}"),
    } or _by_folder(files, rf"{re.escape(split)}\.jsonl", _TYDI_FOLDER)
    _require(topics, folder, "mrtydi", f"topic.{split}.tsv or topics.mrtydi-v1.1-LANGUAGE.{split}.txt")
    judgements = {
        **_by_folder(files, rf"qrels\.{re.escape(split)}\.(txt|tsv)", _TYDI_FOLDER),
        **_by_language(files, rf"qrels\.{in_name}"),
    }
    documents = [path for path in files if plain(path).endswith(".jsonl") and _is_corpus(path)]
    languages = {language: _TYDI_LANGUAGES.get(language, language) for language in topics}
    return [
        RetrievalFiles(
            "mrtydi",
            "mrtydi",
            languages[language] or None,
            _corpus_of(
                documents,
                language,
                len(topics) == 1,
                folder,
                rf"mrtydi-v[\d.]+-{language}|{language}|{languages[language]}",
            ),
            path,
            _judgements(judgements, language, path, f"qrels.{split}.txt"),
        )
        for language, path in topics.items()
    ]


def _is_corpus(path: Path) -> bool:
    return plain(path).startswith("corpus") or path.parent.name == "collection"


def _by_folder(files: Sequence[Path], pattern: str, parent: str) -> dict[str, Path]:
    """Files of a name by the language that the only group finds in the nearest folder that matches; '' where none does."""
    found = {}
    for path in files:
        if re.fullmatch(pattern, plain(path)):
            told = [match[1] for part in path.resolve().parts[:-1] if (match := re.fullmatch(parent, part))]
            found[told[-1] if told else ""] = path
    return found


def _mldr(folder: Path, split: str) -> list[RetrievalFiles]:
    files = _files(folder)
    found = []
    rows = [path for path in files if plain(path) == f"{split}.jsonl"]
    _require(rows, folder, "mldr", f"LANGUAGE/{split}.jsonl")
    for path in rows:
        match = re.fullmatch(rf"(?:mldr-v[\d.]+-)?({_LANGUAGE})", path.parent.name)
        language = match[1] if match else None
        documents = [each for each in files if re.fullmatch(r"(corpus|docs)\b.*\.jsonl", plain(each))]
        beside = tuple(each for each in documents if each.parent == path.parent)
        corpus = beside or _corpus_of(
            documents, str(language), len(rows) == 1, folder, rf"(?:mldr-v[\d.]+-)?(?:corpus-)?{language}"
        )
        found.append(RetrievalFiles("mldr", "mldr", language, corpus, path, None))
    return found


def _mkqa(folder: Path, split: str) -> list[RetrievalFiles]:
    files = _files(folder)
    corpus = tuple(path for path in files if re.fullmatch(r"(corpus|docs|psgs)\b.*\.jsonl", plain(path)))
    _require(corpus, folder, "mkqa", "corpus.jsonl: the passages to be searched")
    whole = [path for path in files if plain(path) == "mkqa.jsonl"]
    if whole:
        _, row = next(json_objects(whole[0]), (0, {}))
        languages = sorted(row.get("queries") or {})
        return [RetrievalFiles("mkqa", "mkqa", language, corpus, whole[0], None) for language in languages]
    queries = _by_language(files, rf"({_LANGUAGE})\.jsonl")
    _require(queries, folder, "mkqa", "mkqa.jsonl or LANGUAGE.jsonl")
    return [RetrievalFiles("mkqa", "mkqa", language, corpus, path, None) for language, path in queries.items()]


def _by_language(files: Sequence[Path], pattern: str) -> dict[str, Path]:
    """Files by the language that the pattern's only group finds in their names, in lower case."""
    return {match[1]: path for path in files if (match := re.fullmatch(pattern, plain(path)))}


def _corpus_of(documents: Sequence[Path], language: str, only: bool, folder: Path, parent: str) -> tuple[Path, ...]:
    """The files of a corpus in a folder named for the language; all there are, where there is one language only."""
    # Folders above do not count: all of /home/en/DATA is not English.
    within = [path.relative_to(folder).parts[:-1] for path in documents]
    chosen = tuple(
        path for path, parts in zip(documents, within, strict=True) if any(re.fullmatch(parent, part) for part in parts)
    )
    if chosen or (only and documents):
        return chosen or tuple(documents)
    raise EvaluationDataError(
        f"{folder} holds no passages for language {language!r}: docs-*.jsonl or corpus.jsonl in a folder that ends in "
        f"that language. Put the corpus beside its topics."
    )


def _judgements(files: dict[str, Path], language: str, queries: Path, expected: str) -> Path | None:
    """The judgements of a language; None where rows hold them."""
    if plain(queries).endswith(".jsonl"):
        return None
    if language in files:
        return files[language]
    raise EvaluationDataError(f"{queries} has no judgements beside it: {expected} is missing. Fetch it.")


def _require(found: Sequence[Path] | dict[str, Path], folder: Path, layout: str, expected: str) -> None:
    if not found:
        raise EvaluationDataError(
            f"{folder} holds no {expected}, as the layout {layout} has it. Choose another split or layout."
        )


_FINDERS: Final[dict[Layout, Callable[[Path, str], list[RetrievalFiles]]]] = {
    "beir": _beir,
    "miracl": _miracl,
    "mrtydi": _mrtydi,
    "mldr": _mldr,
    "mkqa": _mkqa,
}
