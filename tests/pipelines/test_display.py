"""The evaluation as the terminal shows it."""

from typing import Any

from pipelines.display import metrics_table


def row(**told: Any) -> dict[str, Any]:
    return {"data": "d", "model": "m", "mode": "dense", "ndcg@10": 0.5, "queries": 10, **told}


def test_rows_are_named_by_what_they_are_of():
    table = metrics_table(
        [
            row(scope="all", kind="all", language="eng_Latn"),
            row(scope="kind", kind="title_body", language="eng_Latn"),
            row(scope="language", kind="all", language="deu_Latn"),
            row(kind=None, language=None),
        ]
    )
    assert list(table.columns[1].cells) == ["all", "title_body", "deu_Latn", "all"]
