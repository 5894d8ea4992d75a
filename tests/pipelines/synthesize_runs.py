"""Documents, recipes and a model behind a scripted server, for tests of job synthesize."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from pipelines.job_process import execute
from pipelines.launcher import Event, run_recipe
from pipelines.manifest import read_manifest
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder
from tests.synth.scripted_server import Asked, Good

PLACES = ["Arbon", "Birkdale", "Corvara", "Dunmore", "Elmshorn", "Farsund", "Gallen", "Hornsea", "Ivrea", "Jastarnia"]
_NAME = re.compile(r"the harbour of ([A-Z][a-z]+) in the year (\d+)")


def paragraph(place: str, year: int) -> str:
    """Prose of about 420 characters; place and year tell it from all others."""
    return (
        f"Merchants who came to the harbour of {place} in the year {year} paid a toll on every barrel of salted fish, and the "
        "council spent the money on a wall of granite that kept the autumn storms away from the boats. The wall was finished "
        "within three summers, though a fire in the rope works delayed the masons. Sailors remembered the feast that was given "
        "on the day when the last stone was set, and the accounts of the guild tell what it had cost."
    )


def document(number: int, paragraphs: int = 3) -> dict[str, str]:
    place = PLACES[number % len(PLACES)]
    body = "\n\n".join(paragraph(place, 1500 + 10 * number + part) for part in range(paragraphs))
    return {"id": f"d{number}", "title": f"Harbours, part {number}", "text": body, "language": "en"}


def write_documents(folder: Path, count: int, files: int = 2, paragraphs: int = 3) -> None:
    """JSONL files of documents, dealt out in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in range(files):
        rows = [document(number, paragraphs) for number in range(file, count, files)]
        (folder / f"part-{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_recipe(file: Path, documents: Path, url: str, **changes) -> Path:
    """A recipe of extract and synthesize; `client` and `sampling` add to what is set here."""
    client = {"base_url": url, "model": "m", "key_variable": None, "first_wait_seconds": 0.01}
    client |= {"longest_wait_seconds": 0.05, "in_flight": 8, **changes.pop("client", {})}
    counts = {"train": 6, "dev": 2, "test": 2, "distractors": 2}
    sampling = {"min_length": 200, "max_length": 100_000, "counts": counts, **changes.pop("sampling", {})}
    others = changes.pop("others", {})
    content = {
        "name": "questions",
        "sources": [{"source": "documents", "paths": [f"{documents}/*.jsonl"], "license": "CC0-1.0"}],
        "synthesize": {"client": client, "sampling": sampling, "prompt": "mldr", **changes},
        **others,
    }
    file.write_text(yaml.safe_dump(content))
    return file


def good_question(asked: Asked) -> Good:
    """A question that passes the checks, about the paragraph that was shown."""
    found = _NAME.search(asked.prompt)
    assert found is not None, asked.prompt
    return Good(f"Which building did the council of {found[1]} pay for with the fish toll of {found[2]}?")


def run_here(recipe: Path, folder: Path) -> None:
    """Extract and synthesize, and what follows in the recipe, in this process; up to date or not."""
    for job in load_recipe(str(recipe)).jobs():
        if job != "report":
            execute(str(recipe), RunFolder(str(folder)), job)


def run_with_launcher(recipe: Path, folder: Path) -> list[tuple[str, str]]:
    """The whole recipe as `pairmill run` runs it: (job, skipped or finished)."""
    events: list[Event] = []
    run_recipe(load_recipe(str(recipe)), RunFolder(str(folder)), events.append)
    return [(event.job, event.kind) for event in events if event.kind in ("skipped", "finished")]


def rows_of(folder: Path, role: str, job: str = "synthesize") -> list[dict]:
    manifest = read_manifest(str(folder / job))
    return [row for file in manifest.files_of(role) for row in pq.read_table(folder / job / file.path).to_pylist()]
