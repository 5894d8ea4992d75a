"""The loops of filters.web_text: one pass over a text's bytes finds its tokens, the others run over the tokens.

Tokens are rows of an int64 array with the columns START .. WORD_HASH; lines, paragraphs and sentences are runs of
tokens that begin with a flag. Equality is by 64-bit hashes, in tables of one text each, so that the time is linear
in the text's length whatever it repeats.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from filters.characters import CJK, DIGIT, MARK, SPACE, UPPER
from filters.loops import compiled, decode, fold_character

# What is counted of a text.
(
    CHARACTERS,
    VISIBLE,
    TOKENS,
    WORDS,
    WORD_CHARACTERS,
    ALPHABETIC,
    HASHES,
    ELLIPSES,
    STOP_WORDS,
    NEWLINES,
    SEPARATORS,
    CODE_SYMBOLS,
    CURLY_BRACKETS,
    CASED,
    CAPITALISED,
    DISTINCT,
    DISTINCT_OF,
    LINES,
    BULLET_LINES,
    ELLIPSIS_LINES,
    TERMINAL_LINES,
    SHORT_LINES,
    SHORT_WORD_LINES,
    JAVASCRIPT_LINES,
    POLICY_LINES,
    LOREM_IPSUM,
    SENTENCES,
    KEPT_SENTENCES,
    KEPT_SENTENCES_ANY_END,
    DUPLICATE_LINES,
    DUPLICATE_LINE_CHARACTERS,
    PARAGRAPHS,
    DUPLICATE_PARAGRAPHS,
    DUPLICATE_PARAGRAPH_CHARACTERS,
    DUPLICATE_SENTENCES,
    GRAMS,  # characters of the most frequent 2-, 3-, 4-gram, then of the repeated 5- to 10-grams
) = range(36)
TOP_LENGTHS: Final = (2, 3, 4)
DUPLICATE_LENGTHS: Final = (5, 6, 7, 8, 9, 10)
COUNTERS: Final = GRAMS + len(TOP_LENGTHS) + len(DUPLICATE_LENGTHS)

# Traits of a character (filters.web_text.traits_of_character).
TERMINAL, QUOTE, CLOSING, CODE, SEPARATOR, LOWER, BULLET, PROSE, PHRASE = (1 << bit for bit in range(9))

# Columns of a token: bytes, characters before it and in it, flags, hash of its characters and of its word, case aside.
START, END, PLACE, LENGTH, FLAGS, HASH, WORD_HASH = range(7)
COLUMNS: Final = 7

# Flags of a token.
(
    WORD,
    ALPHA,
    IN_UNSPACED,
    CASED_FIRST,
    UPPER_FIRST,
    AFTER_SPACE,
    LINE_START,
    PARAGRAPH_START,
    SENTENCE_START,
    SENTENCE_END,
    TERMINAL_LAST,
    PROSE_ONLY,
    LOREM,
    JAVASCRIPT,
    POLICY,
    CITATION,
    FULL_STOP,  # of the terminal marks in it the last is one
) = (1 << bit for bit in range(17))

# Raffel et al. 2020: pages with the first and lines with the second are dropped; their code drops lines with one of the
# next and takes citations away.
_PHRASES: Final = (
    (b"lorem ipsum", LOREM),
    (b"javascript", JAVASCRIPT),
    (b"terms of use", POLICY),
    (b"privacy policy", POLICY),
    (b"cookie policy", POLICY),
    (b"uses cookies", POLICY),
    (b"use of cookies", POLICY),
    (b"use cookies", POLICY),
    (b"edit]", CITATION),
    (b"citation needed]", CITATION),
)
PHRASE_LETTERS: Final = "".join(sorted({chr(phrase[0]) for phrase, flag in _PHRASES if flag != CITATION}))
_PHRASE_BYTES: Final = np.frombuffer(b"".join(phrase for phrase, _ in _PHRASES), np.uint8)
_PHRASE_BOUNDS: Final = np.cumsum([0, *(len(phrase) for phrase, _ in _PHRASES)])
_PHRASE_FLAGS: Final = np.array([flag for _, flag in _PHRASES])

# Characters that a token of an unspaced script counts in the mean length of words, about the mean of English: a
# character is no word, and these texts are to be neither helped nor hurt by a rule on the length of words.
UNSPACED_WORD_LENGTH: Final = 5
LONGEST_WORD: Final = 1000  # of C4, in characters
SHORT_LINE: Final = 30  # of FineWeb, in characters
FEWEST_WORDS: Final = 3  # of a line, C4
DISTINCT_WORDS: Final = 200  # words looked at for their variety
LONGEST_STOP_WORD: Final = 4

_OPENING_GUILLEMETS: Final = (0xAB, 0x2039)
_CLOSING_GUILLEMETS: Final = (0xBB, 0x203A)
# FNV-1a's, as signed numbers.
_HASH_START: Final = -3750763034362895579
_HASH_FACTOR: Final = 1099511628211
_GRAM_FACTOR: Final = 6364136223846793005  # Knuth's, for hashes of hashes
_SPREAD: Final = -7046029254386353131  # 2**64 / golden ratio, for places in a table


@compiled
def measure_texts(
    bounds: NDArray[Any],
    data: NDArray[np.uint8],
    stop_bounds: NDArray[Any],
    stop_data: NDArray[np.uint8],
    class_of: NDArray[np.uint8],
    trait_of: NDArray[np.uint16],
    folded: NDArray[np.uint32],
    counts: NDArray[np.int64],
) -> None:
    """Fills counts (int64 [rows, COUNTERS], zeroed) of each text; the one stop text lists Gopher's stop words."""
    tokens = np.empty((256, COLUMNS), np.int64)
    tokens, _ = read_tokens(stop_data, stop_bounds[0], stop_bounds[1], class_of, trait_of, folded, tokens, counts[0])
    stop_words = tokens[:8, WORD_HASH].copy()
    counts[0] = 0
    for row in range(len(bounds) - 1):
        counted = counts[row]
        tokens, found = read_tokens(data, bounds[row], bounds[row + 1], class_of, trait_of, folded, tokens, counted)
        if not found:
            continue
        text = tokens[:found]
        keys = np.empty(room_for(found), np.int64)
        mark_sentences(text, counted)
        count_words(text, stop_words, keys, counted)
        count_lines(data, text, trait_of, counted)
        unit = SENTENCE_START if counted[LINES] == 1 else LINE_START
        count_kept_sentences(data, text, unit, trait_of, counted)
        _, counted[DUPLICATE_LINES], counted[DUPLICATE_LINE_CHARACTERS] = count_duplicates(text, LINE_START, keys)
        paragraphs, duplicates, duplicate_characters = count_duplicates(text, PARAGRAPH_START, keys)
        counted[PARAGRAPHS] = paragraphs
        counted[DUPLICATE_PARAGRAPHS] = duplicates
        counted[DUPLICATE_PARAGRAPH_CHARACTERS] = duplicate_characters
        _, counted[DUPLICATE_SENTENCES], _ = count_duplicates(text, SENTENCE_START, keys)
        count_grams(text, keys, counted[GRAMS:])


