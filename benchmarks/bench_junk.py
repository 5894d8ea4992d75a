"""What the presets keep of clean text and drop of planted junk, by language; and where their calibration comes from.

    python benchmarks/bench_junk.py DATA [--calibrate] [--texts 300] [--presets bge-m3 gopher c4 fineweb] [--show 3]
                                         [--packages FOLDER] [--others] [--markdown]

clean_passages.py says what is read of the data folder and what halves it has, planted_junk.py what is planted. Clean
texts and junk are positives of pairs of kind title_body, queries are the titles they came with. `--calibrate` writes
filters/calibrations/clean.json from the calibration half first; all figures are of the test half. `--show` prints so many
clean texts that are dropped, and as many junk texts that are kept, of each language; `--others` adds corpora that
nothing was trained or calibrated on.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from clean_passages import Passage, clean_passages, other_passages, package_passages
from planted_junk import KINDS, plant, shuffled_words
from rich.console import Console
from rich.table import Table

from filters.calibrate import CleanTexts, calibrate, rules_to_calibrate
from filters.calibration import Calibration, calibration_file, calibration_key
from filters.decide import decide
from filters.facts import Facts
from filters.measure import measure
from filters.settings import FilterSettings
from filters.word_order import measure_word_order
from sources.schema import make_pairs

CALIBRATED_PRESET = "bge-m3"
MOST = 1000  # passages of a source, language and half that are calibrated on
KEEP = 0.97  # of the clean texts of a language: a few more than are wanted of other texts of its kind
MIN_TEXTS = 60
FEWEST_TESTED = 20
CALIBRATED_TOO = (
    "drcd",
    "cmrc2018",
    "arcd",
)  # half of them: articles in Chinese and Arabic, of which there are few else
ENOUGH = 200  # passages of a language in the data folder: with fewer the packages' are taken, too
SHUFFLED_KEPT = 0.05
# The share of clean texts that a rule may drop of which it is known what it is there to drop.
CLEAN_LOST = {
    "min_word_order": 0.03,
    "max_sentence_capitals": 0.04,
    "max_sentence_end_words": 0.02,
    "max_letter_gap_share": 0.015,
}
# Stricter would drop lists of names in text, and what a page's marks leave behind.
MILDEST = {"max_sentence_capitals": 7.0, "max_sentence_end_words": 45.0, "max_letter_gap_share": 0.008}
FAMILIES = frozenset({"text", "likeness", "language", "web", "junk", "pair", "order"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--packages", type=Path, help="folder of libreoffice-help packages, as in train_word_order.py")
    parser.add_argument("--calibrate", action="store_true", help="write filters/calibrations/clean.json first")
    parser.add_argument("--texts", type=int, default=300, help="of each language and source, and of each kind of junk")
    parser.add_argument("--presets", nargs="+", default=[CALIBRATED_PRESET, "gopher", "c4", "fineweb"])
    parser.add_argument("--show", type=int, default=0)
    parser.add_argument("--others", action="store_true", help="also corpora that nothing was calibrated on")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    passages = [one for one in clean_passages(arguments.data, MOST) if one.source != "tatoeba"]  # sentences apart
    if arguments.packages:
        enough = Counter(one.language for one in passages if one.half == "calibration")
        known = {one.language for one in passages}
        manuals = package_passages(arguments.packages, arguments.data, ENOUGH)
        passages += [one for one in manuals if one.language in known and enough[one.language] < ENOUGH]
    others = other_passages(arguments.data)
    if arguments.calibrate:
        more = [one for one in others if one.source in CALIBRATED_TOO]
        write_calibration([one for one in [*passages, *more] if one.half == "calibration"])
    console = Console(width=170)
    clean = tested(passages, arguments.texts)
    groups = grouped(clean)
    junk = {key: texts for language in groups for key, texts in planted(groups[language], language, arguments.texts)}
    texts = {("clean", language): group for language, group in groups.items()} | junk
    if arguments.others:
        unseen = [one for one in others if one.source not in CALIBRATED_TOO or one.half == "test"]
        texts |= {("other", language): group for language, group in grouped(unseen).items()}
    measured = {key: (batch, measure(batch, FilterSettings(), FAMILIES)) for key, batch in batches(texts).items()}
    for preset in arguments.presets:
        reasons = {key: decided(*measured[key], FilterSettings(preset=preset)) for key in measured}
        if arguments.markdown:
            print(markdown(preset, texts, reasons))
            print(sources_markdown(texts, reasons))
        else:
            console.print(table(preset, texts, reasons))
            console.print(by_source(preset, texts, reasons))
        if arguments.show:
            show(console, texts, reasons, arguments.show)


def write_calibration(passages: Sequence[Passage]) -> None:
    """Measures the clean half and writes the packaged calibration."""
    settings = FilterSettings(preset=CALIBRATED_PRESET)
    languages: list[str] = []
    lengths: list[np.ndarray] = []
    values: dict[str, list[np.ndarray]] = {}
    ordered: list[Passage] = []
    for language, group in sorted(grouped(passages).items()):
        ordered += group
        batch = pairs(group)
        facts = Facts(
            measure(batch, settings, FAMILIES),
            settings,
            *(batch[name] for name in ("kind", "query_lang", "positive_lang")),
        )
        languages += [language] * len(group)
        lengths.append(facts["positive_length"])
        for rule in rules_to_calibrate(settings):
            values.setdefault(rule.setting, []).append(facts.of_side(rule.measure, "positive"))
    texts = CleanTexts(
        languages, np.concatenate(lengths), {name: np.concatenate(each) for name, each in values.items()}
    )
    calibration = with_known_junk(calibrate(texts, settings, keep=KEEP, min_texts=MIN_TEXTS), texts, ordered)
    content = json.dumps(calibration.model_dump(mode="json"), indent=1)
    calibration_file("clean").write_text(content + "\n", encoding="utf-8")


def with_known_junk(calibration: Calibration, texts: CleanTexts, passages: Sequence[Passage]) -> Calibration:
    """The calibration with other thresholds of word order and of capitals than all rules' common share gives.

    Of these it is known what bad text looks like. Word order: where shuffled text ends, which is the same for any
    subject, or lower, where clean text begins. Capitals: a share of the clean text of its own.
    """
    chance = random.Random(0)
    shuffled = word_order([shuffled_words(one.text, chance) for one in passages])
    keys = np.array([calibration_key(one.language) for one in passages])
    unseen = np.array([not one.trains_word_order for one in passages])
    limits = {}
    for key in calibration.thresholds.keys() & set(keys.tolist()):
        at = keys == key
        order = texts.values["min_word_order"][at & unseen], shuffled[at & unseen]
        limits[key] = {
            "min_word_order": min(
                np.nanquantile(order[0], CLEAN_LOST["min_word_order"]), np.nanquantile(order[1], 1 - SHUFFLED_KEPT)
            )
        }
        for name, mildest in MILDEST.items():
            limits[key][name] = max(np.quantile(texts.values[name][at], 1 - CLEAN_LOST[name]), mildest)
        limits[key] = {name: round(float(limit), 3) for name, limit in limits[key].items()}
    mildest_of = {
        name: (min if name.startswith("min") else max)(each[name] for each in limits.values()) for name in CLEAN_LOST
    }
    thresholds = {key: {**its, **limits.get(key, mildest_of)} for key, its in calibration.thresholds.items()}
    return calibration.model_copy(update={"thresholds": thresholds})


def word_order(texts: Sequence[str]) -> np.ndarray:
    measured: np.ndarray = measure_word_order(pa.array(texts))["word_order"].to_numpy(zero_copy_only=False)
    return measured


def tested(passages: Sequence[Passage], most: int) -> list[Passage]:
    """At most `most` of the test half of each language and source; the packages' only where there is little else."""
    own = Counter(one.language for one in passages if one.half == "test" and one.source != "help_package")
    taken: Counter[tuple[str, str]] = Counter()
    chosen = []
    for passage in passages:
        wanted = passage.half == "test" and (passage.source != "help_package" or own[passage.language] < FEWEST_TESTED)
        taken[passage.language, passage.source] += wanted
        if wanted and taken[passage.language, passage.source] <= most:
            chosen.append(passage)
    return chosen


