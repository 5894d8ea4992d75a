"""The recipe: which sources, which jobs, which settings. YAML, read safely, checked strictly.

An unknown key is an error that names the line and the nearest known key. A job runs where its section is there (`mine: {}` is
enough); extract and report always run.
"""

import difflib
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from filters.decide import FilterSettings
from pipelines import storage
from pipelines.errors import UserError
from pipelines.runner import RunnerSettings
from sources.catalogue import load_source, source_names
from sources.languages import UNKNOWN, language_code
from sources.source import SourceError, SourceSettings
from trainer.encoder import EncoderSettings
from trainer.loop import TrainSettings
from trainer.negatives import NegativeSettings
from trainer.packing import PackingSettings

JOBS: Final = ("extract", "filter", "dedup", "score", "mine", "pack", "train", "evaluate", "report")
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
    max_quarantined_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="the job fails when more than this share of a source's records cannot be read (and more than 10)",
    )


class DedupSettings(_Settings):
    """Exact duplicates, caps, and the division into training and held-out documents."""

    max_pairs_per_query: int = Field(
        1, ge=1, description="pairs kept of one query, per kind and language of the positive"
    )
    max_pairs_per_positive: int = Field(
        1, ge=1, description="pairs kept of one positive, per kind and language of the query"
    )
    held_out_share: float = Field(0.0, ge=0, lt=1, description="share of documents held out for evaluation")
    held_out_sources: tuple[str, ...] = Field(
        (), description="labels of the sources that documents are held out of; empty: all"
    )
    partitions: int = Field(0, ge=0, description="partitions of the shuffle; 0: by the number of rows")


class ScoreSettings(_Settings):
    """Relevance of the two sides: cosine of an encoder's vectors."""

    encoder: EncoderSettings
    threshold: float = Field(
        0.43, ge=-1, le=1, description="pairs below are dropped; 0.43 is C-Pack's for Text2Vec (section 3.2)"
    )
    reads: _Languages = Field(
        (),
        description="languages the encoder can read (eng_Latn ...); pairs in others are kept and marked as not scored; empty: all",
    )


class MineSettings(_Settings):
    """Hard negatives from the pairs' own passages."""

    encoder: EncoderSettings
    select: NegativeSettings = NegativeSettings()
    within: Literal["kind", "all"] = Field(
        "kind", description="a query looks for negatives among the passages of its kind, or all"
    )
    reads: _Languages = Field((), description="languages the encoder can read; pairs in others get no mined negatives")


class PackJobSettings(_Settings):
    """Training shards and exports."""

    model: str = Field(description="the model that will be trained: its tokenizer makes the token ids")
    packing: PackingSettings = PackingSettings()
    kinds: tuple[str, ...] = Field((), description="kinds that go into training; empty: all")
    languages: _Languages = Field((), description="languages (both sides) that go into training; empty: all")
    evaluation_kinds: tuple[str, ...] = Field(
        (), description="kinds of held-out pairs that become the evaluation set; empty: all"
    )
    export_flagembedding: bool = True


class EvaluateSettings(_Settings):
    """Held-out retrieval, and any BEIR-layout folders."""

    data: tuple[str, ...] = Field((), description="BEIR-layout folders beside the held-out pairs")
    bm25: bool = True
    untrained: bool = True
    encoder: EncoderSettings | None = Field(
        None, description="lengths and prompts for evaluation; default: the trained model's"
    )


class ReportSettings(_Settings):
    """The page."""

    samples: int = Field(20, ge=0, le=500, description="kept and dropped samples shown")


class Recipe(_Settings):
    """One run, from files to a report."""

    name: str
    seed: int = 0
    sources: tuple[SourceEntry, ...] = Field(min_length=1)
    extract: ExtractSettings = ExtractSettings()
    filter: FilterSettings | None = None
    dedup: DedupSettings | None = None
    score: ScoreSettings | None = None
    mine: MineSettings | None = None
    pack: PackJobSettings | None = None
    train: TrainSettings | None = None
    evaluate: EvaluateSettings | None = None
    report: ReportSettings = ReportSettings()
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


def parse_recipe(text: str, path: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Check a recipe's text; `path` is for the messages."""
    try:
        content = yaml.safe_load(text)
        lines = _lines(yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
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
    for number, entry in enumerate(recipe.sources):
        try:
            entry.adapter_settings()
        except ValidationError as error:
            raise UserError(
                explain_validation(error, path, lines, load_source(entry.source).Settings, ("sources", number))
            ) from None
        except SourceError as error:
            raise UserError(f"{path}: {error}") from None
    for job, needed in NEEDS.items():
        for other in needed:
            if getattr(recipe, job) is not None and getattr(recipe, other) is None:
                raise UserError(
                    f"{path}: `{job}` needs `{other}`; add `{other}: {{}}` to the recipe, with its settings."
                )
    return recipe


def _override(content: dict[str, Any], settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        *path, last = key.split(".")
        place: Any = content
        for step in path:
            place = place.setdefault(step, {}) if isinstance(place, dict) else None
            if place is None:
                raise UserError(f"--set {key}: there is no setting below `{step}`.")
        if not isinstance(place, dict):
            raise UserError(f"--set {key}: there is no setting below `{'.'.join(path)}`.")
        place[last] = value


def dump_recipe(recipe: Recipe) -> str:
    """The frozen recipe: every setting, defaults included."""
    content = {key: value for key, value in recipe.model_dump(mode="json").items() if value is not None}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _lines(node: yaml.Node | None, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], int]:
    """The line (from 1) of every key and list item of a YAML tree."""
    found: dict[tuple[str | int, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found[(*path, key.value)] = key.start_mark.line + 1
            found |= _lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            found[(*path, number)] = value.start_mark.line + 1
            found |= _lines(value, (*path, number))
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
        place = (*below, *problem["loc"])
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
            problems.append(f"{where}: `{name}`: {message} (found {problem['input']!r})")
    return "; ".join(problems) + "."


def _known_keys(model: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    for step in place:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            break
        model = inner
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
