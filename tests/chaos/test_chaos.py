"""The short form of `make chaos`: a recipe of four jobs, killed and under faults of its file system."""

import os
import random

import pytest

from tests.chaos.faulty_files import Fault, NoCompilerError, compile_library
from tests.chaos.rounds import TORN, Bench, faulty_job, killed_run, torn_file
from tests.chaos.world import World


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    folder = tmp_path_factory.mktemp("chaos")
    world = World(folder / "world", files=5, rows=12, documents=30, questions=16)
    return Bench(world, folder, ("synthesize", "dedup"), lambda told: None).prepare()


def test_a_run_killed_at_four_moments_ends_with_the_same_bytes_and_pays_for_no_answer_twice(bench):
    chosen = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID", "0"))
    targets = ["extract", "synthesize", "synthesize", "dedup"]
    rounds = killed_run(bench, "killed", targets, chosen.randrange(1 << 30), mode="in_memory", keys=True)
    assert [each for each in rounds if each.wrong] == []
    assert rounds[0].struck, "extract comes first: it can't have ended before"
    assert {each.outcome for each in rounds[:-1]} <= {"killed", "told", "had ended before", "went on"}


@pytest.mark.parametrize(
    ("job", "fault"),
    [
        ("extract", Fault("enospc", 20, calls=0)),
        ("dedup", Fault("eio", 9)),
        ("synthesize", Fault("partial", 1, calls=0)),
    ],
)
def test_a_job_under_faults_of_its_disk_is_told_and_done_by_the_next_run(bench, tmp_path, job, fault):
    try:
        library = compile_library(tmp_path)
    except NoCompilerError as error:
        pytest.skip(str(error))
    done = faulty_job(bench, job, fault, library)
    assert done.wrong == ()
    assert done.outcome in ("went on", "told")
    if fault.kind == "enospc":
        assert done.outcome == "told"
        assert "make room" in done.message


def test_a_record_that_a_crash_cut_short_is_made_again(bench):
    torn = next(each for each in TORN if each.job == "extract" and each.pattern == "_parts/*.json")
    done = torn_file(bench, torn)
    assert (done.outcome, done.wrong) == ("made again", ())
