"""A block of paragraphs in, the model's questions about them out: asked, checked one by one, and asked again where told so.

Answers come in any order and are kept in a database (synth.answer_cache) before they are handed out: the same block again, after a
kill too, sends only what has no answer yet, and gives the same rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from pipelines import storage
from pipelines.errors import UserError
from pipelines.question_checking import groups_told_apart, identified_groups
from pipelines.synthesize_settings import LocalLlm, QuestionBatches, SynthesizeSettings
from synth.answer_cache import Cache, StoredAnswer
from synth.batch_mode import BatchMode
from synth.chat_request import Answer, ChatRequest
from synth.client import ChatClient
from synth.client_settings import ClientSettings
from synth.local_server import LocalServer
from synth.prompts import PromptTemplate, load_prompt, variables_of
from synth.question_checks import check_hard_negatives, check_questions
from synth.question_retry import retry_request
from synth.questions import read_question

Tell = Callable[[int], None]

ANSWERS_FOLDER: Final = "_asked"  # below the job's folder; a name in _ is left alone when a job tidies up
ASKED: Final = pa.schema(
    [
        pa.field("question_id", pa.string(), nullable=False),
        pa.field(
            "question", pa.string(), nullable=False
        ),  # "" where no answer came; the model's words where it is none
        pa.field("hard_negatives", pa.list_(pa.string())),
        pa.field("reason", pa.string()),  # why it is rejected; null: it passed
        pa.field("first_reason", pa.string()),  # of the first try, where the model was asked again
        pa.field("tries", pa.int32(), nullable=False),
        pa.field("model", pa.string()),  # as the server names it in its answer
        pa.field("request", pa.string(), nullable=False),  # sha256 of the request that the question answers
        pa.field("input_tokens", pa.int64(), nullable=False),  # of all tries
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),  # that the server took
        pa.field("money", pa.float64(), nullable=False),
    ]
)
UNANSWERED: Final = ("gave_up", "in_batch")  # reasons that say nothing of the question: it may be answered another time
_SHOWN_WORDS: Final = 2_000  # characters kept of an answer that is no question
_DECIDING: Final = (  # of the client's settings: what decides the answers
    "model",
    "server",
    "temperature",
    "top_p",
    "seed",
    "max_output_tokens",
    "extra_parameters",
    "structured",
    "ask_again",
    "largest_answer_bytes",
)
SUMMED: Final = ("tries", "input_tokens", "output_tokens", "seconds", "money")


@contextmanager
def asked_server(settings: SynthesizeSettings, folder: str) -> Iterator[ClientSettings]:
    """Who is asked: the settings of the client, with paths made whole. A local model is served until the block ends.

    Raises UserError where the answers would not lie on a local disk; ChatError where a local model cannot be served.
    """
    client = client_of(settings, folder)
    if settings.local_model is None:
        yield client
        return
    with LocalServer(settings.local_model.model()) as server:
        yield client.model_copy(update={"base_url": server.base_url})


def client_of(settings: SynthesizeSettings, folder: str) -> ClientSettings:
    """The client's settings before any server is started: enough to estimate, and to find answers."""
    client: ClientSettings = settings.client.model_copy(update={"answers": _local(settings.client.answers, folder)})
    if settings.local_model is None:
        return client
    return client.model_copy(update=_identity(settings.local_model))


def batches_of(settings: SynthesizeSettings, folder: str) -> QuestionBatches | None:
    """The settings of batch mode, with its folder made whole. Raises UserError where that would not be on a local disk."""
    if settings.batch is None:
        return None
    return settings.batch.model_copy(update={"folder": _local(settings.batch.folder, folder)})


def _identity(local: LocalLlm) -> dict[str, Any]:
    server = LocalServer(local.model())
    return {
        "model": server.model,
        "known_as": server.known_as,
        "key_variable": None,
        "in_flight": 2 * local.at_once,  # none of the model's places waits for us
    }


def _local(path: Path, folder: str) -> Path:
    if path.is_absolute():
        return path
    if not storage.is_local(folder):
        raise UserError(
            f"The answers of synthesize lie in a database on a local disk, and this run is at {folder}: name a local file in "
            "synthesize.client.answers (and a local folder in synthesize.batch.folder)."
        )
    whole = Path(storage.split_url(storage.join(folder, ANSWERS_FOLDER))[1]) / path
    whole.parent.mkdir(parents=True, exist_ok=True)
    return whole


def asked_facts(settings: SynthesizeSettings) -> dict[str, Any]:
    """What decides the answers, for fingerprints and provenance: model, server and how it is asked; no limits, no prices."""
    client = settings.client
    if settings.local_model is not None:
        client = client.model_copy(update=_identity(settings.local_model))
    facts: dict[str, Any] = {name: getattr(client, name) for name in _DECIDING}
    return facts | {"prompt": load_prompt(settings.prompt).hash, "retry": settings.retry}


