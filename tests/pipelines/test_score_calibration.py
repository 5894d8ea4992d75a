import io
import json

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from pipelines.jobs.score import MEASURED, thresholds
from pipelines.recipe import ScoreSettings
from pipelines.score_calibration import RANKS, calibration, calibration_view, grid_around
from pipelines.shards import ShardWriter
from tests.pipelines.conftest import write_corpus
from tests.pipelines.test_command_line import run_main
from tests.pipelines.test_report import RECIPE, SCRIPT, RunMaker, pairs
from trainer.encoder import EncoderSettings

LANGUAGES = ["eng_Latn", "deu_Latn", "jpn_Jpan"]


def settings(**changes):
    return ScoreSettings(encoder=EncoderSettings(model="m"), **changes)


def scored(relevance, source="forum", words="q", **columns):
    """A PAIR batch with these relevances (None: not scored)."""
    rows = len(relevance)
    scores = [{"relevance": value} for value in relevance]
    return pairs([f"{words} {n} of {source}" for n in range(rows)], source=source, **({"scores": scores} | columns))


def write(folder, *batches):
    urls = []
    for number, batch in enumerate(batches):
        with ShardWriter(str(folder), "pairs", f"{number:03d}", batch.schema) as writer:
            writer.write(batch)
        urls.append(f"{folder}/{writer.file.path}")
    return urls


def test_keep_rates_and_quantiles_of_a_group_are_counted_by_hand(tmp_path):
    relevance = [0.29, 0.30, 0.43, 0.4299, 0.60, 0.75, 1.0, -1.0, None]
    found = calibration(write(tmp_path, scored(relevance)), settings(), 0)
    (row,) = found.groups["source"]
    assert (row.name, row.scored, row.not_scored) == ("forum", 8, 1)
    assert found.grid == (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
    assert [round(8 * share) for share in row.kept] == [6, 5, 5, 3, 3, 3, 3]
    assert row.kept_now == 4 / 8
    # sorted: -1, .29, .3, .4299, .43, .6, .75, 1; the 5 % quantile is the first, the median the fourth
    assert row.quantiles == (-1.0, 0.29, 0.429, 0.6, 1.0)
    assert (sum(row.histogram), row.histogram[0], row.histogram[-1]) == (8, 1, 1)


def test_groups_add_up_and_keep_what_the_job_keeps(tmp_path):
    choose = np.random.default_rng(0)
    batches = []
    for source in ("forum", "wiki"):
        relevance = choose.uniform(-0.2, 1, 200).round(4).astype(np.float32).tolist()
        languages = [LANGUAGES[n] for n in choose.integers(0, 3, 200)]
        kinds = [("question_answer", "title_body")[n] for n in choose.integers(0, 2, 200)]
        batches.append(scored(relevance, source, query_lang=languages, positive_lang=languages, kind=kinds))
    chosen = settings(threshold=0.4, threshold_by_language={"de": 0.6}, threshold_by_source={"wiki": 0.5})
    found = calibration(write(tmp_path, *batches), chosen, 0)
    rows = [
        (batch, row, cut)
        for batch in batches
        for row, cut in zip(batch.to_pylist(), thresholds(batch, chosen).to_pylist(), strict=True)
    ]
    for dimension, column in (("language", "query_lang"), ("source", "source"), ("kind", "kind")):
        assert sum(row.scored for row in found.groups[dimension]) == found.whole.scored == 400
        for group in found.groups[dimension]:
            own = [(row["scores"]["relevance"], cut) for _, row, cut in rows if row[column] == group.name]
            assert group.scored == len(own)
            assert group.kept_now == pytest.approx(sum(value >= cut for value, cut in own) / len(own))
            for step, share in zip(found.grid, group.kept, strict=True):
                assert share == pytest.approx(sum(value >= np.float32(step) for value, _ in own) / len(own))


def test_pool_ranks_and_margins_have_ladders_of_their_own(tmp_path):
    scores = [
        {"relevance": 0.5, "pool_rank": rank, "bitext_margin": margin}
        for rank, margin in ((0, 1.06), (1, None), (99, 1.3), (100, 0.9))
    ]
    found = calibration(write(tmp_path, scored([0.5] * 4, scores=scores)), settings(), 0).whole
    # kept among the best r: rank below r
    assert dict(zip(RANKS.tolist(), found.by_rank, strict=True)) == {
        1: 0.25,
        2: 0.5,
        5: 0.5,
        10: 0.5,
        20: 0.5,
        50: 0.5,
        100: 0.75,
    }
    assert found.by_margin == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2 / 3, 1 / 3, 1 / 3, 1 / 3])


def test_both_languages_of_a_pair_are_named(tmp_path):
    batch = scored([0.5, 0.6], query_lang=["deu_Latn"] * 2, positive_lang=["deu_Latn", "eng_Latn"])
    found = calibration(write(tmp_path, batch), settings(), 0)
    assert [row.name for row in found.groups["language"]] == ["deu_Latn", "deu_Latn → eng_Latn"]


