"""The child process around llama.cpp, with a stand-in for xllamacpp: the model itself is no part of these tests."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from synth import local_server
from synth.chat_request import ChatRequest
from synth.client import ChatClient
from synth.client_settings import ClientSettings
from synth.errors import ChatError
from synth.local_server import LocalModel, LocalServer
from tests.synth.asking import by_id

ROOT = Path(__file__).parents[2]
STAND_IN = """
from types import SimpleNamespace
from tests.synth.scripted_server import Good, ScriptedServer

def CommonParams():
    return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

class Server:
    def __init__(self, parameters):
        print("loading", parameters.model.path)
        if open(parameters.model.path).read() != "GGUF":
            raise RuntimeError("invalid magic characters")
        told = f"{parameters.n_ctx} {parameters.n_parallel} {parameters.hostnames}"
        self._server = ScriptedServer(lambda asked: Good(told)).__enter__()
        self.listening_address = self._server.url.removesuffix("/v1")
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    (tmp_path / "xllamacpp.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    path = tmp_path / "model.gguf"
    path.write_text("GGUF")
    return LocalModel(path=path, at_once=3, context=100)


def is_up(base_url):
    try:
        urllib.request.urlopen(base_url.removesuffix("/v1"), timeout=5).close()
    except OSError:
        return False
    return True


def test_the_server_answers_within_the_block_and_is_gone_after_it(model, tmp_path):
    with LocalServer(model) as server:
        settings = ClientSettings(
            base_url=server.base_url,
            known_as=server.known_as,
            model=server.model,
            key_variable=None,
            answers=tmp_path / "answers",
            attempts=1,
        )
        got = by_id(ChatClient(settings).ask([ChatRequest.of("a", "hello")]))
        assert is_up(server.base_url)
    assert got["a"].text == "300 3 ['127.0.0.1']"
    assert not is_up(server.base_url)


def test_answers_are_found_again_at_another_port(model, tmp_path):
    sent = []
    with LocalServer(model) as one, LocalServer(model) as other:
        for server in (one, other):
            settings = ClientSettings(
                base_url=server.base_url,
                known_as=server.known_as,
                model=server.model,
                key_variable=None,
                answers=tmp_path / "answers",
            )
            client = ChatClient(settings)
            assert len(by_id(client.ask([ChatRequest.of("a", "hello")]))) == 1
            sent.append(client.report.sent)
    assert one.base_url != other.base_url
    assert sent == [1, 0]


def test_a_file_that_is_no_model_is_told_with_the_servers_words(model):
    model.path.write_text("nonsense")
    with pytest.raises(ChatError, match="invalid magic characters"), LocalServer(model):
        pass


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ChatError, match="no model file"):
        LocalServer(LocalModel(path=tmp_path / "none.gguf"))


def test_the_server_dies_with_the_process_that_started_it(model):
    code = (
        "import sys, time; from pathlib import Path; from synth.local_server import *\n"
        "with LocalServer(LocalModel(path=Path(sys.argv[1]))) as server:\n"
        "    print(server.base_url, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(model.path)], stdout=subprocess.PIPE, text=True)
    base_url = parent.stdout.readline().strip()
    assert is_up(base_url)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    until = time.monotonic() + 20
    while is_up(base_url):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_child_that_ended_at_once_can_be_stopped(tmp_path):
    (tmp_path / "model").write_bytes(b"")
    server = LocalServer(LocalModel(path=tmp_path / "model"))
    gone = subprocess.Popen(["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    gone.wait()
    assert local_server._ask(gone, "{}") == ""
    server._process = gone
    server._stop()
