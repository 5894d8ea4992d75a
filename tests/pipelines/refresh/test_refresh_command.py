"""`pairmill refresh`: the run follows its sources, and the current model the run."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pipelines import job_process, launcher
from pipelines.errors import JobFailed, UserError
from pipelines.launcher import run_recipe
from pipelines.refresh import command, gate, history, versions
from pipelines.refresh.records import GateDecision, RefreshRecord
from pipelines.run_folder import RunFolder
from tests.pipelines.refresh.refreshed_runs import (
    packed_bytes,
    refreshed,
    run_job_here,
    small_recipe,
    tree,
    write_rows,
)

DATA = ("dedup", "pack")
MODEL = (*DATA, "train", "evaluate")


@pytest.fixture(autouse=True)
def _jobs_in_this_process(monkeypatch):
    monkeypatch.setattr(launcher, "_run_job", run_job_here)


@pytest.fixture
def corpus(tmp_path) -> Path:
    for number in range(3):
        write_rows(tmp_path / f"corpus/{number}.jsonl", range(100 * number, 100 * number + 12))
    return tmp_path / "corpus"


def no_job(*given):
    raise AssertionError(f"job {given[2]} was run")


def no_model(run: Path) -> None:
    assert versions.current(RunFolder(str(run))) is None


def test_after_files_came_changed_and_went_the_packed_bytes_are_those_of_a_run_from_nothing(
    tmp_path, corpus, tiny_model, monkeypatch
):
    recipe, run = small_recipe(corpus, tiny_model, *DATA), tmp_path / "run"
    first = refreshed(recipe, run).record
    assert (first.number, first.outcome, first.version) == (1, "data_only", None)
    assert first.changes[0].new == 3
    assert all(job.ran for job in first.jobs)

    write_rows(corpus / "a-new.jsonl", range(1000, 1015))
    write_rows(corpus / "1.jsonl", range(100, 113))
    (corpus / "2.jsonl").unlink()
    os.utime(corpus / "0.jsonl", (10**9, 10**9))
    second = refreshed(recipe, run).record
    (change,) = second.changes
    assert (change.new, change.changed, change.gone, change.unchanged) == (1, 1, 1, 1)
    assert second.outcome == "data_only"
    run_recipe(recipe, RunFolder(str(tmp_path / "afresh")), lambda event: None)
    assert packed_bytes(run) == packed_bytes(tmp_path / "afresh")

    os.utime(corpus / "0.jsonl", (2 * 10**9, 10**9))
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    monkeypatch.setattr(launcher, "_run_job", no_job)
    for folder in (run, moved):
        third = refreshed(recipe, folder)
        assert (third.record.outcome, third.exit_code) == ("nothing_new", 0)
        assert not third.record.changes[0].any
        assert [job.ran for job in third.record.jobs] == [False] * 4
    assert [record.outcome for record in history.read_all(RunFolder(str(run)))] == ["data_only"] * 2 + ["nothing_new"]


def test_a_run_made_by_the_command_run_is_taken_up(tmp_path, corpus, tiny_model, monkeypatch):
    recipe, run = small_recipe(corpus, tiny_model), tmp_path / "run"
    run_recipe(recipe, RunFolder(str(run)), lambda event: None)
    monkeypatch.setattr(launcher, "_run_job", no_job)
    record = refreshed(recipe, run).record
    assert (record.number, record.outcome, record.changes[0].unchanged) == (1, "nothing_new", 3)


def test_afresh_a_new_model_follows_new_data_and_is_compared_with_the_current_one(
    tmp_path, corpus, tiny_model, monkeypatch
):
    recipe, run = small_recipe(corpus, tiny_model, *MODEL), tmp_path / "run"
    folder = RunFolder(str(run))
    monkeypatch.setattr(gate, "decide", lambda *given, **more: GateDecision(promoted=True, reason="as good"))
    first = refreshed(recipe, run).record
    assert (first.outcome, first.version) == ("promoted", 1)
    assert {row["model"] for row in first.metrics} == {"trained"}
    assert versions.current(folder).facts == {
        "refresh": 1,
        "train": first.fingerprints["train"],
        "started_from": None,
    }
    write_rows(corpus / "new.jsonl", range(1000, 1030))
    second = refreshed(recipe, run).record
    assert (second.outcome, second.version) == ("promoted", 2)
    assert _systems(run) == {"trained", "current"}
    run_recipe(recipe, RunFolder(str(tmp_path / "afresh")), lambda event: None)
    assert _weights(tmp_path / "afresh") == _weights(run)

    monkeypatch.setattr(launcher, "_run_job", no_job)
    third = refreshed(recipe, run).record
    assert (third.outcome, third.version, third.gate) == ("nothing_new", 2, None)
    run_recipe(recipe, folder, lambda event: None)  # it does not undo what the refresh did


def _systems(run: Path) -> set[str]:
    return {row["model"] for row in json.loads((run / "evaluate/metrics.json").read_text())}


def _weights(run: Path) -> bytes:
    return (run / "train/model/model.safetensors").read_bytes()


def test_training_that_continues_starts_from_the_current_version_and_not_from_its_own_result(
    tmp_path, corpus, tiny_model, monkeypatch
):
    recipe = small_recipe(corpus, tiny_model, *DATA, "train", refresh={"training": "continue", "keep_versions": 1})
    run = tmp_path / "run"
    folder = RunFolder(str(run))
    assert refreshed(recipe, run).record.version == 1
    run_job = launcher._run_job
    monkeypatch.setattr(launcher, "_run_job", no_job)
    assert refreshed(recipe, run).record.outcome == "nothing_new"

    monkeypatch.setattr(launcher, "_run_job", run_job)
    write_rows(corpus / "new.jsonl", range(1000, 1030))
    record = refreshed(recipe, run).record
    assert (record.outcome, record.version) == ("promoted", 2)
    assert versions.current(folder).facts["started_from"] == 1
    settings = json.loads((run / "train/_MANIFEST.json").read_text())["settings"]
    assert settings["model"] == "RUN/models/000001/model"
    assert settings["model_fingerprint"] == versions.all_versions(folder)[0].fingerprint

    # What it started from stays, though one version is to be kept; and a copy of the run elsewhere is up to date.
    shutil.copytree(run, tmp_path / "copy", symlinks=True)
    monkeypatch.setattr(launcher, "_run_job", no_job)
    run_recipe(recipe, folder, lambda event: None)
    for _ in range(2):
        assert refreshed(recipe, run).record.outcome == "nothing_new"
    assert refreshed(recipe, tmp_path / "copy").record.outcome == "nothing_new"


def test_a_model_that_the_gate_keeps_back_ends_with_exit_code_3_and_is_not_judged_again(
    tmp_path, corpus, tiny_model, monkeypatch
):
    recipe, run = small_recipe(corpus, tiny_model, *DATA, "train"), tmp_path / "run"
    asked = []

    def decide(recipe, run, *, even_rejected):
        asked.append(even_rejected)
        return GateDecision(promoted=even_rejected, reason="nfcorpus loses 0.1")

    monkeypatch.setattr(gate, "decide", decide)
    kept = refreshed(recipe, run)
    assert (kept.exit_code, kept.record.outcome, kept.record.version) == (3, "kept", None)
    monkeypatch.setattr(
        launcher, "_run_job", lambda *given: run_job_here(*given) if given[2] == "report" else no_job(*given)
    )
    again = refreshed(recipe, run)
    assert (again.exit_code, again.record.outcome) == (0, "nothing_new")
    no_model(run)
    other_gate = recipe.model_copy(
        update={
            "refresh": recipe.refresh.model_copy(
                update={"gate": recipe.refresh.gate.model_copy(update={"max_loss": 0.2})}
            )
        }
    )
    assert refreshed(other_gate, run).record.outcome == "kept"
    forced = refreshed(other_gate, run, force=True)
    assert (forced.exit_code, forced.record.outcome, forced.record.version) == (0, "promoted", 1)
    assert asked == [False, False, True]
    assert refreshed(recipe, run).record.outcome == "nothing_new"  # what is current is not judged again


def test_a_version_rolled_back_by_hand_is_promoted_again_only_by_force(tmp_path, corpus, tiny_model, monkeypatch):
    recipe, run = small_recipe(corpus, tiny_model, *DATA, "train"), tmp_path / "run"
    folder = RunFolder(str(run))
    refreshed(recipe, run)
    write_rows(corpus / "new.jsonl", range(1000, 1030))
    assert refreshed(recipe, run).record.version == 2
    versions.roll_back(folder)
    assert refreshed(recipe, run).record.version == 1
    assert refreshed(recipe, run).record.outcome == "nothing_new"
    forced = refreshed(recipe, run, force=True).record
    assert forced.outcome == "promoted"
    assert versions.current(folder).fingerprint == versions.trained_fingerprint(folder)


class Killed(BaseException):
    """In place of SIGKILL: no handler of errors sees it."""


@pytest.mark.parametrize("after", ["versions.promote", "versions.prune", "history.write", "write_state"])
def test_a_promotion_that_was_cut_off_is_finished_by_the_next_refresh(tmp_path, corpus, tiny_model, monkeypatch, after):
    recipe, run = small_recipe(corpus, tiny_model, *DATA, "train"), tmp_path / "run"
    refreshed(recipe, run)
    write_rows(corpus / "new.jsonl", range(1000, 1030))
    owner, name = (versions, history)[after.startswith("history")], after.rpartition(".")[2]
    owner = command if after == "write_state" else owner
    whole = getattr(owner, name)

    def cut_off(*given, **more):
        whole(*given, **more)
        if after != "write_state" or given[1].decided.train == versions.current(RunFolder(str(run))).facts["train"]:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, cut_off)
        with pytest.raises(Killed):
            refreshed(recipe, run)
    last = refreshed(recipe, run).record
    assert last.version == 2
    assert [version.number for version in versions.all_versions(RunFolder(str(run)))] == [1, 2]
    monkeypatch.setattr(launcher, "_run_job", no_job)
    assert refreshed(recipe, run).record.outcome == "nothing_new"
    told = [record for record in history.read_all(RunFolder(str(run))) if record.outcome == "promoted"]
    assert [record.version for record in told][-1] == 2


def test_a_failed_job_is_kept_in_the_history_and_the_next_refresh_goes_on(tmp_path, corpus, tiny_model, monkeypatch):
    recipe, run = (
        small_recipe(corpus, tiny_model, "dedup", refresh={"notify": {"command": ["tee", str(tmp_path / "told")]}}),
        tmp_path / "run",
    )

    def failing(recipe, run, name, *rest):
        if name == "dedup":
            raise JobFailed("Job dedup failed: No space left on device")
        return run_job_here(recipe, run, name, *rest)

    monkeypatch.setattr(launcher, "_run_job", failing)
    with pytest.raises(JobFailed):
        refreshed(recipe, run)
    (record,) = history.read_all(RunFolder(str(run)))
    assert (record.outcome, record.error) == ("failed", "Job dedup failed: No space left on device")
    assert json.loads((tmp_path / "told").read_text())["outcome"] == "failed"
    monkeypatch.setattr(launcher, "_run_job", run_job_here)
    second = refreshed(recipe, run).record
    assert second.outcome == "data_only"
    assert second.changes[0].new == 3  # as long as no refresh has come to its end
    assert [job.job for job in second.jobs if job.ran] == ["dedup", "report"]


def test_a_job_that_stopped_in_the_middle_leaves_what_was_there_before_to_compare_with(
    tmp_path, corpus, tiny_model, monkeypatch
):
    recipe, run = small_recipe(corpus, tiny_model), tmp_path / "run"
    refreshed(recipe, run)
    write_rows(corpus / "new.jsonl", range(1000, 1003))
    execute = job_process.execute

    def killed_in_extract(recipe_file, folder, name):
        (run / name / "_MANIFEST.json").unlink()
        raise Killed

    monkeypatch.setattr(job_process, "execute", killed_in_extract)
    with pytest.raises(Killed):
        refreshed(recipe, run)
    monkeypatch.setattr(job_process, "execute", execute)
    (change,) = refreshed(recipe, run).record.changes
    assert (change.new, change.unchanged) == (1, 3)


def test_a_vanished_source_changes_nothing_until_it_is_allowed(tmp_path, corpus, tiny_model):
    recipe, run = small_recipe(corpus, tiny_model), tmp_path / "run"
    refreshed(recipe, run)
    extracted = tree(run / "extract")
    for number in (1, 2):
        (corpus / f"{number}.jsonl").unlink()
    with pytest.raises(UserError, match="lost 2 of its 3 files"):
        refreshed(recipe, run)
    assert tree(run / "extract") == extracted
    assert history.read_all(RunFolder(str(run)))[-1].outcome == "failed"
    record = refreshed(recipe, run, allow_gone=True).record
    assert (record.outcome, record.changes[0].gone) == ("data_only", 2)
    assert len(list((run / "extract/pairs").iterdir())) == 1


def test_refreshes_with_nothing_new_do_not_flood_the_history(tmp_path, corpus, tiny_model, monkeypatch):
    recipe, run = small_recipe(corpus, tiny_model), tmp_path / "run"
    monkeypatch.setattr(history, "IDLE_KEPT", 2)
    for _ in range(5):
        refreshed(recipe, run)
    records = history.read_all(RunFolder(str(run)))
    assert [(record.number, record.outcome) for record in records] == [
        (1, "data_only"),
        (4, "nothing_new"),
        (5, "nothing_new"),
    ]


def test_what_a_killed_refresh_did_is_told_by_the_next_one(tmp_path, corpus, tiny_model, monkeypatch):
    recipe, run = small_recipe(corpus, tiny_model), tmp_path / "run"
    refreshed(recipe, run)
    monkeypatch.setattr(history, "RECENT", 1)
    for number in (2, 3):  # failures must not hide what there is to compare with
        history.write(RunFolder(str(run)), RefreshRecord(number=number, started="", seconds=0, outcome="failed"))
    for number in (1, 2):
        write_rows(corpus / f"{number}.jsonl", range(1))

    def killed(*given):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(history, "write", killed)
        with pytest.raises(Killed):
            refreshed(recipe, run)
    monkeypatch.setattr(
        launcher, "_run_job", lambda *given: run_job_here(*given) if given[2] == "report" else no_job(*given)
    )
    record = refreshed(recipe, run).record
    assert (record.number, record.outcome, record.changes[0].changed) == (4, "data_only", 2)
    assert [alert.kind for alert in record.alerts] == ["source_shrinks"]
    assert refreshed(recipe, run).record.outcome == "nothing_new"


def test_an_evaluation_folder_that_is_gone_is_told_like_any_failure(tmp_path, corpus):
    told, gone = tmp_path / "told", tmp_path / "unmounted"
    recipe = small_recipe(
        corpus, "base", "pack", evaluate={"data": [str(gone)]}, refresh={"notify": {"command": ["tee", str(told)]}}
    )
    with pytest.raises(UserError, match="no such folder"):
        refreshed(recipe, tmp_path / "run")
    assert json.loads(told.read_text())["outcome"] == "failed"
    assert str(gone) in history.read_all(RunFolder(str(tmp_path / "run")))[0].error
