"""`pairmill synthesize`: questions about the long documents of some files; the output is a run folder like any other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from pipelines import standalone, storage
from pipelines.display import duration
from pipelines.job import Job, finished
from pipelines.jobs import synthesize as job_module
from pipelines.manifest import Manifest
from pipelines.question_asking import QuestionWriter, batches_of, client_of
from pipelines.question_export import EXPORT
from pipelines.question_sample import PARAGRAPHS, Sample, sample_paragraphs
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder, locked
from pipelines.shards import read_batches
from synth.accounting import Estimate
from synth.chat_request import ChatRequest
from synth.client import ChatClient
from synth.prompts import load_prompt

NOTES_SHOWN = 8


@dataclass(frozen=True)
class Inputs:
    """Files of documents, the adapter that reads them, and its settings."""

    paths: Sequence[str]
    source: str
    settings: dict[str, Any]


def synthesize_recipe(inputs: Inputs, settings: dict[str, Any], seed: int) -> Recipe:
    """A recipe of extract, synthesize and report. Raises UserError for settings that do not fit."""
    entry = {"source": inputs.source, "paths": list(inputs.paths), "documents": True, **inputs.settings}
    return standalone.recipe({"name": "synthesize", "seed": seed, "sources": [entry], "synthesize": settings})


def estimate(recipe: Recipe, run: RunFolder) -> tuple[Sample, Estimate]:
    """What the job would ask for, once extract is done: documents and paragraphs are chosen, nothing is sent.

    Raises what sample_paragraphs and ChatClient.estimate raise.
    """
    settings = recipe.synthesize
    assert settings is not None
    with locked(run):
        plan = job_module.plan(recipe, run)
        job = Job("synthesize", recipe, run, plan, plan.fingerprint("synthesize", job_module.VERSION))
        storage.make_folder(job.folder)
        sample = sample_paragraphs(job, settings, job_module.VERSION)
        client = client_of(settings, job.folder)
        writer = QuestionWriter(settings, load_prompt(settings.prompt), client, batches_of(settings, job.folder))
        return sample, ChatClient(client).estimate(_requests(sample, writer))


def _requests(sample: Sample, writer: QuestionWriter) -> Iterator[ChatRequest]:
    for file in sample.files(PARAGRAPHS):
        for batch in read_batches(sample.url(file), rows=512):
            yield from writer.requests(batch.to_pylist())


def tell_costs(console: Console, recipe: Recipe, run: RunFolder) -> None:
    """Show what the same command would ask for. Sends nothing."""
    settings = recipe.synthesize
    assert settings is not None
    sample, costs = estimate(recipe, run)
    about = "about " if costs.tokens_are_estimated else ""
    share = settings.client.prices.batch_share if settings.batch is not None else 1.0
    days = (
        "a day or less a batch"
        if settings.batch is not None
        else "not known: no answer has come yet, and no limit is set"
    )
    lines = [
        f"{sample.paragraphs:,} paragraphs of {sample.details['documents_read']:,} documents read",
        f"{costs.calls:,} calls ({costs.from_cache:,} answered already, {costs.duplicates:,} twice)",
        f"{about}{costs.input_tokens:,} input tokens, at most {costs.output_tokens_at_most:,} output tokens",
        f"at most {costs.money_at_most * share:,.2f} of the currency of the prices"
        + ("" if costs.money_left is None else f"; {costs.money_left:,.2f} of the budget left"),
        f"hours: {days if costs.hours is None or settings.batch is not None else f'{costs.hours:,.2f}'}",
    ]
    if settings.retry or settings.judge is not None:
        lines.append("beside that: rejected questions that are asked for again, and the judge's grades")
    lines += job_module.notes(sample.details)[:NOTES_SHOWN]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def show_end(console: Console, run: RunFolder) -> None:
    """What came of it, by language, and where it lies."""
    manifest = finished(run, "synthesize")
    console.print(synthesized_table(manifest), highlight=False)
    folder = storage.join(run.job("synthesize"), EXPORT)
    if any(file.role == EXPORT for file in manifest.files):
        console.print(f"Benchmark: {folder}", highlight=False, markup=False, soft_wrap=True)


def synthesized_table(manifest: Manifest) -> Group:
    """Documents, paragraphs, questions kept, tokens, seconds and money of each language; rejected questions by reason."""
    table = Table(title="Questions", title_justify="left", header_style="bold")
    table.add_column("language", no_wrap=True)
    for column in (
        "documents",
        "distractors",
        "asked",
        "kept",
        "input tokens",
        "output tokens",
        "server time",
        "money",
    ):
        table.add_column(column, justify="right")
    for language, figures in manifest.details["by_language"].items():
        documents = figures["documents"]
        asked = sum(rows for split, rows in documents.items() if split != "corpus")
        cells = [f"{asked:,}", f"{documents.get('corpus', 0):,}", f"{figures.get('paragraphs', 0):,}"]
        cells += [f"{figures.get(name, 0):,}" for name in ("kept", "input_tokens", "output_tokens")]
        cells += [duration(figures.get("seconds", 0.0)), f"{figures.get('money', 0.0):,.2f}"]
        table.add_row(escape(language), *cells)
    reasons = Table(title="Rejected", title_justify="left", header_style="bold")
    reasons.add_column("reason")
    reasons.add_column("questions", justify="right")
    reasons.add_column("")
    for reason, rows in sorted(manifest.dropped.items(), key=lambda item: (-item[1], item[0])):
        reasons.add_row(escape(reason), f"{rows:,}", escape(job_module.REASONS.get(reason, "")))
    notes = [escape(sentence) for sentence in job_module.notes(manifest.details)]
    return Group(table, *([reasons] if manifest.dropped else []), *notes[:NOTES_SHOWN])
