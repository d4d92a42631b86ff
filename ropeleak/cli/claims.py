"""``ropeleak claims``: the claims about position leakage, each decided by an experiment."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ropeleak.errors import RopeleakError

if TYPE_CHECKING:
    from ropeleak.claims.claim import Finding


def claims(
    name: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="One claim; all of them unless given.",
                       show_default=False),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller stacks and fewer draws: under a minute.")
    ] = False,
    seed: Annotated[
        int, typer.Option(metavar="N", help="The same seed gives the same numbers.")
    ] = 0,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", show_default=False,
            help="Keep what is measured in this folder, and take up what is there.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pdf|png|svg", show_default=False,
                     help="Save the figure of the one claim."),
    ] = None,
) -> None:  # fmt: skip
    """Put the claims to the test, each with a verdict."""
    from ropeleak.output import check_figure, check_writable

    if plot is not None:
        if name is None:
            raise RopeleakError(f"--plot {plot} draws one claim: name it, e.g. mask-denominator")
        check_figure(plot)
        check_writable(plot)
    # Many small products: threads of the linear algebra would wait for each other.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from ropeleak.claims import load, names

    chosen = [load(name)] if name is not None else [load(one) for one in names()]

    from ropeleak.claims import ledger
    from ropeleak.claims.lab import Lab

    from ._report import note, print_json, show

    findings = []
    with _bar() as progress:
        lab = Lab("quick" if quick else "full", seed, resume, progress.measuring)
        for number, claim in enumerate(chosen):
            progress.claim(claim.id, number, len(chosen))
            findings.append(claim.run(lab))
    if plot is not None:
        ledger.plot(findings[0], plot)
    if as_json:
        data = [ledger.as_data(finding) for finding in findings]
        print_json({"budget": lab.budget._asdict(), "seed": seed, "claims": data})
        return
    show([part for finding in findings for part in _parts(finding, full=name is not None)])
    if plot is not None:
        note(f"Wrote {plot}.")


def _parts(finding: "Finding", full: bool) -> list[Any]:
    """Return what there is to print of a finding: all of it, or what decides."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from ropeleak.claims.ledger import deciding, text

    claim, found = finding.claim, finding.evidence
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for column in ("number", "theory", "measured"):
        table.add_column(
            column, no_wrap=column != "number", ratio=1 if column == "number" else None
        )
    for row in found.rows if full else deciding(finding):
        table.add_row(f"{row.name}: {row.words}", text(row.theory), text(row.measured))
    title = Text.assemble((claim.id, "bold"), f": {claim.says}: ", (finding.verdict, "bold"))
    parts: list[Any] = [Group(title, Text(found.says), table)]
    if full:
        parts.append(Text(f"{claim.question} Rule: {claim.rule}."))
    if full and found.table:
        variants = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
        for column in found.table[0]:
            variants.add_column(column)
        for cells in found.table[1:]:
            variants.add_row(*cells)
        parts.append(variants)
    return parts


class _Progress:
    """Where the experiments are, shown by a bar or not at all."""

    def __init__(self, update: Callable[[str, int, int], None]) -> None:
        self._update, self._claim = update, ""

    def claim(self, name: str, number: int, count: int) -> None:
        """Begin a claim."""
        self._claim = f"{name} ({number + 1} of {count})"
        self._update(self._claim, 0, 1)

    def measuring(self, what: str, done: int, wanted: int) -> None:
        """Tell how far a measurement is."""
        self._update(f"{self._claim}: {what}", done, wanted)


@contextmanager
def _bar() -> Iterator[_Progress]:
    """Show what is measured on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    err = Console(file=sys.stderr)
    if not err.is_terminal:
        yield _Progress(lambda what, done, wanted: None)
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)

        def update(what: str, done: int, wanted: int) -> None:
            bar.update(task, description=escape(what), completed=done, total=wanted)

        yield _Progress(update)
