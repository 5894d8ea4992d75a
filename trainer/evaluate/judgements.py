"""Which documents are relevant to which queries: qrels of BEIR (three columns) and of TREC (four)."""

from pathlib import Path
from typing import Final

from trainer.evaluate.files import EvaluationDataError, lines

_LARGEST_GRADE: Final = 1_000_000  # trec_eval holds a counter for each; above 2^31 its metrics are 0

Relevance = dict[str, dict[str, int]]  # grades by query id and document id


def read_judgements(file: str | Path) -> Relevance:
    """Grades by query and document. Lines are `query TAB document TAB grade` or TREC's `query 0 document grade`.

    A first line that ends in the word `score` is a header. Raises EvaluationDataError for a line of another form, for a
    document that is judged twice and differently, for a grade beyond a million, and for a file that judges nothing.
    """
    file = Path(file)
    relevance: Relevance = {}
    for number, line in lines(file):
        fields = line.rstrip("\r\n").split("\t")
        if len(fields) < 3 and len(line.split()) == 4:
            fields = line.split()
        if number == 1 and fields[-1].strip() == "score":
            continue
        try:
            query, document, grade = (fields[0], fields[2], int(fields[3])) if len(fields) == 4 else _three(fields)
        except ValueError as error:
            raise EvaluationDataError(
                f"{file}, line {number}, must hold a query id, a document id and a whole number, separated by tabs (or "
                f"TREC's four columns); found {line.strip()[:200]!r}."
            ) from error
        if abs(grade) > _LARGEST_GRADE:
            raise EvaluationDataError(
                f"{file}, line {number}, grades document {document!r} for query {query!r} with {grade}, and the largest grade is "
                f"{_LARGEST_GRADE}. Are the columns in their order?"
            )
        if relevance.setdefault(query, {}).setdefault(document, grade) != grade:
            raise EvaluationDataError(
                f"{file}, line {number}, grades document {document!r} for query {query!r} with {grade}; an earlier line "
                f"says {relevance[query][document]}. Leave one of them."
            )
    if not relevance:
        raise EvaluationDataError(f"{file} judges nothing: it holds no line after its header.")
    return relevance


def _three(fields: list[str]) -> tuple[str, str, int]:
    query, document, grade = fields
    return query, document, int(grade)
