"""Trains the model of filters.word_order: logistic regression between texts and the same texts shuffled.

Nothing here runs in a pipeline. `train_model` counts features (filters.word_order_loops) in the order and out of it,
keeps those that tell the two apart best, each language having its share, and fits their weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from filters import word_order_loops as loops
from filters.text_quality import utf8_buffers
from filters.word_order import SHUFFLES, WEIGHT_UNIT, WordOrderModel, character_tables


class TrainingSettings(BaseModel):
    """All ours, by the share of shuffled passages told apart where 98 % of held-out text is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: int = Field(default=110_000, ge=1, description="how many are kept")
    slots: int = Field(default=1 << 18, ge=2, description="of the table: a power of two, more than features")
    min_count: int = Field(default=3, ge=1, description="a feature seen less often says nothing of other texts")
    common_share: float = Field(
        default=0.5, ge=0, le=1, description="of the features, chosen language by language alike; the rest by strength"
    )
    epochs: int = Field(default=3, ge=1, description="passes over all places")
    rate: float = Field(default=0.1, gt=0, description="AdaGrad's learning rate")
    decay: float = Field(default=1e-5, ge=0, description="pull of the weights to 0")
    seed: int = Field(default=0, ge=0, description="of the shuffles and the order of training")


def train_model(texts: Mapping[str, Sequence[str]], settings: TrainingSettings) -> WordOrderModel:
    """A model from texts by language. Takes about 2 GB and half a minute for 20 MB of text."""
    ordered, shuffled, strengths = [], [], []
    for number, language in enumerate(sorted(texts)):
        places = _places(texts[language], shuffled=False, seed=settings.seed)
        wrong = [
            _places(texts[language], shuffled=True, seed=settings.seed + 1 + number * SHUFFLES + turn)
            for turn in range(SHUFFLES)
        ]
        ordered.append(places)
        shuffled += wrong
        strengths.append(_strengths(places[0], np.concatenate([each[0] for each in wrong]), settings.min_count))
    marks = np.zeros(settings.slots, np.uint16)
    loops.fill_table(_choose(strengths, settings), marks)
    return _fit(marks, ordered, shuffled, settings)


def _places(texts: Sequence[str], *, shuffled: bool, seed: int) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    bounds, data = utf8_buffers(pa.array(texts, pa.string()))
    features, edges = loops.features_of_texts(bounds, data, *character_tables(), shuffled, seed)
    return features, edges


def _strengths(
    ordered: NDArray[np.uint64], shuffled: NDArray[np.uint64], min_count: int
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Features and how well each tells the two apart: the log-likelihood ratio (Dunning 1993), the strongest first."""
    kept, counts = np.unique(ordered, return_counts=True)
    wrong, wrong_counts = np.unique(shuffled, return_counts=True)
    features = np.union1d(kept[counts >= min_count], wrong[wrong_counts >= min_count * SHUFFLES])
    features = features[features != loops.EMPTY]
    seen = _counts_of(features, kept, counts)
    seen_wrong = _counts_of(features, wrong, wrong_counts) / SHUFFLES
    mean = (seen + seen_wrong) / 2
    strength = _times_log(seen, seen / mean) + _times_log(seen_wrong, seen_wrong / mean)
    best = np.argsort(-strength, kind="stable")
    return features[best], strength[best]


def _counts_of(features: NDArray[np.uint64], known: NDArray[np.uint64], counts: NDArray[Any]) -> NDArray[np.float64]:
    places = np.minimum(np.searchsorted(known, features), max(len(known) - 1, 0))
    return np.where(known[places] == features, counts[places], 0).astype(np.float64)


def _times_log(count: NDArray[np.float64], ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    return count * np.log(np.where(count > 0, ratio, 1))


def _choose(
    strengths: list[tuple[NDArray[np.uint64], NDArray[np.float64]]], settings: TrainingSettings
) -> NDArray[np.uint64]:
    """The features kept, the strongest first, so that they find their places in the table first."""
    each = int(settings.features * settings.common_share / max(len(strengths), 1))
    features = np.concatenate([found for found, _ in strengths])
    strength = np.concatenate([found for _, found in strengths])
    first = np.concatenate([np.arange(len(found)) < each for found, _ in strengths])
    order = np.lexsort((-strength, ~first))
    _, places = np.unique(features[order], return_index=True)
    chosen: NDArray[np.uint64] = features[order][np.sort(places)[: settings.features]]
    return chosen


def _fit(
    marks: NDArray[np.uint16],
    ordered: list[tuple[NDArray[np.uint64], NDArray[np.int32]]],
    shuffled: list[tuple[NDArray[np.uint64], NDArray[np.int32]]],
    settings: TrainingSettings,
) -> WordOrderModel:
    slots = np.concatenate([loops.find_all(features, marks) for features, _ in ordered + shuffled])
    edges = np.concatenate([found for _, found in ordered + shuffled])
    labels = np.zeros(len(edges), np.int8)
    labels[: sum(len(found) for _, found in ordered)] = 1
    weights, squares = np.zeros(len(marks), np.float32), np.zeros(len(marks), np.float32)
    place_weights, place_squares = np.zeros(loops.PLACES, np.float32), np.zeros(loops.PLACES, np.float32)
    chance = np.random.default_rng(settings.seed)
    for _ in range(settings.epochs):
        order = chance.permutation(len(labels))
        loops.train_epoch(
            slots, edges, labels, order, weights, squares, place_weights, place_squares, settings.rate, settings.decay
        )
    return WordOrderModel(marks, _rounded(weights), _rounded(place_weights))


def _rounded(weights: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.clip(np.round(weights / WEIGHT_UNIT), -127, 127).astype(np.int8)
