"""How negatives are found and chosen. Light: the recipe imports it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainer.judge import JudgeSettings
from trainer.negatives import NegativeSettings
from trainer.search_settings import SearchSettings

Source = Literal["dense", "bm25", "lexical"]


class CandidateSettings(BaseModel):
    """Where candidates come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[Source, ...] = Field(
        ("dense",),
        min_length=1,
        description="dense: the encoder's vectors; bm25: words in common; lexical: token weights of an M3 model",
    )
    depth: int | None = Field(
        None,
        ge=1,
        description="candidates of a query from each source; null: as many as rank_window needs, excluded ones on top",
    )
    fusion: Literal["union", "reciprocal_rank"] = Field(
        "union",
        description="union: by the best rank in any source, equal ones in the order of `sources`; reciprocal_rank: by the sum "
        "of 1 / (constant + rank) (Cormack et al. 2009)",
    )
    reciprocal_rank_constant: int = Field(60, ge=0, description="Cormack et al. 2009; ranks from 1")

    @field_validator("sources")
    @classmethod
    def _each_once(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        if len(set(sources)) < len(sources):
            raise ValueError(f"{', '.join(sources)} names a source twice")
        return sources


class MiningSettings(BaseModel):
    """How negatives are found and chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidates: CandidateSettings = CandidateSettings()
    select: NegativeSettings = NegativeSettings()
    search: SearchSettings = SearchSettings()
    judge: JudgeSettings | None = Field(None, description="re-scores the candidates; null: none")
    exclude_contained: bool = Field(
        True,
        description="a passage that holds a positive's text, or is held in it, or says what the query does, is no negative",
    )
    exclude_answers: bool = Field(
        True, description="a passage that holds an answer of the query is no negative (DPR), where queries have answers"
    )
