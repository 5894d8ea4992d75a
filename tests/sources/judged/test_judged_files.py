"""Which files of a retrieval set belong together."""

import pytest

from sources.judged.judged_files import JudgedFiles, judged_inputs, language_in_names, named_files, of_role
from sources.source import InputFile, SourceError

PLAIN = JudgedFiles(
    judgements=("qrels/{split}.tsv", "qrels.{split}.tsv", "qrels.{split}.small.tsv"),
    queries=("queries.{split}.tsv", "queries.jsonl"),
    passages=("collection.tsv", "corpus.jsonl", "part-*"),
    ranked=("{split}.mined.tsv",),
    triples=("triples.{split:train}.ids.tsv",),
)


def inputs(*paths: str, split: str = "train", files: JudgedFiles = PLAIN) -> list[InputFile]:
    return judged_inputs("test", files, paths, split)


def test_judgements_find_the_queries_and_passages_beside_and_above_them() -> None:
    assert inputs("/d/qrels/train.tsv", "/d/queries.jsonl", "/d/corpus.jsonl.gz", "/d/README.md") == [
        InputFile("/d/qrels/train.tsv", ("/d/queries.jsonl", "/d/corpus.jsonl.gz"))
    ]


def test_sets_that_lie_side_by_side_keep_apart() -> None:
    paths = [f"/d/{name}/{file}" for name in "ab" for file in ("qrels.train.tsv", "queries.jsonl", "corpus.jsonl")]
    assert inputs(*paths) == [
        InputFile(f"/d/{name}/qrels.train.tsv", (f"/d/{name}/queries.jsonl", f"/d/{name}/corpus.jsonl"))
        for name in "ab"
    ]


def test_a_split_takes_its_own_judgements_and_queries() -> None:
    paths = [
        "/d/queries.train.tsv",
        "/d/queries.dev.tsv",
        "/d/qrels.train.tsv",
        "/d/qrels.dev.tsv",
        "/d/collection.tsv",
    ]
    paths += ["/d/train.mined.tsv"]
    assert inputs(*paths, split="dev") == [
        InputFile("/d/qrels.dev.tsv", ("/d/queries.dev.tsv", "/d/collection.tsv")),
    ]
    (train,) = inputs(*paths)
    assert train.companions == ("/d/queries.train.tsv", "/d/collection.tsv", "/d/train.mined.tsv")
    assert inputs("/d/qrels/validation.tsv", "/d/queries.jsonl", "/d/corpus.jsonl", split="dev")
    with pytest.raises(
        SourceError, match=r"qrels\.train\.tsv and its like are judgements of dev and train, none of test"
    ):
        inputs(*paths, split="test")


def test_the_preferred_name_is_read_where_two_hold_the_same_judgements() -> None:
    beside = ("/d/queries.dev.tsv", "/d/collection.tsv")
    (found,) = inputs("/d/qrels.dev.small.tsv", "/d/qrels.dev.tsv", *beside, split="dev")
    assert found.path == "/d/qrels.dev.tsv"
    (found,) = inputs("/d/qrels.dev.small.tsv", *beside, split="dev")
    assert found.path == "/d/qrels.dev.small.tsv"


def test_passages_in_parts_are_all_read_and_members_of_archives_too() -> None:
    parts = ("/d/x.tar!/p/part-00.gz", "/d/x.tar!/p/part-01.gz")
    (found,) = inputs("/d/qrels.train.tsv", "/d/queries.train.tsv", *parts)
    assert found.companions == ("/d/queries.train.tsv", *parts)


def test_triples_drive_where_there_are_no_judgements_and_are_companions_where_there_are() -> None:
    beside = ("/d/queries.train.tsv", "/d/collection.tsv")
    (found,) = inputs("/d/triples.train.ids.tsv", *beside)
    assert found == InputFile("/d/triples.train.ids.tsv", beside)
    assert of_role(PLAIN, "triples", found.path, found.companions) == ["/d/triples.train.ids.tsv"]
    (found,) = inputs("/d/triples.train.ids.tsv", "/d/qrels.train.tsv", *beside)
    assert found == InputFile("/d/qrels.train.tsv", (*beside, "/d/triples.train.ids.tsv"))
    (found,) = inputs("/d/triples.train.ids.tsv", "/d/qrels.dev.tsv", *beside)
    assert found.path == "/d/triples.train.ids.tsv"


def test_what_lacks_is_named_with_the_split() -> None:
    with pytest.raises(SourceError, match=r"found, but none of its passages beside it: expected collection\.tsv or"):
        inputs("/d/qrels.train.tsv", "/d/queries.train.tsv")
    with pytest.raises(
        SourceError, match=r"none of its queries beside it: expected queries\.train\.tsv or queries\.jsonl"
    ):
        inputs("/d/qrels.train.tsv", "/d/queries.dev.tsv", "/d/collection.tsv")
    assert inputs("/d/notes.txt") == []


LANGUAGES = JudgedFiles(
    judgements=("qrels.{split}.tsv",),
    queries=("{language}_queries.{split}.tsv",),
    passages=("{language}_collection.tsv",),
    by_language=True,
    languages={"german": "de", "chinese": "zh"},
)


def test_each_language_is_an_input_with_the_shared_judgements() -> None:
    paths = ["/d/qrels.train.tsv"]
    for name in ("chinese", "german"):
        paths += [f"/d/{name}_queries.train.tsv", f"/d/c/{name}_collection.tsv", f"/d/{name}_queries.dev.tsv"]
    found = inputs(*paths, files=LANGUAGES)
    assert [file.path for file in found] == ["/d/chinese_queries.train.tsv", "/d/german_queries.train.tsv"]
    assert found[1].companions == ("/d/qrels.train.tsv", "/d/c/german_collection.tsv")
    said = [language_in_names(LANGUAGES, LANGUAGES.all_names, [file.path]) for file in found]
    assert said == ["zh", "de"]
    assert language_in_names(LANGUAGES, LANGUAGES.all_names, ["/d/old_queries.train.tsv"]) is None


def test_names_match_whole_steps_of_a_path_whatever_their_case() -> None:
    paths = ["/d/Qrels.TRAIN.tsv", "/d/my-qrels.train.tsv", "/d/qrels.train.tsv.bak", "qrels.train.tsv.zst"]
    assert [file.path for file in named_files(paths, PLAIN.judgements)] == [paths[0], paths[3]]
