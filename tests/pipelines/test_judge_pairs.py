import io
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipelines import judge_pairs
from pipelines.judge_pairs import counts_table, estimate_files, judge_files, sample_table
from pipelines.judges import ChosenJudge, judge_facts
from pipelines.mining.bad_rows import MiningInputError
from pipelines.recipe import dump_recipe
from tests.pipelines.test_command_line import run_main
from tests.pipelines.test_report import RECIPE, SCRIPT, RunMaker, pairs
from tests.synth.scripted_server import Good, ScriptedServer
from tests.trainer.test_reranker import save_bert
from trainer.judge import JudgeSettings
from trainer.reranker import CrossEncoder, CrossEncoderSettings


class TableJudge:
    """Scores passages by a table; anything else scores 0.1."""

    def __init__(self, name="table", **scores):
        self.name, self.scores, self.asked = name, scores, 0

    def score(self, queries, passages, on_batch):
        self.asked += len(queries)
        on_batch(len(queries))
        return np.array([self.scores.get(text, 0.1) for text in passages.to_pylist()], np.float32)


def write_rows(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def judged(tmp_path, path, judge, rules=None):
    output = str(tmp_path / "out.jsonl")
    counts = judge_files([path], output, judge, rules)
    return [json.loads(line) for line in Path(output).read_text("utf-8").splitlines()], counts


def test_scores_are_added_and_nothing_else_changes(tmp_path):
    rows = [
        {"id": 7, "query": "q", "pos": ["good", "fine"], "neg": ["bad", "so so"], "neg_scores": [9, 9], "prompt": "é"},
        {"query": "r", "pos": ["good"], "neg": []},
    ]
    found, counts = judged(tmp_path, write_rows(tmp_path / "in.jsonl", *rows), TableJudge(good=0.9, fine=0.8))
    assert found == [
        {
            "query": "q",
            "pos": ["good", "fine"],
            "neg": ["bad", "so so"],
            "id": 7,
            "prompt": "é",
            "pos_scores": [0.9, 0.8],
            "neg_scores": [0.1, 0.1],
        },
        {"query": "r", "pos": ["good"], "neg": [], "pos_scores": [0.9], "neg_scores": []},
    ]
    assert counts == {
        "rows": 2,
        "pairs": 5,
        "without_score": 0,
        "negatives": 2,
        "negatives_left": 2,
        "rows_without_negatives": 1,
    }
    assert not (tmp_path / "out.jsonl.work").exists()


def test_false_negatives_are_dropped_or_become_positives(tmp_path):
    row = {"query": "q", "pos": ["p"], "neg": ["same", "near", "far", "unknown"]}
    judge = TableJudge(p=0.92, same=0.95, near=0.6, unknown=np.nan)
    rules = JudgeSettings(relabel_above=0.9)
    found, counts = judged(tmp_path, write_rows(tmp_path / "in.jsonl", row), judge, rules)
    assert found == [
        {
            "query": "q",
            "pos": ["p", "same"],
            "neg": ["far", "unknown"],
            "pos_scores": [0.92, 0.95],
            "neg_scores": [0.1, None],
        }
    ]
    wanted = {"relabelled": 1, "judged_relevant": 1, "judged": 3, "unjudged": 1, "negatives": 4, "negatives_left": 2}
    assert counts == counts | wanted


def test_columns_of_one_positive_and_parquet_are_read_too(tmp_path):
    table = pa.table({"anchor": ["q"], "positive": ["p"], "negative_1": ["a"], "negative_2": ["b"], "source": ["x"]})
    pq.write_table(table, tmp_path / "in.parquet")
    found, _ = judged(tmp_path, str(tmp_path / "in.parquet"), TableJudge(p=1.0))
    assert found == [
        {"query": "q", "pos": ["p"], "neg": ["a", "b"], "pos_scores": [1.0], "neg_scores": [0.1, 0.1], "source": "x"}
    ]


def test_a_run_that_was_stopped_goes_on_from_its_blocks_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(judge_pairs, "ROWS", 3)
    rows = [{"query": f"q{n}", "pos": [f"p{n}"], "neg": [f"n{n}", f"m{n}"]} for n in range(10)]
    path = write_rows(tmp_path / "in.jsonl", *rows)
    scores = {f"p{n}": n / 10 for n in range(10)} | {"n4": 0.9}

    class Stopped(TableJudge):
        def score(self, queries, passages, on_batch):
            if "q6" in queries.to_pylist():
                raise KeyboardInterrupt
            return super().score(queries, passages, on_batch)

    rules, output = JudgeSettings(), str(tmp_path / "out.jsonl")
    with pytest.raises(KeyboardInterrupt):
        judge_files([path], output, Stopped(**scores), rules)
    again = TableJudge(**scores)
    told = []
    counts = judge_files([path], output, again, rules, told.append)
    assert again.asked == 12  # rows 6 to 9
    assert told[-1] == counts["pairs"] == 30
    whole = TableJudge(**scores)
    judge_files([path], str(tmp_path / "whole.jsonl"), whole, rules)
    assert (tmp_path / "whole.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


def test_another_judge_starts_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(judge_pairs, "ROWS", 1)
    path = write_rows(tmp_path / "in.jsonl", *({"query": "q", "pos": ["p"], "neg": [f"n{n}"]} for n in range(3)))

    class Stopped(TableJudge):
        def score(self, queries, passages, on_batch):
            if "n2" in passages.to_pylist():
                raise KeyboardInterrupt
            return super().score(queries, passages, on_batch)

    with pytest.raises(KeyboardInterrupt):
        judge_files([path], str(tmp_path / "out.jsonl"), Stopped("one"), None)
    other = TableJudge("other")
    judge_files([path], str(tmp_path / "out.jsonl"), other, None)
    assert other.asked == 6


def test_the_share_of_false_negatives_is_estimated_from_a_sample(tmp_path):
    rows = [{"query": f"q{n}", "pos": ["p"], "neg": [f"n{n}", f"m{n}"]} for n in range(100)]
    path = write_rows(tmp_path / "in.jsonl", *rows)
    judge = TableJudge(**{f"n{n}": 0.7 for n in range(100)})
    found = estimate_files([path], judge, 80)
    assert judge.asked == 80
    assert (found.estimate.judged, found.negatives) == (80, 200)
    assert found.estimate.found == sum(pair.negative.startswith("n") for pair in found.pairs)
    assert found.estimate.low < 0.5 < found.estimate.high
    assert [pair.score for pair in found.pairs] == sorted((pair.score for pair in found.pairs), reverse=True)
    assert found.as_json()["negatives"] == 200
    assert estimate_files([path], judge, 80, seed=1).pairs != found.pairs


def test_a_text_where_a_list_belongs_is_refused_with_its_line(tmp_path):
    path = write_rows(tmp_path / "in.jsonl", {"query": "q", "pos": ["p"], "neg": "n"})
    with pytest.raises(MiningInputError, match=r"line 1: a text stands where a list"):
        judge_files([path], str(tmp_path / "out.jsonl"), TableJudge(), None)


def test_pairs_without_negatives_have_nothing_to_estimate(tmp_path):
    path = write_rows(tmp_path / "in.jsonl", {"query": "q", "pos": ["p"], "neg": []})
    with pytest.raises(MiningInputError, match="no row has a negative"):
        estimate_files([path], TableJudge(), 5)


def test_texts_cannot_style_the_terminal(tmp_path):
    from rich.console import Console

    path = write_rows(tmp_path / "in.jsonl", {"query": "[red]q[/]", "pos": ["p"], "neg": ["\x1b[31mn"]})
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(sample_table(estimate_files([path], TableJudge(), 5)))
    console.print(counts_table(judge_files([path], str(tmp_path / "out.jsonl"), TableJudge(), JudgeSettings())))
    shown = console.export_text()
    assert "[red]q[/]" in shown
    assert "\\u001b[31mn" in shown
    assert "\x1b[31mn" not in shown


def test_one_judge_is_named(tmp_path):
    with pytest.raises(ValidationError, match="name one judge"):
        ChosenJudge()
    both = {
        "cross_encoder": {"model": "m"},
        "llm": {"client": {"base_url": "http://h/v1", "model": "m", "answers": "a"}},
    }
    with pytest.raises(ValidationError, match="name one judge"):
        ChosenJudge.model_validate(both)
    assert ChosenJudge(cross_encoder={"model": "m"}, depth=3).rules == JudgeSettings(depth=3)


LETTERS = {"query": "a b c", "pos": ["a b"], "neg": ["c d e", "f g h i", "k l"]}


def commanded(monkeypatch, capsys, *words):
    return run_main(monkeypatch, capsys, "judge", *words)


def test_the_command_writes_the_scores_of_a_cross_encoder(tmp_path, monkeypatch, capsys):
    model = save_bert(tmp_path / "model")
    path = write_rows(tmp_path / "in.jsonl", LETTERS)
    output, report = str(tmp_path / "out.jsonl"), tmp_path / "report.json"
    words = ("--pairs", path, "--cross-encoder", model, "--set", "cross_encoder.precision=fp32")
    code, shown, _ = commanded(monkeypatch, capsys, *words, "--output", output, "--report", str(report))
    assert code == 0
    assert "4 pairs of 1 rows judged" in shown
    texts = LETTERS["pos"] + LETTERS["neg"]
    expected = CrossEncoder(CrossEncoderSettings(model=model, precision="fp32")).score([LETTERS["query"]] * 4, texts)
    row = json.loads(Path(output).read_text())
    assert row["pos_scores"] + row["neg_scores"] == pytest.approx(expected.tolist(), abs=1e-6)
    facts = json.loads(report.read_text())
    assert facts["judge"].startswith("cross_encoder model ")
    assert facts["negatives"] == 3


def test_the_command_estimates_with_an_llm_and_says_before_what_it_costs(tmp_path, monkeypatch, capsys):
    path = write_rows(tmp_path / "in.jsonl", LETTERS)
    with ScriptedServer(lambda asked: Good('{"grade": 3}' if "k l" in asked.prompt else '{"grade": 0}')) as server:
        words = ("--pairs", path, "--llm", "m", "--url", server.url, "--answers", str(tmp_path / "a.sqlite"))
        code, shown, _ = commanded(monkeypatch, capsys, *words, "--estimate", "3", "--dry-run")
        assert (code, len(server.asked)) == (0, 0)
        assert "3 pairs: 3 calls" in shown
        code, shown, _ = commanded(monkeypatch, capsys, *words, "--estimate", "3")
        assert (code, len(server.asked)) == (0, 3)
        assert "false negatives 33.3%" in shown


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--cross-encoder", "m"), "--output, or how many negatives to judge with --estimate"),
        (("--estimate", "3"), "name one judge"),
        (("--estimate", "3", "--cross-encoder", "no-such-model"), "no model folder 'no-such-model'"),
        (("--estimate", "3", "--llm", "m", "--url", "host"), "http://HOST:PORT/v1"),
        (("--estimate", "3", "--llm", "m", "--key-variable", "NO_SUCH_KEY"), "NO_SUCH_KEY"),
        (("--estimate", "3", "--cross-encoder", "m", "--set", "dept=3"), "did you mean `depth`"),
    ],
)
def test_mistakes_of_the_command_are_told_in_one_paragraph(tmp_path, monkeypatch, capsys, words, expected):
    monkeypatch.chdir(tmp_path)
    path = write_rows(tmp_path / "in.jsonl", LETTERS)
    code, _, errors = commanded(monkeypatch, capsys, "--pairs", path, *words)
    assert code == 2
    assert expected in errors
    assert "Traceback" not in errors


