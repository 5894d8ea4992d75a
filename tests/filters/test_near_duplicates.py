"""Pairs of near-duplicates against exact comparison of all pairs."""

import random
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import near_duplicate_loops
from filters.components import representatives
from filters.minhash import DEFAULT_SKETCHES, SketchSettings, sketch_texts
from filters.near_duplicates import (
    SIMILAR_PAIRS,
    NearDuplicateSettings,
    band_keys,
    similar_pairs,
    similar_within_buckets,
)
from filters.shingles import WORDS

WORDS_ALONE = SketchSettings(short_most=1, long_least=2)
SHORT_TEXTS = (
    "how to install a printer",
    "how to instal a printer",
    "如何安装打印机",
    "如何安裝打印机",
    "unlike all others here",
)


def groups(texts, sketches=DEFAULT_SKETCHES, position=None, **options):
    """The representative of each text."""
    column = pa.array(texts, pa.string())
    found = similar_pairs(
        sketch_texts(column, sketches),
        NearDuplicateSettings(**options),
        position=position,
        texts=column,
        shingles=sketches,
    )
    position = np.arange(len(texts)) if position is None else position
    return representatives(found["left"], found["right"], position).tolist()


def passages(random, count, size=120):
    return [[f"{random.choice('bcdfg')}{random.randrange(20_000)}" for _ in range(size)] for _ in range(count)]


def changed(random, words, edits):
    words = list(words)
    for place in random.sample(range(len(words)), edits):
        words[place] = f"x{random.randrange(10**9)}"
    return words


def fivegrams(words):
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def jaccard(left, right):
    left, right = fivegrams(left), fivegrams(right)
    return len(left & right) / len(left | right)


@pytest.fixture(scope="module")
def families():
    """Passages, each with three copies that have 1 to 8 of its 120 words changed."""
    chance = random.Random(3)
    return [
        [words, *(changed(chance, words, chance.randint(1, 8)) for _ in range(3))] for words in passages(chance, 300)
    ]


@pytest.fixture(scope="module")
def corpus(families):
    texts = [words for family in families for words in family]
    random.Random(4).shuffle(texts)
    return texts


def test_near_duplicates_by_exact_comparison_are_found_and_no_others(families):
    found = groups([" ".join(words) for family in families for words in family])
    assert all(first // 4 == row // 4 for row, first in enumerate(found))
    for least, recall in ((0.7, 0.98), (0.8, 0.995)):
        hits = [
            found[4 * number + left] == found[4 * number + right]
            for number, family in enumerate(families)
            for left, right in combinations(range(4), 2)
            if jaccard(family[left], family[right]) >= least
        ]
        assert len(hits) > 200
        assert np.mean(hits) >= recall


def test_exact_comparison_links_what_reaches_the_similarity_and_nothing_else(corpus):
    texts = pa.array([" ".join(words) for words in corpus])
    setting = NearDuplicateSettings(exact=True, similarity=0.7, weight_of_missed=0.999)
    pairs = similar_pairs(sketch_texts(texts, WORDS_ALONE), setting, texts=texts, shingles=WORDS_ALONE).to_pylist()
    assert len(pairs) > 100
    for pair in pairs:
        assert pair["view"] == WORDS
        assert pair["similarity"] == pytest.approx(jaccard(corpus[pair["left"]], corpus[pair["right"]]), abs=1e-6)
        assert pair["similarity"] >= 0.7


def test_estimated_similarities_are_near_the_exact_ones(corpus):
    pairs = similar_pairs(sketch_texts(pa.array([" ".join(words) for words in corpus]))).to_pylist()
    errors = [pair["similarity"] - jaccard(corpus[pair["left"]], corpus[pair["right"]]) for pair in pairs]
    assert abs(np.mean(errors)) < 0.02  # those that were overestimated pass the threshold more often
    assert np.std(errors) < 0.05


def test_exact_comparison_without_texts_is_refused():
    with pytest.raises(ValueError, match="give texts"):
        similar_pairs(sketch_texts(pa.array(["a"])), NearDuplicateSettings(exact=True))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("How do I install a network printer?", "how do i instal a network printer"),
        ("How do I install a network printer?", "How do I install a network printer on?"),
        ("Wie installiere ich einen Drucker?", "Wie instaliere ich einen Drucker?"),
        ("كيف أقوم بتثبيت الطابعة على الحاسوب", "كيف أقوم بتثبيت الطابعة على الحاسو"),
        ("如何在电脑上安装打印机", "如何在电脑上安装打印基"),
        ("パソコンにプリンターを設定する方法", "パソコンにプリンタを設定する方法"),
        ("วิธีติดตั้งเครื่องพิมพ์บนคอมพิวเตอร์", "วิธีติดตั้งเครืองพิมพ์บนคอมพิวเตอร์"),
        (
            "one two three four five six seven eight nine ten",
            "one two three four five internationally seven eight nine ten",
        ),
    ],
)
def test_short_texts_with_one_edit_in_ten_are_near_duplicates(left, right):
    assert groups([left, right]) == [0, 0]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("World championship 1998 final", "World championship 2002 final"),
        ("Chapter 11 of the handbook", "Chapter 12 of the handbook"),
        ("What is the capital of France?", "What is the capital of Norway?"),
        ("苹果手机", "苹果电脑"),
        ("ab", "ac"),
    ],
)
def test_short_texts_that_say_something_else_are_not(left, right):
    assert groups([left, right]) == [0, 1]


