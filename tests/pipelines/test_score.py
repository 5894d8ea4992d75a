from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import yaml

from pipelines.embeddings import Embeddings
from pipelines.jobs import score
from pipelines.jobs.score import Judge, PoolFiles, decide, last_pool_id, measure_relevance, thresholds
from pipelines.launcher import run_recipe
from pipelines.recipe import PoolSettings, ScoreSettings, load_recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import ShardWriter, read_batches
from sources.schema import PASSAGE, make_pairs, text_ids
from trainer.embedding_store import text_keys
from trainer.encoder import EncoderSettings
from trainer.relevance import bitext_margins

ANGLES = {"q0": 0.0, "p0": 0.3, "q1": 1.0, "p1": 1.1, "q2": 2.0, "p2": 3.0, "x": 0.2, "y": 1.02, "z": 1.05}


def vectors_of(texts):
    return np.array([[np.cos(ANGLES[text]), np.sin(ANGLES[text])] for text in texts.to_pylist()], np.float16)


class FixedEmbeddings(Embeddings):
    def embed(self, settings, role, texts, on_batch):
        return vectors_of(texts)


class NoProgress:
    def beat(self, rows, share=None):
        """Nobody watches."""


def pairs(**changes):
    columns = {
        "query": ["q0", "q1", "q2"],
        "positive": ["p0", "p1", "p2"],
        "kind": ["other", "parallel", "parallel"],
        "source": "forum",
        "document_id": ["0", "1", "2"],
        "query_lang": ["eng_Latn", "eng_Latn", "deu_Latn"],
        "positive_lang": "eng_Latn",
    }
    return make_pairs(**{**columns, **changes})[0]


def settings(**changes):
    return ScoreSettings(encoder=EncoderSettings(model="m"), **changes)


def write_pool_files(folder, *groups):
    """The pool as files of one group of texts each."""
    for number, texts in enumerate(groups):
        np.save(folder / f"vectors-{number}.npy", vectors_of(pa.array(texts)))
        np.save(folder / f"keys-{number}.npy", text_keys(pa.array(texts)))
    names = range(len(groups))
    return PoolFiles(tuple(f"{folder}/vectors-{n}.npy" for n in names), tuple(f"{folder}/keys-{n}.npy" for n in names))


def measured(chosen, batch=None, pool=None):
    judge = Judge(chosen, FixedEmbeddings(None), pool)
    return measure_relevance(judge, NoProgress(), pairs() if batch is None else batch)


def test_relevance_is_the_cosine_and_what_was_not_asked_for_is_null():
    found = measured(settings())
    assert found["relevance"].to_pylist() == pytest.approx([np.cos(0.3), np.cos(0.1), np.cos(1.0)], abs=1e-3)
    assert found["pool_rank"].null_count == found["bitext_margin"].null_count == 3


def test_a_threshold_of_the_source_goes_before_that_of_the_language():
    chosen = settings(threshold=0.1, threshold_by_language={"de": 0.6}, threshold_by_source={"wiki": 0.9})
    sources = pa.array(["forum", "wiki", "forum"])
    batch = pairs()
    batch = batch.set_column(batch.schema.get_field_index("source"), "source", sources)
    assert thresholds(batch, chosen).to_pylist() == pytest.approx([0.1, 0.9, 0.6])
    reasons = decide(batch, measured(chosen, batch), chosen)
    assert reasons.to_pylist() == [None, None, "low_relevance"]


def test_pairs_behind_too_many_random_passages_are_dropped(tmp_path):
    pool = write_pool_files(tmp_path, ["x", "y"], ["z", "p2"])
    chosen = settings(threshold=-1, pool=PoolSettings(passages=4, keep=2))
    found = measured(chosen, pool=pool)
    # q0: x is nearer than p0; q1: y and z are nearer than p1; q2: y and z are nearer than p2, by a hair
    assert found["pool_rank"].to_pylist() == [1, 2, 2]
    assert decide(pairs(), found, chosen).to_pylist() == [None, "low_pool_rank", "low_pool_rank"]


def test_a_passage_of_the_pool_does_not_rank_above_itself(tmp_path):
    pool = write_pool_files(tmp_path, ["z", "p1"], ["p0"])
    asked = []

    class OtherLastBits(FixedEmbeddings):
        """An encoder whose vectors depend on the texts beside them, in the last bits."""

        def embed(self, settings, role, texts, on_batch):
            asked.extend(texts.to_pylist())
            return (vectors_of(texts) * np.float16(0.999)).astype(np.float16)

    chosen = settings(threshold=-1, pool=PoolSettings(passages=3, keep=1))
    found = measure_relevance(Judge(chosen, OtherLastBits(None), pool), NoProgress(), pairs())
    # q0: p0 itself is nearest; q1: z is nearer than p1; q2: z and p1 are nearer than p2
    assert found["pool_rank"].to_pylist() == [0, 1, 2]
    assert asked == ["q0", "q1", "q2", "p2"]


