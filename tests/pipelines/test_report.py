"""The page of hand-made run folders: what it says, what it escapes, and that it is the same twice."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.jobs import report
from pipelines.jobs.mine import MINED_SCHEMA
from pipelines.jobs.score import MEASURED
from pipelines.manifest import Manifest, merge_parts, write_manifest
from pipelines.recipe import parse_recipe
from pipelines.report.charts import log_edges, nice_ticks
from pipelines.report.distributions import LengthCounts
from pipelines.report.row_choice import SmallestIds, rows_at
from pipelines.report.text import Clipped, visible
from pipelines.report.training import _compared, smoothed
from pipelines.run_folder import RunFolder
from pipelines.shards import ShardWriter, Tally, commit_part
from sources import schema
from trainer.packing import PACKED_PAIR, PACKED_PASSAGE

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
TURNED = "\u202egnp.exe"
NUL = "a\x00b"

RECIPE = """
name: tiny
sources:
  - {source: jsonl, label: forum, paths: [forum.jsonl], license: CC0-1.0}
filter: {preset: c-mtp}
dedup: {held_out_share: 0.5}
score: {encoder: {model: /nowhere}, threshold: 0.43}
mine: {encoder: {model: /nowhere}}
pack: {model: /nowhere}
train: {model: /nowhere, steps: 4, batch_size: 2}
evaluate: {}
report: {samples: 6}
"""


def pairs(queries, source="forum", **columns):
    """A PAIR batch as it is in a shard: the schema's normalisation is left out, so that hostile text stays."""
    rows = len(queries)
    given_columns = (
        {
            "pair_id": [schema.text_id(f"{source} {query}") for query in queries],
            "query": queries,
            "positive": [f"the answer to {query}" for query in queries],
            "negatives": [None] * rows,
            "kind": ["question_answer"] * rows,
            "query_lang": ["eng_Latn"] * rows,
            "positive_lang": ["eng_Latn"] * rows,
            "source": [source] * rows,
            "document_id": [f"document {n}" for n in range(rows)],
            "url": [None] * rows,
            "license": ["CC0-1.0"] * rows,
            "label": [None] * rows,
            "symmetric": [False] * rows,
            "scores": [None] * rows,
        }
        | {field.name: [None] * rows for field in schema.CLUSTERS}
        | columns
    )
    return pa.RecordBatch.from_pydict(given_columns, schema=schema.PAIR)


def rejects(reasons, **columns):
    batch = pairs([f"dropped for {reason}" for reason in reasons], **columns)
    return pa.RecordBatch.from_arrays([*batch.columns, pa.array(reasons)], schema=schema.REJECT)


class RunMaker:
    """Writes job folders as the jobs do: shards, then the manifest."""

    def __init__(self, folder, recipe=RECIPE):
        self.recipe = parse_recipe(recipe, "tiny.yaml")
        self.run = RunFolder(str(folder))

    def shard(self, job, role, batch, name="000"):
        with ShardWriter(self.run.job(job), role, name, batch.schema) as writer:
            writer.write(batch)
        return writer.file

    def job(self, job, shards, *, settings=None, inputs=(), seconds=1.5, **details):
        """`shards` is (role, batch) or (role, batch, name); rows of `pairs` and `held_out` went on, `rejects` were dropped."""
        tally, files = Tally(), []
        for role, batch, *name in shards:
            files.append(self.shard(job, role, batch, *name))
            if role in ("pairs", "held_out", "mined", "rejects") and "source" in batch.schema.names:
                rows = with_languages(batch)
                tally.add(rows, "in")
                if role == "rejects":
                    tally.add_rejects(rows)
                else:
                    tally.add(rows, "out")
        part = commit_part(self.run.job(job), "000", "f", files, tally, ["pairs", "held_out", "mined"])
        merged = merge_parts([part])
        manifest = Manifest(
            job=job,
            pairmill="0.0.1",
            fingerprint=f"{job}-fingerprint",
            settings=settings or {},
            inputs=list(inputs),
            rows_in=merged.rows_in,
            rows_out=merged.rows_out,
            dropped=merged.dropped,
            funnel=merged.funnel,
            languages=merged.languages,
            files=merged.files,
            details=details,
            seconds=seconds,
        )
        write_manifest(self.run.job(job), manifest)

    def page(self):
        return Path(report.write_report(self.recipe, self.run)).read_bytes().decode()


