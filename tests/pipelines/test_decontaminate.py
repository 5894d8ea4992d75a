"""Training pairs against evaluation sets: whole runs, and the rules on single batches."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from pipelines.errors import JobFailed, UserError
from pipelines.evaluation_sets import read_evaluation_set
from pipelines.jobs import decontaminate
from pipelines.jobs.decontaminate import LEAKS, find_in_batch
from pipelines.launcher import Event, run_recipe
from pipelines.leak_index import LeakIndex, build_index, index_fingerprint
from pipelines.manifest import read_manifest
from pipelines.recipe import DecontaminateSettings, EvaluationSet, load_recipe, parse_recipe
from pipelines.run_folder import RunFolder
from sources.schema import make_pairs
from tests.pipelines.test_runs import pairmill, rows_of

PASSAGE = "The lighthouse on the northern pier was built by the mason Karl Brandt and finished in autumn."
QUOTED = "every keeper of the northern lighthouse must write down the weather at four in the morning"
TRAINING = [
    ("Who built the northern lighthouse?", PASSAGE, "exact"),
    ("who built the northern lighthuose", "It was the mason Brandt.", "near"),
    (f"Is it a rule that {QUOTED} or may it be later?", "It is a rule.", "ngram"),
    ("北边的灯塔是谁建造的", "是一位石匠建造的。", "exact"),
    ("北边的那座灯塔是谁建造的", "石匠勃兰特建造了它。", "near"),
    ("北の灯台を建てたのは誰ですか？", "石工のブラントです。", "exact"),
    ("من بنى المناره الشمالية في الميناء", "بناها البناء براندت.", "near"),
    ("Wer hat den nördlichen Leuchturm gebaut", "Der Maurer Brandt.", "near"),
    ("Who painted the northern lighthouse?", "A painter from the village did.", None),
    ("What does the northern pier cost?", "Nothing at all, it is free.", None),
    ("南边的灯塔是谁建造的", "没有人知道。", None),
    ("Wer hat den südlichen Bahnhof gebaut", "Das weiß niemand mehr.", None),
]


def write_lines(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_sets(folder: Path) -> list[dict]:
    """A folder in BEIR's layout, topics without a header, compressed lines with a field of their own."""
    beir = folder / "pier"
    write_lines(
        beir / "corpus.jsonl",
        [{"_id": "p1", "title": "", "text": PASSAGE}, {"_id": "p2", "title": "Pier", "text": "The pier is of stone."}],
    )
    write_lines(beir / "queries.jsonl", [{"_id": "q1", "text": "who built the northern lighthouse"}])
    (beir / "qrels").mkdir()
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tp1\t1\n")
    topics = "t1\t北边的灯塔是谁建造的？\nt2\t北の灯台を建てたのは誰ですか\nt3\tمن بنى المنارة الشمالية في الميناء؟\n"
    (folder / "topics.tsv").write_text(topics)
    lines = [
        {"question": "Wer hat den nördlichen Leuchtturm gebaut?"},
        {"question": f"Say whether {QUOTED} even on holidays."},
    ]
    with gzip.open(folder / "harbour.jsonl.gz", "wt") as stream:
        stream.write(
            "".join(json.dumps(line) + "\n" for line in [*lines, {"question": "Who built the northern lighthouse"}])
        )
    return [
        {"name": "pier", "source": "beir", "paths": [str(beir)], "split": "test"},
        {"name": "many", "queries": [str(folder / "topics.tsv")]},
        {"name": "harbour", "queries": [str(folder / "harbour.jsonl.gz")], "query_field": "question"},
        {"name": "stones", "corpus": [str(beir / "corpus.jsonl")]},
    ]


def write_recipe(folder: Path, **changes) -> Path:
    for number in range(2):
        rows = [{"query": q, "positive": p} for q, p, _ in TRAINING[number::2]]
        write_lines(folder / "pairs" / f"part-{number}.jsonl", rows)
    content = {
        "name": "clean",
        "sources": [
            {"source": "jsonl", "label": "pairs", "paths": [f"{folder}/pairs/*.jsonl"], "kind": "question_answer"}
        ],
        "decontaminate": {"evaluation_sets": write_sets(folder / "sets")},
        "runner": {"mode": "in_memory"},
    } | changes
    file = folder / "clean.yaml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True))
    return file


