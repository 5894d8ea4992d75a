"""The filter job, and what `pairmill filter` shows of it before it runs."""

import json
from pathlib import Path

import pytest
import yaml

from filters.calibration import load_calibration
from filters.rules import CALIBRATABLE
from filters.settings import FilterSettings
from pipelines.explain_filter import explain, explanation_table
from pipelines.filter_input import filter_settings, pairs_of_files, sample_pairs
from pipelines.job import Plan
from pipelines.jobs.filter import _measuring_fingerprints, measured_families, plan
from pipelines.launcher import run_recipe
from pipelines.manifest import read_manifest
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder
from tests.pipelines.test_command_line import run_main
from tests.pipelines.test_runs import rows_of

MAIL = "anna.berg@nordwind-verlag.de"
TEXTS = {
    "en": "The ferry leaves the harbour at seven and reaches the island before noon. Bicycles travel without a ticket.",
    "de": "Die Fähre verlässt den Hafen um sieben und erreicht die Insel vor Mittag. Fahrräder reisen ohne Fahrschein.",
    "ru": "Паром выходит из гавани в семь часов и прибывает на остров до полудня. Велосипеды перевозят без билета.",
    "zh": "渡轮七点离开港口，中午之前到达小岛。自行车不需要另外买票，行李放在下层甲板上。",
}

# c-mtp without the rules whose thresholds come with a calibration: those are not what is tested here.
RULES = {"preset": "c-mtp", **dict.fromkeys([rule.setting for rule in CALIBRATABLE])}
MASKED = {**RULES, "personal_data": {"action": "mask"}}


def write_pairs(folder: Path) -> list[str]:
    """Three files: good pairs in four languages, one with an address, and some that fail a rule."""
    files = []
    for number in range(3):
        rows = [
            {"query": f"Ferry {number} {name}", "positive": f"{text} {number}", "id": f"{name}{number}"}
            for name, text in TEXTS.items()
        ]
        rows += [
            {"query": f"Whom to ask {number}", "positive": f"{TEXTS['en']} Write to {MAIL} first.", "id": "mail"},
            {"query": "?", "positive": f"{TEXTS['en']} {number}.", "id": "short"},
            {"query": "Dots", "positive": f"Contents{'.' * 40} {number}", "id": "dots"},
        ]
        file = folder / f"part-{number}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files.append(str(file))
    return files


def run_filter(folder: Path, files: list[str], runner: dict | None = None, name: str = "run", **settings) -> Path:
    source = {"source": "jsonl", "paths": files, "kind": "title_body", "document_id": "id"}
    content = {"name": "ferry", "sources": [source], "filter": settings, "runner": runner or {}}
    recipe = folder / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump(content))
    run = folder / name
    run_recipe(load_recipe(str(recipe)), RunFolder(str(run)), lambda event: None, ["extract", "filter"])
    return run


def hashes(run: Path) -> dict[str, str]:
    return {file.path: file.sha256 for file in read_manifest(str(run / "filter")).files}


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filtered")
    files = write_pairs(folder)
    return folder, files, run_filter(folder, files, **MASKED)


def test_every_pair_that_goes_on_has_its_quality_and_language(masked):
    _, _, run = masked
    kept = rows_of(run, "filter", "pairs")
    assert len(kept) == 15
    assert all(0 < row["scores"]["quality"] <= 1 for row in kept)
    assert {row["positive_lang"] for row in kept} == {"eng_Latn", "deu_Latn", "rus_Cyrl", "zho_Hans"}
    assert read_manifest(str(run / "filter")).dropped == {"query_too_short": 3, "repeated_character": 3}


def test_personal_data_is_masked_counted_and_the_pair_keeps_its_id(masked):
    _, _, run = masked
    before = {row["pair_id"]: row for row in rows_of(run, "extract", "pairs")}
    for row in rows_of(run, "filter", "pairs"):
        assert row["positive"] == before[row["pair_id"]]["positive"].replace(MAIL, "<EMAIL>")
    found = read_manifest(str(run / "filter")).details["personal_data"]
    assert found == {"email": 3, "id_number": 0, "ip_address": 0, "phone": 0}


def test_workers_and_the_order_of_the_input_make_no_difference(masked):
    folder, files, run = masked
    two = {"mode": "multi_processing", "workers": 2}
    again = run_filter(folder, files[::-1], two, "again", **MASKED)
    assert hashes(again) == hashes(run)


def test_other_rules_measure_only_what_was_not_measured(masked):
    folder, files, _ = masked
    run = run_filter(folder, files, name="twice", preset="none", min_query_characters=2)
    places = {path.name: path.stat().st_mtime_ns for path in (run / "filter" / "measurements").iterdir()}
    assert len(places) == 3 and all(name.endswith(".text.parquet") for name in places)
    run_filter(folder, files, name="twice", preset="none", min_query_characters=9, drop_placeholders=True)
    after = {path.name: path.stat().st_mtime_ns for path in (run / "filter" / "measurements").iterdir()}
    assert len(after) == 6 and places.items() <= after.items()
    assert all(len(row["query"]) >= 9 for row in rows_of(run, "filter", "pairs"))


