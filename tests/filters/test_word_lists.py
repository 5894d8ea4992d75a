"""Words of lists in texts of many scripts, and files that are no lists."""

import gzip

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.phrases import PhraseFileError, PhraseSet
from filters.word_lists import count_listed_words


@pytest.fixture
def counted(tmp_path):
    file = tmp_path / "list.txt"

    def count(words, *texts):
        file.write_text(words, encoding="utf-8")
        fresh = tmp_path / f"{abs(hash(words))}.txt"
        file.rename(fresh)
        return count_listed_words(pa.array(texts), (str(fresh),)).to_pylist()

    return count


def test_words_are_counted_whole_and_folded(counted):
    assert counted("# comment\nviagra\ncafé\n\n", "VIAGRA, viagra; viagras", "Cafe!", "caf", "#comment") == [2, 1, 0, 0]


def test_phrases_are_counted_once_each_the_longest_first(counted):
    assert counted("buy\nbuy now\nnow", "Buy now, now or buy later") == [3]


def test_words_of_scripts_without_spaces_are_found_anywhere(counted):
    assert counted("色情\nポルノ\nโป๊", "这是色情网站", "無料ポルノ動画", "เว็บโป๊", "彩色情") == [1, 1, 1, 1]


def test_words_of_other_scripts_are_found_whole(counted):
    assert counted("казино\nكازينو\nपोर्न", "Казино онлайн", "казиношный", "كازينو", "पोर्न साइट") == [1, 0, 1, 1]


def test_words_next_to_chinese_letters_stand_alone(counted):
    assert counted("av", "看AV吧", "avtar") == [1, 0]


def test_emoji_can_be_listed(counted):
    assert counted("🖕", "no 🖕🖕 yes") == [2]


def test_no_list_counts_nothing():
    assert count_listed_words(pa.array(["a", None]), ()).to_pylist() == [0, 0]
    assert count_listed_words(pa.array(["a"]), ()).type == pa.int32()


def test_lists_are_joined_and_may_be_packed(tmp_path):
    one, two = tmp_path / "one.txt.gz", tmp_path / "two.txt"
    one.write_bytes(gzip.compress(b"foo\n"))
    two.write_text("bar\nfoo\n")
    assert count_listed_words(pa.array(["foo bar foo", None, ""]), (str(one), str(two))).to_pylist() == [3, 0, 0]


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    broken = tmp_path / "broken.txt.gz"
    broken.write_bytes(gzip.compress(b"foo\n")[:-6])
    for path, words in (
        (tmp_path / "missing.txt", "exists"),
        (broken, "unpack"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(PhraseFileError, match=words) as error:
            count_listed_words(pa.array(["x"]), (str(path),))
        assert str(path) in str(error.value)
        assert isinstance(error.value, ValueError)


WORDS = st.lists(st.sampled_from(["a", "b", "ab", "c"]), max_size=12)


@given(st.lists(WORDS.filter(bool), min_size=1, max_size=5), WORDS)
def test_matches_are_as_a_plain_search_finds_them(phrases, words):
    found, place = 0, 0
    while place < len(words):
        lengths = [len(phrase) for phrase in phrases if words[place : place + len(phrase)] == phrase]
        found += bool(lengths)
        place += max(lengths, default=1)
    phrase_set = PhraseSet.of([" ".join(phrase) for phrase in phrases])
    assert phrase_set.find(pa.array([" ".join(words)])).matches.tolist() == [found]
