"""Mr. TyDi: questions of native speakers in 11 languages, each with the passages of Wikipedia that answer it.

Each language is an input of its own. Passage `X#Y` is paragraph Y of article X: the article is the document. Rows of train
hold their texts (`query, positive_passages, negative_passages`); those of dev and test need not, and have pairs by their
topics, judgements and corpus.
"""

from typing import Final

from sources.judged.judged_files import JudgedFiles
from sources.judged.judged_source import Rows, judged_source
from sources.judged.passage_rows import passage_rows

LANGUAGES: Final = {
    "arabic": "ar",
    "bengali": "bn",
    "english": "en",
    "finnish": "fi",
    "indonesian": "id",
    "japanese": "ja",
    "korean": "ko",
    "russian": "ru",
    "swahili": "sw",
    "telugu": "te",
    "thai": "th",
}
SOURCE: Final = judged_source(
    name="mrtydi",
    summary="questions in 11 languages with the passages of Wikipedia that answer them",
    languages="as the names of the files say: ar bn en fi id ja ko ru sw te th",
    layout=(
        "qrels.mrtydi-v1.1-{language}.{split}.txt (TREC), topics.mrtydi-v1.1-{language}.{split}.txt (qid, query), and in a"
        " folder mrtydi-v1.1-{language} or of the language's code corpus.jsonl (docid, title, text) or collection/*; or"
        " rows mrtydi-v1.1-{language}/train.jsonl of query_id, query, positive_passages, negative_passages"
    ),
    license="Apache-2.0; the passages CC-BY-SA",
    obtain="https://github.com/castorini/mr.tydi",
    verified="real topics and judgements of 5 languages, real passages of 11; rows from memory",
    kinds=("question_context", "title_body"),
    files=JudgedFiles(
        judgements=(
            "qrels.mrtydi-v1.1-{language}.{split}.txt",
            "mrtydi-v1.1-{language}/qrels.{split}.txt",
            "mrtydi-v1.1-{language}/ir-format-data/qrels.{split}.txt",
        ),
        queries=(
            "topics.mrtydi-v1.1-{language}.{split}.txt",
            "mrtydi-v1.1-{language}/topic.{split}.tsv",
            "mrtydi-v1.1-{language}/topics.{split}.tsv",
            "mrtydi-v1.1-{language}/ir-format-data/topic.{split}.tsv",
            "mrtydi-v1.1-{language}/ir-format-data/topics.{split}.tsv",
        ),
        passages=(
            "mrtydi-v1.1-{language}/corpus.jsonl",
            "{language}/corpus.jsonl",
            "mrtydi-v1.1-{language}/collection/*.jsonl",
        ),
        languages=LANGUAGES,
    ),
    document_end="#",
    rows=Rows(
        names=(
            "mrtydi-v1.1-{language}/{split}*.jsonl",
            "mrtydi-v1.1-{language}/{split}*.parquet",
            "{language}/{split}*.jsonl",
            "{language}/{split}*.parquet",
            "{split}*.jsonl",
            "{split}-*.parquet",
        ),
        layouts=(passage_rows("mrtydi", document_end="#"),),
    ),
)
