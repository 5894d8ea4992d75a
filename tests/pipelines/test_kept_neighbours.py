import json
from pathlib import Path

import numpy as np
import pytest

from pipelines import kept_neighbours
from pipelines.kept_neighbours import KeptFiles, KeptOnDisk, ListWriter, finish, open_search, prepare
from trainer.kept_neighbours import vector_keys
from trainer.search_settings import SearchSettings
from trainer.vector_files import VectorFiles


def vectors(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float16)


def searched(folder, corpus, queries, fingerprint="f", rows=None, tasks=("a",)):
    """A job that searches the queries, task by task, and ends; the neighbours, and how many were searched in full."""
    files = prepare(str(folder), fingerprint, VectorFiles.of(corpus), {"kind": rows})
    found, in_full = [], 0
    for task in tasks:
        search = open_search(files, "kind", VectorFiles.of(corpus), rows, SearchSettings())
        with ListWriter(files, task) as writer:
            for start in range(0, len(queries), 4):
                part = queries[start : start + 4]
                found.append(search.top_k(part, np.full(len(part), 5)).rows)
            in_full += writer.write([search])
    finish(files)
    return np.concatenate(found), in_full


def best(corpus, queries):
    return np.argsort(-(queries.astype(np.float64) @ corpus.T.astype(np.float64)), axis=1)[:, :5]


def test_the_next_run_searches_new_queries_only(tmp_path):
    corpus, queries = vectors(300), vectors(10, seed=1)
    assert searched(tmp_path, corpus, queries[:8])[1] == 8
    changed = np.concatenate([vectors(5, seed=2), corpus[10:]])
    found, in_full = searched(tmp_path, changed, queries, "g")
    assert in_full == 2
    assert found.tolist() == best(changed, queries).tolist()


def test_another_part_of_the_corpus_is_searched_from_what_was_found_in_the_last(tmp_path):
    corpus, queries = vectors(300), vectors(6, seed=1)
    searched(tmp_path, corpus, queries, rows=np.arange(0, 250))
    found, in_full = searched(tmp_path, corpus, queries, "g", rows=np.arange(2, 260))
    assert in_full == 0
    assert found.tolist() == (best(corpus[2:260], queries) + 2).tolist()


def test_lists_come_in_the_order_they_are_asked_for(tmp_path):
    corpus, queries = vectors(50), vectors(11, seed=1)
    searched(tmp_path, corpus, queries, tasks=("a", "b"))
    generation = json.loads((tmp_path / "_neighbours" / "current.json").read_text())["generation"]
    paths = sorted(str(path) for path in (tmp_path / "_neighbours" / generation / "lists").iterdir())
    kept = KeptOnDisk(paths)
    search = open_search(KeptFiles("x", None), "kind", VectorFiles.of(corpus), None, SearchSettings())
    order = np.array([9, 0, 10, 3, 3])
    lists = kept.take(kept.find(vector_keys(queries[order], search.salt)))
    for number, query in enumerate(order):
        assert lists.positions.lists()[number][:5] == best(corpus, queries)[query].tolist()
    assert kept.find(vector_keys(vectors(1, seed=5), search.salt)).tolist() == [-1]


def test_what_a_killed_run_left_is_gone_on_with_by_the_same_job_only(tmp_path):
    corpus, queries = vectors(100), vectors(4, seed=1)
    searched(tmp_path, corpus, queries)
    folder = tmp_path / "_neighbours"
    killed = prepare(str(tmp_path), "g", VectorFiles.of(corpus), {"kind": None})
    assert prepare(str(tmp_path), "g", VectorFiles.of(corpus), {"kind": None}) == killed
    other = prepare(str(tmp_path), "g", VectorFiles.of(vectors(100, seed=3)), {"kind": None})
    assert other.now != killed.now
    assert other.before == killed.before
    assert not Path(killed.now).exists()
    finish(other)
    assert sorted(path.name for path in folder.iterdir()) == sorted(["current.json", Path(other.now).name])


def test_a_list_that_was_not_written_whole_does_not_appear(tmp_path):
    files = prepare(str(tmp_path), "f", VectorFiles.of(vectors(10)), {"kind": None})
    try:
        with ListWriter(files, "a"):
            raise KeyError
    except KeyError:
        pass
    assert not list(Path(files.now, "lists").glob("*"))


def test_a_job_that_keeps_none_removes_what_was_kept(tmp_path):
    searched(tmp_path, vectors(10), vectors(2, seed=1))
    kept_neighbours.forget(str(tmp_path))
    assert not (tmp_path / "_neighbours").exists()


def test_lists_that_are_written_anew_while_they_are_read_are_those_that_were_there(tmp_path):
    """As where a finished job has to do a task again: it goes on from its own generation."""
    corpus, queries = vectors(300), vectors(12, seed=1)
    searched(tmp_path, corpus, queries)
    files = prepare(str(tmp_path), "f", VectorFiles.of(corpus), {"kind": None})
    assert files.before == files.now
    search = open_search(files, "kind", VectorFiles.of(corpus), None, SearchSettings())
    with ListWriter(files, "a") as writer:
        search.top_k(queries[::-1].copy(), np.full(12, 5))
        writer.write([search])
    assert search.top_k(queries, np.full(12, 5)).rows.tolist() == best(corpus, queries).tolist()


@pytest.mark.parametrize("torn", ["lists/a.arrow", "*.keys.npy", "../current.json"])
def test_a_torn_file_makes_the_search_a_full_one(tmp_path, torn):
    corpus, queries = vectors(100), vectors(4, seed=1)
    searched(tmp_path, corpus, queries)
    generation = json.loads((tmp_path / "_neighbours" / "current.json").read_text())["generation"]
    (path,) = (tmp_path / "_neighbours" / generation).glob(torn)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    changed = np.concatenate([corpus[3:], vectors(2, seed=2)])
    found, in_full = searched(tmp_path, changed, queries, "g")
    assert in_full == 4
    assert found.tolist() == best(changed, queries).tolist()


def test_a_torn_file_of_the_run_that_goes_on_is_written_anew(tmp_path):
    corpus = vectors(100)
    files = prepare(str(tmp_path), "f", VectorFiles.of(corpus), {"kind": None})
    (path,) = Path(files.now).glob("*.keys.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    prepare(str(tmp_path), "f", VectorFiles.of(corpus), {"kind": None})
    assert path.read_bytes() == whole


def test_a_kind_without_passages_has_no_neighbours_and_is_no_error(tmp_path):
    corpus, rows = VectorFiles.of(vectors(10)), np.empty(0, np.int64)
    for fingerprint in ("f", "g"):
        files = prepare(str(tmp_path), fingerprint, corpus, {"kind": None, "none": rows})
        assert open_search(files, "none", corpus, rows, SearchSettings()).lists == []
        finish(files)
