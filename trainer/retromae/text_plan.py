"""Which rows of text are in which step, and on which process: a function of the seed and the step alone."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.permutation import Permutation, key_bits
from trainer.ragged import Int64
from trainer.run_identity import TrainingError

_ORDER_STREAM: Final = 10  # beside those of trainer.batch_plan and trainer.contrastive


@dataclass(frozen=True)
class StepRows:
    """The rows of a step on one process."""

    rows: Int64  # of the packed texts
    places: Int64  # of each among all rows of the step


class TextPlan:
    """Each epoch is a shuffled order of all rows, cut into batches; what is left over waits for another epoch.

    Raises TrainingError where there are fewer rows than a batch has.
    """

    def __init__(self, lengths: Int64, batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.batches_per_epoch = len(lengths) // batch_size
        self.left_out = len(lengths) % batch_size
        if not self.batches_per_epoch:
            raise TrainingError(
                f"There are {len(lengths)} rows of text, fewer than one batch of {batch_size}. Set batch_size to "
                f"{len(lengths)} or less, or pack more texts."
            )

    def epoch(self, step: int) -> int:
        return step // self.batches_per_epoch

    def rows(self, step: int) -> Int64:
        """All rows of a step (from 0), longest first."""
        epoch, batch = divmod(step, self.batches_per_epoch)
        order = Permutation(len(self.lengths), key_bits(self.seed, _ORDER_STREAM, epoch))
        rows = order(np.arange(batch * self.batch_size, (batch + 1) * self.batch_size))
        return rows[np.lexsort((rows, -self.lengths[rows]))]

    def share(self, step: int, rank: int, ranks: int) -> StepRows:
        """The rows of one process: every `ranks`-th of the longest first, so that all have about as many tokens."""
        places = np.arange(rank, self.batch_size, ranks)
        return StepRows(self.rows(step)[places], places)