@compiled
def read_tokens(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    class_of: NDArray[np.uint8],
    trait_of: NDArray[np.uint16],
    folded: NDArray[np.uint32],
    tokens: NDArray[np.int64],
    counted: NDArray[np.int64],
) -> Any:
    """The text's tokens in `tokens`, or in a longer array that takes its place, and how many they are."""
    found = place = 0
    before = AFTER_SPACE | LINE_START | PARAGRAPH_START
    opened = closed = 0
    while at < end:
        character, size = decode(data, at, end)
        if class_of[character] == SPACE:
            if character == 10:
                counted[NEWLINES] += 1
                before |= PARAGRAPH_START if before & LINE_START else LINE_START
            before |= AFTER_SPACE
            at += size
            place += 1
            continue
        if found == len(tokens):
            longer = np.empty((2 * found, COLUMNS), np.int64)
            longer[:found] = tokens
            tokens = longer
        token = tokens[found]
        at = read_token(data, at, end, class_of, trait_of, folded, token, counted)
        token[PLACE] = place
        token[FLAGS] |= before
        place += token[LENGTH]
        before = 0
        if character in _OPENING_GUILLEMETS:
            opened += 1
        elif character in _CLOSING_GUILLEMETS and token[LENGTH] == 1:
            closed += 1
        found += 1
    counted[CHARACTERS] = place
    counted[TOKENS] = found
    if not opened:  # without opening ones they quote nothing, they separate
        counted[SEPARATORS] += closed
    return tokens, found


