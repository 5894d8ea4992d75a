"""The recipe's section on refreshes."""

from pathlib import Path

from pipelines.recipe import dump_recipe, load_recipe, parse_recipe

RECIPES = Path(__file__).parents[3] / "recipes"


def test_the_recipe_to_start_from_is_a_recipe_and_reads_back_as_itself():
    recipe = load_recipe(str(RECIPES / "refresh.yaml"))
    assert recipe.refresh.notify.on == ("alert", "failed", "kept")
    assert recipe.refresh.gate.sets == ("support",)
    assert parse_recipe(dump_recipe(recipe), "r.yaml") == recipe


def test_on_needs_no_quotes_though_yaml_takes_it_for_true():
    start = "sources: [{source: jsonl, paths: [a.jsonl]}]\nrefresh:\n  notify: {"
    bare, quoted = (parse_recipe(f"{start}{key}: [promoted]}}", "r.yaml") for key in ("on", '"on"'))
    assert bare.refresh.notify.on == quoted.refresh.notify.on == ("promoted",)
