"""The plan before the work: what would run and why, how long, at what cost. It writes nothing."""

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from pipelines import launcher
from pipelines.manifest import read_manifest, write_manifest
from pipelines.recipe import Recipe
from pipelines.refresh import estimate
from pipelines.refresh.estimate import Asking, PastRun, Volume, expected_requests, expected_seconds, past_runs
from pipelines.refresh.plan import plan_work
from pipelines.refresh.records import JobRecord, RefreshRecord, SourceChange
from pipelines.refresh.shown import RefreshOptions, describe_plan, show_plan
from pipelines.run_folder import RunFolder
from tests.pipelines.refresh.models import a_manifest
from tests.pipelines.refresh.refreshed_runs import refreshed, run_job_here, small_recipe, tree, write_rows

ROWS = range(40)


@pytest.fixture
def corpus(tmp_path) -> Path:
    write_rows(tmp_path / "corpus/a.jsonl", ROWS)
    return tmp_path / "corpus"


@pytest.fixture
def recipe(corpus) -> Recipe:
    return small_recipe(corpus, "no-model")


@pytest.fixture
def run(tmp_path, recipe, monkeypatch) -> RunFolder:
    """A run whose extract and report are finished."""
    monkeypatch.setattr(launcher, "_run_job", run_job_here)
    refreshed(recipe, tmp_path / "run")
    return RunFolder(str(tmp_path / "run"))


def changed(recipe: Recipe, **sections: dict) -> Recipe:
    return Recipe.model_validate(recipe.model_dump(exclude_none=True) | sections)


def shown(recipe: Recipe, run: RunFolder, **options: bool) -> str:
    written = io.StringIO()
    show_plan(Console(file=written, width=200), recipe, run, RefreshOptions(**options), as_json=False)
    return written.getvalue()


def test_an_unchanged_run_has_nothing_to_do(recipe, run):
    plan = plan_work(recipe, run)
    assert [(job.job, job.runs) for job in plan.jobs] == [("extract", False), ("report", False)]
    assert (plan.disk_needed, plan.seconds, plan.running) == (0, 0.0, ())
    assert describe_plan(plan) == ["Every job is up to date."]


def test_a_new_file_is_told_with_its_size_and_what_follows_from_it(recipe, run, corpus):
    write_rows(corpus / "b.jsonl", range(100, 140))
    new = (corpus / "b.jsonl").stat().st_size
    before = read_manifest(run.job("extract"))
    plan = plan_work(recipe, run)
    extract, report = plan.jobs
    assert extract.why == f"files: 1 new ({new / 1000:.1f} kB to read)"
    assert report.why == "extract runs"
    growth = (new + (corpus / "a.jsonl").stat().st_size) / (corpus / "a.jsonl").stat().st_size
    assert extract.rows == round(40 * growth)
    share = new / (new + (corpus / "a.jsonl").stat().st_size)
    assert extract.bytes == pytest.approx(sum(file.bytes for file in before.files) * extract.rows / 40 * share, abs=1)


def test_changed_settings_are_named(recipe, run):
    other = changed(recipe, extract={"max_quarantined_share": 0.5}, report={"samples": 3})
    extract, report = plan_work(other, run).jobs
    assert extract.why == "settings changed: max_quarantined_share"
    assert report.why == "settings changed: samples; extract runs"
    source = recipe.sources[0].model_dump() | {"kind": "other"}
    assert plan_work(changed(recipe, sources=[source]), run).jobs[0].why == "settings changed: sources.0.kind"


def test_another_version_of_a_job_and_lost_files_are_told_apart(recipe, run, monkeypatch):
    (Path(run.url) / "extract" / read_manifest(run.job("extract")).files[0].path).unlink()
    assert plan_work(recipe, run).jobs[0].why == "some of its files are gone"
    from pipelines.jobs import extract

    monkeypatch.setattr(extract, "VERSION", 10**6)
    assert plan_work(recipe, run).jobs[0].why == "this version of pairmill writes it differently"


def test_a_job_that_never_ran_has_no_history(corpus, run, tiny_model):
    plan = plan_work(small_recipe(corpus, tiny_model, "dedup", "pack", "train", "evaluate"), run)
    assert [(job.job, job.why) for job in plan.running] == [
        ("dedup", "not run yet"),
        ("pack", "not run yet"),
        ("train", "not run yet"),
        ("evaluate", "not run yet"),
        ("report", "evaluate runs"),
    ]
    assert plan.without_history == ("dedup", "pack", "train", "evaluate")
    weights = (Path(tiny_model) / "model.safetensors").stat().st_size
    assert plan.jobs[3].bytes == weights * (1 + 4 * 3)  # the model; two checkpoints kept and one being written