@compiled
def read_token(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    class_of: NDArray[np.uint8],
    trait_of: NDArray[np.uint16],
    folded: NDArray[np.uint32],
    token: NDArray[np.int64],
    counted: NDArray[np.int64],
) -> int:
    """Fills the row of the token that starts at byte `at` and adds what its characters count; the byte after it.

    A letter of an unspaced script ends the token before it if that holds a letter or digit; so does, after such a
    letter, a letter or digit of another script. Punctuation stays with the token before it.
    """
    token[START] = at
    flags = PROSE_ONLY
    length = dots = letters = longest = separators = 0
    spelled = word_spelled = _HASH_START
    while at < end:
        character, size = decode(data, at, end)
        kind = class_of[character]
        if kind == SPACE:
            break
        if flags & WORD and (kind >= CJK or (flags & IN_UNSPACED and UPPER <= kind <= DIGIT and kind != MARK)):
            break
        trait = trait_of[character]
        spelled = (spelled ^ character) * _HASH_FACTOR
        if UPPER <= kind <= DIGIT or kind >= CJK:
            flags = add_letter(flags, kind, trait)
            word_spelled = (word_spelled ^ fold_character(character, folded)) * _HASH_FACTOR
            letters += 1
            longest = max(longest, letters)
        else:
            letters = 0
        dots = dots % 3 + 1 if character == 46 else 0
        flags = add_sign(flags, character, trait, dots)
        if trait & PHRASE:
            flags |= phrase_at(data, at, end)
        counted[ELLIPSES] += dots == 3 or character == 0x2026
        counted[HASHES] += character == 35
        counted[CURLY_BRACKETS] += character == 123
        counted[CODE_SYMBOLS] += trait & CODE != 0
        separators += trait & SEPARATOR != 0
        length += 1
        at += size
    if flags & FULL_STOP and flags & CASED_FIRST and longest == 1:  # "J.", "e.g.", "z.B."
        flags &= ~SENTENCE_END
    if not flags & (WORD | PROSE_ONLY):
        separators = 1
    counted[VISIBLE] += length
    counted[SEPARATORS] += separators
    token[END] = at
    token[LENGTH] = length
    token[FLAGS] = flags
    token[HASH] = mix(spelled)
    token[WORD_HASH] = mix(word_spelled)
    return at


@compiled
def add_letter(flags: int, kind: int, trait: int) -> int:
    """The token's flags with those of one more letter, mark or digit."""
    if kind >= CJK:
        flags |= IN_UNSPACED
    if kind not in (MARK, DIGIT) and not flags & ALPHA:
        flags |= ALPHA
        if kind == UPPER:
            flags |= UPPER_FIRST | CASED_FIRST
        elif trait & LOWER:
            flags |= CASED_FIRST
    return flags | WORD


@compiled
def add_sign(flags: int, character: int, trait: int, dots: int) -> int:
    """The token's flags with what one more character, the `dots`-th of an ellipsis, means for how the token ends."""
    flags &= ~TERMINAL_LAST
    if not trait & PROSE:
        flags &= ~PROSE_ONLY
    if trait & TERMINAL:
        flags |= SENTENCE_END | TERMINAL_LAST
        flags = flags | FULL_STOP if character == 46 else flags & ~FULL_STOP
    if not trait & (TERMINAL | QUOTE | CLOSING) or dots > 1:
        flags &= ~SENTENCE_END
    return flags


