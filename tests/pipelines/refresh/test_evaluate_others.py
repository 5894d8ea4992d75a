"""Further models in job evaluate: figures beside the trained one's, nothing encoded twice, and what makes it run again."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from pipelines.errors import UserError
from pipelines.job import EVALUATION
from pipelines.job_process import execute
from pipelines.jobs import evaluate
from pipelines.manifest import read_manifest, write_manifest
from pipelines.recipe import load_recipe
from pipelines.refresh import content_states, gate, versions
from pipelines.run_folder import RunFolder
from tests.pipelines.conftest import recipe_content
from tests.pipelines.evaluation_folders import write_sts
from tests.pipelines.refresh.models import a_manifest
from tests.pipelines.test_evaluate_job import write_held_out, write_trained


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, tiny_model):
    """A run whose first model was promoted, another one trained, and both evaluated."""
    folder = tmp_path_factory.mktemp("others")
    content = recipe_content(folder / "corpus", tiny_model)
    for job in ("filter", "score", "mine"):
        del content[job]
    content["evaluate"] = {"data": [str(write_sts(folder / "sts"))], "bm25": False}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    run = RunFolder(str(folder / "run"))
    for job in ("extract", "dedup", "pack", "train"):
        write_manifest(run.job(job), a_manifest(job, job, details={"records": 0, "quarantined": 0}))
    write_held_out(folder / "run" / "pack" / EVALUATION)
    model = folder / "run" / "train" / "model"
    shutil.copytree(tiny_model, model)
    versions.promote(run, model, {"train": "before"})
    shutil.rmtree(model)
    write_trained(tiny_model, model)
    recipe = with_current(folder, run, 1)
    execute(str(recipe), run, "evaluate")
    return folder, run, recipe


def with_current(folder, run, number, **more):
    content = yaml.safe_load((folder / "recipe.yaml").read_text())
    content["evaluate"] |= {"others": {"current": str(versions.model_folder(run, number))}} | more
    file = folder / "with-current.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def metrics(run):
    return json.loads(Path(run.url, "evaluate", "metrics.json").read_text())


def test_a_further_model_is_evaluated_on_every_set_under_its_name(evaluated):
    _, run, _ = evaluated
    rows = [row for row in metrics(run) if row["scope"] == "all"]
    assert {(row["data"], row["model"]) for row in rows} == {
        (data, model) for data in ("held_out", "sts") for model in ("trained", "untrained", "current")
    }
    # the first version is the untrained model here: equal figures, and no vector of its own
    for data in ("held_out", "sts"):
        by_model = {row["model"]: row for row in rows if row["data"] == data}
        same = [{k: v for k, v in by_model[name].items() if k != "model"} for name in ("current", "untrained")]
        assert same[0] == same[1]


def test_the_gate_decides_from_what_the_job_left(evaluated):
    _, run, recipe = evaluated
    found = gate.decide(load_recipe(str(recipe)), run)
    values = {(row["data"], row["model"]): row for row in metrics(run) if row["scope"] == "all"}
    assert {each.data for each in found.sets} == {"held_out", "sts"}
    for each in found.sets:
        assert each.new == values[each.data, "trained"][each.metric]
        assert each.current == values[each.data, "current"][each.metric]
    by_name = {each.data: each for each in found.sets}
    assert by_name["held_out"].p_value is not None and by_name["sts"].p_value is None
    assert by_name["held_out"].metric == "ndcg@10" and by_name["sts"].metric == "cosine_spearman"


def test_the_same_model_elsewhere_leaves_the_job_up_to_date_and_another_one_does_not(evaluated, tiny_model):
    _, run, recipe = evaluated
    done = read_manifest(run.job("evaluate")).fingerprint

    def fingerprint(**others):
        changed = load_recipe(str(recipe), {"evaluate.others": others})
        return evaluate.plan(changed, run).fingerprint("evaluate", evaluate.VERSION)

    assert fingerprint(current=str(versions.model_folder(run, 1))) == done
    assert fingerprint(current=tiny_model) == done  # the same bytes
    assert fingerprint(current=f"{run.url}/train/model") != done
    assert fingerprint(before=tiny_model) != done and fingerprint() != done


def test_files_to_evaluate_on_are_compared_by_content_and_read_once(evaluated, monkeypatch):
    folder, run, recipe = evaluated
    monkeypatch.setattr(content_states, "_UNSURE_NS", 0)
    files = sorted(path for path in (folder / "sts").rglob("*") if path.is_file())
    as_it_was = files[0].read_bytes()

    def fingerprint(**more):
        return evaluate.plan(load_recipe(str(recipe), more), run).fingerprint("evaluate", evaluate.VERSION)

    before, by_time = fingerprint(), fingerprint(**{"extract.compare_files": "time"})
    os.utime(files[0], (10**9, 10**9))
    assert fingerprint() == before and fingerprint(**{"extract.compare_files": "time"}) != by_time
    with monkeypatch.context() as patched:
        patched.setattr(content_states, "_hashed_once", lambda path, counter: pytest.fail(f"{path} was read again"))
        assert fingerprint() == before
    files[0].write_bytes(as_it_was + b"\n")
    assert fingerprint() != before
    files[0].write_bytes(as_it_was)
    assert fingerprint() == before


def test_without_further_models_the_fingerprint_is_what_it_always_was(evaluated):
    folder, run, _ = evaluated
    planned = evaluate.plan(load_recipe(str(folder / "recipe.yaml")), run)
    assert "others" not in planned.settings and not any("other" in each for each in planned.inputs)


def test_a_further_model_keeps_its_own_prompts_when_the_recipe_has_new_ones(evaluated):
    from pipelines.job import Job

    _, run, recipe = evaluated
    changed = load_recipe(str(recipe), {"pack.packing.query_instruction": "new: "})
    job = Job("evaluate", changed, run, evaluate.plan(changed, run), "")
    asked = {name: evaluate._encoding(job, changed.evaluate, name, "x").query_prompt for name in ("trained", "current")}
    assert asked == {"trained": "new: ", "current": None}


def test_names_that_other_systems_have_and_folders_that_are_not_there_are_refused(evaluated):
    *_, recipe = evaluated
    for name in ("trained", "bm25", "a/b", ""):
        with pytest.raises(UserError, match="further model's name"):
            load_recipe(str(recipe), {"evaluate.others": {name: "x"}})
    with pytest.raises(UserError, match=r"evaluate.others names /no/such/model as old"):
        evaluate.check_inputs(load_recipe(str(recipe), {"evaluate.others": {"old": "/no/such/model"}}))


def test_the_page_shows_the_further_model(evaluated):
    from pipelines.jobs.report import write_report

    _, run, recipe = evaluated
    text = Path(write_report(load_recipe(str(recipe)), run)).read_text("utf-8")
    assert text.count("<bdi>current</bdi>") >= 2
