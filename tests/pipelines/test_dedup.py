"""The dedup job on small shards, beside a plain-Python reading of its rules."""

import random
from collections import defaultdict
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from filters.duplicates import dedup_key
from pipelines.pair_signatures import domain_keys, held_out_documents
from sources.schema import make_pairs, text_id
from tests.pipelines.conftest import WORDS
from tests.pipelines.dedup_runs import pairs, run_dedup

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def sentence(choose, words=12):
    return " ".join(choose.choice(WORDS) for _ in range(words))


def edited(choose, text):
    """One letter of the text replaced."""
    place = choose.choice([n for n, character in enumerate(text) if character.isalpha()])
    return text[:place] + choose.choice(LETTERS) + text[place + 1 :]


def families(choose, count, size):
    """Texts of 14 words that have none to do with each other, each with near copies; and the family of each."""
    family = {}
    for number in range(count):
        original = " ".join(f"{choose.choice(WORDS)}{choose.choice(LETTERS) * 3}" for _ in range(14))
        for text in [original, *(edited(choose, original) for _ in range(size - 1))]:
            family[text] = number
    return family


def planted(seed, rows=300):
    """Rows of texts in families, with qualities, kinds, documents and urls; and the family of each text."""
    choose = random.Random(seed)
    queries, positives = families(choose, 25, 4), families(choose, 40, 3)
    made = []
    for _ in range(rows):
        more = {
            "quality": choose.choice([None, 0.25, 0.5, 0.75]),
            "kind": choose.choice(["title_body", "question_answer", "parallel"]),
            "url": choose.choice([None, "https://www.one.org/a", "http://one.org:80/b", "https://two.org/c"]),
        }
        made.append((choose.choice(list(queries)), choose.choice(list(positives)), f"d{choose.randrange(60)}", more))
    made += [(*row[:2], f"{row[2]} again", row[3]) for row in made[:20]]
    made += [(row[1], row[0], row[2], row[3]) for row in made[20:60]]  # mirror images
    return made, queries | {text: number + 25 for text, number in positives.items()}


def expected_rows(batch, family, settings, seed):
    """Plain Python: the pair ids kept, and the reason of each row dropped, by what the job says it does."""
    rows = [row | {"row": n} for n, row in enumerate(batch.to_pylist())]
    share = settings.get("held_out_share", 0)
    held = held_out_documents(batch, seed=seed, share=share, sources=()).to_pylist()
    for row, is_held in zip(rows, held, strict=True):
        row["held"] = is_held
        row["q"], row["p"] = family[row["query"]], family[row["positive"]]
        ends = (row["q"], row["p"])
        row["pair"] = (row["kind"], *(sorted(ends) if row["symmetric"] else ends))
        texts = (row["query"], row["positive"])
        row["exact"] = (row["kind"], *(sorted(texts) if row["symmetric"] else texts))

    def quality(row):
        value = (row["scores"] or {}).get("quality")
        return np.inf if value is None or settings.get("keep") == "first" else -value

    rows.sort(key=lambda row: (not row["held"], quality(row), row["pair_id"], row["row"]))
    reasons, seen_pairs, seen_exact, left = {}, set(), set(), []
    for row in rows:
        if row["pair"] in seen_pairs:
            reasons[row["row"]] = "duplicate_pair" if row["exact"] in seen_exact else "near_duplicate_pair"
        else:
            left.append(row)
        seen_pairs.add(row["pair"])
        seen_exact.add(row["exact"])
    held_rows = [row for row in rows if row["held"]]
    held_texts = {text for row in held_rows for text in (row["query"], row["positive"])}
    for side, name, other in (("q", "query", "positive_lang"), ("p", "positive", "query_lang")):
        held_clusters = {row[side] for row in held_rows}
        kept, count = [], defaultdict(int)
        for row in left:
            if not row["held"] and (row[side] in held_clusters or row[name] in held_texts):
                reasons[row["row"]] = "leaks_held_out"
                continue
            by_text = settings.get(f"{name}_cap_counts", "text" if name == "query" else "cluster") == "text"
            group = (row[name] if by_text else row[side], row["kind"], row[other], row["held"])
            count[group] += 1
            if count[group] > settings[f"max_pairs_per_{name}"]:
                reasons[row["row"]] = f"{name}_cap"
            else:
                kept.append(row)
        left = kept
    for name, key in (("document", lambda row: (row["source"], row["document_id"])), ("domain", host)):
        cap = settings.get(f"max_pairs_per_{name}")
        kept, count = [], defaultdict(int)
        for row in left if cap else []:
            group = (key(row), row["held"])
            count[group] += 1
            if group[0] is not None and count[group] > cap:
                reasons[row["row"]] = f"{name}_cap"
            else:
                kept.append(row)
        left = kept if cap else left
    return reasons


