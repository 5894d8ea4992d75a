"""The gate: what counts as a loss, on which sets, and the sentence that says so."""

import json
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import JobFailed, UserError
from pipelines.jobs.evaluate import planned_settings
from pipelines.manifest import write_manifest
from pipelines.recipe import parse_recipe
from pipelines.refresh import gate, versions
from pipelines.refresh.settings import GateSettings
from pipelines.run_folder import RunFolder
from tests.pipelines.refresh.models import a_manifest, train

NOWHERE = Path("nowhere.parquet")


def retrieval(model, value, data="held_out", language="eng_Latn", mode="dense", **more):
    told = {"task": "retrieval", "scope": "all", "kind": "all", "queries": 4, "corpus": 9}
    return {"model": model, "data": data, "language": language, "mode": mode, **told, "ndcg@10": value, **more}


def task(model, value, data="sts", metric="cosine_spearman"):
    told = {"task": "sts", "scope": "all", "language": None, "mode": "dense", "examples": 5}
    return {"model": model, "data": data, **told, "main_metric": metric, metric: value}


def both(current, new, **more):
    return [retrieval("trained", new, **more), retrieval("current", current, **more)]


def write_values(folder, values, metric="ndcg@10"):
    """values: {(model, data, language, mode): [value by query]}"""
    rows = [
        {"model": model, "data": data, "set_language": language, "mode": mode, "query_id": f"q{n}", metric: value}
        for (model, data, language, mode), given_values in values.items()
        for n, value in enumerate(given_values)
    ]
    types = [(name, pa.string()) for name in ("model", "data", "set_language", "mode", "query_id")]
    file = folder / "metrics.queries.parquet"
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([*types, (metric, pa.float64())])), file)
    return file


def decide(rows, file=NOWHERE, version=4, first_mode="dense", **given_settings):
    return gate.decision(rows, file, GateSettings(**given_settings), first_mode, version)


def two_systems(folder, current, new, **key):
    whose = {"data": "held_out", "language": "eng_Latn", "mode": "dense"} | key
    rest = (whose["data"], whose["language"], whose["mode"])
    file = write_values(folder, {("current", *rest): current, ("trained", *rest): new})
    return both(sum(current) / len(current), sum(new) / len(new), **whose), file


def test_a_loss_that_every_query_shows_keeps_the_current_version(tmp_path):
    # 6 queries fall alike: 2 of 64 sign patterns are as far from 0, p = 0.03125
    rows, file = two_systems(tmp_path, [0.9] * 6, [0.5] * 6)
    found = decide(rows, file)
    assert not found.promoted and found.sets[0].p_value == 2 / 64 and not found.sets[0].passes
    assert found.sets[0].difference == pytest.approx(-0.4)
    assert found.reason == (
        "The new model loses against version 4 on held_out (eng_Latn): ndcg@10 0.9000 to 0.5000 (-0.4000, p 0.031); "
        "nothing may be lost."
    )


def test_a_loss_that_may_be_chance_does_not_count(tmp_path):
    # 5 queries fall alike: 2 of 32 patterns, p = 0.0625
    rows, file = two_systems(tmp_path, [0.9] * 5, [0.5] * 5)
    found = decide(rows, file)
    assert found.promoted and found.sets[0].p_value == 2 / 32
    assert not decide(rows, file, p_value=0.07).promoted
    assert decide(rows, file, p_value=0.0625).promoted  # below, not at


def test_with_a_p_value_of_1_every_loss_counts(tmp_path):
    rows, file = two_systems(tmp_path, [0.9, 0.5], [0.8, 0.5])  # one query moved: both patterns are as far, p = 1
    assert decide(rows, file).promoted
    found = decide(rows, file, p_value=1)
    assert not found.promoted and found.sets[0].p_value == 1.0


def test_a_gain_and_no_change_pass(tmp_path):
    rows, file = two_systems(tmp_path, [0.5] * 6, [0.9] * 6)
    assert decide(rows, file, p_value=1).promoted
    rows, file = two_systems(tmp_path, [0.5] * 6, [0.5] * 6)
    assert decide(rows, file, p_value=1).promoted


@pytest.mark.parametrize(("loss", "passes"), [(0.1, True), (0.1001, False), (0.0999, True)])
def test_what_may_be_lost_is_lost_at_most(loss, passes):
    # 0.8 - 0.7 is a little more than 0.1 in binary
    assert decide([task("trained", 0.8 - loss), task("current", 0.8)], max_loss=0.1).promoted is passes
    assert decide([task("trained", 0.7), task("current", 0.8)], max_loss=0.1).promoted


def test_a_task_without_values_by_query_is_judged_by_its_difference(tmp_path):
    _, file = two_systems(tmp_path, [0.5] * 2, [0.5] * 2)
    found = decide([task("trained", 0.70), task("current", 0.71)], file)
    assert not found.promoted and found.sets[0].p_value is None and found.sets[0].metric == "cosine_spearman"


