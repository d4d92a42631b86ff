"""TeX: whether it is there, how it is run, and what its log complains about."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from ropeleak.errors import RopeleakError

PROGRAMS = ("latexmk", "pdflatex", "bibtex")
STYLES = (
    "lmodern.sty", "microtype.sty", "geometry.sty", "amsthm.sty", "booktabs.sty", "array.sty",
    "longtable.sty", "natbib.sty", "hyperref.sty", "plainnat.bst",
)  # fmt: skip
"""Programs and files without which the paper cannot be built."""
PACKAGES = (
    "latexmk", "texlive-latex-base", "texlive-latex-recommended", "texlive-fonts-recommended",
    "lmodern",
)  # fmt: skip
"""Debian's packages that have them."""
WIDEST = 5.0
"""Points by which a box may be too wide."""
LINE = 79
"""TeX breaks the lines of its log after so many characters."""

OVERFULL = re.compile(r"Overfull \\[hv]box \((?P<points>[\d.]+)pt too (?:wide|high)\).*")
COMPLAINTS = (
    re.compile(r"LaTeX Warning: (?:Reference|Citation) .* undefined.*"),
    re.compile(r"Package natbib Warning: Citation .* undefined.*"),
    re.compile(r"LaTeX Warning: Label .* multiply defined.*"),
    re.compile(r"LaTeX Warning: File .* not found.*"),
    re.compile(r"! .*"),
)


def missing() -> list[str]:
    """Return the programs and files that TeX lacks."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if shutil.which("kpsewhich") is None:
        return [*lacking, "kpsewhich"]
    return lacking + [name for name in STYLES if not _found(name)]


def available() -> bool:
    """Return whether TeX is there, after an attempt to install it."""
    try:
        require()
    except RopeleakError as error:
        print(f"not typeset: {error}", flush=True)
        return False
    return True


def require() -> None:
    """Make sure that TeX is there: install Debian's packages as root, else say which they are.

    Raises
    ------
    RopeleakError
        If something is missing that cannot be installed from here.
    """
    lacking = missing()
    if lacking and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing TeX ({', '.join(PACKAGES)})", flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (("update", "-q"), ("install", "-y", "-q", "--no-install-recommends",
                                           *PACKAGES)):  # fmt: skip
            subprocess.run(["apt-get", *command], env=quiet, stdout=subprocess.DEVNULL, check=False)
        lacking = missing()
    if lacking:
        raise RopeleakError(
            f"the paper needs TeX and {lacking[0]} is missing: install it, on Debian with"
            f" sudo apt install {' '.join(PACKAGES)}"
        )


def build(folder: Path, name: str = "main") -> Path:
    """Run latexmk in a folder and return the PDF.

    Raises
    ------
    RopeleakError
        If TeX fails, or its log has an undefined reference or citation, or a box that is too wide.
    """
    command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace",
                         check=False)  # fmt: skip
    log = folder / f"{name}.log"
    text = log.read_text(encoding="latin-1") if log.exists() else run.stdout
    found = sorted(complaints(text), key=lambda line: not line.startswith("!"))  # errors first
    if run.returncode and not found:
        found = run.stdout.strip().splitlines()[-1:]
    if found:
        raise RopeleakError(f"{log}: {found[0]} ({len(found)} complaints in all): mend the source")
    return folder / f"{name}.pdf"


def pages(pdf: Path) -> int:
    """Return the number of pages, as the log beside a PDF says."""
    log = pdf.with_suffix(".log").read_text(encoding="latin-1")
    found = re.search(r"Output written on .*?\((\d+) pages?", log.replace("\n", ""))
    return int(found[1]) if found else 0


def complaints(log: str) -> Iterator[str]:
    """Yield what is wrong according to a log of TeX: errors, undefined names, wide boxes."""
    for line in _whole_lines(log.splitlines()):
        overfull = OVERFULL.search(line)
        if overfull and float(overfull["points"]) > WIDEST:
            yield overfull[0]
        for pattern in COMPLAINTS:
            found = pattern.match(line) if pattern.pattern.startswith("!") else pattern.search(line)
            if found:
                yield found[0]


def _whole_lines(lines: Sequence[str]) -> Iterator[str]:
    """Yield lines that TeX has broken put together again."""
    whole = ""
    for line in lines:
        whole += line
        if len(line) < LINE:
            yield whole
            whole = ""
    if whole:
        yield whole


def _found(name: str) -> bool:
    return subprocess.run(["kpsewhich", name], capture_output=True, check=False).returncode == 0
