"""What a refresh trains from and compares with, and whether the gate is asked: from what a run keeps, without any job."""

import pytest

from pipelines.errors import UserError
from pipelines.manifest import read_manifest, write_manifest
from pipelines.recipe import Recipe
from pipelines.refresh import versions
from pipelines.refresh.model_choice import as_seen_by, check_training, is_to_decide, opponent
from pipelines.refresh.state import Decided, Opponent, RefreshState, write_state
from pipelines.run_folder import RunFolder
from tests.pipelines.refresh.models import a_manifest, train, write_model
from tests.pipelines.refresh.refreshed_runs import small_recipe


@pytest.fixture
def run(tmp_path):
    return RunFolder(str(tmp_path / "run"))


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    return small_recipe(tmp_path, str(write_model(tmp_path / "base", "base")), "dedup", "pack", "train", "evaluate")


def promote(run, weights):
    return versions.promote(run, train(run, weights), {"train": f"training of {weights}"})


def continuing(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"refresh": recipe.refresh.model_copy(update={"training": "continue"})})


def decided(run, weights, promoted):
    about = Decided(train=f"training of {weights}", evaluate=None, gate="", promoted=promoted)
    write_state(run, RefreshState(decided=about))


def test_a_new_model_is_compared_with_the_current_version_also_after_a_kill_and_a_roll_back(run):
    promote(run, "A"), promote(run, "B")
    decided(run, "B", promoted=True)
    train(run, "C")
    compared = opponent(run, "training of C")
    assert compared == Opponent(train="training of C", version=2)
    write_state(run, RefreshState(opponent=compared))  # and here the refresh is killed
    versions.roll_back(run)
    assert opponent(run, "training of C").version == 1


def test_a_model_that_is_current_stays_compared_with_what_it_took_the_place_of(run):
    promote(run, "A")
    write_state(run, RefreshState(opponent=Opponent(train="training of B", version=1)))
    promote(run, "B")
    assert opponent(run, "training of B").version == 1


def test_a_training_that_was_repeated_with_other_bytes_is_compared_with_the_current_version(run):
    promote(run, "A")
    train(run, "other bytes")
    write_manifest(run.job("train"), a_manifest("train", "training of A"))  # as on a GPU that does not repeat itself
    assert opponent(run, "training of A").version == 1


def test_where_the_versions_were_deleted_to_begin_anew_the_model_is_decided_about_again(run, recipe):
    train(run, "A")
    decided(run, "A", promoted=True)
    assert is_to_decide(recipe, run, "training of A", None, force=False)
    recipe_gate = Decided(train="training of A", evaluate=None, gate=_gate(recipe), promoted=False)
    write_state(run, RefreshState(decided=recipe_gate))
    assert not is_to_decide(recipe, run, "training of A", None, force=False)


def _gate(recipe):
    from pipelines.refresh.model_choice import gate_fingerprint

    return gate_fingerprint(recipe)


def test_the_command_run_trains_and_evaluates_as_the_refresh_did(run, recipe):
    write_manifest(run.job("pack"), a_manifest("pack", "packed"))
    assert as_seen_by("train", continuing(recipe), run) == continuing(recipe)  # nothing was promoted yet
    promote(run, "A")
    train(run, "B")
    assert as_seen_by("train", continuing(recipe), run).train.model == f"{run.url}/models/000001/model"
    assert as_seen_by("evaluate", recipe, run).evaluate.others == {"current": f"{run.url}/models/000001/model"}
    for job in ("extract", "pack", "train", "report"):
        assert as_seen_by(job, recipe, run) == recipe
    assert read_manifest(run.job("train")).fingerprint == "training of B"


def test_continuing_is_refused_where_a_stage_starts_from_a_model_of_its_own(recipe):
    def staged(*stages):
        train = {"model": "base", "stages": [{"name": f"s{n}", "steps": 1, **more} for n, more in enumerate(stages)]}
        content = recipe.model_dump(mode="json", exclude_none=True) | {"train": train}
        return Recipe.model_validate(content)

    check_training(continuing(staged({}, {})))
    check_training(staged({}, {"model": "other"}))
    with pytest.raises(
        UserError, match=r"stage s1 of train starts from a model of its own, other: .* Take `model` out"
    ):
        check_training(continuing(staged({}, {"model": "other"}, {})))
