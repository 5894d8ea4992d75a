"""Text in other encodings than UTF-8 as UTF-8: UTF-16 by its mark, GB18030 by what its bytes look like, any one when told."""

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Final

from sources.source import SourceError

UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
HEAD: Final = 1 << 16  # bytes that tell the encoding
_BROKEN_SHARE: Final = 0.3  # of what UTF-8 makes of the bytes beyond ASCII
_FEW: Final = 10  # Chinese characters: fewer are no sign
_COMMON_SHARE: Final = 0.8  # of them, in GB2312: letters with accents beside plain ones would give rare characters
_CHINESE_SHARE: Final = 0.9  # of the characters beyond ASCII; other encodings read as GB18030 give all kinds of them


def encoding_of(head: bytes) -> str | None:
    """The encoding of a file that begins like this, None for UTF-8 (or what is no text).

    GB18030 is told by these signs together: much of the bytes is no UTF-8 (a few broken characters are damage, and the
    others, read as GB18030, may well look Chinese), they are valid GB18030, nearly all that is not ASCII in them is Chinese
    characters and punctuation, and most of those are common ones.
    """
    head = head[:HEAD]
    if head.startswith(UTF16_MARKS):
        return "utf-16"
    if head.isascii() or _decoded(head, "utf-8") is not None:
        return None
    beyond = [character for character in head.decode("utf-8", "replace") if character > "\x7f"]
    if beyond.count("\ufffd") < _BROKEN_SHARE * len(beyond):
        return None
    text = _decoded(head, "gb18030")
    beyond = [character for character in text or "" if character > "\x7f"]
    chinese = "".join(filter(_is_chinese, beyond))
    common = len(chinese.encode("gb2312", "ignore")) // 2
    sure = (
        len(chinese) >= _FEW and len(chinese) >= _CHINESE_SHARE * len(beyond) and common >= _COMMON_SHARE * len(chinese)
    )
    return "gb18030" if sure else None


_DECLARED: Final = re.compile(rb"""\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
# Python knows codecs that are no encodings of text, and some that take a hostile text very long.
_OF_XML: Final = re.compile(
    r"utf-?8|us-ascii|ascii|iso-?8859-\d{1,2}|latin-?1|windows-\d{3,4}|cp125\d|koi8-[ru]|gb2312|gbk|gb18030|big5"
    r"|euc-(?:jp|kr)|shift[_-]jis",
    re.IGNORECASE,
)


def xml_encoding(head: bytes) -> str:
    """The encoding of an XML file that begins like this: UTF-16 by its mark, else what it declares, else UTF-8.

    Raises LookupError, with its name, for one that is not known.
    """
    if head.startswith(UTF16_MARKS):
        return "utf-16"
    declared = _DECLARED.match(head.removeprefix(codecs.BOM_UTF8))
    name = declared[1].decode().lower() if declared else "utf-8"
    if not _OF_XML.fullmatch(name) or not _is_known(name):
        raise LookupError(name)
    return name


def _is_known(encoding: str) -> bool:
    try:
        codecs.lookup(encoding)
    except LookupError:
        return False
    return True


def _decoded(head: bytes, encoding: str) -> str | None:
    """The text, its last character perhaps cut off; None where the bytes are not of this encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None


def _is_chinese(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff" or "\u3000" <= character <= "\u303f" or "\uff00" <= character <= "\uff60"


def as_utf8(chunks: Iterable[bytes], encoding: str | None = None) -> Iterator[bytes]:
    """The bytes of a file from its start as UTF-8. What cannot be decoded becomes U+FFFD, but for UTF-8: it stays.

    `encoding` is told rather than seen. Raises SourceError for one that Python does not know.
    """
    rest = iter(chunks)
    chunk: bytes | None = next(rest, b"")
    encoding = encoding or encoding_of(chunk or b"")
    decoder = None if encoding is None or _is_utf8(encoding) else codecs.getincrementaldecoder(encoding)("replace")
    while chunk is not None:
        text = chunk if decoder is None else decoder.decode(chunk).encode()
        if text:
            yield text
        chunk = next(rest, None)
    if decoder is not None and (tail := decoder.decode(b"", final=True)):
        yield tail.encode()


def _is_utf8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name == "utf-8"
    except LookupError as error:
        raise SourceError(
            f"unknown encoding {encoding!r}: name one that Python knows, e.g. gb18030 or cp1251"
        ) from error
