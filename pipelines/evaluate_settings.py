"""What is evaluated on: folders of `evaluate.data` in a recipe and of `pairmill evaluate --data`.

Light on purpose: recipes are read before anything heavy is imported. `Mode` and the layouts repeat trainer.evaluate's.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    from trainer.evaluate import HybridWeights

Mode = Literal["dense", "lexical", "multi_vector", "dense+lexical", "all"]
FolderLayout = Literal["beir", "miracl", "mrtydi", "mldr", "mkqa", "task"]
_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class EvaluationWeights(BaseModel):
    """Weights of hybrid retrieval, w1 s_dense + w2 s_lexical + w3 s_multi_vector (M3 equation 1)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dense_lexical: tuple[_Weight, _Weight] | None = Field(None, description="(w1, w2); default: the paper's")
    all: tuple[_Weight, _Weight, _Weight] | None = Field(None, description="(w1, w2, w3); default: the paper's")

    def hybrid(self) -> "HybridWeights":
        """As trainer.evaluate has them; those not given are MIRACL's (M3 section 4.1)."""
        from trainer.evaluate import HybridWeights

        return HybridWeights.model_validate(self.model_dump(exclude_none=True))


class EvaluationFolder(BaseModel):
    """One folder: a retrieval set (BEIR, MIRACL, Mr. TyDi, MLDR, MKQA) or a task of C-MTEB's other kinds (or its file)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="the folder; of a task also its only file")
    layout: FolderLayout | None = Field(
        None, description="beir, miracl, mrtydi, mldr, mkqa or task; default: told by its files"
    )
    split: str | None = Field(None, description="default: test, and dev of MIRACL, as the papers report")
    languages: tuple[str, ...] = Field((), description="of a set with several, as its files name them; empty: all")
    modes: tuple[Mode, ...] | None = Field(None, min_length=1, description="default: those of the evaluation")
    weights: EvaluationWeights | None = Field(
        None, description="of hybrid modes; default: the paper's for its benchmarks"
    )


def _as_folder(given: Any) -> Any:
    return {"path": given} if isinstance(given, str) else given


FolderEntry = Annotated[EvaluationFolder, BeforeValidator(_as_folder)]
