"""The two ways a command ends badly: the user's mistake (exit code 2) and a failure of the work (exit code 1)."""

import errno
import os
from typing import Final


class UserError(ValueError):
    """Something the user can put right. The message is one paragraph: what was found, where, and the remedy."""

    exit_code = 2


class JobFailed(RuntimeError):
    """A job could not finish. The message says which job, at which input, why, and how to go on."""

    exit_code = 1


_REMEDIES: Final = (
    (os.strerror(errno.ENOSPC), "The disk is full: make room"),
    (os.strerror(errno.EDQUOT), "The quota of this user is spent: make room"),
    (os.strerror(errno.EIO), "The disk does not do what it should: look at it and at the system's log"),
    (os.strerror(errno.EROFS), "The disk takes no writes any more: look at it and at the system's log"),
)


def with_remedy(message: str) -> str:
    """An error of the disk, with what can be done about it; other messages as they are."""
    remedy = next((remedy for words, remedy in _REMEDIES if words in message), None)
    return f"{message}. {remedy}, then run the same command again; what was committed is kept." if remedy else message


# Errors of the floors below that are the user's to put right. By name: they come from processes and from modules that are
# imported late; a ValueError of any other name is a fault of ours.
USER_ERRORS: Final = frozenset(
    {
        "UserError",
        "SourceError",
        "NoFileError",
        "PackagePathError",
        "LanguageModelError",
        "MissingMeasureError",
        "CalibrationError",
        "PhraseFileError",
        "ModelFolderError",
        "EmbeddingError",
        "EncoderProcessError",
        "PackingError",
        "BatchPlanError",
        "TrainingDataError",
        "TrainingError",
        "BatchSizeSearchError",
        "WatchingError",
        "PresetError",
        "RanksError",
        "CheckpointError",
        "EvaluationDataError",
        "MtebError",
        "EvaluationError",
        "EmbeddingStoreError",
        "VectorFileError",
        "MiningError",
        "NotFiniteError",
        "Bm25Error",
        "CrossEncoderError",
        "MiningInputError",
        "ChatError",
        "BatchError",
        "KeyMissingError",
        "EndpointRefusedError",
        "EndpointUnavailableError",
        "BudgetExhausted",
        "AnswerCacheError",
        "PromptError",
        "SamplingError",
    }
)
