"""README.md: a data card as the Hugging Face hub reads it (YAML in front, Markdown below)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import langcodes
import yaml

from pipelines.data_card.facts import CardFacts, JobCounts
from pipelines.report.text import visible

# Identifiers the hub knows for `license:` (huggingface.co/docs/hub/repositories-licenses); any other is "other".
_HUB_LICENCES: Final = frozenset(
    {
        *(
            "apache-2.0",
            "mit",
            "bsd",
            "bsd-2-clause",
            "bsd-3-clause",
            "cc",
            "cc0-1.0",
            "cc-by-2.0",
            "cc-by-2.5",
            "cc-by-3.0",
        ),
        *("cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0"),
        *(
            "cc-by-nc-nd-3.0",
            "cc-by-nc-nd-4.0",
            "cc-by-nc-sa-2.0",
            "cc-by-nc-sa-3.0",
            "cc-by-nc-sa-4.0",
            "gpl",
            "gpl-2.0",
        ),
        *(
            "gpl-3.0",
            "lgpl",
            "lgpl-2.1",
            "lgpl-3.0",
            "agpl-3.0",
            "mpl-2.0",
            "odbl",
            "odc-by",
            "pddl",
            "gfdl",
            "unlicense",
        ),
    }
)
_SIZES: Final = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
)
# What Markdown, its tables or HTML give a meaning to.
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()!|~>$@:^]|(?<=www)\.)", re.IGNORECASE)
# The hub reads all configurations of a data set in one format: JSON lines and TSV are files beside.
_CONFIGS: Final = (
    ("pairs", "pairs/*.parquet", "train"),
    ("passages", "passages/*.parquet", "train"),
    ("texts", "texts/*.parquet", "train"),
)
_SHOWN: Final = 40  # languages, reasons and the like in one table


def readme(facts: CardFacts) -> str:
    """The whole file."""
    front = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True, width=120)
    sections = (_summary, _contents, _sources, _languages, _funnel, _settings, _limits, _made)
    return f"---\n{front}---\n\n" + "\n\n".join(section(facts) for section in sections) + "\n"


def front_matter(facts: CardFacts) -> dict[str, Any]:
    """What the hub reads: language, licences, size, files of each configuration."""
    names = [licence for licence, _ in facts.licences]
    licences = list(dict.fromkeys(_hub_licence(licence) for licence in names)) or ["unknown"]
    found: dict[str, Any] = {
        "pretty_name": clean(facts.name),
        "license": licences[0] if len(licences) == 1 else licences,
        "language": language_tags(facts.languages),
        "task_categories": ["sentence-similarity", "feature-extraction", "text-retrieval"],
        "size_categories": [size_category(facts.pairs)],
        "tags": ["pairmill", "text-embeddings", "contrastive-learning", "hard-negatives"],
        "configs": _configs(facts),
    }
    return {key: value for key, value in found.items() if value}


def _hub_licence(licence: str | None) -> str:
    if licence is None:
        return "unknown"
    versionless = re.sub(r"^(odbl|odc-by|pddl|gfdl)-[0-9.]+$", r"\1", licence)
    return versionless if versionless in _HUB_LICENCES else "other"


def language_tags(languages: Sequence[tuple[str, int]]) -> list[str]:
    """The languages of both sides as the hub writes them (en, yue), sorted."""
    codes = {code.partition("_")[0] for name, _ in languages for code in name.split("-")} - {"und", ""}
    return sorted({langcodes.standardize_tag(code) for code in codes if langcodes.tag_is_valid(code)})


def size_category(rows: int) -> str:
    return next((name for most, name in _SIZES if rows < most), "n>1T")


def _configs(facts: CardFacts) -> list[dict[str, Any]]:
    paths = [file.path for file in facts.files if file.rows]
    configs: list[dict[str, Any]] = [
        {"config_name": name, "data_files": [{"split": split, "path": pattern}]}
        for name, pattern, split in _CONFIGS
        if any(path.startswith(pattern.split("*")[0]) for path in paths)
    ]
    if configs:
        configs[0]["default"] = True
    return configs


def clean(text: str) -> str:
    """A string of the data on one line, control characters and the like shown as escapes."""
    return " ".join(str(visible(text)).split())


def markdown(text: str) -> str:
    """A string of the data as Markdown shows it, letter for letter: no markup, no HTML, no link, no cell's end."""
    escaped = _MARKUP.sub(r"\\\1", clean(text).replace("&", "&amp;"))
    return escaped.replace("<", "&lt;").replace(r"\>", "&gt;")


