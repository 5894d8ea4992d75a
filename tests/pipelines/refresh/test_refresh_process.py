"""`pairmill refresh` as a user starts it: processes, kills, exit codes, JSON lines."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipelines.refresh import history
from pipelines.run_folder import RunFolder
from tests.pipelines.refresh.refreshed_runs import small_recipe, write_rows

HEAVY = {"torch", "apache_beam", "numba", "scipy", "transformers", "tokenizers", "datasets", "pandas", "sklearn"}
REFRESH = [sys.executable, "-m", "pipelines.command_line", "refresh"]


@pytest.fixture
def recipe(tmp_path) -> Path:
    write_rows(tmp_path / "corpus/a.jsonl", range(40))
    file = tmp_path / "r.yaml"
    content = small_recipe(tmp_path / "corpus", "no-model", "filter").model_dump(mode="json", exclude_none=True)
    file.write_text(yaml.safe_dump({key: content[key] for key in ("name", "sources")} | {"filter": {"preset": "none"}}))
    return file


def finished(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([*REFRESH, *words], capture_output=True, text=True, timeout=280, check=False)


def lines(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_refresh_killed_at_any_point_is_gone_on_with_by_the_same_command(recipe, tmp_path):
    run = tmp_path / "run"
    words = [str(recipe), "--run-folder", str(run), "--log-json"]
    for until in ("extract/_parts", "filter"):  # in the middle of the first job; while the second one runs
        process = subprocess.Popen([*REFRESH, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while not (run / until).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    done = finished(*words)
    assert done.returncode == 0, done.stderr
    told = lines(done.stdout)
    assert told[0]["event"] == "changes" and told[0]["changes"][0]["new"] == 1
    assert (told[-1]["event"], told[-1]["outcome"], told[-1]["number"]) == ("refreshed", "data_only", 1)
    again = lines(finished(*words).stdout)
    assert {line["event"] for line in again} == {"changes", "skipped", "refreshed"}
    assert again[-1]["outcome"] == "nothing_new"
    assert len(history.read_all(RunFolder(str(run)))) == 2


def test_a_mistake_ends_with_code_2_and_names_the_remedy(recipe, tmp_path):
    (tmp_path / "corpus/a.jsonl").unlink()
    done = finished(str(recipe), "--run-folder", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "no file matches" in done.stderr
    assert finished(str(recipe), "--set", "refresh.gate.sets=none").returncode == 2


def test_a_refresh_with_nothing_new_loads_neither_torch_nor_beam(recipe, tmp_path):
    words = ["refresh", str(recipe), "--run-folder", str(tmp_path / "run")]
    assert finished(*words[1:]).returncode == 0
    look = "import sys; from pipelines.command_line import app; app(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look, *words], capture_output=True, text=True, timeout=280, check=True)
    assert "Nothing is new" in done.stdout
    assert not HEAVY & set(done.stdout.split())


def test_a_refresh_with_nothing_new_of_a_recipe_with_every_job_loads_nothing_heavy(tmp_path):
    code = "import sys; from tests.pipelines.refresh import jobs_by_name as of; of.{}(sys.argv[1]); print(*sys.modules)"
    root = Path(__file__).parents[3]
    for which in ("refresh_first", "refresh_again"):
        words = [sys.executable, "-c", code.format(which), str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False, cwd=root)
        assert done.returncode == 0, done.stderr
    assert "Nothing is new" in done.stdout
    assert not HEAVY & set(done.stdout.split())
