"""What an enemy may put into data, and what must not come of it: shared by the tests of this folder."""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines import command_line

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg/onload=alert(1)>"
LINK = "[here](javascript:alert(1)) <a href='javascript:alert(1)'>here</a>"
TEMPLATE = "{{7*7}} {% import os %} ${HOME} $(touch pwned) `touch pwned`"
TERMINAL = "\x1b[31mRED\x1b]0;owned\x07\x1b]8;;http://evil.example\x1b\\\x9b2J\x08\x7f"
TURNED = "\u202egnp.exe\u2066\u200b"
FORMULA = "=HYPERLINK(\"http://evil.example\") +1 -1 @SUM(A1) =cmd|'/c calc'!A1"
MARKUP = "[bold red]x[/] [/bold] [link=http://evil.example]x[/link]"
FRONT_MATTER = "\n---\nlicense: mit\n---\n"
HOSTILE = f"{SCRIPT} {LINK} {TEMPLATE} {TERMINAL} {TURNED} {FORMULA} {MARKUP}{FRONT_MATTER}"
OUTSIDE = "../../../outside"

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
SYLLABLES = ["ra", "mon", "tel", "vi", "co", "gar", "win", "bri", "mar", "lan", "dos", "pe"]


def hostile_rows(count: int) -> list[dict[str, str]]:
    choose = random.Random(11)
    rows = []
    for number in range(count):
        piece = (SCRIPT, LINK, TEMPLATE, TERMINAL + TURNED, FORMULA, MARKUP)[number % 6]
        title, body = _words(choose, 30), _words(choose, 150)
        rows.append(
            {
                "id": f"{OUTSIDE}/{number}/{HOSTILE}" if number % 2 else f"/etc/outside-{number}",
                "title": f"={piece} {title}",
                "body": f"{HOSTILE} {body}",
                "url": "javascript:alert(1)",
            }
        )
    return rows


def _words(choose: random.Random, count: int) -> str:
    """Words of their own, so that rows are no near-duplicates."""
    return " ".join("".join(choose.choices(SYLLABLES, k=3)) for _ in range(count))


def write_hostile_corpus(folder: Path, count: int = 60) -> None:
    """Rows with hostile text in every field, records that can't be read, in files whose names are hostile too."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = hostile_rows(count)
    broken = [b'{"title": "' + HOSTILE.encode() + b"\n", b"[" * 5000 + b"\n", b'{"id": ' + b"9" * 5000 + b"}\n"]
    broken.append(json.dumps({"id": HOSTILE, "title": "", "body": HOSTILE}).encode() + b"\n")  # a pair to reject
    for number in range(2):
        name = ("a\x1b[31m<script>\u202e=1.jsonl", "b --rm $(touch pwned) [bold].jsonl")[number]
        lines = [json.dumps(row).encode() + b"\n" for row in rows[number::2]]
        (folder / name).write_bytes(b"".join(lines) + b"".join(broken))


def pairmill(*arguments: str, cwd: Path, limit: float = 250, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "pipelines.command_line", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONSAFEPATH": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=limit,
        check=False,
    )


def pairmill_here(*arguments: str) -> int:
    """The command in this process; its exit code."""
    before = sys.argv
    sys.argv = ["pairmill", *arguments]
    try:
        command_line.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def snapshot(folder: Path, without: Path) -> dict[str, str]:
    """Every path below `folder` but those below `without`, with what it is and holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path == without or without in path.parents:
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = f"{'link' if path.is_symlink() else 'file' if path.is_file() else 'folder'} {content}"
    return found


def assert_shows_nothing_unseen(*outputs: str) -> None:
    for output in outputs:
        found = UNSEEN.search(output)
        assert found is None, f"{found[0]!r} in {output[max(0, found.start() - 80) : found.end() + 80]!r}"


def every_file(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


class Canary:
    """Python objects whose unpickling leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.mark}",))
