"""`pairmill rollback`: an earlier version of a run's model becomes the current one."""

import time

from pipelines.refresh import versions
from pipelines.refresh.versions import Version
from pipelines.run_folder import RunFolder, append_log, locked


def roll_back(run: RunFolder, to: int | None) -> tuple[Version | None, Version]:
    """The version that was current and the one that is now. Holds the run folder's lock.

    Raises UserError where there is no such version, and while the run is in use.
    """
    with locked(run):
        # What stands in current.json may be broken: naming a version is how it is put right.
        before = versions.current(run) if to is None else versions.current_if_whole(run)
        now = versions.roll_back(run, to)
        if before is None or before.number != now.number:
            told = {"from": None if before is None else before.number, "to": now.number}
            append_log(run, {"time": time.time(), "event": "rolled back", **told})
    return before, now
