"""The loops of a fastText classifier, compiled by numba: text to features, features to a vector, vector to a label.

Imported where needed, for the reasons filters.loops gives; compiling takes some seconds. What the arrays hold is said in filters.language_model. All
sums run in one order and without fused or reordered arithmetic: a text gets the same label on every machine.

Written after the published format and Bojanowski et al. 2017 ("Enriching word vectors with subword information"); the
tests hold it to fastText's own predictions. What differs is the order of the work: the n-grams of one length are hashed
for a whole text at once, which compilers make vector instructions of.
"""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from filters.loops import compiled

if TYPE_CHECKING:
    from filters.language_model import Rows, Tree, Vocabulary

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

FNV_BASIS: Final = 2166136261
FNV_PRIME: Final = 16777619
WORD_NGRAM_FACTOR: Final = 116049371
BEGIN_OF_WORD: Final = 60  # <
END_OF_WORD: Final = 62  # >
END_OF_LINE: Final = np.frombuffer(b"</s>", np.uint8)  # the token that ends every text
END_OF_LINE_HASH: Final = 3617362777
LABEL_PREFIX: Final = np.frombuffer(b"__label__", np.uint8)  # tokens that start so are no words
LONGEST_PROBE: Final = 10_000  # slots; a table that needs more was made to be slow

UNLIKELY: Final = 1e-5  # fastText adds it to a probability before it takes the logarithm
LARGEST_SIGMOID: Final = 8
SIGMOID_STEPS: Final = 512


@compiled
def find_entries(data: Bytes, at: int, bounds: NDArray[np.int64], records: NDArray[np.int64]) -> int:
    """The byte after the dictionary that starts at byte `at`, or -1 where the file ends within it.

    Fills bounds (int64 [entries, 2]), where in `data` each word lies, and records (int64 [entries, 2]): count and type.
    """
    for entry in range(len(bounds)):
        start = at
        while at < len(data) and data[at] != 0:
            at += 1
        if at + 10 > len(data):
            return -1
        bounds[entry, 0] = start
        bounds[entry, 1] = at
        count = np.uint64(0)
        for byte in range(8):
            count |= np.uint64(data[at + 1 + byte]) << np.uint64(8 * byte)
        records[entry, 0] = np.int64(count)
        records[entry, 1] = data[at + 9]
        at += 10
    return at


@compiled
def hash_byte(value: Any, byte: Any) -> Any:
    """One step of FNV-1a as fastText has it, the byte taken as signed: uint32."""
    return np.uint32(np.uint32(value ^ np.uint32(np.int8(byte))) * np.uint32(FNV_PRIME))


@compiled
def hash_bytes(data: Bytes, at: int, end: int) -> Any:
    """FNV-1a of the bytes at..end: uint32."""
    value = np.uint32(FNV_BASIS)
    for byte in range(at, end):
        value = hash_byte(value, data[byte])
    return value


@compiled
def fill_word_slots(
    bounds: NDArray[np.int64], data: Bytes, hashes: NDArray[np.uint32], slots: NDArray[np.int32]
) -> bool:
    """Fills hashes and the hash table of the words; whether it could. Of equal words the last counts, as in fastText."""
    for entry in range(len(bounds)):
        at, end = bounds[entry, 0], bounds[entry, 1]
        value = hash_bytes(data, at, end)
        hashes[entry] = value
        slot = np.int64(value) & (len(slots) - 1)
        probes = 0
        while slots[slot] >= 0:
            other = slots[slot]
            if hashes[other] == value and is_word(data, at, end, other, bounds, data):
                break
            slot = (slot + 1) & (len(slots) - 1)
            probes += 1
            if probes > LONGEST_PROBE:
                return False
        slots[slot] = entry
    return True


@compiled
def find_word(
    data: Bytes,
    at: int,
    end: int,
    value: Any,
    slots: NDArray[np.int32],
    hashes: NDArray[np.uint32],
    bounds: NDArray[np.int64],
    word_bytes: Bytes,
) -> int:
    """The entry of the word at..end, whose hash is `value`, or -1."""
    slot = np.int64(value) & (len(slots) - 1)
    while slots[slot] >= 0:
        entry = slots[slot]
        if hashes[entry] == value and is_word(data, at, end, entry, bounds, word_bytes):
            return np.int64(entry)  # type: ignore[return-value]
        slot = (slot + 1) & (len(slots) - 1)
    return -1


