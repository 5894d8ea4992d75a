"""LLM answers about forgotten documents: which requests they answer, and their removal from the database and batch files."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.forget.fragments import Fragments, spelled
from pipelines.forget.traces import Traces, shards_of
from pipelines.question_asking import QuestionWriter, batches_of, client_of
from pipelines.question_sample import PARAGRAPHS, document_key
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import read_batches
from pipelines.synthesize_settings import SynthesizeSettings
from synth.answer_cache import Cache, StoredAnswer
from synth.chat_request import FAILURES, ChatRequest, request_key
from synth.chat_run import read_answer
from synth.paragraphs import paragraph_text, paragraphs
from synth.prompts import load_prompt
from synth.question_checks import REASONS
from synth.question_retry import retry_request
from synth.questions import read_question

_REASONS: Final = sorted({*REASONS, *FAILURES})
LookUp = Callable[[str], StoredAnswer | None]


def note_requests(recipe: Recipe, run: RunFolder, traces: Traces) -> None:
    """Add to the traces every request about the documents' paragraphs that has an answer, first tries and retries alike, and
    the paragraphs that the round trip compared."""
    settings = recipe.synthesize
    if settings is None or not traces.documents:
        return
    _note_candidates(run, settings, traces)
    client = client_of(settings, run.job("synthesize"))
    rows = list(_paragraph_rows(run, traces))
    if not rows or not Path(client.answers).exists():
        return
    writer = QuestionWriter(settings, load_prompt(settings.prompt), client, None)
    with closing(Cache(client.answers)) as cache:

        def look_up(key: str) -> StoredAnswer | None:
            return cache.look_up([key]).get(key)

        for request in writer.requests(rows):
            traces.requests.update(_tried(request, settings, writer, look_up))


def _paragraph_rows(run: RunFolder, traces: Traces) -> Iterator[dict[str, Any]]:
    wanted = pa.array(sorted(traces.question_ids), pa.string())
    for path in shards_of(run, "synthesize"):
        if path.startswith(f"{PARAGRAPHS}/"):
            for batch in read_batches(storage.join(run.job("synthesize"), path)):
                yield from batch.filter(pc.is_in(batch["question_id"], value_set=wanted)).to_pylist()


def _tried(first: ChatRequest, settings: SynthesizeSettings, writer: QuestionWriter, look_up: LookUp) -> set[str]:
    """The keys of a question's requests. Why a try was rejected is not kept, so a retry for every reason is looked up."""
    found: set[str] = set()
    requests = [first]
    for turn in range(settings.retry + 1):
        words: set[str] = set()
        for request in requests:
            for key, answered in _attempts(request, writer, look_up):
                found.add(key)
                if answered is not None:
                    words.add(answered)
        if turn < settings.retry:
            requests = [retry_request(first, each, reason) for each in sorted(words) for reason in _REASONS]
    return found


def _attempts(request: ChatRequest, writer: QuestionWriter, look_up: LookUp) -> Iterator[tuple[str, str | None]]:
    """(key, what the retry quotes) of a request and of those that asked again because nothing readable came."""
    for _ in range(writer.client.ask_again + 1):
        key = request_key(request, writer.client)
        stored = look_up(key)
        if stored is None:  # it may be in a batch that the server has
            yield key, None
            return
        answer = read_answer(request, stored, from_cache=True)
        read = read_question(answer)
        yield key, read.question if read else answer.text[:2_000]
        request = request.another()


def _note_candidates(run: RunFolder, settings: SynthesizeSettings, traces: Traces) -> None:
    """All paragraphs of the documents: the round trip's encoder has read those, too."""
    if settings.round_trip is None:
        return
    keys = {f"{source}\x00{identity}" for source, identity in traces.documents}
    for path in shards_of(run, "synthesize"):
        if not path.startswith("documents/"):
            continue
        for batch in read_batches(storage.join(run.job("synthesize"), path), rows=256):
            for row in batch.select(["source", "document_id", "text", "sections"]).to_pylist():
                if document_key(row) in keys and row["text"] in traces.own:
                    places = paragraphs(row["text"], row["sections"], settings.paragraphs)
                    traces.own.update(paragraph_text(row["text"], start, end) for start, end in places)


def forget_answers(recipe: Recipe, run: RunFolder, traces: Traces) -> tuple[int, int]:
    """Remove the answers and the batch files that are not sent yet: (answers, files). Raises AnswerCacheError."""
    settings = recipe.synthesize
    if settings is None:
        return 0, 0
    client = client_of(settings, run.job("synthesize"))
    if not Path(client.answers).exists():
        return 0, 0
    fragments = Fragments(spelled(traces.fragments))
    with closing(Cache(client.answers)) as cache:
        batches = batches_of(settings, run.job("synthesize"))
        files = 0 if batches is None else _forget_batches(cache, client.server, Path(batches.folder), fragments)
        answers = cache.forget(traces.requests, lambda text: bool(fragments.found_in(text, 1)))
    return answers, files


def _forget_batches(cache: Cache, server: str, folder: Path, fragments: Fragments) -> int:
    """Files of requests that were not sent: the other requests in them go into the next file."""
    gone = 0
    waiting = {Path(row.path).name: row.name for row in cache.batches(server, ("written",))}
    for path in sorted(folder.glob("*")):
        if path.is_file() and fragments.found_in(path.read_bytes(), 1):
            if path.name in waiting:
                cache.end_batch(waiting[path.name], "failed")
            path.unlink()
            gone += 1
    return gone
