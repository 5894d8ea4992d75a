"""Clean passages of the corpora that thresholds and the word order model are made and judged by.

Read from the data folder: Debian's handbook, reference, FAQ, package descriptions and LibreOffice's help (debian_docs,
debian_ddtp), Wikipedia dumps by our own adapter, and the sentences of NTREX-128 and NLLB-Seed joined. Prose only: what a
page marks as a listing (`pre`), a table or navigation is left out, for that is the junk to be told apart. Paragraphs of
a translated manual that are left in English, or a third of them is, are left out as well.

A passage is a run of paragraphs of one section, about as long as a length drawn between 200 and 2,000 characters
(a Han or kana letter counts three), in one line as the texts of pairs are. Documents are divided into two halves by a
hash of their name, the same for all languages: one half to calibrate and train by, the other to test.
"""

import gzip
import hashlib
import random
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

import xxhash
from lxml import html

from sources.catalogue import load_source
from sources.languages import language_code

Half = Literal["calibration", "test"]

SHORTEST, LONGEST = 200, 2000
_CJK: Final = re.compile(r"[\u3005-\u3007\u3021-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f]")
# Korean lines are broken anywhere, too, within words mostly.
_WRAPPED_CJK: Final = re.compile(
    r"(?<=[\u3000-\u9fff\uac00-\ud7a3\uff00-\uffef])\n\s*(?=[\u3000-\u9fff\uac00-\ud7a3\uff00-\uffef])"
)
_ENDS_SENTENCE: Final = re.compile(r"[.!?。！？؟।…:：][)\]»”’\"'」』）]*$")
_DRAWN: Final = re.compile(r"[|│┃─━═╔┌├+]{2}|---|===|\.\.\.\.|│")
_PROMPT: Final = re.compile(r"^\s*[$#]\s", re.M)
# Months of a page's revision, authors' lists and the like: of Debian's handbook only these elements are text.
_TEXT_ELEMENTS: Final = "//p|//div[@class='para']|//li[not(.//div) and not(.//p)]|//h1|//h2|//h3|//h4"
_NO_TEXT: Final = "//pre|//table|//script|//style|//nav|//header|//footer|//div[@class='toc']|//ul[@class='docnav']"


@dataclass(frozen=True)
class Passage:
    source: str
    language: str  # ISO 639-3 with script
    document: str
    title: str
    text: str

    @property
    def half(self) -> Half:
        return "calibration" if self._hash[0] & 1 else "test"

    @property
    def trains_word_order(self) -> bool:
        """Two thirds of the calibration half: on the rest the threshold is set."""
        return self.half == "calibration" and self._hash[1] % 3 > 0

    @property
    def _hash(self) -> bytes:
        return hashlib.sha256(self.document.encode()).digest()


Paragraphs = Iterator[tuple[str, str, str]]  # document, title of the section, paragraph


def clean_passages(data: Path, most: int = 1000, seed: int = 0) -> list[Passage]:
    """At most `most` passages of each source, language and half, chosen by a hash of their text."""
    found: dict[tuple[str, str, str], list[Passage]] = {}
    english = english_runs(data)
    for source, language, paragraphs in _corpora(data):
        if source == "wikipedia":
            texts: Iterator[tuple[str, str, str]] = paragraphs
        else:
            if source.startswith(("debian", "libreoffice")) and language != "eng_Latn":
                paragraphs = (row for row in paragraphs if not _is_of(row[2], english))  # noqa: PLW2901
            texts = _joined(paragraphs, random.Random(f"{seed} {source} {language}"))
        for document, title, text in texts:
            if SHORTEST <= length(text) <= LONGEST:
                passage = Passage(source, language, document, title, text)
                found.setdefault((source, language, passage.half), []).append(passage)
    passages: dict[tuple[str, str], Passage] = {}
    for group in found.values():
        for passage in _sample(group, most, seed):
            passages.setdefault((passage.language, passage.text), passage)
    return list(passages.values())


