"""The loops of search: the inner product, heaps of the k best (score, row), and the scan of a block of rough scores.

A heap is one line of `scores` float32 [Q, k] and `rows` int64 [Q, k]: its first entry is the worst kept, the smallest
score, of equal ones the highest row. Lines begin as score -inf, row -1.

All that call each other are in this file: see trainer.compiled.
"""

from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from trainer.compiled import compiled

Floats: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.int64]

LANES: Final = 32  # partial sums of an inner product
GROUP: Final = 16  # columns whose largest score decides whether they are looked at: a cache line of float32
_CANDIDATES_AT_ONCE: Final = 2**18


@partial(compiled, fastmath={"nnan", "nsz"})
def fill_largest(rough: Floats, largest: Floats) -> None:
    """largest [B, ceil(C / GROUP)]: of each group of columns of rough [B, C]."""
    whole = np.uint64(rough.shape[1] // GROUP)
    for query in range(rough.shape[0]):
        for group in range(whole):
            best = np.float32(-np.inf)
            for place in range(np.uint64(GROUP)):
                best = max(best, rough[query, group * np.uint64(GROUP) + place])
            largest[query, group] = best
        for column in range(whole * np.uint64(GROUP), np.uint64(rough.shape[1])):
            before = rough[query, column] if column % np.uint64(GROUP) == 0 else largest[query, whole]
            largest[query, whole] = max(before, rough[query, column])


@compiled
def scan(
    rough: Floats,
    largest: Floats,
    errors: npt.NDArray[np.float64],
    queries: Floats,
    vectors: Floats,
    first_row: int,
    scores: Floats,
    rows: Rows,
) -> None:
    """Offer every row of a block [C, D] whose rough score [B, C] allows it, by its exact score.

    largest [B, ceil(C / GROUP)] are those of groups (fill_largest). errors [B]: how far a rough score of the query can be
    from the exact one.
    """
    columns, k = rough.shape[1], scores.shape[1]
    starts = np.zeros(len(rough) + 1, np.int64)
    candidates = np.empty(max(_CANDIDATES_AT_ONCE, 2 * columns), np.int32)
    values = np.empty(columns, np.float32)
    first = 0  # the query whose candidates come first in `candidates`
    starts[0] = 0
    for query in range(len(rough)):
        line, groups, error = rough[query], largest[query], errors[query]
        least = np.float32(scores[query, 0] - error)
        if k <= len(groups) and _count(groups, least) > k:
            # k rows have at least this rough score, so no row more than 2 errors below it is among the k best.
            least = max(least, np.float32(_kth_largest_of_groups(groups, k, 4 * k) - 2 * error))
        end = starts[query - first]
        found = _collect(line, groups, least, candidates[end:], values)
        if found > k + k // 4:
            least = np.float32(_kth_largest(values[:found], k) - 2 * error)
            found = _keep(candidates[end:], values[:found], least)
        end += found
        starts[query - first + 1] = end
        if end + columns > len(candidates) or query + 1 == len(rough):
            part = slice(first, query + 1)
            offer_candidates(
                starts[: query - first + 2],
                candidates[:end],
                queries[part],
                vectors,
                first_row,
                scores[part],
                rows[part],
            )
            first = query + 1


@compiled
def fill_kth_largest(lines: Floats, k: int, kth: Floats) -> None:
    """kth [B]: about the kth largest of each line of [B, C], a little less rather than more."""
    for line in range(len(lines)):
        kth[line] = _kth_largest_of_groups(lines[line], k, 16 * k)


@compiled
def settle_guesses(
    counts: Rows,
    columns: npt.NDArray[np.int32],
    values: Floats,
    guesses: Floats,
    errors: npt.NDArray[np.float64],
    k: int,
    starts: Rows,
    failed: npt.NDArray[np.bool_],
) -> None:
    """Bring the candidates of all queries to the front of columns [B, r]: query q has starts[q] to starts[q + 1] of them all.

    Found were counts [B] columns and their rough scores, values [B, r]: all that are not more than 2 errors below a
    guess. The guess is right if k of them reach it, and then no other row is among the k best; -inf is always right.
    A query with a wrong guess, or with more than r columns, has `failed` and gets no candidates.
    """
    flat = columns.reshape(-1)
    end = 0
    for query in range(len(counts)):
        found = counts[query]
        failed[query] |= found > columns.shape[1]
        if not failed[query] and guesses[query] > -np.inf:
            failed[query] = _count(values[query, :found], guesses[query]) < k
        if not failed[query]:
            least = np.float32(-np.inf)
            if found > k:
                least = np.float32(_kth_largest(values[query, :found], k) - 2 * errors[query])
            for place in range(found):
                if values[query, place] >= least:
                    flat[end] = columns[query, place]
                    end += 1
        starts[query + 1] = end


@compiled
def offer_candidates(
    starts: Rows,
    columns: npt.NDArray[np.int32],
    queries: Floats,
    vectors: Floats,
    first_row: int,
    scores: Floats,
    rows: Rows,
) -> None:
    """Offer the rows columns[starts[q]:starts[q + 1]] of a block [C, D] to query q, by their exact scores.

    Scores are computed row by row rather than query by query: a row then comes from memory once for all its queries,
    which takes less than half the time.
    """
    lanes = np.empty(LANES)
    ends = np.zeros(len(vectors) + 1, np.int64)
    for place in range(len(columns)):
        ends[columns[place] + 1] += 1
    for column in range(len(vectors)):
        ends[column + 1] += ends[column]
    by_column = np.empty(len(columns), np.int32)  # candidates in the order of their columns
    owners = np.empty(len(columns), np.int32)
    for query in range(len(queries)):
        for place in range(starts[query], starts[query + 1]):
            by_column[ends[columns[place]]] = place
            owners[place] = query
            ends[columns[place]] += 1
    exact = np.empty(len(columns), np.float32)
    for turn in range(len(by_column)):
        place = by_column[turn]
        exact[place] = inner_product(queries[owners[place]], vectors[columns[place]], lanes)
    for query in range(len(queries)):
        for place in range(starts[query], starts[query + 1]):
            offer(scores[query], rows[query], exact[place], first_row + columns[place])


@compiled
def inner_product(left: Floats, right: Floats, lanes: npt.NDArray[np.float64]) -> np.float32:
    """Sums of the (exact) float64 products in LANES lanes, added in one fixed order, rounded to float32.

    `lanes` is float64 [LANES], to work in. Lanes lie in memory and indices are unsigned because only then the compiler
    takes several at a time without leave to change the order: twice as fast as eight sums in names.
    """
    width = np.uint64(LANES)
    whole = np.uint64(len(left) // LANES)
    for lane in range(width):
        lanes[lane] = 0.0
    for turn in range(whole):
        for lane in range(width):
            at = turn * width + lane
            lanes[lane] += np.float64(left[at]) * np.float64(right[at])
    done = whole * width
    for last in range(done, np.uint64(len(left))):
        lanes[last - done] += np.float64(left[last]) * np.float64(right[last])
    while width > 1:
        width = width // np.uint64(2)
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
    return np.float32(lanes[0])


@compiled
def fill_products(queries: Floats, vectors: Floats, columns: Rows, scores: Floats) -> None:
    """scores [Q, m]: of each query with vectors[columns[q]], -inf where the column is negative."""
    lanes = np.empty(LANES)
    for query in range(len(queries)):
        for place in range(columns.shape[1]):
            column = columns[query, place]
            scores[query, place] = -np.inf if column < 0 else inner_product(queries[query], vectors[column], lanes)


@compiled
def count_better(
    rough: Floats,
    queries: Floats,
    block: Floats,
    own: Floats,
    errors: npt.NDArray[np.float64],
    ranks: npt.NDArray[np.int32],
) -> None:
    """Add to each rank the rows of the block that score higher; only scores near the own one are computed again."""
    lanes = np.empty(LANES)
    for query in range(rough.shape[0]):
        better = 0
        for column in range(rough.shape[1]):
            lead = np.float64(rough[query, column]) - np.float64(own[query])
            if lead > errors[query] or (
                lead >= -errors[query] and inner_product(queries[query], block[column], lanes) > own[query]
            ):
                better += 1
        ranks[query] += better


@compiled
def offer_sums(
    query_offsets: Rows,
    query_tokens: npt.NDArray[np.int32],
    query_weights: Floats,
    starts: Rows,
    list_rows: npt.NDArray[np.int32],
    list_weights: Floats,
    count: int,
    first_row: int,
    scores: Floats,
    rows: Rows,
) -> None:
    """Offer every row of an inverted block of `count` rows (trainer.lexical_search) by what it shares with the query."""
    sums = np.zeros(count)
    for query in range(len(scores)):
        for place in range(query_offsets[query], query_offsets[query + 1]):
            token, weight = query_tokens[place], np.float64(query_weights[place])
            for at in range(starts[token], starts[token + 1]):
                sums[list_rows[at]] += weight * np.float64(list_weights[at])
        least = scores[query, 0]
        for row in range(count):
            if sums[row] > 0:
                score = np.float32(sums[row])
                if score > 0 and score >= least:
                    offer(scores[query], rows[query], score, first_row + row)
                    least = scores[query, 0]
                sums[row] = 0.0


@compiled
def offer(scores: Floats, rows: Rows, score: np.float32, row: int) -> None:
    """Put (score, row) in place of the worst entry of a heap if it is better: larger, or equal and of lower row."""
    if score > scores[0] or (score == scores[0] and row < rows[0]):
        _place(scores, rows, len(scores), score, row)


@compiled
def sort_heaps(scores: Floats, rows: Rows) -> None:
    """Turn every heap into a ranking: best first, equal scores by the lower row."""
    for query in range(len(scores)):
        line, numbers = scores[query], rows[query]
        for last in range(len(line) - 1, 0, -1):
            score, row = line[last], numbers[last]
            line[last], numbers[last] = line[0], numbers[0]
            _place(line, numbers, last, score, row)


@compiled
def _place(scores: Floats, rows: Rows, size: int, score: np.float32, row: int) -> None:
    """Take away the worst of the heap's first `size` entries and put in (score, row)."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            scores[other] < scores[child] or (scores[other] == scores[child] and rows[other] > rows[child])
        ):
            child = other
        if scores[child] > score or (scores[child] == score and rows[child] < row):
            break
        scores[place], rows[place] = scores[child], rows[child]
        place = child
    scores[place], rows[place] = score, row


@compiled
def _kth_largest_of_groups(largest: Floats, k: int, most: int) -> Any:
    """The kth largest of groups joined while there are `most` or more: a little less, and found much faster."""
    size = len(largest)
    joined = largest.copy()
    while size >= most:
        half = (size + 1) // 2
        for group in range(size - half):
            joined[group] = max(joined[group], joined[group + half])
        size = half
    return _kth_largest(joined[:size], k)


@compiled
def _count(values: Floats, least: np.float32) -> int:
    count = 0
    for value in values:
        count += value >= least
    return count


@compiled
def _collect(
    line: Floats, largest: Floats, least: np.float32, candidates: npt.NDArray[np.int32], values: Floats
) -> int:
    """The columns of at least this rough score, and the scores: how many there are."""
    found = 0
    for group in range(len(largest)):
        if largest[group] >= least:
            for column in range(group * GROUP, min((group + 1) * GROUP, len(line))):
                if line[column] >= least:
                    candidates[found], values[found] = column, line[column]
                    found += 1
    return found


@compiled
def _keep(candidates: npt.NDArray[np.int32], values: Floats, least: np.float32) -> int:
    kept = 0
    for place in range(len(values)):
        if values[place] >= least:
            candidates[kept] = candidates[place]
            kept += 1
    return kept


@compiled
def _kth_largest(values: Floats, k: int) -> Any:
    """Hoare's selection. numpy's partition would do, but takes seven seconds to compile."""
    values = values.copy()
    low, high = 0, len(values) - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left, right = left + 1, right - 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    return values[k - 1]
