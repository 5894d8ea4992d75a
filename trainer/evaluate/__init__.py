"""How good a model is: retrieval by trec_eval's metrics, and (trainer/evaluate/tasks) the other kinds of tasks.

data = load_retrieval(folder)                     sets of any layout, one for each language
evaluate_retrieval(encoder, data[0], settings)    rankings, metrics and values by query, in each mode
compare(first.per_query, second.per_query, "ndcg@10")
"""

from trainer.evaluate.bm25_retrieval import bm25_baselines, bm25_evaluation, evaluate_bm25
from trainer.evaluate.files import EvaluationDataError, EvaluationError
from trainer.evaluate.hybrid import HybridWeights, tuned_weights
from trainer.evaluate.judgements import read_judgements
from trainer.evaluate.load import load_beir, load_retrieval
from trainer.evaluate.metrics import (
    METRICS,
    MetricRow,
    metric_rows,
    query_values,
    write_metrics,
    write_per_query,
)
from trainer.evaluate.model_rankings import ModelRankings, RetrievalSettings
from trainer.evaluate.retrieval import (
    Evaluation,
    evaluate_encoder,
    evaluate_retrieval,
    stored_embedding,
    tuned_hybrid_weights,
)
from trainer.evaluate.retrieval_data import RetrievalData
from trainer.evaluate.runs import Run, evaluate_run, read_run, rows_of_run, write_run
from trainer.evaluate.significance import Comparison, compare, most_moved

__all__ = [
    "METRICS",
    "Comparison",
    "Evaluation",
    "EvaluationDataError",
    "EvaluationError",
    "HybridWeights",
    "MetricRow",
    "ModelRankings",
    "RetrievalData",
    "RetrievalSettings",
    "Run",
    "bm25_baselines",
    "bm25_evaluation",
    "compare",
    "evaluate_bm25",
    "evaluate_encoder",
    "evaluate_retrieval",
    "evaluate_run",
    "load_beir",
    "load_retrieval",
    "metric_rows",
    "most_moved",
    "query_values",
    "read_judgements",
    "read_run",
    "rows_of_run",
    "stored_embedding",
    "tuned_hybrid_weights",
    "tuned_weights",
    "write_metrics",
    "write_per_query",
    "write_run",
]
