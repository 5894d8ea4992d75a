"""Which licences a run may use: the recipe's section `licences`, and what it leaves out.

It is decided in extract, before anything else sees a pair or a document: what is dropped there is not asked about, no
negative, no held-out query and no plain text for pre-training.
"""

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator

from sources import schema
from sources.licences import is_licence_id, licence_alternatives, licence_id
from sources.source import Extracted

REASON: Final = "licence_not_allowed"
_GLOB: Final = frozenset("*?[")


class LicenceSettings(BaseModel):
    """Which licences may be used, by the column `license` of pairs and documents."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    only: tuple[str, ...] = Field(
        (),
        description="licences that may be used, however they are spelled (CC BY-SA 4.0, its URL, cc-by-sa-4.0); * and ? and [] "
        "stand for families: cc-by-[0-9]* is CC BY of any version, cc-by* takes its nc and nd kin, too; empty: all",
    )
    unknown: Literal["drop", "keep"] = Field(
        "drop", description="with `only`: what becomes of rows that name no licence"
    )

    @field_validator("only")
    @classmethod
    def _spelled_alike(cls, only: tuple[str, ...]) -> tuple[str, ...]:
        for each in only:
            if not each.strip():
                raise ValueError(
                    "an empty name is no licence; leave it out, or set `unknown: keep` for rows without one"
                )
        return tuple(each.strip().lower() if _GLOB & set(each) else licence_id(each) or each.lower() for each in only)

    def allows(self, licence: str | None) -> bool:
        """Whether rows of this licence may be used. Of "A OR B" one suffices, of "A AND B" both are needed."""
        if not self.only:
            return True
        alternatives = licence_alternatives(licence)
        if not alternatives:
            return self.unknown == "keep"
        return any(all(self._matches(name) for name in names) for names in alternatives)

    def _matches(self, name: str) -> bool:
        """A family takes ids: "cc by 4.0, but not for sale" is none of cc-by-[0-9]*. * alone takes whatever is said."""
        if name in self.only or "*" in self.only:
            return True
        return is_licence_id(name) and any(fnmatchcase(name, pattern) for pattern in self.only)


def allowed_rows(licences: pa.Array, settings: LicenceSettings) -> pa.Array:
    """bool [rows]: which rows of a string column may be used. Each distinct name is looked at once."""
    names = licences.dictionary_encode()
    allowed = [settings.allows(name) for name in names.dictionary.to_pylist()]
    by_name = pa.array(allowed, pa.bool_()).take(names.indices)
    return by_name.fill_null(settings.allows(None))


def without_forbidden(extracted: Extracted, settings: LicenceSettings) -> Extracted:
    """The same without documents and pairs of other licences; these pairs are among the rejects, with REASON."""
    if not settings.only:
        return extracted
    reason = pc.if_else(allowed_rows(extracted.pairs["license"], settings), pa.scalar(None, pa.string()), REASON)
    pairs, forbidden = schema.split_rejects(extracted.pairs, reason)
    rejects = pa.Table.from_batches([extracted.rejects, forbidden]).combine_chunks().to_batches()
    documents = extracted.documents.filter(allowed_rows(extracted.documents["license"], settings))
    return replace(extracted, pairs=pairs, documents=documents, rejects=rejects[0] if rejects else extracted.rejects)
