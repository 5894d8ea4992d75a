"""The list of sources: on the screen, for machines, and in docs/sources.md."""

import importlib
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from pipelines.command_line import app
from pipelines.preview import preview_pairs
from pipelines.sources_page import with_new_table
from sources import catalogue
from sources.source import SourceError, Split
from tests.sources.reading_all import write

PAGE = Path(__file__).parents[2] / "docs" / "sources.md"


def test_the_table_in_the_docs_is_that_of_the_adapters() -> None:
    page = PAGE.read_text("utf-8")
    assert with_new_table(page) == page, "run `make docs`"


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the line"):
        with_new_table("# Sources")


def test_all_about_one_source_names_its_settings() -> None:
    shown = CliRunner().invoke(app, ["sources", "jsonl"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    assert "max_line_bytes" in shown.output
    listed = CliRunner().invoke(app, ["sources", "--json"])
    names = [json.loads(line)["name"] for line in listed.output.splitlines()]
    assert names == catalogue.source_names()


def test_the_languages_and_directions_are_listed() -> None:
    listed = CliRunner().invoke(app, ["languages"]).output.split()
    assert {"eng_Latn", "zho_Hans", "swh_Latn"} <= set(listed)
    assert len(listed) >= 194
    directions = CliRunner().invoke(app, ["languages", "--directions"]).output.splitlines()
    assert "ces_Latn ukr_Cyrl" in directions
    assert len(directions) >= 2655


def test_a_preview_does_not_wait_for_negatives_that_come_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.preview.READ_AT_MOST", 8 << 20)
    row = {"gold_label": "entailment", "sentence2": "It is a mill. " * 30}
    lines = (json.dumps(row | {"sentence1": f"Premise number {number}. " * 20}) for number in range(20_000))
    file = write(tmp_path / "multinli_1.0_train.jsonl", "\n".join(lines))
    found = preview_pairs("multi_nli", [str(file)], {}, rows=5)
    assert len(found.pairs) == 5


@pytest.fixture
def example() -> ModuleType:
    """The adapter that the docs show, as they show it."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert code is not None
    module = ModuleType("example_times")
    exec(compile(code[1], str(PAGE), "exec"), module.__dict__)
    return module


def test_the_adapter_of_the_docs_works(example: ModuleType, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "id,headline,story,link\n7,Rain,It rained all day.,https://example.org/7\n")
    steps = list(example.SOURCE.read(Split(str(file)), example.SOURCE.Settings()))
    pair = steps[0].pairs.to_pylist()[0]
    assert (pair["query"], pair["positive"], pair["document_id"]) == ("Rain", "It rained all day.", "7")
    assert (pair["positive_lang"], pair["url"]) == ("eng_Latn", "https://example.org/7")


def test_another_package_adds_a_source_by_an_entry_point(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "more_corpora-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: more-corpora\nVersion: 1.0\n")
    entries = ["example_times = more_corpora:SOURCE", "broken = more_corpora:NOTHING", "jsonl = more_corpora:SOURCE"]
    entries += ["misnamed = more_corpora:SOURCE", "absent = no_such_package:SOURCE"]
    (package / "entry_points.txt").write_text("[pairmill.sources]\n" + "\n".join(entries) + "\n")
    code = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert code is not None
    (tmp_path / "more_corpora.py").write_text(code[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    catalogue._added.cache_clear()
    try:
        assert {"example_times", "broken", "misnamed"} <= set(catalogue.source_names())
        assert catalogue.load_source("example_times").summary == "articles of the Example Times"
        assert catalogue.load_source("jsonl").name == "jsonl"  # ours stays ours
        for name in ("broken", "misnamed", "absent"):
            with pytest.raises(SourceError, match=f"source '{name}'"):
                catalogue.load_source(name)
    finally:
        catalogue._added.cache_clear()
