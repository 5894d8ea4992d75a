import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from synth.chat_request import Answer, ChatRequest, Message
from synth.client import ChatClient
from synth.client_settings import ClientSettings, Prices
from synth.errors import BudgetExhausted, EndpointRefusedError, EndpointUnavailableError, KeyMissingError
from tests.synth.asking import Question, by_id, prompts, settings
from tests.synth.scripted_server import Act, Asked, Drip, Good, Raw, Reset, ScriptedServer, Status

ROOT = Path(__file__).parents[2]


def echo(asked: Asked) -> Act:
    return Good(f"re: {asked.prompt}")


def once(fault: Act) -> Callable[[Asked], Act]:
    """A script: every prompt meets the fault once and is then answered."""
    return lambda asked: fault if asked.times == 1 else echo(asked)


# Asking


def test_every_request_is_answered_once_under_its_own_id(tmp_path):
    with ScriptedServer(echo) as server:
        answers = by_id(ChatClient(settings(server, tmp_path)).ask(prompts(100)))
    assert {id: answer.text for id, answer in answers.items()} == {f"id{n}": f"re: prompt {n}" for n in range(100)}


def test_no_more_requests_are_in_flight_than_set_and_that_many_are(tmp_path):
    with ScriptedServer(echo, latency=0.02) as server:
        by_id(ChatClient(settings(server, tmp_path, in_flight=5)).ask(prompts(60)))
    assert server.most_at_once == 5


def test_the_stream_of_requests_is_read_only_as_far_ahead_as_needed(tmp_path):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield ChatRequest.of(str(read), f"prompt {read}")

    with ScriptedServer(echo) as server:
        answers = ChatClient(settings(server, tmp_path, in_flight=2)).ask(endless())
        for _ in range(20):
            next(answers)
        time.sleep(0.1)
        assert read < 20 + 30
        answers.close()
        sent = len(server.asked)
    assert sent <= read


def test_a_run_left_early_keeps_the_answers_that_were_in_flight(tmp_path):
    with ScriptedServer(echo, latency=0.05) as server:
        chosen = settings(server, tmp_path)
        answers = ChatClient(chosen).ask(prompts(40))
        next(answers)
        answers.close()
        by_id(ChatClient(chosen).ask(prompts(40)))
    assert server.delivered == Counter({f"prompt {n}": 1 for n in range(40)})


def test_requests_may_come_from_an_asynchronous_stream_and_answers_be_awaited(tmp_path):
    got = []

    async def stream():
        for request in prompts(30):
            await asyncio.sleep(0.001)
            yield request

    async def keep(answer):
        await asyncio.sleep(0)
        got.append(answer)

    with ScriptedServer(echo) as server:
        report = asyncio.run(ChatClient(settings(server, tmp_path)).ask_all(stream(), keep))
    assert set(by_id(got)) == {f"id{n}" for n in range(30)}
    assert (report.requests, report.answered, report.sent, report.not_sent) == (30, 30, 30, 0)


def test_an_error_in_the_stream_is_raised_after_what_was_asked_is_kept(tmp_path):
    def broken():
        yield from prompts(5)
        raise RuntimeError("the shard is torn")

    with ScriptedServer(echo) as server:
        chosen = settings(server, tmp_path)
        with pytest.raises(RuntimeError, match="torn"):
            list(ChatClient(chosen).ask(broken()))
        by_id(ChatClient(chosen).ask(prompts(5)))
    assert max(server.delivered.values()) == 1


def test_an_error_of_the_reader_ends_the_run_and_is_raised(tmp_path):
    def refuse(answer):
        raise RuntimeError("the disk is full")

    with ScriptedServer(echo) as server, pytest.raises(RuntimeError, match="disk is full"):
        asyncio.run(ChatClient(settings(server, tmp_path)).ask_all(prompts(500), refuse))
    assert len(server.asked) < 500


