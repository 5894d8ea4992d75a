"""Which outputs an encoder learns to give, and how their losses are put together (M3, section 3.2 and 3.3)."""

from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from trainer.loss import LossSettings
from trainer.m3_heads import Output

ALL_OUTPUTS: Final[tuple[Output, ...]] = ("dense", "lexical", "multi_vector")


class M3LossSettings(LossSettings):
    """The loss of one output is `LossSettings`'; several are put together as M3's equations 2 to 6 say."""

    outputs: tuple[Output, ...] = Field(
        ("dense",),
        min_length=1,
        description="what the model learns to give: dense, lexical, multi_vector (M3 section 3.2)",
    )
    token_dimension: int | None = Field(
        None,
        ge=1,
        description="numbers of a token's vector where the model has no multi-vector head yet; none: as many as the encoder "
        "has (FlagEmbedding colbert_dim -1)",
    )
    dense_weight: float = Field(1.0, ge=0, description="w1 of M3 eq. 3: of the dense score in the sum of scores")
    lexical_weight: float = Field(0.3, ge=0, description="w2 of M3 eq. 3")
    multi_vector_weight: float = Field(1.0, ge=0, description="w3 of M3 eq. 3")
    dense_loss_weight: float = Field(1.0, ge=0, description="lambda1 of M3 eq. 4 and 6")
    lexical_loss_weight: float = Field(
        0.1, ge=0, description="lambda2 of M3 eq. 4 and 6: low because the head begins at random"
    )
    multi_vector_loss_weight: float = Field(1.0, ge=0, description="lambda3 of M3 eq. 4 and 6")
    ensemble: bool = Field(
        True,
        description="several outputs also learn by the sum of their scores (L_inter of M3 eq. 4); false: each by itself, "
        "the baseline of M3 Table 5",
    )
    self_distillation_from: int | None = Field(
        None,
        ge=0,
        description="from this step on (the first is 0) the sum of scores teaches each output (M3 eq. 5 and 6); M3 appendix "
        "B.1: after about 6,000 steps; none: never",
    )
    candidates: Literal["all", "own_rank"] = Field(
        "all",
        description="of several processes, whose passages lexical, multi-vector and summed scores are compared with; own_rank: "
        "those of the own process, the dense score still those of all (FlagEmbedding)",
    )
    flagembedding: bool = Field(
        False,
        description="compute as FlagEmbedding 1.4 does: padding takes part in the maximum of multi-vector scores (so that "
        "the loss depends on it), and candidates are own_rank's; for comparison only",
    )

    @field_validator("outputs")
    @classmethod
    def _each_once(cls, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
        if len(set(outputs)) < len(outputs):
            raise ValueError(f"outputs {list(outputs)} names one twice: name each output once.")
        return tuple(output for output in ALL_OUTPUTS if output in outputs)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        several = len(self.outputs) > 1
        if self.self_distillation_from is not None and not (several and self.ensemble):
            raise ValueError(
                "self_distillation_from needs the sum of several scores as the teacher: name two or three outputs and leave "
                "ensemble true, or leave self_distillation_from out."
            )
        if self.token_dimension is not None and "multi_vector" not in self.outputs:
            raise ValueError(
                f"token_dimension is of multi-vector outputs, and outputs are {list(self.outputs)}: add multi_vector to them, or "
                f"leave token_dimension out."
            )
        if several and self.ensemble and not any(self.score_weight(output) for output in self.outputs):
            raise ValueError(
                f"the sum of the scores of {list(self.outputs)} is 0 for all: set one of their weights (dense_weight, "
                f"lexical_weight, multi_vector_weight) above 0, or ensemble false."
            )
        if several and not self.ensemble and not any(self.loss_weight(output) for output in self.outputs):
            raise ValueError(
                f"the loss of {list(self.outputs)} is 0 for all pairs: set one of dense_loss_weight, lexical_loss_weight and "
                f"multi_vector_loss_weight above 0, or ensemble true."
            )
        if "dense" not in self.outputs and (self.false_negative_margin is not None or self.guide_model is not None):
            raise ValueError(
                "false_negative_margin and guide_model compare dense scores: add dense to outputs, or leave them out."
            )
        return self

    @property
    def dense_only(self) -> bool:
        return self.outputs == ("dense",)

    @property
    def own_rank_only(self) -> bool:
        """Whether all scores but the dense one stay within a process."""
        return self.flagembedding or self.candidates == "own_rank"

    def score_weight(self, output: Output) -> float:
        return {"dense": self.dense_weight, "lexical": self.lexical_weight, "multi_vector": self.multi_vector_weight}[
            output
        ]

    def loss_weight(self, output: Output) -> float:
        return {
            "dense": self.dense_loss_weight,
            "lexical": self.lexical_loss_weight,
            "multi_vector": self.multi_vector_loss_weight,
        }[output]

    @property
    def part_names(self) -> tuple[str, ...]:
        """The parts of the loss that a run tells beside it; none for the dense output alone."""
        if self.dense_only:
            return ()
        names = [f"loss_{output}" for output in self.outputs]
        if len(self.outputs) > 1 and self.ensemble:
            names.append("loss_ensemble")
        if self.self_distillation_from is not None:
            names.append("loss_distillation")
        return tuple(names)