@compiled
def phrase_at(data: NDArray[np.uint8], at: int, end: int) -> int:
    """The flag of the phrase that starts at byte `at`, ASCII case aside; 0 where none does."""
    for phrase in range(len(_PHRASE_FLAGS)):
        first, last = _PHRASE_BOUNDS[phrase], _PHRASE_BOUNDS[phrase + 1]
        same = at + last - first <= end
        place = first
        while same and place < last:
            byte, wanted = data[at + place - first], _PHRASE_BYTES[place]
            same = byte == wanted or (byte | 0x20 == wanted and wanted >= 97)
            place += 1
        if same:
            return int(_PHRASE_FLAGS[phrase])
    return 0


@compiled
def mix(key: int) -> int:
    """A hash whose every bit depends on all of the key's; never 0."""
    key = (key ^ key >> 33) * _SPREAD
    key ^= key >> 29
    return key if key else 1


@compiled
def mark_sentences(tokens: NDArray[np.int64], counted: NDArray[np.int64]) -> None:
    """Flags the first token of each sentence that has a word, and counts them."""
    start = 0
    within = False
    for at in range(len(tokens)):
        flags = tokens[at, FLAGS]
        if flags & LINE_START:
            within = False
            start = at
        if flags & WORD and not within:
            within = True
            tokens[start, FLAGS] |= SENTENCE_START
            counted[SENTENCES] += 1
            numbering = not flags & ALPHA
        elif flags & WORD:
            numbering = False
        if flags & SENTENCE_END and within and not numbering:
            within = False
            start = at + 1


@compiled
def count_words(
    tokens: NDArray[np.int64], stop_words: NDArray[np.int64], keys: NDArray[np.int64], counted: NDArray[np.int64]
) -> None:
    """Counts words by what they are; the first word of a sentence is not asked for its capital."""
    distinct_keys = keys[: room_for(min(len(tokens), DISTINCT_WORDS))]
    distinct_keys[:] = 0
    stop_words_seen = 0
    first = True
    for at in range(len(tokens)):
        flags = tokens[at, FLAGS]
        if flags & SENTENCE_START:
            first = True
        if not flags & WORD:
            continue
        counted[WORDS] += 1
        counted[WORD_CHARACTERS] += UNSPACED_WORD_LENGTH if flags & IN_UNSPACED else tokens[at, LENGTH]
        counted[ALPHABETIC] += flags & ALPHA != 0
        if flags & CASED_FIRST and not first:
            counted[CASED] += 1
            counted[CAPITALISED] += flags & UPPER_FIRST != 0
        first = False
        word = tokens[at, WORD_HASH]
        for stop_word in range(len(stop_words)):
            if word == stop_words[stop_word]:
                stop_words_seen |= 1 << stop_word
        if counted[DISTINCT_OF] < DISTINCT_WORDS:
            counted[DISTINCT_OF] += 1
            counted[DISTINCT] += not seen_before(distinct_keys, word)
    while stop_words_seen:
        counted[STOP_WORDS] += stop_words_seen & 1
        stop_words_seen >>= 1


@compiled
def count_lines(
    data: NDArray[np.uint8], tokens: NDArray[np.int64], trait_of: NDArray[np.uint16], counted: NDArray[np.int64]
) -> None:
    """Counts lines by how they start and end and by their length."""
    first = 0
    while first < len(tokens):
        after = run_end(tokens, first, LINE_START)
        last = tokens[after - 1]
        start, end = tokens[first, START], last[END]
        counted[LINES] += 1
        character, _ = decode(data, start, end)
        counted[BULLET_LINES] += trait_of[character] & BULLET != 0
        counted[ELLIPSIS_LINES] += ends_in_ellipsis(data, start, end)
        counted[TERMINAL_LINES] += last[FLAGS] & TERMINAL_LAST != 0
        counted[SHORT_LINES] += last[PLACE] + last[LENGTH] - tokens[first, PLACE] <= SHORT_LINE
        counted[SHORT_WORD_LINES] += after - first < FEWEST_WORDS
        first = after


