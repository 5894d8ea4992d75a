"""Documents chosen for training, development and test, and the distractors beside them."""

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.schema import DOCUMENT
from synth.sampling import (
    SamplingError,
    SamplingSettings,
    SplitCounts,
    allocate,
    choose_documents,
    document_facts,
    shortfalls,
)

SHORT = SamplingSettings(min_length=10, max_length=100, counts=SplitCounts(train=6, dev=2, test=2, distractors=5))


def documents(*rows):
    """(id, language, characters, source) as DOCUMENT."""
    return pa.RecordBatch.from_pylist(
        [
            {"document_id": name, "source": source, "language": language, "text": "x" * length}
            for name, language, length, source in rows
        ],
        DOCUMENT,
    )


def many(count, languages=("eng_Latn", "deu_Latn"), seed=3):
    random.seed(seed)
    rows = [
        (f"d{number}", languages[number % len(languages)], random.randint(10, 100), f"s{number % 3}")
        for number in range(count)
    ]
    return document_facts(documents(*rows), SHORT)


def chosen(facts, settings=SHORT):
    return {(row["source"], row["document_id"]): row["split"] for row in choose_documents(facts, settings).to_pylist()}


def test_documents_out_of_bounds_or_of_other_languages_say_why():
    rows = [
        ("a", "eng_Latn", 9, "s"),
        ("b", "eng_Latn", 10, "s"),
        ("c", "eng_Latn", 100, "s"),
        ("d", "eng_Latn", 101, "s"),
        ("e", "fra_Latn", 50, "s"),
        ("f", "und", 50, "s"),
    ]
    facts = document_facts(documents(*rows), SHORT.model_copy(update={"languages": ("en",)}))
    assert facts["why_not"].to_pylist() == ["too_short", None, None, "too_long", "language_not_wanted", "no_language"]
    assert facts["eligible"].to_pylist() == [False, True, True, False, False, False]
    assert facts["length"].to_pylist() == [9, 10, 100, 101, 50, 50]


