import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from synth.answer_cache import Cache
from synth.batch_mode import BatchMode, BatchSettings
from synth.chat_request import ChatRequest, Message
from synth.client import ChatClient
from synth.client_settings import Prices
from synth.errors import BatchError, BudgetExhausted, EndpointRefusedError
from tests.synth.asking import Question, by_id, prompts, settings
from tests.synth.batch_server import BatchServer
from tests.synth.scripted_server import Good, Reset, Status

ROOT = Path(__file__).parents[2]


def echo(asked):
    return Good(f"re: {asked.prompt}")


def mode(server, folder, batches=None, **changed):
    quick = {"folder": folder / "batches", "poll_seconds": 0.01} | (batches or {})
    return BatchMode(settings(server, folder, **changed), BatchSettings(**quick))


def answers(chosen, requests):
    got = []
    chosen.run_here(lambda: iter(requests), got.append)
    return by_id(got)


def test_all_requests_go_out_in_files_and_come_back_by_their_hash(tmp_path):
    with BatchServer(echo) as server:
        chosen = mode(server, tmp_path)
        got = answers(chosen, [*prompts(25), ChatRequest.of("again", "prompt 3")])
    assert {id: answer.text for id, answer in got.items()} == {
        "again": "re: prompt 3",
        **{f"id{n}": f"re: prompt {n}" for n in range(25)},
    }
    assert server.lines_of_a_batch == [25]
    line = json.loads(server.files["file_0"].splitlines()[0])
    assert (line["method"], line["url"], line["body"]["model"]) == ("POST", "/v1/chat/completions", "m")
    assert len(line["custom_id"]) == 64
    assert not list((tmp_path / "batches").iterdir())


def test_files_keep_to_the_limits_of_requests_and_bytes(tmp_path):
    with BatchServer(echo) as server:
        answers(mode(server, tmp_path, {"most_requests": 10, "at_once": 2}), prompts(25))
        assert server.lines_of_a_batch == [10, 10, 5]
    with BatchServer(echo) as server:
        answers(mode(server, tmp_path, {"most_bytes": 1000}, model="other"), prompts(25))
        sizes = [len(server.files[batch["input_file_id"]]) for batch in server.batches.values()]
    assert max(sizes) <= 1000
    assert sum(server.lines_of_a_batch) == 25


def test_batch_and_single_requests_share_their_answers(tmp_path):
    with BatchServer(echo) as server:
        by_id(ChatClient(settings(server, tmp_path)).ask(prompts(10)))
        assert len(answers(mode(server, tmp_path), prompts(20))) == 20
        assert server.lines_of_a_batch == [10]
        by_id(ChatClient(settings(server, tmp_path)).ask(prompts(20)))
    assert server.billed == Counter({f"prompt {n}": 1 for n in range(20)})


@pytest.mark.parametrize("fault", [Status(500), Status(429), Reset()])
def test_lines_that_failed_or_are_missing_go_into_the_next_batch(tmp_path, fault):
    with BatchServer(lambda asked: fault if asked.times == 1 and asked.prompt < "prompt 3" else echo(asked)) as server:
        got = answers(mode(server, tmp_path), prompts(10))
    assert all(answer.failure is None for answer in got.values())
    assert server.lines_of_a_batch == [10, 3]
    assert set(server.billed.values()) == {1}


def test_a_line_that_is_refused_fails_alone(tmp_path):
    with BatchServer(lambda asked: Status(400, "too long") if asked.prompt == "prompt 1" else echo(asked)) as server:
        got = answers(mode(server, tmp_path), prompts(4))
    assert {id: answer.failure for id, answer in got.items()} == {
        "id0": None, "id1": "prompt_too_long", "id2": None, "id3": None
    }  # fmt: skip
    assert server.lines_of_a_batch == [4]


def test_an_unreadable_answer_is_asked_for_again_in_the_next_batch(tmp_path):
    with BatchServer(lambda asked: Good("hm" if asked.times == 1 else '{"question": "q"}')) as server:
        got = answers(mode(server, tmp_path), [ChatRequest("a", (Message("user", "ask"),), Question)])
    assert got["a"].value == Question(question="q")
    assert server.lines_of_a_batch == [1, 1]


def test_passing_faults_of_the_api_are_outlived_and_no_batch_is_made_twice(tmp_path):
    met = set()

    def upset(asked):
        call = (asked.method, asked.path.split("?")[0])
        return None if call in met else met.add(call) or Status(502)

    with BatchServer(echo, upset) as server:
        got = answers(mode(server, tmp_path), prompts(5))
    assert len(got) == 5
    assert server.lines_of_a_batch == [5]  # the first POST made it, though its reply was a 502


def test_a_batch_that_does_not_pass_validation_is_told(tmp_path):
    with BatchServer(echo) as server:
        server.fails = "the enqueued token limit is reached"
        with pytest.raises(BatchError, match="enqueued token limit"):
            answers(mode(server, tmp_path), prompts(5))
        server.fails = ""
        assert len(answers(mode(server, tmp_path), prompts(5))) == 5


def test_a_refused_key_is_one_clear_error(tmp_path):
    with (
        BatchServer(echo, lambda asked: Status(401)) as server,
        pytest.raises(EndpointRefusedError, match="refuses the key"),
    ):
        answers(mode(server, tmp_path), prompts(5))


