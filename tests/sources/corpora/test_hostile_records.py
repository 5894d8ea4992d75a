"""Every source of JSON records on records whose every value was put in turn for one that it should not be."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sources.catalogue import load_source
from tests.sources.reading_all import Everything, write

DEEP = "nested a thousand times"  # json.dumps would not write it
LARGE = "&#" + "9" * 5000 + ";"
HOSTILE: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, -1.5, 1e308, "", " ", "-", "x:y", LARGE, DEEP),
    *("['\\ud800']", "[1]", "[" * 500, "http://x", "//", "</doc>", "\x01", "\u2028"),
    *([], {}, [[]], [None], [{}], [""], {"text": [1]}, {"": None}, ["a", ["b"]], [1, 2, 3]),
)

RECORDS: dict[str, tuple[dict[str, Any] | list[Any], ...]] = {
    "afriqa": (
        {
            "context": "c",
            "title": "t",
            "question_lang": "q",
            "question_translated": "p",
            "answer_lang": "a",
            "answer_pivot": {"answer_start": [1], "text": ["b"]},
        },
        {"question": "q", "translated_question": "p", "answers": "['a']", "translated_answer": "['b']", "lang": "hau"},
    ),
    "all_nli": (
        ["a", "b", "c"],
        {"anchor": "a", "positive": "b", "negative": "c"},
        {"premise": "a", "hypothesis": "b", "label": 0},
        {"split": "train", "sentence1": "a", "sentence2": "b", "label": "entailment"},
    ),
    "amazon_reviews_multi": (
        {"review_title": "t", "review_body": "b", "review_id": "r", "language": "de", "stars": 5},
    ),
    "baike2018qa": ({"qid": "q", "title": "t", "desc": "d", "answer": "a"},),
    "cc_net": ({"url": "u", "title": "t", "raw_content": "c", "language": "de", "language_score": 0.9},),
    "cc_news": (
        {"title": "t", "maintext": "m", "description": "d", "url": "u", "language": "de"},
        {"title": "t", "plain_text": "m", "requested_url": "u"},
        {"title": "t", "text": "m", "domain": "d", "url": "u"},
    ),
    "chinese_poetry": ({"title": "t", "paragraphs": ["a", "b"], "id": "i"}, {"rhythmic": "r", "paragraphs": ["a"]}),
    "cmnli": ({"sentence1": "a", "sentence2": "b", "label": "entailment"},),
    "cmrc2018": (
        {
            "context_id": "c",
            "context_text": "x",
            "title": "t",
            "qas": [{"query_id": "i", "query_text": "q", "answers": ["a"]}],
        },
    ),
    "codesearchnet": (
        {"docstring": "d", "code": 'f(): """d"""', "repo": "r", "path": "p", "url": "u"},
        {
            "func_documentation_string": "d",
            "func_code_string": "c",
            "repository_name": "r",
            "func_path_in_repository": "p",
            "func_code_url": "u",
        },
    ),
    "csl": ({"title": "t", "abstract": "a", "doc_id": 1}, {"title": "t", "abst": "a", "id": 1}),
    "dpr": (
        {
            "question": "q",
            "answers": ["a"],
            "positive_ctxs": [{"title": "t", "text": "p"}],
            "negative_ctxs": [{"title": "t", "text": "n"}],
            "hard_negative_ctxs": [{"title": "t", "text": "h"}],
        },
        {"question": "q", "answers": ["a"], "ctxs": [{"title": "t", "text": "p", "isgold": True, "hasanswer": True}]},
    ),
    "dureader": (
        {
            "question": "q",
            "question_id": 1,
            "documents": [{"title": "t", "paragraphs": ["a", "b"], "is_selected": True, "most_related_para": 1}],
            "answers": ["a"],
            "answer_docs": [0],
        },
    ),
    "flag_embedding": ({"query": "q", "pos": ["p"], "neg": ["n"], "pos_scores": [0.5]},),
    "hotpotqa": (
        {
            "_id": "i",
            "question": "q",
            "answer": "a",
            "supporting_facts": [["t", 0]],
            "context": [["t", ["a", "b"]], ["u", ["c"]]],
        },
        {
            "id": "i",
            "question": "q",
            "answer": "a",
            "supporting_facts": {"title": ["t"], "sent_id": [0]},
            "context": {"title": ["t"], "sentences": [["a"]]},
        },
    ),
    "law_gpt": ({"question": "q", "answer": "a", "reference": ["r"]}, {"input": "i", "output": "o"}),
    "mc4": ({"text": "A title\nand a body", "url": "u", "timestamp": "t"},),
    "mkqa": (
        {
            "example_id": 1,
            "query": "q",
            "queries": {"en": "q", "de": "f"},
            "answers": {"en": [{"type": "entity", "text": "a", "aliases": ["b"]}], "de": [{"text": "a"}]},
        },
        {"id": 1, "question": "q", "answers": ["a"]},
    ),
    "mtp": ({"query": "q", "pos": ["p"], "neg": ["n"]}, {"query": "q", "pos": "p"}, {"text_pair": ["a", "b"]}),
    "multi_nli": ({"sentence1": "a", "sentence2": "b", "gold_label": "entailment", "promptID": 1},),
    "natural_questions": (
        {
            "document_text": "a <P> b </P>",
            "question_text": "q",
            "document_url": "http://x/?title=A&amp;oldid=1",
            "example_id": 1,
            "annotations": [
                {
                    "long_answer": {"start_token": 0, "end_token": 2},
                    "short_answers": [{"start_token": 1, "end_token": 2}],
                }
            ],
        },
        {
            "document_tokens": [{"token": "a"}, {"token": "b"}],
            "question_text": "q",
            "annotations": [{"long_answer": {"start_token": 0, "end_token": 2}, "short_answers": []}],
        },
        {
            "id": "i",
            "document": {"title": "t", "url": "u", "tokens": {"token": ["a", "b"], "is_html": [False, False]}},
            "question": {"text": "q"},
            "annotations": {
                "long_answer": [{"start_token": 0, "end_token": 1}],
                "short_answers": [{"start_token": [0], "end_token": [1], "text": ["a"]}],
            },
        },
    ),
    "news2016zh": ({"news_id": "1", "title": "t", "desc": "d", "content": "c"},),
    "nli_zh": ({"sentence1": "a", "sentence2": "b", "label": 1},),
    "nli_zh_all": ({"text1": "a", "text2": "b", "label": 1}, {"sentence1": "a", "sentence2": "b", "label": 1}),
    "nq_open": ({"question": "q", "answer": ["a"]},),
    "ocnli": ({"sentence1": "a", "sentence2": "b", "label": "entailment", "prem_id": "p"},),
    "oscar": (
        {
            "content": "A title\nand a body",
            "warc_headers": {"warc-target-uri": "u"},
            "metadata": {"identification": {"label": "de", "prob": 0.9}},
        },
        {
            "text": "A title\nand a body",
            "meta": {
                "warc_headers": {"warc-target-uri": "u"},
                "identification": {"label": "de", "prob": 0.9},
            },
        },
    ),
    "pubmedqa": ({"pubid": 1, "question": "q", "context": {"contexts": ["a"]}, "long_answer": "l"},),
    "quora": (
        {"question1": "a", "question2": "b", "is_duplicate": True, "qid2": 2},
        {"questions": {"id": [1, 2], "text": ["a", "b"]}, "is_duplicate": True},
    ),
    "reddit": (
        {"title": "t", "selftext": "s", "id": "i", "permalink": "/r/x", "score": 1},
        {"title": "t", "body": "s"},
        {"summary": "s", "content": "c", "id": "i"},
        ["t", "b"],
    ),
    "scitldr": ({"source": ["a"], "target": ["b"], "title": "t", "paper_id": "p"},),
    "sentence_transformers": (
        {"texts": ["a", "b"], "label": 1.0},
        {"set": ["a", "b", "c"]},
        {"query": "q", "pos": ["p"], "neg": ["n"]},
        {"anchor": "a", "positive": "b", "negative_1": "c", "negatives": ["d"]},
        {"sentence1": "a", "sentence2": "b", "score": 0.9},
    ),
    "simclue": (
        {"sentence1": "a", "sentence2": "b", "label": "1"},
        {"query": "q", "title": "t", "neg_title": "n"},
    ),
    "simcse_nli": ({"sent0": "a", "sent1": "b", "hard_neg": "c"},),
    "snli": (
        {"sentence1": "a", "sentence2": "b", "gold_label": "entailment", "captionID": "c#1", "pairID": "p"},
        {"premise": "a", "hypothesis": "b", "label": 0},
    ),
    "squad": (
        {
            "title": "t",
            "paragraphs": [
                {"context": "c", "qas": [{"id": "i", "question": "q", "answers": [{"text": "a", "answer_start": 0}]}]}
            ],
        },
        {"context": "c", "qas": [{"id": "i", "question": "q", "answers": ["a"], "is_impossible": False}]},
        {"id": "i", "title": "t", "context": "c", "question": "q", "answers": {"text": ["a"], "answer_start": [0]}},
        {"header": {"dataset": "d"}},
    ),
    "translation2019zh": ({"english": "e", "chinese": "c"},),
    "triviaqa": (
        {
            "Question": "q",
            "QuestionId": "i",
            "Answer": {"Value": "v", "Aliases": ["w"]},
            "EntityPages": [{"Filename": "f.txt", "Title": "t"}],
            "SearchResults": [{"Filename": "g.txt", "Url": "u", "Title": "t", "Description": "the v"}],
        },
        {
            "question": "q",
            "question_id": "i",
            "answer": {"value": "v", "aliases": ["w"]},
            "entity_pages": {"filename": ["f"], "title": ["t"], "wiki_context": ["the v"]},
            "search_results": {"filename": ["f"], "url": ["u"], "description": ["v"], "search_context": ["the v"]},
        },
    ),
    "tydiqa": (
        {
            "question_text": "q",
            "language": "english",
            "document_title": "t",
            "document_url": "u",
            "document_plaintext": "abc def",
            "passage_answer_candidates": [{"plaintext_start_byte": 0, "plaintext_end_byte": 3}],
            "annotations": [
                {
                    "passage_answer": {"candidate_index": 0},
                    "minimal_answer": {"plaintext_start_byte": 0, "plaintext_end_byte": 2},
                }
            ],
        },
    ),
    "web_text": (
        {"id": "i", "text": "A title\nand a body", "url": "u", "language": "de", "language_score": 0.9},
        {"id": "i", "text": "b", "metadata": {"title": "t", "language": "de", "language_score": 1, "url": "u"}},
    ),
    "webtext2019zh": ({"qid": 1, "title": "t", "desc": "d<br>", "star": 3, "content": "c"},),
    "wiki2019zh": ({"id": "1", "url": "https://zh.wikipedia.org/wiki?curid=1", "title": "t", "text": "t\n\nb"},),
    "wiki_extractor": ({"id": "1", "url": "https://de.wikipedia.org/wiki?curid=1", "title": "t", "text": "t\n\nb"},),
    "wikipedia_hub": ({"id": "1", "url": "https://de.wikipedia.org/wiki/T", "title": "t", "text": "b"},),
    "wudao": ({"id": 1, "uniqueKey": "k", "title": "t", "content": "t\nb"},),
    "xlsum": ({"id": "i", "url": "u", "title": "t", "summary": "s", "text": "b"},),
    "xnli": (
        {"language": "de", "gold_label": "entailment", "sentence1": "a", "sentence2": "b", "promptID": "1"},
        {"premise": "a", "hypo": "b", "label": "entailment"},
        {
            "premise": {"de": "a", "en": "b"},
            "hypothesis": {"language": ["de", "en"], "translation": ["c", "d"]},
            "label": 0,
        },
        {"en": "a", "de": "b", "zh": "c"},
    ),
    "xp3": ({"inputs": "i", "targets": "t", "language": "deu_Latn"},),
}

WITHOUT_PAIRS = ({"rhythmic": "r", "paragraphs": ["a"]}, {"header": {"dataset": "d"}})


def changed(value: Any) -> Iterator[Any]:
    """The value with each value in it put for each of HOSTILE, and with each member left out."""
    yield from HOSTILE
    if isinstance(value, dict):
        for name, member in value.items():
            yield {other: value[other] for other in value if other != name}
            for new in changed(member):
                yield value | {name: new}
    elif isinstance(value, list):
        yield value[1:]
        for index, entry in enumerate(value):
            for new in changed(entry):
                yield [*value[:index], new, *value[index + 1 :]]


def line(record: Any) -> bytes:
    text = json.dumps(record, ensure_ascii=False).encode()
    return text.replace(json.dumps(DEEP).encode(), b"[" * 1000 + b"]" * 1000)


@pytest.mark.parametrize("name", RECORDS)
def test_no_value_of_a_record_ends_the_reading_and_every_record_counts(tmp_path: Path, name: str) -> None:
    source = load_source(name)
    for good in RECORDS[name]:
        rows = [good, *(record for record in changed(good) if record is not None)]
        path = write(tmp_path / "records.jsonl", b"\n".join(line(row) for row in rows))
        settings: dict[str, Any] = {"kinds": source.kinds, "documents": True}
        found = Everything(name, path, **settings)
        assert len(rows) <= found.records <= len(rows) + len(found.quarantine)  # bad parts are records of their own
        alone = Everything(name, write(tmp_path / "good.jsonl", line(good)), **settings)
        assert bool(alone.pairs) == (good not in WITHOUT_PAIRS)
        assert {(pair["query"], pair["positive"]) for pair in alone.pairs} <= set(found.sides)