def test_parameters_and_instructions_reach_the_server(tmp_path):
    with ScriptedServer(echo) as server:
        chosen = settings(server, tmp_path, temperature=0.5, seed=7, max_output_tokens=9, extra_parameters={"top_k": 3})
        by_id(ChatClient(chosen).ask([ChatRequest.of("a", "user", system="system")]))
    assert server.asked[0].path == "/v1/chat/completions"
    assert server.asked[0].body == {
        "model": "m",
        "messages": [{"role": "system", "content": "system"}, {"role": "user", "content": "user"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 7,
        "top_k": 3,
    }


def test_a_text_that_is_no_unicode_fails_alone(tmp_path):
    with ScriptedServer(echo) as server:
        answers = by_id(ChatClient(settings(server, tmp_path)).ask([ChatRequest.of("bad", "\ud800"), *prompts(2)]))
    assert answers["bad"].failure == "invalid_text"
    assert answers["id1"].text == "re: prompt 1"


# Faults


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Status(429), "rate_limited"),
        (Status(429, headers={"Retry-After": "0.05"}), "rate_limited"),
        (Status(500), "status_500"),
        (Status(503, headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), "status_503"),
        (Status(408), "status_408"),
        (Status(409), "status_409"),
        (Reset(), "connection_broken"),
        (Status(500, headers={"X-Trace": 20_000 * "x"}), "connection_broken"),
        (Raw(b'{"choices": [{"mess', length=500), "connection_broken"),
        (Raw(b'{"choices": [{"mess'), "broken_body"),
        (Raw(b'{"object": "list"}'), "broken_body"),
        (Raw(b'{"error": {"code": 502, "message": "upstream"}}'), "status_502"),
        (Raw(b"[]"), "broken_body"),
        (Raw(b""), "broken_body"),
    ],
)
def test_a_passing_fault_is_followed_by_another_try(tmp_path, fault, reason):
    with ScriptedServer(once(fault)) as server:
        client = ChatClient(settings(server, tmp_path))
        answers = by_id(client.ask(prompts(12)))
    assert all(answer.failure is None for answer in answers.values())
    assert client.report.faults == {reason: 12}
    assert server.delivered == Counter({f"prompt {n}": 1 for n in range(12)})


def test_where_nobody_listens_nothing_counts_as_paid(tmp_path):
    with ScriptedServer(echo) as server:
        closed = settings(server, tmp_path, attempts=1, stop_after_failures=3, in_flight=1)
    client = ChatClient(closed)
    with pytest.raises(EndpointUnavailableError, match="3 requests to "):
        by_id(client.ask(prompts(9)))
    assert client.report.faults == {"no_connection": 3}
    assert client.report.lost == 0


def test_a_slow_drip_meets_the_total_time_out(tmp_path):
    with ScriptedServer(once(Drip())) as server:
        client = ChatClient(settings(server, tmp_path, total_seconds=0.3, read_seconds=5))
        assert by_id(client.ask(prompts(1)))["id0"].text == "re: prompt 0"
    assert client.report.faults == {"timeout": 1}


def test_silence_meets_the_read_time_out(tmp_path):
    with ScriptedServer(once(Drip(60))) as server:
        client = ChatClient(settings(server, tmp_path, total_seconds=30, read_seconds=0.2))
        assert by_id(client.ask(prompts(1)))["id0"].text == "re: prompt 0"
    assert client.report.faults == {"timeout": 1}


def test_retry_after_is_waited_for(tmp_path):
    with ScriptedServer(once(Status(429, headers={"Retry-After": "0.4"}))) as server:
        began = time.monotonic()
        by_id(ChatClient(settings(server, tmp_path)).ask(prompts(1)))
    assert time.monotonic() - began >= 0.4


def test_when_the_server_refuses_all_for_haste_they_all_wait(tmp_path):
    opens = time.monotonic() + 0.6

    def closed_at_first(asked: Asked) -> Act:
        return echo(asked) if time.monotonic() > opens else Status(429, headers={"Retry-After": "0.6"})

    with ScriptedServer(closed_at_first) as server:
        client = ChatClient(settings(server, tmp_path, in_flight=4))
        by_id(client.ask(prompts(50)))
    assert client.report.faults["rate_limited"] <= 8  # those in flight, not all fifty


def test_bursts_of_500_are_outlived(tmp_path):
    def burst(asked: Asked) -> Act:
        return Status(500) if 5 <= asked.number < 25 else echo(asked)

    with ScriptedServer(burst) as server:
        answers = by_id(ChatClient(settings(server, tmp_path)).ask(prompts(40)))
    assert all(answer.failure is None for answer in answers.values())


