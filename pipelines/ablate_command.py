"""`pairmill ablate`: runs all variants of a recipe, and shows and writes the table."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from pipelines import storage
from pipelines.ablation import AblationRun, ablation_runs, load_ablation, run_all
from pipelines.ablation_results import AblationTable, ablation_table, ablation_view, as_markdown
from pipelines.display import choose_display
from pipelines.launcher import Event
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder, absolute


def ablate(console: Console, recipe: str, vary: str, folder: str | None, *, log_json: bool) -> AblationTable:
    """Run what is not up to date, and write FOLDER/ablation.json and ablation.md.

    Raises UserError for mistakes in either file, before anything runs, and what jobs raise.
    """
    ablation = load_ablation(vary)
    folder = absolute(RunFolder(folder or f"runs/{load_recipe(recipe).name}-ablation")).url
    runs = ablation_runs(recipe, ablation, folder)
    run_all(runs, lambda run: _shown(console, run, len(runs), log_json))
    table = ablation_table(runs)
    storage.write_json(storage.join(folder, "ablation.json"), table.as_json())
    with storage.atomic_write(storage.join(folder, "ablation.md")) as stream:
        stream.write(as_markdown(table).encode())
    if not log_json:
        console.print(ablation_view(table), highlight=False)
        console.print(f"Written: {folder}/ablation.json and .md", highlight=False, markup=False, soft_wrap=True)
    return table


@contextmanager
def _shown(console: Console, run: AblationRun, runs: int, log_json: bool) -> Iterator[Callable[[Event], None]]:
    if not log_json:
        console.print(f"[bold]{escape(run.variant.name)}[/], seed {run.seed} (one of {runs} runs)", highlight=False)
    with choose_display(console, log_json) as display:
        yield display
