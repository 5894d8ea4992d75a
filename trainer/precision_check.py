"""Whether an encoder may run in less precision: its vectors and rankings beside those in fp32.

In:  the settings of an encoder, some queries and passages like those it will encode.
Out: a `PrecisionCheck`. Both encoders are in memory one after the other, and one score for each query and passage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.backbone import EncodingPrecision
from trainer.encoder import Encoder, EncoderSettings


@dataclass(frozen=True)
class PrecisionCheck:
    """How far two precisions agree; 1 is complete agreement everywhere."""

    least_cosine: float  # of a text's two vectors, over all texts
    mean_cosine: float
    rank_agreement: float  # Spearman's correlation of a query's two rankings of all passages, mean over queries
    top_agreement: float  # share of a query's first `top` passages that are among its first `top` in fp32, mean


def precision_check(
    settings: EncoderSettings,
    queries: pa.Array | Sequence[str],
    passages: pa.Array | Sequence[str],
    *,
    precision: EncodingPrecision = "bf16",
    top: int = 10,
) -> PrecisionCheck:
    """Compare `precision` with fp32 on Q >= 1 queries and P >= 2 passages, by cosine. Raises what Encoder raises."""
    whole, half = (_encode(settings, each, queries, passages) for each in ("fp32", precision))
    cosines = np.concatenate([np.einsum("nd,nd->n", *pair) for pair in zip(whole, half, strict=True)])
    in_whole, in_half = (_ranks(query_vectors @ passage_vectors.T) for query_vectors, passage_vectors in (whole, half))
    centre = (in_whole.shape[1] - 1) / 2
    correlations = ((in_whole - centre) * (in_half - centre)).sum(axis=1) / ((in_whole - centre) ** 2).sum(axis=1)
    top = min(top, in_whole.shape[1])
    return PrecisionCheck(
        least_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        rank_agreement=float(correlations.mean()),
        top_agreement=float(((in_whole < top) & (in_half < top)).sum(axis=1).mean() / top),
    )


def _encode(
    settings: EncoderSettings,
    precision: EncodingPrecision,
    queries: pa.Array | Sequence[str],
    passages: pa.Array | Sequence[str],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    encoder = Encoder(settings.model_copy(update={"precision": precision, "normalise": True}))
    return encoder.encode(queries, "query"), encoder.encode(passages, "passage")


def _ranks(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The rank of each passage for each query, 0 the best: int64 [Q, P]; ties by the lower passage."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None, :], axis=1)
    return ranks
