"""The loops that compare candidates and join what is alike, compiled by numba; imported where needed (see filters.loops)."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from filters.loops import compiled, decode
from filters.minhash import BY_CHANCE
from filters.minhash_loops import Signatures, agreement
from filters.shingle_loops import GOLDEN, Codes, Hashes, eight_bytes, longest_text, mix, shingle_set
from filters.shingles import SHORT, SPACE

Numbers = NDArray[np.int64]

LENGTH, COUNTS, BITS = 0, 1, 3  # the places of a row's facts
SLOTS_PER_KEY: Final = 8
LEAST_BY_CLASSES: Final = 8  # characters: the table of shorter texts is as fast
MOST_EDITED: Final = 2000  # characters of short texts whose edits are told; longer ones, of symbols, go by the estimate
NOT_ALIKE: Final = -1.0


class Comparison(NamedTuple):
    """What rows are compared by in one view: their signatures first, then what tells exactly."""

    view_number: int
    facts: Hashes  # of each row, side by side: what most pairs are told apart by (see put_facts)
    least_equal_bits: int  # pairs that share fewer are not compared further
    signatures: Signatures
    least_agreements: int  # of the places of two signatures: pairs with fewer are not compared further
    folded_bounds: Numbers  # SHORT: the folded texts of the rows
    folded_data: NDArray[np.uint8]
    numbers: Hashes  # in the folded texts (see hash_numbers)
    least_edit_similarity: float
    least_word_similarity: float
    words_per_edit: int
    numbers_agree: bool
    exact: bool  # other views: whether shingles are compared, those of the texts below
    least_similarity: float
    texts: Numbers  # [rows], indices of text_bounds
    text_bounds: Numbers
    text_data: NDArray[np.uint8]
    folding: Codes
    shingle_settings: NDArray[np.float64]
    unlike: Hashes  # a power of two: pairs last found not to be alike, so that no other band compares them again


@compiled
def find_root(parents: Numbers, node: int) -> int:
    """The root of a node's tree; paths are halved on the way."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@compiled
def join(parents: Numbers, left: int, right: int) -> bool:
    """Joins two nodes' trees under the smaller root; whether they were apart."""
    left, right = find_root(parents, left), find_root(parents, right)
    if left == right:
        return False
    parents[max(left, right)] = min(left, right)
    return True


@compiled
def join_all(parents: Numbers, left: Numbers, right: Numbers) -> None:
    """Joins all pairs of nodes."""
    for pair in range(len(left)):
        join(parents, left[pair], right[pair])


@compiled
def find_roots(parents: Numbers) -> None:
    """Makes each node's parent its root, the smallest node of its tree."""
    for node in range(len(parents)):  # a parent is smaller than its children, so it has its root already
        parents[node] = parents[parents[node]]


@compiled
def put_signatures(signatures: Signatures, places: Numbers, into: Signatures) -> None:
    """Copies each row to its place; those with a negative one are left out."""
    for row in range(len(places)):
        if places[row] >= 0:
            into[places[row]] = signatures[row]


@compiled
def put_lengths(bounds: Numbers, places: Numbers, lengths: Numbers) -> None:
    """Writes each text's bytes behind its place (at place + 1), so that a running sum makes bounds of them."""
    for row in range(len(places)):
        if places[row] >= 0:
            lengths[places[row] + 1] = bounds[row + 1] - bounds[row]


@compiled
def put_texts(
    bounds: Numbers, data: NDArray[np.uint8], places: Numbers, into_bounds: Numbers, into: NDArray[np.uint8]
) -> None:
    """Copies each text to its place; those with a negative one are left out."""
    for row in range(len(places)):
        if places[row] >= 0:
            to = into_bounds[places[row]]
            for byte in range(bounds[row], bounds[row + 1]):
                into[to] = data[byte]
                to += 1


@compiled
def hash_sketches(signatures: Signatures, folded_bounds: Numbers, folded_data: NDArray[np.uint8]) -> Hashes:
    """A key of each sketch that equal sketches share: uint64 [rows]; of the folded text alone where there is one."""
    keys = np.empty(len(signatures), np.uint64)
    for row in range(len(signatures)):
        start, end = folded_bounds[row], folded_bounds[row + 1]
        keys[row] = hash_bytes(folded_data[start:end]) if end > start else hash_bytes(signatures[row])
    return keys


