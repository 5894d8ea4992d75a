"""How well a model retrieves: its rankings in each mode (trainer.evaluate.model_rankings), with metrics for every query.

In:  an encoder and `RetrievalData`.
Out: `Evaluation`s: rows of metrics, values by query, the ranking itself.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

import numpy.typing as npt
import pyarrow as pa

from trainer.embedding_store import EmbeddingSpace, EmbeddingStore, embed, encoder_identity
from trainer.encoder import Encoder
from trainer.encoder_processes import EncoderPool
from trainer.evaluate.hybrid import HybridWeights, tuned_weights
from trainer.evaluate.metrics import (
    MetricRow,
    check_metrics,
    depth_of,
    per_query_table,
    query_values,
    rows_of_values,
    usual_metrics,
)
from trainer.evaluate.model_rankings import Embed, Mode, ModelRankings, RetrievalSettings, corpus_outputs, rows_at_once
from trainer.evaluate.retrieval_data import RetrievalData
from trainer.m3_heads import Output
from trainer.search import Found

VERSION: Final = 1  # raised when the same model and data get other figures than before
_fingerprints: WeakKeyDictionary[Encoder | EncoderPool, str] = WeakKeyDictionary()


@dataclass(frozen=True)
class Evaluation:
    """One model in one mode on one set."""

    mode: str
    rows: list[MetricRow]  # the first is for all queries
    per_query: pa.Table  # query_id, kind, language and a column a metric
    ranking: Found  # scores and rows [Q, depth]


def evaluate_retrieval(
    encoder: Encoder | EncoderPool,
    data: RetrievalData,
    settings: RetrievalSettings | None = None,
    *,
    model: str = "trained",
    embedded: Embed | None = None,
) -> list[Evaluation]:
    """Evaluate an encoder in each mode of the settings. `model` names it in the rows.

    `embedded` gives dense vectors in place of the encoder where no lexical ones are asked for: see `stored_embedding`.
    Raises EvaluationError for a mode that the model has no outputs for, for metrics that the data cannot give, and what encoding raises.
    """
    settings = settings or RetrievalSettings()
    metrics = settings.metrics or usual_metrics(data)
    check_metrics(data, metrics, settings.depth)  # before hours of encoding
    depth = settings.depth or depth_of(metrics)
    identity = identity_of(encoder, data)
    done = []
    with _work_folder(settings, encoder, data, embedded) as folder:
        rankings = ModelRankings(encoder, data, settings, folder, depth, embedded)
        for mode in settings.modes:
            found = rankings.ranking(mode)
            told = {"weights": _words(rankings.weights.of(mode))} if mode in {"dense+lexical", "all"} else {}
            done.append(evaluated(data, found, metrics, model=model, mode=mode, identity={**told, **identity}))
    return done


def evaluated(
    data: RetrievalData,
    found: Found,
    metrics: Sequence[str] | None,
    *,
    model: str,
    mode: str,
    identity: Mapping[str, str],
) -> Evaluation:
    """The metrics of a ranking. Raises EvaluationError as trainer.evaluate.metrics.query_values does."""
    values = query_values(data, found.scores, found.rows, metrics)
    rows = rows_of_values(data, values, model=model, mode=mode, identity=identity)
    return Evaluation(mode, rows, per_query_table(data, values), found)


def identity_of(encoder: Encoder | EncoderPool | None, data: RetrievalData) -> dict[str, str]:
    """Fingerprints of model (its folder, and how it encodes), data and code, for the rows."""
    told = {"data_fingerprint": data.fingerprint, "code": code_version()}
    return told if encoder is None else {"model_fingerprint": model_fingerprint_of(encoder), **told}


def code_version() -> str:
    """What computed the figures, in words."""
    return f"pairmill {version('pairmill')}, evaluation {VERSION}"


def model_fingerprint_of(encoder: Encoder | EncoderPool) -> str:
    """32 hexadecimal digits: a hash of the model's files and of how it encodes. Read once an encoder."""
    if encoder not in _fingerprints:  # reads all weights
        described = json.dumps([encoder_identity(encoder, role) for role in ("query", "passage")], sort_keys=True)
        _fingerprints[encoder] = hashlib.sha256(described.encode()).hexdigest()[:32]
    return _fingerprints[encoder]


def stored_embedding(encoder: Encoder | EncoderPool, store: EmbeddingStore) -> Embed:
    """Dense vectors (float16) from an embedding store, which gets those it lacks."""

    @cache
    def space_of(role: Literal["query", "passage"]) -> EmbeddingSpace:
        return store.space(encoder_identity(encoder, role), encoder.dimension)  # reads all weights

    def embedded(role: Literal["query", "passage"], texts: pa.Array) -> npt.NDArray[Any]:
        space = space_of(role)
        return embed(encoder, role, texts, space.reader(), space)

    return embedded


def evaluate_encoder(
    encoder: Encoder | EncoderPool, data: RetrievalData, *, model: str = "trained", mode: Mode = "dense"
) -> list[MetricRow]:
    """Metrics of one mode; dense: exact search by inner product of the encoder's embeddings. `model` names it in the rows."""
    return evaluate_retrieval(encoder, data, RetrievalSettings(modes=(mode,)), model=model)[0].rows


@contextmanager
def _work_folder(
    settings: RetrievalSettings, encoder: Encoder | EncoderPool, data: RetrievalData, embedded: Embed | None
) -> Iterator[Path]:
    if settings.work is None:
        with tempfile.TemporaryDirectory(prefix="pairmill-vectors-") as temporary:
            yield Path(temporary)
        return
    rounded = embedded is not None
    corpus = f"{model_fingerprint_of(encoder)} {code_version()} {data.texts_digest.hex()}"
    described = f"{corpus} {sorted(corpus_outputs(settings))} {rows_at_once(encoder)} {rounded}"
    folder = Path(settings.work) / f"vectors-{hashlib.sha256(described.encode()).hexdigest()[:32]}"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def _words(weights: Mapping[Output, float]) -> str:
    return ", ".join(f"{output} {weight:g}" for output, weight in weights.items())


def tuned_hybrid_weights(
    encoder: Encoder | EncoderPool, data: RetrievalData, settings: RetrievalSettings
) -> HybridWeights:
    """The weights of "dense+lexical" and "all" (those of the settings' modes) of largest nDCG@10 on `data`, a development set.

    A mode that is not among the settings' keeps its weights. Raises what evaluate_retrieval raises.
    """
    check_metrics(data, ("ndcg@10",))  # which weights are chosen by
    with _work_folder(settings, encoder, data, None) as folder:
        rankings = ModelRankings(encoder, data, settings, folder, 1)
        found: dict[str, Any] = rankings.weights.model_dump()
        if "dense+lexical" in settings.modes:
            weights, _ = tuned_weights(data, rankings.both, ("dense", "lexical"))
            found["dense_lexical"] = tuple(weights.values())
        if "all" in settings.modes:
            weights, _ = tuned_weights(data, rankings.reranked, ("dense", "lexical", "multi_vector"))
            found["all"] = tuple(weights.values())
    return HybridWeights(**found)