@cache
def english_runs(data: Path) -> frozenset[str]:
    """The runs of three words in the English manuals, to tell what a translation has left as it was."""
    english = (rows for _, language, rows in _manuals(data) if language == "eng_Latn")
    return frozenset(run for rows in english for *_, text in rows for run in _runs(text))


def length(text: str) -> int:
    """In Latin letters: a Han or kana letter counts three, as in filters.text_quality."""
    return len(text) + 2 * len(_CJK.findall(text))


def _joined(paragraphs: Paragraphs, chance: random.Random) -> Paragraphs:
    """Paragraphs of one section joined until they reach a length drawn anew for each passage."""
    wanted = _draw(chance)
    held: list[str] = []
    section: tuple[str, str] = ("", "")
    for document, title, paragraph in paragraphs:
        if (document, title) != section:
            held = []
            section = (document, title)
        held.append(paragraph)
        text = " ".join(held)
        if length(text) >= wanted:
            yield document, title, text
            held = []
            wanted = _draw(chance)


def _draw(chance: random.Random) -> int:
    return int(SHORTEST * (LONGEST / 2 / SHORTEST) ** chance.random())


def _corpora(data: Path) -> Iterator[tuple[str, str, Paragraphs]]:
    """Source, language and paragraphs of every corpus."""
    yield from _manuals(data)
    for file in sorted((data / "debian_ddtp").glob("Translation-*.gz")):
        yield "debian_ddtp", language_code(file.name.removesuffix(".gz").split("-")[1]), _descriptions(file)
    for file in sorted((data / "wikipedia").rglob("*.xml*")) + sorted((data / "wikipedia").glob("enwiki*.bz2")):
        if "table-markup" not in file.name:
            yield from _wikipedia(file)
    for file in sorted((data / "ntrex128").glob("*.txt")):
        tag = file.name.removesuffix(".txt").split(".")[1]
        if "-" not in tag:
            yield "ntrex128", language_code(tag), _sentences(file)
    for archive in sorted((data / "opus_moses").glob("Tatoeba.*.zip")):
        yield from _tatoeba(archive)
    for file in sorted((data / "nllb_seed").glob("*_*")):
        if re.fullmatch("[a-z]{3}_[A-Z][a-z]{3}", file.name):
            yield "nllb_seed", file.name, _sentences(file)


def _manuals(data: Path) -> Iterator[tuple[str, str, Paragraphs]]:
    yield from _handbook(data / "debian_docs/debian-handbook/html.tar.gz")
    for archive in sorted((data / "debian_docs/libreoffice-help").glob("*.tar.gz")):
        yield "libreoffice_help", language_code(archive.name.removesuffix(".tar.gz")), _help_pages(archive)
    for file in sorted((data / "debian_docs").glob("debian-*/*.txt.gz")):
        kind, _, tag = file.name.removesuffix(".txt.gz").partition(".")
        if kind in ("debian-reference", "debian-faq") and tag:
            yield kind.replace("-", "_"), language_code(tag), _plain_text(file, kind)


def _handbook(archive: Path) -> Iterator[tuple[str, str, Paragraphs]]:
    pages: dict[str, dict[str, list[tuple[str, str]]]] = {}
    with tarfile.open(archive) as members:
        for member in members:
            parts = member.name.split("/")
            if member.isfile() and len(parts) == 3 and parts[2].endswith(".html") and parts[2] != "index.html":
                stream = members.extractfile(member)
                assert stream is not None
                pages.setdefault(parts[1], {})[parts[2]] = list(_html_paragraphs(stream.read()))
    for tag, found in sorted(pages.items()):
        rows = (
            (f"handbook/{page}", title, paragraph)
            for page, paragraphs in sorted(found.items())
            for title, paragraph in paragraphs
        )
        yield "debian_handbook", language_code(tag), rows


def _runs(paragraph: str) -> set[str]:
    """Its runs of three words of letters, in lower case."""
    words = re.findall(r"[^\W\d_]+", paragraph.lower())
    return {" ".join(words[at : at + 3]) for at in range(len(words) - 2)}