def test_one_set_that_loses_is_enough_and_the_worst_is_told(tmp_path):
    values = {
        ("current", "a", None, "dense"): [0.9] * 8,
        ("trained", "a", None, "dense"): [0.8] * 8,
        ("current", "b", None, "dense"): [0.9] * 8,
        ("trained", "b", None, "dense"): [0.2] * 8,
        ("current", "c", None, "dense"): [0.1] * 8,
        ("trained", "c", None, "dense"): [0.9] * 8,
    }
    rows = [
        each
        for data, now in (("a", 0.8), ("b", 0.2), ("c", 0.9))
        for each in both(0.1 if data == "c" else 0.9, now, data=data, language=None)
    ]
    found = decide(rows, write_values(tmp_path, values), max_loss=0.05)
    assert [each.passes for each in found.sets] == [False, False, True]
    assert "loses against version 4 on 2 of 3 sets, most on b: ndcg@10 0.9000 to 0.2000" in found.reason
    assert found.reason.endswith("0.05 may be lost.")
    assert decide(rows, write_values(tmp_path, values), sets=("c",)).promoted


def test_languages_of_one_set_are_sets_of_their_own_and_can_be_named(tmp_path):
    values = {(model, "miracl", lang, "dense"): [0.9 if (model, lang) != ("trained", "ar") else 0.1] * 6
              for model, lang in product(("current", "trained"), ("ar", "de"))}  # fmt: skip
    rows = [*both(0.9, 0.1, data="miracl", language="ar"), *both(0.9, 0.9, data="miracl", language="de")]
    file = write_values(tmp_path, values)
    assert not decide(rows, file, sets=("miracl",)).promoted
    assert decide(rows, file, sets=("miracl (de)",)).promoted
    assert [each.p_value for each in decide(rows, file).sets] == [2 / 64, 1.0]


def test_an_unknown_set_is_told_with_the_nearest():
    with pytest.raises(UserError, match=r"'heldout', and there is no such evaluation set; did you mean 'held_out'"):
        decide(both(0.5, 0.5), sets=("heldout",))


def test_a_chosen_metric_counts_where_a_set_has_it_and_the_main_one_elsewhere():
    rows = [*both(0.5, 0.6, **{"mrr@10": 0.7}), task("trained", 0.5), task("current", 0.5)]
    rows[0]["mrr@10"] = 0.1
    found = decide(rows, metric="mrr@10")
    assert [each.metric for each in found.sets] == ["mrr@10", "cosine_spearman"] and not found.promoted
    with pytest.raises(UserError, match=r"'mrr@1', and no evaluation set has it; did you mean 'mrr@10'"):
        decide(rows, metric="mrr@1")


def test_sets_with_answers_are_judged_by_their_own_main_metric():
    rows = both(0.5, 0.5)
    for row, value in zip(rows, (0.3, 0.4), strict=True):
        del row["ndcg@10"]
        row |= {"answer_recall@20": 0.1, "answer_recall@100": value}
    found = decide(rows)
    assert found.sets[0].metric == "answer_recall@100" and not found.promoted


def test_the_mode_is_the_first_of_evaluate_unless_the_gate_names_another():
    rows = [*both(0.5, 0.6), *both(0.5, 0.1, mode="lexical")]
    assert decide(rows).promoted
    assert not decide(rows, first_mode="lexical").promoted
    assert not decide(rows, mode="lexical").promoted
    assert decide(both(0.5, 0.6, mode="all")).sets[0].mode == "all"  # that folder's own modes
    with pytest.raises(UserError, match=r"'all', and held_out \(eng_Latn\) was evaluated in dense, lexical only"):
        decide(rows, mode="all")


def test_a_task_is_judged_in_its_only_mode():
    found = decide([task("trained", 0.5), task("current", 0.5)], mode="lexical")
    assert found.promoted and found.sets[0].mode == "dense"


def test_a_value_that_the_new_model_lacks_counts_as_a_loss_and_one_that_the_old_lacks_does_not():
    rows = [retrieval("trained", 0.5), *both(0.4, 0.5, mode="lexical")][:2]
    assert decide(rows, first_mode="lexical").promoted
    lost = decide([retrieval("current", 0.5, mode="lexical"), retrieval("trained", 0.5)], first_mode="lexical")
    assert not lost.promoted and "0.5000 to no value" in lost.reason and lost.sets[0].new is None
    for value in (None, float("nan")):
        assert not decide([task("trained", value), task("current", 0.5)]).promoted
        assert decide([task("trained", 0.5), task("current", value)]).promoted


def test_rows_of_kinds_languages_and_other_models_do_not_count():
    rows = both(0.5, 0.5)
    rows += [row | {"scope": "kind", "kind": "title_body", "ndcg@10": 0.9 - n} for n, row in enumerate(rows)]
    rows += [retrieval("untrained", 0.9), retrieval("bm25", 0.9, mode="bm25")]
    found = decide(rows)
    assert len(found.sets) == 1 and found.promoted


