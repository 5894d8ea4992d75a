"""A small LLM on this machine: llama.cpp's own HTTP server on loopback, by the package xllamacpp, in a child process.

    with LocalServer(LocalModel(path=Path("model.gguf"))) as server:
        settings = ClientSettings(
            base_url=server.base_url, known_as=server.known_as, model=server.model, key_variable=None, answers=...
        )

The system chooses a free port, so the address differs from run to run; `known_as` names the model file instead, and
answers are found again. The child ends when its standard input closes: with the block, or with this process, however
that ends.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from synth.errors import ChatError

_START: Final = "from synth.local_server import serve; serve()"
_HASHED_BYTES: Final = 1 << 20  # at both ends of the model file
_LAST_WORDS: Final = 500  # characters of llama.cpp's log in an error
_STOP_SECONDS: Final = 10


class LocalModel(BaseModel):
    """The model, and how much of the machine it may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="GGUF file; its chat template is used")
    at_once: int = Field(2, ge=1, description="requests served at once (llama.cpp's slots)")
    context: int = Field(2048, ge=64, description="tokens of prompt and answer together, of each request")
    threads: int | None = Field(None, ge=1, description="of llama.cpp; null: as many as cores may be used")


class LocalServer:
    """The server. `base_url` is set within `with`."""

    def __init__(self, model: LocalModel) -> None:
        """Starts nothing yet.

        Raises:
            ChatError: there is no such file.
        """
        if not model.path.is_file():
            raise ChatError(f"There is no model file {model.path}: give the path of a GGUF file.")
        self.settings = model
        self.model = model.path.name
        self.known_as = _identity(model.path)
        self.base_url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "LocalServer":
        """Starts the server and waits until the model is loaded.

        Raises:
            ChatError: xllamacpp is missing, or llama.cpp cannot load the file.
        """
        with tempfile.TemporaryFile() as log:
            command = [sys.executable, "-c", _START]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True)
            told = _ask(self._process, self.settings.model_dump_json())
            if not told:
                self._stop()
                raise ChatError(
                    f"llama.cpp did not start with {self.settings.path}. Is xllamacpp installed (pip install xllamacpp), is "
                    f"this a GGUF file, and is there memory for {self.settings.at_once} contexts of {self.settings.context} "
                    f"tokens? Its last words: {_last_words(log)}"
                )
        self.base_url = json.loads(told)["base_url"]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the child is gone, and what it was told was not read
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def serve() -> None:
    """The child: reads its settings from standard input, tells its address, and lives until that input closes."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever llama.cpp prints goes to the log
    settings = LocalModel.model_validate_json(sys.stdin.readline())
    server = _start(settings)
    answer.write(json.dumps({"base_url": f"{server.listening_address}/v1"}) + "\n")
    answer.flush()
    sys.stdin.read()
    os._exit(0)  # llama.cpp would first finish the requests it is working on


def _start(settings: LocalModel) -> Any:
    import xllamacpp

    threads = settings.threads or len(os.sched_getaffinity(0))
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(settings.path)
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_parallel = settings.at_once
    parameters.n_ctx = settings.at_once * settings.context
    parameters.kv_unified = False  # else one long request may take the others' context
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.ui = False
    parameters.verbosity = 1  # errors and warnings
    return xllamacpp.Server(parameters)


def _ask(process: "subprocess.Popen[str]", line: str) -> str:
    """The child's first line; "" if it ended before."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    return process.stdout.readline()


def _identity(path: Path) -> str:
    """Name, size and hash of both ends of a file that may have many gigabytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        ends = file.read(_HASHED_BYTES)
        file.seek(max(0, size - _HASHED_BYTES))
        ends += file.read(_HASHED_BYTES)
    return f"llama.cpp {path.name} {size} {hashlib.sha256(ends).hexdigest()[:16]}"


def _last_words(log: IO[bytes]) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - _LAST_WORDS))
    return " ".join(log.read().decode("utf-8", "replace").split()) or "none"