def test_the_estimate_of_a_run_is_on_its_page_until_it_is_mined_again(tmp_path, monkeypatch, capsys):
    made = RunMaker(tmp_path / "run", RECIPE)
    batch = pairs(["q"], scores=[{"relevance": 0.5}])
    made.job("extract", [("pairs", batch)], records=1, quarantined=0)
    for job in ("filter", "dedup", "score"):
        made.job(job, [("pairs", batch)], settings={"threshold": 0.43}, not_scored=0)
    made.job("mine", [], queries=1, negatives=2)
    Path(made.run.recipe).write_text(dump_recipe(made.recipe))
    words = ("--pairs", str(tmp_path / "run"), "--llm", "m", "--estimate", "2", "--answers", str(tmp_path / "a.sqlite"))
    code, _, errors = commanded(monkeypatch, capsys, *words)
    assert (code, "run the jobs mine and pack first" in errors) == (2, True)

    export = tmp_path / "run" / "pack" / "export" / "flagembedding"
    export.mkdir(parents=True)
    write_rows(export / "000.jsonl", {"query": "q", "pos": ["p"], "neg": [SCRIPT, "n"]})
    with ScriptedServer(lambda asked: Good('{"grade": 2}' if "script" in asked.prompt else '{"grade": 1}')) as server:
        code, shown, _ = commanded(monkeypatch, capsys, *words, "--url", server.url)
    assert (code, "pairmill report" in shown) == (0, True)
    page = made.page()
    assert "Of 2 judged negatives, a random sample, <b>50.0 %</b> (9.5 to 90.5 %" in page
    assert "&lt;script&gt;alert(1)" in page
    assert SCRIPT not in page

    made.job("mine", [], queries=1, negatives=2, settings={"new": 1})
    manifest = tmp_path / "run" / "mine" / "_MANIFEST.json"
    manifest.write_text(manifest.read_text().replace("mine-fingerprint", "another-fingerprint"))
    assert "judged negatives" not in made.page()

    made.job("pack", [])
    made.job("mine", [("mined", batch)], queries=1, negatives=2)
    code, _, errors = commanded(monkeypatch, capsys, *words)
    assert (code, "those of an earlier mining" in errors) == (2, True)


