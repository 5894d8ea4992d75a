"""The loops that compare the two sides of pairs, compiled by numba; imported where needed (see filters.loops)."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from filters.loops import compiled, decode, starts_url
from filters.phrase_loops import next_token
from filters.shingle_loops import mix
from filters.shingles import CJK, CODE_POINT, MARK, SYMBOL, UNSPACED

Bytes = NDArray[np.uint8]
Codes = NDArray[np.uint32]
Hashes = NDArray[np.uint64]

# The rows of measure_pairs' result, in the order of filters.pair_quality.PAIR_MEASURES.
(
    QUERY_OVERLAP,
    POSITIVE_OVERLAP,
    QUERY_CONTAINED,
    POSITIVE_CONTAINED,
    CONTAINED_SHARE,
    LINK_ONLY,
    WORD_RATIO,
    CHARACTER_RATIO,
    NUMERALS_AGREE,
    TERMINAL_PUNCTUATION,
    EDIT_SIMILARITY,
    COMMON_SUBSTRING,
    REPETITION,
) = range(13)
MEASURES: Final = 13

# For an English word NTREX-128 has 1.73 characters in simplified Chinese, 1.65 in traditional, 2.48 in Japanese.
CHARACTERS_PER_WORD: Final = 1.7

SHORTEST_REPEATED: Final = 3  # characters; OpusFilter's defaults
LONGEST_REPEATED: Final = 101
FEWEST_REPETITIONS: Final = 2
MOST_REPEATED_TEXT: Final = 1 << 14  # characters that are searched for repetitions

# What a unit of a side is.
COUNTED: Final = 1  # one of the units whose share is measured
HELD: Final = 2  # what the other side's units are looked for in
POSITIVE: Final = 2  # bits by which the positive's flags are moved


@compiled
def measure_pairs(
    query_bounds: NDArray[Any],
    query_data: Bytes,
    positive_bounds: NDArray[Any],
    positive_data: Bytes,
    alike: NDArray[np.bool_],
    most_bytes: int,
    most_characters: int,
    most_numerals: int,
    folding: Codes,
    sentence_ends: NDArray[np.bool_],
    numbers: NDArray[np.float32],
) -> None:
    """Fills numbers (float32 [MEASURES, rows]); `alike` says for which rows the two sides are compared as a text."""
    longest = 0
    for row in range(len(query_bounds) - 1):
        length = max(query_bounds[row + 1] - query_bounds[row], positive_bounds[row + 1] - positive_bounds[row])
        longest = max(longest, min(length, most_bytes))
    words = word_room(longest + 1)
    codes = np.empty((2, longest + 1), np.uint32)
    links = np.empty(longest + 1, np.int32)
    last_of_hash = np.empty(1 << 12, np.int32)
    numerals = np.empty((2, most_numerals), np.uint8)
    marks = mark_room(most_characters)
    for row in range(len(query_bounds) - 1):
        at, end = query_bounds[row], min(query_bounds[row + 1], query_bounds[row] + most_bytes)
        other_at, other_end = positive_bounds[row], min(positive_bounds[row + 1], positive_bounds[row] + most_bytes)
        result = numbers[:, row]
        compare_words(query_data[at:end], positive_data[other_at:other_end], folding, words, result)
        result[LINK_ONLY] = is_link_only(positive_data, other_at, other_end, folding)

        count, parts, ends = read_text(query_data, at, end, folding, sentence_ends, codes[0])
        other_count, other_parts, other_ends = read_text(
            positive_data, other_at, other_end, folding, sentence_ends, codes[1]
        )
        text, other = codes[0, :count], codes[1, :other_count]
        result[WORD_RATIO] = ratio(parts, other_parts)
        result[CHARACTER_RATIO] = ratio(count, other_count)
        penalty = abs(ends - other_ends) + max(ends - 1, 0) + max(other_ends - 1, 0)
        result[TERMINAL_PUNCTUATION] = 0.0 - np.log(penalty + 1.0)
        repetitions = count_repetitions(text[:MOST_REPEATED_TEXT], last_of_hash, links)
        result[REPETITION] = max(repetitions, count_repetitions(other[:MOST_REPEATED_TEXT], last_of_hash, links))

        result[NUMERALS_AGREE] = 1
        if alike[row]:
            found, other_found = read_numerals(text, folding, numerals[0]), read_numerals(other, folding, numerals[1])
            result[NUMERALS_AGREE] = match_numerals(numerals[0, :found], numerals[1, :other_found])
            compare_characters(text[:most_characters], other[:most_characters], marks, result)


@compiled
def word_room(longest: int) -> Any:
    """What compare_words writes to, for texts of so many bytes: each side's token hashes, their characters, whether they
    are letters of scripts without spaces; the jumps of a search; keys and flags of a hash table."""
    room = 16
    while room < 8 * longest:
        room *= 2
    return (
        np.empty((2, longest), np.uint64),
        np.empty((2, longest), np.int32),
        np.empty((2, longest), np.bool_),
        np.empty(longest, np.int32),
        np.empty(room, np.uint64),
        np.empty(room, np.uint8),
    )


@compiled
def compare_words(data: Bytes, other_data: Bytes, folding: Codes, room: Any, result: NDArray[np.float32]) -> None:
    """Overlap and containment of two texts."""
    tokens, sizes, alone, jumps, keys, flags = room
    count = read_tokens(data, 0, len(data), folding, tokens[0], sizes[0], alone[0])
    other_count = read_tokens(other_data, 0, len(other_data), folding, tokens[1], sizes[1], alone[1])
    size = 16
    while size < 4 * (count + other_count):
        size *= 2
    text, other = tokens[0, :count], tokens[1, :other_count]
    overlaps = measure_overlap(text, alone[0], other, alone[1], keys[:size], flags[:size])
    result[QUERY_OVERLAP], result[POSITIVE_OVERLAP] = overlaps
    inside, outside = occurs(text, other, jumps), occurs(other, text, jumps)
    result[QUERY_CONTAINED], result[POSITIVE_CONTAINED] = inside, outside
    result[CONTAINED_SHARE] = 0
    if inside or outside:
        length, other_length = sizes[0, :count].sum(), sizes[1, :other_count].sum()
        result[CONTAINED_SHARE] = min(length, other_length) / max(length, other_length)


@compiled
def mark_room(longest: int) -> Any:
    """What compare_characters writes to, for texts of so many characters: see mark_characters and edit_distance."""
    blocks = (longest + 63) // 64
    return (
        np.empty(4 * longest + 64, np.int32),
        np.empty(longest * blocks, np.uint64),
        np.empty(longest, np.int32),
        np.empty((2, blocks), np.uint64),
    )


@compiled
def compare_characters(text: Codes, other: Codes, room: Any, result: NDArray[np.float32]) -> None:
    """Edit similarity and the longest common substring; 0 where a text is empty."""
    table, masks, numbers, places = room
    if len(text) > len(other):
        text, other = other, text
    if len(text) == 0:
        return
    blocks = mark_characters(text, other, table, masks, numbers)
    numbers = numbers[: len(other)]
    distance = edit_distance(len(text), blocks, masks, numbers, places[0], places[1])
    result[EDIT_SIMILARITY] = 1 - distance / len(other)
    result[COMMON_SUBSTRING] = longest_common(blocks, masks, numbers, places[0]) / len(text)


@compiled
def ratio(length: float, other_length: float) -> float:
    """The greater over the smaller; 0 for two of nothing."""
    greater, smaller = max(length, other_length), min(length, other_length)
    if smaller == 0:
        return np.inf if greater > 0 else 0.0
    return greater / smaller


@compiled
def read_tokens(
    data: Bytes, at: int, end: int, folding: Codes, tokens: Hashes, sizes: NDArray[np.int32], alone: NDArray[np.bool_]
) -> int:
    """Writes the hashes of the folded tokens, their characters, and whether each is a letter of a script without spaces."""
    count = 0
    while True:
        token, size, after = next_token(data, at, end, folding)
        if size == 0:
            return count
        tokens[count] = mix(token)
        sizes[count] = size
        alone[count] = False
        if size == 1 and data[after - 1] >= 0x80:
            start = after - 1
            while start > at and data[start] & 0xC0 == 0x80:
                start -= 1
            character, _ = decode(data, start, after)
            alone[count] = folding[character] & (CJK | UNSPACED) != 0
        count += 1
        at = after


@compiled
def measure_overlap(
    tokens: Hashes,
    alone: NDArray[np.bool_],
    other_tokens: Hashes,
    other_alone: NDArray[np.bool_],
    keys: Hashes,
    flags: Bytes,
) -> tuple[float, float]:
    """The share of each side's distinct units that the other holds; keys and flags are room for a hash table."""
    flags[:] = 0
    add_units(tokens, alone, keys, flags, 0)
    add_units(other_tokens, other_alone, keys, flags, POSITIVE)
    counted = shared = other_counted = other_shared = 0
    for flag in flags:
        if flag:
            counted += flag & COUNTED != 0
            shared += flag & COUNTED != 0 and flag & (HELD << POSITIVE) != 0
            other_counted += flag & (COUNTED << POSITIVE) != 0
            other_shared += flag & (COUNTED << POSITIVE) != 0 and flag & HELD != 0
    return shared / max(counted, 1), other_shared / max(other_counted, 1)


