"""The training runs of the papers as settings: `pairmill train --preset bge-base-stage-2`.

Sources: CP = C-Pack (arXiv 2309.07597v5), M3 = BGE M3-Embedding (arXiv 2402.03216v4), FE = FlagEmbedding's repository. What they
do not say is left at the default of the setting, or marked "ours". A preset also says how pack must have been run.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from trainer.batch_plan import TABLE_9_SHARES, TABLE_9_UNSUPERVISED_SHARES
from trainer.m3_settings import ALL_OUTPUTS

ENGLISH_INSTRUCTION: Final = "Represent this sentence for searching relevant passages: "  # FE README; for queries only


class PresetError(ValueError):
    """There is no preset of that name. The message lists those there are."""


@dataclass(frozen=True)
class Preset:
    """Settings of one published training run."""

    description: str
    train: dict[str, Any]  # of trainer.loop.TrainSettings
    packing: dict[str, Any]  # of trainer.packing.PackingSettings: what the data must have been packed with
    epochs: float | None = None  # where steps are not published


# Stage 2 of BGE: contrastive training on the unlabelled pairs of C-MTP, in-batch negatives only (CP section 3.4).
_BGE_STAGE_2: Final[dict[str, Any]] = {
    "batch_size": 19_200,  # CP section 3.4, Table 4: 256 -> 2,048 -> 19,200 raises retrieval from 57.25 to 63.90
    "length_shares": (1.0,),  # CP: one batch size; texts are at most 512 tokens
    "negatives": 0,  # CP section 3.4: "purely relies on in-batch negative samples"
    "temperature": 0.01,  # FE README, FAQ of BGE v1 and v1.5
    "learning_rate": 1e-5,  # FE README at d9a35f4 (2023-08): AdamW, 1e-5
    "group_by": "none",  # CP does not say that a batch is of one source
}

# Stage 3: fine-tuning on labelled pairs with an instruction and one hard negative (CP section 3.4).
_BGE_STAGE_3: Final[dict[str, Any]] = {
    "batch_size": 256,  # ours: not published
    "length_shares": (1.0,),
    "negatives": 1,  # FE research/baai_general_embedding/README.md: train_group_size 2
    "require_negatives": True,  # CP section 3.4: one for each pair, by ANN-style sampling
    "temperature": 0.01,  # FE README, FAQ
    "learning_rate": 1e-5,  # FE README, bge-large-zh-v1.5
}

_BGE_LENGTHS: Final = {"max_query_length": 512, "max_passage_length": 512}  # FE README: the models' limit
_NO_INSTRUCTION: Final = {"query_instruction": "", "query_instructions": {}}
_BGE_SIZES: Final = {"small": "24 M", "base": "102 M", "large": "326 M"}  # CP section 3.3

# Unsupervised contrastive training of M3, dense only (M3 appendix B.1).
_M3_STAGE_2: Final[dict[str, Any]] = {
    "steps": 25_000,
    "batch_size": 67_200,  # M3 Table 9: up to 500 tokens, over 96 GPUs
    "length_shares": TABLE_9_UNSUPERVISED_SHARES,  # 54,720 ... 9,984 for longer texts
    "negatives": 0,  # M3 section 3.4: in-batch negatives
    "temperature": 0.02,  # FE research/BGE_M3/arguments.py; not in the paper
    "learning_rate": 5e-5,
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
    "segment_shuffle": 0.002,  # M3 appendix A.1 prints 0.2 %; FE's scripts say --shuffle_ratio 0.002
}

# Fine-tuning of M3 on labelled pairs (M3 section 3.3 and appendix B.1).
_M3_STAGE_3: Final[dict[str, Any]] = {
    "batch_size": 1152,  # M3 Table 9: up to 500 tokens, over 24 GPUs
    "length_shares": TABLE_9_SHARES,
    "negatives": 7,  # M3 appendix B.1
    "require_negatives": True,
    "temperature": 0.02,
    "learning_rate": 1e-5,  # FE examples/finetune/embedder/README.md for M3; not in the paper
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
}
_M3_STAGE_3_PACKING: Final = {"max_query_length": 512, "max_passage_length": 8192, "negatives": 7}


def _bge(size: str, stage: int) -> Preset:
    """The sizes share all numbers: none is published for one alone."""
    if stage == 2:
        description = (
            f"BGE {size} ({_BGE_SIZES[size]} parameters), C-Pack stage 2: unlabelled pairs, in-batch negatives"
        )
        # Epochs over the 100 M pairs are not published; one is ours.
        return Preset(description, dict(_BGE_STAGE_2), {**_BGE_LENGTHS, **_NO_INSTRUCTION}, epochs=1)
    description = (
        f"BGE {size} ({_BGE_SIZES[size]} parameters), C-Pack stage 3: labelled pairs, 1 hard negative, instruction"
    )
    packing = {**_BGE_LENGTHS, "query_instruction": ENGLISH_INSTRUCTION}
    return Preset(description, dict(_BGE_STAGE_3), packing, epochs=5)  # FE README, v1.5: at most 5 epochs


PRESETS: Final[dict[str, Preset]] = {
    **{f"bge-{size}-stage-{stage}": _bge(size, stage) for size in _BGE_SIZES for stage in (2, 3)},
    "m3-stage-2": Preset(
        "M3 (XLM-RoBERTa large), unsupervised: pairs in 194 languages by length, dense",
        _M3_STAGE_2,
        {"max_query_length": 512, "max_passage_length": 8192},  # M3 appendix B.1
    ),
    "m3-fine-tune-dense": Preset(
        "M3 fine-tuning, dense part only: 7 hard negatives, batches by length",
        _M3_STAGE_3,
        _M3_STAGE_3_PACKING,
        epochs=2,  # FE's example for M3; not in the paper
    ),
    "m3-fine-tune": Preset(
        "M3 fine-tuning: dense, lexical and multi-vector, self-knowledge distillation after a warm-up",
        {
            **_M3_STAGE_3,
            "outputs": ALL_OUTPUTS,  # M3 section 3.2; weights of scores and losses are the defaults
            "self_distillation_from": 6_000,  # M3 appendix B.1: about 6,000 steps of warm-up of the three outputs
        },
        _M3_STAGE_3_PACKING,
        epochs=2,  # FE's example for M3; not in the paper
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name. Raises PresetError where there is none."""
    if name in PRESETS:
        return PRESETS[name]
    near = get_close_matches(name, PRESETS, 1, cutoff=0)
    raise PresetError(f"There is no preset {name!r}; did you mean {near[0]}? All: {', '.join(sorted(PRESETS))}.")


def differences_of_packing(chosen: Preset, details: dict[str, Any]) -> list[str]:
    """What of the data's packing is not as the preset has it, in words; none where pack left no settings."""
    found = details.get("packing")
    if not isinstance(found, dict):
        return []
    return [
        f"packing.{name} is {found.get(name)!r}, the preset has {wanted!r}"
        for name, wanted in chosen.packing.items()
        if found.get(name) != wanted
    ]
