"""The compiled loops of filters.word_order: words and their features, the trained table, its training.

Texts come as in filters.loops. Of each word three things are kept: its hash (case folded, letters and digits only), the
hash of its last two letters with its shape, and its edges (shape, what stands before and after it). In scripts without
spaces every letter is a word, and so is each sign beside one.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from filters.characters import BROKEN, CJK, DIGIT, IGNORED, MARK, SPACE, SYMBOL, UPPER
from filters.loops import compiled, decode, fold_character

FEATURES: Final = 6  # hashed ones of a place between two words
EMPTY: Final = 0  # no feature has this hash

# Shapes of words
_SIGNS, _LOWER, _CAPITALISED, _CAPITALS, _DIGITS, _UNSPACED = range(6)
# What stands before a word and after it
_NOTHING, _OPENING, _OTHER_BEFORE = range(3)
_ENDING, _COMMA, _CLOSING, _OTHER_AFTER = range(1, 5)
EDGES: Final = 6 * 3 * 5  # shape, before, after
PLACES: Final = EDGES * EDGES  # of two words beside each other

# Kinds of signs, in the table that filters.word_order makes
SIGN_OTHER, SIGN_ENDING, SIGN_COMMA, SIGN_OPENING, SIGN_CLOSING = range(5)

_SEED: Final = 0x9E3779B97F4A7C15
_MULTIPLIER: Final = 0xD6E8FEB86659FD93


@compiled
def mix(state: int, value: int) -> Any:
    """A new state of 64 bits (uint64) of a state and a value."""
    mixed = (np.uint64(state) ^ np.uint64(value)) * np.uint64(_MULTIPLIER)
    return mixed ^ (mixed >> np.uint64(32))


@compiled
def cut_words(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    class_of: NDArray[np.uint8],
    folded: NDArray[np.uint32],
    sign_of: NDArray[np.uint8],
    words: NDArray[np.uint64],
    endings: NDArray[np.uint64],
    edges: NDArray[np.uint8],
) -> int:
    """Writes words, endings and edges of the text in bytes [at, end), as many as they hold; how many."""
    count = 0
    most = len(words)
    touches_unspaced = False  # the character before was a letter of a script without spaces
    while at < end and count < most:
        character, size = decode(data, at, end)
        kind = class_of[character]
        if kind in (SPACE, IGNORED):
            touches_unspaced = touches_unspaced and kind == IGNORED
            at += size
            continue
        if kind >= CJK:
            words[count] = mix(_SEED, character)
            endings[count] = mix(_SEED + 1, kind)
            edges[count] = _UNSPACED * 15
            count += 1
            touches_unspaced = True
            at += size
            continue
        if kind == MARK and touches_unspaced:  # belongs to the letter before
            words[count - 1] = mix(words[count - 1], character)
            at += size
            continue
        if kind in (SYMBOL, BROKEN) and touches_unspaced:
            words[count] = mix(_SEED, character)
            endings[count] = mix(_SEED + 2, sign_of[character])
            edges[count] = _SIGNS * 15 + (_ENDING if sign_of[character] == SIGN_ENDING else _OTHER_AFTER)
            count += 1
            at += size
            continue
        at = _cut_spaced_word(data, at, end, class_of, folded, sign_of, words, endings, edges, count)
        count += 1
        touches_unspaced = False
    return count


@compiled
def _cut_spaced_word(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    class_of: NDArray[np.uint8],
    folded: NDArray[np.uint32],
    sign_of: NDArray[np.uint8],
    words: NDArray[np.uint64],
    endings: NDArray[np.uint64],
    edges: NDArray[np.uint8],
    place: int,
) -> int:
    """One word up to white space or a letter of a script without spaces; the byte after it."""
    word = signs = np.uint64(_SEED)
    last = before_last = np.int64(0)
    letters = capitals = digits = 0
    first_is_capital = False
    before, after = _NOTHING, _NOTHING
    while at < end:
        character, size = decode(data, at, end)
        kind = class_of[character]
        if kind == SPACE or kind >= CJK:
            break
        at += size
        if kind in (SYMBOL, BROKEN):
            sign = sign_of[character]
            if letters + digits == 0:
                before = _OPENING if sign == SIGN_OPENING else _OTHER_BEFORE
                signs = mix(signs, character)
            else:
                after = _after(sign, after)
        elif kind != IGNORED:
            if kind == DIGIT:
                digits += 1
                word = mix(word, 48)
            else:
                letter = fold_character(character, folded)
                if kind != MARK:
                    if letters + digits == 0:
                        first_is_capital = kind == UPPER
                    letters += 1
                    capitals += kind == UPPER
                word = mix(word, letter)
                before_last, last = last, np.int64(letter)
            after = _NOTHING
    if letters + digits == 0:
        words[place] = signs
        endings[place] = mix(_SEED + 2, signs)
        edges[place] = _SIGNS * 15
        return at
    shape = _shape(letters, capitals, digits, first_is_capital)
    words[place] = word
    endings[place] = mix(mix(mix(_SEED + 3, last), before_last), shape)
    edges[place] = shape * 15 + before * 5 + after
    return at


@compiled
def _after(sign: int, after: int) -> int:
    """What stands after a word, one more sign read."""
    if sign == SIGN_ENDING or (sign == SIGN_CLOSING and after == _ENDING):
        return _ENDING
    if sign == SIGN_CLOSING:
        return _CLOSING
    return _COMMA if sign == SIGN_COMMA else _OTHER_AFTER


@compiled
def _shape(letters: int, capitals: int, digits: int, first_is_capital: bool) -> int:
    if digits > letters:
        return _DIGITS
    if capitals == letters and letters > 1:
        return _CAPITALS
    return _CAPITALISED if first_is_capital else _LOWER


@compiled
def features_of_place(
    words: NDArray[np.uint64],
    endings: NDArray[np.uint64],
    edges: NDArray[np.uint8],
    place: int,
    count: int,
    features: NDArray[np.uint64],
) -> None:
    """Writes the hashes (uint64 [FEATURES]) of the place between words `place` and `place + 1` of `count`."""
    after = np.uint64(edges[place] % 5)
    word, next_word = words[place], words[place + 1]
    ending, next_ending = endings[place], endings[place + 1]
    features[0] = mix(mix(word + after, 1), next_word)
    features[1] = mix(mix(word + after, 2), next_ending)
    features[2] = mix(mix(ending + after, 3), next_word)
    features[3] = mix(mix(ending + after, 4), next_ending)
    features[4] = mix(mix(word, 5), words[place + 2]) if place + 2 < count else np.uint64(EMPTY)
    features[5] = mix(mix(mix(word, 6), next_word), words[place + 2]) if place + 2 < count else np.uint64(EMPTY)


@compiled
def mark_of(feature: int) -> Any:
    """The 16 bits (uint16) by which the table knows a feature, never 0."""
    return np.uint16(np.uint64(feature) >> np.uint64(48)) | np.uint16(1)


@compiled
def find(marks: NDArray[np.uint16], feature: int) -> Any:
    """The slot of a feature in a table of open addressing (`marks`: 16 bits of the hash, 0 for a free slot), or -1."""
    mask = np.uint64(len(marks) - 1)
    slot = np.int64(np.uint64(feature) & mask)
    mark = mark_of(feature)
    while marks[slot] != 0:
        if marks[slot] == mark:
            return slot
        slot = (slot + 1) & np.int64(mask)
    return -1


@compiled
def score_texts(
    bounds: NDArray[Any],
    data: NDArray[np.uint8],
    class_of: NDArray[np.uint8],
    folded: NDArray[np.uint32],
    sign_of: NDArray[np.uint8],
    marks: NDArray[np.uint16],
    weights: NDArray[np.int8],
    place_weights: NDArray[np.int8],
    scores: NDArray[np.float32],
    places: NDArray[np.int32],
    known: NDArray[np.int32],
    most: int,
) -> None:
    """Fills, by row, the sum of the weights, the places between words, and those with a known word or a capital.

    Looks at the first `most` words of a text.
    """
    words, endings, edges = np.empty(most, np.uint64), np.empty(most, np.uint64), np.empty(most, np.uint8)
    features = np.empty(FEATURES, np.uint64)
    for row in range(len(bounds) - 1):
        count = cut_words(data, bounds[row], bounds[row + 1], class_of, folded, sign_of, words, endings, edges)
        total = np.int64(0)
        known_places = 0
        for place in range(count - 1):
            features_of_place(words, endings, edges, place, count, features)
            total += place_weights[np.int64(edges[place]) * EDGES + edges[place + 1]]
            is_known = edges[place + 1] // 15 in (_CAPITALISED, _CAPITALS)
            for number in range(FEATURES):
                slot = find(marks, features[number])
                if slot >= 0:
                    total += weights[slot]
                    is_known = is_known or number != 3  # the endings alone are those of many languages
            known_places += is_known
        scores[row] = total
        places[row] = max(count - 1, 0)
        known[row] = known_places


@compiled
def features_of_texts(
    bounds: NDArray[Any],
    data: NDArray[np.uint8],
    class_of: NDArray[np.uint8],
    folded: NDArray[np.uint32],
    sign_of: NDArray[np.uint8],
    shuffled: bool,
    seed: int,
) -> Any:
    """Hashes (uint64 [places, FEATURES]) and edges (int32 [places]) of all places of the texts, in their order or in
    a shuffled one: single words, and in every other text of a script without spaces pieces of two letters."""
    np.random.seed(seed)
    most = 0
    longest = 0
    for row in range(len(bounds) - 1):
        longest = max(longest, bounds[row + 1] - bounds[row])
    words, endings = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.uint64)
    edges = np.empty(longest + 1, np.uint8)
    for row in range(len(bounds) - 1):
        most += max(
            cut_words(data, bounds[row], bounds[row + 1], class_of, folded, sign_of, words, endings, edges) - 1, 0
        )
    features = np.empty((most, FEATURES), np.uint64)
    edge_pairs = np.empty(most, np.int32)
    to = 0
    for row in range(len(bounds) - 1):
        count = cut_words(data, bounds[row], bounds[row + 1], class_of, folded, sign_of, words, endings, edges)
        if shuffled:
            unspaced = 0
            for place in range(count):
                unspaced += edges[place] == _UNSPACED * 15
            piece = 2 if 2 * unspaced > count and row % 2 else 1
            order = np.random.permutation((count + piece - 1) // piece)
            old_words, old_endings, old_edges = words[:count].copy(), endings[:count].copy(), edges[:count].copy()
            written = 0
            for chosen in order:
                for place in range(chosen * piece, min((chosen + 1) * piece, count)):
                    words[written], endings[written] = old_words[place], old_endings[place]
                    edges[written] = old_edges[place]
                    written += 1
        for place in range(count - 1):
            features_of_place(words, endings, edges, place, count, features[to])
            edge_pairs[to] = np.int64(edges[place]) * EDGES + edges[place + 1]
            to += 1
    return features, edge_pairs


@compiled
def fill_table(chosen: NDArray[np.uint64], marks: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Puts features into the table, the first first; the slot of each (int64), -1 where its mark is taken already."""
    mask = np.uint64(len(marks) - 1)
    slots = np.empty(len(chosen), np.int64)
    for number in range(len(chosen)):
        feature = np.uint64(chosen[number])
        if find(marks, feature) >= 0:
            slots[number] = -1
            continue
        slot = np.int64(feature & mask)
        while marks[slot] != 0:
            slot = (slot + 1) & np.int64(mask)
        marks[slot] = mark_of(feature)
        slots[number] = slot
    return slots


