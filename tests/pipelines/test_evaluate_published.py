"""Published results stand beside the benchmark of the same name and split, and means where all they are of was evaluated."""

from types import SimpleNamespace

import pytest

from pipelines.evaluate_display import means_of
from pipelines.evaluate_published import published_rows, published_tables
from pipelines.evaluate_sets import EvaluationSet
from pipelines.evaluate_settings import EvaluationFolder

MIRACL = ["ar", "bn", "en", "es", "fa", "fi", "fr", "hi", "id", "ja", "ko", "ru", "sw", "te", "th", "zh", "de", "yo"]


def of(benchmark, language=None, split=None):
    return EvaluationSet(EvaluationFolder(path=benchmark, split=split), benchmark, language, benchmark)


def found(sets, **wanted):
    rows = published_rows(sets)
    return [row.value for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]


@pytest.mark.parametrize(
    ("benchmark", "language", "model", "mode", "metric", "value"),
    [
        # M3-Embedding (arXiv 2402.03216v4): tables 1, 2, 3 and 4; C-Pack's README
        ("miracl", "yo", "BGE-M3", "dense", "ndcg@10", 0.818),
        ("miracl", "sw", "BM25 (XLM-R tokens)", "bm25", "ndcg@10", 0.351),
        ("mkqa", "zh_tw", "BGE-M3", "all", "answer_recall@100", 0.736),
        ("mkqa", "no", "mE5-large", "dense", "answer_recall@100", 0.773),
        ("mldr", "th", "BGE-M3", "lexical", "ndcg@10", 0.403),
        ("narrativeqa", None, "BGE-M3", "all", "ndcg@10", 0.617),
        ("T2Retrieval", None, "BGE large zh", "dense", "ndcg@10", 0.8482),
    ],
)
def test_figures_are_those_of_the_papers(benchmark, language, model, mode, metric, value):
    assert found([of(benchmark, language)], model=model, mode=mode, metric=metric) == [value]


def test_other_names_and_other_splits_have_none():
    assert published_rows([of("my-miracl", "ar"), of("beir")]) == []
    assert published_rows([of("miracl", "ar", split="testB")]) == []
    assert published_rows([of("miracl", "xx")]) == []


def test_means_over_languages_stand_where_all_were_evaluated():
    wanted = {"language": "average", "model": "BGE-M3", "mode": "all", "metric": "ndcg@10"}
    assert found([of("miracl", each) for each in MIRACL], **wanted) == [0.715]
    assert found([of("miracl", each) for each in MIRACL[1:]], **wanted) == []


# M3 table 2: 25 languages, English is not among them
_MKQA = "ar da de es fi fr he hu it ja km ko ms nl no pl pt ru sv th tr vi zh_cn zh_hk zh_tw"
MKQA = _MKQA.split()


def test_our_mean_leaves_out_what_the_papers_mean_leaves_out():
    sets = [of("mkqa", each) for each in [*MKQA, "en"]]
    results = [
        SimpleNamespace(
            system="ours", mode="dense", of=each, overall={"answer_recall@100": float(each.language != "en")}
        )
        for each in sets
    ]
    assert found(sets, language="average", model="BGE-M3", mode="all", metric="answer_recall@100") == [0.755]
    assert means_of(results, "mkqa", "answer_recall@100") == [("ours", "dense", 1.0)]


def test_figures_without_a_language_stand_beside_sets_that_name_theirs():
    [value] = [row for row in published_rows([of("CovidRetrieval", "zho_Hans")]) if row.model == "BGE large zh"]
    assert (value.data, value.language, value.value) == ("CovidRetrieval", "zho_Hans", 0.7406)


def test_mtebs_names_of_classification_sets_are_known():
    names = (
        "TNews IFlyTek MultilingualSentiment JDReview-classification OnlineShopping Waimai AmazonReviewsClassification "
        "MassiveIntentClassification MassiveScenarioClassification"
    )
    assert found([of(name) for name in names.split()], benchmark="c-mteb classification", model="BGE large") == [0.6832]


def test_means_over_a_kind_of_c_mteb_stand_where_all_its_sets_were_evaluated():
    sets = [of(name) for name in ("T2Reranking", "MMarcoReranking", "CMedQAv1-reranking", "CMedQAv2-reranking")]
    assert found(sets, benchmark="c-mteb reranking", model="BGE large") == [0.6511]
    assert found(sets[1:], benchmark="c-mteb reranking") == []


def test_our_own_mean_is_of_the_same_sets():
    results = [
        SimpleNamespace(system="ours", mode="dense", of=of("miracl", language), overall={"ndcg@10": value})
        for language, value in (("ar", 0.5), ("de", 0.75))
    ]
    other = SimpleNamespace(system="ours", mode="dense", of=of("else"), overall={"ndcg@10": 0.0})
    assert means_of([*results, other], "miracl", "ndcg@10") == [("ours", "dense", 0.625)]


def test_every_row_of_every_table_has_a_value_for_each_column():
    for table in published_tables():
        assert all(len(model.values) == len(table.columns) for model in table.models), table.benchmark
        values = [float(value) for model in table.models for value in model.values if value != "-"]
        assert values and all(0 < value < 100 for value in values)