def run_here(recipe: Path, folder: Path, jobs=("extract", "decontaminate")) -> dict[str, str]:
    """How each job ended."""
    events: list[Event] = []
    run_recipe(load_recipe(str(recipe)), RunFolder(str(folder)), events.append, jobs)
    return {event.job: event.kind for event in events if event.kind in ("skipped", "finished")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    recipe = write_recipe(folder)
    run_here(recipe, folder / "run", ("extract", "decontaminate", "report"))
    return recipe, folder / "run"


def job_files(run: Path) -> dict[str, str]:
    return {file.path: file.sha256 for file in read_manifest(str(run / "decontaminate")).files}


def test_each_leak_is_dropped_by_its_rule_and_nothing_else_is(finished):
    _, run = finished
    assert {row["query"] for row in rows_of(run, "decontaminate", "pairs")} == {
        q for q, _, rule in TRAINING if rule is None
    }
    dropped = {row["query"]: row["reason"] for row in rows_of(run, "decontaminate", "rejects")}
    assert dropped == {q: f"leaks_query_{rule}" for q, _, rule in TRAINING if rule}


def test_leaks_are_counted_by_set_and_rule_and_name_the_evaluation_query(finished):
    _, run = finished
    details = read_manifest(str(run / "decontaminate")).details
    assert details["leaks"] == {
        "pier": {"query_exact": 1, "query_near": 1, "passage": 1},
        "many": {"query_exact": 2, "query_near": 2},
        "harbour": {"query_exact": 1, "query_near": 2, "query_ngram": 1},
        "stones": {"passage": 1},
    }
    # A set read by a source has the passages that were judged relevant; of one with a title, the text with it is one more.
    assert details["evaluation_sets"] == {
        "pier": {"queries": 1, "passages": 1, "unreadable": 0, "queries_found": 1},
        "many": {"queries": 3, "passages": 0, "unreadable": 0, "queries_found": 3},
        "harbour": {"queries": 3, "passages": 0, "unreadable": 0, "queries_found": 3},
        "stones": {"queries": 0, "passages": 3, "unreadable": 0, "queries_found": 0},
    }
    found = {(row["set"], row["text"]): row for row in rows_of(run, "decontaminate", LEAKS)}
    chinese = found["many", "北边的灯塔是谁建造的"]
    assert (chinese["evaluation_id"], chinese["evaluation_text"]) == ("t1", "北边的灯塔是谁建造的？")
    assert chinese["dropped"] and chinese["side"] == "query"


def test_the_report_shows_the_sets_and_the_texts_side_by_side(finished):
    _, run = finished
    page = (run / "report" / "index.html").read_text()
    section = page[page.index('<section id="leakage">') : page.index('<section id="shape">')]
    for words in ("harbour", "stones", "Of them found", "who built the northern lighthuose", "a passage"):
        assert words in section
    assert "leaks_query_near" in page


def test_a_second_run_skips_and_one_after_a_set_changed_does_not(tmp_path):
    recipe, run = write_recipe(tmp_path), tmp_path / "run"
    run_here(recipe, run)
    before = job_files(run)
    assert run_here(recipe, run)["decontaminate"] == "skipped"
    topics = tmp_path / "sets" / "topics.tsv"
    topics.write_text(topics.read_text() + "t4\tWho painted the northern lighthouse?\n")
    assert run_here(recipe, run)["decontaminate"] == "finished"
    assert read_manifest(str(run / "decontaminate")).details["leaks"]["many"]["query_exact"] == 3
    assert job_files(run) != before


def test_a_job_goes_on_from_the_committed_shards_and_the_index(tmp_path):
    recipe, run = write_recipe(tmp_path), tmp_path / "run"
    run_here(recipe, run)
    folder, before = run / "decontaminate", job_files(run)
    kept, lost = sorted((folder / "_parts").glob("*.json"))
    (folder / "_MANIFEST.json").unlink()
    lost.unlink()
    untouched = [kept, folder / "index" / "query-exact-keys.arrow"]
    times = [path.stat().st_mtime_ns for path in untouched]
    assert run_here(recipe, run)["decontaminate"] == "finished"
    assert job_files(run) == before
    assert [path.stat().st_mtime_ns for path in untouched] == times


def test_two_workers_write_the_same_bytes_as_one(finished, tmp_path):
    recipe, run = finished
    content = yaml.safe_load(recipe.read_text()) | {"runner": {"mode": "multi_processing", "workers": 2}}
    two = tmp_path / "two.yaml"
    two.write_text(yaml.safe_dump(content, allow_unicode=True))
    run_here(two, tmp_path / "run")
    assert job_files(tmp_path / "run") == job_files(run)


# Rules on one batch


def batch_of(rows, kind="question_answer"):
    batch, rejects = make_pairs(
        query=[q for q, _ in rows], positive=[p for _, p in rows], kind=kind, source="s", document_id=["d"] * len(rows)
    )
    assert rejects.num_rows == 0
    return batch


def judged(folder: Path, rows, kind="question_answer", **changes):
    """The reasons of the rows, and (set, rule, side, dropped) of their leaks, against write_sets."""
    settings = DecontaminateSettings.model_validate({"evaluation_sets": write_sets(folder), **changes})
    build_index(str(folder / "job"), settings, "key")
    index = LeakIndex(str(folder / "job"), tuple(each.name for each in settings.evaluation_sets))
    leaks, reason = find_in_batch(batch_of(rows, kind), index, settings)
    found = [tuple(row[name] for name in ("set", "rule", "side", "dropped")) for row in leaks.to_pylist()]
    return reason.to_pylist(), found


def test_the_positive_of_a_symmetric_kind_leaks_as_a_query_does(tmp_path):
    rows = [("A question of mine", "Who built the northern lighthouse?"), ("One text", "another text")]
    reasons, found = judged(tmp_path / "a", rows, "question_question")
    assert reasons == ["leaks_query_exact", None]
    assert found == [("pier", "query_exact", "positive", True), ("harbour", "query_exact", "positive", True)]
    assert judged(tmp_path / "b", rows, "question_answer") == ([None, None], [])


def test_passages_are_dropped_where_the_recipe_says_so(tmp_path):
    rows = [("what is of stone", "PIER: the pier is of stone"), ("a lighthouse", PASSAGE), ("a b", "c d")]
    kept, found = judged(tmp_path / "a", rows)
    assert kept == [None, None, None]
    assert found == [
        ("stones", "passage", "positive", False),
        ("pier", "passage", "positive", False),
        ("stones", "passage", "positive", False),
    ]
    dropped, found = judged(tmp_path / "b", rows, drop_passages=True)
    assert dropped == ["leaks_passage", "leaks_passage", None]
    assert all(was_dropped for *_, was_dropped in found)


def test_queries_inside_positives_are_looked_for_only_on_request(tmp_path):
    rows = [("the rules of the house", f"The book says: {QUOTED}, and so it is done.")]
    assert judged(tmp_path / "a", rows) == ([None], [])
    reported = ([None], [("harbour", "positive_ngram", "positive", False)])
    assert judged(tmp_path / "b", rows, ngram_positives="report") == reported
    assert judged(tmp_path / "c", rows, ngram_positives="drop")[0] == ["leaks_positive_ngram"]


def test_an_empty_batch_has_no_leaks(tmp_path):
    assert judged(tmp_path, []) == ([], [])


# Mistakes


def test_a_path_that_names_nothing_is_an_error_with_set_and_path(tmp_path):
    recipe = write_recipe(tmp_path)
    content = yaml.safe_load(recipe.read_text())
    content["decontaminate"]["evaluation_sets"][1]["queries"] = [f"{tmp_path}/no-such-topics.tsv"]
    recipe.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"'many'.*no-such-topics\.tsv"):
        run_here(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "extract").exists()  # told before any job runs


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ("[]", "at least 1 item"),
        ("[{name: a, queries: [x]}, {name: a, queries: [y]}]", "two sets are named 'a'"),
        ("[{name: a}]", "name files of `queries`"),
        ("[{name: a, source: beir}]", "needs `paths`"),
        ("[{name: a, source: bier, paths: [x]}]", "did you mean `beir`"),
        ("[{name: a, queries: [x], query_fild: q}]", "did you mean `query_field`"),
        ("[{name: a, source: beir, paths: [x], query_field: q}]", "`query_field` is for files that are read without"),
        (
            "[{name: a, source: beir, paths: [x], splitt: dev}]",
            "unknown setting `decontaminate.evaluation_sets.0.splitt`",
        ),
    ],
)
def test_a_mistake_in_the_sets_is_named(sets, words):
    recipe = f"name: r\nsources: [{{source: jsonl, paths: [x]}}]\ndecontaminate:\n  evaluation_sets: {sets}\n"
    with pytest.raises(UserError) as error:
        parse_recipe(recipe, "r.yaml")
    assert words in str(error.value)
    assert "line " in str(error.value)