def host(row):
    return None if row["url"] is None else row["url"].split("//")[1].split("/")[0].split(":")[0].removeprefix("www.")


RULES = [
    {"max_pairs_per_query": 1, "max_pairs_per_positive": 1},
    {"max_pairs_per_query": 3, "max_pairs_per_positive": 2, "keep": "first", "max_pairs_per_domain": 20},
    {"max_pairs_per_query": 4, "max_pairs_per_positive": 4, "max_pairs_per_document": 2, "max_pairs_per_domain": 9},
    {"max_pairs_per_query": 9, "max_pairs_per_positive": 9, "held_out_share": 0.06},
    {
        "max_pairs_per_query": 2,
        "max_pairs_per_positive": 2,
        "query_cap_counts": "cluster",
        "positive_cap_counts": "text",
    },
]


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize(("rules", "seed"), list(zip(RULES, range(len(RULES)), strict=True)))
def test_rows_are_dropped_as_a_plain_reading_of_the_rules_says(tmp_path, rules, near, seed):
    rows, family = planted(seed)
    batch = pairs(rows)
    if not near:
        family = {text: text for text in family}
    settings = rules | ({} if near else {"near": None})
    done = run_dedup(tmp_path, {"a": batch.slice(0, 150), "b": batch.slice(150)}, seed=seed, partitions=3, **settings)
    expected = expected_rows(batch, family, rules, seed)
    found = defaultdict(list)
    for row in done.rows("rejects"):
        found[row["pair_id"], row["reason"]].append(row)
    wanted = defaultdict(int)
    for number, reason in expected.items():
        wanted[batch["pair_id"][number].as_py(), reason] += 1
    assert {key: len(value) for key, value in found.items()} == dict(wanted)
    assert len(done.rows("pairs", "held_out")) == batch.num_rows - len(expected)
    assert "duplicate_pair" in {reason for _, reason in wanted}


def test_every_row_gets_its_clusters_and_their_sizes(tmp_path):
    rows, family = planted(3)
    batch = pairs(rows)
    done = run_dedup(tmp_path, {"a": batch.slice(0, 100), "b": batch.slice(100)})
    everything = done.rows("pairs", "rejects")
    assert len(everything) == batch.num_rows
    key_of = {text: dedup_key(pa.array([text]))[0].as_py() for text in family}
    for side in ("query", "positive"):
        texts = defaultdict(set)
        for row in rows:
            texts[family[row[0 if side == "query" else 1]]].add(row[0 if side == "query" else 1])
            if side == "query" and row[3]["kind"] == "parallel":
                texts[family[row[1]]].add(row[1])  # symmetric: both texts count as queries
        sizes = defaultdict(int)
        for row in rows:
            sizes[family[row[0 if side == "query" else 1]]] += 1
        for row in everything:
            number = family[row[side]]
            assert row[f"{side}_cluster_id"] == min(key_of[text] for text in texts[number])
            assert row[f"{side}_cluster_size"] == sizes[number]
    for passage in done.rows("passages"):
        owner = next(row for row in everything if row["positive"] == passage["text"])
        assert passage["cluster_id"] == owner["positive_cluster_id"]
        assert passage["cluster_size"] == owner["positive_cluster_size"]


def test_each_training_positive_is_one_passage(tmp_path):
    rows, _ = planted(6)
    many = {"max_pairs_per_query": 99, "max_pairs_per_positive": 99, "near": None, "held_out_share": 0.05}
    for caps in ({}, {"max_pairs_per_document": 3}):
        done = run_dedup(tmp_path / str(len(caps)), {"a": pairs(rows[:100]), "b": pairs(rows[100:])}, **many, **caps)
        passages = [row["passage_id"] for row in done.rows("passages")]
        assert len(set(passages)) == len(passages)
        assert set(passages) == {text_id(row["positive"]) for row in done.rows("pairs")}


SETTINGS = {"max_pairs_per_query": 2, "max_pairs_per_positive": 2, "max_pairs_per_document": 3, "held_out_share": 0.05}


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Four shards with rows that are in several of them, and the job's result on them."""
    rows, _ = planted(11, 400)
    parts = [rows[n::4] for n in range(4)]
    parts[2] += parts[0][:10]  # rows that are the same but for the shard they are in
    shards = {name: pairs(part) for name, part in zip("abcd", parts, strict=True)}
    return shards, run_dedup(tmp_path_factory.mktemp("once"), shards, **SETTINGS)