def test_a_request_that_fails_for_good_is_given_up_and_the_others_go_on(tmp_path):
    def script(asked: Asked) -> Act:
        return Status(500) if asked.prompt == "prompt 3" else echo(asked)

    with ScriptedServer(script) as server:
        answers = by_id(ChatClient(settings(server, tmp_path, attempts=3)).ask(prompts(10)))
    assert {id for id, answer in answers.items() if answer.failure} == {"id3"}
    assert answers["id3"].failure == "gave_up"
    assert sum(asked.prompt == "prompt 3" for asked in server.asked) == 3


def test_a_server_that_always_fails_ends_the_run(tmp_path):
    with ScriptedServer(lambda asked: Status(500, "out of order")) as server:
        client = ChatClient(settings(server, tmp_path, attempts=2, stop_after_failures=5))
        with pytest.raises(EndpointUnavailableError, match="out of order"):
            list(client.ask(prompts(1000)))
    assert len(server.asked) < 60


def test_no_server_at_all_ends_the_run(tmp_path):
    with ScriptedServer(echo) as server:
        gone = settings(server, tmp_path, attempts=2, stop_after_failures=3)
    with pytest.raises(EndpointUnavailableError, match="Is the server up"):
        list(ChatClient(gone).ask(prompts(100)))


def test_a_wait_of_a_day_ends_the_run(tmp_path):
    with ScriptedServer(lambda asked: Status(429, headers={"Retry-After": "86400"})) as server:
        with pytest.raises(EndpointUnavailableError, match="86,400 s"):
            list(ChatClient(settings(server, tmp_path)).ask(prompts(100)))
        assert len(server.asked) <= 8


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (Status(401, "Incorrect API key provided: sk-SECRET-123"), "refuses the key"),
        (Status(403), "refuses the key"),
        (Status(404, "no such model"), "knows no model m"),
        (Status(402), "no credit"),
        (Status(429, "quota", code="insufficient_quota"), "no credit"),
    ],
)
def test_what_would_refuse_every_request_ends_the_run_with_one_error(tmp_path, status, told, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-SECRET-123")
    with ScriptedServer(lambda asked: status) as server:
        with pytest.raises(EndpointRefusedError, match=told) as raised:
            list(ChatClient(settings(server, tmp_path, key_variable="SOME_KEY")).ask(prompts(10_000)))
        assert len(server.asked) <= 8
    assert "SECRET" not in str(raised.value)
    assert raised.value.report.answered == 0


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (Status(400, "This model's maximum context length is 8192 tokens"), "prompt_too_long"),
        (Status(400, "filtered", code="content_filter"), "content_filter"),
        (Status(413), "prompt_too_long"),
        (Status(422, "what is this"), "bad_request"),
    ],
)
def test_a_prompt_that_is_refused_fails_alone_and_is_not_repeated(tmp_path, status, failure):
    with ScriptedServer(lambda asked: status if asked.prompt == "prompt 1" else echo(asked)) as server:
        answers = by_id(ChatClient(settings(server, tmp_path)).ask(prompts(4)))
    assert answers["id1"].failure == failure
    assert [answers[f"id{n}"].failure for n in (0, 2, 3)] == [None] * 3
    assert len(server.asked) == 4


# Answers


def test_an_answer_is_read_against_its_schema(tmp_path):
    with ScriptedServer(lambda asked: Good('{"question": "why?"}')) as server:
        request = ChatRequest("a", (Message("user", "ask"),), Question)
        answer = by_id(ChatClient(settings(server, tmp_path)).ask([request]))["a"]
    assert answer.value == Question(question="why?")
    sent = server.asked[0].body["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"]["required"] == ["question"]
    assert sent["schema"]["additionalProperties"] is False


def test_a_server_that_refuses_schemas_gets_them_in_words_from_then_on(tmp_path):
    def no_schema(asked: Asked) -> Act:
        return (
            Status(400, "unknown field response_format")
            if "response_format" in asked.body
            else Good('{"question": "q"}')
        )

    requests = [ChatRequest(f"{n}", (Message("user", f"ask {n}"),), Question) for n in range(20)]
    with ScriptedServer(no_schema) as server:
        chosen = settings(server, tmp_path, in_flight=1)
        answers = by_id(ChatClient(chosen).ask(requests[:10]))
        assert len(server.asked) == 11
        answers |= by_id(ChatClient(chosen).ask(requests))
        assert len(server.asked) == 21
    assert all(answer.value == Question(question="q") for answer in answers.values())
    assert '"question"' in server.asked[-1].prompt