def test_families_are_measured_when_a_rule_or_masking_needs_them():
    assert measured_families(FilterSettings()) == {"text", "likeness"}
    assert measured_families(FilterSettings(personal_data={"action": "mask"})) == {"text", "likeness", "junk"}
    assert measured_families(FilterSettings(min_bitext_margin=1.06)) == {"text", "likeness", "pair"}


def test_another_model_or_list_measures_its_own_family_again_and_no_other():
    settings = FilterSettings(preset="c-mtp")
    parts = {"language_model": "l", "word_order_model": "w", "lists": {}}

    def keys(**changed):
        return dict(_measuring_fingerprints(settings, Plan(parts | changed, []), "input"))

    assert set(keys()) == {"text", "language", "web", "junk", "pair", "order"}
    for name, family in (("language_model", "language"), ("word_order_model", "order"), ("lists", "junk")):
        assert {file for file, key in keys(**{name: "other"}).items() if key != keys()[file]} == {family}
    assert keys(calibration_sha256="other") == keys()


def test_the_models_that_measure_are_part_of_the_plan(masked):
    _, _, run = masked
    recipe = load_recipe(str(run / "recipe.yaml"))
    ordered = recipe.model_copy(update={"filter": FilterSettings(min_word_order=-1)})
    found = [plan(each, RunFolder(str(run))).settings for each in (recipe, ordered)]
    assert "word_order_model" not in found[0] and len(found[1]["word_order_model"]) == 64
    assert len(found[0]["language_model"]) == 64


def test_explaining_counts_each_rule_alone_and_in_order(tmp_path):
    files = write_pairs(tmp_path)
    settings = filter_settings({"min_query_characters": 5, "max_repeated_characters": 20, "min_letter_share": 0.5})
    fields = {"query": "query", "positive": "positive", "kind": "title_body"}
    pairs, seen = sample_pairs(pairs_of_files(files, fields), 100)
    found = explain(pairs, seen, settings, 2)
    assert (found.seen, found.rows, found.passed) == (21, 21, 15)
    effects = {effect.setting: effect for effect in found.effects}
    # "?" and "Dots" are short queries; the rows of dots fail three rules, the first of which takes them.
    assert [(e.alone, e.first) for e in effects.values()] == [(6, 6), (3, 0), (6, 0)]
    nearest = effects["min_query_characters"]
    assert [example.value for example in nearest.dropped] == [4, 4]
    assert [example.value for example in nearest.kept] == [10, 10]  # "Ferry 0 en"
    assert effects["max_repeated_characters"].kept[0].value < 20 < effects["max_repeated_characters"].dropped[0].value
    assert json.loads(json.dumps(found.as_json()))["effects"][0]["alone"] == 6
    explanation_table(found)


def test_a_sample_is_the_same_whatever_the_order_of_the_files(tmp_path):
    files = write_pairs(tmp_path)
    fields = {"query": "query", "positive": "positive"}
    one, seen = sample_pairs(pairs_of_files(files, fields), 5)
    other, _ = sample_pairs(pairs_of_files(files[::-1], fields), 5)
    assert seen == 21 and one.num_rows == 5
    assert one["pair_id"].equals(other["pair_id"])
    ids = [row for batch in pairs_of_files(files, fields) for row in batch["pair_id"].to_pylist()]
    assert one["pair_id"].to_pylist() == sorted(ids)[:5]


def test_the_command_explains_files_with_examples_and_as_json(monkeypatch, capsys, tmp_path):
    files = write_pairs(tmp_path)
    words = ("filter", "--explain", "--input", f"{tmp_path}/*.jsonl", "--kind", "title_body", "--preset", "none")
    rule = ("--set", "min_query_characters=2")
    code, text, _ = run_main(monkeypatch, capsys, *words, *rule)
    assert code == 0
    assert "min_query_characters = 2" in text and "all rules together" in text and "21 of 21 pairs" in text
    code, text, _ = run_main(monkeypatch, capsys, *words, *rule, "--json")
    assert json.loads(text)["effects"][0]["dropped"][0]["query"] == "?"
    assert files


def test_the_command_explains_a_run_with_its_own_settings(monkeypatch, capsys, masked):
    _, _, run = masked
    code, text, _ = run_main(monkeypatch, capsys, "filter", "--explain", "--json", "--input", str(run))
    assert code == 0
    assert json.loads(text)["passed"] == 15


