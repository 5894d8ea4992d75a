"""A run of every data job, with questions of a scripted model: a document is taken down, and nothing holds it any more."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import UserError
from pipelines.forget.command import Choices, forget, lineage_of
from pipelines.forget.tombstones import FILE
from pipelines.forget.traces import Asked
from pipelines.forget.trained_on import hashes_of, read_trained_on, write_trained_on
from pipelines.job_process import execute
from pipelines.jobs.report import write_report
from pipelines.manifest import read_manifest
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder
from sources.schema import text_id
from tests.pipelines.forget.taken_down_runs import (
    GONE,
    document,
    hashes,
    pair,
    places_of,
    run_here,
    scripted,
    write_corpus,
    write_recipe,
)
from tests.pipelines.synthesize_runs import paragraph, rows_of
from tests.synth.scripted_server import ScriptedServer

ASKED = Asked(kind="url", name=GONE)
TEXTS = [
    GONE,
    *(paragraph("Dunmore", 1530 + part) for part in range(3)),
    *(pair(3, part)[side] for part in range(4) for side in ("q", "p")),
    *(f"the toll of {1530 + part} and of all" for part in range(3)),  # what the model said first
    *(f"Dunmore pay for with the fish toll of {1530 + part}?" for part in range(3)),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_model):
    """A folder with corpus, recipe and run, and the server that answers."""
    folder = tmp_path_factory.mktemp("taken-down")
    write_corpus(folder / "in")
    with ScriptedServer(scripted) as server:
        recipe = write_recipe(folder / "r.yaml", folder / "in", tiny_model, server.url)
        run_here(recipe, folder / "run")
        write_report(load_recipe(str(recipe)), RunFolder(str(folder / "run")))
        yield folder, server


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run, where the next run finds the same corpus."""
    shutil.copytree(finished[0] / "run", tmp_path / "run")
    return RunFolder(str(tmp_path / "run"))


def test_no_file_holds_any_of_it_and_the_next_run_gives_the_bytes_of_a_run_from_nothing(finished, run, tmp_path):
    folder, server = finished
    before = places_of(tmp_path / "run", *TEXTS)
    for kind in (
        "extract/pairs", "extract/documents", "extract/quarantine", "synthesize/_asked", "synthesize/asked", "synthesize/export",
        "dedup/", "score/", "pack/", "report/index.html",
    ):  # fmt: skip
        assert any(path.startswith(kind) for path in before), kind
    done = forget(run, [ASKED], Choices())
    assert (done.left, done.rows) == ({}, 4)
    assert done.answers >= 2  # the first try, and the second that was kept
    assert places_of(tmp_path / "run", *TEXTS) == []
    assert places_of(tmp_path / "run", pair(5, 1)["p"]) != []

    asked = {each.raw for each in server.asked}
    run_here(folder / "r.yaml", tmp_path / "run")
    assert places_of(tmp_path / "run", *TEXTS) == []
    # Another document takes its place in the sample; the answers about all others are kept.
    later = [each for each in server.asked if each.raw not in asked]
    assert len(server.asked) == len({each.raw for each in server.asked})
    assert len(later) <= 2
    (tmp_path / "fresh").mkdir()
    shutil.copy(tmp_path / "run" / FILE, tmp_path / "fresh" / FILE)
    run_here(folder / "r.yaml", tmp_path / "fresh")
    jobs = ("extract", "synthesize", "dedup", "score", "mine", "pack")
    made, anew = (hashes(tmp_path / name, *jobs) for name in ("run", "fresh"))
    # What was asked has the seconds that the server took.
    differ = {path for path in made.keys() | anew.keys() if made.get(path) != anew.get(path)}
    assert differ <= {"synthesize/asked/asked-00000.parquet"}
    assert places_of(tmp_path / "fresh", *TEXTS) == []


def test_lineage_tells_every_place(finished, run):
    found = lineage_of(run, [GONE], [], [], None, None)
    counts = {(job, what): number for job, what, number in found.counts()}
    assert counts["extract", "pairs"] == 4
    assert counts["extract", "documents"] == 1
    assert counts["synthesize", "questions"] >= 1
    # Every row that a manifest's shards have of the document, looked up row by row.
    for job in ("extract", "synthesize", "dedup", "score"):
        for role in ("pairs", "held_out", "rejects", "documents"):
            rows = [row for row in rows_of(Path(run.url), role, job) if row["document_id"] == "d3"]
            assert counts.get((job, role), 0) == len(rows), (job, role)
    own = {text_id(row["positive"]) for row in rows_of(Path(run.url), "pairs", "extract") if row["document_id"] == "d3"}
    supplied = [use for use in found.uses if use.what == "negative of"]
    passages = [row["passage_id"] for row in rows_of(Path(run.url), "passages", "pack")]
    negative_of = {
        row["pair_id"].hex()
        for row in rows_of(Path(run.url), "pairs", "pack")
        if any(passages[number] in own for number in row["negatives"])
    }
    assert {use.id for use in supplied} == negative_of
    assert negative_of  # the pair that brought a text of it


def test_a_pair_and_a_text_lead_to_their_rows(run, tmp_path):
    row = rows_of(Path(run.url), "pairs", "extract")[0]
    found = lineage_of(run, [], [], [row["pair_id"].hex()], None, None)
    assert ("extract", "pairs", 1) in found.counts()
    (tmp_path / "text.txt").write_text(f"  {row['positive']}\n")
    of_text = lineage_of(run, [], [], [], str(tmp_path / "text.txt"), None)
    assert row["pair_id"].hex() in {use.id for use in of_text.uses}
    with pytest.raises(UserError, match="32 hexadecimal digits"):
        lineage_of(run, [], [], ["17"], None, None)


