"""Keys of an LLM and of a web hook: used, and found in no file, log or line of output."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.pipelines.synthesize_runs import good_question, write_documents, write_recipe
from tests.security.hostile import every_file, pairmill
from tests.synth.scripted_server import ScriptedServer, Status

KEY = "sk-CANARY-4711-of-the-llm"
HOOK = "CANARY-4711-of-the-hook"


class _Hook(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(400)  # refused, so that something is said about it
        self.end_headers()
        self.wfile.write(f"no such hook {self.path}".encode())

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[str]]]:
    _Hook.asked = []
    server = http.server.HTTPServer(("127.0.0.1", 0), _Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", _Hook.asked
    server.shutdown()
    thread.join()
    server.server_close()


def _refresh(place: Path, server: ScriptedServer, hook: str, **client: object) -> tuple[str, str]:
    recipe = write_recipe(
        place / "recipe.yaml",
        place / "in",
        server.url,
        client={"key_variable": "THE_KEY", **client},
        others={"refresh": {"notify": {"url": f"{hook}/${{THE_HOOK}}", "on": ["alert", "failed", "promoted", "kept"]}}},
    )
    content = yaml.safe_load(recipe.read_text())
    assert KEY not in str(content)
    done = pairmill(
        "refresh",
        "recipe.yaml",
        "--run-folder",
        "run",
        cwd=place,
        THE_KEY=KEY,
        THE_HOOK=HOOK,
        TMPDIR=str(place / "temporary"),
    )
    return done.stdout, done.stderr


def _assert_nowhere(place: Path, *outputs: str) -> None:
    for word in (KEY, HOOK):
        assert not [output for output in outputs if word in output]
        assert not [path for path in every_file(place) if word.encode() in path.read_bytes()]


def test_a_refresh_leaves_keys_nowhere(tmp_path: Path, hook: tuple[str, list[str]]) -> None:
    (tmp_path / "temporary").mkdir()
    write_documents(tmp_path / "in", 40)
    with ScriptedServer(good_question) as server:
        outputs = _refresh(tmp_path, server, hook[0])
        assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}, outputs
    _assert_nowhere(tmp_path, *outputs)


def test_a_refused_key_and_a_refusing_hook_are_told_without_them(tmp_path: Path, hook: tuple[str, list[str]]) -> None:
    (tmp_path / "temporary").mkdir()
    write_documents(tmp_path / "in", 40)
    with ScriptedServer(lambda asked: Status(401, f"Incorrect API key provided: {KEY}")) as server:
        outputs = _refresh(tmp_path, server, hook[0])
    assert "key" in outputs[1]
    assert hook[1] == [f"/{HOOK}"], outputs
    _assert_nowhere(tmp_path, *outputs)


@pytest.mark.parametrize(
    "setting",
    [
        f"synthesize.client.base_url=http://me:{KEY}@127.0.0.1:9/v1",
        f"synthesize.client.base_url=http://127.0.0.1:9/v1?key={KEY}",
        f"synthesize.client.key_variable={KEY}",
    ],
)
def test_a_key_in_a_setting_is_refused_without_repeating_it(tmp_path: Path, setting: str) -> None:
    write_documents(tmp_path / "in", 4)
    write_recipe(tmp_path / "recipe.yaml", tmp_path / "in", "http://127.0.0.1:9/v1")
    done = pairmill("run", "recipe.yaml", "--run-folder", "run", "--set", setting, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    _assert_nowhere(tmp_path, done.stdout, done.stderr)