def build(folder: Path, **entry) -> None:
    settings = DecontaminateSettings(evaluation_sets=(EvaluationSet(name="set", **entry),))
    build_index(str(folder / "job"), settings, "key")


def test_a_set_without_texts_and_one_without_the_field_are_errors(tmp_path):
    write_lines(tmp_path / "empty.jsonl", [])
    with pytest.raises(UserError, match=r"'set' holds no query and no passage.*empty\.jsonl"):
        build(tmp_path, queries=(str(tmp_path / "empty.jsonl"),))
    write_lines(tmp_path / "other.jsonl", [{"words": "a b c"}])
    with pytest.raises(UserError, match=r"'set'.*other\.jsonl.*'words'"):
        build(tmp_path, queries=(str(tmp_path / "other.jsonl"),))


@pytest.mark.parametrize("source", [{}, {"source": "jsonl"}])
def test_a_file_that_is_cut_off_is_an_error_though_its_start_can_be_read(tmp_path, source):
    file = tmp_path / "topics.jsonl.gz"
    rows = b"".join(b'{"query": "question %d", "positive": "answer %d"}\n' % (n, n) for n in range(2000))
    file.write_bytes(gzip.compress(rows)[:-40])
    named = {"paths": [str(file)], **source} if source else {"queries": [str(file)]}
    with pytest.raises(UserError, match=r"Evaluation set 'cut'.*topics\.jsonl\.gz is broken \(truncated_file"):
        list(read_evaluation_set(EvaluationSet(name="cut", **named)))