def test_a_killed_take_down_is_finished_by_the_same_command(finished, run, tmp_path):
    killed = f"""
import os, signal
from pipelines import storage
from pipelines.forget.command import Choices, forget
from pipelines.forget.traces import Asked
from pipelines.run_folder import RunFolder
removed, original = 0, storage.remove
def remove(url):
    global removed
    removed += 1
    if removed == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    original(url)
storage.remove = remove
forget(RunFolder({run.url!r}), [Asked(kind="url", name={GONE!r})], Choices())
"""
    ended = subprocess.run([sys.executable, "-c", killed], capture_output=True, timeout=280, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert places_of(tmp_path / "run", *TEXTS) != []
    assert (tmp_path / "run" / FILE).exists()
    done = forget(run, [ASKED], Choices())
    assert (done.left, done.rows) == ({}, 4)
    assert places_of(tmp_path / "run", *TEXTS) == []
    whole = tmp_path / "whole"
    shutil.copytree(finished[0] / "run", whole)
    forget(RunFolder(str(whole)), [ASKED], Choices())
    assert files_below(whole) == files_below(tmp_path / "run")


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_command_tells_what_it_did_and_ends_with_1_where_something_is_left(run, tmp_path):
    (tmp_path / "run" / "notes.md").write_text(document(3)["text"])
    command = [sys.executable, "-m", "pipelines.command_line", "forget", run.url, "--url", GONE, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=os.environ)
    assert ended.returncode == 1, ended.stderr
    told = json.loads(ended.stdout)
    assert list(told["left"]) == ["notes.md"]
    assert told["extracted_rows_removed"] == 4


# Models


def test_hashes_beside_a_version_tell_what_it_was_trained_on(run, tmp_path):
    path = write_trained_on(run, tmp_path)
    assert path is not None
    again = path.read_bytes()
    write_trained_on(run, tmp_path)
    assert path.read_bytes() == again
    found = read_trained_on(str(path))
    packed = rows_of(Path(run.url), "pairs", "pack")
    assert found["pair"].tolist() == sorted(int.from_bytes(row["pair_id"][:8], "big") for row in packed)
    ids = {row["pair_id"] for row in packed}
    rows = [row for row in rows_of(Path(run.url), "pairs", "score") if row["pair_id"] in ids]
    assert set(found["url"].tolist()) == set(hashes_of("url", {row["url"] for row in rows if row["url"]}).tolist())
    documents = {(row["source"], row["document_id"]) for row in rows}
    assert set(found["document"].tolist()) == set(hashes_of("document", documents).tolist())
    assert found["passage"].dtype == np.uint64
    assert all(np.all(np.diff(each.astype(object)) > 0) for each in found.values())


@pytest.fixture
def versions(run):
    """Three promoted models, of which the first was made before the document came; and a document that trained."""
    from pipelines.refresh import versions

    trained = {row["pair_id"] for row in rows_of(Path(run.url), "pairs", "pack")}
    rows = [row for row in rows_of(Path(run.url), "pairs", "score") if row["pair_id"] in trained and row["url"]]
    model = Path(run.url) / "made"
    shutil.copytree(load_recipe(run.recipe).pack.model, model)
    weights = Path(run.url) / "made" / "config.json"
    for number in range(3):
        weights.write_text(json.dumps(json.loads(weights.read_text()) | {"_made": number}))
        versions.promote(run, model, {})
    first = Path(run.url) / "models" / "000001" / "trained_on.parquet"
    empty = pa.table({"kind": pa.array([], pa.uint8()), "hash": pa.array([], pa.uint64())})
    pa.parquet.write_table(empty, first)
    return versions, rows[0]["url"]


def test_models_are_named_before_and_after_and_removed_when_asked(run, versions):
    kept, url = versions
    named = [each["model"] for each in lineage_of(run, [url], [], [], None, None).models]
    assert named == ["models/000002", "models/000003"]
    asked = [Asked(kind="url", name=url)]
    with pytest.raises(UserError, match="Version 3 is the current model"):
        forget(run, asked, Choices(remove_models=True))
    assert not (Path(run.url) / FILE).exists()
    done = forget(run, asked, Choices())
    assert [each["model"] for each in done.models] == named
    after = lineage_of(run, [url], [], [], None, None)
    assert after.uses == []
    assert [each["model"] for each in after.models] == named
    assert after.tombstones[0]["models"] == named
    done = forget(run, asked, Choices(remove_models=True, force=True))
    assert done.removed_models == named
    assert [each.number for each in kept.all_versions(run)] == [1]
    assert kept.current(run).number == 1


def test_the_manifest_of_extract_counts_what_was_forgotten_by_language(finished, run):
    forget(run, [ASKED], Choices())
    execute(str(finished[0] / "r.yaml"), run, "extract")
    manifest = read_manifest(run.job("extract"))
    assert manifest.dropped == {"forgotten": 4}
    assert manifest.funnel["pairs"] == {"in": 96, "out": 92, "drop:forgotten": 4}
    assert manifest.languages["pairs"] == {"eng_Latn": {"in": 96, "out": 92, "drop:forgotten": 4}}
