"""The command line: ``ropeleak COMMAND``. One file per command; nothing heavy until it runs."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, 2 for bad input, 130 when interrupted.

    Parameters
    ----------
    arguments
        As after the program's name; those of the process unless given.
    """
    from ._app import app
    from ._errors import run

    return run(app, arguments)
