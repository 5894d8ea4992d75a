"""The recipe: which sources, which jobs, which settings. YAML, read safely, checked strictly.

An unknown key is an error that names the line and the nearest known key. A job runs where its section is there (`mine: {}` is
enough); extract and report always run.
"""

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from filters.leakage import LeakageSettings
from filters.minhash import SketchSettings
from filters.near_duplicates import NearDuplicateSettings
from filters.settings import FilterSettings
from pipelines import storage
from pipelines.errors import UserError
from pipelines.evaluate_settings import EvaluationWeights, FolderEntry, Mode
from pipelines.judges import ChosenJudge
from pipelines.licences import LicenceSettings
from pipelines.refresh.settings import RefreshSettings
from pipelines.runner import RunnerSettings
from pipelines.synthesize_settings import SynthesizeSettings
from pipelines.training_stages import TrainStages
from pipelines.yaml_text import read_yaml
from sources.catalogue import load_source, source_names
from sources.languages import UNKNOWN, language_code
from sources.source import SourceError, SourceSettings
from synth.client_settings import NOT_SHOWN
from trainer.encoder import EncoderSettings
from trainer.loop import TrainSettings
from trainer.mining_settings import CandidateSettings, MiningSettings
from trainer.negatives import NegativeSettings
from trainer.packing import PackingSettings
from trainer.search_settings import SearchSettings
from trainer.text_packing import TextPackingSettings

JOBS: Final = (
    "extract",
    "synthesize",
    "filter",
    "decontaminate",
    "dedup",
    "score",
    "mine",
    "pack",
    "train",
    "evaluate",
    "report",
)
NAMES_OF_SYSTEMS: Final = ("trained", "untrained", "bm25", "bm25-tokens")  # of job evaluate
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}")


def known_languages(tags: tuple[str, ...]) -> tuple[str, ...]:
    """en, eng or eng_Latn -> eng_Latn. Raises ValueError for a tag that names no language."""
    codes = tuple(language_code(tag) for tag in tags)
    for tag, code in zip(tags, codes, strict=True):
        if code == UNKNOWN:
            raise ValueError(f"{tag!r} names no language; write e.g. en, zh-Hant or eng_Latn")
    return codes


_Languages = Annotated[tuple[str, ...], AfterValidator(known_languages)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceEntry(_Settings):
    """One source: the adapter's name, the files, and the adapter's own settings beside them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    source: str = Field(description="an adapter's name; `pairmill sources` lists them")
    paths: tuple[str, ...] = Field(
        min_length=1, description="files, folders, globs or URLs; package://NAME/... for packaged data"
    )

    @field_validator("source")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in source_names():
            raise ValueError(
                f"no source named {name!r}{_nearest(name, source_names())}; `pairmill sources` lists them all"
            )
        return name

    def adapter_settings(self) -> SourceSettings:
        """The adapter's settings model, checked. Raises pydantic.ValidationError."""
        settings: SourceSettings = load_source(self.source).Settings.model_validate(self.model_extra or {})
        return settings

    @property
    def label(self) -> str:
        return str((self.model_extra or {}).get("label") or self.source)


class ExtractSettings(_Settings):
    """Files to pairs."""

    split_bytes: int = Field(
        128 * 2**20, ge=1, description="files larger than this are read in several parts where their format allows"
    )
    compare_files: Literal["content", "time"] = Field(
        "content",
        description="what tells that a local file changed: its content, read once and kept by size and time, or its time of change alone",
    )
    max_quarantined_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="the job fails when more than this share of a source's records cannot be read (and more than 10)",
    )