def test_bounds_are_a_third_and_three_times_the_mean_of_mldr_unless_told():
    settings = SamplingSettings(length_by_language={"zh-Hant": (5, 7)})
    assert settings.bounds_of("deu") == (33_771 // 3, 3 * 33_771)
    assert settings.bounds_of("zho") == (5, 7)
    assert settings.bounds_of("swa") == settings.bounds_of("eng") == (4_444, 39_999)
    assert SamplingSettings(length_unit="tokens").bounds_of("eng") == (1_102, 9_924)
    assert SamplingSettings(max_length=500).bounds_of("eng") == (4_444, 4_444)


def test_buckets_are_equal_steps_of_the_logarithm():
    # Bounds 10 and 1000, 2 buckets: they meet at 100.
    settings = SamplingSettings(min_length=10, max_length=1_000, length_buckets=2)
    facts = document_facts(documents(*((str(n), "eng_Latn", n, "s") for n in (10, 99, 101, 1_000, 1_001))), settings)
    assert facts["bucket"].to_pylist() == [0, 0, 1, 1, -1]


def test_tokens_are_counted_only_where_there_are_enough_characters():
    counted = []

    def count(text):
        counted.append(len(text))
        return len(text) // 2

    settings = SamplingSettings(length_unit="tokens", min_length=10, max_length=20)
    facts = document_facts(documents(("a", "en", 9, "s"), ("b", "en", 18, "s"), ("c", "en", 30, "s")), settings, count)
    assert counted == [18, 30]
    assert facts["why_not"].to_pylist() == ["too_short", "too_short", None]
    with pytest.raises(SamplingError, match="tokenizer"):
        document_facts(documents(("a", "en", 9, "s")), settings)


def test_each_language_gets_what_is_wanted_and_no_document_is_in_two_splits():
    table = choose_documents(many(600), SHORT)
    counts = table.group_by(["language", "split"]).aggregate([([], "count_all")]).to_pylist()
    wanted = {"train": 6, "dev": 2, "test": 2, "corpus": 5}
    assert {(row["language"], row["split"]): row["count_all"] for row in counts} == {
        (language, split): count for language in ("eng_Latn", "deu_Latn") for split, count in wanted.items()
    }
    assert len(set(zip(table["source"].to_pylist(), table["document_id"].to_pylist(), strict=True))) == len(table)


def test_the_order_of_documents_and_of_batches_plays_no_part():
    facts = many(300)
    rows = list(range(300))
    random.seed(8)
    random.shuffle(rows)
    parts = [facts.take(pa.array(rows[start : start + 37])) for start in range(0, 300, 37)]
    assert choose_documents(pa.concat_tables(parts), SHORT).equals(choose_documents(facts, SHORT))


def test_another_seed_is_another_sample_and_the_same_seed_the_same():
    facts = many(300)
    other = SHORT.model_copy(update={"seed": 1})
    assert chosen(facts) == chosen(facts)
    assert chosen(facts) != chosen(facts, other)


def test_a_test_document_is_never_of_train_or_dev_in_a_larger_corpus():
    before, after = chosen(many(200)), chosen(many(2_000))
    for split in ("train", "dev", "test"):
        others = {"train", "dev", "test"} - {split}
        moved = [name for name, found in before.items() if found == split and after.get(name) in others]
        assert not moved


def test_documents_are_taken_from_all_sources_and_lengths():
    # 300 documents of s0 in one bucket, 12 in each of the others: shares follow the square root of the size.
    rows = [(f"a{n}", "en", 10, "s0") for n in range(300)] + [(f"b{n}", "en", 100, "s1") for n in range(12)]
    settings = SamplingSettings(
        min_length=10, max_length=100, counts=SplitCounts(train=12, dev=0, test=0, distractors=0), balance=0.5
    )
    picked = [source for source, _ in chosen(document_facts(documents(*rows), settings), settings)]
    # Square roots 17.3 and 3.46: of 12 documents 10 and 2.
    assert (picked.count("s0"), picked.count("s1")) == (10, 2)


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 200), st.floats(0, 1))
def test_shares_add_up_and_none_is_larger_than_its_stratum(sizes, wanted, balance):
    shares = allocate(wanted, sizes, balance)
    assert sum(shares) == min(wanted, sum(sizes))
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))


def test_shares_are_proportional_to_the_power_of_the_size():
    assert allocate(30, [400, 100], 0.5) == [20, 10]
    assert allocate(30, [400, 100], 1.0) == [24, 6]
    assert allocate(30, [400, 100], 0.0) == [15, 15]
    assert allocate(30, [400, 3], 0.0) == [27, 3]


def test_fewer_documents_than_wanted_are_told():
    facts = many(6, languages=("eng_Latn",))
    settings = SHORT.model_copy(update={"languages": ("en", "fr")})
    told = shortfalls(choose_documents(facts, settings), settings)
    assert any(line.startswith("eng: ") and "documents wanted for train" in line for line in told)
    assert "fra: 0 of 2 documents wanted for test; widen the bounds of length or add documents" in told


def test_two_documents_of_one_id_are_refused_by_name():
    rows = documents(("same", "en", 50, "s"), ("same", "en", 60, "s"), ("same", "en", 60, "other"))
    with pytest.raises(SamplingError, match="'same' of source 's'"):
        choose_documents(document_facts(rows, SHORT), SHORT)


def test_no_documents_give_no_sample():
    assert len(choose_documents(document_facts(documents(), SHORT), SHORT)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"languages": ("klingonish",)},
        {"min_length": 5, "max_length": 4},
        {"length_by_language": {"de": (9, 3)}},
        {"unheard_of": 1},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError):
        SamplingSettings(**wrong)


def test_documents_that_are_not_eligible_may_share_an_id():
    facts = document_facts(
        documents(("a", "eng_Latn", 5, "s"), ("a", "eng_Latn", 5, "s"), ("a", "eng_Latn", 50, "s")), SHORT
    )
    assert set(chosen(facts)) <= {("s", "a")}
