"""What the watchdog sees of a job."""

import time

from pipelines import progress
from pipelines.progress import ProgressReader, TaskProgress, signs_of_life


def test_work_that_tells_nothing_changes_its_sign_again_and_again_from_its_start(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "SIGN_SECONDS", 0.01)
    task = TaskProgress(str(tmp_path), "reading")
    task._interval = 0.0
    reader = ProgressReader(str(tmp_path))
    with signs_of_life(task):
        signs, until = [reader.read().sign], time.monotonic() + 10
        while len(signs) < 4 and time.monotonic() < until:
            sign = reader.read().sign
            if sign != signs[-1]:
                signs.append(sign)
    assert len(signs) == 4
