from functools import partial

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.jobs.dedup import (
    REASONS,
    drop_duplicate_pairs,
    drop_leaks_and_cap,
    held_out_documents,
    passage_owners,
    signature_rows,
    with_key,
)
from sources.schema import make_pairs

TEXTS = [f"Text number {i}" for i in range(5)]


def signatures(rows, *, share=0.0, seed=0):
    """`rows`: (query, positive, kind, document)."""
    batch, rejects = make_pairs(
        query=[r[0] for r in rows],
        positive=[r[1] for r in rows],
        kind=[r[2] for r in rows],
        source="s",
        document_id=[r[3] for r in rows],
    )
    assert rejects.num_rows == 0
    batch = batch.append_column("position", pa.array(np.arange(len(rows), dtype=np.int64)))
    divide = partial(held_out_documents, seed=seed, share=share, sources=())
    return pa.Table.from_batches([signature_rows(batch, divide)])


def test_of_equal_pairs_the_first_is_kept_case_and_space_apart():
    table = signatures(
        [
            ("A title", "The body", "title_body", "d"),
            ("a  TITLE", "the body", "title_body", "e"),
            ("B", "The body", "title_body", "f"),
        ]
    )
    kept, verdicts, _ = drop_duplicate_pairs(table)
    assert kept["position"].to_pylist() == [0, 2]
    assert verdicts_of(verdicts) == {1: "duplicate_pair"}


def test_a_symmetric_pair_equals_its_mirror_image_and_an_asymmetric_one_does_not():
    table = signatures(
        [
            ("one", "two", "paraphrase", "d"),
            ("two", "one", "paraphrase", "d"),
            ("one", "two", "title_body", "d"),
            ("two", "one", "title_body", "d"),
        ]
    )
    kept, _, _ = drop_duplicate_pairs(table)
    assert kept["position"].to_pylist() == [0, 2, 3]


def test_the_same_texts_as_another_kind_are_another_pair():
    kept, _, _ = drop_duplicate_pairs(signatures([("a", "b", "title_body", "d"), ("a", "b", "question_answer", "d")]))
    assert kept.num_rows == 2


def verdicts_of(table):
    names = list(REASONS)
    return {row["position"]: names[row["verdict"]] for row in table.to_pylist()}


def naive_caps(rows, held_out, cap):
    """Plain Python: which rows leak, and which are over the cap of their query."""
    reserved = {text for row, held in zip(rows, held_out, strict=True) if held for text in row[:2]}
    seen, verdicts = {}, {}
    for position, (row, held) in enumerate(zip(rows, held_out, strict=True)):
        if not held and row[0] in reserved:
            verdicts[position] = "leaks_held_out"
            continue
        key = (row[0], row[2], held)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > cap:
            verdicts[position] = "query_cap"
    return verdicts


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(TEXTS),
            st.sampled_from(TEXTS),
            st.sampled_from(["title_body", "other"]),
            st.sampled_from("abcdef"),
        ),
        min_size=1,
        max_size=25,
    ),
    cap=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_leaks_and_caps_agree_with_plain_python(rows, cap, seed):
    rows = [row for row in dict.fromkeys(rows) if row[0] != row[1]]
    rows = list({(q, p, k): (q, p, k, d) for q, p, k, d in reversed(rows)}.values())
    if not rows:
        return
    table = signatures(rows, share=0.4, seed=seed)
    held_out = table["held_out"].to_pylist()
    _, _, markers = drop_duplicate_pairs(table)
    keyed = pa.Table.from_batches([with_key(table.combine_chunks().to_batches()[0], "query_key")])
    kept, verdicts, _ = drop_leaks_and_cap(pa.concat_tables([keyed, markers]), "query_cap", "query_cap_key", cap)
    expected = naive_caps(rows, held_out, cap)
    assert verdicts_of(verdicts) == expected
    assert sorted(kept["position"].to_pylist()) == [n for n in range(len(rows)) if n not in expected]


def test_each_training_passage_has_one_owner_and_held_out_rows_own_none():
    table = signatures(
        [
            ("a", "same body", "title_body", "d"),
            ("b", "same body", "title_body", "e"),
            ("c", "other body", "title_body", "f"),
        ]
    )
    owners = passage_owners(table.to_batches()[0])
    assert owners["position"].to_pylist() == [0, 2]
    held_out = signatures([("a", "same body", "title_body", "d")], share=0.999999)
    assert passage_owners(held_out.to_batches()[0]).num_rows == 0


def test_the_held_out_share_is_met_and_depends_on_seed_and_document_alone():
    documents = [f"doc-{i}" for i in range(4000)]
    batch, _ = make_pairs(query=["q"] * 4000, positive=["p"] * 4000, kind="other", source="s", document_id=documents)
    chosen = held_out_documents(batch, seed=1, share=0.25, sources=()).to_numpy(zero_copy_only=False)
    again = held_out_documents(batch.slice(100, 50), seed=1, share=0.25, sources=("s",)).to_numpy(zero_copy_only=False)
    assert 0.22 < chosen.mean() < 0.28
    assert (chosen[100:150] == again).all()
    assert (held_out_documents(batch, seed=2, share=0.25, sources=()).to_numpy(zero_copy_only=False) != chosen).any()
    assert not held_out_documents(batch, seed=1, share=0.25, sources=("other",)).to_numpy(zero_copy_only=False).any()