class EvaluationSet(_Settings):
    """An evaluation set: what a source makes of some files (queries and positives of its pairs), or whole files of texts.

        {name: mldr-de, source: mldr, paths: [mldr], split: test}
        {name: dl19, queries: [topics.dl19-passage.txt], corpus: [collection.tsv]}

    JSON lines, JSON arrays, TSV, CSV and Parquet, compressed or not; a table without header holds the texts, or their ids
    and the texts, or the columns named.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(min_length=1, max_length=100, description="what the set is called in counts and in the report")
    source: str | None = Field(None, description="an adapter's name; its own settings stand beside it, as in `sources`")
    paths: tuple[str, ...] = Field((), description="the source's files, folders, globs or URLs")
    queries: tuple[str, ...] = Field((), description="files of queries, read without a source")
    query_field: str | None = Field(None, description="field of the query; default: text, query, question or contents")
    corpus: tuple[str, ...] = Field((), description="files of passages, read without a source")
    text_field: str | None = Field(None, description="field of the passage; default: text, contents, passage or body")
    id_field: str | None = Field(None, description="field of the id; default: _id, id, docid, qid and the like")
    columns: tuple[str, ...] = Field(
        (), description="names of the columns of a table without header, e.g. [question, answers]"
    )

    @model_validator(mode="after")
    def _one_way_of_reading(self) -> "EvaluationSet":
        if self.source is None and self.model_extra:
            known = [name for name in type(self).model_fields if name != "paths"]
            wrong = next(iter(self.model_extra))
            raise ValueError(f"unknown setting `{wrong}`{_nearest(wrong, known)}; files take {', '.join(known)}")
        if self.source is not None and self.source not in source_names():
            raise ValueError(f"no source named {self.source!r}{_nearest(self.source, source_names())}")
        if self.source is not None and (not self.paths or self.queries or self.corpus):
            raise ValueError("a set that is read by a source needs `paths`, and neither `queries` nor `corpus`")
        of_files = ("query_field", "text_field", "id_field", "columns")
        unused = next((name for name in of_files if self.source is not None and getattr(self, name)), None)
        if unused is not None:
            raise ValueError(
                f"`{unused}` is for files that are read without a source: use the settings of {self.source}, "
                "or name `queries` and `corpus` in place of `source` and `paths`"
            )
        if self.source is None and (self.paths or not (self.queries or self.corpus)):
            raise ValueError("name files of `queries`, files of a `corpus`, or a `source` with its `paths`")
        return self

    def entry(self) -> SourceEntry | None:
        """The set as a source of a recipe; None where it is read without one."""
        return SourceEntry(source=self.source, paths=self.paths, **(self.model_extra or {})) if self.source else None


class DecontaminateSettings(LeakageSettings):
    """Evaluation sets that training pairs must not hold, and by which rules."""

    evaluation_sets: tuple[EvaluationSet, ...] = Field(min_length=1)
    drop_passages: bool = Field(
        False, description="drop pairs whose positive is a passage of an evaluation set; else they are counted and kept"
    )
    ngram_positives: Literal["ignore", "report", "drop"] = Field(
        "ignore", description="pairs whose positive holds an n-gram of an evaluation query: quotations are among them"
    )
    max_unreadable_share: float = Field(
        0.05, ge=0, le=1, description="the job fails when more than this share of a set's records cannot be read"
    )

    @field_validator("evaluation_sets")
    @classmethod
    def _names_differ(cls, sets: tuple[EvaluationSet, ...]) -> tuple[EvaluationSet, ...]:
        names = [each.name for each in sets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two sets are named {twice!r}: give each a name of its own, by which it is counted")
        return sets


class NearSettings(NearDuplicateSettings):
    """Near-duplicates of queries and of positives: what counts as one, and on which side they are looked for."""

    queries: bool = Field(True, description="near-duplicates of queries; off: only equal queries are one")
    positives: bool = Field(True, description="near-duplicates of positives; off: only equal positives are one")
    sketch: SketchSettings = SketchSettings()


class DedupSettings(_Settings):
    """Exact and near-duplicates, caps, and the division into training and held-out documents."""

    near: NearSettings | None = Field(NearSettings(), description="near-duplicates; null: equal texts alone")
    keep: Literal["quality", "first"] = Field(
        "quality",
        description="which pair of several is kept: the one with the best scores.quality (without one last), or the first; "
        "ties go to the smaller pair_id",
    )
    max_pairs_per_query: int = Field(
        1, ge=1, description="pairs kept of one query, per kind and language of the positive"
    )
    max_pairs_per_positive: int = Field(
        1, ge=1, description="pairs kept of one positive and its near-duplicates, per kind and language of the query"
    )
    query_cap_counts: Literal["text", "cluster"] = Field(
        "text",
        description="what max_pairs_per_query counts: equal queries, or near-duplicates as one; titles such as 'Geography of "
        "Alabama' and 'Geography of Alaska' are near-duplicates and ask for different passages",
    )
    positive_cap_counts: Literal["text", "cluster"] = Field(
        "cluster", description="what max_pairs_per_positive counts: equal positives, or near-duplicates as one"
    )
    max_pairs_per_document: int | None = Field(None, ge=1, description="pairs kept of a document; null: all")
    max_pairs_per_domain: int | None = Field(
        None,
        ge=1,
        description="pairs kept of a host of `url` (without www.); null: all; pairs without url are not counted",
    )
    held_out_share: float = Field(0.0, ge=0, lt=1, description="share of documents held out for evaluation")
    held_out_sources: tuple[str, ...] = Field(
        (), description="labels of the sources that documents are held out of; empty: all"
    )
    components: Literal["auto", "one_process", "rounds"] = Field(
        "auto",
        description="how clusters are made of pairs of texts: in one process, or in rounds of Beam jobs; auto: in one process "
        "on the embedded runner. The clusters are the same",
    )
    partitions: int = Field(0, ge=0, description="partitions of the shuffle; 0: by the number of rows")


class PoolSettings(_Settings):
    """The consistency filter: a pair stays where its positive is among the best of a pool of random passages.

    E5 (arXiv 2212.03533, section 3.1) keeps the best 2 of 1 M, Arctic-Embed 2.0 the best 20 of 3 M.
    """

    passages: int = Field(
        1_000_000, ge=1, description="random passages of this run's in the pool; all, where it has fewer"
    )
    keep: int = Field(2, ge=1, description="a positive stays among so many best, itself counted")


class ScoreSettings(_Settings):
    """Relevance of the two sides, by an encoder's vectors: cosine, rank in a pool, margin of translations."""

    encoder: EncoderSettings
    threshold: float = Field(
        0.43, ge=-1, le=1, description="pairs below are dropped; 0.43 is C-Pack's for Text2Vec (section 3.2)"
    )
    threshold_by_source: dict[str, float] = Field(
        {}, description="other thresholds for some sources, by their labels: {forum: 0.3}"
    )
    threshold_by_language: dict[str, float] = Field(
        {}, description="other thresholds for some languages of the query: {deu_Latn: 0.5}; a source's own goes before"
    )
    pool: PoolSettings | None = Field(None, description="the consistency filter; null: none")
    min_margin: float | None = Field(
        None,
        gt=0,
        description="ratio margin (k = 4) that translation pairs need, e.g. 1.06 as stopes; neighbours are sought among the "
        "pairs of the same languages of some 4,000 rows; null: not measured",
    )
    reads: _Languages = Field(
        (),
        description="languages the encoder can read (eng_Latn ...); pairs in others are kept and marked as not scored; empty: all",
    )

    @field_validator("threshold_by_language")
    @classmethod
    def _known_languages(cls, thresholds: dict[str, float]) -> dict[str, float]:
        return dict(zip(known_languages(tuple(thresholds)), thresholds.values(), strict=True))


