"""Put into README.md what its own commands and code print: ``python -m tools.readme``.

A comment ``<!-- output: ropeleak … -->`` stands before a block that holds what the command prints,
``<!-- output: python -->`` before a block that holds what the Python block above it prints.
"""

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

from ropeleak.cli import main as ropeleak

README = Path(__file__).parents[1] / "README.md"
OUTPUT = re.compile(r"(?P<head><!-- output: (?P<source>.+?) -->\n```text\n)(?P<body>.*?)```", re.S)
PYTHON = re.compile(r"```python\n(?P<code>.*?)```", re.S)


def rendered(text: str) -> str:
    """Return a README with every output made anew."""

    def again(found: re.Match[str]) -> str:
        return f"{found['head']}{_printed(found['source'], text[: found.start()])}```"

    return OUTPUT.sub(again, text)


def _printed(source: str, before: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        if source == "python":
            exec(PYTHON.findall(before)[-1], {"__name__": "__main__"})
        else:
            program, *arguments = shlex.split(source)
            if program != "ropeleak" or ropeleak(arguments) != 0:
                raise SystemExit(f"README.md: {source} does not run")
    return out.getvalue().rstrip("\n") + "\n"


def main() -> None:
    """Rewrite README.md where it is out of date."""
    text = README.read_text(encoding="utf-8")
    new = rendered(text)
    README.write_text(new, encoding="utf-8")
    print("README.md is up to date" if new == text else "README.md is rewritten")


if __name__ == "__main__":
    main()
