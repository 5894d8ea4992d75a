"""Model folders from anywhere: weights that are programs, code that comes along, links that lead out. Nothing of it runs."""

import json
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.security.hostile import Canary
from tests.trainer.test_backbone import tiny_bert
from trainer.backbone import ModelFolderError, load_backbone, load_tokenizer, model_fingerprint
from trainer.m3_heads import Output, read_head
from trainer.reranker import CrossEncoder, CrossEncoderSettings
from trainer.vector_files import VectorFileError, VectorFiles


def _pickle_as_safetensors(folder: Path, mark: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Canary(mark)))


def _pickled_weights_alone(folder: Path, mark: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(mark)))


def _pickled_weights_of_torch(folder: Path, mark: Path) -> None:
    import torch

    (folder / "model.safetensors").unlink()
    torch.save({"weights": Canary(mark)}, folder / "pytorch_model.bin")


def _header_without_end(folder: Path, mark: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")


def _tensor_beyond_the_file(folder: Path, mark: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def _code_beside_the_model(folder: Path, mark: Path) -> None:
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Evil: ...\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}, "model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(config))


def _code_beside_the_tokenizer(folder: Path, mark: Path) -> None:
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Evil: ...\n")
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text()) if file.exists() else {}
    settings |= {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}, "tokenizer_class": "Evil"}
    file.write_text(json.dumps(settings))


def _modules_of_a_type_of_its_own(folder: Path, mark: Path) -> None:
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Evil: ...\n")
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "evil.Evil"}]))


def _config_nested_without_end(folder: Path, mark: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 100_000)


def load_cross_encoder(folder: str) -> CrossEncoder:
    return CrossEncoder(CrossEncoderSettings(model=folder, device="cpu"))


FOLDERS = [
    _pickle_as_safetensors,
    _pickled_weights_alone,
    _pickled_weights_of_torch,
    _header_without_end,
    _tensor_beyond_the_file,
    _code_beside_the_model,
    _code_beside_the_tokenizer,
    _modules_of_a_type_of_its_own,
    _config_nested_without_end,
]


@pytest.mark.parametrize("spoil", FOLDERS, ids=lambda spoil: spoil.__name__.strip("_"))
@pytest.mark.parametrize("load", [load_backbone, load_cross_encoder], ids=lambda load: load.__name__)
def test_a_hostile_model_folder_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path, Path], None], load: Callable[[str], object]
) -> None:
    folder = tiny_bert(tmp_path / "model")
    spoil(folder, tmp_path / "pwned")
    monkeypatch.chdir(folder)  # so that `evil` would be found
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(ValueError, match=r"model|Model") as caught:
        load(str(folder))
    assert type(caught.value).__name__ in ("ModelFolderError", "CrossEncoderError")
    assert not (tmp_path / "pwned").exists()
    assert "evil" not in sys.modules


def test_a_chat_template_is_not_rendered(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "model")
    evil = "{{ cycler.__init__.__globals__.os.system('touch " + str(tmp_path / "pwned") + "') }}"
    (folder / "chat_template.jinja").write_text(evil)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": evil}))
    load_tokenizer(str(folder))
    load_backbone(str(folder))
    model_fingerprint(str(folder))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["sparse_linear.pt", "colbert_linear.pt", "sparse_linear.safetensors"])
def test_a_head_that_is_a_program_is_refused(tmp_path: Path, name: str) -> None:
    import torch

    (tmp_path / "m").mkdir()
    file = tmp_path / "m" / name
    output: Output = "lexical" if name.startswith("sparse") else "multi_vector"
    torch.save({"weight": Canary(tmp_path / "pwned")}, file)
    with pytest.raises(ModelFolderError):
        read_head(tmp_path / "m", output, 8)
    file.write_bytes(pickle.dumps(Canary(tmp_path / "pwned")))
    with pytest.raises(ModelFolderError):
        read_head(tmp_path / "m", output, 8)
    assert not (tmp_path / "pwned").exists()


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "vectors.npy"
    np.save(file, np.array([Canary(tmp_path / "pwned")], dtype=object), allow_pickle=True)
    with pytest.raises(VectorFileError):
        VectorFiles.open([file])
    assert not (tmp_path / "pwned").exists()


def test_no_code_of_ours_unpickles_or_trusts_code_of_a_model() -> None:
    """Also what no test reaches: every use of these words in the source."""
    root = Path(__file__).parents[2]
    for folder in ("sources", "filters", "synth", "trainer", "pipelines"):
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text()
            for word in (
                "pickle.load",
                "pickle.Unpickler",
                "allow_pickle=True",
                "trust_remote_code=True",
                "weights_only=False",
            ):
                assert word not in text, (path, word)
            for call in text.split("torch.load(")[1:]:
                assert "weights_only=True" in call[:200], (path, call[:80])
            assert not any(f"{word}(" in text for word in (" eval", "=eval", " exec", "os.system", "yaml.load")), path
            assert "shell=True" not in text, path
