import os
import signal
import subprocess
import sys
import time

import pytest

from pipelines.errors import UserError
from pipelines.run_folder import RunFolder, locked

HOLD = "import sys, time\nfrom pipelines.run_folder import *\nwith locked(RunFolder(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"


def test_a_second_writer_is_refused_and_told_who_holds_the_folder(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"process {holder.pid} on"), locked(RunFolder(str(tmp_path)), 0.2):
            pass
    finally:
        holder.kill()
        holder.wait()


def test_a_killed_holder_leaves_no_lock_behind(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(RunFolder(str(tmp_path)), 0.2) as descriptors:
        assert len(descriptors) == 1


def test_a_lock_object_on_a_store_refuses_a_second_writer_until_it_is_stale(monkeypatch):
    from pipelines import run_folder, storage

    run = RunFolder("memory://bucket/locked-run")
    with locked(run):
        deadline = time.monotonic() + 5
        while not storage.exists(f"{run.url}/_LOCK.json") and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(UserError, match="is in use by process"), locked(run):
            pass
        monkeypatch.setattr(run_folder, "REMOTE_STALE_SECONDS", -1.0)
        with locked(run):
            pass
