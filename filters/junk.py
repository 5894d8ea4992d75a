"""What has no place in a training pair, counted per text: boilerplate, placeholders, mojibake, listed words, personal data."""

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from filters.boilerplate import BOILERPLATE_MEASURES, measure_boilerplate
from filters.mojibake import mojibake_share
from filters.personal_data import PERSONAL_DATA_MEASURES, count_personal_data
from filters.word_lists import count_listed_words

JUNK_MEASURES = pa.schema(
    [
        *BOILERPLATE_MEASURES,
        pa.field("mojibake_share", pa.float32(), nullable=False),  # of all characters
        pa.field("listed_words", pa.int32(), nullable=False),  # occurrences of the words of the lists named
        *PERSONAL_DATA_MEASURES,
    ]
)


class JunkSettings(BaseModel):
    """The files that are looked up; all paths are local. A file is UTF-8, one phrase a line, # starts a comment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    word_lists: tuple[str, ...] = Field(
        default=(), description="files of words and phrases to count: adult, toxic, malicious; none is bundled"
    )
    boilerplate: tuple[str, ...] = Field(default=(), description="files of boilerplate phrases, added to the bundled")
    placeholders: tuple[str, ...] = Field(default=(), description="files of placeholder texts, added to the bundled")


def measure_junk(texts: pa.Array, settings: JunkSettings = JunkSettings()) -> pa.RecordBatch:  # noqa: B008 - frozen
    """JUNK_MEASURES of a string array, row by row; a null is measured as the empty text, all of whose measures are 0.

    Raises filters.phrases.PhraseFileError where a file that the settings name is missing or is not UTF-8.
    """
    boilerplate = measure_boilerplate(texts, settings.boilerplate, settings.placeholders)
    return pa.RecordBatch.from_arrays(
        [
            *boilerplate.columns,
            mojibake_share(texts),
            count_listed_words(texts, settings.word_lists),
            *count_personal_data(texts).columns,
        ],
        schema=JUNK_MEASURES,
    )