class MineSettings(_Settings):
    """Hard negatives from the pairs' own passages."""

    encoder: EncoderSettings
    select: NegativeSettings = NegativeSettings()
    candidates: CandidateSettings = CandidateSettings()
    search: SearchSettings = SearchSettings()
    judge: ChosenJudge | None = Field(
        None, description="a cross-encoder or an LLM re-scores the candidates, drops some, relabels some; null: none"
    )
    exclude_contained: bool = Field(
        True,
        description="a passage that holds a positive's text, or is held in it, or says what the query does, is no negative",
    )
    within: Literal["kind", "all"] = Field(
        "kind", description="a query looks for negatives among the passages of its kind, or all"
    )
    reads: _Languages = Field((), description="languages the encoder can read; pairs in others get no mined negatives")
    refresh: Literal["exact", "affected"] = Field(
        "exact",
        description="pairs that were mined before, under the same settings. exact: mined again, as a run from scratch would. "
        "affected: only pairs that are new, or one of whose negatives is gone or must no longer be one, are mined; the others "
        "keep theirs though nearer passages may have come, so the result is no longer that of a run from scratch",
    )
    keep_neighbours: bool = Field(
        True,
        description="keep what dense searches found, some 2 kB a query, so that after a change only what is new is searched; "
        "the result is that of a run from scratch. Off: everything is searched each time",
    )

    @field_validator("candidates")
    @classmethod
    def _has_no_token_weights(cls, candidates: CandidateSettings) -> CandidateSettings:
        if "lexical" in candidates.sources:
            raise ValueError("the job keeps no token weights; take dense and bm25, which need none")
        return candidates

    @property
    def keeps_neighbours(self) -> bool:
        """Whether dense neighbours are kept from run to run: those of an approximate search would not be all."""
        return (
            self.keep_neighbours and "dense" in self.candidates.sources and self.search.approximate_above_rows is None
        )

    @property
    def needs_texts(self) -> bool:
        return self.exclude_contained or self.judge is not None or "bm25" in self.candidates.sources

    def mining(self, seed: int) -> MiningSettings:
        """What trainer.mining takes; `seed` is the recipe's."""
        return MiningSettings(
            candidates=self.candidates,
            select=self.select.model_copy(update={"seed": seed + self.select.seed}),
            search=self.search,
            judge=self.judge.rules if self.judge else None,
            exclude_contained=self.exclude_contained,
            exclude_answers=False,
        )


