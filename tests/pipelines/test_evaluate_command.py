"""`pairmill evaluate` as its user has it: several models and folders, files beside the output, comparison, gate, page."""

import json
import math
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipelines.command_line import app
from pipelines.errors import UserError
from pipelines.evaluate_results import comparisons_file, queries_file
from tests.pipelines.evaluation_folders import write_beir, write_miracl, write_sts
from trainer.evaluate import EvaluationError


@pytest.fixture(scope="module")
def other_model(tmp_path_factory, tiny_model):
    """The tiny model with other weights."""
    import torch
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("other") / "model"
    shutil.copytree(tiny_model, folder)
    model = BertModel.from_pretrained(folder, add_pooling_layer=False)
    torch.manual_seed(1)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
    return str(folder)


def evaluate(*words):
    return CliRunner().invoke(app, ["evaluate", *map(str, words), "--device", "cpu", "--set", "precision=fp32"])


@pytest.fixture(scope="module")
def compared(tmp_path_factory, tiny_model, other_model):
    folder = tmp_path_factory.mktemp("compared")
    beir, sts = write_beir(folder / "beir"), write_sts(folder / "sts")
    output = folder / "out" / "metrics.json"
    result = evaluate(
        f"old={tiny_model}", f"new={other_model}", "--data", beir, "--data", sts, "--output", output,
        "--page", folder / "page.html", "--save-runs", folder / "runs",
    )  # fmt: skip
    assert result.exit_code == 0, result.output + str(result.exception)
    return folder, result.output


def rows_of(folder):
    return json.loads((folder / "out" / "metrics.json").read_text())


def test_every_system_has_its_rows_on_every_set_with_fingerprints(compared):
    folder, _ = compared
    rows = rows_of(folder)
    overall = {(row["model"], row["data"], row["task"]) for row in rows}
    assert overall == {
        ("old", "beir", "retrieval"), ("new", "beir", "retrieval"), ("bm25", "beir", "retrieval"),
        ("old", "sts", "sts"), ("new", "sts", "sts"),
    }  # fmt: skip
    prints = {row["model"]: row["model_fingerprint"] for row in rows if row["model"] != "bm25"}
    assert prints["old"] != prints["new"] and all(len(each) == 32 for each in prints.values())
    assert all(row["code"].startswith("pairmill ") and len(row["data_fingerprint"]) == 32 for row in rows)


def test_the_values_by_query_lie_beside_and_have_the_means_of_the_rows(compared):
    folder, _ = compared
    table = pq.read_table(folder / "out" / "metrics.queries.parquet")
    assert table.column_names[:7] == ["model", "data", "set_language", "mode", "query_id", "kind", "language"]
    first = next(row for row in rows_of(folder) if row["model"] == "new" and row["data"] == "beir")
    values = [row["ndcg@10"] for row in table.to_pylist() if row["model"] == "new"]
    assert len(values) == 9 and sum(values) / 9 == pytest.approx(first["ndcg@10"])


def test_later_systems_are_compared_with_the_first_and_tested(compared):
    folder, output = compared
    found = json.loads((folder / "out" / "metrics.comparisons.json").read_text())["comparisons"]
    assert [(each["data"], each["first"], each["second"]) for each in found] == [
        ("beir", "old", "new"), ("beir", "old", "bm25"), ("sts", "old", "new"),
    ]  # fmt: skip
    retrieval, _, sts = found
    values = {
        row["model"]: row["ndcg@10"]
        for row in rows_of(folder)
        if row["data"] == "beir" and row["kind"] == "all" and row["language"] is None
    }
    main = retrieval["differences"][0]
    assert main["metric"] == "ndcg@10"
    assert main["difference"] == pytest.approx(values["new"] - values["old"])
    assert 0 < main["p_value"] <= 1 and main["low"] <= main["difference"] <= main["high"]
    assert sts["differences"][0]["metric"] == "cosine_spearman" and sts["differences"][0]["p_value"] is None
    assert "beir, retrieval: 9 queries, 9 passages" in output and "Δ" in output