def _is_of(paragraph: str, english: frozenset[str]) -> bool:
    """Whether a third of the paragraph or more is left as the English has it: not translated, or half so."""
    runs = _runs(paragraph)
    return 3 * len(runs & english) > len(runs)


def _html_paragraphs(page: bytes) -> Iterator[tuple[str, str]]:
    """Title of the section and paragraph, in order."""
    tree = html.fromstring(page.decode("utf-8", "replace").encode(), parser=html.HTMLParser(encoding="utf-8"))
    for element in tree.xpath(_NO_TEXT):
        element.drop_tree()
    title = ""
    for element in tree.xpath(_TEXT_ELEMENTS):
        if "table" in (element.get("class") or "") or (element.tag == "p" and "title" in (element.get("class") or "")):
            continue
        text = _one_line("".join(element.itertext()))
        if element.tag in ("h1", "h2", "h3", "h4"):
            title = re.sub(r"^[\d.]+\s*", "", text)
        elif text:
            yield title, text


def _help_pages(archive: Path) -> Paragraphs:
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile() and member.name.endswith(".html"):
                stream = members.extractfile(member)
                assert stream is not None
                document = member.name.split("/", 1)[1]
                for title, paragraph in _html_paragraphs(stream.read()):
                    yield document, title, paragraph


def _plain_text(file: Path, kind: str) -> Paragraphs:
    """Paragraphs that end as sentences do and hold no drawn table, prompt or row of dots (tables of contents)."""
    chapter = title = ""
    for block in re.split(r"\n\s*\n", gzip.decompress(file.read_bytes()).decode("utf-8", "replace")):
        heading = re.match(r"^(\d+)\.[\d.]*\s+(\S.*)", block)
        if heading and "\n" not in block.strip():
            chapter, title = heading.group(1), heading.group(2).strip()
            continue
        if not _DRAWN.search(block) and not _PROMPT.search(block):
            text = _one_line(_WRAPPED_CJK.sub("", block))
            if _ENDS_SENTENCE.search(text) and len(text) > 20:
                yield f"{kind}/{chapter}", title, text


def _descriptions(file: Path) -> Paragraphs:
    """The long descriptions; the document is the family of packages, libreoffice of libreoffice-l10n-de."""
    for stanza in gzip.decompress(file.read_bytes()).decode("utf-8", "replace").split("\n\n"):
        lines = stanza.split("\n")
        if len(lines) < 4:
            continue
        package = lines[0].removeprefix("Package: ")
        title = lines[2].split(": ", 1)[-1]
        for paragraph in re.split(r"\n \.\n", "\n".join(lines[3:])):
            text = _one_line(_WRAPPED_CJK.sub("", paragraph))
            if text:
                yield f"ddtp/{package.split('-')[0]}/{package}".rsplit("/", 1)[0], f"{package}: {title}", text


def _wikipedia(file: Path) -> Iterator[tuple[str, str, Paragraphs]]:
    rows: dict[str, list[tuple[str, str, str]]] = {}
    edition = file.name.split("wiki-", 1)[0]
    for pair in _pairs_of("wikipedia", file, None):
        if pair["kind"] != "paraphrase":
            # The small dumps all say that they are English: their names are right.
            language = pair["positive_lang"] if edition == file.name else language_code(edition)
            row = (f"wikipedia/{edition}/{pair['document_id']}", pair["query"], pair["positive"])
            rows.setdefault(language, []).append(row)
    for language, pairs in rows.items():
        yield "wikipedia", language, iter(pairs)


def _sentences(file: Path) -> Paragraphs:
    """Sentences in their order; a hundred lines are a document, ten a section."""
    lines = file.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        first = lines[number - number % 10]
        yield f"{file.parent.name}/{number // 100}", " ".join(first.split()[:8]), _one_line(line)