class PackTextSettings(TextPackingSettings):
    """Plain text for pre-training, of the documents that extract wrote."""

    sources: tuple[str, ...] = Field((), description="labels of the sources whose documents are used; empty: all")
    languages: _Languages = Field((), description="languages of the documents that are used; empty: all")

    def packing(self) -> TextPackingSettings:
        """What trainer.text_packing takes."""
        return TextPackingSettings(max_length=self.max_length, min_length=self.min_length)


class PackJobSettings(_Settings):
    """Training shards and exports."""

    model: str = Field(description="the model that will be trained: its tokenizer makes the token ids")
    max_tokens: int | None = Field(
        None,
        ge=8,
        description="a text's most tokens, where a stage of pre-training makes the model take more than it does now "
        "(max_positions); null: what the model takes",
    )
    packing: PackingSettings = PackingSettings()
    kinds: tuple[str, ...] = Field((), description="kinds that go into training; empty: all")
    languages: _Languages = Field((), description="languages (both sides) that go into training; empty: all")
    evaluation_kinds: tuple[str, ...] = Field(
        (), description="kinds of held-out pairs that become the evaluation set; empty: all"
    )
    export_flagembedding: bool = True
    texts: PackTextSettings | None = Field(
        None, description="plain text of documents for pre-training; null: none. Sources need `documents: true`"
    )


# Which of the two a section is; pydantic puts these names into the places of errors, where explain_validation takes them out.
_FORMS_OF_TRAINING: Final[dict[str, type[BaseModel]]] = {"<one run>": TrainSettings, "<stages>": TrainStages}


def _form_of_training(section: Any) -> str:
    in_stages = "stages" in section if isinstance(section, Mapping) else isinstance(section, TrainStages)
    return "<stages>" if in_stages else "<one run>"


Training = Annotated[
    Annotated[TrainSettings, Tag("<one run>")] | Annotated[TrainStages, Tag("<stages>")],
    Discriminator(_form_of_training),
]


class EvaluateSettings(_Settings):
    """Held-out retrieval, and any folders of retrieval sets and tasks."""

    data: tuple[FolderEntry, ...] = Field(
        (),
        description="folders beside the held-out pairs, each a path, or path, layout, split, languages, modes, weights",
    )
    modes: tuple[Mode, ...] = Field(
        ("dense",),
        min_length=1,
        description="dense, lexical, multi_vector, dense+lexical, all; those a model lacks are left out",
    )
    metrics: tuple[str, ...] | None = Field(
        None, description="of retrieval; default: ndcg@10, mrr@10, recall@100, map@100"
    )
    weights: EvaluationWeights | None = Field(
        None, description="of hybrid modes; default: the paper's for its benchmarks"
    )
    bm25: bool = True
    bm25_tokens: bool = Field(False, description="BM25 over the model's tokens, too: M3 table 11")
    untrained: bool = True
    runs: bool = Field(False, description="keep TREC run files of all rankings in evaluate/runs")
    moved_queries: int = Field(
        10, ge=0, description="queries of each set and language that training moved most, for the report; 0: none"
    )
    encoder: EncoderSettings | None = Field(
        None, description="lengths and prompts for evaluation; default: the trained model's"
    )
    others: dict[str, str] = Field(
        {},
        description="further models on the same sets: {name: folder}; with their folders' prompts, lengths as the trained one's",
    )

    @field_validator("others")
    @classmethod
    def _named_apart(cls, others: dict[str, str]) -> dict[str, str]:
        for name in others:
            if name in NAMES_OF_SYSTEMS or not _NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} cannot be a further model's name: use letters, digits, dots, dashes and underscores, "
                    f"and none of {', '.join(NAMES_OF_SYSTEMS)}"
                )
        return others


