import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipelines import command_line
from tests.pipelines.conftest import write_corpus
from tests.pipelines.test_runs import pairmill

SCHEDULE = ("schedule", "recipes/refresh.yaml", "--cron", "0 3 * * 1")


def run_main(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["pairmill", *words])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    output = capsys.readouterr()
    return int(ended.value.code or 0), output.out, output.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "no-such.yaml"), "no recipe at no-such.yaml"),
        (("preview", "jsonl", "no-such.jsonl"), "no-such.jsonl"),
        (("preview", "wikipeda", "x"), "wikipedia"),
        (("status", "no-such-run"), "no run at no-such-run"),
        (("run", "recipes/demo.yaml", "--runner", "DirectRunner"), "refused"),
        (("run", "recipes/demo.yaml", "--mode", "multi_threading"), "12-13 %"),
        (("run", "recipes/demo.yaml", "--set", "train.stepz=3"), "did you mean `steps`"),
        (("run", "recipes/demo.yaml", "--flink_master=x"), "Unknown option --flink_master=x"),
        ((*SCHEDULE, "--", "--allow-gonne"), "Unknown option --allow-gonne"),
        ((*SCHEDULE, "--", "--set", "train.stepz=3"), "did you mean `steps`"),
    ],
)
def test_the_users_mistakes_end_with_code_2_and_one_paragraph(monkeypatch, capsys, words, expected):
    code, _, errors = run_main(monkeypatch, capsys, *words)
    assert code == 2
    assert expected in errors
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1


def test_debug_shows_the_traceback():
    result = pairmill("--debug", "run", "no-such.yaml")
    assert "Traceback" in result.stderr


def test_every_command_has_help_that_teaches():
    for command in command_line.app.registered_commands:
        name = command.name or command.callback.__name__
        result = CliRunner().invoke(command_line.app, [name, "--help"])
        assert result.exit_code == 0
        assert len(result.output) > 300, name


def test_preview_shows_pairs_as_a_table_and_as_json(monkeypatch, capsys, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"t": "[red]title[/]", "b": "body"}\n{"t": "x"}\n')
    words = ("preview", "jsonl", str(file), "--set", "query=t", "--set", "positive=b")
    code, table, _ = run_main(monkeypatch, capsys, *words)
    assert code == 0
    assert "[red]title[/]" in table and "missing_field" in table
    _, lines, _ = run_main(monkeypatch, capsys, *words, "--json")
    assert [json.loads(line)["positive"] for line in lines.splitlines()] == ["body"]


def test_filter_alone_on_plain_files_writes_the_kept_rows_and_the_counts(tmp_path):
    rows = [{"query": "A good question about rivers", "positive": "Rivers flow from the mountains to the sea."}]
    rows += [{"query": "?", "positive": "Something quite long enough to stay here."}]
    source, output, counts = tmp_path / "pairs.jsonl", tmp_path / "kept.jsonl", tmp_path / "counts.json"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = pairmill("filter", "--input", str(source), "--output", str(output), "--report", str(counts))
    assert result.returncode == 0, result.stderr
    assert [json.loads(line)["query"] for line in output.read_text().splitlines()] == [rows[0]["query"]]
    written = json.loads(counts.read_text())
    assert (written["rows_in"], written["rows_out"]) == (2, 1)
    assert written["dropped"] == {"query_too_short": 1}
    assert not Path(f"{output}.work").exists()


def test_dedup_alone_writes_parquet_by_the_ending(tmp_path):
    write_corpus(tmp_path / "corpus", files=1)
    fields = ("--query-field", "title", "--positive-field", "body")
    output = tmp_path / "kept.parquet"
    result = pairmill("dedup", "--input", f"{tmp_path}/corpus/*.jsonl", "--output", str(output), *fields)
    assert result.returncode == 0, result.stderr
    assert pq.read_table(output).num_rows == 36


def test_dedup_alone_drops_near_duplicates_unless_told_not_to(tmp_path):
    line = "How does one mend the copper roof of an old library in winter"
    rows = [
        {"query": line, "positive": "By soldering its seams, and not by painting it over.", "link": "https://a.org/1"},
        {"query": line.replace("mend", "mond"), "positive": "By soldering its seams, and not by pointing it over."},
        {"query": "What is a compass", "positive": "A needle that shows the north.", "link": "https://www.a.org/2"},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    off = ("--set", "near=null")
    expected = {
        (): 2,
        ("--no-near",): 3,
        off: 3,
        ("--url-field", "link", "--max-pairs-per-domain", "1", "--no-near"): 2,
    }
    for number, (options, kept) in enumerate(expected.items()):
        output = tmp_path / f"{number}.jsonl"
        result = pairmill("dedup", "--input", f"{tmp_path}/in.jsonl", "--output", str(output), *options)
        assert result.returncode == 0, result.stderr
        written = [json.loads(text) for text in output.read_text().splitlines()]
        assert len(written) == kept
        assert all(len(row["query_cluster_id"]) == 32 for row in written)
    missing = pairmill("dedup", "--input", f"{tmp_path}/in.jsonl", "--output", "x.jsonl", "--max-pairs-per-domain", "1")
    assert missing.returncode == 2
    assert "--url-field" in missing.stderr
    both = pairmill("dedup", "--input", "in.jsonl", "--output", "x.jsonl", *off, "--set", "near.queries=false")
    assert both.returncode == 2
    assert "near is set to None too" in both.stderr


def test_doctor_names_what_is_there_and_sources_lists_the_adapters(monkeypatch, capsys):
    code, output, _ = run_main(monkeypatch, capsys, "doctor")
    assert code == 0
    assert "cores" in output and "lid.176.ftz loads" in output
    code, output, _ = run_main(monkeypatch, capsys, "sources")
    assert code == 0
    for name in ("wikipedia", "gettext", "jsonl", "table"):
        assert name in output


def test_log_json_gives_one_object_a_line(tmp_path):
    write_corpus(tmp_path / "corpus", files=1)
    sets = ("--set", "query=title", "--set", "positive=body")
    result = pairmill(
        "extract", "jsonl", f"{tmp_path}/corpus/*.jsonl", "--output", str(tmp_path / "out"), "--log-json", *sets
    )
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events[0]["event"] == "started" and events[-1]["event"] == "finished"
    assert events[-1]["rows_out"] == 37
