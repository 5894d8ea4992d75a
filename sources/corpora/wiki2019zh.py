"""wiki2019zh (brightmart/nlp_chinese_corpus): 1 million articles of the Chinese Wikipedia.

Pairs: (title, text), without the title that starts the text.
"""

from typing import Final

from sources.records import Layout, record_source
from sources.wiki.wikipedia_articles import article_document, article_pairs

SOURCE: Final = record_source(
    name="wiki2019zh",
    summary="Chinese Wikipedia articles of 2019",
    kinds=("title_body",),
    languages="zho_Hans",
    layout="JSON lines in files such as AA/wiki_00: id, url, title, text",
    license="CC-BY-SA-3.0 (Wikipedia)",
    obtain="https://github.com/brightmart/nlp_chinese_corpus",
    verified="the corpus's README",
    layouts=(Layout({"title": str, "text": str}, article_pairs, {"url": str}, article_document),),
    language="zho_Hans",
)
