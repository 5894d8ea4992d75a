"""Which result is compared with which, and what the gate says of values that are missing."""

import shutil
from types import SimpleNamespace

import pytest

from pipelines.evaluate_compare import compared, lost_modes, partner_of, worse_than_first
from pipelines.evaluate_sets import EvaluationSet, holds_retrieval, load_sets
from pipelines.evaluate_settings import EvaluationFolder, FolderLayout, Mode
from pipelines.evaluate_systems import Result
from tests.pipelines.evaluation_folders import write_beir, write_lines, write_miracl, write_sts


def sts(system, value):
    task = SimpleNamespace(kind="sts")
    of = EvaluationSet(EvaluationFolder(path="sts"), "sts", None, "sts", task=task)
    return Result(system, "dense", of, [{"examples": 4, "cosine_spearman": value, "cosine_pearson": 0.5}])


def test_a_value_that_is_missing_fails_the_gate():
    [found] = compared([sts("old", 0.5), sts("new", None)])
    assert found.main is None and [each.metric for each in found.differences] == ["cosine_pearson"]
    assert worse_than_first([found], ["old", "new"], 1.0) == [
        "new (dense) cannot be compared on sts: no cosine_spearman"
    ]
    assert worse_than_first(compared([sts("old", 0.5), sts("new", 0.4)]), ["old", "new"], 0.11) == []
    assert len(worse_than_first(compared([sts("old", 0.5), sts("new", 0.4)]), ["old", "new"], 0.09)) == 1


def of_mode(system, mode, value, data="beir"):
    of = EvaluationSet(EvaluationFolder(path=data), data, None, data, task=SimpleNamespace(kind="sts"))
    return Result(system, mode, of, [{"examples": 4, "cosine_spearman": value}])


def test_a_system_that_shares_no_set_with_the_first_fails_the_gate():
    found = compared([of_mode("old", "run", 0.5), of_mode("bm25", "bm25", 0.1)])
    assert worse_than_first(found, ["old", "new"], 1.0) == [
        "new cannot be compared with old: there is no set that both have results on"
    ]


def test_the_gate_does_not_hold_a_mode_that_the_first_lacks_against_its_others():
    results = [of_mode("old", "dense", 0.5), of_mode("new", "dense", 0.5), of_mode("new", "lexical", 0.1)]
    assert worse_than_first(compared(results), ["old", "new"], 0.0) == []
    assert len(worse_than_first(compared([results[0], results[2]]), ["old", "new"], 0.0)) == 1  # no mode in common


def test_a_mode_that_a_system_lost_is_told_and_fails_the_gate():
    old = [of_mode("old", mode, 0.5) for mode in ("dense", "lexical", "all")]
    found = compared([*old, of_mode("new", "dense", 0.6), of_mode("bm25", "bm25", 0.1)])
    words = ["new has no lexical and no all results on beir, which old has"]
    assert lost_modes(found, "new") == words
    assert worse_than_first(found, ["old", "new"], 0.0) == words
    assert lost_modes(found, "bm25") == []  # another kind of system
    whole = compared([*old, *(of_mode("new", mode, 0.6) for mode in ("all", "lexical", "dense"))])
    assert lost_modes(whole, "new") == [] and worse_than_first(whole, ["old", "new"], 0.0) == []


def test_the_first_system_lost_no_mode_whatever_else_it_has():
    alone = compared([of_mode("old", mode, 0.5) for mode in ("dense", "lexical", "all")])
    assert lost_modes(alone, "old") == []


def test_the_gate_asks_only_for_the_modes_of_the_system_named_first():
    first = [of_mode("old", "dense", 0.5)]
    elsewhere = [of_mode("new", mode, 0.5, "sts") for mode in ("dense", "lexical")]
    others = [of_mode("new", "dense", 0.5), of_mode("newest", "dense", 0.5), of_mode("newest", "dense", 0.5, "sts")]
    found = compared([*first, *others[:2], *elsewhere, others[2]])
    assert lost_modes(found, "newest") == ["newest has no lexical results on sts, which new has"]
    assert worse_than_first(found, ["old", "new", "newest"], 0.0) == []


