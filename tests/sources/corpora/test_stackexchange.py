"""Stack Exchange dumps: questions with their answers, duplicates, damage."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from sources.catalogue import load_source
from sources.corpora.stackexchange import Site
from sources.source import SourceError
from tests.sources.reading_all import Everything, write

HEAD = '\ufeff<?xml version="1.0" encoding="utf-8"?>\r\n<posts>\r\n'


def question(number: int, title: str, body: str, **more: Any) -> str:
    return row(Id=number, PostTypeId=1, Score=3, Title=title, Body=body, **more)


def answer(number: int, parent: int, body: str, score: int = 1, **more: Any) -> str:
    return row(Id=number, PostTypeId=2, ParentId=parent, Score=score, Body=body, **more)


def row(**fields: Any) -> str:
    return "  <row " + " ".join(f'{name}="{value}"' for name, value in fields.items()) + " />\r\n"


def site(tmp_path: Path, *rows: str, name: str = "tea.stackexchange.com") -> Path:
    (tmp_path / name).mkdir()
    return write(tmp_path / name / "Posts.xml", HEAD + "".join(rows) + "</posts>")


def links(posts: Path, *rows: str) -> Path:
    return write(posts.parent / "PostLinks.xml", HEAD.replace("posts", "postlinks") + "".join(rows) + "</postlinks>")


def gathered(posts: Path, *others: Path, **chosen: Any) -> list[tuple[str, str, str]]:
    """(kind, query, positive) of Posts.xml read with other files beside it."""
    source = load_source("stackexchange")
    settings = source.Settings(**chosen)
    (file,) = source.gather([str(path) for path in (*others, posts)], settings)
    steps = [step for split in source.input_splits(file, settings, 1) for step in source.read(split, settings)]
    rows = [row for step in steps for row in step.pairs.to_pylist()]
    return [(pair["kind"], pair["query"], pair["positive"]) for pair in rows]


def test_a_question_is_paired_with_its_text_its_accepted_answer_and_its_upvoted_answers(tmp_path: Path) -> None:
    path = site(
        tmp_path,
        question(1, "How hot &amp; long?", "&lt;p&gt;Green tea.&lt;/p&gt;&#xA;", AcceptedAnswerId=4),
        question(2, "Which cup?", "&lt;p&gt;For two.&lt;/p&gt;"),
        answer(3, 1, "&lt;p&gt;80 degrees&lt;/p&gt;", 7),
        answer(4, 1, "&lt;p&gt;Two minutes&lt;/p&gt;", 0),
        answer(5, 1, "&lt;p&gt;Just guess&lt;/p&gt;", 0),
        answer(6, 1, "&lt;p&gt;Never boil&lt;/p&gt;", 9),
    )
    found = Everything("stackexchange", path)
    assert [(pair["kind"], pair["query"], pair["positive"], pair["label"]) for pair in found.pairs] == [
        ("title_body", "How hot & long?", "Green tea.", None),
        ("title_body", "Which cup?", "For two.", None),
        ("question_answer", "How hot & long?", "Two minutes", 0.0),
        ("question_answer", "How hot & long? Green tea.", "Two minutes", 0.0),
        ("question_answer", "How hot & long?", "Never boil", 9.0),
        ("question_answer", "How hot & long? Green tea.", "Never boil", 9.0),
        ("question_answer", "How hot & long?", "80 degrees", 7.0),
        ("question_answer", "How hot & long? Green tea.", "80 degrees", 7.0),
    ]
    assert {pair["document_id"] for pair in found.pairs[2:]} == {"stackexchange:tea.stackexchange.com:1"}
    assert (found.pairs[0]["url"], found.pairs[2]["url"]) == (
        "https://tea.stackexchange.com/q/1",
        "https://tea.stackexchange.com/a/4",
    )
    assert {pair["query_lang"] for pair in found.pairs} == {"eng_Latn"}
    assert (found.records, found.quarantine) == (6, [])


def test_settings_choose_scores_numbers_of_answers_and_forms_of_the_question(tmp_path: Path) -> None:
    rows = [question(1, "T", "B"), answer(2, 1, "five", 5), answer(3, 1, "two", 2), answer(4, 1, "minus", -1)]
    path = site(tmp_path, *rows)
    kinds = ("question_answer",)
    assert Everything("stackexchange", path, kinds=kinds, queries=["title"]).sides == [("T", "five"), ("T", "two")]
    assert Everything("stackexchange", path, kinds=kinds, queries=["title_body"], min_score=3).sides == [
        ("T B", "five")
    ]
    lenient = Everything("stackexchange", path, kinds=kinds, queries=["title"], min_score=-5, max_answers=2)
    assert lenient.sides == [("T", "five"), ("T", "two")]


def test_paraphrases_are_the_best_answer_with_each_other_one(tmp_path: Path) -> None:
    path = site(tmp_path, question(1, "T", "B"), *(answer(1 + n, 1, f"a{n}", n) for n in (1, 2, 3)))
    assert Everything("stackexchange", path, kinds=["paraphrase"]).sides == [("a3", "a2"), ("a3", "a1")]


def test_duplicates_come_from_the_links_beside_the_posts(tmp_path: Path) -> None:
    path = site(tmp_path, question(1, "Old", "o"), question(2, "New", "n"), question(3, "Other", "p"))
    beside = links(
        path,
        row(Id=1, PostId=2, RelatedPostId=1, LinkTypeId=3),
        row(Id=2, PostId=3, RelatedPostId=1, LinkTypeId=1),
    )
    assert gathered(path, beside, kinds=["question_question"]) == [
        ("question_question", "New", "Old"),
        ("question_question", "New n", "Old o"),
    ]
    assert ("question_question", "New", "Old") in gathered(path, beside)
    assert {kind for kind, _, _ in gathered(path)} == {"title_body"}


def test_answers_and_links_of_unknown_questions_are_quarantined_with_their_lines(tmp_path: Path) -> None:
    path = site(tmp_path, question(1, "T", "B"), answer(2, 77, "orphan"))
    beside = links(
        path,
        row(Id=1, PostId=1, RelatedPostId=88, LinkTypeId=3),
        row(Id=2, PostId=99, RelatedPostId=1, LinkTypeId=3),
        row(Id=3, PostId="x", RelatedPostId=1, LinkTypeId=3),
    )
    source = load_source("stackexchange")
    settings = source.Settings()
    (file,) = source.gather([str(path), str(beside)], settings)
    steps = [step for split in source.input_splits(file, settings, 1) for step in source.read(split, settings)]
    bad = [row for step in steps for row in step.quarantine.to_pylist()]
    assert sorted((Path(b["file"]).name, b["unit"], b["position"], b["reason"]) for b in bad) == [
        ("PostLinks.xml", "line", 4, "unknown_question"),
        ("PostLinks.xml", "line", 5, "wrong_type"),
        ("Posts.xml", "line", 3, "unknown_question"),
        ("Posts.xml", "line", 4, "unknown_question"),
    ]
    assert sum(step.records for step in steps) == 5


def test_other_posts_are_no_pairs_and_bad_rows_are_quarantined(tmp_path: Path) -> None:
    path = site(
        tmp_path,
        question(1, "T", "B"),
        row(Id=2, PostTypeId=5, Body="about a tag"),
        row(Id=3, PostTypeId=1, Score=0, Body="no title"),
        row(Id="many", PostTypeId=1, Score=0, Title="t", Body="b"),
        '  <row Id="5" PostTypeId="1" Body="cut\r\n',
        row(Id=6, PostTypeId=2, Score=1, Body="no parent"),
        row(Id=7, PostTypeId=1, Score=1, Title="t", Body=""),
    )
    found = Everything("stackexchange", path)
    assert found.sides == [("T", "B")]
    assert found.reasons == [
        ("line", 7, "malformed_row"),
        ("line", 5, "missing_field"),
        ("line", 6, "wrong_type"),
        ("line", 8, "missing_field"),
    ]
    assert [reject["reason"] for reject in found.rejects] == ["empty_positive"]
    assert found.records == 7


def test_invalid_utf8_and_rows_that_are_too_long_are_quarantined(tmp_path: Path) -> None:
    good = question(1, "T", "B")
    data = (HEAD + good).encode() + question(2, "T", "ä").encode("latin-1") + question(3, "T", "x" * 500).encode()
    (tmp_path / "tea").mkdir()
    found = Everything("stackexchange", write(tmp_path / "tea/Posts.xml", data), max_record_bytes=300)
    assert found.sides == [("T", "B")]
    assert sorted(found.reasons) == [("line", 4, "invalid_utf8"), ("line", 5, "line_too_long")]


def test_html_becomes_text(tmp_path: Path) -> None:
    html = (
        "<blockquote>\n  <p><strong>Possible Duplicate:</strong><br>\n<a href='/q/9'>Secret</a></p>\n</blockquote>"
        "<!-- language: lang-py --><p>See <a href='x'>the <em>docs</em></a> &amp; try</p><pre><code>if a &lt; b:\n  1"
        "</code></pre><ul><li>one</li><li>two</li></ul>&#x1F375;&#99999999999;"
    )
    escaped = html.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "&#xA;")
    found = Everything("stackexchange", site(tmp_path, question(1, "T&#x1F375;&#xD800;", escaped)))
    assert found.sides == [("T\U0001f375\ufffd", "See the docs & try if a < b: 1 one two \U0001f375\ufffd")]


def test_licences_of_both_posts_are_kept(tmp_path: Path) -> None:
    path = site(
        tmp_path,
        question(1, "T", "B", ContentLicense="CC BY-SA 2.5"),
        answer(2, 1, "a", 9, ContentLicense="CC BY-SA 4.0"),
        answer(3, 1, "b", 8, ContentLicense="CC BY-SA 2.5"),
    )
    found = Everything("stackexchange", path, queries=["title"])
    assert [pair["license"] for pair in found.pairs] == [
        "CC-BY-SA-2.5",
        "CC-BY-SA-2.5 AND CC-BY-SA-4.0",
        "CC-BY-SA-2.5",
    ]


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("ja.stackoverflow.com", "jpn_Jpan"),
        ("spanish.stackexchange.com", "eng_Latn"),
        ("rus.stackexchange.com", "rus_Cyrl"),
    ],
)
def test_the_name_of_the_site_tells_the_language(tmp_path: Path, name: str, language: str) -> None:
    found = Everything("stackexchange", site(tmp_path, question(1, "T", "B"), name=name))
    assert found.pairs[0]["query_lang"] == language


@pytest.mark.parametrize(
    ("path", "given", "document_id", "url"),
    [
        (
            "/d/tea.stackexchange.com/Posts.xml",
            None,
            "stackexchange:tea.stackexchange.com:5",
            "https://tea.stackexchange.com/q/5",
        ),
        (
            "tea.stackexchange.com.tar.gz!/Posts.xml",
            None,
            "stackexchange:tea.stackexchange.com:5",
            "https://tea.stackexchange.com/q/5",
        ),
        ("/d/tea.v2/Posts.xml", None, "stackexchange:tea.v2:5", None),
        ("Posts.xml", None, "stackexchange:stackexchange:5", None),
        ("Posts.xml", "tea.example.org", "stackexchange:tea.example.org:5", "https://tea.example.org/q/5"),
    ],
)
def test_ids_and_addresses_come_from_the_site(path: str, given: str | None, document_id: str, url: str | None) -> None:
    site = Site(path, given)
    assert (site.document_id(5), site.url("q", 5)) == (document_id, url)


def test_threads_are_joined_over_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.files.partitions.PART_BYTES", 1000)
    monkeypatch.setattr("sources.files.partitions.BUFFER_BYTES", 2000)
    questions = [question(n, f"T{n}", f"B{n}") for n in range(1, 201)]
    answers = [answer(1000 + n, n, f"A{n}") for n in range(200, 0, -1)]
    path = site(tmp_path, *questions, *answers)
    found = Everything("stackexchange", path, kinds=["question_answer"], queries=["title"])
    assert sorted(found.sides) == sorted((f"T{n}", f"A{n}") for n in range(1, 201))


def test_a_truncated_gzip_gives_its_posts_and_a_row_of_quarantine(tmp_path: Path) -> None:
    rows = "".join(question(n, f"T{n}", f"B{n * n}") for n in range(1, 3000))
    (tmp_path / "tea").mkdir()
    whole = gzip.compress((HEAD + rows + "</posts>").encode())
    found = Everything("stackexchange", write(tmp_path / "tea/Posts.xml.gz", whole[: len(whole) // 2]))
    assert found.sides[0] == ("T1", "B1")
    assert [(unit, reason) for unit, _, reason in found.reasons] == [("byte", "truncated_file")]
    assert found.records == len(found.pairs) + 1


def test_files_of_another_kind_are_refused_with_the_remedy(tmp_path: Path) -> None:
    source = load_source("stackexchange")
    settings = source.Settings()
    with pytest.raises(SourceError, match=r"notes\.txt: no file of a Stack Exchange dump"):
        source.gather(["a/notes.txt"], settings)
    with pytest.raises(SourceError, match=r"no Posts\.xml among a/Users\.xml"):
        source.gather(["a/Users.xml"], settings)
    with pytest.raises(SourceError, match=r"needs PostLinks\.xml"):
        source.gather(["a/Posts.xml"], source.Settings(kinds=["question_question"]))
    assert [file.companions for file in source.gather(["a/PostLinks.xml", "a/Posts.xml", "a/Tags.xml"], settings)] == [
        ("a/PostLinks.xml",)
    ]
    with pytest.raises(SourceError, match="no line is a whole <row"):
        Everything("stackexchange", write(tmp_path / "Posts.xml", "one\ntwo\n"))


def test_a_long_question_of_far_too_many_answers_does_not_fill_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.corpora.stackexchange.MOST_TEXT", 50_000)
    posts = site(
        tmp_path,
        question(1, "Short", "q"),
        question(2, "Long", "word " * 200),
        *(answer(number, 2, f"answer {number}") for number in range(3, 103)),
        answer(103, 1, "fine"),
    )
    found = Everything("stackexchange", posts, kinds=("question_answer",), queries=("title_body",))
    assert len([pair for pair in found.pairs if pair["query"].startswith("Long")]) == 49  # of 1,010 characters each
    assert ("Short q", "fine") in found.sides
    assert found.reasons == [("line", 4, "too_many_pairs")]


def test_a_duplicate_of_far_too_many_questions_is_quarantined(tmp_path: Path) -> None:
    posts = site(tmp_path, *(question(number, f"Title {number}", "text") for number in range(1, 30)))
    rows = [row(Id=number, PostId=1, RelatedPostId=number, LinkTypeId=3) for number in range(2, 30)]
    rows += [row(Id=99, PostId=3, RelatedPostId=2, LinkTypeId=3)]
    path = links(posts, *rows)
    assert gathered(posts, path, kinds=("question_question",), queries=("title",)) == [
        ("question_question", "Title 3", "Title 2")
    ]
    found = Everything("stackexchange", [posts, path], kinds=("question_question",))
    assert found.reasons == [("line", 3, "too_many_originals")]
