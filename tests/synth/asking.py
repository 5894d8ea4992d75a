"""Settings and requests for the tests of the client."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from synth.chat_request import Answer, ChatRequest
from synth.client_settings import ClientSettings
from tests.synth.scripted_server import ScriptedServer


class Question(BaseModel):
    question: str


def settings(server: ScriptedServer, folder: Path, **changed: Any) -> ClientSettings:
    """Waits are short, so that the tests are."""
    quick: dict[str, Any] = {
        "base_url": server.url,
        "model": "m",
        "key_variable": None,
        "answers": folder / "answers.sqlite",
        "in_flight": 8,
        "first_wait_seconds": 0.01,
        "longest_wait_seconds": 0.05,
    }
    return ClientSettings(**(quick | changed))


def prompts(count: int) -> list[ChatRequest]:
    return [ChatRequest.of(f"id{number}", f"prompt {number}") for number in range(count)]


def by_id(answers: Iterable[Answer]) -> dict[str, Answer]:
    listed = list(answers)
    found = {answer.id: answer for answer in listed}
    assert len(found) == len(listed), "an id was answered twice"
    return found
