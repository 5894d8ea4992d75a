"""The judges of mined candidates that a user can name: a cross-encoder or an LLM, one a process."""

from functools import cache
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from synth.judge import LlmJudge, LlmJudgeSettings
from trainer.backbone import model_fingerprint
from trainer.judge import Judge, JudgeSettings
from trainer.reranker import CrossEncoder, CrossEncoderSettings


class ChosenJudge(JudgeSettings):
    """The rules of trainer.judge, and who judges."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    cross_encoder: CrossEncoderSettings | None = Field(None, description="a sequence-classification model")
    llm: LlmJudgeSettings | None = Field(None, description="a model behind an OpenAI-compatible server")

    @model_validator(mode="after")
    def _is_one(self) -> "ChosenJudge":
        if (self.cross_encoder is None) == (self.llm is None):
            raise ValueError("name one judge: cross_encoder (with its model folder) or llm (with its client)")
        return self

    @property
    def rules(self) -> JudgeSettings:
        """The settings without the judge."""
        return JudgeSettings(**{name: getattr(self, name) for name in JudgeSettings.model_fields})


def make_judge(chosen: ChosenJudge) -> Judge:
    """The judge of these settings; one a process, whatever the rules. Raises ModelFolderError or ChatError."""
    judge = chosen.cross_encoder or chosen.llm
    assert judge is not None
    return _judge(type(judge), judge.model_dump_json())


@cache
def _judge(kind: type[CrossEncoderSettings | LlmJudgeSettings], settings_json: str) -> Judge:
    settings = kind.model_validate_json(settings_json)
    return CrossEncoder(settings) if isinstance(settings, CrossEncoderSettings) else LlmJudge(settings)


def judge_facts(chosen: ChosenJudge | None) -> dict[str, Any] | None:
    """What decides the verdicts, for fingerprints, without loading a model; None without a judge.

    Of an LLM's client only what is asked, and where: a higher budget or another rate limit is no other judge. Raises
    ModelFolderError where there is no such model.
    """
    if chosen is None:
        return None
    facts: dict[str, Any] = chosen.rules.model_dump(mode="json")
    if chosen.llm:
        return facts | {"llm": chosen.llm.name}
    assert chosen.cross_encoder is not None
    files = model_fingerprint(chosen.cross_encoder.model)
    return facts | {"cross_encoder": chosen.cross_encoder.model_dump(mode="json"), "model_fingerprint": files}
