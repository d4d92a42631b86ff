"""The paper's sources, as text: what they use, and numbers that someone typed into them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parent / "source"
FORMULA = re.compile(r"\$[^$]*\$|\\\[.*?\\\]|\\begin\{(equation|align)\*?\}.*?\\end\{\1\*?\}", re.S)
NAMES = re.compile(
    r"\\(?:label|ref|cite[tp]?|input|includegraphics|val|bibliographystyle|bibliography|supplement"
    r"|documentclass|usepackage|graphicspath)\*?(?:\[[^\]]*\])*\{[^}]*\}"
)
"""Commands whose arguments are names."""
LENGTHS = re.compile(r"\\setlength\{[^}]*\}\{[^}]*\}|p\{[^}]*\}|[\d.]+\s*(?:pt|em|ex|in|cm)\b")
COMMENT = re.compile(r"(?<!\\)%.*")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
STRUCTURAL = frozenset({"0", "1", "2"})
"""Numbers that formulas are built of, and the position of the first token."""
WORDS = re.compile(r"[Pp]osition[~ ]0|token~0|Llama~3's|2-D")
"""What is called by a number."""


class Typed(NamedTuple):
    """A number that stands in a source."""

    file: str
    line: int
    number: str


def files() -> list[Path]:
    """Return the sections, in the order of the paper."""
    main = (SOURCE / "main.tex").read_text(encoding="utf-8")
    return [SOURCE / f"{name}.tex" for name in re.findall(r"\\input\{(sections/[a-z]+)\}", main)]


def text() -> str:
    """Return all sections without comments."""
    return "\n".join(COMMENT.sub("", file.read_text(encoding="utf-8")) for file in files())


def typed() -> Iterator[Typed]:
    """Yield numbers that were typed: any outside of formulas, and all but 0, 1 and 2 in them."""
    for file in files():
        source = COMMENT.sub("", file.read_text(encoding="utf-8"))
        for pattern in (NAMES, LENGTHS, WORDS):
            source = pattern.sub(_blank, source)
        for found in FORMULA.finditer(source):
            yield from _numbers(file, source, found.start(), found.end(), STRUCTURAL)
        prose = FORMULA.sub(_blank, source)
        yield from _numbers(file, prose, 0, len(prose), frozenset())


def _numbers(
    file: Path, source: str, start: int, end: int, allowed: frozenset[str]
) -> Iterator[Typed]:
    for found in NUMBER.finditer(source, start, end):
        if found[0] not in allowed:
            yield Typed(file.name, source.count("\n", 0, found.start()) + 1, found[0])


def _blank(found: re.Match[str]) -> str:
    """Return as many blanks and line ends as a match has, so that places stay what they are."""
    return re.sub(r"[^\n]", " ", found[0])
