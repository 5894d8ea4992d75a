"""Records of refreshes: numbers, what is kept, and what a broken file does."""

import json
import math
from pathlib import Path

import pytest

from pipelines.manifest import write_manifest
from pipelines.refresh import history
from pipelines.refresh.records import Alert, GateDecision, RefreshRecord
from pipelines.run_folder import RunFolder
from pipelines.shards import ShardFile
from tests.pipelines.refresh.models import a_manifest


@pytest.fixture
def run(tmp_path):
    return RunFolder(str(tmp_path / "run"))


def a_record(number, outcome="promoted", **more):
    return RefreshRecord(number=number, started="2026-03-02T03:00:00+00:00", seconds=1.5, outcome=outcome, **more)


def test_refreshes_are_numbered_from_1_and_read_in_order(run):
    assert history.next_number(run) == 1 and history.read_all(run) == []
    for number in (1, 2, 10):
        history.write(run, a_record(number))
    assert history.next_number(run) == 11
    assert [each.number for each in history.read_all(run)] == [1, 2, 10]


def test_a_record_is_read_as_it_was_written(run):
    record = a_record(
        1,
        gate=GateDecision(promoted=True, reason="why not"),
        alerts=(Alert(kind="loss_rises", subject="train", message="m"),),
        metrics=[{"data": "दिल्ली", "ndcg@10": 0.5}],
        final_loss=0.25,
    )
    history.write(run, record)
    assert history.read_all(run) == [record]
    history.write(run, record.model_copy(update={"seconds": 9.0}))  # the same refresh, at its end
    assert [each.seconds for each in history.read_all(run)] == [9.0]


def test_a_value_that_is_no_number_leaves_valid_json(run):
    history.write(run, a_record(1, final_loss=math.nan, metrics=[{"ndcg@10": math.nan}]))
    text = (Path(run.url) / "refresh" / "000001.json").read_text()
    assert "NaN" not in text and json.loads(text)["final_loss"] is None
    assert history.read_all(run)[0].final_loss is None


def test_a_broken_record_is_left_out_and_told(run, caplog):
    history.write(run, a_record(1)), history.write(run, a_record(2))
    folder = Path(run.url) / "refresh"
    (folder / "000001.json").write_text('{"number": 1, "star')
    (folder / "000003.json").write_text('{"number": 3, "from": "a later pairmill"}')
    (folder / "content.json").write_text("{}")  # another file of this folder is no record
    assert [each.number for each in history.read_all(run)] == [2]
    assert "000001.json" in caplog.text and "000003.json" in caplog.text and "content.json" not in caplog.text
    assert history.next_number(run) == 4


def test_of_refreshes_that_found_nothing_new_the_newest_stay(run):
    history.write(run, a_record(1))
    for number in range(2, 30):
        history.write(run, a_record(number, "nothing_new"))
    kept = [each.number for each in history.read_all(run)]
    assert kept == [1, *range(10, 30)] and history.next_number(run) == 30


def test_only_the_newest_are_read_where_so_many_are_asked_for(run):
    for number in (1, 2, 3):
        history.write(run, a_record(number))
    assert [each.number for each in history.read_all(run, 2)] == [2, 3]


def test_a_refresh_is_compared_with_the_last_one_that_brought_data_to_its_end():
    records = [a_record(1), a_record(2, "kept"), a_record(3, "failed"), a_record(4, "nothing_new")]
    assert history.latest_with_data(records).number == 2
    assert history.latest_with_data(records[2:]) is None


def test_a_job_that_was_up_to_date_took_no_time(run):
    manifest = a_manifest(
        "filter",
        "f",
        rows_in=10,
        rows_out=7,
        dropped={"short": 3},
        funnel={"news": {"in": 10, "drop:short": 3}},
        files=[ShardFile(role="pairs", path=f"{n}", rows=1, bytes=50, sha256="") for n in range(2)],
        seconds=4.0,
    )
    ran, skipped = history.job_record(manifest, True), history.job_record(manifest, False)
    assert (ran.seconds, skipped.seconds) == (4.0, 0.0) and (ran.ran, skipped.ran) == (True, False)
    assert (ran.rows_in, ran.rows_out, ran.bytes, ran.funnel) == (10, 7, 100, manifest.funnel)


def write_losses(folder, losses):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": n, "loss": loss}) + "\n" for n, loss in enumerate(losses))
    )


def test_the_final_loss_is_the_mean_over_the_end_of_training(run):
    assert history.final_loss(run) is None
    write_manifest(run.job("train"), a_manifest("train", "t", details={"training": {"loss": 3.0}}))
    assert history.final_loss(run) == 3.0  # no line was logged
    write_losses(Path(run.url) / "train", [9.0] * 95 + [1.0, 2.0, 3.0, 4.0, 5.0])  # 5 of 100 lines
    assert history.final_loss(run) == 3.0
    write_losses(Path(run.url) / "train", [9.0] * 9_950 + [2.0] * 50)  # at most 50
    assert history.final_loss(run) == 2.0
    write_losses(Path(run.url) / "train", [7.0])
    assert history.final_loss(run) == 7.0


def test_of_stages_the_last_one_counts(run):
    write_manifest(run.job("train"), a_manifest("train", "t", details={"stages": [{"name": "one"}, {"name": "two"}]}))
    write_losses(Path(run.url) / "train" / "one", [1.0])
    write_losses(Path(run.url) / "train" / "two", [2.0])
    assert history.final_loss(run) == 2.0


@pytest.mark.parametrize("last", [math.nan, math.inf])
def test_a_training_that_went_astray_has_no_final_loss(run, last):
    write_manifest(run.job("train"), a_manifest("train", "t"))
    write_losses(Path(run.url) / "train", [1.0, last])
    assert history.final_loss(run) is None


def test_a_run_on_an_object_store_has_a_history_too():
    run = RunFolder("memory://runs/with-history")
    history.write(run, a_record(history.next_number(run), "data_only"))
    assert [each.number for each in history.read_all(run)] == [1]
