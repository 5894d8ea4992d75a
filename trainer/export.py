"""A trained encoder as a folder that Hugging Face transformers and sentence-transformers load.

    config.json, model.safetensors, tokenizer.json ...                  transformers
    modules.json, 1_Pooling/config.json, 2_Normalize/,
    sentence_bert_config.json, config_sentence_transformers.json        sentence-transformers
    sparse_linear.pt, colbert_linear.pt                                 M3's further heads, where the model has them
    README.md                                                           the model card

The sentence-transformers files are in the layout that its versions 2 to 6 all read, the heads in that
of BAAI/bge-m3, which FlagEmbedding's BGEM3FlagModel reads: plain tensors, "weight" and "bias", by torch.save.
"""

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trainer.checkpoint import publish_folder
from trainer.m3_heads import FILE_OF_HEAD, Output

if TYPE_CHECKING:
    from trainer.backbone import Backbone

_POOLING_MODES: Final = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "last": "pooling_mode_lasttoken",
}
_FLAG_EMBEDDING_POOLING: Final = {"cls": "cls", "mean": "mean", "last": "last_token"}
_HEAD_IN_WORDS: Final[dict[Output, str]] = {
    "lexical": "lexical weights of tokens (sparse_linear.pt)",
    "multi_vector": "a vector for each token (colbert_linear.pt)",
}
_ALL_POOLING_MODES: Final = (
    "pooling_mode_cls_token",
    "pooling_mode_mean_tokens",
    "pooling_mode_max_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
    "pooling_mode_lasttoken",
)


def export_model(backbone: "Backbone", folder: str | Path, card: str) -> Path:
    """Write `backbone` to `folder`, which appears whole or not at all; one already there is replaced.

    `card` is the text of the model card: what the model was trained on and how. Returns the folder.
    """
    folder = Path(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    backbone.model.save_pretrained(partial)
    backbone.tokenizer.save_pretrained(partial)
    _name_tokenizer_for_all_versions(partial / "tokenizer_config.json")
    _write_heads(backbone, partial)
    _write_sentence_transformers_files(backbone, partial)
    (partial / "README.md").write_text(_card(backbone, card), "utf-8")
    publish_folder(partial, folder)
    return folder


def _name_tokenizer_for_all_versions(file: Path) -> None:
    """transformers 5 names a class that 4 does not know, and notes how the tokenizer was loaded here."""
    config = json.loads(file.read_text("utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    for name in ("backend", "is_local", "local_files_only"):
        config.pop(name, None)
    _write_json(file, config)


def _write_heads(backbone: "Backbone", folder: Path) -> None:
    import torch

    for output, head in backbone.heads.items():
        tensors = {name: tensor.detach().float().cpu().clone() for name, tensor in head.state_dict().items()}
        torch.save(tensors, folder / f"{FILE_OF_HEAD[output]}.pt")


def _write_sentence_transformers_files(backbone: "Backbone", folder: Path) -> None:
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if backbone.normalise:
        modules.append(("2_Normalize", "Normalize"))
    _write_json(
        folder / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
            for index, (path, name) in enumerate(modules)
        ],
    )
    for path, _ in modules[1:]:
        (folder / path).mkdir()
    chosen = _POOLING_MODES[backbone.pooling]
    modes = {mode: mode == chosen for mode in _ALL_POOLING_MODES}
    _write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": backbone.hidden_size, **modes, "include_prompt": True},
    )
    if backbone.normalise:
        # git and some archives drop empty folders, and sentence-transformers wants this one to be there.
        _write_json(folder / "2_Normalize" / "config.json", {})
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": backbone.max_length, "do_lower_case": False})
    _write_json(
        folder / "config_sentence_transformers.json",
        {
            "prompts": {"query": backbone.prompts["query"], "document": backbone.prompts["passage"]},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine" if backbone.normalise else "dot",
        },
    )


def markdown_text(text: str) -> str:
    """A name from the data as a card shows it, letter for letter: no markup, no HTML; what cannot be seen as an escape."""
    seen = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))
    return re.sub(r"([\\`*\[\]|#])", r"\\\1", seen.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _card(backbone: "Backbone", card: str) -> str:
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, feature-extraction, pairmill]
---

# Text embedding model

{card.strip()}

## Use

{backbone.hidden_size} dimensions, at most {backbone.max_length} tokens, {backbone.pooling} pooling, \
{"normalised to length 1" if backbone.normalise else "not normalised"}.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("PATH OF THIS FOLDER")
queries = model.encode_query(["..."])
passages = model.encode_document(["..."])
print(model.similarity(queries, passages))
```

Put before each query (encode_query does it): `{json.dumps(backbone.prompts["query"], ensure_ascii=False)}`; \
before each passage (encode_document): `{json.dumps(backbone.prompts["passage"], ensure_ascii=False)}`.
{_card_of_heads(backbone)}"""


def _card_of_heads(backbone: "Backbone") -> str:
    if not backbone.heads:
        return ""
    told = " and ".join(_HEAD_IN_WORDS[output] for output in backbone.heads)
    text = f"""
Beside the dense embedding, which sentence-transformers gives, the model gives {told}, as BAAI/bge-m3 does; pairmill's \
Encoder reads all of them.
"""
    if len(backbone.heads) < len(FILE_OF_HEAD):  # FlagEmbedding reads both heads or none
        return text
    width = backbone.heads["multi_vector"].out_features
    dimension = "" if width == backbone.hidden_size else f", colbert_dim={width}"
    return f"""{text}
```python
from FlagEmbedding import BGEM3FlagModel

model = BGEM3FlagModel("PATH OF THIS FOLDER", pooling_method="{_FLAG_EMBEDDING_POOLING[backbone.pooling]}"{dimension})
outputs = model.encode(["..."], return_dense=True, return_sparse=True, return_colbert_vecs=True)
```
"""


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
