"""Fragments of HTML as text."""

import time

import pytest

from sources.formats.html_text import fragment_text


@pytest.mark.parametrize(
    ("fragment", "text"),
    [
        ("plain & simple", "plain & simple"),
        ("<p>a</p><p>b</p>", "\na\n\nb\n"),
        ("in<strong>line</strong> and <a href='x'>link</a>", "inline and link"),
        ("one<BR/>two", "one\ntwo"),
        ("<pre><code>a &lt; b &amp;&amp; c</code></pre>", "\na < b && c\n"),
        ("x<!-- hidden <p> -->y", "xy"),
        ("x<!-- never closed", "x"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<param>", ""),
        ("<img src='a'>after", "\nafter"),
        ("&eacute;&#233;&#xe9;", "ééé"),
    ],
)
def test_a_fragment_gives_its_words(fragment: str, text: str) -> None:
    assert fragment_text(fragment) == text


@pytest.mark.parametrize("piece", ["<a ", "<!--", "&#1", "<p<", "</"])
def test_hostile_fragments_take_linear_time(piece: str) -> None:
    start = time.perf_counter()
    fragment_text(piece * 300_000)
    assert time.perf_counter() - start < 5  # a quadratic expression would take minutes
