"""What a job may read of the embedding store, over its whole life."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines import embeddings
from pipelines.embeddings import Embeddings, prepare
from pipelines.job import Job, Plan
from pipelines.recipe import parse_recipe
from pipelines.run_folder import RunFolder
from trainer.embedding_store import EmbeddingStore, text_keys
from trainer.encoder import EncoderSettings

RECIPE = "sources: [{source: jsonl, paths: [x]}]\nembeddings: "


def job(tmp_path, fingerprint="f", settings="{}"):
    recipe = parse_recipe(RECIPE + settings, "recipe.yaml")
    return Job("score", recipe, RunFolder(str(tmp_path / "run")), Plan({}, []), fingerprint)


def add(tmp_path, text):
    space = EmbeddingStore(tmp_path / "run" / "embeddings").space({"model": "m"}, 4)
    return space.add(text_keys(pa.array([text])), np.ones((1, 4), np.float16))


def readable(prepared):
    return [name for _, names in prepared.readable for name in names]


def test_a_job_that_goes_on_reads_what_it_read_before_it_was_killed(tmp_path):
    before = add(tmp_path, "before")
    assert readable(prepare(job(tmp_path))) == [before]
    own = add(tmp_path, "written by its own workers")
    assert readable(prepare(job(tmp_path))) == [before]
    assert sorted(readable(prepare(job(tmp_path, "other")))) == sorted([before, own])


def test_a_store_that_is_full_is_emptied_when_a_job_starts_and_not_when_it_goes_on(tmp_path):
    add(tmp_path, "old")
    full = job(tmp_path, settings="{max_bytes: 0}")
    assert readable(prepare(full)) == []
    add(tmp_path, "its own")
    prepare(full)
    assert len(EmbeddingStore(tmp_path / "run" / "embeddings").spaces()[0].segments()) == 1


def test_nothing_is_kept_where_the_recipe_says_so(tmp_path):
    assert prepare(job(tmp_path, settings="{keep: false}")) == Embeddings(None)
    assert not (tmp_path / "run").exists()


def test_a_vector_beyond_float16_is_an_error_where_nothing_is_kept_too(monkeypatch):
    class Large:
        settings = EncoderSettings(model="large")

        def encode(self, texts, role):
            return np.full((len(texts), 4), 1e6, np.float32)

    monkeypatch.setattr(embeddings, "load_encoder", lambda settings: Large())
    with pytest.raises(ValueError, match="normalise"):
        Embeddings(None).embed(Large.settings, "query", pa.array(["a"]), lambda encoded: None)
