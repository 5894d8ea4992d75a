"""The settings of a RetroMAE pre-training run."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer.training_run import RunSettings


class NewEncoder(BaseModel):
    """The shape of a BERT made from nothing: for experiments without a pretrained encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(4, ge=1, description="transformer layers (ours: a small model for a CPU)")
    hidden: int = Field(256, ge=8, description="dimensions of the states (ours)")
    heads: int = Field(4, ge=1, description="attention heads; hidden is a multiple (ours)")
    inner: int | None = Field(None, ge=8, description="dimensions of the feed-forward part; none: 4 * hidden (BERT)")
    positions: int = Field(512, ge=8, description="longest text in tokens (BERT)")
    dropout: float = Field(0.1, ge=0, lt=1, description="of states and attention (BERT)")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "NewEncoder":
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")
        return self


class PretrainSettings(RunSettings):
    """A pre-training run: what RunSettings says of the run, and what is learnt. `model` may be a folder of tokenizer
    files alone where `new_encoder` is set."""

    batch_size: int = Field(
        720, ge=1, description="rows of text in a step, over all processes (BGE: FlagEmbedding README, 2023-08)"
    )
    encoder_mask: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="share of the encoder's words masked (RetroMAE section 3.1: 0.15 to 0.30; BGE: 0.3)",
    )
    decoder_mask: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="share of words that a decoder row does not see (RetroMAE section 3.2: 0.5 to 0.7; BGE: 0.5)",
    )
    decoder_masks_per_text: int | None = Field(
        None,
        ge=1,
        description="rows draw from a pool of so many masks, as FlagEmbedding (128) and RetroMAE (256); none: a mask of its "
        "own for every row (RetroMAE section 3.3)",
    )
    bag_of_words_weight: float = Field(
        0.0, ge=0, description="weight of DupMAE's loss: words of the text from the encoder's logits (DupMAE: 0.1)"
    )
    max_positions: int | None = Field(
        None,
        ge=8,
        description="make the encoder take texts of so many tokens at least, special ones included; none: as it is",
    )
    position_extension: Literal["copy", "interpolate"] = Field(
        "copy",
        description="new positions repeat the old ones, so that short texts are embedded as before (Longformer section 5), or "
        "the old ones are stretched over all; M3 does not say which",
    )
    new_encoder: NewEncoder | None = Field(
        None, description="start from random weights of this shape; `model` then gives the tokenizer"
    )
    data_cache: str | None = Field(None, description="folder for decoded shards; none: _decoded in the data's folder")

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "PretrainSettings":
        if self.tokens_at_once is not None:
            raise ValueError(
                "tokens_at_once does nothing in pre-training, whose losses need no more than one chunk in memory; leave it "
                "out, and lower tokens_per_forward where memory is short"
            )
        return self
