"""Tells a command and a web hook what a refresh did.

Both get the record as one JSON object, with a sentence for people before it (`text`): the command on its standard input,
the web hook as the body of a POST. What a hook's address is made of never comes into a message: of it only the host is
named, with ${NAME} as the recipe has it.
"""

import contextlib
import json
import logging
import os
import re
import signal
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import tenacity

from pipelines import __version__, storage
from pipelines.refresh.records import RefreshRecord
from pipelines.refresh.settings import NotifySettings
from pipelines.run_folder import RunFolder

TRIES: Final = 5
_FIRST_WAIT_SECONDS: Final = 0.5  # doubled at each try, and as much again at random
_LONGEST_WAIT_SECONDS: Final = 30.0
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_KEPT_OUTPUT: Final = 4_000  # characters of what a command wrote, for the log

log = logging.getLogger(__name__)


class _Refused(Exception):
    """The hook's server answered with an error; `again`: another try may help."""

    def __init__(self, code: int, again: bool, wait: float) -> None:
        super().__init__(f"status {code}")
        self.again = again
        self.wait = wait  # seconds that the server asks for


class _NotThere(Exception):
    """No answer at all. The message is ours: those of the libraries may hold the address."""


class _Unusable(Exception):
    """The settings do not say where to post."""


def is_told(record: RefreshRecord, settings: NotifySettings) -> bool:
    """Whether the recipe wants somebody told of this refresh."""
    return record.outcome in settings.on or ("alert" in settings.on and bool(record.alerts))


def notify(record: RefreshRecord, settings: NotifySettings, output_to: Path | None = None) -> list[str]:
    """Tell whom the recipe names, if it wants this outcome told. Returns what went wrong, a sentence each; raises nothing.

    What the command writes goes to `output_to` (appended), or else into the program's log.
    """
    if not is_told(record, settings):
        return []
    body = message(record)
    problems = []
    for wanted, tell in ((settings.command, _run_command), (settings.url, _post)):
        if not wanted:
            continue
        try:
            tell(body, settings, output_to)
        except Exception as error:  # telling must not end a refresh that did its work
            problems.append(_in_words(error, settings))
    return problems


def log_file(run: RunFolder) -> Path | None:
    """Where what commands wrote is kept; None for a run that is not on a local disk."""
    return Path(storage.split_url(run.url)[1]) / "logs" / "notify.log" if storage.is_local(run.url) else None


def message(record: RefreshRecord) -> bytes:
    """What is sent: {"text": a sentence, ...the record}, as JSON."""
    content: dict[str, Any] = {"text": summary(record), **json.loads(record.model_dump_json())}
    return json.dumps(content, ensure_ascii=False).encode()


def summary(record: RefreshRecord) -> str:
    """The refresh in one line."""
    told = {
        "nothing_new": "nothing new",
        "data_only": "the data is up to date",
        "promoted": f"version {record.version} is promoted",
        "kept": f"version {record.version} stays, the new model was not promoted",
        "failed": "failed",
    }[record.outcome]
    why = record.error if record.outcome == "failed" else record.gate.reason if record.gate else None
    alerts = [each.message for each in record.alerts]
    parts = [f"Refresh {record.number}: {told}", *([why] if why else []), *alerts]
    return ". ".join(part.rstrip(".") for part in parts) + "."


def _run_command(body: bytes, settings: NotifySettings, output_to: Path | None) -> None:
    with tempfile.TemporaryFile() as output:  # no pipe: what the command leaves running would hold it open
        process = subprocess.Popen(
            list(settings.command),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # with what it started it can be ended
        )
        try:
            process.communicate(body, settings.timeout_seconds)
        finally:
            _end(process)
        output.seek(0)
        told = output.read(_KEPT_OUTPUT).decode("utf-8", "replace").strip()
    _keep(f"{settings.command[0]} ended with {process.returncode}: {told}", output_to)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, settings.command[0])


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _keep(output: str, output_to: Path | None) -> None:
    if output_to is None:
        log.info("%s", output)
        return
    output_to.parent.mkdir(parents=True, exist_ok=True)
    with output_to.open("a", encoding="utf-8") as stream:
        stream.write(output + "\n")


def _post(body: bytes, settings: NotifySettings, output_to: Path | None) -> None:
    assert settings.url is not None
    url = _filled_in(settings.url)
    if not url.startswith(("http://", "https://")):
        raise _Unusable("refresh.notify.url is no address of http:// or https://")
    request = urllib.request.Request(  # noqa: S310  # the scheme is looked at above
        url,
        body,
        {"Content-Type": "application/json; charset=utf-8", "User-Agent": f"pairmill/{__version__}"},
    )
    tries = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(TRIES),
        wait=_waiting,
        retry=tenacity.retry_if_exception(_may_pass),
        reraise=True,
    )
    tries(_send, request, settings.timeout_seconds)


def _send(request: urllib.request.Request, timeout: float) -> None:
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        asked = error.headers.get("Retry-After", "") if error.headers else ""
        error.close()
        again = error.code == 429 or error.code >= 500
        raise _Refused(error.code, again, float(asked) if asked.isdigit() else 0.0) from None
    except (OSError, HTTPException) as error:
        raise _NotThere(_why(getattr(error, "reason", error))) from None


def _why(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.strerror:
        return error.strerror
    return type(error).__name__


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A hook that moved is an error: the message is not for another server, and a POST would become a GET."""

    def redirect_request(self, *args: Any, **named: Any) -> None:
        return None


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, _NotThere) or (isinstance(error, _Refused) and error.again)


def _waiting(state: tenacity.RetryCallState) -> float:
    """Exponential with jitter, and at least what the server asked for; half a minute at most."""
    error = state.outcome.exception() if state.outcome else None
    wait = tenacity.wait_random_exponential(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)(state)
    return min(_LONGEST_WAIT_SECONDS, max(wait, error.wait if isinstance(error, _Refused) else 0.0))


def _filled_in(url: str) -> str:
    """The address with ${NAME} from the environment."""
    missing = [name for name in _VARIABLE.findall(url) if name not in os.environ]
    if missing:
        raise _Unusable(f"refresh.notify.url names ${{{missing[0]}}}, and the environment has no such variable")
    return _VARIABLE.sub(lambda found: os.environ[found[1]], url)


def _shown_host(url: str | None) -> str:
    """The host as the recipe writes it; the rest may be a secret."""
    try:
        return urlsplit(url or "").netloc.rpartition("@")[2] or "refresh.notify.url"
    except ValueError:
        return "refresh.notify.url"


def _in_words(error: Exception, settings: NotifySettings) -> str:
    host, command = _shown_host(settings.url), settings.command[0] if settings.command else ""
    match error:
        case _Refused():
            words = f"The web hook at {host} refused the message: {error}"
        case _NotThere():
            words = f"The web hook at {host} could not be reached: {error}"
        case _Unusable():
            words = str(error)
        case subprocess.TimeoutExpired():
            words = f"The command {command} did not end within {settings.timeout_seconds:g} s and was ended"
        case subprocess.CalledProcessError():
            words = f"The command {command} ended with exit code {error.returncode}"
        case OSError():
            words = f"The command {command} could not be run: {error.strerror}"
        case _:  # its words may hold the address
            words = f"Telling failed: {type(error).__name__}"
    return f"{words}."
