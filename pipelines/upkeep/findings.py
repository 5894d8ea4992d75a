"""What a check found: a fault, or a note on something that is no fault."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line of `pairmill verify`: which file, what is wrong with it, what to do."""

    file: str  # below the run folder, or a whole path outside it
    what: str
    remedy: str
    level: Literal["fault", "note"] = "fault"

    def as_json(self) -> dict[str, str]:
        return {"level": self.level, "file": self.file, "what": self.what, "remedy": self.remedy}
