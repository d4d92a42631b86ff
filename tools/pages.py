"""Put into README.md and docs/ what their own commands and code print: ``python -m tools.pages``.

The blocks of a page run from top to bottom, in one folder and one namespace: all of ``python``, and
the lines of ``sh`` that begin with ``ropeleak``. A comment before a block of ``text`` says what it
holds: ``<!-- output: python -->`` what the Python block above it prints, ``<!-- output: sh -->``
what the commands above it do, ``<!-- output: ropeleak … -->`` what this command does. A block of
Python after a comment ``<!-- file: my_rope.py -->`` is written into that file instead of being run.
"""

import importlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from ropeleak.cli import main as ropeleak

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(
    r"(?:<!-- (?P<what>output|file): (?P<source>.+?) -->\n)?"
    r"```(?P<language>python|sh|text)\n(?P<body>.*?)```",
    re.S,
)
FAILED_CHECK = 1


def pages() -> list[Path]:
    """Return the pages whose blocks run: the README and those of docs/."""
    return [README, *sorted((ROOT / "docs").rglob("*.md"))]


class Run:
    """The blocks of one page, run in order in the current folder.

    Parameters
    ----------
    page
        What complaints call it.
    """

    def __init__(self, page: str) -> None:
        self.page = page
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = {"python": "", "sh": ""}

    def again(self, found: re.Match[str]) -> str:
        """Run a block, or return one of output anew."""
        language, body = found["language"], found["body"]
        if found["what"] == "file":
            Path(found["source"]).write_text(body, encoding="utf-8")
            sys.modules.pop(Path(found["source"]).stem, None)  # another file of this name
            importlib.invalidate_caches()
        elif language == "python":
            self.printed[language] = self._python(body)
        elif language == "sh":
            lines = [line.partition(" #")[0] for line in body.splitlines()]
            own = [line for line in lines if line.startswith("ropeleak ")]
            self.printed[language] = "\n".join(map(self._command, own))
        elif found["what"] == "output":
            source = found["source"]
            out = self.printed[source] if source in self.printed else self._command(source)
            return found[0].removesuffix(f"{body}```") + out.rstrip("\n") + "\n```"
        return found[0]

    def _python(self, body: str) -> str:
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(body, self.page, "exec"), self.names)
        return out.getvalue()

    def _command(self, line: str) -> str:
        out = io.StringIO()
        program, *arguments = shlex.split(line)
        with redirect_stdout(out):
            code = ropeleak(arguments) if program == "ropeleak" else 2
        if code not in (0, FAILED_CHECK):
            raise SystemExit(f"{self.page}: {line} does not run")
        return out.getvalue()


def rendered(page: Path, folder: Path) -> str:
    """Return a page with every output made anew; what its blocks write goes into a folder."""
    with _inside(folder):
        return BLOCK.sub(Run(page.name).again, page.read_text(encoding="utf-8"))


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in a folder whose modules can be imported, and forget them afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        with chdir(folder):
            yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            path = getattr(sys.modules[name], "__file__", None)
            if path and Path(path).is_relative_to(folder):
                del sys.modules[name]


def main() -> None:
    """Rewrite the pages that are out of date."""
    for page in pages():
        with tempfile.TemporaryDirectory() as folder:
            new = rendered(page, Path(folder).resolve())
        if new != page.read_text(encoding="utf-8"):
            page.write_text(new, encoding="utf-8")
            print(f"{os.path.relpath(page, ROOT)} is rewritten")


if __name__ == "__main__":
    main()