def test_pairs_on_both_sides_of_their_own_cut_are_shown_in_turn_from_each_source(tmp_path):
    chosen = settings(threshold=0.43, threshold_by_source={"wiki": 0.7})
    batches = [scored([0.44, 0.42, 0.47, 0.3, 0.9, None], "forum"), scored([0.44, 0.69, 0.71, 0.72], "wiki")]
    found = calibration(write(tmp_path, *batches), chosen, 3)
    assert [(pair.source, pair.relevance, pair.threshold) for pair in found.under] == [
        ("wiki", 0.69, 0.7),
        ("forum", 0.42, 0.43),
    ]
    assert len(found.over) == 3
    assert {pair.source for pair in found.over} == {"forum", "wiki"}
    assert all(0 <= pair.relevance - pair.threshold < 0.05 for pair in found.over)
    assert calibration(write(tmp_path, *reversed(batches)), chosen, 3).under == found.under


def test_the_grid_moves_to_where_an_encoder_has_its_cosines(tmp_path):
    assert grid_around(0.43) == grid_around(0.3) == (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
    assert grid_around(0.8) == (0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    assert grid_around(0.97) == (0.8, 0.85, 0.9, 0.95, 1.0)
    # without a threshold the median decides
    found = calibration(write(tmp_path, scored([0.8, 0.81, 0.82])), settings(threshold=-1), 5)
    assert found.grid[3] == 0.8
    assert found.under == found.over == []


def test_nothing_scored_is_nothing_to_show(tmp_path):
    assert calibration(write(tmp_path, scored([None, None])), settings(), 5) is None
    assert calibration([], settings(), 5) is None


def test_the_terminal_shows_tables_and_pairs_without_letting_texts_style_it(tmp_path):
    batches = [scored([0.44, 0.42, None], "forum", words="[red]q[/]\x1b[31m"), scored([None], "[b]wiki")]
    found = calibration(write(tmp_path, *batches), settings(), 5)
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(calibration_view(found))
    shown = console.export_text()
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "forum 2 1 .42 .42 .44 100 100 100 0 0 0 0 50" in lines
    assert "[b]wiki 0 1" in lines
    assert "0.440 (threshold 0.43)  forum, question_answer, eng_Latn" in shown
    assert "[red]q[/]\\u001b[31m 0 of forum" in shown
    assert "\x1b" not in shown
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["whole"]["scored"] == 2


def test_the_page_shows_the_same_and_escapes_it(tmp_path):
    made = RunMaker(tmp_path, RECIPE)
    languages = ["eng_Latn", "deu_Latn"]
    kept = scored([0.44, 0.8], words=SCRIPT, query_lang=languages, positive_lang=languages)
    nothing = pa.nulls(2, pa.float32())
    measured = pa.RecordBatch.from_arrays(
        [kept["pair_id"], pa.array([0.44, 0.8], pa.float32()), nothing, nothing], schema=MEASURED
    )
    made.job("extract", [("pairs", kept)], records=2, quarantined=0)
    for job in ("filter", "dedup"):
        made.job(job, [("pairs", kept)])
    made.job("score", [("pairs", kept), ("measurements", measured)], settings={"threshold": 0.43}, not_scored=0)
    page = made.page()
    assert "What a threshold would keep, by language" in page
    assert "Kept, just above the threshold: 1 of them" in page
    assert "<figcaption><b><bdi>deu_Latn</bdi></b> <span>1 pair, median 0.80</span>" in page
    assert SCRIPT not in page


def test_files_are_scored_and_calibrated_and_their_run_is_looked_at_again_without_an_encoder(
    tmp_path, tiny_model, monkeypatch, capsys
):
    write_corpus(tmp_path / "corpus", files=1)
    words = ("--input", f"{tmp_path}/corpus/*.jsonl", "--query-field", "title", "--positive-field", "body")
    output = tmp_path / "scored.jsonl"
    made = ("--model", tiny_model, "--output", str(output), "--keep-work", "--calibrate", "1")
    code, shown, errors = run_main(monkeypatch, capsys, "score", *words, *made, "--set", "encoder.precision=fp32")
    assert (code, errors) == (0, "")
    assert "relevance by language" in shown
    values = sorted(json.loads(line)["scores"]["relevance"] for line in output.read_text().splitlines())
    monkeypatch.setattr("trainer.encoder.Encoder", None)
    code, shown, _ = run_main(monkeypatch, capsys, "score", "--input", f"{output}.work", "--calibrate", "0", "--json")
    found = json.loads(shown)
    assert (code, found["whole"]["scored"]) == (0, len(values))
    for step, share in zip(found["grid"], found["whole"]["kept"], strict=True):
        assert share == pytest.approx(sum(value >= np.float32(step) for value in values) / len(values))


def test_what_is_to_be_calibrated_must_be_scored(tmp_path, monkeypatch, capsys):
    code, _, errors = run_main(monkeypatch, capsys, "score", "--input", "pairs.jsonl", "--calibrate", "5")
    assert (code, "Name the encoder with --model" in errors) == (2, True)