def test_run_files_are_evaluated_to_the_figures_they_were_written_with(compared, tmp_path):
    folder, _ = compared
    file = folder / "runs" / "beir.new.dense.trec"
    output = tmp_path / "again.json"
    result = evaluate("--run", f"again={file}", "--data", folder / "beir", "--no-bm25", "--output", output)
    assert result.exit_code == 0, result.output
    before = [row for row in rows_of(folder) if (row["model"], row["data"]) == ("new", "beir")]
    after = json.loads(output.read_text())
    for one, other in zip(before, after, strict=True):
        for metric in ("ndcg@10", "mrr@10", "recall@100", "map@100"):
            assert one[metric] == other[metric]
    assert after[0]["mode"] == "run"


def trec(folder, name, good):
    """A run of the nine queries that ranks the relevant passage first (`good`) or second."""
    lines = []
    for language in ("en", "de", "ar"):
        for number in range(3):
            relevant, other = f"d-{language}-{number}", f"d-{language}-{(number + 1) % 3}"
            order = [relevant, other] if good else [other, relevant]
            lines += [f"q-{language}-{number} Q0 {each} {rank} {2 - rank} {name}" for rank, each in enumerate(order, 1)]
    file = folder / f"{name}.trec"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_the_gate_fails_with_code_3_where_the_new_system_is_worse_by_more(compared, tmp_path):
    folder, _ = compared
    good, bad = trec(tmp_path, "good", True), trec(tmp_path, "bad", False)
    asked = ["--data", folder / "beir", "--no-bm25", "--output", tmp_path / "m.json"]
    # second place: nDCG@10 is 1 / log2(3) = 0.6309, so 0.3691 less than first place
    assert 1 - 1 / math.log2(3) == pytest.approx(0.3691, abs=1e-4)
    worse = evaluate("--run", f"good={good}", "--run", f"bad={bad}", *asked, "--fail-if-worse", "0.36")
    assert worse.exit_code == 3 and "bad (run) is worse than good on beir: ndcg@10 0.6309, -0.3691" in worse.output
    assert evaluate("--run", f"good={good}", "--run", f"bad={bad}", *asked, "--fail-if-worse", "0.37").exit_code == 0
    assert evaluate("--run", f"bad={bad}", "--run", f"good={good}", *asked, "--fail-if-worse", "0").exit_code == 0


def test_every_language_of_a_layout_is_a_set_and_its_published_rows_stand_beside_it(tmp_path, tiny_model):
    folder = write_miracl(tmp_path / "somewhere")
    output = tmp_path / "metrics.json"
    result = evaluate(tiny_model, "--data", folder, "--no-bm25", "--output", output)
    assert result.exit_code == 0, result.output
    assert [row["language"] for row in json.loads(output.read_text())] == ["ar", "de"]
    published = json.loads((tmp_path / "metrics.comparisons.json").read_text())["published"]
    arabic = [row for row in published if (row["model"], row["mode"], row["language"]) == ("BGE-M3", "all", "ar")]
    assert [row["value"] for row in arabic] == [0.802]  # M3-Embedding v4, table 1
    assert {row["language"] for row in published} == {"ar", "de"}  # no mean: not all 18 languages were evaluated
    assert all(row["published"] for row in published) and "(published)" in result.output


def test_folders_of_one_name_are_told_apart(tmp_path, tiny_model):
    folders = [write_sts(tmp_path / parent / "sts") for parent in ("a", "b")]
    output = tmp_path / "metrics.json"
    result = evaluate(tiny_model, "--data", folders[0], "--data", folders[1], "--output", output)
    assert result.exit_code == 0, result.output
    assert [row["data"] for row in json.loads(output.read_text())] == ["a/sts", "b/sts"]


def test_settings_of_one_model_go_by_its_name(compared, tmp_path, tiny_model):
    folder, _ = compared
    output = tmp_path / "m.json"
    result = evaluate(
        f"plain={tiny_model}", f"plain.v1.5={tiny_model}", "--data", folder / "beir", "--no-bm25", "--output", output,
        "--set", "plain.v1.5.query_prompt=the market of ",
    )  # fmt: skip
    assert result.exit_code == 0, result.output + str(result.exception)
    prints = {row["model"]: row["model_fingerprint"] for row in json.loads(output.read_text())}
    assert prints["plain"] != prints["plain.v1.5"]


