"""The kinds of tasks beside retrieval: similarity, pair classification, classification, clustering, reranking."""

from trainer.evaluate.tasks.evaluation import evaluate_task
from trainer.evaluate.tasks.kinds import MAIN_METRICS, Task, TaskKind, TaskSettings
from trainer.evaluate.tasks.layouts import load_task
from trainer.evaluate.tasks.text_vectors import TextEncoder

__all__ = ["MAIN_METRICS", "Task", "TaskKind", "TaskSettings", "TextEncoder", "evaluate_task", "load_task"]