@compiled
def add_units(tokens: Hashes, alone: NDArray[np.bool_], keys: Hashes, flags: Bytes, moved: int) -> None:
    """Enters a side's units: words, and of letters that stand alone each and each two neighbours."""
    for place in range(len(tokens)):
        if not alone[place]:
            enter(tokens[place], (COUNTED | HELD) << moved, keys, flags)
            continue
        before = place > 0 and alone[place - 1]
        behind = place + 1 < len(tokens) and alone[place + 1]
        enter(tokens[place], (HELD if before or behind else COUNTED | HELD) << moved, keys, flags)
        if behind:
            both = mix(tokens[place] ^ (tokens[place + 1] << np.uint64(1)))
            enter(both, (COUNTED | HELD) << moved, keys, flags)


@compiled
def enter(key: Any, flag: int, keys: Hashes, flags: Bytes) -> None:
    """Sets flags of a key in the table."""
    mask = np.uint64(len(keys) - 1)
    place = key & mask
    while flags[place] != 0 and keys[place] != key:
        place = (place + np.uint64(1)) & mask
    keys[place] = key
    flags[place] |= flag


@compiled
def occurs(part: Hashes, whole: Hashes, jumps: NDArray[np.int32]) -> bool:
    """Whether the tokens of one text occur in a row in the other (Knuth, Morris and Pratt 1977); nothing occurs nowhere."""
    if len(part) == 0 or len(part) > len(whole):
        return False
    first = part[0]
    started = False
    for token in whole:  # most texts hold not even the first token
        if token == first:
            started = True
            break
    if not started:
        return False
    jumps[0] = 0
    length = 0
    for place in range(1, len(part)):
        while length > 0 and part[place] != part[length]:
            length = jumps[length - 1]
        if part[place] == part[length]:
            length += 1
        jumps[place] = length
    length = 0
    for token in whole:
        while length > 0 and token != part[length]:
            length = jumps[length - 1]
        if token == part[length]:
            length += 1
        if length == len(part):
            return True
    return False


