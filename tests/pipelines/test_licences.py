import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from pipelines.command_line import app
from pipelines.launcher import run_recipe
from pipelines.licences import LicenceSettings, allowed_rows
from pipelines.manifest import Manifest, read_manifest
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder

LICENCES = [
    "CC BY 4.0",
    "https://creativecommons.org/licenses/by-sa/4.0/",
    "cc0",
    None,
    "CC-BY-NC-4.0",
    "MIT OR proprietary",
]
ROWS = [
    {
        "title": f"Frage {n} über Äpfel",
        "body": f"Antwort {n}: 苹果 и яблоки number {n}.",
        "id": f"d{n}",
        "license": name,
    }
    for n, name in enumerate(LICENCES)
]


@pytest.mark.parametrize(
    ("only", "unknown", "allowed"),
    [
        ((), "drop", [True] * 6),
        (("cc-by-4.0",), "drop", [True, False, False, False, False, False]),
        (("CC BY-SA 4.0", "cc0-1.0"), "drop", [False, True, True, False, False, False]),
        (("cc-by*",), "drop", [True, True, False, False, True, False]),
        (("cc-by-[0-9]*",), "drop", [True, False, False, False, False, False]),
        (("cc0-1.0",), "keep", [False, False, True, True, False, False]),
        (("mit",), "drop", [False, False, False, False, False, True]),
        (("*",), "drop", [True, True, True, False, True, True]),
    ],
)
def test_rows_are_allowed_by_name_and_family(only: tuple[str, ...], unknown: str, allowed: list[bool]) -> None:
    settings = LicenceSettings(only=only, unknown=unknown)
    assert allowed_rows(pa.array(LICENCES, pa.string()), settings).to_pylist() == allowed


@given(st.lists(st.none() | st.text(max_size=12) | st.sampled_from(LICENCES), max_size=30))
def test_a_row_is_judged_alone(licences: list[str | None]) -> None:
    settings = LicenceSettings(only=("cc-by-4.0", "mit", "c*"))
    rows = allowed_rows(pa.array(licences, pa.string()), settings).to_pylist()
    assert rows == [settings.allows(licence) for licence in licences]


def test_both_licences_of_a_conjunction_are_needed() -> None:
    assert not LicenceSettings(only=("mit",)).allows("MIT AND CC-BY-NC-4.0")
    assert LicenceSettings(only=("mit", "cc-by-nc-4.0")).allows("MIT AND CC-BY-NC-4.0")


@pytest.mark.parametrize(
    "licence",
    [
        *("CC-BY-4.0, but not for sale", "cc-by-4.0-noncommercial-addendum", "CC BY 4.0 NC", "CC-BY-NC 4.0"),
        *("CC BY-SA or GPL", "(CC-BY-4.0 OR MIT) AND CC-BY-NC-4.0", "CC-BY-NC-4.0 AND (MIT OR CC-BY-4.0)", "unknown"),
    ],
)
def test_a_family_takes_no_licence_with_more_conditions(licence: str) -> None:
    settings = LicenceSettings(only=("cc-by-[0-9]*", "mit", "apache*"))
    assert not settings.allows(licence)
    assert settings.allows("CC BY 3.0 DE") and settings.allows("CC-BY-NC-4.0 OR MIT")
    assert LicenceSettings(only=("*",)).allows(licence) == (licence != "unknown")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="an empty name is no licence"):
        LicenceSettings(only=("cc-by-4.0", " "))


def write_recipe(folder: Path, **changes: object) -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    source = {"source": "jsonl", "label": "mixed", "paths": [f"{folder}/rows.jsonl"], "query": "title"}
    source |= {"positive": "body", "document_id": "id", "kind": "title_body", "license_field": "license"}
    recipe = folder / "licences.yaml"
    recipe.write_text(yaml.safe_dump({"name": "licences", "sources": [source], "dedup": {"near": None}} | changes))
    return recipe


def manifest_of(folder: Path, recipe: Path, job: str = "extract") -> Manifest:
    loaded = load_recipe(str(recipe))
    run = RunFolder(str(folder / "run"))
    run_recipe(loaded, run, lambda event: None, ["extract", "dedup"])
    found = read_manifest(run.job(job))
    assert found is not None
    return found


def test_pairs_of_other_licences_are_dropped_and_counted_before_anything_else_sees_them(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, licences={"only": ["cc-by-[0-9]*", "cc0-1.0"]})
    manifest = manifest_of(tmp_path, recipe)
    assert (manifest.rows_in, manifest.rows_out, manifest.dropped) == (6, 2, {"licence_not_allowed": 4})
    passages = pa.concat_tables([pq.read_table(path) for path in (tmp_path / "run/dedup/passages").glob("*.parquet")])
    assert sorted(passages["text"].to_pylist()) == [ROWS[0]["body"], ROWS[2]["body"]]
    rejects = pa.concat_tables([pq.read_table(path) for path in (tmp_path / "run/extract/rejects").glob("*.parquet")])
    assert rejects["license"].to_pylist() == [LICENCES[1], *LICENCES[3:]]


def test_another_choice_of_licences_extracts_again_and_none_changes_nothing(tmp_path: Path) -> None:
    all_licences = manifest_of(tmp_path, write_recipe(tmp_path))
    assert all_licences.rows_out == 6
    assert (
        manifest_of(tmp_path, write_recipe(tmp_path, licences={"unknown": "keep"})).fingerprint
        == all_licences.fingerprint
    )
    assert manifest_of(tmp_path, write_recipe(tmp_path, licences={"only": ["mit"]})).rows_out == 1
    kept = manifest_of(tmp_path, write_recipe(tmp_path, licences={"only": ["mit"], "unknown": "keep"}))
    assert kept.rows_out == 2


def test_the_command_takes_a_list(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    arguments = ["run", str(recipe), "--run-folder", str(tmp_path / "run"), "--only-licences", "CC0, cc-by-sa-4.0"]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    manifest = read_manifest(str(tmp_path / "run" / "extract"))
    assert manifest is not None and manifest.rows_out == 2
