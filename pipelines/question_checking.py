"""What synth's checks of questions cannot do alone: language identification, the round trip through an encoder, near-duplicates
among all questions, and an LLM as judge.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.language import LanguageSettings, language_group, language_groups, load_language_model, measure_language
from filters.near_duplicates import NearDuplicateSettings
from pipelines.embeddings import Embeddings
from pipelines.synthesize_settings import JudgedQuestions, RoundTrip
from sources.languages import UNKNOWN
from synth.judge import LlmJudge
from synth.question_checks import Identify

Tell = Callable[[int], None]
Ranks = npt.NDArray[np.int32]
_AT_ONCE: Final = 4096


def identified_languages(settings: LanguageSettings) -> Identify:
    """A function of texts [n]: their languages as ISO 639-3 with script, `und` where a text is too short to tell, and how
    sure each is, float32 [n] (0 where it cannot be told)."""
    return partial(_identified, settings)


def identified_groups(settings: LanguageSettings) -> Identify:
    """The same with what filters.language.language_group makes of the languages: Chinese is one, whatever its script."""

    def identify(texts: pa.Array) -> tuple[pa.Array, npt.NDArray[np.float32]]:
        languages, sure = _identified(settings, texts)
        return language_groups(languages), sure

    return identify


def groups_told_apart(codes: Sequence[str], settings: LanguageSettings | None) -> pa.Array:
    """The groups of languages; `und`, which is not compared, for those that the model never names: it would take their texts
    for a neighbour's."""
    groups = [language_group(code) for code in codes]
    if settings is not None:
        known = load_language_model(settings.model).languages
        groups = [group if group in known else UNKNOWN for group in groups]
    return pa.array(groups, pa.string())


def _identified(settings: LanguageSettings, texts: pa.Array) -> tuple[pa.Array, npt.NDArray[np.float32]]:
    unknown = pa.repeat(pa.scalar(UNKNOWN), len(texts))
    columns = [texts, texts, pa.repeat(pa.scalar("other"), len(texts)), unknown, unknown]
    names = ["query", "positive", "kind", "query_lang", "positive_lang"]
    measured = measure_language(pa.RecordBatch.from_arrays(columns, names=names), settings)
    sure = measured["query_language_probability"].fill_null(0.0).to_numpy(zero_copy_only=False)
    return measured["query_language"].fill_null(UNKNOWN), sure


@dataclass(frozen=True)
class AskedAbout:
    """Questions with their paragraphs, row by row."""

    question_ids: list[str]
    questions: pa.Array
    paragraphs: pa.Array
    documents: list[str]  # keys of documents
    languages: list[str]  # of the documents, as groups

    def __len__(self) -> int:
        return len(self.question_ids)


def round_trip_ranks(
    asked: AskedAbout, of_documents: Mapping[str, Sequence[str]], settings: RoundTrip, vectors: Embeddings, tell: Tell
) -> tuple[Ranks, Ranks]:
    """The rank of each question's paragraph among all of its document that could be asked about (`of_documents`), and among
    those asked about in its language: int32 [n] twice, 1 is the nearest.

    Of a language's paragraphs the `pool` of the smallest question ids, which are hashes, are compared. Equal texts count
    once. Raises trainer.encoder.EmbeddingError.
    """
    from trainer.relevance import ranks_in_pool

    encode = partial(vectors.embed, settings.encoder, on_batch=tell)
    queries, own = encode("query", asked.questions), encode("passage", asked.paragraphs)
    paragraphs, documents, languages = (
        np.array(each, dtype=object) for each in (asked.paragraphs.to_pylist(), asked.documents, asked.languages)
    )
    in_document, in_pool = np.ones(len(asked), np.int32), np.ones(len(asked), np.int32)
    for several in _chunks(sorted(set(asked.documents)), of_documents):
        others = {name: sorted(set(of_documents[name]) - set(paragraphs[documents == name])) for name in several}
        texts = [text for name in several for text in others[name]]
        vectors_of_others = encode("passage", pa.array(texts, pa.string())) if texts else own[:0]
        first = 0
        for name in several:
            rows, last = np.flatnonzero(documents == name), first + len(others[name])
            within = np.concatenate([_distinct(own[rows], paragraphs[rows]), vectors_of_others[first:last]])
            in_document[rows] += ranks_in_pool(queries[rows], own[rows], within)
            first = last
    by_hash = np.argsort(np.array(asked.question_ids, dtype=np.str_), kind="stable")
    for language in sorted(set(asked.languages)):
        rows = np.flatnonzero(languages == language)
        pool = by_hash[languages[by_hash] == language][: settings.pool]
        if len(pool):
            in_pool[rows] += ranks_in_pool(queries[rows], own[rows], _distinct(own[pool], paragraphs[pool]))
    return in_document, in_pool


def _chunks(names: Sequence[str], of_documents: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Documents of about _AT_ONCE paragraphs in all: encoded together, which is faster than one by one."""
    chunk: list[str] = []
    size = 0
    for name in names:
        chunk.append(name)
        size += len(of_documents[name])
        if size >= _AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _distinct(vectors: npt.NDArray[Any], texts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The vectors of the first row of each text."""
    first = {text: row for row, text in reversed(list(enumerate(texts)))}
    return vectors[sorted(first.values())]


def near_duplicates(
    questions: pa.Array, order: npt.NDArray[np.int64], settings: NearDuplicateSettings
) -> npt.NDArray[np.bool_]:
    """Which questions [n] say nearly what one of a smaller `order` says: bool [n]."""
    from filters.components import representatives
    from filters.minhash import sketch_texts
    from filters.near_duplicates import similar_pairs

    sketches = sketch_texts(questions)
    pairs = similar_pairs(sketches, settings, position=order, texts=questions)
    first = representatives(pairs["left"], pairs["right"], order)
    repeated: npt.NDArray[np.bool_] = first != np.arange(len(questions))
    return repeated


def order_of_keeping(question_ids: pa.ChunkedArray, splits: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Of near-duplicates which is kept: those of test before dev before train, then the smaller id (a hash): int64 [n]."""
    rank = pc.index_in(splits, value_set=pa.array(["test", "dev", "train"])).to_numpy()
    ids = np.array(question_ids.to_pylist(), dtype=np.str_)
    order = np.empty(len(ids), np.int64)
    order[np.lexsort((ids, rank))] = np.arange(len(ids))
    return order


def judged_scores(
    questions: pa.Array, paragraphs: pa.Array, settings: JudgedQuestions, tell: Tell
) -> npt.NDArray[np.float32]:
    """Relevance float32 [n], 0 to 1, of each paragraph for its question; NaN where the judge gave no answer.

    Raises synth.errors.ChatError.
    """
    return LlmJudge(settings.llm).score(questions, paragraphs, tell)
