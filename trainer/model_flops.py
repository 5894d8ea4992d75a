"""What a step of training costs, from the model's shape alone: floating point operations and bytes.

In:  the config of a BERT-like encoder.
Out: FLOPs of texts of given lengths, the share of a device's peak that a step reached (MFU), bytes that weights and
     activations take. Estimates: embeddings, softmax, layer norms and the loss are left out.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

# Dense matrix products of 16-bit floats, in 10^12 operations a second, without sparsity, by words of the name that CUDA
# reports (NVIDIA's data sheets of these cards).
PEAK_TFLOPS: Final = {
    "GH200": 989.0,
    "H200": 989.0,
    "H200 NVL": 835.0,
    "H100 NVL": 835.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "A800": 312.0,
    "A10G": 70.0,
    "A10": 125.0,
    "L40": 181.0,
    "L40S": 362.0,
    "L4": 121.0,
    "V100": 125.0,
    "T4": 65.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
}


@dataclass(frozen=True)
class ModelShape:
    """The sizes that matter of an encoder."""

    layers: int
    hidden: int
    feed_forward: int
    vocabulary: int
    parameters: int
    heads: int = 1

    @classmethod
    def of(cls, config: Any, parameters: int) -> "ModelShape":
        """From a transformers config with the field names of BERT, RoBERTa and their kin."""
        hidden = int(config.hidden_size)
        return cls(
            layers=int(config.num_hidden_layers),
            hidden=hidden,
            feed_forward=int(getattr(config, "intermediate_size", None) or 4 * hidden),
            vocabulary=int(config.vocab_size),
            parameters=parameters,
            heads=int(getattr(config, "num_attention_heads", None) or max(1, hidden // 64)),
        )

    @property
    def weights_per_layer(self) -> int:
        """Of matrix products: query, key, value and output, and the two of the feed-forward part."""
        return 4 * self.hidden**2 + 2 * self.hidden * self.feed_forward


def training_flops(shape: ModelShape, tokens: int, squared_lengths: int, *, forwards: int = 1) -> float:
    """Operations to learn from texts of `tokens` tokens whose squared lengths sum to `squared_lengths`.

    A product with a weight is 2 operations a token and weight, scores and sums of attention 4 a pair of tokens and
    dimension; the backward pass is twice the forward (Kaplan et al. 2020, section 2.1). Padding and the second forward
    of gradient caching are no use to the model and do not count, as is usual for MFU: `forwards` stays 1 for it; 2
    gives what a step with gradient caching executes.
    """
    forward = shape.layers * (2 * tokens * shape.weights_per_layer + 4 * squared_lengths * shape.hidden)
    return float(forward * (2 + forwards))


def peak_tflops(device_name: str) -> float | None:
    """The stated peak of a CUDA device by its name; None where it is not listed (CPUs and laptops' GPUs are not)."""
    if "Laptop" in device_name:
        return None
    names = sorted((name for name in PEAK_TFLOPS if re.search(rf"\b{name}\b", device_name)), key=len)
    return PEAK_TFLOPS[names[-1]] if names else None


def weight_bytes(shape: ModelShape, *, moving_average: bool = False) -> int:
    """Weights, gradients and AdamW's two moments in fp32, and an average of the weights where one is kept."""
    return shape.parameters * 4 * (5 if moving_average else 4)


def activation_bytes(shape: ModelShape, tokens: int, squared_lengths: int, *, checkpointed: bool = False) -> int:
    """What forwards of `tokens` tokens keep in fp32 for their backward, attention without a fused kernel.

    Per layer and token some 12 vectors of the hidden size and 2 of the feed-forward part; per pair of tokens and head 3
    numbers (counted with torch's saved tensors: BERT with dropout). `checkpointed`: of one layer, and the others' inputs.
    """
    per_layer = tokens * (12 * shape.hidden + 2 * shape.feed_forward) + 3 * shape.heads * squared_lengths
    numbers = per_layer + shape.layers * tokens * shape.hidden if checkpointed else shape.layers * per_layer
    return 4 * numbers


def shape_of_folder(model: str) -> ModelShape:
    """The shape of the model in a local folder (or package://PACKAGE/folder), without reading its weights."""
    import torch
    from transformers import AutoConfig, AutoModel

    from trainer.backbone import transformer_folder

    config = AutoConfig.from_pretrained(transformer_folder(model), local_files_only=True, trust_remote_code=False)
    build: Any = AutoModel.from_config
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in build(config).parameters())
    return ModelShape.of(config, parameters)
