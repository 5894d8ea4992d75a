"""What an evaluation leaves: OUTPUT.json with a row for each figure, and beside it values by query and comparisons.

metrics.json              [{model, data, task, language, kind, mode, queries, ndcg@10 ..., model_fingerprint, ...}]
metrics.queries.parquet   model, data, set_language, mode, query_id, kind, language and a column a metric: one row a query
metrics.comparisons.json  differences, intervals, p-values; published results of the same benchmarks
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.evaluate_compare import SetComparison
from pipelines.evaluate_published import PublishedRow
from pipelines.evaluate_systems import MetricRow, Result


def queries_file(output: str | Path) -> Path:
    """metrics.json -> metrics.queries.parquet"""
    return _beside(output, "queries.parquet")


def comparisons_file(output: str | Path) -> Path:
    """metrics.json -> metrics.comparisons.json"""
    return _beside(output, "comparisons.json")


def _beside(output: str | Path, ending: str) -> Path:
    """bge-v1.5 keeps its .5, so that bge-v1.0 has files of its own."""
    return Path(output).with_name(f"{Path(output).name.removesuffix('.json')}.{ending}")


def write_results(
    output: str | Path,
    results: Sequence[Result],
    comparisons: Sequence[SetComparison],
    published: Sequence[PublishedRow],
    more_rows: Sequence[MetricRow] = (),
) -> list[Path]:
    """Write the files (`more_rows`: mteb's), each whole or not at all; those that were written, in order."""
    from trainer.evaluate import write_metrics, write_per_query
    from trainer.evaluate.metrics import write_whole

    output = Path(output)
    write_metrics(output, [*(row for result in results for row in result.rows), *more_rows])
    written = [output]
    tables = [_named(result) for result in results if result.per_query is not None]
    if tables:
        write_per_query(queries_file(output), pa.concat_tables(tables, promote_options="default"))
        written.append(queries_file(output))
    else:
        queries_file(output).unlink(missing_ok=True)  # of an earlier evaluation
    content: dict[str, Any] = {
        "comparisons": [each.as_json() for each in comparisons],
        "published": [each.as_json() for each in published],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole(comparisons_file(output), lambda partial: partial.write_text(text, "utf-8"))
    return [*written, comparisons_file(output)]


def _named(result: Result) -> pa.Table:
    """A result's values by query, with the columns that say whose they are."""
    table = result.per_query
    assert table is not None
    whose = {"model": result.system, "data": result.of.name, "set_language": result.of.language, "mode": result.mode}
    columns = {name: pa.array([value] * len(table), pa.string()) for name, value in whose.items()}
    return pa.table({**columns, **{name: table[name] for name in table.column_names}})
