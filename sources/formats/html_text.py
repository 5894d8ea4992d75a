"""Fragments of well-behaved HTML, such as the posts of a dump, to plain text in two passes of regular expressions.

It is no parser for pages of the web: scripts, styles and hidden parts are not known here.
"""

import re
from typing import Final

from sources.wiki.wikitext import unescape_entities

_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_BLOCK: Final = re.compile(
    r"</?(?:p|div|br|hr|li|ul|ol|dl|dt|dd|pre|blockquote|h[1-6]|table|tr|td|th|img)\b[^<>]*>", re.IGNORECASE
)
_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]*>")


def fragment_text(fragment: str) -> str:
    """The words of a fragment: blocks begin a new line, code stays as it is, links and emphasis leave their text.

    >>> fragment_text("<p>See <a href='/x'>the <em>docs</em></a>:</p><pre><code>a &lt; b</code></pre>").split()
    ['See', 'the', 'docs:', 'a', '<', 'b']
    """
    if "<" in fragment:
        if "<!--" in fragment:
            fragment = _COMMENT.sub("", fragment)
        fragment = _TAG.sub("", _BLOCK.sub("\n", fragment))
    return unescape_entities(fragment)
