"""The pre-training runs of the papers as settings: `pairmill pretrain --preset bge`.

Sources: M3 = BGE M3-Embedding (arXiv 2402.03216v4), appendix B.1; FE = FlagEmbedding's repository. What they do not say is left
at the default of the setting, or marked "ours".
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from trainer.presets import PresetError


@dataclass(frozen=True)
class PretrainPreset:
    """Settings of one published pre-training run."""

    description: str
    pretrain: dict[str, Any]  # of trainer.retromae.settings.PretrainSettings
    packing: dict[str, Any]  # of trainer.text_packing.TextPackingSettings
    epochs: float | None = None  # where steps are not published


PRETRAIN_PRESETS: Final[dict[str, PretrainPreset]] = {
    "bge": PretrainPreset(
        "BGE (C-Pack stage 1): a BERT on plain text of up to 512 tokens",
        {
            "batch_size": 720,  # FE README at d9a35f4 (2023-08), on 24 A100-40G
            "learning_rate": 2e-5,  # the same
            "encoder_mask": 0.3,  # FE research/baai_general_embedding/retromae_pretrain/arguments.py
            "decoder_mask": 0.5,  # the same
            "decoder_masks_per_text": 128,  # FE retromae_pretrain/data.py: min(length, 128)
        },
        {"max_length": 512},  # FE retromae_pretrain/arguments.py
        epochs=2,  # FE's example script; not in the paper
    ),
    "m3": PretrainPreset(
        "M3: XLM-RoBERTa large with positions up to 8,192, on 184 M texts in 105 languages",
        {
            "steps": 20_000,
            "learning_rate": 7e-5,
            # M3: "batch size 32, gradient accumulation 16" on 32 GPUs; whether 32 is of one GPU is not said. Of all: 512.
            "batch_size": 512,
            "max_positions": 8192,
        },
        {"max_length": 8192},
    ),
}


def pretrain_preset(name: str) -> PretrainPreset:
    """The preset of that name. Raises PresetError where there is none."""
    if name in PRETRAIN_PRESETS:
        return PRETRAIN_PRESETS[name]
    near = get_close_matches(name, PRETRAIN_PRESETS, 1, cutoff=0)
    raise PresetError(
        f"There is no preset {name!r} of pre-training; did you mean {near[0]}? All: {', '.join(sorted(PRETRAIN_PRESETS))}."
    )
