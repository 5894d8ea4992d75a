"""mteb itself is not here: a stand-in with the few names that are used. benchmarks/check_mteb.py runs the real one."""

import json
import sys
from enum import StrEnum
from types import SimpleNamespace

import numpy as np
import pytest

from trainer.evaluate.mteb_models import MtebEncoder, MtebError, run_mteb


class Lengths:
    """A text's vector is its length and the role's."""

    def __init__(self):
        self.asked = []

    def encode(self, texts, role):
        self.asked.append((role, [text.as_py() for text in texts]))
        return np.array([[len(text.as_py()), len(role)] for text in texts], np.float32)


class PromptType(StrEnum):
    query = "query"
    document = "document"


class Result:
    def __init__(self, task_name, scores):
        self.task_name, self.scores = task_name, scores

    def to_disk(self, file):
        file.write_text(json.dumps({"task_name": self.task_name, "scores": self.scores}))

    @classmethod
    def from_disk(cls, file):
        return cls(**json.loads(file.read_text()))


def task(name):
    return SimpleNamespace(metadata=SimpleNamespace(name=name, type="STS", main_score="cosine_spearman"))


@pytest.fixture
def mteb(monkeypatch):
    runs = []

    def evaluate(model, task, **settings):
        runs.append(task.metadata.name)
        model.encode([{"text": ["a"]}], task_metadata=task.metadata, hf_split="test", hf_subset="default")
        scores = {"cosine_spearman": 0.5, "main_score": 0.5, "languages": ["cmn-Hans"], "hf_subset": "default"}
        return SimpleNamespace(task_results=[Result(task.metadata.name, {"test": [scores]})])

    def get_task(name):
        if name not in ("ATEC", "BQ"):
            raise KeyError(name)
        return task(name)

    stand_in = SimpleNamespace(
        __version__="2",
        runs=runs,
        evaluate=evaluate,
        get_task=get_task,
        get_benchmarks=lambda: [SimpleNamespace(name="MTEB(cmn, v1)")],
        get_benchmark=lambda name: SimpleNamespace(tasks=[task("ATEC"), task("BQ")]),
        results=SimpleNamespace(TaskResult=Result),
    )
    monkeypatch.setitem(sys.modules, "mteb", stand_in)
    return stand_in


def encode(encoder, batches, prompt_type=None):
    return encoder.encode(batches, task_metadata=None, hf_split="test", hf_subset="default", prompt_type=prompt_type)


def test_batches_of_texts_become_vectors_in_their_order_each_text_encoded_once():
    inner = Lengths()
    vectors = encode(MtebEncoder(inner), [{"text": ["ab", "c"]}, {"text": ["ab"]}])
    assert vectors.tolist() == [[2, 7], [1, 7], [2, 7]]
    assert inner.asked == [("passage", ["ab", "c"])]


@pytest.mark.parametrize(
    ("prompt_type", "symmetric", "role"),
    [
        (PromptType.query, "passage", "query"),
        (PromptType.document, "query", "passage"),
        (None, "passage", "passage"),
        (None, "query", "query"),
    ],
)
def test_queries_and_documents_have_their_prompts_and_other_texts_the_chosen_one(prompt_type, symmetric, role):
    inner = Lengths()
    encode(MtebEncoder(inner, symmetric_role=symmetric), [{"text": ["a"]}], prompt_type)
    assert inner.asked == [(role, ["a"])]


def test_similarities_are_inner_products():
    first, second = np.array([[1, 2], [3, 4]], np.float32), np.array([[5, 6], [7, 8]], np.float32)
    encoder = MtebEncoder(Lengths())
    assert encoder.similarity(first, second).tolist() == [[17, 23], [39, 53]]
    assert encoder.similarity_pairwise(first, second).tolist() == [17, 53]


def test_without_mteb_the_message_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(MtebError, match=r"pairmill\[mteb\]"):
        run_mteb(Lengths(), ["ATEC"], tmp_path, model="m", revision="r")


def test_results_of_a_benchmark_are_kept_and_not_computed_again(mteb, tmp_path):
    inner = Lengths()
    rows = run_mteb(inner, ["BQ"], tmp_path, model="m", revision="r")
    assert mteb.runs == ["BQ"]
    assert rows == [
        {
            "model": "m",
            "data": "BQ",
            "task": "mteb:STS",
            "split": "test",
            "language": "cmn-Hans",
            "mode": "dense",
            "main_metric": "cosine_spearman",
            "cosine_spearman": 0.5,
            "main_score": 0.5,
        }
    ]
    again = run_mteb(inner, ["C-MTEB"], tmp_path, model="m", revision="r")
    assert mteb.runs == ["BQ", "ATEC"]
    assert [row["data"] for row in again] == ["ATEC", "BQ"]
    assert again[1] == rows[0]
    assert sorted(file.name for file in (tmp_path / "mteb").iterdir()) == ["ATEC.json", "BQ.json", "model.json"]


def test_the_results_of_another_model_are_not_taken_for_its_own(mteb, tmp_path):
    run_mteb(Lengths(), ["BQ"], tmp_path, model="m", revision="one")
    with pytest.raises(MtebError, match="another model"):
        run_mteb(Lengths(), ["BQ"], tmp_path, model="m", revision="two")


def test_where_the_hub_cannot_be_reached_finished_tasks_are_kept_and_the_message_says_so(mteb, tmp_path, monkeypatch):
    def evaluate(model, task, **settings):
        if task.metadata.name == "BQ":
            raise ConnectionError("no route to host")
        return run(model, task, **settings)

    run = mteb.evaluate
    monkeypatch.setattr(mteb, "evaluate", evaluate)
    with pytest.raises(MtebError, match=r"data of BQ \(no route to host\)"):
        run_mteb(Lengths(), ["C-MTEB"], tmp_path, model="m", revision="r")
    assert sorted(file.name for file in (tmp_path / "mteb").iterdir()) == ["ATEC.json", "model.json"]


def test_a_name_that_mteb_does_not_have_is_told(mteb, tmp_path):
    with pytest.raises(MtebError, match="'Nope'"):
        run_mteb(Lengths(), ["Nope"], tmp_path, model="m", revision="r")
