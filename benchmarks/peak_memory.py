"""What a process held in memory at most."""

import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Bytes that this process held at most; ru_maxrss, read elsewhere than on Linux, begins with the peak of the process that
    started it."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