@compiled
def find_all(features: NDArray[np.uint64], marks: NDArray[np.uint16]) -> NDArray[np.int32]:
    """The slots (int32, of the shape of `features`) in the table, -1 for unknown ones."""
    slots = np.empty(features.shape, np.int32)
    for place in range(len(features)):
        for number in range(features.shape[1]):
            slots[place, number] = find(marks, features[place, number])
    return slots


@compiled
def train_epoch(
    slots: NDArray[np.int32],
    edge_pairs: NDArray[np.int32],
    labels: NDArray[np.int8],
    order: NDArray[np.int64],
    weights: NDArray[np.float32],
    squares: NDArray[np.float32],
    place_weights: NDArray[np.float32],
    place_squares: NDArray[np.float32],
    rate: float,
    decay: float,
) -> float:
    """One pass of logistic regression by AdaGrad (Duchi et al. 2011) over places; the mean loss."""
    loss = 0.0
    for number in range(len(order)):
        place = order[number]
        total = place_weights[edge_pairs[place]]
        for feature in range(slots.shape[1]):
            slot = slots[place, feature]
            if slot >= 0:
                total += weights[slot]
        expected = 1.0 / (1.0 + np.exp(-total))
        error = expected - labels[place]
        loss -= np.log(max(expected if labels[place] else 1.0 - expected, 1e-9))
        pair = edge_pairs[place]
        gradient = error + decay * place_weights[pair]
        place_squares[pair] += gradient * gradient
        place_weights[pair] -= rate * gradient / np.sqrt(place_squares[pair] + 1e-6)
        for feature in range(slots.shape[1]):
            slot = slots[place, feature]
            if slot >= 0:
                gradient = error + decay * weights[slot]
                squares[slot] += gradient * gradient
                weights[slot] -= rate * gradient / np.sqrt(squares[slot] + 1e-6)
    return loss / max(len(order), 1)
