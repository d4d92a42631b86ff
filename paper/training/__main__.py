"""``python -m paper.training``: train, measure, summarise."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ropeleak.errors import RopeleakError

from .recipe import Recipe
from .runs import all_runs

OUT = Path(__file__).parents[2] / "out" / "training"


def run(arguments: argparse.Namespace) -> None:
    """Train all decoders."""
    from .queue import work_through

    work_through(all_runs(arguments.only), Recipe(), arguments.out, arguments.jobs)


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], None], str]] = {
    "run": (run, "train the decoders, going on where it was stopped"),
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(prog="python -m paper.training", description=__doc__)
    commands = found.add_subparsers(required=True, metavar="command")
    for name, (function, words) in COMMANDS.items():
        command = commands.add_parser(name, help=words)
        command.set_defaults(function=function)
        command.add_argument("--out", type=Path, default=OUT, help="folder of the trainings")
        command.add_argument("--only", nargs="+", default=(), help="names of architectures")
        command.add_argument("--jobs", type=int, default=2, help="processes")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error is one sentence, and exit code 2."""
    chosen = parser().parse_args(arguments)
    try:
        chosen.function(chosen)
    except KeyboardInterrupt:
        print("stopped: the same command goes on", file=sys.stderr)
        raise SystemExit(130) from None
    except RopeleakError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