def test_the_command_calibrates_on_texts_without_queries(monkeypatch, capsys, tmp_path):
    texts = [f"{TEXTS['de']} Nummer {number} liegt am Kai {number % 7}." for number in range(60)]
    clean, output = tmp_path / "clean.jsonl", tmp_path / "calibration.json"
    clean.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    words = ("filter", "--calibrate", "--input", str(clean), "--positive-field", "text", "--output", str(output))
    code, text, _ = run_main(monkeypatch, capsys, *words, "--min-texts", "50", "--keep", "0.9", "--min-length", "50")
    assert code == 0
    assert "deu_Latn" in text and "itself" in text
    made = load_calibration(str(output))
    assert made.keep == 0.9 and made.texts == {"deu_Latn": 60} and made.kept["deu_Latn"] >= 0.9
    assert "max_passage_digit_share" in made.thresholds["deu_Latn"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--preset", "c-mpt"), "`filter`: there is no preset 'c-mpt'; known are none, c-mtp"),
        (
            ("--preset", "gopher", "--set", 'junk.word_lists=["listed.txt"]'),
            "`filter`: junk.word_lists names listed.txt",
        ),
        (("--set", "max_digit_shar=0.5"), "did you mean `max_digit_share`"),
        (("--set", "by_language.klingonese.min_words=3"), "names no language"),
        (("--set", "calibration=no-such.json"), "There is no calibration at no-such.json"),
        (("--set", 'junk.word_lists=["no-such.txt"]'), "no-such.txt"),
        (("--set", "language.model=no-such.bin"), "fasttext.cc"),
    ],
)
def test_mistakes_in_filter_settings_end_in_one_paragraph(monkeypatch, capsys, tmp_path, words, expected):
    write_pairs(tmp_path)
    base = ("filter", "--explain", "--input", f"{tmp_path}/*.jsonl", "--kind", "title_body")
    code, _, errors = run_main(monkeypatch, capsys, *base, *words)
    assert code == 2
    assert expected in errors
    assert len(errors.strip().splitlines()) == 1


def test_without_output_the_command_says_what_to_name(monkeypatch, capsys, tmp_path):
    write_pairs(tmp_path)
    code, _, errors = run_main(monkeypatch, capsys, "filter", "--input", f"{tmp_path}/*.jsonl")
    assert code == 2
    assert "--output" in errors and "--explain" in errors


def test_a_missing_calibration_stops_the_job_though_no_pair_is_judged_by_it(monkeypatch, capsys, tmp_path):
    write_pairs(tmp_path)
    words = ("--output", str(tmp_path / "out.jsonl"), "--set", "calibration=no-such")
    code, _, errors = run_main(monkeypatch, capsys, "filter", "--input", f"{tmp_path}/part-0.jsonl", *words)
    assert code == 2
    assert "There is no calibration at" in errors and "--calibrate" in errors


def test_fields_that_hold_no_pair_are_named(monkeypatch, capsys, tmp_path):
    write_pairs(tmp_path)
    words = ("filter", "--explain", "--input", f"{tmp_path}/*.jsonl", "--positive-field", "body")
    code, _, errors = run_main(monkeypatch, capsys, *words)
    assert code == 2
    assert "--positive-field (now body)" in errors
    one, output = f"{tmp_path}/part-0.jsonl", str(tmp_path / "out.jsonl")
    code, text, _ = run_main(
        monkeypatch, capsys, "filter", "--input", one, "--positive-field", "body", "--output", output
    )
    assert code == 0  # an empty corpus is none's mistake
    assert "0 rows written" in text and "--positive-field (now body)" in text


def test_rules_that_judge_no_pair_of_the_kind_are_told(monkeypatch, capsys, tmp_path):
    write_pairs(tmp_path)
    words = ("filter", "--explain", "--input", f"{tmp_path}/*.jsonl", "--preset", "gopher")
    _, text, _ = run_main(monkeypatch, capsys, *words)
    assert "No rule of these settings judges pairs of kind other" in text and "title_body" in text
    _, text, _ = run_main(monkeypatch, capsys, *words, "--kind", "title_body")
    assert "No rule of these settings" not in text
    _, text, _ = run_main(monkeypatch, capsys, *words, "--json")
    assert json.loads(text)["passed"] == 21


def test_a_calibration_is_written_only_where_it_can_be_taken_from(monkeypatch, capsys, tmp_path):
    write_pairs(tmp_path)
    words = ("filter", "--calibrate", "--input", f"{tmp_path}/*.jsonl", "--output", "calibration")
    code, _, errors = run_main(monkeypatch, capsys, *words)
    assert code == 2
    assert "calibration.json" in errors


def test_examples_show_the_measured_language_and_its_threshold(tmp_path):
    files = write_pairs(tmp_path)
    settings = filter_settings({"min_words": 1, "by_language": {"de": {"min_words": 200}}})
    fields = {"query": "query", "positive": "positive", "kind": "title_body"}
    found = explain(*sample_pairs(pairs_of_files(files, fields), 100), settings, 2)
    (effect,) = found.effects
    assert effect.alone == 3 and {example.language for example in effect.dropped} == {"deu_Latn"}
    assert {example.threshold for example in effect.dropped} == {200}
