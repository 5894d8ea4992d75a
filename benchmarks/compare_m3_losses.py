"""M3's loss and its gradient beside FlagEmbedding's: the same weights, the same batches.

    python benchmarks/compare_m3_losses.py --peer PYTHON [--model FOLDER] [--dtype float32]

PYTHON has FlagEmbedding; it runs in a process of its own. Without FOLDER (an XLM-RoBERTa or BERT) a small random one is
made. Both get token ids, weights of encoder and heads, and teacher scores; dropout is off. Told are, with the switch
`flagembedding` and without it, the relative differences of the loss and of the gradient of all weights. The batches have
passages of one length (nothing is padded, both ways must agree) and of several.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

QUERIES, GROUP, TEMPERATURE = 6, 4, 0.02
SPECIAL = {"cls_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "unk_token_id": 3}
CASES = {
    "equations 2 to 4": {},
    "with self-distillation": {"self_distillation": True},
    "reranker, kl_div": {"distillation": "kl_div"},
    "reranker, m3_kd_loss": {"distillation": "m3_kd_loss"},
    "kl_div and self-distillation": {"distillation": "kl_div", "self_distillation": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="a Python with FlagEmbedding")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--longest", type=int, default=20)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    dtype = getattr(torch, arguments.dtype)
    if arguments.child:
        flag_embedding(arguments.child, arguments.model, dtype)
        return
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        model = arguments.model or small_model(folder / "model")
        write_batches(folder, model, arguments.longest)
        command = [arguments.peer, __file__, "--peer", arguments.peer, "--child", work, "--model", str(model)]
        subprocess.run([*command, "--dtype", arguments.dtype], check=True)
        compare(folder, model, dtype)


def small_model(folder: Path) -> Path:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    config = XLMRobertaConfig(vocab_size=400, max_position_embeddings=130, initializer_range=0.2, **sizes)
    XLMRobertaModel(config).save_pretrained(folder)
    return folder


def write_batches(folder: Path, model: Path, longest: int) -> None:
    """Token ids of both batches, teacher scores, and the heads."""
    config = json.loads((model / "config.json").read_text("utf-8"))
    random = np.random.default_rng(0)
    batches = {}
    for name, shortest in (("one length", longest), ("several lengths", 3)):
        lengths = [random.integers(3, 12, QUERIES), random.integers(shortest, longest + 1, QUERIES * GROUP)]
        # Few words, so that texts share some.
        words = random.integers(4, config["vocab_size"], 60)
        batches[name] = [
            [[0, *random.choice(words, length - 2).tolist(), 2] for length in side.tolist()] for side in lengths
        ]
    scores = random.normal(size=(QUERIES, GROUP)).tolist()
    (folder / "batches.json").write_text(json.dumps({"batches": batches, "scores": scores}), "utf-8")
    torch.manual_seed(1)
    heads = {"sparse": torch.nn.Linear(config["hidden_size"], 1), "colbert": torch.nn.Linear(config["hidden_size"], 4)}
    with torch.no_grad():
        heads["colbert"].bias -= heads["colbert"](mean_state(model, batches["several lengths"][1]))
    torch.save({name: head.state_dict() for name, head in heads.items()}, folder / "heads.pt")


def mean_state(model: Path, texts) -> torch.Tensor:
    """Taken off, so that some tokens have no similar one, and padding would be their maximum."""
    from transformers import AutoModel

    given = features(texts)
    hidden = AutoModel.from_pretrained(model, local_files_only=True).eval()(**given).last_hidden_state
    return hidden[given["attention_mask"].bool()].mean(dim=0)


def loaded(folder: Path, model: Path, dtype: torch.dtype):
    """The encoder without dropout, both heads, batches and scores."""
    from transformers import AutoModel

    encoder = AutoModel.from_pretrained(model, local_files_only=True).to(dtype).train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0
    encoder.set_attn_implementation("eager")
    states = torch.load(folder / "heads.pt", weights_only=True)
    heads = {}
    for name, state in states.items():
        heads[name] = torch.nn.Linear(state["weight"].shape[1], state["weight"].shape[0]).to(dtype)
        heads[name].load_state_dict(state)
    content = json.loads((folder / "batches.json").read_text("utf-8"))
    return encoder, heads, content["batches"], content["scores"]


def flat_gradient(encoder, heads) -> np.ndarray:
    modules = {"encoder": encoder, **heads}
    weights = sorted(
        (f"{part}.{name}", weight) for part, module in modules.items() for name, weight in module.named_parameters()
    )
    gradients = [
        (torch.zeros_like(weight) if weight.grad is None else weight.grad).ravel()
        for name, weight in weights
        if "pooler" not in name
    ]
    for _, weight in weights:
        weight.grad = None
    return torch.cat(gradients).double().numpy()


def flag_embedding(folder: Path, model: Path, dtype: torch.dtype) -> None:
    """In a child: loss and gradient of each case and batch."""
    from types import SimpleNamespace

    from FlagEmbedding.finetune.embedder.encoder_only.m3.modeling import EncoderOnlyEmbedderM3Model

    encoder, heads, batches, scores = loaded(folder, model, dtype)
    found = {}
    for case, chosen in CASES.items():
        peer = EncoderOnlyEmbedderM3Model(
            {"model": encoder, "sparse_linear": heads["sparse"], "colbert_linear": heads["colbert"]},
            tokenizer=SimpleNamespace(**SPECIAL, padding_side="right"),
            temperature=TEMPERATURE,
            normalize_embeddings=True,
            kd_loss_type=chosen.get("distillation", "kl_div"),
            use_self_distill=chosen.get("self_distillation", False),
        ).train()
        for name, (queries, passages) in batches.items():
            teacher = torch.tensor(scores, dtype=dtype).ravel().tolist() if "distillation" in chosen else None
            loss = peer(features(queries), features(passages), teacher).loss
            loss.backward()
            found[f"{case}|{name}"] = np.concatenate([[float(loss.detach())], flat_gradient(encoder, heads)])
    np.savez(folder / "theirs.npz", **found)


def features(texts) -> dict[str, torch.Tensor]:
    width = max(map(len, texts))
    ids = torch.tensor([text + [SPECIAL["pad_token_id"]] * (width - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
    return {"input_ids": ids, "attention_mask": mask}


def compare(folder: Path, model: Path, dtype: torch.dtype) -> None:
    encoder, heads, batches, scores = loaded(folder, model, dtype)
    theirs = np.load(folder / "theirs.npz")
    print(f"{sum(weight.numel() for weight in encoder.parameters()):,} weights, {QUERIES} queries x {GROUP}, {dtype}")
    print(f"{'':30}{'':17}{'loss':>10}   {'as FlagEmbedding':^20}   {'default':^20}")
    for case, chosen in CASES.items():
        for name, (queries, passages) in batches.items():
            expected, told = theirs[f"{case}|{name}"], []
            for switch in (True, False):
                loss = ours(encoder, heads, queries, passages, scores, chosen, switch=switch)
                gradient = flat_gradient(encoder, heads)
                far = np.linalg.norm(gradient - expected[1:]) / np.linalg.norm(expected[1:])
                told.append(f"{abs(loss - expected[0]) / expected[0]:9.1e} {far:9.1e}")
            print(f"{case:30}{name:17}{expected[0]:10.6f}   {told[0]:^20}   {told[1]:^20}")


def ours(encoder, heads, queries, passages, scores, chosen, *, switch: bool) -> float:
    from trainer.distributed import Ranks
    from trainer.gradient_cache import CachedEmbeddings, TextEncoder, joined
    from trainer.loss import loss_masks
    from trainer.m3_exchange import OutputsOfRanks
    from trainer.m3_loss import m3_loss
    from trainer.m3_settings import ALL_OUTPUTS, M3LossSettings

    settings = M3LossSettings(
        outputs=ALL_OUTPUTS,
        temperature=TEMPERATURE,
        distillation=chosen.get("distillation", "none"),
        self_distillation_from=0 if chosen.get("self_distillation") else None,
        flagembedding=switch,
    )
    batch = some_batch(queries, passages, scores)
    plain = TextEncoder(
        encoder, "cls", True, SPECIAL["pad_token_id"], torch.device("cpu"), next(encoder.parameters()).dtype
    )
    several = replace(plain, outputs=ALL_OUTPUTS, heads={"lexical": heads["sparse"], "multi_vector": heads["colbert"]})
    texts = joined(batch.query_tokens, batch.passage_tokens)
    embedded = CachedEmbeddings(several, texts, (0,), tokens_per_forward=64, tokens_at_once=0)
    special = np.array(list(SPECIAL.values()), np.int32)
    found = OutputsOfRanks(batch, texts, embedded.outputs, Ranks(), settings, special, both_ways=False)
    loss, _ = m3_loss(
        found.comparisons(loss_masks(batch), None), settings, self_distillation="self_distillation" in chosen
    )
    embedded.backward(found.gradients())
    return loss


def some_batch(queries, passages, scores):
    from trainer.batch import Batch, MaskedPairs
    from trainer.ragged import Ragged

    nothing = MaskedPairs(np.empty(0, np.int64), np.empty(0, np.int64))
    return Batch(
        rows=np.arange(QUERIES),
        query_tokens=Ragged.of(queries, np.int32),
        passage_tokens=Ragged.of(passages, np.int32),
        slots=np.arange(QUERIES * GROUP).reshape(QUERIES, GROUP),
        counts=np.array([QUERIES]),
        rank=0,
        empty=np.empty(0, np.int64),
        forbidden=nothing,
        forbidden_backward=nothing,
        symmetric=np.zeros(QUERIES, np.bool_),
        in_batch=True,
        positive_scores=np.array(scores)[:, 0],
        negative_scores=np.array(scores)[:, 1:],
        dataset="drawn at random",
        pad_token_id=SPECIAL["pad_token_id"],
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
