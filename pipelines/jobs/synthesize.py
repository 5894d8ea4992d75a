"""synthesize: an LLM writes questions about paragraphs of long documents; each is paired with its whole document.

    1. documents and paragraphs are chosen (pipelines.question_sample)
    2. the model is asked, block by block (pipelines.question_blocks): one process asks, since limits and budget are the
       server's; every answer is kept in a database, so that nothing is paid for twice
    3. questions that passed the checks of their own go through those that need all of them: the round trip through an encoder,
       an LLM as judge, near-duplicates (pipelines.question_verdicts)
    4. the questions of each shard of documents are written (pipelines.question_rows), and the whole as a benchmark
       (pipelines.question_export)

Writes the roles `questions` (those kept, with where they came from), `pairs` (those of the training split, and extract's pairs
but for those of documents that test: the following jobs read both), `rejects` (whose positive is the paragraph alone), `documents` and `paragraphs` (the sample).
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from filters.language import language_model_sha256
from pipelines import progress, question_rows, storage
from pipelines.job import DOCUMENTS, PAIRS, Job, Outcome, Plan, finished
from pipelines.manifest import fingerprint, input_names
from pipelines.progress import TaskProgress
from pipelines.question_asking import asked_facts, client_of
from pipelines.question_blocks import ask
from pipelines.question_carried import LEFT_OUT, carry_pairs, left_out
from pipelines.question_export import EXPORT, write_export
from pipelines.question_rows import QUESTIONS
from pipelines.question_sample import PARAGRAPHS, PASSED_OVER, Sample, sample_paragraphs, tokenizer_sha256
from pipelines.question_verdicts import VERDICT, asked_rows, decide
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import Part, ShardFile, read_batches
from pipelines.synthesize_settings import SynthesizeSettings
from synth.answer_cache import Cache
from synth.chat_request import FAILURES
from synth.question_checks import REASONS as CHECK_REASONS
from trainer.backbone import model_fingerprint

VERSION = 2
REASONS: Final = FAILURES | CHECK_REASONS
_NOT_DECIDING: Final = {"client", "local_model", "batch", "block"}  # what decides of them is in asked_facts


def check_inputs(recipe: Recipe) -> None:
    """Raises ChatError or PackagePathError for a prompt or a model file that is not there, before the first job runs."""
    if recipe.synthesize is not None:
        asked_facts(recipe.synthesize)


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    settings = recipe.synthesize
    assert settings is not None
    deciding: dict[str, Any] = settings.model_dump(mode="json", exclude=_NOT_DECIDING)
    deciding |= {"asked": asked_facts(settings), "recipe_seed": recipe.seed}
    deciding["length_tokenizer"] = tokenizer_sha256(settings.length_tokenizer)
    if settings.language is not None:
        deciding["language_model"] = language_model_sha256(settings.language)
    if settings.round_trip is not None:
        deciding["encoder"] = model_fingerprint(settings.round_trip.encoder.model)
    if settings.judge is not None:
        deciding["judge"] = {"name": settings.judge.llm.name, "least": settings.judge.least}
    inputs = input_names(finished(run, "extract").files_of(DOCUMENTS, PAIRS), "extract")
    return Plan(dict(sorted(deciding.items())), inputs)


def execute(job: Job) -> Outcome:
    settings = job.recipe.synthesize
    assert settings is not None
    sample = sample_paragraphs(job, settings, VERSION)
    blocks = ask(job, settings, sample, VERSION)
    verdicts = decide(job, settings, sample, blocks, VERSION)
    asked, decided = asked_rows(job.folder, blocks), _decided(job, verdicts)
    answered = fingerprint(asked=verdicts.fingerprint, verdicts=[file.sha256 for file in verdicts.files])
    written = question_rows.write(job, sample, asked, decided, answered, into_training=settings.into_training)
    carried = carry_pairs(job, sample.held_out, VERSION)
    storage.remove(storage.join(job.folder, EXPORT))
    exported = _export(job, sample, written) if settings.export else []
    details = sample.details | {
        "asked_with": job.plan.settings["asked"] | {"hash": fingerprint(**job.plan.settings["asked"])},
        "by_language": by_language(sample, asked, decided),
        LEFT_OUT: left_out(carried),
        "timings": {"spent": _spent(job, settings)},
    }
    return Outcome([*sample.parts, *blocks, verdicts, *written, *carried], details, exported)


def _decided(job: Job, verdicts: Part) -> pa.Table:
    urls = [storage.join(job.folder, file.path) for file in verdicts.files]
    return pa.Table.from_batches([batch for url in urls for batch in read_batches(url)], VERDICT)


def _export(job: Job, sample: Sample, written: list[Part]) -> list[ShardFile]:
    questions = [storage.join(job.folder, f.path) for part in written for f in part.files if f.role == QUESTIONS]
    progress.announce(job.folder, [EXPORT])
    documents = [sample.url(file) for file in sample.files(DOCUMENTS)]
    return write_export(job.folder, documents, questions, TaskProgress(job.folder, EXPORT).beat)


def by_language(sample: Sample, asked: pa.Table, decided: pa.Table) -> dict[str, dict[str, Any]]:
    """Counts, tokens, seconds of the server and money of each language."""
    documents = sample.rows(DOCUMENTS, ["language", "split"])
    rows = sample.rows(PARAGRAPHS, ["language"])
    for name in ("tries", "input_tokens", "output_tokens", "seconds", "money"):
        rows = rows.append_column(name, asked[name])
    rows = rows.append_column("kept", pc.cast(decided["reason"].is_null(), pa.int64()))
    found: dict[str, dict[str, Any]] = {}
    for row in documents.group_by(["language", "split"]).aggregate([([], "count_all")]).to_pylist():
        found.setdefault(row["language"], {"documents": {}})["documents"][row["split"]] = row["count_all"]
    sums = [("tries", "sum"), ("input_tokens", "sum"), ("output_tokens", "sum"), ("seconds", "sum"), ("money", "sum")]
    for row in rows.group_by("language").aggregate([([], "count_all"), ("kept", "sum"), *sums]).to_pylist():
        figures = {name.removesuffix("_sum"): value for name, value in row.items() if name.endswith("_sum")}
        figures["seconds"], figures["money"] = round(figures["seconds"], 3), round(figures["money"], 6)
        found[row["language"]] |= {"paragraphs": row["count_all"]} | figures
    return {language: found[language] for language in sorted(found)}


def notes(details: Mapping[str, Any]) -> list[str]:
    """Sentences for a user about what was left out and where there are fewer documents than wanted, of a sample's details or
    a finished job's."""
    told = [
        f"{language}: {rows:,} paragraphs were passed over: they are in another language than their document"
        for language, rows in details[PASSED_OVER].items()
    ]
    if lost := details.get(LEFT_OUT):
        told.append(f"{lost:,} extracted pairs were left out: they are of documents of dev and test")
    return [*told, *details["shortfalls"]]


def _spent(job: Job, settings: SynthesizeSettings) -> dict[str, Any]:
    """What the account has cost over all runs and processes, answers that were asked for again included."""
    client = client_of(settings, job.folder)
    with closing(Cache(client.answers)) as cache:
        return asdict(cache.spent(client.account))