def with_languages(batch):
    if "query_lang" in batch.schema.names:
        return batch
    english = pa.array(["eng_Latn"] * batch.num_rows)
    return batch.append_column("query_lang", english).append_column("positive_lang", english)


def whole_run(folder, words=lambda text: text):
    """A finished run of all jobs; `words` changes every text, source, reason and file name in it."""
    made = RunMaker(folder, RECIPE.replace("label: forum", "label: " + json.dumps(words("forum"))))
    source = words("forum")
    training = pairs([words(f"question {n}") for n in range(6)], source, url=[words("http://example.org")] * 6)
    held_out = pairs([words(f"held out {n}") for n in range(3)], source)
    quarantine = pa.RecordBatch.from_pylist(
        [
            {
                "source": source,
                "file": words("forum.jsonl"),
                "unit": words("line"),
                "position": 1234,
                "reason": words("not JSON"),
                "excerpt": words("{broken"),
            }
        ],
        schema.QUARANTINE,
    )
    dropped = [words("positive_too_short"), words("copy"), words("copy")]
    everything = pairs([words(f"question {n}") for n in range(14)], source)
    made.job(
        "extract",
        [("pairs", everything), ("quarantine", quarantine)],
        records=15,
        quarantined=1,
        inputs=[{"source": 0, "path": words("forum.jsonl"), "bytes": 4321, "stamp": "12345.678"}],
    )
    made.job("filter", [("pairs", everything.slice(0, 11)), ("rejects", rejects(dropped, source=source))])
    passages = pa.RecordBatch.from_pydict(
        {
            "passage_id": [schema.text_id(f"p{n}") for n in range(6)],
            "text": [words(f"passage {n}") for n in range(6)],
            "document_id": ["d"] * 6,
            "cluster_id": [bytes(16)] * 6,
            "cluster_size": [1] * 6,
        },
        schema=schema.PASSAGE,
    )
    made.job(
        "dedup",
        [
            ("pairs", training),
            ("held_out", held_out),
            ("rejects", rejects([words("duplicate_pair"), words("unheard_of")], source=source)),
            ("passages", passages.slice(0, 4), "000"),
            ("passages", passages.slice(4), "001"),
        ],
        passages=6,
        held_out=3,
    )
    measured = pa.RecordBatch.from_pydict(
        {
            "pair_id": [bytes(16)] * 4,
            "relevance": [0.1, 0.5, 0.9, None],
            "pool_rank": [None] * 4,
            "bitext_margin": [None] * 4,
        },
        schema=MEASURED,
    )
    made.job(
        "score",
        [("pairs", training), ("held_out", held_out), ("measurements", measured)],
        settings={"threshold": 0.43},
        not_scored=1,
    )
    mined = pa.RecordBatch.from_pydict(
        {name: [None] * 6 for name in MINED_SCHEMA.names}
        | {
            "pair_id": training["pair_id"],
            "source": training["source"],
            "positive_row": [0, 1, 2, 3, 4, 5],
            "positive_score": [0.9, 0.8, 0.7, 0.6, 0.5, None],
            "negative_rows": [[4, 5], [5], [], [0], [0, 1, 2], []],
            "negative_scores": [[0.4, 0.3], [0.2], [], [0.25], [0.3, 0.2, -0.1], []],
            "negative_ranks": [[2, 3], [7], [], [2], [2, 5, 6], []],
        },
        schema=MINED_SCHEMA,
    )
    made.job(
        "mine",
        [("mined", mined)],
        queries=5,
        negatives=7,
        passages=6,
        without_negatives=1,
        not_read=1,
        candidates_left_out={"above_share_of_positive": 3, words("new_reason"): 1},
    )
    packed = pa.RecordBatch.from_pylist(
        [
            {
                "pair_id": bytes([n] * 16), "query_token_ids": [1] * (n + 2), "query_length": n + 2, "query_cluster_id": bytes(16),
                "positive": n, "negatives": [], "positive_score": None, "negative_scores": [], "dataset": source, "kind": "k",
                "query_lang": "eng_Latn", "symmetric": False, "length_group": 0, "length": n + 2,
            }
            for n in range(5)
        ],
        PACKED_PAIR,
    )  # fmt: skip
    packed_passages = pa.RecordBatch.from_pylist(
        [{"passage_id": bytes([n] * 16), "token_ids": [1] * 9, "length": 9, "cluster_id": bytes(16)} for n in range(6)],
        PACKED_PASSAGE,
    )
    pack_files = [made.shard("pack", "pairs", packed), made.shard("pack", "passages", packed_passages)]
    write_manifest(
        made.run.job("pack"),
        Manifest(
            job="pack", pairmill="0.0.1", fingerprint="pack-fingerprint", settings={"model": words("a model")}, inputs=[],
            rows_in=6, rows_out=5, dropped={"kind_not_trained": 1}, funnel={source: {"in": 6, "out": 5, "drop:kind_not_trained": 1}},
            files=pack_files, details={"truncated_queries": 2, "truncated_passages": 1},
        ),
    )  # fmt: skip
    made.job("train", [], settings={"model": words("a model"), "steps": 4, "prompts": [words("query: ")]})
    lines = [{"step": n + 1, "loss": 2.0 - n / 4, "learning_rate": 1e-5 * (4 - n)} for n in range(4)]
    (folder / "train" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [
        metric_row(words("held_out"), "trained", 0.75),
        metric_row(words("held_out"), "untrained", 0.625),
        metric_row(words("held_out"), "bm25", 0.5, mode="bm25"),
        metric_row(words("held_out"), "trained", 0.7, kind=words("question_answer")),
        metric_row(words("held_out"), words("another"), 0.6),
    ]
    made.job("evaluate", [], metrics=rows)
    (folder / "evaluate" / "metrics.json").write_text(json.dumps(rows))
    return made


def metric_row(data, model, value, kind="all", mode="dense"):
    return {
        "model": model, "data": data, "language": None, "kind": kind, "mode": mode, "queries": 3, "corpus": 3,
        "ndcg@10": value, "mrr@10": value - 0.0625, "recall@100": 1.0,
    }  # fmt: skip


class Tags(HTMLParser):
    """The elements and attributes of a page, and the ids its links need."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.attributes, self.ids, self.text = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


def shown(page):
    """The page's text, white space folded."""
    return " ".join("".join(Tags(page).text).split())


def test_a_whole_run_is_told_from_extraction_to_evaluation(tmp_path):
    text = shown(whole_run(tmp_path).page())
    for words in (
        "14 pairs were extracted from 15 records of 1 source; 9 of them are kept, and 5 are for training.",
        "rises from nDCG@10 0.625 to 0.750",
        "1 of 15 records could not be read (6.7%)",
        "The cosine of the two sides of 3 pairs. Those below the threshold of 0.43, 1 (33.3%), are dropped.",
        "Kept and not scored, in languages the encoder cannot read: 1 pair.",
        "7 negatives for 5 queries, out of 6 passages. 1 query got none.",
        "Truncated by pack: 2 queries and 1 passage.",
        "4 steps; the smoothed loss goes from",
        "+0.125",
        "The positive is the query, upper and lower case apart.",
        "forum.jsonl, line 1,234",
        "score-fingerprin",
        "4.3 kB",
    ):
        assert words in text


def test_hostile_text_from_anywhere_in_the_data_is_only_shown(tmp_path):
    page = whole_run(tmp_path, lambda text: f"{text}{SCRIPT}{IMAGE}{TURNED}{NUL}").page()
    tags = Tags(page)
    assert not {"script", "img", "iframe", "object", "link", "base", "form"} & set(tags.elements)
    assert not [
        name
        for _, name, _ in tags.attributes
        if name.startswith("on") or name in ("style", "src", "srcset", "xlink:href")
    ]
    assert all(re.fullmatch(r"#[a-z0-9-]+", value) for value in tags.values("href"))
    assert all(re.fullmatch(r"[a-z0-9-]+", value) for value in tags.ids)
    assert all(re.fullmatch(r"[a-z0-9 -]*", value) for value in tags.values("class"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "<script" not in page and "<img" not in page
    assert "\x00" not in page and "a\\u0000b" in page
    assert "\u202e" not in page and "\\u202egnp.exe" in page


def test_every_link_of_the_page_leads_to_a_place_in_it(tmp_path):
    tags = Tags(whole_run(tmp_path).page())
    assert len(tags.ids) == len(set(tags.ids))
    links = {value.removeprefix("#") for value in tags.values("href")}
    assert links <= set(tags.ids)
    assert any(link.endswith("-samples") for link in links)


def test_the_page_asks_nothing_of_the_network_and_its_policy_allows_only_its_own_style(tmp_path):
    page = whole_run(tmp_path).page()
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page
    assert "url(" not in style and "@import" not in style


def test_the_same_run_gives_the_same_bytes_and_no_time_of_day(tmp_path):
    made = whole_run(tmp_path)
    first = made.page()
    for job in ("extract", "pack"):
        manifest = json.loads((tmp_path / job / "_MANIFEST.json").read_text())
        manifest["finished"] = "1999-12-31T23:59:59+00:00"
        (tmp_path / job / "_MANIFEST.json").write_text(json.dumps(manifest))
    assert made.page() == first
    assert "1999" not in first and "12345.678" not in first


@pytest.mark.parametrize(
    "last", ["nothing", "extract", "filter", "dedup", "score", "mine", "pack", "train", "evaluate"]
)
def test_a_run_that_stopped_behind_any_job_has_a_page_that_names_what_is_open(tmp_path, last):
    made = whole_run(tmp_path)
    jobs = made.recipe.jobs()[:-1]
    for job in jobs[jobs.index(last) + 1 if last != "nothing" else 0 :]:
        (tmp_path / job / "_MANIFEST.json").unlink()
    page = made.page()
    assert len(re.findall(r'<li class="open"', page)) == len(jobs) - (jobs.index(last) + 1 if last != "nothing" else 0)
    assert ("Nothing is finished yet." in page) == (last == "nothing")
    for job, words in (("mine", "there are no negatives yet"), ("train", "there is no model yet")):
        unfinished = last == "nothing" or jobs.index(last) < jobs.index(job)
        assert (words in page) == unfinished


def test_a_job_behind_an_unfinished_one_counts_as_unfinished(tmp_path):
    made = whole_run(tmp_path)
    (tmp_path / "dedup" / "_MANIFEST.json").unlink()
    assert len(re.findall(r'<li class="open"', made.page())) == 6


def test_a_recipe_of_extract_alone_shows_no_section_of_other_jobs(tmp_path):
    made = RunMaker(tmp_path, RECIPE.split("filter:", maxsplit=1)[0])
    made.job("extract", [("pairs", pairs(["one", "two"]))], records=2, quarantined=0)
    ids = Tags(made.page()).ids
    assert {"funnel", "shape", "samples", "provenance"} <= set(ids)
    assert not {"relevance", "negatives", "training", "evaluation", "quarantine"} & set(ids)


def test_a_run_without_a_single_pair_has_a_page(tmp_path):
    made = RunMaker(tmp_path, RECIPE.split("filter:", maxsplit=1)[0])
    made.job("extract", [("pairs", pairs([]))], records=0, quarantined=0)
    assert "No pair is kept." in shown(made.page())


def test_a_shard_that_is_gone_is_named_with_the_remedy(tmp_path):
    made = whole_run(tmp_path)
    (tmp_path / "score" / "pairs" / "000.parquet").unlink()
    with pytest.raises(UserError, match=r"score/pairs/000\.parquet.*run the recipe again"):
        made.page()


def test_mined_negatives_are_the_passages_of_their_row_numbers_through_all_shards(tmp_path):
    text = shown(whole_run(tmp_path).page())
    # Row 0: positive passage 0; negatives in rows 4 and 5, the second shard's rows 0 and 1.
    assert re.search(r"question 0 positive0\.900 passage 0 rank 20\.400 passage 4 rank 30\.300 passage 5", text)
    assert re.search(
        r"question 4 positive0\.500 passage 4 rank 20\.300 passage 0 rank 50\.200 passage 1 rank 6-0\.100", text
    )
    assert "question 2 positive" not in text  # it has no negatives


def test_each_reason_is_sampled_before_any_is_sampled_twice(tmp_path):
    made = RunMaker(tmp_path, RECIPE.split("dedup:", maxsplit=1)[0] + "\nreport: {samples: 3}")
    made.job("extract", [("pairs", pairs(["kept"]))], records=1, quarantined=0)
    names = ["copy"] * 50 + ["length_ratio", "too_many_urls"]
    batch = rejects(names)
    made.job("filter", [("pairs", pairs(["kept"])), ("rejects", batch)])
    text = shown(made.page())
    for words in ("copy 1 of 50", "length_ratio 1 of 1", "too_many_urls 1 of 1"):
        assert words in text


def test_long_texts_are_clipped_and_open_up_to_2000_characters():
    words = "word " * 1000
    clipped = Clipped.of(words)
    assert len(clipped.short) <= 280 and not clipped.short.endswith("wor")
    assert (len(clipped.full), clipped.is_cut) == (2000, True)
    assert Clipped.of("short") == Clipped("short", None, False)
    assert len(Clipped.of("字" * 300).short) == 280


@given(st.text())
def test_what_is_shown_holds_no_invisible_character_and_is_utf_8(text):
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e\u2066-\u2069\ufeff]", visible(text))
    visible(text).encode()


def test_a_lone_surrogate_from_a_manifest_is_shown_as_an_escape():
    assert visible("\ud800 and \u200f") == "\\ud800 and \\u200f"


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=60), st.integers(1, 5), st.integers(1, 7))
def test_the_smallest_ids_are_the_first_of_all_sorted_however_the_rows_are_batched(ids, each, size):
    strata = [f"s{i[-1] % 3}" for i in ids]
    chosen = SmallestIds(each)
    for first in range(0, len(ids), size):
        batch = pa.array(ids[first : first + size], pa.binary(16))
        chosen.add("u", first, batch, pa.array(strata[first : first + size], pa.string()))
    expected = {}
    for identity, row, stratum in sorted(zip(ids, range(len(ids)), strata, strict=True)):
        expected.setdefault(stratum, []).append((identity, row))
    found = {}
    for stratum, place in chosen.in_turn(1000):
        found.setdefault(stratum, []).append((place.pair_id, place.row))
    assert found == {stratum: places[:each] for stratum, places in expected.items()}


