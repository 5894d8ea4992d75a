"""Runs of every kind of job over documents with URLs, in several scripts, and a way to find a text in any file."""

import bz2
import gzip
import html
import json
import lzma
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
import zstandard

from pipelines.job_process import execute
from pipelines.launcher import run_recipe
from pipelines.manifest import read_manifest
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder
from tests.pipelines.synthesize_runs import paragraph
from tests.synth.scripted_server import Asked, Good

_NAME = re.compile(r"the harbour of ([A-Z][a-z]+) in the year (\d+)")
GONE = "https://example.org/gone?a=1&b=2"
PLACES = ["Arbon", "Birkdale", "Corvara", "Dunmore", "Elmshorn", "Farsund", "Gallen", "Hornsea", "Ivrea", "Jastarnia"]
SAID = [  # one document in another script for each few in English
    'Der Hafen von {} wurde im Jahre {} mit einer Mauer aus Granit befestigt, "damit" die Boote <sicher> lagen & blieben.',
    "Гавань города {} была укреплена в {} году гранитной стеной, чтобы лодки стояли спокойно во время осенних бурь.",
    "ميناء {} بُني عام {} بجدار من الجرانيت حتى تبقى القوارب آمنة في عواصف الخريف الطويلة.",
    "{}の港は{}年に花崗岩の壁で守られるようになり、秋の嵐でも船は安全に泊まることができた。",
]


def url_of(number: int) -> str:
    return GONE if number == 3 else f"https://example.org/{number}"


def document(number: int) -> dict[str, str]:
    """A document of three paragraphs; place and year tell it from all others."""
    place, year = PLACES[number % len(PLACES)], 1500 + 10 * number
    said = SAID[number % len(SAID)].format(place, year)
    body = "\n\n".join([*(paragraph(place, year + part) for part in range(3)), said])
    return {
        "id": f"d{number}",
        "title": f"Harbours, part {number}",
        "text": body,
        "language": "en",
        "url": url_of(number),
    }


def pair(number: int, part: int, negatives: tuple[str, ...] = ()) -> dict:
    place, year = PLACES[number % len(PLACES)], 1500 + 10 * number + part
    said = SAID[part % len(SAID)].format(place, year)
    row = {"q": f"What was built at {place} in {year}?", "p": said, "id": f"d{number}", "url": url_of(number)}
    return row | ({"n": list(negatives)} if negatives else {})


def write_corpus(folder: Path, count: int = 24, files: int = 2) -> None:
    """Documents and pairs of them. Some pairs of others bring a text of the document to be forgotten as their negative."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in range(files):
        numbers = range(file, count, files)
        lines = [json.dumps(document(number), ensure_ascii=False) for number in numbers]
        (folder / f"documents-{file}.jsonl").write_text("".join(line + "\n" for line in lines))
        rows = [pair(number, part, negatives_of(number, part)) for number in numbers for part in range(4)]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        if file == 0:
            lines.append('{"q": "' + pair(3, 0)["q"] + '", "url": "' + GONE + '", broken')
        (folder / f"pairs-{file}.jsonl").write_text("".join(line + "\n" for line in lines))


def negatives_of(number: int, part: int) -> tuple[str, ...]:
    if (number, part) == (4, 1):
        return (pair(3, 2)["p"], "Nobody has built anything at that place, which lies far from any water.")
    return ()


def write_recipe(file: Path, corpus: Path, model: str, url: str | None, **changes: object) -> Path:
    """All jobs but decontaminate; synthesize where the URL of a server is given."""
    encoder = {"model": model, "max_query_length": 32, "max_passage_length": 64, "precision": "fp32"}
    common = {"url": "url", "language": "en"}
    content: dict = {
        "name": "taken-down",
        "seed": 5,
        "sources": [
            {"source": "documents", "label": "papers", "paths": [f"{corpus}/documents-*.jsonl"], "license": "CC0-1.0"},
            {
                "source": "jsonl", "label": "pairs", "paths": [f"{corpus}/pairs-*.jsonl"], "query": "q", "positive": "p",
                "negatives": "n", "document_id": "id", "kind": "question_answer", **common,
            },
        ],
        "dedup": {"held_out_share": 0.2},
        "score": {"encoder": encoder, "threshold": -1},
        "mine": {"encoder": encoder, "select": {"rank_window": [0, 20], "negatives": 2, "max_share_of_positive": None}},
        "pack": {
            "model": model, "packing": {"max_query_length": 32, "max_passage_length": 64}, "export_flagembedding": True,
        },
        "report": {},
    }  # fmt: skip
    if url is not None:
        counts = {"train": 16, "dev": 4, "test": 4, "distractors": 0}
        client = {"base_url": url, "model": "m", "key_variable": None, "first_wait_seconds": 0.01}
        content["synthesize"] = {
            "client": client | {"longest_wait_seconds": 0.05, "in_flight": 8},
            "sampling": {"min_length": 200, "max_length": 100_000, "counts": counts},
            "prompt": "mldr",
            "retry": 1,
        }
    content |= changes
    file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return file


def scripted(asked: Asked) -> Good:
    """A good question; about Dunmore only when it is asked for again."""
    words = " ".join(message["content"] for message in asked.body["messages"])
    found = _NAME.search(words)
    assert found is not None, words
    if "Dunmore" in words and len(asked.body["messages"]) == 1:
        return Good(f"What does this text say about the toll of {found[2]} and of all the years after it?")
    return Good(f"Which building did the council of {found[1]} pay for with the fish toll of {found[2]}?")


def run_all(recipe: Path, folder: Path) -> None:
    run_recipe(load_recipe(str(recipe)), RunFolder(str(folder)), lambda event: None)


def run_here(recipe: Path, folder: Path) -> None:
    """The same in this process, but for the page; every job, up to date or not."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(recipe.read_text())
    for job in load_recipe(str(recipe)).jobs():
        if job != "report":
            execute(str(recipe), RunFolder(str(folder)), job)


def hashes(folder: Path, *jobs: str) -> dict[str, str]:
    found = {}
    for job in jobs:
        manifest = read_manifest(str(folder / job))
        assert manifest is not None, job
        found |= {f"{job}/{file.path}": file.sha256 for file in manifest.files}
    return found


def contents(path: Path) -> bytes:
    """A file's bytes, taken out of whatever they are packed in; of tables all strings."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        return strings_of(pq.read_table(path))
    if path.suffix == ".arrow":
        opened = pa.ipc.open_file if data.startswith(b"ARROW1") else pa.ipc.open_stream
        return strings_of(opened(data).read_all())
    opener = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}.get(path.suffix)
    if path.suffix == ".zst":
        opener = zstandard.ZstdDecompressor().decompressobj().decompress
    return opener(data) if opener else data


def strings_of(table: pa.Table) -> bytes:
    return json.dumps(table.to_pylist(), ensure_ascii=False, default=str).encode()


def places_of(folder: Path, *texts: str) -> list[str]:
    """Files below a folder that hold one of the texts: plain, in JSON, in HTML."""
    ways = {
        way.encode()
        for text in texts
        for way in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], html.escape(text))
    }
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(folder)) for path in files if any(way in contents(path) for way in ways))
