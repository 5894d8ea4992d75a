"""S2ORC: titles, abstracts and citations, in the layouts of its releases."""

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sources.catalogue import load_source
from sources.source import SourceError
from tests.sources.reading_all import Everything, write


def paper(number: int | str, cites: Sequence[int | str] = (), **changes: Any) -> dict[str, Any]:
    record = {"paper_id": str(number), "title": f"Title {number}", "abstract": f"Abstract {number}.", "year": 2001}
    return (
        record | {"outbound_citations": [str(cited) for cited in cites], "s2_url": f"https://s.org/{number}"} | changes
    )


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


class Together:
    """What several files give that are gathered at once."""

    def __init__(self, *paths: Path, **chosen: Any) -> None:
        source = load_source("s2orc")
        settings = source.Settings(**chosen)
        files = source.gather([str(path) for path in paths], settings)
        splits = [split for file in files for split in source.input_splits(file, settings, 1 << 40)]
        steps = [step for split in splits for step in source.read(split, settings)]
        self.pairs = [row for step in steps for row in step.pairs.to_pylist()]
        self.sides = {(row["kind"], row["query"], row["positive"]) for row in self.pairs}
        self.quarantine = [row for step in steps for row in step.quarantine.to_pylist()]
        self.records = sum(step.records for step in steps)


def test_titles_abstracts_and_what_is_cited_become_pairs_over_files(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl.gz", gzip.compress(lines(paper(1, [2, 3, 99]), paper(2)).encode()))
    second = write(tmp_path / "b.jsonl", lines(paper(3, [1], abstract=None), "no object", paper(4, title=5)))
    found = Together(first, second)
    assert [(row["kind"], row["query"], row["positive"], row["document_id"]) for row in found.pairs[:2]] == [
        ("title_abstract", "Title 1", "Abstract 1.", "s2orc:1"),
        ("title_abstract", "Title 2", "Abstract 2.", "s2orc:2"),
    ]
    assert found.pairs[0]["url"] == "https://s.org/1"
    assert found.sides == {
        ("title_abstract", "Title 1", "Abstract 1."),
        ("title_abstract", "Title 2", "Abstract 2."),
        ("citation", "Title 1", "Title 2"),
        ("citation", "Abstract 1.", "Abstract 2."),
        ("citation", "Title 1", "Title 3"),
        ("citation", "Title 3", "Title 1"),
    }
    cited = next(row for row in found.pairs if row["query"] == "Title 1" and row["positive"] == "Title 3")
    assert (cited["document_id"], cited["url"]) == ("s2orc:3", "https://api.semanticscholar.org/CorpusID:3")
    assert {row["query_lang"] for row in found.pairs} == {"eng_Latn"}
    bad = [(Path(row["file"]).name, row["position"], row["reason"]) for row in found.quarantine]
    assert bad == [("b.jsonl", 2, "not_an_object"), ("b.jsonl", 3, "wrong_type")]
    assert found.records == 5


def test_the_join_finds_every_citation_that_a_search_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.files.partitions.PART_BYTES", 3000)
    monkeypatch.setattr("sources.families.citations.BUFFER_BYTES", 2000)
    monkeypatch.setattr("sources.families.citations.ROWS", 7)
    chance = random.Random(4)
    cites = {number: [chance.randrange(1, 260) for _ in range(chance.randrange(9))] for number in range(1, 201)}
    papers = [paper(number, cites[number], abstract=None if number % 3 else "x") for number in cites]
    paths = [write(tmp_path / f"{part}.jsonl", lines(*papers[part::4])) for part in range(4)]
    expected = {(a, b) for a, cited in cites.items() for b in cited if b in cites and a != b}
    found = Together(*paths, kinds=["citation"], citation_texts=["title"], max_citations=100)
    assert len(found.pairs) == len(expected)
    assert {(row["query"], row["positive"]) for row in found.pairs} == {
        (f"Title {a}", f"Title {b}") for a, b in expected
    }
    few = Together(*paths, kinds=["citation"], citation_texts=["title"], max_citations=2)
    assert few.sides < found.sides
    for number in cites:
        known = sum(1 for a, _ in expected if a == number)
        assert sum(1 for row in few.pairs if row["query"] == f"Title {number}") == min(2, known)
    assert few.sides == Together(*reversed(paths), kinds=["citation"], citation_texts=["title"], max_citations=2).sides


def test_the_current_release_is_joined_from_its_shards(tmp_path: Path) -> None:
    papers = lines(
        {"corpusid": 1, "title": "T1", "url": "u"}, {"corpusid": 2, "title": "T2"}, {"corpusid": 3, "title": "T3"}
    )
    abstracts = lines(
        {"corpusid": 2, "abstract": "A2"}, {"corpusid": 1, "abstract": "A1"}, {"corpusid": "x", "abstract": "A"}
    )
    edges = lines({"citingcorpusid": 1, "citedcorpusid": 2}, {"citingcorpusid": 3, "citedcorpusid": None})
    names = {"papers.jsonl": papers, "abstracts.jsonl": abstracts, "citations.jsonl": edges}
    paths = [write(tmp_path / name, data) for name, data in names.items()]
    found = Together(*paths)
    assert found.sides == {
        ("title_abstract", "T1", "A1"),
        ("title_abstract", "T2", "A2"),
        ("citation", "T1", "T2"),
        ("citation", "A1", "A2"),
    }
    assert [row["reason"] for row in found.quarantine] == ["wrong_type"]
    assert found.records == 8
    assert Together(*paths, kinds=["title_abstract"]).sides == {
        ("title_abstract", "T1", "A1"),
        ("title_abstract", "T2", "A2"),
    }


def test_the_older_corpus_has_names_of_its_own(tmp_path: Path) -> None:
    ids = ["a" * 40, "b" * 40]
    old = [
        {
            "id": ids[0],
            "title": "T a",
            "paperAbstract": "One ::: two",
            "outCitations": [ids[1]],
            "s2Url": "https://s.org/a",
        },
        {"id": ids[1], "title": "T b", "paperAbstract": "", "outCitations": []},
    ]
    found = Together(write(tmp_path / "s2-corpus-00", lines(*old)))
    assert found.sides == {("title_abstract", "T a", "One two"), ("citation", "T a", "T b")}
    assert found.pairs[1]["url"] == f"https://www.semanticscholar.org/paper/{ids[1]}"


def test_a_file_is_read_once_where_no_citations_are_wanted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(paper(1, [2]), paper(2)))
    assert len(Everything("s2orc", path, kinds=["title_abstract"]).splits) == 1
    assert len(Everything("s2orc", path).splits) == 2


def test_lists_of_two_texts_are_pairs_whose_kind_the_name_tells(tmp_path: Path) -> None:
    data = lines(["T", "A"], ["only one"], ["T", 3])
    found = Everything("s2orc", write(tmp_path / "S2ORC_title_abstract.jsonl", data))
    assert [(row["kind"], row["query"], row["positive"]) for row in found.pairs] == [("title_abstract", "T", "A")]
    assert found.reasons == [("line", 2, "wrong_number_of_texts"), ("line", 3, "wrong_type")]
    found = Everything("s2orc", write(tmp_path / "S2ORC_citation_pairs.jsonl", data))
    assert found.pairs[0]["kind"] == "citation"


def test_a_file_of_another_corpus_is_refused_with_its_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(*({"question": "q", "answer": "a"} for _ in range(5))))
    with pytest.raises(SourceError, match=r"expected \(paper_id, title, abstract\).* found 'question', 'answer'"):
        Everything("s2orc", path)
