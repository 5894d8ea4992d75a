from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from synth.chat_request import ChatRequest, Message, request_key, strict_schema
from synth.client_settings import ClientSettings
from synth.errors import ChatError
from synth.token_count import estimate_tokens, prompt_tokens, tokenizer_count


class Part(BaseModel):
    default: int = 3
    kind: Literal["a", "b"]


class Whole(BaseModel):
    parts: list[Part]
    note: str | None = None


def settings(**changed):
    return ClientSettings(**({"base_url": "http://host/v1", "model": "m", "answers": Path("a")} | changed))


def test_the_key_is_of_what_is_asked_and_not_of_who_asks():
    one, other = ChatRequest.of("a", "text"), ChatRequest.of("b", "text")
    assert request_key(one, settings()) == request_key(other, settings())
    different = [
        request_key(ChatRequest.of("a", "text "), settings()),
        request_key(ChatRequest.of("a", "text", system=""), settings()),
        request_key(ChatRequest.of("a", "text", schema=Part), settings()),
        request_key(ChatRequest.of("a", "text", schema=Whole), settings()),
        request_key(one.another(), settings()),
        request_key(one, settings(base_url="http://other/v1")),
        request_key(one, settings(extra_parameters={"top_k": 1})),
        request_key(one, settings()),
    ]
    assert len(set(different)) == len(different)


def test_a_slash_at_the_end_of_the_address_changes_nothing():
    request = ChatRequest.of("a", "text")
    assert request_key(request, settings(base_url="http://host/v1/")) == request_key(request, settings())


def test_strict_schemas_require_all_properties_and_allow_no_others():
    schema = strict_schema(Whole)
    part = schema["$defs"]["Part"]
    assert (schema["required"], schema["additionalProperties"]) == (["parts", "note"], False)
    assert (part["required"], part["additionalProperties"]) == (["default", "kind"], False)
    assert "default" not in part["properties"]["default"]
    assert "default" not in schema["properties"]["note"]


def test_tokens_are_estimated_by_bytes():
    assert [estimate_tokens(text) for text in ("", "abcd", "abcde", "汉字", "\ud800")] == [0, 1, 2, 2, 1]
    assert prompt_tokens([Message("system", "abcd"), Message("user", "abcdefgh")], estimate_tokens) == 1 + 2 + 2 * 4


def test_tokens_are_counted_by_a_tokenizer(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert tokenizer_count(tmp_path / "tokenizer.json")("a b c d") == 4


def test_what_is_no_tokenizer_is_told(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ChatError, match=r"cannot be read as a tokenizer\.json"):
        tokenizer_count(tmp_path / "tokenizer.json")
