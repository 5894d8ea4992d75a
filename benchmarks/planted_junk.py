"""Junk of six kinds, made of clean passages of one language: what a filter of web text is there to drop.

    menu            titles of sections, capitalised, with or without a sign between
    table           rows of names, figures, dates and marks
    code            programs and configuration in sixteen notations, now and then a comment in the language
    links           addresses, with and without titles
    cookie_lines    what pages say of themselves (cookie_lines.py), two to six lines
    shuffled_words  the words of a passage in random order, punctuation going with them; where words are written without
                    spaces, its characters or pieces of two

Each text is one line of 200 to 2,000 characters (a Han or kana letter counts three), like the passages.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from clean_passages import Passage, length
from cookie_lines import COOKIE_LINES, SAME_LINES

_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff]")
_NAMES: Final = ("atlas", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "iris", "juniper")
_IDENTIFIERS: Final = (
    "index", "value", "buffer", "count", "result", "node", "items", "config", "path", "user", "request", "state",
    "offset", "handler", "token", "parent", "width", "cache", "message", "session",
)  # fmt: skip


_UNTITLED: Final = ("ntrex128", "nllb_seed", "tatoeba")  # what they have for titles are beginnings of sentences


@dataclass(frozen=True)
class Words:
    """What a language gives its junk: titles, words and passages."""

    language: str
    titles: tuple[str, ...]
    words: tuple[str, ...]
    texts: tuple[str, ...]

    def title(self, chance: random.Random) -> str:
        return chance.choice(self.titles)


def plant(passages: Sequence[Passage], kind: str, number: int, seed: int = 0) -> list[Passage]:
    """`number` texts of a kind, titled as the passages they stand for; none where the language has no lines for it."""
    language = passages[0].language
    chance = random.Random(f"{seed} {kind} {language}")
    words = words_of(passages)
    planted = []
    for count in range(number):
        text = KINDS[kind](words, chance)
        if not text:
            return []
        planted.append(replace(passages[count % len(passages)], text=" ".join(text.split())))
    return planted


def words_of(passages: Sequence[Passage]) -> Words:
    titles = {one.title.split(": ", 1)[-1].split(" > ")[-1] for one in passages if one.source not in _UNTITLED}
    short = sorted(title for title in titles if 0 < len(title.split()) <= 6 and 1 < length(title) <= 60)
    pieces = [piece for one in passages for piece in _pieces(one.text)]
    if len(short) < 30:
        chance = random.Random(passages[0].language)
        joint = "" if is_unspaced(passages[0].text) else " "
        short += sorted({joint.join(chance.choices(pieces, k=chance.randint(1, 3))) for _ in range(200)})
    return Words(passages[0].language, tuple(short), tuple(pieces), tuple(one.text for one in passages))


def _pieces(text: str) -> list[str]:
    """Words, or pieces of two to six letters between the signs of a text without spaces."""
    if is_unspaced(text):
        return [run[:6] for run in re.findall(r"[^\W\d_]{2,}", text)][:40]
    return re.findall(r"[^\W\d_]{3,}", text)[:40]


def is_unspaced(text: str) -> bool:
    return 4 * len(_UNSPACED.findall(text)) > len(text)


def _until(make: Callable[[], str], separator: str, chance: random.Random) -> str:
    wanted = int(200 * 10 ** (0.85 * chance.random()))
    parts: list[str] = []
    while length(separator.join(parts)) < wanted:
        parts.append(make())
    return separator.join(parts)


def menu(words: Words, chance: random.Random) -> str:
    separator = chance.choice((" | ", " » ", " · ", " ", " ", " / ", " > ", " • ", "  ", " - "))

    def title() -> str:
        found = words.title(chance)
        return found[:1].upper() + found[1:]

    return _until(title, separator, chance)


def table(words: Words, chance: random.Random) -> str:
    separator = chance.choice((" | ", " ", " ; ", " \t ", " || ", " "))
    columns = [chance.choice(_CELLS) for _ in range(chance.randint(3, 7))]
    heads = separator.join(chance.choice(words.words).capitalize() for _ in columns)

    def row() -> str:
        return separator.join(cell(words, chance) for cell in columns)

    return f"{heads} {_until(row, separator if separator.strip() else ' ', chance)}"


def _name(words: Words, chance: random.Random) -> str:
    return chance.choice(words.words).capitalize()


def _number(words: Words, chance: random.Random) -> str:
    return f"{chance.randint(0, 10 ** chance.randint(1, 6)):,}"


def _decimal(words: Words, chance: random.Random) -> str:
    return f"{chance.uniform(0, 10 ** chance.randint(0, 4)):.{chance.randint(1, 3)}f}"


def _percent(words: Words, chance: random.Random) -> str:
    return f"{chance.uniform(0, 100):.1f} %"


def _date(words: Words, chance: random.Random) -> str:
    return f"{chance.randint(1990, 2025)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"


def _mark(words: Words, chance: random.Random) -> str:
    return chance.choice(("–", "+", "x", "✓", "n/a", "0", "1", "-"))


_CELLS: Final = (_name, _number, _number, _decimal, _decimal, _percent, _date, _mark)


def links(words: Words, chance: random.Random) -> str:
    form = chance.choice(
        ("{url}", "{title} {url}", "{title} ({url})", "[{title}]({url})", "{title}: {url}", "{domain} {title}")
    )

    def link() -> str:
        domain = f"{chance.choice(('www.', '', 'blog.', 'docs.'))}{chance.choice(_NAMES)}{chance.choice(_NAMES)}.{chance.choice(('org', 'com', 'net', 'io', 'de', 'cn'))}"
        steps = "/".join(chance.choices((*_NAMES, *_IDENTIFIERS, "2023", "p", "index.html"), k=chance.randint(0, 3)))
        ending = chance.choice(("", "", f"?id={chance.randint(1, 9999)}", "#top", ".html"))
        return form.format(url=f"https://{domain}/{steps}{ending}", title=words.title(chance), domain=domain)

    return _until(link, chance.choice((" ", " ", " | ", " * ", " - ")), chance)


def cookie_lines(words: Words, chance: random.Random) -> str:
    code = words.language.split("_")[0]
    code = SAME_LINES.get(code, code)
    lines = COOKIE_LINES.get(words.language) or COOKIE_LINES.get(code)
    if lines is None:
        return ""
    chosen = chance.sample(lines, len(lines))
    most = chance.randint(2, len(lines))
    lengths = list(accumulate(length(line) + 1 for line in chosen))
    enough = next((count + 1 for count, total in enumerate(lengths) if total >= 200 and count + 1 >= most), len(lines))
    return " ".join(chosen[:enough]).format(site=chance.choice(_NAMES).capitalize())


def shuffled(words: Words, chance: random.Random) -> str:
    return shuffled_words(chance.choice(words.texts), chance)


def shuffled_words(text: str, chance: random.Random) -> str:
    """The text with its words, or letters or pieces of two, in another order."""
    if is_unspaced(text):
        size = chance.choice((1, 2))
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        chance.shuffle(pieces)
        return "".join(pieces)
    pieces = text.split()
    chance.shuffle(pieces)
    return " ".join(pieces)


def code(words: Words, chance: random.Random) -> str:
    write = chance.choice(_NOTATIONS)
    return _until(lambda: write(_Code(words, chance)), " ", chance)


class _Code:
    """Random parts of programs."""

    def __init__(self, words: Words, chance: random.Random) -> None:
        self.words, self.chance = words, chance

    @property
    def name(self) -> str:
        first, second = self.chance.sample(_IDENTIFIERS, 2)
        return self.chance.choice((first, f"{first}_{second}", f"{first}{second.capitalize()}"))

    @property
    def number(self) -> int:
        return self.chance.randint(0, 4096)

    @property
    def comment(self) -> str:
        return " ".join(self.chance.choices(self.words.words, k=self.chance.randint(1, 4)))

    def maybe(self, text: str) -> str:
        return text if self.chance.random() < 0.4 else ""


def _python(c: _Code) -> str:
    return c.chance.choice(
        (
            f"def {c.name}(self, {c.name}={c.number}): {c.maybe('# ' + c.comment)} return self.{c.name}[{c.name}]",
            f"for {c.name} in range(len({c.name})): {c.name} += {c.name}.get('{c.name}', {c.number})",
            f'if {c.name} is None or {c.name} < {c.number}: raise ValueError(f"{{{c.name}}}")',
            f"{c.name} = [{c.name}({c.name}) for {c.name} in self.{c.name} if {c.name} != {c.number}]",
            f"from {c.name}.{c.name} import {c.name} as {c.name}",
        )
    )


def _c(c: _Code) -> str:
    return c.chance.choice(
        (
            f"static int {c.name}(struct {c.name} *{c.name}, size_t {c.name}) {{ {c.maybe('/* ' + c.comment + ' */')} return {c.name}->{c.name}; }}",
            f"for (int i = 0; i < {c.name}; i++) {{ {c.name}[i] = {c.name}(&{c.name}, {c.number}); }}",
            f"if (!{c.name} || {c.name}->{c.name} == NULL) {{ goto out; }}",
            f"#define {c.name.upper()} 0x{c.number:x} {c.maybe('/* ' + c.comment + ' */')}",
            f'printf("%s: %d\\n", {c.name}, {c.name});',
        )
    )


def _java(c: _Code) -> str:
    return c.chance.choice(
        (
            f"public void {c.name}(final String {c.name}) throws IOException {{ this.{c.name} = {c.name}; {c.maybe('// ' + c.comment)} }}",
            f"List<{c.name.capitalize()}> {c.name} = new ArrayList<>({c.number});",
            f"@Override protected int {c.name}() {{ return {c.name}.{c.name}().size(); }}",
            f'try {{ {c.name}.{c.name}({c.number}); }} catch (Exception e) {{ log.error("{c.name}", e); }}',
        )
    )


def _javascript(c: _Code) -> str:
    return c.chance.choice(
        (
            f"const {c.name} = ({c.name}) => {{ return {c.name}.map(x => x.{c.name}); }};",
            f"document.getElementById('{c.name}').addEventListener('click', function (e) {{ e.preventDefault(); }});",
            f"$('.{c.name}').css({{ width: {c.number} + 'px' }}); {c.maybe('// ' + c.comment)}",
            f"module.exports = {{ {c.name}: require('./{c.name}'), {c.name}: {c.number} }};",
        )
    )


def _shell(c: _Code) -> str:
    return c.chance.choice(
        (
            f"$ sudo apt-get install -y {c.name} lib{c.name}-dev {c.maybe('# ' + c.comment)}",
            f'for f in *.{c.name}; do mv "$f" "/var/lib/{c.name}/${{f%.txt}}"; done',
            f"export {c.name.upper()}=/usr/local/{c.name}/bin:$PATH",
            f"grep -rn '{c.name}' /etc/{c.name}.d | awk '{{print ${c.number % 9}}}' | sort -u > /tmp/{c.name}.log 2>&1",
            f'if [ -z "${c.name}" ]; then echo "{c.name}" >&2; exit {c.number % 3}; fi',
        )
    )


def _sql(c: _Code) -> str:
    return c.chance.choice(
        (
            f"SELECT {c.name}, COUNT(*) FROM {c.name} WHERE {c.name} > {c.number} GROUP BY {c.name} ORDER BY 2 DESC;",
            f"INSERT INTO {c.name} ({c.name}, {c.name}) VALUES ({c.number}, '{c.maybe(c.comment)}');",
            f"CREATE TABLE {c.name} (id INTEGER PRIMARY KEY, {c.name} VARCHAR({c.number}) NOT NULL);",
        )
    )


def _html(c: _Code) -> str:
    return c.chance.choice(
        (
            f'<div class="{c.name} {c.name}" id="{c.name}"><a href="/{c.name}/{c.number}">{c.comment}</a></div>',
            f'<li><span style="width:{c.number}px">{c.comment}</span></li>',
            f'<input type="text" name="{c.name}" value="{c.number}" /><br />',
        )
    )


def _css(c: _Code) -> str:
    return f".{c.name} > #{c.name}:hover {{ margin: 0 auto {c.number}px; color: #{c.number:06x}; }} {c.maybe('/* ' + c.comment + ' */')}"


def _json(c: _Code) -> str:
    return f'{{"{c.name}": {c.number}, "{c.name}": "{c.maybe(c.comment)}", "{c.name}": [{c.number}, {c.number}, null, true]}},'


def _yaml(c: _Code) -> str:
    return f"{c.name}: - name: {c.name} image: {c.name}:{c.number}.{c.number % 7} ports: - {c.number} {c.maybe('# ' + c.comment)}"


def _ini(c: _Code) -> str:
    return (
        f"[{c.name}] {c.name} = {c.number} {c.name}.{c.name} = /etc/{c.name}/{c.name}.conf {c.maybe('; ' + c.comment)}"
    )


def _server(c: _Code) -> str:
    return f"server {{ listen {c.number}; server_name {c.name}.example.org; location /{c.name} {{ proxy_pass http://127.0.0.1:{c.number}; }} }}"


def _docker(c: _Code) -> str:
    return f"RUN apt-get update && apt-get install -y {c.name} && rm -rf /var/lib/{c.name} ENV {c.name.upper()}={c.number} COPY --from={c.name} /usr/{c.name} ."


def _latex(c: _Code) -> str:
    return f"\\begin{{{c.name}}} \\label{{eq:{c.name}}} x_{{{c.number}}} = \\frac{{{c.number}}}{{\\sum_i y_i^2}} {c.maybe('% ' + c.comment)} \\end{{{c.name}}}"


def _diff(c: _Code) -> str:
    return f"@@ -{c.number},7 +{c.number},9 @@ - {c.name} = {c.name}({c.number}); + {c.name} = {c.name}(&{c.name}, {c.number});"


def _log(c: _Code) -> str:
    return f"2024-0{c.number % 9 + 1}-11 10:{c.number % 60:02}:07,{c.number} [{c.name}-{c.number}] ERROR org.{c.name}.{c.name} - {c.name}={c.number} at {c.name}({c.name}.java:{c.number})"


_NOTATIONS: Final = (
    _python, _c, _java, _javascript, _shell, _sql, _html, _css, _json, _yaml, _ini, _server, _docker, _latex, _diff, _log,
)  # fmt: skip

KINDS: Final[dict[str, Callable[[Words, random.Random], str]]] = {
    "menu": menu,
    "table": table,
    "code": code,
    "links": links,
    "cookie_lines": cookie_lines,
    "shuffled_words": shuffled,
}