def grouped(passages: Sequence[Passage]) -> dict[str, list[Passage]]:
    groups: dict[str, list[Passage]] = {}
    for passage in passages:
        groups.setdefault(passage.language, []).append(passage)
    return dict(sorted(groups.items()))


def planted(group: Sequence[Passage], language: str, number: int) -> list[tuple[tuple[str, str], list[Passage]]]:
    return [((kind, language), plant(group, kind, number)) for kind in KINDS]


def batches(texts: dict[tuple[str, str], list[Passage]]) -> dict[tuple[str, str], pa.RecordBatch]:
    return {key: pairs(group) for key, group in texts.items() if group}


def pairs(passages: Sequence[Passage]) -> pa.RecordBatch:
    """PAIR rows of kind title_body: the title is the query."""
    batch, rejects = make_pairs(
        query=[one.title if one.title not in ("", one.text) else one.document for one in passages],
        positive=[one.text for one in passages],
        kind="title_body",
        query_lang=[one.language for one in passages],
        positive_lang=[one.language for one in passages],
        source="clean",
        document_id=[one.document for one in passages],
    )
    assert not rejects.num_rows, rejects.to_pylist()[:3]
    return batch


def decided(batch: pa.RecordBatch, measurements: pa.RecordBatch, settings: FilterSettings) -> list[str | None]:
    reasons = decide(measurements, settings, batch["kind"], batch["query_lang"], batch["positive_lang"])
    return reasons.to_pylist()


