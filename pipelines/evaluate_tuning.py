"""Weights of hybrid retrieval, searched on a development set: `pairmill evaluate --tune-on FOLDER`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pipelines.errors import UserError
from pipelines.evaluate_sets import EvaluationSet
from pipelines.evaluate_settings import EvaluationWeights, Mode
from pipelines.evaluate_systems import modes_of

if TYPE_CHECKING:
    from trainer.encoder import Encoder
    from trainer.encoder_processes import EncoderPool

HYBRID: Final[tuple[Mode, ...]] = ("dense+lexical", "all")


def development_set(sets: Sequence[EvaluationSet]) -> EvaluationSet:
    """The one retrieval set of judged documents that weights are searched on. Raises UserError for any other number."""
    judged = [of for of in sets if of.retrieval is not None and of.retrieval.answers is None]
    if len(judged) != 1 or len(sets) != 1:
        names = ", ".join(of.title for of in sets)
        raise UserError(
            f"--tune-on needs one retrieval set with judged documents, and {names} is not that. Name another folder."
        )
    return judged[0]


def tune_weights(
    encoder: "Encoder | EncoderPool", development: EvaluationSet, modes: Sequence[Mode], work: str | None = None
) -> EvaluationWeights | None:
    """The best weights for the hybrid ones of `modes`; None where the model can do none of them."""
    hybrid = tuple(mode for mode in modes_of(encoder, modes) if mode in HYBRID)
    if not hybrid:
        return None
    from trainer.evaluate import RetrievalSettings, tuned_hybrid_weights

    assert development.retrieval is not None
    found = tuned_hybrid_weights(encoder, development.retrieval, RetrievalSettings(modes=hybrid, work=work))
    return EvaluationWeights(
        dense_lexical=found.dense_lexical if "dense+lexical" in hybrid else None,
        all=found.all if "all" in hybrid else None,
    )


def in_words(weights: EvaluationWeights) -> str:
    """The weights that were found, for people."""
    told = {"dense+lexical": weights.dense_lexical, "all": weights.all}
    names = ("dense", "lexical", "multi_vector")
    return "; ".join(
        f"{mode}: {', '.join(f'{name} {weight:g}' for name, weight in zip(names, values, strict=False))}"
        for mode, values in told.items()
        if values is not None
    )
