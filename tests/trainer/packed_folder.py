"""A small pack folder as the pack job writes it, of token ids drawn at random."""

import json
from hashlib import md5, sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.packing import PACKED_PAIR, PACKED_PASSAGE, length_groups

CLS, SEP, FIRST_WORD = 2, 3, 5


def text(random, words: int) -> list[int]:
    return [CLS, *random.integers(FIRST_WORD, 65, words).tolist(), SEP]


def key(name: str) -> bytes:
    return md5(name.encode()).digest()


def packed(pairs: list[dict], passages: list[dict]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Batches of both schemas; what a row does not say is made up from its number."""
    passage_rows = [
        {
            "passage_id": key(f"passage {row}"),
            "token_ids": given["token_ids"],
            "length": len(given["token_ids"]),
            "cluster_id": key(given.get("cluster", f"passage {row}")),
        }
        for row, given in enumerate(passages)
    ]
    pair_rows = []
    for row, given in enumerate(pairs):
        query = given["query"]
        longest = max(
            len(query), *(passage_rows[p]["length"] for p in [given["positive"], *given.get("negatives", [])])
        )
        pair_rows.append(
            {
                "pair_id": key(f"pair {row}"),
                "query_token_ids": query,
                "query_length": len(query),
                "query_cluster_id": key(given.get("cluster", f"query {row}")),
                "positive": given["positive"],
                "negatives": given.get("negatives", []),
                "positive_score": given.get("positive_score"),
                "negative_scores": given.get("negative_scores", []),
                "known_positives": given.get("known_positives", []),
                "plain_query_token_ids": given.get("plain", []),
                "dataset": given.get("dataset", "one"),
                "kind": given.get("kind", "title_body"),
                "query_lang": "eng_Latn",
                "symmetric": given.get("symmetric", False),
                "length_group": length_groups(np.array([longest]))[0].as_py(),
                "length": longest,
            }
        )
    return pa.RecordBatch.from_pylist(pair_rows, PACKED_PAIR), pa.RecordBatch.from_pylist(passage_rows, PACKED_PASSAGE)


def write_folder(folder: Path, pairs: list[dict], passages: list[dict], **details) -> Path:
    """The pack folder of these rows, in two shards each."""
    for part, batch in zip(("pairs", "passages"), packed(pairs, passages), strict=True):
        (folder / part).mkdir(parents=True, exist_ok=True)
        half = (len(batch) + 1) // 2
        for number, rows in enumerate((batch.slice(0, half), batch.slice(half))):
            pq.write_table(pa.Table.from_batches([rows]), folder / part / f"{number:05d}.parquet")
    write_manifest(folder, **details)
    return folder


def write_manifest(folder: Path, **details) -> None:
    files = [
        {
            "path": file.relative_to(folder).as_posix(),
            "sha256": sha256(file.read_bytes()).hexdigest(),
            "bytes": file.stat().st_size,
            "rows": pq.read_metadata(file).num_rows,
        }
        for part in ("pairs", "passages")
        for file in sorted((folder / part).glob("*.parquet"))
    ]
    (folder / "_MANIFEST.json").write_text(json.dumps({"files": files, "details": details}))


def some_rows(count: int = 40) -> tuple[list[dict], list[dict]]:
    """`count` pairs with passages of 3 to 20 tokens; a negative each but for every fourth; every second is symmetric."""
    random = np.random.default_rng(0)
    passages = [{"token_ids": text(random, int(random.integers(1, 18)))} for _ in range(2 * count)]
    pairs = [
        {
            "query": text(random, 3),
            "positive": row,
            "negatives": [count + row] if row % 4 else [],
            "symmetric": row % 2 == 0,
        }
        for row in range(count)
    ]
    return pairs, passages
