"""A hostile corpus through the whole chain: it is shown, never obeyed, and nothing is written outside the run folder."""

import csv
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from pipelines.job_process import execute
from pipelines.manifest import read_manifest
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder
from tests.pipelines.conftest import tiny_model  # noqa: F401
from tests.security.hostile import (
    FRONT_MATTER,
    HOSTILE,
    UNSEEN,
    assert_shows_nothing_unseen,
    every_file,
    hostile_rows,
    pairmill_here,
    snapshot,
    write_hostile_corpus,
)

LABEL = f"../evil/{HOSTILE.split(FRONT_MATTER, maxsplit=1)[0]}"[:200]


@dataclass(frozen=True)
class Finished:
    place: Path  # holds corpus, recipe, run and the folders that must stay as they are
    before: dict[str, str]

    @property
    def run(self) -> Path:
        return self.place / "a" / "b" / "run"

    @property
    def recipe(self) -> Path:
        return self.place / "a" / "b" / "recipe.yaml"


def _evaluation_set(folder: Path) -> None:
    (folder / "qrels").mkdir(parents=True)
    rows = hostile_rows(12)
    corpus = [{"_id": f"../../p{n}/{n}=1", "title": row["title"], "text": row["body"]} for n, row in enumerate(rows)]
    queries = [{"_id": f"=cmd|{n}<script>", "text": row["title"]} for n, row in enumerate(rows)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    lines = [f"=cmd|{n}<script>\t../../p{n}/{n}=1\t1\n" for n in range(12)]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))


def _recipe(place: Path, model: str) -> dict:
    encoder = {"model": model, "max_query_length": 32, "max_passage_length": 64, "precision": "fp32"}
    source = {"source": "jsonl", "label": LABEL, "paths": [f"{place}/corpus/*"], "query": "title", "positive": "body"}
    return {
        "name": "hostile",
        "sources": [source | {"document_id": "id", "language": "en", "license": HOSTILE}],
        "extract": {"max_quarantined_share": 1.0},
        "filter": {"preset": "c-mtp"},
        "dedup": {"held_out_share": 0.3},
        "score": {"encoder": encoder, "threshold": -1},
        "mine": {"encoder": encoder, "select": {"rank_window": [0, 20], "negatives": 2, "max_share_of_positive": None}},
        "pack": {"model": model, "packing": {"max_query_length": 32, "max_passage_length": 64}},
        "train": {"model": model, "steps": 2, "batch_size": 4, "precision": "fp32"},
        "evaluate": {"data": [f"{place}/sets/evil"]},
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Iterator[Finished]:  # noqa: F811
    place = tmp_path_factory.mktemp("hostile")
    made = Finished(place, {})
    made.run.mkdir(parents=True)
    write_hostile_corpus(place / "corpus")
    _evaluation_set(place / "sets" / "evil")
    made.recipe.write_text(yaml.safe_dump(_recipe(place, tiny_model)))
    before = snapshot(place, made.run)
    here = Path.cwd()
    os.chdir(made.recipe.parent)
    try:
        recipe = load_recipe(str(made.recipe))
        (made.run / "recipe.yaml").write_text(made.recipe.read_text())
        for job in recipe.jobs():
            execute(str(made.recipe), RunFolder(str(made.run)), job)
        yield Finished(place, before)
    finally:
        os.chdir(here)


def test_every_row_is_accounted_for(finished: Finished) -> None:
    manifest = read_manifest(str(finished.run / "extract"))
    assert manifest is not None
    assert manifest.rows_out == 60
    assert manifest.details["quarantined"] == 12  # of each file 3, one of which has three line breaks within


def test_nothing_is_written_outside_the_run_folder(finished: Finished) -> None:
    assert snapshot(finished.place, finished.run) == finished.before


def test_no_file_of_the_run_is_named_by_data_beyond_plain_characters(finished: Finished) -> None:
    for path in finished.run.rglob("*"):
        assert not path.is_symlink(), path
        assert re.fullmatch(r"[\w.,=+@%#~-]+", path.name), path


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += attrs


def test_no_element_or_attribute_of_the_page_comes_from_data(finished: Finished) -> None:
    text = (finished.run / "report" / "index.html").read_text()
    page = _Page(text)
    assert not {"script", "img", "iframe", "object", "embed", "link", "base", "form"} & page.elements
    for name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in ("src", "srcset", "style", "xlink:href", "action", "formaction")
        assert name != "href" or re.fullmatch(r"#[a-z0-9-]+|side_by_side\.html", value or ""), value
    assert "&lt;script&gt;" in text
    assert UNSEEN.search(text) is None


COMMANDS = [
    ("status", "RUN"),
    ("status", "RUN", "--json"),
    ("rejects", "RUN"),
    ("rejects", "RUN", "--json"),
    ("evaluate-data", "RUN"),
    ("evaluate-data", "RUN", "--json"),
    ("lineage", "RUN", "--document-id", hostile_rows(2)[1]["id"]),
    ("forget", "RUN", "--document-id", hostile_rows(2)[1]["id"], "--dry-run"),
    ("verify", "RUN"),
    ("clean", "RUN", "--dry-run"),
    ("refresh", "RECIPE", "--run-folder", "RUN", "--dry-run"),
    ("refresh", "RECIPE", "--run-folder", "RUN", "--dry-run", "--json"),
    ("preview", "jsonl", "CORPUS", "--set", "query=title", "--set", "positive=body"),
    ("preview", "jsonl", "CORPUS", "--set", "query=title", "--set", "positive=body", "--json"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join((*command[:1], *command[4:]))[:40])
def test_no_text_of_the_data_reaches_the_terminal_unescaped(
    finished: Finished, capfd: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    corpus = min((finished.place / "corpus").iterdir())
    places = {"RUN": str(finished.run), "RECIPE": str(finished.recipe), "CORPUS": str(corpus)}
    code = pairmill_here(*(places.get(word, word) for word in command))
    captured = capfd.readouterr()
    assert code in (0, 1), captured.err
    assert captured.out
    assert_shows_nothing_unseen(captured.out, captured.err)
    if "--json" in command:
        for line in captured.out.splitlines():
            json.loads(line)
    assert snapshot(finished.place, finished.run) == finished.before


def test_the_data_card_says_no_more_than_its_own_front_matter(finished: Finished) -> None:
    text = (finished.run / "pack" / "README.md").read_text()
    front, body = text.split("\n---\n", maxsplit=1)
    card = yaml.safe_load(front.removeprefix("---\n"))
    assert "mit" not in str(card.get("license"))
    assert UNSEEN.search(text) is None
    assert "<script" not in body
    assert "<img" not in body
    assert "](javascript:" not in body
    json.loads((finished.run / "pack" / "croissant.json").read_text())


def test_the_model_card_holds_no_markup_of_the_data(finished: Finished) -> None:
    text = (finished.run / "train" / "model" / "README.md").read_text()
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "[here](" not in text
    assert UNSEEN.search(text) is None


def test_no_cell_of_a_table_is_a_formula(finished: Finished, tmp_path: Path) -> None:
    tables = [path for path in every_file(finished.run) if path.suffix in (".csv", ".tsv")]
    for path in tables:
        with path.open(newline="") as stream:
            for row in csv.reader(stream, delimiter="\t" if path.suffix == ".tsv" else ","):
                assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))], path
