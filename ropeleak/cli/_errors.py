"""Turning whatever goes wrong into one sentence and an exit code."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ropeleak.errors import RopeleakError

if TYPE_CHECKING:
    import typer

BAD_INPUT = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


def run(app: "typer.Typer", arguments: Sequence[str] | None = None) -> int:
    """Run a typer app and return its exit code; what is the user's to mend is one sentence."""
    import typer

    for stream in (sys.stdout, sys.stderr):
        # An encoding without σ or ′ shows a question mark instead of failing.
        with suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        code = _call(app, arguments)
        if sys.stdout is not None:  # None where it was closed before the start
            sys.stdout.flush()
        return code
    except RopeleakError as error:
        return complain(str(error))
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has left; Python must not try to flush again when it ends.
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except MemoryError:
        return complain("this needs more memory than there is: lower --context")
    except OSError as error:
        where = error.filename if error.filename is not None else "standard output"
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return complain(f"{where}: {error.strerror or error}")
    except Exception as error:
        if not _is_usage_error(error):
            raise
        return complain(_usage_sentence(error))


def _call(app: "typer.Typer", arguments: Sequence[str] | None) -> int:
    args = None if arguments is None else list(arguments)
    try:
        code = app(args=args, prog_name="ropeleak", standalone_mode=False)
    except SystemExit:
        # typer's answer to a broken pipe, whatever the mode.
        raise BrokenPipeError from None
    return code if isinstance(code, int) else 0


def complain(sentence: str) -> int:
    """Print one line to standard error and return the exit code of bad input."""
    line = " ".join(sentence.split())
    line = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line
    )
    with suppress(OSError):
        print(f"error: {line}", file=sys.stderr)
    return BAD_INPUT


def _is_usage_error(error: Exception) -> bool:
    import typer

    # The common base of typer's own errors has no public name.
    kinds = [kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"]
    return isinstance(error, (typer.Exit, *kinds))


def _usage_sentence(error: Any) -> str:
    """Return what was wrong with the command line, and where to read how it is used."""
    text: str = error.format_message().strip().rstrip(".")
    text = text[:1].lower() + text[1:].replace(": Value error, ", ": ")
    command = getattr(getattr(error, "ctx", None), "command_path", None) or "ropeleak"
    if text.endswith("?"):
        return f"{text} ({command} --help lists what there is)"
    return f"{text}: see {command} --help"