@compiled
def read_text(
    data: Bytes, at: int, end: int, folding: Codes, sentence_ends: NDArray[np.bool_], codes: Codes
) -> tuple[int, float, int]:
    """Writes the characters; how many there are, the words, and the marks that end sentences."""
    count = ends = words = unspaced = 0
    in_word = False
    while at < end:
        character, size = decode(data, at, end)
        at += size
        codes[count] = character
        count += 1
        ends += sentence_ends[character]
        if is_space(character):
            in_word = False
        elif folding[character] & (CJK | UNSPACED):
            unspaced += 1
            in_word = True  # what stands beside it, punctuation mostly, makes no word more
        elif not in_word:
            words += 1
            in_word = True
    return count, words + np.ceil(unspaced / CHARACTERS_PER_WORD), ends


@compiled
def is_space(character: int) -> bool:
    """White space, as Python splits at."""
    if character <= 0x20:
        return character == 0x20 or 9 <= character <= 13 or character >= 0x1C
    if character < 0x1680:
        return character in (0x85, 0xA0)
    return character in (0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000) or 0x2000 <= character <= 0x200A


@compiled
def is_link_only(data: Bytes, at: int, end: int, folding: Codes) -> bool:
    """Whether a text holds a web address and no letter besides addresses."""
    link = False
    while at < end:
        if starts_url(data, at, end):
            link = True
            while at < end and 32 < data[at] < 0x80:
                at += 1
            continue
        character, size = decode(data, at, end)
        if is_letter(character, folding):
            return False
        at += size
    return link


@compiled
def is_letter(character: int, folding: Codes) -> bool:
    """A letter, as far as the folding table tells: no space, mark, symbol or digit."""
    code = folding[character]  # letters are in lower case: before "a" are digits and signs
    return bool(code & (SYMBOL | MARK) == 0 and code & CODE_POINT >= 97)


