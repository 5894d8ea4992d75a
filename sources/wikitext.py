"""Wikitext to plain text: templates, tables, references, files and markup go; words, paragraphs and lists stay.

Regular expressions over the whole page, no parse tree: a page costs tens of microseconds a kilobyte. Templates are not
expanded; the few that only wrap words of the sentence give them back.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_DROPPED_TAGS: Final = (
    "ref|math|chem|ce|gallery|timeline|syntaxhighlight|source|score|table|imagemap|templatestyles|hiero"
    "|graph|maplink|mapframe|includeonly|noinclude|categorytree|inputbox|poem-source|references|ol-data"
)
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_CONTENT_TAG: Final = re.compile(rf"<(/?)({_DROPPED_TAGS})\b[^<>]*?(/?)>", re.IGNORECASE)
_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]*>")
_BREAK: Final = re.compile(r"<(?:br|hr|p|/p|/div|/li)\b[^<>]*>", re.IGNORECASE)

_KEPT_TEMPLATE: Final = re.compile(
    r"\{\{ ?(?:(?:lang|langue|nihongo2|transl|transliteration)\|[^{}|]*|lang-[a-z-]+|nowrap|nobr|nobold|small|smaller|big"
    r"|abbr|cquote|quote|blockquote|bq|ill|unité|nombre) ?\|([^{}|]*)(?:\|[^{}]*+)?\}\}",
    re.IGNORECASE,
)
_ARGUMENT_NAME: Final = re.compile(r"^\s*(?:1|text|quote)\s*=")
_CONVERT: Final = re.compile(
    r"\{\{ ?(?:convert|cvt)\|([\d.,/ -]++)\|([^{}|]++)(?:\|[^{}]*+)?\}\}|\{\{formatnum:([^{}|]*)\}\}", re.IGNORECASE
)
_CIRCA: Final = re.compile(r"\{\{ ?(?:circa|c\.)\|?([^{}|]*)(?:\|[^{}]*+)?\}\}", re.IGNORECASE)
_DASH: Final = re.compile(r"\{\{ ?(?:snd|spaced ndash|ndash|mdash|–|—) ?\}\}", re.IGNORECASE)
_BOUNDS: Final = re.compile(r"\{\{|\}\}|^[ \t:*#]*+\{\||^[ \t]*+\|\}(?!\})", re.MULTILINE)

_SIMPLE_LINK: Final = re.compile(r"\[\[(?:[^\[\]|:{}]*\|)?([^\[\]|:]*)\]\]")
_LINK: Final = re.compile(r"\[\[([^\[\]|]*)((?:\|[^\[\]]*)?)\]\]")
_EXTERNAL: Final = re.compile(r"(?<!\[)\[(?:https?:|ftp:|mailto:)?//[^\s\[\]]*+([^\[\]]*+)\]", re.IGNORECASE)
_BARE_ADDRESS: Final = re.compile(r"https?://[^\s<>\[\]|]+")
_QUOTES: Final = re.compile(r"''+")
_MAGIC: Final = re.compile(r"__[A-Z][A-Z_]+__")
_VARIANT: Final = re.compile(r"-\{([^{}]*)\}-")
_SPACES: Final = re.compile(r"  +")
_EMPTY_BRACKETS: Final = re.compile(r"[(（] ?(?:[,;:，；、：·•/–—-] ?)*+[)）]")
_OPEN_MARK: Final = re.compile(r"([(（]) ?(?:[,;:，；、] ?)*+")
_DANGLING: Final = (" )", ",)", ";)", "、)", " ）", "、）", "，）", "；）", ",）", ";）")
_SPACE_BEFORE: Final = re.compile(r" ([,.;](?:\s|$))", re.MULTILINE)
_HEADING: Final = re.compile(r"^==.*==[ \t]*$", re.MULTILINE)
_LIST_MARKS: Final = ("*", "#", ";", ":")
_NO_CHARACTER: Final = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{7,});?")
_LEFTOVER_MARKS: Final = re.compile(r"[\[\]']{2,}")
_LEFTOVER: Final = re.compile(r"^ ?(?:[|}]|! |\{\|).*$", re.MULTILINE)  # rows of tables that never close

# The namespaces whose links show no words of the article, in the languages of the large Wikipedias.
_FILE_NAMES: Final = frozenset(
    {
        "file",
        "image",
        "media",
        "category",
        "datei",
        "bild",
        "kategorie",
        "fichier",
        "catégorie",
        "archivo",
        "imagen",
        "categoría",
        "ficheiro",
        "imagem",
        "categoria",
        "immagine",
        "bestand",
        "afbeelding",
        "categorie",
        "файл",
        "изображение",
        "категория",
        "plik",
        "grafika",
        "ファイル",
        "画像",
        "カテゴリ",
        "文件",
        "檔案",
        "档案",
        "图像",
        "分类",
        "分類",
        "파일",
        "그림",
        "분류",
        "ملف",
        "صورة",
        "تصنيف",
        "پرونده",
        "رده",
        "चित्र",
        "श्रेणी",
        "वर्ग",
        "категорія",
        "зображення",
        "dosya",
        "kategori",
        "tập_tin",
        "thể_loại",
        "αρχείο",
        "εικόνα",
        "κατηγορία",
        "চিত্র",
        "বিষয়শ্রেণী",
        "պատկեր",
        "կատեգորիա",
        "картинка",
        "fil",
    }
)
_WIKI_PREFIX: Final = re.compile(r"[a-z]{2,3}(?:-[a-z-]+)?|simple", re.ASCII)


@dataclass(frozen=True)
class Section:
    """A section's own text, without that of the sections inside it; the lead has no path."""

    path: tuple[str, ...]
    text: str  # paragraphs and list items, one a line
    list_share: float  # share of the characters that lie in list items