@compiled
def is_word(data: Bytes, at: int, end: int, entry: int, bounds: NDArray[np.int64], word_bytes: Bytes) -> bool:
    """Whether the bytes at..end are the word of an entry."""
    start = bounds[entry, 0]
    byte = np.int64(0)
    while byte < end - at and byte < bounds[entry, 1] - start and data[at + byte] == word_bytes[start + byte]:
        byte += 1
    return byte == end - at == bounds[entry, 1] - start  # type: ignore[no-any-return]


@compiled
def starts_with(data: Bytes, at: int, end: int, start: Bytes) -> bool:
    """Whether the bytes at..end start with those of `start`."""
    byte = 0
    while byte < len(start) and at + byte < end and data[at + byte] == start[byte]:
        byte += 1
    return byte == len(start)


@compiled
def is_separator(byte: Any) -> bool:
    """Whether a byte stands between tokens: ASCII's white space, newline among it, and NUL."""
    return byte <= 32 and (byte == 32 or 9 <= byte <= 13 or byte == 0)  # type: ignore[no-any-return]


class Workspace(NamedTuple):
    """What is known of one text, in arrays that all texts of a call use in turn."""

    characters: NDArray[np.uint32]  # of `<word>` after `<word>`: up to four bytes of UTF-8, the first one uppermost
    word_of: Bytes  # of each character, the number of its word modulo 256: more than an n-gram can span
    word_hashes: NDArray[np.uint32]
    hashes: NDArray[np.uint32]  # of the n-gram that starts at each character
    buckets: NDArray[np.uint32]
    wanted: NDArray[np.bool_]  # whether it is one of the features
    features: NDArray[np.int32]  # rows of the input matrix


@compiled
def make_workspace(longest: int) -> Workspace:
    """Room for texts of up to `longest` bytes: about 30 bytes for each."""
    # Each token gets < and >, and has a byte and a separator; one more is begun.
    room = longest + longest // 2 + 3
    return Workspace(
        np.empty(room, np.uint32),
        np.empty(room, np.uint8),
        np.empty(room, np.uint32),
        np.empty(room, np.uint32),
        np.empty(room, np.uint32),
        np.empty(room, np.bool_),
        np.empty(room, np.int32),
    )


@compiled
def embed_texts(
    bounds: NDArray[np.int64],
    data: Bytes,
    vocabulary: "Vocabulary",
    rows: "Rows",
    vectors: Floats,
    found: NDArray[np.int64],
) -> None:
    """Fills vectors (float32 [texts, dim], zeroed), the mean row of each text's features, and found (int64 [texts]).

    `found` is the number of features: where it is 0, the model knows nothing in the text.
    """
    longest = np.int64(0)
    for text in range(len(bounds) - 1):
        longest = max(longest, bounds[text + 1] - bounds[text])
    workspace = make_workspace(longest)
    for text in range(len(bounds) - 1):
        total = vectors[text]
        count, words, filled, largest = cut_words(data, bounds[text], bounds[text + 1], vocabulary, workspace)
        add_rows(workspace.features, count, rows, total)
        count += add_character_ngrams(filled, largest, vocabulary, workspace, rows, total)
        if vocabulary.word_ngrams > 1:
            count += add_word_ngrams(words, vocabulary, workspace, rows, total)
        found[text] = count
        if count > 0:
            share = np.float32(1.0 / count)
            for column in range(len(total)):
                total[column] *= share


