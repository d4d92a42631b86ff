"""``python -m paper``: build the paper, or reproduce everything in it."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ropeleak.errors import RopeleakError

from . import build, reproducibility, tex
from .material import Material

OUT = Path(__file__).parents[1] / "out" / "paper"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m paper", description=__doc__)
    parser.add_argument("command", choices=("build", "reproduce"))
    parser.add_argument("--budget", choices=("small", "full"), default="small",
                        help="of build; reproduce is always full")  # fmt: skip
    parser.add_argument("--tex", choices=("needed", "optional"), default="needed",
                        help="optional: without TeX make all that it would typeset")  # fmt: skip
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the PDF")
    chosen = parser.parse_args(arguments)
    # Many small products: threads of the linear algebra would wait for each other.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("SOURCE_DATE_EPOCH", build.EPOCH)
    budget = "full" if chosen.command == "reproduce" else chosen.budget
    folder, cache = chosen.out / budget, chosen.out / "cache"
    start = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        build.build(budget, folder, cache, typeset=chosen.tex == "needed" or tex.available())
        if chosen.command == "reproduce":
            target = folder / "manifest.json"
            reproducibility.manifest(
                Material(budget, cache), build.outputs(folder), time.monotonic() - start, target
            )
            print(target)
    except (RopeleakError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped: the same command goes on from what is kept.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