@compiled
def hash_bytes(data: NDArray[np.uint8]) -> Any:
    """A key of some bytes: uint64."""
    key = mix(len(data) + 1)
    at = 0
    while at + 8 <= len(data):
        key = mix(key ^ eight_bytes(data, at))
        at += 8
    rest = np.uint64(0)
    for place in range(at, len(data)):
        rest = rest << np.uint64(8) | np.uint64(data[place])
    return mix(key ^ rest)


@compiled
def put_facts(signatures: Signatures, bounds: Numbers, data: NDArray[np.uint8], facts: Hashes) -> None:
    """Writes of each row what fits into a line of the cache: the signature's bits, the characters of a folded text.

    facts is uint64 [rows, BITS + places / 64 rounded up]: the length in characters; two words of counts, of 4 bits that
    end at 15, of the characters whose code modulo 32 is 0 to 31, which parts the letters of most alphabets; and the
    lowest bit of each place of the signature, bits that are left over being 0.
    """
    facts[:] = 0
    for row in range(len(signatures)):
        at, end = bounds[row], bounds[row + 1]
        while at < end:
            character, size = decode(data, at, end)
            at += size
            facts[row, LENGTH] += np.uint64(1)
            half, shift = COUNTS + ((character >> 4) & 1), np.uint64(4 * (character & 15))
            if (facts[row, half] >> shift) & np.uint64(15) < 15:
                facts[row, half] += np.uint64(1) << shift
        for place in range(signatures.shape[1]):
            bit = np.uint64(signatures[row, place] & np.uint8(1))
            facts[row, BITS + place // 64] |= bit << np.uint64(place % 64)


@compiled
def equal_bits(facts: Hashes, left: int, right: int) -> Any:
    """How many bits of two rows are equal (those left over included), counted as in Warren, "Hacker's delight", 5-1."""
    count = 64 * (facts.shape[1] - BITS)
    for place in range(BITS, facts.shape[1]):
        value = facts[left, place] ^ facts[right, place]
        value -= (value >> np.uint64(1)) & np.uint64(0x5555555555555555)
        value = (value & np.uint64(0x3333333333333333)) + ((value >> np.uint64(2)) & np.uint64(0x3333333333333333))
        value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
        count -= np.int64((value * np.uint64(0x0101010101010101)) >> np.uint64(56))
    return count


@compiled
def shared_keys(keys: Hashes) -> Numbers:
    """The rows whose key another row has, and few others: int64. In time linear in the rows, which sorting is not."""
    slots = np.int64(64)
    while slots < SLOTS_PER_KEY * len(keys):
        slots *= 2
    seen = np.zeros(slots, np.uint8)
    mask = np.uint64(slots - 1)
    for row in range(len(keys)):
        slot = keys[row] & mask
        seen[slot] = min(seen[slot] + 1, 2)
    shared = 0
    for row in range(len(keys)):
        shared += seen[keys[row] & mask] == 2
    rows = np.empty(shared, np.int64)
    written = 0
    for row in range(len(keys)):
        if seen[keys[row] & mask] == 2:
            rows[written] = row
            written += 1
    return rows


@compiled
def cut_buckets(keys: Hashes, rows: Numbers) -> Numbers:
    """Where the buckets of sorted keys start, and the end: int64; sorts the rows within each."""
    starts = np.empty(len(keys) + 1, np.int64)
    count = 0
    for place in range(len(keys)):
        if place == 0 or keys[place] != keys[place - 1]:
            if count:
                rows[starts[count - 1] : place].sort()
            starts[count] = place
            count += 1
    if count:
        rows[starts[count - 1] :].sort()
    starts[count] = len(keys)
    return starts[: count + 1]


@compiled
def common_share(left: Hashes, left_count: int, right: Hashes, right_count: int) -> float:
    """The Jaccard similarity of two sets given as sorted distinct values."""
    at = to = common = 0
    while at < left_count and to < right_count:
        if left[at] == right[to]:
            common += 1
            at += 1
            to += 1
        elif left[at] < right[to]:
            at += 1
        else:
            to += 1
    return common / max(left_count + right_count - common, 1)


@compiled
def decode_text(data: NDArray[np.uint8], at: int, end: int, characters: NDArray[np.int64]) -> int:
    """Writes the characters of a text: how many."""
    count = 0
    while at < end:
        character, size = decode(data, at, end)
        characters[count] = character
        count += 1
        at += size
    return count


@compiled
def hash_numbers(bounds: Numbers, data: NDArray[np.uint8]) -> Hashes:
    """A key of the numbers in each text, in their order, that texts with equal ones share: uint64 [rows].

    Its lowest byte is how many there are, 255 at most.
    """
    keys = np.zeros(len(bounds) - 1, np.uint64)
    for row in range(len(keys)):
        key = np.uint64(0)
        count = 0
        in_number = False
        for byte in range(bounds[row], bounds[row + 1]):
            digit = 48 <= data[byte] < 58
            if digit:
                count += not in_number
                key = mix(key + np.uint64(data[byte]) + np.uint64(0 if in_number else GOLDEN))
            in_number = digit
        keys[row] = key & np.uint64(0xFFFFFFFFFFFFFF00) | np.uint64(min(count, 255))
    return keys


@compiled
def surplus(left: Any, right: Any) -> Any:
    """The sum of how much greater the left one's counts are, where they are, of eight counts of 4 bits in as many bytes."""
    difference = (left | np.uint64(0x8080808080808080)) - right  # 128 more in each byte
    greater = (difference >> np.uint64(7)) & np.uint64(0x0101010101010101)
    difference &= greater * np.uint64(0x7F)
    return np.int64((difference * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def least_edits(facts: Hashes, left: int, right: int) -> Any:
    """Edits that make one text the other at least: one adds a character at most, and takes one at most."""
    added = removed = 0
    every_other = np.uint64(0x0F0F0F0F0F0F0F0F)
    for half in range(COUNTS, COUNTS + 2):
        for shift in (np.uint64(0), np.uint64(4)):
            one = (facts[left, half] >> shift) & every_other
            other = (facts[right, half] >> shift) & every_other
            removed += surplus(one, other)
            added += surplus(other, one)
    return max(added, removed)


@compiled
def cannot_be_alike(facts: Hashes, allowed: float, words_per_edit: int, left: int, right: int) -> Any:
    """Whether two short texts need more edits than are allowed, of characters and of words, by their counts alone."""
    most = np.int64(allowed * max(facts[left, LENGTH], facts[right, LENGTH]) + 1e-9)
    if least_edits(facts, left, right) <= most:
        return False
    # The class of SPACE, which has a few others in it, and no more than 15.
    spaces = max(facts[left, COUNTS] & np.uint64(15), facts[right, COUNTS] & np.uint64(15))
    return spaces < 15 and np.int64(spaces) + 1 < words_per_edit


@compiled
def have_other_numbers(left: Any, right: Any) -> Any:
    """Whether two texts have as many numbers but not the same, by the keys of hash_numbers."""
    return left != right and (left & np.uint64(255)) == (right & np.uint64(255))


@compiled
def class_distance(left: Numbers, right: Numbers, most: int) -> Any:
    """The edit distance of two texts where characters of one class count as equal, or a number above `most`.

    There are 128 classes, so it is no more than the edit distance, and mostly is it. A column of the table is computed
    in the bits of words, 64 characters of `left` at once (Myers 1999; Hyyro 2003); `left` has one character at least.
    """
    one = np.uint64(1)
    words = (len(left) + 63) // 64
    places = np.zeros((128, words), np.uint64)
    for place in range(len(left)):
        places[left[place] & 127, place // 64] |= one << np.uint64(place % 64)
    last = one << np.uint64((len(left) - 1) % 64)
    # Where a column's distance is one more, or less, than that above.
    grows, falls = np.full(words, ~np.uint64(0)), np.zeros(words, np.uint64)
    distance = len(left)
    for place in range(len(right)):
        equals = places[right[place] & 127]
        more_in, less_in = one, np.uint64(0)  # what the word above hands on: of its last place, in the lowest bit
        more, less = more_in, less_in
        for word in range(words):
            up, down = grows[word], falls[word]
            equal = equals[word]
            upright = equal | down
            equal |= less_in
            level = (((equal & up) + up) ^ up) | equal
            more, less = down | ~(level | up), up & level
            shifted, lowered = (more << one) | more_in, (less << one) | less_in
            more_in, less_in = more >> np.uint64(63), less >> np.uint64(63)
            grows[word], falls[word] = lowered | ~(upright | shifted), shifted & upright
        distance += (more & last) != 0
        distance -= (less & last) != 0
        if distance > most + len(right) - 1 - place:
            return most + 1
    return distance


@compiled
def edit_distance(
    left: Numbers, left_count: int, right: Numbers, right_count: int, most: int, distances: Numbers
) -> Any:
    """Characters to insert, delete or replace to make one text the other (Levenshtein), or more than `most`.

    Only the band of the table is filled that such a distance can lie in (Ukkonen 1985). distances holds twice
    right_count + 1.
    """
    start = 0
    while left_count > start and right_count > start and left[start] == right[start]:
        start += 1
    while left_count > start and right_count > start and left[left_count - 1] == right[right_count - 1]:
        left_count -= 1
        right_count -= 1
    height, width = left_count - start, right_count - start
    if abs(height - width) > most:
        return most + 1
    if height >= LEAST_BY_CLASSES and width > 0:
        bound = class_distance(left[start:left_count], right[start:right_count], most)
        if bound > most:
            return most + 1
    above, row = distances[: width + 1], distances[width + 1 : 2 * width + 2]
    for column in range(width + 1):
        above[column] = column
    for line in range(1, height + 1):
        first, last = max(1, line - most), min(width, line + most)
        row[first - 1] = line if first == 1 else most + 1
        least = row[first - 1]
        for column in range(first, last + 1):
            replaced = above[column - 1] + (left[start + line - 1] != right[start + column - 1])
            removed = above[column] + 1 if column < line + most else most + 1
            row[column] = min(replaced, removed, row[column - 1] + 1)
            least = min(least, row[column])
        if least > most:
            return most + 1
        above, row = row, above
    return above[width]


@compiled
def has_other_word(
    left: Numbers, left_count: int, right: Numbers, right_count: int, least_word_similarity: float, space: Numbers
) -> Any:
    """Whether two texts differ in one word alone, which is another word, not the same one with a typing error in it.

    Texts of one word, and those without spaces, have no other words to tell that.
    """
    start = 0
    while start < min(left_count, right_count) and left[start] == right[start]:
        start += 1
    rest = 0
    while rest < min(left_count, right_count) - start and left[left_count - 1 - rest] == right[right_count - 1 - rest]:
        rest += 1
    while start > 0 and left[start - 1] != SPACE:
        start -= 1
    while rest > 0 and left[left_count - rest] != SPACE:
        rest -= 1
    one, other = left_count - rest - start, right_count - rest - start
    if min(one, other) <= 0 or (start == 0 and rest == 0):
        return False
    one_word, other_word = left[start : start + one], right[start : start + other]
    if count_words(one_word, one) + count_words(other_word, other) > 2:
        return False
    most = max(1, np.int64((1 - least_word_similarity) * max(one, other) + 1e-9))
    return edit_distance(one_word, one, other_word, other, most, space) > most


@compiled
def count_words(characters: Numbers, count: int) -> int:
    """Words of a folded text, which have one space between them."""
    spaces = 0
    for place in range(count):
        spaces += characters[place] == SPACE
    return spaces + 1


@compiled
def hash_words(characters: Numbers, count: int) -> int:
    """Writes a key of each word over the characters: how many words."""
    words = 0
    word = np.uint64(0)
    for place in range(count + 1):
        if place == count or characters[place] == SPACE:
            characters[words] = np.int64(mix(word))
            words += 1
            word = np.uint64(0)
        else:
            word = mix(word + np.uint64(characters[place]))
    return words


@compiled
def share_unedited(left: Numbers, left_count: int, right: Numbers, right_count: int, most: int, space: Numbers) -> Any:
    """1 - edits / the longer's length, or NOT_ALIKE where more than `most` edits are needed."""
    edits = edit_distance(left, left_count, right, right_count, most, space)
    return 1 - edits / max(left_count, right_count, 1) if edits <= most else NOT_ALIKE


@compiled
def compare_folded(
    comparison: Comparison, left: int, right: int, first: Numbers, second: Numbers, space: Numbers
) -> Any:
    """The share of two rows' folded texts, of characters or else of words, that needs no edit; or NOT_ALIKE.

    The last three hold one more than the longest text has bytes, `space` twice as many.
    """
    numbers = comparison.numbers
    if comparison.numbers_agree and have_other_numbers(numbers[left], numbers[right]):
        return NOT_ALIKE
    bounds, data = comparison.folded_bounds, comparison.folded_data
    first_count = decode_text(data, bounds[left], bounds[left + 1], first)
    second_count = decode_text(data, bounds[right], bounds[right + 1], second)
    most = np.int64((1 - comparison.least_edit_similarity) * max(first_count, second_count) + 1e-9)
    share = share_unedited(first, first_count, second, second_count, most, space)
    if share != NOT_ALIKE and not has_other_word(
        first, first_count, second, second_count, comparison.least_word_similarity, space
    ):
        return share
    if max(count_words(first, first_count), count_words(second, second_count)) < comparison.words_per_edit:
        return NOT_ALIKE
    first_count, second_count = hash_words(first, first_count), hash_words(second, second_count)
    most = max(first_count, second_count) // comparison.words_per_edit
    return share_unedited(first, first_count, second, second_count, most, space)


@compiled
def compare_shingles(
    comparison: Comparison, left: int, right: int, codes: Codes, words: Hashes, first: Hashes, second: Hashes
) -> float:
    """The Jaccard similarity of two rows' shingles, or NOT_ALIKE where it is too low. Arrays as in shingle_set."""
    bounds, data = comparison.text_bounds, comparison.text_data
    seen_as, folding, settings = comparison.view_number, comparison.folding, comparison.shingle_settings
    at, to = comparison.texts[left], comparison.texts[right]
    first_count = shingle_set(data, bounds[at], bounds[at + 1], seen_as, folding, settings, codes, words, first)
    second_count = shingle_set(data, bounds[to], bounds[to + 1], seen_as, folding, settings, codes, words, second)
    similarity = common_share(first, first_count, second, second_count)
    return similarity if similarity >= comparison.least_similarity else NOT_ALIKE


@compiled
def join_buckets(  # noqa: PLR0912, PLR0915 - all that a pair must pass in one place, the cheapest first
    starts: Numbers,
    members: Numbers,
    most_compared: int,
    comparison: Comparison,
    parents: Numbers,
    left: Numbers,
    right: Numbers,
    similarities: NDArray[np.float32],
    written: int,
) -> int:
    """Compares the members of each bucket, joins those that are alike, and writes the pairs that joined: how many now.

    In a bucket of most_compared at most, all are compared that are not joined yet. In a larger one each is compared with
    no more than that many before it, none of which are alike; what is compared there depends on the bucket alone.
    """
    longest = max(longest_text(comparison.folded_bounds), longest_text(comparison.text_bounds)) + 1
    characters, others = np.empty(longest, np.int64), np.empty(longest, np.int64)
    space = np.empty(2 * longest + 2, np.int64)
    codes, words = np.empty(longest, np.uint32), np.empty(longest, np.uint64)
    hashes, other_hashes = np.empty(longest, np.uint64), np.empty(longest, np.uint64)
    leaders = np.empty(most_compared, np.int64)
    # Taken out of the tuple, which costs more to pass on than most comparisons take.
    facts, least_equal_bits = comparison.facts, comparison.least_equal_bits
    signatures, least_agreements = comparison.signatures, comparison.least_agreements
    unlike = comparison.unlike
    allowed, words_per_edit = 1 - comparison.least_edit_similarity, comparison.words_per_edit
    short = comparison.view_number == SHORT
    by_estimate = not short and not comparison.exact
    for bucket in range(len(starts) - 1):
        large = starts[bucket + 1] - starts[bucket] > most_compared
        kept = 0
        for place in range(starts[bucket], starts[bucket + 1]):
            row = members[place]
            alike = False
            for at in range(kept):
                leader = leaders[at]
                if equal_bits(facts, leader, row) < least_equal_bits:
                    continue
                if short and cannot_be_alike(facts, allowed, words_per_edit, leader, row):
                    continue
                if not large and find_root(parents, leader) == find_root(parents, row):
                    continue
                agree = agreement(signatures[leader], signatures[row])
                if agree < least_agreements:
                    continue
                similarity = (agree / signatures.shape[1] - BY_CHANCE) / (1 - BY_CHANCE)
                if not by_estimate:
                    pair = mix(np.uint64(leader) * np.uint64(GOLDEN) + np.uint64(row + 1))
                    slot = pair & np.uint64(len(unlike) - 1)
                    if unlike[slot] == pair:
                        continue
                    if short and max(facts[leader, LENGTH], facts[row, LENGTH]) > MOST_EDITED:
                        similarity = similarity if similarity >= comparison.least_similarity else NOT_ALIKE
                    elif short:
                        similarity = compare_folded(comparison, leader, row, characters, others, space)
                    else:
                        similarity = compare_shingles(comparison, leader, row, codes, words, hashes, other_hashes)
                    if similarity == NOT_ALIKE:
                        unlike[slot] = pair
                        continue
                alike = True
                if join(parents, leader, row):
                    left[written], right[written], similarities[written] = leader, row, similarity
                    written += 1
                if large:
                    break
            if kept < most_compared and not (large and alike):
                leaders[kept] = row
                kept += 1
    return written
