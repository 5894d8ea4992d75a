import gc
import gzip
import json

import pytest

from trainer.evaluate import EvaluationDataError, load, load_beir, load_retrieval, read_judgements


def write(file, content):
    """Text, or rows as JSON lines, packed where the name ends in .gz."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    packed = gzip.compress(content.encode()) if file.suffix == ".gz" else content.encode()
    file.write_bytes(packed)


def miracl(folder, languages=("sw", "th")):
    texts = {"sw": ("Mto Nile ni mrefu.", "Mto mrefu zaidi ni upi?"), "th": ("แม่น้ำไนล์ยาวที่สุด", "แม่น้ำใดยาวที่สุด")}
    for language in languages:
        passage, question = texts[language]
        inner = folder / f"miracl-v1.0-{language}"
        write(inner / "topics" / f"topics.miracl-v1.0-{language}-dev.tsv", f"7#0\t{question}\n8#0\tunjudged\n")
        write(inner / "qrels" / f"qrels.miracl-v1.0-{language}-dev.tsv", "7#0\tQ0\t7#0\t1\n7#0\tQ0\t9#1\t0\n")
        corpus = folder / f"miracl-corpus-v1.0-{language}"
        write(corpus / "docs-0.jsonl.gz", [{"docid": "7#0", "title": "Nile", "text": passage}])
        write(corpus / "docs-1.jsonl.gz", [{"docid": "9#1", "title": "", "text": "other"}])
    return folder


def test_miracl_gives_a_set_for_each_language(tmp_path):
    sets = load_retrieval(miracl(tmp_path))
    assert [(data.name, data.layout, data.languages) for data in sets] == [
        ("miracl", "miracl", ["sw"]),
        ("miracl", "miracl", ["th"]),
    ]
    swahili = sets[0]
    assert (swahili.query_ids, swahili.queries) == (["7#0"], ["Mto mrefu zaidi ni upi?"])
    assert list(swahili.document_ids) == ["9#1", "7#0"]
    assert list(swahili.documents) == ["other", "Nile Mto Nile ni mrefu."]
    assert swahili.relevance == {"7#0": {"7#0": 1, "9#1": 0}}


def test_only_the_languages_asked_for_are_read(tmp_path):
    [data] = load_retrieval(miracl(tmp_path), languages=["th"])
    assert data.languages == ["th"]
    with pytest.raises(EvaluationDataError, match="holds nothing in de: it has sw, th"):
        load_retrieval(tmp_path, languages=["de"])
    with pytest.raises(EvaluationDataError, match="holds nothing in de: it has sw, th"):
        load_retrieval(tmp_path, languages=["th", "de"])
    folder = beir(tmp_path / "beir", [("a", "x")], [("q", "?")], [("q", "a", 1)])
    with pytest.raises(EvaluationDataError, match="holds nothing in de: its files name no language"):
        load_retrieval(folder, languages=["de"])


def test_miracl_without_a_languages_corpus_or_qrels_is_refused(tmp_path):
    folder = miracl(tmp_path)
    for file in (folder / "miracl-corpus-v1.0-th").iterdir():
        file.unlink()
    with pytest.raises(EvaluationDataError, match="no passages for language 'th'"):
        load_retrieval(folder)
    next(folder.rglob("qrels.*sw*")).unlink()
    with pytest.raises(EvaluationDataError, match=r"qrels\.miracl-v1\.0-sw-dev\.tsv is missing"):
        load_retrieval(folder)
    with pytest.raises(EvaluationDataError, match=r"no topics\.miracl-v1\.0-LANGUAGE-test\.tsv"):
        load_retrieval(folder, split="test")


@pytest.mark.parametrize(
    ("topics", "qrels", "corpus"),
    [
        ("mrtydi-v1.1-finnish/topic.test.tsv", "mrtydi-v1.1-finnish/qrels.test.txt", "mrtydi-v1.1-finnish/corpus.jsonl.gz"),
        ("topics/topics.mrtydi-v1.1-fi.test.txt.gz", "qrels/qrels.mrtydi-v1.1-fi.test.txt", "fi/corpus.jsonl"),
        ("mrtydi-v1.1-finnish/topic.test.tsv", "qrels.mrtydi-v1.1-finnish.test.txt", "mrtydi-v1.1-finnish/collection/docs.jsonl"),
    ],
)  # fmt: skip
def test_mr_tydi_is_read_as_its_makers_and_as_anserini_lay_it_out(tmp_path, topics, qrels, corpus):
    write(tmp_path / topics, "11\tMikä joki on pisin?\n")
    write(tmp_path / qrels, "11\tQ0\t5#2\t1\n")
    write(tmp_path / corpus, [{"docid": "5#2", "title": "Niili", "text": "Niili on pisin."}])
    [data] = load_retrieval(tmp_path)
    assert (data.layout, data.languages, data.queries) == ("mrtydi", ["fi"], ["Mikä joki on pisin?"])
    assert (list(data.documents), data.relevance) == (["Niili Niili on pisin."], {"11": {"5#2": 1}})


def test_mldr_takes_its_judgements_from_the_rows(tmp_path):
    rows = [
        {
            "query_id": "q-1",
            "query": "何が長い?",
            "positive_passages": [{"docid": "d2", "text": "長い"}],
            "negative_passages": [],
        }
    ]
    write(tmp_path / "mldr-v1.0-ja" / "test.jsonl.gz", rows)
    write(tmp_path / "mldr-v1.0-ja" / "corpus.jsonl.gz", [{"docid": f"d{n}", "text": "川" * n} for n in range(3)])
    write(tmp_path / "pt" / "test.jsonl", rows)
    write(tmp_path / "corpus-pt" / "corpus.jsonl", [{"docid": "d2", "text": "rio"}])
    japanese, portuguese = load_retrieval(tmp_path)
    assert (japanese.layout, japanese.languages, len(japanese.documents)) == ("mldr", ["ja"], 3)
    assert japanese.relevance == {"q-1": {"d2": 1}}
    assert (portuguese.languages, list(portuguese.documents)) == (["pt"], ["rio"])


@pytest.mark.parametrize(
    ("folder", "corpus", "layout", "language"),
    [
        ("mrtydi-v1.1-korean", "mrtydi-v1.1-korean/corpus.jsonl.gz", "mrtydi", "ko"),
        ("miracl-v1.0-ko", "miracl-corpus-v1.0-ko/docs-0.jsonl.gz", "miracl", "ko"),
    ],
)
def test_rows_of_miracl_and_mr_tydi_are_told_from_those_of_mldr_by_their_folders(
    tmp_path, folder, corpus, layout, language
):
    split = {"mrtydi": "test", "miracl": "dev"}[layout]
    row = {"query_id": "1", "query": "가장 긴 강?", "positive_passages": [{"docid": "3#0"}], "negative_passages": []}
    write(tmp_path / folder / f"{split}.jsonl.gz", [row])
    write(tmp_path / corpus, [{"docid": "3#0", "title": "강", "text": "길다"}])
    [data] = load_retrieval(tmp_path)
    assert (data.layout, data.name, data.languages) == (layout, layout, [language])
    assert (data.relevance, list(data.documents)) == ({"1": {"3#0": 1}}, ["강 길다"])


def answers_of(*texts, kind="entity", aliases=()):
    return [{"type": kind, "entity": "", "text": text, "aliases": list(aliases)} for text in texts]


def test_mkqa_keeps_questions_with_short_answers_in_each_language_over_one_corpus(tmp_path):
    rows = [
        {
            "example_id": 1,
            "query": "who",
            "queries": {"da": "hvem", "tr": "kim"},
            "answers": {"da": answers_of("Curie", aliases=["Marie Curie"]), "tr": answers_of("Küri")},
        },
        {
            "example_id": 2,
            "query": "?",
            "queries": {"da": "hvad", "tr": "ne"},
            "answers": {
                "da": [{"type": "unanswerable", "text": None}],
                "tr": answers_of("evet", kind="binary"),
            },
        },
    ]
    write(tmp_path / "mkqa.jsonl.gz", rows)
    write(tmp_path / "nq" / "corpus.jsonl", [{"_id": "p", "title": "", "text": "Marie Curie"}])
    danish, turkish = load_retrieval(tmp_path)
    assert (danish.query_ids, danish.queries, danish.answers) == (["1"], ["hvem"], [["Curie", "Marie Curie"]])
    assert (turkish.languages, turkish.answers) == (["tr"], [["Küri"]])
    assert danish.documents is turkish.documents


def test_the_evaluation_files_of_mkqa_by_language_are_read(tmp_path):
    write(
        tmp_path / "km.jsonl",
        [{"id": 4, "question": "តើអ្នកណា", "answers": ["ស្រី", "x"]}, {"id": 5, "question": "?", "answers": []}],
    )
    write(tmp_path / "corpus.jsonl", [{"id": 1, "text": "ស្រី"}])
    [data] = load_retrieval(tmp_path)
    assert (data.layout, data.languages, data.query_ids) == ("mkqa", ["km"], ["4"])
    assert data.answers == [["ស្រី", "x"]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"id": 1, "question": "?", "answers": "Paris"},
            "line 1, must hold a list of strings in answers; found 'Paris'",
        ),
        ({"id": 1, "question": "?", "answers": [7]}, "line 1, must hold a list of strings in answers"),
    ],
)
def test_answers_that_are_no_list_of_strings_are_refused(tmp_path, row, message):
    # The letters of a string would each be an answer.
    write(tmp_path / "fr.jsonl", [row])
    write(tmp_path / "corpus.jsonl", [{"id": 1, "text": "x"}])
    with pytest.raises(EvaluationDataError, match=message):
        load_retrieval(tmp_path)


@pytest.mark.parametrize("answers", [["Curie"], {"fr": ["Curie"]}, {"fr": [{"text": 7, "type": "number"}]}])
def test_answers_of_mkqa_in_another_form_are_refused(tmp_path, answers):
    write(tmp_path / "mkqa.jsonl", [{"example_id": 1, "queries": {"fr": "qui"}, "answers": answers}])
    write(tmp_path / "corpus.jsonl", [{"id": 1, "text": "x"}])
    with pytest.raises(EvaluationDataError, match=r"mkqa\.jsonl, line 1, must hold"):
        load_retrieval(tmp_path)


def test_folders_above_the_set_do_not_tell_the_language_of_a_corpus(tmp_path):
    folder = miracl(tmp_path / "th" / "data")
    assert [list(data.document_ids) for data in load_retrieval(folder)] == [["9#1", "7#0"]] * 2


def test_files_may_begin_with_a_byte_order_mark(tmp_path):
    folder = beir(tmp_path, [("a", "x")], [("q", "?")], [("q", "a", 1)])
    for file in (folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels" / "test.tsv"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    (folder / "qrels" / "test.tsv").write_text("\ufeffq\ta\t1\n", "utf-8")
    assert load_beir(folder).relevance == {"q": {"a": 1}}


def test_a_corpus_that_another_process_stored_meanwhile_is_taken(tmp_path, monkeypatch):
    folder = beir(tmp_path / "set", [("a", "x")], [("q", "?")], [("q", "a", 1)])
    store, entered = load.store_corpus, []

    def store_meanwhile(batches, target):
        if not entered:
            entered.append(target)
            load_beir(folder, work=tmp_path / "work")
        return store(batches, target)

    monkeypatch.setattr(load, "store_corpus", store_meanwhile)
    assert list(load_beir(folder, work=tmp_path / "work").documents) == ["x"]
    assert len(list((tmp_path / "work").iterdir())) == 1


def test_a_layout_may_be_told_and_a_folder_without_any_is_refused(tmp_path):
    with pytest.raises(EvaluationDataError, match=r"holds no corpus\.jsonl"):
        load_retrieval(tmp_path)
    with pytest.raises(EvaluationDataError, match="as the layout miracl has it"):
        load_retrieval(tmp_path, layout="miracl")
    with pytest.raises(EvaluationDataError, match="no folder"):
        load_retrieval(tmp_path / "elsewhere")


def beir(folder, corpus, queries, qrels):
    write(folder / "corpus.jsonl", [{"_id": key, "text": text} for key, text in corpus])
    write(folder / "queries.jsonl", [{"_id": key, "text": text} for key, text in queries])
    write(
        folder / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{s}\n" for q, d, s in qrels)
    )
    return folder


def test_judged_documents_that_the_corpus_lacks_and_queries_without_relevant_ones_are_counted(tmp_path, caplog):
    qrels = [("q1", "a", 1), ("q1", "gone", 1), ("q2", "gone", 2), ("q2", "lost", 1), ("q3", "a", 0)]
    data = load_beir(beir(tmp_path, [("a", "x"), ("b", "y")], [(f"q{n}", "?") for n in (1, 2, 3)], qrels))
    assert data.notes == {"judged_documents_missing": 3, "queries_without_relevant_document": 1}
    assert "judges 3 documents that" in caplog.text
    assert "1 queries without a relevant document: each counts as zero" in caplog.text


def test_languages_of_queries_may_stand_beside_their_text(tmp_path):
    folder = beir(tmp_path, [("a", "x")], [], [("q", "a", 1)])
    write(folder / "queries.jsonl", [{"_id": "q", "text": "?", "lang": "ar"}])
    assert load_beir(folder).languages == ["ar"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("q\td\t1\nq\td\t2\n", "line 2, grades document 'd' for query 'q' with 2; an earlier line says 1"),
        (
            "q\td\t2147483648\n",
            "line 1, grades document 'd' for query 'q' with 2147483648, and the largest grade is 1000000",
        ),
        ("q 0 d high\n", "line 1, must hold a query id"),
        ("q\td\n", "line 1, must hold a query id"),
        ("", "judges nothing"),
    ],
)
def test_judgements_that_cannot_be_read_are_refused(tmp_path, lines, message):
    (tmp_path / "qrels").write_text(lines)
    with pytest.raises(EvaluationDataError, match=message):
        read_judgements(tmp_path / "qrels")


def test_judgements_of_trec_may_be_separated_by_spaces_and_repeat_themselves(tmp_path):
    (tmp_path / "qrels").write_text("19 Q0 7 2\n19\tQ0\t8\t0\n19 Q0 7 2\n")
    assert read_judgements(tmp_path / "qrels") == {"19": {"7": 2, "8": 0}}


def test_rows_of_other_forms_are_refused_with_their_line(tmp_path):
    write(tmp_path / "en" / "test.jsonl", [{"query_id": "q", "query": "?", "positive_passages": ["d"]}])
    write(tmp_path / "en" / "corpus.jsonl", [{"docid": "d", "text": "x"}])
    with pytest.raises(EvaluationDataError, match=r"test\.jsonl, line 1, must hold positive_passages"):
        load_retrieval(tmp_path)
    folder = miracl(tmp_path / "miracl", ("sw",))
    topics = next(folder.rglob("topics.*"))
    topics.write_text("7#0\tx\nno tab\n")
    with pytest.raises(EvaluationDataError, match="line 2, must hold a query id and a query"):
        load_retrieval(folder)


def test_a_corpus_in_a_working_folder_is_stored_once(tmp_path):
    folder = beir(tmp_path / "set", [("a", "x"), ("b", "y")], [("q", "?")], [("q", "a", 1)])
    first = load_beir(folder, work=tmp_path / "work")
    [stored] = (tmp_path / "work").iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in stored.iterdir()}
    again = load_beir(folder, work=tmp_path / "work")
    assert {path.name: path.stat().st_mtime_ns for path in stored.iterdir()} == before
    assert first.fingerprint == again.fingerprint
    write(folder / "corpus.jsonl", [{"_id": "a", "text": "changed"}, {"_id": "b", "text": "y"}])
    assert list(load_beir(folder, work=tmp_path / "work").documents) == ["y", "changed"]


def test_a_temporary_corpus_goes_with_the_set(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    data = load_beir(beir(tmp_path / "set", [("a", "x")], [("q", "?")], [("q", "a", 1)]))
    [folder] = (tmp_path / "temporary").iterdir()
    documents = data.documents
    del data
    assert list(documents) == ["x"]
    del documents
    gc.collect()
    assert not folder.exists()


def test_the_fingerprint_is_of_the_content_and_not_of_files_and_order(tmp_path):
    corpus, queries = [("a", "x"), ("b", "y")], [("q1", "?"), ("q2", "!")]
    qrels = [("q1", "a", 1), ("q2", "b", 2)]
    prints = [
        load_beir(beir(tmp_path / str(number), *content)).fingerprint
        for number, content in enumerate(
            [
                (corpus, queries, qrels),
                (corpus[::-1], queries[::-1], qrels[::-1]),
                ([("a", "xb"), ("b", "")], queries, qrels),
                (corpus, queries, [("q1", "a", 1), ("q2", "b", 1)]),
                (corpus, [("q1", "?!"), ("q2", "!")], qrels),
            ]
        )
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4
