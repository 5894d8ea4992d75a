"""Which texts are evaluation queries: by hand in several languages, and against sets made in plain Python."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.leakage import RULES, KeyTable, LeakageSettings, QueryIndex, build_query_index, find_leaks, text_keys

SMALL = LeakageSettings(exact=False, near=False, ngram_words=3, ngram_characters=8)


def leaks(texts, queries, rules=LeakageSettings()):  # noqa: B008
    found = find_leaks(pa.array(texts, pa.string()), build_query_index(pa.array(queries, pa.string()), rules), rules)
    return [(row["row"], row["query"], RULES[row["rule"]]) for row in found.to_pylist()]


def rule_of(text, query, rules=LeakageSettings()):  # noqa: B008
    return next((rule for _, _, rule in leaks([text], [query], rules)), None)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("  Who built the OLD lighthouse?", "who built the old lighthouse"),
        ("老灯塔是谁建造的", "老灯塔是谁建造的？"),
        ("古い灯台を建てたのは誰ですか", "古い灯台を、建てたのは誰ですか？"),
        ("من بنى المنارة القديمة", "من بنى المنارة القديمة؟"),
        ("wer baute den ALTEN Leuchtturm?", "Wer baute den alten Leuchtturm"),
    ],
)
def test_a_query_that_differs_in_case_and_punctuation_alone_is_an_exact_leak(text, query):
    assert rule_of(text, query) == "query_exact"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("who built the old lighthuose", "who built the old lighthouse"),
        ("who really built the old lighthouse", "who built the old lighthouse"),
        ("whats the height of the old lighthouse", "what is the height of the old lighthouse"),
        ("老灯塔到底是在哪一年由谁建造的", "老灯塔是在哪一年由谁建造的"),
        ("あの古い灯台を建てたのは誰ですか", "古い灯台を建てたのは誰ですか"),
        ("请问那座老灯塔最初式由哪位工程师在海港边设计建照的", "请问那座老灯塔最初是由哪位工程师在海港边设计建造的"),
        (
            "港のそばにある古い灯台を設計した技師の名全を教えて下ちい",
            "港のそばにある古い灯台を設計した技師の名前を教えて下さい",
        ),
        ("من بنى المناره القديمة في الميناء", "من بنى المنارة القديمة في الميناء"),
        ("Wer hat den alten Leuchturm am Hafen gebaut", "Wer hat den alten Leuchtturm am Hafen gebaut"),
    ],
)
def test_a_query_with_a_slip_or_a_word_more_is_a_near_leak(text, query):
    assert rule_of(text, query) == "query_near"
    assert rule_of(query, text) == "query_near"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("What is the population of Tokyo?", "What is the population of Oslo?"),
        ("how many players are on the field in a hockey team", "how many players are on the field in a hurling team"),
        ("where was the baker Ann Miller born", "when was the baker Ann Miller born"),
        ("who won the cup in 2014", "who won the cup in 2018"),
        ("how many people have mucolipidosis type VII", "how many people have mucolipidosis type II"),
        ("老灯塔是什么时候建造的", "新灯塔是什么时候建造的"),
        ("第一次航行是什么时候开始的", "第二次航行是什么时候开始的"),
        ("请问那座老灯塔最初是由哪位工程师在海港边设计建造的", "请问那座老仓库最初是由哪位工程师在海港边设计建造的"),
        ("请问那座老灯塔最初是由哪位工程师在三月份设计建造的", "请问那座老灯塔最初是由哪位工程师在五月份设计建造的"),
        ("港のそばにある古い灯台を設計した技師の名前は", "港のそばにある古い倉庫を設計した技師の名前は"),
        ("ペルーの首都はどこですか", "チリの首都はどこですか"),
        ("ما هي عاصمة البيرو", "ما هي عاصمة اليمن"),
        ("Was ist die Hauptstadt von Peru?", "Was ist die Hauptstadt von Chile?"),
        ("C# tutorial", "C tutorial"),
    ],
)
def test_a_question_of_the_same_form_about_another_thing_is_no_leak(text, query):
    assert rule_of(text, query) is None


SENTENCE = "the keeper of the old lighthouse climbed two hundred steps each night to light its lamp"
WORDS = SENTENCE.split()


def test_thirteen_words_in_a_row_are_a_leak_and_twelve_are_none():
    shared = " ".join(WORDS[:13])
    query = f"Tell me whether it is true or not that {shared} before the storm of that winter reached the coast."
    assert rule_of(f"Is it known whether {shared.upper()}?", query) == "query_ngram"
    assert rule_of(f"Is it known whether {' '.join(WORDS[:12])}?", query) is None


def test_fifty_characters_in_a_row_are_a_leak_where_there_are_no_spaces():
    shared = "".join(chr(0x4E00 + 7 * number) for number in range(50))
    query = f"请问这句话出自哪一本书又是由哪位作者在什么年代写下来的呢：{shared}"
    assert rule_of(f"有人说过{shared[:25]}，{shared[25:]}吗", query) == "query_ngram"
    assert rule_of(f"有人说过{shared[:49]}吗", query) is None


def test_a_text_shorter_than_an_ngram_leaks_as_a_whole_only():
    rules = LeakageSettings(exact=False, near=False)
    assert rule_of("Café de la gare", "cafe de la gare", rules) == "query_ngram"
    assert rule_of("cafe de la gare", "where is the cafe de la gare", rules) is None
    assert rule_of("C# tutorial", "C tutorial", rules) is None


def units(text, size):
    parts = list(text.replace(" ", "")) if any(ord(c) > 255 for c in text) else text.split()
    if len(parts) < size:
        return {" ".join(text.split())} - {""}
    return {tuple(parts[at : at + size]) for at in range(len(parts) - size + 1)}


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(st.text("ab c", max_size=24), max_size=6), st.lists(st.text("ab c", max_size=24), min_size=1, max_size=6)
)
def test_shared_word_ngrams_are_those_of_plain_sets(texts, queries):
    expected = [
        (t, q) for t in range(len(texts)) for q in range(len(queries)) if units(texts[t], 3) & units(queries[q], 3)
    ]
    assert [(row, query) for row, query, _ in leaks(texts, queries, SMALL)] == expected


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(st.text("中文字", max_size=24), max_size=6),
    st.lists(st.text("中文字", max_size=24), min_size=1, max_size=6),
)
def test_shared_character_ngrams_are_those_of_plain_sets(texts, queries):
    expected = [
        (t, q) for t in range(len(texts)) for q in range(len(queries)) if units(texts[t], 8) & units(queries[q], 8)
    ]
    assert [(row, query) for row, query, _ in leaks(texts, queries, SMALL)] == expected


def test_a_turn_of_phrase_of_many_queries_is_not_looked_for():
    phrase = "which of the following statements about the passage above is most likely to be true"
    queries = [f"{phrase} of number {name}" for name in ("one", "two", "three")]
    text = f"Read the story of the lighthouse and answer {phrase} in your own words"
    rules = LeakageSettings(near=False)
    assert [query for _, query, _ in leaks([text], queries, rules)] == [0, 1, 2]
    few = rules.model_copy(update={"ngram_most_queries": 2})
    assert leaks([text], queries, few) == []
    # Seventeen words are in all three, "of number" among them: five n-grams of thirteen.
    assert build_query_index(pa.array(queries), few).ngrams_left_out == 5


def test_a_query_of_digits_is_not_looked_for_by_ngrams():
    digits = " ".join(str(number) for number in range(10, 26))
    assert rule_of(f"count {digits} and so on for ever", digits, LeakageSettings(near=False)) is None


def test_longer_queries_are_near_by_their_word_ngrams():
    rng = np.random.default_rng(5)
    words = [f"{a}{b}" for a in ("ba", "ke", "lo", "mi", "nu") for b in ("ra", "te", "ni", "so", "du", "va")]
    query = [words[n] for n in rng.integers(0, len(words), 90)]
    edited = list(query)
    edited[30] = "lighthouse"
    rules = LeakageSettings(ngrams=False)
    assert rule_of(" ".join(edited), " ".join(query), rules) == "query_near"
    shuffled = [query[n] for n in rng.permutation(len(query))]
    assert rule_of(" ".join(shuffled), " ".join(query), rules) is None


def test_the_one_query_is_found_among_thousands_of_one_form():
    starts = ("barn", "kelo", "miru", "sadi", "fopt", "gwen", "huzz", "tyck")
    names = [f"{start}{end}" for start in starts for end in ("dran", "vost", "minth", "quel", "ooby", "xace")]
    queries = [f"what is the capital city of {first} and {second}" for first in names for second in names]
    text = "what is the capital city of kelovosst and miruquel"
    found = leaks([text], queries)
    assert [(queries[query], rule) for _, query, rule in found] == [
        ("what is the capital city of kelovost and miruquel", "query_near")
    ]


def test_each_rule_can_be_switched_off():
    text = "who built the old lighthouse"
    assert rule_of(text, text, LeakageSettings(exact=False)) == "query_near"
    assert rule_of(text, text, LeakageSettings(exact=False, near=False)) == "query_ngram"
    assert rule_of(text, text, LeakageSettings(exact=False, near=False, ngrams=False)) is None


def test_texts_without_words_leak_only_as_they_are():
    texts = ["", "?", "🙂🙂🙂", "?!"]
    assert leaks(texts, ["🙂🙂🙂", "who built it"]) == [(2, 0, "query_exact")]
    assert leaks([], ["who built it"]) == []
    assert leaks(["who built it"], []) == []


def test_an_index_of_its_tables_finds_the_same():
    queries = pa.array(["who built the old lighthouse", "老灯塔是谁建造的", SENTENCE])
    texts = pa.array(["Who built the old lighthuose?", "老灯塔是谁建造的？", f"they say {SENTENCE} and so on"])
    index = build_query_index(queries)
    again = QueryIndex.of_tables(index.tables())
    assert find_leaks(texts, index).num_rows == 3
    assert find_leaks(texts, again).equals(find_leaks(texts, index))


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 20), max_size=60), st.lists(st.integers(0, 20), max_size=20))
def test_a_key_table_finds_what_a_dictionary_finds(held, wanted):
    wanted = [*wanted, *held[:5]]
    keys = np.array(held, np.uint64)
    rows_of = {key: [row for row, other in enumerate(held) if other == key] for key in held}
    left, rows = KeyTable.of(keys, np.arange(len(held))).find(np.array(wanted, np.uint64))
    assert list(zip(left.tolist(), rows.tolist(), strict=True)) == [
        (place, row) for place, key in enumerate(wanted) for row in rows_of.get(key, [])
    ]
    assert KeyTable.of(keys).contains(np.array(wanted, np.uint64)).tolist() == [key in rows_of for key in wanted]


def test_text_keys_are_of_the_folded_text_and_of_slices_too():
    texts = pa.array(["other", "An Old  Lighthouse!", "an old lighthouse", "an old light house"])
    keys = text_keys(texts)
    assert keys[1] == keys[2] != keys[3]
    assert (text_keys(texts.slice(1)) == keys[1:]).all()
