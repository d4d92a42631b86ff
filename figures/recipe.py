"""`Recipe`: one figure of the gallery, from its numbers to its files."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import xarray as xr
from matplotlib.figure import Figure

from ropeleak.drawing import marks, style
from ropeleak.errors import RopeleakError
from ropeleak.latex import escaped
from ropeleak.output import FIGURE_SUFFIXES, atomic, check_writable
from ropeleak.results import Result
from ropeleak.spec import Stack

from .bench import Bench

D = TypeVar("D")

FORMATS = tuple(suffix[1:] for suffix in FIGURE_SUFFIXES)
PLACEHOLDER = re.compile(r"<([a-z_ ]+)>")


@dataclass(frozen=True)
class Recipe(Generic[D]):
    """One figure.

    Parameters
    ----------
    name
        What the command line and the files call it.
    says
        What it shows, in one line.
    width, height
        Inches, as printed.
    data
        Returns its numbers.
    compose
        Draws them on an empty figure.
    caption
        LaTeX, in lines, with ``<name>`` where a number or a name belongs.
    words
        Returns what belongs there, in plain text.
    takes_model
        Whether it can be drawn for another architecture than the reference decoder.
    missing
        Returns why it cannot be drawn here, if it cannot.
    """

    name: str
    says: str
    width: float
    height: float
    data: Callable[[Bench], D]
    compose: Callable[[Figure, D], None]
    caption: str
    words: Callable[[D], Mapping[str, str]]
    takes_model: bool = True
    missing: Callable[[], str | None] = lambda: None

    def draw(self, data: D) -> Figure:
        """Return the figure of some numbers."""
        with style.context():
            figure = style.new_figure(self.height, self.width)
            self.compose(figure, data)
        return figure

    def caption_of(self, data: D) -> str:
        """Return the caption in LaTeX, its numbers filled in."""
        words = self.words(data)
        text = " ".join(self.caption.split())
        return PLACEHOLDER.sub(lambda match: escaped(words[match[1]]), text)

    def float_of(self, data: D) -> str:
        r"""Return a LaTeX environment that holds the figure: ``\input`` puts it into a paper."""
        star = "*" if self.width > style.COLUMN else ""
        return "\n".join([
            f"% Written by: ropeleak figures {self.name}",
            rf"\begin{{figure{star}}}[tb]",
            r"  \centering",
            rf"  \includegraphics[width={self.width:g}in]{{{self.name}}}",
            rf"  \caption{{{self.caption_of(data)}}}",
            rf"  \label{{fig:{self.name}}}",
            rf"\end{{figure{star}}}",
            "",
        ])  # fmt: skip

    def write(
        self, bench: Bench, folder: str | os.PathLike[str], formats: Sequence[str] = ("pdf", "png")
    ) -> list[Path]:
        """Make the figure and write it and its LaTeX environment into a folder.

        Raises
        ------
        RopeleakError
            If a file cannot be written, a format is not known, the figure takes no model but the
            bench has one, or its numbers cannot be had.
        """
        check_formats(formats)
        if bench.model is not None and not self.takes_model:
            raise RopeleakError(
                f"the figure {self.name} is of no one architecture: leave out model"
            )
        targets = [Path(folder) / f"{self.name}.{suffix}" for suffix in (*formats, "tex")]
        for target in targets:
            check_writable(target)
        data = self.data(bench)
        bench.progress(f"drawing {self.name}", 0, 1)
        figure = self.draw(data)
        for target in targets:
            with atomic(target) as temporary:
                if target.suffix == ".tex":
                    temporary.write_text(self.float_of(data), encoding="utf-8")
                else:
                    style.save(figure, temporary)
        return targets


def check_formats(formats: Sequence[str]) -> None:
    """Raise `RopeleakError` if a format is not known, or there is none."""
    known = ", ".join(FORMATS)
    if not formats:
        raise RopeleakError(f"no format is named: give some of {known}")
    for name in formats:
        if name not in FORMATS:
            raise RopeleakError(f"format {name!r} is not known: give some of {known}")


def dataset_of(result: Result | xr.Dataset) -> xr.Dataset:
    """Return the dataset of a result."""
    return result.dataset if isinstance(result, Result) else result


def marks_words(datasets: Iterable[xr.Dataset]) -> str:
    """Return what a caption says of lines and points."""
    drawn = {marks.kind_of(dataset): dataset.attrs for dataset in datasets}
    words = "Lines: theory."
    if "monte-carlo" not in drawn:
        return words
    attrs = drawn["monte-carlo"]
    stacks = [
        Stack.model_validate_json(each["stack"]) for each in drawn.values() if "stack" in each
    ]
    width = [stack.d_model for stack in stacks] or [0]
    narrow = f" in a stand-in of width {width[-1]}" if width[0] > width[-1] else ""
    return (
        f"{words} Points: Monte Carlo{narrow}, {attrs['draws']} draws of weights with"
        f" {attrs['contents']} contents each; bars are {marks.BAND:g} standard errors."
    )


def name_of(dataset: xr.Dataset) -> str:
    """Return what the architecture of a dataset is called."""
    return Stack.model_validate_json(dataset.attrs["stack"]).name


def finish(figure: Figure, datasets: Iterable[xr.Dataset]) -> None:
    """Put the legend of lines and points over a figure."""
    handles = marks.kind_handles(map(marks.kind_of, datasets))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
