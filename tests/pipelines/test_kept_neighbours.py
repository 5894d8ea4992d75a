import json
from pathlib import Path

import numpy as np

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