@dataclass(frozen=True)
class QuestionWriter:
    """A model and a prompt; requests are answered in batches where there are any, else one by one."""

    settings: SynthesizeSettings
    template: PromptTemplate
    client: ClientSettings
    batches: QuestionBatches | None

    def requests(self, paragraphs: Sequence[Mapping[str, Any]]) -> list[ChatRequest]:
        """The first request about each PARAGRAPH row; its id is the question's."""
        return [self._request(row) for row in paragraphs]

    def write(self, paragraphs: pa.Table, tell: Tell) -> pa.RecordBatch:
        """ASKED rows of PARAGRAPH rows, in their order; `tell` gets the number of answers so far.

        Raises synth.errors.ChatError where the run of requests ends early; what was answered is kept.
        """
        rows = paragraphs.to_pylist()
        requests = {request.id: request for request in self.requests(rows)}
        found = self._tried(rows, self._answers(list(requests.values()), tell))
        for _ in range(self.settings.retry):
            again = [row for row in rows if found[row["question_id"]]["retriable"]]
            if not again:
                break
            retries = [self._retry(requests[row["question_id"]], found[row["question_id"]]) for row in again]
            for name, tried in self._tried(again, self._answers(retries, tell)).items():
                found[name] = _joined(found[name], tried)
        written = [{name: found[row["question_id"]][name] for name in ASKED.names} for row in rows]
        return pa.RecordBatch.from_pylist(written, ASKED)

    def _request(self, row: Mapping[str, Any]) -> ChatRequest:
        name, variables = row["question_id"], variables_of(row["question_id"], self.settings.variations)
        return self.template.request(
            name, row["text"], title=row["title"], language=row["language"], variables=variables
        )

    def _retry(self, request: ChatRequest, tried: Mapping[str, Any]) -> ChatRequest:
        return retry_request(request, tried["question"], tried["reason"])

    def _answers(self, requests: list[ChatRequest], tell: Tell) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}

        def keep(answer: Answer) -> None:
            answers[answer.id] = answer
            tell(len(answers))

        if self.batches is not None:
            BatchMode(self.client, self.batches).run_here(lambda: requests, keep)
        else:
            for answer in ChatClient(self.client).ask(requests):
                keep(answer)
        return answers

    def _tried(self, rows: Sequence[Mapping[str, Any]], answers: Mapping[str, Answer]) -> dict[str, dict[str, Any]]:
        """One try: what came of each row."""
        read = [read_question(answers[row["question_id"]]) for row in rows]
        checked = pa.table(
            {
                "question": pa.array([each.question if each else None for each in read], pa.string()),
                "hard_negative": pa.array([each.hard_negative if each else None for each in read], pa.string()),
                "paragraph": pa.array([row["text"] for row in rows], pa.string()),
                "language": groups_told_apart([row["language"] for row in rows], self.settings.language),
            }
        )
        reasons, of_negatives = self._reasons(checked)
        with closing(Cache(self.client.answers)) as cache:
            stored = cache.look_up([answer.key for answer in answers.values()])
        found = {}
        for row, written, reason, of_negative in zip(rows, read, reasons, of_negatives, strict=True):
            answer = answers[row["question_id"]]
            negative = written.hard_negative if written and of_negative is None else None
            found[row["question_id"]] = {
                "question_id": row["question_id"],
                "question": written.question if written else answer.text[:_SHOWN_WORDS],
                "hard_negatives": [negative] if negative else None,
                "reason": answer.failure or reason,
                "first_reason": None,
                "tries": 1,
                "model": answer.model,
                "request": answer.key,
                "input_tokens": answer.usage.input_tokens,
                "output_tokens": answer.usage.output_tokens,
                **_costs(stored.get(answer.key)),
                "retriable": answer.failure is None and reason is not None,
            }
        return found

    def _reasons(self, checked: pa.Table) -> tuple[list[str | None], list[str | None]]:
        """Of the questions, and of their hard negatives."""
        settings = self.settings.checks.model_copy(update={"form": self.template.form})
        identify = identified_groups(self.settings.language) if self.settings.language else None
        reasons = check_questions(checked, settings, identify, self.template.instructions)
        if checked["hard_negative"].null_count == len(checked):
            return reasons.to_pylist(), [None] * len(checked)
        return reasons.to_pylist(), check_hard_negatives(checked, settings, identify).to_pylist()


def _costs(stored: StoredAnswer | None) -> dict[str, float]:
    """Seconds that the server took, and money."""
    return {"seconds": (stored.seconds or 0.0) if stored else 0.0, "money": stored.money if stored else 0.0}


def _joined(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """A row that was tried again: the later question, the tokens of both."""
    sums = {name: before[name] + after[name] for name in SUMMED}
    return {**after, **sums, "first_reason": before["first_reason"] or before["reason"]}
