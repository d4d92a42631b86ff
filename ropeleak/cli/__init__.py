"""The command line: ``ropeleak COMMAND``. One file per command; nothing heavy until it runs."""

from collections.abc import Sequence

COLLECT_AFTER = 100_000
"""New objects after which Python looks for garbage; its own 700 are for smaller programs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, 2 for bad input, 130 when interrupted.

    Parameters
    ----------
    arguments
        As after the program's name; those of the process unless given.
    """
    from ._app import app
    from ._errors import run

    if arguments is None:
        _collect_rarely()
    return run(app, arguments)


def _collect_rarely() -> None:
    """Look for garbage seldom, and not at the end: libraries make objects that stay, by the 10⁵."""
    import atexit
    import gc

    gc.set_threshold(COLLECT_AFTER)
    atexit.register(gc.freeze)
