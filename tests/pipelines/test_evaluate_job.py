"""Job evaluate of a recipe: folders of several layouts, what it leaves, the store of embeddings, and the report's pages.

The jobs before it are made by hand: manifests, held-out pairs and a model. test_runs.py has all jobs after each other.
"""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.errors import UserError
from pipelines.job import EVALUATION
from pipelines.job_process import execute
from pipelines.jobs.report import write_report
from pipelines.manifest import Manifest, write_manifest
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder
from tests.pipelines.conftest import recipe_content
from tests.pipelines.evaluation_folders import write_beir, write_lines, write_miracl, write_sts


def write_held_out(folder):
    texts = ["copper river engine", "winter garden bridge", "library lantern market"]
    write_lines(folder / "corpus.jsonl", [{"_id": f"d{n}", "text": text} for n, text in enumerate(texts)])
    told = {"language": "eng_Latn", "kind": "title_body"}
    queries = [{"_id": f"q{n}", "text": text.split()[0], "metadata": told} for n, text in enumerate(texts)]
    write_lines(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir()
    judged = [f"q{n}\td{n}\t1\n" for n in range(len(texts))]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))


def write_trained(tiny_model, folder):
    """The tiny model with other weights."""
    import torch
    from transformers import BertModel

    shutil.copytree(tiny_model, folder)
    model = BertModel.from_pretrained(folder, add_pooling_layer=False)
    torch.manual_seed(1)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model):
    """A run whose evaluation and report are made; what comes before them is as if it were finished."""
    folder = tmp_path_factory.mktemp("evaluated")
    content = recipe_content(folder / "corpus", tiny_model)
    for job in ("filter", "score", "mine"):
        del content[job]
    miracl = {"path": str(write_miracl(folder / "miracl")), "languages": ["ar"], "modes": ["dense", "all"]}
    content["evaluate"] = {
        "data": [str(write_beir(folder / "beir")), miracl, str(write_sts(folder / "sts"))],
        "runs": True,
        "bm25_tokens": True,
        "moved_queries": 2,
    }
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(content))
    made = RunFolder(str(folder / "run"))
    for job in ("extract", "dedup", "pack", "train"):
        manifest = Manifest(
            job=job, pairmill="0", fingerprint=job, settings={}, inputs=[], rows_in=0, rows_out=0, dropped={}, funnel={}, files=[],
            details={"records": 0, "quarantined": 0},
        )  # fmt: skip
        write_manifest(made.job(job), manifest)
    write_held_out(folder / "run" / "pack" / EVALUATION)
    write_trained(tiny_model, folder / "run" / "train" / "model")
    execute(str(recipe), made, "evaluate")
    write_report(load_recipe(str(recipe)), made)
    return folder


def metrics(run):
    return json.loads((run / "run" / "evaluate" / "metrics.json").read_text())


def test_every_model_is_evaluated_on_held_out_pairs_and_on_all_folders(run):
    found = {(row["data"], row["language"], row["model"]) for row in metrics(run) if row.get("kind") != "question"}
    systems = {"trained", "untrained", "bm25", "bm25-tokens"}
    for data, language in (("held_out", "eng_Latn"), ("beir", None), ("miracl", "ar")):
        assert {model for d, lang, model in found if (d, lang) == (data, language)} == systems
    assert {model for data, _, model in found if data == "sts"} == {"trained", "untrained"}


def test_modes_a_model_lacks_are_left_out(run):
    assert {row["mode"] for row in metrics(run) if row["data"] == "miracl" and row["model"] == "trained"} == {"dense"}


def test_values_by_query_and_runs_are_kept(run):
    folder = run / "run" / "evaluate"
    table = pq.read_table(folder / "metrics.queries.parquet")
    assert set(table["data"].to_pylist()) == {"held_out", "beir", "miracl"}
    names = {file.name for file in (folder / "runs").iterdir()}
    assert {"beir.trained.dense.trec", "miracl.ar.untrained.dense.trec", "beir.bm25-tokens.bm25.trec"} <= names


def test_the_trained_model_is_compared_with_the_untrained(run):
    found = json.loads((run / "run" / "evaluate" / "metrics.comparisons.json").read_text())
    pairs = {(each["first"], each["second"]) for each in found["comparisons"]}
    assert ("untrained", "trained") in pairs and all(first == "untrained" for first, _ in pairs)
    assert {row["benchmark"] for row in found["published"]} == {"miracl"}


def test_the_report_leads_to_the_page_of_queries_that_moved(run):
    index = (run / "run" / "report" / "index.html").read_text("utf-8")
    assert 'href="side_by_side.html"' in index and "Published results" in index and "cosine_spearman" in index
    page = (run / "run" / "report" / "side_by_side.html").read_text("utf-8")
    assert "<bdi>untrained</bdi>" in page and "<bdi>trained</bdi>" in page and "<script" not in page


def test_what_is_evaluated_again_is_not_encoded_again_and_leaves_nothing_of_the_first(run):
    store = run / "run" / "embeddings"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*.npy")}
    assert before
    others = yaml.safe_load((run / "recipe.yaml").read_text())
    others["evaluate"] |= {"bm25": False, "runs": False, "moved_queries": 0}
    (run / "others.yaml").write_text(yaml.safe_dump(others))
    figures = {(row["model"], row["data"], row["scope"], row["language"]): row.get("ndcg@10") for row in metrics(run)}
    execute(str(run / "others.yaml"), RunFolder(str(run / "run")), "evaluate")
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.npy")} == before
    assert {row["model"] for row in metrics(run)} == {"trained", "untrained"}
    for row in metrics(run):
        assert figures[row["model"], row["data"], row["scope"], row["language"]] == row.get("ndcg@10")
    # nothing of the earlier evaluation stays
    assert not (run / "run" / "evaluate" / "runs").exists() and not (run / "run" / "evaluate" / "moved.json").exists()


def test_a_folder_that_is_not_there_and_a_metric_that_is_none_are_told_before_any_job(run, tmp_path):
    from pipelines.jobs.evaluate import check_inputs

    recipe = load_recipe(str(run / "recipe.yaml"), {"evaluate.data": [str(tmp_path / "nowhere")]})
    with pytest.raises(UserError, match="nowhere"):
        check_inputs(recipe)
    with pytest.raises(UserError, match="ndgc@10"):
        check_inputs(load_recipe(str(run / "recipe.yaml"), {"evaluate.metrics": ["ndgc@10"]}))


def test_settings_of_a_folder_are_checked_with_their_line(run):
    with pytest.raises(UserError, match="layuot"):
        load_recipe(str(run / "recipe.yaml"), {"evaluate.data": [{"path": "x", "layuot": "beir"}]})
    with pytest.raises(UserError, match="modes"):
        load_recipe(str(run / "recipe.yaml"), {"evaluate.modes": ["sparse"]})
