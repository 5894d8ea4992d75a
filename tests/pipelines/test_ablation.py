"""`pairmill ablate`: variants make recipes, runs share what is alike, and the table is as calculated by hand."""

import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from pipelines.ablation import Ablation, AblationVariant, ablation_runs, load_ablation
from pipelines.ablation_results import ablation_table, as_markdown
from pipelines.command_line import app
from pipelines.errors import UserError
from pipelines.run_folder import RunFolder
from tests.pipelines.conftest import recipe_content, write_corpus
from tests.pipelines.evaluation_folders import write_beir


@pytest.fixture
def recipe(tmp_path, tiny_model):
    write_corpus(tmp_path / "corpus", files=1)
    content = recipe_content(tmp_path / "corpus", tiny_model)
    for job in ("filter", "score", "mine"):
        del content[job]
    content["dedup"] = {}
    content["train"]["steps"] = 2
    content["sources"].append({**content["sources"][0], "label": "second"})
    content["evaluate"] = {"data": [str(write_beir(tmp_path / "beir"))]}
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def write_vary(folder, **content):
    file = folder / "vary.yaml"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def test_variants_change_the_recipe_and_seeds_the_training(recipe, tmp_path):
    variants = [
        {"name": "all"},
        {"name": "without second", "without_sources": ["second"], "set": {"train.batch_size": 4}},
    ]
    ablation = load_ablation(write_vary(tmp_path, seeds=[3, 4], variants=variants))
    runs = ablation_runs(str(recipe), ablation, str(tmp_path / "runs"))
    assert [(run.variant.name, run.seed) for run in runs] == [
        ("all", 3),
        ("all", 4),
        ("without second", 3),
        ("without second", 4),
    ]
    assert [run.recipe.train.seed for run in runs] == [3, 4, 3, 4]
    assert [run.recipe.train.batch_size for run in runs] == [8, 8, 4, 4]
    assert [len(run.recipe.sources) for run in runs] == [2, 2, 1, 1]
    assert [run.recipe.evaluate.untrained for run in runs] == [True, False, False, False]
    assert {run.recipe.embeddings.folder for run in runs} == {str(tmp_path / "runs" / "embeddings")}
    assert runs[3].folder.url.endswith("runs/without-second/seed-4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "a name of its own"),
        ({"variants": [{"name": "a", "sett": {}}]}, "line 3.*sett"),
        ({"variants": [{"name": "a"}], "seeds": [1, 1]}, "names a seed twice"),
        ({"variants": [{"name": "a", "without_sources": ["third"]}]}, "no source third"),
        ({"variants": [{"name": "a", "without_jobs": ["mine"]}]}, "no job 'mine'"),
        ({"variants": [{"name": "a", "without_jobs": ["train"]}]}, "needs `train`"),
        ({"variants": [{"name": "a", "set": {"train.bach_size": 4}}]}, "bach_size"),
        ({"variants": []}, "variants"),
        ({"variants": [{"name": "untrained"}]}, "choose another"),  # a row of the table
        ({"variants": [{"name": "embeddings"}]}, "choose another"),  # the store of all runs
        ({"variants": [{"name": "a", "set": {"train.seed": 7}}], "seeds": [1, 2]}, "2 times alike"),
    ],
)
def test_mistakes_in_variants_are_told_before_anything_runs(recipe, tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        ablation_runs(str(recipe), load_ablation(write_vary(tmp_path, **content)), str(tmp_path / "runs"))


def test_a_mistake_in_a_variant_names_no_line_of_a_text_that_nobody_wrote(recipe, tmp_path):
    vary = write_vary(tmp_path, variants=[{"name": "a", "set": {"train.bach_size": 4}}])
    with pytest.raises(UserError, match=r"recipe.yaml, variant 'a': unknown setting `train.bach_size`; did you mean"):
        ablation_runs(str(recipe), load_ablation(vary), str(tmp_path / "runs"))


def test_variants_named_in_other_scripts_have_folders_of_their_own(recipe, tmp_path):
    ablation = load_ablation(write_vary(tmp_path, variants=[{"name": "Все данные"}, {"name": "没有新闻"}]))
    runs = ablation_runs(str(recipe), ablation, str(tmp_path / "runs"))
    assert [Path(run.folder.url).parent.name for run in runs] == ["Все-данные", "没有新闻"]


def made_run(folder, variant, seed, values, *, fingerprint="f", untrained=None):
    """A run whose evaluation is written by hand: nDCG@10 of three queries of one set, and an STS task."""
    run = SimpleNamespace(
        variant=AblationVariant(name=variant), seed=seed, folder=RunFolder(str(folder / variant / str(seed)))
    )
    place = folder / variant / str(seed) / "evaluate"
    place.mkdir(parents=True)
    common = {"scope": "all", "mode": "dense", "language": None}
    systems = {"trained": values, **({"untrained": untrained} if untrained else {})}
    rows = []
    for model, of_model in systems.items():
        figures = {"ndcg@10": sum(of_model) / 3}
        rows.append(
            {**common, "model": model, "data": "beir", "task": "retrieval", **figures, "data_fingerprint": fingerprint}
        )
        rows.append({**rows[-1], "scope": "language", "language": "ar", "ndcg@10": 9.0})
        figures = {"main_metric": "cosine_spearman", "cosine_spearman": of_model[0] / 2, "data_fingerprint": "sts"}
        rows.append({**common, "model": model, "data": "sts", "task": "sts", **figures})
    (place / "metrics.json").write_text(json.dumps(rows))
    queries = {
        "model": ["trained"] * 3, "data": ["beir"] * 3, "set_language": pa.array([None] * 3, pa.string()), "mode": ["dense"] * 3,
        "query_id": ["a", "b", "c"], "ndcg@10": values,
    }  # fmt: skip
    pq.write_table(pa.table(queries), place / "metrics.queries.parquet")
    return run


def test_the_table_has_mean_deviation_and_difference_as_by_hand(tmp_path):
    runs = [
        made_run(tmp_path, "all", 0, [0.5, 0.5, 0.5], untrained=[0.1, 0.1, 0.1]),
        made_run(tmp_path, "all", 1, [0.7, 0.7, 0.7]),
        made_run(tmp_path, "less", 0, [0.2, 0.2, 0.2]),
        made_run(tmp_path, "less", 1, [0.4, 0.4, 0.4]),
    ]
    table = ablation_table(runs)
    assert [column.title for column in table.columns] == ["beir", "sts"]
    whole, less = table.rows["all"], table.rows["less"]
    assert whole[0].mean == pytest.approx(0.6) and whole[0].deviation == pytest.approx(0.02**0.5)
    assert less[0].difference == pytest.approx(-0.3)
    # means over the seeds differ by -0.3 for all three queries: 2 of 8 sign patterns are as far from 0
    assert less[0].p_value == pytest.approx(0.25)
    assert less[1].mean == pytest.approx(0.15) and less[1].p_value is None
    # mean of both columns: (0.6 + 0.3) / 2 and (0.3 + 0.15) / 2
    assert whole[2].mean == pytest.approx(0.45) and less[2].difference == pytest.approx(-0.225)
    assert table.rows["untrained"][0].mean == pytest.approx(0.1)
    text = as_markdown(table)
    assert "| less | 0.3000 ± 0.1414 (-0.3000) |" in text and text.startswith("| variant | beir, ndcg@10 |")


def test_sets_whose_data_differ_between_variants_are_not_compared(tmp_path):
    runs = [
        made_run(tmp_path, "all", 0, [0.5, 0.5, 0.5]),
        made_run(tmp_path, "less", 0, [0.2, 0.2, 0.2], fingerprint="other"),
    ]
    table = ablation_table(runs)
    assert table.other_data == ["beir"]
    assert table.rows["less"][0].difference is None and table.rows["less"][1].difference == pytest.approx(-0.15)
    assert table.rows["less"][2].difference is None


@pytest.fixture
def ran(monkeypatch):
    """(variant, job) of what ran, in this process: a process for each job is the launcher's affair."""
    from pipelines import launcher
    from pipelines.job_process import execute
    from pipelines.manifest import read_manifest

    found = []

    def run_job(recipe, run, name, recipe_file, inherited, tell):
        found.append((Path(run.url).parent.name, name))
        execute(recipe_file, run, name)
        return read_manifest(run.job(name))

    monkeypatch.setattr(launcher, "_run_job", run_job)
    return found


def test_runs_share_jobs_that_are_alike_and_end_with_a_table(recipe, tmp_path, ran):
    vary = write_vary(
        tmp_path, variants=[{"name": "as it is"}, {"name": "other rate", "set": {"train.learning_rate": 0.01}}]
    )
    asked = ["ablate", str(recipe), "--vary", vary, "--run-folder", str(tmp_path / "runs")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output + str(result.exception)
    one, other = (tmp_path / "runs" / name / "seed-0" for name in ("as-it-is", "other-rate"))
    shards = sorted(one.glob("pack/pairs/*.parquet"))
    assert shards and all((other / shard.relative_to(one)).stat().st_ino == shard.stat().st_ino for shard in shards)
    assert ran == [
        *(("as-it-is", job) for job in ("extract", "dedup", "pack", "train", "evaluate")),
        *(("other-rate", job) for job in ("train", "evaluate")),
    ]
    told = json.loads((tmp_path / "runs" / "ablation.json").read_text())
    assert [row["name"] for row in told["rows"]] == ["as it is", "other rate", "untrained", "bm25"]
    assert [column["title"] for column in told["columns"]] == ["beir"]
    assert told["rows"][1]["cells"][0]["difference"] is not None
    assert "other rate" in (tmp_path / "runs" / "ablation.md").read_text() and "other rate" in result.output
    ran.clear()
    assert CliRunner().invoke(app, asked).exit_code == 0 and ran == []  # goes on where it was: all is done


def test_a_folder_that_lacks_is_told_before_any_variant_runs(recipe, tmp_path, ran):
    variants = [{"name": "a"}, {"name": "b", "set": {"evaluate.data": [str(tmp_path / "nowhere")]}}]
    asked = ["ablate", str(recipe), "--vary", write_vary(tmp_path, variants=variants)]
    result = CliRunner().invoke(app, [*asked, "--run-folder", str(tmp_path / "runs")])
    assert isinstance(result.exception, UserError) and "nowhere" in str(result.exception)
    assert ran == []


def test_a_file_of_variants_names_its_fields():
    assert set(Ablation.model_fields) == {"variants", "seeds", "seed_settings"}
