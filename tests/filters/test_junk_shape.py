import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.characters import CJK, IGNORED, class_of_character
from filters.junk_shape import measure_shape

_ENDS = ".!?。！？؟।॥۔።։…︒｡‽"


def shapes(text: str | None) -> tuple[float, float, float]:
    row = measure_shape(pa.array([text], pa.string())).to_pylist()[0]
    return row["sentence_end_words"], row["sentence_capitals"], row["letter_gap_share"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two. Three four!", (2, 0, 0)),
        ("Home About us Contact", (8, 4, 0)),  # no end: half of one
        ("See B.5. And 4. Then", (10, 6, 0)),  # numbers of headings end no sentence
        ('He said "no." Then (yes.)', (2.5, 0, 0)),
        ("Yes. Anna met Bob in Rome.", (3, 1, 0)),  # Bob and Rome in two sentences
        ("你好。世界很大。", (3, 0, 0)),
        ("首页 关于 联系", (12, 0, 2 / 6)),
        ("首页 - 关于 | 联系", (12, 0, 2 / 6)),
        ("我用 Debian 系统。 好。", (3, 0.5, 0)),
        ("", (0, 0, 0)),
        (None, (0, 0, 0)),
    ],
)
def test_shapes_are_counted_by_hand(text, expected):
    assert shapes(text) == pytest.approx(expected)


def reference(text: str) -> tuple[float, float, float]:
    """The same in plain Python, run by run; for texts without combining marks."""
    classes = class_of_character()
    words = ends = capitals = unspaced = gaps = 0
    starts, open_gap = True, False
    for part in text.split():
        run = "".join(character for character in part if classes[ord(character)] != IGNORED)
        in_word, letters, closing, previous = False, 0, False, None
        for character in run:
            if classes[ord(character)] >= CJK:
                ends += closing
                words += 1
                unspaced += 1
                gaps += open_gap and previous in (None, "sign")
                in_word, letters, closing, starts, previous = False, 2, False, False, "unspaced"
                open_gap = False
            elif character.isalnum():
                if not in_word:
                    words += 1
                    capitals += unicodedata.category(character) in ("Lu", "Lt") and not starts
                starts = False
                letters = 0 if character.isnumeric() or closing else letters + 1
                in_word, closing, previous, open_gap = True, False, "word", False
            else:
                category = unicodedata.category(character)
                if character in _ENDS:
                    closing = closing or letters >= 2
                elif category not in ("Pe", "Pf") and character != '"':
                    closing = False
                open_gap = open_gap and category not in ("Ps", "Pi")
                previous = "sign"
        ends += closing
        starts = starts or closing
        open_gap = previous == "unspaced" or (open_gap and previous == "sign")
    ends = max(ends, 0.5)
    return words / ends, capitals / ends, gaps / max(unspaced, 1)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from('abC D1.,!?()"“”«»-|  你好。！？、カナЖд'), max_size=40))
def test_shapes_are_those_of_a_plain_reference(text):
    assert shapes(text) == pytest.approx(reference(text), rel=1e-6)


def test_rows_do_not_touch_each_other():
    texts = ["你好", "世界 大", "One. Two", "three"]
    together = measure_shape(pa.array(texts)).to_pylist()
    assert together == [measure_shape(pa.array([text])).to_pylist()[0] for text in texts]