def test_numbers_may_differ_on_request():
    texts = ["The world championship final of 1998", "The world championship final of 1996"]
    assert groups(texts) == [0, 1]
    assert groups(texts, numbers_agree=False) == [0, 0]


def test_a_copy_across_the_border_of_short_and_long_is_found():
    """An added sentence moves a text from one view into another; its similarity stays above the threshold."""
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghij", k=6)) for _ in range(80)]
    for length in range(15, 60):
        text = " ".join(words[:length])
        longer = " ".join(words[: length + length // 10])
        assert groups([text, longer]) == [0, 0], length


def test_a_copy_across_the_border_of_two_kinds_of_script_is_found():
    chance = random.Random(1)
    for share in range(10, 60, 2):
        words = [
            chr(0x4E00 + chance.randrange(3000)) if chance.random() * 100 < share else f"w{chance.randrange(10**4)}"
            for _ in range(300)
        ]
        copy = [*words[:-12], *"增加几个汉字也不妨碍它们"]
        assert groups([" ".join(words), " ".join(copy)]) == [0, 0], share


def groups_by_buckets(texts, partitions, seed, sketches=DEFAULT_SKETCHES, **options):
    """The representative of each text where buckets are compared in so many places, each in an order of its own."""
    random, column = np.random.default_rng(seed), pa.array(texts, pa.string())
    setting = NearDuplicateSettings(**options)
    position = random.permutation(len(texts))
    sketched = sketch_texts(column, sketches)
    rows, keys = band_keys(sketched, setting)
    place_of = random.integers(0, partitions, len(texts) * 200)[np.unique(keys, return_inverse=True)[1] % 997]
    pairs = []
    for place in range(partitions):
        here = random.permutation(np.flatnonzero(place_of == place))
        arrived = sketched.take(rows[here])
        numbers = arrived.column("text").to_numpy()
        pairs.append(
            similar_within_buckets(
                arrived, keys[here], setting, position=position[numbers], texts=column.take(numbers), shingles=sketches
            )
        )
    found = pa.concat_tables(pairs)
    assert (position[found["left"]] < position[found["right"]]).all()
    return groups(texts, sketches, position, **options), representatives(
        found["left"], found["right"], position
    ).tolist()


def test_buckets_compared_in_many_places_give_the_groups_of_one_run(corpus):
    texts = [" ".join(words) for words in corpus[:600]] + list(SHORT_TEXTS) * 2
    for partitions in (1, 3, 40):
        expected, found = groups_by_buckets(texts, partitions, seed=partitions)
        assert found == expected
        assert len(set(found)) < len(texts) - 100


def test_buckets_compared_exactly_in_many_places_give_the_groups_of_one_run(corpus):
    texts = [" ".join(words) for words in corpus[:300]]
    expected, found = groups_by_buckets(texts, 5, seed=0, sketches=WORDS_ALONE, exact=True, similarity=0.7)
    assert found == expected
    assert len(set(found)) < len(texts)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.sampled_from("abcdefgh")), max_size=60),
    st.integers(1, 7),
    st.integers(1, 6),
    st.integers(0, 10**6),
)
def test_large_buckets_compared_in_many_places_give_the_groups_of_one_run(edits, partitions, most_compared, seed):
    """Variants of a few lines, so that buckets are larger than what each text is compared with."""
    lines = [
        "never miss the latest news about gardens",
        "how do i install a printer at home",
        "苹果手机和电脑的价格",
        "x",
    ]
    texts = []
    for line, place, letter in edits:
        text = list(lines[line])
        text[place % len(text)] = letter
        texts.append("".join(text))
    expected, found = groups_by_buckets(texts, partitions, seed, most_compared=most_compared)
    assert found == expected


