"""The largest resident memory of this process.

``ru_maxrss`` would not do: a process begins with that of the one that started it.
"""

import resource
import sys
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget() -> None:
    """Begin anew: what was the peak until now does not count, where the system can do that."""
    if RESET.exists():
        RESET.write_text("5")


def gigabytes() -> float:
    """Return the peak since the start, or since `forget`."""
    if STATUS.exists():
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        return float(lines["VmHWM"].split()[0]) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