def code(text: str) -> str:
    """A string of the data as a code span in a table, which none of its characters ends."""
    return f"`{clean(text).replace('`', chr(39)).replace('|', '/')}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`rows` are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _summary(facts: CardFacts) -> str:
    words = f"{facts.pairs:,} training pairs and {facts.passages:,} passages for text-embedding models"
    more = f", and {facts.held_out['queries']:,} held-out queries" if facts.held_out.get("queries") else ""
    return (
        f"# {markdown(facts.name)}\n\n{words}{more}. This card was made from the counts of the run, and nothing else."
    )


def _contents(facts: CardFacts) -> str:
    rows = [
        [
            "`pairs/`",
            f"{facts.pairs:,}",
            "token ids of each query, rows of its positive and negatives among the passages",
        ],
        ["`passages/`", f"{facts.passages:,}", "token ids of each distinct passage"],
    ]
    if facts.texts:
        rows.append(["`texts/`", f"{facts.texts:,}", "token ids of plain text for pre-training"])
    exports = sum(file.rows for file in facts.files if file.path.startswith("export/"))
    if exports:
        rows.append(["`export/`", f"{exports:,}", "the pairs as text, in FlagEmbedding's JSON lines"])
    if facts.held_out.get("queries"):
        queries, corpus = facts.held_out["queries"], facts.held_out["corpus"]
        rows.append(
            [
                "`evaluation/held_out/`",
                f"{queries:,}",
                f"queries with judgements over {corpus:,} passages, BEIR's layout",
            ]
        )
    kinds = _table(["Kind", "Pairs"], [[code(kind), f"{number:,}"] for kind, number in facts.kinds])
    return f"## Contents\n\n{_table(['Folder', 'Rows', 'What'], rows)}\n\n{kinds}"


def _sources(facts: CardFacts) -> str:
    rows = []
    for source in facts.sources:
        licences = "; ".join(
            f"{markdown(name or 'not stated')} ({number:,})" for name, number in source.licences[:_SHOWN]
        )
        if rest := source.licences[_SHOWN:]:
            licences += f"; {len(rest)} others ({sum(number for _, number in rest):,})"
        size = f"{source.bytes:,}"
        rows.append(
            [markdown(source.label), source.adapter, f"{source.files:,}", size, f"{source.pairs:,}", licences or "-"]
        )
    return f"## Sources and licences\n\n{_table(['Source', 'Read as', 'Files', 'Bytes', 'Pairs', 'Licences (pairs)'], rows)}"


def _languages(facts: CardFacts) -> str:
    rows = [[code(name), f"{number:,}"] for name, number in facts.languages[:_SHOWN]]
    rest = facts.languages[_SHOWN:]
    if rest:
        rows.append([f"{len(rest)} others", f"{sum(number for _, number in rest):,}"])
    return f"## Languages\n\nOf both sides, or query-positive.\n\n{_table(['Language', 'Pairs'], rows)}"


def _funnel(facts: CardFacts) -> str:
    rows = [
        [f"`{job.job}`", f"{job.rows_in:,}", f"{job.rows_out:,}", f"{sum(each[1] for each in job.dropped):,}"]
        for job in facts.jobs
        if job.rows_in
    ]
    reasons = "\n".join(line for job in facts.jobs for line in _reasons(job))
    table = _table(["Job", "In", "Out", "Dropped"], rows)
    return f"## From sources to pairs\n\n{table}" + (f"\n\nDropped, by reason:\n\n{reasons}" if reasons else "")


def _reasons(job: JobCounts) -> list[str]:
    return [
        f"- `{job.job}`: {number:,} {markdown(reason)}" + (f": {markdown(words)}" if words else "")
        for reason, number, words in job.dropped[:_SHOWN]
    ]


def _settings(facts: CardFacts) -> str:
    """Thresholds and rules, as YAML in a fence that no content can close."""
    shown: Mapping[str, Any] = {job: settings for job, settings in facts.settings.items() if settings}
    text = yaml.safe_dump(dict(shown), sort_keys=True, allow_unicode=False, width=120)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    models = "\n".join(f"- {use}: {markdown(name)}" for use, name in facts.models)
    return f"## Models, filters and thresholds\n\n{models}\n\n{fence}yaml\n{text}{fence}"


def _limits(facts: CardFacts) -> str:
    return "## Known limits\n\n" + ("\n".join(f"- {limit}" for limit in facts.limits) or "None was counted.")


def _made(facts: CardFacts) -> str:
    return (
        f"## How it was made\n\npairmill {facts.pairmill}, recipe {markdown(facts.name)}, seed {facts.seed}, pack fingerprint "
        f"`{facts.fingerprint}`. The same recipe over the same files gives the same bytes. `croissant.json` has the sha256 "
        "of every file."
    )