def test_the_order_of_the_shards_makes_no_difference(several, tmp_path):
    shards, done = several
    turned = run_dedup(tmp_path, dict(zip("dabc", shards.values(), strict=True)), **SETTINGS)
    for name, other in zip("abcd", "dabc", strict=True):
        assert done.bytes_of(name) == turned.bytes_of(other)


def test_two_workers_write_the_same_bytes(several, tmp_path):
    shards, done = several
    two = run_dedup(tmp_path, shards, runner={"mode": "multi_processing", "workers": 2}, **SETTINGS)
    assert all(done.bytes_of(name) == two.bytes_of(name) for name in shards)


@pytest.mark.parametrize("near", [{}, {"exact": True}, {"positives": False}, None])
def test_clusters_by_rounds_are_those_by_union_find(several, tmp_path, near):
    shards, _ = several
    found = [
        run_dedup(tmp_path / way, shards, components=way, partitions=3, near=near, **SETTINGS)
        for way in ("one_process", "rounds")
    ]
    assert all(found[0].bytes_of(name) == found[1].bytes_of(name) for name in shards)
    assert not (tmp_path / "rounds" / "dedup" / "_rounds").exists()


def test_long_chains_of_similar_texts_are_one_cluster_by_rounds_too(tmp_path):
    """Each text is one edit from the next; the first and the last have nothing in common."""
    choose = random.Random(4)
    text = list(" ".join(f"{word}{choose.choice(LETTERS)}" for word in choose.choices(WORDS, k=12)))
    chain = ["".join(text)]
    for place, character in enumerate(text):
        if character != " ":
            text[place] = choose.choice(LETTERS)
            chain.append("".join(text))
    batch = pairs([(each, f"{sentence(choose)} {n}", "d") for n, each in enumerate(chain)])
    for way in ("one_process", "rounds"):
        near = {"positives": False}
        done = run_dedup(tmp_path / way, {"a": batch}, components=way, near=near, query_cap_counts="cluster")
        assert {row["query_cluster_size"] for row in done.rows("pairs", "rejects")} == {len(chain)}
        assert len(done.rows("pairs")) == 1


def sketched_at(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "dedup" / "sketches").iterdir()}


def test_a_later_run_with_more_files_sketches_only_those_and_ends_with_the_same_bytes(several, tmp_path):
    shards, done = several
    run_dedup(tmp_path, {name: shards[name] for name in "ac"}, **SETTINGS)
    before = sketched_at(tmp_path)
    assert len(before) == 2 * 3
    later = run_dedup(tmp_path, shards, **SETTINGS)
    after = sketched_at(tmp_path)
    assert len(after) == 4 * 3
    assert all(after[name] == moment for name, moment in before.items())
    assert all(done.bytes_of(name) == later.bytes_of(name) for name in shards)


def test_other_thresholds_keep_the_sketches_and_another_sketch_does_not(several, tmp_path):
    shards, _ = several
    one = {"a": shards["a"]}
    run_dedup(tmp_path, one)
    first = sketched_at(tmp_path)
    run_dedup(tmp_path, one, near={"similarity": 0.8}, max_pairs_per_query=5, components="rounds")
    assert sketched_at(tmp_path) == first
    run_dedup(tmp_path, one, near={"sketch": {"permutations": 64}})
    assert not set(sketched_at(tmp_path).items()) & set(first.items())


def test_a_sketch_that_was_cut_after_all_shards_were_written_is_made_again(several, tmp_path):
    shards, _ = several
    run_dedup(tmp_path, {name: shards[name] for name in "ab"})
    cut = tmp_path / "dedup" / "sketches" / "a.rows.arrow"
    whole = cut.read_bytes()
    cut.write_bytes(b"")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "dedup" / "pairs").iterdir()}
    run_dedup(tmp_path, {name: shards[name] for name in "ab"})
    assert cut.read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_sketches_of_shards_that_are_gone_are_removed(several, tmp_path):
    shards, _ = several
    run_dedup(tmp_path, {name: shards[name] for name in "ab"})
    run_dedup(tmp_path, {"b": shards["b"]})
    assert {name.split(".")[0] for name in sketched_at(tmp_path)} == {"b"}


