import pytest

from trainer import cpu_features
from trainer.cpu_features import cpu_flags, has_amx


@pytest.mark.parametrize(
    ("text", "amx"),
    [
        ("processor : 0\nflags : fpu amx_bf16 sse2\n", True),
        ("flags : fpu amx_bf16x\nmodel name : amx_bf16\n", False),
        ("", False),
    ],
)
def test_only_whole_names_in_lines_of_flags_count(monkeypatch, text, amx):
    monkeypatch.setattr(cpu_features.Path, "read_text", lambda *_: text)
    assert has_amx() is amx


def test_a_system_without_the_file_tells_nothing(monkeypatch):
    def missing(*_):
        raise FileNotFoundError

    monkeypatch.setattr(cpu_features.Path, "read_text", missing)
    assert cpu_flags() == frozenset()
