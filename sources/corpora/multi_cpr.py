"""Multi-CPR: Chinese queries of online shopping, medicine and video search, each with its passage.

Each domain is an input of its own. Passage ids are those of their domain, and so the domain is in the document's id.
"""

from typing import Final

from sources.judged.judged_files import JudgedFiles, folder_names
from sources.judged.judged_source import judged_source
from sources.source import Split


def _prefix(split: Split) -> str:
    domain = next((name for name in folder_names(split.path) if name.lower() in ("ecom", "medical", "video")), None)
    return f"multi_cpr:{domain.lower()}" if domain else "multi_cpr"


SOURCE: Final = judged_source(
    name="multi_cpr",
    summary="Chinese queries of shopping, medicine and video search with their passages",
    kinds=("question_context",),
    languages="zho_Hans",
    layout=(
        "ecom, medical, video: each qrels.{train,dev}.tsv (qid, 0, pid, 1), {train,dev}.query.txt (qid, query) and"
        " corpus.tsv, or corpus_split_*.tsv, (pid, passage)"
    ),
    license="Apache-2.0",
    obtain="https://github.com/Alibaba-NLP/Multi-CPR",
    verified="the names and columns of the corpus's files",
    files=JudgedFiles(
        judgements=("qrels.{split}.tsv",),
        queries=("{split}.query.txt",),
        passages=("corpus.tsv", "corpus_split_*.tsv"),
    ),
    language="zho_Hans",
    document_prefix=_prefix,
)