class EmbeddingsSettings(_Settings):
    """The store of embeddings, which score and mine share: no text is encoded twice by the same model."""

    keep: bool = Field(True, description="off: nothing is kept, every job encodes what it needs")
    folder: str | None = Field(
        None, description="a local folder that several runs may share; default: embeddings in the run's folder"
    )
    max_bytes: int | None = Field(
        200 * 10**9, ge=0, description="above, the segments used least recently go when a job starts; null: no limit"
    )


class ReportSettings(_Settings):
    """The page."""

    samples: int = Field(20, ge=0, le=500, description="kept and dropped samples shown")


class Recipe(_Settings):
    """One run, from files to a report."""

    name: str
    seed: int = 0
    sources: tuple[SourceEntry, ...] = Field(min_length=1)
    licences: LicenceSettings = LicenceSettings()
    extract: ExtractSettings = ExtractSettings()
    synthesize: SynthesizeSettings | None = None
    filter: FilterSettings | None = None
    decontaminate: DecontaminateSettings | None = None
    dedup: DedupSettings | None = None
    score: ScoreSettings | None = None
    mine: MineSettings | None = None
    pack: PackJobSettings | None = None
    train: Training | None = None
    evaluate: EvaluateSettings | None = None
    report: ReportSettings = ReportSettings()
    refresh: RefreshSettings = RefreshSettings()
    embeddings: EmbeddingsSettings = EmbeddingsSettings()
    runner: RunnerSettings = RunnerSettings()

    @field_validator("name")
    @classmethod
    def _a_file_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a run folder; use letters, digits, dots, dashes and underscores")
        return name

    def jobs(self) -> list[str]:
        """The jobs of this recipe, in order."""
        return [job for job in JOBS if getattr(self, job) is not None]


NEEDS: Final = {"mine": ("dedup",), "train": ("pack",), "evaluate": ("pack",), "pack": ("dedup",)}


