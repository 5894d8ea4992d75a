import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.evaluate import EvaluationDataError
from trainer.evaluate.tasks import load_task
from trainer.evaluate.tasks.kinds import Classification, Clustering, LabelledPairs, Reranking, ScoredPairs

PAIRS = [
    {"sentence1": "ein Boot", "sentence2": "一艘船", "score": 4.5},
    {"sentence1": "лодка", "sentence2": "زورق صغير", "score": 1},
    {"sentence1": "χωρίς", "sentence2": "without", "score": 0.25},
]


def write(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    return file.parent


def only(task):
    assert list(task.subsets) == [None]
    return task.subsets[None]


def refusal(path, **settings):
    with pytest.raises(EvaluationDataError) as error:
        load_task(path, **settings)
    return str(error.value)


def test_pairs_with_a_score_are_similarity(tmp_path):
    task = load_task(write(tmp_path / "boats" / "test.jsonl", PAIRS))
    data = only(task)
    assert (task.name, task.kind, task.split) == ("boats", "sts", "test")
    assert isinstance(data, ScoredPairs)
    assert data.first == ["ein Boot", "лодка", "χωρίς"]
    assert data.second == ["一艘船", "زورق صغير", "without"]
    assert data.scores.tolist() == [4.5, 1, 0.25]


def test_the_same_rows_are_read_from_every_format(tmp_path):
    texts = [(row["sentence1"], row["sentence2"], str(row["score"])) for row in PAIRS]
    header = ("sentence1", "sentence2", "score")
    write(tmp_path / "a" / "test.jsonl", PAIRS)
    write(tmp_path / "b" / "test.jsonl.gz", PAIRS)
    for name, separator in (("c/test.tsv", "\t"), ("d/test.csv", ",")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("\n".join(separator.join(row) for row in (header, *texts)), "utf-8")
    (tmp_path / "e" / "data").mkdir(parents=True)
    for part in range(3):
        table = pa.Table.from_pylist(PAIRS[part : part + 1])
        pq.write_table(table, tmp_path / "e" / "data" / f"test-0000{part}-of-00003.parquet")
    for name in "abcde":
        data = only(load_task(tmp_path / name))
        assert (data.first, data.second) == ([row[0] for row in texts], [row[1] for row in texts]), name
        assert data.scores.tolist() == [4.5, 1, 0.25]


def test_a_field_in_quotes_may_hold_commas_and_line_breaks_in_csv_and_a_quote_is_a_quote_in_tsv(tmp_path):
    (tmp_path / "quoted.csv").write_text('text1,text2,score\r\n"a, b","c\nd",1\r\n"""e""",f,2\r\n', "utf-8")
    data = only(load_task(tmp_path / "quoted.csv"))
    assert (data.first, data.second) == (["a, b", '"e"'], ["c\nd", "f"])
    (tmp_path / "plain.tsv").write_text('sentence1\tsentence2\tscore\n"a\tb\t1\nc\td"\t2\n', "utf-8")
    assert only(load_task(tmp_path / "plain.tsv")).first == ['"a', "c"]


def test_a_single_file_is_a_task_named_after_it(tmp_path):
    folder = write(tmp_path / "boats.jsonl", PAIRS)
    assert load_task(folder / "boats.jsonl").name == "boats"


def test_pairs_with_a_label_are_pair_classification(tmp_path):
    rows = [{"sent1": "a", "sent2": "b", "labels": 1}, {"sent1": "c", "sent2": "d", "labels": 0}]
    task = load_task(write(tmp_path / "test.jsonl", rows))
    assert task.kind == "pair_classification"
    assert isinstance(only(task), LabelledPairs)
    assert only(task).labels.tolist() == [True, False]


def test_one_row_of_lists_is_as_many_pairs(tmp_path):
    row = {"sent1": ["a", "c", "e"], "sent2": ["b", "d", "f"], "labels": [1, 0, 1]}
    data = only(load_task(write(tmp_path / "test.jsonl", [row])))
    assert (data.first, data.second, data.labels.tolist()) == (["a", "c", "e"], ["b", "d", "f"], [True, False, True])


def test_lists_of_unequal_length_are_refused_with_their_line(tmp_path):
    rows = [{"sent1": ["a"], "sent2": ["b"], "labels": [1]}, {"sent1": ["a", "b"], "sent2": ["c"], "labels": [0, 1]}]
    assert "test.jsonl, line 2" in refusal(write(tmp_path / "test.jsonl", rows))


def test_texts_with_labels_are_classification_beside_a_training_file_and_clustering_without(tmp_path):
    rows = [{"text": "one", "label": 7}, {"text": "two", "label": 10}, {"text": "three", "label": 9}]
    alone = write(tmp_path / "alone" / "test.jsonl", rows)
    taught = write(tmp_path / "taught" / "test.jsonl", rows)
    write(taught / "train.jsonl", [{"text": "vier", "label": 10}, {"text": "fünf", "label": 7}])
    task = load_task(alone)
    assert task.kind == "clustering"
    assert isinstance(only(task), Clustering)
    assert [(each.texts, each.labels.tolist(), each.names) for each in only(task).sets] == [
        (["one", "two", "three"], [0, 2, 1], ["7", "9", "10"])
    ]
    task = load_task(taught)
    assert task.kind == "classification"
    assert isinstance(only(task), Classification)
    assert only(task).train.labels.tolist() == [2, 0]  # of 7, 9, 10
    assert only(task).test.labels.tolist() == [0, 2, 1]
    assert load_task(taught, kind="clustering").kind == "clustering"
    assert "split train" in refusal(alone, kind="classification")


def test_lists_of_texts_and_labels_are_sets_to_be_clustered(tmp_path):
    rows = [
        {"sentences": ["a", "b", "c"], "labels": ["x", "y", "x"]},
        {"sentences": ["d", "e"], "labels": ["z", "z"]},
    ]
    folder = write(tmp_path / "test.jsonl", rows)
    write(folder / "train.jsonl", [{"text": "f", "label": "x"}])
    sets = only(load_task(folder)).sets
    assert [(each.texts, each.labels.tolist(), each.names) for each in sets] == [
        (["a", "b", "c"], [0, 1, 0], ["x", "y"]),
        (["d", "e"], [0, 0], ["z"]),
    ]


def test_queries_without_a_positive_or_a_negative_are_left_out_and_counted(tmp_path, caplog):
    rows = [
        {"query": "q1", "positive": ["p"], "negative": ["n", "m"]},
        {"query": "q2", "positive": [], "negative": ["n"]},
        {"query": "q3", "positive": ["p"], "negative": []},
    ]
    task = load_task(write(tmp_path / "test.jsonl", rows))
    data = only(task)
    assert isinstance(data, Reranking)
    assert (data.queries, data.positives, data.negatives) == (["q1"], [["p"]], [["n", "m"]])
    assert "2 of 3 queries" in caplog.text
    assert "no query has both" in refusal(write(tmp_path / "b" / "test.jsonl", rows[1:]))


def test_languages_are_evaluated_apart_each_with_its_own_training_texts(tmp_path):
    test = [
        {"text": "a", "label": 0, "lang": "swe"},
        {"text": "б", "label": 1, "lang": "bul"},
        {"text": "в", "label": 0, "lang": "bul"},
        {"text": "d", "label": 1, "lang": "swe"},
    ]
    folder = write(tmp_path / "test.jsonl", test)
    write(folder / "train.jsonl", [{"text": row["text"] * 2, **row} | {"text": row["text"] * 2} for row in test])
    subsets = load_task(folder).subsets
    assert list(subsets) == ["bul", "swe"]
    assert (subsets["swe"].train.texts, subsets["swe"].test.texts) == (["aa", "dd"], ["a", "d"])
    assert subsets["bul"].test.labels.tolist() == [1, 0]


def test_training_texts_without_a_language_serve_all(tmp_path):
    test = [
        {"text": text, "label": place % 2, "language": "abc"[place // 2] * 3} for place, text in enumerate("uvwxyz")
    ]
    folder = write(tmp_path / "test.jsonl", test)
    write(folder / "train.jsonl", [{"text": "one", "label": 0}, {"text": "two", "label": 1}])
    subsets = load_task(folder).subsets
    assert [part.test.texts for part in subsets.values()] == [["u", "v"], ["w", "x"], ["y", "z"]]
    assert {tuple(part.train.texts) for part in subsets.values()} == {("one", "two")}


def test_errors_in_one_of_several_languages_name_the_line_of_the_file(tmp_path):
    rows = [PAIRS[0] | {"lang": "x"}, PAIRS[1] | {"lang": "y"}, PAIRS[2] | {"lang": "x", "score": "many"}]
    assert "test.jsonl, line 3 has no finite number" in refusal(write(tmp_path / "test.jsonl", rows))


def test_empty_texts_are_kept_and_counted(tmp_path, caplog):
    folder = write(tmp_path / "test.jsonl", [*PAIRS, {"sentence1": " ", "sentence2": "x", "score": 2}])
    assert only(load_task(folder)).first[-1] == " "
    assert "1 rows have an empty sentence1" in caplog.text


def test_labels_as_text_and_as_numbers_are_the_same_labels(tmp_path):
    folder = write(tmp_path / "test.jsonl", [{"text": "a", "label": "2"}, {"text": "b", "label": "10"}])
    write(folder / "train.jsonl", [{"text": "c", "label": 2.0}, {"text": "d", "label": 10}])
    data = only(load_task(folder))
    assert data.test.names == ["2", "10"]
    assert (data.test.labels.tolist(), data.train.labels.tolist()) == ([0, 1], [0, 1])


def test_a_label_that_is_never_taught_is_told(tmp_path, caplog):
    folder = write(tmp_path / "test.jsonl", [{"text": "a", "label": "x"}, {"text": "b", "label": "new"}])
    write(folder / "train.jsonl", [{"text": "c", "label": "x"}, {"text": "d", "label": "y"}])
    assert only(load_task(folder)).test.names == ["new", "x", "y"]
    assert "1 labels never occur" in caplog.text


def test_the_split_is_test_before_validation_before_dev_or_the_one_named(tmp_path):
    for split in ("dev", "validation", "test"):
        folder = write(tmp_path / f"{split}.jsonl", [*PAIRS, PAIRS[0] | {"sentence1": split}])
        assert load_task(folder).split == split
    assert only(load_task(folder, split="dev")).first[-1] == "dev"
    assert "no file of the split nope; it has dev, test, validation" in refusal(folder, split="nope")


def test_a_folder_named_after_a_task_of_cmteb_has_its_settings(tmp_path):
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": 1}]
    folder = write(tmp_path / "IFlyTek-classification" / "validation.jsonl", rows)
    write(folder / "train.jsonl", rows)
    write(folder / "test.jsonl", [{"text": "a", "label": -1}])
    task = load_task(folder)
    assert (task.split, task.settings.samples_per_label, task.settings.experiments) == ("validation", 32, 5)
    (folder / "task.json").write_text('{"experiments": 7, "samples_per_label": 4}')
    assert load_task(folder).settings.experiments == 7
    assert load_task(folder, experiments=2).settings.model_dump() == task.settings.model_dump() | {
        "experiments": 2,
        "samples_per_label": 4,
    }


def test_an_unknown_setting_is_refused_with_those_there_are(tmp_path):
    folder = write(tmp_path / "test.jsonl", PAIRS)
    (folder / "task.json").write_text('{"experimnts": 7}')
    assert "experimnts" in refusal(folder)
    assert "samples_per_label" in refusal(folder)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([PAIRS[0], PAIRS[1] | {"score": None}], "test.jsonl, line 2 has no finite number in score"),
        ([PAIRS[0], PAIRS[1] | {"score": "NaN"}], "line 2"),
        ([PAIRS[0], PAIRS[1] | {"score": True}], "line 2"),
        ([PAIRS[0], PAIRS[1] | {"sentence2": None}], "line 2 has no text in sentence2"),
        ([PAIRS[0], {"sentence1": "a", "score": 1}], "line 2 has no text in sentence2"),
        ([PAIRS[0], PAIRS[0]], "all 2 scores are equal"),
        ([], "holds no row"),
        ([{"text": "a"}], "those of no kind of task"),
        ([{**PAIRS[0], "label": 1}], "those of several kind"),
        ([{"sentence1": "a", "sentence2": "b", "label": 2}], "line 1 has the label 2"),
        ([{"sentence1": "a", "sentence2": "b", "label": 1}] * 2, "all 2 pairs have the label 1"),
        ([{"text": "a", "label": 1}] * 2, "all 2 rows have the label 1"),
        ([{"text": "a", "label": 1}, {"text": "b", "label": None}], "line 2 has no label"),
        ([{"text": "a", "label": 1}, {"text": "b", "label": 1.5}], "line 2 has no label"),
        ([{"text": ["a", "b"], "label": [1, 1]}], "no set has two labels"),
        ([{"text": [], "label": []}], "line 1 holds a set without texts"),
        ([{"query": "a", "positive": "b", "negative": ["c"]}], "line 1 must hold a list of texts in positive"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_its_place(tmp_path, rows, told):
    assert told in refusal(write(tmp_path / "test.jsonl", rows))


def test_damaged_files_are_told_with_their_line(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(PAIRS[0]) + "\n{broken\n")
    assert "a.jsonl, line 2" in refusal(tmp_path / "a.jsonl")
    (tmp_path / "b.tsv").write_text("sentence1\tsentence2\tscore\na\tb\t1\nc\td\n")
    assert "b.tsv, line 3, has 2 fields, and its header 3" in refusal(tmp_path / "b.tsv")
    (tmp_path / "c.tsv").write_text("a\tb\t1\n")
    assert "must begin with a line of field names" in refusal(tmp_path / "c.tsv")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no more")
    assert "cannot be read as Parquet" in refusal(tmp_path / "d.parquet")
    (tmp_path / "e.txt").write_text("a")
    assert "no task file" in refusal(tmp_path / "e.txt")
    (tmp_path / "f").mkdir()
    assert "holds no task file" in refusal(tmp_path / "f")


def test_a_file_that_is_there_in_two_forms_is_refused(tmp_path):
    rows = [{"sentence1": "a", "sentence2": "b", "score": score} for score in (0, 1)]
    write(tmp_path / "test.jsonl", rows)
    write(tmp_path / "data" / "test.jsonl.gz", rows)
    assert "are one file in two forms" in refusal(tmp_path)


@pytest.mark.parametrize("settings", ['"clustering"', "[1]", "{", '{"kind": "sorting"}'])
def test_settings_of_another_form_are_refused_with_those_there_are(tmp_path, settings):
    write(tmp_path / "test.jsonl", PAIRS)
    (tmp_path / "task.json").write_text(settings)
    assert "the settings are kind, split" in refusal(tmp_path)
