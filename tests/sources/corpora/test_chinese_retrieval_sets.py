"""T2Ranking, Multi-CPR, cMedQA v2 and DuReader-retrieval."""

from pathlib import Path

from sources.schema import text_id
from tests.sources.judged_folder import folder, lines, read_folder, table

T2 = {
    "data/collection.tsv": table(
        ("pid", "text"), ("0", '他说"好"'), ("1", "海水涨潮"), ("2", "渡轮"), ("3", "磨坊"), ("4", "面包")
    ),
    "data/queries.train.tsv": table(("qid", "text"), ("7", "什么是潮汐")),
    "data/qrels.train.tsv": table(
        ("qid", "-", "pid", "rel"), ("7", 0, "1", 3), ("7", 0, "0", 2), ("7", 0, "2", 1), ("7", 0, "3", 0)
    ),
}


def test_t2ranking_calls_grades_of_2_relevant_and_lower_ones_negatives(tmp_path: Path) -> None:
    found = read_folder("t2ranking", folder(tmp_path, T2))
    assert [(*sides, pair["label"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("什么是潮汐", "海水涨潮", 3.0),
        ("什么是潮汐", '他说"好"', 2.0),
    ]
    assert [pair["negatives"] for pair in found.pairs] == [["渡轮", "磨坊"]] * 2
    assert [pair["document_id"] for pair in found.pairs] == ["t2ranking:1", "t2ranking:0"]
    assert {pair["query_lang"] for pair in found.pairs} == {"zho_Hans"}
    assert (found.records, found.quarantine) == (4, [])


def test_mined_passages_of_t2ranking_follow_without_the_relevant_ones(tmp_path: Path) -> None:
    mined = table(("qid", "pid", "index", "score"), ("7", "1", 0, 0.9), ("7", "4", 1, 0.8), ("8", "3", 0, 0.7))
    bm25 = table(("qid", "pid", "index"), ("7", "3", 0))
    found = read_folder(
        "t2ranking", folder(tmp_path, T2 | {"data/train.mined.tsv": mined, "data/train.bm25.tsv": bm25})
    )
    assert [pair["negatives"] for pair in found.pairs] == [["渡轮", "磨坊", "面包"]] * 2
    assert found.records == 4


def test_judgements_of_t2ranking_without_grades_are_all_relevant(tmp_path: Path) -> None:
    files = {name: text for name, text in T2.items() if "qrels" not in name}
    files["data/qrels.retrieval.train.tsv"] = table(("qid", "pid"), ("7", "1"))
    files["data/train.bm25.tsv"] = table(("qid", "pid", "index"), ("7", "1", 0), ("7", "3", 1))
    found = read_folder("t2ranking", folder(tmp_path, files))
    (pair,) = found.pairs
    assert (pair["positive"], pair["label"], pair["negatives"]) == ("海水涨潮", None, ["磨坊"])


def test_the_domains_of_multi_cpr_keep_their_ids_apart_and_parts_are_read(tmp_path: Path) -> None:
    files = {}
    for domain in ("ecom", "medical"):
        files[f"{domain}/qrels.train.tsv"] = table(("1", 0, "200000", 1))
        files[f"{domain}/train.query.txt"] = table(("1", f"{domain} query"))
    files["ecom/corpus.tsv"] = table(("200000", "a kettle"))
    files["medical/corpus_split_1.tsv"] = table(("1", "not this"))
    files["medical/corpus_split_2.tsv"] = table(("200000", "a remedy"), ("ragged",))
    found = read_folder("multi_cpr", folder(tmp_path, files))
    assert found.sides == [("ecom query", "a kettle"), ("medical query", "a remedy")]
    assert [pair["document_id"] for pair in found.pairs] == ["multi_cpr:ecom:200000", "multi_cpr:medical:200000"]
    assert found.reasons == [("line", 2, "wrong_number_of_columns")]


CMEDQA = {
    "question.csv": 'question_id,content\n1,"头痛, 怎么办"\n2,咳嗽\n',
    "answer.csv": 'ans_id,question_id,content\n11,1,"休息\n喝水"\n12,1,看医生\n13,2,吃药\n',
    "train_candidates.txt": "question_id,pos_ans_id,neg_ans_id\n1,11,13\n1,12,13\n2,13,11\n2,13,99\n",
    "dev_candidates.txt": "question_id,ans_id,cnt,label\n2,13,1,1\n2,11,2,0\n2,12,x\n",
}


def test_cmedqa2_pairs_questions_with_right_answers_and_takes_wrong_ones_as_negatives(tmp_path: Path) -> None:
    found = read_folder("cmedqa2", folder(tmp_path, CMEDQA))
    assert [(*sides, pair["negatives"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("头痛, 怎么办", "休息 喝水", ["吃药"]),
        ("头痛, 怎么办", "看医生", ["吃药"]),
        ("咳嗽", "吃药", ["休息 喝水"]),
    ]
    assert {(pair["kind"], pair["query_lang"]) for pair in found.pairs} == {("question_answer", "zho_Hans")}
    assert [pair["document_id"] for pair in found.pairs] == ["cmedqa2:11", "cmedqa2:12", "cmedqa2:13"]
    assert [reason for _, _, reason in found.reasons] == ["unknown_passage"]


def test_dev_of_cmedqa2_has_labels(tmp_path: Path) -> None:
    found = read_folder("cmedqa2", folder(tmp_path, CMEDQA), split="dev")
    (pair,) = found.pairs
    assert (pair["query"], pair["positive"], pair["negatives"], pair["label"]) == ("咳嗽", "吃药", ["休息 喝水"], 1.0)
    assert [reason for _, _, reason in found.reasons] == ["wrong_number_of_columns"]


def test_rows_of_dureader_retrieval_share_the_negatives_of_their_query(tmp_path: Path) -> None:
    dual = table(
        ("怎么去", "", "坐船", "", "坐车", "", "0")[:6],
        ("怎么去", "", "坐船", "", "走路", "0"),
        ("三列", "坐船", "坐车"),
        ("多少钱", "", "十元", "", "坐车", "0"),
    )
    found = read_folder(
        "dureader_retrieval", folder(tmp_path, {"train/dual.train.tsv": dual, "train/cross.train.tsv": ""})
    )
    assert [(*sides, pair["negatives"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("怎么去", "坐船", ["坐车", "走路"]),
        ("怎么去", "坐船", ["坐车", "走路"]),
        ("多少钱", "十元", ["坐车"]),
    ]
    assert found.pairs[0]["document_id"] == f"dureader_retrieval:{text_id('坐船').hex()}"
    assert found.reasons == [("line", 3, "wrong_number_of_columns")]


def test_labelled_rows_of_dureader_retrieval_are_pairs_and_negatives(tmp_path: Path) -> None:
    cross = table(("怎么去", "", "坐车", "0"), ("怎么去", "", "坐船", "1"))
    found = read_folder("dureader_retrieval", folder(tmp_path, {"cross.train.tsv": cross}))
    assert [(*sides, pair["negatives"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("怎么去", "坐船", ["坐车"])
    ]


def test_lines_of_dureader_retrieval_have_the_passages_of_their_question(tmp_path: Path) -> None:
    records = [
        {
            "question_id": "a1",
            "question": "怎么去",
            "answer_paragraphs": [
                {"paragraph_id": "f0", "paragraph_text": "坐船"},
                {"paragraph_id": "f1", "paragraph_text": "坐车"},
            ],
        },
        {"question_id": "a2", "question": "q", "answer_paragraphs": [{"paragraph_id": "f2"}]},
        {"question_id": "a3", "question": "q"},
    ]
    files = {"dev/dev.json": lines(*records), "dev/q2qid.dev.json": "{}", "train/dual.train.tsv": table(("q",))}
    found = read_folder("dureader_retrieval", folder(tmp_path, files), split="dev")
    assert found.sides == [("怎么去", "坐船"), ("怎么去", "坐车")]
    assert [pair["document_id"] for pair in found.pairs] == ["dureader_retrieval:f0", "dureader_retrieval:f1"]
    assert found.reasons == [("line", 2, "missing_field"), ("line", 3, "missing_field")]
