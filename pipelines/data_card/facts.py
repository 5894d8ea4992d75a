"""What the two forms of a card say: facts of a run's manifests and of its packed pairs, without a clock and without a path."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import __version__
from pipelines.job import PAIRS
from pipelines.manifest import Manifest, fingerprint, read_manifest
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import Part, ShardFile, read_batches
from sources.licences import licence_id

JOBS_OF_CARD: Final = ("extract", "synthesize", "filter", "decontaminate", "dedup", "score", "mine")
_LONGEST_LICENCE: Final = 200  # characters: a field that holds the licence's whole text is no name
MOST_LICENCES: Final = 100  # that a card lists; a corpus may have another in every row
_DETAILS: Final = ("records", "quarantined", "not_scored", "without_negatives")  # what _limits reads
_COLUMNS: Final = ("source", "license", "kind", "query_lang", "positive_lang")


@dataclass(frozen=True)
class SourceFacts:
    """One source's part in the packed pairs."""

    label: str
    adapter: str
    files: int
    bytes: int
    pairs: int
    licences: tuple[tuple[str | None, int], ...]  # None: the rows name none; most frequent first


@dataclass(frozen=True)
class JobCounts:
    """What one job took in, let through and dropped."""

    job: str
    rows_in: int
    rows_out: int
    dropped: tuple[tuple[str, int, str], ...]  # reason, rows, explanation


@dataclass(frozen=True)
class CardFacts:
    """All that a card says."""

    name: str
    pairmill: str
    seed: int
    fingerprint: str  # of job pack
    pairs: int
    passages: int
    texts: int  # rows of plain text for pre-training
    held_out: Mapping[str, int]  # queries, corpus, judgements
    sources: tuple[SourceFacts, ...]
    kinds: tuple[tuple[str, int], ...]
    languages: tuple[tuple[str, int], ...]  # one or two codes ("eng_Latn-deu_Latn"), most frequent first
    jobs: tuple[JobCounts, ...]
    settings: Mapping[str, Mapping[str, Any]]  # by job, those that differ from null
    models: tuple[tuple[str, str], ...]  # what for, name
    limits: tuple[str, ...]
    files: tuple[ShardFile, ...] = field(default=())

    @property
    def licences(self) -> list[tuple[str | None, int]]:
        """Rows by licence over all sources, most frequent first."""
        total: Counter[str | None] = Counter()
        for source in self.sources:
            total.update(dict(source.licences))
        return sorted(total.items(), key=lambda item: (-item[1], item[0] or ""))


def counts_fingerprints(run: RunFolder) -> list[dict[str, Any]]:
    """What of the jobs before pack only the card reads, for pack's inputs: it is written anew when a count changes."""
    found = []
    for job in JOBS_OF_CARD:
        manifest = read_manifest(run.job(job))
        if manifest is not None:
            told = {"settings": manifest.settings, "counts": _counted(manifest)}
            found.append({"job": job, "card": fingerprint(**told)})
    return found


def _counted(manifest: Manifest) -> dict[str, Any]:
    details = {key: manifest.details.get(key) for key in _DETAILS}
    return {"in": manifest.rows_in, "out": manifest.rows_out, "dropped": manifest.dropped, "details": details}


def gather_facts(
    recipe: Recipe,
    run: RunFolder,
    pack_fingerprint: str,
    parts: Sequence[Part],
    details: Mapping[str, Any],
    pair_shards: Iterable[str],
) -> CardFacts:
    """The facts of a data set that has just been packed.

    Args:
        parts: of job pack; `details` what its manifest will say.
        pair_shards: urls of the PAIR shards that were packed; five small columns of them are read.
    """
    manifests = {job: found for job in JOBS_OF_CARD if (found := read_manifest(run.job(job))) is not None}
    counted = _count_pairs(pair_shards, recipe)
    files = tuple(sorted((file for part in parts for file in part.files), key=lambda file: file.path))
    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    rows = {role: sum(file.rows for file in files if file.role == role) for role in (PAIRS, "passages", "texts")}
    pack_in = sum(part.rows_in for part in parts)
    jobs = [
        _job_counts(manifest.job, manifest.rows_in, manifest.rows_out, manifest.dropped)
        for manifest in manifests.values()
    ]
    jobs.append(_job_counts("pack", pack_in, pack_in - sum(dropped.values()), dropped))
    return CardFacts(
        name=recipe.name,
        pairmill=__version__,
        seed=recipe.seed,
        fingerprint=pack_fingerprint,
        pairs=rows[PAIRS],
        passages=rows["passages"],
        texts=rows["texts"],
        held_out=details.get("evaluation", {}),
        sources=tuple(_sources(recipe, manifests.get("extract"), counted)),
        kinds=tuple(_most_frequent(counted.kinds)),
        languages=tuple(_most_frequent(counted.languages)),
        jobs=tuple(jobs),
        settings={job: _plain_settings(manifest) for job, manifest in manifests.items()},
        models=tuple(_models(recipe, manifests)),
        limits=tuple(_limits(recipe, manifests, details, counted, rows)),
        files=files,
    )


@dataclass
class _Counted:
    licences: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)

    @property
    def pairs(self) -> int:
        return sum(self.kinds.values())