def test_no_sketches_have_no_buckets():
    sketches = sketch_texts(pa.array([], pa.string()))
    rows, keys = band_keys(sketches)
    assert len(rows) == len(keys) == 0
    assert similar_within_buckets(sketches, keys).equals(SIMILAR_PAIRS.empty_table())


@settings(deadline=None, max_examples=30)  # the first call compiles
@given(
    st.lists(st.sampled_from([*SHORT_TEXTS, "", "x", *map(" ".join, passages(random.Random(0), 3))]), max_size=12),
    st.randoms(),
)
def test_the_groups_do_not_depend_on_the_order_of_the_texts(texts, chance):
    order = list(range(len(texts)))
    chance.shuffle(order)
    expected = groups(texts)
    found = groups([texts[row] for row in order], position=np.array(order))
    assert [order[found[order.index(row)]] for row in range(len(texts))] == expected


def test_pairs_do_not_depend_on_the_order_or_division_of_the_sketches(corpus):
    sketches = sketch_texts(pa.array([" ".join(words) for words in corpus[:400]] + list(SHORT_TEXTS)))
    expected = similar_pairs(sketches)
    assert expected.schema == SIMILAR_PAIRS
    shuffled = sketches.take(np.random.default_rng(0).permutation(len(sketches)))
    assert similar_pairs(shuffled).equals(expected)
    parts = [shuffled.slice(start, 50) for start in range(0, len(shuffled), 50)]
    assert similar_pairs(pa.Table.from_batches(parts)).equals(expected)


def test_kept_sketches_and_those_of_later_texts_give_what_one_run_gives(corpus, tmp_path):
    texts = [" ".join(words) for words in corpus] + list(SHORT_TEXTS)
    kept = sketch_texts(pa.array(texts[:700]))
    with pa.OSFile(str(tmp_path / "kept.arrow"), "wb") as out, pa.ipc.new_file(out, kept.schema) as writer:
        writer.write_batch(kept)
    with pa.memory_map(str(tmp_path / "kept.arrow")) as mapped:
        old = pa.ipc.open_file(mapped).read_all()
        later = pa.Table.from_batches([sketch_texts(pa.array(texts[700:]), first_text=700)])
        assert similar_pairs(pa.concat_tables([old, later])).equals(similar_pairs(sketch_texts(pa.array(texts))))


def test_the_left_text_of_a_pair_has_the_smaller_position():
    sketches = sketch_texts(pa.array(["same text here", "same text here", "Same text, here"]))
    pairs = similar_pairs(sketches, position=np.array([30, 20, 10]))
    assert sorted(zip(pairs["left"].to_pylist(), pairs["right"].to_pylist(), strict=True)) == [(2, 0), (2, 1)]


def test_100_000_copies_of_one_line_are_one_group():
    assert set(groups(["Subscribe to our newsletter!"] * 100_000)) == {0}


def test_100_000_variants_of_one_line_are_compared_in_linear_time():
    """All share most bands; comparing all with all would take hours."""
    chance = random.Random(0)
    line = list("subscribe to our newsletter and never miss the latest news about gardens again")
    variants = []
    for _ in range(100_000):
        text = line.copy()
        text[chance.randrange(len(text))] = chance.choice("abcdefghijklmnop")
        variants.append("".join(text))
    assert len(set(variants)) > 1000
    assert np.mean(np.array(groups(variants)) == 0) > 0.999


def test_a_large_bucket_of_texts_that_are_not_alike_stays_linear():
    """A template with other words each time: thousands share bands, none is a near-duplicate of another."""
    chance = random.Random(0)
    texts = [
        f"what are the symptoms and treatments of {chance.getrandbits(80):x}?".translate(
            {48 + d: "ghijklmnop"[d] for d in range(10)}
        )
        for _ in range(10_000)
    ]
    assert len(set(groups(texts))) > 9_950


ILLNESSES = ("measles", "cholera", "typhoid", "gout", "asthma", "epilepsy", "migraine", "rickets", "polio", "scurvy")


@pytest.mark.parametrize(
    ("template", "linked"),
    [
        ("symptoms of {}", False),
        ("{} symptoms", False),
        ("What are the symptoms of {}?", False),
        ("What are the common symptoms of {} in children?", False),
        # One word in ten makes no difference, whatever the word is.
        ("What are the most common symptoms of {} in young children, and how are they treated?", True),
    ],
)
def test_questions_made_of_one_template_are_linked_from_ten_words_on_only(template, linked):
    found = groups([template.format(illness) for illness in ILLNESSES])
    assert found == ([0] * 10 if linked else list(range(10)))