@compiled
def read_numerals(codes: Codes, folding: Codes, numerals: Bytes) -> int:
    """Writes the digits 1 to 9 of a text, of any script, as many as there is room for."""
    count = 0
    for code in codes:
        digit = folding[code]
        if 49 <= digit <= 57:
            if count == len(numerals):
                break
            numerals[count] = digit
            count += 1
    return count


@compiled
def match_numerals(numerals: Bytes, others: Bytes) -> float:
    """difflib's ratio: matched are the longest common block, then those left and right of it (Ratcliff and Metzener 1988)."""
    total = len(numerals) + len(others)
    if total == 0:
        return 1.0
    matched = 0
    pending = [(0, len(numerals), 0, len(others))]
    while len(pending) > 0:
        low, high, other_low, other_high = pending.pop()
        start, other_start, size = longest_block(numerals, low, high, others, other_low, other_high)
        if size == 0:
            continue
        matched += size
        if low < start and other_low < other_start:
            pending.append((low, start, other_low, other_start))
        if start + size < high and other_start + size < other_high:
            pending.append((start + size, high, other_start + size, other_high))
    return 2 * matched / total


@compiled
def longest_block(
    numerals: Bytes, low: int, high: int, others: Bytes, other_low: int, other_high: int
) -> tuple[int, int, int]:
    """The longest common block, of several the first in the one, then in the other: its places and size."""
    best, best_start, best_other = 0, low, other_low
    for start in range(low, high):
        if high - start <= best:
            break
        for other_start in range(other_low, other_high):
            size = 0
            while (
                start + size < high
                and other_start + size < other_high
                and numerals[start + size] == others[other_start + size]
            ):
                size += 1
            if size > best:
                best, best_start, best_other = size, start, other_start
    return best_start, best_other, best


@compiled
def mark_characters(
    codes: Codes, others: Codes, table: NDArray[np.int32], masks: Hashes, numbers: NDArray[np.int32]
) -> int:
    """Numbers the characters of a text and marks in masks (uint64 [len(codes), blocks]) where each stands, a bit a place.

    Writes the number of each character of the other text, -1 where the first lacks it. `table` is room for a hash table
    of characters and their numbers. Gives how many blocks of 64 places there are.
    """
    blocks = (len(codes) + 63) // 64
    room = 32
    while room < 2 * len(codes):
        room *= 2
    known = 0
    table[: 2 * room] = -1
    for place in range(len(codes)):
        code = np.int32(codes[place])
        slot = find_character(code, table, room)
        if table[slot] < 0:
            table[slot], table[slot + 1] = code, known
            masks[known * blocks : (known + 1) * blocks] = 0
            known += 1
        masks[table[slot + 1] * blocks + (place >> 6)] |= np.uint64(1) << np.uint64(place & 63)
    for place in range(len(others)):
        numbers[place] = table[find_character(np.int32(others[place]), table, room) + 1]
    return blocks


@compiled
def find_character(code: Any, table: NDArray[np.int32], room: int) -> int:
    """The slot of a character, or the free one where it would stand: its code, then its number."""
    place = (int(code) * 0x9E3779B1 >> 12) & (room - 1)
    while table[2 * place] >= 0 and table[2 * place] != code:
        place = (place + 1) & (room - 1)
    return int(2 * place)


@compiled
def edit_distance(
    length: int, blocks: int, masks: Hashes, numbers: NDArray[np.int32], plus: Hashes, minus: Hashes
) -> int:
    """Levenshtein's distance by bits, 64 rows of the table at once (Myers 1999; Hyyrö 2003): mark_characters' output."""
    one = np.uint64(1)
    plus[:blocks] = ~np.uint64(0)
    minus[:blocks] = 0
    last = np.uint64((length - 1) & 63)
    distance = length
    for number in numbers:
        plus_in, minus_in = one, np.uint64(0)
        for block in range(blocks):
            equal = masks[number * blocks + block] if number >= 0 else np.uint64(0)
            up, down = plus[block], minus[block]
            vertical = equal | down
            equal |= minus_in
            diagonal = (((equal & up) + up) ^ up) | equal
            plus_out = down | ~(diagonal | up)
            minus_out = up & diagonal
            if block == blocks - 1:
                distance += int((plus_out >> last) & one) - int((minus_out >> last) & one)
            plus_next, minus_next = plus_out >> np.uint64(63), minus_out >> np.uint64(63)
            plus_out = (plus_out << one) | plus_in
            minus_out = (minus_out << one) | minus_in
            plus[block] = minus_out | ~(vertical | plus_out)
            minus[block] = plus_out & vertical
            plus_in, minus_in = plus_next, minus_next
    return int(distance)


