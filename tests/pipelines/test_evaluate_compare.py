"""Which result is compared with which, and what the gate says of values that are missing."""

from types import SimpleNamespace

import pytest

from pipelines.evaluate_compare import compared, partner_of, worse_than_first
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
