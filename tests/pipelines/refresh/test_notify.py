"""Telling a command and a web hook: what they get, what is tried again, and that no secret comes out."""

import json
import logging
import socket
import sys
import time

import psutil
import pytest

from pipelines.refresh import history
from pipelines.refresh.notify import TRIES, notify, summary
from pipelines.refresh.records import Alert, GateDecision, RefreshRecord
from pipelines.refresh.settings import NotifySettings
from pipelines.run_folder import RunFolder
from tests.pipelines.refresh.hook_server import HookServer

SECRET = "T0K3N-very-secret"
ALL = ("alert", "failed", "promoted", "kept", "nothing_new")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setattr("pipelines.refresh.notify._FIRST_WAIT_SECONDS", 0.01)


def record(outcome="kept", **more):
    gate = GateDecision(promoted=False, reason="It loses.")
    content = {"number": 3, "started": "2026-03-02T03:00:00+00:00", "seconds": 1.5, "outcome": outcome, "version": 2}
    return RefreshRecord(**content, **({"gate": gate} | more))


def hook(server, **more):
    return NotifySettings(url=f"http://127.0.0.1:{server.port}/hooks/${{HOOK_SECRET}}", on=ALL, **more)


def python(code, **more):
    return NotifySettings(command=(sys.executable, "-c", code), on=ALL, **more)


ALERT = Alert(kind="source_shrinks", subject="news", message="Source news gives 7 pairs.")


def test_a_web_hook_gets_the_record_and_a_sentence_as_json():
    with HookServer() as server:
        assert notify(record(alerts=(ALERT,)), hook(server)) == []
    ((path, headers, body),) = server.requests
    assert path == f"/hooks/{SECRET}" and headers["Content-Type"].startswith("application/json")
    text = body.pop("text")
    assert RefreshRecord.model_validate(body) == record(alerts=(ALERT,))
    assert text == "Refresh 3: version 2 stays, the new model was not promoted. It loses. Source news gives 7 pairs."


def test_a_command_gets_the_record_on_its_standard_input_without_a_shell(tmp_path):
    seen, log = tmp_path / "seen.json", tmp_path / "logs" / "notify.log"
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read()); print('told', sys.argv[2])"
    settings = NotifySettings(command=(sys.executable, "-c", code, str(seen), "$(touch x); `y` 日本"), on=ALL)
    assert notify(record("promoted"), settings, log) == []
    assert json.loads(seen.read_text())["outcome"] == "promoted"
    assert "told $(touch x); `y` 日本" in log.read_text("utf-8") and "ended with 0" in log.read_text("utf-8")


@pytest.mark.parametrize(
    ("outcome", "alerts", "on", "told"),
    [
        ("kept", (), ("kept",), True),
        ("kept", (), ("promoted", "alert"), False),
        ("promoted", (ALERT,), ("alert",), True),
        ("data_only", (ALERT,), ("alert", "failed"), True),
        ("data_only", (), ALL, False),
        ("nothing_new", (), ("alert", "failed", "kept"), False),
        ("failed", (), ("failed",), True),
        ("failed", (ALERT,), (), False),
    ],
)
def test_only_the_chosen_outcomes_are_told(outcome, alerts, on, told, tmp_path):
    with HookServer() as server:
        settings = NotifySettings(url=f"http://127.0.0.1:{server.port}/", on=on)
        assert notify(record(outcome, alerts=alerts), settings) == []
        assert len(server.requests) == told


def test_nobody_is_told_where_the_recipe_names_nobody():
    assert notify(record(), NotifySettings(on=ALL)) == []


@pytest.mark.parametrize("trouble", [429, 500, 503, "reset", (429, {"Retry-After": "0"})])
def test_what_may_pass_is_tried_again(trouble):
    with HookServer([trouble, trouble, 204]) as server:
        assert notify(record(), hook(server)) == []
    assert len(server.requests) == 3
    assert server.requests[0][2] == server.requests[2][2]


def test_a_hook_that_does_not_answer_in_time_is_tried_again():
    with HookServer(["hang", 200]) as server:
        assert notify(record(), hook(server, timeout_seconds=0.3)) == []
    assert len(server.requests) == 2


def test_a_hook_that_stays_down_is_given_up_and_told():
    with HookServer([500]) as server:
        (problem,) = notify(record(), hook(server))
    assert len(server.requests) == TRIES
    assert problem == f"The web hook at 127.0.0.1:{server.port} refused the message: status 500."


def test_a_wait_that_the_server_asks_for_is_kept_to():
    with HookServer([(429, {"Retry-After": "1"}), 200]) as server:
        before = time.monotonic()
        assert notify(record(), hook(server)) == []
        assert time.monotonic() - before >= 1


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_what_will_not_pass_is_not_tried_again_and_no_redirect_is_followed(status):
    with HookServer([(status, {"Location": "/elsewhere"})]) as server:
        (problem,) = notify(record(), hook(server))
    assert len(server.requests) == 1 and f"status {status}" in problem


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


