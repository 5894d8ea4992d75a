"""Whole runs of a tiny recipe through the command, as a user starts them."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipelines.errors import JobFailed, UserError
from pipelines.launcher import Event, run_recipe
from pipelines.manifest import read_manifest
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import read_batches

DATA_JOBS = ("extract", "filter", "dedup", "score", "mine", "pack")


def pairmill(*words: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipelines.command_line", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, **options)


def run_here(recipe: Path, folder: Path) -> list[tuple[str, str]]:
    events: list[Event] = []
    run_recipe(load_recipe(str(recipe)), RunFolder(str(folder)), events.append)
    return [(event.job, event.kind) for event in events if event.kind in ("skipped", "finished")]


def shard_hashes(folder: Path) -> dict[str, str]:
    """sha256 of every shard and export the manifests name, checked against the files."""
    hashes = {}
    for job in DATA_JOBS:
        manifest = read_manifest(str(folder / job))
        assert manifest is not None, job
        for file in manifest.files:
            content = (folder / job / file.path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == file.sha256
            hashes[f"{job}/{file.path}"] = file.sha256
    return hashes


def rows_of(folder: Path, job: str, role: str) -> list[dict]:
    manifest = read_manifest(str(folder / job))
    return [
        row
        for file in manifest.files_of(role)
        for batch in read_batches(str(folder / job / file.path))
        for row in batch.to_pylist()
    ]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory, tiny_model):
    """One run of every job, and its recipe file."""
    from tests.pipelines.conftest import recipe_content, write_corpus

    folder = tmp_path_factory.mktemp("finished")
    write_corpus(folder / "corpus")
    recipe = folder / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(recipe_content(folder / "corpus", tiny_model)))
    result = pairmill("run", str(recipe), "--run-folder", str(folder / "run"))
    assert result.returncode == 0, result.stderr
    return recipe, folder / "run", result.stdout


def test_a_run_ends_with_funnel_metrics_and_report(finished_run):
    _, folder, output = finished_run
    assert "Funnel" in output and "Evaluation" in output and "report/index.html" in output
    models = {row["model"] for row in json.loads((folder / "evaluate" / "metrics.json").read_text())}
    assert models == {"trained", "untrained", "bm25"}
    assert (folder / "train" / "model" / "model.safetensors").exists()
    assert "<html" in (folder / "report" / "index.html").read_text()[:500]


def test_rows_add_up_from_job_to_job(finished_run):
    _, folder, _ = finished_run
    manifests = [read_manifest(str(folder / job)) for job in DATA_JOBS]
    for manifest in manifests:
        assert manifest.rows_in == manifest.rows_out + sum(manifest.dropped.values())
    extract, filtered, dedup, score = manifests[:4]
    assert (filtered.rows_in, dedup.rows_in, score.rows_in) == (extract.rows_out, filtered.rows_out, dedup.rows_out)
    # Two files of 12 documents with 3 parts, one repeated row and one row without a body each.
    assert extract.rows_in == 2 * (36 + 2)
    assert extract.dropped == {"empty_positive": 2}
    assert dedup.dropped["duplicate_pair"] == 2


def test_held_out_and_training_documents_share_nothing(finished_run):
    _, folder, _ = finished_run
    training, held_out = rows_of(folder, "dedup", "pairs"), rows_of(folder, "dedup", "held_out")
    assert held_out
    for column in ("document_id", "query", "positive"):
        assert not {row[column] for row in training} & {row[column] for row in held_out}
    corpus = (folder / "pack" / "evaluation" / "held_out" / "corpus.jsonl").read_text().splitlines()
    assert {json.loads(line)["text"] for line in corpus} == {row["positive"] for row in held_out}


def test_clusters_go_from_dedup_to_the_packed_shards(finished_run):
    _, folder, _ = finished_run
    clusters = {row["pair_id"]: row["query_cluster_id"] for row in rows_of(folder, "dedup", "pairs")}
    assert None not in clusters.values()
    packed = rows_of(folder, "pack", "pairs")
    assert packed
    assert all(row["query_cluster_id"] == clusters[row["pair_id"]] for row in packed)
    of_passage = {row["passage_id"]: row["cluster_id"] for row in rows_of(folder, "dedup", "passages")}
    assert {row["passage_id"]: row["cluster_id"] for row in rows_of(folder, "pack", "passages")} == of_passage


def test_a_second_run_skips_every_job(finished_run):
    recipe, folder, _ = finished_run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    assert {kind for _, kind in run_here(recipe, folder)} == {"skipped"}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == before


def test_a_run_that_is_up_to_date_imports_neither_beam_nor_torch(finished_run):
    recipe, folder, _ = finished_run
    code = (
        "import sys\nfrom pipelines.recipe import load_recipe\nfrom pipelines.launcher import run_recipe\n"
        "from pipelines.run_folder import RunFolder\n"
        f"run_recipe(load_recipe({str(recipe)!r}), RunFolder({str(folder)!r}), lambda event: None)\n"
        "print(sorted({'apache_beam', 'torch', 'transformers', 'datasets', 'numba'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert result.stdout.strip() == "[]"


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys\nsys.argv = ['pairmill', '--help']\nfrom pipelines.command_line import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'apache_beam', 'torch', 'datasets', 'pyarrow', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip().endswith("[]")


def test_the_same_recipe_gives_the_same_bytes_from_scratch_in_worker_processes(finished_run, tmp_path):
    recipe, folder, _ = finished_run
    options = ("--mode", "multi_processing", "--workers", "2")
    result = pairmill("run", str(recipe), "--run-folder", str(tmp_path / "again"), *options)
    assert result.returncode == 0, result.stderr
    assert shard_hashes(tmp_path / "again") == shard_hashes(folder)


def test_another_runner_gives_the_same_bytes_with_its_own_shuffle(finished_run, tmp_path):
    """Beam's portable runner on its own job server: the exchanges go through its GroupByKey, not through files."""
    recipe, folder, _ = finished_run
    content = yaml.safe_load(recipe.read_text())
    data_jobs = {key: content[key] for key in ("name", "seed", "sources", "filter", "dedup")}
    short = tmp_path / "short.yaml"
    short.write_text(yaml.safe_dump(data_jobs))
    options = ("--runner", "PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")
    result = pairmill("run", str(short), "--run-folder", str(tmp_path / "run"), *options)
    assert result.returncode == 0, result.stderr
    for job in ("extract", "filter", "dedup"):
        files = [
            {file.path: file.sha256 for file in read_manifest(str(run / job)).files}
            for run in (folder, tmp_path / "run")
        ]
        assert files[0] == files[1]


