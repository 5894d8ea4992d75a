"""The paragraphs of a document that questions are asked about.

M3-Embedding chooses paragraphs "randomly" (section 3.1) and tells no rule for what a paragraph is. Here candidates are runs of
prose: never headings, lists, tables, code, menus or boilerplate, nor what stands under "References". Neighbours are joined
until they are long enough, and cut at ends of sentences where they are too long. One candidate is chosen from each of several equal
parts of the document, so that questions are about all of it and not about its beginning.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import xxhash
from pydantic import BaseModel, ConfigDict, Field, model_validator

from synth.apparatus import is_apparatus
from synth.character_counts import weight
from synth.prose import REASONS as NO_PROSE
from synth.prose import sentences, why_no_prose
from synth.text_blocks import text_blocks

Sections = Sequence[Mapping[str, Any]]

REASONS: Final = NO_PROSE | {
    "heading": "a heading",
    "apparatus": "it stands under a heading such as References",
    "too_short": "too short, also with its neighbours",
    "too_long": "one sentence longer than a paragraph may be",
}
_SPACE: Final = re.compile(r"\s+")
_UNSPACED: Final = "[\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff60]"
_LINE_END_IN_UNSPACED: Final = re.compile(rf"(?<={_UNSPACED})[ \t]*\n\s*(?={_UNSPACED})")


class ParagraphSettings(BaseModel):
    """Which paragraphs, and how many. The paper is silent: the defaults are ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, description="another seed, other paragraphs")
    per_document: int = Field(1, ge=1, description="paragraphs of a document that are asked about (MLDR: about 1)")
    strata: int = Field(
        5, ge=1, description="equal parts of a document; each gives a paragraph before any gives a second"
    )
    min_characters: int = Field(
        250, ge=1, description="of a paragraph; a Chinese or Japanese character counts three, a Korean one two"
    )
    max_characters: int = Field(
        1_500, ge=1, description="of a paragraph, counted likewise; longer ones are cut at sentences"
    )
    first_characters: int | None = Field(
        None, ge=1, description="only paragraphs within so many first ones: what a trainer cuts off cannot answer"
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "ParagraphSettings":
        if self.min_characters > self.max_characters:
            raise ValueError(f"min_characters {self.min_characters} is above max_characters {self.max_characters}")
        return self


DEFAULT: Final = ParagraphSettings()


class Paragraph(NamedTuple):
    """A paragraph: characters [start, end) of the document's text; `number` counts the document's candidates from 0."""

    number: int
    start: int
    end: int


def paragraphs(
    text: str, sections: Sections | None = None, settings: ParagraphSettings = DEFAULT
) -> list[tuple[int, int]]:
    """All candidates of a document, in its order: (start, end) in characters. `sections` as in schema.DOCUMENT."""
    return list(_candidates(text, sections, settings, Counter()))


def rejected_blocks(text: str, sections: Sections | None = None, settings: ParagraphSettings = DEFAULT) -> Counter[str]:
    """How many blocks of a document are no paragraphs, by reason (REASONS)."""
    rejected: Counter[str] = Counter()
    for _ in _candidates(text, sections, settings, rejected):
        pass
    return rejected


def choose_paragraphs(
    key: str, text: str, sections: Sections | None = None, settings: ParagraphSettings = DEFAULT
) -> list[Paragraph]:
    """`per_document` paragraphs of a document, in its order; fewer, or none, where it has no more candidates.

    `key` tells documents apart (source and id): with the seed it decides which paragraphs are chosen.
    """
    return sorted(paragraphs_in_turn(key, text, sections, settings)[: settings.per_document])


def paragraphs_in_turn(
    key: str, text: str, sections: Sections | None = None, settings: ParagraphSettings = DEFAULT
) -> list[Paragraph]:
    """All candidates of a document in the order in which they are chosen: where one cannot be asked about, the next is taken."""
    candidates = paragraphs(text, sections, settings)
    order = _by_strata(key, candidates, len(text), settings)
    return [Paragraph(number, *candidates[number]) for number in order]


def paragraph_text(text: str, start: int, end: int) -> str:
    """A paragraph as it is shown and encoded: white space folded, lines of Chinese and Japanese joined without any."""
    return _SPACE.sub(" ", _LINE_END_IN_UNSPACED.sub("", text[start:end])).strip()


def _by_strata(key: str, candidates: list[tuple[int, int]], length: int, settings: ParagraphSettings) -> list[int]:
    """All candidates: one from each part of the document, then a second from each, and so on; all in hashed order."""
    parts: dict[int, list[int]] = {}
    for number, (start, end) in enumerate(candidates):
        parts.setdefault((start + end) * settings.strata // (2 * length), []).append(number)
    hashed = {
        part: sorted(numbers, key=lambda number: _hash(settings.seed, key, "paragraph", candidates[number][0]))
        for part, numbers in parts.items()
    }
    turns = sorted(hashed, key=lambda part: _hash(settings.seed, key, "part", part))
    most = max(map(len, hashed.values()), default=0)
    return [hashed[part][turn] for turn in range(most) for part in turns if turn < len(hashed[part])]


def _hash(*parts: object) -> int:
    return xxhash.xxh3_64_intdigest("\x00".join(map(str, parts)).encode())


def _candidates(
    text: str, sections: Sections | None, settings: ParagraphSettings, rejected: Counter[str]
) -> Iterator[tuple[int, int]]:
    runs = [
        [piece for block in run for piece in _cut(text, *block, settings.max_characters)]
        for run in _runs(text, sections, rejected)
    ]
    reasons = iter(why_no_prose([paragraph_text(text, *piece) for run in runs for piece in run]))
    limit = len(text) if settings.first_characters is None else settings.first_characters
    for run in runs:
        for start, end in _sized(text, run, reasons, settings, rejected):
            if end <= limit:
                yield start, end


def _runs(text: str, sections: Sections | None, rejected: Counter[str]) -> Iterator[list[tuple[int, int]]]:
    """Blocks that may be prose and follow each other with nothing else between."""
    run: list[tuple[int, int]] = []
    skipping = False  # under a heading such as References
    for block in text_blocks(text, sections):
        if block.kind == "heading":
            skipping = is_apparatus(text[block.start : block.end])
        reason = block.kind if block.kind != "prose" else "apparatus" if skipping else None
        if reason is None:
            run.append((block.start, block.end))
            continue
        rejected[reason] += 1
        yield run
        run = []
    yield run


def _sized(
    text: str,
    run: list[tuple[int, int]],
    reasons: Iterator[str | None],
    settings: ParagraphSettings,
    rejected: Counter[str],
) -> Iterator[tuple[int, int]]:
    """Pieces of a run that are prose, joined until they have the wanted size; `reasons` says which are none, and why."""
    gathered: list[tuple[int, int]] = []
    for piece, reason in zip(run, reasons, strict=False):
        if reason is not None or (gathered and weight(text[gathered[0][0] : piece[1]]) > settings.max_characters):
            rejected["too_short"] += len(gathered)
            gathered = []
        if reason is not None:
            rejected[reason] += 1
            continue
        gathered.append(piece)
        start, end = gathered[0][0], piece[1]
        size = weight(text[start:end])
        if size > settings.max_characters:
            rejected["too_long"] += 1
            gathered = []
        elif size >= settings.min_characters:
            yield start, end
            gathered = []
    rejected["too_short"] += len(gathered)


def _cut(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """The block itself, or groups of its sentences of about equal size, none larger than `most` but for a lone sentence."""
    whole = weight(text[start:end])
    if whole <= most:
        yield start, end
        return
    wanted = whole / -(-whole // (most * 2 // 3))
    first, size = start, 0
    last = start
    for begin, stop in sentences(text[start:end]):
        here = weight(text[start + begin : start + stop])
        if size and (size + here > most or size >= wanted):
            yield first, last
            first, size = start + begin, 0
        last = start + stop
        size += here
    yield first, last
