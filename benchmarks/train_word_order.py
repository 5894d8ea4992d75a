"""Trains filters/word_order_model.zlib, and says how well it tells held-out text from shuffled.

    python benchmarks/train_word_order.py DATA [--packages FOLDER] [--output filters/word_order_model.zlib]

DATA is the data folder (clean_passages.py says what of it is read); only two thirds of the calibration half of its
documents are trained on. FOLDER holds Debian packages libreoffice-help-LANGUAGE (bookworm; `apt-get download libreoffice-help-pl ...`),
of which the same share of the pages is: manuals in languages that DATA has little of.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
from clean_passages import Passage, clean_passages, length, other_passages, package_passages
from planted_junk import shuffled_words
from rich.console import Console
from rich.table import Table

from filters.word_order import WordOrderModel, measure_word_order, write_model
from filters.word_order_training import TrainingSettings, train_model

MOST_CHARACTERS = 800_000  # of a language, a Han or kana letter counting three
TRAINED_TOO = ("drcd", "cmrc2018", "arcd")  # half of them: there is little else in Chinese and Arabic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--packages", type=Path, help="folder of libreoffice-help packages")
    parser.add_argument("--output", type=Path, default=Path("filters/word_order_model.zlib"))
    arguments = parser.parse_args()
    passages = clean_passages(arguments.data, most=1500)
    help_pages = package_passages(arguments.packages, arguments.data) if arguments.packages else []
    others = other_passages(arguments.data)
    more = [one for one in others if one.source in TRAINED_TOO]
    texts = training_texts([one for one in [*passages, *help_pages, *more] if one.trains_word_order])
    model = train_model(texts, TrainingSettings())
    arguments.output.write_bytes(write_model(model))
    unseen = [one for one in others if one.source not in TRAINED_TOO]
    tested = [one for one in [*passages, *help_pages, *more] if one.half == "test"] + unseen
    Console(width=120).print(table(tested, model))


def training_texts(passages: list[Passage]) -> dict[str, list[str]]:
    chance = random.Random(0)
    chance.shuffle(passages)
    texts: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for passage in passages:
        if sizes.get(passage.language, 0) < MOST_CHARACTERS:
            texts.setdefault(passage.language, []).append(passage.text)
            sizes[passage.language] = sizes.get(passage.language, 0) + length(passage.text)
    return texts


def table(passages: list[Passage], model: WordOrderModel) -> Table:
    """By language and source: word_order of text and of the same text shuffled, and how many a threshold between drops."""
    chance = random.Random(1)
    result = Table("language", "source", "texts", "null %", "text: 2 %", "median", "shuffled: median", "90 %", "told %")
    groups: dict[tuple[str, str], list[Passage]] = {}
    for passage in passages:
        groups.setdefault((passage.language, passage.source), []).append(passage)
    for (language, source), group in sorted(groups.items()):
        tested = group[:300]
        kept = measure_word_order(pa.array([one.text for one in tested]), model)["word_order"]
        mixed = measure_word_order(pa.array([shuffled_words(one.text, chance) for one in tested]), model)["word_order"]
        nulls = 100 * (kept.null_count + mixed.null_count) / (2 * len(tested))
        text, words = (side.drop_null().to_numpy() for side in (kept, mixed))
        if len(text) == 0 or len(words) == 0:
            continue
        told = 100 * np.mean(words < np.quantile(text, 0.02))
        figures = [np.quantile(text, 0.02), np.median(text), np.median(words), np.quantile(words, 0.9)]
        result.add_row(
            language, source, str(len(tested)), f"{nulls:.0f}", *(f"{figure:.2f}" for figure in figures), f"{told:.0f}"
        )
    return result


if __name__ == "__main__":
    main()