def test_a_dry_run_writes_nothing_and_shows_the_plan(recipe, run, corpus, tmp_path):
    write_rows(corpus / "b [red].jsonl", range(100, 140))
    os.utime(corpus / "a.jsonl", (1, 1))
    before = tree(tmp_path)
    told = shown(recipe, run)
    assert "tiny: 1 new of 2 files" in told and "files: 1 new" in told and "about 0:0" in told
    assert tree(tmp_path) == before
    assert "no history" in shown(recipe, RunFolder(str(tmp_path / "other")))
    assert tree(tmp_path) == before


def test_the_plan_as_json_is_one_object(recipe, run, capsys):
    show_plan(Console(), recipe, run, RefreshOptions(), as_json=True)
    plan = json.loads(capsys.readouterr().out)
    assert [job["job"] for job in plan["jobs"]] == ["extract", "report"]
    assert plan["changes"][0]["unchanged"] == 1
    assert plan["disk_free"] > 0 and plan["problem"] is None


def test_sources_that_are_not_there_are_told_and_the_rest_is_planned(recipe, run, corpus):
    (corpus / "a.jsonl").unlink()
    plan = plan_work(recipe, run)
    assert "had 1 files at the last refresh" in plan.problem
    assert [job.runs for job in plan.jobs] == [True, True]


def test_too_little_room_is_said(recipe, run, corpus, monkeypatch):
    write_rows(corpus / "b.jsonl", range(100, 140))
    monkeypatch.setattr("pipelines.refresh.plan._free", lambda run: 10)
    assert "That is not enough: make room first." in shown(recipe, run)


def test_seconds_go_by_new_rows_where_a_job_works_on_the_difference():
    past = [PastRun(rows=1000, share=1.0, seconds=100.0), PastRun(rows=1050, share=0.05, seconds=8.0)]
    # 60 new rows of 1,100: nearest is the second, 52.5 new rows of 1,050.
    assert expected_seconds("filter", Volume(1100, 60 / 1100), past) == pytest.approx(8.0 * 60 / 52.5)
    assert expected_seconds("filter", Volume(2000, 1.0), past) == pytest.approx(200.0)
    assert expected_seconds("dedup", Volume(2000, 0.05), past) == pytest.approx(8.0 * 2000 / 1050)
    assert expected_seconds("filter", Volume(1100, 0.0), past) == 2.0  # a process starts, whatever it has to do
    assert expected_seconds("filter", Volume(None, 1.0), past) == 100.0
    assert expected_seconds("filter", Volume(1100, 1.0), []) is None


def test_the_history_is_of_jobs_that_really_ran():
    def record(number: int, outcome: str, changes: list[SourceChange], **job: object) -> RefreshRecord:
        jobs = (JobRecord(job="filter", **job),)
        return RefreshRecord(number=number, started="", seconds=1, outcome=outcome, changes=changes, jobs=jobs)

    first = SourceChange(label="s", new=4, new_bytes=400, bytes=400)
    more = SourceChange(label="s", new=1, unchanged=4, new_bytes=100, bytes=500)
    same = SourceChange(label="s", unchanged=5, bytes=500)
    records = [
        record(1, "data_only", [first], ran=True, seconds=40, rows_in=400),
        record(2, "data_only", [more], ran=True, seconds=11, rows_in=500),
        record(3, "nothing_new", [same], ran=False, rows_in=500),
        record(4, "data_only", [same], ran=True, seconds=50, rows_in=500),
    ]
    assert past_runs(records, None, "filter") == [PastRun(400, 1.0, 40), PastRun(500, 0.2, 11), PastRun(500, 1.0, 50)]
    assert past_runs(records, a_manifest("score", "f", rows_in=7, seconds=3.0), "score") == [PastRun(7, 1.0, 3.0)]
    assert past_runs(records, None, "score") == []


def test_requests_and_money_follow_the_new_share(tmp_path):
    by_language = {"de": {"tries": 30, "money": 1.5, "documents": {}}, "zh": {"tries": 11, "money": 0.5}, "fr": {}}
    manifest = a_manifest("synthesize", "f", rows_in=100, details={"by_language": by_language})
    assert expected_requests(Volume(200, 0.5), manifest) == Asking(41, pytest.approx(2.0))
    assert expected_requests(Volume(None, 0.1), manifest) == Asking(5, pytest.approx(0.2))
    assert expected_requests(Volume(200, 0.5), None) is None


def test_an_unfinished_job_says_how_far_it_came(recipe, run):
    manifest = read_manifest(run.job("extract"))
    (Path(run.url) / "extract/_MANIFEST.json").unlink()
    assert plan_work(recipe, run).jobs[0].why == "not run yet"
    from pipelines.progress import announce

    tasks = [path.stem for path in (Path(run.url) / "extract/_parts").iterdir()]
    announce(run.job("extract"), [*tasks, "another"])
    assert plan_work(recipe, run).jobs[0].why == "not finished: 1 of 2 parts are"
    write_manifest(run.job("extract"), manifest)
    assert not plan_work(recipe, run).jobs[0].runs


def test_every_job_that_works_by_difference_is_a_job():
    from pipelines.recipe import JOBS

    assert set(JOBS) >= estimate.BY_DIFFERENCE
