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


def run(recipe, folder, jobs=JOBS):
    """All jobs in one process: starting one takes longer than the work."""
    command = [sys.executable, "-c", ONE_PROCESS, str(recipe), str(folder), *jobs]
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
    files = [refreshed / name / "dedup" / "pairs" for name in ("before", "run")]
    same = [path.name for path in files[0].iterdir() if (files[1] / path.name).exists()]
    kept = [name for name in same if (files[0] / name).read_bytes() == (files[1] / name).read_bytes()]
    now = (refreshed / "run" / "dedup" / "_MANIFEST.json").stat().st_mtime
    assert kept
    for name in kept:
        assert now - (files[1] / name).stat().st_mtime > 0.5


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
