"""Run the benchmarks named on the command line, or all of them."""

import sys
from importlib import import_module

BENCHMARKS = (
    "predict", "sweep", "softmax_table", "task_a", "task_b", "given_weights", "scaling", "variance",
    "memory", "start",
)  # fmt: skip


def main(names: list[str]) -> int:
    """Run benchmarks by name; return the exit code."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}: give {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names or BENCHMARKS:
        import_module(f"benchmarks.{name}").run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
