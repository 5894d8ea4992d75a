"""What the rounds call broken, missed or untried: a round that checks nothing must not pass for one that found nothing."""

from pathlib import Path

from tests.chaos.__main__ import tables, untried
from tests.chaos.rounds import Bench, Round, Torn, torn_file
from tests.chaos.same_bytes import differences, leftovers
from tests.chaos.world import World

RECIPE = "name: chaos\nsources: [{source: jsonl, paths: [none.jsonl]}]\nfilter: {preset: none}\n"


def _bench(folder: Path, **reference: object) -> Bench:
    return Bench(World(folder / "world"), folder, (), lambda told: None, dict(reference))


def test_a_file_that_is_lost_is_seen_in_a_run_of_the_first_jobs_too(tmp_path):
    reference = {"extract: rows_out": 3, "extract/pairs/a.parquet": "sum", "filter/pairs/b.parquet": "sum"}
    reference |= {"evaluate/metrics.queries.parquet": "sum", "train: fingerprint": "f"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(RECIPE)
    expected = _bench(tmp_path, **reference).expected(tmp_path / "run")
    found = {"extract: rows_out": 3, "filter/pairs/b.parquet": "sum"}
    assert differences(expected, found) == ["extract/pairs/a.parquet"]


def test_a_file_to_be_cut_that_is_not_there_is_a_broken_round(tmp_path):
    (tmp_path / "undisturbed" / "extract").mkdir(parents=True)
    done = torn_file(_bench(tmp_path), Torn("extract", "renamed/*.parquet", 0.5))
    assert done.wrong and not done.struck


def test_half_files_and_half_folders_are_left_over(tmp_path):
    half = ["_exchange", ".a.parquet.tmp-1", "mined_before.new", "model.partial", "model.replaced"]
    (tmp_path / "job").mkdir()
    for name in (*half, "fine.parquet"):
        (tmp_path / "job" / name).touch()
    assert leftovers(tmp_path) == sorted(f"job/{name}" for name in half)


def test_kills_that_came_too_late_are_no_disturbances():
    rounds = [
        Round("kill", "job", "train", "told"),
        Round("kill", "nothing", "train", "had ended before"),
        Round("fault", "eio, call 3", "extract", "not reached"),
        Round("end", "in_memory", "", "3 answers"),
    ]
    first = tables(rounds, seed=1).splitlines()[0]
    assert "1 disturbances (2 more were drawn and met nothing)" in first
    assert untried(rounds) == ["fault"]
    assert "NOT TRIED: no fault struck" in tables(rounds, seed=1)