def test_a_hub_that_does_not_answer_takes_nothing_of_the_rest_away(compared, tmp_path, tiny_model, monkeypatch):
    from trainer.evaluate import mteb_models

    def away(*_, **__):
        raise EvaluationError("the hub does not answer")

    folder, _ = compared
    monkeypatch.setattr(mteb_models, "run_mteb", away)
    output = tmp_path / "m.json"
    result = evaluate(tiny_model, "--data", folder / "sts", "--mteb", "STS22", "--output", output)
    assert isinstance(result.exception, EvaluationError)
    assert [row["data"] for row in json.loads(output.read_text())] == ["sts"] and "cosine_spearman" in result.output


def test_files_beside_keep_what_a_name_has_behind_its_dots(tmp_path):
    assert queries_file(tmp_path / "bge-v1.5").name == "bge-v1.5.queries.parquet"
    assert comparisons_file(tmp_path / "bge-v1.5.json").name == "bge-v1.5.comparisons.json"


def test_run_files_of_names_that_look_alike_are_kept_apart(compared, tmp_path):
    folder, _ = compared
    first, second = trec(tmp_path, "one", True), trec(tmp_path, "two", False)
    result = evaluate(
        "--run", f"a/b={first}", "--run", f"a-b={second}", "--run", f"模型={first}", "--no-bm25", "--data", folder / "beir",
        "--output", tmp_path / "m.json", "--save-runs", tmp_path / "runs",
    )  # fmt: skip
    assert result.exit_code == 0, result.output + str(result.exception)
    names = {file.name for file in (tmp_path / "runs").iterdir()}
    assert names == {"beir.a-b.run.trec", "beir.a-b.run.2.trec", "beir.模型.run.trec"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a=MODEL"], "--data"),
        (["--data", "BEIR", "--no-bm25"], "nothing to evaluate"),
        (["a=MODEL", "a=MODEL", "--data", "BEIR"], "called a"),
        (["MODEL", "--data", "BEIR", "--modes", "sparse"], "modes"),
        (["MODEL", "--data", "BEIR", "--metrics", "ndgc@10"], "ndgc@10"),
        (["MODEL", "--data", "BEIR", "--modes", "lexical"], "Add the mode dense"),
        (["MODEL", "--data", "BEIR", "--tune-on", "BEIR"], "--modes has none"),
        (["MODEL", "--data", "BEIR", "--modes", "all,dense", "--tune-on", "STS"], "one retrieval set"),
        (["--mteb", "STS22"], "name one"),
        (["MODEL", "--data", "BEIR", "--weights", "all=much"], "--weights all=much"),
        (["MODEL", "--data", "BEIR", "--fail-if-worse", "0.1"], "there is one only"),
        (["MODEL", "--data", "BEIR", "--no-bm25", "--page", "x.html"], "two systems"),
        (["MODEL", "--data", "BEIR", "--set", "query_promt=x"], "query_promt"),
        (["--run", "RUN", "--data", "STS", "--no-bm25"], "ranks no query"),
        (["MODEL", "--data", "STS", "--page", "x.html"], "two systems"),  # BM25 ranks nothing there
        (["MODEL", "--data", "BEIR", "--run", "no.trec"], "no such file"),
        (["--run", "RUN", "--data", "BEIR", "--bm25-tokens"], "name one"),
        (["MODEL", "b=MODEL", "--mteb", "STS22", "--fail-if-worse", "0"], "folders of --data"),
        (["MODEL", "--data", "BEIR", "--page", "BEIR"], "is a folder"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_or_with_their_place(compared, tmp_path, tiny_model, words, message):
    folder, _ = compared
    places = {"MODEL": tiny_model, "BEIR": folder / "beir", "STS": folder / "sts", "RUN": trec(tmp_path, "run", True)}
    given = [places.get(word, str(word).replace("MODEL", tiny_model)) for word in words]
    result = evaluate(*given, "--output", tmp_path / "m.json")
    assert isinstance(result.exception, UserError), result.output
    assert message in str(result.exception)


def test_the_page_shows_the_queries_that_moved_with_passages_escaped_and_no_script(compared):
    folder, _ = compared
    page = (folder / "page.html").read_text("utf-8")
    assert "<script" not in page and "<b>سوق" not in page
    assert "default-src 'none'" in page
    shown = re.findall(r'<span class="change">([\d.]+) → ([\d.]+)', page)
    assert shown
    values = {}
    for row in pq.read_table(folder / "out" / "metrics.queries.parquet").to_pylist():
        values.setdefault(row["query_id"], {})[row["model"]] = row["ndcg@10"]
    moved = sorted(f"{v['old']:.3f} {v['new']:.3f}" for v in values.values() if v["old"] != v["new"])
    assert sorted(f"{a} {b}" for a, b in shown) == moved


def test_vectors_kept_in_a_store_are_not_made_again(compared, tmp_path, tiny_model, monkeypatch):
    folder, _ = compared
    asked = [tiny_model, "--data", folder / "beir", "--no-bm25", "--embeddings", tmp_path / "store"]
    assert evaluate(*asked, "--output", tmp_path / "one.json").exit_code == 0
    from trainer.encoder import Encoder

    monkeypatch.setattr(Encoder, "encode", lambda *_: pytest.fail("encoded again"))
    monkeypatch.setattr(Encoder, "encode_all", lambda *_: pytest.fail("encoded again"))
    result = evaluate(*asked, "--output", tmp_path / "two.json")
    assert result.exit_code == 0, result.exception
    assert Path(tmp_path / "one.json").read_bytes() == Path(tmp_path / "two.json").read_bytes()


@pytest.fixture(scope="module")
def m3_model(tmp_path_factory, tiny_model):
    """The tiny model with both heads of M3."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("m3") / "model"
    shutil.copytree(tiny_model, folder)
    torch.manual_seed(2)
    for name, rows in (("sparse_linear", 1), ("colbert_linear", 8)):
        save_file({"weight": torch.randn(rows, 32), "bias": torch.ones(rows)}, folder / f"{name}.safetensors")
    return str(folder)


def test_a_model_is_evaluated_in_all_its_modes_with_weights_found_on_a_development_set(
    compared, tmp_path, m3_model, tiny_model
):
    folder, _ = compared
    output = tmp_path / "m.json"
    result = evaluate(
        f"m3={m3_model}", f"plain={tiny_model}", "--data", folder / "beir", "--no-bm25", "--output", output,
        "--modes", "dense,lexical,multi_vector,dense+lexical,all", "--tune-on", folder / "beir",
    )  # fmt: skip
    assert result.exit_code == 0, result.output + str(result.exception)
    rows = [row for row in json.loads(output.read_text()) if row["scope"] == "all"]
    assert [(row["model"], row["mode"]) for row in rows] == [
        ("m3", "dense"), ("m3", "lexical"), ("m3", "multi_vector"), ("m3", "dense+lexical"), ("m3", "all"), ("plain", "dense"),
    ]  # fmt: skip
    values = {row["mode"]: row["ndcg@10"] for row in rows if row["model"] == "m3"}
    # tuned on the very set: no worse than its parts; nine passages, so both pools hold all of them
    assert values["dense+lexical"] >= max(values["dense"], values["lexical"]) - 1e-9
    assert values["all"] >= max(values.values()) - 1e-9
    told = re.search(
        r"weights from beir: dense\+lexical: dense ([\d.]+), lexical ([\d.]+)", " ".join(result.output.split())
    )
    assert told and float(told[1]) + float(told[2]) == pytest.approx(1)
    assert next(row["weights"] for row in rows if row["mode"] == "dense+lexical").startswith(f"dense {told[1]}")
    pairs = json.loads((tmp_path / "m.comparisons.json").read_text())["comparisons"]
    assert [(each["first_mode"], each["second"], each["second_mode"]) for each in pairs] == [
        ("dense", "m3", "lexical"), ("dense", "m3", "multi_vector"), ("dense", "m3", "dense+lexical"), ("dense", "m3", "all"),
        ("dense", "plain", "dense"),
    ]  # fmt: skip
