"""From the library to a PDF: figures, numbers, tables and theorems, then TeX."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ropeleak.figures import load as load_figure
from ropeleak.figures import names as figure_names
from ropeleak.output import atomic

from . import ledger, numbers, reproducibility, tables, tex, theorems
from .material import Material
from .sources import SOURCE

Say = Callable[[str], None]

EPOCH = "1767225600"
"""Date of the PDF unless SOURCE_DATE_EPOCH gives another: its bytes stay the same."""


TABLES: Mapping[str, Callable[[Material], str]] = {
    "numbers.tex": numbers.rendered,
    "table-ladder.tex": tables.ladder,
    "table-reality.tex": tables.reality,
    "table-training.tex": tables.training,
    "table-ledger.tex": ledger.claims,
    "table-plugs.tex": ledger.plugs,
    "table-predecessors.tex": ledger.predecessors,
    "table-reproducibility.tex": reproducibility.table,
}
"""What is generated beside theorems, by file."""


DOCUMENTS = ("supplement", "main")


def generated(material: Material) -> Iterator[tuple[str, str]]:
    """Yield the generated files, name and text."""
    yield from theorems.files().items()
    for name, table in TABLES.items():
        yield name, table(material)


def build(
    budget: str, folder: Path, cache: Path, *, typeset: bool = True, say: Say = print
) -> None:
    """Write sources, figures and what is generated into a folder, and typeset the paper there.

    Parameters
    ----------
    budget
        ``small`` or ``full``, as of the figures.
    folder
        Where sources, figures and the PDF are put.
    cache
        Where numbers are kept and taken up again.
    typeset
        Whether to run TeX on paper and supplement.
    say
        Called with a line for each step.

    Raises
    ------
    RopeleakError
        If TeX is missing or fails, or its log complains.
    """
    if typeset:
        tex.require()
    start = time.monotonic()
    material = Material(budget, cache, _telling(say))
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    for part in ("figures", "generated"):
        (folder / part).mkdir(exist_ok=True)
    for name in figure_names():
        load_figure(name).write(material.bench, folder / "figures", ("pdf",))
        say(f"figure {name}")
    for name, text in generated(material):
        with atomic(folder / "generated" / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    say("numbers, tables and theorems")
    with atomic(folder / "supplement.tex") as temporary:
        temporary.write_text(theorems.supplement(), encoding="utf-8")
    if not typeset:
        say(f"{folder}: all but the PDFs ({time.monotonic() - start:.0f} s)")
        return
    for name in DOCUMENTS:
        pdf = tex.build(folder, name)
        say(f"{pdf} ({tex.pages(pdf)} pages, {time.monotonic() - start:.0f} s)")


def outputs(folder: Path) -> Mapping[str, Path]:
    """Return the files that a build leaves, by name: figures, generated parts, the PDF."""
    files = [*(folder / "figures").iterdir(), *(folder / "generated").iterdir()]
    files = [*sorted(files), *(folder / f"{name}.pdf" for name in DOCUMENTS)]
    return {str(file.relative_to(folder)): file for file in files}


def _telling(say: Say) -> Callable[[str, int, int], None]:
    """Return a progress that says what begins."""
    before = ""

    def progress(what: str, done: int, wanted: int) -> None:
        nonlocal before
        if what != before and wanted > 1:
            before = what
            say(f"  {what}")

    return progress