def test_a_run_killed_at_three_moments_ends_with_the_same_bytes(finished_run, tmp_path):
    recipe, folder, _ = finished_run
    again = tmp_path / "killed"
    command = [sys.executable, "-m", "pipelines.command_line", "run", str(recipe), "--run-folder", str(again)]
    moments = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID", "0"))
    for job in ("filter", "score", "train"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (again / "logs" / f"{job}.log").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr
    assert shard_hashes(again) == shard_hashes(folder)
    weights = [(run / "train" / "model" / "model.safetensors").read_bytes() for run in (folder, again)]
    assert weights[0] == weights[1]
    assert not [path for path in again.rglob("*") if ".tmp-" in path.name]


def test_another_threshold_decides_again_without_measuring(finished_run, tmp_path):
    recipe, _, _ = finished_run
    content = yaml.safe_load(recipe.read_text())
    changed = {key: content[key] for key in ("name", "seed", "sources")}
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(yaml.safe_dump(changed | {"filter": {"preset": "none", "min_query_characters": 2}}))
    second.write_text(yaml.safe_dump(changed | {"filter": {"preset": "none", "min_query_characters": 35}}))
    run = tmp_path / "run"
    run_here(first, run)
    measured = {path: path.stat().st_mtime_ns for path in (run / "filter" / "measurements").iterdir()}
    events = run_here(second, run)
    assert ("extract", "skipped") in events and ("filter", "finished") in events
    assert {path: path.stat().st_mtime_ns for path in (run / "filter" / "measurements").iterdir()} == measured
    kept = rows_of(run, "filter", "pairs")
    assert kept and all(len(row["query"]) >= 35 for row in kept)
    dropped = rows_of(run, "filter", "rejects")
    assert {row["reason"] for row in dropped} == {"query_too_short"}
    assert all(len(row["query"]) < 35 for row in dropped)


def test_a_record_does_not_outlive_the_shard_it_describes(tiny_recipe, tmp_path, monkeypatch):
    """Settings A, then B killed between its shard and its record, then A again."""
    only = {"dedup": None, "score": None, "mine": None, "pack": None, "train": None, "evaluate": None}
    run = tmp_path / "run"
    recipe = tiny_recipe(**only, filter={"preset": "none", "min_query_characters": 2})
    run_here(recipe, run)
    expected = rows_of(run, "filter", "pairs")
    killed = tiny_recipe(**only, filter={"preset": "none", "min_query_characters": 35})
    hang = tmp_path / "sitecustomize.py"
    hang.write_text(
        "import sys\nif 'pipelines.job_process' in ' '.join(sys.orig_argv) and 'filter' in sys.orig_argv:\n"
        "    import pipelines.jobs.filter as job\n    import os\n"
        "    job.commit_part = lambda *args, **kwargs: os._exit(9)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(JobFailed):
        run_here(killed, run)
    monkeypatch.delenv("PYTHONPATH")
    run_here(tiny_recipe(**only, filter={"preset": "none", "min_query_characters": 2}), run)
    assert rows_of(run, "filter", "pairs") == expected


def test_a_run_works_from_a_folder_that_has_modules_of_our_names(tiny_recipe, tmp_path):
    only = {"filter": None, "dedup": None, "score": None, "mine": None, "pack": None, "train": None, "evaluate": None}
    recipe = tiny_recipe(**only)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    script = Path(sys.executable).with_name("pairmill")
    command = [str(script), "run", str(recipe), "--run-folder", "run"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr


def test_a_deleted_shard_is_made_again(tiny_recipe, tmp_path):
    only = {"filter": None, "dedup": None, "score": None, "mine": None, "pack": None, "train": None, "evaluate": None}
    recipe, run = tiny_recipe(**only), tmp_path / "run"
    run_here(recipe, run)
    shard = next((run / "extract" / "pairs").iterdir())
    content = shard.read_bytes()
    shard.unlink()
    assert ("extract", "finished") in run_here(recipe, run)
    assert shard.read_bytes() == content


def test_a_new_input_file_is_extracted_alone(tiny_recipe, tmp_path):
    recipe = tiny_recipe(filter=None, dedup=None, score=None, mine=None, pack=None, train=None, evaluate=None)
    run = tmp_path / "run"
    run_here(recipe, run)
    before = {path.name: path.stat().st_mtime_ns for path in (run / "extract" / "pairs").iterdir()}
    (tmp_path / "corpus" / "part-0a.jsonl").write_text('{"title": "A new title", "body": "A new body", "id": "new"}\n')
    run_here(recipe, run)
    after = {path.name: path.stat().st_mtime_ns for path in (run / "extract" / "pairs").iterdir()}
    assert len(after) == 3
    assert {name: time for name, time in after.items() if name in before} == before
    (tmp_path / "corpus" / "part-0a.jsonl").unlink()
    run_here(recipe, run)
    assert sorted(path.name for path in (run / "extract" / "pairs").iterdir()) == sorted(before)


def test_more_unreadable_records_than_allowed_fail_the_job_with_an_example(tiny_recipe, tmp_path):
    recipe = tiny_recipe(filter=None, dedup=None, score=None, mine=None, pack=None, train=None, evaluate=None)
    with (tmp_path / "corpus" / "part-1.jsonl").open("a") as stream:
        stream.write("{broken\n" * 40)
    with pytest.raises(JobFailed, match=r"40 of 116 records of source 'tiny'.*part-1\.jsonl, line \d+: invalid_json"):
        run_here(recipe, tmp_path / "run")
    content = yaml.safe_load(recipe.read_text()) | {"extract": {"max_quarantined_share": 0.5}}
    recipe.write_text(yaml.safe_dump(content))
    run_here(recipe, tmp_path / "run")
    assert len(rows_of(tmp_path / "run", "extract", "quarantine")) == 40
    assert read_manifest(str(tmp_path / "run" / "extract")).rows_out == 74


def test_a_job_without_a_sign_of_life_is_ended(tiny_recipe, tmp_path, monkeypatch):
    recipe = load_recipe(str(tiny_recipe(runner={"silence_seconds": 2.0})))
    hang = tmp_path / "sitecustomize.py"
    hang.write_text(
        "import sys\nif 'pipelines.job_process' in ' '.join(sys.orig_argv):\n    import time\n    time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(JobFailed, match="no sign of life for 2 s"):
        run_recipe(recipe, RunFolder(str(tmp_path / "run")), lambda event: None)
    assert time.monotonic() - started < 60


def test_a_thread_that_does_not_end_does_not_keep_a_job_that_failed(tiny_recipe, tmp_path, monkeypatch):
    recipe = load_recipe(str(tiny_recipe(runner={"silence_seconds": 60.0})))
    with (tmp_path / "corpus" / "part-1.jsonl").open("a") as stream:
        stream.write("{broken\n" * 40)
    lingers = "import sys, threading, time\nif 'pipelines.job_process' in sys.orig_argv:\n"
    lingers += "    threading.Thread(target=time.sleep, args=(600,)).start()\n"
    (tmp_path / "sitecustomize.py").write_text(lingers)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(JobFailed, match="40 of 116 records"):
        run_recipe(recipe, RunFolder(str(tmp_path / "run")), lambda event: None)
    assert time.monotonic() - started < 60


def test_a_source_without_its_file_is_the_users_mistake(tiny_recipe, tmp_path):
    recipe = tiny_recipe()
    recipe.write_text(recipe.read_text().replace("*.jsonl", "*.json"))
    with pytest.raises((UserError, ValueError), match=r"\.json"):
        run_here(recipe, tmp_path / "run")


def test_a_folder_of_evaluation_data_that_lacks_is_told_before_any_job_runs(tiny_recipe, tmp_path):
    recipe = tiny_recipe(evaluate={"data": [str(tmp_path / "beir" / "no-such-set")]})
    with pytest.raises(UserError, match=r"evaluate\.data names .*no-such-set"):
        run_here(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "extract").exists()
