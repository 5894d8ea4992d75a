"""A run folder whose corpus changed ends with the bytes of a run from scratch, at the cost of what changed."""

import json
import shutil
import subprocess
import sys
from collections import Counter

import pytest
import yaml

from pipelines.manifest import read_manifest
from pipelines.shards import read_batches
from tests.pipelines.conftest import recipe_content, write_corpus

JOBS = ("extract", "filter", "dedup", "score", "mine", "pack")


ONE_PROCESS = """
import sys
from pipelines.job_process import execute
from pipelines.run_folder import RunFolder

for job in sys.argv[3:]:
    execute(sys.argv[1], RunFolder(sys.argv[2]), job)
"""


KILLED_WHILE_MINING = """
from pipelines.job import Job

run_tasks = Job.run_tasks

def until_pairs(job, tasks, write, **options):
    if job.name == "mine" and not tasks[0].name.startswith("encode-"):
        raise SystemExit(0)
    return run_tasks(job, tasks, write, **options)

Job.run_tasks = until_pairs
"""


def run(recipe, folder, jobs=JOBS, first=""):
    """All jobs in one process: starting one takes longer than the work."""
    command = [sys.executable, "-c", first + ONE_PROCESS, str(recipe), str(folder), *jobs]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


def hashes(folder):
    return {f"{job}/{file.path}": file.sha256 for job in JOBS for file in read_manifest(str(folder / job)).files}


def parts(folder, job):
    return {path.stem: json.loads(path.read_text()) for path in sorted((folder / job / "_parts").glob("*.json"))}


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory, tiny_model):
    """A run over five files; one goes, one comes first, one gets a row, and a row of another comes a second time: the run
    folder before and after a second run, and a run from scratch."""
    folder = tmp_path_factory.mktemp("refreshed")
    recipe = written_recipe(folder, tiny_model, JOBS)
    run(recipe, folder / "run")
    shutil.copytree(folder / "run", folder / "before")
    change(folder)
    run(recipe, folder / "run")
    run(recipe, folder / "scratch")
    return folder


def written_recipe(folder, model, jobs, **mine):
    write_corpus(folder / "corpus", files=6, documents=30)
    shutil.move(folder / "corpus" / "part-0.jsonl", folder / "later.jsonl")
    content = recipe_content(folder / "corpus", model)
    content["mine"]["select"]["rank_window"] = [0, 10]
    content["mine"] |= mine
    recipe = folder / "tiny.yaml"
    recipe.write_text(
        yaml.safe_dump({key: content[key] for key in content if key in ("name", "seed", "sources", *jobs)})
    )
    return recipe


def change(folder):
    corpus = folder / "corpus"
    (corpus / "part-5.jsonl").unlink()
    shutil.move(folder / "later.jsonl", corpus / "part-0.jsonl")
    lines = (corpus / "part-2.jsonl").read_text().splitlines()
    with (corpus / "part-3.jsonl").open("a") as stream:
        stream.write(lines[4] + "\n" + json.dumps({"title": "The new bridge", "body": "winter " * 30, "id": "doc-new"}))


def test_all_shards_are_those_of_a_run_from_scratch(refreshed):
    assert hashes(refreshed / "run") == hashes(refreshed / "scratch")
    assert hashes(refreshed / "before") != hashes(refreshed / "run")


def test_manifests_tell_the_same_counts(refreshed):
    for job in JOBS:
        found, wanted = (read_manifest(str(refreshed / name / job)) for name in ("run", "scratch"))
        assert found.details == wanted.details
        assert (found.rows_in, found.rows_out, found.dropped) == (wanted.rows_in, wanted.rows_out, wanted.dropped)


def test_only_queries_that_are_new_or_lost_neighbours_are_searched_in_full(refreshed):
    searched = {
        name: sum(part["details"].get("searched_in_full", 0) for part in parts(refreshed / name, "mine").values())
        for name in ("run", "scratch")
    }
    assert searched["scratch"] > 300
    assert searched["run"] < searched["scratch"] / 2


