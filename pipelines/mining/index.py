"""Stage 2: passages and queries numbered, each distinct text once, and what belongs together with what.

    first.npy       int64 [passages]: of each passage, the text where it occurs first; folds.npy: hash of its folded form
    searched.npy    int64: the passages that may be negatives, sorted; missing where all may
    query_of.npy    int64 [pair rows]; query_first.npy, query_ids.npy (uint64) and query_folds.npy [queries]
    positives.npy, positive_offsets.npy     int64: passages of each pair row; negatives.* likewise
    link_LINK.keys.npy, link_LINK.rows.npy  the Multimaps of `Links`

In memory: about 100 bytes a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from filters.duplicates import order_of_keys
from pipelines.mining.bad_rows import MiningInputError
from pipelines.mining.multimap import Multimap
from pipelines.mining.reading import Unit, facts_of, hashes_of
from pipelines.mining.texts import StoredRows, Texts
from pipelines.mining.work import Stage, read_array, read_arrow, write_array
from trainer.ragged import Ragged

Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
LINKS: Final = ("of_fold", "positives", "negatives", "documents", "of_document", "pair_rows")


@dataclass(frozen=True)
class Links:
    """Who belongs together. A query is named by the hash of its folded text: all rows with such a query count together."""

    of_fold: Multimap  # folded text -> passages
    positives: Multimap  # query -> passages
    negatives: Multimap  # query -> curated negatives
    documents: Multimap  # passage -> hashes of its documents
    of_document: Multimap  # hash of a document -> passages
    pair_rows: Multimap  # query -> pair rows


@dataclass(frozen=True)
class Index:
    """What the stage wrote, memory-mapped."""

    first: Rows  # [passages]: where among the texts of the units each occurs first
    searched: Rows | None
    folds: Hashes  # [passages]
    query_of: Rows
    query_first: Rows
    query_ids: Hashes
    query_folds: Hashes
    positives: Ragged  # passages of each pair row
    negatives: Ragged
    links: Links

    @property
    def passages(self) -> int:
        return len(self.first)

    @property
    def queries(self) -> int:
        return len(self.query_first)


def write_index(stage: Stage, read: Stage, units: Sequence[Unit]) -> dict[str, int]:
    """Write the files of the stage: counts for the report. Raises MiningInputError where there is nothing to mine."""
    keys, folds = _whole(read, units, "keys", (0, 2)), _whole(read, units, "folds", (0,))
    row_of, first = _numbered(keys)
    corpus_texts = sum(facts_of(read, unit)["texts"] for unit in units if unit.kind == "corpus")
    _check_ids(read, units, row_of)
    queries = _write_queries(stage, read, units)
    positives, negatives, of_rows = _write_sides(stage, read, units, row_of)
    counts = {"pair_rows": len(queries), "queries": len(np.unique(queries))}
    counts |= {"passages": len(first), "duplicate_texts": len(row_of) - len(first)}
    searched = None
    if any(unit.kind == "corpus" for unit in units):
        if corpus_texts == 0:
            raise MiningInputError("The corpus holds no passage: there is nothing to take negatives from.")
        in_corpus = np.zeros(len(first), bool)
        in_corpus[row_of[:corpus_texts]] = True
        missing = np.unique(positives[~in_corpus[positives]])
        counts["positives_not_in_corpus"] = len(missing)
        in_corpus[missing] = True
        searched = None if in_corpus.all() else np.flatnonzero(in_corpus)
    if searched is not None:
        write_array(stage.file("searched.npy"), searched)
    counts["passages_searched"] = len(first) if searched is None else len(searched)
    write_array(stage.file("first.npy"), first)
    write_array(stage.file("folds.npy"), folds[first])
    links = _write_links(stage, read, units, row_of, folds[first], queries, positives, negatives, of_rows)
    # They stay, as all that came does; but someone should look at them.
    counts["negatives_given_that_are_positives"] = links.positives.shared(links.negatives)
    return counts


def load_index(stage: Stage) -> Index:
    """The files of the stage, mapped."""
    searched = stage.file("searched.npy")
    links = [Multimap(_mapped(stage, f"link_{name}.keys"), _mapped(stage, f"link_{name}.rows")) for name in LINKS]
    return Index(
        first=_mapped(stage, "first"),
        searched=read_array(searched) if searched.exists() else None,
        folds=_mapped(stage, "folds"),
        query_of=_mapped(stage, "query_of"),
        query_first=_mapped(stage, "query_first"),
        query_ids=_mapped(stage, "query_ids"),
        query_folds=_mapped(stage, "query_folds"),
        positives=Ragged(_mapped(stage, "positives"), _mapped(stage, "positive_offsets")),
        negatives=Ragged(_mapped(stage, "negatives"), _mapped(stage, "negative_offsets")),
        links=Links(*links),
    )


def passage_texts(read: Stage, units: Sequence[Unit], index: Index) -> Texts:
    """The passages by number."""
    return Texts(StoredRows([read.file(f"{unit.name}.texts.arrow") for unit in units], ["text"]), index.first)


def passage_ids(read: Stage, units: Sequence[Unit], index: Index) -> Texts:
    """The ids of the passages by number, null where they have none."""
    return Texts(StoredRows([read.file(f"{unit.name}.texts.arrow") for unit in units], ["id"]), index.first)


def query_texts(read: Stage, units: Sequence[Unit], index: Index) -> Texts:
    """The distinct queries by number."""
    return Texts(StoredRows(query_files(read, units), ["text"]), index.query_first)


def query_files(read: Stage, units: Sequence[Unit]) -> list[Path]:
    """The files of pair rows."""
    return [read.file(f"{unit.name}.queries.arrow") for unit in _with_queries(units)]


def _with_queries(units: Sequence[Unit]) -> list[Unit]:
    return [unit for unit in units if unit.kind != "corpus"]


def _mapped(stage: Stage, name: str) -> Any:
    return read_array(stage.file(f"{name}.npy"))


def _whole(read: Stage, units: Sequence[Unit], name: str, empty: tuple[int, ...]) -> Hashes:
    arrays = [np.zeros(empty, np.uint64), *(read_array(read.file(f"{unit.name}.{name}.npy")) for unit in units)]
    return np.concatenate(arrays)


def _numbered(keys: Hashes) -> tuple[Rows, Rows]:
    """Of each of n keys [n, 2] its number, in the order in which they occur first; and where each occurs first."""
    order = order_of_keys(np.ascontiguousarray(keys[:, 0]), np.ascontiguousarray(keys[:, 1]))
    ordered = keys[order]
    new = np.ones(len(order), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    group = np.cumsum(new) - 1
    starts = order[new]  # order_of_keys is stable: the first occurrence of each
    numbers = np.empty(len(starts), np.int64)
    numbers[np.argsort(starts, kind="stable")] = np.arange(len(starts))
    row_of = np.empty(len(order), np.int64)
    row_of[order] = numbers[group]
    return row_of, np.sort(starts)


def _check_ids(read: Stage, units: Sequence[Unit], row_of: Rows) -> None:
    """Raise MiningInputError where two texts of the corpus have one id."""
    corpus = [unit for unit in units if unit.kind == "corpus"]
    tables = [read_arrow(read.file(f"{unit.name}.texts.arrow")).select(["id", "number"]) for unit in corpus]
    hashes = np.concatenate([np.zeros(0, np.uint64), *(_id_hashes(table) for table in tables)])
    known = np.concatenate([np.zeros(0, bool), *(table["id"].is_valid().to_numpy() for table in tables)])
    places = np.flatnonzero(known)
    order = places[np.argsort(hashes[places], kind="stable")]
    same = hashes[order][1:] == hashes[order][:-1]
    clash = np.flatnonzero(same & (row_of[order][1:] != row_of[order][:-1]))
    if len(clash) == 0:
        return
    second = int(order[clash + 1].min())
    bounds = np.cumsum([0, *(table.num_rows for table in tables)])
    number = int(np.searchsorted(bounds, second, "right") - 1)
    row = tables[number].slice(second - int(bounds[number]), 1).to_pylist()[0]
    raise MiningInputError(
        f"{corpus[number].path}, row {row['number']}: the id {row['id']!r} was given to another text before, as were"
        f" {len(clash) - 1:,} more. Give every passage an id of its own, or name another field with --id-field."
    )


def _id_hashes(table: Any) -> Hashes:
    parts = [hashes_of(chunk).fill_null(0).to_numpy() for chunk in table["id"].chunks]
    return np.concatenate([np.zeros(0, np.uint64), *parts])


def _write_queries(stage: Stage, read: Stage, units: Sequence[Unit]) -> Hashes:
    """Number the queries: the hash of the folded query of each pair row."""
    with_queries = _with_queries(units)
    keys = _whole(read, with_queries, "query_keys", (0, 2))
    folds = _whole(read, with_queries, "query_folds", (0,))
    if len(keys) == 0:
        raise MiningInputError(
            f"{', '.join(unit.path for unit in with_queries)}: there is no pair to mine negatives for."
        )
    query_of, first = _numbered(keys)
    write_array(stage.file("query_of.npy"), query_of)
    write_array(stage.file("query_first.npy"), first)
    write_array(stage.file("query_ids.npy"), keys[first, 0])
    write_array(stage.file("query_folds.npy"), folds[first])
    return folds


def _write_sides(
    stage: Stage, read: Stage, units: Sequence[Unit], row_of: Rows
) -> tuple[Rows, Rows, tuple[Rows, Rows]]:
    """The passages of positives and of negatives of all pair rows, and which pair row each belongs to."""
    sides: dict[str, list[Rows]] = {"positives": [np.zeros(0, np.int64)], "negatives": [np.zeros(0, np.int64)]}
    counted: dict[str, list[Rows]] = {"positives": [], "negatives": []}
    start = 0
    for unit in units:
        texts = facts_of(read, unit)["texts"]
        if unit.kind != "corpus":
            table = read_arrow(read.file(f"{unit.name}.queries.arrow"))
            counts = {side: table[side].to_numpy().astype(np.int64) for side in sides}
            for side in sides:
                counted[side].append(counts[side])
        if unit.kind == "pairs":
            lengths = np.stack([counts["positives"], counts["negatives"]], axis=1).ravel()
            is_positive = np.repeat(np.tile([True, False], len(lengths) // 2), lengths)
            rows = row_of[start : start + texts]
            sides["positives"].append(rows[is_positive])
            sides["negatives"].append(rows[~is_positive])
        elif unit.kind == "beir":
            sides["positives"].append(row_of[read_array(read.file(f"{unit.name}.positives.npy"))])
        start += texts
    whole, owners = [], []
    for side, parts in sides.items():
        counts_of_rows = np.concatenate(counted[side])
        whole.append(np.concatenate(parts))
        owners.append(np.repeat(np.arange(len(counts_of_rows)), counts_of_rows))
        write_array(stage.file(f"{side}.npy"), whole[-1])
        write_array(stage.file(f"{side[:-1]}_offsets.npy"), np.concatenate([[0], np.cumsum(counts_of_rows)]))
    return whole[0], whole[1], (owners[0], owners[1])


def _write_links(
    stage: Stage,
    read: Stage,
    units: Sequence[Unit],
    row_of: Rows,
    folds: Hashes,
    query_folds: Hashes,
    positives: Rows,
    negatives: Rows,
    of_rows: tuple[Rows, Rows],
) -> Links:
    documents, rows = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    start = pair_row = 0
    for unit in units:
        texts = facts_of(read, unit)["texts"]
        if unit.kind == "corpus":
            hashes = read_arrow(read.file(f"{unit.name}.texts.arrow"))["document"]
            known = np.flatnonzero(hashes.is_valid().to_numpy())
            documents.append(hashes.drop_null().to_numpy())
            rows.append(row_of[start : start + texts][known])
        else:
            hashes = read_arrow(read.file(f"{unit.name}.queries.arrow"))["document"]
            known = hashes.is_valid().to_numpy()
            of_unit = slice(*np.searchsorted(of_rows[0], [pair_row, pair_row + len(known)]))
            owner = of_rows[0][of_unit] - pair_row
            documents.append(hashes.fill_null(0).to_numpy()[owner][known[owner]])
            rows.append(positives[of_unit][known[owner]])
            pair_row += len(known)
        start += texts
    of_document = Multimap.of(np.concatenate(documents), np.concatenate(rows))
    links = Links(
        of_fold=Multimap.of(folds, np.arange(len(folds))),
        positives=Multimap.of(query_folds[of_rows[0]], positives),
        negatives=Multimap.of(query_folds[of_rows[1]], negatives),
        documents=Multimap.of(of_document.rows, of_document.keys.view(np.int64)),
        of_document=of_document,
        pair_rows=Multimap.of(query_folds, np.arange(len(query_folds))),
    )
    for name in LINKS:
        link: Multimap = getattr(links, name)
        write_array(stage.file(f"link_{name}.keys.npy"), link.keys)
        write_array(stage.file(f"link_{name}.rows.npy"), link.rows)
    return links