def test_the_price_of_a_batch_is_a_share_and_the_budget_holds(tmp_path):
    prices = Prices(input=1_000_000, output=1_000_000, batch_share=0.5)  # an answer costs 15 / 2
    with BatchServer(echo) as server:
        chosen = mode(server, tmp_path, prices=prices, budget=90, max_output_tokens=10)
        got = []
        with pytest.raises(BudgetExhausted):
            chosen.run_here(lambda: prompts(40), got.append)
        spent = ChatClient(chosen.settings).spent()
    assert spent.money == 7.5 * len(got)
    assert 90 - spent.money < 17 / 2
    assert chosen.report.not_sent == 40 - len(got)


def test_requests_in_a_batch_are_not_sent_singly_meanwhile(tmp_path):
    with BatchServer(echo) as server:
        server.looks = 10**9
        chosen = mode(server, tmp_path)
        child = start(server, tmp_path)
        wait_for(lambda: server.batches)
        time.sleep(0.2)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        got = by_id(ChatClient(chosen.settings).ask(prompts(30)))
        assert {answer.failure for answer in got.values()} == {"in_batch"}
        server.looks = 1
        assert all(answer.failure is None for answer in answers(chosen, prompts(30)).values())
    assert server.lines_of_a_batch == [30]


CHILD = """
import sys
from pathlib import Path
from synth.batch_mode import BatchMode, BatchSettings
from synth.client_settings import ClientSettings
from tests.synth.asking import prompts

url, folder = sys.argv[1], Path(sys.argv[2])
settings = ClientSettings(base_url=url, model="m", key_variable=None, answers=folder / "answers.sqlite")
batches = BatchSettings(folder=folder / "batches", poll_seconds=0.01, most_requests=int(sys.argv[3]))
mode = BatchMode(settings, batches)
mode.run_here(lambda: prompts(30), lambda answer: print(answer.id))
"""


def start(server, folder, most_requests=100):
    command = [sys.executable, "-c", CHILD, server.url, str(folder), str(most_requests)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.parametrize("moment", ["/v1/files", "/v1/batches", "made", "looked at"])
def test_killed_at_any_moment_no_request_is_submitted_twice(tmp_path, moment):
    child = None

    def upset(asked):
        """Kills the client while the server holds back its reply."""
        nonlocal child
        here = asked.method == "POST" and asked.path == moment
        here |= moment == "made" and bool(server.batches)
        here |= moment == "looked at" and asked.path.startswith("/v1/batches/")
        if here and child is not None:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            child = None

    with BatchServer(echo, upset) as server:
        child = start(server, tmp_path)
        wait_for(lambda: child is None)
        second = start(server, tmp_path)
        out, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert Counter(out.split()) == Counter({f"id{n}": 1 for n in range(30)})
    assert server.billed == Counter({f"prompt {n}": 1 for n in range(30)})


def test_a_file_that_was_not_finished_costs_nothing(tmp_path):
    def broken_off():
        yield from prompts(20)
        raise RuntimeError("the source ends here")

    with BatchServer(echo) as server:
        chosen = mode(server, tmp_path, {"most_requests": 50}, budget_tokens=20 * 600)
        with pytest.raises(RuntimeError, match="the source ends here"):
            chosen.run_here(broken_off, print)
        assert len(answers(chosen, prompts(20))) == 20
    assert ChatClient(chosen.settings).spent().lost == 0
    assert server.lines_of_a_batch == [20]


def test_equal_requests_are_one_line_of_a_batch(tmp_path):
    requests = [ChatRequest.of(f"id{number}", f"prompt {number % 3}") for number in range(1100)]
    with BatchServer(echo) as server:
        found = answers(mode(server, tmp_path), requests)
    assert {id: answer.text for id, answer in found.items()} == {f"id{n}": f"re: prompt {n % 3}" for n in range(1100)}
    assert server.lines_of_a_batch == [3]


def test_two_processes_do_not_submit_the_same_file(tmp_path):
    with BatchServer(echo) as server:
        server.looks = 10**9
        child = start(server, tmp_path)
        wait_for(lambda: server.batches)
        with pytest.raises(BatchError, match="Another process works on the batches"):
            answers(mode(server, tmp_path), prompts(30))
        child.kill()
        child.communicate()


def test_a_lower_number_of_batches_at_once_holds_for_those_of_an_earlier_run_too(tmp_path):
    with BatchServer(echo) as server:
        server.looks = 10**9
        child = start(server, tmp_path, most_requests=2)
        wait_for(lambda: len(server.batches) == 4)
        time.sleep(0.2)
        child.kill()
        child.communicate()
        chosen = mode(server, tmp_path, {"at_once": 1, "most_requests": 2, "poll_seconds": 60.0})

        before = len(server.asked)

        async def until_it_looks():
            run = asyncio.create_task(chosen.run(lambda: prompts(30), print))
            while not any(asked.path.startswith("/v1/batches/") for asked in server.asked[before:]):
                await asyncio.sleep(0.01)
            run.cancel()
            await asyncio.wait({run})

        asyncio.run(until_it_looks())
        assert len(server.batches) == 4


@pytest.mark.parametrize("status", ["200", "five hundred", None, 1e999, [500]])
def test_a_status_of_any_kind_is_read_or_passed_over(tmp_path, status):
    with BatchServer(echo) as server:
        chosen = mode(server, tmp_path)
        assert len(answers(chosen, prompts(1))) == 1
        line = json.dumps({"custom_id": "k", "response": {"status_code": status, "body": None}})
        with closing(Cache(chosen.settings.answers)) as chosen._cache:
            assert chosen._read_line(line.encode()) == []
    assert chosen.report.faults.total() == 1
