"""`pairmill judge`: its settings, its progress bar, and what it shows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipelines import storage
from pipelines.errors import UserError
from pipelines.exports import FLAGEMBEDDING
from pipelines.filter_input import is_run
from pipelines.jobs.mine import MINED
from pipelines.judge_pairs import (
    counts_table,
    estimate_files,
    judge_files,
    pairs_asked,
    sample_files,
    sample_table,
)
from pipelines.judges import ChosenJudge, make_judge
from pipelines.manifest import input_names, read_manifest
from pipelines.mining.inputs import files_of
from pipelines.recipe import explain_validation
from pipelines.report.false_negatives import keep_estimate
from pipelines.run_folder import RunFolder
from synth.judge import LlmJudge
from trainer.false_negatives import RELEVANT
from trainer.judge import JudgeSettings


@dataclass(frozen=True)
class Judging:
    """What is judged, and what becomes of it."""

    pairs: tuple[str, ...]
    output: str | None  # all is judged and written here, or
    estimate: int | None  # so many negatives are judged, and their share of false ones told
    clean: bool
    seed: int
    examples: int
    report_file: str | None

    def __post_init__(self) -> None:
        if (self.output is None) == (self.estimate is None):
            raise UserError("Name the file to write with --output, or how many negatives to judge with --estimate.")

    @property
    def run(self) -> RunFolder | None:
        """The run whose mined negatives are judged; None where files are named."""
        return RunFolder(self.pairs[0]) if len(self.pairs) == 1 and is_run(self.pairs[0]) else None

    def files(self) -> list[str]:
        """The files of pairs, globs resolved; of a run those that job pack exports."""
        run = self.run
        if run is None:
            return files_of(self.pairs, "--pairs")
        folder = storage.join(run.job("pack"), FLAGEMBEDDING)
        names = storage.list_files(folder, ".jsonl")
        if not names:
            raise UserError(
                f"There are no mined negatives in {folder}: run the jobs mine and pack first, with "
                "pack.export_flagembedding on."
            )
        mine, pack = read_manifest(run.job("mine")), read_manifest(run.job("pack"))
        if mine and pack and any(each not in pack.inputs for each in input_names(mine.files_of(MINED), "mine")):
            raise UserError(f"The negatives in {folder} are those of an earlier mining: run the job pack again first.")
        return [storage.join(folder, name) for name in names]


def judge(console: Console, judging: Judging, settings: dict[str, Any]) -> None:
    """Judge pairs and their negatives, or a sample of these. Raises UserError for settings that do not fit."""
    chosen = _chosen(settings)
    _check_rules(chosen, judging)
    files, judge = judging.files(), make_judge(chosen)
    columns = (TextColumn("judged {task.completed:,.0f} pairs"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("judge", total=judging.estimate)

        def tell(pairs: int) -> None:
            progress.update(bar, completed=pairs)

        facts: dict[str, Any] = {"judge": judge.name}
        if judging.output is None:
            relevant = chosen.max_score or RELEVANT
            wanted = judging.estimate or 0
            sample = estimate_files(files, judge, wanted, seed=judging.seed, relevant=relevant, tell=tell)
            shown = sample_table(sample, relevant, judging.examples)
            facts |= sample.as_json()
            if judging.run is not None:
                keep_estimate(judging.run, judge.name, sample, relevant)
                shown = Group(shown, f"`pairmill report {escape(judging.run.url)}` puts it on the run's page.")
        else:
            counts = judge_files(files, judging.output, judge, chosen.rules if judging.clean else None, tell)
            shown = counts_table(counts)
            facts |= counts
    console.print(shown, highlight=False)
    if judging.report_file:
        storage.write_json(judging.report_file, facts)


def tell_costs(console: Console, judging: Judging, settings: dict[str, Any]) -> None:
    """Show what the same command would ask an LLM for. Sends nothing."""
    judge = make_judge(_chosen(settings))
    if not isinstance(judge, LlmJudge):
        raise UserError(
            "--dry-run tells what an LLM would cost: name one with --llm. A cross-encoder costs nothing but time."
        )
    costs = judge.estimate(_asked(judging))
    tokens = "about " if costs.tokens_are_estimated else ""
    console.print(
        f"{costs.requests:,} pairs: {costs.calls:,} calls ({costs.from_cache:,} answered already, {costs.duplicates:,} twice)\n"
        f"{tokens}{costs.input_tokens:,} input tokens, at most {costs.output_tokens_at_most:,} output tokens\n"
        f"at most {costs.money_at_most:,.2f} of the currency of the prices"
        + ("" if costs.money_left is None else f"; {costs.money_left:,.2f} of the budget left")
        + ("" if costs.hours is None else f"\n{costs.hours:,.1f} hours"),
        highlight=False,
    )


def _check_rules(chosen: ChosenJudge, judging: Judging) -> None:
    """Refuse settings that would be without effect: all negatives are judged, and rules speak in --clean alone."""
    effective = {"max_score"} if judging.output is None else set(JudgeSettings.model_fields) if judging.clean else set()
    given = chosen.model_fields_set & JudgeSettings.model_fields.keys()
    if idle := sorted(given - (effective - {"depth"})):
        raise UserError(
            f"{', '.join(idle)} would have no effect here: leave it out. --estimate goes by max_score alone, --output by the "
            "rules only with --clean, and both judge all negatives, not the first `depth` as mining does."
        )


def _asked(judging: Judging) -> Iterable[tuple[str, str]]:
    if judging.estimate is None:
        return pairs_asked(judging.files())
    queries, negatives = sample_files(judging.files(), judging.estimate, judging.seed).texts()
    return zip(queries.to_pylist(), negatives.to_pylist(), strict=True)


def _chosen(settings: dict[str, Any]) -> ChosenJudge:
    try:
        return ChosenJudge.model_validate(settings)
    except ValidationError as error:
        raise UserError(explain_validation(error, "the command line", {}, ChosenJudge)) from None