def test_a_shard_that_dedup_would_write_again_is_left_alone(refreshed):
    then, now = (parts(refreshed / name, "dedup") for name in ("before", "run"))
    began = (refreshed / "run" / "extract" / "_MANIFEST.json").stat().st_mtime
    for task, part in now.items():
        unchanged = task in then and then[task]["details"]["written_from"] == part["details"]["written_from"]
        for file in part["files"]:
            written = (refreshed / "run" / "dedup" / file["path"]).stat().st_mtime
            assert (written < began) == unchanged


def test_neighbours_of_the_last_run_alone_are_kept(refreshed):
    folder = refreshed / "run" / "mine" / "_neighbours"
    current = json.loads((folder / "current.json").read_text())["generation"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(["current.json", current])


def negatives(folder):
    """The texts of each pair's positive and negatives."""
    of = {
        role: [file.path for file in read_manifest(str(folder / job)).files_of(role)]
        for job, role in (("dedup", "passages"), ("mine", "mined"))
    }
    texts = [
        text
        for path in of["passages"]
        for batch in read_batches(f"{folder}/dedup/{path}")
        for text in batch["text"].to_pylist()
    ]
    return {
        row["pair_id"]: (texts[row["positive_row"]], [texts[place] for place in row["negative_rows"]])
        for path in of["mined"]
        for batch in read_batches(f"{folder}/mine/{path}")
        for row in batch.to_pylist()
    }


def test_with_affected_pairs_keep_the_negatives_that_still_hold(tmp_path, tiny_model):
    jobs = ("extract", "dedup", "mine")
    recipe = written_recipe(tmp_path, tiny_model, jobs, refresh="affected")
    then = negatives(run(recipe, tmp_path / "run", jobs))
    gone, _ = Counter(text for _, texts in then.values() for text in texts).most_common()[-1]  # of few pairs
    change(tmp_path)
    for file in (tmp_path / "corpus").iterdir():
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if gone not in line))
    now = negatives(run(recipe, tmp_path / "run", jobs))
    assert gone not in {positive for positive, _ in now.values()}
    still = [pair for pair in then if pair in now and then[pair][1] and gone not in then[pair][1]]
    same = [pair for pair in still if now[pair] == then[pair]]
    assert len(still) > 50
    assert len(same) > 0.9 * len(still)  # the others' negatives became excluded, or went with a file
    lost = [pair for pair in then if pair in now and gone in then[pair][1]]
    assert lost
    assert all(now[pair][1] for pair in lost)
    assert all(gone not in texts for _, texts in now.values())


def test_a_run_that_was_killed_before_its_manifest_leaves_what_the_next_begins_with(refreshed, tmp_path):
    folder = shutil.copytree(refreshed / "run", tmp_path / "run")
    current = folder / "mine" / "_neighbours" / "current.json"
    wanted = current.read_bytes()
    current.unlink()
    (folder / "mine" / "_MANIFEST.json").unlink()
    run(refreshed / "tiny.yaml", folder, ["mine"])
    assert current.read_bytes() == wanted
    assert hashes(folder) == hashes(refreshed / "run")


def test_a_task_that_a_finished_run_does_again_has_the_same_bytes(refreshed, tmp_path):
    """It goes on from neighbours of its own generation, which it writes anew."""
    folder = shutil.copytree(refreshed / "run", tmp_path / "run")
    (folder / "mine" / "_MANIFEST.json").unlink()
    for part in list((folder / "mine" / "_parts").glob("*.json"))[:4]:
        part.unlink()
    run(refreshed / "tiny.yaml", folder, ["mine"])
    assert hashes(folder) == hashes(refreshed / "run")


def test_a_run_that_mines_every_pair_forgets_what_was_mined_before_it_overwrites_a_shard(tmp_path, tiny_model):
    """Killed half way, it would leave rows of two runs as those of one."""
    jobs = ("extract", "dedup", "mine")
    recipe = written_recipe(tmp_path, tiny_model, jobs, refresh="affected")
    folder = run(recipe, tmp_path / "run", jobs)
    assert (folder / "mine" / "_mined.json").exists()
    recipe.write_text(recipe.read_text().replace("refresh: affected", "refresh: exact"))
    run(recipe, folder, ["mine"], KILLED_WHILE_MINING)
    assert not (folder / "mine" / "_mined.json").exists()