@pytest.mark.parametrize(
    ("left", "right", "linked"),
    [
        ("the largest city of spain by population", "the largest city of italy by population", False),
        ("the largest city of spain by population", "the largest city of spian by population", True),
        ("the largest city of spain by population", "the largest city of spain by populaton", True),
        ("the largest city of spain by population", "the largest city of all spain by population", True),
        ("is a whale a big or small animal", "is o whale a big or small animal", True),
        ("internationalisation", "internationalization", True),
    ],
)
def test_one_other_word_makes_another_text_but_a_typing_error_does_not(left, right, linked):
    assert groups([left, right]) == ([0, 0] if linked else [0, 1])


def test_one_other_word_may_be_overlooked_on_request():
    texts = ["the largest city of spain by population", "the largest city of italy by population"]
    assert groups(texts, least_word_similarity=0) == [0, 0]


@settings(deadline=None, max_examples=60)
@given(st.integers(10, 12), st.integers(0, 11), st.text("abcdefgxyz", min_size=1, max_size=25), st.randoms())
def test_one_word_in_ten_may_be_any_other_word(count, place, word, chance):
    """Counts of characters do not hide such pairs; signatures miss some where the words are long."""
    words = ["".join(chance.choices("aeioubcdst", k=6)) for _ in range(count)]
    other = [*words[: place % count], word, *words[place % count + 1 :]]
    texts = [" ".join(words), " ".join(other)]
    pairs = similar_pairs(
        sketch_texts(pa.array(texts)), NearDuplicateSettings(short_least_estimate=0, short_similarity=0.1)
    )
    assert len(pairs) == 1


@pytest.mark.parametrize("ending", ["{:x}", "gardens"])
def test_no_text_of_a_bucket_is_compared_with_more_than_so_many(monkeypatch, ending):
    """Comparisons are counted, not timed: of a template's texts that are not alike, and of texts that all are."""
    chance = random.Random(0)
    start = "what are the symptoms and treatments of "
    texts = [start + ending.format(chance.getrandbits(60)) + chance.choice("abcdefgh") for _ in range(400)]
    equal_bits, join_buckets = near_duplicate_loops.equal_bits, near_duplicate_loops.join_buckets.py_func
    compared, largest = [], []

    def count_compared(bits, left, right):
        compared.append((left, right))
        return equal_bits(bits, left, right)

    def check_each_band(starts, members, most_compared, *rest):
        compared.clear()
        written = join_buckets(starts, members, most_compared, *rest)
        largest.append(np.diff(starts).max(initial=0))
        assert len(compared) <= most_compared * len(members)
        return written

    monkeypatch.setattr(near_duplicate_loops, "equal_bits", count_compared)
    monkeypatch.setattr(near_duplicate_loops, "join_buckets", check_each_band)
    with np.errstate(over="ignore"):  # what compiled code never tells
        similar_pairs(sketch_texts(pa.array(texts)), NearDuplicateSettings(most_compared=4))
    assert max(largest) > 4


def test_texts_that_nothing_can_be_said_of_are_left_alone():
    texts = ["", None, "...", "x", "y", "😀" * 50, "🎉" * 50, "!?"]
    assert groups(texts) == list(range(len(texts)))


def test_huge_texts_and_their_copies_are_found():
    chance = random.Random(0)
    words = [f"w{chance.randrange(10**6)}" for _ in range(1_300_000)]
    text = " ".join(words)
    assert len(text) > 9_000_000
    assert groups([text, text + " end", "other"]) == [0, 0, 2]


def test_huge_texts_of_symbols_alone_are_compared_in_bounded_time():
    """They count as short, having no letters; a table of edits would have a hundred thousand million cells."""
    pick = random.Random(3)
    symbols = [chr(0x1F300 + pick.randrange(200)) for _ in range(600_000)]
    copy = ["★", *symbols[1:-1], "☆"]
    other = [chr(0x2500 + pick.randrange(200)) for _ in range(600_000)]
    found = similar_pairs(sketch_texts(pa.array(["".join(text) for text in (symbols, other, copy)])))
    assert found.select(["left", "right"]).to_pylist() == [{"left": 0, "right": 2}]


def test_no_sketches_give_no_pairs():
    assert similar_pairs(sketch_texts(pa.array([], pa.string()))).equals(SIMILAR_PAIRS.empty_table())
