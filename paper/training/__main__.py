"""``python -m paper.training``: train, measure, summarise."""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ropeleak.errors import RopeleakError

from .pages import answers_table
from .runs import all_runs

OUT = Path(__file__).parents[2] / "out" / "training"
NEEDED = ("torch", "safetensors")
"""What training and measuring import beside ropeleak."""


def run(chosen: argparse.Namespace) -> None:
    """Train all decoders."""
    runs = all_runs(chosen.only)
    check_installed()
    from .queue import work_through
    from .trainer import train

    work_through(train, runs, chosen.out, chosen.jobs)


def measure(chosen: argparse.Namespace) -> None:
    """Measure all trained decoders."""
    runs = all_runs(chosen.only)
    check_installed()
    from .measuring import measure
    from .queue import work_through

    work_through(measure, runs, chosen.out, chosen.jobs)


def summarise(chosen: argparse.Namespace) -> None:
    """Write what was measured to the files that are kept, and print the answers."""
    from . import ledger
    from .pages import publish
    from .summary import collect

    results = collect(chosen.out)
    publish(results)
    ledger.write(results)
    print(answers_table(results))


def answers(chosen: argparse.Namespace) -> None:
    """Print the answers that the kept files give."""
    from .results import Results

    print(answers_table(Results.load()))


class Command(NamedTuple):
    """A command and what it does, in a line."""

    function: Callable[[argparse.Namespace], None]
    words: str


COMMANDS = {
    "run": Command(run, "train the decoders, going on where it was stopped"),
    "measure": Command(measure, "measure what was trained, going on where it was stopped"),
    "summarise": Command(summarise, "write the measurements to paper/training/results"),
    "answers": Command(answers, "print what those say, without training"),
}


def check_installed() -> None:
    """Raise `RopeleakError` if PyTorch or safetensors is missing."""
    missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
    if missing:
        raise RopeleakError(
            f"training needs {' and '.join(missing)}: pip install {' '.join(missing)}"
            " --extra-index-url https://download.pytorch.org/whl/cpu"
        )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(prog="python -m paper.training")
    commands = found.add_subparsers(required=True, metavar="command")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.words, description=command.words)
        one.set_defaults(function=command.function)
        one.add_argument("--out", type=Path, default=OUT, help="folder of the runs")
        if name in ("run", "measure"):
            one.add_argument("--only", nargs="+", default=(), help="names of architectures")
            one.add_argument("--jobs", type=int, default=2, help="processes")
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