def sections(wikitext: str) -> Iterator[Section]:
    """The plain text of a page, section by section, the lead first. Any text is accepted, broken markup included."""
    text = _finish(_strip(wikitext))
    path: list[tuple[int, str]] = []
    begin = 0
    for heading in _HEADING.finditer(text):
        yield _section(path, text[begin : heading.start()])
        title = heading[0].strip()
        level = min(6, (len(title) - len(title.strip("="))) // 2)
        while path and path[-1][0] >= level:
            path.pop()
        path.append((level, title.strip("= ")))
        begin = heading.end()
    yield _section(path, text[begin:])


def _section(path: Sequence[tuple[int, str]], text: str) -> Section:
    lines: list[str] = []
    listed = total = 0
    for line in text.split("\n"):
        in_list = line.startswith(_LIST_MARKS)
        item = line.lstrip("*#;:").strip() if in_list else line.strip()
        if not item or (len(item) < 4 and not any(map(str.isalnum, item))):
            continue
        total += len(item)
        listed += len(item) if in_list else 0
        lines.append(item)
    return Section(tuple(title for _, title in path), "\n".join(lines), listed / total if total else 0.0)


def _strip(text: str) -> str:
    """Everything with an inside goes: comments, references, templates, tables, links."""
    if "<!--" in text:
        text = _COMMENT.sub("", text)
    if "<" in text:
        text = _drop_contents(text)
        text = _TAG.sub("", _BREAK.sub("\n", text))
    if "-{" in text:
        text = _VARIANT.sub(_chosen_variant, text)
    if "{{" in text or "{|" in text:
        text = _DASH.sub(" – ", _CIRCA.sub(r"c. \1", _CONVERT.sub(_measure, text)))
        text = _drop_braces(_KEPT_TEMPLATE.sub(_words, text))
    if "[" in text:
        text = _links(text)
    return text


def _drop_contents(text: str) -> str:
    """Drop <ref>...</ref> and the like, contents included; one that never closes loses only its tag. Linear."""
    tags = list(_CONTENT_TAG.finditer(text))
    last_close = {tag[2].lower(): tag.start() for tag in tags if tag[1]}
    kept: list[str] = []
    begin, inside = 0, ""
    for tag in tags:
        name = tag[2].lower()
        if inside:
            if tag[1] and name == inside:
                begin, inside = tag.end(), ""
            continue
        kept.append(text[begin : tag.start()])
        begin = tag.end()
        if not tag[1] and not tag[3] and last_close.get(name, -1) > tag.start():
            inside = name
    return "".join([*kept, text[begin:]])


def _measure(convert: re.Match[str]) -> str:
    return convert[3] if convert[1] is None else f"{convert[1].strip()} {convert[2].strip()}"


def _words(template: re.Match[str]) -> str:
    return _ARGUMENT_NAME.sub("", template[1])


def _chosen_variant(variant: re.Match[str]) -> str:
    """Chinese `-{zh-hans:A;zh-hant:B}-`: the first form; a rule without text gives nothing."""
    first = variant[1].split(";")[0].rpartition("|")[2]
    return first.rpartition(":")[2]


def _drop_braces(text: str) -> str:
    """Drop the outermost {{...}} and {|...|} that close; what never closes stays, but for its braces."""
    waiting: list[tuple[str, int]] = []
    spans: list[tuple[int, int]] = []
    opened = {"{{": 0, "{|": 0}
    for bound in _BOUNDS.finditer(text):
        mark = bound[0].strip(" \t:*#")
        if mark in ("{{", "{|"):
            waiting.append((mark, bound.start()))
            opened[mark] += 1
            continue
        opener = "{{" if mark == "}}" else "{|"
        if not opened[opener]:
            continue
        popped, start = "", 0
        while popped != opener:
            popped, start = waiting.pop()
            opened[popped] -= 1
        while spans and spans[-1][0] >= start:
            spans.pop()
        spans.append((start, bound.end()))
    kept, begin = [], 0
    for start, end in spans:
        kept.append(text[begin:start])
        begin = end
    kept.append(text[begin:])
    return "".join(kept).replace("{{", "").replace("}}", "")


def _links(text: str) -> str:
    text = _SIMPLE_LINK.sub(r"\1", text)
    if "//" in text:
        text = _BARE_ADDRESS.sub("", _EXTERNAL.sub(r"\1", text))
    for _ in range(4):  # a file's caption holds links, which hold ...
        if "[[" not in text:
            break
        text, number = _LINK.subn(_link_label, text)
        if not number:
            break
    return text.replace("[[", "").replace("]]", "")


def _link_label(link: re.Match[str]) -> str:
    target, label = link[1], link[2]
    prefix, colon, _ = target.partition(":")
    if colon and prefix:
        name = prefix.strip().lower()
        if name.replace(" ", "_") in _FILE_NAMES or _WIKI_PREFIX.fullmatch(name):
            return ""
    return label.rpartition("|")[2] if label else target.lstrip(":")


def _finish(text: str) -> str:
    """Small marks, entities, and the holes that templates left."""
    if "''" in text:
        text = _QUOTES.sub("", text)
    if "__" in text:
        text = _MAGIC.sub("", text)
    text = unescape_entities(text)
    text = _LEFTOVER.sub("", _SPACES.sub(" ", text.replace("\t", " ").replace("\xa0", " ")))
    for _ in range(2):  # "( ; )"
        for mark in _DANGLING:
            text = text.replace(mark, mark[-1])
    if "(" in text or "（" in text:
        text = _SPACES.sub(" ", _EMPTY_BRACKETS.sub("", _OPEN_MARK.sub(r"\1", text)))
    if "[[" in text or "]]" in text or "''" in text:  # what the holes brought together
        text = _LEFTOVER_MARKS.sub(_without_pairs, text)
    return _SPACE_BEFORE.sub(r"\1", text)


def _without_pairs(marks: re.Match[str]) -> str:
    return "" if any(pair in marks[0] for pair in ("[[", "]]", "''")) else marks[0]


def unescape_entities(text: str) -> str:
    """HTML's named and numbered characters; a number beyond all characters is U+FFFD, however long it is."""
    return html.unescape(_NO_CHARACTER.sub("\ufffd", text)) if "&" in text else text
