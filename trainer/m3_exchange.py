"""From the outputs of a rank's own texts to what M3's loss compares, over all ranks, and back from gradients.

Texts of all ranks are exchanged as rows of any number a text, without graph: distinct tokens with their lexical weights,
token vectors. Each rank computes the losses of its own queries, and the gradients of passages are summed back to the
ranks they came from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from trainer.batch import Batch
from trainer.distributed import Ranks
from trainer.lexical_product import largest_of_each_token
from trainer.loss import GuideEmbeddings, LossMasks
from trainer.m3_heads import Output
from trainer.m3_loss import Candidates, Comparison
from trainer.m3_settings import M3LossSettings
from trainer.ragged import Ragged
from trainer.text_rows import TextRows

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Gathered:
    """Texts of all ranks, or of this one alone, in one output."""

    all: TextRows  # with gradient
    own: int  # the number of this rank's first text among them
    rows: list[int] | None  # of each rank; None: this rank's texts alone

    def gradient(self, ranks: Ranks) -> torch.Tensor:
        """Of this rank's rows, summed over the ranks."""
        found = self.all.values.grad
        found = torch.zeros_like(self.all.values) if found is None else found
        return found if self.rows is None else ranks.sum_to_owners(found, self.rows)


class OutputsOfRanks:
    """What this rank's queries, and its symmetric pairs' positives, are compared with."""

    def __init__(
        self,
        batch: Batch,
        texts: Ragged,
        outputs: Mapping[Output, torch.Tensor],
        ranks: Ranks,
        settings: M3LossSettings,
        special_tokens: npt.NDArray[np.int32],
        *,
        both_ways: bool,
    ) -> None:
        """`texts` are the queries' tokens, then the passages', `outputs` theirs (CachedEmbeddings.outputs)."""
        self.batch, self.ranks, self.settings, self.outputs = batch, ranks, settings, outputs
        self.device = next(iter(outputs.values())).device
        self.own: dict[Output, TextRows] = {}
        for output, values in outputs.items():
            if output == "dense":
                self.own[output] = TextRows.one_a_text(values)
            elif output == "lexical":
                self.own[output], self._chosen = largest_of_each_token(
                    values, texts.values, texts.lengths, special_tokens
                )
            else:
                self.own[output] = TextRows(values, np.concatenate([[0], np.cumsum(np.maximum(texts.lengths - 1, 0))]))
        queries = len(batch.rows)
        self.queries = {output: rows.part(0, queries) for output, rows in self.own.items()}
        self.passages = {
            output: self._gather(output, rows.part(queries, len(rows))) for output, rows in self.own.items()
        }
        self.all_queries = {output: self._gather(output, rows) for output, rows in self.queries.items() if both_ways}
        self._positives: dict[Output, tuple[TextRows, torch.Tensor]] = {}

    def comparisons(self, masks: LossMasks, guide: GuideEmbeddings | None) -> list[Comparison]:
        """From queries to passages, and from the positives of symmetric pairs to queries."""
        count, width = len(self.batch.rows), masks.forward.width
        exact = next(iter(self.outputs.values())).dtype
        weights = torch.full((count,), 1 / masks.queries, dtype=exact, device=self.device)
        found = []
        if masks.backward is not None and masks.symmetric is not None:
            found.append(self._backward(masks, guide, weights / 2))
            weights = torch.where(masks.symmetric, weights / 2, weights)
        forward = Comparison(
            self.queries,
            self._slots(masks.queries * width),
            masks.forward,
            torch.arange(count, device=self.device),
            weights,
            masks.queries * width,
            masks.in_batch,
            masks.teacher,
            guide,
        )
        return [forward, *found]

    def gradients(self) -> dict[Output, torch.Tensor]:
        """Of each of `outputs`, what the losses of all ranks say of it. To be called once, on all ranks."""
        found = {}
        for output, rows in self.own.items():
            gradient = torch.zeros_like(rows.values)
            queries = len(self.queries[output].values)
            of_queries, of_passages = gradient[:queries], gradient[queries:]
            of_rows = self.queries[output].values.grad
            if of_rows is not None:
                of_queries += of_rows
            if output in self.all_queries:
                of_queries += self.all_queries[output].gradient(self.ranks)
            of_passages += self.passages[output].gradient(self.ranks)
            if output in self._positives:
                positives, taken = self._positives[output]
                of_rows = positives.values.grad
                if of_rows is not None:
                    of_passages.index_add_(0, taken, of_rows)
            found[output] = gradient
        if "lexical" in found:
            of_tokens = torch.zeros_like(self.outputs["lexical"])
            found["lexical"] = of_tokens.index_copy_(0, self._chosen, found["lexical"])
        return found

    def _gather(self, output: Output, own: TextRows) -> _Gathered:
        if self.ranks.count == 1 or (output != "dense" and self.settings.own_rank_only):
            return _Gathered(own.as_leaf(), 0, None)
        everyones, rows, texts = own.of_all_ranks(self.ranks)
        return _Gathered(everyones.as_leaf(), int(texts[: self.ranks.rank].sum()), rows)

    def _slots(self, columns: int) -> dict[Output, Candidates]:
        """The passages in slots: of all ranks, or, where an output stays within a rank, of this one."""
        width, counts = self.batch.group_width, self.batch.counts
        # Empty slots (-1) take some passage: they count for no query.
        own = np.maximum(self.batch.slots, 0).ravel()
        everyones = own
        if self.ranks.count > 1:
            everyones = self._slots_of_all_ranks(own, (counts * width).tolist())
        padded_to = self._padded_to(self.batch.passage_lengths)
        found = {}
        for output, gathered in self.passages.items():
            within = self.ranks.count > 1 and gathered.rows is None
            first = self.batch.first_query * width if within else 0
            found[output] = Candidates(
                gathered.all, first, self._numbers(own if within else everyones, gathered), padded_to
            )
        return found

    def _padded_to(self, lengths: Int64) -> int | None:
        """Token vectors that FlagEmbedding's batch has for each text."""
        return int(lengths.max(initial=1)) - 1 if self.settings.flagembedding else None

    def _slots_of_all_ranks(self, own: Int64, counts: Sequence[int]) -> Int64:
        """[columns] numbers among the passages of all ranks."""
        each = torch.tensor([[len(self.batch.passage_tokens)]], device=self.device)
        texts = self.ranks.gather_rows(each, [1] * self.ranks.count).cpu().numpy()[:, 0]
        slots = self.ranks.gather_rows(torch.from_numpy(own).to(self.device), counts).cpu().numpy()
        numbered: Int64 = slots + np.repeat(np.cumsum(texts) - texts, counts)
        return numbered

    def _numbers(self, slots: Int64, gathered: _Gathered) -> torch.Tensor | None:
        if len(slots) == len(gathered.all) and np.array_equal(slots, np.arange(len(slots))):
            return None
        return torch.from_numpy(slots).to(self.device)

    def _backward(self, masks: LossMasks, guide: GuideEmbeddings | None, weights: torch.Tensor) -> Comparison:
        assert masks.backward is not None and masks.symmetric is not None
        numbers = np.flatnonzero(masks.symmetric.cpu().numpy())
        chosen = self.batch.slots[numbers, 0]
        queries = len(self.batch.rows)
        for output, rows in self.own.items():
            self._positives[output] = rows.part(queries, len(rows)).take(chosen)
        columns = {
            output: Candidates(
                gathered.all,
                self.batch.first_query if self.ranks.count > 1 and gathered.rows is None else 0,
                None,
                self._padded_to(self.batch.query_lengths),
            )
            for output, gathered in self.all_queries.items()
        }
        of_rows = torch.from_numpy(numbers).to(self.device)
        mirrored = None
        if guide is not None:
            first = masks.forward.first * masks.forward.width
            positives = guide.columns[first :: masks.forward.width][:queries].index_select(0, of_rows)
            mirrored = GuideEmbeddings(positives, guide.all_queries, guide.queries)
        return Comparison(
            {output: rows for output, (rows, _) in self._positives.items()},
            columns,
            masks.backward,
            of_rows,
            weights.index_select(0, of_rows),
            masks.queries,
            masks.in_batch,
            None,
            mirrored,
        )