@compiled
def cut_words(data: Bytes, at: int, end: int, vocabulary: "Vocabulary", workspace: Workspace) -> Any:
    """Cuts the text at..end into words, with fastText's end of line as the last: fills features with those it knows.

    Gives the number of features, of words, of characters, and the largest character.
    """
    characters, word_of, word_hashes = workspace.characters, workspace.word_of, workspace.word_hashes
    slots, hashes = vocabulary.word_slots, vocabulary.word_hashes
    word_bounds, word_bytes = vocabulary.word_bounds, vocabulary.word_bytes
    features = workspace.features
    count = words = filled = 0
    largest = np.uint32(0)
    ended = False
    while not ended:
        while at < end and is_separator(data[at]):
            at += 1
        start, first = at, filled
        value = np.uint32(FNV_BASIS)
        characters[filled] = BEGIN_OF_WORD
        word_of[filled] = words & 0xFF
        while at < end and not is_separator(data[at]):
            value = hash_byte(value, data[at])
            if data[at] & 0xC0 != 0x80:
                filled += 1
                characters[filled] = data[at]
                word_of[filled] = words & 0xFF
            else:
                characters[filled] = characters[filled] << np.uint32(8) | data[at]
                largest = max(largest, characters[filled])
            at += 1
        ended = at == start or (at - start == len(END_OF_LINE) and starts_with(data, start, at, END_OF_LINE))
        entry = vocabulary.line_end
        if not ended:
            entry = find_word(data, start, at, value, slots, hashes, word_bounds, word_bytes)
        if entry >= vocabulary.words or (entry < 0 and starts_with(data, start, at, LABEL_PREFIX)):
            filled = first  # a label is no part of the text
            continue
        if entry >= 0:
            features[count] = entry
            count += 1
        word_hashes[words] = END_OF_LINE_HASH if ended else value
        words += 1
        if ended:
            filled = first
        else:
            filled += 2
            characters[filled - 1] = END_OF_WORD
            word_of[filled - 1] = word_of[first]
    return count, words, filled, largest


@compiled
def add_character_ngrams(
    filled: int, largest: Any, vocabulary: "Vocabulary", workspace: Workspace, rows: "Rows", total: Floats
) -> int:
    """Adds the rows of the n-grams of characters[:filled], one length after the other, to `total`; their number."""
    characters, word_of, wanted = workspace.characters, workspace.word_of, workspace.wanted
    hashes, buckets, features = workspace.hashes, workspace.buckets, workspace.features
    hashes[:filled] = FNV_BASIS
    found = 0
    for length in range(1, min(vocabulary.longest_ngram, filled) + 1):
        starts = filled - length + 1
        lengthen(hashes, characters[length - 1 :], starts, largest)
        if length < vocabulary.shortest_ngram:
            continue
        for start in range(starts):
            wanted[start] = word_of[start] == word_of[start + length - 1]
        if length == 1:
            leave_out_ends(word_of, filled, wanted)
        take_modulo(hashes, starts, vocabulary.buckets, buckets)
        count = choose_rows(buckets, wanted, starts, vocabulary, features)
        add_rows(features, count, rows, total)
        found += count
    return found


@compiled
def add_word_ngrams(words: int, vocabulary: "Vocabulary", workspace: Workspace, rows: "Rows", total: Floats) -> int:
    """Adds the rows of the n-grams of two words and more of word_hashes[:words] to `total`; their number."""
    hashes, buckets, features = workspace.word_hashes, workspace.buckets, workspace.features
    workspace.wanted[: vocabulary.word_ngrams] = True
    found = 0
    for first in range(words):
        value = np.uint64(np.int32(hashes[first]))
        count = 0
        for following in range(first + 1, min(words, first + vocabulary.word_ngrams)):
            value = value * np.uint64(WORD_NGRAM_FACTOR) + np.uint64(np.int32(hashes[following]))
            buckets[count] = value % np.uint64(vocabulary.buckets)
            count += 1
        count = choose_rows(buckets, workspace.wanted, count, vocabulary, features)
        add_rows(features, count, rows, total)
        found += count
    return found


@compiled
def lengthen(hashes: NDArray[np.uint32], characters: NDArray[np.uint32], starts: int, largest: Any) -> None:
    """Takes a character more into each hash. Characters are their bytes, the first one uppermost; `largest` of the text."""
    if largest >= 0x1000000:
        lengthen_by(hashes, characters, starts, 24)
    if largest >= 0x10000:
        lengthen_by(hashes, characters, starts, 16)
    if largest >= 0x100:
        lengthen_by(hashes, characters, starts, 8)
    for start in range(starts):
        hashes[start] = hash_byte(hashes[start], characters[start])


@compiled
def lengthen_by(hashes: NDArray[np.uint32], characters: NDArray[np.uint32], starts: int, shift: int) -> None:
    """Takes one of a character's upper bytes into each hash, where it has that byte."""
    for start in range(starts):
        byte = characters[start] >> np.uint32(shift)
        longer = hash_byte(hashes[start], byte)
        hashes[start] = longer if byte else hashes[start]