def test_a_text_is_sketched_as_its_smallest_hash_writes_it_whichever_shard_has_it(tmp_path):
    """The two ways of writing have one key but other n-grams: the square kilometre sign folds to letters in keys alone."""
    rows = [
        (f"an area of {sign} {n} in the far north of the land", f"body {n}", "d")
        for n in range(30)
        for sign in ("㎢", "km2")
    ]
    shards = {"a": pairs(rows[::2]), "b": pairs(rows[1::2])}
    results = [
        run_dedup(tmp_path / str(n), dict(zip("ab", order, strict=True)), max_pairs_per_query=9)
        for n, order in enumerate((list(shards.values()), list(shards.values())[::-1]))
    ]
    assert results[0].bytes_of("a") == results[1].bytes_of("b")
    assert results[0].bytes_of("b") == results[1].bytes_of("a")


@pytest.mark.parametrize("way", ["one_process", "rounds"])
def test_a_query_that_another_shard_has_as_a_positive_is_compared_where_only_queries_are(tmp_path, way):
    choose = random.Random(9)
    texts = list(families(choose, 20, 2))
    rows = [(text, f"body {number}") for number, text in enumerate(texts)]
    as_positives = [(f"title {number}", text) for number, text in enumerate(texts)]
    alone = run_dedup(tmp_path / "alone", {"b": pairs(rows)}, near={"positives": False}).rows("pairs", "rejects")
    beside = {"a": pairs(as_positives), "b": pairs(rows)}
    found = run_dedup(tmp_path / "beside", beside, near={"positives": False}, components=way).rows("pairs", "rejects")
    sizes = {row["query"]: row["query_cluster_size"] for row in found}
    assert set(sizes.values()) == {1, 2}
    assert {row["query"]: row["query_cluster_size"] for row in alone}.items() <= sizes.items()


def test_the_better_pair_is_kept_or_the_smaller_id(tmp_path):
    rows = [
        ("A title of some length here", f"Body number {n} of another thing", f"d{n}", {"quality": q})
        for n, q in enumerate([None, 0.5, 0.9, 0.9])
    ]
    batch = pairs(rows)
    ids = batch["pair_id"].to_pylist()
    best = run_dedup(tmp_path / "best", {"a": batch}, near=None).rows("pairs")
    assert [row["pair_id"] for row in best] == [min(ids[2:])]
    first = run_dedup(tmp_path / "first", {"a": batch}, near=None, keep="first").rows("pairs")
    assert [row["pair_id"] for row in first] == [min(ids)]


def test_a_training_pair_leaks_by_a_text_on_either_side_and_by_a_near_copy_on_the_same(tmp_path):
    choose = random.Random(0)
    documents = [f"doc-{n}" for n in range(100)]
    batch = pairs([("q", "p", document) for document in documents])
    held = held_out_documents(batch, seed=1, share=0.1, sources=()).to_pylist()
    inside = next(d for d, is_held in zip(documents, held, strict=True) if is_held)
    outside = next(d for d, is_held in zip(documents, held, strict=True) if not is_held)
    query, positive = sentence(choose), sentence(choose)
    rows = {
        "held": (query, positive, inside),
        "same query": (query, sentence(choose), outside),
        "near query": (edited(choose, query), sentence(choose), outside),
        "same positive": (sentence(choose), positive, outside),
        "near positive": (sentence(choose), edited(choose, positive), outside),
        "query is the positive": (positive, sentence(choose), outside),
        "positive is the query": (sentence(choose), query, outside),
        "query is near the positive": (edited(choose, positive), sentence(choose), outside),
        "other": (sentence(choose), sentence(choose), outside),
    }
    done = run_dedup(
        tmp_path,
        {"a": pairs(list(rows.values()))},
        seed=1,
        held_out_share=0.1,
        max_pairs_per_query=9,
        max_pairs_per_positive=9,
    )
    leaks = {
        "same query",
        "near query",
        "same positive",
        "near positive",
        "query is the positive",
        "positive is the query",
    }
    assert done.dropped() == {rows[name][:2]: "leaks_held_out" for name in leaks}
    # A near copy of a held-out text of the other side is no leak.
    assert done.kept() == {rows[name][:2] for name in rows if name not in leaks}


def test_of_a_held_out_pair_and_its_training_copy_the_held_out_one_is_kept(tmp_path):
    documents = [f"doc-{n}" for n in range(40)]
    batch = pairs(
        [
            ("One query of many words", "One positive of many words", d, {"quality": n / 40})
            for n, d in enumerate(documents)
        ]
    )
    done = run_dedup(tmp_path, {"a": batch}, seed=1, held_out_share=0.2)
    assert len(done.rows("held_out")) == 1
    assert done.rows("pairs") == []


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.org/a?b=c", "example.org"),
        ("http://user:word@example.org:8080/", "example.org"),
        ("//example.org", "example.org"),
        ("example.org/path", "example.org"),
        ("https://en.example.org", "en.example.org"),
    ],
)
def test_the_host_of_a_url_is_found(url, host):
    assert domain_keys(pa.array([url])).to_pylist() == [text_id(host)]