@compiled
def run_end(tokens: NDArray[np.int64], first: int, flag: int) -> int:
    """The token after the line, paragraph or sentence (`flag` at its start) that starts with token `first`."""
    after = first + 1
    while after < len(tokens) and not tokens[after, FLAGS] & flag:
        after += 1
    return after


@compiled
def ends_in_ellipsis(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether the bytes end with "..." or the ellipsis character (E2 80 A6)."""
    if end - start < 3:
        return False
    first, second, third = data[end - 3], data[end - 2], data[end - 1]
    return bool((first == 46 and second == 46 and third == 46) or (first == 0xE2 and second == 0x80 and third == 0xA6))


@compiled
def count_kept_sentences(
    data: NDArray[np.uint8],
    tokens: NDArray[np.int64],
    unit: int,
    trait_of: NDArray[np.uint16],
    counted: NDArray[np.int64],
) -> None:
    """C4's rules on the runs of tokens that start with `unit`, lines or sentences; counts what they keep and why not."""
    first = 0
    while first < len(tokens):
        after = run_end(tokens, first, unit)
        flags = longest = sentences = 0
        for at in range(first, after):
            flags |= tokens[at, FLAGS]
            longest = max(longest, tokens[at, LENGTH])
            sentences += tokens[at, FLAGS] & SENTENCE_START != 0
        counted[LOREM_IPSUM] += flags & LOREM != 0
        counted[JAVASCRIPT_LINES] += flags & JAVASCRIPT != 0
        counted[POLICY_LINES] += flags & POLICY != 0
        if after - first >= FEWEST_WORDS and longest <= LONGEST_WORD and not flags & (JAVASCRIPT | POLICY):
            counted[KEPT_SENTENCES_ANY_END] += sentences
            if ends_in_mark(data, tokens[first, START], tokens[after - 1, END], trait_of):
                counted[KEPT_SENTENCES] += sentences
        first = after


@compiled
def ends_in_mark(data: NDArray[np.uint8], start: int, end: int, trait_of: NDArray[np.uint16]) -> bool:
    """Whether a line ends in terminal punctuation or a quotation mark but no ellipsis, citations at its end aside."""
    end = before_citations(data, start, end)
    last = end - 1
    while last > start and data[last] & 0xC0 == 0x80:
        last -= 1
    if last < start:
        return False
    character, _ = decode(data, last, end)
    return bool(trait_of[character] & (TERMINAL | QUOTE)) and not ends_in_ellipsis(data, start, end)


@compiled
def before_citations(data: NDArray[np.uint8], start: int, end: int) -> int:
    """The end of the line without "[3]", "[edit]" and "[citation needed]" at its end."""
    while end > start and data[end - 1] == 93:
        opening = end - 2
        while opening > start and end - opening < 18 and data[opening] != 91:
            opening -= 1
        if data[opening] != 91 or not is_citation(data, opening + 1, end - 1):
            return end
        end = opening
        while end > start and data[end - 1] <= 32:
            end -= 1
    return end


@compiled
def is_citation(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether the bytes before the bracket at `end` are digits, "edit" or "citation needed"."""
    for at in range(start, end):
        if not 48 <= data[at] <= 57:
            return bool(phrase_at(data, start, end + 1) == CITATION)
    return True


@compiled
def count_duplicates(tokens: NDArray[np.int64], flag: int, keys: NDArray[np.int64]) -> Any:
    """Runs of tokens that start with `flag`, those of them that occurred before, and the characters of these.

    White space within does not count in lines, but their length does, as a repeated line of code has its indentation.
    """
    first = 0
    while first < len(tokens) and not tokens[first, FLAGS] & flag:
        first += 1
    runs = duplicates = duplicate_characters = 0
    keys = keys[: room_for(counted_runs(tokens, flag))]
    keys[:] = 0
    while first < len(tokens):
        after = run_end(tokens, first, flag)
        length = tokens[after - 1, PLACE] + tokens[after - 1, LENGTH] - tokens[first, PLACE]
        spelled = length
        for at in range(first, after):
            spelled = spelled * _GRAM_FACTOR + tokens[at, HASH]
        runs += 1
        if seen_before(keys, mix(spelled)):
            duplicates += 1
            duplicate_characters += length
        first = after
    return runs, duplicates, duplicate_characters


@compiled
def counted_runs(tokens: NDArray[np.int64], flag: int) -> int:
    """How many tokens have the flag."""
    runs = 0
    for at in range(len(tokens)):
        runs += tokens[at, FLAGS] & flag != 0
    return runs


@compiled
def count_grams(tokens: NDArray[np.int64], keys: NDArray[np.int64], counted: NDArray[np.int64]) -> None:
    """Characters of the most frequent n-grams, then those of the repeated ones (Rae et al. 2021, table A1).

    The space between two tokens is one character in the former and none in the latter, as in datatrove.
    """
    found = len(tokens)
    if found < 2:
        return
    grams = tokens[:, HASH].copy()  # of the n-gram that starts at each token
    lengths = np.zeros(found + 1, np.int64)
    spaces = np.zeros(found + 1, np.int64)
    for at in range(found):
        lengths[at + 1] = lengths[at] + tokens[at, LENGTH]
        spaces[at + 1] = spaces[at] + (tokens[at, FLAGS] & AFTER_SPACE != 0)
    for size in range(2, min(found, DUPLICATE_LENGTHS[-1]) + 1):
        for at in range(found - size + 1):
            grams[at] = mix(grams[at] * _GRAM_FACTOR + tokens[at + size - 1, HASH])
        windows = grams[: found - size + 1]
        if size <= TOP_LENGTHS[-1]:
            first, times = most_frequent(windows, keys)
            length = lengths[first + size] - lengths[first] + spaces[first + size] - spaces[first + 1]
            counted[size - 2] = length * times if times > 1 else 0
        else:
            counted[size - 2] = repeated_length(windows, size, lengths, keys)


@compiled
def most_frequent(grams: NDArray[np.int64], keys: NDArray[np.int64]) -> Any:
    """Where the most frequent n-gram starts first, and how often it occurs; of several the one that comes first."""
    keys[:] = 0
    firsts = np.empty(len(keys), np.int32)
    times = np.zeros(len(keys), np.int32)
    most = best = 0
    for at in range(len(grams)):
        slot = slot_of(keys, grams[at])
        if keys[slot] == 0:
            keys[slot] = grams[at]
            firsts[slot] = at
        times[slot] += 1
        if times[slot] > most or (times[slot] == most and firsts[slot] < best):
            most = times[slot]
            best = firsts[slot]
    return best, most


@compiled
def repeated_length(grams: NDArray[np.int64], size: int, lengths: NDArray[np.int64], keys: NDArray[np.int64]) -> int:
    """Characters in n-grams that occurred before, from left to right without overlap."""
    keys[:] = 0
    repeated = at = 0
    while at < len(grams):
        if seen_before(keys, grams[at]):
            repeated += lengths[at + size] - lengths[at]
            at += size
        else:
            at += 1
    return repeated


@compiled
def room_for(entries: int) -> int:
    """The length of a table of so many keys that is at most half full: a power of two."""
    room = 4
    while room < 2 * entries:
        room *= 2
    return room


@compiled
def slot_of(keys: NDArray[np.int64], key: int) -> int:
    """The place of the key in the table, or the free one for it."""
    last = len(keys) - 1
    slot = (key * _SPREAD >> 32) & last
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & last
    return slot


@compiled
def seen_before(keys: NDArray[np.int64], key: int) -> bool:
    """Whether the key is in the table; afterwards it is."""
    slot = slot_of(keys, key)
    if keys[slot] == key:
        return True
    keys[slot] = key
    return False
