"""LeCaRD, LeCaRDv2 and COLIEE: cases as queries, each text a file of its own."""

import json
import zipfile
from pathlib import Path

import pytest

from sources.source import SourceError
from tests.sources.judged_folder import folder, lines, read_folder, table


def case(number: int) -> str:
    return json.dumps({"ajId": f"a{number}", "ajjbqk": f"经过{number}", "qw": f"全文 {number}", "writId": "w"})


LECARD = {
    "label/label_top30_dict.json": json.dumps({"-77": {"5": 3, "6": 2, "7": 0, "9": 3}, "88": {"5": 3}}),
    "query/query.json": lines(
        {"path": "p", "ridx": -77, "q": "被告人甲", "crime": ["罪"]}, {"ridx": 88, "q": "被告人乙"}
    ),
    "candidates/-77/5.json": case(5),
    "candidates/-77/6.json": case(6),
    "candidates/-77/7.json": case(7),
    "candidates/-77/8.json": case(8),
    "candidates/-77/9.json": json.dumps({"other": 1}),
    "candidates/88/5.json": case(5),
    "candidates/99/3.json": "never opened: no JSON",
}


def test_lecard_pairs_a_case_with_those_graded_3_and_takes_ungraded_candidates_as_negatives(tmp_path: Path) -> None:
    found = read_folder("lecard", folder(tmp_path, LECARD))
    assert [(*sides, pair["label"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("被告人甲", "全文 5", 3.0),
        ("被告人乙", "全文 5", 3.0),
    ]
    assert [pair["negatives"] for pair in found.pairs] == [["全文 7", "全文 8"], None]
    assert {pair["document_id"] for pair in found.pairs} == {"lecard:5"}
    assert found.reasons == [("byte", 0, "missing_field"), ("entry", 4, "unknown_passage")]


def test_candidates_may_stay_in_their_archives(tmp_path: Path) -> None:
    plain = {name: text for name, text in LECARD.items() if not name.startswith("candidates")}
    place = folder(tmp_path, plain | {"candidates/readme.txt": ""})
    with zipfile.ZipFile(place / "candidates/candidates1.zip", "w") as archive:
        for number in (5, 6, 7, 8):
            archive.writestr(f"-77/{number}.json", case(number))
    found = read_folder("lecard", place)
    assert found.sides == [("被告人甲", "全文 5"), ("被告人乙", "全文 5")]
    assert found.pairs[0]["negatives"] == ["全文 7", "全文 8"]


def test_the_text_of_a_case_may_be_what_happened(tmp_path: Path) -> None:
    found = read_folder("lecard", folder(tmp_path, LECARD), text="fact", min_grade=2, max_negatives=1)
    assert [pair["positive"] for pair in found.pairs] == ["经过5", "经过6", "经过5"]
    assert [pair["negatives"] for pair in found.pairs] == [["经过7"], ["经过7"], None]


def test_labels_of_another_shape_are_refused(tmp_path: Path) -> None:
    files = LECARD | {"label/label_top30_dict.json": json.dumps({"-77": [5]})}
    with pytest.raises(SourceError, match=r"'-77' is a list; expected \{query id: \{case id: grade\}\}"):
        read_folder("lecard", folder(tmp_path, files))


def test_lecardv2_reads_the_judgements_of_its_split(tmp_path: Path) -> None:
    files = {
        "label/relevence.trec": table(("1", 0, "30", 3), ("1", 0, "31", 0), ("1", 0, "32", 1), ("2", 0, "31", 2)),
        "query/train_query.json": lines({"id": 1, "query": "全部案情", "fact": "案情"}),
        "query/test_query.json": lines({"id": 2, "query": "测试", "fact": "测试"}),
        **{
            f"candidate/candidate_55192/{number}.json": json.dumps({"pid": number, "qw": f"判决{number}", "fact": "x"})
            for number in (30, 31, 32)
        },
    }
    place = folder(tmp_path, files)
    found = read_folder("lecard", place)
    (pair,) = found.pairs
    assert (pair["query"], pair["positive"], pair["negatives"], pair["label"]) == (
        "全部案情",
        "判决30",
        ["判决31"],
        3.0,
    )
    assert (found.quarantine, found.records) == ([], 4)
    assert read_folder("lecard", place, split="test").sides == [("测试", "判决31")]


COLIEE: dict[str, str | bytes] = {
    "task1_train_labels_2023.json": json.dumps({"001.txt": ["002.txt", "004.txt"], "003": ["001"]}),
    "task1_train_files_2023/001.txt": "The applicant seeks review.",
    "task1_train_files_2023/002.txt": "Review was\n refused.",
    "task1_train_files_2023/003.txt": b"broken \xff",
    "task1_train_files_2023/005.txt": "Not cited.",
    "task1_train_files_2022/002.txt": "A case of another year.",
}


def test_coliee_pairs_a_case_with_those_it_cites(tmp_path: Path) -> None:
    found = read_folder("coliee", folder(tmp_path, COLIEE))
    assert found.sides == [("The applicant seeks review.", "Review was refused.")]
    (pair,) = found.pairs
    assert (pair["kind"], pair["document_id"], pair["query_lang"]) == ("citation", "coliee:002", "eng_Latn")
    assert sorted(found.reasons) == [
        ("byte", 0, "invalid_utf8"),
        ("entry", 2, "unknown_passage"),
        ("entry", 3, "unknown_query"),
    ]
