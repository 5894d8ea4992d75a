"""Which documents questions are asked about, and which only stand in the corpus beside them.

    facts = [document_facts(batch, settings) for batch in documents]     # in any order, on any worker
    chosen = choose_documents(pa.concat_tables(facts), settings)         # the same rows, whatever that order was

As MLDR (M3-Embedding, appendix A.2), each language gets training, dev and test documents and a corpus that holds all of
them and distractors. The paper tells neither its bounds of length nor how it mixed lengths: both are settings here.

Everything goes by two hashes of seed, source and document id. One fixes which split a document may be in: once of test, it
is never of train, however the corpus grows (as long as the wanted numbers keep their proportion). The other is the order
in which documents are taken within their stratum (source and bucket of length).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sources.languages import UNKNOWN
from synth.language_names import language_key

Integers = npt.NDArray[np.int64]

SPLITS: Final = ("train", "dev", "test")
CORPUS: Final = "corpus"  # the split of a document that no question is asked about

# Mean characters of MLDR's documents, as the descriptive statistics of mteb's MultiLongDocRetrieval tell them. Table 7 of
# the paper gives the same documents in tokens, it seems (Italian: 36,634 characters, 9,195 of its unit).
MLDR_CHARACTERS: Final = {
    "ara": 29_234,
    "deu": 33_771,
    "eng": 13_333,
    "fra": 36_009,
    "hin": 18_689,
    "ita": 36_634,
    "jpn": 14_479,
    "kor": 13_813,
    "por": 32_126,
    "rus": 35_935,
    "spa": 36_567,
    "tha": 25_993,
    "zho": 6_039,
}
# M3-Embedding, Table 7, "average length of documents".
MLDR_TOKENS: Final = {
    "ara": 9_428,
    "deu": 9_039,
    "eng": 3_308,
    "fra": 9_659,
    "hin": 5_555,
    "ita": 9_195,
    "jpn": 9_297,
    "kor": 7_832,
    "por": 7_922,
    "rus": 9_723,
    "spa": 8_771,
    "tha": 8_089,
    "zho": 4_249,
}
_OTHER_LANGUAGE: Final = "eng"  # whose mean holds for a language that MLDR lacks

WHY_NOT: Final = {
    "too_short": "the document is shorter than the shortest wanted in its language",
    "too_long": "the document is longer than the longest wanted in its language",
    "language_not_wanted": "the document's language is not among those wanted",
    "no_language": "the document's language is not known",
}

FACTS: Final = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),  # as the document has it
        pa.field("length", pa.int32(), nullable=False),  # in the unit of the settings
        pa.field("bucket", pa.int8(), nullable=False),  # of length: 0 is the shortest; -1 where not eligible
        pa.field("eligible", pa.bool_(), nullable=False),
        pa.field("why_not", pa.string()),  # of WHY_NOT
    ]
)
CHOSEN: Final = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train, dev, test or corpus
    ]
)


class SamplingError(ValueError):
    """The documents cannot be sampled. The message names the document or the setting and the remedy."""


class SplitCounts(BaseModel):
    """Documents wanted of one language. MLDR has for German: 1,847, 200, 200 questions and 10,000 documents in all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: int = Field(2_000, ge=0, description="documents whose questions train (MLDR: 1,608 to 2,262; en, zh 10,000)")
    dev: int = Field(200, ge=0, description="documents whose questions are for development (MLDR: 200)")
    test: int = Field(200, ge=0, description="documents whose questions test (MLDR: 200; en, zh 800)")
    distractors: int = Field(
        7_600,
        ge=0,
        description="further documents of the corpus, without questions (MLDR: 10,000 in all in most languages)",
    )

    def of(self, split: str) -> int:
        """Documents wanted of a split."""
        return int(getattr(self, split))


Bounds = Annotated[tuple[int, int], Field(description="least and greatest length of a document")]