def test_rows_are_found_in_any_row_group(tmp_path):
    rows = 20_000  # three row groups
    table = pa.table({"number": np.arange(rows), "text": [f"t{n}" for n in range(rows)]})
    with ShardWriter(str(tmp_path), "pairs", "big", table.schema) as writer:
        writer.write(table)
    url = f"{tmp_path}/pairs/big.parquet"
    wanted = [0, 1023, 1024, 8191, 8192, 16_384, 19_999]
    found = rows_at([(url, n) for n in wanted], ["text"])
    assert {place: row["text"] for place, row in found.items()} == {(url, n): f"t{n}" for n in wanted}


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=200))
def test_lengths_are_counted_once_each_and_quantiles_are_exact(lengths):
    counts = LengthCounts()
    for part in (lengths[:50], lengths[50:]):
        counts.add(np.array(part, np.int64))
    edges = log_edges(counts.highest)
    assert sum(counts.in_bins(edges)) == sum(length > 0 for length in lengths)
    ordered = sorted(lengths)
    assert counts.quantile(0.5) == ordered[(len(ordered) + 1) // 2 - 1]
    assert counts.highest == ordered[-1]


def test_log_edges_follow_the_renard_series():
    assert log_edges(90) == [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100]


def test_ticks_are_round_numbers_within_their_range():
    assert nice_ticks(0, 100, 4) == [0, 25, 50, 75, 100]
    assert nice_ticks(0.13, 0.87, 4) == [0.2, 0.4, 0.6, 0.8]


def test_smoothing_takes_the_mean_of_neighbours():
    assert smoothed([1.0, 2.0, 6.0, 3.0], 3) == pytest.approx([1.5, 3.0, 11 / 3, 4.5])


def test_bm25_stands_beside_the_encoders_and_only_the_trained_model_has_a_difference():
    rows = [
        metric_row("d", "bm25", 0.5, mode="bm25"), metric_row("d", "untrained", 0.5), metric_row("d", "trained", 0.75),
    ]  # fmt: skip
    (comparison,) = _compared(rows)
    assert [(m.model, m.deltas[0]) for m in comparison.models] == [
        ("trained", 0.25),
        ("untrained", None),
        ("bm25", None),
    ]
    assert comparison.is_overall


def test_the_job_runs_again_when_another_job_changed(tmp_path):
    made = whole_run(tmp_path)
    before = report.plan(made.recipe, made.run)
    assert before == report.plan(made.recipe, made.run)
    assert [given["job"] for given in before.inputs] == made.recipe.jobs()[:-1]
    manifest = json.loads((tmp_path / "mine" / "_MANIFEST.json").read_text())
    (tmp_path / "mine" / "_MANIFEST.json").write_text(json.dumps(manifest | {"fingerprint": "another"}))
    after = report.plan(made.recipe, made.run)
    assert after.fingerprint("report", report.VERSION) != before.fingerprint("report", report.VERSION)