UNUSABLE = [
    lambda: f"http://127.0.0.1:{free_port()}/${{HOOK_SECRET}}",  # nobody listens
    lambda: "https://127.0.0.1:1/${HOOK_SECRET}",
    lambda: "http://no-such-host.invalid/${HOOK_SECRET}",
    lambda: "http://user:${HOOK_SECRET}@127.0.0.1:1/",
    lambda: "http://127.0.0.1:${HOOK_SECRET}/",
    lambda: "http://127.0.0.1:1/a b\n${HOOK_SECRET}",
    lambda: "http://[${HOOK_SECRET}/",
    lambda: "http:///${HOOK_SECRET}",
    lambda: "${HOOK_SECRET}",
    lambda: "http://${HOOK_SECRET}.invalid/",
    lambda: "http://℀${HOOK_SECRET}.invalid/",
    lambda: "http://127.0.0.1:1/${NOT_THERE}/${HOOK_SECRET}",
]


@pytest.mark.parametrize("number", range(len(UNUSABLE)))
def test_no_secret_of_a_hook_comes_into_a_problem_the_log_or_the_record(number, caplog, tmp_path, capfd):
    caplog.set_level(logging.DEBUG)
    settings = NotifySettings(url=UNUSABLE[number](), on=ALL)
    run = RunFolder(str(tmp_path))
    history.write(run, record())
    problems = notify(record(), settings, tmp_path / "logs" / "notify.log")
    assert len(problems) == 1 and problems[0].endswith(".")
    output = capfd.readouterr()
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for place in (problems[0], caplog.text, output.out, output.err, written):
        assert SECRET not in place


def test_an_address_of_another_kind_is_refused_with_the_recipe_and_not_shown():
    from pipelines.errors import UserError
    from pipelines.recipe import parse_recipe

    text = "sources: [{source: jsonl, paths: [x]}]\nrefresh: {notify: {url: 'ftp://127.0.0.1/literal-token'}}"
    with pytest.raises(UserError, match=r"line 2: `refresh.notify.url`: a web hook's address begins with") as error:
        parse_recipe(text, "recipe.yaml")
    assert "literal-token" not in str(error.value)


def test_a_variable_that_the_environment_lacks_is_named():
    (problem,) = notify(record(), NotifySettings(url="https://hooks.example/${NOT_THERE}", on=ALL))
    assert "${NOT_THERE}" in problem and "environment" in problem


def test_a_command_that_fails_or_is_not_there_is_told_and_the_hook_is_told_all_the_same(tmp_path):
    with HookServer() as server:
        url = f"http://127.0.0.1:{server.port}/"
        failing = NotifySettings(command=(sys.executable, "-c", "raise SystemExit(7)"), url=url, on=ALL)
        (problem,) = notify(record(), failing)
        assert problem.endswith("ended with exit code 7.")
        (problem,) = notify(record(), NotifySettings(command=("/no/such/program",), url=url, on=ALL))
        assert problem == "The command /no/such/program could not be run: No such file or directory."
        assert len(server.requests) == 2


def test_a_command_that_does_not_end_is_ended_with_all_it_started(tmp_path):
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time, pathlib;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{child.pid}}'); time.sleep(60)"
    )
    (problem,) = notify(record(), python(code, timeout_seconds=2))
    assert problem.endswith("did not end within 2 s and was ended.")
    deadline = time.monotonic() + 5
    while any(alive(int(pid)) for pid in pids.read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_command_that_leaves_something_running_is_not_waited_for(tmp_path):
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)']); print('on its way')"
    log = tmp_path / "notify.log"
    before = time.monotonic()
    assert notify(record(), python(code, timeout_seconds=4), log) == []
    assert time.monotonic() - before < 4 and "on its way" in log.read_text()


def test_a_command_that_reads_nothing_gets_along_with_a_large_record():
    large = record(metrics=[{"data": "x" * 1000}] * 1000)
    assert notify(large, python("pass")) == []


def test_the_sentence_tells_every_outcome():
    told = {
        outcome: summary(record(outcome, gate=None, error="disk full"))
        for outcome in ("nothing_new", "data_only", "promoted", "kept", "failed")
    }
    assert told == {
        "nothing_new": "Refresh 3: nothing new.",
        "data_only": "Refresh 3: the data is up to date.",
        "promoted": "Refresh 3: version 2 is promoted.",
        "kept": "Refresh 3: version 2 stays, the new model was not promoted.",
        "failed": "Refresh 3: failed. disk full.",
    }