class SamplingSettings(BaseModel):
    """How documents are sampled. Defaults without a source are ours: the paper is silent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, description="another seed, another sample")
    languages: tuple[str, ...] = Field((), description="codes or tags (de, zho_Hans); none: all languages there are")
    counts: SplitCounts = Field(SplitCounts(), description="documents wanted of each language")
    counts_by_language: dict[str, SplitCounts] = Field({}, description="of single languages, instead")
    length_unit: Literal["characters", "tokens"] = Field("characters", description="what lengths are counted in")
    min_length: int | None = Field(
        None, ge=1, description="of a document; null: a third of the mean of MLDR's documents in the language"
    )
    max_length: int | None = Field(None, ge=1, description="of a document; null: three times that mean")
    length_by_language: dict[str, Bounds] = Field({}, description="of single languages, instead of both")
    length_buckets: int = Field(4, ge=1, le=100, description="of equal width in the logarithm of the length: strata")
    balance: float = Field(
        0.5,
        ge=0,
        le=1,
        description="strata get shares by their size to this power: 1 as they are, 0 all alike (0.5 as GTE mixes sources)",
    )

    @model_validator(mode="after")
    def _languages_are_known(self) -> "SamplingSettings":
        for name in (*self.languages, *self.counts_by_language, *self.length_by_language):
            if language_key(name) == UNKNOWN:
                raise ValueError(f"{name!r} names no language; write a tag or code such as de, zh-Hant or deu_Latn")
        for name, (least, most) in self.length_by_language.items():
            if not 1 <= least <= most:
                raise ValueError(f"length_by_language of {name}: {least} to {most} is no range of lengths")
        if self.min_length is not None and self.max_length is not None and self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} is above max_length {self.max_length}")
        return self

    def counts_of(self, language: str) -> SplitCounts:
        """Documents wanted of a language, given by its key."""
        named = {language_key(name): counts for name, counts in self.counts_by_language.items()}
        return named.get(language, self.counts)

    def bounds_of(self, language: str) -> tuple[int, int]:
        """Least and greatest length of a document in a language, given by its key."""
        named = {language_key(name): bounds for name, bounds in self.length_by_language.items()}
        if language in named:
            return named[language]
        means = MLDR_CHARACTERS if self.length_unit == "characters" else MLDR_TOKENS
        mean = means.get(language, means[_OTHER_LANGUAGE])
        least = mean // 3 if self.min_length is None else self.min_length
        most = 3 * mean if self.max_length is None else self.max_length
        return least, max(least, most)


def document_facts(
    documents: pa.RecordBatch, settings: SamplingSettings, count_tokens: Callable[[str], int] | None = None
) -> pa.Table:
    """What sampling needs to know of each document: FACTS [documents], in their order.

    Args:
        documents: schema.DOCUMENT, or its columns document_id, source, language and text.
        settings: languages and lengths.
        count_tokens: tokens of a text, for `length_unit: tokens`; texts whose characters are too few are not counted.

    Raises:
        SamplingError: lengths are in tokens and there is no `count_tokens`.
    """
    codes = documents["language"].dictionary_encode()
    keys = [language_key(code) for code in codes.dictionary.to_pylist()]
    least, most = (
        (np.array(each, np.int64) for each in zip(*map(settings.bounds_of, keys), strict=True)) if keys else ((), ())
    )
    of_row = codes.indices.to_numpy(zero_copy_only=False)
    shortest, longest = np.asarray(least, np.int64)[of_row], np.asarray(most, np.int64)[of_row]
    length = _lengths(documents["text"], shortest, settings, count_tokens)
    wanted = {language_key(name) for name in settings.languages}
    known = np.array([key != UNKNOWN for key in keys], np.bool_)[of_row]
    asked_for = np.array([not wanted or key in wanted for key in keys], np.bool_)[of_row]
    reasons = [~known, ~asked_for, length < shortest, length > longest]
    names = ["no_language", "language_not_wanted", "too_short", "too_long"]
    eligible = ~np.logical_or.reduce(reasons)
    why_not = np.select(reasons, names, "")
    return pa.Table.from_arrays(
        [
            documents["document_id"],
            documents["source"],
            documents["language"],
            pa.array(length, pa.int32()),
            pa.array(np.where(eligible, _buckets(length, shortest, longest, settings.length_buckets), -1), pa.int8()),
            pa.array(eligible),
            pc.if_else(pa.array(eligible), None, pa.array(why_not.tolist(), pa.string())),
        ],
        schema=FACTS,
    )


def _lengths(
    texts: pa.Array, shortest: Integers, settings: SamplingSettings, count_tokens: Callable[[str], int] | None
) -> Integers:
    characters: Integers = pc.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    if settings.length_unit == "characters":
        return characters
    if count_tokens is None:
        raise SamplingError(
            "The setting length_unit is `tokens`, and no tokenizer is at hand to count them: name one, or set length_unit to "
            "`characters`."
        )
    length = characters.copy()
    for row in np.flatnonzero(characters >= shortest).tolist():  # a token has at least one character
        length[row] = count_tokens(texts[row].as_py())
    return length


def _buckets(length: Integers, shortest: Integers, longest: Integers, buckets: int) -> Integers:
    span = np.log(np.maximum(longest, shortest + 1) / shortest)
    place = np.log(np.maximum(length, 1) / shortest) / span * buckets
    clipped: Integers = np.clip(np.floor(place), 0, buckets - 1).astype(np.int64)
    return clipped


def choose_documents(facts: pa.Table, settings: SamplingSettings) -> pa.Table:
    """The documents of each split and of the corpus: CHOSEN, sorted by language, split, source and document id.

    A split takes its documents from a pool of its own, which the hash decides; of the pool's strata each gives a share
    (`balance`). Distractors are taken in the same way from all documents that are left. The order of `facts` plays no part.

    Raises:
        SamplingError: two eligible documents of a source have the same id.
    """
    rows = facts.filter(facts["eligible"])
    _no_document_twice(rows)
    rows = rows.append_column(
        "key", pa.array([language_key(code) for code in rows["language"].to_pylist()], pa.string())
    )
    rows = rows.sort_by([("source", "ascending"), ("document_id", "ascending")])
    split = np.full(len(rows), "", dtype="U6")
    keys = np.array(rows["key"].to_pylist(), dtype=np.str_)
    for language in sorted(set(keys.tolist())):
        here = np.flatnonzero(keys == language)
        split[here] = _splits_of_language(rows.take(pa.array(here)), settings.counts_of(language), settings)
    chosen = rows.select(CHOSEN.names[:3]).append_column("split", pa.array(split.tolist(), pa.string()))
    chosen = chosen.filter(pc.not_equal(chosen["split"], ""))
    order = [("language", "ascending"), ("split", "ascending"), ("source", "ascending"), ("document_id", "ascending")]
    return chosen.sort_by(order).cast(CHOSEN)


def _no_document_twice(eligible: pa.Table) -> None:
    counted = eligible.group_by(["source", "document_id"]).aggregate([([], "count_all")])
    twice = counted.filter(pc.greater(counted["count_all"], 1))
    if len(twice):
        first = twice.sort_by([("source", "ascending"), ("document_id", "ascending")]).slice(0, 1).to_pylist()[0]
        raise SamplingError(
            f"{len(twice):,} documents have an id that another document of their source has, among them "
            f"{first['document_id']!r} of source {first['source']!r}. Questions name their document by source and id: give each "
            "document an id of its own, or give the inputs different labels."
        )


def _splits_of_language(rows: pa.Table, counts: SplitCounts, settings: SamplingSettings) -> npt.NDArray[np.str_]:
    """The split of each document of one language; "" for those left out."""
    pool, order = _hashes(rows, settings.seed)
    split = np.full(len(rows), "", dtype="U6")
    bounds = np.cumsum([0, *(counts.of(name) for name in SPLITS)])
    for name, first, last in zip(SPLITS, bounds[:-1], bounds[1:], strict=True):
        if first < last:
            mine = (pool >= first / bounds[-1]) & (pool < last / bounds[-1])
            split[_taken(rows, np.flatnonzero(mine), order, int(last - first), settings)] = name
    split[_taken(rows, np.flatnonzero(split == ""), order, counts.distractors, settings)] = CORPUS
    return split


def _hashes(rows: pa.Table, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint64]]:
    """Two numbers of each document: its place among the pools, in [0, 1), and its place in the order of choice."""
    names = pc.binary_join_element_wise(str(seed), rows["source"], rows["document_id"], "\x00").to_pylist()
    hashed = np.frombuffer(b"".join(map(xxhash.xxh3_128_digest, map(str.encode, names))), ">u8").reshape(-1, 2)
    pool: npt.NDArray[np.float64] = (hashed[:, 0] >> 11).astype(np.float64) * 2.0**-53
    return pool, hashed[:, 1].astype(np.uint64)


def _taken(
    rows: pa.Table, candidates: Integers, order: npt.NDArray[np.uint64], wanted: int, settings: SamplingSettings
) -> Integers:
    """`wanted` of the candidates, or all; those of each stratum in the order of their hashes."""
    if len(candidates) <= wanted:
        return candidates
    strata: dict[tuple[str, int], list[int]] = {}
    sources, buckets = rows["source"].to_pylist(), rows["bucket"].to_pylist()
    for row in candidates[np.argsort(order[candidates], kind="stable")].tolist():
        strata.setdefault((sources[row], buckets[row]), []).append(row)
    names = sorted(strata)
    shares = allocate(wanted, [len(strata[name]) for name in names], settings.balance)
    return np.array([row for name, share in zip(names, shares, strict=True) for row in strata[name][:share]], np.int64)


def allocate(wanted: int, sizes: list[int], balance: float) -> list[int]:
    """How many to take of strata of these sizes, `wanted` in all (or all there are).

    Shares are proportional to size ** balance; what a small stratum cannot give, the others do.

    >>> allocate(10, [100, 4, 1], 0.5), allocate(10, [100, 100], 1.0)
    ([7, 2, 1], [5, 5])
    """
    given = [0] * len(sizes)
    left = min(wanted, sum(sizes))
    while left:
        weights = [size**balance if took < size else 0.0 for size, took in zip(sizes, given, strict=True)]
        shares = [left * weight / math.fsum(weights) for weight in weights]
        whole = [min(int(share), size - took) for share, size, took in zip(shares, sizes, given, strict=True)]
        if not any(whole):  # fewer are left than strata: one each, to the largest shares first
            ranked = sorted(range(len(sizes)), key=lambda place: -shares[place])[:left]
            whole = [int(place in ranked and shares[place] > 0) for place in range(len(sizes))]
        given = [took + more for took, more in zip(given, whole, strict=True)]
        left = min(wanted, sum(sizes)) - sum(given)
    return given


def shortfalls(chosen: pa.Table, settings: SamplingSettings) -> list[str]:
    """A sentence for each language and split with fewer documents than wanted."""
    return [
        f"{language}: {found:,} of {wanted:,} documents wanted for {split}; widen the bounds of length or add documents"
        for language, split, found, wanted in _found_and_wanted(chosen, settings)
        if found < wanted
    ]


def _found_and_wanted(chosen: pa.Table, settings: SamplingSettings) -> Iterator[tuple[str, str, int, int]]:
    found: Mapping[Any, int] = _counted(chosen)
    languages = {language for language, _ in found} | {language_key(name) for name in settings.languages}
    for language in sorted(languages):
        counts = settings.counts_of(language)
        for split in SPLITS:
            yield language, split, found.get((language, split), 0), counts.of(split)
        yield language, CORPUS, found.get((language, CORPUS), 0), counts.distractors


def _counted(chosen: pa.Table) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for row in chosen.group_by(["language", "split"]).aggregate([([], "count_all")]).to_pylist():
        key = (language_key(row["language"]), row["split"])
        counts[key] = counts.get(key, 0) + row["count_all"]
    return counts