def test_values_that_json_has_no_form_for_go_through(tmp_path):
    table = pa.table({"query": ["q"], "pos": [["p"]], "neg": [["a"]], "price": [Decimal("1.5")], "raw": [b"\x01"]})
    pq.write_table(table, tmp_path / "in.parquet")
    found, _ = judged(tmp_path, str(tmp_path / "in.parquet"), TableJudge())
    assert (found[0]["price"], found[0]["raw"]) == ("1.5", "01")


@pytest.mark.parametrize("client", [{"key_variable": "sk-SECRET"}, {"base_url": "https://me:SECRET@host/v1"}])
def test_a_key_in_the_wrong_place_is_refused_without_being_repeated(tmp_path, monkeypatch, capsys, client):
    name, value = next(iter(client.items()))
    words = ("--pairs", "in", "--estimate", "3", "--llm", "m", "--set", f"llm.client.{name}={value}")
    code, shown, errors = commanded(monkeypatch, capsys, *words)
    assert code == 2
    assert f"`llm.client.{name}`: write the" in errors
    assert "SECRET" not in shown + errors
    with pytest.raises(ValidationError) as raised:
        ChosenJudge.model_validate(
            {"llm": {"client": {"base_url": "http://h/v1", "model": "m", "answers": "a"} | client}}
        )
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    "words", [("--estimate", "3"), ("--output", "out.jsonl"), ("--output", "out.jsonl", "--clean")]
)
def test_a_rule_without_effect_is_refused(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    path = write_rows(tmp_path / "in.jsonl", LETTERS)
    code, _, errors = commanded(
        monkeypatch, capsys, "--pairs", path, "--cross-encoder", "m", "--set", "depth=3", *words
    )
    assert code == 2
    assert "depth would have no effect here" in errors


def test_a_higher_budget_is_no_other_judge_and_another_rule_is():
    client = {"base_url": "http://h/v1", "model": "m", "answers": "a"}
    plain, rich, stricter = (
        judge_facts(ChosenJudge.model_validate({"llm": {"client": client | budget}} | rule))
        for budget, rule in (({}, {}), ({"budget": 9.0}, {}), ({}, {"max_score": 0.4}))
    )
    assert plain == rich != stricter
    assert judge_facts(None) is None
