"""wikimedia/wikipedia: the articles of all Wikipedias as plain text, in Parquet.

Pairs: (title, text). The texts keep their headings as bare lines, which cannot be told from short paragraphs; the source
`wikipedia` makes pairs of sections, from the dumps.
"""

from typing import Final

from sources.families.path_language import language_of_path
from sources.records import Layout, record_source
from sources.wiki.wikipedia_articles import article_document, article_pairs

SOURCE: Final = record_source(
    name="wikipedia_hub",
    summary="Wikipedia articles as plain text, 323 languages",
    kinds=("title_body",),
    languages="any, as the urls or the folders say",
    layout="Parquet or JSON lines, folders such as 20231101.ja: id, url, title, text",
    license="CC-BY-SA-4.0",
    obtain="https://huggingface.co/datasets/wikimedia/wikipedia",
    verified="the corpus's README",
    layouts=(Layout({"title": str, "text": str, "url": str}, article_pairs, document=article_document),),
    language=language_of_path(r"(?:^|/)\d{8}\.([a-z][a-z_-]+)/"),
)
