"""URLs are written in many ways: the same page is forgotten however the request and the sources write it."""

import pytest

from pipelines.forget.urls import one_spelling, spellings_of_row

# RFC 3986, 6.2.2.1 (case), 6.2.2.2 (escapes), 6.2.3 (port, empty path); RFC 3987, 3.1 (beyond ASCII); RFC 3490 (hosts)
SAME = [
    ("https://x.org/a", "http://x.org/a"),
    ("https://x.org/a", "HTTPS://X.Org/a"),
    ("https://x.org/a", "https://x.org/a/"),
    ("https://x.org", "https://x.org/"),
    ("https://x.org/a", "https://x.org:443/a"),
    ("http://x.org/a", "http://x.org:80/a"),
    ("https://x.org./a", "https://x.org/a"),
    ("https://x.org/%7euser", "https://x.org/~user"),
    ("https://x.org/k%c3%b6ln", "https://x.org/K%C3%B6ln".replace("K", "k")),
    ("https://x.org/köln", "https://x.org/k%C3%B6ln"),
    ("https://x.org/Стена", "https://x.org/%D0%A1%D1%82%D0%B5%D0%BD%D0%B0"),
    ("https://x.org/a_(b)", "https://x.org/a_%28b%29"),
    ("https://x.org/a b", "https://x.org/a%20b"),
    ("https://x.org/?q=ä", "https://x.org?q=%c3%a4"),
    ("https://bücher.de/1", "https://xn--bcher-kva.de/1"),
    ("  https://x.org/a", "https://x.org/a\n"),
]
OTHERS = [
    ("https://x.org/a", "https://x.org/A"),
    ("https://x.org/a", "https://x.org/ab"),
    ("https://x.org/a%2Fb", "https://x.org/a/b"),
    ("https://x.org/a?b=1", "https://x.org/a?b=2"),
    ("https://x.org:8080/a", "https://x.org/a"),
    ("https://www.x.org/a", "https://x.org/a"),
    ("https://u@x.org/a", "https://x.org/a"),
    ("ftp://x.org/a", "https://x.org/a"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_page_are_the_same(one, other):
    assert one_spelling(one) == one_spelling(other)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_different_pages_stay_apart(one, other):
    assert one_spelling(one) != one_spelling(other)


@pytest.mark.parametrize("odd", ["", "17", "http://[bad", "http://x.org:port/", "://", "urn:isbn:1", "https://"])
def test_what_is_no_url_stays_as_it_is(odd):
    assert one_spelling(odd) == odd


def test_a_part_of_a_page_goes_with_the_page_and_not_the_other_way():
    assert one_spelling("https://x.org/a") in spellings_of_row("http://x.org/a/#part")
    assert one_spelling("https://x.org/a#part") in spellings_of_row("http://x.org/a#part")
    assert one_spelling("https://x.org/a#part") not in spellings_of_row("http://x.org/a")
    assert one_spelling("https://x.org/a#other") not in spellings_of_row("http://x.org/a#part")