@pytest.mark.parametrize("bad", ["", "   ", "I would rather not.", '{"answer": 1}', "[1, 2"])
def test_an_empty_or_unreadable_answer_is_asked_for_once_more(tmp_path, bad):
    with ScriptedServer(lambda asked: Good(bad if asked.times == 1 else '{"question": "q"}')) as server:
        client = ChatClient(settings(server, tmp_path, idempotency_header=None))
        request = ChatRequest("a", (Message("user", "ask"),), Question)
        assert by_id(client.ask([request]))["a"].value == Question(question="q")
        by_id(client.ask([request]))
    assert len(server.asked) == 2  # both answers are kept


def test_an_answer_that_stays_unreadable_is_told_with_its_words(tmp_path):
    with ScriptedServer(lambda asked: Good("no JSON here")) as server:
        chosen = settings(server, tmp_path, ask_again=2)
        request = ChatRequest("a", (Message("user", "ask"),), Question)
        for _ in range(2):
            answer = by_id(ChatClient(chosen).ask([request]))["a"]
    assert (answer.failure, answer.text, answer.value) == ("unreadable", "no JSON here", None)
    assert len(server.asked) == 3


@pytest.mark.parametrize("size", [200_000, 5_000_000])
def test_a_huge_answer_is_refused_and_not_paid_twice(tmp_path, size):
    with ScriptedServer(lambda asked: Good("x" * size)) as server:
        chosen = settings(server, tmp_path)
        for _ in range(2):
            answer = by_id(ChatClient(chosen).ask(prompts(1)))["id0"]
            assert (answer.failure, answer.text) == ("too_large", "")
    assert len(server.asked) == 1


def test_refusals_of_the_model_and_of_its_filter_are_told_apart(tmp_path):
    acts = {"prompt 0": Good("", refusal="I cannot"), "prompt 1": Good("half", finish_reason="content_filter")}
    with ScriptedServer(lambda asked: acts[asked.prompt]) as server:
        answers = by_id(ChatClient(settings(server, tmp_path)).ask(prompts(2)))
    assert [answers["id0"].failure, answers["id1"].failure] == ["refused", "content_filter"]


# The cache


def test_a_second_run_sends_nothing(tmp_path):
    with ScriptedServer(echo) as server:
        chosen = settings(server, tmp_path)
        first = by_id(ChatClient(chosen).ask(prompts(50)))
        client = ChatClient(chosen)
        second = by_id(client.ask(prompts(50)))
    assert {id: answer.text for id, answer in first.items()} == {id: answer.text for id, answer in second.items()}
    assert all(answer.from_cache for answer in second.values())
    assert (client.report.sent, len(server.asked)) == (0, 50)


@pytest.mark.parametrize("change", [{"model": "n"}, {"temperature": 0.3}, {"max_output_tokens": 5}, {"seed": 1}])
def test_another_model_or_parameter_is_another_request(tmp_path, change):
    with ScriptedServer(echo) as server:
        by_id(ChatClient(settings(server, tmp_path)).ask(prompts(1)))
        by_id(ChatClient(settings(server, tmp_path, **change)).ask(prompts(1)))
    assert len(server.asked) == 2


def test_limits_and_prices_do_not_change_a_request(tmp_path):
    with ScriptedServer(echo) as server:
        by_id(ChatClient(settings(server, tmp_path)).ask(prompts(1)))
        by_id(ChatClient(settings(server, tmp_path, in_flight=2, attempts=1, prices=Prices(input=1))).ask(prompts(1)))
    assert len(server.asked) == 1


def test_equal_requests_of_a_run_are_sent_once_and_all_answered(tmp_path):
    requests = [ChatRequest.of(f"id{n}", f"prompt {n % 3}") for n in range(30)]
    with ScriptedServer(echo, latency=0.02) as server:
        answers = by_id(ChatClient(settings(server, tmp_path)).ask(requests))
    assert {id: answer.text for id, answer in answers.items()} == {f"id{n}": f"re: prompt {n % 3}" for n in range(30)}
    assert len(server.asked) == 3