def test_a_run_ranks_its_pairs_among_its_own_passages(tmp_path, tiny_recipe):
    encoder = yaml.safe_load(tiny_recipe().read_text())["score"]["encoder"]
    chosen = {"encoder": encoder, "threshold": -1, "pool": {"passages": 20, "keep": 1000}}
    later = {
        "filter": None,
        "mine": None,
        "pack": None,
        "train": None,
        "evaluate": None,
        "runner": {"mode": "in_memory"},
    }
    run = RunFolder(str(tmp_path / "run"))
    recipe = load_recipe(str(tiny_recipe(score=chosen, **later)))
    manifest = run_recipe(recipe, run, lambda event: None, ("extract", "dedup", "score"))[-1]
    assert manifest.details["pool_passages"] == 20
    assert [sum(file.rows for file in manifest.files_of(role)) for role in ("pool", "pool_keys")] == [20, 20]
    ranks = [
        row["scores"]["pool_rank"]
        for file in manifest.files_of("pairs")
        for batch in read_batches(f"{run.job('score')}/{file.path}")
        for row in batch.to_pylist()
    ]
    assert 0 <= min(ranks) <= max(ranks) <= 20


def test_the_margin_is_measured_of_translations_of_one_direction():
    chosen = settings(threshold=-1, min_margin=1.06)
    batch = pairs(kind="parallel", query_lang="deu_Latn")
    found = measured(chosen, batch)
    expected = bitext_margins(vectors_of(batch["query"]), vectors_of(batch["positive"]))
    assert found["bitext_margin"].to_pylist() == pytest.approx(expected.tolist(), abs=1e-4)
    mixed = measured(chosen)
    assert mixed["bitext_margin"].to_pylist() == [None, 1.0, 1.0]  # alone in their directions


def test_a_margin_that_came_with_the_corpus_stays_where_none_is_measured():
    given = [{"bitext_margin": 1.2}, {"bitext_margin": 1.1}, None]
    batch = pairs(scores=given)
    found = measured(settings(threshold=-1), batch)
    assert score._new_scores(batch, found)["bitext_margin"].to_pylist() == pytest.approx([1.2, 1.1, None])


def test_pairs_in_languages_the_encoder_cannot_read_are_not_scored_and_kept():
    chosen = settings(threshold=0.99, reads=("en",))
    found = measured(chosen)
    assert found["relevance"].to_pylist()[2] is None
    assert decide(pairs(), found, chosen).to_pylist() == ["low_relevance", None, None]


def test_the_pool_is_made_of_the_passages_of_the_smallest_ids(tmp_path, monkeypatch):
    texts = pa.array([f"passage {number}" for number in range(50)])
    ids = text_ids(texts)
    blank = [bytes(16)] * 50
    urls = []
    for number, part in enumerate((slice(0, 20), slice(20, 50))):
        columns = [
            ids[part],
            texts[part],
            texts[part],
            pa.array(blank[part], pa.binary(16)),
            pa.nulls(len(blank[part]), pa.int32()),
        ]
        with ShardWriter(str(tmp_path), "passages", str(number), PASSAGE) as writer:
            writer.write(pa.RecordBatch.from_arrays(columns, schema=PASSAGE))
        urls.append(f"{tmp_path}/passages/{number}.parquet")
    halves = sorted(int.from_bytes(each[:8], "big") for each in ids.to_pylist())
    assert last_pool_id(urls, 7) == halves[6]
    assert last_pool_id(urls, 50) == last_pool_id(urls, 1000) == 2**64 - 1
    asked = []

    def embed(self, chosen, role, wanted, on_batch):
        asked.extend(wanted.to_pylist())
        return np.zeros((len(wanted), 2), np.float16)

    monkeypatch.setattr(FixedEmbeddings, "embed", embed)
    write = partial(score.write_pool, str(tmp_path), settings(), FixedEmbeddings(None), halves[6])
    for number, url in enumerate(urls):
        task = type("Task", (), {"name": f"pool-{number}", "fingerprint": "f", "payload": url})()
        write(task, NoProgress())
    smallest = {
        text
        for text, each in zip(texts.to_pylist(), ids.to_pylist(), strict=True)
        if int.from_bytes(each[:8], "big") <= halves[6]
    }
    assert set(asked) == smallest and len(asked) == 7