@compiled
def leave_out_ends(word_of: Bytes, filled: int, wanted: NDArray[np.bool_]) -> None:
    """The < and > of a word are no n-grams by themselves."""
    for start in range(filled):
        if start == 0 or start == filled - 1 or not word_of[start - 1] == word_of[start] == word_of[start + 1]:
            wanted[start] = False


@compiled
def take_modulo(hashes: NDArray[np.uint32], count: int, divisor: int, results: NDArray[np.uint32]) -> None:
    """Fills results with hashes % divisor. A division each would take longer than all else here."""
    reciprocal = np.uint64(2**32) // np.uint64(divisor)
    for place in range(count):
        quotient = np.uint32(np.uint64(hashes[place]) * reciprocal >> np.uint64(32))  # or one too small
        rest = np.uint32(hashes[place] - quotient * np.uint32(divisor))
        results[place] = min(rest, np.uint32(rest - np.uint32(divisor)))  # below 0 is far above


@compiled
def choose_rows(
    buckets: NDArray[np.uint32],
    wanted: NDArray[np.bool_],
    count: int,
    vocabulary: "Vocabulary",
    features: NDArray[np.int32],
) -> int:
    """Fills features with the rows of those n-grams that are wanted and not pruned; their number."""
    kept_bits, kept_before = vocabulary.kept_bits, vocabulary.kept_before
    chosen = 0
    if not vocabulary.pruned:
        for place in range(count):
            features[chosen] = vocabulary.words + buckets[place]
            chosen += 1 if wanted[place] else 0
        return chosen
    # Without branches: most n-grams are pruned, and none can tell which.
    for place in range(count):
        bucket = buckets[place]
        features[chosen] = bucket
        bits = kept_bits[bucket >> np.uint32(5)] >> (bucket & np.uint32(31))
        chosen += 1 if bits & np.uint32(wanted[place]) else 0
    for place in range(chosen):
        bucket = np.uint32(features[place])
        block = bucket >> np.uint32(5)
        below = kept_bits[block] & np.uint32((np.uint32(1) << (bucket & np.uint32(31))) - np.uint32(1))
        features[place] = vocabulary.words + kept_before[block] + count_bits(below)
    return chosen