def load_recipe(path: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read and check a recipe file, with some settings replaced, named by their path: {"train.steps": 50}.

    Raises:
        UserError: no such file, no YAML, an unknown key or a wrong value; the message names the line.
    """
    if not storage.exists(path):
        raise UserError(f"There is no recipe at {path}. Name a YAML file, e.g. recipes/demo.yaml.")
    with storage.open_for_reading(path) as stream:
        text = stream.read().decode("utf-8", "replace")
    return parse_recipe(text, path, overrides)


def parse_recipe(
    text: str, path: str, overrides: Mapping[str, Any] | None = None, *, tell_lines: bool = True
) -> Recipe:
    """Check a recipe's text; `path` is for the messages, and so are lines, unless the text is not the file's own."""
    content, tree = read_yaml(text, path)
    lines = yaml_lines(tree) if tell_lines else {}
    if not isinstance(content, dict):
        raise UserError(
            f"{path} holds no recipe: expected keys such as `name:` and `sources:`, found {type(content).__name__}."
        )
    _override(content, overrides or {})
    for job in JOBS:
        if job in content and content[job] is None:
            content[job] = {}  # `evaluate:` with nothing behind it is a section too
    if "name" not in content:
        content["name"] = Path(path).stem
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(explain_validation(error, path, lines, Recipe)) from None
    for place, entry in _entries(recipe):
        try:
            entry.adapter_settings()
        except ValidationError as error:
            raise UserError(explain_validation(error, path, lines, load_source(entry.source).Settings, place)) from None
        except SourceError as error:
            raise UserError(f"{path}: {error}") from None
    _check_stages(recipe, path, lines)
    for job, needed in NEEDS.items():
        for other in needed:
            if getattr(recipe, job) is not None and getattr(recipe, other) is None:
                raise UserError(
                    f"{path}: `{job}` needs `{other}`; add `{other}: {{}}` to the recipe, with its settings."
                )
    return recipe


def _check_stages(recipe: Recipe, path: str, lines: dict[tuple[str | int, ...], int]) -> None:
    if not isinstance(recipe.train, TrainStages):
        return
    for number, stage in enumerate(recipe.train.stages):
        place = ("train", "stages", number)
        try:
            stage.settings(recipe.train.model)
        except ValidationError as error:
            raise UserError(explain_validation(error, path, lines, stage.settings_model, place)) from None
        except ValueError as error:
            raise UserError(f"{path}, line {lines.get(place, '?')}: {error}.") from None
        if stage.kind == "pretrain" and recipe.pack is not None and recipe.pack.texts is None:
            raise UserError(
                f"{path}, line {lines.get(place, '?')}: stage {stage.name} pre-trains on plain text; add `texts: {{}}` to `pack`, "
                f"and `documents: true` to the sources whose text is meant."
            )


def _entries(recipe: Recipe) -> Iterator[tuple[tuple[str | int, ...], SourceEntry]]:
    """Every adapter with its settings, and where in the recipe they stand."""
    for number, source in enumerate(recipe.sources):
        yield ("sources", number), source
    for number, each in enumerate(recipe.decontaminate.evaluation_sets if recipe.decontaminate else ()):
        entry = each.entry()
        if entry is not None:
            yield ("decontaminate", "evaluation_sets", number), entry


def _override(content: dict[str, Any], settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        *path, last = key.split(".")
        place: Any = content
        for step in path:
            place = _below(place, step)
            if place is None:
                raise UserError(f"--set {key}: there is no setting below `{step}`.")
        if not isinstance(place, dict):
            raise UserError(f"--set {key}: there is no setting below `{'.'.join(path)}`.")
        place[last] = value


def _below(place: Any, step: str) -> Any:
    """What stands at `step` of a mapping, or of a list, by number or by name; None where nothing can."""
    if isinstance(place, dict):
        return place.setdefault(step, {})
    if isinstance(place, list):
        named = [item for item in place if isinstance(item, dict) and item.get("name") == step]
        return named[0] if named else place[int(step)] if step.isdigit() and int(step) < len(place) else None
    return None


def dump_recipe(recipe: Recipe) -> str:
    """The frozen recipe: every setting, defaults included."""
    content = {key: value for key, value in recipe.model_dump(mode="json").items() if value is not None}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def yaml_lines(node: yaml.Node | None, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], int]:
    """The line (from 1) of every key and list item of a YAML tree."""
    found: dict[tuple[str | int, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found[(*path, key.value)] = key.start_mark.line + 1
            found |= yaml_lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            found[(*path, number)] = value.start_mark.line + 1
            found |= yaml_lines(value, (*path, number))
    return found


def explain_validation(
    error: ValidationError,
    path: str,
    lines: dict[tuple[str | int, ...], int],
    model: type[BaseModel],
    below: tuple[str | int, ...] = (),
) -> str:
    """What is wrong with some settings, in words: where (line, if known), which, and the nearest known name."""
    problems = []
    for problem in error.errors():
        place = (*below, *(step for step in problem["loc"] if step not in _FORMS_OF_TRAINING))
        line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), None)
        where = f"{path}, line {line}" if line else path
        name = ".".join(str(step) for step in place)
        if problem["type"] == "extra_forbidden":
            known = _known_keys(model, problem["loc"][:-1])
            problems.append(
                f"{where}: unknown setting `{name}`{_nearest(str(problem['loc'][-1]), known)} (known here: {', '.join(known)})"
            )
        elif problem["type"] == "missing":
            problems.append(f"{where}: `{name}` is missing")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            found = "" if problem["type"] == NOT_SHOWN else f" (found {problem['input']!r})"
            problems.append(f"{where}: `{name}`: {message}{found}")
    return "; ".join(problems) + "."


def _known_keys(model: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    for step in place:
        if isinstance(step, int):
            continue
        if step in _FORMS_OF_TRAINING:
            model = _FORMS_OF_TRAINING[step]
            continue
        field = model.model_fields.get(step)
        if field is None:
            break
        model = _model_in(field.annotation) or model
    return sorted(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple, list, dict):
        return next((found for each in typing.get_args(annotation) if (found := _model_in(each))), None)
    return None


def _nearest(word: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean `{close[0]}`?" if close else ""
