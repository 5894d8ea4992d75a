"""MIRACL, Mr. TyDi and MLDR."""

from pathlib import Path

from tests.sources.judged_folder import folder, lines, read_folder, table


def miracl(language: str, query: str, *passages: str) -> dict[str, str]:
    root = f"miracl-v1.0-{language}"
    documents = [{"docid": f"7#{number}", "title": "T", "text": text} for number, text in enumerate(passages)]
    return {
        f"{root}/topics/topics.miracl-v1.0-{language}-train.tsv": table(("1#0", query)),
        f"{root}/qrels/qrels.miracl-v1.0-{language}-train.tsv": table(
            ("1#0", "Q0", "7#0", 1), ("1#0", "Q0", "7#1", 0), ("1#0", "Q0", "8#0", 1)
        ),
        f"miracl-corpus-v1.0-{language}/docs-0.jsonl.gz": lines(documents[0]),
        f"miracl-corpus-v1.0-{language}/docs-1.jsonl.gz": lines(*documents[1:]),
    }


def test_each_language_of_miracl_has_its_own_passages_and_an_article_is_the_document(tmp_path: Path) -> None:
    files = miracl("sw", "swali", "kifungu", "kingine") | miracl("zh", "问题", "段落", "别的", "没有")
    found = read_folder("miracl", folder(tmp_path, files))
    assert [(*sides, pair["negatives"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("swali", "T kifungu", ["T kingine"]),
        ("问题", "T 段落", ["T 别的"]),
    ]
    assert [pair["query_lang"] for pair in found.pairs] == ["swa_Latn", "zho_Hans"]
    assert {pair["document_id"] for pair in found.pairs} == {"miracl:7"}
    assert found.reasons == [("line", 3, "unknown_passage")] * 2


def test_paragraphs_that_nobody_judged_have_their_title_as_query_when_asked_for(tmp_path: Path) -> None:
    files = miracl("zh", "问题", "段落", "别的", "没有")
    found = read_folder("miracl", folder(tmp_path, files), kinds=("title_body",), documents=True)
    assert [(*sides, pair["document_id"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("T", "没有", "miracl:7")
    ]
    assert found.documents == []  # paragraphs are no documents


def row(number: int, **more: object) -> dict[str, object]:
    return {
        "query_id": str(number),
        "query": f"question {number}",
        "positive_passages": [{"docid": "12#3", "title": "Salt", "text": "It comes from the sea."}],
        "negative_passages": [{"docid": "9#1", "title": "Rice", "text": "It grows."}],
    } | more


def test_rows_with_passages_are_pairs_in_the_language_of_their_name(tmp_path: Path) -> None:
    rows = [
        row(1),
        row(2, positive_passages=[{"docid": "12#3"}]),
        row(3, positive_passages="12#3"),
        row(4, negative_passages=[]),
        {"query": "no passages"},
    ]
    found = read_folder("mrtydi", folder(tmp_path, {"mrtydi-v1.1-finnish/train.jsonl.gz": lines(*rows)}))
    assert [(*sides, pair["negatives"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("question 1", "Salt It comes from the sea.", ["Rice It grows."]),
        ("question 4", "Salt It comes from the sea.", None),
    ]
    assert {(pair["query_lang"], pair["document_id"]) for pair in found.pairs} == {("fin_Latn", "mrtydi:12")}
    assert found.reasons == [
        ("line", 2, "missing_field"),
        ("line", 3, "wrong_type"),
        ("line", 5, "missing_field"),
    ]
    plain = read_folder("mrtydi", tmp_path, with_title=False, max_negatives=0)
    assert (plain.pairs[0]["positive"], plain.pairs[0]["negatives"]) == ("It comes from the sea.", None)


def test_judgements_of_mrtydi_use_the_corpus_of_their_language(tmp_path: Path) -> None:
    files = {
        "qrels.mrtydi-v1.1-sw.dev.txt": "5 Q0 12#3 1\n",
        "topics.mrtydi-v1.1-sw.dev.txt.gz": table(("5", "chumvi inatoka wapi")),
        "sw/corpus.jsonl.gz": lines({"docid": "12#3", "title": "Chumvi", "text": "Baharini."}),
        "fi/corpus.jsonl.gz": lines({"docid": "12#3", "title": "Suola", "text": "Merestä."}),
    }
    found = read_folder("mrtydi", folder(tmp_path, files), split="dev")
    assert found.sides == [("chumvi inatoka wapi", "Chumvi Baharini.")]
    assert found.pairs[0]["positive_lang"] == "swa_Latn"


def test_rows_of_mldr_are_questions_about_whole_articles(tmp_path: Path) -> None:
    long = {"docid": "doc-de-1", "text": "Ein langer Artikel. " * 50}
    files = {
        "mldr-v1.0-de/train.jsonl.gz": lines(
            {"query_id": "q-1", "query": "Worum geht es?", "positive_passages": [long], "negative_passages": []}
        ),
        "mldr-v1.0-de/corpus.jsonl.gz": lines(long),
        "mldr-v1.0-de/dev.jsonl.gz": lines({"query_id": "q-2", "query": "Was?", "positive_passages": [long]}),
        "qrels.mldr-v1.0-de-test.tsv": table(("q-3", 0, "doc-de-1", 1)),
        "topics.mldr-v1.0-de-test.tsv": table(("q-3", "Wozu?")),
    }
    place = folder(tmp_path, files)
    train = read_folder("mldr", place)
    assert train.sides == [("Worum geht es?", ("Ein langer Artikel. " * 50).strip())]
    assert (train.pairs[0]["document_id"], train.pairs[0]["query_lang"]) == ("mldr:doc-de-1", "deu_Latn")
    assert [query for query, _ in read_folder("mldr", place, split="dev").sides] == ["Was?"]
    test = read_folder("mldr", place, split="test", documents=True)
    assert [query for query, _ in test.sides] == ["Wozu?"]
    assert [document["document_id"] for document in test.documents] == ["mldr:doc-de-1"]
