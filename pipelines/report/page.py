"""Reads a run folder and renders its page: one HTML file without a request to anywhere, without script, and with a content
policy that allows no more than its own style sheet.

Same run folder, same bytes: nothing of the clock enters but the durations that the manifests hold.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import jinja2

from pipelines import __version__
from pipelines.job import DOCUMENTS, HELD_OUT, PAIRS
from pipelines.recipe import Recipe
from pipelines.report import (
    distributions,
    false_negatives,
    funnel,
    leakage,
    mined,
    provenance,
    refresh,
    relevance,
    samples,
    synthesized,
    text,
    training,
)
from pipelines.report.finished_run import FinishedRun
from pipelines.run_folder import RunFolder

TEMPLATE: Final = "template.html"
STYLE: Final = "style.css"


@dataclass(frozen=True)
class Totals:
    """The figures at the head of the page; None where the job that knows one is not finished or not in the recipe."""

    records: int | None
    unread: int | None
    documents: int
    extracted: int | None
    kept: int | None
    held_out: int
    training_pairs: int | None
    negatives: int | None
    mined_queries: int | None


def totals(finished: FinishedRun) -> Totals:
    done = finished.manifests
    extract, pack, mine = done.get("extract"), done.get("pack"), done.get("mine")
    last = finished.pairs_job()
    return Totals(
        records=extract.details.get("records") if extract else None,
        unread=extract.details.get("quarantined") if extract else None,
        documents=sum(file.rows for file in finished.files("extract", DOCUMENTS)),
        extracted=extract.rows_out if extract else None,
        kept=sum(file.rows for file in finished.files(last, PAIRS, HELD_OUT)) if last else None,
        held_out=sum(file.rows for file in finished.files(last, HELD_OUT)) if last else 0,
        training_pairs=sum(file.rows for file in finished.files("pack", PAIRS)) if pack else None,
        negatives=mine.details.get("negatives") if mine else None,
        mined_queries=mine.details.get("queries") if mine else None,
    )


def render(recipe: Recipe, run: RunFolder, tell: Callable[[int], None] = lambda rows: None) -> bytes:
    """The page of a run, finished or not, as UTF-8. `tell` gets the number of rows of every batch that was read."""
    finished = FinishedRun.read(recipe, run)
    wanted = recipe.report.samples
    kept = distributions.KeptPairs.read(finished.kept_urls(), wanted, tell)
    reasons = funnel.reasons(finished)
    dropped = samples.dropped_samples(finished, reasons, wanted, tell)
    train = finished.manifests.get("train")
    content: dict[str, Any] = {
        "version": __version__,
        "recipe": recipe,
        "finished": finished,
        "totals": totals(finished),
        "stages": funnel.stages(finished, reasons),
        "by_language": funnel.by_language(finished, reasons),
        "reasons": reasons,
        "reasons_with_samples": {found.reason.anchor for found in dropped},
        "quarantined": samples.quarantined(finished),
        "synthesized": synthesized.synthesized(finished, tell),
        "leakage": leakage.leakage(finished, tell),
        "kept": kept,
        "languages": distributions.languages(kept),
        "character_lengths": distributions.character_lengths(kept) if kept.rows else [],
        "token_lengths": distributions.token_lengths(finished, tell),
        "kept_samples": samples.kept_samples(kept.samples, wanted),
        "dropped_samples": dropped,
        "mined": mined.mined_negatives(finished, tell),
        "false_negatives": false_negatives.false_negatives(finished),
        "relevance": distributions.relevance(finished, tell),
        "threshold_view": relevance.threshold_view(finished, wanted, tell),
        "training": training.training(finished),
        "training_settings": provenance.flat(train.settings) if train else [],
        "evaluation": training.evaluation(finished),
        "refreshes": refresh.refreshes(run),
        "figures": [name for _, name in training.FIGURES],
        "sources": provenance.sources(finished, kept),
        "jobs": provenance.jobs(finished),
    }
    return rendered(TEMPLATE, content)


def rendered(template: str, content: dict[str, Any], more_style: str = "") -> bytes:
    """A template of this folder as UTF-8. Every string is escaped; `more_style` is ours and goes behind style.css."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipelines", "report"),
        autoescape=True,
        finalize=text.visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": text.count,
        "numbered": text.numbered,
        "share": text.share,
        "size": text.size,
        "duration": text.duration,
        "score": text.score,
        "signed": text.signed,
        "direction": text.direction,
    }
    assert environment.loader is not None
    style = environment.loader.get_source(environment, STYLE)[0] + more_style
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment.get_template(template).render(content, style=style, style_hash=style_hash)
    return page.encode()
