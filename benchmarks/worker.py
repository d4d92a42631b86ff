"""The process of one program: builds it, warms it up, and runs it when a line comes in."""

import json
import os
import sys
import time
from importlib import import_module

from . import peak


def main() -> None:
    """Serve the program that the command line describes."""
    program = json.loads(sys.argv[1])
    module = import_module(f"benchmarks.{program['module']}")
    run = getattr(module, program["function"])(**program["arguments"])
    run()
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        peak.forget()
        before, start = os.times(), time.perf_counter()
        run()
        seconds, after = time.perf_counter() - start, os.times()
        cpu = after.user + after.system - before.user - before.system
        note = getattr(run, "note", "")
        answer = {"seconds": seconds, "cpu": cpu, "gigabytes": peak.gigabytes(), "note": note}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
