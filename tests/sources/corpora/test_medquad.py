"""MedQuAD: pages as XML, and tables."""

import gzip
from pathlib import Path

import pytest

from sources.catalogue import load_source
from sources.source import SourceError
from tests.sources.reading_all import Everything, write

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<Document id="0000001_1" source="Site" url="https://site/flu?a=1&amp;b=2">\n'
FOCUS = "<Focus>Flu</Focus><FocusAnnotations><Synonym>Question</Synonym></FocusAnnotations>"


def question_and_answer(question: str, answer: str) -> str:
    return f'<QAPair pid="1"><Question qid="1-1" qtype="x">{question}</Question><Answer>{answer}</Answer></QAPair>'


def page(*pairs: str) -> str:
    return f"{HEAD}{FOCUS}<QAPairs>{''.join(pairs)}</QAPairs></Document>"


GOOD = page(question_and_answer("What is (are) Flu ?", "It&apos;s an &lt;infection&gt;.\n  <br/>Rest."))


def test_each_question_pairs_with_its_answer_and_names_its_page(tmp_path: Path) -> None:
    text = page(
        question_and_answer("What is (are) Flu ?", "It&apos;s an &lt;infection&gt;.\n  <br/>Rest."),
        question_and_answer("Who is at risk ? ?", "All."),
        question_and_answer("What causes Flu?", ""),
    )
    found = Everything("medquad", write(tmp_path / "0000001_1.xml", text))
    assert found.sides == [("What is (are) Flu?", "It's an <infection>. Rest."), ("Who is at risk?", "All.")]
    pair = found.pairs[0]
    assert (pair["kind"], pair["document_id"], pair["url"], pair["query_lang"]) == (
        "question_answer",
        "medquad:Site:0000001_1",
        "https://site/flu?a=1&b=2",
        "eng_Latn",
    )
    assert [row["reason"] for row in found.rejects] == ["empty_positive"]
    assert found.records == 3


def test_the_files_of_a_folder_are_read_together(tmp_path: Path) -> None:
    paths = []
    for folder in ("1_A_QA", "2_B_QA"):
        (tmp_path / folder).mkdir()
        paths += [write(tmp_path / folder / f"{number}.xml", GOOD) for number in (1, 2)]
    source = load_source("medquad")
    files = source.gather([*map(str, paths), "table.csv"], source.Settings())
    assert [(file.path, len(file.companions)) for file in files] == [
        (str(paths[0]), 1),
        (str(paths[2]), 1),
        ("table.csv", 0),
    ]
    assert len(Everything("medquad", paths).pairs) == 4


def test_a_bad_file_is_quarantined_by_name_and_byte_and_the_others_arrive(tmp_path: Path) -> None:
    lacking = page("<QAPair><Question>q</Question></QAPair>", question_and_answer("q", "a"))
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + GOOD.split("\n", 1)[1].replace("Rest", "&b;")
    external = '<!DOCTYPE d SYSTEM "file:///etc/hostname">' + GOOD.split("\n", 1)[1]
    cut = GOOD[: GOOD.index("</QAPairs>")]
    files = {
        "bomb.xml": bomb,
        "cut.xml": cut,
        "entity.xml": GOOD.replace("Rest", "&undefined;"),
        "external.xml": external,
        "good.xml": GOOD,
        "lacking.xml": lacking,
        "other.xml": "<other/>",
    }
    found = Everything("medquad", [write(tmp_path / name, text) for name, text in files.items()])
    assert [(Path(row["file"]).name, row["reason"]) for row in found.quarantine] == [
        ("bomb.xml", "document_type"),
        ("cut.xml", "invalid_xml"),
        ("entity.xml", "invalid_xml"),
        ("external.xml", "document_type"),
        ("lacking.xml", "missing_field"),
        ("other.xml", "missing_field"),
    ]
    assert found.quarantine[1]["position"] == len(cut)
    assert len(found.pairs) == 3  # of cut.xml, good.xml and lacking.xml
    assert found.records == len(found.pairs) + len(found.quarantine)


def test_long_truncated_and_badly_coded_files_are_quarantined(tmp_path: Path) -> None:
    long = write(tmp_path / "a.xml", page(question_and_answer("q", "a" * 5000)))
    packed = gzip.compress(GOOD.encode())
    truncated = write(tmp_path / "b.xml.gz", packed[:-20])
    badly_coded = write(tmp_path / "c.xml", GOOD.replace("Rest", "R\u00e9st").encode("latin-1"))
    whole = write(tmp_path / "d.xml.gz", packed)
    found = Everything("medquad", [long, truncated, badly_coded, whole], max_record_bytes=4000)
    reasons = {Path(row["file"]).name: row["reason"] for row in found.quarantine}
    assert reasons == {"a.xml": "file_too_long", "b.xml.gz": "truncated_file", "c.xml": "invalid_xml"}
    assert ("What is (are) Flu?", "It's an <infection>. Rest.") in found.sides


def test_files_of_another_corpus_are_refused(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{number}.xml", "<article/>") for number in range(3)]
    with pytest.raises(SourceError, match="neither it nor 2 files beside it hold MedQuAD's <Document>"):
        Everything("medquad", files)


def test_tables_are_read_and_unknown_kinds_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "medquad.csv", 'question,answer,source\nWhat is (are) Flu ?,"An infection.\nRest.",Site\n')
    assert Everything("medquad", file).sides == [("What is (are) Flu?", "An infection. Rest.")]
    with pytest.raises(SourceError, match="has no pairs of kind 'review'"):
        Everything("medquad", write(tmp_path / "a.xml", GOOD), kinds=["review"])
