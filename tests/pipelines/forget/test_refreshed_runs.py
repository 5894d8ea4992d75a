"""A document is forgotten between two refreshes: the next one has work to do, the one after it has none."""

import pytest

from pipelines import launcher
from pipelines.forget.command import Choices, forget, lineage_of
from pipelines.forget.traces import Asked
from pipelines.jobs import pack
from pipelines.refresh import versions
from pipelines.run_folder import RunFolder
from tests.pipelines.forget.taken_down_runs import places_of
from tests.pipelines.refresh.refreshed_runs import refreshed, run_job_here, small_recipe, write_rows
from tests.pipelines.synthesize_runs import rows_of


@pytest.fixture(autouse=True)
def _jobs_in_this_process(monkeypatch):
    def run_job(*given):
        for kept in (pack._passage_numbers, pack._column):  # by paths: else each job has a process of its own
            kept.cache_clear()
        return run_job_here(*given)

    monkeypatch.setattr(launcher, "_run_job", run_job)


def test_a_refresh_follows_and_models_are_known_by_an_id_alone_when_all_rows_are_gone(tmp_path, tiny_model):
    write_rows(tmp_path / "corpus" / "0.jsonl", range(30))
    recipe, folder = small_recipe(tmp_path / "corpus", tiny_model, "dedup", "pack", "train"), tmp_path / "run"
    assert refreshed(recipe, folder).record.outcome == "promoted"
    run, packed = RunFolder(str(folder)), {row["pair_id"] for row in rows_of(folder, "pairs", "pack")}
    row = next(row for row in rows_of(folder, "pairs", "extract") if row["pair_id"] in packed)
    asked = [Asked(kind="document_id", name=row["document_id"])]
    both = ["models/000001", "train/model"]
    done = forget(run, asked, Choices())
    assert (done.rows, done.left, [each["model"] for each in done.models]) == (1, {}, both)
    assert places_of(folder, row["query"], row["positive"]) == []

    follows = refreshed(recipe, folder).record
    assert follows.outcome == "promoted"
    assert [each.unchanged for each in follows.changes] == [1]
    assert refreshed(recipe, folder).record.outcome == "nothing_new"
    assert places_of(folder, row["query"], row["positive"]) == []

    named = [each["model"] for each in lineage_of(run, [], [row["document_id"]], [], None, None).models]
    assert named == both[:1]  # the second version never saw it
    assert forget(run, asked, Choices(remove_models=True)).removed_models == both[:1]
    assert versions.current(run).number == 2
    assert refreshed(recipe, folder).record.outcome == "nothing_new"
