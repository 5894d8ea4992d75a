"""Elements of JSON arrays, found whatever they hold and wherever the chunks are cut."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.files.reading import ByteStream, RecordBlock
from sources.formats.json_array import ArrayReader

TEXTS = st.text(st.sampled_from('a"\\,[]{}: \n\u00e9\u4e2d'), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def elements(monkeypatch: pytest.MonkeyPatch, data: bytes, size: int) -> list[tuple[int, bytes]]:
    """Offset and bytes of each element, where the bytes come in chunks of a size."""

    def chunks(stream: ByteStream) -> Iterator[bytes]:
        yield from (data[start : start + size] for start in range(0, len(data), size))

    monkeypatch.setattr(ByteStream, "__iter__", chunks)
    found: list[tuple[int, bytes]] = []
    for block in ArrayReader("any.json", 1 << 20):
        assert isinstance(block, RecordBlock)
        found += zip(block.offsets.tolist(), block.lines, strict=True)
    return found


@settings(deadline=None)  # the first call compiles
@given(st.lists(VALUES.filter(lambda value: value != ""), max_size=6), st.integers(1, 40), st.sampled_from([None, 1]))
def test_elements_are_those_that_the_json_library_finds(values: list[Any], size: int, indent: int | None) -> None:
    data = json.dumps(values, ensure_ascii=False, indent=indent).encode()
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = elements(monkeypatch, data, size)
    assert [json.loads(line) for _, line in found] == values
    assert [json.JSONDecoder().raw_decode(data[offset:].decode())[0] for offset, _ in found] == values


@pytest.mark.parametrize("slashes", range(6))
@pytest.mark.parametrize("size", [1, 7, 8, 9, 64])
def test_a_quote_after_an_odd_number_of_backslashes_does_not_end_a_text(
    monkeypatch: pytest.MonkeyPatch, slashes: int, size: int
) -> None:
    text = "long enough for words " + "\\" * slashes + '",['
    data = json.dumps([text, "second"]).encode()
    assert [json.loads(line) for _, line in elements(monkeypatch, data, size)] == [text, "second"]


def test_an_array_that_is_not_closed_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes(b'[{"a": 1}, {"a": "begun')
    reader = ArrayReader(str(path), 1 << 20)
    assert [block.lines for block in reader if isinstance(block, RecordBlock)] == [[b'{"a": 1}']]
    assert reader.fault is not None
    assert reader.fault.reason == "truncated_file"
    assert reader.cut_off == b'{"a": "begun'
