"""BM25 as a baseline beside models: by words, by the words of each query's language, by a model's tokens."""

import tempfile
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from trainer.bm25 import WORDS, Analyser, Bm25Index, language_analyser, model_analyser
from trainer.evaluate.metrics import MetricRow, check_metrics, depth_of, usual_metrics
from trainer.evaluate.retrieval import Evaluation, evaluated, identity_of
from trainer.evaluate.retrieval_data import RetrievalData
from trainer.evaluate.stored_texts import text_blocks
from trainer.search import Found


def evaluate_bm25(data: RetrievalData, analyser: Analyser = WORDS) -> list[MetricRow]:
    """Metrics of BM25 over the same documents, k1 = 0.9 and b = 0.4. The analyser, unless WORDS, is named in `model`."""
    return bm25_evaluation(data, analyser).rows


def bm25_evaluation(
    data: RetrievalData, analyser: Analyser = WORDS, metrics: Sequence[str] | None = None, *, depth: int | None = None
) -> Evaluation:
    """BM25 (k1 = 0.9, b = 0.4) over the texts as an analyser cuts them."""
    return _bm25_evaluation(data, [analyser] * len(data.queries), metrics, depth)


def bm25_baselines(
    data: RetrievalData, model: str | None = None, metrics: Sequence[str] | None = None, *, depth: int | None = None
) -> list[Evaluation]:
    """BM25 by the words of each query's language and, with a model folder, by its tokens, as the M3 paper reports both.

    Queries of a language with a stemmer or a list of stop words are searched in an index of the whole corpus cut that way,
    those of the others in one by WORDS. Raises ModelFolderError for a folder without a tokenizer.
    """
    by_language = {language: language_analyser(language) for language in set(data.languages)}
    done = [_bm25_evaluation(data, [by_language[language] for language in data.languages], metrics, depth)]
    return done if model is None else [*done, bm25_evaluation(data, model_analyser(model), metrics, depth=depth)]


def _bm25_evaluation(
    data: RetrievalData, analysers: Sequence[Analyser], metrics: Sequence[str] | None, depth: int | None
) -> Evaluation:
    """BM25 with an analyser for each query."""
    metrics = metrics or usual_metrics(data)
    check_metrics(data, metrics, depth)
    depth = depth or depth_of(metrics)
    found = Found(np.full((len(analysers), depth), -np.inf, np.float32), np.full((len(analysers), depth), -1, np.int64))
    distinct = {analyser.name: analyser for analyser in analysers}
    for analyser in distinct.values():
        chosen = np.array([query for query, each in enumerate(analysers) if each.name == analyser.name], np.int64)
        with tempfile.TemporaryDirectory(prefix="pairmill-bm25-") as folder:
            index = Bm25Index.build(text_blocks(data.documents), folder, analyser=analyser)
            texts = pa.array([data.queries[query] for query in chosen.tolist()], pa.string())
            found.scores[chosen], found.rows[chosen] = index.top_k(texts, depth)
    name = next(iter(distinct)) if len(distinct) == 1 else "by language"
    model = "bm25" if name == WORDS.name else f"bm25 ({name})"
    return evaluated(data, found, metrics, model=model, mode="bm25", identity=identity_of(None, data))