@compiled
def longest_common(blocks: int, masks: Hashes, numbers: NDArray[np.int32], places: Hashes) -> int:
    """The length of the longest common substring: from each start in the other text, the places of the first text where
    all so far is equal move on a bit at a time until none is left."""
    longest = 0
    for start in range(len(numbers)):
        if len(numbers) - start <= longest:
            break
        if numbers[start] < 0 or numbers[start + longest] < 0:
            continue
        length = 1
        if blocks == 1:
            equal = masks[numbers[start]]
            while start + length < len(numbers) and numbers[start + length] >= 0:
                equal = (equal << np.uint64(1)) & masks[numbers[start + length]]
                if equal == 0:
                    break
                length += 1
            longest = max(longest, length)
            continue
        for block in range(blocks):
            places[block] = masks[numbers[start] * blocks + block]
        while start + length < len(numbers) and numbers[start + length] >= 0:
            number = numbers[start + length]
            carried, left = np.uint64(0), np.uint64(0)
            for block in range(blocks):
                bits = places[block]
                places[block] = ((bits << np.uint64(1)) | carried) & masks[number * blocks + block]
                carried = bits >> np.uint64(63)
                left |= places[block]
            if left == 0:
                break
            length += 1
        longest = max(longest, length)
    return longest


@compiled
def count_repetitions(codes: Codes, last_of_hash: NDArray[np.int32], following: NDArray[np.int32]) -> int:
    r"""How often the first repeated stretch is repeated: (\S.{2,100}?)(?: *\1){2,} of OpusFilter, without its engine.

    A repetition starts with the three characters of what it repeats: only places that share those are compared. They
    are linked in `following`, by a hash table of their last places.
    """
    places = len(codes) - SHORTEST_REPEATED + 1
    if places < 2 * SHORTEST_REPEATED + 1:
        return 0
    shift = 59
    while 1 << (64 - shift) < 2 * places and 1 << (65 - shift) <= len(last_of_hash):
        shift -= 1
    last_of_hash[: 1 << (64 - shift)] = -1
    thrice = False
    key = np.uint64(codes[places]) | np.uint64(codes[places + 1]) << np.uint64(21)
    for place in range(places - 1, -1, -1):
        key = (key << np.uint64(21)) & np.uint64((1 << 63) - 1) | np.uint64(codes[place])
        number = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(shift)
        next_place = last_of_hash[number]
        following[place] = next_place
        thrice = thrice or (next_place >= 0 and following[next_place] >= 0)
        last_of_hash[number] = place
    if not thrice:
        return 0
    for start in range(places):
        if is_space(codes[start]):
            continue
        place = following[start]
        while place >= 0 and following[place] >= 0:
            longest = place - start
            shortest = longest
            while shortest > 1 and codes[start + shortest - 1] == 32:
                shortest -= 1
            if shortest > LONGEST_REPEATED:
                break
            for length in range(max(shortest, SHORTEST_REPEATED), min(longest, LONGEST_REPEATED) + 1):
                repetitions = repetitions_of(codes, start, length)
                if repetitions >= FEWEST_REPETITIONS:
                    return int(repetitions)
            place = following[place]
    return 0


@compiled
def repetitions_of(codes: Codes, start: int, length: int) -> int:
    """How often the stretch at `start` follows itself, spaces aside; a line break ends a stretch."""
    repetitions = 0
    at = start + length
    while True:
        while at < len(codes) and codes[at] == 32:
            at += 1
        if at + length > len(codes):
            return repetitions
        for place in range(length):
            if codes[at + place] != codes[start + place] or (codes[at + place] == 10 and place > 0):
                return repetitions
        repetitions += 1
        at += length


@compiled
def measure_scripts(
    bounds: NDArray[Any], data: Bytes, script_of: Bytes, wanted: NDArray[np.uint64]
) -> NDArray[np.float32]:
    """The share of each text's letters in the scripts of its bits in `wanted`, 1 without letters: float32 [rows]."""
    share = np.ones(len(bounds) - 1, np.float32)
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        letters = right = 0
        if wanted[row] == ~np.uint64(0):
            continue
        while at < end:
            character, size = decode(data, at, end)
            at += size
            script = script_of[character]
            if script:
                letters += 1
                right += int((wanted[row] >> np.uint64(script)) & np.uint64(1))
        if letters > 0:
            share[row] = right / letters
    return share
