"""The loops that look evaluation queries up in training texts, compiled by numba; imported where needed (see filters.loops)."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from filters.loops import compiled
from filters.minhash_loops import agreement
from filters.near_duplicate_loops import decode_text, edit_distance, hash_words, have_other_numbers
from filters.shingle_loops import Codes, Hashes, fold_text, hash_characters, hash_codes, hash_ngrams, longest_text
from filters.shingles import CJK, SPACE, UNSPACED

Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

FEW: Final = 8  # keys that are searched one after the other
MOST_COMPARED: Final = 32  # evaluation queries that a text is compared with: those whose signatures are most alike
LETTERS_OF_EDIT: Final = 3  # in a shorter word every letter counts
PAIRED: Final = -1
NUMERALS: Final = np.array(sorted(map(ord, "〇零一二三四五六七八九十百千万萬亿億两兩")), np.int64)
MOST_OF_BUCKET: Final = 1024  # a bucket beyond it is one of a template; what makes a query its own is in other bands


class KeyLookup(NamedTuple):
    """Sorted keys and where those of the same leading bits start: a key is found with about one read."""

    keys: Hashes
    starts: Numbers  # [2**bits + 1]
    shift: int  # 64 - bits


class NgramSizes(NamedTuple):
    """Units in a row that make an n-gram, and the shares of letters up to and from which a text is seen as words or characters."""

    words: int
    characters: int
    unspaced_most: float
    unspaced_least: float


@compiled
def find_key(lookup: KeyLookup, key: Any) -> Any:
    """The range of places that hold a key."""
    bucket = np.int64(key >> np.uint64(lookup.shift))
    first, end = lookup.starts[bucket], lookup.starts[bucket + 1]
    above = end
    while above - first > FEW:  # a key may be held a million times
        middle = (first + above) // 2
        if lookup.keys[middle] < key:
            first = middle + 1
        else:
            above = middle
    while first < end and lookup.keys[first] < key:
        first += 1
    last = first
    while end - last > FEW:
        middle = (last + end) // 2
        if lookup.keys[middle] == key:
            last = middle + 1
        else:
            end = middle
    while last < end and lookup.keys[last] == key:
        last += 1
    return first, last


@compiled
def find_keys(lookup: KeyLookup, keys: Hashes, first: Numbers, last: Numbers) -> None:
    """Fills the range of places of each key (int64 [keys] both)."""
    for row in range(len(keys)):
        first[row], last[row] = find_key(lookup, keys[row])


@compiled
def text_ngrams(
    data: Bytes, at: int, end: int, folding: Codes, sizes: NgramSizes, codes: Codes, words: Hashes, hashes: Hashes
) -> int:
    """Writes the hashes of a text's n-grams, or of all of a shorter text: how many.

    codes and words hold as many as the longest text has bytes, and one; hashes twice as many.
    """
    count, found, letters, cjk, unspaced = fold_text(data, at, end, folding, codes, words)
    written = 0
    if count == 0:
        return 0
    if cjk + unspaced <= sizes.unspaced_most * letters and found >= sizes.words:
        written = hash_ngrams(words, found, sizes.words, hashes)
    if cjk + unspaced >= sizes.unspaced_least * letters:
        characters = hash_characters(codes, count, hashes[written:])
        if characters >= sizes.characters:
            written += hash_ngrams(hashes[written:], characters, sizes.characters, hashes[written:])
    if written == 0:  # symbols included: C# is not C
        hashes[0] = hash_codes(codes, 0, count)
        written = 1
    return written


@compiled
def hash_text_ngrams(
    bounds: NDArray[Any], data: Bytes, folding: Codes, sizes: NgramSizes, hashes: Hashes, rows: Numbers
) -> int:
    """Writes the n-grams of all texts and the row of each: how many. The last two hold two for each byte, and two a row."""
    longest = longest_text(bounds)
    codes, words = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint64)
    written = 0
    for row in range(len(bounds) - 1):
        count = text_ngrams(data, bounds[row], bounds[row + 1], folding, sizes, codes, words, hashes[written:])
        rows[written : written + count] = row
        written += count
    return written


@compiled
def grown(values: Numbers) -> Numbers:
    """The same in an array twice as long."""
    longer = np.empty(2 * len(values), np.int64)
    longer[: len(values)] = values
    return longer


@compiled
def find_ngrams(
    bounds: NDArray[Any],
    data: Bytes,
    folding: Codes,
    sizes: NgramSizes,
    lookup: KeyLookup,
    query_of: Numbers,
    queries: int,
) -> Any:
    """The (row, evaluation query) of each text and each query that share an n-gram, each once: int64 [pairs] both.

    query_of is the query of each key of the lookup, `queries` how many there are.
    """
    longest = longest_text(bounds)
    codes, words = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint64)
    hashes = np.empty(2 * longest + 2, np.uint64)
    seen_by = np.full(queries, -1, np.int64)
    left, right = np.empty(1024, np.int64), np.empty(1024, np.int64)
    written = 0
    for row in range(len(bounds) - 1):
        count = text_ngrams(data, bounds[row], bounds[row + 1], folding, sizes, codes, words, hashes)
        for place in range(count):
            first, last = find_key(lookup, hashes[place])
            for found in range(first, last):
                query = query_of[found]
                if seen_by[query] == row:
                    continue
                seen_by[query] = row
                if written == len(left):
                    left, right = grown(left), grown(right)
                left[written], right[written] = row, query
                written += 1
    return left[:written], right[:written]


@compiled
def find_candidates(
    keys: NDArray[np.uint64],
    signatures: NDArray[Any],
    lookup: KeyLookup,
    sketch_of: Numbers,
    others: NDArray[Any],
    least_places: int,
) -> Any:
    """The (row, other row) of signatures that share a band and agree in `least_places` at least: int64 [pairs] both.

    keys are uint64 [rows, bands]; sketch_of is the other row of each key of the lookup. Of each row the MOST_COMPARED that
    agree most, of equal ones those of the smallest rows.
    """
    seen_by = np.full(len(others), -1, np.int64)
    best, places = np.empty(MOST_COMPARED, np.int64), np.empty(MOST_COMPARED, np.int64)
    left, right = np.empty(1024, np.int64), np.empty(1024, np.int64)
    written = 0
    for row in range(len(signatures)):
        kept = 0
        for band in range(keys.shape[1]):
            first, last = find_key(lookup, keys[row, band])
            for found in range(first, min(last, first + MOST_OF_BUCKET)):
                other = sketch_of[found]
                if seen_by[other] == row:
                    continue
                seen_by[other] = row
                equal = agreement(signatures[row], others[other])
                if equal >= least_places:
                    kept = keep_best(best, places, kept, other, equal)
        while written + kept > len(left):
            left, right = grown(left), grown(right)
        left[written : written + kept] = row
        right[written : written + kept] = best[:kept]
        written += kept
    return left[:written], right[:written]


@compiled
def keep_best(best: Numbers, places: Numbers, kept: int, other: int, equal: int) -> int:
    """Puts a row in its place among the best, which are sorted: how many there are now."""
    at = kept
    while at > 0 and (places[at - 1] < equal or (places[at - 1] == equal and best[at - 1] > other)):
        at -= 1
    if at == len(best):
        return kept
    kept = min(kept + 1, len(best))
    for place in range(kept - 1, at, -1):
        best[place], places[place] = best[place - 1], places[place - 1]
    best[at], places[at] = other, equal
    return kept


@compiled
def split_words(characters: Numbers, count: int, folding: Codes, starts: Numbers, ends: Numbers) -> int:
    """Writes where each word of a folded text starts and ends, a letter of a script without spaces being one: how many."""
    words = 0
    in_word = False
    for place in range(count):
        code = folding[characters[place]]
        alone = code & np.uint32(CJK | UNSPACED) != 0
        if in_word and not alone and characters[place] != SPACE:
            ends[words - 1] = place + 1
            continue
        in_word = not alone and characters[place] != SPACE
        if in_word or alone:
            starts[words], ends[words] = place, place + 1
            words += 1
    return words


@compiled
def count_like_words(
    left: Numbers,
    left_starts: Numbers,
    left_ends: Numbers,
    left_words: int,
    right: Numbers,
    right_starts: Numbers,
    right_ends: Numbers,
    right_words: int,
    space: Numbers,
) -> int:
    """How many words of the texts have one another: equal, or but for an edit in three letters or two in eight.

    The starts of words that do are lost.
    """
    pairs = 0
    for turn in range(2):  # equal ones first: a like one must not take the place of an equal one
        for word in range(left_words):
            at, end = left_starts[word], left_ends[word]
            for other in range(right_words if at != PAIRED else 0):
                to, last = right_starts[other], right_ends[other]
                if to == PAIRED:
                    continue
                edits = max(1, max(end - at, last - to) // 4) if min(end - at, last - to) >= LETTERS_OF_EDIT else 0
                most = edits if turn else 0
                if edit_distance(left[at:end], end - at, right[to:last], last - to, most, space) <= most:
                    left_starts[word], right_starts[other] = PAIRED, PAIRED
                    pairs += 1
                    break
    return pairs


@compiled
def holds_numeral(characters: Numbers, starts: Numbers, ends: Numbers, words: int) -> bool:
    """Whether a word without another is a number of Chinese and Japanese."""
    for word in range(words):
        if starts[word] != PAIRED and ends[word] - starts[word] == 1:
            code = characters[starts[word]]
            for numeral in NUMERALS:
                if code == numeral:
                    return True
    return False


@compiled
def are_lone_letters(characters: Numbers, starts: Numbers, ends: Numbers, words: int, folding: Codes) -> bool:
    """Whether all words without another are letters of scripts without spaces, no two of them beside each other."""
    before = False
    for word in range(words):
        alone = starts[word] != PAIRED
        if alone and (before or folding[characters[ends[word] - 1]] & np.uint32(CJK | UNSPACED) == 0):
            return False
        before = alone
    return True


@compiled
def compare_short(
    left: Numbers,
    right: Numbers,
    bounds: Numbers,
    data: Bytes,
    numbers: Hashes,
    other_bounds: Numbers,
    other_data: Bytes,
    other_numbers: Hashes,
    folding: Codes,
    least_edit_similarity: float,
    words_per_edit: int,
    letters_per_slip: int,
) -> NDArray[np.bool_]:
    """Whether the folded texts of each pair of rows are nearly equal: bool [pairs].

    That is, few characters need an edit, or few words, and no more than one in words_per_edit was replaced by another:
    where both texts have a word of their own, they ask for different things. Of texts of words_per_edit letters and more in
    scripts without spaces one letter in letters_per_slip may be another, each between letters that are the same: two in a
    row are a word. Chinese numbers must be the same.
    """
    longest = max(longest_text(bounds), longest_text(other_bounds)) + 1
    first, second = np.empty(longest, np.int64), np.empty(longest, np.int64)
    starts, ends = np.empty(longest, np.int64), np.empty(longest, np.int64)
    other_starts, other_ends = np.empty(longest, np.int64), np.empty(longest, np.int64)
    space = np.empty(2 * longest + 2, np.int64)
    near = np.zeros(len(left), np.bool_)
    for pair in range(len(left)):
        row, other = left[pair], right[pair]
        if have_other_numbers(numbers[row], other_numbers[other]):
            continue
        count = decode_text(data, bounds[row], bounds[row + 1], first)
        other_count = decode_text(other_data, other_bounds[other], other_bounds[other + 1], second)
        words = split_words(first, count, folding, starts, ends)
        other_words = split_words(second, other_count, folding, other_starts, other_ends)
        replaced = max(words, other_words) // words_per_edit
        most = np.int64((1 - least_edit_similarity) * max(count, other_count) + 1e-9)
        if edit_distance(first, count, second, other_count, most, space) > most:
            if replaced == 0 or abs(words - other_words) > replaced:
                continue
            if not are_words_near(first, count, second, other_count, replaced, space):
                continue
            decode_text(data, bounds[row], bounds[row + 1], first)
            decode_text(other_data, other_bounds[other], other_bounds[other + 1], second)
        paired = count_like_words(first, starts, ends, words, second, other_starts, other_ends, other_words, space)
        of_their_own = min(words, other_words) - paired
        if of_their_own == 0:
            near[pair] = True
        elif holds_numeral(first, starts, ends, words) and holds_numeral(second, other_starts, other_ends, other_words):
            continue
        elif of_their_own <= replaced:
            near[pair] = True
        elif replaced and of_their_own <= max(words, other_words) // letters_per_slip:
            near[pair] = are_lone_letters(first, starts, ends, words, folding) and are_lone_letters(
                second, other_starts, other_ends, other_words, folding
            )
    return near


@compiled
def are_words_near(left: Numbers, left_count: int, right: Numbers, right_count: int, most: int, space: Numbers) -> bool:
    """Whether no more than `most` words need an edit. The texts are lost."""
    left_count, right_count = hash_words(left, left_count), hash_words(right, right_count)
    return edit_distance(left, left_count, right, right_count, most, space) <= most  # type: ignore[no-any-return]