Texts = dict[tuple[str, str], list[Passage]]
Reasons = dict[tuple[str, str], list[str | None]]


def share(reasons: Sequence[str | None], *, kept: bool) -> float:
    return 100 * float(np.mean([(reason is None) == kept for reason in reasons]))


def rows(texts: Texts, reasons: Reasons) -> list[list[str]]:
    """A row a language: texts, share of them kept, share of each kind of junk dropped."""
    found = []
    for kind, language in texts:
        if kind == "clean":
            row = [language, str(len(texts[kind, language])), f"{share(reasons[kind, language], kept=True):.0f}"]
            for junk in KINDS:
                key = (junk, language)
                row.append(f"{share(reasons[key], kept=False):.0f}" if key in reasons else "–")
            found.append(row)
    return found


HEADS = ("language", "texts", "kept %", *(f"{kind} %" for kind in KINDS))


def table(preset: str, texts: Texts, reasons: Reasons) -> Table:
    result = Table(*HEADS, title=f"{preset}: clean text kept, junk dropped")
    for row in rows(texts, reasons):
        bold = [
            f"[red]{cell}" if place > 1 and cell != "–" and int(cell) < 90 else cell for place, cell in enumerate(row)
        ]
        result.add_row(*bold)
    return result


def markdown(preset: str, texts: Texts, reasons: Reasons) -> str:
    lines = [f"**{preset}**", "", f"| {' | '.join(HEADS)} |", f"| --- {'| ---: ' * (len(HEADS) - 1)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows(texts, reasons)), ""])


def sources_markdown(texts: Texts, reasons: Reasons) -> str:
    """Of each source the share kept over all languages, and the language it is lowest in (of 20 texts or more)."""
    found: dict[str, dict[str, list[str | None]]] = {}
    for (kind, language), group in texts.items():
        for one, reason in zip(group, reasons.get((kind, language), []), strict=True):
            if kind in ("clean", "other"):
                found.setdefault(one.source, {}).setdefault(language, []).append(reason)
    lines = ["| source | languages | texts | kept % | lowest |", "| --- | ---: | ---: | ---: | --- |"]
    for source, by_language in sorted(found.items()):
        every = [reason for its in by_language.values() for reason in its]
        shares = {language: share(its, kept=True) for language, its in by_language.items() if len(its) >= 20}
        lowest = min(shares, key=shares.__getitem__) if shares else "–"
        figures = f"{lowest} {shares[lowest]:.0f}" if shares else lowest
        lines.append(f"| {source} | {len(by_language)} | {len(every)} | {share(every, kept=True):.0f} | {figures} |")
    return "\n".join([*lines, ""])


def by_source(preset: str, texts: Texts, reasons: Reasons) -> Table:
    """Of each language and source the share kept, and what drops the others."""
    result = Table("language", "source", "texts", "kept %", "why not", title=preset)
    for (kind, language), group in texts.items():
        if kind not in ("clean", "other"):
            continue
        for source in sorted({one.source for one in group}):
            its = [reason for one, reason in zip(group, reasons[kind, language], strict=True) if one.source == source]
            why = Counter(reason for reason in its if reason)
            result.add_row(
                language,
                source,
                str(len(its)),
                f"{share(its, kept=True):.0f}",
                ", ".join(f"{reason} {100 * count / len(its):.1f}" for reason, count in why.most_common(5)),
            )
    return result


def show(console: Console, texts: Texts, reasons: Reasons, number: int) -> None:
    for (kind, language), group in texts.items():
        if (kind, language) not in reasons:
            continue
        wrong = [
            (one, reason)
            for one, reason in zip(group, reasons[kind, language], strict=True)
            if (reason is None) == (kind not in ("clean", "other"))
        ]
        for one, reason in wrong[:number]:
            console.print(f"{kind} {language} {one.source} {reason}: {one.text[:400]}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
