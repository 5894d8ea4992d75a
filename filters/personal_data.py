"""Personal data in texts: e-mail addresses, IP addresses, telephone numbers, numbers of accounts, cards and persons.

    email        name@host.top, but for RFC 2606's names for examples (example.org)
    ip_address   IPv4 and IPv6 addresses that belong to a host: no private, reserved or example ranges
    phone        international (+49 30 1234567, 0049 ...), North American (ddd-ddd-dddd), national with a leading zero
                 (030/1234567, 01 23 45 67 89, 03-1234-5678), Chinese mobile numbers (11 digits)
    id_number    IBAN and payment cards with a right check digit, US social security numbers, Chinese citizens' numbers

Found by their form alone, without a model: names and postal addresses are not. A find must stand by itself: no letter,
digit or point goes on from it, so that versions, ISBNs, prices and hashes are left alone.
"""

from collections.abc import Collection, Mapping
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from filters.text_quality import utf8_buffers

Kind = Literal["email", "ip_address", "phone", "id_number"]
KINDS: Final[tuple[Kind, ...]] = ("email", "ip_address", "phone", "id_number")  # in the loops' order

PERSONAL_DATA_MEASURES: Final = pa.schema([pa.field(kind, pa.int32(), nullable=False) for kind in KINDS])

DEFAULT_REPLACEMENTS: Final[Mapping[Kind, str]] = {
    "email": "<EMAIL>",
    "ip_address": "<IP_ADDRESS>",
    "phone": "<PHONE>",
    "id_number": "<ID_NUMBER>",
}


class PersonalDataSettings(BaseModel):
    """What is done about personal data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Literal["keep", "mask", "drop"] = Field(
        default="keep", description="keep, replace what is found, or drop the pair"
    )
    kinds: tuple[Kind, ...] = Field(default=KINDS, description="what counts as personal data")
    replacements: Mapping[Kind, str] = Field(
        default=DEFAULT_REPLACEMENTS, description="what stands for each kind once masked; kinds left out keep theirs"
    )


def count_personal_data(texts: pa.Array) -> pa.RecordBatch:
    """PERSONAL_DATA_MEASURES of a string array: how many of each kind a text holds, int32 [rows]; null holds none."""
    from filters import personal_data_loops

    bounds, data = utf8_buffers(texts)
    counts = np.zeros((len(bounds) - 1, len(KINDS)), np.int32)
    personal_data_loops.count_finds(bounds, data, counts)
    columns = [pa.array(np.ascontiguousarray(column)) for column in counts.T]
    return pa.RecordBatch.from_arrays(columns, schema=PERSONAL_DATA_MEASURES)


def mask_personal_data(
    texts: pa.Array,
    kinds: Collection[Kind] = KINDS,
    replacements: Mapping[Kind, str] = DEFAULT_REPLACEMENTS,
) -> pa.Array:
    """The texts with each find of the kinds replaced, of the same type; rows without any are not rewritten, nulls stay.

    Kinds that `replacements` leaves out are replaced as DEFAULT_REPLACEMENTS says.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    counts = np.stack([count_personal_data(texts)[kind].to_numpy() for kind in KINDS if kind in kinds] or [[]])
    touched = counts.any(axis=0) if counts.size else np.zeros(len(texts), np.bool_)
    if not touched.any():
        return texts
    rows = pa.array(touched)
    signs = {
        place: replacements.get(kind, DEFAULT_REPLACEMENTS[kind]) for place, kind in enumerate(KINDS) if kind in kinds
    }
    masked = pa.array(_masked(texts.filter(rows), signs), texts.type)
    return pc.replace_with_mask(texts, rows, masked)


def _masked(texts: pa.Array, signs: Mapping[int, str]) -> list[str]:
    """Each text with what `signs` gives for the kinds (places in KINDS) that it names."""
    from filters import personal_data_loops

    bounds, data = utf8_buffers(texts)
    counts = np.zeros((len(bounds) - 1, len(KINDS)), np.int32)
    personal_data_loops.count_finds(bounds, data, counts)
    finds = np.zeros((counts.sum(), 4), np.int64)
    personal_data_loops.list_finds(bounds, data, finds)
    parts: list[list[bytes]] = [[] for _ in range(len(texts))]
    reached = bounds[:-1].tolist()
    for row, kind, start, after in finds.tolist():
        if kind in signs:
            parts[row] += [data[reached[row] : start].tobytes(), signs[kind].encode()]
            reached[row] = after
    rests = [data[start:end].tobytes() for start, end in zip(reached, bounds[1:].tolist(), strict=True)]
    return [b"".join([*pieces, rest]).decode() for pieces, rest in zip(parts, rests, strict=True)]