def test_a_url_without_host_has_no_key():
    assert domain_keys(pa.array([None, "", "https://"], pa.string())).to_pylist() == [None] * 3


def test_100_000_copies_of_one_line_are_one_pair(tmp_path):
    choose = random.Random(1)
    line = "Cookies help us to show this page"
    # numbers_agree keeps pages apart that differ in a number; letters do not.
    rows = [(line, f"{line} and {n % 7 * 'x'} more", "d") for n in range(100_000)]
    batch = pairs([*rows, (sentence(choose), sentence(choose), "d")])
    done = run_dedup(tmp_path, {"a": batch.slice(0, 60_000), "b": batch.slice(60_000)})
    assert len(done.rows("pairs")) == 2
    assert done.manifest.dropped["duplicate_pair"] == 100_000 - 7
    assert {row["query_cluster_size"] for row in done.rows("pairs")} == {100_000, 1}


def test_20_000_variants_of_one_line_are_one_cluster(tmp_path):
    choose = random.Random(2)
    line = "Subscribe to our newsletter and never miss a story again"
    rows = [(edited(choose, line), f"{sentence(choose)} {n}", "d") for n in range(20_000)]
    done = run_dedup(tmp_path, {"a": pairs(rows)}, near={"positives": False})
    sizes = [row["query_cluster_size"] for row in done.rows("pairs", "rejects")]
    assert max(sizes) > 19_900


def test_texts_that_say_nothing_are_deduplicated_all_the_same(tmp_path):
    texts = ["x", "y", "!", "?!", "\U0001f600", "\U0001f600\U0001f600", "\U0001f680", "中", "文", "\ufffd", "1", "2"]
    rows = [(query, positive, "d") for query in texts for positive in texts if query != positive]
    done = run_dedup(tmp_path, {"a": pairs([*rows, *rows])}, max_pairs_per_query=99, max_pairs_per_positive=99)
    assert done.manifest.dropped == {"duplicate_pair": len(rows)}
    rounds = run_dedup(
        tmp_path / "rounds",
        {"a": pairs([*rows, *rows])},
        max_pairs_per_query=99,
        max_pairs_per_positive=99,
        components="rounds",
    )
    assert rounds.bytes_of("a") == done.bytes_of("a")


def test_a_huge_text_and_its_copy_are_one_cluster(tmp_path):
    choose = random.Random(5)
    huge = " ".join(choose.choice(WORDS) + str(choose.randrange(10_000)) for _ in range(400_000))  # 4 MB
    copy = huge.replace("river", "stream", 50)
    rows = [("first title of it", huge, "d"), ("another name it has", copy, "e"), ("third", sentence(choose), "f")]
    done = run_dedup(tmp_path, {"a": pairs(rows)})
    assert sorted(row["positive_cluster_size"] for row in done.rows("pairs", "rejects")) == [1, 2, 2]
    assert done.manifest.dropped == {"positive_cap": 1}


@pytest.mark.parametrize("way", ["one_process", "rounds"])
def test_shards_without_rows_are_written_too(tmp_path, way):
    nothing = pairs([("a", "b", "d")]).slice(0, 0)
    done = run_dedup(tmp_path, {"a": nothing, "b": pairs([("some query", "some positive", "d")])}, components=way)
    assert {file.path for file in done.manifest.files} >= {"pairs/a.parquet", "passages/a.parquet"}
    assert done.kept() == {("some query", "some positive")}
    assert run_dedup(tmp_path / "none", {"a": nothing}, components=way).rows("pairs") == []


def test_the_held_out_share_is_met_and_depends_on_seed_and_document_alone():
    documents = [f"doc-{i}" for i in range(4000)]
    batch, _ = make_pairs(query=["q"] * 4000, positive=["p"] * 4000, kind="other", source="s", document_id=documents)
    divide = partial(held_out_documents, share=0.25)
    chosen = divide(batch, seed=1, sources=()).to_numpy(zero_copy_only=False)
    again = divide(batch.slice(100, 50), seed=1, sources=("s",)).to_numpy(zero_copy_only=False)
    assert 0.22 < chosen.mean() < 0.28
    assert (chosen[100:150] == again).all()
    assert (divide(batch, seed=2, sources=()).to_numpy(zero_copy_only=False) != chosen).any()
    assert not divide(batch, seed=1, sources=("other",)).to_numpy(zero_copy_only=False).any()