def test_two_runs_at_once_do_not_pay_for_the_same(tmp_path):
    async def both(chosen: ClientSettings) -> list[list]:
        lists: list[list] = [[], []]
        await asyncio.gather(*(ChatClient(chosen).ask_all(prompts(40), one.append) for one in lists))
        return lists

    with ScriptedServer(echo, latency=0.05) as server:
        lists = asyncio.run(both(settings(server, tmp_path)))
    assert [len(by_id(one)) for one in lists] == [40, 40]
    assert server.delivered == Counter({f"prompt {n}": 1 for n in range(40)})


# Budget


def until_exhausted(client: ChatClient, count: int = 40) -> tuple[list[Answer], BudgetExhausted]:
    got: list[Answer] = []
    with pytest.raises(BudgetExhausted, match="raise `budget`") as raised:
        got.extend(client.ask(prompts(count)))  # what comes before the exception stays in the list
    return got, raised.value


def test_the_budget_stops_the_run_and_a_larger_one_goes_on(tmp_path):
    prices = Prices(input=1_000_000, output=1_000_000)  # a token costs 1; an answer of the server costs 15
    with ScriptedServer(echo) as server:
        chosen = settings(server, tmp_path, prices=prices, budget=200, max_output_tokens=10)
        client = ChatClient(chosen)
        got, exhausted = until_exhausted(client)
        spent = client.spent()
        assert spent.money == 15 * len(got) <= 200
        assert spent.reserved_money == 0
        # The request after the last might have cost its 7 input tokens and 10 output tokens.
        assert 200 - spent.money < 17
        assert exhausted.report.not_sent == exhausted.report.requests - len(got)
        # The last of 40 is sent only if 17 are left.
        more = settings(server, tmp_path, prices=prices, budget=39 * 15 + 17, max_output_tokens=10)
        assert len(by_id(ChatClient(more).ask(prompts(40)))) == 40
        assert client.spent().money == 600
    assert server.delivered == Counter({f"prompt {n}": 1 for n in range(40)})


def test_known_answers_are_handed_out_when_the_budget_is_exhausted(tmp_path):
    with ScriptedServer(echo) as server:
        by_id(ChatClient(settings(server, tmp_path)).ask(prompts(30)[20:]))
        client = ChatClient(settings(server, tmp_path, budget_tokens=0))
        got, _ = until_exhausted(client, 30)
    assert set(by_id(got)) == {f"id{n}" for n in range(20, 30)}
    assert len(server.asked) == 10


def test_tokens_the_server_does_not_count_are_estimated(tmp_path):
    with ScriptedServer(lambda asked: Good("12345678", usage=None)) as server:
        client = ChatClient(settings(server, tmp_path))
        usage = by_id(client.ask([ChatRequest.of("a", "abcdefgh")]))["a"].usage
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (2 + 4, 2, True)


def test_answers_lost_on_the_way_are_charged_as_if_paid_in_full(tmp_path):
    with ScriptedServer(once(Raw(b"{"))) as server:
        client = ChatClient(settings(server, tmp_path, max_output_tokens=100))
        by_id(client.ask([ChatRequest.of("a", "abcdefgh")]))
        spent = client.spent()
    assert (spent.lost, spent.lost_tokens) == (1, 2 + 4 + 100)
    assert (spent.input_tokens, spent.output_tokens) == (10, 5)


def test_an_estimate_counts_what_would_be_sent_and_sends_nothing(tmp_path):
    with ScriptedServer(echo) as server:
        chosen = settings(
            server, tmp_path, prices=Prices(input=2, output=4), budget=9, max_output_tokens=100, requests_per_minute=60
        )
        by_id(ChatClient(settings(server, tmp_path, max_output_tokens=100)).ask(prompts(3)))
        estimate = ChatClient(chosen, count_tokens=lambda text: len(text.split())).estimate([*prompts(10), *prompts(5)])
    assert len(server.asked) == 3
    assert (estimate.requests, estimate.from_cache, estimate.duplicates, estimate.calls) == (15, 3, 5, 7)
    assert (estimate.input_tokens, estimate.output_tokens_at_most) == (7 * (2 + 4), 700)
    assert estimate.money_at_most == pytest.approx((42 * 2 + 700 * 4) / 1e6)
    assert estimate.money_left == 9
    assert estimate.hours == pytest.approx(7 / 60 / 60)
    assert not estimate.tokens_are_estimated