def _tatoeba(archive: Path) -> Iterator[tuple[str, str, Paragraphs]]:
    with zipfile.ZipFile(archive) as members:
        for name in members.namelist():
            tag = name.rsplit(".", 1)[-1]
            if name.startswith("Tatoeba.") and len(tag) == 3 and tag != "xml":
                lines = members.read(name).decode("utf-8").splitlines()
                rows = ((f"tatoeba/{number // 100}", "sentences", line) for number, line in enumerate(lines))
                yield "tatoeba", language_code(tag), rows


def _one_line(text: str) -> str:
    return " ".join(text.split())


def package_passages(folder: Path, data: Path, most: int = 1000, seed: int = 0) -> list[Passage]:
    """Passages of Debian packages libreoffice-help-LANGUAGE: manuals in languages that the data folder has little of."""
    english = english_runs(data)
    passages: list[Passage] = []
    for package in sorted(folder.glob("libreoffice-help-*.deb")):
        language = language_code(package.name.split("_")[0].removeprefix("libreoffice-help-"))
        rows = (row for row in _package_pages(package) if not _is_of(row[2], english))
        found = [
            Passage("help_package", language, document, title, text)
            for document, title, text in _joined(rows, random.Random(f"{seed} {language}"))
            if SHORTEST <= length(text) <= LONGEST
        ]
        for half in ("calibration", "test"):
            passages += _sample([one for one in found if one.half == half], most, seed)
    return passages


def _package_pages(package: Path) -> Paragraphs:
    content = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(content)) as members:
        for member in members:
            if member.isfile() and member.name.endswith(".html") and "/text/" in member.name:
                stream = members.extractfile(member)
                assert stream is not None
                page = member.name.split("/text/", 1)[1]
                for title, text in _html_paragraphs(stream.read()):
                    yield f"text/{page}", title, text


# Corpora that nothing is trained or calibrated on: adapter, files, language where the files do not say it.
_OTHERS: Final = (
    ("squad", "squad/*.json", "en"),
    ("squad", "arcd/*.json", "ar"),
    ("squad", "drcd/*.json", "zh-Hant"),
    ("cmrc2018", "cmrc2018/*.json", "zh"),
    ("squad", "jaquad/data/*/*", "ja"),
    ("dureader", "dureader/*set/*.json", "zh"),
    ("stackexchange", "stackexchange/beer/Posts.xml", "en"),
    ("pubmedqa", "pubmedqa/data/*.json", "en"),
)


def other_passages(data: Path, most: int = 500, seed: int = 0) -> list[Passage]:
    """Passages of corpora of other kinds (encyclopaedia, answers of users, medicine, law), at most `most` of each."""
    passages = []
    for name, pattern, language in _OTHERS:
        folder = pattern.split("/", 1)[0]
        texts = {
            pair["positive"]: Passage(
                folder, pair["positive_lang"], pair["document_id"], pair["query"], pair["positive"]
            )
            for file in sorted(data.glob(pattern))
            for pair in _pairs_of(name, file, language)
            if SHORTEST <= length(pair["positive"]) <= LONGEST
        }
        passages += _sample(list(texts.values()), most, seed)
    law = (
        Passage("gesetze_long", "deu_Latn", file.name, file.stem, _one_line(block))
        for file in sorted((data / "gesetze_long").glob("*.md"))
        for block in file.read_text(encoding="utf-8").split("\n\n")
    )
    return passages + _sample([one for one in law if SHORTEST <= length(one.text) <= LONGEST], most, seed)


def _sample(passages: list[Passage], most: int, seed: int) -> list[Passage]:
    return sorted(passages, key=lambda one: xxhash.xxh64_intdigest(one.text.encode(), seed))[:most]


def _pairs_of(name: str, file: Path, language: str | None) -> Iterator[dict[str, Any]]:
    source = load_source(name)
    settings = source.Settings(language=language)
    for given in source.gather([str(file)], settings):
        for split in source.input_splits(given, settings, 1 << 40):
            for step in source.read(split, settings):
                yield from step.pairs.to_pylist()
