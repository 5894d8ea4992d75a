import html
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.forget.fragments import LENGTH, Fragments, fragments_of, quoted, spelled

TEXTS = [
    "Der Hafen von Dunmore wurde im Jahre 1530 mit einer Mauer aus Granit befestigt & blieb.",
    "ミュンヘンの港は1530年に花崗岩の壁で守られるようになった。",
    'He said "yes" <and> left the harbour before the storm came over the wall.',
]


def search(*texts):
    return Fragments(spelled(fragments_of(texts)))


@given(st.binary(max_size=300), st.lists(st.binary(min_size=LENGTH, max_size=60), max_size=8), st.data())
@settings(max_examples=200, deadline=None)
def test_exactly_those_byte_strings_are_found_that_are_there(noise, wanted, data):
    placed = data.draw(st.lists(st.sampled_from(wanted), max_size=3)) if wanted else []
    content = noise.join([b"", *placed, noise]) if noise else b"".join(placed)
    assert Fragments(set(wanted)).found_in(content) == {each for each in wanted if each in content}


def test_a_text_is_found_however_it_is_written():
    for text in TEXTS:
        for written in (text, json.dumps(text), json.dumps(text, ensure_ascii=False), html.escape(text)):
            assert search(text).found_in(f"before {written} after".encode()), written


@given(st.text(min_size=1, max_size=200), st.data())
@settings(max_examples=200, deadline=None)
def test_any_part_of_twice_the_length_of_a_piece_is_found(text, data):
    # A piece is at most 35 bytes (32, and the rest of a character), so 71 bytes hold a whole one.
    start = data.draw(st.integers(0, len(text) - 1))
    part = text[start : data.draw(st.integers(start, len(text)))]
    try:
        content = part.encode()
    except UnicodeEncodeError:
        return
    found = search(text).found_in(b"\x00" + content + b"\x00")
    if len(content) >= 71 or (part == text and len(content) >= LENGTH):
        assert found


def test_other_texts_are_not_found():
    assert not search(*TEXTS[:2]).found_in(TEXTS[2].encode() * 3)
    assert not search("short").found_in(b"short short short short short short short")


def test_pieces_are_whole_characters_and_cover_the_text():
    for text in TEXTS:
        pieces = fragments_of([text])
        assert all(LENGTH <= len(piece.encode()) < LENGTH + 4 for piece in pieces)
        assert all(any(text[place] in piece for piece in pieces) for place in range(len(text)))


def test_short_values_are_found_between_marks_and_not_within_words():
    search_short = Fragments(quoted(["Harbour walls", 'a "b" c d']), 10)
    assert search_short.found_in(b'{"title": "Harbour walls"}')
    assert search_short.found_in(b"<td>Harbour walls</td>")
    assert search_short.found_in(json.dumps({"title": 'a "b" c d'}).encode())
    assert not search_short.found_in(b'{"text": "The Harbour walls of old"}')
