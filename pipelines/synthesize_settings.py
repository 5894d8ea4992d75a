"""Settings of the job synthesize: which documents, which model is asked with which prompt, and what its questions must pass."""

from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from filters.language import LanguageSettings
from filters.near_duplicates import NearDuplicateSettings
from sources.packaged import resolve_package_path
from synth.batch_mode import BatchSettings
from synth.client_settings import ClientSettings
from synth.judge import LlmJudgeSettings
from synth.local_server import LocalModel
from synth.paragraphs import ParagraphSettings
from synth.prompts import VariationSettings
from synth.question_checks import CheckSettings, RoundTripSettings
from synth.sampling import SamplingSettings
from trainer.encoder import EncoderSettings

ANSWERS: Final = Path("answers.sqlite")
BATCHES: Final = Path("batches")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class QuestionClient(ClientSettings):
    """Which model writes the questions, on which OpenAI-compatible server."""

    base_url: str = Field(
        "http://127.0.0.1:8000/v1", description="up to and with /v1: https://api.openai.com/v1; default: vLLM's"
    )
    model: str = Field("", description="as the server names it; a local_model names itself")
    answers: Path = Field(
        ANSWERS, description="sqlite database that keeps all answers; a relative path lies in the job's folder"
    )
    max_output_tokens: int = Field(200, ge=1, description="of one answer: one question, and a hard negative with some")


class QuestionBatches(BatchSettings):
    """Batch mode: half the price, an answer within a day."""

    folder: Path = Field(BATCHES, description="for the JSONL files; a relative path lies in the job's folder")


class LocalLlm(_Settings):
    """A small model that is served on this machine while questions are written (extra local-llm)."""

    path: str = Field(description="GGUF file, or package://PACKAGE/file.gguf")
    at_once: int = Field(2, ge=1, description="requests served at once")
    context: int = Field(2048, ge=64, description="tokens of prompt and answer together, of each request")
    threads: int | None = Field(None, ge=1, description="null: as many as cores may be used")

    def model(self) -> LocalModel:
        """What the server takes. Raises PackagePathError."""
        path = Path(resolve_package_path(self.path))
        return LocalModel(path=path, at_once=self.at_once, context=self.context, threads=self.threads)


class RoundTrip(RoundTripSettings):
    """Is the question answered by its paragraph: does an encoder find the paragraph by it?"""

    encoder: EncoderSettings
    pool: int = Field(
        20_000, ge=0, description="paragraphs asked about, by hash, of each language that it is compared with"
    )


class JudgedQuestions(_Settings):
    """An LLM grades how well the paragraph answers the question."""

    llm: LlmJudgeSettings
    least: float = Field(2 / 3, ge=0, le=1, description="grades below are rejected; 2/3: it answers in part (grade 2)")


class SynthesizeSettings(_Settings):
    """Questions about paragraphs of long documents, each paired with its whole document (M3-Embedding, appendix A.2)."""

    sampling: SamplingSettings = SamplingSettings()
    length_tokenizer: Path | None = Field(
        None, description="tokenizer.json that sampling.length_unit: tokens counts by"
    )
    paragraphs: ParagraphSettings = ParagraphSettings()
    prompt: str = Field(
        "mldr",
        description="a preset (mldr, short_question, keyword_query, claim, persona ...) or a file: jinja2, or YAML",
    )
    variations: VariationSettings = VariationSettings()
    client: QuestionClient = QuestionClient()
    local_model: LocalLlm | None = Field(
        None, description="a GGUF file that is served here instead of a server: a path, or its settings"
    )
    batch: QuestionBatches | None = Field(None, description="null: requests one by one")
    checks: CheckSettings = Field(CheckSettings(), description="of each question alone; its form is that of the prompt")
    language: LanguageSettings | None = Field(
        LanguageSettings(),
        description="identifies the languages of questions, and of documents that tell none; null: neither",
    )
    retry: int = Field(
        0, ge=0, le=3, description="times a rejected question is asked for again, the model being told the reason"
    )
    near: NearDuplicateSettings | None = Field(
        NearDuplicateSettings(), description="of questions that say nearly the same one is kept; null: all"
    )
    round_trip: RoundTrip | None = Field(None, description="null: no encoder checks the questions")
    judge: JudgedQuestions | None = Field(None, description="null: no LLM checks the questions")
    into_training: bool = Field(True, description="questions of the training split go on with the extracted pairs")
    export: bool = Field(True, description="also write the whole as a benchmark: MLDR's and BEIR's layouts")
    block: int = Field(
        2048,
        ge=1,
        description="paragraphs asked about before what came back is written down; in batch mode at least as many as batches "
        "hold that the server works on at once",
    )

    @field_validator("local_model", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _some_model(self) -> "SynthesizeSettings":
        if self.local_model is None and not self.client.model:
            raise ValueError(
                "name who is asked: client.model (and client.base_url), or local_model: a GGUF file that is served here"
            )
        if self.local_model is not None and self.client.model:
            raise ValueError("client.model and local_model are both named: leave one of them out")
        if self.local_model is not None and self.batch is not None:
            raise ValueError("a local_model knows no batches: leave `batch` out")
        return self
