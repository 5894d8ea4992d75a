"""Exact top-k: CPU seconds, wall time and peak memory beside faiss and sentence-transformers' way, on the same vectors.

    python benchmarks/bench_search.py [--vectors FOLDER] [--queries 4000] [--rows 31000] [--dimension 384] [--k 200]
    python benchmarks/bench_search.py --scale FOLDER [--scale-rows 10000000] [--scale-queries 10000]
    python benchmarks/bench_search.py --gpu [--gpu-rows 10000000] [--gpu-queries 10000] [--gpu-dimension 768]

The first compares, each in a process of its own, the median of --repeats runs after one that is not counted: trainer.search,
faiss's IndexFlatIP, and a matrix product with torch.topk in chunks of queries (as sentence_transformers.util does).
FOLDER holds queries.npy and corpus.npy (float16 or float32); without it vectors around 300 centres are made.
--approximate adds the inverted file, with its recall. --scale writes a float16 file of synthetic vectors into FOLDER
(7.7 GB as it stands), searches it and deletes it. --gpu tells what share of the measured peak of float16 matrix products
a search of vectors in memory reaches on the first CUDA device. Whatever is not at hand is named and left out.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from peak_memory import peak_memory

CENTRES = 300
ROWS_AT_ONCE = 100_000
TORCH_CHUNK = 16_384  # queries at a time, as sentence-transformers' mine_hard_negatives


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--rows", type=int, default=31_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--k", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--approximate", action="store_true")
    parser.add_argument("--scale", type=Path)
    parser.add_argument("--scale-rows", type=int, default=10_000_000)
    parser.add_argument("--scale-queries", type=int, default=10_000)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--gpu-rows", type=int, default=10_000_000)
    parser.add_argument("--gpu-queries", type=int, default=10_000)
    parser.add_argument("--gpu-dimension", type=int, default=768)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(run_child(arguments)))
    elif arguments.scale:
        measure_scale(arguments)
    elif arguments.gpu:
        measure_gpu(arguments)
    else:
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        vectors = arguments.vectors or Path(folder)
        if not arguments.vectors:
            write_vectors(vectors / "corpus.npy", arguments.rows, arguments.dimension, 1)
            write_vectors(vectors / "queries.npy", arguments.queries, arguments.dimension, 2)
        results: dict[str, dict[str, Any]] = {}
        for way in [*WAYS, *(["approximate"] if arguments.approximate else [])]:
            missing = [name for name in NEEDS.get(way, ()) if importlib.util.find_spec(name) is None]
            if missing:
                print(f"{way:<12} left out: {', '.join(missing)} is not installed")
                continue
            results[way] = run_process(way, vectors, arguments)
            tell(way, results[way], results["pairmill"])


def run_process(way: str, vectors: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", way, "--vectors", str(vectors)]
    command += ["--k", str(arguments.k), "--repeats", str(arguments.repeats)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def tell(way: str, result: dict[str, Any], ours: dict[str, Any]) -> None:
    agreeing = np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in zip(result["rows"], ours["rows"], strict=True)])
    recall = "" if result["recall"] is None else f"  recall {result['recall']:.4f}"
    print(
        f"{way:<12} {result['queries']:,} x {result['corpus']:,}: CPU {result['cpu']:7.2f} s ({result['cpu'] / ours['cpu']:.2f} "
        f"of ours)  wall {result['wall']:7.2f} s ({result['wall'] / ours['wall']:.2f})  peak {result['peak'] / 1e6:,.0f} MB "
        f"(before {result['before'] / 1e6:,.0f})  same rows {agreeing:.5f}{recall}",
        flush=True,
    )


def run_child(arguments: argparse.Namespace) -> dict[str, Any]:
    folder = arguments.vectors
    search = WAYS.get(arguments.child, search_approximately)(folder, arguments.k)
    before = peak_memory()
    runs = []
    for _ in range(arguments.repeats + 1):
        cpu, wall = time.process_time(), time.perf_counter()
        rows, recall = search()
        runs.append((time.process_time() - cpu, time.perf_counter() - wall))
    sample = np.linspace(0, len(rows) - 1, min(len(rows), 200)).astype(int)
    return {
        "cpu": median(run[0] for run in runs[1:]),
        "wall": median(run[1] for run in runs[1:]),
        "peak": peak_memory(),
        "before": before,
        "rows": rows[sample].tolist(),
        "recall": recall,
        "queries": len(rows),
        "corpus": len(np.load(folder / "corpus.npy", mmap_mode="r")),
    }


Search = Callable[[], tuple[Any, float | None]]


def search_with_pairmill(folder: Path, k: int) -> Search:
    from trainer.search import SearchSettings, top_k
    from trainer.vector_files import VectorFiles

    corpus, queries = (VectorFiles.open([folder / name]) for name in ("corpus.npy", "queries.npy"))
    return lambda: (top_k(queries, corpus, k, SearchSettings(devices=("cpu",))).rows, None)


def search_approximately(folder: Path, k: int) -> Search:
    from trainer.search import SearchSettings, top_k
    from trainer.vector_files import VectorFiles

    corpus, queries = (VectorFiles.open([folder / name]) for name in ("corpus.npy", "queries.npy"))

    def search() -> tuple[Any, float | None]:
        found = top_k(queries, corpus, k, SearchSettings(devices=("cpu",), approximate_above_rows=0))
        return found.rows, found.recall

    return search


def search_with_faiss(folder: Path, k: int) -> Search:
    import faiss

    corpus, queries = (np.load(folder / name).astype(np.float32) for name in ("corpus.npy", "queries.npy"))

    def search() -> tuple[Any, float | None]:
        index = faiss.IndexFlatIP(corpus.shape[1])
        index.add(corpus)
        return index.search(queries, k)[1], None

    return search


def search_with_torch(folder: Path, k: int) -> Search:
    import torch

    corpus, queries = (torch.from_numpy(np.load(folder / name)).float() for name in ("corpus.npy", "queries.npy"))

    def search() -> tuple[Any, float | None]:
        rows = [torch.topk(chunk @ corpus.T, k, dim=1).indices for chunk in queries.split(TORCH_CHUNK)]
        return torch.cat(rows).numpy(), None

    return search


WAYS: dict[str, Callable[[Path, int], Search]] = {
    "pairmill": search_with_pairmill,
    "faiss": search_with_faiss,
    "torch.topk": search_with_torch,
}
NEEDS = {"faiss": ("faiss",), "approximate": ("faiss",), "torch.topk": ("torch",)}


def measure_scale(arguments: argparse.Namespace) -> None:
    """One search in this process, so that its peak is that of the search and of little else."""
    from trainer.search import SearchSettings, top_k
    from trainer.vector_files import VectorFiles

    arguments.scale.mkdir(parents=True, exist_ok=True)
    path = arguments.scale / f"synthetic-{arguments.scale_rows}.npy"
    maker = [sys.executable, "-c", "import sys; sys.path[:0] = sys.argv[1:3]; import bench_search as b; "]
    maker[-1] += f"b.write_vectors(b.Path(sys.argv[3]), {arguments.scale_rows}, {arguments.dimension}, 1)"
    subprocess.run([*maker, str(Path(__file__).parent), str(Path(__file__).parents[1]), str(path)], check=True)
    try:
        queries = unit_vectors(arguments.scale_queries, arguments.dimension, np.random.default_rng(2))
        corpus = VectorFiles.open([path])
        before, cpu, wall = peak_memory(), time.process_time(), time.perf_counter()
        found = top_k(queries, corpus, arguments.k, SearchSettings(devices=("cpu",)))
        print(
            f"{len(queries):,} queries, {len(corpus):,} rows of {corpus.dimension}, top {arguments.k}: CPU "
            f"{time.process_time() - cpu:,.0f} s, wall {time.perf_counter() - wall:,.0f} s, peak memory of the process "
            f"{peak_memory() / 1e6:,.0f} MB (before the search {before / 1e6:,.0f}; result {found.rows.nbytes * 1.5 / 1e6:,.0f})"
        )
    finally:
        path.unlink()


def measure_gpu(arguments: argparse.Namespace) -> None:
    import torch

    if not torch.cuda.is_available():
        print("The search on a GPU was left out: torch sees no CUDA device")
        return
    from trainer.search import SearchSettings, top_k

    peak = matmul_peak()
    generator = torch.Generator("cuda").manual_seed(0)
    corpus = np.empty((arguments.gpu_rows, arguments.gpu_dimension), np.float16)
    for start in range(0, len(corpus), ROWS_AT_ONCE):
        shape = corpus[start : start + ROWS_AT_ONCE].shape
        block = torch.nn.functional.normalize(torch.randn(shape, generator=generator, device="cuda"), dim=1)
        corpus[start : start + ROWS_AT_ONCE] = block.half().cpu().numpy()
    queries = corpus[:: len(corpus) // arguments.gpu_queries][: arguments.gpu_queries].copy()
    search = SearchSettings(devices=("cuda:0",), memory_mb=16_000)
    top_k(queries[:5000], corpus[:200_000], arguments.k, search)  # compile, start
    seconds = []
    for _ in range(arguments.repeats):
        start_time = time.perf_counter()
        found = top_k(queries, corpus, arguments.k, search)
        seconds.append(time.perf_counter() - start_time)
    flops = 2 * len(queries) * corpus.size
    print(
        f"{torch.cuda.get_device_name()}: {len(queries):,} queries, {len(corpus):,} rows of {corpus.shape[1]}, top {arguments.k}: "
        f"{median(seconds):.2f} s, {flops / median(seconds) / 1e12:.0f} of {peak / 1e12:.0f} TFLOP/s (float16 products), share "
        f"{flops / median(seconds) / peak:.2f}; every query finds itself: {bool((found.scores[:, 0] > 0.99).all())}"
    )


def matmul_peak() -> float:
    """Operations a second of large float16 products on the first GPU."""
    import torch

    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.float16) for _ in range(2))
    for _ in range(5):
        left @ right
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(50):
        left @ right
    torch.cuda.synchronize()
    return 50 * 2 * 8192**3 / (time.perf_counter() - start)


def write_vectors(path: Path, rows: int, dimension: int, seed: int) -> None:
    """A float16 file of unit vectors around centres, a part at a time."""
    generator = np.random.default_rng(seed)
    with path.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (rows, dimension)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, ROWS_AT_ONCE):
            block = unit_vectors(min(ROWS_AT_ONCE, rows - start), dimension, generator)
            file.write(block.astype(np.float16).tobytes())


def unit_vectors(rows: int, dimension: int, generator: np.random.Generator) -> Any:
    centres = np.random.default_rng(0).standard_normal((CENTRES, dimension), np.float32)
    vectors = 1.2 * centres[generator.integers(0, CENTRES, rows)]
    vectors += generator.standard_normal((rows, dimension), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
