import pytest
import yaml

from pipelines.errors import UserError
from pipelines.recipe import dump_recipe, load_recipe, parse_recipe

GOOD = """\
name: demo
sources:
  - source: jsonl
    paths: [a.jsonl]
    query: title
filter:
  preset: c-mtp
dedup: {}
"""


def test_a_frozen_recipe_reads_back_as_itself():
    recipe = parse_recipe(GOOD, "r.yaml")
    assert parse_recipe(dump_recipe(recipe), "frozen") == recipe


def test_jobs_run_where_their_section_is_there_in_the_order_of_the_design():
    assert parse_recipe(GOOD, "r.yaml").jobs() == ["extract", "filter", "dedup", "report"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "preset: c-mtp",
            "presett: c-mtp",
            r"r\.yaml, line 7: unknown setting `filter\.presett`; did you mean `preset`",
        ),
        ("dedup: {}", "dedupe: {}", r"line 8: unknown setting `dedupe`; did you mean `dedup`"),
        ("source: jsonl", "source: jsonll", r"line 3: .*no source named 'jsonll'; did you mean `jsonl`"),
        ("query: title", "qurey: title", r"line 5: unknown setting `sources\.0\.qurey`; did you mean `query`"),
        ("dedup: {}", "dedup: {max_pairs_per_query: none}", r"line 8: `dedup\.max_pairs_per_query`.*found 'none'"),
        ("name: demo", "name: ../up", r"line 1: `name`.*no name for a run folder"),
        ("dedup: {}", "mine: {encoder: {model: m}}", r"`mine` needs `dedup`"),
        ("sources:", "sauces:", r"`sources` is missing"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_nearest_known_name(old, new, expected):
    with pytest.raises(UserError, match=expected):
        parse_recipe(GOOD.replace(old, new), "r.yaml")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "a: [1, 2", "name: !!python/object/apply:os.system [ls]"])
def test_what_is_no_recipe_is_refused_in_words(text):
    with pytest.raises(UserError, match=r"r\.yaml"):
        parse_recipe(text, "r.yaml")


def test_a_missing_recipe_names_the_path():
    with pytest.raises(UserError, match="no recipe at nowhere"):
        load_recipe("nowhere/x.yaml")


def test_the_shipped_recipes_are_valid():
    recipe = load_recipe("recipes/demo.yaml")
    assert recipe.jobs()[-1] == "report"
    assert yaml.safe_load(dump_recipe(recipe))["name"] == "demo"


def test_overrides_reach_presets_and_are_explained_like_the_file():
    loosened = parse_recipe(GOOD, "r.yaml", {"filter.preset": "none", "dedup.max_pairs_per_query": 3})
    assert loosened.filter.min_query_characters is None
    assert loosened.dedup.max_pairs_per_query == 3
    with pytest.raises(UserError, match="did you mean `preset`"):
        parse_recipe(GOOD, "r.yaml", {"filter.prest": "none"})
    with pytest.raises(UserError, match="no setting below"):
        parse_recipe(GOOD, "r.yaml", {"name.deeper": 1})


def test_a_section_with_nothing_behind_it_turns_the_job_on():
    assert "dedup" in parse_recipe(GOOD.replace("dedup: {}", "dedup:"), "r.yaml").jobs()


def test_languages_are_read_in_any_form_and_unknown_ones_refused():
    score = "score: {encoder: {model: m}, reads: [en, zh-Hant]}\n"
    assert parse_recipe(GOOD + score, "r.yaml").score.reads == ("eng_Latn", "zho_Hant")
    with pytest.raises(UserError, match="'klingonese' names no language"):
        parse_recipe(GOOD + score.replace("zh-Hant", "klingonese"), "r.yaml")