def _count_pairs(pair_shards: Iterable[str], recipe: Recipe) -> _Counted:
    from pipelines.jobs.pack import untrained_reason

    assert recipe.pack is not None
    counted = _Counted()
    for url in pair_shards:
        for batch in read_batches(url, _COLUMNS, 65_536):
            rows = batch.filter(pc.is_null(untrained_reason(batch, recipe.pack)))
            table = pa.Table.from_batches([rows])
            for row in table.group_by(list(_COLUMNS)).aggregate([([], "count_all")]).to_pylist():
                number = row["count_all"]
                licence = licence_id(row["license"])
                counted.licences[row["source"], licence and licence[:_LONGEST_LICENCE]] += number
                counted.kinds[row["kind"]] += number
                both = (row["query_lang"], row["positive_lang"])
                counted.languages[both[0] if both[0] == both[1] else "-".join(both)] += number
    return counted


def _most_frequent(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _sources(recipe: Recipe, extract: Manifest | None, counted: _Counted) -> list[SourceFacts]:
    adapters: dict[str, list[int]] = {}
    for number, entry in enumerate(recipe.sources):
        adapters.setdefault(entry.label, []).append(number)
    labels = [*adapters, *sorted({source for source, _ in counted.licences} - set(adapters))]
    found = []
    for label in labels:
        numbers = adapters.get(label, [])
        inputs = [each for each in (extract.inputs if extract else []) if each.get("source") in numbers]
        licences = {licence: rows for (source, licence), rows in counted.licences.items() if source == label}
        found.append(
            SourceFacts(
                label,
                ", ".join(dict.fromkeys(recipe.sources[number].source for number in numbers)) or "written by an LLM",
                len(inputs),
                sum(each.get("bytes") or 0 for each in inputs),
                sum(licences.values()),
                tuple(sorted(licences.items(), key=lambda item: (-item[1], item[0] or ""))),
            )
        )
    return found


def _job_counts(job: str, rows_in: int, rows_out: int, dropped: Mapping[str, int]) -> JobCounts:
    from pipelines.report.funnel import explanations

    known = explanations(job)
    reasons = [(reason, rows, known.get(reason, "")) for reason, rows in _most_frequent(dropped) if rows]
    return JobCounts(job, rows_in, rows_out, tuple(reasons))


def _plain_settings(manifest: Manifest) -> dict[str, Any]:
    """A job's settings as a card shows them: without nulls, paths of models as their last step, files not at all."""
    left_out = ("sources", "calibration_sha256", "language_model", "lists", "word_order_model", "judge", "asked")
    return {
        key: shown
        for key, value in manifest.settings.items()
        if key not in left_out and (shown := _without_paths(value)) not in (None, {}, [], "")
    }


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: shown for key, each in value.items() if (shown := _without_paths(each)) not in (None, {}, [], "")}
    if isinstance(value, list | tuple):
        return [_without_paths(each) for each in value]
    return name_of(value) if isinstance(value, str) and "/" in value else value


def name_of(path: str) -> str:
    """The last step of a path: where a model lies says something of a machine, and nothing of the model."""
    return PurePosixPath(path.replace("\\", "/").rstrip("/")).name


def _models(recipe: Recipe, manifests: Mapping[str, Manifest]) -> list[tuple[str, str]]:
    assert recipe.pack is not None
    found = [("Tokenizer", name_of(recipe.pack.model))]
    if recipe.score is not None and "score" in manifests:
        found.append(("Relevance scores", name_of(recipe.score.encoder.model)))
    if recipe.mine is not None and "mine" in manifests:
        found.append(("Hard negatives", name_of(recipe.mine.encoder.model)))
    if recipe.synthesize is not None and "synthesize" in manifests:
        local = recipe.synthesize.local_model
        asked = name_of(local.path) if local is not None else recipe.synthesize.client.model
        found.append(("Questions (LLM)", asked))
    return found


def _limits(
    recipe: Recipe,
    manifests: Mapping[str, Manifest],
    details: Mapping[str, Any],
    counted: _Counted,
    rows: Mapping[str, int],
) -> list[str]:
    """Sentences about what the data lack, each with its share."""
    found = []
    unknown = sum(number for (_, licence), number in counted.licences.items() if licence is None)
    if unknown:
        found.append(f"{_share(unknown, counted.pairs)} of the pairs name no licence.")
    unsaid = sum(number for language, number in counted.languages.items() if "und" in language.split("-"))
    if unsaid:
        found.append(f"The language of {_share(unsaid, counted.pairs)} of the pairs is not known.")
    if (extract := manifests.get("extract")) is not None and extract.details.get("quarantined"):
        share = _share(extract.details["quarantined"], extract.details.get("records", 0))
        found.append(f"{share} of the sources' records could not be read and are left out.")
    if (score := manifests.get("score")) is not None and score.details.get("not_scored"):
        share = _share(score.details["not_scored"], score.rows_in)
        found.append(f"{share} of the pairs were not scored for relevance: the encoder does not read their languages.")
    if (mine := manifests.get("mine")) is not None and mine.details.get("without_negatives"):
        found.append(f"{_share(mine.details['without_negatives'], mine.rows_in)} of the pairs have no hard negative.")
    for name, role in (("passages", "passages"), ("queries", PAIRS)):
        if cut := details.get(f"truncated_{name}"):
            found.append(f"{_share(cut, rows[role])} of the {name} were cut to the most tokens allowed.")
    if recipe.synthesize is not None and "synthesize" in manifests:
        found.append(
            "Questions that an LLM wrote are among the queries (kind synthetic_longdoc); no person has checked them."
        )
    for job, words in (
        ("filter", "No rule of text quality or language was applied."),
        ("decontaminate", "The pairs were not compared with any public evaluation set."),
        ("score", "The relevance of the pairs was not measured."),
    ):
        if job not in manifests:
            found.append(words)
    if not details.get("evaluation", {}).get("queries"):
        found.append("No pair is held out for evaluation.")
    return found


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} ({part:,})" if whole else f"{part:,}"
