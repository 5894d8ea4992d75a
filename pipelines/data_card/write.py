"""Writes both forms of a packed data set's card into its folder, and keeps the facts a model card needs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipelines import storage
from pipelines.data_card.croissant import croissant
from pipelines.data_card.facts import MOST_LICENCES, CardFacts, gather_facts
from pipelines.data_card.readme import readme
from pipelines.job import EVALUATION, Job
from pipelines.shards import Part, ShardFile

CARD: Final = "card"  # the role of both files
README: Final = "README.md"
CROISSANT: Final = "croissant.json"
_HELD_OUT: Final = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")


def write_card(
    job: Job, parts: Sequence[Part], details: Mapping[str, Any], pair_shards: Sequence[str]
) -> tuple[list[ShardFile], dict[str, Any]]:
    """Write README.md and croissant.json of job pack: those files, and what a model trained on the data says of them.

    Args:
        parts: all that the job committed; `details` what its manifest will say.
        pair_shards: urls of the PAIR shards that were packed.

    The same run gives the same bytes: nothing of the clock, the machine or where files lie is in either.
    """
    facts = gather_facts(job.recipe, job.run, job.fingerprint, parts, details, pair_shards)
    held_out = [_held_out_file(job, name) for name in _HELD_OUT] if facts.held_out.get("queries") else []
    written = [
        _write(job, README, readme(facts).encode()),
        _write(job, CROISSANT, croissant(facts, held_out)),
    ]
    return written, {"licences": _licences(facts), "languages": [name for name, _ in facts.languages]}


def _licences(facts: CardFacts) -> list[dict[str, Any]]:
    """The most frequent ones, and the rest as one."""
    listed, rest = facts.licences[:MOST_LICENCES], facts.licences[MOST_LICENCES:]
    if rest:
        listed.append((f"{len(rest)} others", sum(pairs for _, pairs in rest)))
    return [{"licence": licence, "pairs": pairs} for licence, pairs in listed]


def _held_out_file(job: Job, name: str) -> ShardFile:
    import hashlib

    path, digest, size, lines = f"{EVALUATION}/{name}", hashlib.sha256(), 0, 0
    with storage.open_for_reading(storage.join(job.folder, path)) as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
            size += len(piece)
            lines += piece.count(b"\n")
    return ShardFile(role="evaluation", path=path, rows=lines, bytes=size, sha256=digest.hexdigest())


def _write(job: Job, name: str, content: bytes) -> ShardFile:
    with storage.atomic_write(storage.join(job.folder, name)) as stream:
        stream.write(content)
    return ShardFile(role=CARD, path=name, rows=0, bytes=stream.bytes, sha256=stream.sha256)
