import json
import signal
import subprocess
import sys
import time

import pytest

from pipelines.errors import UserError
from pipelines.mining.command import mine_settings
from pipelines.mining.settings import PRESETS
from tests.pipelines.mining.conftest import MINILM, PAIRS, read_jsonl, write_jsonl

SETTINGS = ("--model", MINILM, "--negatives", "2", "--range", "0", "20", "--no-near")


def run_main(monkeypatch, *words):
    from pipelines import command_line

    monkeypatch.setattr("sys.argv", ["pairmill", "mine", *words])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    return ended.value.code or 0


def test_the_command_mines_a_corpus_and_counts_what_it_did(tmp_path, monkeypatch, capsys):
    pairs = write_jsonl(tmp_path / "pairs.jsonl", [{"query": q, "pos": [p], "id": n} for n, (q, p) in enumerate(PAIRS)])
    corpus = write_jsonl(tmp_path / "corpus.jsonl", [{"_id": f"p{n}", "text": p} for n, (_, p) in enumerate(PAIRS)])
    output, counts = tmp_path / "mined.jsonl", tmp_path / "counts.json"
    files = ("--pairs", pairs, "--corpus", corpus, "--output", str(output), "--report", str(counts))
    assert run_main(monkeypatch, *files, *SETTINGS) == 0
    rows = read_jsonl(output)
    assert [row["id"] for row in rows] == list(range(len(PAIRS)))
    assert all(len(row["neg"]) == len(row["neg_ids"]) == 2 for row in rows)
    assert json.loads(counts.read_text())["inputs"]["passages"] == len(PAIRS)
    assert not (tmp_path / "mined.jsonl.work").exists()
    assert "rows written" in capsys.readouterr().out


def test_a_killed_run_ends_with_the_same_bytes(tmp_path, monkeypatch):
    rows = [{"query": f"{q} ({n})", "pos": [f"{p} {n}"]} for n in range(20) for q, p in PAIRS]
    pairs = write_jsonl(tmp_path / "pairs.jsonl", rows)
    words = [*SETTINGS, "--pairs", pairs, "--set", "query_block=1"]
    assert run_main(monkeypatch, *words, "--output", str(tmp_path / "whole.jsonl")) == 0
    killed = [*words, "--output", str(tmp_path / "killed.jsonl")]
    process = subprocess.Popen([sys.executable, "-m", "pipelines.command_line", "mine", *killed])
    mined = tmp_path / "killed.jsonl.work" / "mined"
    while process.poll() is None and not (mined / "000001.arrow").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed.jsonl").exists()
    assert 0 < len(list(mined.glob("*.arrow"))) < len(rows)
    assert run_main(monkeypatch, *killed) == 0
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--output", "out.csv"), "let the name end in .jsonl or .parquet"),
        (("--output", "out.tsv"), "need a BEIR folder"),
        (("--output", "o.jsonl", "--output-format", "triples"), "there are same, flagembedding, triplets"),
        (("--output", "o.jsonl", "--preset", "best"), "there are hn_mine"),
        (("--output", "o.jsonl", "--sampling", "first"), "select.sampling"),
        (("--output", "o.jsonl", "--set", "select.negativs=3"), "did you mean `negatives`"),
        (("--output", "o.jsonl", "--range", "20", "10"), "holds no rank"),
        (("--output", "s3://bucket/o.jsonl"), "--work"),
        (("--output", "o.jsonl", "--corpus", "missing*.jsonl"), "missing*.jsonl"),
    ],
)
def test_the_users_mistakes_end_with_one_paragraph(tmp_path, monkeypatch, capsys, words, expected):
    pairs = write_jsonl(tmp_path / "pairs.jsonl", [{"query": "q", "pos": ["p"]}])
    monkeypatch.chdir(tmp_path)
    code = run_main(monkeypatch, "--pairs", pairs, "--model", MINILM, *words)
    errors = capsys.readouterr().err
    assert code == 2
    assert expected in errors
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_holds_and_options_go_before_it(preset):
    settings = mine_settings(preset, {"encoder": {"model": MINILM}, "select": {"negatives": 4}})
    assert settings.select.negatives == 4
    assert list(settings.select.rank_window) == PRESETS[preset]["select"]["rank_window"]
    with pytest.raises(UserError, match="negatives"):
        mine_settings(preset, {"encoder": {"model": MINILM}, "select": {"negatives": 0}})
