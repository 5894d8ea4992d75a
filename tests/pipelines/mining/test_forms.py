import pytest

from pipelines.mining.bad_rows import MiningInputError
from pipelines.mining.forms import BadRow, Fields, PairRow, fields_of, row_of

NOTHING_NAMED = {"query": None, "positive": None, "negatives": (), "document": None, "answers": None}
LISTS = Fields("flagembedding", "query", "pos", ("neg",))
COLUMNS = Fields("columns", "anchor", "positive", ("negative_1", "negative_2"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("query", "pos", "neg", "prompt"), ("flagembedding", "query", "pos", ("neg",))),
        (("query", "pos"), ("flagembedding", "query", "pos", ("neg",))),
        (("anchor", "positive"), ("columns", "anchor", "positive", ())),
        (("anchor", "positive", "negative"), ("columns", "anchor", "positive", ("negative",))),
        (
            ("question", "answer", "negative_1", "negative_2"),
            ("columns", "question", "answer", ("negative_1", "negative_2")),
        ),
        (("sentence1", "sentence2", "score"), ("columns", "sentence1", "sentence2", ())),
        (("pair_id", "query", "positive", "negatives", "kind"), ("pairs", "query", "positive", ("negatives",))),
        (("title", "body", "id"), ("columns", "title", "body", ())),
    ],
)
def test_the_names_of_the_fields_tell_the_form(names, expected):
    found = fields_of("a.jsonl", names, None, **NOTHING_NAMED)
    assert (found.form, found.query, found.positive, found.negatives) == expected


def test_a_named_field_goes_before_the_known_names():
    found = fields_of("a.jsonl", ("query", "pos", "clicked"), None, **NOTHING_NAMED | {"positive": "clicked"})
    assert (found.form, found.query, found.positive) == ("columns", "query", "clicked")


def test_a_file_without_a_positive_is_refused_with_the_fields_it_has():
    with pytest.raises(MiningInputError, match=r"a\.jsonl.*'query', 'url'.*--positive-field"):
        fields_of("a.jsonl", ("query", "url"), None, **NOTHING_NAMED)


def test_a_row_of_lists_is_read_whole():
    row = row_of({"query": "q", "pos": ["a", "b"], "neg": ["c"], "type": "x"}, LISTS)
    assert row == PairRow("q", ["a", "b"], ["c"], None, [])


@pytest.mark.parametrize("record", [{"query": "q", "pos": ["a"]}, {"query": "q", "pos": ["a"], "neg": None}])
def test_negatives_may_be_missing(record):
    assert row_of(record, LISTS).negatives == []


@pytest.mark.parametrize(
    ("record", "reason", "words"),
    [
        ({"query": "q", "pos": "a text"}, "not_a_list", '"a text"'),
        ({"query": "q", "pos": ["a"], "neg": "bad"}, "not_a_list", '["bad"]'),
        ({"query": "q", "pos": ["a", 3]}, "not_texts", "pos[1] is 3"),
        ({"query": "q", "pos": ["a", None]}, "not_texts", "pos[1]"),
        ({"query": "q", "pos": []}, "no_positive", "pos"),
        ({"query": "q", "pos": ["a", " "]}, "empty_text", "pos[1]"),
        ({"query": " \n", "pos": ["a"]}, "empty_text", "query"),
        ({"query": 7, "pos": ["a"]}, "wrong_type", "query is 7"),
        ({"pos": ["a"]}, "missing_field", "no query"),
        ({"query": "q", "neg": ["a"]}, "missing_field", "no pos"),
    ],
)
def test_a_row_that_is_not_as_it_should_be_says_what_and_where(record, reason, words):
    with pytest.raises(BadRow) as fault:
        row_of(record, LISTS)
    assert fault.value.reason == reason
    assert words in fault.value.detail


def test_columns_without_a_value_are_no_negatives_and_a_list_gives_several():
    record = {"anchor": "q", "positive": "a", "negative_1": None, "negative_2": ["b", "c"]}
    assert row_of(record, COLUMNS) == PairRow("q", ["a"], ["b", "c"], None, [])


def test_a_document_may_be_a_number_and_answers_one_text_or_several():
    fields = Fields("columns", "q", "p", (), "doc", "answer")
    assert row_of({"q": "x", "p": "y", "doc": 3, "answer": "z"}, fields) == PairRow("x", ["y"], [], "3", ["z"])
    assert row_of({"q": "x", "p": "y", "doc": None, "answer": ["a", "b"]}, fields).answers == ["a", "b"]