def test_a_result_is_compared_with_the_first_system_in_its_mode_or_in_its_first():
    old = [SimpleNamespace(system="old", mode=mode) for mode in ("dense", "lexical")]
    new = [SimpleNamespace(system="new", mode=mode) for mode in ("lexical", "all", "dense")]
    of_set = [*old, *new]
    assert [partner_of(each, of_set) for each in of_set] == [None, old[0], old[1], old[0], old[0]]


def test_folders_are_told_apart_by_their_files(tmp_path):
    beir, miracl, task = write_beir(tmp_path / "b"), write_miracl(tmp_path / "m"), write_sts(tmp_path / "s")
    assert [holds_retrieval(each) for each in (beir, miracl, task, task / "test.jsonl")] == [True, True, False, False]
    sets = load_sets([EvaluationFolder(path=str(each)) for each in (beir, miracl, task, task / "test.jsonl")])
    assert [(each.name, each.language, each.kind) for each in sets] == [
        ("b", None, "retrieval"), ("miracl", "ar", "retrieval"), ("miracl", "de", "retrieval"), ("s", None, "sts"),
        ("test", None, "sts"),
    ]  # fmt: skip


def test_no_two_sets_have_one_name_whatever_the_folders(tmp_path):
    folder = write_beir(tmp_path / "x" / "b")
    shutil.copy(folder / "qrels" / "test.tsv", folder / "qrels" / "dev.tsv")
    other = write_beir(tmp_path / "y" / "x" / "b")
    given = [
        EvaluationFolder(path=str(folder)), EvaluationFolder(path=str(folder), split="dev"),
        EvaluationFolder(path=str(folder)), EvaluationFolder(path=str(other)),
    ]  # fmt: skip
    sets = load_sets(given)
    assert [each.name for each in sets] == ["x/b", "x/b dev", "x/b (2)", "x/b (3)"]
    assert [each.retrieval.name for each in sets] == [each.name for each in sets]


def test_languages_of_a_task_can_be_chosen(tmp_path):
    rows = [
        {"sentence1": "a", "sentence2": "b", "score": score, "language": language}
        for language in ("en", "de")
        for score in (1, 2)
    ]
    write_lines(tmp_path / "sts" / "test.jsonl", rows)
    [of] = load_sets([EvaluationFolder(path=str(tmp_path / "sts"), languages=("de",))])
    assert list(of.task.subsets) == ["de"]
    with pytest.raises(ValueError, match="it has de, en"):
        load_sets([EvaluationFolder(path=str(tmp_path / "sts"), languages=("fr",))])


def test_the_modes_and_layouts_of_recipes_are_those_of_the_trainer():
    from typing import get_args

    from trainer.evaluate import model_rankings, retrieval_data

    assert get_args(Mode) == get_args(model_rankings.Mode)
    assert set(get_args(FolderLayout)) == {*get_args(retrieval_data.Layout), "task"}


def test_vectors_are_kept_only_where_sets_search_one_corpus(tmp_path):
    from pipelines.evaluate_systems import vectors_folder

    sets = load_sets([EvaluationFolder(path=str(write_miracl(tmp_path / "m")))])
    assert vectors_folder(sets, "scratch") is None  # a corpus each
    for language in ("en", "de"):
        write_lines(tmp_path / "k" / f"{language}.jsonl", [{"id": "1", "question": "a", "answers": ["b"]}])
    write_lines(tmp_path / "k" / "corpus.jsonl", [{"_id": "d", "text": "a b"}])
    assert vectors_folder(load_sets([EvaluationFolder(path=str(tmp_path / "k"))]), "scratch") == "scratch"