@compiled
def count_bits(number: Any) -> int:
    """How many bits of a uint32 are 1. Compilers know this form and make one instruction of it."""
    bits = np.uint64(number)
    bits = bits - ((bits >> np.uint64(1)) & np.uint64(0x55555555))
    bits = (bits & np.uint64(0x33333333)) + ((bits >> np.uint64(2)) & np.uint64(0x33333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F)
    return np.int64((bits * np.uint64(0x01010101) >> np.uint64(24)) & np.uint64(0xFF))  # type: ignore[return-value]


@compiled
def add_rows(features: NDArray[np.int32], count: int, rows: "Rows", total: Floats) -> None:
    """Adds the rows features[:count] to `total` (float32 [dim])."""
    if len(rows.dense) == 0:
        add_quantised_rows(features, count, rows, total)
        return
    dense = rows.dense
    whole = len(total) // 16 * 16
    fours = count // 4 * 4
    for place in range(0, fours, 4):  # four at once: a sum does not wait for the one before
        first, second = np.uint64(features[place]), np.uint64(features[place + 1])
        third, fourth = np.uint64(features[place + 2]), np.uint64(features[place + 3])
        for block in range(0, whole, 16):  # a constant number of columns becomes vector instructions
            for column in range(block, block + 16):
                total[column] += (dense[first, column] + dense[second, column]) + (
                    dense[third, column] + dense[fourth, column]
                )
        for column in range(whole, len(total)):
            total[column] += (dense[first, column] + dense[second, column]) + (
                dense[third, column] + dense[fourth, column]
            )
    for place in range(fours, count):
        for column in range(len(total)):
            total[column] += dense[features[place], column]


@compiled
def add_quantised_rows(features: NDArray[np.int32], count: int, rows: "Rows", total: Floats) -> None:
    """As `add_rows`, from codes: each code names one of 256 centroids of its `part` columns."""
    dim, part = len(total), rows.part
    for feature in features[:count]:
        norm = rows.norms[feature]
        for code in range(rows.codes.shape[1]):
            first = code * part
            size = min(part, dim - first)
            centroid = first * 256 + np.int64(rows.codes[feature, code]) * size
            for column in range(size):
                total[first + column] += norm * rows.centroids[centroid + column]


@compiled
def best_of_tree(
    vectors: Floats, found: NDArray[np.int64], tree: "Tree", labels: NDArray[np.int32], probabilities: Floats
) -> None:
    """The most probable leaf of a hierarchical softmax for each vector, and its probability.

    Fills labels (int32 [texts], given as -1) and probabilities (given as 0) where anything is found that is more likely
    than UNLIKELY.
    """
    leaves = len(tree.weights)
    floor = np.float32(np.log(UNLIKELY))
    nodes = np.empty(leaves + 1, np.int64)
    scores = np.empty(leaves + 1, np.float32)
    for text in range(len(vectors)):
        best, label = np.float32(-np.inf), -1
        nodes[0] = 2 * leaves - 2
        scores[0] = 0
        waiting = 1 if found[text] > 0 else 0
        while waiting:
            waiting -= 1
            node, score = nodes[waiting], scores[waiting]
            if not (score >= floor and score > best):
                continue
            if node < leaves:
                best, label = score, node
                continue
            weight = np.float32(0)
            for column in range(vectors.shape[1]):
                weight += tree.weights[node - leaves, column] * vectors[text, column]
            right = np.float32(1.0 / np.float64(np.float32(1) + np.exp(-weight)))
            left_score = score + np.float32(np.log(np.float64(np.float32(1.0 - right)) + UNLIKELY))
            right_score = score + np.float32(np.log(np.float64(right) + UNLIKELY))
            # The likelier side is looked at first: it then rules most of the other out.
            likelier = 1 if right_score > left_score else 0
            nodes[waiting + 1 - likelier] = tree.left[node - leaves]
            scores[waiting + 1 - likelier] = left_score
            nodes[waiting + likelier] = tree.right[node - leaves]
            scores[waiting + likelier] = right_score
            waiting += 2
        if label >= 0:
            labels[text] = label
            probabilities[text] = np.exp(best)


@compiled
def best_of_scores(
    vectors: Floats,
    found: NDArray[np.int64],
    weights: Floats,
    softmax: bool,
    labels: NDArray[np.int32],
    probabilities: Floats,
) -> None:
    """The label of the largest score for each vector: of a softmax, else of one sigmoid for each label.

    `weights` is float32 [dim, labels]. Fills labels (int32 [texts], given as -1) and probabilities (given as 0) where
    anything is found.
    """
    scores = np.empty(weights.shape[1], np.float32)
    for text in range(len(vectors)):
        if found[text] == 0:
            continue
        score_labels(vectors[text], weights, scores)
        best = 0
        for label in range(len(scores)):
            if scores[label] > scores[best]:
                best = label
        if softmax:
            total = np.float32(0)
            for label in range(len(scores)):
                total += np.exp(scores[label] - scores[best])
            probability = 1.0 / np.float64(total)
        else:
            probability = tabled_sigmoid(scores[best])
        if not np.isnan(probability):
            labels[text] = best
            probabilities[text] = np.float32(probability + UNLIKELY)


@compiled
def score_labels(vector: Floats, weights: Floats, scores: Floats) -> None:
    """Fills scores (float32 [labels]) with vector @ weights."""
    scores[:] = 0
    fours = len(vector) // 4 * 4
    for column in range(0, fours, 4):  # four at once: fewer passes over the scores
        first, second, third, fourth = vector[column], vector[column + 1], vector[column + 2], vector[column + 3]
        for label in range(len(scores)):
            scores[label] += (weights[column, label] * first + weights[column + 1, label] * second) + (
                weights[column + 2, label] * third + weights[column + 3, label] * fourth
            )
    for column in range(fours, len(vector)):
        for label in range(len(scores)):
            scores[label] += weights[column, label] * vector[column]


@compiled
def tabled_sigmoid(score: Any) -> float:
    """The sigmoid as fastText looks it up: in steps of 1/32, 0 and 1 beyond 8."""
    if np.isnan(score):
        return np.nan
    if score < -LARGEST_SIGMOID:
        return 0.0
    if score > LARGEST_SIGMOID:
        return 1.0
    step = np.int64((score + LARGEST_SIGMOID) * SIGMOID_STEPS / LARGEST_SIGMOID / 2)
    rounded = step * 2.0 * LARGEST_SIGMOID / SIGMOID_STEPS - LARGEST_SIGMOID
    return 1.0 / (1.0 + np.exp(-rounded))  # type: ignore[no-any-return]