# The key


def test_the_key_is_sent_and_found_nowhere_else(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SOME_KEY", "sk-SECRET-123")
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(
        lambda asked: Status(400, "bad key sk-SECRET-123 said") if asked.times == 1 else echo(asked)
    ) as server:
        chosen = settings(server, tmp_path, key_variable="SOME_KEY")
        client = ChatClient(chosen)
        answers = list(client.ask(prompts(3)))
        answers += client.ask(prompts(3))
        assert server.asked[0].headers["authorization"] == "Bearer sk-SECRET-123"
    told = [repr(answers), repr(client.report), repr(chosen), chosen.model_dump_json(), caplog.text, repr(vars(client))]
    assert not any("SECRET" in words for words in told)
    assert not any(b"SECRET" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_missing_key_is_told_by_the_name_of_its_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    with ScriptedServer(echo) as server:
        with pytest.raises(KeyMissingError, match="SOME_KEY is not set"):
            list(ChatClient(settings(server, tmp_path, key_variable="SOME_KEY")).ask(prompts(1)))
        monkeypatch.setenv("SOME_KEY", "sk SECRET")
        with pytest.raises(KeyMissingError) as raised:
            list(ChatClient(settings(server, tmp_path, key_variable="SOME_KEY")).ask(prompts(1)))
    assert "SECRET" not in str(raised.value)
    assert not server.asked


@pytest.mark.parametrize(
    "wrong",
    [
        {"key_variable": "sk-SECRET-123"},
        {"base_url": "https://me:SECRET@host/v1"},
        {"base_url": "https://host/v1?key=SECRET"},
        {"base_url": "host/v1/SECRET"},
    ],
)
def test_a_key_in_the_settings_is_refused_without_being_repeated(tmp_path, wrong):
    given = {"base_url": "http://host/v1", "model": "m", "answers": tmp_path / "a"} | wrong
    with pytest.raises(ValidationError) as raised:
        ClientSettings(**given)
    assert "SECRET" not in str(raised.value)


# Killed


KILLED = """
import sys
from tests.synth.asking import prompts
from synth.client import ChatClient
from synth.client_settings import ClientSettings, Prices

url, answers = sys.argv[1:]
settings = ClientSettings(base_url=url, model="m", key_variable=None, answers=answers, in_flight=8)
for answer in ChatClient(settings).ask(prompts(120)):
    print(answer.id, answer.text, sep="\\t", flush=True)
"""


def test_killed_three_times_each_prompt_is_answered_and_billed_once(tmp_path):
    handed: dict[str, str] = {}
    kills = 0
    with ScriptedServer(echo, latency=0.02) as server:
        command = [sys.executable, "-c", KILLED, server.url, str(tmp_path / "answers.sqlite")]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        while True:
            before = len(handed)
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            for line in child.stdout:
                id, text = line.rstrip("\n").split("\t")
                handed[id] = text
                if kills < 3 and len(handed) >= before + 20:
                    os.kill(child.pid, signal.SIGKILL)
                    kills += 1
                    break
            child.stdout.read()
            if child.wait() == 0:
                break
        spent = ChatClient(settings(server, tmp_path)).spent()
    assert kills == 3
    assert handed == {f"id{n}": f"re: prompt {n}" for n in range(120)}
    # What was in flight or being written is sent again, under the same idempotency key; what was written never is.
    assert server.billed == Counter({f"prompt {n}": 1 for n in range(120)})
    assert len(server.asked) <= 120 + 3 * 2 * 8
    assert spent.answers == 120
    assert spent.reserved_tokens == 0
    assert spent.lost >= len(server.asked) - 120


def test_an_answer_is_on_the_disk_before_it_is_handed_out(tmp_path):
    with ScriptedServer(echo) as server:
        chosen = settings(server, tmp_path)
        for answer in ChatClient(chosen).ask(prompts(20)):
            with sqlite3.connect(chosen.answers) as database:
                row = database.execute("SELECT text FROM answers WHERE key = ?", (answer.key,)).fetchone()
            assert row == (answer.text,)


# A server that is not to be trusted


def test_half_a_surrogate_pair_in_any_part_of_a_reply_does_not_cost_the_answers(tmp_path):
    reply = (
        b'{"model": "m\\ud800", "choices": [{"finish_reason": "s\\ud800", '
        b'"message": {"content": "yes\\ud800", "refusal": "no\\ud800"}}]}'
    )
    with ScriptedServer(lambda asked: Raw(reply)) as server:
        answers = by_id(ChatClient(settings(server, tmp_path)).ask(prompts(3)))
    assert {(answer.text, answer.detail, answer.model) for answer in answers.values()} == {("yes?", "no?", "m?")}
    assert len(server.asked) == 3


def test_a_key_that_the_server_repeats_is_not_kept(tmp_path, monkeypatch):
    key = "sk-SECRET-0123456789"
    monkeypatch.setenv("SOME_KEY", key)
    with ScriptedServer(lambda asked: Good(f"you are {key}", refusal=f"{key}, no", finish_reason=key)) as server:
        answers = list(ChatClient(settings(server, tmp_path, key_variable="SOME_KEY")).ask(prompts(1)))
    assert answers[0].text == "you are [key]"
    assert "SECRET" not in repr(answers)
    assert not any(b"SECRET" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_date_out_of_this_world_in_retry_after_is_passed_over(tmp_path):
    fault = Status(503, headers={"Retry-After": "1 Jan 99999999999999999999 00:00:00 GMT"})
    with ScriptedServer(once(fault)) as server:
        answers = by_id(ChatClient(settings(server, tmp_path)).ask(prompts(2)))
    assert all(answer.failure is None for answer in answers.values())


# Leases, reserves


def test_requests_that_wait_longer_for_their_turn_than_a_lease_lasts_are_sent_once(tmp_path):
    async def both(chosen: ClientSettings) -> list[list]:
        lists: list[list] = [[], []]
        await asyncio.gather(*(ChatClient(chosen).ask_all(prompts(6), one.append) for one in lists))
        return lists

    with ScriptedServer(echo, latency=0.4) as server:
        chosen = settings(server, tmp_path, in_flight=1, patience_seconds=0.1, total_seconds=0.6)
        lists = asyncio.run(both(chosen))
    assert [len(by_id(one)) for one in lists] == [6, 6]
    assert server.delivered == Counter({f"prompt {n}": 1 for n in range(6)})


def test_a_request_is_not_sent_again_where_its_lost_answers_have_used_up_the_budget(tmp_path):
    with ScriptedServer(lambda asked: Raw(b"{")) as server:
        chosen = settings(server, tmp_path, max_output_tokens=100, budget_tokens=250)
        client = ChatClient(chosen)
        got, _ = until_exhausted(client, 1)
    assert (got, len(server.asked)) == ([], 2)
    assert client.spent().tokens_in_all == 2 * (2 + 4 + 100) <= 250


def test_the_schema_counts_as_input(tmp_path):
    with ScriptedServer(echo) as server:
        client = ChatClient(settings(server, tmp_path))
        plain = client.estimate([ChatRequest.of("a", "b")]).input_tokens
        assert client.estimate([ChatRequest.of("a", "b", schema=Question)]).input_tokens > plain + 20


@pytest.mark.parametrize("taken", [{"max_tokens": 9999}, {"stream": True}, {"n": 8}, {"model": "another"}])
def test_extra_parameters_cannot_go_round_the_settings_that_the_budget_counts_on(tmp_path, taken):
    with pytest.raises(ValidationError, match=f"{next(iter(taken))} cannot be set here"):
        ClientSettings(base_url="http://host/v1", model="m", answers=tmp_path / "a", extra_parameters=taken)


def test_what_a_cancelled_run_had_not_sent_is_not_counted_as_paid(tmp_path):
    async def cancelled(chosen: ClientSettings) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ChatClient(chosen).ask_all(prompts(20), print), 1.0)

    with ScriptedServer(echo, latency=30.0) as server:
        chosen = settings(server, tmp_path, in_flight=2)
        asyncio.run(cancelled(chosen))
        assert len(server.asked) == 2
    assert ChatClient(chosen).spent().lost == 2