def test_a_set_of_which_much_cannot_be_read_fails_the_job(tmp_path):
    lines = [json.dumps({"text": f"question number {n}"}) for n in range(30)] + ["{broken"] * 20
    (tmp_path / "half.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(JobFailed, match="20 of 50 records of evaluation set 'set'"):
        build(tmp_path, queries=(str(tmp_path / "half.jsonl"),))


def test_a_lower_limit_of_unreadable_records_is_looked_at_again():
    files = [{"evaluation_set": "a", "path": "x"}]
    sets = (EvaluationSet(name="a", queries=("x",)),)
    keys = {
        index_fingerprint(DecontaminateSettings(evaluation_sets=sets, max_unreadable_share=share), files)
        for share in (0.05, 0.5)
    }
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("name", "text", "fields"),
    [
        ("a.txt", "who built the pier\nwho paid for the pier\n", {}),
        ("a.tsv", "7\twho built the pier\n8\twho paid for the pier\n", {}),
        ("a.tsv", "qid\tquery\n7\twho built the pier\n8\twho paid for the pier\n", {}),
        (
            "a.txt",
            "who built the pier\t['Brandt']\nwho paid for the pier\t['me']\n",
            {"columns": ("question", "answers")},
        ),
        ("a.txt", '{"question": "who built the pier"}\n{"question": "who paid for the pier"}\n', {}),
        (
            "a.jsonl",
            '{"q": {"en": "who built the pier"}, "text": "x"}\n{"q": {"en": "who paid for the pier"}}\n',
            {"query_field": "q.en"},
        ),
        ("a.json", '[{"query": "who built the pier"}, {"query": "who paid for the pier"}]', {}),
    ],
)
def test_files_of_queries_are_read_in_the_ways_they_come(tmp_path, name, text, fields):
    (tmp_path / name).write_text(text)
    build(tmp_path, queries=(str(tmp_path / name),), **fields)
    texts = LeakIndex(str(tmp_path / "job"), ("set",)).members["text"].to_pylist()
    assert texts == ["who built the pier", "who paid for the pier"]


def test_every_reason_is_explained():
    assert list(decontaminate.REASONS) == [f"leaks_{rule}" for rule in decontaminate.RULES]
    assert pa.types.is_fixed_size_binary(decontaminate.LEAK.field("pair_id").type)


def test_the_command_alone_takes_a_folder_and_writes_the_leaks(tmp_path):
    write_sets(tmp_path / "sets")
    write_lines(tmp_path / "pairs.jsonl", [{"query": q, "positive": p} for q, p, _ in TRAINING])
    output, leaks = tmp_path / "kept.jsonl", tmp_path / "leaks.jsonl"
    words = ("--input", f"{tmp_path}/pairs.jsonl", "--output", str(output), "--leaks", str(leaks))
    against = ("--against", f"pier={tmp_path}/sets/pier", "--against", f"many={tmp_path}/sets/topics.tsv")
    result = pairmill("decontaminate", *words, *against)
    assert result.returncode == 0, result.stderr
    kept = {json.loads(line)["query"] for line in output.read_text().splitlines()}
    assert "Who built the northern lighthouse?" not in kept
    assert "Who painted the northern lighthouse?" in kept
    rows = [json.loads(line) for line in leaks.read_text().splitlines()]
    assert {(row["set"], row["rule"]) for row in rows} >= {("pier", "passage"), ("many", "query_exact")}
    wrong = pairmill("decontaminate", *words, "--against", "no-equals-sign")
    assert wrong.returncode == 2 and "write NAME=PATH" in wrong.stderr