def test_nothing_evaluated_is_said():
    assert decide([]).promoted and "nothing was compared" in decide([]).reason


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=9), st.integers(0, 4))
def test_the_p_value_is_the_share_of_sign_patterns(tmp_path_factory, values, most):
    """The rule again, over all 2^n patterns, in plain Python."""
    current, new = ([each[side] / 8 for each in values] for side in (0, 1))
    rows, file = two_systems(tmp_path_factory.mktemp("gate"), current, new)
    found = decide(rows, file, max_loss=most / 8).sets[0]
    moved = [each[1] - each[0] for each in values if each[1] != each[0]]
    sums = [abs(sum(s * d for s, d in zip(signs, moved, strict=True))) for signs in product((1, -1), repeat=len(moved))]
    p_value = sum(each >= abs(sum(moved)) for each in sums) / len(sums)
    assert found.p_value == pytest.approx(p_value)
    lost = sum(each[0] - each[1] for each in values) / len(values)
    assert found.passes is not (lost > most and p_value < 0.05)


RECIPE = """
name: tiny
sources: [{source: jsonl, paths: [x.jsonl]}]
dedup: {}
pack: {model: /nowhere}
train: {model: /nowhere, steps: 1, batch_size: 2}
"""


@pytest.fixture
def run(tmp_path):
    return RunFolder(str(tmp_path / "run"))


def promote(run, weights):
    return versions.promote(run, train(run, weights), {"train": f"training of {weights}"})


def evaluated(run, current, new, rows):
    """As if job evaluate had compared these two models."""
    inputs = [{"job": "train", "fingerprint": f"training of {new}"}, {"other": "current", "model": current}]
    planned = planned_settings(parse_recipe(RECIPE + "evaluate: {}", "r").evaluate)
    write_manifest(run.job("evaluate"), a_manifest("evaluate", "e", inputs=inputs, settings=planned))
    (Path(run.url) / "evaluate" / "metrics.json").write_text(json.dumps(rows))


def test_the_first_version_is_promoted(run):
    train(run, "A")
    found = gate.decide(parse_recipe(RECIPE + "evaluate: {}", "r"), run)
    assert found.promoted and "this is the first" in found.reason


def test_without_evaluation_nothing_is_compared(run):
    promote(run, "A"), train(run, "B")
    found = gate.decide(parse_recipe(RECIPE, "r"), run)
    assert found.promoted and "nothing was compared" in found.reason


def test_the_current_model_passes_against_itself(run):
    promote(run, "A")
    found = gate.decide(parse_recipe(RECIPE + "evaluate: {}", "r"), run)
    assert found.promoted and "version 1, bit for bit" in found.reason


def test_the_gate_reads_what_evaluate_left(run):
    first = promote(run, "A")
    train(run, "B")
    recipe = parse_recipe(RECIPE + "evaluate: {}\nrefresh: {gate: {max_loss: 0.05}}", "r")
    evaluated(run, first.fingerprint, "B", both(0.9, 0.8))
    assert not gate.decide(recipe, run).promoted
    evaluated(run, first.fingerprint, "B", both(0.9, 0.86))
    assert gate.decide(recipe, run).promoted


def test_a_slip_in_the_settings_is_told_before_any_work_where_the_last_evaluation_had_the_same_settings(run):
    def check(gate_settings, section="evaluate: {}"):
        gate.check_settings(parse_recipe(f"{RECIPE}{section}\nrefresh: {{gate: {gate_settings}}}", "r"), run)

    check("{sets: [heldout]}")  # nothing was evaluated yet
    evaluated(run, "none", "A", [retrieval("trained", 0.5), retrieval("untrained", 0.4)])
    check("{sets: [held_out], metric: ndcg@10, mode: dense}")
    check("{sets: [heldout]}", "evaluate: {data: [elsewhere]}")  # other sets: who knows their names
    for slip, words in (
        ("{sets: [heldout]}", "held_out"),
        ("{metric: ndgc@10}", "ndcg@10"),
        ("{mode: lexical}", "dense only"),
    ):
        with pytest.raises(UserError, match=words):
            check(slip)
    train(run, "A")
    with pytest.raises(UserError, match="heldout"):  # and at the first decision, which has nothing to compare
        gate.decide(parse_recipe(RECIPE + "evaluate: {}\nrefresh: {gate: {sets: [heldout]}}", "r"), run)


def test_an_evaluation_of_other_models_decides_nothing(run):
    first = promote(run, "A")
    train(run, "B")
    recipe = parse_recipe(RECIPE + "evaluate: {}", "r")
    evaluated(run, first.fingerprint, "A", both(0.9, 0.9))
    with pytest.raises(JobFailed, match="earlier training"):
        gate.decide(recipe, run)
    evaluated(run, "another", "B", both(0.9, 0.9))
    with pytest.raises(JobFailed, match="was not beside it"):
        gate.decide(recipe, run)


def test_a_model_that_was_rolled_back_by_hand_stays_so_until_it_is_trained_anew(run):
    recipe = parse_recipe(RECIPE, "r")
    promote(run, "A"), promote(run, "B")
    versions.roll_back(run)
    found = gate.decide(recipe, run)
    assert not found.promoted and found.reason.startswith("Version 2 was turned down by a roll-back on 20")
    assert gate.decide(recipe, run, even_rejected=True).promoted
    train(run, "C")
    assert gate.decide(recipe, run).promoted
