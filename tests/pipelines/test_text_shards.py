"""Plain text for pre-training: the part of pack that makes it of documents, and plain files of texts."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import UserError
from pipelines.job import Job, Plan
from pipelines.jobs.pack import check_inputs
from pipelines.launcher import run_recipe
from pipelines.manifest import read_manifest
from pipelines.plain_texts import pack_plain_texts
from pipelines.recipe import load_recipe, parse_recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import read_batches
from pipelines.text_shards import TEXT_KEY, kept_documents, write_text_shards
from sources.schema import text_id
from tests.trainer.retromae.texts_folder import write_tokenizer
from trainer.backbone import load_tokenizer
from trainer.packed_texts import PackedTexts
from trainer.text_packing import TextPackingSettings

JOBS = ["extract", "dedup", "pack"]


def write_documents(folder):
    """Pairs, and documents beside them: 40 different ones, a repeated one in each file, a short one, another language."""
    words = ["river", "mountain", "valley", "harvest", "copper", "engine", "library", "window"]
    folder.mkdir()
    for file in range(2):
        texts = [
            " ".join(words[(number * step + place) % 8] for place, step in enumerate([1, 3, 5, 7] * 6))
            + f" {file} {number}"
            for number in range(20)
        ]
        rows = [{"id": f"{file}-{number}", "text": text, "language": "en"} for number, text in enumerate(texts)]
        rows.append(
            {"id": f"again-{file}", "text": "The river,  AND the mountain " + "of copper " * 10, "language": "en"}
        )
        rows.append({"id": f"short-{file}", "text": "river valley", "language": "en"})
        rows.append({"id": f"german-{file}", "text": "river " * 30 + str(file), "language": "de"})
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [
        {"q": f"river {number} valley", "p": f"mountain {number} harvest copper {number}", "d": f"pair-{number}"}
        for number in range(8)
    ]
    (folder / "pairs.json").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))


def recipe_of(folder, model, **texts) -> str:
    content = {
        "name": "texts",
        "sources": [
            {"source": "documents", "label": "books", "paths": [f"{folder}/*.jsonl"]},
            {"source": "jsonl", "label": "pairs", "paths": [f"{folder}/pairs.json"], "query": "q", "positive": "p", "document_id": "d", "language": "en"},
        ],
        "dedup": {"held_out_share": 0.3, "near": None},
        "pack": {"model": model, "texts": {"max_length": 16, "min_length": 8, **texts}},
    }  # fmt: skip
    return json.dumps(content)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model):
    """A run folder whose recipe packs the documents in English."""
    folder = tmp_path_factory.mktemp("run")
    write_documents(folder / "files")
    (folder / "recipe.yaml").write_text(recipe_of(folder / "files", tiny_model, languages=["en"], sources=["books"]))
    run_recipe(load_recipe(str(folder / "recipe.yaml")), RunFolder(str(folder / "out")), lambda event: None, JOBS)
    return folder


def documents_of(run) -> list[dict]:
    manifest = read_manifest(str(run / "out" / "extract"))
    return [
        row
        for file in manifest.files_of("documents")
        for batch in read_batches(str(run / "out" / "extract" / file.path))
        for row in batch.to_pylist()
    ]


def test_each_document_is_packed_once_without_held_out_short_and_other_ones(run):
    from pipelines.pair_signatures import held_out_documents

    documents = documents_of(run)
    columns = {name: [row[name] for row in documents] for name in ("document_id", "source")}
    marks = held_out_documents(pa.RecordBatch.from_pydict(columns), seed=0, share=0.3, sources=())
    held_out = {row["document_id"] for row, mark in zip(documents, marks.to_pylist(), strict=True) if mark}
    assert 5 < len(held_out) < 25
    hidden_texts = {row["text"] for row in documents if row["document_id"] in held_out}
    wanted = {
        row["text"]
        for row in documents
        if row["language"] == "eng_Latn"
        and len(row["text"].split()) >= 8
        and row["document_id"] not in held_out
        and row["text"] not in hidden_texts
    }
    packed = PackedTexts.open(run / "out" / "pack")
    found = {bytes(each) for each in packed.text_id}
    assert found == {text_id(text) for text in wanted}
    counts = read_manifest(str(run / "out" / "pack")).details["texts"]
    assert counts["documents"] == len(documents) == 46
    assert counts["held_out"] == len(held_out)
    marked = sum(
        counts[name] for name in ("held_out", "other_source", "other_language", "empty", "as_held_out", "duplicate")
    )
    assert counts["used"] == counts["documents"] - marked == len(wanted) + counts["short"]
    assert counts["rows"] == len(packed)
    assert counts["tokens"] == len(packed.tokens.values)
    assert packed.longest <= 14


def test_texts_are_not_made_again_where_nothing_changed_and_are_where_it_did(run):
    shards = sorted((run / "out" / "pack" / "texts").glob("*.parquet"))
    before = [(shard.name, shard.stat().st_mtime_ns) for shard in shards]
    run_recipe(load_recipe(str(run / "recipe.yaml")), RunFolder(str(run / "out")), lambda event: None, JOBS)
    assert [(shard.name, shard.stat().st_mtime_ns) for shard in shards] == before
    fewer = load_recipe(str(run / "recipe.yaml"), {"pack.texts.min_length": 13})
    run_recipe(fewer, RunFolder(str(run / "out")), lambda event: None, JOBS)
    assert PackedTexts.open(run / "out" / "pack").tokens.lengths.min() >= 13


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"sources": ["pairs"]}, "none of pairs gives any.*documents: true"),
        ({"sources": ["boks"]}, "names 'boks', and the recipe's sources are books, pairs"),
    ],
)
def test_a_recipe_whose_sources_give_no_text_is_refused_before_the_first_job(tmp_path, texts, message):
    with pytest.raises(UserError, match=message):
        check_inputs(parse_recipe(recipe_of(tmp_path, "a model", **texts), "a recipe"))
    check_inputs(parse_recipe(recipe_of(tmp_path, "a model"), "a recipe"))


def test_an_extract_without_documents_says_where_to_look(tmp_path, tiny_model):
    recipe = parse_recipe(recipe_of(tmp_path, tiny_model), "a recipe")
    plan = Plan(settings={}, inputs=[])
    job = Job("pack", recipe, RunFolder(str(tmp_path)), plan, "")
    with pytest.raises(UserError, match="documents: true"):
        write_text_shards(job, [], recipe.pack.texts, recipe.dedup, tiny_model)


def test_of_equal_texts_the_first_counts_and_none_that_is_held_out(tmp_path):
    def write(name, rows):
        table = pa.Table.from_arrays(
            [
                pa.array([bytes([key]) * 16 for key, _ in rows], pa.binary(16)),
                pa.array([s for _, s in rows], pa.int8()),
            ],
            schema=TEXT_KEY,
        )
        pq.write_table(table, tmp_path / name)
        return str(tmp_path / name)

    # key, standing: 0 used, 1 held out, 3 other language
    urls = [
        write("a", [(1, 0), (2, 0), (1, 0)]),
        write("empty", []),
        write("b", [(2, 0), (3, 0), (4, 0), (3, 1), (5, 3)]),
    ]
    kept, counts = kept_documents(urls)
    bits = [np.unpackbits(rows)[:size].tolist() for rows, size in zip(kept, (3, 0, 5), strict=True)]
    assert bits == [[1, 1, 0], [], [0, 0, 1, 0, 0]]
    assert counts == {
        "documents": 8, "held_out": 1, "other_source": 0, "other_language": 1, "empty": 0,
        "as_held_out": 1, "duplicate": 2, "used": 3,
    }  # fmt: skip


@pytest.fixture
def tokenizer(tmp_path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(write_tokenizer(tmp_path / "tokenizer"))


def test_plain_files_are_packed_once_and_again_when_they_change(tmp_path, tokenizer):
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as stream:
        stream.writelines(json.dumps({"text": text}) + "\n" for text in ("w1 w2 w3", "", "w4", "W1  W2, w3"))
    (tmp_path / "b.jsonl").write_text('{"content": "w5 w6 w7 w8"}\n{"content": "w1 w2 w3"}\n')
    settings = TextPackingSettings(max_length=8, min_length=2)
    files, out = [str(tmp_path / "a.jsonl.gz"), str(tmp_path / "b.jsonl")], tmp_path / "out"
    found = pack_plain_texts(files, str(out), tokenizer, settings)["texts"]
    assert found == {"texts": 6, "empty": 1, "duplicate": 2, "short": 1, "rows": 2, "tokens": 7}
    packed = PackedTexts.open(out)
    assert packed.tokens.lists() == [[6, 7, 8], [10, 11, 12, 13]]
    stamp = (out / "texts" / "00000.parquet").stat().st_mtime_ns
    pack_plain_texts(files, str(out), tokenizer, settings)
    assert (out / "texts" / "00000.parquet").stat().st_mtime_ns == stamp
    (out / "texts" / "00000.parquet").unlink()
    pack_plain_texts(files, str(out), tokenizer, settings)
    assert len(PackedTexts.open(out)) == 2
    (tmp_path / "b.jsonl").write_text('{"content": "w9 w6"}\n')
    pack_plain_texts(files, str(out), tokenizer, settings)
    assert PackedTexts.open(out).tokens.lists() == [[6, 7, 8], [14, 11]]


def test_a_row_without_text_names_its_file_and_line(tmp_path, tokenizer):
    (tmp_path / "a.jsonl").write_text('{"text": "w1 w2"}\n{"txt": "w3"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl, line 2.*--text-field"):
        pack_plain_texts([str(tmp_path / "a.jsonl")], str(tmp_path / "out"), tokenizer, TextPackingSettings())


def test_files_of_which_nothing_is_left_say_why(tmp_path, tokenizer):
    (tmp_path / "a.jsonl").write_text('{"text": "w1 w2"}\n{"text": " "}\n{"text": "w1, w2"}\n')
    with pytest.raises(
        UserError, match=r"No text is left of 3.*1 are empty, 1 repeat others, 1 have fewer than 16 tokens"
    ):
        pack_plain_texts([str(tmp_path / "a.jsonl")], str(tmp_path / "out"), tokenizer, TextPackingSettings())


def test_the_job_packs_with_the_models_tokenizer(run, tiny_model):
    tokenizer, _ = load_tokenizer(tiny_model)
    packed = PackedTexts.open(run / "out" / "pack")
    by_id = {text_id(row["text"]): row["text"] for row in documents_of(run)}
    row = packed.tokens.lists()[0]
    ids = tokenizer(by_id[bytes(packed.text_id[0])], add_special_tokens=False)["input_ids"]
    assert row == ids[: len(row)]
